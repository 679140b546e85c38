/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Survive one's own faults, and what an attack wants to run in ring 0 (chapter
 * 13). attack.c points the guest's IDT at the catchers.
 */
#include "attack.h"

	.text
/* long attempt(long (*run)(void)) */
	.globl	attempt
attempt:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	push	escape(%rip)			/* attempts can be nested */
	mov	%rsp, escape(%rip)
	call	*%rdi
	movq	$NO_FAULT, fault(%rip)
.Lback:
	pop	escape(%rip)
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

	.balign	16
	.globl	catchers
catchers:
	vector = 0
	.rept	32
	.balign	16
	.if	vector != 8 && (vector < 10 || vector > 14) && vector != 17
	push	$0				/* the host pushed no error code */
	.endif
	push	$vector
	jmp	caught
	vector = vector + 1
	.endr

/* Do not go back to where it happened, but out of attempt(). */
caught:
	pop	fault(%rip)
	pop	fault + 8(%rip)
	pop	fault + 16(%rip)
	mov	escape(%rip), %rsp
	cld
	xor	%eax, %eax
	jmp	.Lback

/* Interrupts stay off behind an interrupt gate, and nothing here needs a stack of ours. */
	.globl	ring0
ring0:
	push	%rax
	mov	%dr0, %rax
	mov	%rax, found(%rip)
	pop	%rax
	iretq
	.globl	ring0_call
ring0_call:
	push	%rax
	mov	%dr0, %rax
	mov	%rax, found(%rip)
	pop	%rax
	lretq

/* Eight bytes of the clock chip's memory: index to port 0x70, value from 0x71. */
	.globl	read_clock_chip
read_clock_chip:
	xor	%edx, %edx
	mov	$0x67, %ecx
1:	mov	%ecx, %eax
	out	%al, $0x70
	in	$0x71, %al
	movzbl	%al, %eax
	shl	$8, %rdx
	or	%rax, %rdx
	dec	%ecx
	cmp	$0x60, %ecx
	jae	1b
	mov	%rdx, %rax
	ret
	.globl	user_clock_chip
user_clock_chip:
	call	read_clock_chip
	mov	%rax, found(%rip)
	hlt

	.bss
	.balign	8
	.globl	fault, found
fault:
	.skip	24
found:
	.skip	8
escape:
	.skip	8
