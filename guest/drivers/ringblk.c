// SPDX-License-Identifier: GPL-2.0
/*
 * The kit's own driver for a virtio disk (chapter 11; virtio 1.2, 5.2), in the
 * place of the kernel's virtio_blk: /dev/rba, /dev/rbb, ... The virtio core
 * calls probe and remove, blk-mq hands over requests, the virtqueue's interrupt
 * brings them back. One queue; reads, writes and flushes.
 */
#include <linux/blk-mq.h>
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/virtio.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#if SOLUTION < 9999
#include <asm/ringlet.h>
#endif

#define MAX_DEPTH	128	/* requests at a time */
#define MAX_SEGMENTS	64	/* pieces of memory in one of them */
#define NO_STATUS	0xff	/* what no device answers */

/**
 * struct ringblk - a disk
 * @vdev:	the device; its priv points back here
 * @vq:		its one queue
 * @lock:	covers @vq, and the step from "it is full" to a stopped blk-mq queue
 * @disk:	what the rest of the kernel knows; NULL until it is made
 * @tags:	blk-mq's requests, each with a struct ringblk_request behind it
 * @resize:	reads the capacity: the interrupt that asks for it may not sleep
 * @letter:	its place in the alphabet, for the name
 */
struct ringblk {
	struct virtio_device *vdev;
	struct virtqueue *vq;
	spinlock_t lock;		/* taken by the interrupt, too */
	struct gendisk *disk;
	struct blk_mq_tag_set tags;
	struct work_struct resize;
	int letter;
};

/**
 * struct ringblk_request - what the device sees of a request, and what came of it
 * @header:	the device reads what is to be done
 * @data:	the device reads or fills the memory that this lists
 * @status:	the device's answer; it may go on changing it, so it is read once
 * @result:	what was made of that answer
 */
struct ringblk_request {
	struct virtio_blk_outhdr header;
	struct scatterlist data[MAX_SEGMENTS];
	u8 status;
	blk_status_t result;
};

static DEFINE_IDA(letters);
static const struct blk_mq_ops ringblk_mq_ops;
static void ringblk_done(struct virtqueue *vq);

/* ---- probe ---- */

/* The device is asked once; an answer that no disk can have is refused. */
static int read_limits(struct ringblk *blk, struct queue_limits *limits)
{
	unsigned int ring = virtqueue_get_vring_size(blk->vq);
	u32 segments = 1, block_size = SECTOR_SIZE;

	virtio_cread_feature(blk->vdev, VIRTIO_BLK_F_SEG_MAX, struct virtio_blk_config, seg_max,
			     &segments);
	virtio_cread_feature(blk->vdev, VIRTIO_BLK_F_BLK_SIZE, struct virtio_blk_config, blk_size,
			     &block_size);
	/* Header, data and status: a request that cannot fit into an empty ring waits for ever. */
	if (ring < 3 || blk_validate_block_size(block_size)) {
		dev_err(&blk->vdev->dev, "ring of %u, blocks of %u bytes\n", ring, block_size);
		return -EINVAL;
	}
	limits->logical_block_size = block_size;
	limits->max_segments = clamp(segments, 1u, min_t(u32, MAX_SEGMENTS, ring - 2));
	limits->max_hw_sectors = UINT_MAX;
	if (virtio_has_feature(blk->vdev, VIRTIO_BLK_F_FLUSH))
		limits->features = BLK_FEAT_WRITE_CACHE;
	return 0;
}

static void read_capacity(struct work_struct *work)
{
	struct ringblk *blk = container_of(work, struct ringblk, resize);
	unsigned int block = queue_logical_block_size(blk->disk->queue) >> SECTOR_SHIFT;
	u64 sectors;

	virtio_cread(blk->vdev, struct virtio_blk_config, capacity, &sectors);
	/* The kernel counts a disk's bytes in a loff_t; and half a block is none. */
	sectors = min_t(u64, sectors, LLONG_MAX >> SECTOR_SHIFT);
	set_capacity_and_notify(blk->disk, round_down(sectors, block));
}

static const struct block_device_operations ringblk_fops = {
	.owner = THIS_MODULE,
};

static int make_disk(struct ringblk *blk)
{
	struct queue_limits limits = {};
	int ret = read_limits(blk, &limits);

	if (ret)
		return ret;
	blk->tags.ops = &ringblk_mq_ops;
	blk->tags.nr_hw_queues = 1;
	blk->tags.queue_depth = min(MAX_DEPTH, virtqueue_get_vring_size(blk->vq));
	blk->tags.numa_node = NUMA_NO_NODE;
	blk->tags.cmd_size = sizeof(struct ringblk_request);
	blk->tags.flags = BLK_MQ_F_SHOULD_MERGE;
	ret = blk_mq_alloc_tag_set(&blk->tags);
	if (ret)
		return ret;
	blk->disk = blk_mq_alloc_disk(&blk->tags, &limits, blk);
	if (IS_ERR(blk->disk)) {
		blk_mq_free_tag_set(&blk->tags);
		return PTR_ERR(blk->disk);
	}
	snprintf(blk->disk->disk_name, DISK_NAME_LEN, "rb%c", 'a' + blk->letter);
	blk->disk->fops = &ringblk_fops;
	set_disk_ro(blk->disk, virtio_has_feature(blk->vdev, VIRTIO_BLK_F_RO));
	read_capacity(&blk->resize);
	return 0;
}

static int ringblk_probe(struct virtio_device *vdev)
{
	struct ringblk *blk = kzalloc(sizeof(*blk), GFP_KERNEL);
	int ret;

	if (!blk)
		return -ENOMEM;
	vdev->priv = blk;
	blk->vdev = vdev;
	spin_lock_init(&blk->lock);
	INIT_WORK(&blk->resize, read_capacity);
	ret = ida_alloc_max(&letters, 'z' - 'a', GFP_KERNEL);
	if (ret < 0)
		goto free;
	blk->letter = ret;
	blk->vq = virtio_find_single_vq(vdev, ringblk_done, "requests");
	ret = PTR_ERR_OR_ZERO(blk->vq);
	if (ret)
		goto letter;
	ret = make_disk(blk);
	if (ret)
		goto queue;
	/* device_add_disk() reads the partition table: the device must be at work by then. */
	virtio_device_ready(vdev);
	ret = device_add_disk(&vdev->dev, blk->disk, NULL);
	if (!ret)
		return 0;

	virtio_reset_device(vdev);
	put_disk(blk->disk);
	blk_mq_free_tag_set(&blk->tags);
queue:
	vdev->config->del_vqs(vdev);
letter:
	ida_free(&letters, blk->letter);
free:
	kfree(blk);
	return ret;
}

/* ---- run: a request goes to the device ---- */

static blk_status_t fill_header(struct ringblk *blk, struct request *rq)
{
	struct ringblk_request *request = blk_mq_rq_to_pdu(rq);
	u32 type;

	switch (req_op(rq)) {
	case REQ_OP_READ:
		type = VIRTIO_BLK_T_IN;
		break;
	case REQ_OP_WRITE:
		type = VIRTIO_BLK_T_OUT;
		break;
	case REQ_OP_FLUSH:
		type = VIRTIO_BLK_T_FLUSH;
		break;
	default:
		return BLK_STS_NOTSUPP;
	}
	request->header = (struct virtio_blk_outhdr) {
		.type = cpu_to_virtio32(blk->vdev, type),
		.sector = cpu_to_virtio64(blk->vdev,
					  type == VIRTIO_BLK_T_FLUSH ? 0 : blk_rq_pos(rq)),
	};
	request->status = NO_STATUS;
	return BLK_STS_OK;
}

