// SPDX-License-Identifier: GPL-2.0
/* A guest that never lets go of its CPU (chapter 3). */
#include "tiny.h"

void main(void)
{
	print("spinning");
	for (;;)
		;
}
