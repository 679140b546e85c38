// SPDX-License-Identifier: GPL-2.0
/* The descriptor walk against malformed rings, and notification suppression. */
#include "virtqueue.c"
#include "test.h"

#define SIZE 8

static struct memory memory;
static struct ringlet_device record;
static struct device device = { .record = &record };
static struct virtqueue *vq = &device.queues[0];
static struct chain chain;
static unsigned int broken, raised;
static u16 avail_idx;

void device_broken(struct device *d, const char *why)
{
	(void)d;
	snprintf(last_message, sizeof(last_message), "%s", why);
	broken++;
}

void line_raise(struct vm *vm, unsigned int line)
{
	(void)vm;
	(void)line;
	raised++;
}

static void fresh(u64 features)
{
	struct ringlet_queue setup = {
		.size = SIZE, .desc = DESC_GPA, .avail = AVAIL_GPA, .used = USED_GPA,
	};

	if (!memory.base)
		memory_alloc(&memory, RAM_SIZE);
	memset(memory.base, 0, 0x10000);
	vq->device = &device;
	vq->memory = &memory;
	device.features = features;
	CHECK(queue_setup(vq, &setup) == 0);
	broken = raised = avail_idx = 0;
}

static struct vring_desc *desc(unsigned int i)
{
	return &vq->desc[i];
}

static void set(struct vring_desc *d, u64 addr, u32 len, u16 flags, u16 next)
{
	*d = (struct vring_desc){ addr, len, flags, next };
}

static void offer(u16 head)
{
	vq->avail->ring[avail_idx++ % SIZE] = head;
	vq->avail->idx = avail_idx;
}

/* The chain at descriptor 0 must break the queue, and only say so once. */
static bool refused(const char *why)
{
	offer(0);
	if (queue_pop(vq, &chain) || broken != 1 || !strstr(last_message, why)) {
		fprintf(stderr, "broken %u, message: %s\n", broken, last_message);
		return false;
	}
	return !queue_pop(vq, &chain) && broken == 1;
}

static void test_good_chain(void)
{
	char bytes[8] = { 0 };

	fresh(0);
	set(desc(3), DATA_GPA, 4, VRING_DESC_F_NEXT, 5);
	set(desc(5), DATA_GPA + 100, 0, VRING_DESC_F_NEXT, 6);
	set(desc(6), DATA_GPA + 4, 3, VRING_DESC_F_NEXT, 1);
	set(desc(1), DATA_GPA + 64, 2, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 2);
	set(desc(2), DATA_GPA + 128, 1, VRING_DESC_F_WRITE, 0);
	memcpy(memory.base + DATA_GPA, "abcdefg", 7);
	offer(3);
	CHECK(queue_pop(vq, &chain) && chain.head == 3);
	CHECK(chain.out_length == 7 && chain.in_length == 3 && chain.nr_out == 2);
	CHECK(chain_read(&chain, bytes, 5) == 5 && !strcmp(bytes, "abcde"));
	CHECK(chain_read(&chain, bytes, 5) == 2 && chain.out_length == 0);
	CHECK(chain_last_byte(&chain) == memory.base + DATA_GPA + 128);
	CHECK(chain_write(&chain, "XYZ", 3) == 2);
	CHECK(!chain_last_byte(&chain));
	queue_push(vq, 3, 2);
	CHECK(vq->used->idx == 1 && vq->used->ring[0].id == 3 && vq->used->ring[0].len == 2);
	CHECK(!queue_pop(vq, &chain) && !broken);
}

static void test_loop(void)
{
	fresh(0);
	set(desc(0), DATA_GPA, 1, VRING_DESC_F_NEXT, 1);
	set(desc(1), DATA_GPA, 1, VRING_DESC_F_NEXT, 0);
	CHECK(refused("loop"));
	fresh(0);	/* of empty buffers, which take no room in the chain */
	set(desc(0), DATA_GPA, 0, VRING_DESC_F_NEXT, 0);
	CHECK(refused("loop"));
}

