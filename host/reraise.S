/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Hand an interrupt that ended a guest run to the host's own handler (chapter
 * 3). The CPU has already accepted it, so nobody else will.
 */
#include <linux/linkage.h>
#include <asm/nospec-branch.h>
#include <asm/segment.h>
#include "switcher.h"

/*
 * void reraise(unsigned long handler) - enter an interrupt handler as the CPU
 * would have: its iretq comes back here. Interrupts are off.
 *
 *	rdi	the handler, from the host's IDT
 */
SYM_FUNC_START(reraise)
#if SOLUTION >= 301
	push	%rbp
	mov	%rsp, %rbp
	and	$-16, %rsp
	push	$__KERNEL_DS		/* ss, rsp, rflags, cs; the call adds rip */
	push	%rbp
	pushf
	push	$__KERNEL_CS
	CALL_NOSPEC rdi
	leave
#else
	EXERCISE "3.1"	/* the frame that the CPU would have pushed, then the handler */
#endif
	RET
SYM_FUNC_END(reraise)
