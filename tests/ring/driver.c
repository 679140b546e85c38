// SPDX-License-Identifier: GPL-2.0
/* The driver: thin words around the kernel's virtio_ring.c. */
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#define PIECES	16

void *__kmalloc_fake, *__kfree_ignore_start, *__kfree_ignore_end;

struct driver {
	struct virtio_device vdev;
	struct virtqueue *vq;
	bool (*notify)(void *context);
	void *context;
};

static bool notify(struct virtqueue *vq)
{
	struct driver *driver = vq->priv;

	return driver->notify(driver->context);
}

static void callback(struct virtqueue *vq)
{
}

struct driver *driver_new(unsigned int size, void *pages, bool event_idx, bool indirect,
			  bool (*kick)(void *context), void *context)
{
	struct driver *driver = ram_alloc(sizeof(*driver));

	memset(driver, 0, sizeof(*driver));
	driver->notify = kick;
	driver->context = context;
	INIT_LIST_HEAD(&driver->vdev.vqs);
	spin_lock_init(&driver->vdev.vqs_list_lock);
	driver->vdev.features = 1ULL << VIRTIO_F_VERSION_1;
	if (event_idx)
		driver->vdev.features |= 1ULL << VIRTIO_RING_F_EVENT_IDX;
	if (indirect)
		driver->vdev.features |= 1ULL << VIRTIO_RING_F_INDIRECT_DESC;
	driver->vq = vring_new_virtqueue(0, size, 4096, &driver->vdev, true, false, pages, notify,
					 callback, "test");
	driver->vq->priv = driver;
	return driver;
}

void driver_delete(struct driver *driver)
{
	vring_del_virtqueue(driver->vq);
	ram_free(driver);
}

int driver_add(struct driver *driver, const struct buffer *out, unsigned int nr_out,
	       const struct buffer *in, unsigned int nr_in, void *token)
{
	struct scatterlist lists[2 * PIECES], *sgs[2 * PIECES];
	unsigned int n;

	for (n = 0; n < nr_out + nr_in; n++) {
		const struct buffer *buffer = n < nr_out ? &out[n] : &in[n - nr_out];

		sg_init_one(&lists[n], buffer->at, buffer->length);
		sgs[n] = &lists[n];
	}
	return virtqueue_add_sgs(driver->vq, sgs, nr_out, nr_in, token, GFP_ATOMIC);
}

void driver_kick(struct driver *driver)
{
	virtqueue_kick(driver->vq);
}

void *driver_get(struct driver *driver, unsigned int *length)
{
	return virtqueue_get_buf(driver->vq, length);
}

void driver_interrupt(struct driver *driver)
{
	vring_interrupt(0, driver->vq);
}

void driver_disable_cb(struct driver *driver)
{
	virtqueue_disable_cb(driver->vq);
}

bool driver_enable_cb(struct driver *driver)
{
	return virtqueue_enable_cb(driver->vq);
}

bool driver_enable_cb_delayed(struct driver *driver)
{
	return virtqueue_enable_cb_delayed(driver->vq);
}

unsigned int driver_free_descriptors(struct driver *driver)
{
	return driver->vq->num_free;
}
