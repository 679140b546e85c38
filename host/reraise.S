/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Hand an interrupt that ended a guest run to the host's own handler (chapter
 * 3). The CPU has already accepted it, so nobody else will: `int n` from ring 0
 * goes through the host's IDT just as the interrupt would have.
 */
#include <linux/linkage.h>
#include <asm/nospec-branch.h>

/*
 * void reraise(unsigned int vector) - interrupts off. For NMI and #MC they are
 * still blocked from the exit, and the handler's iretq ends that.
 *
 *	edi	vector, 0-255
 */
SYM_FUNC_START(reraise)
	movzbl	%dil, %edi
	shl	$4, %edi
	lea	.Ltable(%rip), %rax
	add	%rdi, %rax
	ANNOTATE_RETPOLINE_SAFE
	jmp	*%rax
	.balign	16
.Ltable:
	vector = 0
	.rept	256
	.balign	16
	.byte	0xf3, 0x0f, 0x1e, 0xfa		/* endbr64 */
	.byte	0xcd, vector			/* int $vector */
	RET
	vector = vector + 1
	.endr
SYM_FUNC_END(reraise)
