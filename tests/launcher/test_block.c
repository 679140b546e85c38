// SPDX-License-Identifier: GPL-2.0
/* Block requests, whatever way they are split, against a temporary file. */
#include "block.c"
#include "test.h"

#define SECTORS 64

static struct block *block;
static struct ringlet_device record;
static char image[] = "/tmp/ringlet-test-XXXXXX";
static struct virtio_blk_config config_seen;

void device_add(struct vm *vm, struct device *device, u64 features, const void *config,
		u16 length)
{
	(void)vm;
	device->record = &record;
	record.features = features;
	memcpy(&config_seen, config, length);
	block = container_of(device, struct block, device);
}

void device_config(struct device *device, u64 offset, const void *bytes, u64 length)
{
	(void)device;
	memcpy((char *)&config_seen + offset, bytes, length);
}

void device_broken(struct device *device, const char *why) { (void)device; (void)why; }
void line_raise(struct vm *vm, unsigned int line) { (void)vm; (void)line; }

static void open_image(const char *suffix)
{
	char argument[100];

	if (block)
		close_disk(&block->device);
	free(block);
	block = NULL;
	CHECK(truncate(image, SECTORS * SECTOR) == 0);
	snprintf(argument, sizeof(argument), "%s%s", image, suffix);
	block_add(NULL, argument);
	block->device.features = ~0ULL;
}

static u8 out[SECTORS * 512 + 16 + 4096], in[SECTORS * 512 + 1];

/* Do a request, both parts cut into pieces of @piece bytes. Return: used.len. */
static u32 request(u32 type, u64 sector, size_t out_data, size_t in_bytes, size_t piece)
{
	struct virtio_blk_outhdr header = { .type = type, .sector = sector };
	static struct iovec iov[2 * sizeof(out)];
	struct chain chain;
	size_t at;

	memcpy(out, &header, sizeof(header));
	chain = (struct chain){ .out = iov, .out_length = sizeof(header) + out_data,
				.in_length = in_bytes };
	for (at = 0; at < chain.out_length; at += iov[chain.nr_out++].iov_len)
		iov[chain.nr_out] = (struct iovec){ out + at,
			at + piece < chain.out_length ? piece : chain.out_length - at };
	chain.in = iov + chain.nr_out;
	for (at = 0; at < in_bytes; at += chain.in[chain.nr_in++].iov_len)
		chain.in[chain.nr_in] = (struct iovec){ in + at,
			at + piece < in_bytes ? piece : in_bytes - at };
	memset(in, 0xee, sizeof(in));
	return handle(block, &chain);
}

static void test_read_write(void)
{
	static const size_t pieces[] = { 2, 7, 16, 17, 512, 1000000 };

	open_image("");
	for (size_t p = 0; p < ARRAY_SIZE(pieces); p++) {
		for (int i = 0; i < 1024; i++)
			out[16 + i] = i * 7 + p;
		CHECK(request(VIRTIO_BLK_T_OUT, 3, 1024, 1, pieces[p]) == 1);
		CHECK(in[0] == VIRTIO_BLK_S_OK);
		CHECK(request(VIRTIO_BLK_T_IN, 3, 0, 512 + 1, pieces[p]) == 513);
		CHECK(in[512] == VIRTIO_BLK_S_OK);
		for (int i = 0; i < 512; i++)
			CHECK(in[i] == (u8)(i * 7 + p));
	}
}

static void test_bounds(void)
{
	open_image("");
	CHECK(request(VIRTIO_BLK_T_IN, SECTORS - 1, 0, 513, 512) == 513 && in[512] == 0);
	CHECK(request(VIRTIO_BLK_T_IN, SECTORS, 0, 513, 512) == 1 && in[512] == VIRTIO_BLK_S_IOERR);
	CHECK(request(VIRTIO_BLK_T_IN, SECTORS - 1, 0, 1025, 512) == 1 && in[1024] == 1);
	CHECK(request(VIRTIO_BLK_T_IN, -1ULL, 0, 1025, 512) == 1 && in[1024] == 1);
	CHECK(request(VIRTIO_BLK_T_IN, 1ULL << 55, 0, 513, 512) == 1 && in[512] == 1);
	CHECK(request(VIRTIO_BLK_T_OUT, SECTORS, 512, 1, 512) == 1 && in[0] == 1);
	CHECK(request(VIRTIO_BLK_T_OUT, 0, 511, 1, 512) == 1 && in[0] == 1);
	CHECK(request(VIRTIO_BLK_T_IN, 0, 0, 101, 512) == 1 && in[100] == 1);
	CHECK(request(VIRTIO_BLK_T_IN, SECTORS, 0, 1, 512) == 1 && in[0] == 0);
}

