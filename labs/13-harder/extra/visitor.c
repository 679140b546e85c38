// SPDX-License-Identifier: GPL-2.0
/*
 * A guest that does by the rules what lab 13's attacks abuse, and the rest of what
 * a fix may have forgotten. -p: "load D D D", "segments", "gone" or "flags".
 */
#include "tiny.h"

#define DATA	0x00cff3000000ffffUL	/* a data segment of ring 3, accessed */
#define FLAGS	0x240cd7UL		/* CF PF AF ZF SF DF OF AC ID */

static u64 number(const char **text)
{
	u64 value = 0;

	while (**text == ' ')
		++*text;
	for (; **text >= '0' && **text <= '9'; ++*text)
		value = value * 10 + **text - '0';
	return value;
}

/* Load three descriptors; say of each that is there what the CPU knows about it, and use it. */
static void load(const char *words)
{
	u64 d[3], limit;
	long error;

	for (int i = 0; i < 3; i++)
		d[i] = number(&words);
	error = hypercall(RINGLET_HC_LOAD_TLS, d[0], d[1], d[2]);
	print_number("load_tls: -", -error);
	for (int i = 0; i < 3; i++) {
		u64 selector = 0x63 + 8 * i;

		if (error || !d[i])
			continue;
		limit = 0;
		asm volatile("lsl %1, %0" : "+r" (limit) : "r" (selector));
		print_number("limit ", limit);
		asm volatile("mov %0, %%es" : : "r" (selector));
	}
}

static u64 get(int segment)
{
	u64 value;

	switch (segment) {
	case 0:
		asm volatile("mov %%ds, %0" : "=r" (value));
		break;
	case 1:
		asm volatile("mov %%es, %0" : "=r" (value));
		break;
	case 2:
		asm volatile("mov %%fs, %0" : "=r" (value));
		break;
	default:
		asm volatile("mov %%gs, %0" : "=r" (value));
	}
	return value & 0xffff;
}

static void set(int segment, u64 value)
{
	switch (segment) {
	case 0:
		asm volatile("mov %0, %%ds" : : "r" (value));
		break;
	case 1:
		asm volatile("mov %0, %%es" : : "r" (value));
		break;
	case 2:
		asm volatile("mov %0, %%fs" : : "r" (value));
		break;
	default:
		asm volatile("mov %0, %%gs" : : "r" (value));
	}
}

/* Each entry in each register: kept over an exit while it is there, and null when it has gone. */
static void segments(int go)
{
	for (u64 entry = 0; entry < 3; entry++) {
		for (int segment = 0; segment < 4; segment++) {
			hypercall(RINGLET_HC_LOAD_TLS, DATA, DATA, DATA);
			set(segment, 0x63 + 8 * entry);
			if (go)
				hypercall(RINGLET_HC_LOAD_TLS, DATA * (entry != 0),
					  DATA * (entry != 1), DATA * (entry != 2));
			else
				hypercall(999, 0, 0, 0);
			print_number("selector ", get(segment));
			set(segment, 0);
		}
	}
}

/* What an iretq of our own would restore. */
static void flags(void)
{
	u64 flags, result = RINGLET_HC_IRET_KERNEL;

	asm volatile("mov %%rsp, %%rdx; push $0x89; push %%rdx; push %[flags]; push $0x81\n"
		     "lea 1f(%%rip), %%rcx; push %%rcx; movq $0, -8(%%rsp)\n"
		     "int $0x1f\n"
		     "1: pushfq; pop %[after]; cld\n"
		     : [after] "=&b" (flags), "+a" (result)
		     : [flags] "i" (FLAGS) : "rcx", "rdx", "memory");
	print_number("flags lost: ", FLAGS & ~flags);
}

void main(const char *words)
{
	switch (*words) {
	case 'l':
		load(words + 4);
		break;
	case 's':
		segments(0);
		break;
	case 'g':
		segments(1);
		break;
	case 'f':
		flags();
	}
	print("done");
}
