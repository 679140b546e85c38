// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's virtio transport. Chapter 7: scan the device page, register each
 * device. Chapter 8: find_vqs. Chapter 9: notify by hypercall.
 *
 * The page (include/ringlet/device_page.h) is the launcher's and read-only
 * here; we believe it no more than a bus would be believed. What the driver
 * decides goes by hypercall, and the host may say no.
 */
#define pr_fmt(fmt) "virtio_ringlet: " fmt
#include <linux/io.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/pm.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#if CHAPTER >= 9
#include <linux/interrupt.h>
#endif
#include <asm/ringlet.h>
#include <ringlet/device_page.h>

/**
 * struct ringlet_vdev - one virtio device
 * @vdev:	what the virtio core knows of it
 * @number:	its place in the page: the first argument of every hypercall
 * @record:	its record, mapped; bounds were checked by the scan
 * @queues, @config_length: copies from the scan; the page may change, they not
 */
struct ringlet_vdev {
	struct virtio_device vdev;
	unsigned int number;
	const struct ringlet_device *record;
	unsigned int queues, config_length;
#if CHAPTER >= 8
	struct ringlet_queue setup;	/* argument of the hypercall that sets a queue up */
#endif
#if CHAPTER >= 9
	int config_irq;			/* Linux's number for the record's interrupt line */
	int irqs[RINGLET_MAX_QUEUES];	/* of the queues; 0: none requested */
#endif
};

/* The bus: one page, one parent device, and what the scan found. */
static const struct ringlet_device_page *page;
static struct platform_device *parent;
static struct ringlet_vdev *devices[RINGLET_MAX_DEVICES];
#if CHAPTER >= 9
static int page_irq;
#endif

static struct ringlet_vdev *to_ringlet(struct virtio_device *vdev)
{
	return container_of(vdev, struct ringlet_vdev, vdev);
}

static const struct ringlet_device_queue *queue_records(const struct ringlet_vdev *rv)
{
	return (const void *)(rv->record + 1);
}

static const u8 *config_space(const struct ringlet_vdev *rv)
{
	return (const void *)(queue_records(rv) + rv->queues);
}

/* Chapter 7: features, status, config space */

static u64 rv_get_features(struct virtio_device *vdev)
{
	return READ_ONCE(to_ringlet(vdev)->record->features);
}

static int rv_finalize_features(struct virtio_device *vdev)
{
#if SOLUTION >= 704
	vring_transport_features(vdev);
	if (!__virtio_test_bit(vdev, VIRTIO_F_VERSION_1)) {
		dev_err(&vdev->dev, "a device without VERSION_1\n");
		return -EINVAL;
	}
	return ringlet_hypercall(RINGLET_HC_DEVICE_FEATURES, to_ringlet(vdev)->number,
				 vdev->features, 0, 0);
#else
	/* Exercise 7.4: vdev->features holds what driver and device both know. */
	EXERCISE("7.4");
	return -EINVAL;
#endif
}

/* An errno is no status: its low byte would read as one. */
static u8 rv_get_status(struct virtio_device *vdev)
{
	long status = ringlet_hypercall(RINGLET_HC_DEVICE_STATUS, to_ringlet(vdev)->number,
					0, 0, 0);

	return max(status, 0L);
}

static void rv_set_status(struct virtio_device *vdev, u8 status)
{
	ringlet_hypercall(RINGLET_HC_DEVICE_STATUS, to_ringlet(vdev)->number, status, 0, 0);
}

/* When the call comes back the device touches no memory of ours any more. */
static void rv_reset(struct virtio_device *vdev)
{
	ringlet_hypercall(RINGLET_HC_DEVICE_RESET, to_ringlet(vdev)->number, 0, 0, 0);
}

static u32 rv_generation(struct virtio_device *vdev)
{
#if SOLUTION >= 705
	const struct ringlet_device *record = to_ringlet(vdev)->record;
	u32 generation;

	/* Odd: the launcher is in the middle of a change. */
	while ((generation = READ_ONCE(record->generation)) & 1)
		cpu_relax();
	/* Pairs with the launcher's release of the even value: config after it. */
	smp_rmb();
	return generation;
#else
	/* Exercise 7.5: the core calls this before and after each read of several bytes. */
	EXERCISE("7.5");
	return 0;
#endif
}

