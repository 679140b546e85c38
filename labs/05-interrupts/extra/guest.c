// SPDX-License-Identifier: GPL-2.0
/*
 * A guest that plays a script (lab 5): tests.py provokes exceptions, lets poke.ko
 * raise interrupts, sets the timer, and reads what the handlers found. The script
 * is laid into the file by extra/play.
 */
#include "tiny.h"

enum { END, IDT, GATE, PROVOKE, RAISE, IF, WAIT, SPIN, SHOW, HYPERCALL, PAGING, STORM };
enum { UD, DIVIDE, LOAD, STORE, SELECTOR };

#define LOG	64
#define PATIENCE (20UL << 30)		/* cycles; only what is wrong waits so long */

struct op {
	u64 what, a, b, c;
};

/* What stub and host left on the stack. */
struct frame {
	u64 rbp, r11, r10, r9, r8, rdi, rsi, rdx, rcx, rbx, rax;
	u64 vector, error, rip, cs, rflags, rsp, ss;
};

/* An interrupt gate of a 64-bit IDT (SDM 3A figure 6-8). */
struct gate {
	unsigned short offset_low, segment;
	unsigned short bits, offset_middle;
	u32 offset_high, reserved;
};

struct op script[32768 / sizeof(struct op)] __attribute__((section(".script"))) = { { .what = END } };
static volatile struct ringlet_vcpu_page *const page = (void *)RINGLET_PAGE;
static struct gate idt[256] __attribute__((aligned(4096)));
static volatile u64 handled;			/* interrupts */
static volatile u32 order[LOG][2];		/* vector, @pending */
extern u8 stubs[], provocations[];		/* 16 bytes each */
u64 saved_rsp;
void provoke(u64 what, u64 rsp, u64 argument);
void provoke_end(void);

asm("	.balign 16\n"
    "stubs:\n"
    "	vector = 0\n"
    "	.rept	256\n"
    "	.balign	16\n"
    "	.if	vector != 8 && (vector < 10 || vector > 14) && vector != 17\n"
    "	push	$0\n"
    "	.endif\n"
    "	.byte	0x68; .long vector\n"		/* push */
    "	jmp	stub\n"
    "	vector = vector + 1\n"
    "	.endr\n"
    "stub:\n"
    "	push	%rax; push %rbx; push %rcx; push %rdx; push %rsi; push %rdi\n"
    "	push	%r8; push %r9; push %r10; push %r11; push %rbp\n"
    "	mov	%rsp, %rdi\n"
    "	mov	%rsp, %rbp\n"
    "	and	$~15, %rsp\n"
    "	call	handle\n"
    "	mov	%rbp, %rsp\n"
    "	movq	$0x81, 112(%rsp)\n"		/* cs */
    "	movq	$0x89, 136(%rsp)\n"		/* ss */
    "	testl	$0x200, 120(%rsp)\n"		/* rflags */
    "	jz	1f\n"
    "	movabs	$0xffff800000000000, %rax\n"	/* RINGLET_PAGE */
    "	movl	$0x200, (%rax)\n"
    "	cmpl	$0, 4(%rax)\n"
    "	je	1f\n"
    "	mov	$8, %eax\n"			/* RINGLET_HC_IRQ_WINDOW */
    "	int	$0x1f\n"
    "1:	pop	%rbp; pop %r11; pop %r10; pop %r9; pop %r8\n"
    "	pop	%rdi; pop %rsi; pop %rdx; pop %rcx; pop %rbx; pop %rax\n"
    "	add	$16, %rsp\n"
    "	iretq\n"

    "provoke:\n"
    "	push	%rbp; push %rbx; push %r12; push %r13; push %r14; push %r15\n"
    "	mov	%rsp, saved_rsp(%rip)\n"
    "	mov	%rsi, %rsp\n"
    "	mov	%rdx, %rax\n"
    "	xor	%ecx, %ecx\n"
    "	shl	$4, %rdi\n"
    "	add	$provocations, %rdi\n"
    "	jmp	*%rdi\n"
    "	.balign	16\n"
    "provocations:\n"
    "	ud2\n"
    "	.balign	16\n"
    "	div	%ecx\n"
    "	.balign	16\n"
    "	mov	(%rax), %rcx\n"
    "	.balign	16\n"
    "	mov	%rcx, (%rax)\n"
    "	.balign	16\n"
    "	mov	%eax, %es\n"
    "	.balign	16\n"
    "provoke_end:\n"
    "	pop	%r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp\n"
    "	ret\n");

