/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Devices (chapter 7) and their queues (8, 9). The structures of the rings are
 * those of Linux's uapi headers; what is here is what the launcher keeps for
 * itself, out of the guest's reach.
 */
#ifndef VIRTIO_H
#define VIRTIO_H

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#if CHAPTER >= 8
#include <sys/uio.h>
#endif
#include "launcher.h"

#if CHAPTER >= 8
#define QUEUE_SIZE	256	/* what every queue offers */
#define DEVICE_QUEUES	2	/* no device of ours has more */
#endif
#define BIT(n)		(1ULL << (n))

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

#if CHAPTER >= 8
/**
 * struct virtqueue - one queue as the driver set it up
 *
 * Written by the transport's hypercalls while no thread serves the queue, by
 * its one thread (@last_avail and below) after that.
 *
 * @size:	entries, a power of two <= QUEUE_SIZE; 0: not set up
 * @desc, @avail, @used: inside the guest's RAM, all of them. Only the launcher's
 *		own copies of what stands there count
 * @indirect:	negotiated
 * @stop:	the thread is to leave
 * @last_avail:	entries of the available ring taken so far
 * @next_used:	entries put in the used ring so far
 * @published:	those of them that the driver sees
 * @broken:	the driver lost the right to be believed, until reset
 * @in_flight:	heads taken and not yet returned
 */
struct virtqueue {
	struct device *device;
	const struct memory *memory;

	u16 size;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	bool indirect;

	pthread_t thread;
	bool running;
	atomic_bool stop;

	u16 last_avail, next_used, published;
	bool broken;
	bool in_flight[QUEUE_SIZE];
#if CHAPTER >= 9
	int kick;		/* eventfd of HC_NOTIFY; latches kicks before DRIVER_OK */
	u16 line;		/* interrupt line */
	bool event_idx;		/* negotiated */
	u16 signalled;		/* @published when the driver was last told */
#endif
};

/**
 * struct chain - one request, checked: buffers as host addresses
 *
 * chain_read() and chain_write() consume from the front, so these always
 * describe what is left. No buffer is empty.
 *
 * @head:	goes back to the driver with queue_push()
 * @out, @nr_out, @out_length: what the device may read
 * @in, @nr_in, @in_length: what it may write
 */
struct chain {
	u16 head;
	struct iovec *out, *in;
	unsigned int nr_out, nr_in;
	u64 out_length, in_length;
	struct iovec iov[QUEUE_SIZE];
};
#endif

/**
 * struct device_type - what a kind of device brings along
 *
 * @queues:	how many
 * @features_ok: whether the driver's choice respects dependencies; optional
 * @negotiated:	called when FEATURES_OK is set and, with no features, at reset,
 *		no queue being served; optional
 * @config_write: the driver writes its config space: 0 or -EINVAL; optional
 * @close:	the end of the launcher: make everything durable; optional
 */
struct device_type {
	u32 id;
	u16 queues;
#if CHAPTER >= 8
	/* Body of each queue's thread: returns when queue_next() or queue_wait() say so. */
	void (*serve[DEVICE_QUEUES])(struct virtqueue *vq);
#endif
	bool (*features_ok)(u64 features);
	void (*negotiated)(struct device *device);
	int (*config_write)(struct device *device, u64 offset, u64 length, u64 value);
	void (*close)(struct device *device);
};

/**
 * struct device - a virtio device; backends embed it
 *
 * @name:	for messages
 * @record:	its part of the device page. The launcher reads back only the
 *		status, which no one else can write either
 * @config:	its config space in the page, to be written with device_config()
 * @features:	what the driver chose
 * @lock:	one transport hypercall at a time
 * @config_lock: covers @config and the generation
 */
struct device {
	const struct device_type *type;
	struct vm *vm;
	char name[64];
	struct ringlet_device *record;
	u8 *config;
	u64 features;
	pthread_mutex_t lock;
	pthread_mutex_t config_lock;
#if CHAPTER >= 8
	struct virtqueue queues[DEVICE_QUEUES];
#endif
};

/* device_page.c */
void device_page_init(struct vm *vm);
void device_add(struct vm *vm, struct device *device, u64 features,
		const void *config, u16 config_length);
void device_config(struct device *device, u64 offset, const void *bytes, u64 length);
void device_broken(struct device *device, const char *why);
s64 device_hypercall(struct vm *vm, u32 number, const u64 *args);
#if CHAPTER >= 9
void devices_bind(struct vm *vm);
#endif
void devices_close(struct vm *vm);
void devices_print(struct vm *vm);
#if CHAPTER >= 9
void line_raise(struct vm *vm, unsigned int line);
#endif

#if CHAPTER >= 8
/* virtqueue.c */
int queue_setup(struct virtqueue *vq, const struct ringlet_queue *setup);
int queue_start(struct virtqueue *vq);
void queue_stop(struct virtqueue *vq);
bool queue_wait(struct virtqueue *vq, int fd, short events);
bool queue_next(struct virtqueue *vq, struct chain *chain);
void queue_fill(struct virtqueue *vq, u16 head, u32 length);
void queue_publish(struct virtqueue *vq);
void queue_push(struct virtqueue *vq, u16 head, u32 length);
#if CHAPTER >= 9
void queue_interrupt(struct virtqueue *vq);
#endif
size_t chain_read(struct chain *chain, void *to, size_t length);
size_t chain_write(struct chain *chain, const void *from, size_t length);
u8 *chain_last_byte(struct chain *chain);
void iov_advance(struct iovec **iov, unsigned int *count, size_t length);
#endif

#if CHAPTER >= 8
/* trace.c */
void trace_open(void);
void trace_queue(const struct virtqueue *vq, const char *step, u16 index, u16 head, u32 length);
#endif

/* one function per kind of device, in vm.c's table */
void entropy_add(struct vm *vm, char *argument);
void console_add(struct vm *vm, char *argument);
void console_resized(void);
#if CHAPTER >= 10
void net_add(struct vm *vm, char *argument);
#endif
#if CHAPTER >= 11
void block_add(struct vm *vm, char *argument);
#endif

#endif
