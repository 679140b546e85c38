// SPDX-License-Identifier: GPL-2.0
/*
 * interleave SIZE EVENT_IDX DELAYED REQUESTS: every way in which Linux's driver
 * and the launcher's queue thread can get into each other's way while one says
 * "wake me" and the other "there is more". Both run their real code, as
 * coroutines; before each access to one of the six words that the two agree by,
 * the explorer chooses who goes on. Each side has a store buffer, as x86 has
 * (SDM 3A, 9.2): what it wrote may become visible later, until a full barrier.
 *
 * The search is depth-first and starts anew for each path. A state is what both
 * sides have read so far, the words, the buffers and the wake-ups; one that was
 * seen before is not gone into again. No path may end with both asleep.
 */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <sys/eventfd.h>
#include "driver.h"
#include "trace.h"
#include "virtio.h"

#define RAM		(64 * 1024ULL)
#define STACK		(128 * 1024)
#define BUFFERED	8		/* stores that a side may hold back */
#define LONGEST		4000		/* choices of a path */
#define STATES		(1U << 26)	/* places for seen states */

enum { DRIVER, DEVICE, NOBODY };
static const char *const names[] = { "driver", "device" };

struct store {
	u16 *at, old, new;	/* new is known when its side has gone on */
};

/**
 * struct side - one of the two
 *
 * @stores:	what only this side sees, oldest first. While it runs they stand
 *		in the RAM; while it does not, what the others see stands there
 * @history:	of all that it has read: with the same, it will do the same
 * @asleep:	until a wake-up
 */
struct side {
	ucontext_t context;
	struct store stores[BUFFERED];
	unsigned int nr_stores;
	u64 history;
	unsigned int wakeups;
	bool asleep;
};

static struct side sides[2];
static ucontext_t explorer;
static unsigned int running;		/* a side, or NOBODY */
static bool finished;			/* the driver has everything */
static u16 *words[6];
static struct driver *driver;
static struct memory memory;
static struct ringlet_device record;
static struct vm vm;
static unsigned int size, event_idx, delayed, requests, served;

/* A path: what was chosen, of how many. */
static struct { u8 chosen, of; } path[LONGEST];
static unsigned int depth, known;	/* choices made; those that are given */
static bool pruned, loud;
static u64 *seen, nr_seen, nr_paths;

unsigned char *ram_base;
static size_t ram_used;

void *ram_alloc(size_t length)
{
	void *at = ram_base + ram_used;

	ram_used += (length + 63) & ~63UL;
	if (ram_used > RAM)
		abort();
	return at;
}

void ram_free(void *at)
{
	(void)at;		/* each path begins with an empty RAM */
}

