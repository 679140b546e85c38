/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the launcher's unit tests share: CHECK, stand-ins for die() and warn()
 * that can be looked at, and a driver's view of a split ring in guest RAM.
 */
#ifndef TEST_H
#define TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "virtio.h"

#define CHECK(condition) do {							\
	if (!(condition)) {							\
		fprintf(stderr, "%s:%d: %s: failed: %s\n", __FILE__, __LINE__,	\
			__func__, #condition);					\
		exit(1);							\
	}									\
} while (0)

/* Each test names what it guards. */
#define TEST(function, guards) { #function, guards, function }
struct test {
	const char *name, *guards;
	void (*function)(void);
};

static inline int run_tests(const struct test *tests, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		tests[i].function();
		printf("ok %s: %s\n", tests[i].name, tests[i].guards);
	}
	return 0;
}

static char last_message[512];
static unsigned int warnings;
static jmp_buf died;

void die(enum exit_code code, const char *fmt, ...)
{
	va_list args;

	(void)code;
	va_start(args, fmt);
	vsnprintf(last_message, sizeof(last_message), fmt, args);
	va_end(args);
	longjmp(died, 1);
}

void warn(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(last_message, sizeof(last_message), fmt, args);
	va_end(args);
	warnings++;
}

/* Whether @statement dies with @text in its message. */
#define DIES(statement, text) ({						\
	volatile bool dead_ = true;						\
	if (!setjmp(died)) {							\
		statement;							\
		dead_ = false;							\
	}									\
	if (dead_ && !strstr(last_message, text))				\
		fprintf(stderr, "message: %s\n", last_message);			\
	dead_ && strstr(last_message, text);					\
})

/* Where the tests lay out their rings; RAM is 4 MiB. */
#define RAM_SIZE	(4 * MIB)
#define DESC_GPA	0x1000
#define AVAIL_GPA	0x3000
#define USED_GPA	0x4000
#define TABLE_GPA	0x5000
#define DATA_GPA	0x8000

#endif
