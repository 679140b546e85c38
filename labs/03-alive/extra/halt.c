// SPDX-License-Identifier: GPL-2.0
/* Halts, and says so should it ever be woken. */
#include "tiny.h"

void main(void)
{
	print("halting");
	for (u64 times = 1;; times++) {
		hypercall(RINGLET_HC_HALT, 0, 0, 0);
		print_number("awake again ", times);
	}
}
