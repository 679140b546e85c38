/* SPDX-License-Identifier: GPL-2.0 */
/* Where every tiny guest in C starts (chapter 2): a stack, then main(). */
#include "note.h"

	.globl start
start:
	lea	stack_end(%rip), %rsp
	call	main
	mov	$RINGLET_HC_SHUTDOWN, %eax
	mov	$RINGLET_SHUTDOWN_POWEROFF, %ebx
	int	$RINGLET_VECTOR
	ud2

	.bss
	.balign	16
	.skip	16384
stack_end:
