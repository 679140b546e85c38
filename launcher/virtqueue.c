// SPDX-License-Identifier: GPL-2.0
/*
 * The device's side of a split virtqueue (chapter 8; threads, notification and
 * its suppression: 9), as in virtio 1.2, 2.7. Every device's queue thread takes
 * requests with queue_next() and gives them back with queue_push().
 *
 * The rings belong to the guest, which may write anything at any time. So each
 * value is read once and checked, and a ring that breaks the rules is given up
 * until reset (device_broken()): nothing else suffers.
 */
#include <errno.h>
#include <string.h>
#if CHAPTER >= 9
#include <poll.h>
#include <sys/eventfd.h>
#else
#include <unistd.h>
#endif
#include "virtio.h"

#define CHAIN_BYTES	(1ULL << 32)	/* 2.7.5: no chain is longer */
#if CHAPTER >= 9
#define BATCH		16		/* requests per interrupt under load */
#else
#define POLL_US		1000		/* nobody kicks yet: look so often */
#endif

/* One access each, never repeated or torn by the compiler. */
#define load(p)			__atomic_load_n(p, __ATOMIC_RELAXED)
#define load_acquire(p)		__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define store(p, v)		__atomic_store_n(p, v, __ATOMIC_RELAXED)
#define store_release(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)
#if CHAPTER >= 9
#define fence()			atomic_thread_fence(memory_order_seq_cst)
#endif

#if CHAPTER >= 9
/* 2.7.10: the two event indexes stand behind the rings. */
static u16 *used_event(struct virtqueue *vq)
{
	return &vq->avail->ring[vq->size];
}

static u16 *avail_event(struct virtqueue *vq)
{
	return (u16 *)&vq->used->ring[vq->size];
}
#endif

/**
 * queue_setup() - take a queue as the driver laid it out
 * @vq:		no thread serves it
 * @setup:	a copy of the guest's words; size 0 takes the queue away
 *
 * Return: 0 or -EINVAL: not a power of two, too large, misaligned, not in RAM.
 */
int queue_setup(struct virtqueue *vq, const struct ringlet_queue *setup)
{
	u32 size = setup->size;

	vq->size = 0;
	if (!size)
		return 0;
#if SOLUTION >= 801
	if (size > QUEUE_SIZE || size & (size - 1) || setup->desc % VRING_DESC_ALIGN_SIZE ||
	    setup->avail % VRING_AVAIL_ALIGN_SIZE || setup->used % VRING_USED_ALIGN_SIZE)
		return -EINVAL;
	vq->desc = memory_at(vq->memory, setup->desc, size * sizeof(*vq->desc));
	vq->avail = memory_at(vq->memory, setup->avail,
			      sizeof(*vq->avail) + (size + 1) * sizeof(u16));
	vq->used = memory_at(vq->memory, setup->used,
			     sizeof(*vq->used) + size * sizeof(*vq->used->ring) + sizeof(u16));
	if (!vq->desc || !vq->avail || !vq->used)
		return -EINVAL;
#else
	/* Exercise 8.1: vq->desc, avail and used, all of each in the guest's RAM. */
	EXERCISE("8.1");
#endif
	vq->indirect = vq->device->features & BIT(VIRTIO_RING_F_INDIRECT_DESC);
#if CHAPTER >= 9
	vq->event_idx = vq->device->features & BIT(VIRTIO_RING_F_EVENT_IDX);
	vq->signalled = 0;
#endif
	vq->last_avail = vq->next_used = vq->published = 0;
	vq->broken = false;
	memset(vq->in_flight, 0, sizeof(vq->in_flight));
	vq->size = size;
	return 0;
}

#if CHAPTER >= 9
/* "No need to kick me". With EVENT_IDX an old avail_event says that by itself. */
static void kicks_off(struct virtqueue *vq)
{
#if SOLUTION >= 905
	if (!vq->event_idx)
		store(&vq->used->flags, VRING_USED_F_NO_NOTIFY);
#else
	EXERCISE("9.5");
	store(&vq->used->flags, VRING_USED_F_NO_NOTIFY);
#endif
}

/* "Kick me". Return: whether a request slipped in before the driver saw that. */
static bool kicks_on(struct virtqueue *vq)
{
#if SOLUTION >= 905
	if (vq->event_idx)
		store(avail_event(vq), vq->last_avail);
	else
		store(&vq->used->flags, 0);
	/*
	 * Pairs with virtio_mb() in virtqueue_kick_prepare_split(): either the
	 * driver sees that we want a kick, or we see its new index.
	 */
	fence();
	return load(&vq->avail->idx) != vq->last_avail;
#else
	/* Exercise 9.5: say it, then look again. */
	EXERCISE("9.5");
	store(avail_event(vq), vq->last_avail);
	return false;
#endif
}
#endif

