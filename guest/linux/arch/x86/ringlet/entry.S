/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Ring 1's ways in and out (chapter 6; page faults of ring 3: 12).
 *
 * The host's address for the vCPU page is the same on every vCPU, so "my"
 * interrupt flag is one movabs and one store away, with no way to be migrated
 * between the two.
 */
#include <linux/linkage.h>
#include <asm/asm-offsets.h>
#include <asm/frame.h>
#include <asm/page_types.h>
#include <asm/percpu.h>
#include <asm/processor-flags.h>
#include <asm/segment.h>
#include <asm/thread_info.h>
#include <asm/unwind_hints.h>
#include <ringlet/hypercall.h>
#include <../entry/calling.h>

#if SOLUTION < 605
/* Stands where your code will; the launcher prints the text. */
	.macro	EXERCISE id
	.pushsection .rodata
.Lexercise\@:
	.ascii	"exercise \id is not done: see README.md#\id"
.Lexercise_end\@:
	.popsection
	movl	$RINGLET_HC_SHUTDOWN, %eax
	movl	$RINGLET_SHUTDOWN_PANIC, %ebx
	movq	$.Lexercise\@ - __START_KERNEL_map, %rcx
	movl	$.Lexercise_end\@ - .Lexercise\@, %edx
	int	$RINGLET_VECTOR
	ud2
	.endm

#endif
	.pushsection .noinstr.text, "ax"

/* pv_ops.irq, callee-save: only rax may change. */
SYM_FUNC_START(ringlet_save_fl)
#if SOLUTION >= 602
	movabs	$RINGLET_PAGE, %rax
	movl	RINGLET_PAGE_IF(%rax), %eax
	RET
#else
	EXERCISE "6.2"
#endif
SYM_FUNC_END(ringlet_save_fl)

SYM_FUNC_START(ringlet_irq_disable)
#if SOLUTION >= 602
	movabs	$RINGLET_PAGE, %rax
	movl	$0, RINGLET_PAGE_IF(%rax)
	RET
#else
	EXERCISE "6.2"
#endif
SYM_FUNC_END(ringlet_irq_disable)

/* First the flag, then the look at pending: the host does it the other way
   round, so one of us sees the interrupt. */
SYM_FUNC_START(ringlet_irq_enable)
#if SOLUTION >= 602
	movabs	$RINGLET_PAGE, %rax
	movl	$X86_EFLAGS_IF, RINGLET_PAGE_IF(%rax)
	cmpl	$0, RINGLET_PAGE_PENDING(%rax)
	jne	1f
	RET
1:	movl	$RINGLET_HC_IRQ_WINDOW, %eax
	int	$RINGLET_VECTOR
	RET
#else
	EXERCISE "6.2"
#endif
SYM_FUNC_END(ringlet_irq_enable)

SYM_FUNC_START(ringlet_read_cr2)
	movabs	$RINGLET_PAGE, %rax
	movq	RINGLET_PAGE_CR2(%rax), %rax
	RET
SYM_FUNC_END(ringlet_read_cr2)

/*
 * What SLUB calls until alternatives have run; the native one executes CLI, an
 * exit each time. Same interface: rsi address, rdx:rax old, rcx:rbx new, ZF.
 */
SYM_FUNC_START(ringlet_cmpxchg16b)
	cmpxchg16b %gs:(%rsi)
	RET
SYM_FUNC_END(ringlet_cmpxchg16b)
	.popsection

	.pushsection .entry.text, "ax"

/*
 * SYSCALL, by way of the switcher: the native entry less swapgs.
 *
 *	rsp, rcx, r11	as SYSCALL left them; GS base is the kernel's
 */
SYM_CODE_START(ringlet_entry_SYSCALL_64)
	UNWIND_HINT_ENTRY
	ENDBR
	movq	%rsp, PER_CPU_VAR(cpu_tss_rw + TSS_sp2)
	movq	PER_CPU_VAR(pcpu_hot + X86_top_of_stack), %rsp
	pushq	$__USER_DS
	pushq	PER_CPU_VAR(cpu_tss_rw + TSS_sp2)
	pushq	%r11
	pushq	$__USER_CS
	pushq	%rcx
	jmp	entry_SYSCALL_64_after_hwframe
SYM_CODE_END(ringlet_entry_SYSCALL_64)

#if CHAPTER >= 12
/*
 * #PF of ring 3, by way of the switcher. Most often Linux's tables have the
 * page and only the shadow lacks it: one FILL and back. Otherwise it is a page
 * fault like any other.
 *
 *	rsp	&ringlet_vcpu_page.fault.error; rax is saved below it
 */
