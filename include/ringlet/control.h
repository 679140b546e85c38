/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/ringlet: how a launcher controls the host module. Shaped like KVM's
 * interface: open the device for a VM, give it memory, make vCPUs (a file
 * descriptor each), map each vCPU's run page and call RUN in a loop.
 *
 * One VM per process: a vCPU runs in the address space that made its VM and
 * nowhere else (-EIO), and a second VM in one address space is -EBUSY.
 */
#ifndef RINGLET_CONTROL_H
#define RINGLET_CONTROL_H

#include <linux/ioctl.h>
#include <linux/types.h>
#if CHAPTER >= 7
#include <ringlet/device_page.h>
#endif

#define RINGLET_DEVICE		"/dev/ringlet"
#if CHAPTER >= 14
#define RINGLET_MAX_VCPUS	4
#else
#define RINGLET_MAX_VCPUS	1
#endif
#define RINGLET_MAX_MEMORY	(1ULL << 32)

/**
 * struct ringlet_memory - a range of guest-physical memory
 *
 * All of it is pinned until the VM goes. One range of RAM, which starts at
 * gpa 0, and from chapter 7 on one read-only range (the device page) behind it.
 *
 * @hva:	where it stands in the launcher, page aligned
 * @gpa:	where the guest sees it, page aligned
 * @size:	bytes, a multiple of the page size
 * @flags:	RINGLET_MEMORY_READONLY or 0
 */
struct ringlet_memory {
	__u64 hva;
	__u64 gpa;
	__u64 size;
	__u64 flags;
};

#if CHAPTER >= 7
#define RINGLET_MEMORY_READONLY	1
#endif

/**
 * struct ringlet_vcpu_setup - first state of vCPU 0
 *
 * @entry:	gva of the first instruction, run in ring 1
 * @cr3:	gpa of the first page tables, or RINGLET_NO_PAGING
 * @rsi:	boot argument
 * @rsp:	first stack pointer, 0 if the guest sets its own
 */
struct ringlet_vcpu_setup {
	__u64 entry;
	__u64 cr3;
	__u64 rsi;
	__u64 rsp;
};

#if CHAPTER >= 9
/**
 * struct ringlet_eventfd - tie an eventfd to a queue or to an interrupt line
 *
 * For NOTIFY (KVM's ioeventfd): HC_NOTIFY(@device, @index) signals @fd instead
 * of leaving RUN. For IRQFD: a write to @fd raises interrupt line @index;
 * @device is 0. @fd -1 unties.
 */
struct ringlet_eventfd {
	__u32 device;
	__u32 index;
	__s32 fd;
	__u32 reserved;
};
#endif

/* Why RUN came back (struct ringlet_run.exit). */
#define RINGLET_EXIT_INTR	0	/* a signal: RUN again, or stop */
#define RINGLET_EXIT_HYPERCALL	1	/* the launcher's business: set .result, RUN again */
#define RINGLET_EXIT_KILLED	2	/* the guest cannot go on: .reason says why */

/**
 * struct ringlet_run - one page per vCPU, mapped from its file descriptor
 *
 * @exit:	RINGLET_EXIT_*
 * @number:	HYPERCALL: rax
 * @args:	HYPERCALL: rbx, rcx, rdx, rsi
 * @result:	HYPERCALL: goes to the guest's rax at the next RUN
 * @rip:	where the guest was, for messages
 * @reason:	KILLED: one line of text
 */
struct ringlet_run {
	__u32 exit;
	__u32 number;
	__u64 args[4];
	__s64 result;
	__u64 rip;
	char reason[256];
};

#define RINGLET_IO		0xb7

/* on /dev/ringlet */
#define RINGLET_GET_ABI		_IO(RINGLET_IO, 0)	/* RINGLET_ABI of the module */
#define RINGLET_SET_MEMORY	_IOW(RINGLET_IO, 1, struct ringlet_memory)
#define RINGLET_CREATE_VCPU	_IO(RINGLET_IO, 2)	/* arg: number; a file descriptor */
#if CHAPTER >= 9
#define RINGLET_NOTIFY_FD	_IOW(RINGLET_IO, 3, struct ringlet_eventfd)
#define RINGLET_IRQ_FD		_IOW(RINGLET_IO, 4, struct ringlet_eventfd)
#define RINGLET_RAISE_IRQ	_IO(RINGLET_IO, 5)	/* arg: interrupt line */
#endif
/* on a vCPU */
#define RINGLET_SETUP_VCPU	_IOW(RINGLET_IO, 16, struct ringlet_vcpu_setup)
#define RINGLET_RUN		_IO(RINGLET_IO, 17)

#endif
