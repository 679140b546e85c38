// SPDX-License-Identifier: GPL-2.0
/*
 * Shadow page tables (chapter 4; cached roots and fault-around: 12).
 *
 * They are a software TLB. A fault fills an entry from the guest's tables; the
 * guest's flush hypercalls, which it makes wherever hardware asks for one, drop
 * it. Nothing watches the guest's tables, so a stale entry lives exactly as
 * long as a TLB would be allowed to keep it.
 *
 * The guest believes it has PCIDs. Root i stands for the address space it last
 * loaded with PCID & 7 = i; bit 63 of a new CR3 says that the root is good.
 */
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <asm/pgtable_types.h>
#include <asm/trap_pf.h>
#include "ringlet.h"
#include "trace.h"

#define ENTRIES		512
#define ADDRESS		GENMASK_ULL(51, 12)
#define TABLE		(_PAGE_PRESENT | _PAGE_RW | _PAGE_USER | _PAGE_ACCESSED | _PAGE_DIRTY)
#define LEAF		(_PAGE_PRESENT | _PAGE_ACCESSED | _PAGE_DIRTY)
#define CR3_PCID	0xfffULL
#if CHAPTER >= 12
#define CR3_NOFLUSH	BIT_ULL(63)
#define AROUND		16		/* entries that one fault fills at most */
#endif

static unsigned int index_of(u64 gva, int level)
{
	return gva >> (12 + 9 * (level - 1)) & (ENTRIES - 1);
}

static u64 *table_of(u64 entry)
{
	return phys_to_virt(entry & ADDRESS);
}

static void free_entry(struct shadow *shadow, u64 *entry, int level)
{
	u64 old = *entry;
	int i;

	if (!old)
		return;
	*entry = 0;
	if (level == 1)
		return;
	if (level > 2)
		for (i = 0; i < ENTRIES; i++)
			free_entry(shadow, table_of(old) + i, level - 1);
	shadow->free[shadow->nfree++] = virt_to_page(table_of(old));
}

static void drop_user(struct shadow *shadow, u64 *root)
{
	int i;

	for (i = 0; i < SLOT_PML4_INDEX; i++)
		free_entry(shadow, &root[i], 4);
}

#if CHAPTER >= 12
/* The kernel half is shared: free it once, forget it everywhere. */
static void drop_everything(struct shadow *shadow)
{
	int i, root;

	for (i = SLOT_PML4_INDEX + 1; i < ENTRIES; i++) {
		free_entry(shadow, &shadow->pml4[0][i], 4);
		for (root = 1; root < GUEST_ROOTS; root++)
			shadow->pml4[root][i] = 0;
	}
	for (root = 0; root < GUEST_ROOTS; root++)
		drop_user(shadow, shadow->pml4[root]);
}
#else
static void drop_everything(struct shadow *shadow)
{
	int i;

	for (i = SLOT_PML4_INDEX + 1; i < ENTRIES; i++)
		free_entry(shadow, &shadow->root[i], 4);
	drop_user(shadow, shadow->root);
}
#endif

/*
 * The shadow of one guest leaf. Writable only once the guest's dirty bit is
 * set, so that the first write comes here. Never global, never another cache
 * type, and exactly 0 when there is no such memory.
 */
static u64 make_leaf(struct ringlet_vcpu *vcpu, u64 upper, u64 leaf, u64 gpa)
{
#if SOLUTION >= 403
	void *page = vm_page(vcpu->vm, gpa, false);
	u64 both = upper & leaf, entry;

	if (!page)
		return 0;
	entry = virt_to_phys(page) | LEAF | (both & _PAGE_USER) |
		((upper | leaf) & _PAGE_NX);
	if (both & _PAGE_RW && leaf & _PAGE_DIRTY && vm_page(vcpu->vm, gpa, true))
		entry |= _PAGE_RW;
	return entry;
#else
	EXERCISE("4.3");
	return 0;
#endif
}

#if CHAPTER >= 12
#if SOLUTION >= 1202
/* Bring one level 1 table up to date; false: nothing of it can stay. */
static bool resync_table(struct ringlet_vcpu *vcpu, u64 *table, u64 gva)
{
	const u64 *guest;
	u64 upper, leaf;
	int i;

	if (virt_to_page(table)->private)
		return false;
	guest = guest_table(vcpu, gva, &upper);
	if (!guest)
		return false;
	for (i = 0; i < ENTRIES; i++) {
		if (!table[i])
			continue;
		leaf = READ_ONCE(guest[i]);
		table[i] = leaf & _PAGE_PRESENT && leaf & _PAGE_ACCESSED ?
			make_leaf(vcpu, upper, leaf, leaf & ADDRESS) : 0;
	}
	return true;
}