static void test_indexes(void)
{
	fresh(0);
	set(desc(0), DATA_GPA, 1, VRING_DESC_F_NEXT, SIZE);
	CHECK(refused("index out of range"));
	fresh(0);
	offer(SIZE);
	CHECK(!queue_pop(vq, &chain) && broken == 1);
	fresh(0);
	vq->avail->idx = SIZE + 1;
	CHECK(!queue_pop(vq, &chain) && broken == 1 && strstr(last_message, "jumped"));
	fresh(0);
	vq->avail->idx = -1;
	CHECK(!queue_pop(vq, &chain) && broken == 1);
}

static void test_in_flight(void)
{
	fresh(0);
	set(desc(0), DATA_GPA, 1, 0, 0);
	offer(0);
	CHECK(queue_pop(vq, &chain));
	offer(0);
	CHECK(!queue_pop(vq, &chain) && broken == 1 && strstr(last_message, "in flight"));
	fresh(0);
	for (int i = 0; i < SIZE; i++) {
		set(desc(i), DATA_GPA, 1, 0, 0);
		offer(i);
		CHECK(queue_pop(vq, &chain));
	}
	offer(0);	/* a ninth of eight */
	CHECK(!queue_pop(vq, &chain) && broken == 1 && strstr(last_message, "jumped"));
}

static void test_addresses(void)
{
	fresh(0);
	set(desc(0), RAM_SIZE - 1, 1, 0, 0);
	offer(0);
	CHECK(queue_pop(vq, &chain));
	fresh(0);
	set(desc(0), RAM_SIZE - 1, 2, 0, 0);
	CHECK(refused("RAM"));
	fresh(0);	/* the device page, right behind RAM */
	set(desc(0), RAM_SIZE, 1, VRING_DESC_F_WRITE, 0);
	CHECK(refused("RAM"));
	fresh(0);
	set(desc(0), -16ULL, 32, 0, 0);
	CHECK(refused("RAM"));
	fresh(0);
	set(desc(0), 0, -1U, 0, 0);
	CHECK(refused("RAM"));
}

