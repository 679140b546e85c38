// SPDX-License-Identifier: GPL-2.0
/*
 * The block device (chapter 11; virtio 1.2, 5.2) on a raw image or a host block
 * device. One queue; its thread does each request synchronously. A request is
 * header, data and one status byte, however the driver splits them over
 * descriptors.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "virtio.h"

#define SECTOR		512ULL
#define MAX_SEGMENTS	16		/* of one discard or write-zeroes request */
#define MAX_DISCARD	(1U << 22)	/* sectors: 2 GiB */
#define MAX_ZEROES	(1U << 15)	/* sectors: 16 MiB, perhaps by hand */

/**
 * struct block - a disk
 *
 * @sectors:	its capacity
 * @serial:	what GET_ID says, padded with NUL
 * @read_only:	every change is refused, whatever the driver negotiated
 * @write_back:	a write may wait for the next flush; else it is durable at once
 */
struct block {
	struct device device;
	int fd;
	u64 sectors;
	char serial[VIRTIO_BLK_ID_BYTES];
	bool read_only;
	atomic_bool write_back;
};

static bool in_range(const struct block *block, u64 sector, u64 count)
{
#if SOLUTION >= 1105
	return count <= block->sectors && sector <= block->sectors - count;
#else
	/* Exercise 11.5: the driver may say any number. */
	EXERCISE("11.5");
	return sector + count == block->sectors;
#endif
}

static u8 status_of(bool success)
{
	return success ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
}

static u8 flush(struct block *block)
{
	return status_of(fdatasync(block->fd) == 0);
}

/* The end of each request that changed something. */
static u8 written(struct block *block)
{
	return atomic_load(&block->write_back) ? VIRTIO_BLK_S_OK : flush(block);
}

