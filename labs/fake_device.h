/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A virtio device that is a module of the guest's own kernel (labs 10 and 11): the
 * submission's driver meets it on the virtio bus, over real rings, and it does to
 * them at which moment what a test wants. On one CPU, so nothing comes between.
 */
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#define PIECES	64

/* What a driver offered. @bytes, @length and @writable of each piece. */
struct request {
	u16 head;
	unsigned int pieces;
	u8 *bytes[PIECES];
	u32 length[PIECES];
	bool writable[PIECES];
};

static struct virtio_device device;
static struct virtqueue *queues[2];
static u64 offered = BIT_ULL(VIRTIO_F_VERSION_1);
static u8 config[128], status;
static u16 taken[2];		/* of each available ring */
static unsigned int kicks[2], interrupts[2];
static void (*kicked)(unsigned int queue);	/* may be NULL */
static unsigned int ring = 64;
module_param(ring, uint, 0);

static void fake_get(struct virtio_device *vdev, unsigned int offset, void *bytes, unsigned int n)
{
	memset(bytes, 0, n);
	if (offset <= sizeof(config) && n <= sizeof(config) - offset)
		memcpy(bytes, config + offset, n);
}

static void fake_set(struct virtio_device *vdev, unsigned int offset, const void *bytes, unsigned int n)
{
}

static u8 fake_get_status(struct virtio_device *vdev)
{
	return status;
}

static void fake_set_status(struct virtio_device *vdev, u8 value)
{
	status = value;
}

static void fake_reset(struct virtio_device *vdev)
{
	status = 0;
}

static u64 fake_get_features(struct virtio_device *vdev)
{
	return offered;
}

static int fake_finalize_features(struct virtio_device *vdev)
{
	return 0;
}

static bool fake_notify(struct virtqueue *vq)
{
	kicks[vq->index]++;
	if (kicked && status & VIRTIO_CONFIG_S_DRIVER_OK)
		kicked(vq->index);
	return true;
}

static void fake_del_vqs(struct virtio_device *vdev)
{
	struct virtqueue *vq, *next;

	list_for_each_entry_safe(vq, next, &vdev->vqs, list)
		vring_del_virtqueue(vq);
	memset(queues, 0, sizeof(queues));
}

static int fake_find_vqs(struct virtio_device *vdev, unsigned int count, struct virtqueue *vqs[],
			 struct virtqueue_info infos[], struct irq_affinity *affinity)
{
	for (unsigned int i = 0; i < count && i < ARRAY_SIZE(queues); i++) {
		vqs[i] = vring_create_virtqueue(i, ring, SMP_CACHE_BYTES, vdev, true, false, false,
						fake_notify, infos[i].callback, infos[i].name);
		if (!vqs[i]) {
			fake_del_vqs(vdev);
			return -ENOMEM;
		}
		vqs[i]->num_max = ring;
		queues[i] = vqs[i];
		taken[i] = 0;
	}
	return 0;
}

static const struct virtio_config_ops fake_ops = {
	.get = fake_get,
	.set = fake_set,
	.get_status = fake_get_status,
	.set_status = fake_set_status,
	.reset = fake_reset,
	.find_vqs = fake_find_vqs,
	.del_vqs = fake_del_vqs,
	.get_features = fake_get_features,
	.finalize_features = fake_finalize_features,
};

static void fake_release(struct device *dev)
{
}

/* The driver's probe runs in here. */
static int fake_register(u32 id)
{
	struct device *parent = root_device_register("fake");

	if (IS_ERR(parent))
		return PTR_ERR(parent);
	device.id.device = id;
	device.config = &fake_ops;
	device.dev.parent = parent;
	device.dev.release = fake_release;
	return register_virtio_device(&device);
}

/* The driver's remove runs in here. */
static void __maybe_unused fake_unregister(void)
{
	unregister_virtio_device(&device);
	root_device_unregister(device.dev.parent);
}

/* The next request, in the order of the available ring. */
static bool fake_take(unsigned int queue, struct request *request)
{
	const struct vring *vring = virtqueue_get_vring(queues[queue]);
	unsigned int at;

	if (taken[queue] == READ_ONCE(vring->avail->idx))
		return false;
	request->head = vring->avail->ring[taken[queue]++ % vring->num];
	request->pieces = 0;
	for (at = request->head; request->pieces < PIECES; at = vring->desc[at].next) {
		request->bytes[request->pieces] = phys_to_virt(vring->desc[at].addr);
		request->length[request->pieces] = vring->desc[at].len;
		request->writable[request->pieces++] = vring->desc[at].flags & VRING_DESC_F_WRITE;
		if (!(vring->desc[at].flags & VRING_DESC_F_NEXT))
			break;
	}
	return true;
}

/* What the driver has offered and we have not taken. */
static unsigned int fake_waiting(unsigned int queue)
{
	return (u16)(READ_ONCE(virtqueue_get_vring(queues[queue])->avail->idx) - taken[queue]);
}

static void fake_use(unsigned int queue, u16 head, u32 length)
{
	const struct vring *vring = virtqueue_get_vring(queues[queue]);

	vring->used->ring[vring->used->idx % vring->num] = (struct vring_used_elem){ head, length };
	smp_store_release(&vring->used->idx, vring->used->idx + 1);
}

/* If the driver wants it. */
static void fake_interrupt(unsigned int queue)
{
	unsigned long flags;
	bool nested;

	if (READ_ONCE(virtqueue_get_vring(queues[queue])->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT)
		return;
	interrupts[queue]++;
	nested = irqs_disabled();
	if (!nested)
		local_bh_disable();
	local_irq_save(flags);
	vring_interrupt(0, queues[queue]);
	local_irq_restore(flags);
	if (!nested)
		local_bh_enable();	/* what the interrupt has asked for runs now */
}

/* What comes may take its time; what does not come must not end the test's. */
#define comes(condition) ({						\
	for (int n_ = 0; n_ < 500 && !(condition); n_++)		\
		msleep(10);						\
	!!(condition);							\
})

#define say(fmt, ...) pr_info("fake: " fmt "\n", ##__VA_ARGS__)

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A device as a test wants it");
