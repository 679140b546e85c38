// SPDX-License-Identifier: GPL-2.0
/*
 * What a submission's device_config() writes, in its order (7.5). config GENERATION LENGTH OFFSET TEXT: from this
 * generation, of a config space of so many bytes, which are '.' at first.
 */
#include "device_page.c"
#include <stdarg.h>
#include <stdlib.h>
#include "trace.h"

static struct {
	struct ringlet_device record;
	u8 config[1024];
} page;
static bool tracing;

void trace(bool write, const volatile void *at, size_t size, int order)
{
	u64 offset = (const volatile u8 *)at - page.config;
	bool generation = at == &page.record.generation;

	if (!tracing || (at && !generation && offset >= sizeof(page.config)))
		return;
	tracing = false;	/* dprintf() is not the submission's */
	if (!at)
		dprintf(1, "%u fence %d\n", page.record.generation, order);
	else
		dprintf(1, "%u %s %s %d\n", page.record.generation, write ? "write" : "read",
			generation ? "generation" : "config", order);
	(void)size;
	tracing = true;
}

void die(enum exit_code code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vdprintf(1, fmt, args);
	exit(code);
}

void warn(const char *fmt, ...)
{
	(void)fmt;
}

int main(int argc, char **argv)
{
	static const struct device_type type = { .id = 4 };
	static struct vm vm;
	struct device device = { .type = &type, .vm = &vm, .record = &page.record, .config = page.config };
	u64 length = strtoul(argv[2], NULL, 0);

	(void)argc;
	page.record.config_length = length;
	page.record.generation = strtoul(argv[1], NULL, 0);
	memset(page.config, '.', length);
	pthread_mutex_init(&device.config_lock, NULL);
	tracing = true;
	device_config(&device, strtoul(argv[3], NULL, 0), argv[4], strlen(argv[4]));
	tracing = false;
	dprintf(1, "%u end\nconfig %.*s\n", page.record.generation, (int)length, page.config);
	return 0;
}
