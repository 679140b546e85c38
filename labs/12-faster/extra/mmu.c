// SPDX-License-Identifier: GPL-2.0
/*
 * A guest of 6 MiB that works its page tables, for lab 12's tests: -p "MODE
 * NUMBER...". It prints what it sees; the test counts the fills and hypercalls
 * that this took. Two address spaces, a and b, show other pages at WINDOW.
 */
#include "tiny.h"

#define P	1UL
#define W	2UL
#define PS	0x80UL
#define A	0x20UL
#define D	0x40UL
#define KEEP	(1UL << 63)
#define LARGE	0x200000UL

#define PAGES	64
#define WINDOW	0x40000000UL		/* 1 GiB */
#define KERNEL	0xffff960000000000UL	/* PML4 entry 300: in both spaces */
#define POOL	LARGE			/* gpa of 2 * PAGES pages; page i holds POOL_VALUE + i */
#define POOL_VALUE 1000

typedef u64 table[512] __attribute__((aligned(4096)));

static table low, kernel[3];
static struct space {
	table pml4, pdpt, directory, window;
} a, b;

static u64 number(const char **text)
{
	u64 value = 0;

	while (**text == ' ')
		++*text;
	for (; **text >= '0' && **text <= '9'; ++*text)
		value = value * 10 + **text - '0';
	return value;
}

static volatile u64 *window(u64 page)
{
	return (void *)(WINDOW + page * 4096);
}

static u64 pool(u64 page)
{
	return POOL + page * 4096;
}

static void build(struct space *space, u64 first)
{
	space->pml4[0] = (u64)space->pdpt | P | W | A;
	space->pml4[300] = (u64)kernel[0] | P | W | A;
	space->pdpt[0] = (u64)low | P | W | A;
	space->pdpt[1] = (u64)space->directory | P | W | A;
	space->directory[0] = (u64)space->window | P | W | A;
	for (u64 i = 0; i < PAGES; i++) {
		space->window[i] = pool(first + i) | P | W | A | D;
		*(u64 *)pool(first + i) = POOL_VALUE + first + i;
	}
}

static void load(struct space *space, u64 pcid)
{
	hypercall(RINGLET_HC_LOAD_CR3, (u64)space->pml4 | pcid, 0, 0);
}

static u64 sum(void)
{
	u64 sum = 0;

	for (u64 i = 0; i < PAGES; i++)
		sum += *window(i);
	return sum;
}

/* rounds: back and forth between two spaces that stay as they are */
static void back_and_forth(u64 rounds)
{
	load(&a, 1);
	print_number("a ", sum());
	load(&b, 2);
	print_number("b ", sum());
	while (rounds--) {
		load(&a, 1 | KEEP);
		print_number("a ", sum());
		load(&b, 2 | KEEP);
		print_number("b ", sum());
	}
}

/* What must not be kept. pcid: of root 1 to 6 */
static void changes(u64 pcid)
{
	load(&a, pcid);
	print_number("a at first: ", *window(0));
	a.window[0] = pool(PAGES + 7) | P | W | A | D;
	load(&a, pcid);
	print_number("a, changed and loaded anew: ", *window(0));
	load(&b, pcid | KEEP);
	print_number("b with a's PCID: ", *window(1));
	load(&a, (pcid + 8) | KEEP);
	print_number("a with another PCID for the same root: ", *window(1));
	load(&b, pcid | KEEP);
	print_number("b again: ", *window(1));
	load(&a, 0);
	a.window[1] = pool(9) | P | W | A | D;
	load(&a, KEEP);
	print_number("without a PCID nothing is kept: ", *window(1));
}

/* The guest kernel's half is one for all spaces. */
static void upper_half(void)
{
	volatile u64 *page = (void *)KERNEL;

	load(&a, 1);
	print_number("kernel page in a: ", *page);
	load(&b, 2);
	print_number("kernel page in b: ", *page);
	kernel[2][0] = pool(5) | P | W | A | D;
	hypercall(RINGLET_HC_FLUSH_PAGE, KERNEL, 0, 0);
	print_number("changed, in b: ", *page);
	load(&a, 1 | KEEP);
	print_number("changed, in a: ", *page);
}

/* Words: page to change..., 64, page to mark as unused..., 64. Then the lower half is flushed. */
static void flush(const char *words)
{
	u64 page, used = 0;

	load(&a, 1);
	print_number("before ", sum());
	while ((page = number(&words)) < PAGES)
		a.window[page] = pool(PAGES + page) | P | W | A | D;
	while ((page = number(&words)) < PAGES)
		a.window[page] &= ~(A | D);
	hypercall(RINGLET_HC_FLUSH_USER, 0, 0, 0);
	print_number("after ", sum());
	for (page = 0; page < PAGES; page++)
		used += !!(a.window[page] & A);
	print_number("used ", used);
}

/* A page that is clean from now on: its next write must set D again. */
static void clean(u64 page)
{
	load(&a, 1);
	*window(page) = 1;
	a.window[page] &= ~D;
	hypercall(RINGLET_HC_FLUSH_USER, 0, 0, 0);
	*window(page) = 2;
	print_number("dirty again: ", !!(a.window[page] & D));
	a.window[page] = 0;
	hypercall(RINGLET_HC_FLUSH_USER, 0, 0, 0);
	print_number("unmapped, yet: ", *window(page));
}