/* The host may transfer less than it was asked for: go on behind that. */
static bool transfer(struct block *block, bool write, struct iovec *iov, unsigned int count,
		     u64 offset)
{
#if SOLUTION >= 1105
	while (count) {
		ssize_t n = write ? pwritev(block->fd, iov, count, offset) :
				    preadv(block->fd, iov, count, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		offset += n;
		iov_advance(&iov, &count, n);
	}
	return true;
#else
	/* Exercise 11.5: until all of it is done; iov_advance() drops what is. */
	EXERCISE("11.5");
	return (write ? pwritev(block->fd, iov, count, offset) :
			preadv(block->fd, iov, count, offset)) > 0;
#endif
}

static u8 do_read(struct block *block, u64 sector, struct chain *chain, u32 *filled)
{
#if SOLUTION >= 1105
	if (chain->in_length % SECTOR || !in_range(block, sector, chain->in_length / SECTOR))
		return VIRTIO_BLK_S_IOERR;
	if (!transfer(block, false, chain->in, chain->nr_in, sector * SECTOR))
		return VIRTIO_BLK_S_IOERR;
	*filled = chain->in_length;
	return VIRTIO_BLK_S_OK;
#else
	/* Exercise 11.5: check, transfer, and say how much is filled. */
	EXERCISE("11.5");
	*filled = in_range(block, sector, 0);
	return status_of(transfer(block, false, chain->in, chain->nr_in, 0));
#endif
}

static u8 do_write(struct block *block, u64 sector, struct chain *chain)
{
#if SOLUTION >= 1105
	if (block->read_only || chain->out_length % SECTOR ||
	    !in_range(block, sector, chain->out_length / SECTOR))
		return VIRTIO_BLK_S_IOERR;
	if (!transfer(block, true, chain->out, chain->nr_out, sector * SECTOR))
		return VIRTIO_BLK_S_IOERR;
	return written(block);
#else
	/* Exercise 11.5: and who may write at all? */
	EXERCISE("11.5");
	return transfer(block, true, chain->out, chain->nr_out, sector) ? written(block) : 1;
#endif
}

static u8 get_id(struct block *block, struct chain *chain, u32 *filled)
{
	*filled = chain_write(chain, block->serial, sizeof(block->serial));
	return VIRTIO_BLK_S_OK;
}

/* For file systems that cannot do it: plain zeroes. */
static bool write_zeroes(struct block *block, u64 offset, u64 length)
{
	static const char zeroes[64 * 1024];

	while (length) {
		size_t now = length < sizeof(zeroes) ? length : sizeof(zeroes);
		struct iovec iov = { (void *)zeroes, now };

		if (!transfer(block, true, &iov, 1, offset))
			return false;
		offset += now;
		length -= now;
	}
	return true;
}

static bool discard_one(struct block *block, u64 offset, u64 length)
{
	/* A hint: a file system without holes keeps the data. */
	return !fallocate(block->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
			  length) || errno == EOPNOTSUPP;
}

static bool zero_one(struct block *block, u64 offset, u64 length, bool unmap)
{
	int how = unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;

	return !fallocate(block->fd, how | FALLOC_FL_KEEP_SIZE, offset, length) ||
	       write_zeroes(block, offset, length);
}

/* Discard and write-zeroes: a list of segments instead of data. */
static u8 do_segments(struct block *block, bool zeroes, struct chain *chain)
{
	struct virtio_blk_discard_write_zeroes segment;
	u64 count = chain->out_length / sizeof(segment);

	if (block->read_only || !count || count > MAX_SEGMENTS ||
	    chain->out_length % sizeof(segment))
		return VIRTIO_BLK_S_IOERR;
	while (chain_read(chain, &segment, sizeof(segment))) {
		u64 offset = segment.sector * SECTOR, length = segment.num_sectors * SECTOR;
		bool unmap = segment.flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;

		if (segment.flags & ~VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP || (unmap && !zeroes))
			return VIRTIO_BLK_S_UNSUPP;
		if (segment.num_sectors > (zeroes ? MAX_ZEROES : MAX_DISCARD) ||
		    !in_range(block, segment.sector, segment.num_sectors))
			return VIRTIO_BLK_S_IOERR;
		if (!length)
			continue;
		if (zeroes ? !zero_one(block, offset, length, unmap) :
			     !discard_one(block, offset, length))
			return VIRTIO_BLK_S_IOERR;
	}
	return written(block);
}

static u8 execute(struct block *block, struct chain *chain, u32 *filled)
{
#if SOLUTION >= 1104
	struct virtio_blk_outhdr header;

	if (chain_read(chain, &header, sizeof(header)) != sizeof(header))
		return VIRTIO_BLK_S_IOERR;
	switch (header.type) {
	case VIRTIO_BLK_T_IN:
		return do_read(block, header.sector, chain, filled);
	case VIRTIO_BLK_T_OUT:
		return do_write(block, header.sector, chain);
	case VIRTIO_BLK_T_FLUSH:
		return flush(block);
	case VIRTIO_BLK_T_GET_ID:
		return get_id(block, chain, filled);
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return do_segments(block, header.type == VIRTIO_BLK_T_WRITE_ZEROES, chain);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
#else
	/* Exercise 11.4: read the header once; each type has its function, or none. */
	EXERCISE("11.4");
	do_read(block, 0, chain, filled);
	get_id(block, chain, filled);
	return do_write(block, 0, chain) + do_segments(block, false, chain);
#endif
}

/* Return: how many bytes the driver finds written, the status included. */
static u32 handle(struct block *block, struct chain *chain)
{
#if SOLUTION >= 1104
	u8 *status = chain_last_byte(chain);
	u32 filled = 0;

	if (!status)
		return 0;	/* there is no way to say what is wrong */
	*status = execute(block, chain, &filled);
	return filled + 1;
#else
	u32 filled = 0;

	/* Exercise 11.4: the last byte of all is the status's; 0 if there is none. */
	EXERCISE("11.4");
	return execute(block, chain, &filled);
#endif
}

static void serve(struct virtqueue *vq)
{
	struct block *block = container_of(vq->device, struct block, device);
	struct chain chain;

	while (queue_next(vq, &chain))
		queue_push(vq, chain.head, handle(block, &chain));
}

static void set_write_back(struct block *block, u8 on)
{
	atomic_store(&block->write_back, on);
	device_config(&block->device, offsetof(struct virtio_blk_config, wce), &on, 1);
}

/* 5.2.6.2: a driver that cannot flush must find each write durable. */
static void negotiated(struct device *device)
{
	struct block *block = container_of(device, struct block, device);

	set_write_back(block, !device->features || device->features & BIT(VIRTIO_BLK_F_FLUSH));
}

/* CONFIG_WCE: the driver may turn the write cache on and off. */
static int config_write(struct device *device, u64 offset, u64 length, u64 value)
{
	struct block *block = container_of(device, struct block, device);

	if (offset != offsetof(struct virtio_blk_config, wce) || length != 1 || value > 1 ||
	    !(device->features & BIT(VIRTIO_BLK_F_CONFIG_WCE)))
		return -EINVAL;
	set_write_back(block, value);
	return 0;
}

static void close_disk(struct device *device)
{
	struct block *block = container_of(device, struct block, device);

	if (!block->read_only && fdatasync(block->fd) < 0)
		warn("%s: cannot flush: %m; the image may be incomplete", device->name);
	close(block->fd);
}

static const struct device_type block_type = {
	.id = VIRTIO_ID_BLOCK,
	.queues = 1,
	.serve = { serve },
	.negotiated = negotiated,
	.config_write = config_write,
	.close = close_disk,
};

static void open_disk(struct block *block, const char *file)
{
	struct stat st;
	off_t size;

	block->fd = open(file, (block->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (block->fd < 0 && errno == ENOENT)
		die(EXIT_HOST, "-d %s: not there; make one with `truncate -s 1G %s`", file, file);
	if (block->fd < 0 && (errno == EACCES || errno == EROFS || errno == EPERM))
		die(EXIT_HOST, "-d %s: may not be written: %m; say -d %s,ro or change its mode",
		    file, file);
	if (block->fd < 0 || fstat(block->fd, &st) < 0)
		die(EXIT_HOST, "-d %s: %m", file);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		die(EXIT_HOST, "-d %s: neither a file nor a block device", file);
	/* Two guests may share an image only if neither writes. */
	if (flock(block->fd, (block->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0)
		die(EXIT_HOST, "-d %s: busy in another launcher; end that one or copy the image",
		    file);
	size = lseek(block->fd, 0, SEEK_END);
	if (size < (off_t)SECTOR)
		die(EXIT_HOST, "-d %s: smaller than one sector; `truncate -s 1G %s`", file, file);
	if (size % SECTOR)
		warn("-d %s: not a multiple of %llu bytes; the last %llu are not used", file,
		     SECTOR, size % SECTOR);
	block->sectors = size / SECTOR;
}

/**
 * block_add() - -d FILE[,ro][,serial=TEXT]
 * @vm:		the guest
 * @argument:	the text; cut up here
 */
void block_add(struct vm *vm, char *argument)
{
	struct block *block = calloc(1, sizeof(*block));
	char *rest = argument, *file = strsep(&rest, ","), *name, *value;
	const char *base = strrchr(file, '/');
	struct virtio_blk_config config = {
		.seg_max = QUEUE_SIZE - 2,	/* header and status want one each */
		.blk_size = SECTOR,
		.wce = 1,
		.max_discard_sectors = MAX_DISCARD,
		.max_discard_seg = MAX_SEGMENTS,
		.discard_sector_alignment = 1,
		.max_write_zeroes_sectors = MAX_ZEROES,
		.max_write_zeroes_seg = MAX_SEGMENTS,
		.write_zeroes_may_unmap = 1,
	};
	u64 features = BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) |
		       BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_CONFIG_WCE);

	if (!block)
		die(EXIT_HOST, "-d %s: %m", file);
	base = base ? base + 1 : file;
	while (next_suboption(&rest, &name, &value)) {
		if (!strcmp(name, "ro") && !value)
			block->read_only = true;
		else if (!strcmp(name, "serial") && value && strlen(value) <= VIRTIO_BLK_ID_BYTES)
			base = value;
		else
			die(EXIT_USAGE, "-d %s: %s: neither ro nor serial=TEXT, at most %d characters",
			    file, name, VIRTIO_BLK_ID_BYTES);
	}
	memcpy(block->serial, base, strnlen(base, sizeof(block->serial)));
	open_disk(block, file);
	config.capacity = block->sectors;
	block->write_back = true;
	if (block->read_only)
		features |= BIT(VIRTIO_BLK_F_RO);
	else
		features |= BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	block->device.type = &block_type;
	snprintf(block->device.name, sizeof(block->device.name), "disk %s", file);
	device_add(vm, &block->device, features, &config,
		   offsetof(struct virtio_blk_config, max_secure_erase_sectors));
}
