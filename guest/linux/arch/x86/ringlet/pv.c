// SPDX-License-Identifier: GPL-2.0
/*
 * pv_ops of the CPU: what the kernel does to the processor it runs on, as
 * hypercalls, as stores into the vCPU page, or not at all (chapter 6).
 */
#include <linux/kernel.h>
#include <asm/debugreg.h>
#include <asm/desc.h>
#include <asm/fsgsbase.h>
#include <asm/idtentry.h>
#include <asm/msr.h>
#include <asm/paravirt.h>
#include <asm/ringlet.h>
#include <asm/traps.h>

#define GUEST_CR0	0x80050033UL

static DEFINE_PER_CPU(unsigned long, debug_registers[8]);

/* Model-specific registers: a few have a meaning here, the rest read as 0. */
static u64 do_read_msr(unsigned int msr, int *error)
{
	switch (msr) {
	case MSR_FS_BASE:
		return rdfsbase();
	case MSR_GS_BASE:
		return rdgsbase();
	case MSR_KERNEL_GS_BASE:
		return ringlet_page()->user_gs;
	case MSR_EFER:
		return EFER_SCE | EFER_LME | EFER_LMA | EFER_NX;
	case MSR_IA32_APICBASE:
		return ringlet_page()->vcpu ? 0 : MSR_IA32_APICBASE_BSP;
	case MSR_IA32_CR_PAT:
		return 0x0007040600070406;	/* power-on value */
	}
	if (error)
		*error = -EIO;
	return 0;
}

static void do_write_msr(unsigned int msr, u64 value, int *error)
{
	switch (msr) {
	case MSR_FS_BASE:
		wrfsbase(value);
		break;
	case MSR_GS_BASE:
		wrgsbase(value);
		ringlet_hypercall(RINGLET_HC_SET_KERNEL_GS, value, 0, 0, 0);
		break;
	case MSR_KERNEL_GS_BASE:
		ringlet_page()->user_gs = value;
		break;
	case MSR_STAR: case MSR_LSTAR: case MSR_CSTAR: case MSR_SYSCALL_MASK:
	case MSR_IA32_SYSENTER_CS: case MSR_IA32_SYSENTER_ESP: case MSR_IA32_SYSENTER_EIP:
	case MSR_EFER: case MSR_TSC_AUX:
		break;				/* the host's, or settled already */
	default:
		if (error)
			*error = -EIO;
	}
}

static u64 ringlet_read_msr(unsigned int msr)
{
	return do_read_msr(msr, NULL);
}

static u64 ringlet_read_msr_safe(unsigned int msr, int *error)
{
	*error = 0;
	return do_read_msr(msr, error);
}

static void ringlet_write_msr(unsigned int msr, unsigned int low, unsigned int high)
{
	do_write_msr(msr, (u64)high << 32 | low, NULL);
}

static int ringlet_write_msr_safe(unsigned int msr, unsigned int low, unsigned int high)
{
	int error = 0;

	do_write_msr(msr, (u64)high << 32 | low, &error);
	return error;
}

static void ringlet_load_idt(const struct desc_ptr *table)
{
	ringlet_hypercall(RINGLET_HC_SET_IDT, table->address, table->size, 0, 0);
}

/*
 * Handlers that native code enters on a stack of their own come in on the task
 * stack here; the platform's entry stubs for that are the ones Xen PV has.
 */
static void ringlet_write_idt_entry(gate_desc *table, int vector, const gate_desc *gate)
{
	static const struct {
		void *native, *ringlet;
	} entries[] = {
		{ asm_exc_debug, asm_xenpv_exc_debug },
		{ asm_exc_nmi, asm_xenpv_exc_nmi },
		{ asm_exc_double_fault, asm_xenpv_exc_double_fault },
	};
	gate_desc copy = *gate;
	unsigned long handler;
	int i;

	for (i = 0; i < ARRAY_SIZE(entries); i++) {
		if (gate_offset(gate) != (unsigned long)entries[i].native)
			continue;
		handler = (unsigned long)entries[i].ringlet;
		copy.offset_low = handler;
		copy.offset_middle = handler >> 16;
		copy.offset_high = handler >> 32;
	}
	native_write_idt_entry(table, vector, &copy);
}

DEFINE_IDTENTRY_RAW(xenpv_exc_debug)
{
	if (user_mode(regs))
		noist_exc_debug(regs);
	else
		exc_debug(regs);
}

DEFINE_IDTENTRY_RAW(xenpv_exc_nmi)
{
	exc_nmi(regs);
}

DEFINE_IDTENTRY_RAW_ERRORCODE(xenpv_exc_double_fault)
{
	exc_double_fault(regs, error_code);
}

static DEFINE_PER_CPU(struct desc_struct, tls_loaded[GDT_ENTRY_TLS_ENTRIES]);

static void ringlet_load_tls(struct thread_struct *thread, unsigned int cpu)
{
	struct desc_struct *loaded = per_cpu(tls_loaded, cpu);
	u64 raw[GDT_ENTRY_TLS_ENTRIES];

	if (!memcmp(loaded, thread->tls_array, sizeof(thread->tls_array)))
		return;
	memcpy(loaded, thread->tls_array, sizeof(thread->tls_array));
	memcpy(raw, thread->tls_array, sizeof(raw));
	ringlet_hypercall(RINGLET_HC_LOAD_TLS, raw[0], raw[1], raw[2], 0);
}

