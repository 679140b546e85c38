// SPDX-License-Identifier: GPL-2.0
/*
 * PML4 entry 256: where the switcher lives, in the host and in every guest
 * (chapter 1). Linux leaves this hole for hypervisors.
 *
 * The host side is one set of tables for the whole module, hung into the PML4
 * of each launcher; forked children do not inherit it. The guest side is a set
 * for each vCPU that maps only that vCPU's block, so that no sibling can write
 * its TRAP page in the middle of an exit.
 */
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/vmalloc.h>
#include <asm/desc.h>
#include <asm/tlbflush.h>
#include <asm/trapnr.h>
#include "ringlet.h"

/* 2 MiB under one page table, less the first block: RINGLET_PAGE is there. */
#define BLOCKS		64
#define TEXT_PAGES	((BLOCK_IDT - BLOCK_TEXT) / PAGE_SIZE)
#define PTE_INDEX(block, page)	((block) * (SLOT_BLOCK / PAGE_SIZE) + (page) / PAGE_SIZE)

#define TABLE		(_PAGE_PRESENT | _PAGE_RW | _PAGE_ACCESSED | _PAGE_DIRTY)
#define R_PAGE		(_PAGE_PRESENT | _PAGE_ACCESSED | _PAGE_NX)
#define RW_PAGE		(R_PAGE | _PAGE_RW | _PAGE_DIRTY)
#define X_PAGE		(_PAGE_PRESENT | _PAGE_ACCESSED)

static DEFINE_MUTEX(slot_lock);
static struct ringlet_vcpu *owners[BLOCKS];	/* of the blocks; 0 has none */
static struct page *host_tables[3];	/* levels 3, 2, 1 */
static u64 text[TEXT_PAGES];		/* physical addresses of switcher.S */

static int alloc_tables(struct page *tables[3])
{
	int i;

	for (i = 0; i < 3; i++) {
		tables[i] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!tables[i])
			return -ENOMEM;
		if (i)
			*(u64 *)page_address(tables[i - 1]) = page_to_phys(tables[i]) | TABLE;
	}
	return 0;
}

static void free_tables(struct page *tables[3])
{
	int i;

	for (i = 0; i < 3; i++)
		if (tables[i])
			__free_page(tables[i]);
}

int slot_init(void)
{
	u8 *page = switcher_text;
	int ret = alloc_tables(host_tables), i;

	if (ret)
		free_tables(host_tables);
	for (i = 0; i < TEXT_PAGES; i++, page += PAGE_SIZE)
		text[i] = page_to_phys(vmalloc_to_page(page));
	return ret;
}

void slot_exit(void)
{
	free_tables(host_tables);
}

/* PML4 entry 256 of a launcher. With PTI, mm->pgd is the kernel's half. */
static pgd_t *slot_of(struct mm_struct *mm)
{
	return mm->pgd + SLOT_PML4_INDEX;
}

int slot_attach(struct mm_struct *mm)
{
	int ret = -EBUSY;

	mutex_lock(&slot_lock);
	if (!pgd_val(READ_ONCE(*slot_of(mm)))) {
		WRITE_ONCE(*slot_of(mm), __pgd(page_to_phys(host_tables[0]) | TABLE));
		ret = 0;
	}
	mutex_unlock(&slot_lock);
	return ret;
}

static void flush_this_cpu(void *unused)
{
	__flush_tlb_all();
}

void slot_detach(struct mm_struct *mm)
{
	mutex_lock(&slot_lock);
	WRITE_ONCE(*slot_of(mm), __pgd(0));
	mutex_unlock(&slot_lock);
	/* No CPU may keep a translation through tables that slot_exit() frees. */
	on_each_cpu(flush_this_cpu, NULL, 1);
}

/**
 * slot_address() - where a part of a vCPU's block is mapped, on both sides
 * @vcpu:	the vCPU
 * @offset:	into the block, below SLOT_BLOCK
 */
unsigned long slot_address(const struct ringlet_vcpu *vcpu, unsigned int offset)
{
	return SLOT_BASE + vcpu->block * SLOT_BLOCK + offset;
}

