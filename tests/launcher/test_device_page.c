// SPDX-License-Identifier: GPL-2.0
/*
 * The device page and the transport, with the real backends and their threads
 * behind it: the test is the guest's driver.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_console.h>
#include <linux/virtio_net.h>
#include "test.h"

#define VERSION_1	BIT(VIRTIO_F_VERSION_1)
#define EVENT_IDX	BIT(VIRTIO_RING_F_EVENT_IDX)
#define RINGS		(VERSION_1 | EVENT_IDX | BIT(VIRTIO_RING_F_INDIRECT_DESC))
#define SIZE		16

enum { DISK, DISK_RO, NET, NET2, RNG, CONSOLE, TAP };

static struct vm vm;
static char image[] = "/tmp/ringlet-test-XXXXXX";

void vm_end(struct vm *v, enum exit_code code, const char *fmt, ...)
{
	(void)v; (void)code; (void)fmt;
}

static s64 hc(u32 number, u64 a, u64 b, u64 c)
{
	const u64 args[4] = { a, b, c };

	return device_hypercall(&vm, number, args);
}

#define status(device, bits)	hc(RINGLET_HC_DEVICE_STATUS, device, bits, 0)
#define reset(device)		hc(RINGLET_HC_DEVICE_RESET, device, 0, 0)
#define features(device, bits)	hc(RINGLET_HC_DEVICE_FEATURES, device, bits, 0)
#define notify(device, queue)	hc(RINGLET_HC_NOTIFY, device, queue, 0)

/* Walk the page as a guest does: nothing but the header and lengths. */
static struct ringlet_device *record(unsigned int number)
{
	u8 *at = (u8 *)(vm.page + 1);

	while (number--)
		at += ((struct ringlet_device *)at)->length;
	return (struct ringlet_device *)at;
}

static struct ringlet_device_queue *queue_record(unsigned int number, unsigned int queue)
{
	return (struct ringlet_device_queue *)(record(number) + 1) + queue;
}

static void *config_of(unsigned int number)
{
	return queue_record(number, record(number)->queues);
}

static bool raised(unsigned int line, int timeout)
{
	struct pollfd poll_fd = { vm.line_fd[line], POLLIN, 0 };
	eventfd_t value;

	return poll(&poll_fd, 1, timeout) == 1 && !eventfd_read(vm.line_fd[line], &value);
}

static void test_layout(void)
{
	unsigned int lines[RINGLET_LINES] = { 0 };
	u8 *end = (u8 *)vm.page + vm.page->length;

	CHECK((u8 *)vm.page == vm.memory.base + RAM_SIZE);
	CHECK(vm.page->magic == RINGLET_DEVICE_MAGIC && vm.page->version == 1);
	CHECK(vm.page->count >= TAP && vm.page->length % 8 == 0);
	lines[vm.page->irq]++;
	for (int i = 0; i < vm.page->count; i++) {
		struct ringlet_device *r = record(i);

		CHECK(r->length % 8 == 0 && (uintptr_t)r % 8 == 0 && r->vendor_id == 0x54454c52);
		CHECK(r->length >= sizeof(*r) + 8 * r->queues + r->config_length);
		CHECK(r->generation == 0 && r->status == 0);
		lines[r->config_irq]++;
		for (int q = 0; q < r->queues; q++) {
			CHECK(queue_record(i, q)->size == QUEUE_SIZE);
			lines[queue_record(i, q)->irq]++;
		}
	}
	CHECK((u8 *)record(vm.page->count) == end);
	for (unsigned int i = 0; i < vm.nr_lines; i++)
		CHECK(lines[i] == 1);
}