void die(enum exit_code code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vprintf(fmt, args);
	puts("");
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

void trace_queue(const struct virtqueue *vq, const char *step, u16 index, u16 head, u32 length)
{
	(void)vq;
	(void)step;
	(void)index;
	(void)head;
	(void)length;
}

/* Store buffers */

static void hide(struct side *side)		/* it stops running */
{
	for (unsigned int n = side->nr_stores; n--;) {
		side->stores[n].new = *side->stores[n].at;
		*side->stores[n].at = side->stores[n].old;
	}
}

static void show(struct side *side)		/* it goes on */
{
	for (unsigned int n = 0; n < side->nr_stores; n++) {
		side->stores[n].old = *side->stores[n].at;
		*side->stores[n].at = side->stores[n].new;
	}
}

static void drain_oldest(struct side *side, bool hidden)
{
	if (hidden)
		*side->stores[0].at = side->stores[0].new;
	memmove(side->stores, side->stores + 1, --side->nr_stores * sizeof(*side->stores));
}

/* States */

static u64 mix(u64 hash, u64 value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15ULL;
	return hash ^ hash >> 29;
}

/* Return: whether it was seen before. Called with both sides hidden. */
static bool see(unsigned int turn)
{
	u64 hash = mix(1, turn);

	for (unsigned int n = 0; n < ARRAY_SIZE(words); n++)
		hash = mix(hash, *words[n]);
	for (unsigned int n = 0; n < 2; n++) {
		hash = mix(mix(mix(hash, sides[n].history), sides[n].wakeups), sides[n].asleep);
		for (unsigned int i = 0; i < sides[n].nr_stores; i++)
			hash = mix(mix(hash, (u64)sides[n].stores[i].at), sides[n].stores[i].new);
	}
	hash |= !hash;
	for (u64 at = hash % STATES;; at = (at + 1) % STATES) {
		if (seen[at] == hash)
			return true;
		if (!seen[at]) {
			seen[at] = hash;
			if (++nr_seen > STATES / 2)
				die(2, "more states than there is room for");
			return false;
		}
	}
}

static unsigned int choose(unsigned int options)
{
	if (depth == LONGEST)
		die(1, "a path without an end");
	if (depth >= known) {
		path[depth].chosen = 0;
		path[depth].of = options;
		known = depth + 1;
	}
	return path[depth++].chosen;
}

static void to_explorer(struct side *side)
{
	hide(side);
	running = NOBODY;
	swapcontext(&side->context, &explorer);
	show(side);
}

/*
 * The explorer, with both sides hidden: who goes on, or whose store becomes
 * visible? Return: a side; NOBODY if neither can go on, or need not.
 */
static unsigned int next(unsigned int turn)
{
	for (;;) {
		bool can[] = { !sides[0].asleep || sides[0].wakeups, !sides[1].asleep || sides[1].wakeups };
		unsigned int other = !turn, options = 0, option[3], chosen;

		if (finished || (!can[0] && !can[1]))
			return NOBODY;
		if (depth >= known && see(turn)) {
			pruned = true;
			return NOBODY;
		}
		if (can[turn])
			option[options++] = 0;
		if (can[other])
			option[options++] = 1;
		/* Draining one's own store changes nothing until the other goes on, so the other's turn will do. */
		if (can[turn] && sides[other].nr_stores)
			option[options++] = 2;
		chosen = option[options > 1 ? choose(options) : 0];
		if (chosen < 2)
			return chosen ? other : turn;
		if (loud)
			printf("  the %s's store becomes visible\n", names[other]);
		drain_oldest(&sides[other], true);
	}
}

/* Called before each access; order is that of an atomic one. */
void trace(bool write, const volatile void *at, size_t length, int order)
{
	struct side *side = &sides[running];
	unsigned int word;

	if (running == NOBODY)
		return;
	if (!at) {
		if (order == __ATOMIC_SEQ_CST)
			side->nr_stores = 0;
		return;
	}
	for (word = 0; word < ARRAY_SIZE(words) && words[word] != at; word++)
		;
	if (word == ARRAY_SIZE(words) || length != sizeof(u16))
		return;
	to_explorer(side);
	if (loud)
		printf("  %s %s word %u, %u\n", names[running], write ? "writes" : "reads", word, *words[word]);
	side->history = mix(side->history, write ? 100 + word : mix(word, *words[word]));
	if (!write)
		return;
	if (order == __ATOMIC_SEQ_CST) {
		side->nr_stores = 0;
		return;
	}
	if (side->nr_stores == BUFFERED)
		drain_oldest(side, false);
	side->stores[side->nr_stores++] = (struct store){ words[word], *words[word], 0 };
}

/* Wake-ups: by a trap or with a lock, which are full barriers. */

static void wake(unsigned int whom)
{
	sides[running].nr_stores = 0;
	sides[whom].wakeups++;
	if (loud)
		printf("  the %s is woken\n", names[whom]);
}

static void sleep_until_woken(void)
{
	struct side *side = &sides[running];

	side->asleep = true;
	if (loud)
		printf("  the %s sleeps\n", names[running]);
	to_explorer(side);
	side->asleep = false;
	side->wakeups = 0;
	side->history = mix(side->history, 200);
}

int model_poll(struct pollfd *fds, nfds_t count, int timeout)
{
	(void)timeout;
	sleep_until_woken();
	for (nfds_t n = 0; n < count; n++)
		fds[n].revents = n ? 0 : POLLIN;
	return 1;
}

int model_read(int fd, eventfd_t *value)
{
	(void)fd;
	*value = 1;
	return 0;
}

int model_write(int fd, eventfd_t value)
{
	(void)fd;
	(void)value;
	return 0;
}

void line_raise(struct vm *guest, unsigned int line)
{
	(void)guest;
	(void)line;
	wake(DRIVER);
}

static bool kick(void *context)
{
	(void)context;
	wake(DEVICE);
	return true;
}

/* The two programs */

static void serve(struct virtqueue *vq)
{
	struct chain chain;

	while (queue_next(vq, &chain)) {
		served++;
		queue_push(vq, chain.head, 1);
	}
}

static const struct device_type type = { .queues = 1, .serve = { serve } };
static struct device device = { .type = &type, .vm = &vm, .record = &record };
static void *(*thread)(void *argument);

int model_create(pthread_t *id, const pthread_attr_t *attr, void *(*start)(void *), void *argument)
{
	(void)id;
	(void)attr;
	(void)argument;
	thread = start;
	return 0;
}

static void device_main(void)
{
	thread(&device.queues[0]);
	abort();
}

static void driver_main(void)
{
	struct buffer in = { ram_base + RAM - 16, 16 };
	unsigned int added = 0, done = 0, length;

	while (done < requests) {
		while (added < requests && !driver_add(driver, NULL, 0, &in, 1, &in)) {
			added++;
			driver_kick(driver);
		}
		while (driver_get(driver, &length))
			done++;
		if (done == requests || (added < requests && done == added))
			continue;
		if (delayed ? driver_enable_cb_delayed(driver) : driver_enable_cb(driver)) {
			sleep_until_woken();
			driver_interrupt(driver);
			driver_disable_cb(driver);
		}
	}
	finished = true;
	to_explorer(&sides[DRIVER]);
	abort();
}

/* One path */

static void begin(void)
{
	static char stacks[2][STACK];
	static void (*const programs[])(void) = { driver_main, device_main };
	struct virtqueue *vq = &device.queues[0];
	size_t used = PAGE_SIZE;
	struct ringlet_queue setup = { .size = size, .avail = size * 16, .used = used };

	ram_used = 2 * PAGE_SIZE;
	memset(ram_base, 0, ram_used);
	memset(sides, 0, sizeof(sides));
	memset(vq, 0, sizeof(*vq));
	vq->device = &device;
	vq->memory = &memory;
	running = NOBODY;
	finished = pruned = false;
	served = depth = 0;
	driver = driver_new(size, ram_base, event_idx, false, kick, NULL);
	if (queue_setup(vq, &setup) || queue_start(vq))
		die(2, "the launcher refuses the queue");
	words[0] = &vq->avail->flags;
	words[1] = &vq->avail->idx;
	words[2] = &vq->avail->ring[size];
	words[3] = &vq->used->flags;
	words[4] = &vq->used->idx;
	words[5] = (u16 *)&vq->used->ring[size];
	for (unsigned int n = 0; n < 2; n++) {
		getcontext(&sides[n].context);
		sides[n].context.uc_stack = (stack_t){ .ss_sp = stacks[n], .ss_size = STACK };
		makecontext(&sides[n].context, programs[n], 0);
	}
}

static void walk(void)
{
	unsigned int turn = DRIVER;

	begin();
	while ((turn = next(turn)) != NOBODY) {
		running = turn;
		swapcontext(&explorer, &sides[turn].context);
	}
	nr_paths++;
}

/* The next path that differs. Return: false after the last. */
static bool advance(void)
{
	while (known && path[known - 1].chosen + 1 == path[known - 1].of)
		known--;
	if (!known)
		return false;
	path[known - 1].chosen++;
	return true;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		die(2, "usage: interleave SIZE EVENT_IDX DELAYED REQUESTS");
	size = atoi(argv[1]);
	event_idx = atoi(argv[2]);
	delayed = atoi(argv[3]);
	requests = atoi(argv[4]);
	ram_base = aligned_alloc(PAGE_SIZE, RAM);
	memory = (struct memory){ ram_base, RAM };
	device.features = BIT(VIRTIO_F_VERSION_1) | (event_idx ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0);
	seen = calloc(STATES, sizeof(*seen));
	do {
		walk();
		if (!finished && !pruned) {
			loud = true;
			printf("both sleep, %u of %u served:\n", served, requests);
			walk();
			return 1;
		}
	} while (advance());
	printf("%llu states, %llu paths: no wake-up is lost\n", nr_seen, nr_paths);
	return 0;
}