static void rv_get(struct virtio_device *vdev, unsigned int offset, void *buffer,
		   unsigned int length)
{
	struct ringlet_vdev *rv = to_ringlet(vdev);

#if SOLUTION >= 705
	memset(buffer, 0, length);
	if (offset < rv->config_length)
		memcpy(buffer, config_space(rv) + offset,
		       min(length, rv->config_length - offset));
	/* The generation is read again after this: not before the bytes. */
	smp_rmb();
#else
	/* Exercise 7.5: what lies behind the config space reads as 0. */
	EXERCISE("7.5");
	memcpy(buffer, config_space(rv) + offset, length);
#endif
}

static void rv_set(struct virtio_device *vdev, unsigned int offset, const void *buffer,
		   unsigned int length)
{
	u64 value = 0;

	if (WARN_ON_ONCE(length > sizeof(value) || !is_power_of_2(length)))
		return;
	memcpy(&value, buffer, length);
	ringlet_hypercall(RINGLET_HC_DEVICE_CONFIG, to_ringlet(vdev)->number,
			  offset << 8 | length, value, 0);
}

#if CHAPTER >= 9
static irqreturn_t config_interrupt(int irq, void *rv)
{
	virtio_config_changed(&((struct ringlet_vdev *)rv)->vdev);
	return IRQ_HANDLED;
}

/* Chapter 9: the kick */

/*
 * What was added to the ring is visible before the host looks: the hypercall is
 * a full barrier, as every trap is.
 */
static bool rv_notify(struct virtqueue *vq)
{
#if SOLUTION >= 903
	return ringlet_hypercall(RINGLET_HC_NOTIFY, to_ringlet(vq->vdev)->number, vq->index,
				 0, 0) != -ENODEV;
#else
	/* Exercise 9.3: false only if there is no such device any more. */
	EXERCISE("9.3");
	return false;
#endif
}
#endif

#if CHAPTER == 8
/* The launcher looks at the rings by itself, and so do we. */
static bool rv_notify(struct virtqueue *vq)
{
	return true;
}

static void poll_queues(struct work_struct *unused);
static DECLARE_DELAYED_WORK(poll_work, poll_queues);

static void poll_queues(struct work_struct *unused)
{
	struct virtqueue *vq;
	int i;

	for (i = 0; i < RINGLET_MAX_DEVICES; i++) {
		if (!devices[i])
			continue;
		spin_lock(&devices[i]->vdev.vqs_list_lock);
		list_for_each_entry(vq, &devices[i]->vdev.vqs, list)
			vring_interrupt(0, vq);
		spin_unlock(&devices[i]->vdev.vqs_list_lock);
	}
	schedule_delayed_work(&poll_work, 1);
}
#endif

#if CHAPTER >= 8
/* Chapter 8: virtqueues */

static void del_vq(struct virtqueue *vq)
{
	struct ringlet_vdev *rv = to_ringlet(vq->vdev);

	/* No callback may run on a ring that is gone, nor the host write to it. */
#if CHAPTER >= 9
	if (rv->irqs[vq->index])
		free_irq(rv->irqs[vq->index], vq);
	rv->irqs[vq->index] = 0;
#endif
	ringlet_hypercall(RINGLET_HC_DEVICE_QUEUE, rv->number, vq->index, 0, 0);
	vring_del_virtqueue(vq);
}

static void rv_del_vqs(struct virtio_device *vdev)
{
	struct virtqueue *vq, *next;

	list_for_each_entry_safe(vq, next, &vdev->vqs, list)
		del_vq(vq);
}