static void test_broken_requests(void)
{
	struct iovec iov[2] = { { out, 10 }, { in, 1 } };
	struct chain chain = { .out = iov, .nr_out = 1, .out_length = 10,
			       .in = iov + 1, .nr_in = 1, .in_length = 1 };

	open_image("");
	CHECK(handle(block, &chain) == 1 && in[0] == VIRTIO_BLK_S_IOERR);
	CHECK(request(VIRTIO_BLK_T_OUT, 0, 512, 0, 512) == 0);
	CHECK(request(999, 0, 0, 1, 512) == 1 && in[0] == VIRTIO_BLK_S_UNSUPP);
}

static void test_read_only(void)
{
	open_image(",ro");
	CHECK(record.features & BIT(VIRTIO_BLK_F_RO));
	CHECK(!(record.features & BIT(VIRTIO_BLK_F_DISCARD)));
	CHECK(request(VIRTIO_BLK_T_OUT, 0, 512, 1, 512) == 1 && in[0] == VIRTIO_BLK_S_IOERR);
	CHECK(request(VIRTIO_BLK_T_DISCARD, 0, 16, 1, 512) == 1 && in[0] == VIRTIO_BLK_S_IOERR);
	CHECK(request(VIRTIO_BLK_T_IN, 0, 0, 513, 512) == 513 && in[512] == 0);
	CHECK(request(VIRTIO_BLK_T_FLUSH, 0, 0, 1, 512) == 1 && in[0] == 0);
}

static u8 segments(u32 type, u64 sector, u32 count, u32 flags, size_t bytes)
{
	struct virtio_blk_discard_write_zeroes segment = { sector, count, flags };

	for (size_t i = 0; i < bytes; i += sizeof(segment))
		memcpy(out + 16 + i, &segment, sizeof(segment));
	CHECK(request(type, 0, bytes, 1, 5) == 1);
	return in[0];
}

static void test_segments(void)
{
	open_image("");
	memset(out + 16, 0x55, 1024);
	CHECK(request(VIRTIO_BLK_T_OUT, 8, 1024, 1, 512) == 1 && in[0] == 0);
	CHECK(segments(VIRTIO_BLK_T_WRITE_ZEROES, 8, 1, 0, 16) == 0);
	CHECK(request(VIRTIO_BLK_T_IN, 8, 0, 1025, 512) == 1025);
	CHECK(in[0] == 0 && in[511] == 0 && in[512] == 0x55);
	CHECK(segments(VIRTIO_BLK_T_WRITE_ZEROES, 9, 1, 1, 32) == 0);
	CHECK(request(VIRTIO_BLK_T_IN, 9, 0, 513, 512) == 513 && in[0] == 0);
	CHECK(segments(VIRTIO_BLK_T_DISCARD, 0, SECTORS, 0, 16) == 0);
	CHECK(segments(VIRTIO_BLK_T_DISCARD, 0, 0, 0, 16) == 0);
	CHECK(segments(VIRTIO_BLK_T_DISCARD, 0, 1, 1, 16) == VIRTIO_BLK_S_UNSUPP);
	CHECK(segments(VIRTIO_BLK_T_DISCARD, 0, 1, 2, 16) == VIRTIO_BLK_S_UNSUPP);
	CHECK(segments(VIRTIO_BLK_T_DISCARD, 1, SECTORS, 0, 16) == VIRTIO_BLK_S_IOERR);
	CHECK(segments(VIRTIO_BLK_T_WRITE_ZEROES, -1ULL, 2, 0, 16) == VIRTIO_BLK_S_IOERR);
	CHECK(segments(VIRTIO_BLK_T_WRITE_ZEROES, 0, -1U, 0, 16) == VIRTIO_BLK_S_IOERR);
	CHECK(segments(VIRTIO_BLK_T_DISCARD, 0, 1, 0, 0) == VIRTIO_BLK_S_IOERR);
	CHECK(segments(VIRTIO_BLK_T_DISCARD, 0, 1, 0, 16 * (MAX_SEGMENTS + 1)) == VIRTIO_BLK_S_IOERR);
	CHECK(request(VIRTIO_BLK_T_DISCARD, 0, 15, 1, 5) == 1 && in[0] == VIRTIO_BLK_S_IOERR);
	/* by hand, as on a file system that cannot */
	memset(out + 16, 0x55, 1024);
	CHECK(request(VIRTIO_BLK_T_OUT, 8, 1024, 1, 512) == 1);
	CHECK(write_zeroes(block, 8 * SECTOR, SECTOR));
	CHECK(request(VIRTIO_BLK_T_IN, 8, 0, 1025, 512) == 1025 && in[0] == 0 && in[512] == 0x55);
}

