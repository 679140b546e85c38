# SPDX-License-Identifier: GPL-2.0
# Ringlet: `make run` builds everything and shows a guest. All that is made stands in build/.
#
# Variables: KERNEL=kit|6.1|6.12-debian (the host's kernel), CPUS=, MEM= (MiB), FILES=, TIMEOUT= (s), ACCEL=kvm|tcg,
# EMULATOR=qemu|bochs,
# KERNEL_SRC=folder or KERNEL_TARBALL=file (a 6.12.y source), KERNEL_BUILD=folder (another checkout's build/linux), JOBS=

B := build
KERNEL ?= kit
TESTS ?= tests
$(if $(filter kit 6.1 6.12-debian,$(KERNEL)),,$(error KERNEL=$(KERNEL): not one of kit, 6.1, 6.12-debian))
LINUX := $(or $(KERNEL_BUILD),$(B)/linux)
PYTHON := /usr/bin/python3
$(if $(wildcard $(PYTHON)),,$(error $(PYTHON) is missing: apt-get install python3))
KIT := $(PYTHON) tools/kit.py
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash
.SHELLFLAGS := -eo pipefail -c
.DELETE_ON_ERROR:
.SILENT:

# As the user wrote it, whatever characters are in it.
export RINGLET_CMD = $(value CMD)
export KERNEL CPUS MEM FILES TIMEOUT ACCEL EMULATOR KERNEL_SRC KERNEL_TARBALL KERNEL_BUILD JOBS

files = $(shell find $(1) -type f -not -name '*.o' -not -name '*.cmd' 2>/dev/null)
programs := $(addprefix $(B)/programs/,stress bench)

numbers := 00 01 02 03 04 05 06 07 08 09 10 11 12 13 14

help: ## show the targets
	awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
	sed -n '/^# Variables/,/^$$/s/^#//p' Makefile

run: $(B)/host-$(KERNEL)/initramfs ## the guest's shell on this terminal; without a terminal, a tour
	tools/boot run

host: $(B)/host-$(KERNEL)/initramfs ## run CMD='…' in the host, with FILES= at hand
	tools/boot host

guest: $(B)/host-$(KERNEL)/initramfs ## run CMD='…' in a guest, with FILES= at hand
	tools/boot guest

start: $(B)/host-kit/initramfs ## a working tree for a lab in work/: LAB=07, STEP=2 with the first exercises solved
	tools/lab start "$(LAB)" $(STEP)

prove: $(B)/host-kit/initramfs ## prove labs (LAB='04 07', default all): starter, solution, recorded wrong solutions
	tools/lab prove $(or $(LAB),$(notdir $(wildcard labs/[0-9][0-9]-*)))

student-kit: $(B)/host-kit/initramfs ## what students of a lab get, without solutions, in build/kits: LAB=07
	tools/kits student "$(LAB)"

instructor-kit: $(B)/host-kit/initramfs ## what the staff gets, with autograders for Gradescope and Autolab, in build/kits
	tools/kits instructor

chapters: $(B)/host-kit/initramfs ## build and boot the system of every chapter; ch04 for one, with its demo
	tools/chapter.py check

$(numbers:%=ch%): ch%: $(B)/host-kit/initramfs
	tools/chapter.py run $(patsubst 0%,%,$*)

debug: $(B)/host-kit/initramfs ## gdb on the host, with the guest's symbols and `ringlet` commands: CH=4, CMD='…'
	tools/chapter.py debug $(or $(CH),14)

demo: $(B)/host-kit/initramfs ## play a chapter's demo for an audience, a step for each key: CH=9
	tools/demo "$(CH)"

view: $(B)/host-kit/initramfs $(B)/packages-docs ## a page that steps through a run, and its trace for Perfetto: CH=9, CMD='…'
	tools/view $(CH)

diff: ## what a chapter adds: CH=4, STEP=1 for one of its steps
	tools/chapter.py diff "$(CH)" $(STEP)

test: all stock $(B)/packages-docs $(B)/packages-test ## run every test; TESTS=tests/test_tools.py ARGS='-x -k tour' for less
	$(PYTHON) -m pytest $(TESTS) $(ARGS)

bench: $(B)/host-kit/initramfs ## measure host and guest side by side
	tools/bench

# Documents

site: $(B)/packages-docs ## the book, the labs and the slides as pages, in build/site
	tools/book site

site-serve: site ## show them on http://127.0.0.1:8000
	tools/book serve $(PORT)