/* Tell the host where the three parts of a ring are. */
static int set_up_queue(struct ringlet_vdev *rv, struct virtqueue *vq)
{
#if SOLUTION >= 806
	rv->setup = (struct ringlet_queue) {
		.size = virtqueue_get_vring_size(vq),
		.desc = virtqueue_get_desc_addr(vq),
		.avail = virtqueue_get_avail_addr(vq),
		.used = virtqueue_get_used_addr(vq),
	};
	return ringlet_hypercall(RINGLET_HC_DEVICE_QUEUE, rv->number, vq->index,
				 virt_to_phys(&rv->setup), 0);
#else
	/* Exercise 8.6: fill in rv->setup, and give the host its gpa. */
	EXERCISE("8.6");
	return -ENOSYS;
#endif
}

static struct virtqueue *find_vq(struct ringlet_vdev *rv, unsigned int index,
				 const struct virtqueue_info *info)
{
	const struct ringlet_device_queue *offered = queue_records(rv) + index;
	unsigned int size = index < rv->queues ? READ_ONCE(offered->size) : 0;
	struct virtqueue *vq;
#if CHAPTER >= 9
	int irq;
#endif
	int ret;

#if SOLUTION >= 806
	if (!size || !is_power_of_2(size) || size > 32768)
		return ERR_PTR(-ENOENT);
#else
	/* Exercise 8.6: -ENOENT for a queue that is not there, or of no good size. */
	EXERCISE("8.6");
#endif
#if CHAPTER >= 9
	irq = ringlet_irq(READ_ONCE(offered->irq));
	if (irq < 0)
		return ERR_PTR(irq);
#endif
	vq = vring_create_virtqueue(index, size, SMP_CACHE_BYTES, &rv->vdev, true, true,
				    info->ctx, rv_notify, info->callback, info->name);
	if (!vq)
		return ERR_PTR(-ENOMEM);
	vq->num_max = size;

	ret = set_up_queue(rv, vq);
#if CHAPTER >= 9
	if (!ret)
		ret = request_irq(irq, vring_interrupt, 0, info->name, vq);
#endif
	if (ret) {
		del_vq(vq);
		return ERR_PTR(ret);
	}
#if CHAPTER >= 9
	rv->irqs[index] = irq;
#endif
	return vq;
}

static int rv_find_vqs(struct virtio_device *vdev, unsigned int count,
		       struct virtqueue *vqs[], struct virtqueue_info infos[],
		       struct irq_affinity *affinity)
{
	unsigned int i, index = 0;

	for (i = 0; i < count; i++) {
		vqs[i] = NULL;
		if (!infos[i].name)
			continue;	/* not wanted, and takes no index */
		vqs[i] = find_vq(to_ringlet(vdev), index++, &infos[i]);
		if (IS_ERR(vqs[i])) {
			int ret = PTR_ERR(vqs[i]);

			rv_del_vqs(vdev);
			return ret;
		}
	}
	return 0;
}

#else
/* Devices can be seen, but not driven yet. */
static int rv_find_vqs(struct virtio_device *vdev, unsigned int count,
		       struct virtqueue *vqs[], struct virtqueue_info infos[],
		       struct irq_affinity *affinity)
{
	return -EOPNOTSUPP;
}

static void rv_del_vqs(struct virtio_device *vdev)
{
}
#endif

#if CHAPTER >= 9
static void rv_synchronize_cbs(struct virtio_device *vdev)
{
	struct ringlet_vdev *rv = to_ringlet(vdev);
	unsigned int i;

	for (i = 0; i < rv->queues; i++)
		if (rv->irqs[i])
			synchronize_irq(rv->irqs[i]);
	synchronize_irq(rv->config_irq);
}

#endif

#if CHAPTER >= 14
static int rv_set_vq_affinity(struct virtqueue *vq, const struct cpumask *mask)
{
	return irq_set_affinity(to_ringlet(vq->vdev)->irqs[vq->index], mask ?: cpu_online_mask);
}
#endif

static const char *rv_bus_name(struct virtio_device *vdev)
{
	return "ringlet";
}

