/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The first guest (chapter 1): ten bytes of ring 1. ud2 is an exception, and any
 * exception ends the run; the 42 in rax says that we have been there.
 */
#include "note.h"

	.globl start
start:
	mov	$41, %eax
	inc	%rax
	ud2