/* Return: is there any? Not with a flush. */
static bool list_data(struct request *rq)
{
	struct ringblk_request *request = blk_mq_rq_to_pdu(rq);
#if SOLUTION >= 1101
	unsigned int segments = blk_rq_nr_phys_segments(rq);

	if (!segments)
		return false;
	sg_init_table(request->data, segments);
	blk_rq_map_sg(rq->q, rq, request->data);
	return true;
#else
	/* Exercise 11.1: blk-mq knows how many pieces, and lists them. */
	EXERCISE("11.1");
	return request->data[0].length;
#endif
}

/* What the device reads comes first, then what it writes, the status last of all. */
static int add_request(struct ringblk *blk, struct request *rq, bool data)
{
	struct ringblk_request *request = blk_mq_rq_to_pdu(rq);
#if SOLUTION >= 1101
	struct scatterlist header, status, *sgs[3] = { &header, request->data, &status };
	bool to_device = data && rq_data_dir(rq) == WRITE;

	sg_init_one(&header, &request->header, sizeof(request->header));
	sg_init_one(&status, &request->status, sizeof(request->status));
	if (!data)
		sgs[1] = &status;
	return virtqueue_add_sgs(blk->vq, sgs, 1 + to_device, 1 + (data && !to_device), request,
				 GFP_ATOMIC);
#else
	/* Exercise 11.1: up to three lists for virtqueue_add_sgs(). */
	EXERCISE("11.1");
	return request->header.type ? -EIO : data;
#endif
}

/* The hypercall stands outside the lock: whoever completes requests need not wait for it. */
static void ringblk_commit_rqs(struct blk_mq_hw_ctx *hctx)
{
	struct ringblk *blk = hctx->queue->queuedata;
	unsigned long flags;
	bool notify;

	spin_lock_irqsave(&blk->lock, flags);
	notify = virtqueue_kick_prepare(blk->vq);
	spin_unlock_irqrestore(&blk->lock, flags);
	if (notify)
		virtqueue_notify(blk->vq);
}

static blk_status_t ringblk_queue_rq(struct blk_mq_hw_ctx *hctx,
				     const struct blk_mq_queue_data *bd)
{
	struct ringblk *blk = hctx->queue->queuedata;
	blk_status_t status = fill_header(blk, bd->rq);
	unsigned long flags;
	bool data;
	int ret;

	if (status)
		return status;
	data = list_data(bd->rq);
	/* Before the device can have it: from then on it may be completed at any moment. */
	blk_mq_start_request(bd->rq);

#if SOLUTION >= 1103
	spin_lock_irqsave(&blk->lock, flags);
	ret = add_request(blk, bd->rq, data);
	/* Still under the lock: the interrupt that makes room starts the queue after this. */
	if (ret == -ENOSPC)
		blk_mq_stop_hw_queue(hctx);
	spin_unlock_irqrestore(&blk->lock, flags);

	/* After an error blk-mq calls this itself, for the requests before. */
	if (!ret && bd->last)
		ringblk_commit_rqs(hctx);
	return ret == -ENOSPC ? BLK_STS_DEV_RESOURCE : errno_to_blk_status(ret);
#else
	/* Exercise 11.3: this kicks for every request, and fails when the ring is full. */
	pr_warn_once("exercise 11.3 is open, the code is slow: see README.md#11.3\n");
	spin_lock_irqsave(&blk->lock, flags);
	ret = add_request(blk, bd->rq, data);
	spin_unlock_irqrestore(&blk->lock, flags);
	ringblk_commit_rqs(hctx);
	return errno_to_blk_status(ret);
#endif
}

/* ---- run: it comes back ---- */

/*
 * @length is how much the device says it wrote. A read that it calls good but
 * did not fill would show the reader what the memory held before.
 */
