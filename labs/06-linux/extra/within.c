// SPDX-License-Identifier: GPL-2.0
/*
 * In the guest, for lab 6's tests: calls the platform's interrupt ops and looks at what they did. A host that has an interrupt
 * for us sets vcpu_page.pending at an exit; here a handler of int3 or of a single step does so, at the moment that the test
 * wants, and whoever looks there must make a hypercall: at each entry the host writes anew what is true, which is 0.
 */
#include <linux/kdebug.h>
#include <linux/module.h>
#include <asm/paravirt.h>
#include <asm/ringlet.h>

#define REGISTERS	13	/* rbx rcx rdx rsi rdi rbp r8-r14 */
#define STEPS		40
#define ROUNDS		200

static char *what = "";
module_param(what, charp, 0);

static int steps_left;		/* of single steps, before pending is set; below 0: none */
static bool raised;		/* by at_trap(): was pending set while the flag was off? */

static int at_trap(struct notifier_block *block, unsigned long event, void *data)
{
	struct pt_regs *regs = ((struct die_args *)data)->regs;

	if (event == DIE_INT3) {
		ringlet_page()->pending = 1;
		return NOTIFY_STOP;
	}
	if (event != DIE_DEBUG || user_mode(regs))
		return NOTIFY_DONE;
	if (steps_left-- > 0)
		return NOTIFY_STOP;	/* with TF still set: one more */
	regs->flags &= ~X86_EFLAGS_TF;
	raised = !(regs->flags & X86_EFLAGS_IF);
	if (raised)
		ringlet_page()->pending = 1;
	return NOTIFY_STOP;
}

static struct notifier_block trap_block = { .notifier_call = at_trap, .priority = INT_MAX };

/* Call an op with these registers, and write down what it left of them. */
static noinline unsigned long call_with(void *op, u64 *registers, bool step)
{
	unsigned long rax = (unsigned long)op, flags = step ? X86_EFLAGS_TF : 0;

	asm volatile("push %%rbp; push %%r15\n"
		     "mov %[registers], %%r15\n"
		     "pushfq; orq %[flags], (%%rsp)\n"
		     "mov 0(%%r15), %%rbx; mov 8(%%r15), %%rcx; mov 16(%%r15), %%rdx; mov 24(%%r15), %%rsi\n"
		     "mov 32(%%r15), %%rdi; mov 40(%%r15), %%rbp; mov 48(%%r15), %%r8; mov 56(%%r15), %%r9\n"
		     "mov 64(%%r15), %%r10; mov 72(%%r15), %%r11; mov 80(%%r15), %%r12; mov 88(%%r15), %%r13\n"
		     "mov 96(%%r15), %%r14\n"
		     "popfq\n"
		     "call *%%rax\n"
		     "pushfq; andq $~0x100, (%%rsp); popfq\n"
		     "mov %%rbx, 0(%%r15); mov %%rcx, 8(%%r15); mov %%rdx, 16(%%r15); mov %%rsi, 24(%%r15)\n"
		     "mov %%rdi, 32(%%r15); mov %%rbp, 40(%%r15); mov %%r8, 48(%%r15); mov %%r9, 56(%%r15)\n"
		     "mov %%r10, 64(%%r15); mov %%r11, 72(%%r15); mov %%r12, 80(%%r15); mov %%r13, 88(%%r15)\n"
		     "mov %%r14, 96(%%r15)\n"
		     "pop %%r15; pop %%rbp\n"
		     : "+a" (rax), [registers] "+D" (registers), [flags] "+S" (flags)
		     :
		     : "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "memory", "cc");
	return rax;
}

static unsigned long call(const char *name, void *op)
{
	u64 before[REGISTERS], after[REGISTERS];
	unsigned long rax;
	int i;

	for (i = 0; i < REGISTERS; i++)
		after[i] = before[i] = 0x1111111111111111UL * (i + 1) ^ (unsigned long)op;
	rax = call_with(op, after, false);
	pr_warn("within: %s: flag %#x, registers %s\n", name, ringlet_page()->interrupts,
		memcmp(before, after, sizeof(before)) ? "changed" : "kept");
	return rax;
}

static void try_flag(void)
{
	void *save_fl = pv_ops.irq.save_fl.func;
	unsigned long on, off;

	call("disable", pv_ops.irq.irq_disable.func);
	call("disable", pv_ops.irq.irq_disable.func);
	off = call("save off", save_fl);
	call("enable", pv_ops.irq.irq_enable.func);
	on = call("save on", save_fl);
	call("enable", pv_ops.irq.irq_enable.func);
	pr_warn("within: IF as saved: %#lx, %#lx\n", off & X86_EFLAGS_IF, on & X86_EFLAGS_IF);
}

/*
 * An interrupt comes in front of each instruction of irq_enable that finds the
 * flag off. Many times, as another one may come by chance and bring with it what was
 * lost.
 */
static void try_order(void)
{
	int round, before = 0, lost = 0, tried = 0;
	u64 registers[REGISTERS] = { };

	for (round = 0; round < ROUNDS; round++) {
		local_irq_disable();
		WRITE_ONCE(steps_left, before);	/* the compiler does not see who reads them */
		WRITE_ONCE(raised, false);
		call_with(pv_ops.irq.irq_enable.func, registers, true);
		if (!READ_ONCE(raised) || before == STEPS) {
			before = 0;		/* behind its end: once more from the first */
			continue;
		}
		before++;
		tried++;
		if (ringlet_page()->pending && !lost++)
			pr_warn("within: lost: what came after %d steps\n", before - 1);
	}
	pr_warn("within: order: tried %d, lost %d\n", tried, lost);
}

/* Many times as well: any exit on the way back would write pending anew, and hide that nobody looked. */
static void try_kernel(void)
{
	u32 pending = 0, flag_on = X86_EFLAGS_IF, flag_off = 0;
	int round;

	for (round = 0; round < ROUNDS; round++) {
		asm volatile("int3");
		pending |= READ_ONCE(ringlet_page()->pending);
		flag_on &= READ_ONCE(ringlet_page()->interrupts);
		local_irq_disable();
		asm volatile("int3");
		flag_off |= READ_ONCE(ringlet_page()->interrupts);
		ringlet_page()->pending = 0;
		local_irq_enable();
	}
	pr_warn("within: kernel: flag %#x, pending %u; off: flag %#x\n", flag_on, pending, flag_off);
}

static int __init within_init(void)
{
	register_die_notifier(&trap_block);
	if (!strcmp(what, "flag"))
		try_flag();
	else if (!strcmp(what, "order"))
		try_order();
	else if (!strcmp(what, "kernel"))
		try_kernel();
	return 0;
}
module_init(within_init);

static void __exit within_exit(void)
{
	unregister_die_notifier(&trap_block);
}
module_exit(within_exit);

MODULE_DESCRIPTION("Ringlet lab 6: the platform from within");
MODULE_LICENSE("GPL");
