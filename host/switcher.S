/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The world switch (chapter 1), and what ring 0 does on the guest's page
 * tables: vector stubs (2), system calls on their way to ring 1 (6), cached
 * CR3 loads and page faults of ring 3 (12).
 *
 * Two pages, mapped for every vCPU at the block's BLOCK_TEXT, at the same
 * address in host and guest. It finds its data RIP-relative, so it needs
 * neither swapgs nor a register to know whose vCPU it serves.
 *
 * NMI and #MC can hit any instruction here. The code is cut in two for them:
 *
 *  - between switcher_world and switcher_world_end the machine is wholly the
 *    guest's (CR3, GDT, TSS, IDT). An NMI there is an exit like any other; the
 *    frame it leaves has CS = ring 0, and the host resumes it where it was, or
 *    enters anew if it was before switcher_entered.
 *  - elsewhere two worlds are mixed. The stub notes the event in TRAP_NMI and
 *    returns; the host raises it again once it is whole.
 *
 * Interrupts are off throughout (interrupt gates, FMASK).
 */
#include <linux/linkage.h>
#include <asm/msr-index.h>
#include <asm/segment.h>
#include <asm/processor-flags.h>
#include <ringlet/hypercall.h>
#include "switcher.h"

#define TABLES(off)	(switcher_text + BLOCK_TABLES + (off))(%rip)
#define TRAP(off)	(switcher_text + BLOCK_TRAP + (off))(%rip)
#define HOST(off)	(switcher_text + BLOCK_HOST + (off))(%rip)
#define SHARED(off)	TRAP(off)
#define ENDBR64		.byte 0xf3, 0x0f, 0x1e, 0xfa

	/* To the host's own mapping this is data; it is executed in slot 256. */
	.pushsection .rodata.switcher, "a"
	.balign 4096
	.globl switcher_text
switcher_text:

/*
 * void switcher_enter(struct switcher_frame *frame) - run the guest until it
 * exits. Called through its address in the block, on the launcher's page
 * tables, interrupts off. HOST() and TABLES() are filled in.
 *
 *	rdi	the frame to resume, in the TRAP page
 */
	.globl switcher_enter
switcher_enter:
	ENDBR64
	push	%rbp
	push	%rbx
	push	%r12
	push	%r13
	push	%r14
	push	%r15
#if SOLUTION >= 103
	mov	%rsp, HOST(HOST_RSP)
	rdfsbase %rax
	mov	%rax, HOST(HOST_FS)
	rdgsbase %rax
	mov	%rax, HOST(HOST_GS)
	mov	%cr3, %rax
	mov	%rax, TABLES(TABLES_HOST_CR3)

#if CHAPTER >= 3
	/* From lidt on an NMI comes to us; the gates' IST numbers are Linux's
	   own, so its stack is good before ltr as well as after it. */
#endif
	lidt	TABLES(TABLES_IDT_PTR)
	lgdt	TABLES(TABLES_GDT_PTR)
	andb	$~2, TABLES(TABLES_GDT + GDT_ENTRY_TSS * 8 + 5)	/* not busy */
	mov	$(GDT_ENTRY_TSS * 8), %eax
	ltr	%ax

#if CHAPTER >= 6
	/* Selectors first: loading one replaces its base. */
	movzwl	HOST(HOST_SELECTORS), %eax
	mov	%eax, %ds
	movzwl	HOST(HOST_SELECTORS + 2), %eax
	mov	%eax, %es
	movzwl	HOST(HOST_SELECTORS + 4), %eax
	mov	%eax, %fs
	movzwl	HOST(HOST_SELECTORS + 6), %eax
	mov	%eax, %gs
#endif
	mov	HOST(HOST_GUEST_FS), %rax
	wrfsbase %rax
	mov	HOST(HOST_GUEST_GS), %rax
	wrgsbase %rax

#if CHAPTER >= 3
	/* Clearing CR4.PGE drops the host's global TLB entries and lets nothing
	   make new ones: ring 1 would reach host memory through them (SDM 3A
	   4.10.2.4). The same write takes away SMAP, PKE, CET and so on. */
	mov	TABLES(TABLES_GUEST_CR4), %rax
	cmp	HOST(HOST_CR4), %rax
	je	1f
	mov	%rax, %cr4
1:
#endif
	mov	TABLES(TABLES_GUEST_CR3), %rax
	mov	%rdi, %rsp
	mov	%rax, %cr3

#else
	/* Exercise 1.3: note the host's rsp, FS, GS, CR3; load the guest's tables, bases, stack. */
	EXERCISE "1.3"
#endif

#if CHAPTER >= 3
	.globl switcher_world
switcher_world:
	/* An NMI on the way here was noted: leave again to deliver it. */
	cmpb	$0, TRAP(TRAP_NMI)
	jne	.Lnothing