static const struct virtio_config_ops ringlet_config_ops = {
	.get = rv_get,
	.set = rv_set,
	.generation = rv_generation,
	.get_status = rv_get_status,
	.set_status = rv_set_status,
	.reset = rv_reset,
	.find_vqs = rv_find_vqs,
	.del_vqs = rv_del_vqs,
#if CHAPTER >= 9
	.synchronize_cbs = rv_synchronize_cbs,
#endif
	.get_features = rv_get_features,
	.finalize_features = rv_finalize_features,
	.bus_name = rv_bus_name,
#if CHAPTER >= 14
	.set_vq_affinity = rv_set_vq_affinity,
#endif
};

/* Chapter 7: the scan */

static void rv_release(struct device *dev)
{
	kfree(to_ringlet(dev_to_virtio(dev)));
}

static int add_device(unsigned int number, const struct ringlet_device *record, u16 queues,
		      u16 config_length)
{
	struct ringlet_vdev *rv;
	int ret;

	rv = kzalloc(sizeof(*rv), GFP_KERNEL);
	if (!rv)
		return -ENOMEM;
	rv->vdev.config = &ringlet_config_ops;
	rv->vdev.dev.parent = &parent->dev;
	rv->vdev.dev.release = rv_release;
#if SOLUTION >= 703
	rv->number = number;
	rv->record = record;
	rv->queues = queues;
	rv->config_length = config_length;
	rv->vdev.id.device = READ_ONCE(record->device_id);
	rv->vdev.id.vendor = READ_ONCE(record->vendor_id);

#if CHAPTER >= 9
	rv->config_irq = ringlet_irq(READ_ONCE(record->config_irq));
	ret = rv->config_irq < 0 ? rv->config_irq :
		request_irq(rv->config_irq, config_interrupt, 0, "virtio-config", rv);
	if (ret) {
		kfree(rv);
		return ret;
	}
#endif
	ret = register_virtio_device(&rv->vdev);
	if (ret) {
#if CHAPTER >= 9
		free_irq(rv->config_irq, rv);
#endif
		put_device(&rv->vdev.dev);
		return ret;
	}
	devices[number] = rv;
#else
	/* Exercise 7.3: fill in the rest of rv, register it, note it in devices[]. */
	EXERCISE("7.3");
	ret = -ENOSYS;
#endif
	return ret;
}

static void remove_device(unsigned int number)
{
	struct ringlet_vdev *rv = devices[number];

	if (!rv)
		return;
#if SOLUTION >= 703
	devices[number] = NULL;
#if CHAPTER >= 9
	free_irq(rv->config_irq, rv);
#endif
	unregister_virtio_device(&rv->vdev);	/* the last reference frees rv */
#else
	/* Exercise 7.3: the reverse of add_device(). Who frees rv? */
	EXERCISE("7.3");
#endif
}

/*
 * Go through the records; each bound is checked before it is used. A record
 * that is not sound ends the scan, because nobody knows where the next begins.
 * Called at start and, from chapter 9 on, when the page's interrupt says it has
 * grown.
 */
static void scan(void)
{
#if SOLUTION >= 701
	u32 end = min_t(u32, READ_ONCE(page->length), RINGLET_DEVICE_PAGE_SIZE);
	unsigned int count = min_t(unsigned int, READ_ONCE(page->count), RINGLET_MAX_DEVICES);
	u32 offset = sizeof(*page);
	unsigned int i;

	/* Pairs with the launcher's release of count: records before it. */
	smp_rmb();
	for (i = 0; i < count; i++) {
		const struct ringlet_device *record = (const void *)page + offset;
		u32 left = end > offset ? end - offset : 0, length;
		u16 queues, config_length;
		int ret = 0;

		if (left < sizeof(*record))
			goto bad;
		length = READ_ONCE(record->length);
		queues = READ_ONCE(record->queues);
		config_length = READ_ONCE(record->config_length);
		if (length > left || length % 8 || queues > RINGLET_MAX_QUEUES || length <
		    sizeof(*record) + queues * sizeof(struct ringlet_device_queue) + config_length)
			goto bad;
		if (!READ_ONCE(record->device_id))
			remove_device(i);
		else if (!devices[i])
			ret = add_device(i, record, queues, config_length);
		if (ret)
			pr_warn("device %u: error %d\n", i, ret);
		offset += length;
	}
	return;
bad:
	pr_warn("record %u of the device page, at offset %u, is not sound\n", i, offset);
#else
	/* Exercise 7.1: this scan believes whatever it reads. */
	const struct ringlet_device *record = (const void *)(page + 1);
	unsigned int i;
	int ret = 0;

	EXERCISE("7.1");
	for (i = 0; i < page->count; i++) {
		if (!record->device_id)
			remove_device(i);
		else if (!devices[i])
			ret = add_device(i, record, record->queues, record->config_length);
		if (ret)
			pr_warn("device %u: error %d\n", i, ret);
		record = (const void *)record + record->length;
	}
#endif
}