/* The documented sets; kvm-host once offered other bits than it meant. */
static void test_features(void)
{
	u64 disk = RINGS | BIT(2) | BIT(6) | BIT(9) | BIT(11);

	CHECK(RINGS == (BIT(28) | BIT(29) | BIT(32)));
	CHECK(record(DISK)->features == (disk | BIT(13) | BIT(14)));
	CHECK(record(DISK_RO)->features == (disk | BIT(5)));
	CHECK(record(NET)->features == (RINGS | BIT(3) | BIT(5) | BIT(15) | BIT(16)));
	CHECK(record(CONSOLE)->features == (RINGS | BIT(0)));
	CHECK(record(RNG)->features == RINGS);
	CHECK(record(DISK)->device_id == 2 && record(NET)->device_id == 1);
	CHECK(record(CONSOLE)->device_id == 3 && record(RNG)->device_id == 4);
	CHECK(((struct virtio_blk_config *)config_of(DISK))->capacity == 64);
	CHECK(((struct virtio_net_config *)config_of(NET))->mtu == 1500);
	CHECK(memcmp(config_of(NET), config_of(NET2), 6) && !(*(u8 *)config_of(NET) & 1));
}

static void test_status(void)
{
	reset(RNG);
	CHECK(status(RNG, 0) == 0 && record(RNG)->status == 0);
	CHECK(status(RNG, 2) == 0);		/* DRIVER before ACKNOWLEDGE */
	CHECK(status(RNG, 1) == 1 && status(RNG, 3) == 3);
	CHECK(status(RNG, 4) == 3);		/* DRIVER_OK before FEATURES_OK */
	CHECK(status(RNG, 8) == 3);		/* no VERSION_1 */
	CHECK(features(RNG, VERSION_1 | BIT(40)) == 0 && status(RNG, 8) == 3);
	CHECK(features(RNG, VERSION_1) == 0 && status(RNG, 8) == 11);
	CHECK(record(RNG)->status == 11);
	CHECK(features(RNG, VERSION_1) == -EBUSY);
	CHECK(status(RNG, 0x70) == 11);		/* not the driver's to set */
	CHECK(status(RNG, 0x80) == 0x8b);
	CHECK(reset(RNG) == 0 && status(RNG, 0) == 0);
	/* offloads that lean on one that was refused: only a tap offers them */
	CHECK(!vm.devices[NET]->type->features_ok(BIT(VIRTIO_NET_F_GUEST_TSO4)));
	CHECK(!vm.devices[NET]->type->features_ok(BIT(VIRTIO_NET_F_HOST_TSO6)));
	CHECK(vm.devices[NET]->type->features_ok(BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(0)));
}

static void test_arguments(void)
{
	CHECK(status(7, 1) == -ENODEV && reset(-1ULL) == -ENODEV && notify(7, 0) == -ENODEV);
	CHECK(notify(RNG, 1) == -EINVAL);
	CHECK(hc(RINGLET_HC_DEVICE_QUEUE, RNG, 1, 0) == -EINVAL);
	CHECK(hc(RINGLET_HC_DEVICE_QUEUE, RNG, 0, 0) == -EBUSY);
	CHECK(hc(RINGLET_HC_DEVICE_CONFIG, DISK, 32 << 8 | 3, 0) == -EINVAL);
	CHECK(hc(RINGLET_HC_DEVICE_CONFIG, DISK, 60 << 8 | 1, 0) == -EINVAL);
	CHECK(hc(RINGLET_HC_DEVICE_CONFIG, DISK, -1ULL << 8 | 1, 0) == -EINVAL);
	CHECK(hc(RINGLET_HC_DEVICE_CONFIG, DISK, 0 << 8 | 8, 0) == -EINVAL);
	CHECK(hc(RINGLET_HC_DEVICE_CONFIG, NET, 0 << 8 | 1, 0) == -EINVAL);
	CHECK(hc(RINGLET_HC_DEVICE_CONFIG, RNG, 0 << 8 | 1, 0) == -EINVAL);
}

/* ---- a small driver ---- */

struct ring {
	unsigned int device, queue;
	bool event_idx;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	u16 next, seen;
	unsigned int kicks;
};

static u64 ring_gpa(unsigned int device, unsigned int queue)
{
	return 0x100000 + 0x10000 * (2 * device + queue);
}

static void bring_up(unsigned int device, u64 bits)
{
	CHECK(reset(device) == 0);
	CHECK(status(device, 3) == 3 && features(device, bits) == 0 && status(device, 8) == 11);
}