static void test_serial(void)
{
	open_image(",serial=12345678901234567890");
	CHECK(request(VIRTIO_BLK_T_GET_ID, 0, 0, 21, 3) == 21 && in[20] == 0);
	CHECK(!memcmp(in, "12345678901234567890", 20));
	open_image(",serial=x");
	CHECK(request(VIRTIO_BLK_T_GET_ID, 0, 0, 21, 21) == 21 && !memcmp(in, "x\0\0", 3));
	CHECK(request(VIRTIO_BLK_T_GET_ID, 0, 0, 4, 21) == 4 && in[3] == 0);
}

static void test_write_cache(void)
{
	u64 wce = offsetof(struct virtio_blk_config, wce);

	open_image("");
	block->device.features = BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_CONFIG_WCE);
	negotiated(&block->device);
	CHECK(block->write_back && config_seen.wce == 1);
	CHECK(config_write(&block->device, wce, 1, 0) == 0 && !block->write_back);
	CHECK(config_write(&block->device, wce, 1, 2) == -EINVAL);
	CHECK(config_write(&block->device, wce, 2, 0) == -EINVAL);
	CHECK(config_write(&block->device, 0, 1, 0) == -EINVAL);
	CHECK(config_seen.wce == 0);
	block->device.features = BIT(VIRTIO_BLK_F_SEG_MAX);
	negotiated(&block->device);
	CHECK(!block->write_back);
	CHECK(config_write(&block->device, wce, 1, 1) == -EINVAL);
	block->device.features = 0;
	negotiated(&block->device);
	CHECK(block->write_back && config_seen.wce == 1);
}

static void test_images(void)
{
	char argument[100];

	open_image("");
	CHECK(config_seen.capacity == SECTORS && config_seen.seg_max == QUEUE_SIZE - 2);
	snprintf(argument, sizeof(argument), "%s", image);
	CHECK(DIES(block_add(NULL, argument), "busy in another launcher"));
	CHECK(DIES(block_add(NULL, strdup("/nonexistent")), "truncate"));
	CHECK(DIES(block_add(NULL, strdup("/tmp")), "-d /tmp"));
	CHECK(DIES(block_add(NULL, strdup("/tmp,rw")), "rw: neither"));
	close_disk(&block->device);
	block = NULL;
	CHECK(truncate(image, 1000) == 0);
	warnings = 0;
	block_add(NULL, argument);
	CHECK(warnings == 1 && config_seen.capacity == 1);
}

int main(void)
{
	static const struct test tests[] = {
		TEST(test_read_write, "header, data and status split anywhere"),
		TEST(test_bounds, "sectors and lengths, with overflow"),
		TEST(test_broken_requests, "short header, no status, unknown type"),
		TEST(test_read_only, "a read-only disk refuses every change"),
		TEST(test_segments, "discard and write-zeroes, their flags and bounds"),
		TEST(test_serial, "GET_ID, padded and cut"),
		TEST(test_write_cache, "FLUSH not negotiated, CONFIG_WCE"),
		TEST(test_images, "missing, busy, odd-sized image"),
	};
	int fd = mkstemp(image);

	CHECK(fd >= 0);
	close(fd);
	run_tests(tests, ARRAY_SIZE(tests));
	unlink(image);
	return 0;
}
