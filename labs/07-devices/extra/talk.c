// SPDX-License-Identifier: GPL-2.0
/*
 * A guest that says what it is told to (labs 7 and 9). -p: "h NUMBER A B C" makes a
 * hypercall and prints its result.
 */
#include "tiny.h"

static u64 number(const char **text)
{
	u64 value = 0;

	while (**text == ' ')
		++*text;
	for (; **text >= '0' && **text <= '9'; ++*text)
		value = value * 10 + **text - '0';
	return value;
}

void main(const char *words)
{
	while (*words) {
		u64 what[4];
		long result;

		if (*words++ != 'h')
			continue;
		for (int i = 0; i < 4; i++)
			what[i] = number(&words);
		result = hypercall(what[0], what[1], what[2], what[3]);
		print_number(result < 0 ? "= -" : "= ", result < 0 ? -result : result);
	}
	print("done");
}
