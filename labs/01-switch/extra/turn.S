/* SPDX-License-Identifier: GPL-2.0 */
/* A guest that changes every register in a way of its own, and its FS and GS base; watch.h knows what must come out. */
#include "note.h"

	.globl start
start:
	rdfsbase %rax
	rdgsbase %rdx
	wrfsbase %rbx
	wrgsbase %rcx
	n = 1
	.irp	reg, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rsp
	lea	n(%\reg), %\reg
	n = n + 1
	.endr
	ud2