/* GDTs are memory that no CPU looks at, but for the CPU number in entry 15. */
static void ringlet_write_gdt_entry(struct desc_struct *table, int entry, const void *desc,
				    int type)
{
	native_write_gdt_entry(table, entry, desc, type);
	if (entry == GDT_ENTRY_CPUNODE)
		ringlet_hypercall(RINGLET_HC_SET_CPU_NUMBER, get_desc_limit(desc), 0, 0, 0);
}

/* Loading %gs replaces its base: put the kernel's back, keep ring 3's. */
static void ringlet_load_gs_index(unsigned int selector)
{
	unsigned long flags, kernel_gs;

	local_irq_save(flags);
	kernel_gs = rdgsbase();
	asm volatile("1: movl %k0, %%gs\n"
		     _ASM_EXTABLE_TYPE_REG(1b, 1b, EX_TYPE_ZERO_REG, %k0)
		     : "+r" (selector) :: "memory");
	ringlet_page()->user_gs = rdgsbase();
	wrgsbase(kernel_gs);
	local_irq_restore(flags);
}

static void ringlet_load_sp0(unsigned long sp0)
{
	ringlet_page()->sp0 = sp0;
}

/* No hardware breakpoints: the registers remember, nothing triggers. */
static unsigned long ringlet_get_debugreg(int reg)
{
	return reg == 6 ? ringlet_page()->dr6 : this_cpu_read(debug_registers[reg]);
}

static void ringlet_set_debugreg(int reg, unsigned long value)
{
	if (reg == 6)
		ringlet_page()->dr6 = value;
	else
		this_cpu_write(debug_registers[reg], value);
}

static unsigned long ringlet_read_cr0(void)	{ return GUEST_CR0; }
static void ringlet_write_cr0(unsigned long value) { }
static void ringlet_write_cr4(unsigned long value) { }
static void ringlet_wbinvd(void) { }
static void ringlet_io_delay(void) { }
static u64 ringlet_read_pmc(int counter)	{ return 0; }
static unsigned long ringlet_store_tr(void)	{ return 0; }
static void ringlet_load_gdt(const struct desc_ptr *table) { }
static void ringlet_load_tr(void) { }
static void ringlet_set_ldt(const void *table, unsigned int entries) { }

static void ringlet_safe_halt(void)
{
	ringlet_hypercall(RINGLET_HC_HALT, 0, 0, 0, 0);
}

/* With interrupts off and nothing to come, this vCPU is done. */
static void ringlet_halt(void)
{
	for (;;)
		ringlet_hypercall(RINGLET_HC_HALT, 0, 0, 0, 0);
}

void __init ringlet_init_pv(void)
{
	pv_info.name = "Ringlet";
	pv_info.extra_user_64bit_cs = __USER_CS;

	pv_ops.cpu.cpuid = ringlet_cpuid;
	pv_ops.cpu.read_msr = ringlet_read_msr;
	pv_ops.cpu.read_msr_safe = ringlet_read_msr_safe;
	pv_ops.cpu.write_msr = ringlet_write_msr;
	pv_ops.cpu.write_msr_safe = ringlet_write_msr_safe;
	pv_ops.cpu.read_pmc = ringlet_read_pmc;
	pv_ops.cpu.get_debugreg = ringlet_get_debugreg;
	pv_ops.cpu.set_debugreg = ringlet_set_debugreg;
	pv_ops.cpu.read_cr0 = ringlet_read_cr0;
	pv_ops.cpu.write_cr0 = ringlet_write_cr0;
	pv_ops.cpu.write_cr4 = ringlet_write_cr4;
	pv_ops.cpu.wbinvd = ringlet_wbinvd;
	pv_ops.cpu.io_delay = ringlet_io_delay;
	pv_ops.cpu.load_idt = ringlet_load_idt;
	pv_ops.cpu.write_idt_entry = ringlet_write_idt_entry;
	pv_ops.cpu.load_gdt = ringlet_load_gdt;
	pv_ops.cpu.write_gdt_entry = ringlet_write_gdt_entry;
	pv_ops.cpu.load_tr_desc = ringlet_load_tr;
	pv_ops.cpu.store_tr = ringlet_store_tr;
	pv_ops.cpu.set_ldt = ringlet_set_ldt;
	pv_ops.cpu.load_tls = ringlet_load_tls;
	pv_ops.cpu.load_gs_index = ringlet_load_gs_index;
	pv_ops.cpu.load_sp0 = ringlet_load_sp0;

	pv_ops.irq.save_fl = __PV_IS_CALLEE_SAVE(ringlet_save_fl);
	pv_ops.irq.irq_disable = __PV_IS_CALLEE_SAVE(ringlet_irq_disable);
	pv_ops.irq.irq_enable = __PV_IS_CALLEE_SAVE(ringlet_irq_enable);
	pv_ops.irq.safe_halt = ringlet_safe_halt;
	pv_ops.irq.halt = ringlet_halt;
}
