/* SPDX-License-Identifier: GPL-2.0 */
/* The note by which the launcher knows a guest (struct ringlet_note; chapter 1). */
#include <ringlet/hypercall.h>

	.section .note.Ringlet, "a", @note
	.long	8, 24, RINGLET_NOTE_TYPE	/* lengths of name and descriptor */
	.asciz	RINGLET_NOTE_NAME
	.quad	RINGLET_ABI
	.quad	start
	.quad	RINGLET_NO_PAGING
	.text
