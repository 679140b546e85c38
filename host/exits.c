// SPDX-License-Identifier: GPL-2.0
/*
 * Why the guest stopped, and who deals with it (chapter 2). One row for each
 * vector; a chapter that handles something new adds its row here.
 */
#if CHAPTER == 2
#include <linux/moduleparam.h>
#endif
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

#if CHAPTER == 2
static bool vmcall;
module_param(vmcall, bool, 0444);
MODULE_PARM_DESC(vmcall, "turn VMCALL and VMMCALL of the guest into int $0x1f");

/*
 * The instruction at rip, if it is VMCALL (0f 01 c1) or VMMCALL (0f 01 d9),
 * becomes int $0x1f; nop, as lguest did it from 2.6.30 to 2.6.34. It may lie
 * across two pages, and what is no hypercall may end where memory ends. As long
 * as the guest has no page tables, its gpa is its gva.
 *
 * Return: whether it was one.
 */
static bool rewrite_vmcall(struct ringlet_vcpu *vcpu)
{
#if SOLUTION >= 205
	static const u8 hypercall[] = { 0xcd, RINGLET_VECTOR, 0x90 };
	u8 *bytes[3], found[3];
	u64 gpa;
	int i;

	for (i = 0; i < 3; i++) {
		gpa = vcpu->regs.rip + i;
		bytes[i] = vm_page(vcpu->vm, gpa, true);
		if (!bytes[i])
			return false;
		bytes[i] += offset_in_page(gpa);
		found[i] = READ_ONCE(*bytes[i]);
	}
	if (found[0] != 0x0f || found[1] != 0x01 || (found[2] != 0xc1 && found[2] != 0xd9))
		return false;
	for (i = 0; i < 3; i++)
		WRITE_ONCE(*bytes[i], hypercall[i]);
	return true;
#else
	EXERCISE("2.5");
	return false;
#endif
}

static enum action exit_invalid_opcode(struct ringlet_vcpu *vcpu)
{
	if (vmcall && rewrite_vmcall(vcpu))
		return RESUME;
	return exit_reflect(vcpu);
}
#endif

static const struct {
	enum action (*handle)(struct ringlet_vcpu *vcpu);
	enum counter counter;
} exits[FIRST_EXTERNAL_VECTOR] = {
	[0 ... FIRST_EXTERNAL_VECTOR - 1] = { exit_reflect, COUNT_EXCEPTION },
	[X86_TRAP_DF] = { exit_double_fault, COUNT_OTHER },
#if SOLUTION >= 201
	[RINGLET_VECTOR] = { handle_hypercall, COUNT_HYPERCALL },
#endif
#if CHAPTER == 2
	[X86_TRAP_UD] = { exit_invalid_opcode, COUNT_EXCEPTION },
#endif
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
#if SOLUTION >= 201
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
#else
	/* Exercise 2.1: the push has extended the sign. Count the exit; its row handles it. */
	EXERCISE("2.1");
	return vcpu_kill(vcpu, "nobody handles exit %llu", vector);
#endif
}
