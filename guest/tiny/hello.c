// SPDX-License-Identifier: GPL-2.0
/* Hello by hypercall (chapter 2), and what the host says to a wrong one. */
#include "tiny.h"

void main(void)
{
	print("hello from ring 1");
	print_number("an unknown hypercall is refused: -", -hypercall(999, 0, 0, 0));
	print_number("text outside my memory is refused: -",
		     -hypercall(RINGLET_HC_PRINT, 1UL << 40, 5, 0));
}