static void test_order(void)
{
	fresh(0);
	set(desc(0), DATA_GPA, 1, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
	set(desc(1), DATA_GPA, 1, 0, 0);
	CHECK(refused("behind a writable"));
}

static struct vring_desc *indirect(u64 gpa, u32 len, u16 flags)
{
	fresh(BIT(VIRTIO_RING_F_INDIRECT_DESC));
	/* WRITE on the descriptor that refers to a table means nothing. */
	set(desc(0), gpa, len, VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE | flags, 1);
	return memory_at(&memory, gpa, 16 * SIZE) ?: (void *)memory.base;
}

static void test_indirect(void)
{
	struct vring_desc *table = indirect(TABLE_GPA + 4, 16 * SIZE, 0);
	struct vring_desc copy;

	for (int i = 0; i < SIZE; i++) {	/* as long as may be, and unaligned */
		set(&copy, DATA_GPA, 1, i < SIZE - 1 ? VRING_DESC_F_NEXT : 0, i + 1);
		memcpy((char *)table + 16 * i, &copy, 16);
	}
	offer(0);
	CHECK(queue_pop(vq, &chain) && chain.nr_out == SIZE);

	table = indirect(TABLE_GPA, 32, 0);	/* behind a normal descriptor */
	*desc(1) = *desc(0);
	set(desc(0), DATA_GPA, 1, VRING_DESC_F_NEXT, 1);
	set(&table[0], DATA_GPA, 5, VRING_DESC_F_WRITE, 0);
	offer(0);
	CHECK(queue_pop(vq, &chain) && chain.out_length == 1 && chain.in_length == 5);
}

static void test_bad_indirect(void)
{
	struct vring_desc *table;

	indirect(TABLE_GPA, 0, 0);
	CHECK(refused("bad length"));
	indirect(TABLE_GPA, 17, 0);
	CHECK(refused("bad length"));
	indirect(TABLE_GPA, 16 * (SIZE + 1), 0);
	CHECK(refused("bad length"));
	indirect(TABLE_GPA, 16, VRING_DESC_F_NEXT);
	CHECK(refused("where none may be"));
	indirect(RAM_SIZE - 8, 16, 0);
	CHECK(refused("table outside"));
	table = indirect(TABLE_GPA, 16, 0);
	set(table, TABLE_GPA, 16, VRING_DESC_F_INDIRECT, 0);
	CHECK(refused("where none may be"));
	indirect(DESC_GPA, 16, 0);	/* the table is the ring itself */
	CHECK(refused("where none may be"));
	table = indirect(TABLE_GPA, 32, 0);
	set(table, DATA_GPA, 1, VRING_DESC_F_NEXT, 2);
	CHECK(refused("index out of range"));
	table = indirect(TABLE_GPA, 32, 0);
	set(table, DATA_GPA, 1, VRING_DESC_F_NEXT, 0);
	CHECK(refused("loop"));
	indirect(TABLE_GPA, 16, 0);
	vq->indirect = false;
	CHECK(refused("where none may be"));
}

static void test_setup(void)
{
	static const struct ringlet_queue bad[] = {
		{ 3, 0, DESC_GPA, AVAIL_GPA, USED_GPA },
		{ 2 * QUEUE_SIZE, 0, DESC_GPA, AVAIL_GPA, USED_GPA },
		{ SIZE, 0, DESC_GPA + 8, AVAIL_GPA, USED_GPA },
		{ SIZE, 0, DESC_GPA, AVAIL_GPA + 1, USED_GPA },
		{ SIZE, 0, DESC_GPA, AVAIL_GPA, USED_GPA + 2 },
		{ SIZE, 0, RAM_SIZE - 16 * SIZE + 16, AVAIL_GPA, USED_GPA },
		{ SIZE, 0, DESC_GPA, RAM_SIZE - 2 * SIZE - 4, USED_GPA },
		{ SIZE, 0, DESC_GPA, AVAIL_GPA, RAM_SIZE - 8 * SIZE - 4 },
		{ SIZE, 0, -16ULL, AVAIL_GPA, USED_GPA },
	};
	struct ringlet_queue last = {
		.size = SIZE, .desc = RAM_SIZE - 16 * SIZE, .avail = RAM_SIZE - 2 * SIZE - 6,
		.used = RAM_SIZE - 8 * SIZE - 8,
	};

	fresh(0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK(queue_setup(vq, &bad[i]) == -EINVAL && vq->size == 0);
	CHECK(queue_setup(vq, &last) == 0);
}

/* The rule of 2.7.7.2 in other words: event is one of the entries old..new-1. */
static bool crossed(u16 event, u16 new, u16 old)
{
	for (u16 i = old; i != new; i++)
		if (i == event)
			return true;
	return false;
}

static void test_interrupt_event_idx(void)
{
	static const u16 olds[] = { 0, 1, 7, 0x7ffe, 0x8000, 0xfffa, 0xffff };

	fresh(BIT(VIRTIO_RING_F_EVENT_IDX));
	vq->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;	/* means nothing here */
	for (size_t o = 0; o < ARRAY_SIZE(olds); o++)
		for (u16 step = 0; step <= SIZE; step++)
			for (int event = -20; event < 20; event++) {
				u16 old = olds[o], new = old + step, at = old + event;

				raised = 0;
				vq->signalled = old;
				vq->published = new;
				*used_event(vq) = at;
				queue_interrupt(vq);
				CHECK(raised == crossed(at, new, old));
				CHECK(vq->signalled == new);
			}
}

static void test_interrupt_flags(void)
{
	fresh(0);
	queue_push(vq, 0, 0);
	queue_interrupt(vq);
	queue_interrupt(vq);
	CHECK(raised == 1);
	vq->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	queue_push(vq, 0, 0);
	queue_interrupt(vq);
	CHECK(raised == 1);
	for (int i = 0; i < 3; i++)	/* filled is not published */
		queue_fill(vq, i, 0);
	vq->avail->flags = 0;
	queue_interrupt(vq);
	CHECK(raised == 1 && vq->used->idx == 2);
	queue_publish(vq);
	queue_interrupt(vq);
	CHECK(raised == 2 && vq->used->idx == 5);
}

static void test_kicks(void)
{
	fresh(0);
	kicks_off(vq);
	CHECK(vq->used->flags == VRING_USED_F_NO_NOTIFY);
	CHECK(!kicks_on(vq) && vq->used->flags == 0);
	vq->avail->idx = 1;
	CHECK(kicks_on(vq));
	fresh(BIT(VIRTIO_RING_F_EVENT_IDX));
	kicks_off(vq);
	CHECK(vq->used->flags == 0);
	vq->last_avail = 0xffff;
	vq->avail->idx = 0xffff;
	CHECK(!kicks_on(vq) && *avail_event(vq) == 0xffff && vq->used->flags == 0);
	vq->avail->idx = 0;
	CHECK(kicks_on(vq));
}

static void test_wrap(void)
{
	fresh(0);
	set(desc(2), DATA_GPA, 1, 0, 0);
	for (int i = 0; i < 0x10010; i++) {
		offer(2);
		CHECK(queue_pop(vq, &chain) && chain.head == 2);
		queue_push(vq, 2, i);
		CHECK(vq->used->ring[i % SIZE].len == (u32)i);
	}
	CHECK(vq->used->idx == 0x10 && !broken);
}

/* Any ring contents: no access out of bounds (ASan), no endless walk. */
static void test_random(void)
{
	unsigned int seed = 1, popped = 0;

	for (int round = 0; round < 200000; round++) {
		fresh(BIT(VIRTIO_RING_F_INDIRECT_DESC));
		for (int i = 0; i < SIZE + 4; i++) {
			struct vring_desc *d = i < SIZE ? desc(i) :
				(void *)(memory.base + TABLE_GPA + 16 * (i - SIZE));

			set(d, rand_r(&seed) % 3 ? TABLE_GPA : RAM_SIZE - 16,
			    16 * (rand_r(&seed) % 4), rand_r(&seed) % 8, rand_r(&seed) % (SIZE + 1));
		}
		offer(rand_r(&seed) % (SIZE + 1));
		if (queue_pop(vq, &chain)) {
			CHECK(chain.nr_out + chain.nr_in <= SIZE);
			popped++;
		}
	}
	CHECK(popped > 1000);
}

int main(void)
{
	static const struct test tests[] = {
		TEST(test_good_chain, "a chain in any order, empty buffers, consuming it"),
		TEST(test_loop, "a loop ends, and breaks the queue"),
		TEST(test_indexes, "next, head and available index out of range"),
		TEST(test_in_flight, "a head that is in flight, more heads than entries"),
		TEST(test_addresses, "last byte of RAM, one behind it, overflow"),
		TEST(test_order, "readable behind writable"),
		TEST(test_indirect, "an indirect table, full, unaligned, behind a descriptor"),
		TEST(test_bad_indirect, "empty, odd, too long, nested, not negotiated tables"),
		TEST(test_setup, "size, alignment and bounds of the three parts"),
		TEST(test_interrupt_event_idx, "used_event, also around the wrap"),
		TEST(test_interrupt_flags, "NO_INTERRUPT; nothing told before it is shown"),
		TEST(test_kicks, "NO_NOTIFY and avail_event, and the look after them"),
		TEST(test_wrap, "indexes that wrap at 65536"),
		TEST(test_random, "random descriptors stay inside of everything"),
	};

	return run_tests(tests, ARRAY_SIZE(tests));
}
