// SPDX-License-Identifier: GPL-2.0
/* A guest that counts timer interrupts (chapter 5). */
#include "tiny.h"

#define TICK_NS		20000000UL
#define TICKS		5

/* An interrupt gate of a 64-bit IDT (SDM 3A figure 6-8). */
struct gate {
	unsigned short offset_low, segment;
	unsigned short bits, offset_middle;
	u32 offset_high, reserved;
};

#define INTERRUPT_GATE	0x8e00

static struct gate idt[256] __attribute__((aligned(16)));
static volatile struct ringlet_vcpu_page *const page = (void *)RINGLET_PAGE;
static volatile u64 ticks;

void timer_entry(void);

/* Called by timer_entry, with interrupts off. */
void timer_tick(void)
{
	ticks++;
	if (ticks < TICKS)
		hypercall(RINGLET_HC_SET_TIMER, TICK_NS, 0, 0);
}

/*
 * The host shows us with Linux's selectors; iretq wants those we run on. Then the
 * virtual IF comes back as it was, and what is pending comes in at once.
 */
asm("timer_entry:\n"
    "	push	%rax; push %rbx; push %rcx; push %rdx; push %rsi; push %rdi\n"
    "	push	%r8; push %r9; push %r10; push %r11\n"
    "	call	timer_tick\n"
    "	pop	%r11; pop %r10; pop %r9; pop %r8\n"
    "	pop	%rdi; pop %rsi; pop %rdx; pop %rcx; pop %rbx\n"
    "	movq	$0x81, 16(%rsp)\n"		/* cs, behind rax and rip */
    "	movq	$0x89, 40(%rsp)\n"		/* ss */
    "	movabs	$0xffff800000000000, %rax\n"	/* RINGLET_PAGE */
    "	movl	$0x200, (%rax)\n"
    "	cmpl	$0, 4(%rax)\n"
    "	je	1f\n"
    "	mov	$8, %eax\n"			/* RINGLET_HC_IRQ_WINDOW */
    "	int	$0x1f\n"
    "1:	pop	%rax\n"
    "	iretq\n");

void main(void)
{
	u64 handler = (u64)timer_entry, seen = 0;

	idt[RINGLET_TIMER_VECTOR] = (struct gate) {
		.offset_low = handler, .offset_middle = handler >> 16,
		.offset_high = handler >> 32, .segment = RINGLET_KERNEL_CS,
		.bits = INTERRUPT_GATE,
	};
	hypercall(RINGLET_HC_SET_IDT, (u64)idt, sizeof(idt) - 1, 0);
	hypercall(RINGLET_HC_SET_TIMER, TICK_NS, 0, 0);
	while (seen < TICKS) {
		page->interrupts = 0;
		if (ticks == seen) {
			hypercall(RINGLET_HC_HALT, 0, 0, 0);
			continue;
		}
		print_number("tick ", ++seen);
	}
}