static s64 ring_set_up(struct ring *ring, unsigned int device, unsigned int queue, u64 bits)
{
	u64 at = ring_gpa(device, queue);
	u8 *base = memory_at(&vm.memory, at, 0x10000);
	struct ringlet_queue setup = { SIZE, 0, at, at + 0x1000, at + 0x2000 };

	memset(base, 0, 0x10000);
	memcpy(base + 0x3000, &setup, sizeof(setup));
	*ring = (struct ring){ device, queue, bits & EVENT_IDX, (void *)base,
			       (void *)(base + 0x1000), (void *)(base + 0x2000), 0, 0, 0 };
	return hc(RINGLET_HC_DEVICE_QUEUE, device, queue, at + 0x3000);
}

static void add(struct ring *ring, u16 i, u64 gpa, u32 length, u16 flags, u16 next)
{
	ring->desc[i] = (struct vring_desc){ gpa, length, flags, next };
}

static void publish(struct ring *ring, u16 head)
{
	ring->avail->ring[ring->next++ % SIZE] = head;
	__atomic_store_n(&ring->avail->idx, ring->next, __ATOMIC_RELEASE);
}

/* As virtqueue_kick_prepare_split() decides; @old is the index before. */
static void kick(struct ring *ring, u16 old)
{
	u16 *event = (u16 *)&ring->used->ring[SIZE];

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (ring->event_idx ?
	    vring_need_event(__atomic_load_n(event, __ATOMIC_RELAXED), ring->next, old) :
	    !(__atomic_load_n(&ring->used->flags, __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY)) {
		ring->kicks++;
		notify(ring->device, ring->queue);
	}
}

static bool has_used(struct ring *ring)
{
	return __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE) != ring->seen;
}