book: $(B)/packages-docs ## the book as PDF and EPUB, the slides as PDF, in build/book
	tools/book pdf
	tools/book epub
	tools/book slides

record: $(B)/host-kit/initramfs ## run the book's commands again and note what they print: CH=4, default all
	tools/book record $(CH)

all: $(B)/host-kit/initramfs ## build everything that `make run` needs

stock: $(B)/host-6.1/initramfs $(B)/host-6.12-debian/initramfs ## build hosts with Debian's own kernels

doctor: ## check this workstation
	tools/doctor

packages: ## install the missing Debian packages
	tools/packages build test

clean: ## delete everything that was built
	rm -rf $(B)

# Debian packages

$(B)/packages-%: tools/packages
	tools/packages $*
	mkdir -p $(B) && touch $@

# The kernel of host and guest. The stamp, not vmlinux, is the target: make must not look at 80,000 files.

ifdef KERNEL_BUILD
$(KERNEL_BUILD)/vmlinux: ;
$(B)/kernel.stamp: $(KERNEL_BUILD)/vmlinux $(B)/packages-build
	touch $@
else
$(B)/kernel.stamp: $(call files,guest/linux include/ringlet) tools/kernel $(B)/packages-build $(B)/source
	tools/kernel build
	touch $@
endif

# Another source is another kernel.
$(B)/source: FORCE
	mkdir -p $(B)
	[ "$$(cat $@ 2>/dev/null)" = "$(KERNEL_SRC) $(KERNEL_TARBALL)" ] || echo "$(KERNEL_SRC) $(KERNEL_TARBALL)" > $@

# The launcher and the programs know their own dependencies.

$(B)/launcher/ringlet: $(call files,launcher include) $(B)/packages-build
	$(KIT) "build launcher" make -C launcher O=$(abspath $(B))/launcher
	touch $@

$(programs) &: $(call files,tests/programs) $(B)/packages-build
	mkdir -p $(B)/programs
	$(KIT) "build test programs" make -C tests/programs O=$(abspath $(B))/programs
	touch $(programs)

# What the guest boots from

$(B)/guest-drivers/ringblk.ko: $(call files,guest/drivers) tools/module $(B)/kernel.stamp
	mkdir -p $(@D)
	tools/module $(LINUX) $(@D) guest/drivers
	touch $@

$(B)/guest-disk.img: $(programs) $(call files,tools/rootfs/guest) tools/images $(B)/guest-drivers/ringblk.ko
	tools/images guest-disk $@ --kernel $(LINUX) --drivers $(B)/guest-drivers $(programs)

$(B)/guest-initrd: $(call files,tools/rootfs/initrd) tools/images $(B)/guest-drivers/ringblk.ko
	tools/images guest-initrd $@ --kernel $(LINUX) --drivers $(B)/guest-drivers

# One folder per host kernel: bzImage, ringlet.ko, initramfs

$(B)/host-kit/bzImage: $(B)/kernel.stamp
	mkdir -p $(@D)
	cp $(LINUX)/arch/x86/boot/bzImage $@

$(B)/host-6.1/bzImage $(B)/host-6.12-debian/bzImage: $(B)/host-%/bzImage: tools/stock $(B)/packages-build
	tools/stock $*
	mkdir -p $(@D)
	cp $(B)/stock-$*/bzImage $@

headers-kit = $(LINUX)
modules-kit = $(LINUX)
headers-6.1 = $(B)/stock-6.1/headers
modules-6.1 = $(B)/stock-6.1/modules
headers-6.12-debian = $(B)/stock-6.12-debian/headers
modules-6.12-debian = $(B)/stock-6.12-debian/modules

$(B)/host-%/ringlet.ko: $(call files,host include/ringlet) tools/module $(B)/host-%/bzImage
	tools/module $(headers-$*) $(@D) host
	touch $@

$(B)/host-%/initramfs: $(B)/host-%/ringlet.ko $(B)/launcher/ringlet $(B)/guest-disk.img $(B)/guest-initrd \
		$(call files,tools/rootfs/host) $(programs)
	tools/images host $@ --modules $(modules-$*) --extra $< --guest $(LINUX) $(programs)

FORCE:
.PHONY: help run host guest start prove student-kit instructor-kit chapters $(numbers:%=ch%) debug demo diff site site-serve book record test bench all stock doctor packages clean FORCE
.PRECIOUS: $(B)/host-%/ringlet.ko $(B)/host-%/bzImage $(B)/packages-%
