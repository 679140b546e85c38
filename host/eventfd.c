// SPDX-License-Identifier: GPL-2.0
/*
 * Queues and interrupt lines as file descriptors (chapter 9), so that whoever
 * holds one, a thread of the launcher or vhost-net, can serve a queue without
 * a word to the vCPU: the guest's notify signals an eventfd, and a write to
 * another raises an interrupt line.
 */
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/version.h>
#include "ringlet.h"

/**
 * struct irqfd - an eventfd that raises an interrupt line
 *
 * Holding the context keeps its wait queue alive after its owner closed it.
 */
struct irqfd {
	struct list_head node;
	struct ringlet_vm *vm;
	unsigned int line;
	struct eventfd_ctx *ctx;
	wait_queue_entry_t wait;
	poll_table poll;
};

/**
 * line_raise() - raise an interrupt line of a guest
 * @vm:		the guest
 * @line:	below RINGLET_LINES
 *
 * Return: 0 or -ENXIO while the vCPU that it goes to does not exist.
 * Context: any.
 */
int line_raise(struct ringlet_vm *vm, unsigned int line)
{
#if CHAPTER >= 14
	struct ringlet_vcpu *vcpu = READ_ONCE(vm->vcpus[READ_ONCE(vm->line_vcpu[line])]);
#else
	struct ringlet_vcpu *vcpu = READ_ONCE(vm->vcpus[0]);
#endif

	if (!vcpu)
		return -ENXIO;
	interrupt_raise(vcpu, RINGLET_LINE_VECTOR + line);
	return 0;
}

/**
 * notify_bind() - let HC_NOTIFY of a queue signal an eventfd
 * @vm:		the VM, vm->lock held
 * @bind:	device, queue, eventfd or -1
 */
int notify_bind(struct ringlet_vm *vm, const struct ringlet_eventfd *bind)
{
	struct eventfd_ctx *ctx = NULL;

	if (bind->device >= RINGLET_MAX_DEVICES || bind->index >= RINGLET_MAX_QUEUES)
		return -EINVAL;
	if (bind->fd >= 0) {
		ctx = eventfd_ctx_fdget(bind->fd);
		if (IS_ERR(ctx))
			return PTR_ERR(ctx);
	}
	spin_lock(&vm->notify_lock);
	swap(ctx, vm->notify[bind->device][bind->index]);
	spin_unlock(&vm->notify_lock);
	if (ctx)
		eventfd_ctx_put(ctx);
	return 0;
}

static void signal(struct eventfd_ctx *ctx)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	eventfd_signal(ctx);
#else
	eventfd_signal(ctx, 1);
#endif
}

/**
 * notify_signal() - HC_NOTIFY
 * @vm:		the guest
 * @device:	as the guest gave it
 * @queue:	as the guest gave it
 *
 * Return: whether an eventfd took it. Context: atomic.
 */
bool notify_signal(struct ringlet_vm *vm, u64 device, u64 queue)
{
	struct eventfd_ctx *ctx;

#if SOLUTION >= 901
	if (device >= RINGLET_MAX_DEVICES || queue >= RINGLET_MAX_QUEUES)
		return false;
	spin_lock(&vm->notify_lock);
	ctx = vm->notify[device][queue];
	if (ctx)
		signal(ctx);
	spin_unlock(&vm->notify_lock);
#else
	/* Exercise 9.1: the numbers are the guest's; notify_bind() may be changing the table. */
	EXERCISE("9.1");
	ctx = vm->notify[device % RINGLET_MAX_DEVICES][queue % RINGLET_MAX_QUEUES];
	if (ctx)
		signal(ctx);
#endif
	return ctx;
}

/* Somebody wrote to the eventfd. Called under its wait queue's lock. */
static int irqfd_wake(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct irqfd *irqfd = container_of(wait, struct irqfd, wait);
	u64 count;

#if SOLUTION >= 902
	if (key_to_poll(key) & EPOLLIN) {
		eventfd_ctx_do_read(irqfd->ctx, &count);
		line_raise(irqfd->vm, irqfd->line);
	}
#else
	/* Exercise 9.2: take what was written out of the eventfd, raise the line once. */
	EXERCISE("9.2");
	eventfd_ctx_do_read(irqfd->ctx, &count);
#endif
	return 0;
}

static void irqfd_queue(struct file *file, wait_queue_head_t *head, poll_table *poll)
{
	add_wait_queue_priority(head, &container_of(poll, struct irqfd, poll)->wait);
}

static void irqfd_free(struct irqfd *irqfd)
{
	u64 count;

	eventfd_ctx_remove_wait_queue(irqfd->ctx, &irqfd->wait, &count);
	eventfd_ctx_put(irqfd->ctx);
	list_del(&irqfd->node);
	kfree(irqfd);
}

static int irqfd_unbind(struct ringlet_vm *vm, unsigned int line)
{
	struct irqfd *irqfd, *next;

	list_for_each_entry_safe(irqfd, next, &vm->irqfds, node)
		if (irqfd->line == line)
			irqfd_free(irqfd);
	return 0;
}

/**
 * irqfd_bind() - let writes to an eventfd raise an interrupt line
 * @vm:		the VM, vm->lock held
 * @bind:	line, eventfd or -1. The eventfd's context is held until then
 */
int irqfd_bind(struct ringlet_vm *vm, const struct ringlet_eventfd *bind)
{
	struct irqfd *irqfd;
	struct file *file;
	int ret;

	if (bind->device || bind->index >= RINGLET_LINES)
		return -EINVAL;
	if (bind->fd < 0)
		return irqfd_unbind(vm, bind->index);
	irqfd = kzalloc(sizeof(*irqfd), GFP_KERNEL_ACCOUNT);
	if (!irqfd)
		return -ENOMEM;
	file = fget(bind->fd);
	ret = -EBADF;
	if (!file)
		goto free;
	irqfd->ctx = eventfd_ctx_fileget(file);
	ret = PTR_ERR_OR_ZERO(irqfd->ctx);
	if (ret)
		goto put;
	irqfd->vm = vm;
	irqfd->line = bind->index;
	init_waitqueue_func_entry(&irqfd->wait, irqfd_wake);
	init_poll_funcptr(&irqfd->poll, irqfd_queue);
	list_add(&irqfd->node, &vm->irqfds);
#if SOLUTION >= 902
	/* Written to before we listened: raise it now. */
	if (vfs_poll(file, &irqfd->poll) & EPOLLIN)
		line_raise(vm, irqfd->line);
#else
	/* Exercise 9.2: listen; and if somebody wrote before that? */
	EXERCISE("9.2");
	vfs_poll(file, &irqfd->poll);
#endif
	fput(file);
	return 0;
put:
	fput(file);
free:
	kfree(irqfd);
	return ret;
}

/* The VM goes: nothing runs any more. */
void eventfds_free(struct ringlet_vm *vm)
{
	struct irqfd *irqfd, *next;
	int device, queue;

	list_for_each_entry_safe(irqfd, next, &vm->irqfds, node)
		irqfd_free(irqfd);
	for (device = 0; device < RINGLET_MAX_DEVICES; device++)
		for (queue = 0; queue < RINGLET_MAX_QUEUES; queue++)
			if (vm->notify[device][queue])
				eventfd_ctx_put(vm->notify[device][queue]);
}