static void resync(struct ringlet_vcpu *vcpu, u64 *table, u64 gva, int level)
{
	int i, entries = level == 4 ? SLOT_PML4_INDEX : ENTRIES;

	for (i = 0; i < entries; i++) {
		u64 below = gva + ((u64)i << (12 + 9 * (level - 1)));

		if (!table[i])
			continue;
		if (level > 2)
			resync(vcpu, table_of(table[i]), below, level - 1);
		else if (!resync_table(vcpu, table_of(table[i]), below))
			free_entry(&vcpu->shadow, &table[i], 2);
	}
}

#endif

/*
 * The guest flushed its lower half, yet most of it has not changed: look every
 * entry up again rather than take a fault for each.
 */
static void resync_user(struct ringlet_vcpu *vcpu)
{
#if SOLUTION >= 1202
	resync(vcpu, vcpu->shadow.root, 0, 4);
#else
	/* Exercise 12.2: this drops what has not changed, too. */
	EXERCISE_SLOW("12.2");
	drop_user(&vcpu->shadow, vcpu->shadow.root);
#endif
}

static void use_root(struct ringlet_vcpu *vcpu, unsigned int root)
{
	vcpu->shadow.root = vcpu->shadow.pml4[root];
	vcpu->shadow.guest_cr3 = vcpu->tables->roots[root].guest_cr3;
	vcpu->tables->guest_cr3 = vcpu->tables->roots[root].shadow_cr3;
}

/**
 * shadow_load_cr3() - the guest loads CR3
 * @vcpu:	the vCPU
 * @cr3:	table and PCID; bit 63: what is cached for that PCID is still good
 */
void shadow_load_cr3(struct ringlet_vcpu *vcpu, u64 cr3)
{
	struct shadow *shadow = &vcpu->shadow;
	u64 guest_cr3 = cr3 & (ADDRESS | CR3_PCID);
#if SOLUTION >= 1201
	unsigned int root = cr3 & (GUEST_ROOTS - 1);
	struct switcher_root *slot = &vcpu->tables->roots[root];
	bool known = slot->guest_cr3 == guest_cr3;

	trace_ringlet_cr3(vcpu->id, cr3, known && cr3 & CR3_NOFLUSH);
	if (!(cr3 & CR3_PCID))
		drop_everything(shadow);	/* early boot: no PCID, no global pages */
	else if (!known)
		drop_user(shadow, shadow->pml4[root]);
	slot->guest_cr3 = guest_cr3;
	use_root(vcpu, root);
	if (known && !(cr3 & CR3_NOFLUSH))
		resync_user(vcpu);
#else

	/* Exercise 12.1: one root for all address spaces, and nothing of it is kept. */
	EXERCISE_SLOW("12.1");
	trace_ringlet_cr3(vcpu->id, cr3, false);
	drop_everything(shadow);
	vcpu->tables->roots[0].guest_cr3 = guest_cr3;
	use_root(vcpu, 0);
#endif
}

/**
 * shadow_sync_root() - learn which root an exit came from
 * @vcpu:		the vCPU
 * @hardware_cr3:	CR3 at the exit; the switcher may have loaded a cached
 *			root since the entry
 */
void shadow_sync_root(struct ringlet_vcpu *vcpu, u64 hardware_cr3)
{
	unsigned int root;

	if (hardware_cr3 == vcpu->tables->guest_cr3)
		return;
	for (root = 0; root < GUEST_ROOTS; root++)
		if (vcpu->tables->roots[root].shadow_cr3 == hardware_cr3)
			use_root(vcpu, root);
}
#else
/**
 * shadow_load_cr3() - the guest loads CR3
 * @vcpu:	the vCPU
 * @cr3:	its tables; nothing is kept of the old ones
 */
void shadow_load_cr3(struct ringlet_vcpu *vcpu, u64 cr3)
{
	trace_ringlet_cr3(vcpu->id, cr3, false);
	drop_everything(&vcpu->shadow);
	vcpu->shadow.guest_cr3 = cr3 & (ADDRESS | CR3_PCID);
	vcpu->tables->guest_cr3 = virt_to_phys(vcpu->shadow.root);
}
#endif

void shadow_flush_user(struct ringlet_vcpu *vcpu)
{
	trace_ringlet_flush(vcpu->id, 0);
	count(COUNT_FLUSH);
#if CHAPTER >= 12
	resync_user(vcpu);
#else
	drop_user(&vcpu->shadow, vcpu->shadow.root);
#endif
}