static void *queue_thread(void *argument)
{
	struct virtqueue *vq = argument;

#if CHAPTER >= 9
	kicks_off(vq);
#endif
	vq->device->type->serve[vq - vq->device->queues](vq);
	return NULL;
}

/**
 * queue_start() - serve a queue from now on
 * @vq:		set up or not; kicks that came early are still in its eventfd
 *
 * Return: 0 or a positive errno.
 */
int queue_start(struct virtqueue *vq)
{
	int error;

	if (!vq->size)
		return 0;
	atomic_store(&vq->stop, false);
	error = pthread_create(&vq->thread, NULL, queue_thread, vq);
	vq->running = !error;
	return error;
}

/**
 * queue_stop() - let the request in flight finish, and forget the queue
 * @vq:		any
 */
void queue_stop(struct virtqueue *vq)
{
#if CHAPTER >= 9
	eventfd_t kicks;
#endif

	if (vq->running) {
		atomic_store(&vq->stop, true);
#if CHAPTER >= 9
		eventfd_write(vq->kick, 1);
#endif
		pthread_join(vq->thread, NULL);
		vq->running = false;
	}
#if CHAPTER >= 9
	eventfd_read(vq->kick, &kicks);
#endif
	vq->size = 0;
}

#if CHAPTER >= 9
/**
 * queue_wait() - sleep until a kick, or until a backend is ready
 * @vq:		the caller's queue
 * @fd:		a backend's descriptor to wait for as well, or -1
 * @events:	poll events of @fd
 *
 * The only place where a queue's thread sleeps for long. Return: false if the
 * thread is to leave.
 */
bool queue_wait(struct virtqueue *vq, int fd, short events)
{
	struct pollfd fds[] = { { vq->kick, POLLIN, 0 }, { fd, events, 0 } };
	eventfd_t kicks;

	trace_queue(vq, "sleep", vq->last_avail, 0, 0);
	if (!atomic_load(&vq->stop) && poll(fds, ARRAY_SIZE(fds), -1) > 0 && fds[0].revents)
		eventfd_read(vq->kick, &kicks);
	return !atomic_load(&vq->stop);
}
#endif

static bool give_up(struct virtqueue *vq, const char *why)
{
	vq->broken = true;
	device_broken(vq->device, why);
	return false;
}

/* A descriptor, read once. An indirect table may stand at any address. */
static struct vring_desc read_descriptor(const struct vring_desc *from)
{
	struct vring_desc copy;

	memcpy(&copy, from, sizeof(copy));
	/* The compiler must not go back to @from when it wants a field. */
	atomic_signal_fence(memory_order_seq_cst);
	return copy;
}

/* Return: what is wrong with the buffer, or NULL. */
static const char *add_buffer(struct virtqueue *vq, struct chain *chain,
			      const struct vring_desc *desc)
{
#if SOLUTION >= 802
	void *at = memory_at(vq->memory, desc->addr, desc->len);
	struct iovec *iov = &chain->iov[chain->nr_out + chain->nr_in];
	bool in = desc->flags & VRING_DESC_F_WRITE;

	if (!at)
		return "descriptor outside of the guest's RAM";
	if (!in && chain->nr_in)
		return "readable descriptor behind a writable one";
	if (chain->out_length + chain->in_length + desc->len > CHAIN_BYTES)
		return "chain longer than 4 GiB";
	if (!desc->len)
		return NULL;
	*iov = (struct iovec){ at, desc->len };
	*(in ? &chain->nr_in : &chain->nr_out) += 1;
	*(in ? &chain->in_length : &chain->out_length) += desc->len;
	return NULL;
#else
	/* Exercise 8.2: no empty buffer, none that is not RAM, no readable behind a writable. */
	EXERCISE("8.2");
	chain->iov[chain->nr_out++] = (struct iovec){ vq->memory->base + desc->addr, desc->len };
	return NULL;
#endif
}

/*
 * The one descriptor walk: from @head along `next`, and at most once into an
 * indirect table, which then ends the chain (2.7.5.3). At most as many buffers
 * as the queue has entries, so a loop ends too.
 *
 * Return: what is wrong with the chain, or NULL.
 */
