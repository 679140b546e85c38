// SPDX-License-Identifier: GPL-2.0
/*
 * A guest with page tables of its own (chapter 4): one page at two addresses,
 * then another page there, before and after the TLB is told.
 */
#include "tiny.h"

#define PRESENT	1UL
#define WRITE	2UL
#define LARGE	0x80UL
#define WINDOW	0x40000000UL		/* gva 1 GiB */

static u64 pml4[512] __attribute__((aligned(4096)));
static u64 pdpt[512] __attribute__((aligned(4096)));
static u64 low[512] __attribute__((aligned(4096)));
static u64 high[512] __attribute__((aligned(4096)));
static u64 table[512] __attribute__((aligned(4096)));
static volatile u64 one[512] __attribute__((aligned(4096)));
static volatile u64 two[512] __attribute__((aligned(4096)));

static void build_tables(void)
{
	pml4[0] = (u64)pdpt | PRESENT | WRITE;
	pdpt[0] = (u64)low | PRESENT | WRITE;
	pdpt[1] = (u64)high | PRESENT | WRITE;
	low[0] = PRESENT | WRITE | LARGE;	/* gva = gpa where we are */
	high[0] = (u64)table | PRESENT | WRITE;
	table[0] = (u64)one | PRESENT | WRITE;
}

void main(void)
{
	volatile u64 *window = (void *)WINDOW;

	build_tables();
	hypercall(RINGLET_HC_LOAD_CR3, (u64)pml4, 0, 0);
	print("on page tables of my own");
	one[0] = 1111;
	two[0] = 2222;
	print_number("through the window I see ", window[0]);
	window[1] = 3333;
	print_number("what I write there arrives: ", one[1]);
	table[0] = (u64)two | PRESENT | WRITE;
	print_number("another page is there, but nobody has told the TLB: ", window[0]);
	hypercall(RINGLET_HC_FLUSH_PAGE, WINDOW, 0, 0);
	print_number("after a flush I see ", window[0]);
}