static blk_status_t judge(struct request *rq, unsigned int length)
{
	struct ringblk_request *request = blk_mq_rq_to_pdu(rq);
#if SOLUTION >= 1102
	unsigned int wanted = 1 + (req_op(rq) == REQ_OP_READ ? blk_rq_bytes(rq) : 0);
	u8 status = READ_ONCE(request->status);

	if (status == VIRTIO_BLK_S_UNSUPP)
		return BLK_STS_NOTSUPP;
	return status == VIRTIO_BLK_S_OK && length >= wanted ? BLK_STS_OK : BLK_STS_IOERR;
#else
	/* Exercise 11.2: what the status says, and whether the length bears it out. */
	EXERCISE("11.2");
	return request->status ? BLK_STS_IOERR : BLK_STS_OK;
#endif
}

static void ringblk_done(struct virtqueue *vq)
{
	struct ringblk *blk = vq->vdev->priv;
	struct ringblk_request *request;
	unsigned int length;
	unsigned long flags;
	bool room = false;

	spin_lock_irqsave(&blk->lock, flags);
#if SOLUTION >= 1102
	do {
		virtqueue_disable_cb(vq);
		while ((request = virtqueue_get_buf(vq, &length))) {
			struct request *rq = blk_mq_rq_from_pdu(request);

			request->result = judge(rq, length);
			blk_mq_complete_request(rq);
			room = true;
		}
		/* False: more came in before interrupts were on again, and nothing will tell. */
	} while (!virtqueue_enable_cb(vq));
#else
	/* Exercise 11.2: each that is back; then interrupts on, and was that too late? */
	EXERCISE("11.2");
	request = virtqueue_get_buf(vq, &length);
	request->result = judge(blk_mq_rq_from_pdu(request), length);
#endif
	/* Only then is there a disk for sure: a device may interrupt before it was given work. */
	if (room)
		blk_mq_start_stopped_hw_queues(blk->disk->queue, true);
	spin_unlock_irqrestore(&blk->lock, flags);
}

/* On the CPU that asked for it, says blk-mq. */
static void ringblk_complete(struct request *rq)
{
	struct ringblk_request *request = blk_mq_rq_to_pdu(rq);

	blk_mq_end_request(rq, request->result);
}

static const struct blk_mq_ops ringblk_mq_ops = {
	.queue_rq = ringblk_queue_rq,
	.commit_rqs = ringblk_commit_rqs,
	.complete = ringblk_complete,
};

static void ringblk_config_changed(struct virtio_device *vdev)
{
	struct ringblk *blk = vdev->priv;

	schedule_work(&blk->resize);
}

/* ---- tear down ---- */

static void ringblk_remove(struct virtio_device *vdev)
{
	struct ringblk *blk = vdev->priv;

	/* The core has turned config_changed off: no new work comes behind this. */
	cancel_work_sync(&blk->resize);
	/* Refuses new requests and waits for those in flight: the device must still be at work. */
	del_gendisk(blk->disk);
	/* The device touches no memory of ours after this, so the ring may go. */
	virtio_reset_device(vdev);
	vdev->config->del_vqs(vdev);
	blk_mq_free_tag_set(&blk->tags);
	put_disk(blk->disk);	/* who still has it open keeps the disk, and finds it dead */
	ida_free(&letters, blk->letter);
	kfree(blk);
}

static const struct virtio_device_id ringblk_ids[] = {
	{ VIRTIO_ID_BLOCK, VIRTIO_DEV_ANY_ID },
	{}
};

static const unsigned int ringblk_features[] = {
	VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_FLUSH,
};

static struct virtio_driver ringblk_driver = {
	.driver.name = KBUILD_MODNAME,
	.id_table = ringblk_ids,
	.feature_table = ringblk_features,
	.feature_table_size = ARRAY_SIZE(ringblk_features),
	.probe = ringblk_probe,
	.config_changed = ringblk_config_changed,
	.remove = ringblk_remove,
};
module_virtio_driver(ringblk_driver);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Ringlet's own driver for virtio disks");