SYM_CODE_START(ringlet_user_fault)
	UNWIND_HINT_ENTRY
	ENDBR
	pushq	%rax
	movq	%rsp, %rax
	movq	PER_CPU_VAR(pcpu_hot + X86_top_of_stack), %rsp
	pushq	48(%rax)			/* ss, rsp, rflags, cs, rip, error */
	pushq	40(%rax)
	pushq	32(%rax)
	pushq	24(%rax)
	pushq	16(%rax)
	pushq	8(%rax)
	movq	(%rax), %rax
	UNWIND_HINT_IRET_REGS offset=8
	PUSH_AND_CLEAR_REGS
	ENCODE_FRAME_POINTER
	movabs	$RINGLET_PAGE, %r12
	movq	RINGLET_PAGE_CR2(%r12), %r12	/* address */
	movq	ORIG_RAX(%rsp), %r13		/* error code */
	movq	%r12, %rdi
	movq	%r13, %rsi
	call	ringlet_fill
	testq	%rax, %rax
	jz	xenpv_restore_regs_and_return_to_usermode
	movq	%rsp, %rdi
	movq	%rax, %rsi
	movq	$-1, ORIG_RAX(%rsp)		/* no system call to restart */
	call	exc_page_fault
	/* Whoever asked for the page will touch it again: map it now. */
	movq	%r12, %rdi
	movq	%r13, %rsi
	call	ringlet_fill
	jmp	xenpv_restore_regs_and_return_to_usermode
SYM_CODE_END(ringlet_user_fault)
#endif

/*
 * Return to ring 3; entry_64.S jumps here for every such return. Interrupts are
 * off. From the look at pending to the iretq nothing may come in, or it would
 * wait until the next entry: if something does, the host sends us back to
 * ringlet_user_return with rsp at pt_regs, so nothing here may change what
 * pt_regs holds.
 */
SYM_CODE_START(xenpv_restore_regs_and_return_to_usermode)
	UNWIND_HINT_REGS
	ANNOTATE_NOENDBR
SYM_INNER_LABEL(ringlet_user_return, SYM_L_GLOBAL)
	ANNOTATE_NOENDBR
#if SOLUTION >= 605
	movabs	$RINGLET_PAGE, %rax
	movl	$0, RINGLET_PAGE_IF(%rax)
	cmpl	$0, RINGLET_PAGE_PENDING(%rax)
	jne	1f
	movq	RINGLET_PAGE_USER_GS(%rax), %rax
	wrgsbase %rax
	POP_REGS
	addq	$8, %rsp			/* orig_ax */
	iretq
#else
	/* Exercise 6.5: the flag, the look at pending, the GS base, the registers. */
	EXERCISE "6.5"
	iretq
#endif
SYM_INNER_LABEL(ringlet_user_return_end, SYM_L_GLOBAL)
	ANNOTATE_NOENDBR
1:	movl	$RINGLET_HC_IRET_USER, %eax
	int	$RINGLET_VECTOR
	ud2
SYM_CODE_END(xenpv_restore_regs_and_return_to_usermode)

/*
 * Return to ring 1; restore_regs_and_return_to_kernel jumps here. Give the
 * frame the selectors that the CPU really runs on, and the interrupt flag its
 * old value. Restarts at ringlet_kernel_return: rax is safe below the frame.
 */
SYM_CODE_START(xen_iret)
	UNWIND_HINT_IRET_REGS
	ANNOTATE_NOENDBR
	movq	%rax, -8(%rsp)
SYM_INNER_LABEL(ringlet_kernel_return, SYM_L_GLOBAL)
	ANNOTATE_NOENDBR
#if SOLUTION >= 601
	movabs	$RINGLET_PAGE, %rax
	testb	$(X86_EFLAGS_IF >> 8), 17(%rsp)
	jz	1f
	movl	$X86_EFLAGS_IF, RINGLET_PAGE_IF(%rax)
	cmpl	$0, RINGLET_PAGE_PENDING(%rax)
	jne	2f
1:	movq	$RINGLET_KERNEL_CS, 8(%rsp)
	movq	$RINGLET_KERNEL_DS, 32(%rsp)
	movq	-8(%rsp), %rax
	iretq
#else
	/* Exercise 6.1: flag and look at pending, if the frame's IF is set; the selectors; rax. */
	EXERCISE "6.1"
#endif
2:	movl	$RINGLET_HC_IRET_KERNEL, %eax
	int	$RINGLET_VECTOR
SYM_INNER_LABEL(ringlet_kernel_return_end, SYM_L_GLOBAL)
	ANNOTATE_NOENDBR
	ud2
SYM_CODE_END(xen_iret)
	.popsection
