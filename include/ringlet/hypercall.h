/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * What guest and host agree on: the hypercalls, the page that each vCPU shares
 * with the host, and the note by which a kernel says that it can be a guest.
 *
 * A hypercall is `int $0x1f` from ring 1 with KVM's registers: rax the number,
 * rbx rcx rdx rsi the arguments; the result comes back in rax, 0 or a negative
 * errno (DEVICE_STATUS: the status). No other register changes. An unknown
 * number is -ENOSYS.
 */
#ifndef RINGLET_HYPERCALL_H
#define RINGLET_HYPERCALL_H

/* Counts up when anything in include/ changes its meaning. */
#define RINGLET_ABI			1

#define RINGLET_VECTOR			0x1f

#if CHAPTER >= 2
/* chapter 2: traps and hypercalls */
#define RINGLET_HC_PRINT		0	/* gpa, length <= 4096 */
#define RINGLET_HC_SHUTDOWN		1	/* RINGLET_SHUTDOWN_*, gpa of a line, length */
#endif
#if CHAPTER >= 3
/* chapter 3: keeping the host alive */
#define RINGLET_HC_HALT			2	/* enable interrupts, wait for one */
#endif
#if CHAPTER >= 4
/* chapter 4: shadow page tables */
#define RINGLET_HC_LOAD_CR3		3	/* CR3; bit 63: keep what is cached for its PCID */
#define RINGLET_HC_FLUSH_USER		4	/* forget the lower half of this address space */
#define RINGLET_HC_FLUSH_ALL		5	/* forget everything */
#define RINGLET_HC_FLUSH_PAGE		6	/* forget one gva, as INVLPG */
#endif
#if CHAPTER >= 5
/* chapter 5: interrupts and time for the guest */
#define RINGLET_HC_SET_IDT		7	/* gva of the table, its limit */
#define RINGLET_HC_IRQ_WINDOW		8	/* the guest enabled interrupts, some are pending */
#define RINGLET_HC_SET_TIMER		9	/* ns from now; 0 stops the timer */
#endif
#if CHAPTER >= 6
/* chapter 6: a guest called Linux */
#define RINGLET_HC_SET_ENTRIES		10	/* gpa of struct ringlet_entries */
#define RINGLET_HC_SET_KERNEL_GS	11	/* GS base of ring 1 */
#define RINGLET_HC_LOAD_TLS		12	/* three descriptors for GDT entries 12-14 */
#define RINGLET_HC_SET_CPU_NUMBER	13	/* what LSL of selector 0x7b says */
#define RINGLET_HC_IRET_USER		14	/* struct pt_regs on the stack: return to ring 3 */
#define RINGLET_HC_IRET_KERNEL		15	/* iret frame on the stack, rax below it */
#define RINGLET_HC_SEND_IPI		24	/* mask of vCPUs, vector */
#endif
#if CHAPTER >= 7
/* chapters 7-9: virtio; struct ringlet_device_page has the devices */
#define RINGLET_HC_DEVICE_STATUS	16	/* device, status bits to set: the new status */
#define RINGLET_HC_DEVICE_RESET		17	/* device */
#define RINGLET_HC_DEVICE_FEATURES	18	/* device, driver's feature bits */
#endif
#if CHAPTER >= 8
#define RINGLET_HC_DEVICE_QUEUE		19	/* device, queue, gpa of ringlet_queue or 0 */
#endif
#if CHAPTER >= 7
#define RINGLET_HC_DEVICE_CONFIG	20	/* device, offset << 8 | length, value */
#endif
#if CHAPTER >= 9
#define RINGLET_HC_NOTIFY		21	/* device, queue */
#endif
#if CHAPTER >= 12
/* chapter 12: faster */
#define RINGLET_HC_FILL			22	/* gva, page fault error code: map it, I checked */
#endif
#if CHAPTER >= 14
/* chapter 14: beyond */
#define RINGLET_HC_START_VCPU		23	/* vCPU, gpa of struct ringlet_start */
#define RINGLET_HC_ROUTE_IRQ		25	/* interrupt line, vCPU */
#endif
#define RINGLET_HC_COUNT		26	/* the numbers are below this */

#if CHAPTER >= 2
/* RINGLET_HC_SHUTDOWN's first argument */
#define RINGLET_SHUTDOWN_POWEROFF	0
#define RINGLET_SHUTDOWN_REBOOT		1
#define RINGLET_SHUTDOWN_PANIC		2
#endif

#if CHAPTER >= 5
/*
 * Interrupts. The host's interrupt line n reaches the guest as IDT vector
 * RINGLET_LINE_VECTOR + n; the timer of a vCPU and the IPIs have vectors of
 * their own.
 */
#define RINGLET_TIMER_VECTOR		0x30
#define RINGLET_LINE_VECTOR		0x31
#define RINGLET_LINES			79	/* up to vector 0x7f */
#endif

/* Selectors of ring 1; the others are Linux's own. */
#define RINGLET_KERNEL_CS		0x81
#define RINGLET_KERNEL_DS		0x89

