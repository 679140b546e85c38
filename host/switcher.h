/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The switcher's pages: what C lays out and switcher.S finds by offset.
 *
 * PML4 entry 256 of the host and of every shadow root maps, for each vCPU, a
 * block of six pages at the same address on both sides:
 *
 *	page	guest	host	holds
 *	TEXT	r x	r x	switcher.S, two pages, shared by all
 *	IDT	r	rw	256 gates into TEXT
 *	TABLES	r	rw	struct switcher_tables
 *	TRAP	rw	rw	struct switcher_trap; from chapter 5 on also at
 *				RINGLET_PAGE in the guest
 *	HOST	-	rw	struct switcher_host
 *
 * Ring 1 is "supervisor" for the MMU: it can read whatever is mapped here and,
 * thanks to CR0.WP, write TRAP alone. So TABLES holds nothing worth stealing
 * but the host's CR3, and what TRAP says is never believed after the guest ran.
 */
#ifndef SWITCHER_H
#define SWITCHER_H

#define SLOT_BASE		0xffff800000000000
#define SLOT_PML4_INDEX		256

#define SLOT_BLOCK		0x8000
#define BLOCK_TEXT		0x0000
#define BLOCK_IDT		0x2000
#define BLOCK_TABLES		0x3000
#define BLOCK_TRAP		0x4000
#define BLOCK_HOST		0x5000

/* struct switcher_tables */
#define TABLES_GDT		0x000
#define TABLES_TSS		0x100
#define TABLES_GDT_PTR		0x180
#define TABLES_IDT_PTR		0x190
#define TABLES_GUEST_CR3	0x1a0
#define TABLES_HOST_CR3		0x1a8
#if CHAPTER >= 3
#define TABLES_GUEST_CR4	0x1b0
#endif
#if CHAPTER >= 6
#define TABLES_KERNEL_GS	0x1b8
#define TABLES_SYSCALL		0x1c0
#endif
#if CHAPTER >= 12
#define TABLES_USER_FAULT	0x1c8
#define TABLES_ROOTS		0x200
#endif

/* struct switcher_trap */
#define TRAP_STACK_TOP		0x1000
#if CHAPTER >= 3
#define TRAP_NMI		0x200
#define TRAP_RESUME		0x300
#define TRAP_STACK_DF		0x600
#define TRAP_STACK_NMI		0x800
#define TRAP_STACK_DB		0xa00
#define TRAP_STACK_MC		0xc00
#endif
#if CHAPTER >= 6
#define TRAP_USER_RSP		0x208
#endif

/* struct switcher_host */
#define HOST_RSP		0x00
#define HOST_GS			0x08
#define HOST_FS			0x10
#define HOST_TSS_DESC		0x18
#define HOST_FRAME		0x20
#define HOST_CR2		0x28
#define HOST_GUEST_FS		0x30
#define HOST_GUEST_GS		0x38
#define HOST_GDT_RW		0x40
#define HOST_GDT_RO		0x50
#define HOST_IDT		0x60
#if CHAPTER >= 3
#define HOST_CR4		0x70
#endif
#if CHAPTER >= 6
#define HOST_SELECTORS		0x78
#endif
#if CHAPTER >= 12
#define HOST_EXIT_CR3		0x80
#endif

#if CHAPTER >= 3
/* struct switcher_frame */
#define FRAME_VECTOR		120
#define FRAME_CS		144

/* Bits of TRAP_NMI: what hit the switcher where it could not leave at once. */
#define MISSED_NMI		1
#define MISSED_MC		2

/* "Vector" of an exit that the switcher makes to deliver such a miss. */
#define EXIT_NOTHING		256
#endif

#if CHAPTER >= 12
#define GUEST_ROOTS		8
#endif

#if SOLUTION < 105
/* "Vector" of a guest that was not entered, or whose registers were not saved. */
#define EXIT_EXERCISE		257
#endif

