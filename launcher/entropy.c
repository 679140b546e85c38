// SPDX-License-Identifier: GPL-2.0
/*
 * The entropy device (chapter 7, served: 8; virtio 1.2, 5.4): the smallest there is. One
 * queue; each request is filled with random bytes of the host.
 */
#if CHAPTER >= 8
#include <sys/random.h>
#endif
#include "virtio.h"

#if CHAPTER >= 8
#define BYTES_MAX 256	/* getrandom() gives so many at once, without a gap */

static void serve(struct virtqueue *vq)
{
	struct chain chain;
	u8 bytes[BYTES_MAX];

	while (queue_next(vq, &chain)) {
		ssize_t n = getrandom(bytes, sizeof(bytes), 0);

		queue_push(vq, chain.head, n > 0 ? chain_write(&chain, bytes, n) : 0);
	}
}
#endif

static const struct device_type entropy_type = {
	.id = VIRTIO_ID_RNG,
#if CHAPTER >= 8
	.queues = 1,
	.serve = { serve },
#endif
};

/**
 * entropy_add() - --rng
 * @vm:		the guest
 * @argument:	none
 */
void entropy_add(struct vm *vm, char *argument)
{
	static struct device device = { .type = &entropy_type, .name = "rng" };

	(void)argument;
	device_add(vm, &device, 0, "", 0);
}
