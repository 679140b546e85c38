// SPDX-License-Identifier: GPL-2.0
/*
 * The device page and the transport's hypercalls (chapter 7; queues: 8, notify:
 * 9). Backends describe themselves with device_add(); vcpu.c brings hypercalls
 * 16-21 to device_hypercall(). The order of events that a driver must keep is
 * virtio 1.2, 3.1.1.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#if CHAPTER >= 9
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#endif
#include "virtio.h"

#define VENDOR_ID	0x54454c52	/* "RLET" */

#define STATUS_OF_DRIVER (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | \
			  VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK | \
			  VIRTIO_CONFIG_S_FAILED)
#if CHAPTER >= 9
#define TRANSPORT_FEATURES (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC) | \
			    BIT(VIRTIO_RING_F_EVENT_IDX))
#elif CHAPTER >= 8
#define TRANSPORT_FEATURES (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC))
#else
#define TRANSPORT_FEATURES BIT(VIRTIO_F_VERSION_1)
#endif

/* Queue threads set NEEDS_RESET while a vCPU sets other bits: atomics only. */
static u8 get_status(const struct device *device)
{
	return __atomic_load_n(&device->record->status, __ATOMIC_SEQ_CST);
}

static void add_status(struct device *device, u8 bits)
{
	__atomic_fetch_or(&device->record->status, bits, __ATOMIC_SEQ_CST);
}

#if CHAPTER >= 9
/**
 * line_raise() - raise an interrupt line of the guest
 * @vm:		the guest
 * @line:	as device_add() gave it out
 */
void line_raise(struct vm *vm, unsigned int line)
{
	eventfd_write(vm->line_fd[line], 1);
}

static u16 line_alloc(struct vm *vm)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		die(EXIT_HOST, "eventfd: %m; raise the limit (ulimit -n) or give fewer devices");
	if (vm->nr_lines == RINGLET_LINES)
		die(EXIT_USAGE, "no interrupt line left; give fewer devices");
	vm->line_fd[vm->nr_lines] = fd;
	return vm->nr_lines++;
}
#endif

/**
 * device_page_init() - lay out an empty page behind the RAM
 * @vm:		with its memory
 */
void device_page_init(struct vm *vm)
{
	vm->page = (void *)(vm->memory.base + vm->memory.size);
	*vm->page = (struct ringlet_device_page){
		.magic = RINGLET_DEVICE_MAGIC,
		.version = 1,
		.length = sizeof(*vm->page),
#if CHAPTER >= 9
		.irq = line_alloc(vm),
#endif
	};
}

#if CHAPTER >= 8
static void queue_init(struct device *device, unsigned int number,
		       struct ringlet_device_queue *record)
{
	struct virtqueue *vq = &device->queues[number];

	vq->device = device;
	vq->memory = &device->vm->memory;
	record->size = QUEUE_SIZE;
#if CHAPTER >= 9
	vq->line = line_alloc(device->vm);
	vq->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vq->kick < 0)
		die(EXIT_HOST, "eventfd: %m; raise the limit (ulimit -n) or give fewer devices");
	record->irq = vq->line;
#endif
}
#endif

/**
 * device_add() - append a device to the page
 * @vm:		the guest
 * @device:	@type and @name are set; stays where it is for good
 * @features:	what it offers besides the transport's own bits
 * @config:	first contents of its config space
 * @config_length: bytes of it
 */
void device_add(struct vm *vm, struct device *device, u64 features,
		const void *config, u16 config_length)
{
	const struct device_type *type = device->type;
	struct ringlet_device *record = (void *)((u8 *)vm->page + vm->page->length);
	struct ringlet_device_queue *queues = (void *)(record + 1);
	u32 length = sizeof(*record) + type->queues * sizeof(*queues) + config_length;

	length = (length + 7) & -8;
	if (vm->page->count == RINGLET_MAX_DEVICES ||
	    vm->page->length + length > RINGLET_DEVICE_PAGE_SIZE)
		die(EXIT_USAGE, "%s: no room in the device page; give fewer devices", device->name);
	*record = (struct ringlet_device){
		.length = length,
		.device_id = type->id,
		.vendor_id = VENDOR_ID,
		.queues = type->queues,
		.config_length = config_length,
		.features = features | TRANSPORT_FEATURES,
#if CHAPTER >= 9
		.config_irq = line_alloc(vm),
#endif
	};
	device->vm = vm;
	device->record = record;
	device->config = (void *)(queues + type->queues);
	memcpy(device->config, config, config_length);
	pthread_mutex_init(&device->lock, NULL);
	pthread_mutex_init(&device->config_lock, NULL);
#if CHAPTER >= 8
	for (unsigned int i = 0; i < type->queues; i++)
		queue_init(device, i, &queues[i]);
#endif
	vm->devices[vm->page->count++] = device;
	vm->page->length += length;
}