#if SOLUTION < 9999
#ifdef __ASSEMBLY__
/* EXERCISE "3.1": stands where your code will; ringlet.h has the other half. */
	.macro	EXERCISE id
	.ifndef	first_exercise
	.pushsection .rodata.exercise, "a"
	.weak	first_exercise
	.set	first_exercise, .
	.asciz	"exercise \id is not done: see README.md#\id"
	.popsection
	.endif
	.endm
#endif
#endif

#ifndef __ASSEMBLY__
#include <linux/types.h>
#include <asm/desc_defs.h>
#include <asm/processor.h>
#include <ringlet/hypercall.h>

/* What every stub leaves on the stack it came in on; lowest address first. */
struct switcher_frame {
	u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8;
	u64 rax, rcx, rdx, rsi, rdi;
	u64 vector;
	u64 error;
	u64 rip, cs, rflags, rsp, ss;
};

#if CHAPTER >= 12
/* A cached root: the guest CR3 it stands for (0: none) and its own CR3. */
struct switcher_root {
	u64 guest_cr3;
	u64 shadow_cr3;
};
#endif

struct switcher_tables {
	struct desc_struct gdt[18];
	u8 pad0[TABLES_TSS - 18 * 8];
	struct x86_hw_tss tss;
	u8 pad1[TABLES_GDT_PTR - TABLES_TSS - sizeof(struct x86_hw_tss)];
	struct desc_ptr gdt_ptr;
	u8 pad2[6];
	struct desc_ptr idt_ptr;
	u8 pad3[6];
	u64 guest_cr3;		/* page tables to enter on */
	u64 host_cr3;		/* written by the switcher on its way in */
#if CHAPTER >= 3
	u64 guest_cr4;		/* host's, less what ring 1 must not meet */
#endif
#if CHAPTER >= 6
	u64 kernel_gs;		/* GS base of ring 1 */
	u64 syscall_entry;	/* ring 1 address for SYSCALL */
#endif
#if CHAPTER >= 12
	u64 user_fault_entry;	/* ring 1 address for #PF of ring 3, 0: exit */
	u8 pad4[TABLES_ROOTS - TABLES_USER_FAULT - 8];
	struct switcher_root roots[GUEST_ROOTS];	/* indexed by PCID & 7 */
#endif
} __aligned(PAGE_SIZE);

/* The stacks of the switcher's stubs fill the page from its end. */
struct switcher_trap {
#if CHAPTER >= 5
	struct ringlet_vcpu_page shared;
	u8 pad[0x200 - sizeof(struct ringlet_vcpu_page)];
#else
	u8 pad[0x200];
#endif
#if CHAPTER >= 3
	u64 missed;		/* MISSED_*; trusted between exit and entry only */
#endif
#if CHAPTER >= 6
	u64 user_rsp;		/* scratch of the system call stub */
#endif
} __aligned(PAGE_SIZE);

struct switcher_host {
	u64 rsp;
	u64 gs, fs;
	u64 tss_desc;		/* address of the host's TSS descriptor, writable */
	u64 frame;		/* where the exit left its switcher_frame */
	u64 cr2;		/* at the exit */
	u64 guest_fs, guest_gs;	/* bases, both ways */
	struct desc_ptr gdt_rw;	/* host's GDT through its writable alias */
	u8 pad1[6];
	struct desc_ptr gdt_ro;
	u8 pad2[6];
	struct desc_ptr idt;
	u8 pad3[6];
#if CHAPTER >= 3
	u64 cr4;
#endif
#if CHAPTER >= 6
	u16 ds, es, fs_sel, gs_sel;	/* guest's, both ways */
#endif
#if CHAPTER >= 12
	u64 exit_cr3;
#endif
} __aligned(PAGE_SIZE);

extern u8 switcher_text[], switcher_enter[], switcher_vectors[];
#if CHAPTER >= 3
extern u8 switcher_world[], switcher_entered[];
extern u8 switcher_nmi[], switcher_machine_check[];
#endif
#if CHAPTER >= 6
extern u8 switcher_syscall[], switcher_debug[];
#endif
#if CHAPTER >= 12
extern u8 switcher_hypercall[], switcher_page_fault[];
#endif
#endif /* __ASSEMBLY__ */
#endif
