// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's page tables, read as the CPU would (chapter 4; SDM 3A 4.5, 4.6,
 * 4.8). The guest may change them under our eyes: each entry is read once, and
 * the accessed and dirty bits go in by compare-and-exchange.
 */
#include <linux/mm.h>
#include <asm/page_types.h>
#include <asm/pgtable_types.h>
#include <asm/trap_pf.h>
#include "ringlet.h"

#define ENTRY_ADDRESS	GENMASK_ULL(51, 12)
#define UNPAGED_SIZE	(512ULL << PAGE_SHIFT)	/* what flat.c maps */

/* Size of what one entry at @level maps. */
static inline u64 level_size(int level)
{
	return 1ULL << (12 + 9 * (level - 1));
}

static inline u64 *entry_at(struct ringlet_vcpu *vcpu, u64 table, u64 gva, int level)
{
	u64 *page = vm_page(vcpu->vm, table, true);

	return page ? page + (gva >> (12 + 9 * (level - 1)) & 511) : NULL;
}

static inline bool is_leaf(u64 entry, int level)
{
	return level == 1 || (level <= 3 && entry & _PAGE_PSE);
}

/* The rights that are left below an entry: what it and all above it allow. */
static u64 narrow(u64 upper, u64 entry)
{
#if SOLUTION >= 404
	return (upper & entry & (_PAGE_USER | _PAGE_RW)) | ((upper | entry) & _PAGE_NX);
#else
	/* Entries that allow the guest kernel everything need no look. */
	if (!(entry & _PAGE_RW) || entry & _PAGE_NX)
		EXERCISE("4.4");
	return upper;
#endif
}

/* Does the access in @error (W, U, I) break what the entries together allow? */
static bool refused(u64 rights, u64 error)
{
#if SOLUTION >= 404
	bool user = error & X86_PF_USER;

	if (user && !(rights & _PAGE_USER))
		return true;
	if (error & X86_PF_WRITE && !(rights & _PAGE_RW))
		return true;		/* in ring 1 too: CR0.WP is 1 */
	if (!(error & X86_PF_INSTR))
		return false;
	/* The host's SMEP is on, so it holds for the guest kernel as well. */
	return rights & _PAGE_NX || (!user && rights & _PAGE_USER);
#else
	if (error & X86_PF_USER)
		EXERCISE("4.4");
	return false;
#endif
}

/*
 * Set accessed and dirty bits in an entry that was read as @entry. False: the
 * guest has changed it since, so whatever we know is worth nothing.
 */
static bool mark(u64 *place, u64 entry, u64 bits)
{
#if SOLUTION >= 405
	return !(bits & ~entry) || cmpxchg(place, entry, entry | bits) == entry;
#else
	if (bits & ~entry)
		EXERCISE("4.5");
	return true;
#endif
}

/* Without page tables of its own the guest has what flat.c gives ring 1. */
static int walk_unpaged(u64 gva, u64 error, struct walk *walk)
{
	if (gva >= UNPAGED_SIZE || error & X86_PF_USER)
		return -ENXIO;
	*walk = (struct walk) { .gpa = gva & PAGE_MASK, .level = 1 };
	return 0;
}

/**
 * guest_walk() - translate a gva through the guest's page tables
 * @vcpu:	the vCPU, for its CR3
 * @gva:	what to translate
 * @error:	the access, as a page fault error code (W, U, I)
 * @walk:	the result
 *
 * Sets accessed bits on the way and, for a write, the dirty bit.
 *
 * Return: 0; -EFAULT if the guest's tables refuse (walk->error is the error
 * code of the guest's own page fault); -ENXIO if they point outside its memory.
 */