#if CHAPTER >= 9
static void raise_config(struct device *device)
{
	if (get_status(device) & VIRTIO_CONFIG_S_DRIVER_OK)
		line_raise(device->vm, device->record->config_irq);
}
#endif

/**
 * device_config() - the device changes its config space
 * @device:	the device
 * @offset:	where; the caller stays inside
 * @bytes:	the new contents
 * @length:	how many
 *
 * Context: any thread.
 */
void device_config(struct device *device, u64 offset, const void *bytes, u64 length)
{
	u32 *generation = &device->record->generation;

	pthread_mutex_lock(&device->config_lock);
#if SOLUTION >= 705
	__atomic_store_n(generation, *generation + 1, __ATOMIC_SEQ_CST);
	/*
	 * Pair with the guest's read_seqcount-like loop in the transport's
	 * generation(): who sees a new byte sees an odd or a newer number.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	memcpy(device->config + offset, bytes, length);
	__atomic_store_n(generation, *generation + 1, __ATOMIC_SEQ_CST);
#else
	/* Exercise 7.5: who reads meanwhile must be able to tell. */
	EXERCISE("7.5");
	memcpy(device->config + offset, bytes, length);
	*generation += 2;
#endif
	pthread_mutex_unlock(&device->config_lock);
#if CHAPTER >= 9
	raise_config(device);
#endif
}

/**
 * device_broken() - the driver did what it may not: no service until reset
 * @device:	the device; others are not touched
 * @why:	for the log, once per reset
 */
void device_broken(struct device *device, const char *why)
{
	if (!(get_status(device) & VIRTIO_CONFIG_S_NEEDS_RESET))
		warn("%s: %s; stopped until the guest resets it", device->name, why);
	add_status(device, VIRTIO_CONFIG_S_NEEDS_RESET);
#if CHAPTER >= 9
	raise_config(device);
#endif
}

static bool features_acceptable(const struct device *device)
{
	u64 features = device->features;

#if SOLUTION >= 702
	if (features & ~device->record->features || !(features & BIT(VIRTIO_F_VERSION_1)))
		return false;
#else
	/* Exercise 7.2: what no device of ours can accept. */
	EXERCISE("7.2");
#endif
	return !device->type->features_ok || device->type->features_ok(features);
}

static void negotiated(struct device *device)
{
	if (device->type->negotiated)
		device->type->negotiated(device);
}

static void start_device(struct device *device)
{
	/* First the status: a queue may need to be believed broken at once. */
	add_status(device, VIRTIO_CONFIG_S_DRIVER_OK);
#if CHAPTER >= 8
	for (unsigned int i = 0; i < device->type->queues; i++)
		if (queue_start(&device->queues[i]))
			device_broken(device, "the host has no room for another thread");
#endif
}

/* A step that the driver may not take yet leaves its bit unset. */
static s64 hc_status(struct device *device, const u64 *args)
{
#if SOLUTION >= 702
	u8 wanted = args[1] & STATUS_OF_DRIVER & ~get_status(device);

	add_status(device, wanted & (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_FAILED));
	if (wanted & VIRTIO_CONFIG_S_DRIVER && get_status(device) & VIRTIO_CONFIG_S_ACKNOWLEDGE)
		add_status(device, VIRTIO_CONFIG_S_DRIVER);
	if (wanted & VIRTIO_CONFIG_S_FEATURES_OK && get_status(device) & VIRTIO_CONFIG_S_DRIVER &&
	    features_acceptable(device)) {
		add_status(device, VIRTIO_CONFIG_S_FEATURES_OK);
		negotiated(device);
	}
	if (wanted & VIRTIO_CONFIG_S_DRIVER_OK &&
	    get_status(device) & VIRTIO_CONFIG_S_FEATURES_OK)
		start_device(device);
#else
	/* Exercise 7.2: this driver may do what it likes. */
	EXERCISE("7.2");
	add_status(device, args[1] & STATUS_OF_DRIVER);
	if (features_acceptable(device))
		negotiated(device);
	start_device(device);
#endif
	return get_status(device);
}

/* No thread of the device runs, nothing of it is in flight when this returns. */
static s64 hc_reset(struct device *device, const u64 *args)
{
	(void)args;
#if CHAPTER >= 8
	for (unsigned int i = 0; i < device->type->queues; i++)
		queue_stop(&device->queues[i]);
#endif
#if CHAPTER >= 9
	/* From here on raise_config() is silent. */
#endif
	__atomic_store_n(&device->record->status, 0, __ATOMIC_SEQ_CST);
	device->features = 0;
	negotiated(device);
	return 0;
}

static s64 hc_features(struct device *device, const u64 *args)
{
#if SOLUTION >= 702
	if (get_status(device) & VIRTIO_CONFIG_S_FEATURES_OK)
		return -EBUSY;
#else
	/* Exercise 7.2: until when may the driver change its mind? */
	EXERCISE("7.2");
#endif
	device->features = args[1];
	return 0;
}

