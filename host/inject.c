// SPDX-License-Identifier: GPL-2.0
/*
 * Events for the guest (chapter 5; returns and restarts: 6): build on its
 * kernel stack the frame that hardware would have built (SDM 3A 6.14), and go
 * on at its handler.
 *
 * The guest's IDT is read at each event. A frame shows ring 1 as Linux expects
 * its kernel to be seen, with __KERNEL_CS and __KERNEL_DS; the guest's own
 * return path turns them back.
 */
#include <linux/bitops.h>
#include <linux/mm.h>
#include <asm/desc.h>
#include <asm/irq_vectors.h>
#include <asm/segment.h>
#include <asm/trapnr.h>
#include "ringlet.h"
#include "trace.h"

#if CHAPTER >= 6
#define PT_REGS_SIZE	(21 * sizeof(u64))
#endif

/* Exceptions that push an error code (SDM 3A table 6-1). */
static inline bool has_error(unsigned int vector)
{
	return vector < 32 && BIT(vector) & (BIT(X86_TRAP_DF) | BIT(X86_TRAP_TS) |
		BIT(X86_TRAP_NP) | BIT(X86_TRAP_SS) | BIT(X86_TRAP_GP) |
		BIT(X86_TRAP_PF) | BIT(X86_TRAP_AC));
}

/* Read the gate of @vector out of the guest's IDT. False: it has none that is good. */
static bool read_gate(struct ringlet_vcpu *vcpu, unsigned int vector, gate_desc *gate)
{
#if SOLUTION >= 502
	u64 offset = vector * sizeof(*gate);

	return offset + sizeof(*gate) - 1 <= vcpu->idt_limit &&
	       !guest_read(vcpu, vcpu->idt_gva + offset, gate, sizeof(*gate)) &&
	       gate->bits.p && is_canonical(gate_offset(gate));
#else
	EXERCISE("5.2");
	return false;
#endif
}

/*
 * Push what hardware would push: ss, rsp, rflags, cs, rip, and the error code of
 * an exception that has one. The guest's IF is the virtual one.
 */
static enum action push_frame(struct ringlet_vcpu *vcpu, unsigned int vector, u64 error)
{
#if SOLUTION >= 503
	struct ringlet_vcpu_page *page = &vcpu->trap->shared;
	struct switcher_frame *regs = &vcpu->regs;
	bool user = in_user_mode(vcpu);	/* from chapter 6 on */
	u64 flags = regs->rflags & ~X86_EFLAGS_IF;
	u64 frame[6], rsp = regs->rsp;
	int words = has_error(vector) ? 6 : 5;

	/* Ring 3 can always be interrupted. */
	flags |= user || page->interrupts ? X86_EFLAGS_IF : 0;
	frame[0] = error;
	frame[1] = regs->rip;
	frame[2] = user ? regs->cs : __KERNEL_CS;
	frame[3] = flags;
	frame[4] = regs->rsp;
	frame[5] = user ? regs->ss : __KERNEL_DS;
#if CHAPTER >= 6
	if (user)
		rsp = page->sp0;
#endif
	rsp = (rsp & ~15ULL) - words * sizeof(u64);
	if (guest_write(vcpu, rsp, frame + 6 - words, words * sizeof(u64)))
		return vcpu_kill(vcpu, "exception %u at %#llx and no stack at %#llx",
				 vector, regs->rip, rsp);
	regs->rsp = rsp;
	return RESUME;
#else
	/* Exercise 5.3: where there is no memory for it, end the guest with vcpu_kill(). */
	EXERCISE("5.3");
	return TO_LAUNCHER;
#endif
}

/* Build the frame and enter the handler. */
static enum action deliver(struct ringlet_vcpu *vcpu, unsigned int vector, u64 error)
{
	struct ringlet_vcpu_page *page = &vcpu->trap->shared;
	struct switcher_frame *regs = &vcpu->regs;
	u64 interrupted = regs->rip;
	gate_desc gate;

	if (!read_gate(vcpu, vector, &gate))
		return vcpu_kill(vcpu, "exception %u (error %#llx) at %#llx and no handler for it",
				 vector, error, regs->rip);
	if (push_frame(vcpu, vector, error) != RESUME)
		return TO_LAUNCHER;

	trace_ringlet_inject(vcpu->id, vector, error, interrupted);
	count(COUNT_INJECT);
#if CHAPTER >= 6
	if (in_user_mode(vcpu)) {
		page->user_gs = vcpu->host->guest_gs;
		vcpu->host->guest_gs = vcpu->tables->kernel_gs;
	}
#endif
#if SOLUTION >= 503
	if (gate.bits.type == GATE_INTERRUPT)
		page->interrupts = 0;
#else
	page->interrupts = 0;	/* Exercise 5.3, too: for which type of gate? */
#endif
	regs->rip = gate_offset(&gate);
	regs->cs = RINGLET_KERNEL_CS;
	regs->rflags &= ~(X86_EFLAGS_TF | X86_EFLAGS_NT | X86_EFLAGS_RF | X86_EFLAGS_AC);
	return RESUME;
}

#if CHAPTER >= 6
/*
 * The guest's own iretq to ring 3 faulted on a bad frame (sigreturn can make
 * one). Hardware reports that with the frame's values; so do we, and Linux sees
 * a fault of the user.
 */
static enum action fault_in_user_return(struct ringlet_vcpu *vcpu, unsigned int vector,
					u64 error)
{
	u64 frame[5];

	if (guest_read(vcpu, vcpu->regs.rsp, frame, sizeof(frame)))
		return vcpu_kill(vcpu, "no iret frame at %#llx", vcpu->regs.rsp);
	vcpu->regs.rip = frame[0];
	vcpu->regs.cs = frame[1] | 3;
	vcpu->regs.rflags = frame[2];
	vcpu->regs.rsp = frame[3];
	vcpu->regs.ss = frame[4] | 3;
	return deliver(vcpu, vector, error);
}
#endif