/* Sleep until something was used: false if an interrupt was lost. */
static bool wait_used(struct ring *ring)
{
	while (!has_used(ring)) {
		if (ring->event_idx)
			__atomic_store_n(&ring->avail->ring[SIZE], ring->seen, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (has_used(ring))
			break;
		if (!raised(queue_record(ring->device, ring->queue)->irq, 5000))
			return false;
	}
	return true;
}

static struct vring_used_elem take_used(struct ring *ring)
{
	return ring->used->ring[ring->seen++ % SIZE];
}

static void test_entropy(void)
{
	struct ring ring;

	bring_up(RNG, RINGS);
	CHECK(ring_set_up(&ring, RNG, 0, RINGS) == 0);
	add(&ring, 7, DATA_GPA, 64, VRING_DESC_F_WRITE, 0);
	memset(vm.memory.base + DATA_GPA, 0, 64);
	publish(&ring, 7);
	notify(RNG, 0);		/* early: must wait for DRIVER_OK, and not be lost */
	usleep(20000);
	CHECK(!has_used(&ring));
	CHECK(status(RNG, 4) == 15);
	CHECK(wait_used(&ring));
	CHECK(take_used(&ring).len == 64 && ring.used->ring[0].id == 7);
	CHECK(memcmp(vm.memory.base + DATA_GPA, vm.memory.base + DATA_GPA + 32, 32));
	CHECK(ring_set_up(&ring, RNG, 0, RINGS) == -EBUSY);
	CHECK(reset(RNG) == 0);
	publish(&ring, 7);
	notify(RNG, 0);
	usleep(20000);
	CHECK(ring.used->idx == 0);
}

static void test_broken_and_back(void)
{
	struct ring ring;

	bring_up(RNG, RINGS);
	CHECK(ring_set_up(&ring, RNG, 0, RINGS) == 0 && status(RNG, 4) == 15);
	raised(record(RNG)->config_irq, 0);
	warnings = 0;
	ring.next = SIZE;
	publish(&ring, 0);
	notify(RNG, 0);
	CHECK(raised(record(RNG)->config_irq, 5000));
	CHECK(status(RNG, 0) == (15 | 0x40) && record(RNG)->status == (15 | 0x40));
	for (int i = 0; i < 3; i++)
		notify(RNG, 0);
	CHECK(record(DISK)->status == 0);
	CHECK(reset(RNG) == 0 && record(RNG)->status == 0 && warnings == 1);
	test_entropy();
}

/* Lost wakeups in either direction show as a wait that runs out of time. */
static void no_lost_wakeup(u64 bits)
{
	struct ring ring;
	unsigned int seed = 1, done = 0, sent = 0;
	const unsigned int total = 20000;

	bring_up(RNG, bits);
	CHECK(ring_set_up(&ring, RNG, 0, bits) == 0 && status(RNG, 4) == 15);
	while (done < total) {
		u16 old = ring.next;

		for (int n = rand_r(&seed) % SIZE; n >= 0 && sent < total && sent - done < SIZE; n--) {
			add(&ring, sent % SIZE, DATA_GPA, 8, VRING_DESC_F_WRITE, 0);
			publish(&ring, sent++ % SIZE);
		}
		kick(&ring, old);
		if (rand_r(&seed) % 4 == 0)
			sched_yield();
		CHECK(wait_used(&ring));
		while (has_used(&ring)) {
			CHECK(take_used(&ring).len == 8);
			done++;
		}
	}
	CHECK(ring.seen == (u16)total && ring.kicks <= total);
	CHECK(reset(RNG) == 0);
}

static void test_event_idx(void)
{
	no_lost_wakeup(RINGS);
}

static void test_flags(void)
{
	no_lost_wakeup(VERSION_1);
}

static void test_disk(void)
{
	struct ring ring;
	struct virtio_blk_outhdr *header = (void *)(vm.memory.base + DATA_GPA);

	bring_up(DISK, RINGS | BIT(VIRTIO_BLK_F_FLUSH));
	CHECK(ring_set_up(&ring, DISK, 0, RINGS) == 0 && status(DISK, 4) == 15);
	memset(vm.memory.base + DATA_GPA + 0x200, 0x5a, 1024);
	for (int in = 0; in < 2; in++) {
		*header = (struct virtio_blk_outhdr){ .type = in ? 0 : 1, .sector = 5 };
		add(&ring, 0, DATA_GPA, 16, VRING_DESC_F_NEXT, 1);
		add(&ring, 1, DATA_GPA + 0x200 + 0x1000 * in, 1024,
		    VRING_DESC_F_NEXT | (in ? VRING_DESC_F_WRITE : 0), 2);
		add(&ring, 2, DATA_GPA + 0x100, 1, VRING_DESC_F_WRITE, 0);
		vm.memory.base[DATA_GPA + 0x100] = 0xff;
		publish(&ring, 0);
		notify(DISK, 0);
		CHECK(wait_used(&ring) && take_used(&ring).len == (in ? 1025 : 1));
		CHECK(vm.memory.base[DATA_GPA + 0x100] == 0);
	}
	CHECK(!memcmp(vm.memory.base + DATA_GPA + 0x200, vm.memory.base + DATA_GPA + 0x1200, 1024));
	CHECK(reset(DISK) == 0);
}

static void link_comes_up(unsigned int device)
{
	struct virtio_net_config *config = config_of(device);

	for (int i = 0; i < 500 && !(__atomic_load_n(&config->status, __ATOMIC_SEQ_CST) & 1); i++)
		usleep(10000);
	CHECK(config->status & 1);
}

/* Two cards on one socket; small receive buffers, so that a frame takes three. */
static void test_net(void)
{
	const u64 bits = RINGS | BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_MAC);
	struct ring tx, rx, unused;
	u8 *data = vm.memory.base + DATA_GPA;

	bring_up(NET, bits);
	CHECK(ring_set_up(&rx, NET, 0, bits) == 0 && ring_set_up(&unused, NET, 1, bits) == 0);
	for (int i = 0; i < 4; i++) {
		add(&rx, i, DATA_GPA + 0x1000 * (i + 1), 100, VRING_DESC_F_WRITE, 0);
		publish(&rx, i);
	}
	CHECK(status(NET, 4) == 15);
	bring_up(NET2, bits);
	CHECK(ring_set_up(&unused, NET2, 0, bits) == 0 && ring_set_up(&tx, NET2, 1, bits) == 0);
	CHECK(status(NET2, 4) == 15);
	link_comes_up(NET);
	memset(data, 0xff, 12);		/* a header that lies */
	for (int i = 0; i < 200; i++)
		data[12 + i] = i;
	add(&tx, 0, DATA_GPA, 112, VRING_DESC_F_NEXT, 1);
	add(&tx, 1, DATA_GPA + 112, 100, 0, 0);
	publish(&tx, 0);
	notify(NET2, 1);
	CHECK(wait_used(&tx) && take_used(&tx).len == 0);
	CHECK(wait_used(&rx) && rx.used->idx == 3);
	CHECK(rx.used->ring[0].len == 100 && rx.used->ring[2].len == 12);
	CHECK(data[0x1000] == 0 && data[0x1000 + 10] == 3 && data[0x1000 + 11] == 0);
	CHECK(data[0x1000 + 12] == 0 && data[0x2000] == 88 && data[0x3000 + 11] == 199);
	CHECK(reset(NET) == 0 && reset(NET2) == 0);
}