int guest_walk(struct ringlet_vcpu *vcpu, u64 gva, u64 error, struct walk *walk)
{
	u64 table, entry, bits, *place;
	int level;

	error &= X86_PF_WRITE | X86_PF_USER | X86_PF_INSTR;
	if (vcpu->shadow.guest_cr3 == RINGLET_NO_PAGING)
		return walk_unpaged(gva, error, walk);
restart:
	table = vcpu->shadow.guest_cr3 & ENTRY_ADDRESS;
	walk->upper = _PAGE_USER | _PAGE_RW;
	walk->error = error;
	for (level = 4; ; level--) {
#if SOLUTION >= 401
		place = entry_at(vcpu, table, gva, level);
		if (!place)
			return -ENXIO;
		entry = READ_ONCE(*place);
		if (!(entry & _PAGE_PRESENT))
			return -EFAULT;
		if (level == 4 && entry & _PAGE_PSE) {
			walk->error |= X86_PF_PROT | X86_PF_RSVD;
			return -EFAULT;
		}
		if (is_leaf(entry, level))
			break;
		walk->upper = narrow(walk->upper, entry);
		if (!mark(place, entry, _PAGE_ACCESSED))
			goto restart;
		table = entry & ENTRY_ADDRESS;
#else
		/*
		 * Exercise 4.1: one level of the walk. Break at the leaf with
		 * @place, @entry, @level and @table as above.
		 */
		EXERCISE("4.1");
		return -ENXIO;
#endif
	}

	if (refused(narrow(walk->upper, entry), error)) {
		walk->error |= X86_PF_PROT;
		return -EFAULT;
	}
#if SOLUTION >= 405
	bits = _PAGE_ACCESSED | (error & X86_PF_WRITE ? _PAGE_DIRTY : 0);
#else
	bits = _PAGE_ACCESSED | _PAGE_DIRTY;	/* Exercise 4.5, too: which does this access set? */
#endif
	if (!mark(place, entry, bits))
		goto restart;
	walk->leaf = entry | bits;
	walk->level = level;
	walk->table = table;
#if SOLUTION >= 401
	walk->gpa = (entry & ENTRY_ADDRESS & ~(level_size(level) - 1)) |
		    (gva & (level_size(level) - 1) & PAGE_MASK);
#else
	EXERCISE("4.1");	/* walk->gpa; a leaf may be larger than a page */
#endif
	return 0;
}

#if CHAPTER >= 12
/**
 * guest_table() - the guest's level 1 table for an address
 * @vcpu:	the vCPU, for its CR3
 * @gva:	the address
 * @upper:	rights above the table, as in struct walk
 *
 * Return: its host address, or NULL if the guest has none there.
 */
const u64 *guest_table(struct ringlet_vcpu *vcpu, u64 gva, u64 *upper)
{
	u64 entry = vcpu->shadow.guest_cr3, *place;
	int level;

	*upper = _PAGE_USER | _PAGE_RW;
	for (level = 4; level > 1; level--) {
		place = entry_at(vcpu, entry & ENTRY_ADDRESS, gva, level);
		if (!place)
			return NULL;
		entry = READ_ONCE(*place);
		if (!(entry & _PAGE_PRESENT) || entry & _PAGE_PSE)
			return NULL;
		*upper = narrow(*upper, entry);
	}
	return vm_page(vcpu->vm, entry & ENTRY_ADDRESS, false);
}
#endif

#if CHAPTER >= 5
/* Copy within one page; the only way in which C touches a gva. */
static int copy_in_page(struct ringlet_vcpu *vcpu, u64 gva, void *buffer, size_t length,
			bool write)
{
	struct walk walk;
	void *page;

	if (guest_walk(vcpu, gva, write ? X86_PF_WRITE : 0, &walk))
		return -EFAULT;
	page = vm_page(vcpu->vm, walk.gpa, write);
	if (!page)
		return -EFAULT;
	page += offset_in_page(gva);
	memcpy(write ? page : buffer, write ? buffer : page, length);
	return 0;
}

static int copy(struct ringlet_vcpu *vcpu, u64 gva, void *buffer, size_t length, bool write)
{
	while (length) {
		size_t now = min_t(size_t, length, PAGE_SIZE - offset_in_page(gva));

		if (copy_in_page(vcpu, gva, buffer, now, write))
			return -EFAULT;
		gva += now;
		buffer += now;
		length -= now;
	}
	return 0;
}

/**
 * guest_read() - read guest memory by gva, as its kernel would
 * @vcpu:	the vCPU
 * @gva:	where; may cross pages
 * @to:		the copy
 * @length:	bytes
 *
 * Return: 0 or -EFAULT.
 */
int guest_read(struct ringlet_vcpu *vcpu, u64 gva, void *to, size_t length)
{
	return copy(vcpu, gva, to, length, false);
}

/* guest_write() - the other way round */
int guest_write(struct ringlet_vcpu *vcpu, u64 gva, const void *from, size_t length)
{
	return copy(vcpu, gva, (void *)from, length, true);
}
#endif
