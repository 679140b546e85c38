// SPDX-License-Identifier: GPL-2.0
/*
 * A disk to try ringblk with (lab 11). insmod disk.ko test=NAME; what came of it
 * stands in the kernel's log. It is never unloaded: a driver that has lost a
 * request would wait for it for ever.
 */
#include "fake_device.h"
#include <linux/blkdev.h>
#include <linux/virtio_blk.h>

#define MANY		64
#define SECTORS		4096
#define PAGES		16	/* of one request */

static char *test = "";
module_param(test, charp, 0);
/* Of the nth request: a write? pages, its first sector; what the disk answers: status, or 256 for none; bytes more or less. */
static unsigned int seed, write[MANY], pages[MANY], sector[MANY], answer[MANY], nr;
static int more[MANY];
module_param(seed, uint, 0);
module_param_array(write, uint, &nr, 0);
module_param_array(pages, uint, NULL, 0);
module_param_array(sector, uint, NULL, 0);
module_param_array(answer, uint, NULL, 0);
module_param_array(more, int, NULL, 0);

static struct file *file;
static struct request held[MANY];
static struct bio *bios[MANY];
static unsigned int nr_held, ended;

static u8 pattern(unsigned int n, unsigned int at)
{
	return (seed + n * 37 + at * at + (at >> 8)) & 0xff;
}

static unsigned int sum(unsigned int start, const u8 *bytes, unsigned int n)
{
	while (n--)
		start = start * 31 + *bytes++;
	return start;
}

static void end_io(struct bio *bio)
{
	unsigned int n = (unsigned long)bio->bi_private;

	ended++;
	say("end %u error %d", n, blk_status_to_errno(bio->bi_status));
}

/* Ask the driver; pages apart, so that no two of them are one piece. */
static void submit(unsigned int n)
{
	struct block_device *bdev = file_bdev(file);
	struct bio *bio = bio_alloc(bdev, pages[n], write[n] ? REQ_OP_WRITE : REQ_OP_READ, GFP_KERNEL);

	bio->bi_iter.bi_sector = sector[n];
	bio->bi_end_io = end_io;
	bio->bi_private = (void *)(unsigned long)n;
	for (unsigned int i = 0; i < pages[n]; i++) {
		struct page *page = alloc_pages(GFP_KERNEL | __GFP_ZERO, 1);
		u8 *bytes = page_address(page);

		for (unsigned int at = 0; write[n] && at < PAGE_SIZE; at++)
			bytes[at] = pattern(n, i * PAGE_SIZE + at);
		__bio_add_page(bio, page, PAGE_SIZE, 0);
	}
	bios[n] = bio;
	submit_bio(bio);
}

/* Take what the driver offers, and say what it is. */
static void take(void)
{
	while (nr_held < MANY && fake_take(0, &held[nr_held])) {
		struct request *request = &held[nr_held++];
		struct virtio_blk_outhdr *header = (void *)request->bytes[0];
		unsigned int total[2] = {}, order = 1, data = 0;

		for (unsigned int i = 0; i < request->pieces; i++) {
			total[request->writable[i]] += request->length[i];
			order &= !i || request->writable[i] >= request->writable[i - 1];
			if (i && !request->writable[i])
				data = sum(data, request->bytes[i], request->length[i]);
		}
		say("request type %u sector %llu header %u readable %u writable %u last %u order %u sum %u",
		    header->type, header->sector, request->length[0], total[0], total[1],
		    request->length[request->pieces - 1], order, data);
	}
}

/* The disk's answer to the nth request that it holds. */
static void give(unsigned int n)
{
	struct request *request = &held[n];
	unsigned int length = 1, at = 0;

	for (unsigned int i = 0; i + 1 < request->pieces; i++) {
		for (unsigned int j = 0; request->writable[i] && j < request->length[i]; j++)
			request->bytes[i][j] = pattern(n, at++);
	}
	length += at + more[n];
	if (answer[n] < 256)
		*request->bytes[request->pieces - 1] = answer[n];
	fake_use(0, request->head, length);
}