#if CHAPTER >= 5
/*
 * The guest finds its vCPU's page at one address on every vCPU, so that one
 * instruction reaches "my" page with no chance to migrate in between. PML4
 * entry 256 is the hole that Linux leaves for a hypervisor.
 */
#define RINGLET_PAGE			0xffff800000000000

/* Offsets into struct ringlet_vcpu_page, for assembler. */
#define RINGLET_PAGE_IF			0x00
#define RINGLET_PAGE_PENDING		0x04
#define RINGLET_PAGE_CR2		0x08
#endif
#if CHAPTER >= 6
#define RINGLET_PAGE_USER_GS		0x10
#define RINGLET_PAGE_SP0		0x18
#define RINGLET_PAGE_DR6		0x20
#endif
#if CHAPTER >= 12
#define RINGLET_PAGE_FAULT		0x48
#endif

#ifndef __ASSEMBLY__
#include <linux/types.h>

#if CHAPTER >= 5
/**
 * struct ringlet_vcpu_page - what one vCPU shares with the host
 *
 * Both sides write it whenever they run; only one of them runs at a time. The
 * host takes nothing here on trust: the guest can hurt only itself with it.
 *
 * @interrupts:	virtual IF: 0 or 0x200. Meaningful in ring 1; ring 3 is always
 *		interruptible, and @interrupts is 0 there, ready for the next entry
 * @pending:	the host sets it when it held an interrupt back; the guest looks
 *		after it sets @interrupts
 * @cr2:	address of the last page fault
 */
struct ringlet_vcpu_page {
	__u32 interrupts;
	__u32 pending;
	__u64 cr2;
#if CHAPTER >= 6
	__u64 user_gs;		/* GS base of ring 3 while ring 1 runs */
	__u64 sp0;		/* stack pointer for events from ring 3 */
	__u64 dr6;		/* DR6 of the last debug exception */
	__u32 tsc_khz;		/* frequency of the time stamp counter */
	__u16 vcpu;		/* number of this vCPU, from 0 */
	__u16 vcpus;		/* how many there are */
	__u32 abi;		/* RINGLET_ABI of the host */
	__u32 reserved;
	__u64 wallclock;	/* seconds since 1970 at the start of the guest */
#endif
#if CHAPTER >= 7
	__u64 device_page;	/* its gpa, 0 if there is none */
#endif
#if CHAPTER >= 12
	/*
	 * Frame of the last page fault that ring 3 took and that went straight
	 * to ring 1; @scratch lies where the handler's first push goes.
	 */
	struct {
		__u64 scratch;
		__u64 error, rip, cs, rflags, rsp, ss;
	} fault;
#endif
};
#endif

#if CHAPTER >= 6
/**
 * struct ringlet_entries - where the host enters the guest kernel (gvas)
 *
 * The two ranges are code that returns from an event. An interrupt between
 * their test of @pending and their iretq would be lost, so the host restarts
 * them: a @kernel_return by going back to its start, a @user_return likewise
 * with rsp back at the struct pt_regs that ends at sp0.
 *
 * @syscall:		SYSCALL of ring 3 arrives here in ring 1 with rsp, rcx
 *			and r11 as SYSCALL left them and the GS base of ring 1
 * @user_return:	first instruction of the return to ring 3
 * @user_return_end:	just behind its iretq
 * @kernel_return:	first restartable instruction of the return to ring 1
 * @kernel_return_end:	just behind its iretq and its hypercall
 */
struct ringlet_entries {
	__u64 syscall;
	__u64 user_return;
	__u64 user_return_end;
	__u64 kernel_return;
	__u64 kernel_return_end;
#if CHAPTER >= 12
	/*
	 * Page faults of ring 3 arrive here with rsp = &fault.error and the GS
	 * base of ring 1; 0: they go to the host.
	 */
	__u64 user_fault;
#endif
};
#endif

#if CHAPTER >= 14
/**
 * struct ringlet_start - first state of a secondary vCPU
 *
 * It starts in ring 1 at @rip with interrupts off.
 */
struct ringlet_start {
	__u64 rip, rsp, rdi, cr3, gs;
};
#endif

/**
 * struct ringlet_note - descriptor of the ELF note "Ringlet", type 1
 *
 * @abi:	RINGLET_ABI that the kernel was built with
 * @entry:	gva where vCPU 0 starts, in ring 1, rsi = gpa of boot_params
 * @cr3:	gpa of the page tables it starts on, or RINGLET_NO_PAGING
 */
struct ringlet_note {
	__u64 abi;
	__u64 entry;
	__u64 cr3;
};
#endif /* __ASSEMBLY__ */

#define RINGLET_NOTE_NAME		"Ringlet"
#define RINGLET_NOTE_TYPE		1

/* Instead of a CR3: the first 2 MiB of memory, gva = gpa, until a CR3 is loaded. */
#define RINGLET_NO_PAGING		0xffffffffffffffff

#endif