/**
 * inject_exception() - the guest gets an exception
 * @vcpu:	stopped where it happened
 * @vector:	below 32
 * @error:	its error code, if it has one
 */
enum action inject_exception(struct ringlet_vcpu *vcpu, unsigned int vector, u64 error)
{
#if CHAPTER >= 6
	u64 iretq = vcpu->entries.user_return_end - 2;

	if (!in_user_mode(vcpu) && vcpu->entries.user_return_end && vcpu->regs.rip == iretq)
		return fault_in_user_return(vcpu, vector, error);
#endif
	return deliver(vcpu, vector, error);
}

/**
 * inject_page_fault() - the guest's own tables refused an access
 * @vcpu:	the vCPU
 * @gva:	for its CR2
 * @error:	error code
 */
enum action inject_page_fault(struct ringlet_vcpu *vcpu, u64 gva, u64 error)
{
	vcpu->trap->shared.cr2 = gva;
	return deliver(vcpu, X86_TRAP_PF, error);
}

/**
 * interrupt_raise() - make an interrupt pending
 * @vcpu:	for this vCPU
 * @vector:	32-255
 *
 * Context: any.
 */
void interrupt_raise(struct ringlet_vcpu *vcpu, unsigned int vector)
{
	trace_ringlet_interrupt(vcpu->id, vector);
	set_bit(vector, vcpu->interrupts);
	vcpu_kick(vcpu);
}

#if CHAPTER >= 6
static bool inside(u64 rip, u64 start, u64 end)
{
	return rip >= start && rip < end;
}

/*
 * May an interrupt come in now? In the return paths it may not: they have
 * looked at @pending already. Send them back to look again.
 */
static bool interruptible(struct ringlet_vcpu *vcpu)
{
	const struct ringlet_entries *e = &vcpu->entries;
	struct switcher_frame *regs = &vcpu->regs;

	if (in_user_mode(vcpu))
		return true;
	if (inside(regs->rip, e->user_return, e->user_return_end)) {
		regs->rip = e->user_return;
		regs->rsp = vcpu->trap->shared.sp0 - PT_REGS_SIZE;
		return false;
	}
	if (inside(regs->rip, e->kernel_return, e->kernel_return_end)) {
		regs->rip = e->kernel_return;
		return false;
	}
	return vcpu->trap->shared.interrupts;
}
#else
static bool interruptible(const struct ringlet_vcpu *vcpu)
{
	return vcpu->trap->shared.interrupts;
}
#endif

/*
 * Deliver the highest pending interrupt, or tell the guest that there is one:
 * @pending is what it looks at when it sets its virtual IF again.
 */
static enum action deliver_pending(struct ringlet_vcpu *vcpu)
{
#if SOLUTION >= 504
	struct ringlet_vcpu_page *page = &vcpu->trap->shared;
	unsigned int vector = find_last_bit(vcpu->interrupts, 256);
	enum action action;

	page->pending = vector < 256;
	if (vector == 256 || !interruptible(vcpu))
		return RESUME;
	clear_bit(vector, vcpu->interrupts);
	action = deliver(vcpu, vector, 0);
	page->pending = !bitmap_empty(vcpu->interrupts, 256);
	return action;
#else
	if (!bitmap_empty(vcpu->interrupts, 256) && interruptible(vcpu))
		EXERCISE("5.4");
	return RESUME;
#endif
}

/**
 * inject_interrupts() - deliver the highest pending interrupt, if it can be
 * @vcpu:	about to enter
 *
 * Return: RESUME, or TO_LAUNCHER if the guest cannot take it.
 * Context: interrupts off.
 */
enum action inject_interrupts(struct ringlet_vcpu *vcpu)
{
	/*
	 * SDM 3A 6.14: a non-canonical rip is a fault of the next instruction,
	 * and our iretq must not be the one to meet it.
	 */
	if (!is_canonical(vcpu->regs.rip)) {
		enum action action = deliver(vcpu, X86_TRAP_GP, 0);

		if (action != RESUME)
			return action;
	}
	return deliver_pending(vcpu);
}

#if CHAPTER >= 6
/**
 * return_to_user() - do for the guest what its iretq to ring 3 would do
 * @vcpu:	general registers and GS base are ring 3's already
 * @frame:	rip, cs, rflags, rsp, ss
 */
enum action return_to_user(struct ringlet_vcpu *vcpu, const u64 frame[5])
{
	struct switcher_frame *regs = &vcpu->regs;

	regs->rip = frame[0];
	regs->cs = frame[1] | 3;
	regs->rflags = frame[2];
	regs->rsp = frame[3];
	regs->ss = frame[4] | 3;
	if (frame[1] != __USER_CS || frame[4] != __USER_DS || !is_canonical(frame[0]))
		return deliver(vcpu, X86_TRAP_GP, 0);
	return RESUME;
}

/**
 * return_to_kernel() - the same for an iretq to ring 1
 * @vcpu:	general registers are restored
 * @frame:	rip, cs, rflags, rsp, ss
 */
enum action return_to_kernel(struct ringlet_vcpu *vcpu, const u64 frame[5])
{
	struct switcher_frame *regs = &vcpu->regs;

	if (!is_canonical(frame[0]))
		return vcpu_kill(vcpu, "iret to %#llx in ring 1", frame[0]);
	regs->rip = frame[0];
	regs->rflags = frame[2];
	regs->rsp = frame[3];
	vcpu->trap->shared.interrupts = frame[2] & X86_EFLAGS_IF;
	return RESUME;
}
#endif