void shadow_flush_all(struct ringlet_vcpu *vcpu)
{
	trace_ringlet_flush(vcpu->id, ~0ULL);
	count(COUNT_FLUSH);
	drop_everything(&vcpu->shadow);
}

/**
 * shadow_flush_page() - forget one page, as INVLPG
 * @vcpu:	the vCPU
 * @gva:	any address in it
 *
 * INVLPG of a large page drops all of it, so a table that was filled from a
 * large leaf goes as a whole.
 */
void shadow_flush_page(struct ringlet_vcpu *vcpu, u64 gva)
{
	struct shadow *shadow = &vcpu->shadow;
	u64 *table = shadow->root, *entry;
	int level;

	trace_ringlet_flush(vcpu->id, gva);
	count(COUNT_FLUSH);
	if (index_of(gva, 4) == SLOT_PML4_INDEX)
		return;
#if SOLUTION >= 406
	for (level = 4; ; level--) {
		entry = table + index_of(gva, level);
		if (!*entry || level == 1)
			break;
		table = table_of(*entry);
		if (level == 2 && virt_to_page(table)->private)
			break;
	}
	free_entry(shadow, entry, level);
#else
	/* Exercise 4.6: find what stands for the page, down from the root, and free that. */
	EXERCISE("4.6");
	entry = table;
	level = 1;
	free_entry(shadow, entry, level);
#endif
}

#if CHAPTER >= 12
/* A table of the guest kernel: all address spaces have it. */
static void share(struct shadow *shadow, unsigned int index, u64 entry)
{
	int root;

	for (root = 0; root < GUEST_ROOTS; root++)
		shadow->pml4[root][index] = entry;
}
#endif

/* The shadow's table at level 1 for @gva, with the way to it; NULL: no page. */
static u64 *get_table(struct shadow *shadow, u64 gva)
{
	u64 *table = shadow->root;
	int level;

	for (level = 4; level > 1; level--) {
		u64 *entry = table + index_of(gva, level);

#if SOLUTION >= 402
		if (!*entry) {
			struct page *page;

			if (!shadow->nfree)
				return NULL;
			page = shadow->free[--shadow->nfree];
			clear_page(page_address(page));
			page->private = 0;
			*entry = page_to_phys(page) | TABLE;
#if CHAPTER >= 12
			if (level == 4 && index_of(gva, 4) > SLOT_PML4_INDEX)
				share(shadow, index_of(gva, 4), *entry);
#endif
		}
#else
		/* Exercise 4.2: is there no table yet? Take a free page for it. */
		if (!*entry) {
			EXERCISE("4.2");
			return NULL;
		}
#endif
		table = table_of(*entry);
	}
	return table;
}

#if CHAPTER >= 12
/* A large leaf: all 512 entries at once. */
static void fill_large(struct ringlet_vcpu *vcpu, u64 *table, const struct walk *walk)
{
#if SOLUTION >= 1204
	u64 gpa = walk->gpa & ~(u64)(PMD_SIZE - 1);
	int i;

	virt_to_page(table)->private = 1;
	for (i = 0; i < ENTRIES; i++, gpa += PAGE_SIZE)
		table[i] = make_leaf(vcpu, walk->upper, walk->leaf, gpa);
#else
	/* Exercise 12.4: this fills the one page that was missed, for gva and gpa end alike. */
	EXERCISE_SLOW("12.4");
	if (!virt_to_page(table)->private)
		clear_page(table);
	virt_to_page(table)->private = 1;
	table[index_of(walk->gpa, 1)] = make_leaf(vcpu, walk->upper, walk->leaf, walk->gpa);
#endif
}

/* Neighbours that the guest has used already will be used again. */
static void fill_around(struct ringlet_vcpu *vcpu, u64 *table, u64 gva,
			const struct walk *walk)
{
#if SOLUTION >= 1203
	u64 *guest = vm_page(vcpu->vm, walk->table, false);
	unsigned int first = index_of(gva, 1) & ~(AROUND - 1), i;

	for (i = first; i < first + AROUND; i++) {
		u64 leaf = READ_ONCE(guest[i]);

		if (!table[i] && leaf & _PAGE_PRESENT && leaf & _PAGE_ACCESSED)
			table[i] = make_leaf(vcpu, walk->upper, leaf, leaf & ADDRESS);
	}
#else
	/* Exercise 12.3: up to AROUND entries of the group that gva is in. */
	EXERCISE_SLOW("12.3");
#endif
}
#endif

/**
 * shadow_map() - make an access possible, if the guest's tables allow it
 * @vcpu:	the vCPU
 * @gva:	the address
 * @error:	the access, as a page fault error code
 * @walk:	filled in; walk->error for -EFAULT
 *
 * Return: 0; -EFAULT: the fault is the guest's own; -ENXIO: its tables lead
 * out of its memory.
 */