static void set_gate(struct ringlet_vcpu *vcpu, unsigned int vector, void *stub,
		     unsigned int dpl, unsigned int ist)
{
	unsigned long address = slot_address(vcpu, (u8 *)stub - switcher_text);

	vcpu->idt[vector] = (gate_desc) {
		.offset_low = address,
		.offset_middle = address >> 16,
		.offset_high = address >> 32,
		.segment = __KERNEL_CS,
		.bits = { .ist = ist, .type = GATE_INTERRUPT, .dpl = dpl, .p = 1 },
	};
}

/*
 * IST numbers are Linux's own: an NMI that comes while our IDT stands beside
 * the host's TSS, or the other way round, still finds a good stack.
 */
static void fill_idt(struct ringlet_vcpu *vcpu)
{
	unsigned int i;

	for (i = 0; i < 256; i++)
		set_gate(vcpu, i, switcher_vectors + 16 * i, 0, 0);
#if CHAPTER >= 2
	set_gate(vcpu, RINGLET_VECTOR, switcher_vectors + 16 * RINGLET_VECTOR, 1, 0);
#endif
#if CHAPTER >= 3
	set_gate(vcpu, X86_TRAP_NMI, switcher_nmi, 0, IST_INDEX_NMI + 1);
	set_gate(vcpu, X86_TRAP_DF, switcher_vectors + 16 * X86_TRAP_DF, 0, IST_INDEX_DF + 1);
	set_gate(vcpu, X86_TRAP_MC, switcher_machine_check, 0, IST_INDEX_MCE + 1);
#endif
#if CHAPTER >= 6
	set_gate(vcpu, X86_TRAP_DB, switcher_debug, 0, IST_INDEX_DB + 1);
	set_gate(vcpu, X86_TRAP_BP, switcher_vectors + 16 * X86_TRAP_BP, 3, 0);
	set_gate(vcpu, X86_TRAP_OF, switcher_vectors + 16 * X86_TRAP_OF, 3, 0);
#endif
#if CHAPTER >= 12
	set_gate(vcpu, X86_TRAP_PF, switcher_page_fault, 0, 0);
	set_gate(vcpu, RINGLET_VECTOR, switcher_hypercall, 1, 0);
#endif
}

/* Flat 64-bit segments; "accessed" is set so that the CPU never writes here. */
static struct desc_struct segment(unsigned int dpl, bool code)
{
	return (struct desc_struct) {
		.limit0 = 0xffff, .limit1 = 0xf, .g = 1, .p = 1, .s = 1, .dpl = dpl,
		.type = code ? 0xb : 3, .l = code, .d = !code,
	};
}

/*
 * Linux's selectors, because SYSCALL loads them by number, and two of our own
 * for ring 1. No call gate, no LDT, no 32-bit code: a guest has nothing to
 * reach ring 0 through, and the AMD CSTAR entry is out of reach with it.
 */
static void fill_tables(struct ringlet_vcpu *vcpu)
{
	struct switcher_tables *t = vcpu->tables;
	unsigned long tss = slot_address(vcpu, BLOCK_TABLES + TABLES_TSS);
	unsigned long trap = slot_address(vcpu, BLOCK_TRAP);
	struct ldttss_desc *desc = (void *)&t->gdt[GDT_ENTRY_TSS];

	t->gdt[GDT_ENTRY_KERNEL_CS] = segment(0, true);
	t->gdt[GDT_ENTRY_KERNEL_DS] = segment(0, false);
	t->gdt[GDT_ENTRY_DEFAULT_USER_DS] = segment(3, false);
	t->gdt[GDT_ENTRY_DEFAULT_USER_CS] = segment(3, true);
	t->gdt[RINGLET_KERNEL_CS >> 3] = segment(1, true);
	t->gdt[RINGLET_KERNEL_DS >> 3] = segment(1, false);
	set_tssldt_descriptor(desc, tss, DESC_TSS, sizeof(t->tss) - 1);

	t->tss.sp0 = trap + TRAP_STACK_TOP;
#if CHAPTER >= 3
	t->tss.ist[IST_INDEX_DF] = trap + TRAP_STACK_DF;
	t->tss.ist[IST_INDEX_NMI] = trap + TRAP_STACK_NMI;
	t->tss.ist[IST_INDEX_DB] = trap + TRAP_STACK_DB;
	t->tss.ist[IST_INDEX_MCE] = trap + TRAP_STACK_MC;
#endif
	t->tss.io_bitmap_base = sizeof(t->tss);		/* no port for ring 1 or 3 */

	t->gdt_ptr.size = sizeof(t->gdt) - 1;
	t->gdt_ptr.address = slot_address(vcpu, BLOCK_TABLES + TABLES_GDT);
	t->idt_ptr.size = 256 * sizeof(gate_desc) - 1;
	t->idt_ptr.address = slot_address(vcpu, BLOCK_IDT);
}

