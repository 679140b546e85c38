// SPDX-License-Identifier: GPL-2.0
/*
 * Can this machine be a host? (chapter 1) A table of what would break ring 1
 * or the world switch; main.c refuses to load with the first row that applies.
 */
#define pr_fmt(fmt) "ringlet: " fmt
#include <linux/cc_platform.h>
#include <linux/printk.h>
#include <asm/cpufeature.h>
#include <asm/special_insns.h>
#include "ringlet.h"

#define CR4_LASS	BIT_ULL(27)
#define CR4_FRED	BIT_ULL(32)

static unsigned long read_cr4(void)
{
	unsigned long value;

	asm volatile("mov %%cr4, %0" : "=r" (value));
	return value;
}

static bool no_fsgsbase(void)	{ return !(read_cr4() & X86_CR4_FSGSBASE); }
static bool no_nx(void)		{ return !boot_cpu_has(X86_FEATURE_NX); }
static bool xen_pv(void)	{ return boot_cpu_has(X86_FEATURE_XENPV); }
static bool encrypted(void)	{ return cc_platform_has(CC_ATTR_MEM_ENCRYPT); }
static bool la57(void)		{ return read_cr4() & X86_CR4_LA57; }
static bool lass(void)		{ return read_cr4() & CR4_LASS; }
static bool has_fred(void)		{ return read_cr4() & CR4_FRED; }

static const struct {
	bool (*applies)(void);
	const char *why;
} refusals[] = {
	{ has_fred, "FRED is on and has no ring 1; boot with fred=off" },
	{ xen_pv, "this kernel is itself a Xen PV or Ringlet guest and not in ring 0" },
	{ encrypted, "memory encryption (SME, SEV or TDX) is on; boot with mem_encrypt=off" },
	{ lass, "LASS is on; boot with clearcpuid=lass" },
	{ la57, "5-level page tables are on; boot with no5lvl" },
	{ no_fsgsbase, "the CPU lacks FSGSBASE, or it is off (nofsgsbase)" },
	{ no_nx, "the CPU lacks NX, or it is off (noexec=off)" },
};

/**
 * check_host() - refuse machines on which the switcher would not be safe
 *
 * Return: 0, or -ENODEV after one line in the log that says why.
 */
int check_host(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(refusals); i++) {
		if (!refusals[i].applies())
			continue;
		pr_err("not on this host: %s\n", refusals[i].why);
		return -ENODEV;
	}
	return 0;
}
