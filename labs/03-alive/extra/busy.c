// SPDX-License-Identifier: GPL-2.0
/* Goes in and out of the host without end: an NMI is likely to hit the switcher. */
#include "tiny.h"

void main(void)
{
	print("busy");
	for (;;)
		hypercall(999, 0, 0, 0);
}