/* Touch one page of each group of 16, then all; page: which of a group. */
static void around(u64 page)
{
	u64 accessed = 0, dirty = 0, i;

	load(&a, 1);
	for (i = 0; i < PAGES; i += 16)
		(void)*window(i + page);
	print_number("sum ", sum());
	/* Of b, the second half has not been used, and the first not been written. */
	for (i = 0; i < PAGES; i++)
		b.window[i] &= i < PAGES / 2 ? ~D : ~(A | D);
	load(&b, 2);
	for (i = 0; i < PAGES; i += 16)
		(void)*window(i + page);
	for (i = 0; i < PAGES; i++)
		accessed += !!(b.window[i] & A);
	print_number("accessed: ", accessed);
	sum();
	for (i = accessed = 0; i < PAGES; i++)
		accessed += !!(b.window[i] & A);
	print_number("accessed when all have been touched: ", accessed);
	for (i = 0; i < PAGES; i += 2)
		*window(i) = i;
	for (i = 0; i < PAGES; i++)
		dirty += !!(b.window[i] & D);
	print_number("dirty: ", dirty);
}

/* A large page at WINDOW + 2 MiB; page: where it is first touched and written. */
static void large(u64 page)
{
	volatile u64 *start = (void *)(WINDOW + LARGE);
	u64 seen = 0;

	for (u64 i = 0; i < 512; i++)
		*(u64 *)(LARGE + i * 4096) = i;
	a.directory[1] = LARGE | P | W | A | PS;
	load(&a, 1);
	(void)start[page * 512];
	for (u64 i = 0; i < 512; i++)
		seen += start[i * 512] == i;
	print_number("seen: ", seen);
	print_number("dirty: ", !!(a.directory[1] & D));
	start[page * 512] = 4711;
	print_number("dirty after a write: ", !!(a.directory[1] & D));
	a.directory[1] = 2 * LARGE | P | W | A | PS;
	*(u64 *)(2 * LARGE) = 42;
	hypercall(RINGLET_HC_FLUSH_PAGE, WINDOW + LARGE + page * 4096, 0, 0);
	print_number("elsewhere after INVLPG of one address: ", start[0]);
}

static long load_and_look(struct space *space, u64 pcid, u64 *changed)
{
	u64 rax = RINGLET_HC_LOAD_CR3, rbx = (u64)space->pml4 | pcid, rcx = 0x1111, rdx = 0x2222;

	asm volatile("int $0x1f" : "+a" (rax), "+b" (rbx), "+c" (rcx), "+d" (rdx) : : "memory");
	*changed += rax || rbx != ((u64)space->pml4 | pcid) || rcx != 0x1111 || rdx != 0x2222;
	return *window(0);
}

/* Loads that the switcher can do by itself; then faults right behind them. */
static void fast(u64 rounds)
{
	u64 wrong = 0, changed = 0;

	load(&a, 1);
	load(&b, 2);
	while (rounds--) {
		wrong += load_and_look(&a, 1 | KEEP, &changed) != POOL_VALUE;
		wrong += load_and_look(&b, 2 | KEEP, &changed) != POOL_VALUE + PAGES;
	}
	print_number("wrong: ", wrong);
	print_number("registers changed: ", changed);
	for (u64 i = 1; i < PAGES; i += 16) {
		load_and_look(&a, 1 | KEEP, &changed);
		wrong += *window(i) != POOL_VALUE + i;
		load_and_look(&b, 2 | KEEP, &changed);
		wrong += *window(i) != POOL_VALUE + PAGES + i;
	}
	print_number("wrong behind a load: ", wrong);
	/* b has been root 2's; the switcher must not take it for root 3's or a's. */
	wrong = load_and_look(&a, 2 | KEEP, &changed) != POOL_VALUE;
	wrong += load_and_look(&b, 3 | KEEP, &changed) != POOL_VALUE + PAGES;
	wrong += load_and_look(&a, 10 | KEEP, &changed) != POOL_VALUE;
	print_number("wrong root: ", wrong);
}

void main(const char *words)
{
	char mode = *words;

	while (*words && *words != ' ')
		words++;
	low[0] = P | W | A | D | PS;
	low[1] = LARGE | P | W | A | D | PS;
	low[2] = 2 * LARGE | P | W | A | D | PS;
	kernel[0][0] = (u64)kernel[1] | P | W | A;
	kernel[1][0] = (u64)kernel[2] | P | W | A;
	kernel[2][0] = pool(3) | P | W | A | D;
	a.pml4[0] = (u64)a.pdpt | P | W | A;
	a.pdpt[0] = (u64)low | P | W | A;
	load(&a, 0);			/* the pool is above what is mapped without paging */
	build(&a, 0);
	build(&b, PAGES);
	switch (mode) {
	case 'r':
		back_and_forth(number(&words));
		break;
	case 'c':
		changes(number(&words));
		break;
	case 'u':
		upper_half();
		break;
	case 'f':
		flush(words);
		break;
	case 'd':
		clean(number(&words));
		break;
	case 'a':
		around(number(&words));
		break;
	case 'l':
		large(number(&words));
		break;
	case 's':
		fast(number(&words));
	}
	print("done");
}
