// SPDX-License-Identifier: GPL-2.0
/*
 * A submission's virtqueue.c between a driver and a device that do what a script says (labs 8 and 9). ring SCRIPT plays
 * the file's lines; tests.py knows what each must print. Every access to the guest's RAM can be seen (trace.h).
 */
#include "virtqueue.c"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "trace.h"
#undef memcpy
#undef poll

void *memcpy(void *to, const void *from, size_t size);
#if CHAPTER >= 9
int poll(struct pollfd *fds, nfds_t count, int timeout);
#endif

#define RAM	(4 * MIB)
#define GUARD	(1 * MIB)

static struct memory memory;
static struct ringlet_device record;
static struct vm vm;
static struct device device = { .record = &record, .vm = &vm };
static struct virtqueue *vq = &device.queues[0];
static struct chain chain;
static enum { QUIET, TRACE, RACE } tracing;

/* What the submission calls */

void device_broken(struct device *broken, const char *why)
{
	(void)broken;
	(void)why;
}

void trace_queue(const struct virtqueue *queue, const char *step, u16 index, u16 head, u32 length)
{
	(void)queue;
	(void)step;
	(void)index;
	(void)head;
	(void)length;
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

#if CHAPTER >= 9
static unsigned int raised;

void line_raise(struct vm *guest, unsigned int line)
{
	(void)guest;
	(void)line;
	raised++;
}

/*
 * A driver that adds a request before the submission's nth access to RAM, and kicks if the device asks for that. What a
 * real one does on another CPU, at one place at a time.
 */
static unsigned int race_at, race_now, waiting;
static jmp_buf asleep;

static void add_request(void)
{
	u16 old = vq->avail->idx, new = old + 1;
	bool kick;

	vq->avail->ring[old % vq->size] = old % vq->size;
	vq->desc[old % vq->size] = (struct vring_desc){ 0x8000, 1, 0, 0 };
	vq->avail->idx = new;
	kick = vq->event_idx ? vring_need_event(*avail_event(vq), new, old) :
		!(vq->used->flags & VRING_USED_F_NO_NOTIFY);
	if (kick)
		eventfd_write(vq->kick, 1);
	waiting++;
}

/* poll() for the submission, which must not come here while a request waits that nobody kicks for. */
int traced_poll(struct pollfd *fds, nfds_t count, int timeout);

int traced_poll(struct pollfd *fds, nfds_t count, int timeout)
{
	int mode = tracing, ready;

	tracing = QUIET;
	if (mode == RACE && !waiting)	/* it sleeps before we came: it must wake up */
		add_request();
	ready = poll(fds, count, 0);
	if (!ready && timeout)
		longjmp(asleep, 1);
	tracing = mode;
	return ready;
}
#endif

void trace(bool write, const volatile void *at, size_t size, int order)
{
	u64 gpa = (const volatile u8 *)at - memory.base;
	int mode = tracing;

	if (mode == QUIET || (at && gpa >= RAM))
		return;
	tracing = QUIET;
	if (mode == TRACE && at)
		printf("%s 0x%llx %zu %d\n", write ? "w" : "r", gpa, size, order);
	else if (mode == TRACE)
		printf("fence %d\n", order);
#if CHAPTER >= 9
	else if (++race_now == race_at && !waiting)
		add_request();
#endif
	tracing = mode;
}

/* What a script can say */

static u64 number(char **words)
{
	return strtoull(*words, words, 0);
}

static unsigned int from_hex(const char *text, u8 *bytes, unsigned int room)
{
	unsigned int n = 0;

	while (*text == ' ')
		text++;
	for (; n < room && sscanf(text, "%2hhx", &bytes[n]) == 1; text += 2)
		n++;
	return n;
}

static void print_hex(const u8 *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		printf("%02x", bytes[i]);
	puts("");
}

static unsigned long long gpa_of(const void *at)
{
	return (const u8 *)at - memory.base;
}

static void print_part(const char *name, const struct iovec *iov, unsigned int count, u64 length)
{
	printf(" %s %llu", name, length);
	for (unsigned int i = 0; i < count; i++)
		printf(" 0x%llx+%zu", gpa_of(iov[i].iov_base), iov[i].iov_len);
}

static void print_chain(void)
{
	print_part("out", chain.out, chain.nr_out, chain.out_length);
	print_part("in", chain.in, chain.nr_in, chain.in_length);
	puts("");
}

static void do_features(char *words)
{
	device.features = number(&words);
}

static void do_setup(char *words)
{
	struct ringlet_queue setup = { .size = number(&words) };
	int ret;

	setup.desc = number(&words);
	setup.avail = number(&words);
	setup.used = number(&words);
	ret = queue_setup(vq, &setup);
	printf("setup %d size %u", ret, vq->size);
	if (vq->size)
		printf(" desc 0x%llx avail 0x%llx used 0x%llx", gpa_of(vq->desc), gpa_of(vq->avail), gpa_of(vq->used));
	puts("");
}

/* A queue with nothing wrong, whoever has written queue_setup(): SIZE at 0x1000, 0x3000 and 0x4000, its indexes at START. */
static void do_queue(char *words)
{
	u16 size = number(&words), start = number(&words);

	memset(memory.base, 0, 0x10000);
	*vq = (struct virtqueue) {
		.device = &device, .memory = &memory, .size = size,
		.desc = (void *)(memory.base + 0x1000), .avail = (void *)(memory.base + 0x3000),
		.used = (void *)(memory.base + 0x4000),
		.indirect = device.features & BIT(VIRTIO_RING_F_INDIRECT_DESC),
		.last_avail = start, .next_used = start, .published = start,
#if CHAPTER >= 9
		.event_idx = device.features & BIT(VIRTIO_RING_F_EVENT_IDX), .signalled = start, .kick = vq->kick,
#endif
	};
	vq->avail->idx = start;
	vq->used->idx = start;
}

static void do_poke(char *words)
{
	u64 size = number(&words), gpa = number(&words), value = number(&words);

	memcpy(memory.base + gpa, &value, size);
}

static void do_dump(char *words)
{
	u64 gpa = number(&words), length = number(&words);

	printf("dump ");
	print_hex(memory.base + gpa, length);
}

static void do_bytes(char *words)
{
	u64 gpa = number(&words);

	from_hex(words, memory.base + gpa, RAM - gpa);
}

/* As queue_pop() calls walk(). */
static void do_walk(char *words)
{
	const char *wrong;

	chain = (struct chain) { .head = number(&words) };
	wrong = walk(vq, chain.head, &chain);
	chain.out = chain.iov;
	chain.in = chain.iov + chain.nr_out;
	printf("%s", wrong ? "wrong\n" : "chain");
	if (!wrong)
		print_chain();
}

static void do_pop(char *words)
{
	(void)words;
	if (queue_pop(vq, &chain)) {
		printf("head %u", chain.head);
		print_chain();
	} else {
		printf("%s\n", vq->broken ? "broken" : "none");
	}
}

/* The device has done with a head; not by the submission's queue_fill(). */
static void do_give(char *words)
{
	vq->in_flight[number(&words)] = false;
	vq->next_used++;
	vq->published++;
	vq->used->idx++;
}

static void do_fill(char *words)
{
	u16 head = number(&words);

	queue_fill(vq, head, number(&words));
}

static void do_publish(char *words)
{
	(void)words;
	queue_publish(vq);
}

static void do_flight(char *words)
{
	printf("in flight %d\n", vq->in_flight[number(&words)]);
}

static void do_take(char *words)
{
	vq->in_flight[number(&words)] = true;
}

/* A chain as queue_pop() makes them: NR_OUT NR_IN, then gpa and length of each. */
static void do_chain(char *words)
{
	chain = (struct chain) { .nr_out = number(&words), .nr_in = number(&words) };
	for (unsigned int i = 0; i < chain.nr_out + chain.nr_in; i++) {
		chain.iov[i].iov_base = memory.base + number(&words);
		chain.iov[i].iov_len = number(&words);
		*(i < chain.nr_out ? &chain.out_length : &chain.in_length) += chain.iov[i].iov_len;
	}
	chain.out = chain.iov;
	chain.in = chain.iov + chain.nr_out;
}

static void do_read(char *words)
{
	u8 bytes[4096];
	size_t got;

	memset(bytes, 0xee, sizeof(bytes));
	got = chain_read(&chain, bytes + 8, number(&words));
	printf("read %zu left %llu ", got, chain.out_length);
	print_hex(bytes, 8 + got + 8);
}

static void do_write(char *words)
{
	u8 bytes[4096];
	size_t length = from_hex(words, bytes, sizeof(bytes));

	printf("write %zu", chain_write(&chain, bytes, length));
	printf(" left %llu\n", chain.in_length);
}

static void do_last(char *words)
{
	u8 *last = chain_last_byte(&chain);

	(void)words;
	if (last)
		printf("last 0x%llx left %llu\n", gpa_of(last), chain.in_length);
	else
		printf("last none left %llu\n", chain.in_length);
}

static void do_trace(char *words)
{
	(void)words;
	tracing = TRACE;
}

#if CHAPTER >= 9
static void do_interrupt(char *words)
{
	raised = 0;
	vq->signalled = number(&words);
	vq->published = number(&words);
	queue_interrupt(vq);
	printf("raised %u signalled %u\n", raised, vq->signalled);
}

static void do_on(char *words)
{
	(void)words;
	printf("kicks on: %d\n", kicks_on(vq));
}

static void do_off(char *words)
{
	(void)words;
	kicks_off(vq);
}

/* The driver adds one request at one moment of queue_next(): for each that there is. MOMENT or 0 for all. */
static void do_race(char *words)
{
	u16 size = number(&words), start = number(&words);
	char again[32];
	eventfd_t kicks;
	unsigned int lost = 0;

	snprintf(again, sizeof(again), "%u %u", size, start);
	for (race_at = 1, race_now = race_at; race_now >= race_at; race_at++) {
		do_queue(again);
		eventfd_read(vq->kick, &kicks);
		kicks_off(vq);
		race_now = waiting = 0;
		if (!setjmp(asleep)) {
			tracing = RACE;
			if (!queue_next(vq, &chain))
				printf("moment %u: nothing came\n", race_at);
		} else {
			printf("moment %u: asleep while a request waits\n", race_at);
			lost++;
		}
		tracing = QUIET;
		if (lost)
			break;
	}
	printf("races: %u lost\n", lost);
}

/* The thread sleeps, a request wakes it up, and another comes while it is at work: is a kick wanted? */
static void do_busy(char *words)
{
	eventfd_t kicks;

	(void)words;
	eventfd_read(vq->kick, &kicks);
	waiting = race_at = race_now = 0;
	tracing = RACE;
	if (!setjmp(asleep))
		printf("next: %d", queue_next(vq, &chain));
	tracing = QUIET;
	eventfd_read(vq->kick, &kicks);
	add_request();
	printf(" kick wanted: %d\n", !eventfd_read(vq->kick, &kicks));
}
#endif

static const struct {
	const char *name;
	void (*play)(char *words);
} operations[] = {
	{ "features", do_features }, { "setup", do_setup }, { "queue", do_queue }, { "poke", do_poke },
	{ "dump", do_dump }, { "bytes", do_bytes }, { "walk", do_walk }, { "pop", do_pop }, { "give", do_give },
	{ "fill", do_fill }, { "publish", do_publish }, { "flight", do_flight }, { "take", do_take },
	{ "chain", do_chain }, { "read", do_read }, { "write", do_write }, { "last", do_last }, { "trace", do_trace },
#if CHAPTER >= 9
	{ "interrupt", do_interrupt }, { "on", do_on }, { "off", do_off }, { "race", do_race }, { "busy", do_busy },
#endif
};

static void fault(int signal)
{
	printf("%s\n", signal == SIGALRM ? "it does not end" : "an access outside of the guest's RAM");
	fflush(stdout);
	_exit(1);
}

int main(int argc, char **argv)
{
	FILE *script = fopen(argv[argc - 1], "r");
	static char line[65536];
	u8 *space = mmap(NULL, RAM + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mprotect(space + GUARD, RAM, PROT_READ | PROT_WRITE);
	memory = (struct memory) { space + GUARD, RAM };
	signal(SIGSEGV, fault);
	signal(SIGBUS, fault);
	signal(SIGALRM, fault);
	vq->device = &device;
	vq->memory = &memory;
#if CHAPTER >= 9
	vq->kick = eventfd(0, EFD_NONBLOCK);
#endif
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	while (script && fgets(line, sizeof(line), script)) {
		char *words = line + strcspn(line, " \n");
		bool traced = tracing;

		*words++ = '\0';
		alarm(5);
		for (size_t i = 0; i < ARRAY_SIZE(operations); i++)
			if (!strcmp(line, operations[i].name))
				operations[i].play(words);
		if (traced)
			tracing = QUIET;
	}
	puts("done");
	return 0;
}