#endif
#if SOLUTION >= 105
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rax
	pop	%rcx
	pop	%rdx
	pop	%rsi
	pop	%rdi
	add	$16, %rsp			/* vector, error */
	iretq
#else
	/* Exercise 1.5: the guest's registers. Until then we turn round here. */
	add	$120, %rsp
	movq	$EXIT_EXERCISE, (%rsp)
	jmp	.Lexit
#endif
#if CHAPTER >= 3
.Lnothing:
	movq	$EXIT_NOTHING, FRAME_VECTOR(%rsp)
	jmp	switcher_world_end		/* and keep the note for C */
	.globl switcher_entered
switcher_entered:
#endif

#if CHAPTER >= 6
/*
 * SYSCALL of ring 3 (MSR_LSTAR): go to ring 1, on the same page tables, with
 * the GS base of ring 1 and everything else as SYSCALL left it.
 */
	.globl switcher_syscall
switcher_syscall:
	ENDBR64
	mov	%rsp, TRAP(TRAP_USER_RSP)
	lea	TRAP(TRAP_STACK_TOP), %rsp
	pushq	$RINGLET_KERNEL_DS
	pushq	TRAP(TRAP_USER_RSP)
	pushq	$(X86_EFLAGS_IF | X86_EFLAGS_FIXED)
	pushq	$RINGLET_KERNEL_CS
	pushq	TABLES(TABLES_SYSCALL)
	push	%rax
	rdgsbase %rax
	mov	%rax, SHARED(RINGLET_PAGE_USER_GS)
	mov	TABLES(TABLES_KERNEL_GS), %rax
	wrgsbase %rax
	pop	%rax
	iretq
#endif

#if CHAPTER >= 12
/*
 * int $0x1f from ring 1. A CR3 load whose root is cached and still good (bit
 * 63) is done here, without a world switch.
 *
 *	rax	hypercall number, then the result
 *	rbx	new guest CR3
 */
	.globl switcher_hypercall
switcher_hypercall:
	ENDBR64
#if SOLUTION >= 1205
	cmp	$RINGLET_HC_LOAD_CR3, %rax
	jne	1f
	bt	$63, %rbx
	jnc	1f
	push	%rcx
	mov	%ebx, %ecx
	and	$(GUEST_ROOTS - 1), %ecx
	shl	$4, %ecx
	lea	TABLES(TABLES_ROOTS), %rax
	add	%rax, %rcx			/* its struct switcher_root */
	mov	%rbx, %rax
	btr	$63, %rax
	cmp	%rax, (%rcx)
	jne	2f
	mov	8(%rcx), %rax
	mov	%rax, %cr3
	pop	%rcx
	xor	%eax, %eax
	iretq
2:	pop	%rcx
	mov	$RINGLET_HC_LOAD_CR3, %eax
1:
#else
	/* Exercise 12.5: every load is an exit, also one of a cached root. */
#endif
	pushq	$0
	pushq	$RINGLET_VECTOR
	jmp	.Lexit

/*
 * #PF. From ring 3 it goes to ring 1 if the guest asked for that: its own page
 * tables know most answers, and a fill is then one exit instead of two.
 *
 *	rsp	error, rip, cs, rflags, rsp, ss
 */
	.globl switcher_page_fault
switcher_page_fault:
	ENDBR64
	testb	$2, 16(%rsp)			/* cs: ring 3? */
	jz	1f
	cmpq	$0, TABLES(TABLES_USER_FAULT)
	je	1f
	push	%rax
	lea	SHARED(RINGLET_PAGE_FAULT), %rax
	.irp	off, 0, 8, 16, 24, 32, 40	/* error ... ss */
	pushq	8+\off(%rsp)
	popq	8+\off(%rax)
	.endr
	mov	%cr2, %rax
	mov	%rax, SHARED(RINGLET_PAGE_CR2)
	rdgsbase %rax
	mov	%rax, SHARED(RINGLET_PAGE_USER_GS)
	mov	TABLES(TABLES_KERNEL_GS), %rax
	wrgsbase %rax
	mov	TABLES(TABLES_USER_FAULT), %rax
	mov	%rax, 16(%rsp)			/* rip, cs, rflags, rsp, ss of ring 1 */
	movq	$RINGLET_KERNEL_CS, 24(%rsp)
	movq	$(X86_EFLAGS_IF | X86_EFLAGS_FIXED), 32(%rsp)
	movabs	$(RINGLET_PAGE + RINGLET_PAGE_FAULT + 8), %rax
	mov	%rax, 40(%rsp)
	movq	$RINGLET_KERNEL_DS, 48(%rsp)
	pop	%rax
	add	$8, %rsp			/* error */
	iretq
1:	pushq	$14
	jmp	.Lexit
#endif

#if CHAPTER >= 6
/*
 * #DB, on its own stack. From ring 0 it is a leftover (MOV SS before SYSCALL,
 * or TF where the CPU does not clear it): drop it.
 */
	.globl switcher_debug
