// SPDX-License-Identifier: GPL-2.0
/*
 * CPUID as the guest kernel sees it (chapter 6): the machine's own, less what
 * ring 1 or this platform does not have. Programs in ring 3 see the machine's;
 * CPUID cannot be trapped there.
 */
#include <linux/bits.h>
#include <asm/fpu/xcr.h>
#include <asm/processor.h>
#include <asm/ringlet.h>

enum { EAX, EBX, ECX, EDX };

/* In leaf @leaf (subleaf @sub, or any) clear @clear and set @set in @reg. */
static const struct {
	u32 leaf;
	s32 sub;
	u8 reg;
	u32 clear, set;
} changes[] = {
	/* 1.ecx: MONITOR VMX SMX EST TM2 PDCM x2APIC TSC_DEADLINE; PCID, hypervisor */
	{ 1, -1, ECX, BIT(3) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(15) | BIT(21) | BIT(24),
	  BIT(17) | BIT(31) },
	/* 1.edx: MCE SEP MTRR MCA PSN DS ACPI HT TM PBE; PGE */
	{ 1, -1, EDX, BIT(7) | BIT(11) | BIT(12) | BIT(14) | BIT(18) | BIT(21) |
	  BIT(22) | BIT(28) | BIT(29) | BIT(31), BIT(13) },
	{ 1, -1, EBX, GENMASK(31, 16), 0 },		/* APIC id and count: below */
	{ 4, -1, EAX, GENMASK(31, 14), 0 },		/* caches are shared with nobody */
	{ 5, -1, EAX, ~0U, 0 }, { 5, -1, EBX, ~0U, 0 },
	{ 5, -1, ECX, ~0U, 0 }, { 5, -1, EDX, ~0U, 0 },
	{ 6, -1, EAX, ~0U, 0 }, { 6, -1, ECX, ~0U, 0 },
	/* 7.0.ebx: SGX HLE SMEP INVPCID RTM PQM MPX PQE SMAP PT */
	{ 7, 0, EBX, BIT(2) | BIT(4) | BIT(7) | BIT(10) | BIT(11) | BIT(12) | BIT(14) |
	  BIT(15) | BIT(20) | BIT(25), 0 },
	/* 7.0.ecx: UMIP PKU OSPKE WAITPKG SHSTK TME LA57 RDPID BUS_LOCK ENQCMD SGX_LC PKS */
	{ 7, 0, ECX, BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(7) | BIT(13) | BIT(16) | BIT(22) |
	  BIT(24) | BIT(29) | BIT(30) | BIT(31), 0 },
	/* 7.0.edx: UINTR MD_CLEAR PCONFIG LBR IBT AMX speculation controls */
	{ 7, 0, EDX, BIT(5) | BIT(10) | BIT(18) | BIT(19) | BIT(20) | BIT(22) | BIT(24) |
	  BIT(25) | GENMASK(31, 26), 0 },
	{ 7, 1, EAX, ~0U, 0 }, { 7, 1, EBX, ~0U, 0 }, { 7, 1, ECX, ~0U, 0 }, { 7, 1, EDX, ~0U, 0 },
	{ 7, 2, EDX, ~0U, 0 },
	{ 0xa, -1, EAX, ~0U, 0 }, { 0xa, -1, EBX, ~0U, 0 }, { 0xa, -1, EDX, ~0U, 0 },
	{ 0xb, -1, EAX, ~0U, 0 }, { 0xb, -1, EBX, ~0U, 0 }, { 0xb, -1, ECX, ~0U, 0 },
	{ 0x1f, -1, EAX, ~0U, 0 }, { 0x1f, -1, EBX, ~0U, 0 }, { 0x1f, -1, ECX, ~0U, 0 },
	/* d.1: XSAVEC XSAVES XFD */
	{ 0xd, 1, EAX, BIT(1) | BIT(3) | BIT(4), 0 }, { 0xd, 1, EBX, ~0U, 0 },
	{ 0xd, 1, ECX, ~0U, 0 }, { 0xd, 1, EDX, ~0U, 0 },
	/* 80000001.ecx: CMP SVM EXTAPIC OSVW IBS SKINIT WDT LWP NODEID TOPOEXT PERFCTR MWAITX */
	{ 0x80000001, -1, ECX, BIT(1) | BIT(2) | BIT(3) | BIT(9) | BIT(10) | BIT(12) | BIT(13) |
	  BIT(15) | BIT(19) | BIT(22) | BIT(23) | BIT(24) | BIT(28) | BIT(29), 0 },
	/* 80000001.edx: MCE MTRR MCA GBPAGES RDTSCP */
	{ 0x80000001, -1, EDX, BIT(7) | BIT(12) | BIT(14) | BIT(26) | BIT(27), 0 },
	{ 0x80000007, -1, EDX, ~0U, BIT(8) },		/* invariant TSC */
	{ 0x80000008, -1, EBX, ~0U, 0 }, { 0x80000008, -1, ECX, ~0U, 0 },
	{ 0x8000001d, -1, EAX, GENMASK(25, 14), 0 },
	{ 0x8000001e, -1, EAX, ~0U, 0 }, { 0x8000001e, -1, EBX, ~0U, 0 },
	{ 0x8000001e, -1, ECX, ~0U, 0 },
	{ 0x8000001f, -1, EAX, ~0U, 0 }, { 0x80000021, -1, EAX, ~0U, 0 },
};

/* x87, SSE, AVX and AVX-512, as far as the host has them on */
static u32 xstate_mask(void)
{
	return xgetbv(XCR_XFEATURE_ENABLED_MASK) & 0xe7;
}

/* Leaf 0xd.0 tells the size for the XCR0 in force, which is the host's. */
static u32 xstate_size(void)
{
	u32 size = 512 + 64, mask = xstate_mask(), reg[4];
	int i;

	for (i = 2; i < 8; i++) {
		reg[EAX] = 0xd;
		reg[ECX] = i;
		if (!(mask & BIT(i)))
			continue;
		native_cpuid(&reg[EAX], &reg[EBX], &reg[ECX], &reg[EDX]);
		size = max(size, reg[EAX] + reg[EBX]);
	}
	return size;
}

void ringlet_cpuid(unsigned int *eax, unsigned int *ebx, unsigned int *ecx, unsigned int *edx)
{
	u32 *const reg[4] = { eax, ebx, ecx, edx };
	u32 leaf = *eax, sub = *ecx;
	unsigned int i;

	native_cpuid(eax, ebx, ecx, edx);
	for (i = 0; i < ARRAY_SIZE(changes); i++) {
		if (changes[i].leaf != leaf || (changes[i].sub >= 0 && changes[i].sub != sub))
			continue;
		*reg[changes[i].reg] &= ~changes[i].clear;
		*reg[changes[i].reg] |= changes[i].set;
	}
	if (leaf == 1)
		*ebx |= ringlet_page()->vcpu << 24 | 1 << 16;
	if (leaf == 0xd && sub == 0) {
		*eax = xstate_mask();
		*ebx = *ecx = xstate_size();
		*edx = 0;
	}
	/* Another hypervisor may be below the host; it is none of ours. */
	if (leaf >> 8 == 0x400000)
		*eax = *ebx = *ecx = *edx = 0;
}
