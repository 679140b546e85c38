// SPDX-License-Identifier: GPL-2.0
/*
 * Why the guest stopped, and who deals with it (chapter 2). One row for each
 * vector; a chapter that handles something new adds its row here.
 */
#include <linux/percpu.h>
#include <asm/cpufeature.h>
#if CHAPTER >= 6
#include <asm/debugreg.h>
#endif
#include <asm/irq_vectors.h>
#include <asm/trapnr.h>
#include "ringlet.h"

#if CHAPTER >= 3
/* Taken care of by deliver_host_events() on the way out. */
static enum action exit_host_event(struct ringlet_vcpu *vcpu)
{
	return RESUME;
}
#endif

#if CHAPTER >= 4
static enum action exit_page_fault(struct ringlet_vcpu *vcpu)
{
	return shadow_fault(vcpu, vcpu->host->cr2, vcpu->regs.error);
}
#endif

#if CHAPTER >= 6
static enum action exit_debug(struct ringlet_vcpu *vcpu)
{
	unsigned long dr6;

	get_debugreg(dr6, 6);
	set_debugreg(DR6_RESERVED, 6);
	vcpu->trap->shared.dr6 = dr6;
	return inject_exception(vcpu, X86_TRAP_DB, 0);
}
#endif

/* The exception is the guest's own. */
static enum action exit_reflect(struct ringlet_vcpu *vcpu)
{
#if CHAPTER >= 5
	return inject_exception(vcpu, vcpu->regs.vector, vcpu->regs.error);
#else
	return vcpu_kill(vcpu, "exception %llu, error %#llx", vcpu->regs.vector, vcpu->regs.error);
#endif
}

static enum action exit_double_fault(struct ringlet_vcpu *vcpu)
{
	return vcpu_kill(vcpu, "double fault");
}

static const struct {
	enum action (*handle)(struct ringlet_vcpu *vcpu);
	enum counter counter;
} exits[FIRST_EXTERNAL_VECTOR] = {
	[0 ... FIRST_EXTERNAL_VECTOR - 1] = { exit_reflect, COUNT_EXCEPTION },
	[X86_TRAP_DF] = { exit_double_fault, COUNT_OTHER },
	[RINGLET_VECTOR] = { handle_hypercall, COUNT_HYPERCALL },
#if CHAPTER >= 3
	[X86_TRAP_NMI] = { exit_host_event, COUNT_NMI },
	[X86_TRAP_MC] = { exit_host_event, COUNT_OTHER },
#endif
#if CHAPTER >= 4
	[X86_TRAP_PF] = { exit_page_fault, COUNT_PAGE_FAULT },
#endif
#if CHAPTER >= 6
	[X86_TRAP_DB] = { exit_debug, COUNT_DEBUG },
	[X86_TRAP_GP] = { emulate, COUNT_PROTECTION },
#endif
};

/**
 * handle_exit() - deal with what ended the last guest run
 * @vcpu:	its regs hold the vector
 *
 * Return: what the run loop does next. Context: atomic, interrupts on.
 */
enum action handle_exit(struct ringlet_vcpu *vcpu)
{
	u64 vector = vcpu->regs.vector;

#if CHAPTER >= 3
	if (vector == EXIT_NOTHING)
		return RESUME;
#endif
	vector &= 0xff;
	vcpu->regs.vector = vector;
	if (vector >= FIRST_EXTERNAL_VECTOR) {
		count(COUNT_INTERRUPT);
		return RESUME;
	}
	count(exits[vector].counter);
#if CHAPTER >= 3
	if (vcpu->in_switcher && vector != X86_TRAP_NMI && vector != X86_TRAP_MC)
		return vcpu_kill(vcpu, "fault %llu in the switcher", vector);
#endif
	return exits[vector].handle(vcpu);
}