/*
 * Only with RINGLET_TEST_TAP=name, a tap that is up with address 10.98.0.1: the
 * host answers an ARP request.
 */
static void test_tap(void)
{
	const u64 bits = RINGS | BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_GUEST_CSUM) |
			 BIT(VIRTIO_NET_F_GUEST_TSO4);
	static const u8 arp[] = "\xff\xff\xff\xff\xff\xff\x52\0\0\0\0\7\x08\x06\0\1\x08\0\6\4\0\1"
				"\x52\0\0\0\0\7\x0a\x62\0\2\0\0\0\0\0\0\x0a\x62\0\1";
	u8 *data = vm.memory.base + DATA_GPA, *reply;
	struct ring tx, rx;

	CHECK(record(TAP)->features == (RINGS | BIT(0) | BIT(1) | BIT(3) | BIT(5) | BIT(7) |
					BIT(8) | BIT(11) | BIT(12) | BIT(15) | BIT(16)));
	bring_up(TAP, bits);
	CHECK(ring_set_up(&rx, TAP, 0, bits) == 0 && ring_set_up(&tx, TAP, 1, bits) == 0);
	for (int i = 0; i < SIZE; i++) {
		add(&rx, i, 0x210000 + 2048 * i, 2048, VRING_DESC_F_WRITE, 0);
		publish(&rx, i);
	}
	CHECK(status(TAP, 4) == 15);
	memset(data, 0, 12);
	memcpy(data + 12, arp, sizeof(arp) - 1);
	add(&tx, 0, DATA_GPA, 12 + sizeof(arp) - 1, 0, 0);
	publish(&tx, 0);
	notify(TAP, 1);
	CHECK(wait_used(&tx) && take_used(&tx).len == 0);
	do {	/* the host has things of its own to say */
		CHECK(wait_used(&rx) && rx.seen < SIZE - 1);
		reply = vm.memory.base + 0x210000 + 2048 * take_used(&rx).id;
		CHECK(reply[10] == 1 && reply[11] == 0);
	} while (reply[12 + 12] != 8 || reply[12 + 13] != 6 || reply[12 + 21] != 2);
	CHECK(!memcmp(reply + 12 + 28, "\x0a\x62\0\1", 4));
	CHECK(reset(TAP) == 0);
}

static void test_console(void)
{
	struct virtio_console_config *config = config_of(CONSOLE);
	int pipe_fds[2], saved = dup(STDOUT_FILENO);
	char bytes[4] = { 0 };
	struct ring tx;
	u16 columns = 99;

	bring_up(CONSOLE, RINGS);
	CHECK(ring_set_up(&tx, CONSOLE, 1, RINGS) == 0 && status(CONSOLE, 4) == 15);
	fflush(stdout);
	CHECK(pipe(pipe_fds) == 0 && dup2(pipe_fds[1], STDOUT_FILENO) == 1);
	memcpy(vm.memory.base + DATA_GPA, "hey", 3);
	add(&tx, 0, DATA_GPA, 1, VRING_DESC_F_NEXT, 1);
	add(&tx, 1, DATA_GPA + 1, 2, 0, 0);
	publish(&tx, 0);
	notify(CONSOLE, 1);
	CHECK(wait_used(&tx) && take_used(&tx).len == 0);
	dup2(saved, STDOUT_FILENO);
	CHECK(read(pipe_fds[0], bytes, 3) == 3 && !strcmp(bytes, "hey"));
	raised(record(CONSOLE)->config_irq, 0);
	device_config(vm.devices[CONSOLE], 0, &columns, sizeof(columns));
	CHECK(raised(record(CONSOLE)->config_irq, 0) && config->cols == 99);
	CHECK(record(CONSOLE)->generation == 2);
	CHECK(reset(CONSOLE) == 0 && record(CONSOLE)->generation == 2);
}

