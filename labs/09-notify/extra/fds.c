// SPDX-License-Identifier: GPL-2.0
/*
 * Our launcher with eventfds of its own instead of its devices' (9.1, 9.2). $FDS is a list of these:
 *
 *	n D Q	bind an eventfd to queue Q of device D; at the end print how often it was signalled
 *	u D Q	unbind it
 *	i L	bind an eventfd to line L; at the end print what nobody has taken out of it
 *	w L N	write N to line L's eventfd
 *
 * A notify that comes to the launcher is printed and gives 77.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include "virtio.h"

#define UNBOUND	77

static int queues[RINGLET_MAX_DEVICES][RINGLET_MAX_QUEUES], lines[RINGLET_LINES];	/* 0: none */

static void bind_fd(struct vm *vm, unsigned long request, u32 device, u32 index, int fd)
{
	struct ringlet_eventfd bound = { .device = device, .index = index, .fd = fd };

	if (ioctl(vm->fd, request, &bound) < 0)
		die(EXIT_HOST, "cannot bind device %u, index %u: %m", device, index);
}

/* One that can be written to before it is bound. */
static int line_fd(u32 line)
{
	if (!lines[line])
		lines[line] = eventfd(0, EFD_NONBLOCK);
	return lines[line];
}

void __wrap_devices_bind(struct vm *vm)
{
	for (char *word = strtok(getenv("FDS"), " "); word; word = strtok(NULL, " ")) {
		u32 a = atoi(strtok(NULL, " ")), b = *word == 'i' ? 0 : atoi(strtok(NULL, " "));

		switch (*word) {
		case 'n':
			queues[a][b] = eventfd(0, EFD_NONBLOCK);
			bind_fd(vm, RINGLET_NOTIFY_FD, a, b, queues[a][b]);
			break;
		case 'u':
			bind_fd(vm, RINGLET_NOTIFY_FD, a, b, -1);
			break;
		case 'i':
			bind_fd(vm, RINGLET_IRQ_FD, 0, a, line_fd(a));
			break;
		case 'w':
			eventfd_write(line_fd(a), b);
		}
	}
}

void __wrap_devices_close(struct vm *vm)
{
	eventfd_t count;

	(void)vm;
	for (int d = 0; d < RINGLET_MAX_DEVICES; d++)
		for (int q = 0; q < RINGLET_MAX_QUEUES; q++) {
			count = 0;
			if (queues[d][q] && (eventfd_read(queues[d][q], &count) || 1))
				printf("signalled %d %d %lu\n", d, q, count);
		}
	for (int line = 0; line < RINGLET_LINES; line++)
		if (lines[line] && !eventfd_read(lines[line], &count))
			printf("left in line %d: %lu\n", line, count);
	fflush(stdout);
}

s64 __wrap_device_hypercall(struct vm *vm, u32 number, const u64 *args)
{
	(void)vm;
	printf("launcher: hypercall %u %llu %llu\n", number, args[0], args[1]);
	fflush(stdout);
	return UNBOUND;
}
