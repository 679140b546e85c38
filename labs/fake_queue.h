/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a device of the submission's launcher calls, as a script wants it (labs 10
 * and 11). The file that includes this includes net.c or block.c before.
 *
 *	chain HEAD OUT... / IN...  the driver's next request: bytes, and room for how many, piece by piece
 *	serve N			the device serves its queue N as long as there are requests
 *
 * Bytes are hexadecimal digits, or *LENGTH:SEED.
 */
#include <stdarg.h>

#define CHAINS	64
#define BYTES	(1 << 18)

struct fake_chain {
	struct chain chain;
	u8 *in[QUEUE_SIZE];
	size_t in_length[QUEUE_SIZE], nr_in;
};

static struct device *device;
static struct fake_chain chains[CHAINS];	/* by head */
static u16 offered[CHAINS], filled[CHAINS];
static unsigned int nr_offered, nr_taken, nr_filled;
static bool published;

/* What the including file has of its own. Return: is the word known? */
static bool play_word(char *word, char *rest);

static u8 pattern(unsigned int seed, size_t at)
{
	return seed + at * at + (at >> 8);
}

static unsigned int sum(unsigned int start, const u8 *bytes, size_t n)
{
	while (n--)
		start = start * 31 + *bytes++;
	return start;
}

/* Return: memory of its own with the bytes that text stands for. */
static u8 *bytes_of(const char *text, size_t *length)
{
	u8 *bytes = malloc(BYTES);
	unsigned int seed;

	*length = 0;
	if (sscanf(text, "*%zu:%u", length, &seed) == 2)
		for (size_t at = 0; at < *length; at++)
			bytes[at] = pattern(seed, at);
	else
		for (; sscanf(text, "%2hhx", &bytes[*length]) == 1; text += 2)
			++*length;
	return realloc(bytes, *length ? *length : 1);
}

static void print_bytes(const char *what, const u8 *bytes, size_t length)
{
	printf("%s %zu ", what, length);
	for (size_t i = 0; i < 12 && i < length; i++)
		printf("%02x", bytes[i]);
	printf(" %u\n", sum(0, bytes, length));
}

static void add_chain(char *rest)
{
	u16 head = strtoul(strsep(&rest, " "), NULL, 0);
	struct fake_chain *fake = &chains[head];
	struct chain *chain = &fake->chain;
	bool in = false;
	char *word;

	memset(fake, 0, sizeof(*fake));
	chain->head = head;
	chain->out = chain->in = chain->iov;
	while ((word = strsep(&rest, " "))) {
		struct iovec *iov = &chain->iov[chain->nr_out + chain->nr_in];

		if (*word == '/') {
			in = true;
			chain->in = iov;
		} else if (!in) {
			iov->iov_base = bytes_of(word, &iov->iov_len);
			chain->out_length += iov->iov_len;
			chain->nr_out++;
		} else {
			iov->iov_len = strtoul(word, NULL, 0);
			iov->iov_base = memset(malloc(iov->iov_len), 0xee, iov->iov_len);
			fake->in[fake->nr_in] = iov->iov_base;
			fake->in_length[fake->nr_in++] = iov->iov_len;
			chain->in_length += iov->iov_len;
			chain->nr_in++;
		}
	}
	offered[nr_offered++] = head;
}

/* As the driver finds it. */
static void print_in(const struct fake_chain *fake)
{
	static u8 all[BYTES];
	size_t length = 0;

	for (size_t i = 0; i < fake->nr_in; i++) {
		memcpy(all + length, fake->in[i], fake->in_length[i]);
		length += fake->in_length[i];
	}
	if (length)
		printf("last %u ", all[length - 1]);
	print_bytes("in", all, length);
}

bool queue_next(struct virtqueue *vq, struct chain *chain)
{
	ptrdiff_t out, in;
	const struct chain *from;

	(void)vq;
	if (nr_taken == nr_offered)
		return false;
	from = &chains[offered[nr_taken++]].chain;
	out = from->out - from->iov;
	in = from->in - from->iov;
	*chain = *from;
	chain->out = chain->iov + out;
	chain->in = chain->iov + in;
	return true;
}

void queue_fill(struct virtqueue *vq, u16 head, u32 length)
{
	(void)vq;
	printf("fill %u %u\n", head, length);
	filled[nr_filled++] = head;
}

void queue_publish(struct virtqueue *vq)
{
	(void)vq;
	printf("publish\n");
	for (unsigned int i = 0; i < nr_filled; i++)
		print_in(&chains[filled[i]]);
	nr_filled = 0;
	published = true;
}

void queue_push(struct virtqueue *vq, u16 head, u32 length)
{
	queue_fill(vq, head, length);
	queue_publish(vq);
}

void queue_interrupt(struct virtqueue *vq)
{
	(void)vq;
	if (published)
		printf("interrupt\n");
	published = false;
}

void iov_advance(struct iovec **iov, unsigned int *count, size_t length)
{
	for (; *count && length >= (*iov)->iov_len; ++*iov, --*count)
		length -= (*iov)->iov_len;
	if (length) {
		(*iov)->iov_base = (u8 *)(*iov)->iov_base + length;
		(*iov)->iov_len -= length;
	}
}

size_t chain_read(struct chain *chain, void *to, size_t length)
{
	u8 *at = to;

	while (chain->nr_out && length--) {
		*at++ = *(u8 *)chain->out->iov_base;
		iov_advance(&chain->out, &chain->nr_out, 1);
		chain->out_length--;
	}
	return at - (u8 *)to;
}

size_t chain_write(struct chain *chain, const void *from, size_t length)
{
	const u8 *at = from;

	while (chain->nr_in && length--) {
		*(u8 *)chain->in->iov_base = *at++;
		iov_advance(&chain->in, &chain->nr_in, 1);
		chain->in_length--;
	}
	return at - (const u8 *)from;
}

u8 *chain_last_byte(struct chain *chain)
{
	struct iovec *last = chain->in + chain->nr_in - 1;

	if (!chain->nr_in)
		return NULL;
	chain->in_length--;
	if (!--last->iov_len)
		chain->nr_in--;
	return (u8 *)last->iov_base + last->iov_len;
}

void device_add(struct vm *vm, struct device *added, u64 features, const void *config, u16 length)
{
	(void)vm;
	(void)config;
	(void)length;
	device = added;
	device->features = features;
}

void device_config(struct device *changed, u64 offset, const void *bytes, u64 length)
{
	(void)changed;
	(void)offset;
	(void)bytes;
	(void)length;
}

void device_broken(struct device *broken, const char *why)
{
	(void)broken;
	printf("broken: %s\n", why);
}

void die(enum exit_code code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vprintf(fmt, args);
	printf("\n");
	exit(code);
}

void warn(const char *fmt, ...)
{
	(void)fmt;
}

int main(int argc, char **argv)
{
	static char line[BYTES * 3];
	static struct virtqueue vq;
	FILE *script = fopen(argc > 1 ? argv[1] : "/dev/stdin", "r");

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (script && fgets(line, sizeof(line), script)) {
		char *rest = line, *word;

		line[strcspn(line, "\n")] = 0;
		word = strsep(&rest, " ");
		if (!strcmp(word, "chain")) {
			add_chain(rest);
		} else if (!strcmp(word, "serve")) {
			vq.device = device;
			device->type->serve[strtoul(rest, NULL, 0)](&vq);
			printf("served\n");
			nr_offered = nr_taken = 0;
		} else if (!play_word(word, rest)) {
			printf("what is %s?\n", word);
		}
	}
	printf("done\n");
	return 0;
}