#if CHAPTER >= 8
static s64 hc_queue(struct device *device, const u64 *args)
{
	u8 status = get_status(device);
	struct ringlet_queue setup = { .size = 0 };
	void *guest_setup;

	if (args[1] >= device->type->queues)
		return -EINVAL;
	if (!(status & VIRTIO_CONFIG_S_FEATURES_OK) || status & VIRTIO_CONFIG_S_DRIVER_OK)
		return -EBUSY;
	if (args[2]) {
		guest_setup = memory_at(&device->vm->memory, args[2], sizeof(setup));
		if (!guest_setup)
			return -EINVAL;
		memcpy(&setup, guest_setup, sizeof(setup));
		if (!setup.size)
			return -EINVAL;
	}
	return queue_setup(&device->queues[args[1]], &setup);
}
#endif

static s64 hc_config(struct device *device, const u64 *args)
{
	u64 offset = args[1] >> 8, length = args[1] & 0xff;

	if (length != 1 && length != 2 && length != 4 && length != 8)
		return -EINVAL;
	if (offset > device->record->config_length ||
	    length > device->record->config_length - offset || !device->type->config_write)
		return -EINVAL;
	return device->type->config_write(device, offset, length, args[2]);
}

#if CHAPTER >= 9
static s64 hc_notify(struct device *device, const u64 *args)
{
	if (args[1] >= device->type->queues)
		return -EINVAL;
	eventfd_write(device->queues[args[1]].kick, 1);
	return 0;
}
#endif

static s64 (*const transport[RINGLET_HC_COUNT])(struct device *device, const u64 *args) = {
	[RINGLET_HC_DEVICE_STATUS]	= hc_status,
	[RINGLET_HC_DEVICE_RESET]	= hc_reset,
	[RINGLET_HC_DEVICE_FEATURES]	= hc_features,
	[RINGLET_HC_DEVICE_CONFIG]	= hc_config,
#if CHAPTER >= 8
	[RINGLET_HC_DEVICE_QUEUE]	= hc_queue,
#endif
#if CHAPTER >= 9
	[RINGLET_HC_NOTIFY]		= hc_notify,		/* only before it is bound */
#endif
};

/**
 * device_hypercall() - the transport's hypercalls
 * @vm:		the guest
 * @number:	a row of the table above
 * @args:	the guest's; the first is the device
 *
 * Return: for the guest: 0 or the new status, or a negative errno.
 */
s64 device_hypercall(struct vm *vm, u32 number, const u64 *args)
{
	struct device *device;
	s64 result;

	if (args[0] >= vm->page->count)
		return -ENODEV;
	device = vm->devices[args[0]];
	pthread_mutex_lock(&device->lock);
	result = transport[number](device, args);
	pthread_mutex_unlock(&device->lock);
	return result;
}

#if CHAPTER >= 9
static void bind_eventfd(struct vm *vm, unsigned long request, u32 device, u32 index, int fd)
{
	struct ringlet_eventfd bound = { .device = device, .index = index, .fd = fd };

	if (ioctl(vm->fd, request, &bound) < 0)
		die(EXIT_HOST, "%s: cannot bind device %u, index %u to an eventfd: %m",
		    RINGLET_DEVICE, device, index);
}

/**
 * devices_bind() - tie queues and interrupt lines to eventfds in the module
 * @vm:		with all its devices
 */
void devices_bind(struct vm *vm)
{
	for (unsigned int line = 0; line < vm->nr_lines; line++)
		bind_eventfd(vm, RINGLET_IRQ_FD, 0, line, vm->line_fd[line]);
	for (unsigned int d = 0; d < vm->page->count; d++)
		for (unsigned int q = 0; q < vm->devices[d]->type->queues; q++)
			bind_eventfd(vm, RINGLET_NOTIFY_FD, d, q, vm->devices[d]->queues[q].kick);
}
#endif

/**
 * devices_close() - the end: finish what is in flight, make it durable
 * @vm:		its vCPUs have stopped
 */
void devices_close(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->page->count; i++) {
		struct device *device = vm->devices[i];

		hc_reset(device, NULL);
		if (device->type->close)
			device->type->close(device);
	}
}

/**
 * devices_print() - show the device page, for --dry-run
 * @vm:		with all its devices
 */
void devices_print(struct vm *vm)
{
	printf("device page at gpa %#llx, %u bytes\n", vm->memory.size, vm->page->length);
	for (unsigned int i = 0; i < vm->page->count; i++) {
		struct ringlet_device *record = vm->devices[i]->record;

		printf("%2u id %u queues %u config %u irq %u features %#018llx  %s\n", i,
		       record->device_id, record->queues, record->config_length,
		       record->config_irq, record->features, vm->devices[i]->name);
	}
}
