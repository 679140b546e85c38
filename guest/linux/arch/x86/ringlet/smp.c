// SPDX-License-Identifier: GPL-2.0
/*
 * More than one vCPU (chapter 14). The guest sends its own TLB shootdowns and
 * reschedules, as on hardware; all it needs besides its "APIC" is a way to start
 * a vCPU.
 */
#include <linux/cpu.h>
#include <linux/sched/task_stack.h>
#include <linux/smp.h>
#include <asm/apic.h>
#include <asm/cpu.h>
#include <asm/fpu/api.h>
#include <asm/io_apic.h>
#include <asm/mpspec.h>
#include <asm/ringlet.h>
#include <asm/smp.h>
#include <asm/spec-ctrl.h>
#include <asm/tlbflush.h>

/* First C code of a secondary vCPU: what start_secondary() does, less a PC. */
asmlinkage __visible void ringlet_secondary(void)
{
	unsigned int cpu = raw_smp_processor_id();

	ringlet_set_entries();
	ringlet_write_cr3(__pa_symbol(swapper_pg_dir));
	cpu_init_exception_handling(false);
	cr4_init();
	cpuhp_ap_sync_alive();
	cpu_init();
	fpu__init_cpu();
	ringlet_percpu_vectors(cpu);
	smp_store_cpu_info(cpu);
	set_cpu_sibling_map(cpu);
	speculative_store_bypass_ht_init();
	ringlet_start_timer();
	notify_cpu_starting(cpu);
	set_cpu_online(cpu, true);
	local_irq_enable();
	cpu_startup_entry(CPUHP_AP_ONLINE_IDLE);
}

static int kick_ap_alive(unsigned int cpu, struct task_struct *idle)
{
	/* Bring-up is one at a time; the host reads this from one page. */
	static struct ringlet_start start __aligned(64);
	int ret = common_cpu_up(cpu, idle);

	if (ret)
		return ret;
	start = (struct ringlet_start) {
		.rip = (unsigned long)ringlet_start_secondary,
		.rsp = (unsigned long)task_pt_regs(idle),
		.cr3 = __pa_symbol(swapper_pg_dir),
		.gs = per_cpu_offset(cpu),
	};
	return ringlet_hypercall(RINGLET_HC_START_VCPU, cpu, __pa_symbol(&start), 0, 0);
}

static int cpu_disable(void)
{
	return -EOPNOTSUPP;
}

void __init ringlet_init_smp(void)
{
	x86_cpuinit.parallel_bringup = false;
	smp_ops.kick_ap_alive = kick_ap_alive;
	smp_ops.cpu_disable = cpu_disable;
}
