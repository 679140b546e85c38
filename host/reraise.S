/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Hand an interrupt that ended a guest run to the host's own handler (chapter
 * 3). The CPU has already accepted it, so nobody else will.
 */
#include <linux/linkage.h>
#include <asm/nospec-branch.h>
#include <asm/segment.h>

/*
 * void reraise(unsigned long handler) - enter an interrupt handler as the CPU
 * would have: its iretq comes back here. Interrupts are off.
 *
 *	rdi	the handler, from the host's IDT
 */
SYM_FUNC_START(reraise)
	push	%rbp
	mov	%rsp, %rbp
	and	$-16, %rsp
	push	$__KERNEL_DS		/* ss, rsp, rflags, cs; the call adds rip */
	push	%rbp
	pushf
	push	$__KERNEL_CS
	CALL_NOSPEC rdi
	leave
	RET
SYM_FUNC_END(reraise)
