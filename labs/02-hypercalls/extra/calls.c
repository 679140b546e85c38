// SPDX-License-Identifier: GPL-2.0
/*
 * A guest that does what its command line says; all numbers are hexadecimal, memory is what lies above this program:
 *
 *	b GPA BYTES	put these bytes there
 *	x GPA		run what is there
 *	i GPA		from now on a hypercall is what is there, with a ret behind it; 0: int $0x1f
 *	c N A B C D	a hypercall, all other registers random; report result and changed registers
 *	d GPA		report eight bytes
 *	r N		report by hypercall N from now on; 3e8 at first, which is none, but stands in the trace
 *	s SEED		of the random registers
 */
#include "tiny.h"

void with_registers(u64 regs[15], void *code);
void plain_call(void);

static const char *at;
static u64 seed;

static u64 number(void)
{
	u64 value = 0;

	while (*at == ' ')
		at++;
	for (; *at > ' '; at++)
		value = value << 4 | (*at <= '9' ? *at - '0' : *at - 'a' + 10);
	return value;
}

static void bytes(u8 *to)
{
	while (*at == ' ')
		at++;
	for (; at[0] > ' ' && at[1] > ' '; at += 2) {
		char digits[] = { at[0], at[1], 0 };
		const char *rest = at;

		at = digits;
		*(volatile u8 *)to++ = number();
		at = rest;
	}
}

static u64 next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

/* Bit n of @changed: the nth of with_registers(), but for rax. */
static u64 call(void *code, u64 *changed)
{
	u64 before[15], regs[15];
	int i;

	*changed = 0;
	for (i = 0; i < 5; i++)
		regs[i] = number();
	for (; i < 15; i++)
		regs[i] = next();
	__builtin_memcpy(before, regs, sizeof(regs));
	with_registers(regs, code);
	for (i = 1; i < 15; i++)
		*changed |= (u64)(regs[i] != before[i]) << i;
	return regs[0];
}

void main(const char *words)
{
	u64 report = 1000, changed, result;
	void *code = plain_call;

	seed = 1;
	for (at = words; *at;) {
		switch (*at++) {
		case 'b':
			result = number();
			bytes((u8 *)result);
			break;
		case 'x':
			((void (*)(void))number())();
			break;
		case 'i':
			code = (void *)number() ?: plain_call;
			break;
		case 'c':
			result = call(code, &changed);
			hypercall(report, 0x77, result, changed);
			break;
		case 'd':
			hypercall(report, 0x77, *(u64 *)number(), 0);
			break;
		case 'r':
			report = number();
			break;
		case 's':
			seed = number();
			break;
		}
	}
}

/* gcc wants them even here. */
void *memcpy(void *to, const void *from, unsigned long length)
{
	for (unsigned long i = 0; i < length; i++)
		((volatile u8 *)to)[i] = ((const u8 *)from)[i];
	return to;
}