static const char *walk(struct virtqueue *vq, u16 head, struct chain *chain)
{
#if SOLUTION >= 802
	struct vring_desc desc, *table = vq->desc;
	unsigned int entries = vq->size, buffers = 0;
	const char *wrong = NULL;
	bool inside = false;
	u32 index = head;

	do {
		if (index >= entries)
			return "descriptor index out of range";
		desc = read_descriptor(&table[index]);
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			if (!vq->indirect || inside || desc.flags & VRING_DESC_F_NEXT)
				return "indirect descriptor where none may be";
			entries = desc.len / sizeof(desc);
			if (!entries || entries > vq->size || desc.len % sizeof(desc))
				return "indirect table of bad length";
			table = memory_at(vq->memory, desc.addr, desc.len);
			if (!table)
				return "indirect table outside of the guest's RAM";
			inside = true;
			index = 0;
			desc.flags = VRING_DESC_F_NEXT;
			continue;
		}
		if (buffers++ == vq->size)
			return "chain with a loop, or longer than the queue";
		wrong = add_buffer(vq, chain, &desc);
		index = desc.next;
	} while (!wrong && desc.flags & VRING_DESC_F_NEXT);
	return wrong;
#else
	/* Exercise 8.2: here is one descriptor of the chain, if it is one. */
	struct vring_desc desc = read_descriptor(&vq->desc[head]);

	EXERCISE("8.2");
	return add_buffer(vq, chain, &desc);
#endif
}

/* Take the next request. Return: false if there is none, or none to believe. */
static bool queue_pop(struct virtqueue *vq, struct chain *chain)
{
	const char *wrong;
	u16 avail, head;

	if (vq->broken)
		return false;
#if SOLUTION >= 803
	/*
	 * Pairs with virtio_wmb() in virtqueue_add_split() (Linux,
	 * virtio_ring.c): who sees the index sees the entry and its chain.
	 */
	avail = load_acquire(&vq->avail->idx);
	if (avail == vq->last_avail)
		return false;
	/* What is in flight and what is new together fit into the ring. */
	if ((u16)(avail - vq->next_used) > vq->size)
		return give_up(vq, "available index jumped");
	head = load(&vq->avail->ring[vq->last_avail & (vq->size - 1)]);
	if (head >= vq->size)
		return give_up(vq, "head out of range");
	if (vq->in_flight[head])
		return give_up(vq, "head is in flight already");
#else
	/* Exercise 8.3: is there a request, and is its head one to believe? */
	EXERCISE("8.3");
	avail = vq->avail->idx;
	head = vq->avail->ring[avail];
#endif

	chain->head = head;
	chain->nr_out = chain->nr_in = 0;
	chain->out_length = chain->in_length = 0;
	wrong = walk(vq, head, chain);
	if (wrong)
		return give_up(vq, wrong);
	chain->out = chain->iov;
	chain->in = chain->iov + chain->nr_out;
#if SOLUTION >= 803
	vq->in_flight[head] = true;
	vq->last_avail++;
#endif
	trace_queue(vq, "take", vq->last_avail - 1, head, 0);
	return true;
}

/**
 * queue_next() - the next request, however long that takes
 * @vq:		the caller's queue
 * @chain:	to be filled in
 *
 * From chapter 9 on it tells the driver of what was pushed before it sleeps.
 * Return: false if the thread is to leave.
 */
bool queue_next(struct virtqueue *vq, struct chain *chain)
{
	while (!atomic_load(&vq->stop)) {
		if (queue_pop(vq, chain))
			return true;
#if CHAPTER >= 9
#if SOLUTION >= 905
		queue_interrupt(vq);
		if (!vq->broken && kicks_on(vq))
			continue;
		queue_wait(vq, -1, 0);
		kicks_off(vq);
#else
		/* Exercise 9.5: nothing to do. What must happen before the thread may sleep? */
		EXERCISE("9.5");
		queue_interrupt(vq);
		kicks_on(vq);
		queue_wait(vq, -1, 0);
		kicks_off(vq);
#endif
#else
		usleep(POLL_US);
#endif
	}
	return false;
}

/**
 * queue_fill() - put a request into the used ring, not yet visible
 * @vq:		the caller's queue
 * @head:	chain->head
 * @length:	bytes written into the request's writable part
 */
void queue_fill(struct virtqueue *vq, u16 head, u32 length)
{
#if SOLUTION >= 804
	struct vring_used_elem *elem = &vq->used->ring[vq->next_used & (vq->size - 1)];

	store(&elem->id, head);
	store(&elem->len, length);
	vq->in_flight[head] = false;
	vq->next_used++;
#else
	/* Exercise 8.4: the next element of the used ring; the index comes later. */
	EXERCISE("8.4");
	vq->used->ring[0] = (struct vring_used_elem){ head, length };
#endif
	trace_queue(vq, "fill", vq->next_used - 1, head, length);
}

/**
 * queue_publish() - show the driver what queue_fill() put there
 * @vq:		the caller's queue
 */
