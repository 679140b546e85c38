// SPDX-License-Identifier: GPL-2.0
/*
 * The console (chapter 7, served: 9; virtio 1.2, 5.3): one port, queue 0 to the guest and
 * queue 1 from it. Bytes come from term_input(), which is the terminal behind
 * its escape keys or plain stdin, and go to stdout.
 */
#include <string.h>
#if CHAPTER >= 9
#include <poll.h>
#include <unistd.h>
#endif
#include <linux/virtio_console.h>
#include "virtio.h"

#if CHAPTER >= 9
#define CHUNK 512	/* stdout that polls ready takes so much without blocking */

enum { QUEUE_RX, QUEUE_TX };

static int input;	/* term_input(), from set-up on */

/* Only now is there a buffer to read into, so nothing is read and then lost. */
static void serve_rx(struct virtqueue *vq)
{
	struct chain chain;
	int fd = input;
	char bytes[4096];

	while (queue_next(vq, &chain)) {
		struct pollfd ready = { fd, POLLIN, 0 };
		size_t room = chain.in_length < sizeof(bytes) ? chain.in_length : sizeof(bytes);
		ssize_t n = 0;

		while (room && fd >= 0 && poll(&ready, 1, 0) <= 0)
			if (!queue_wait(vq, fd, POLLIN))
				return;
		if (room && fd >= 0)
			n = read(fd, bytes, room);
		if (room && n <= 0) {		/* end of input: keep the buffer */
			while (queue_wait(vq, -1, 0))
				;
			return;
		}
		queue_push(vq, chain.head, chain_write(&chain, bytes, n));
		queue_interrupt(vq);
	}
}

static void serve_tx(struct virtqueue *vq)
{
	struct chain chain;
	char bytes[CHUNK];
	size_t n;

	while (queue_next(vq, &chain)) {
		while ((n = chain_read(&chain, bytes, sizeof(bytes)))) {
			struct pollfd output = { STDOUT_FILENO, POLLOUT, 0 };

			while (poll(&output, 1, 0) <= 0)
				if (!queue_wait(vq, STDOUT_FILENO, POLLOUT))
					return;
			term_print(vq->device->vm, bytes, n);
		}
		queue_push(vq, chain.head, 0);
	}
}
#endif

static struct device console;

static struct virtio_console_config window(void)
{
	struct virtio_console_config config = { .cols = 0 };
	u16 columns, rows;

	term_size(&columns, &rows);
	config.cols = columns;
	config.rows = rows;
	return config;
}

/**
 * console_resized() - the user changed the size of the window
 */
void console_resized(void)
{
	struct virtio_console_config config = window();

	if (console.record)
		device_config(&console, 0, &config, sizeof(config.cols) + sizeof(config.rows));
}

static const struct device_type console_type = {
	.id = VIRTIO_ID_CONSOLE,
#if CHAPTER >= 9
	.queues = 2,
	.serve = { [QUEUE_RX] = serve_rx, [QUEUE_TX] = serve_tx },
#endif
};

/**
 * console_add() - --console on
 * @vm:		the guest
 * @argument:	none
 */
void console_add(struct vm *vm, char *argument)
{
	struct virtio_console_config config = window();

	(void)argument;
#if CHAPTER >= 9
	input = term_input();
#endif
	console.type = &console_type;
	strcpy(console.name, "console");
	device_add(vm, &console, BIT(VIRTIO_CONSOLE_F_SIZE), &config, sizeof(config));
}
