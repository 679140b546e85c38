// SPDX-License-Identifier: GPL-2.0
/*
 * Linux wants an APIC, for ids and for interrupts that a CPU sends to itself or,
 * from chapter 14 on, to others. This is one: a hypercall (chapter 6).
 */
#include <linux/smp.h>
#include <asm/apic.h>
#include <asm/io_apic.h>
#include <asm/mpspec.h>
#include <asm/ringlet.h>
#include <asm/smp.h>
#include <asm/spec-ctrl.h>

static u32 ringlet_apic_read(u32 reg)
{
	return reg == APIC_ID ? ringlet_page()->vcpu : reg == APIC_LVR ? 0x14 : 0;
}

static void ringlet_apic_write(u32 reg, u32 value) { }
static void ringlet_apic_eoi(void) { }
static u32 ringlet_apic_id(u32 value)		{ return value; }
static u64 ringlet_apic_icr_read(void)		{ return 0; }
static void ringlet_apic_icr_write(u32 low, u32 high) { }

static void send_mask(const struct cpumask *mask, int vector)
{
	ringlet_hypercall(RINGLET_HC_SEND_IPI, cpumask_bits(mask)[0], vector, 0, 0);
}

static void send_one(int cpu, int vector)
{
	send_mask(cpumask_of(cpu), vector);
}

static void send_self(int vector)
{
	send_mask(cpumask_of(smp_processor_id()), vector);
}

static void send_all(int vector)
{
	send_mask(cpu_online_mask, vector);
}

static void send_mask_others(const struct cpumask *mask, int vector)
{
	unsigned long others = cpumask_bits(mask)[0] & ~BIT(smp_processor_id());

	ringlet_hypercall(RINGLET_HC_SEND_IPI, others, vector, 0, 0);
}

static void send_others(int vector)
{
	send_mask_others(cpu_online_mask, vector);
}

static struct apic ringlet_apic __ro_after_init = {
	.name = "ringlet",
	.read = ringlet_apic_read,
	.write = ringlet_apic_write,
	.eoi = ringlet_apic_eoi,
	.native_eoi = ringlet_apic_eoi,
	.icr_read = ringlet_apic_icr_read,
	.icr_write = ringlet_apic_icr_write,
	.max_apic_id = 63,
	.get_apic_id = ringlet_apic_id,
	.cpu_present_to_apicid = default_cpu_present_to_apicid,
	.calc_dest_apicid = apic_flat_calc_apicid,
	.send_IPI = send_one,
	.send_IPI_self = send_self,
	.send_IPI_mask = send_mask,
	.send_IPI_mask_allbutself = send_mask_others,
	.send_IPI_allbutself = send_others,
	.send_IPI_all = send_all,
};

static void __init parse_smp_config(void)
{
	u32 id;

	topology_register_boot_apic(0);
	for (id = 0; id < ringlet_page()->vcpus; id++)
		topology_register_apic(id, CPU_ACPIID_INVALID, true);
	smp_found_config = 1;		/* keeps Linux from looking for a real APIC */
}

static void __init prepare_cpus(unsigned int max_cpus)
{
	smp_prepare_cpus_common();
	speculative_store_bypass_ht_init();
}

static void ringlet_stop_other_cpus(int wait)
{
	/* The shutdown hypercall that follows ends all of them. */
}

void __init ringlet_init_apic(void)
{
	apic_install_driver(&ringlet_apic);
	ioapic_is_disabled = true;
	x86_init.mpparse.find_mptable = x86_init_noop;
	x86_init.mpparse.early_parse_smp_cfg = x86_init_noop;
	x86_init.mpparse.parse_smp_cfg = parse_smp_config;
	smp_ops.smp_prepare_cpus = prepare_cpus;
	smp_ops.stop_other_cpus = ringlet_stop_other_cpus;
}
