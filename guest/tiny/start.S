/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where every tiny guest in C starts (chapter 2): a stack, then main() with the
 * text behind -p.
 *
 *	rsi	gpa of boot_params
 */
#include "note.h"

#define CMD_LINE_PTR	0x228	/* boot_params.hdr.cmd_line_ptr */

	.globl start
start:
	lea	stack_end(%rip), %rsp
	mov	CMD_LINE_PTR(%rsi), %edi
	call	main
	mov	$RINGLET_HC_SHUTDOWN, %eax
	mov	$RINGLET_SHUTDOWN_POWEROFF, %ebx
	int	$RINGLET_VECTOR
	ud2

	.bss
	.balign	16
	.skip	16384
stack_end:
