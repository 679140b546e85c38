// SPDX-License-Identifier: GPL-2.0
/*
 * What the guest can ask for (chapter 2 and on). A row either handles the call
 * here or passes it to the launcher. Arguments are the guest's: each handler
 * checks its own.
 */
#include <linux/mm.h>
#if CHAPTER >= 6
#include <asm/desc.h>
#include <asm/segment.h>
#endif
#include "ringlet.h"
#include "trace.h"

/* Leave @result in rax and go on. */
static enum action done(struct ringlet_vcpu *vcpu, long result)
{
	vcpu->regs.rax = result;
	return RESUME;
}

static enum action hc_launcher(struct ringlet_vcpu *vcpu)
{
#if SOLUTION >= 203
	struct ringlet_run *run = vcpu->run;

	run->exit = RINGLET_EXIT_HYPERCALL;
	run->number = vcpu->regs.rax;
	run->args[0] = vcpu->regs.rbx;
	run->args[1] = vcpu->regs.rcx;
	run->args[2] = vcpu->regs.rdx;
	run->args[3] = vcpu->regs.rsi;
	run->result = -ENOSYS;
	vcpu->complete_hypercall = true;
	return TO_LAUNCHER;
#else
	/* Exercise 2.3: what struct ringlet_run says of a hypercall; and that an answer is due. */
	EXERCISE("2.3");
	return TO_LAUNCHER;
#endif
}

#if CHAPTER >= 3
static enum action hc_halt(struct ringlet_vcpu *vcpu)
{
#if CHAPTER >= 5
	vcpu->trap->shared.interrupts = X86_EFLAGS_IF;
#endif
	vcpu->halted = true;
	return done(vcpu, 0);
}
#endif

#if CHAPTER >= 4
static enum action hc_load_cr3(struct ringlet_vcpu *vcpu)
{
	shadow_load_cr3(vcpu, vcpu->regs.rbx);
	return done(vcpu, 0);
}

static enum action hc_flush_user(struct ringlet_vcpu *vcpu)
{
	shadow_flush_user(vcpu);
	return done(vcpu, 0);
}

static enum action hc_flush_all(struct ringlet_vcpu *vcpu)
{
	shadow_flush_all(vcpu);
	return done(vcpu, 0);
}

static enum action hc_flush_page(struct ringlet_vcpu *vcpu)
{
	shadow_flush_page(vcpu, vcpu->regs.rbx);
	return done(vcpu, 0);
}
#endif

#if CHAPTER >= 5
static enum action hc_set_idt(struct ringlet_vcpu *vcpu)
{
	vcpu->idt_gva = vcpu->regs.rbx;
	vcpu->idt_limit = vcpu->regs.rcx;
	return done(vcpu, 0);
}

/* The way back in looks for pending interrupts anyway. */
static enum action hc_irq_window(struct ringlet_vcpu *vcpu)
{
	return done(vcpu, 0);
}

static enum action hc_set_timer(struct ringlet_vcpu *vcpu)
{
	timer_set(vcpu, vcpu->regs.rbx);
	return done(vcpu, 0);
}
#endif

#if CHAPTER >= 6
static enum action hc_set_entries(struct ringlet_vcpu *vcpu)
{
	struct ringlet_entries entries;

	if (vm_read(vcpu->vm, vcpu->regs.rbx, &entries, sizeof(entries)))
		return done(vcpu, -EFAULT);
	/* The switcher's iretq goes there: a bad one would fault in ring 0. */
	if (!is_canonical(entries.syscall) || !is_canonical(entries.user_return) ||
	    !is_canonical(entries.kernel_return))
		return done(vcpu, -EINVAL);
#if CHAPTER >= 12
	if (!is_canonical(entries.user_fault))
		return done(vcpu, -EINVAL);
	vcpu->tables->user_fault_entry = entries.user_fault;
#endif
	vcpu->entries = entries;
	vcpu->tables->syscall_entry = entries.syscall;
	return done(vcpu, 0);
}

static enum action hc_set_kernel_gs(struct ringlet_vcpu *vcpu)
{
	if (!is_canonical(vcpu->regs.rbx))
		return done(vcpu, -EINVAL);
	vcpu->tables->kernel_gs = vcpu->regs.rbx;
	return done(vcpu, 0);
}

#if SOLUTION >= 1302
/* A data segment for ring 3 and nothing else, or an empty entry. */
static bool good_tls(const struct desc_struct *desc)
{
	return !desc->p || (desc->s && desc->dpl == 3 && !(desc->type & 8) && !desc->l);
}
#endif

static enum action hc_load_tls(struct ringlet_vcpu *vcpu)
{
	u64 raw[] = { vcpu->regs.rbx, vcpu->regs.rcx, vcpu->regs.rdx };
	struct desc_struct tls[ARRAY_SIZE(raw)];

	memcpy(tls, raw, sizeof(tls));
#if SOLUTION >= 1302
	for (int i = 0; i < ARRAY_SIZE(tls); i++) {
		if (!good_tls(&tls[i]))
			return done(vcpu, -EINVAL);
		tls[i].type |= 1;	/* accessed: the CPU must not write the GDT */
	}
#endif
	memcpy(&vcpu->tables->gdt[GDT_ENTRY_TLS_MIN], tls, sizeof(tls));
	return done(vcpu, 0);
}

/* Linux reads its CPU number as the limit of a segment (vdso, LSL). */
static enum action hc_set_cpu_number(struct ringlet_vcpu *vcpu)
{
	struct desc_struct desc = {
		.limit0 = vcpu->regs.rbx, .limit1 = vcpu->regs.rbx >> 16 & 0xf,
		.type = 5, .s = 1, .dpl = 3, .p = 1, .d = 1,
	};

	vcpu->tables->gdt[GDT_ENTRY_CPUNODE] = desc;
	return done(vcpu, 0);
}

static enum action hc_iret_user(struct ringlet_vcpu *vcpu)
{
	/* r15 ... rdi in the order of our frame, orig_ax, then the iret frame */
	u64 pt_regs[21];

	if (guest_read(vcpu, vcpu->regs.rsp, pt_regs, sizeof(pt_regs)))
		return vcpu_kill(vcpu, "no pt_regs at %#llx", vcpu->regs.rsp);
	memcpy(&vcpu->regs, pt_regs, 15 * sizeof(u64));
	vcpu->host->guest_gs = vcpu->trap->shared.user_gs;
	return return_to_user(vcpu, pt_regs + 16);
}

static enum action hc_iret_kernel(struct ringlet_vcpu *vcpu)
{
	u64 frame[6];

	if (guest_read(vcpu, vcpu->regs.rsp - 8, frame, sizeof(frame)))
		return vcpu_kill(vcpu, "no iret frame at %#llx", vcpu->regs.rsp);
	vcpu->regs.rax = frame[0];
	return return_to_kernel(vcpu, frame + 1);
}

static enum action hc_send_ipi(struct ringlet_vcpu *vcpu)
{
	u64 mask = vcpu->regs.rbx, vector = vcpu->regs.rcx;
	unsigned int i;

	if (vector < FIRST_EXTERNAL_VECTOR || vector > 255)
		return done(vcpu, -EINVAL);
	for (i = 0; i < vcpu->vm->nr_vcpus; i++)
		if (mask & BIT_ULL(i))
			interrupt_raise(vcpu->vm->vcpus[i], vector);
	return done(vcpu, 0);
}
#endif

#if CHAPTER >= 9
static enum action hc_notify(struct ringlet_vcpu *vcpu)
{
#if SOLUTION >= 901
	trace_ringlet_notify(vcpu->regs.rbx, vcpu->regs.rcx);
	count(COUNT_NOTIFY);
	if (notify_signal(vcpu->vm, vcpu->regs.rbx, vcpu->regs.rcx))
		return done(vcpu, 0);
	return hc_launcher(vcpu);
#else
	/* Exercise 9.1: count it, trace it; the launcher hears of it one way or the other. */
	EXERCISE("9.1");
	return done(vcpu, -ENOSYS);
#endif
}
#endif

#if CHAPTER >= 12
static enum action hc_fill(struct ringlet_vcpu *vcpu)
{
	struct walk walk;

	return done(vcpu, shadow_map(vcpu, vcpu->regs.rbx, vcpu->regs.rcx, &walk));
}
#endif

#if CHAPTER >= 14
static enum action hc_start_vcpu(struct ringlet_vcpu *vcpu)
{
	u64 id = vcpu->regs.rbx;
	struct ringlet_vcpu *other;
	struct ringlet_start start;

	if (id >= vcpu->vm->nr_vcpus)
		return done(vcpu, -ENODEV);
	if (vm_read(vcpu->vm, vcpu->regs.rcx, &start, sizeof(start)))
		return done(vcpu, -EFAULT);
	if (!is_canonical(start.rip) || !is_canonical(start.gs))
		return done(vcpu, -EINVAL);
	other = vcpu->vm->vcpus[id];
	/* Two starters must not both win. */
	if (cmpxchg(&other->claimed, false, true))
		return done(vcpu, -EEXIST);
	vcpu_start(other, &start);
	return done(vcpu, 0);
}

static enum action hc_route_irq(struct ringlet_vcpu *vcpu)
{
	if (vcpu->regs.rbx >= RINGLET_LINES || vcpu->regs.rcx >= vcpu->vm->nr_vcpus)
		return done(vcpu, -EINVAL);
	WRITE_ONCE(vcpu->vm->line_vcpu[vcpu->regs.rbx], vcpu->regs.rcx);
	return done(vcpu, 0);
}
#endif

static const struct {
	const char *name;
	enum action (*handle)(struct ringlet_vcpu *vcpu);
} hypercalls[RINGLET_HC_COUNT] = {
	[RINGLET_HC_PRINT] = { "print", hc_launcher },
	[RINGLET_HC_SHUTDOWN] = { "shutdown", hc_launcher },
#if CHAPTER >= 3
	[RINGLET_HC_HALT] = { "halt", hc_halt },
#endif
#if CHAPTER >= 4
	[RINGLET_HC_LOAD_CR3] = { "load_cr3", hc_load_cr3 },
	[RINGLET_HC_FLUSH_USER] = { "flush_user", hc_flush_user },
	[RINGLET_HC_FLUSH_ALL] = { "flush_all", hc_flush_all },
	[RINGLET_HC_FLUSH_PAGE] = { "flush_page", hc_flush_page },
#endif
#if CHAPTER >= 5
	[RINGLET_HC_SET_IDT] = { "set_idt", hc_set_idt },
	[RINGLET_HC_IRQ_WINDOW] = { "irq_window", hc_irq_window },
	[RINGLET_HC_SET_TIMER] = { "set_timer", hc_set_timer },
#endif
#if CHAPTER >= 6
	[RINGLET_HC_SET_ENTRIES] = { "set_entries", hc_set_entries },
	[RINGLET_HC_SET_KERNEL_GS] = { "set_kernel_gs", hc_set_kernel_gs },
	[RINGLET_HC_LOAD_TLS] = { "load_tls", hc_load_tls },
	[RINGLET_HC_SET_CPU_NUMBER] = { "set_cpu_number", hc_set_cpu_number },
	[RINGLET_HC_IRET_USER] = { "iret_user", hc_iret_user },
	[RINGLET_HC_IRET_KERNEL] = { "iret_kernel", hc_iret_kernel },
	[RINGLET_HC_SEND_IPI] = { "send_ipi", hc_send_ipi },
#endif
#if CHAPTER >= 7
	[RINGLET_HC_DEVICE_STATUS] = { "device_status", hc_launcher },
	[RINGLET_HC_DEVICE_RESET] = { "device_reset", hc_launcher },
	[RINGLET_HC_DEVICE_FEATURES] = { "device_features", hc_launcher },
	[RINGLET_HC_DEVICE_CONFIG] = { "device_config", hc_launcher },
#endif
#if CHAPTER >= 8
	[RINGLET_HC_DEVICE_QUEUE] = { "device_queue", hc_launcher },
#endif
#if CHAPTER >= 9
	[RINGLET_HC_NOTIFY] = { "notify", hc_notify },
#endif
#if CHAPTER >= 12
	[RINGLET_HC_FILL] = { "fill", hc_fill },
#endif
#if CHAPTER >= 14
	[RINGLET_HC_START_VCPU] = { "start_vcpu", hc_start_vcpu },
	[RINGLET_HC_ROUTE_IRQ] = { "route_irq", hc_route_irq },
#endif
};

/* hypercall_name() - for the counters' file; NULL: no such hypercall */
const char *hypercall_name(unsigned int number)
{
	return hypercalls[number].name;
}

/**
 * handle_hypercall() - int $0x1f from ring 1
 * @vcpu:	rax has the number, rbx rcx rdx rsi the arguments
 *
 * From ring 3 the gate's DPL has refused it already.
 */
enum action handle_hypercall(struct ringlet_vcpu *vcpu)
{
	u64 number = vcpu->regs.rax;

	trace_ringlet_hypercall(vcpu->id, number, vcpu->regs.rbx, vcpu->regs.rcx,
				vcpu->regs.rdx, vcpu->regs.rsi);
#if SOLUTION >= 202
	if (number >= RINGLET_HC_COUNT || !hypercalls[number].handle)
		return done(vcpu, -ENOSYS);
	count(COUNT_HYPERCALLS + number);
	return hypercalls[number].handle(vcpu);
#else
	/* Exercise 2.2: count it under its number; its row handles it. No row: -ENOSYS. */
	EXERCISE("2.2");
	return done(vcpu, -ENOSYS);
#endif
}
