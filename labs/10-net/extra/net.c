// SPDX-License-Identifier: GPL-2.0
/*
 * A submission's net.c between a backend and a driver that do what a script says
 * (lab 10); ../../fake_queue.h has the driver's words. The backend's:
 *
 *	backend tap|peer|gone	what the card has
 *	features N		what the driver chose
 *	frame BYTES		comes from the backend
 *	clog			the backend takes no more, until the card waits for it
 *	leave			then the card must leave instead
 *	sent			print what came to the backend
 */
#include <net.c>
#include "fake_queue.h"

static int outside = -1;	/* the backend's end */
static bool leaving;

static void drain(bool print)
{
	static u8 bytes[BYTES];
	ssize_t n;

	while ((n = recv(outside, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		if (print && !(n == 1 && bytes[0] == 0xc1))
			print_bytes("frame", bytes, n);
}

bool queue_wait(struct virtqueue *vq, int fd, short events)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };

	(void)vq;
	if (events & POLLOUT) {
		printf("waits until the backend takes more\n");
		if (leaving)
			return false;
		drain(false);
		return true;
	}
	return poll(&poll_fd, 1, 0) > 0;
}

static void backend(const char *kind)
{
	struct net *net = device ? to_net(device) : calloc(1, sizeof(*net));
	int pair[2];

	if (!device) {
		pthread_mutex_init(&net->lock, NULL);
		net->device.type = &net_type;
		device = &net->device;
	} else if (net->fd >= 0) {
		close(net->fd);
		close(outside);
	}
	net->fd = net->listener = -1;
	net->path = strcmp(kind, "tap") ? "peer" : NULL;
	if (!strcmp(kind, "gone"))
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair) < 0)
		die(EXIT_HOST, "socketpair: %m");
	net->fd = pair[0];
	outside = pair[1];
}

static bool play_word(char *word, char *rest)
{
	size_t length;
	u8 *bytes;

	if (!strcmp(word, "backend")) {
		backend(rest);
	} else if (!strcmp(word, "features")) {
		device->features = strtoull(rest, NULL, 0);
	} else if (!strcmp(word, "frame")) {
		bytes = bytes_of(rest, &length);
		if (write(outside, bytes, length) != (ssize_t)length)
			die(EXIT_HOST, "frame: %m");
	} else if (!strcmp(word, "clog")) {
		while (write(to_net(device)->fd, "\xc1", 1) == 1)
			;
	} else if (!strcmp(word, "leave")) {
		leaving = true;
	} else if (!strcmp(word, "sent")) {
		drain(true);
	} else {
		return false;
	}
	return true;
}
