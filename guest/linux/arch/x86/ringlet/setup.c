// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's first C code, and what a PC would have that this machine has not
 * (chapter 6).
 */
#include <linux/kernel.h>
#include <linux/panic_notifier.h>
#include <linux/pgtable.h>
#include <linux/pm.h>
#include <linux/reboot.h>
#include <linux/sched/task_stack.h>
#include <asm/acpi.h>
#include <asm/desc.h>
#include <asm/i8259.h>
#include <asm/io_apic.h>
#include <asm/paravirt.h>
#include <asm/pci_x86.h>
#include <asm/reboot.h>
#include <asm/ringlet.h>
#include <asm/setup.h>
#include <asm/text-patching.h>

static bool is_guest __ro_after_init;

/*
 * In the kernel's image, so that its gpa is known before there is a memory map;
 * aligned, because the host reads it from one page.
 */
static struct ringlet_entries entries __ro_after_init __aligned(64);

/* Tell the host where it enters this vCPU's kernel. */
void ringlet_set_entries(void)
{
	ringlet_hypercall(RINGLET_HC_SET_ENTRIES, __pa_symbol(&entries), 0, 0, 0);
}

static void __noreturn ringlet_shutdown(unsigned long why)
{
	for (;;)
		ringlet_hypercall(RINGLET_HC_SHUTDOWN, why, 0, 0, 0);
}

static void ringlet_power_off(void)
{
	ringlet_shutdown(RINGLET_SHUTDOWN_POWEROFF);
}

static void ringlet_restart(char *unused)
{
	ringlet_shutdown(RINGLET_SHUTDOWN_REBOOT);
}

static void ringlet_emergency_restart(void)
{
	ringlet_shutdown(RINGLET_SHUTDOWN_REBOOT);
}

static void ringlet_no_shutdown(void) { }

static int ringlet_panic(struct notifier_block *block, unsigned long unused, void *message)
{
	ringlet_hypercall(RINGLET_HC_SHUTDOWN, RINGLET_SHUTDOWN_PANIC, __pa(message),
			  strlen(message), 0);
	return NOTIFY_DONE;
}

static struct notifier_block panic_block = {
	.notifier_call = ringlet_panic,
	.priority = INT_MIN,
};

static void __init ringlet_legacy_features(void)
{
	x86_platform.legacy.rtc = 0;
	x86_platform.legacy.i8042 = X86_LEGACY_I8042_PLATFORM_ABSENT;
	x86_platform.legacy.warm_reset = 0;
	x86_platform.legacy.reserve_bios_regions = 0;
	x86_platform.legacy.devices.pnpbios = 0;
}

static int __init ringlet_pci_init(void)
{
	return 0;		/* done: there is no PCI */
}

static void __init ringlet_arch_setup(void)
{
	disable_acpi();
	ringlet_init_apic();
#if CHAPTER >= 14
	ringlet_init_smp();
#endif
	atomic_notifier_chain_register(&panic_notifier_list, &panic_block);
}

static void __init ringlet_init_platform(void)
{
	legacy_pic = &null_legacy_pic;
	pci_probe = 0;
	x86_platform.set_legacy_features = ringlet_legacy_features;
	x86_platform.realmode_reserve = x86_init_noop;
	x86_platform.realmode_init = x86_init_noop;
	x86_init.resources.probe_roms = x86_init_noop;
	x86_init.resources.reserve_resources = x86_init_noop;
	x86_init.resources.dmi_setup = x86_init_noop;
	x86_init.oem.arch_setup = ringlet_arch_setup;
	x86_init.pci.arch_init = ringlet_pci_init;
	x86_init.pci.init = ringlet_pci_init;
	machine_ops.restart = ringlet_restart;
	machine_ops.emergency_restart = ringlet_emergency_restart;
	machine_ops.halt = ringlet_power_off;
	pm_power_off = ringlet_power_off;
	machine_ops.shutdown = ringlet_no_shutdown;
}

/* No port answers: keep drivers from asking, each try is an exit. */
static int __init ringlet_reserve_ports(void)
{
	if (is_guest)
		paravirt_disable_iospace();
	return 0;
}
arch_initcall(ringlet_reserve_ports);

#if CHAPTER >= 7
/**
 * ringlet_device_page() - where the device page is
 *
 * Return: its gpa, or 0 if there is none or this is not a guest of Ringlet.
 */
phys_addr_t ringlet_device_page(void)
{
	return is_guest ? ringlet_page()->device_page : 0;
}
EXPORT_SYMBOL_GPL(ringlet_device_page);
#endif

static void __init redirect(u8 *from, u8 *to)
{
	__text_gen_insn(from, JMP32_INSN_OPCODE, from, to, JMP32_INSN_SIZE);
}

/*
 * With one CPU, Linux patches all lock prefixes out, one by one: some thousand
 * CR3 loads at boot to make a few instructions faster. Ask it not to; in front,
 * because what stands behind "--" is for init.
 */
static void __init prepend_option(char *command_line)
{
	static const char option[] __initconst = "noreplace-smp ";
	size_t more = sizeof(option) - 1;
	size_t length = strnlen(command_line, COMMAND_LINE_SIZE - 1 - more);

	memmove(command_line + more, command_line, length);
	memcpy(command_line, option, more);
	command_line[more + length] = '\0';
}

/**
 * ringlet_start_kernel() - first C code of a guest, on early_top_pgt
 * @boot_params_gpa:	what the launcher says about the machine
 */
asmlinkage __visible void __init ringlet_start_kernel(unsigned long boot_params_gpa)
{
	struct boot_params *params;
	char *command_line;

	is_guest = true;
	early_boot_irqs_disabled = true;
	entries = (struct ringlet_entries) {
		.syscall = (unsigned long)ringlet_entry_SYSCALL_64,
		.user_return = (unsigned long)ringlet_user_return,
		.user_return_end = (unsigned long)ringlet_user_return_end,
		.kernel_return = (unsigned long)ringlet_kernel_return,
		.kernel_return_end = (unsigned long)ringlet_kernel_return_end,
#if CHAPTER >= 12
		.user_fault = (unsigned long)ringlet_user_fault,
#endif
	};
	ringlet_set_entries();

	/* Before alternatives run, too, returns to ring 1 must pass through us. */
	redirect(early_xen_iret_patch, xen_iret);
	redirect(this_cpu_cmpxchg16b_emu, ringlet_cmpxchg16b);
	setup_force_cpu_cap(X86_FEATURE_XENPV);

	ringlet_init_pv();
	ringlet_init_mmu();
	ringlet_init_irq();
	ringlet_init_time();
	ringlet_init_platform();

	/* As x86_64_start_kernel() does; early page faults fill the direct map. */
	clear_page(init_top_pgt);
	idt_setup_early_handler();
	init_top_pgt[511] = early_top_pgt[511];
	params = __va(boot_params_gpa);
	command_line = __va(params->hdr.cmd_line_ptr);
	ringlet_init_console(command_line);
	prepend_option(command_line);
	x86_64_start_reservations((char *)boot_params_gpa);
}
