/* SPDX-License-Identifier: GPL-2.0 */
/*
 * u64 watched_switch(unsigned long frame, unsigned long entry) - call entry(frame) and see what has become of what C and the
 * kernel rely on: bits 0 to 5 for rbx rbp r12 ... r15, 6 and 7 for the FS and GS base, 8 for flags. Mends all of it.
 */
#include <linux/linkage.h>
#include <asm/nospec-branch.h>

#define DF_NT_AC	(1 << 10 | 1 << 14 | 1 << 18)

	.macro	differs bit
	setne	%cl
	movzbl	%cl, %ecx
	shl	$\bit, %ecx
	or	%ecx, %eax
	.endm

SYM_FUNC_START(watched_switch)
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	rdfsbase %rax
	push	%rax
	rdgsbase %rax
	push	%rax
	rdtsc
	n = 0
	.irp	reg, rbx, rbp, r12, r13, r14, r15
	n = n + 1
	imul	$(1000003 + 2 * n), %rax, %\reg
	push	%\reg
	.endr
	call	*%rsi
	pushfq
	pop	%rdx
	push	$2
	popfq
	xor	%eax, %eax
	n = 5
	.irp	reg, r15, r14, r13, r12, rbp, rbx
	pop	%rcx
	cmp	%rcx, %\reg
	differs	n
	n = n - 1
	.endr
	pop	%rbx
	rdgsbase %rcx
	cmp	%rcx, %rbx
	differs	7
	wrgsbase %rbx
	pop	%rbx
	rdfsbase %rcx
	cmp	%rcx, %rbx
	differs	6
	wrfsbase %rbx
	test	$DF_NT_AC, %edx
	differs	8
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	RET
SYM_FUNC_END(watched_switch)