#if CHAPTER >= 9
static void rescan(struct work_struct *work)
{
	scan();
}

static DECLARE_WORK(rescan_work, rescan);

static irqreturn_t page_interrupt(int irq, void *unused)
{
	schedule_work(&rescan_work);
	return IRQ_HANDLED;
}
#endif

#ifdef CONFIG_PM_SLEEP
static int ringlet_freeze(struct device *dev)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < RINGLET_MAX_DEVICES && !ret; i++)
		if (devices[i])
			ret = virtio_device_freeze(&devices[i]->vdev);
	return ret;
}

static int ringlet_restore(struct device *dev)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < RINGLET_MAX_DEVICES && !ret; i++)
		if (devices[i])
			ret = virtio_device_restore(&devices[i]->vdev);
	return ret;
}
#endif

static SIMPLE_DEV_PM_OPS(ringlet_pm_ops, ringlet_freeze, ringlet_restore);

static struct platform_driver ringlet_bus_driver = {
	.driver = { .name = "ringlet", .pm = pm_ptr(&ringlet_pm_ops) },
};

static int __init virtio_ringlet_init(void)
{
	phys_addr_t gpa = ringlet_device_page();
	int ret;

	if (!gpa)
		return -ENODEV;
	page = memremap(gpa, RINGLET_DEVICE_PAGE_SIZE, MEMREMAP_WB);
	if (!page)
		return -ENOMEM;
	ret = -ENODEV;
	if (page->magic != RINGLET_DEVICE_MAGIC || page->version != 1) {
		pr_warn("the device page has magic %#x, version %u\n", page->magic, page->version);
		goto unmap;
	}
	ret = platform_driver_register(&ringlet_bus_driver);
	if (ret)
		goto unmap;
	parent = platform_device_register_simple("ringlet", PLATFORM_DEVID_NONE, NULL, 0);
	ret = PTR_ERR_OR_ZERO(parent);
	if (ret)
		goto driver;
#if CHAPTER >= 9
	page_irq = ringlet_irq(READ_ONCE(page->irq));
	ret = page_irq < 0 ? page_irq : request_irq(page_irq, page_interrupt, 0, "ringlet", NULL);
	if (ret)
		goto device;
	/* As work from the start: it never runs twice at a time, so devices[] needs no lock. */
	schedule_work(&rescan_work);
	flush_work(&rescan_work);
	return 0;
device:
	platform_device_unregister(parent);
#else
	scan();
#if CHAPTER == 8
	schedule_delayed_work(&poll_work, 1);
#endif
	return 0;
#endif
driver:
	platform_driver_unregister(&ringlet_bus_driver);
unmap:
	memunmap((void *)page);
	return ret;
}

static void __exit virtio_ringlet_exit(void)
{
	unsigned int i;

#if CHAPTER == 8
	cancel_delayed_work_sync(&poll_work);
#endif
#if CHAPTER >= 9
	free_irq(page_irq, NULL);
	cancel_work_sync(&rescan_work);
#endif
	for (i = 0; i < RINGLET_MAX_DEVICES; i++)
		remove_device(i);
	platform_device_unregister(parent);
	platform_driver_unregister(&ringlet_bus_driver);
	memunmap((void *)page);
}

module_init(virtio_ringlet_init);
module_exit(virtio_ringlet_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Ringlet's device page as a virtio transport");