static void say_data(unsigned int n)
{
	unsigned int result = 0;

	for (unsigned int i = 0; i < pages[n]; i++)
		result = sum(result, page_address(bios[n]->bi_io_vec[i].bv_page), PAGE_SIZE);
	say("data %u sum %u", n, result);
}

/* Nothing is answered. */
static void test_requests(void)
{
	for (unsigned int i = 0; i < nr; i++) {
		submit(i);
		if (!comes(fake_waiting(0)))
			return;
		take();
	}
}

/* One after the other. */
static void test_answers(void)
{
	for (unsigned int i = 0; i < nr; i++) {
		submit(i);
		if (!comes(fake_waiting(0)))
			return;
		take();
		give(i);
		fake_interrupt(0);
		if (!comes(ended > i))
			return;
		if (!write[i])
			say_data(i);
	}
}

/* All of them back with one interrupt. */
static void test_together(void)
{
	unsigned long flags;

	for (unsigned int i = 0; i < nr; i++)
		submit(i);
	if (!comes(fake_waiting(0) >= nr))
		return;
	take();
	local_irq_save(flags);
	for (unsigned int i = 0; i < nr; i++)
		give(i);
	local_irq_restore(flags);
	fake_interrupt(0);
	comes(ended >= nr);
	say("ended %u interrupts %u", ended, interrupts[0]);
}

/* Half of them in one go, then one by one. */
static void test_kicks(void)
{
	struct blk_plug plug;
	unsigned int before = kicks[0];

	blk_start_plug(&plug);
	for (unsigned int i = 0; i < nr / 2; i++)
		submit(i);
	blk_finish_plug(&plug);
	comes(fake_waiting(0) >= nr / 2);
	say("plugged %u kicks %u", fake_waiting(0), kicks[0] - before);
	before = kicks[0];
	for (unsigned int i = nr / 2; i < nr; i++)
		submit(i);
	comes(fake_waiting(0) >= nr);
	say("all %u kicks %u", fake_waiting(0), kicks[0] - before);
}

/* More than the ring takes; the disk answers when nothing more comes. */
static void test_full(void)
{
	unsigned int done = 0;

	for (unsigned int i = 0; i < nr; i++)
		submit(i);
	while (done < nr && comes(fake_waiting(0))) {
		msleep(30);
		take();
		say("round of %u", nr_held - done);
		for (; done < nr_held; done++)
			give(done);
		fake_interrupt(0);
		comes(ended >= done);
	}
	say("ended %u", ended);
}

static const struct {
	const char *name;
	void (*function)(void);
} tests[] = {
	{ "requests", test_requests },
	{ "answers", test_answers },
	{ "together", test_together },
	{ "kicks", test_kicks },
	{ "full", test_full },
};

static int __init disk_init(void)
{
	struct virtio_blk_config *mine = (void *)config;
	int ret;

	offered |= BIT_ULL(VIRTIO_BLK_F_SEG_MAX) | BIT_ULL(VIRTIO_BLK_F_FLUSH);
	mine->seg_max = PAGES;
	ret = fake_register(VIRTIO_ID_BLOCK);	/* without a sector, so that no partition table is looked for */
	if (ret)
		return ret;
	mine->capacity = SECTORS;
	virtio_config_changed(&device);
	file = bdev_file_open_by_path("/dev/rba", BLK_OPEN_READ | BLK_OPEN_WRITE, NULL, NULL);
	if (IS_ERR(file) || !queues[0] || !comes(bdev_nr_sectors(file_bdev(file)) == SECTORS)) {
		say("the driver has not made a disk");
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		if (!strcmp(test, tests[i].name))
			tests[i].function();
	say("done");
	return 0;
}

module_init(disk_init);
