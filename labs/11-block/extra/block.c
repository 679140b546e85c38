// SPDX-License-Identifier: GPL-2.0
/*
 * A submission's block.c, a driver that does what a script says (lab 11;
 * ../../fake_queue.h has its words), and a host whose reads and writes may be short:
 *
 *	image FILE[,ro...]	the disk; the first line
 *	features N		what the driver chose
 *	short N			the host transfers at most N bytes at a time, and is interrupted now and then
 *	truncate N		what the image is suddenly cut to
 */
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static ssize_t short_preadv(int fd, const struct iovec *iov, int count, off_t offset);
static ssize_t short_pwritev(int fd, const struct iovec *iov, int count, off_t offset);
static int counted_fdatasync(int fd);

#define preadv short_preadv
#define pwritev short_pwritev
#define fdatasync counted_fdatasync
#include <block.c>
#undef preadv
#undef pwritev
#undef fdatasync
#include "fake_queue.h"

static size_t most;

static ssize_t short_transfer(bool write, int fd, const struct iovec *iov, int count, off_t offset)
{
	static unsigned int calls;
	size_t length;

	if (!most)
		return write ? pwritev(fd, iov, count, offset) : preadv(fd, iov, count, offset);
	if (calls++ % 3 == 1) {
		errno = EINTR;
		return -1;
	}
	while (count && !iov->iov_len)
		iov++, count--;
	if (!count)
		return 0;
	length = iov->iov_len < most ? iov->iov_len : most;
	return write ? pwrite(fd, iov->iov_base, length, offset) : pread(fd, iov->iov_base, length, offset);
}

static ssize_t short_preadv(int fd, const struct iovec *iov, int count, off_t offset)
{
	return short_transfer(false, fd, iov, count, offset);
}

static ssize_t short_pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
	return short_transfer(true, fd, iov, count, offset);
}

static int counted_fdatasync(int fd)
{
	printf("fdatasync\n");
	return fdatasync(fd);
}

bool queue_wait(struct virtqueue *vq, int fd, short events)
{
	(void)vq;
	(void)fd;
	(void)events;
	return false;
}

static bool play_word(char *word, char *rest)
{
	struct block *block;

	if (!strcmp(word, "image")) {
		block_add(NULL, strdup(rest));
		return true;
	}
	block = container_of(device, struct block, device);
	if (!strcmp(word, "features")) {
		device->features = strtoull(rest, NULL, 0);
		device->type->negotiated(device);
	} else if (!strcmp(word, "short")) {
		most = strtoul(rest, NULL, 0);
	} else if (!strcmp(word, "truncate")) {
		if (ftruncate(block->fd, strtoul(rest, NULL, 0)) < 0)
			die(EXIT_HOST, "truncate: %m");
	} else {
		return false;
	}
	return true;
}