/* Map the block: all of it for the host, without HOST for the guest. */
static void map_block(struct ringlet_vcpu *vcpu)
{
	u64 *host = page_address(host_tables[2]);
	u64 *guest = page_address(vcpu->slot_pages[2]);
	unsigned int block = vcpu->block;
	u64 idt = virt_to_phys(vcpu->idt), tables = virt_to_phys(vcpu->tables);
	u64 trap = virt_to_phys(vcpu->trap);
	int i;

	for (i = 0; i < TEXT_PAGES; i++)
		host[PTE_INDEX(block, BLOCK_TEXT) + i] = text[i] | X_PAGE;
	host[PTE_INDEX(block, BLOCK_IDT)] = idt | RW_PAGE;
	host[PTE_INDEX(block, BLOCK_TABLES)] = tables | RW_PAGE;
	host[PTE_INDEX(block, BLOCK_TRAP)] = trap | RW_PAGE;
	host[PTE_INDEX(block, BLOCK_HOST)] = virt_to_phys(vcpu->host) | RW_PAGE;

#if CHAPTER >= 5
	guest[PTE_INDEX(0, 0)] = trap | RW_PAGE;	/* RINGLET_PAGE */
#endif
#if SOLUTION >= 101
	for (i = 0; i < TEXT_PAGES; i++)
		guest[PTE_INDEX(block, BLOCK_TEXT) + i] = text[i] | X_PAGE;
#if SOLUTION >= 1301
	guest[PTE_INDEX(block, BLOCK_IDT)] = idt | R_PAGE;
	guest[PTE_INDEX(block, BLOCK_TABLES)] = tables | R_PAGE;
#else
	guest[PTE_INDEX(block, BLOCK_IDT)] = idt | RW_PAGE;
	guest[PTE_INDEX(block, BLOCK_TABLES)] = tables | RW_PAGE;
#endif
	guest[PTE_INDEX(block, BLOCK_TRAP)] = trap | RW_PAGE;
#else
	/* Exercise 1.1: the head of switcher.h says what the guest may do where. */
	(void)guest;
	EXERCISE("1.1");
#endif
	vcpu->slot = page_to_phys(vcpu->slot_pages[0]) | TABLE;
}

