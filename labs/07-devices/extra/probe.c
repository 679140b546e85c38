// SPDX-License-Identifier: GPL-2.0
/* A driver for every virtio device, which says what it got (labs 7 to 9); /lab/pages listens. */
#define pr_fmt(fmt) "probe: " fmt
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>

static u64 features;
module_param(features, ullong, 0);	/* those that the driver knows */
static unsigned int config_offset, config_length;
module_param(config_offset, uint, 0);
module_param(config_length, uint, 0);	/* read so much of the config space */
static bool generations;
module_param(generations, bool, 0);	/* print the generation */
static unsigned int queues, unnamed;
module_param(queues, uint, 0);		/* find so many queues ... */
module_param(unnamed, uint, 0);		/* ... but for those in this mask */
static unsigned int kicks;
module_param(kicks, uint, 0);		/* notify each queue so often */

static unsigned int feature_table[64];

static void callback(struct virtqueue *vq)
{
	pr_warn("interrupt of queue %u\n", vq->index);
}

/* In pieces of a printable length. */
static void print_bytes(const char *name, const u8 *bytes)
{
	unsigned int first, now;

	for (first = 0; first < config_length; first += now) {
		now = min(config_length - first, 32U);
		pr_warn("%s %*phN\n", name, now, bytes + first);
	}
}

/* Byte by byte, as the core reads, and all at once. */
static void show_config(struct virtio_device *vdev)
{
	u8 *bytes = kzalloc(config_length, GFP_KERNEL);

	if (generations)
		pr_warn("generation %u\n", vdev->config->generation(vdev));
	virtio_cread_bytes(vdev, config_offset, bytes, config_length);
	print_bytes("config", bytes);
	memset(bytes, 0xee, config_length);
	vdev->config->get(vdev, config_offset, bytes, config_length);
	print_bytes("at once", bytes);
	kfree(bytes);
}

static int show_queues(struct virtio_device *vdev)
{
	struct virtqueue_info info[16] = { };
	struct virtqueue *vqs[16] = { };
	int ret, i;

	for (i = 0; i < queues; i++) {
		info[i].name = unnamed & 1 << i ? NULL : "probe";
		info[i].callback = callback;
	}
	ret = virtio_find_vqs(vdev, queues, vqs, info, NULL);
	pr_warn("find_vqs %d\n", ret);
	for (i = 0; i < queues && !ret; i++)
		if (vqs[i])
			pr_warn("queue %d index %u size %u desc %#llx avail %#llx used %#llx\n", i, vqs[i]->index,
				virtqueue_get_vring_size(vqs[i]), virtqueue_get_desc_addr(vqs[i]),
				virtqueue_get_avail_addr(vqs[i]), virtqueue_get_used_addr(vqs[i]));
	if (ret)
		return ret;
	virtio_device_ready(vdev);
	for (i = 0; i < queues; i++) {
		struct virtqueue *vq = vqs[i];
		unsigned int n;

		for (n = 0; n < kicks && vq; n++)
			pr_warn("kick %u %d\n", vq->index, virtqueue_notify(vq));
	}
	return 0;
}

static int probe(struct virtio_device *vdev)
{
	pr_warn("device %u features %#llx\n", vdev->id.device, vdev->features);
	if (queues)
		return show_queues(vdev);
	virtio_device_ready(vdev);
	if (config_length)
		show_config(vdev);
	return 0;
}

static void removed(struct virtio_device *vdev)
{
	virtio_reset_device(vdev);
	if (queues)
		vdev->config->del_vqs(vdev);
}

static void config_changed(struct virtio_device *vdev)
{
	pr_warn("config of device %u changed\n", vdev->id.device);
}

static const struct virtio_device_id ids[] = { { VIRTIO_DEV_ANY_ID, VIRTIO_DEV_ANY_ID }, { 0 } };

static struct virtio_driver driver = {
	.driver.name = "probe",
	.feature_table = feature_table,
	.id_table = ids,
	.probe = probe,
	.remove = removed,
	.config_changed = config_changed,
};

static int __init probe_init(void)
{
	int i;

	for (i = 0; i < 64; i++)
		if (features & BIT_ULL(i))
			feature_table[driver.feature_table_size++] = i;
	return register_virtio_driver(&driver);
}

static void __exit probe_exit(void)
{
	unregister_virtio_driver(&driver);
}

module_init(probe_init);
module_exit(probe_exit);
MODULE_LICENSE("GPL");
