# SPDX-License-Identifier: GPL-2.0
# How the programs that labs 7 to 9 share are built.

CFLAGS := -std=gnu11 -Wall -Wextra -D_GNU_SOURCE -DCHAPTER=$(CHAPTER) -pthread -I$(TREE)/launcher -I$(TREE)/include
VPATH := $(KIT)/labs/07-devices/extra $(KIT)/labs/08-virtqueues/extra
launcher := $(wildcard $(TREE)/launcher/*.c $(TREE)/launcher/*.h)
# Of these the launcher's own are reached as __real_*.
wrapped := vcpu_create term_print device_hypercall devices_close
ifeq ($(CHAPTER),9)
wrapped += devices_bind
endif

# The first prerequisite includes a file of the launcher, whose accesses it sees.
define traced
$(CC) $(CFLAGS) -Wno-unused-function -g -O0 -fsanitize=thread -Dmemcpy=traced_memcpy -Dpoll=traced_poll -I$(KIT)/labs/07-devices/extra \
	-c -o $@.o $<
$(CC) -static -pthread -o $@ $@.o $(filter %.o,$^)
endef

$(O)/trace.o: trace.c trace.h
	$(CC) -O2 -Wall -Wextra -c -o $@ $<

$(O)/ring: ring.c $(O)/trace.o $(O)/memory.o $(TREE)/launcher/virtqueue.c
	$(traced)
$(O)/memory.o: $(TREE)/launcher/memory.c
	$(CC) $(CFLAGS) -O2 -c -o $@ $<

$(O)/talk: talk.c $(wildcard $(TREE)/guest/tiny/*)
	mkdir -p $(O)/tiny
	cp -r $(TREE)/guest $(TREE)/include $(O)/tiny
	cp $< $(O)/tiny/guest/tiny
	$(MAKE) -C $(O)/tiny/guest/tiny O=$(O)/tiny/out guests=talk
	cp $(O)/tiny/out/talk $@

$(O)/pages: pages.c $(launcher)
	$(CC) -O2 -g $(CFLAGS) $(addprefix -Wl$(comma)--wrap=,$(wrapped)) -static -o $@ $(filter %.c,$^)
comma := ,

# Our O= must not reach the kernel's makefiles.
$(O)/probe.ko: probe.c
	mkdir -p $(O)/probe
	cp $< $(O)/probe
	echo 'obj-m := probe.o' > $(O)/probe/Kbuild
	env -u MAKEFLAGS $(MAKE) -C $(LINUX) M=$(O)/probe modules
	cp $(O)/probe/probe.ko $@

$(shell mkdir -p $(O))
