/* SPDX-License-Identifier: GPL-2.0 */
/* What tiny guests share (chapter 2): the hypercall, and printing with it. */
#ifndef TINY_H
#define TINY_H

#include <ringlet/hypercall.h>

typedef unsigned long u64;
typedef unsigned int u32;
typedef unsigned char u8;

static inline long hypercall(u64 number, u64 a, u64 b, u64 c)
{
	long result;

	asm volatile("int %[vector]"
		     : "=a" (result)
		     : [vector] "i" (RINGLET_VECTOR), "a" (number), "b" (a), "c" (b), "d" (c)
		     : "memory");
	return result;
}

/* Print text and, unless it is NULL, a number behind it. gva = gpa, so the host finds it. */
static inline void say(const char *text, const u64 *number)
{
	static char line[128];
	int length = 0, digits = 1;
	u64 rest;

	while (*text && length < 100)
		line[length++] = *text++;
	if (number) {
		for (rest = *number; rest >= 10; rest /= 10)
			digits++;
		rest = *number;
		for (int i = digits - 1; i >= 0; i--, rest /= 10)
			line[length + i] = '0' + rest % 10;
		length += digits;
	}
	line[length++] = '\n';
	hypercall(RINGLET_HC_PRINT, (u64)line, length, 0);
}

static inline void print(const char *text)
{
	say(text, 0);
}

static inline void print_number(const char *text, u64 number)
{
	say(text, &number);
}

#endif
