// SPDX-License-Identifier: GPL-2.0
/*
 * ring SIZE EVENT_IDX INDIRECT REQUESTS SEED: requests of random shapes go from
 * Linux's driver to the launcher's queue and back. Each must come back exactly
 * once, with the device's answer, of the length that it says; and neither side
 * may wait for the other for ever.
 */
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sanitizer/asan_interface.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include "driver.h"
#include "virtio.h"

#define RAM		(16 * MIB)
#define SLOT		8192U		/* what the RAM is handed out in */
#define PIECES		6		/* buffers of a request, each way */
#define LONGEST		700		/* bytes of one */
#define PATIENCE_MS	20000		/* nothing takes so long but a lost wake-up */

unsigned char *ram_base;

static struct memory memory;
static struct ringlet_device record;
static struct vm vm;
static int interrupts;			/* eventfd: what line_raise() does */

/* RAM: slots, the first of which are the ring. A free one may not be touched. */

static void *free_slots[RAM / SLOT];
static unsigned int nr_free;
static pthread_mutex_t ram_lock = PTHREAD_MUTEX_INITIALIZER;

void *ram_alloc(size_t size)
{
	void *at;

	if (size > SLOT)
		abort();
	pthread_mutex_lock(&ram_lock);
	if (!nr_free)
		abort();
	at = free_slots[--nr_free];
	pthread_mutex_unlock(&ram_lock);
	ASAN_UNPOISON_MEMORY_REGION(at, SLOT);
	ASAN_POISON_MEMORY_REGION((char *)at + size, SLOT - size);
	return at;
}

void ram_free(void *at)
{
	if (!at)
		return;
	ASAN_POISON_MEMORY_REGION(at, SLOT);
	pthread_mutex_lock(&ram_lock);
	free_slots[nr_free++] = at;
	pthread_mutex_unlock(&ram_lock);
}

static void ram_init(size_t ring)
{
	ram_base = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ram_base == MAP_FAILED)
		abort();
	for (size_t at = RAM - SLOT; at >= ring; at -= SLOT)
		ram_free(ram_base + at);
	memory = (struct memory){ ram_base, RAM };
}

/* What the launcher's queue code calls. */

void die(enum exit_code code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	exit(code);
}

void warn(const char *fmt, ...)
{
	(void)fmt;
}

void device_broken(struct device *device, const char *why)
{
	(void)device;
	die(1, "the device gave up: %s", why);
}

void line_raise(struct vm *guest, unsigned int line)
{
	(void)guest;
	(void)line;
	eventfd_write(interrupts, 1);
}

/* The device: the answer is the question, each byte plus 1, as often as it fits. */

static unsigned int served;

static u32 answer(struct chain *chain)
{
	u8 question[PIECES * LONGEST], byte;
	size_t length = chain_read(chain, question, sizeof(question));
	u32 written = 0, wanted = length ? question[0] * 7 % (chain->in_length + 1) : 0;

	while (written < wanted) {
		byte = question[written % length] + 1;
		if (chain_write(chain, &byte, 1) != 1)
			die(1, "no room for byte %u of %u", written, wanted);
		written++;
	}
	return written;
}

/* Now and then several answers with one publish. */
static void serve(struct virtqueue *vq)
{
	unsigned int held = 0, seed = 1;
	struct chain chain;

	while (queue_next(vq, &chain)) {
		queue_fill(vq, chain.head, answer(&chain));
		served++;
		/* Nothing may be held back when there is nothing more to take. */
		if (++held > (unsigned int)rand_r(&seed) % 4 || __atomic_load_n(&vq->avail->idx, __ATOMIC_ACQUIRE) == vq->last_avail) {
			queue_publish(vq);
			held = 0;
		}
	}
}

static const struct device_type type = { .queues = 1, .serve = { serve } };
static struct device device = { .type = &type, .vm = &vm, .record = &record };

/* The driver. */

/**
 * struct request - one on its way
 *
 * @out, @in:	its buffers, all in the RAM
 * @question:	what is in the first of them, if any
 */
struct request {
	struct buffer out[PIECES], in[PIECES];
	unsigned int nr_out, nr_in;
	size_t out_length, in_length;
	bool pending;
};

static unsigned int seed;

static unsigned int below(unsigned int limit)
{
	return rand_r(&seed) % limit;
}

static bool kick(void *context)
{
	struct virtqueue *vq = context;

	eventfd_write(vq->kick, 1);
	return true;
}

static size_t make_buffers(struct buffer *buffers, unsigned int count)
{
	size_t length = 0;

	for (unsigned int n = 0; n < count; n++) {
		buffers[n].length = 1 + below(LONGEST);
		buffers[n].at = ram_alloc(buffers[n].length);
		for (unsigned int i = 0; i < buffers[n].length; i++)
			((u8 *)buffers[n].at)[i] = rand_r(&seed);
		length += buffers[n].length;
	}
	return length;
}

static void free_buffers(struct buffer *buffers, unsigned int count)
{
	while (count--)
		ram_free(buffers[count].at);
}

