// SPDX-License-Identifier: GPL-2.0
/*
 * Privileged instructions that Linux executes outside its pv_ops, few and rare
 * (chapter 6). In ring 1 they are #GP; a table says what each becomes. What is
 * not in the table is the guest's fault, as on hardware.
 */
#include <linux/types.h>
#include <asm/fpu/xcr.h>
#include <asm/trapnr.h>
#include "ringlet.h"

#define MAX_INSTRUCTION	15

/* What the guest kernel reads where it asks the CPU itself. */
#define GUEST_CR0	0x80050033ULL
#define GUEST_CR4	(X86_CR4_PSE | X86_CR4_PAE | X86_CR4_PGE)

/* Bytes are @opcode under @mask after prefixes; @skip more follow it. */
struct instruction {
	u32 opcode, mask;
	u8 length;		/* of the opcode with ModRM and immediates */
	bool (*run)(struct ringlet_vcpu *vcpu, const u8 *bytes);
};

static bool run_nop(struct ringlet_vcpu *vcpu, const u8 *bytes)
{
	return true;
}

/* No device answers: all ones, as on an empty bus. */
static bool run_in8(struct ringlet_vcpu *vcpu, const u8 *bytes)
{
	vcpu->regs.rax |= 0xff;
	return true;
}

static bool run_in32(struct ringlet_vcpu *vcpu, const u8 *bytes)
{
	vcpu->regs.rax = U32_MAX;
	return true;
}

static bool run_halt(struct ringlet_vcpu *vcpu, const u8 *bytes)
{
	vcpu->halted = true;
	return true;
}

/* The register in the r/m field; REX.B picks the upper eight. */
static u64 *gpr(struct ringlet_vcpu *vcpu, u8 modrm, bool rex_b)
{
	struct switcher_frame *r = &vcpu->regs;
	u64 *const table[16] = {
		&r->rax, &r->rcx, &r->rdx, &r->rbx, &r->rsp, &r->rbp, &r->rsi, &r->rdi,
		&r->r8, &r->r9, &r->r10, &r->r11, &r->r12, &r->r13, &r->r14, &r->r15,
	};

	return table[(modrm & 7) | rex_b << 3];
}

static bool run_read_cr(struct ringlet_vcpu *vcpu, const u8 *bytes)
{
	u64 *reg = gpr(vcpu, bytes[2], bytes[-1] == 0x41);

	switch (bytes[2] >> 3 & 7) {
	case 0:
		*reg = GUEST_CR0;
		return true;
	case 2:
		*reg = vcpu->trap->shared.cr2;
		return true;
	case 3:
		*reg = vcpu->shadow.guest_cr3;
		return true;
	case 4:
		*reg = GUEST_CR4;
		return true;
	}
	return false;
}

/* CR0 and CR4 stay as they are; CR3 goes through the hypercall. */
static bool run_write_cr(struct ringlet_vcpu *vcpu, const u8 *bytes)
{
	u8 cr = bytes[2] >> 3 & 7;

	return cr == 0 || cr == 4;
}

/*
 * The guest lives with the host's XCR0: its programs see that by CPUID and
 * XGETBV anyway, and the host saves all of it. A subset is as good as granted.
 */
static bool run_xsetbv(struct ringlet_vcpu *vcpu, const u8 *bytes)
{
	u64 value = vcpu->regs.rdx << 32 | (u32)vcpu->regs.rax;

	return !(u32)vcpu->regs.rcx && value & 1 && !(value & ~xgetbv(XCR_XFEATURE_ENABLED_MASK));
}

static const struct instruction instructions[] = {
	{ 0x0000e4, 0x0000ff, 2, run_in8 },		/* in imm8, al */
	{ 0x0000e5, 0x0000ff, 2, run_in32 },
	{ 0x0000e6, 0x0000fe, 2, run_nop },		/* out imm8 */
	{ 0x0000ec, 0x0000ff, 1, run_in8 },		/* in dx, al */
	{ 0x0000ed, 0x0000ff, 1, run_in32 },
	{ 0x0000ee, 0x0000fe, 1, run_nop },		/* out dx */
	{ 0x0000f4, 0x0000ff, 1, run_halt },
	{ 0x0000fa, 0x0000fe, 1, run_nop },		/* cli, sti: POPF could not undo them */
	{ 0x00060f, 0x00ffff, 2, run_nop },		/* clts */
	{ 0x00090f, 0x00ffff, 2, run_nop },		/* wbinvd */
	{ 0xc0200f, 0xc0ffff, 3, run_read_cr },
	{ 0xc0220f, 0xc0ffff, 3, run_write_cr },
	{ 0xd1010f, 0xffffff, 3, run_xsetbv },
};

/* How many prefix bytes: operand size and REX are all that Linux uses here. */
static int prefixes(const u8 *bytes)
{
	int i = 0;

	while (i < 3 && (bytes[i] == 0x66 || (bytes[i] & 0xf0) == 0x40))
		i++;
	return i;
}

/**
 * emulate() - #GP
 * @vcpu:	where it happened
 *
 * Return: RESUME behind the instruction, or with the guest's own #GP.
 */
enum action emulate(struct ringlet_vcpu *vcpu)
{
	u8 buffer[1 + MAX_INSTRUCTION] = {}, *bytes = buffer + 1;
	unsigned int i;
	u32 opcode;

	if (in_user_mode(vcpu) || vcpu->regs.error ||
	    guest_read(vcpu, vcpu->regs.rip, bytes, 6))
		goto fault;
	bytes += prefixes(bytes);
	opcode = bytes[0] | bytes[1] << 8 | bytes[2] << 16;
	for (i = 0; i < ARRAY_SIZE(instructions); i++) {
		const struct instruction *insn = &instructions[i];

		if ((opcode & insn->mask) != insn->opcode)
			continue;
		if (!insn->run(vcpu, bytes))
			break;
		vcpu->regs.rip += bytes - (buffer + 1) + insn->length;
		return RESUME;
	}
fault:
	return inject_exception(vcpu, X86_TRAP_GP, vcpu->regs.error);
}
