# SPDX-License-Identifier: GPL-2.0
# What a lab's working tree (work/NN-name) can do; its Makefile includes this file.
#
#	make run [CMD='…']	build, boot a host, show the chapter's demo or run CMD in the host
#	make grade [ARGS='…']	the points, as the staff's grader counts them; ARGS='--only 7.2' for one exercise
#	make debug [CMD='…']	the same as run, with gdb on the host
#	make hint EX=7.2	a hint; again: one more
#	make handin		handin.zip, with the files that are graded

lab := $(dir $(lastword $(MAKEFILE_LIST)))../tools/lab
export LAB_CMD = $(value CMD)
.SILENT:

help:
	sed -n 's/^#	//p' $(lastword $(MAKEFILE_LIST))
run debug:
	$(lab) $@ . "$$LAB_CMD"
grade:
	$(lab) grade . $(ARGS)
handin:
	$(lab) handin .
hint:
	$(lab) hint . "$(EX)"
.PHONY: help run debug grade handin hint
