// SPDX-License-Identifier: GPL-2.0
/*
 * A guest that plays a script (lab 4): tests.py makes page tables out of FILLs,
 * loads them, and looks at what memory is like through them. The script is laid
 * into the file by extra/play.
 */
#include "tiny.h"

enum { END, FILL, HYPERCALL, READ, WRITE, CALL, USER, SUM };

#define USER_CS	0x33UL
#define USER_DS	0x2bUL

struct op {
	u64 what, a, b, c, d, e;
};

/* At 0x110000; zeroes, so that it ends by itself. */
struct op script[65536 / sizeof(struct op)] __attribute__((section(".script"))) = { { .what = END } };

static void fill(const struct op *op)
{
	u64 value = op->d;

	for (u64 i = 0; i < op->b; i++, value += op->e)
		*(volatile u64 *)(op->a + i * op->c) = value;
}

static u64 sum(const struct op *op)
{
	u64 all = 0;

	for (u64 i = 0; i < op->b; i++)
		all = all * 3 + *(volatile u64 *)(op->a + i * op->c);
	return all;
}

/* Ring 3 at @a with rdi = @b and rsi = @c; only a fault comes out of there. */
static void user(const struct op *op)
{
	asm volatile("pushq %0; pushq $0; pushq $2; pushq %1; pushq %2; iretq"
		     : : "i" (USER_DS), "i" (USER_CS), "r" (op->a), "D" (op->b), "S" (op->c)
		     : "memory");
}

void main(void)
{
	for (const struct op *op = script; op->what != END; op++) {
		switch (op->what) {
		case FILL:
			fill(op);
			break;
		case HYPERCALL:
			hypercall(op->a, op->b, op->c, op->d);
			break;
		case READ:
			print_number("read ", *(volatile u64 *)op->a);
			break;
		case WRITE:
			*(volatile u64 *)op->a = op->b;
			print("written");
			break;
		case CALL:
			((void (*)(void))op->a)();
			print("called");
			break;
		case USER:
			user(op);
			break;
		case SUM:
			print_number("sum ", sum(op));
			break;
		}
	}
	print("the script is played");
}