/* Reset must get a thread out of whatever it waits for: here a full pipe. */
static void test_reset_while_blocked(void)
{
	int pipe_fds[2], saved = dup(STDOUT_FILENO);
	struct ring tx;

	bring_up(CONSOLE, RINGS);
	CHECK(ring_set_up(&tx, CONSOLE, 1, RINGS) == 0);
	fflush(stdout);
	CHECK(pipe(pipe_fds) == 0 && dup2(pipe_fds[1], STDOUT_FILENO) == 1);
	for (int i = 0; i < SIZE; i++) {
		add(&tx, i, 0x200000, 0x8000, 0, 0);
		publish(&tx, i);
	}
	CHECK(status(CONSOLE, 4) == 15);
	usleep(50000);
	CHECK(tx.used->idx < SIZE);
	alarm(10);
	CHECK(reset(CONSOLE) == 0);
	alarm(0);
	dup2(saved, STDOUT_FILENO);
}

int main(void)
{
	static const struct test tests[] = {
		TEST(test_layout, "records, alignment, one line per queue and device"),
		TEST(test_features, "the offered feature set is the documented one"),
		TEST(test_status, "order of status bits; FEATURES_OK refused"),
		TEST(test_arguments, "bad devices, queues, config writes"),
		TEST(test_entropy, "a request; early kicks; frozen set-up; reset"),
		TEST(test_broken_and_back, "NEEDS_RESET for one device, service after reset"),
		TEST(test_event_idx, "no lost kick or interrupt with EVENT_IDX"),
		TEST(test_flags, "no lost kick or interrupt without"),
		TEST(test_disk, "written and read back through the ring"),
		TEST(test_net, "two launchers on a socket; merged buffers; header not believed"),
		TEST(test_console, "output; config generation and interrupt"),
		TEST(test_reset_while_blocked, "reset returns while stdout is full"),
		TEST(test_tap, "a frame out and one in"),
	};
	char argument[4][100], tap[32];
	int fd = mkstemp(image), copy;

	close(STDIN_FILENO);
	CHECK(fd >= 0 && open("/dev/null", O_RDONLY) == 0 && ftruncate(fd, 64 * 512) == 0);
	snprintf(argument[0], 100, "%s", image);
	snprintf(argument[1], 100, "%s.ro,ro", image);
	for (int i = 2; i < 4; i++)
		snprintf(argument[i], 100, "socket=%s.sock", image);
	argument[1][strlen(image) + 3] = '\0';
	copy = open(argument[1], O_CREAT | O_RDWR, 0600);
	CHECK(copy >= 0 && ftruncate(copy, 64 * 512) == 0);
	argument[1][strlen(image) + 3] = ',';

	memory_alloc(&vm.memory, RAM_SIZE);
	device_page_init(&vm);
	block_add(&vm, argument[0]);
	block_add(&vm, argument[1]);
	net_add(&vm, argument[2]);
	net_add(&vm, argument[3]);
	entropy_add(&vm, NULL);
	console_add(&vm, NULL);
	if (getenv("RINGLET_TEST_TAP")) {
		snprintf(tap, sizeof(tap), "tap=%s", getenv("RINGLET_TEST_TAP"));
		net_add(&vm, tap);
	}
	/* The last one needs a tap; without it, it does not claim to have passed. */
	run_tests(tests, ARRAY_SIZE(tests) - !getenv("RINGLET_TEST_TAP"));
	devices_close(&vm);
	unlink(image);
	argument[1][strlen(image) + 3] = '\0';
	unlink(argument[1]);
	return 0;
}
