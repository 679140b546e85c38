/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Every access to memory that a file of the launcher makes, in its order (labs 7 to 9). The file is compiled with
 * -O0 -fsanitize=thread -Dmemcpy=traced_memcpy and linked with trace.c instead of the sanitizer's own library.
 */
#ifndef TRACE_H
#define TRACE_H

#include <stdbool.h>
#include <stddef.h>

#define PLAIN	-1	/* instead of an __ATOMIC_*; order of a fence and of an atomic access otherwise */

/* Written by the program: called before the access. A fence has no address. */
void trace(bool write, const volatile void *at, size_t size, int order) __attribute__((no_sanitize_thread));

#endif
