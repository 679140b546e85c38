// SPDX-License-Identifier: GPL-2.0
/*
 * pv_ops of the MMU (chapter 6; ringlet_fill: 12). Page tables themselves are
 * ordinary memory: the host reads them when the shadow lacks something. So only
 * CR2, CR3 and what flushes a TLB needs a word with it.
 */
#include <linux/mm.h>
#include <asm/paravirt.h>
#include <asm/ringlet.h>
#include <asm/tlbflush.h>
#include <asm/trap_pf.h>

static DEFINE_PER_CPU(unsigned long, current_cr3);

static unsigned long ringlet_read_cr3(void)
{
	return this_cpu_read(current_cr3);
}

/* The switcher itself loads a CR3 whose shadow is cached (bit 63). */
void ringlet_write_cr3(unsigned long cr3)
{
	this_cpu_write(current_cr3, cr3 & ~X86_CR3_PCID_NOFLUSH);
	ringlet_hypercall(RINGLET_HC_LOAD_CR3, cr3, 0, 0, 0);
}

static void ringlet_write_cr2(unsigned long cr2)
{
	ringlet_page()->cr2 = cr2;
}

static void ringlet_flush_tlb_user(void)
{
	ringlet_hypercall(RINGLET_HC_FLUSH_USER, 0, 0, 0, 0);
}

static void ringlet_flush_tlb_kernel(void)
{
	ringlet_hypercall(RINGLET_HC_FLUSH_ALL, 0, 0, 0, 0);
}

static void ringlet_flush_tlb_one_user(unsigned long address)
{
	ringlet_hypercall(RINGLET_HC_FLUSH_PAGE, address, 0, 0, 0);
}

#if CHAPTER >= 12
/**
 * ringlet_fill() - a page fault of ring 3: is it only the shadow's?
 * @address:	CR2
 * @error:	page fault error code, as the shadow tables gave it
 *
 * Called from the entry code before anything knows that the kernel is entered.
 *
 * Return: 0 if the page is there now, else the error code that our own tables
 * give. Its PF_PROT matters: Linux takes a fetch without it for a page to bring
 * in, and would do so for ever if the page is there and not executable.
 */
noinstr unsigned long ringlet_fill(unsigned long address, unsigned long error)
{
	unsigned long table = __this_cpu_read(current_cr3), entry, rights = ~0UL;
	int shift;

	if (address >= TASK_SIZE_MAX)
		return error;
	for (shift = PGDIR_SHIFT; ; shift -= 9) {
		entry = ((unsigned long *)__va(table & PTE_PFN_MASK))[address >> shift & 511];
		rights &= entry ^ _PAGE_NX;
		if (!(entry & _PAGE_PRESENT))
			return error & ~X86_PF_PROT;
		if (shift == PAGE_SHIFT || entry & _PAGE_PSE)
			break;
		table = entry;
	}
	if (!(rights & _PAGE_USER) || (error & X86_PF_WRITE && !(rights & _PAGE_RW)) ||
	    (error & X86_PF_INSTR && !(rights & _PAGE_NX)))
		return error | X86_PF_PROT;
	return ringlet_hypercall(RINGLET_HC_FILL, address, error, 0, 0) ? error : 0;
}
#endif

void __init ringlet_init_mmu(void)
{
	this_cpu_write(current_cr3, __pa_symbol(early_top_pgt));
	pv_ops.mmu.read_cr2 = __PV_IS_CALLEE_SAVE(ringlet_read_cr2);
	pv_ops.mmu.write_cr2 = ringlet_write_cr2;
	pv_ops.mmu.read_cr3 = ringlet_read_cr3;
	pv_ops.mmu.write_cr3 = ringlet_write_cr3;
	pv_ops.mmu.flush_tlb_user = ringlet_flush_tlb_user;
	pv_ops.mmu.flush_tlb_kernel = ringlet_flush_tlb_kernel;
	pv_ops.mmu.flush_tlb_one_user = ringlet_flush_tlb_one_user;
}