static struct request *make_request(unsigned int pieces)
{
	struct request *request = calloc(1, sizeof(*request));

	do {
		request->nr_out = below(PIECES + 1);
		request->nr_in = below(PIECES + 1);
	} while (!(request->nr_out + request->nr_in) || request->nr_out + request->nr_in > pieces);
	request->out_length = make_buffers(request->out, request->nr_out);
	request->in_length = make_buffers(request->in, request->nr_in);
	return request;
}

static u8 byte_at(const struct buffer *buffers, size_t index)
{
	while (index >= buffers->length)
		index -= buffers++->length;
	return ((u8 *)buffers->at)[index];
}

static void check_answer(const struct request *request, unsigned int length)
{
	size_t wanted = 0;

	if (request->out_length)
		wanted = byte_at(request->out, 0) * 7 % (request->in_length + 1);
	if (length != wanted)
		die(1, "%u bytes came back, not %zu", length, wanted);
	for (size_t n = 0; n < wanted; n++)
		if (byte_at(request->in, n) != (u8)(byte_at(request->out, n % request->out_length) + 1))
			die(1, "byte %zu of %zu is wrong", n, wanted);
}

/* Take what has come back. Return: how many. */
static unsigned int reap(struct driver *driver)
{
	struct request *request;
	unsigned int length, count = 0;

	while ((request = driver_get(driver, &length))) {
		if (!request->pending)
			die(1, "a request came back twice");
		request->pending = false;
		check_answer(request, length);
		free_buffers(request->out, request->nr_out);
		free_buffers(request->in, request->nr_in);
		free(request);
		count++;
	}
	return count;
}

/* Sleep as a driver does: ask for an interrupt, look once more, wait. */
static void wait_for_interrupt(struct driver *driver)
{
	struct pollfd fd = { interrupts, POLLIN, 0 };
	eventfd_t count;

	if (!(below(2) ? driver_enable_cb(driver) : driver_enable_cb_delayed(driver)))
		return;
	if (poll(&fd, 1, PATIENCE_MS) != 1)
		die(1, "the driver waits, and nobody wakes it");
	eventfd_read(interrupts, &count);
	driver_interrupt(driver);
	driver_disable_cb(driver);
}

static void run(struct driver *driver, unsigned int size, unsigned int requests)
{
	/* 2.7.5.3.1: no chain is longer than the ring; Linux leaves that to its drivers if it is indirect. */
	unsigned int added = 0, done = 0, pieces = size < 2 * PIECES ? size : 2 * PIECES;

	while (done < requests) {
		unsigned int burst = 1 + below(size);

		while (burst-- && added < requests) {
			struct request *request = make_request(pieces);

			if (driver_add(driver, request->out, request->nr_out, request->in,
				       request->nr_in, request)) {
				free_buffers(request->out, request->nr_out);
				free_buffers(request->in, request->nr_in);
				free(request);
				break;		/* the ring is full */
			}
			request->pending = true;
			added++;
			if (!below(3))
				driver_kick(driver);
		}
		driver_kick(driver);
		done += reap(driver);
		if (done < added && below(3))
			wait_for_interrupt(driver);
	}
	if (served != requests || driver_free_descriptors(driver) != size)
		die(1, "%u of %u served, %u of %u descriptors free", served, requests,
		    driver_free_descriptors(driver), size);
}

int main(int argc, char **argv)
{
	static const char usage[] = "usage: ring SIZE EVENT_IDX INDIRECT REQUESTS SEED";
	unsigned int size, event_idx, indirect, requests;
	struct virtqueue *vq = &device.queues[0];
	struct ringlet_queue setup;
	struct driver *driver;
	size_t used;

	if (argc != 6)
		die(2, "%s", usage);
	size = atoi(argv[1]);
	event_idx = atoi(argv[2]);
	indirect = atoi(argv[3]);
	requests = atoi(argv[4]);
	seed = atoi(argv[5]);

	/* vring_init(): the used ring begins on the next page behind the available ring */
	used = (size * 18 + 6 + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	ram_init((used + PAGE_SIZE + SLOT - 1) / SLOT * SLOT);
	interrupts = eventfd(0, 0);
	vq->device = &device;
	vq->memory = &memory;
	vq->kick = eventfd(0, EFD_NONBLOCK);
	device.features = BIT(VIRTIO_F_VERSION_1) | (event_idx ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0) |
			  (indirect ? BIT(VIRTIO_RING_F_INDIRECT_DESC) : 0);
	setup = (struct ringlet_queue){ .size = size, .desc = 0, .avail = size * 16, .used = used };
	driver = driver_new(size, ram_base, event_idx, indirect, kick, vq);
	if (queue_setup(vq, &setup) || queue_start(vq))
		die(1, "the launcher refuses the queue");
	run(driver, size, requests);
	queue_stop(vq);
	driver_delete(driver);
	printf("%u requests, a ring of %u%s%s: each came back once, as it should\n", requests, size,
	       event_idx ? ", event index" : "", indirect ? ", indirect" : "");
	return 0;
}