/* switcher.S finds these by number. */
static void check_offsets(void)
{
	BUILD_BUG_ON(offsetof(struct switcher_tables, tss) != TABLES_TSS);
	BUILD_BUG_ON(offsetof(struct switcher_tables, gdt_ptr) != TABLES_GDT_PTR);
	BUILD_BUG_ON(offsetof(struct switcher_tables, idt_ptr) != TABLES_IDT_PTR);
	BUILD_BUG_ON(offsetof(struct switcher_tables, host_cr3) != TABLES_HOST_CR3);
	BUILD_BUG_ON(offsetof(struct switcher_host, guest_gs) != HOST_GUEST_GS);
	BUILD_BUG_ON(offsetof(struct switcher_host, gdt_rw) != HOST_GDT_RW);
	BUILD_BUG_ON(offsetof(struct switcher_host, gdt_ro) != HOST_GDT_RO);
	BUILD_BUG_ON(offsetof(struct switcher_host, idt) != HOST_IDT);
#if CHAPTER >= 3
	BUILD_BUG_ON(offsetof(struct switcher_tables, guest_cr4) != TABLES_GUEST_CR4);
	BUILD_BUG_ON(offsetof(struct switcher_trap, missed) != TRAP_NMI);
	BUILD_BUG_ON(offsetof(struct switcher_host, cr4) != HOST_CR4);
	BUILD_BUG_ON(offsetof(struct switcher_frame, vector) != FRAME_VECTOR);
	BUILD_BUG_ON(offsetof(struct switcher_frame, cs) != FRAME_CS);
#endif
#if CHAPTER >= 6
	BUILD_BUG_ON(offsetof(struct switcher_tables, syscall_entry) != TABLES_SYSCALL);
	BUILD_BUG_ON(offsetof(struct switcher_trap, user_rsp) != TRAP_USER_RSP);
	BUILD_BUG_ON(offsetof(struct switcher_host, ds) != HOST_SELECTORS);
	BUILD_BUG_ON(offsetof(struct ringlet_vcpu_page, user_gs) != RINGLET_PAGE_USER_GS);
	BUILD_BUG_ON(offsetof(struct ringlet_vcpu_page, sp0) != RINGLET_PAGE_SP0);
	BUILD_BUG_ON(offsetof(struct ringlet_vcpu_page, dr6) != RINGLET_PAGE_DR6);
#endif
#if CHAPTER >= 12
	BUILD_BUG_ON(offsetof(struct switcher_tables, user_fault_entry) != TABLES_USER_FAULT);
	BUILD_BUG_ON(offsetof(struct switcher_tables, roots) != TABLES_ROOTS);
	BUILD_BUG_ON(offsetof(struct switcher_host, exit_cr3) != HOST_EXIT_CR3);
	BUILD_BUG_ON(offsetof(struct ringlet_vcpu_page, fault) != RINGLET_PAGE_FAULT);
#endif
}

static void *zeroed_page(void)
{
	return (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
}

/**
 * slot_add_vcpu() - give a vCPU its block
 * @vcpu:	zeroed; slot_remove_vcpu() undoes even a failed call
 *
 * Return: 0, -ENOMEM, or -ENOSPC with 63 vCPUs on this host.
 */
int slot_add_vcpu(struct ringlet_vcpu *vcpu)
{
	unsigned int block;

	check_offsets();
	vcpu->idt = zeroed_page();
	vcpu->tables = zeroed_page();
	vcpu->trap = zeroed_page();
	vcpu->host = zeroed_page();
	if (!vcpu->idt || !vcpu->tables || !vcpu->trap || !vcpu->host ||
	    alloc_tables(vcpu->slot_pages))
		return -ENOMEM;

	mutex_lock(&slot_lock);
	for (block = 1; block < BLOCKS && owners[block]; block++)
		;
	if (block < BLOCKS) {
		owners[block] = vcpu;
		vcpu->block = block;
	}
	mutex_unlock(&slot_lock);
	if (!vcpu->block)
		return -ENOSPC;
	fill_idt(vcpu);
	fill_tables(vcpu);
	map_block(vcpu);
	return 0;
}

void slot_remove_vcpu(struct ringlet_vcpu *vcpu)
{
	u64 *host = page_address(host_tables[2]);

	if (vcpu->block) {
		memset(host + PTE_INDEX(vcpu->block, 0), 0, SLOT_BLOCK / PAGE_SIZE * 8);
		/* The block's next owner must not meet our translations. */
		on_each_cpu(flush_this_cpu, NULL, 1);
		mutex_lock(&slot_lock);
		owners[vcpu->block] = NULL;
		mutex_unlock(&slot_lock);
	}
	free_tables(vcpu->slot_pages);
	free_page((unsigned long)vcpu->idt);
	free_page((unsigned long)vcpu->tables);
	free_page((unsigned long)vcpu->trap);
	free_page((unsigned long)vcpu->host);
}