/* An interrupt is noted; an exception is shown, and left behind. */
void handle(struct frame *frame)
{
	struct frame copy = *frame;
	u64 interrupts = page->interrupts, pending = page->pending, cr2 = page->cr2;

	if (copy.vector >= 32) {
		order[handled % LOG][0] = copy.vector;
		order[handled % LOG][1] = pending;
		handled++;
		return;
	}
	print_number("vector ", copy.vector);
	print_number("error ", copy.error);
	print_number("rip ", copy.rip - (u64)provocations);
	print_number("cs ", copy.cs);
	print_number("rflags.if ", copy.rflags & 0x200);
	print_number("rsp ", copy.rsp);
	print_number("ss ", copy.ss);
	print_number("top ", (u64)(frame + 1));
	print_number("if ", interrupts);
	if (copy.vector == 14)
		print_number("cr2 ", cr2);
	frame->rip = (u64)provoke_end;
	frame->rsp = saved_rsp;
}

/* Gates of a type for all vectors; the host is told a limit. */
static void set_idt(const struct op *op)
{
	for (int i = 0; i < 256; i++) {
		u64 handler = (u64)stubs + 16 * i;

		idt[i] = (struct gate) {
			.offset_low = handler, .offset_middle = handler >> 16,
			.segment = RINGLET_KERNEL_CS, .bits = op->a,
		};
	}
	hypercall(RINGLET_HC_SET_IDT, (u64)idt, op->b, 0);
}

static void set_if(u64 value)
{
	page->interrupts = value;
	if (value && page->pending)
		hypercall(RINGLET_HC_IRQ_WINDOW, 0, 0, 0);
}

/* In ring 1 with no exit of our own, until so many interrupts were handled. */
static void wait(u64 wanted)
{
	u64 begin = __builtin_ia32_rdtsc();

	while (handled < wanted && __builtin_ia32_rdtsc() - begin < PATIENCE)
		;
	if (handled < wanted)
		print("it does not come");
}

static void spin(u64 cycles)
{
	u64 begin = __builtin_ia32_rdtsc();

	while (__builtin_ia32_rdtsc() - begin < cycles)
		;
}

static void show(void)
{
	print_number("interrupts ", page->interrupts);
	print_number("pending ", page->pending);
	for (u64 i = 0; i < handled && i < LOG; i++) {
		print_number("handled ", order[i][0]);
		print_number("then pending ", order[i][1]);
	}
	print_number("in all ", handled);
}

/* 2 MiB at gva = gpa. */
static void load_tables(void)
{
	static u64 tables[4][512] __attribute__((aligned(4096)));

	for (int i = 0; i < 3; i++)
		tables[i][0] = (u64)tables[i + 1] | 0x63;
	for (u64 i = 0; i < 512; i++)
		tables[3][i] = i << 12 | 0x63;
	hypercall(RINGLET_HC_LOAD_CR3, (u64)tables[0], 0, 0);
}

/* @a timers one after the other, of up to @b ns; every other time it sleeps meanwhile. */
static void storm(u64 count, u64 most)
{
	u64 random = 1;

	for (u64 i = 0; i < count; i++) {
		u64 wanted = handled + 1;

		random = random * 6364136223846793005 + 1442695040888963407;
		set_if(0);
		hypercall(RINGLET_HC_SET_TIMER, 1 + (random >> 33) % most, 0, 0);
		if (i & 1)
			set_if(0x200);
		else
			hypercall(RINGLET_HC_HALT, 0, 0, 0);
		wait(wanted);
		if (handled != wanted)
			break;
	}
}

void main(void)
{
	for (const struct op *op = script; op->what != END; op++) {
		switch (op->what) {
		case IDT:
			set_idt(op);
			break;
		case GATE:
			__builtin_memcpy(&idt[op->a], &op->b, sizeof(idt[0]));
			break;
		case PROVOKE:
			provoke(op->a, op->b, op->c);
			break;
		case RAISE:
			hypercall(op->a, op->b, op->c, 0);
			break;
		case IF:
			set_if(op->a);
			break;
		case WAIT:
			wait(op->a);
			break;
		case SPIN:
			spin(op->a);
			break;
		case SHOW:
			show();
			break;
		case HYPERCALL:
			hypercall(op->a, op->b, op->c, 0);
			break;
		case PAGING:
			load_tables();
			break;
		case STORM:
			storm(op->a, op->b);
			break;
		}
	}
	print("the script is played");
}