void queue_publish(struct virtqueue *vq)
{
	/*
	 * Pairs with virtio_rmb() in virtqueue_get_buf_ctx_split(): who sees
	 * the index sees the elements and the data.
	 */
#if SOLUTION >= 804
	vq->published = vq->next_used;
	store_release(&vq->used->idx, vq->published);
#else
	/* Exercise 8.4: now the index. */
	EXERCISE("8.4");
	vq->used->idx++;
#endif
	trace_queue(vq, "publish", vq->published, 0, 0);
#if CHAPTER >= 9
	if ((u16)(vq->published - vq->signalled) >= BATCH)
		queue_interrupt(vq);
#endif
}

/**
 * queue_push() - give one request back
 * @vq:		the caller's queue
 * @head:	chain->head
 * @length:	bytes written into the request's writable part
 */
void queue_push(struct virtqueue *vq, u16 head, u32 length)
{
	queue_fill(vq, head, length);
	queue_publish(vq);
}

#if CHAPTER >= 9
/**
 * queue_interrupt() - tell the driver of what was pushed, if it wants to know
 * @vq:		the caller's queue
 */
void queue_interrupt(struct virtqueue *vq)
{
	u16 old = vq->signalled, new = vq->published;

	if (old == new)
		return;
	vq->signalled = new;
#if SOLUTION >= 904
	/*
	 * Pairs with virtio_store_mb() in virtqueue_get_buf_ctx_split() and
	 * virtio_mb() in virtqueue_enable_cb_delayed_split(): either the driver
	 * sees the used index, or we see that it wants an interrupt.
	 */
	fence();
	if (vq->event_idx ? vring_need_event(load(used_event(vq)), new, old) :
	    !(load(&vq->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT))
		line_raise(vq->device->vm, vq->line);
#else
	/* Exercise 9.4: the driver does not always want to know; used_event(), flags. */
	EXERCISE("9.4");
	if (*used_event(vq) == new)
		line_raise(vq->device->vm, vq->line);
#endif
}
#endif

/**
 * iov_advance() - drop bytes from the front of a list of buffers
 * @iov, @count: the list
 * @length:	how many, at most as many as there are
 */
void iov_advance(struct iovec **iov, unsigned int *count, size_t length)
{
	while (*count && length >= (*iov)->iov_len) {
		length -= (*iov)->iov_len;
		(*iov)++;
		(*count)--;
	}
	if (length) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + length;
		(*iov)->iov_len -= length;
	}
}

/**
 * chain_read() - take bytes from the front of the readable part
 * @chain:	the request
 * @to:		where to
 * @length:	how many; drivers may split them over descriptors as they like
 *
 * Return: how many there were.
 */
size_t chain_read(struct chain *chain, void *to, size_t length)
{
	size_t done = 0;

#if SOLUTION >= 805
	while (done < length && chain->nr_out) {
		size_t now = chain->out->iov_len;

		if (now > length - done)
			now = length - done;
		memcpy((char *)to + done, chain->out->iov_base, now);
		iov_advance(&chain->out, &chain->nr_out, now);
		done += now;
	}
	chain->out_length -= done;
#else
	/* Exercise 8.5: over as many buffers as it takes; iov_advance() drops what is used up. */
	EXERCISE("8.5");
	memcpy(to, chain->out->iov_base, length);
#endif
	return done;
}

/**
 * chain_write() - fill the front of the writable part
 * @chain:	the request
 * @from:	what with
 * @length:	how much
 *
 * Return: how much of it found room.
 */
size_t chain_write(struct chain *chain, const void *from, size_t length)
{
	size_t done = 0;

#if SOLUTION >= 805
	while (done < length && chain->nr_in) {
		size_t now = chain->in->iov_len;

		if (now > length - done)
			now = length - done;
		memcpy(chain->in->iov_base, (const char *)from + done, now);
		iov_advance(&chain->in, &chain->nr_in, now);
		done += now;
	}
	chain->in_length -= done;
#else
	/* Exercise 8.5 */
	EXERCISE("8.5");
	memcpy(chain->in->iov_base, from, length);
#endif
	return done;
}

/**
 * chain_last_byte() - cut the last byte off the writable part
 * @chain:	the request
 *
 * Return: where it stands, or NULL if nothing is writable.
 */
u8 *chain_last_byte(struct chain *chain)
{
	struct iovec *last = chain->in + chain->nr_in - 1;

#if SOLUTION >= 805
	if (!chain->nr_in)
		return NULL;
	chain->in_length--;
	if (--last->iov_len == 0)
		chain->nr_in--;
#else
	/* Exercise 8.5: and what is left of the chain? */
	EXERCISE("8.5");
#endif
	return (u8 *)last->iov_base + last->iov_len;
}
