/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The device page: how a guest finds its virtio devices (chapter 7).
 *
 * The launcher lays one page behind the guest's RAM. It holds a header and
 * then the records of the devices, one behind the other. Only the launcher
 * writes it; the host maps it read-only for the guest, so what the driver
 * decides (status, features, queues, config writes) goes by hypercall and can
 * be refused.
 *
 * Everything is little-endian and naturally aligned.
 */
#ifndef RINGLET_DEVICE_PAGE_H
#define RINGLET_DEVICE_PAGE_H

#include <linux/types.h>

#define RINGLET_DEVICE_MAGIC	0x50444c52	/* "RLDP" */
#define RINGLET_DEVICE_PAGE_SIZE 4096
#define RINGLET_MAX_DEVICES	16
#define RINGLET_MAX_QUEUES	16	/* of one device */

/**
 * struct ringlet_device_page - header of the page
 *
 * @magic:	RINGLET_DEVICE_MAGIC
 * @version:	1; a guest that does not know the version finds no device
 * @count:	number of records, <= RINGLET_MAX_DEVICES. It only grows: a device
 *		that leaves keeps its record with device_id 0. Written last, after
 *		@length and the new record
 * @length:	bytes in use, header included; a multiple of 8, <= page size
 * @irq:	interrupt line raised when @count or a device_id changed (hot add,
 *		hot remove)
 */
struct ringlet_device_page {
	__u32 magic;
	__u16 version;
	__u16 count;
	__u32 length;
	__u32 irq;
};

/**
 * struct ringlet_device - record of one device
 *
 * The queues (struct ringlet_device_queue each) follow the record, then the
 * config space, then padding to a multiple of 8.
 *
 * @length:	bytes of the whole record, queues and config space included; a
 *		multiple of 8
 * @device_id:	virtio device ID (virtio 1.2, 5); 0: no device here
 * @vendor_id:	'RLET'
 * @queues:	number of queues, <= RINGLET_MAX_QUEUES
 * @config_length: bytes of config space, <= 1024
 * @features:	what the device offers, all 64 bits
 * @generation:	config generation (virtio 1.2, 2.5.1): odd while the launcher
 *		writes the config space, even when it is whole. Read it before and
 *		after, as a seqcount. It never goes back
 * @config_irq:	interrupt line raised when the config space or the status changed
 * @status:	device status as the host sees it, for reading
 */
struct ringlet_device {
	__u32 length;
	__u32 device_id;
	__u32 vendor_id;
	__u16 queues;
	__u16 config_length;
	__u64 features;
	__u32 generation;
	__u16 config_irq;
	__u8 status;
	__u8 reserved;
};

/**
 * struct ringlet_device_queue - one queue, as the device offers it
 *
 * @size:	largest size it takes, a power of two <= 32768; 0: not available
 * @irq:	interrupt line of this queue
 */
struct ringlet_device_queue {
	__u16 size;
	__u16 irq;
	__u32 reserved;
};

#if CHAPTER >= 8
/**
 * struct ringlet_queue - argument of HC_DEVICE_QUEUE: a queue as the driver
 * set it up (virtio 1.2, 2.7). Taken between FEATURES_OK and DRIVER_OK only.
 *
 * @size:	entries, a power of two <= what the device offers
 * @desc, @avail, @used: gpas of the three parts, aligned 16, 2 and 4
 */
struct ringlet_queue {
	__u32 size;
	__u32 reserved;
	__u64 desc;
	__u64 avail;
	__u64 used;
};
#endif

#endif