int shadow_map(struct ringlet_vcpu *vcpu, u64 gva, u64 error, struct walk *walk)
{
	struct shadow *shadow = &vcpu->shadow;
	u64 *table;
	int ret;

	walk->error = error & (X86_PF_WRITE | X86_PF_USER | X86_PF_INSTR);
	if (!is_canonical(gva))
		return -EFAULT;
#if SOLUTION >= 1303
	if (index_of(gva, 4) == SLOT_PML4_INDEX)
		return -EFAULT;		/* the switcher's, whatever the guest's tables say */
#endif
	ret = guest_walk(vcpu, gva, error, walk);
	if (ret)
		return ret;
	if (!vm_page(vcpu->vm, walk->gpa, false))
		return -ENXIO;
#if CHAPTER >= 7
	if (error & X86_PF_WRITE && !vm_page(vcpu->vm, walk->gpa, true)) {
		walk->error |= X86_PF_PROT;	/* the device page */
		return -EFAULT;
	}
#endif
	table = get_table(shadow, gva);
#if SOLUTION >= 402
	if (!table) {
		drop_everything(shadow);
		table = get_table(shadow, gva);
	}
#else
	if (!table)
		return -ENXIO;	/* Exercise 4.2, too: the shadow is full, but it is only a cache */
#endif
	trace_ringlet_fill(vcpu->id, gva, walk->gpa, walk->level);
	count(COUNT_FILL);
#if CHAPTER >= 12
	if (walk->level > 1) {
		fill_large(vcpu, table, walk);
		return 0;
	}
#endif
	/* A small leaf where a large one was: keep nothing of that. */
	if (walk->level == 1 && virt_to_page(table)->private)
		clear_page(table);
	virt_to_page(table)->private = walk->level > 1;
	table[index_of(gva, 1)] = make_leaf(vcpu, walk->upper, walk->leaf, walk->gpa);
#if CHAPTER >= 12
	fill_around(vcpu, table, gva, walk);
#endif
	return 0;
}

/**
 * shadow_fault() - the CPU found no usable entry
 * @vcpu:	the vCPU
 * @gva:	CR2
 * @error:	the page fault's error code
 */
enum action shadow_fault(struct ringlet_vcpu *vcpu, u64 gva, u64 error)
{
	struct walk walk;

	switch (shadow_map(vcpu, gva, error, &walk)) {
	case 0:
		return RESUME;
	case -EFAULT:
#if CHAPTER >= 5
		return inject_page_fault(vcpu, gva, walk.error);
#else
		return vcpu_kill(vcpu, "page fault at gva %#llx, error %#llx", gva, walk.error);
#endif
	}
	return vcpu_kill(vcpu, "page tables lead outside memory at gva %#llx", gva);
}

int shadow_init(struct ringlet_vcpu *vcpu)
{
	struct shadow *shadow = &vcpu->shadow;
	int i;

#if CHAPTER >= 12
	for (i = 0; i < GUEST_ROOTS; i++) {
		shadow->pml4[i] = (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
		if (!shadow->pml4[i])
			return -ENOMEM;
		shadow->pml4[i][SLOT_PML4_INDEX] = vcpu->slot;
		vcpu->tables->roots[i].shadow_cr3 = virt_to_phys(shadow->pml4[i]);
	}
	shadow->root = shadow->pml4[0];
#else
	shadow->root = (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!shadow->root)
		return -ENOMEM;
	shadow->root[SLOT_PML4_INDEX] = vcpu->slot;
#endif
	shadow->guest_cr3 = RINGLET_NO_PAGING;
	for (i = 0; i < SHADOW_PAGES; i++) {
		shadow->free[i] = alloc_page(GFP_KERNEL_ACCOUNT);
		if (!shadow->free[i])
			return -ENOMEM;
		shadow->nfree++;
	}
	return 0;
}

/* shadow_free() - undo shadow_init(), even if it failed half-way */
void shadow_free(struct ringlet_vcpu *vcpu)
{
	struct shadow *shadow = &vcpu->shadow;

	if (shadow->root)
		drop_everything(shadow);
	while (shadow->nfree) {
		set_page_private(shadow->free[--shadow->nfree], 0);
		__free_page(shadow->free[shadow->nfree]);
	}
#if CHAPTER >= 12
	for (int i = 0; i < GUEST_ROOTS; i++)
		free_page((unsigned long)shadow->pml4[i]);
#else
	free_page((unsigned long)shadow->root);
#endif
}
