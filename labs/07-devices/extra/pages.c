// SPDX-License-Identifier: GPL-2.0
/*
 * Our launcher with devices that are not there: it lays made-up device pages from the file $PAGES, 4096 bytes each, and
 * takes the next one whenever the guest prints "next page". Hypercalls of the transport are printed and all agreed to,
 * but for what these variables say (labs 7 to 9):
 *
 *	REFUSE_FEATURES	FEATURES_OK stays unset
 *	REFUSE_QUEUE=n	queue n is not taken
 *	CHANGING	with DRIVER_OK the first device begins to change its config space, and takes a second
 *	KICKS=result	what HC_NOTIFY says
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "virtio.h"

static u8 pages[1024][4096];
static unsigned int now;
static u8 status[RINGLET_MAX_DEVICES];

void __real_vcpu_create(struct vm *vm, unsigned int id);
void __real_term_print(struct vm *vm, const char *bytes, size_t length);

static void lay(struct vm *vm)
{
	memcpy(vm->page, pages[now++], sizeof(pages[0]));
	memset(status, 0, sizeof(status));
}

void __wrap_vcpu_create(struct vm *vm, unsigned int id)
{
	FILE *file = fopen(getenv("PAGES"), "r");

	if (!file || !fread(pages, 1, sizeof(pages), file))
		die(EXIT_USAGE, "PAGES: %m");
	lay(vm);
	__real_vcpu_create(vm, id);
}

void __wrap_term_print(struct vm *vm, const char *bytes, size_t length)
{
	if (memmem(bytes, length, "next page", 9))
		lay(vm);
	else
		__real_term_print(vm, bytes, length);
}

void __wrap_devices_close(struct vm *vm)
{
	(void)vm;
}

static void *change(void *vm)
{
	struct ringlet_device *record = (void *)(((struct vm *)vm)->page + 1);
	u8 *config = (u8 *)(record + 1) + record->queues * sizeof(struct ringlet_device_queue);

	usleep(1000000);
	memset(config, 'B', record->config_length);
	__atomic_fetch_add(&record->generation, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static s64 hc_status(struct vm *vm, u64 device, u8 bits)
{
	struct ringlet_device *record = (void *)(vm->page + 1);
	pthread_t thread;

	if (bits)
		printf("status %llu %#x\n", device, bits);
	if (getenv("REFUSE_FEATURES"))
		bits &= ~VIRTIO_CONFIG_S_FEATURES_OK;
	status[device] |= bits;
	if (bits & VIRTIO_CONFIG_S_DRIVER_OK && getenv("CHANGING")) {
		__atomic_fetch_add(&record->generation, 1, __ATOMIC_SEQ_CST);
		pthread_create(&thread, NULL, change, vm);
	}
	return status[device];
}

#if CHAPTER >= 8
static s64 hc_queue(struct vm *vm, u64 device, u64 index, u64 gpa)
{
	struct ringlet_queue *queue = memory_at(&vm->memory, gpa, sizeof(*queue));
	const char *refuse = getenv("REFUSE_QUEUE");

	if (!gpa)
		printf("queue %llu %llu gone\n", device, index);
	else if (!queue)
		printf("queue %llu %llu outside of memory\n", device, index);
	else
		printf("queue %llu %llu size %u desc %#llx avail %#llx used %#llx\n", device, index, queue->size,
		       queue->desc, queue->avail, queue->used);
	return gpa && refuse && index == strtoul(refuse, NULL, 0) ? -EINVAL : 0;
}
#endif

s64 __wrap_device_hypercall(struct vm *vm, u32 number, const u64 *args)
{
	s64 result = 0;

	if (args[0] >= RINGLET_MAX_DEVICES) {
		printf("hypercall %u for device %llu\n", number, args[0]);
		return -ENODEV;
	}
	switch (number) {
	case RINGLET_HC_DEVICE_STATUS:
		result = hc_status(vm, args[0], args[1]);
		break;
	case RINGLET_HC_DEVICE_RESET:
		printf("reset %llu\n", args[0]);
		status[args[0]] = 0;
		break;
	case RINGLET_HC_DEVICE_FEATURES:
		printf("features %llu %#llx\n", args[0], args[1]);
		break;
	case RINGLET_HC_DEVICE_CONFIG:
		printf("config %llu %#llx %#llx\n", args[0], args[1], args[2]);
		break;
#if CHAPTER >= 8
	case RINGLET_HC_DEVICE_QUEUE:
		result = hc_queue(vm, args[0], args[1], args[2]);
		break;
#endif
#if CHAPTER >= 9
	case RINGLET_HC_NOTIFY:
		printf("notify %llu %llu\n", args[0], args[1]);
		result = getenv("KICKS") ? atoi(getenv("KICKS")) : 0;
		break;
#endif
	}
	fflush(stdout);
	return result;
}

#if CHAPTER >= 9
void __wrap_devices_bind(struct vm *vm)
{
	(void)vm;
}
#endif