switcher_debug:
	ENDBR64
	testb	$3, 8(%rsp)
	jnz	1f
	andl	$~X86_EFLAGS_TF, 16(%rsp)
	iretq
1:	pushq	$0
	pushq	$1
	jmp	.Lexit
#endif

#if CHAPTER >= 3
/* NMI and #MC, on their own stacks; the head of this file has the rules. */
	.macro	nmi_like name vector bit
	.globl	\name
\name:
	ENDBR64
	testb	$3, 8(%rsp)
	jnz	1f
	push	%rax
	lea	switcher_world(%rip), %rax
	cmp	%rax, 8(%rsp)
	jb	2f
	lea	switcher_world_end(%rip), %rax
	cmp	%rax, 8(%rsp)
	jae	2f
	pop	%rax
1:	pushq	$0
	pushq	$\vector
	jmp	.Lexit
2:	pop	%rax
	orb	$\bit, TRAP(TRAP_NMI)
	iretq
	.endm

	nmi_like switcher_nmi 2 MISSED_NMI
	nmi_like switcher_machine_check 18 MISSED_MC
#endif

/* Every other vector: 16 bytes each, so that C can compute the address. */
	.balign	16
	.globl switcher_vectors
switcher_vectors:
	vector = 0
	.rept	256
	.balign	16
	.if	vector != 8 && vector != 10 && vector != 11 && vector != 12 && \
		vector != 13 && vector != 14 && vector != 17 && vector != 21
	pushq	$0				/* the CPU pushed no error code */
	.endif
	.byte	0x6a, vector			/* pushq $vector, sign-extended */
	jmp	.Lexit
	vector = vector + 1
	.endr

/*
 * The way out. Everything is saved on the stack that the event came in on;
 * the host gets the address of that frame.
 */
.Lexit:
#if SOLUTION >= 105
	push	%rdi
	push	%rsi
	push	%rdx
	push	%rcx
	push	%rax
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	pushq	$X86_EFLAGS_FIXED		/* no AC, DF, NT, TF from the guest */
	popfq
#else
	/* Exercise 1.5, the way back: complete the frame; then leave no flag of the guest's. */
	movq	$EXIT_EXERCISE, (%rsp)
	sub	$120, %rsp
#endif
#if CHAPTER >= 3
	movb	$0, TRAP(TRAP_NMI)		/* whatever the guest wrote there */
	.globl switcher_world_end
switcher_world_end:
#endif
	mov	%rsp, %rbx
	mov	%cr2, %rbp
#if CHAPTER >= 12
	mov	%cr3, %r12
#endif
	rdfsbase %r13
	rdgsbase %r14
#if SOLUTION >= 104
	mov	TABLES(TABLES_HOST_CR3), %rax
	mov	%rax, %cr3
#if CHAPTER >= 3
	mov	HOST(HOST_CR4), %rax
	cmp	TABLES(TABLES_GUEST_CR4), %rax
	je	1f
	mov	%rax, %cr4
1:
#endif
	mov	%rbx, HOST(HOST_FRAME)
	mov	%rbp, HOST(HOST_CR2)
#if CHAPTER >= 12
	mov	%r12, HOST(HOST_EXIT_CR3)
#endif
	mov	%r13, HOST(HOST_GUEST_FS)
	mov	%r14, HOST(HOST_GUEST_GS)
#if CHAPTER >= 6
	mov	%ds, HOST(HOST_SELECTORS)
	mov	%es, HOST(HOST_SELECTORS + 2)
	mov	%fs, HOST(HOST_SELECTORS + 4)
	mov	%gs, HOST(HOST_SELECTORS + 6)
#endif

	/* A 64-bit process has null selectors here; vcpu.c made sure of it. */
	xor	%eax, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %fs
	mov	%eax, %gs
	mov	HOST(HOST_FS), %rax
	wrfsbase %rax
	mov	HOST(HOST_GS), %rax
	wrgsbase %rax

	/* ltr marks the descriptor busy, so the GDT must be writable for it. */
	mov	HOST(HOST_TSS_DESC), %rax
	andb	$~2, 5(%rax)
	lgdt	HOST(HOST_GDT_RW)
	mov	$(GDT_ENTRY_TSS * 8), %eax
	ltr	%ax
	lgdt	HOST(HOST_GDT_RO)
	lidt	HOST(HOST_IDT)			/* last: from here on events are the host's */

	mov	HOST(HOST_RSP), %rsp
#else
	/* Exercise 1.4: put rbx, rbp, r13, r14 away; the host's world; last of all its rsp. */
	EXERCISE "1.4"
#endif
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbx
	pop	%rbp
	ret
	int3

	.org	switcher_text + BLOCK_IDT - BLOCK_TEXT	/* an error if it does not fit */
	.popsection
