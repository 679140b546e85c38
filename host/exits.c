// SPDX-License-Identifier: GPL-2.0
/*
 * Why the guest stopped, and who deals with it (chapter 2). One row for each
 * vector; a chapter that handles something new adds its row here.
 */
#include <linux/percpu.h>
#include <asm/cpufeature.h>
#include <asm/debugreg.h>
#include <asm/irq_vectors.h>
#include <asm/trapnr.h>
#include "ringlet.h"

/* Taken care of by deliver_host_events() on the way out. */
static enum action exit_host_event(struct ringlet_vcpu *vcpu)
{
	return RESUME;
}

static enum action exit_page_fault(struct ringlet_vcpu *vcpu)
{
	return shadow_fault(vcpu, vcpu->host->cr2, vcpu->regs.error);
}

static enum action exit_debug(struct ringlet_vcpu *vcpu)
{
	unsigned long dr6;

	get_debugreg(dr6, 6);
	set_debugreg(DR6_RESERVED, 6);
	vcpu->trap->shared.dr6 = dr6;
	return inject_exception(vcpu, X86_TRAP_DB, 0);
}

/* The exception is the guest's own. */
static enum action exit_reflect(struct ringlet_vcpu *vcpu)
{
	return inject_exception(vcpu, vcpu->regs.vector, vcpu->regs.error);
}

static enum action exit_double_fault(struct ringlet_vcpu *vcpu)
{
	return vcpu_kill(vcpu, "double fault");
}

static const struct {
	enum action (*handle)(struct ringlet_vcpu *vcpu);
	enum counter counter;
} exits[FIRST_EXTERNAL_VECTOR] = {
	[0 ... FIRST_EXTERNAL_VECTOR - 1] = { exit_reflect, COUNT_EXCEPTION },	/* 2 */
	[X86_TRAP_DF] = { exit_double_fault, COUNT_OTHER },		/* 2 */
	[RINGLET_VECTOR] = { handle_hypercall, COUNT_HYPERCALL },	/* 2 */
	[X86_TRAP_NMI] = { exit_host_event, COUNT_NMI },		/* 3 */
	[X86_TRAP_MC] = { exit_host_event, COUNT_OTHER },		/* 3 */
	[X86_TRAP_PF] = { exit_page_fault, COUNT_PAGE_FAULT },		/* 4 */
	[X86_TRAP_DB] = { exit_debug, COUNT_DEBUG },			/* 6 */
	[X86_TRAP_GP] = { emulate, COUNT_PROTECTION },			/* 6 */
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

	if (vector == EXIT_NOTHING)
		return RESUME;
	vector &= 0xff;
	vcpu->regs.vector = vector;
	if (vector >= FIRST_EXTERNAL_VECTOR) {
		count(COUNT_INTERRUPT);
		return RESUME;
	}
	count(exits[vector].counter);
	if (vcpu->in_switcher && vector != X86_TRAP_NMI && vector != X86_TRAP_MC)
		return vcpu_kill(vcpu, "fault %llu in the switcher", vector);
	return exits[vector].handle(vcpu);
}
