// SPDX-License-Identifier: GPL-2.0
/*
 * What queues do (chapter 8), as lines of the kernel's trace between the
 * module's own events. `ringlet run --trace` turns it on; `make view` and
 * trace-cmd show it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "virtio.h"

#define MARKER	"/sys/kernel/tracing/trace_marker"
#define SHOWN	8	/* descriptors of a chain, at most */

static int marker = -1;

/**
 * trace_open() - from now on the steps of all queues are noted
 */
void trace_open(void)
{
	marker = open(MARKER, O_WRONLY | O_CLOEXEC);
	if (marker < 0)
		die(EXIT_HOST, "--trace: %s: %m", MARKER);
}

/* Only to be shown: the guest may have changed these since walk() checked them. */
static void chain_text(const struct virtqueue *vq, u16 head, char *text, size_t room)
{
	struct vring_desc desc = { .flags = VRING_DESC_F_NEXT, .next = head };
	int length = 0;

	text[0] = '\0';
	for (int n = 0; n < SHOWN && desc.flags & VRING_DESC_F_NEXT && desc.next < vq->size; n++) {
		u16 index = desc.next;

		desc = vq->desc[index];
		length += snprintf(text + length, room - length, " %u:%#llx+%u%s%s%s", index,
				   desc.addr, desc.len,
				   desc.flags & VRING_DESC_F_WRITE ? "w" : "r",
				   desc.flags & VRING_DESC_F_NEXT ? "n" : "",
				   desc.flags & VRING_DESC_F_INDIRECT ? "i" : "");
	}
}

/**
 * trace_queue() - note a step
 * @vq:		whose
 * @step:	a word; with "take" goes the chain
 * @index:	of the ring: how many requests came before this one
 * @head:	the request
 * @length:	bytes written for it
 */
void trace_queue(const struct virtqueue *vq, const char *step, u16 index, u16 head, u32 length)
{
	const struct device *device = vq->device;
	char chain[SHOWN * 48] = "";
	unsigned int number = 0;

	if (marker < 0)
		return;
	while (device->vm->devices[number] != device)
		number++;
	if (!strcmp(step, "take"))
		chain_text(vq, head, chain, sizeof(chain));
	dprintf(marker, "ringlet_queue: device=%u type=%u queue=%u size=%u step=%s index=%u "
		"head=%u length=%u avail=%u used=%u%s\n",
		number, device->type->id, (unsigned int)(vq - device->queues), vq->size, step,
		index, head, length, vq->avail->idx, vq->used->idx, chain);
}
