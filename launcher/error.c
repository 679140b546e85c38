// SPDX-License-Identifier: GPL-2.0
/*
 * The launcher's two ways to complain (chapter 1). A message names the file or
 * option at fault and what to do about it. die() is for set-up only: once the
 * guest runs, all ways to end lead through vm_end().
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "launcher.h"

static void complain(const char *fmt, va_list args)
{
	char line[512];

	/* One write, so that the lines of two threads do not mix. */
	vsnprintf(line, sizeof(line), fmt, args);
	fprintf(stderr, "ringlet: %s\n", line);
}

/**
 * die() - give up before the guest runs
 * @code:	EXIT_USAGE or EXIT_HOST
 * @fmt:	one line; %m is the error of the last system call
 */
void die(enum exit_code code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	complain(fmt, args);
	va_end(args);
	exit(code);
}

/**
 * warn() - say something and go on
 * @fmt:	one line, as with die()
 */
void warn(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	complain(fmt, args);
	va_end(args);
}
