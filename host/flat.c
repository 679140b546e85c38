// SPDX-License-Identifier: GPL-2.0
/*
 * Memory of a guest that has not turned paging on (chapter 1): its first 2 MiB,
 * gva = gpa, for ring 1. Shadow page tables take over when it loads a CR3
 * (chapter 4).
 */
#include <linux/io.h>
#include <linux/mm.h>
#include <asm/pgtable_types.h>
#include "ringlet.h"

#define TABLE	(_PAGE_PRESENT | _PAGE_RW | _PAGE_ACCESSED | _PAGE_DIRTY)

/**
 * flat_init() - make the tables, one of each level
 * @vcpu:	has its block; flat_free() undoes even a failed call
 *
 * Return: 0 or -ENOMEM.
 */
int flat_init(struct ringlet_vcpu *vcpu)
{
#if SOLUTION >= 102
	void *page;
	int i;

	for (i = 0; i < ARRAY_SIZE(vcpu->flat); i++) {
		vcpu->flat[i] = (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
		if (!vcpu->flat[i])
			return -ENOMEM;
		if (i)
			vcpu->flat[i - 1][0] = virt_to_phys(vcpu->flat[i]) | TABLE;
	}
	for (i = 0; i < PTRS_PER_PTE; i++) {
		page = vm_page(vcpu->vm, (u64)i << PAGE_SHIFT, true);
		if (page)
			vcpu->flat[3][i] = virt_to_phys(page) | TABLE;
	}
	vcpu->flat[0][SLOT_PML4_INDEX] = vcpu->slot;
	return 0;
#else
	/* Exercise 1.2: flat[0] is the PML4, flat[3] the page table. The slot, too. */
	EXERCISE("1.2");
	return 0;
#endif
}

/* flat_load() - enter on these tables from now on */
void flat_load(struct ringlet_vcpu *vcpu)
{
	vcpu->tables->guest_cr3 = virt_to_phys(vcpu->flat[0]);
}

void flat_free(struct ringlet_vcpu *vcpu)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(vcpu->flat); i++)
		free_page((unsigned long)vcpu->flat[i]);
}
