/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included by vcpu.c before run_loop(), which calls watch() where it called enter_guest(): many trips with random registers into
 * guest turn.S, and a look at the host after each. vcpu_run() begins with watch_tables(), so that page tables can be judged
 * before there is a switch. Complaints go to the log, the first of each kind.
 */
#include <linux/io.h>

static unsigned long seed = 1;
module_param(seed, ulong, 0444);

asmlinkage u64 watched_switch(unsigned long frame, unsigned long entry);

#define TRIPS		200
#define GUEST_FLAGS	(X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | X86_EFLAGS_ZF | X86_EFLAGS_SF | \
			 X86_EFLAGS_DF | X86_EFLAGS_OF | X86_EFLAGS_NT | X86_EFLAGS_AC | X86_EFLAGS_ID)

struct host_tables {
	struct desc_ptr gdt, idt;
	unsigned long cr3;
};

/* In the order of struct switcher_frame; those not among turn.S's leas are looked at one by one. */
static const struct {
	const char *name;
	int added;
} registers[] = {
	{ "r15", 11 }, { "r14", 10 }, { "r13", 9 }, { "r12", 8 }, { "rbp", 3 }, { "rbx", 0 }, { "r11", 7 }, { "r10", 6 },
	{ "r9", 5 }, { "r8", 4 }, { "rax", -1 }, { "rcx", 0 }, { "rdx", -1 }, { "rsi", 1 }, { "rdi", 2 },
};

enum { GUEST_REGISTER, GUEST_BASE, HOST_REGISTER, HOST_BASE, HOST_TABLE, HOST_FLAGS, FLAT, BLOCK, KINDS };
static const char *const kinds[] = {
	"guest register", "guest base", "host register", "host base", "host table", "host flags",
	"flat", "block",
};
static bool complained[KINDS];

static void check(unsigned int kind, const char *what, u64 is, u64 should)
{
	if (is != should && !complained[kind]) {
		complained[kind] = true;
		pr_info("watch: %s: %s is %#llx, not %#llx\n", kinds[kind], what, is, should);
	}
}

static u64 random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

static void look(struct host_tables *tables)
{
	memset(tables, 0, sizeof(*tables));
	native_store_gdt(&tables->gdt);
	store_idt(&tables->idt);
	tables->cr3 = __native_read_cr3();
}

static void look_at_host(u64 changed, const struct host_tables *before)
{
	static const char *const saved[] = { "rbx", "rbp", "r12", "r13", "r14", "r15" };
	struct host_tables after;

	look(&after);
	check(HOST_TABLE, "CR3", after.cr3, before->cr3);
	if (memcmp(&after.idt, &before->idt, sizeof(after.idt)))
		native_load_idt(&before->idt);
	if (memcmp(&after.gdt, &before->gdt, sizeof(after.gdt)))
		native_load_gdt(&before->gdt);
	check(HOST_TABLE, "address of the IDT", after.idt.address, before->idt.address);
	check(HOST_TABLE, "limit of the IDT", after.idt.size, before->idt.size);
	check(HOST_TABLE, "address of the GDT", after.gdt.address, before->gdt.address);
	check(HOST_TABLE, "limit of the GDT", after.gdt.size, before->gdt.size);
	for (int i = 0; i < ARRAY_SIZE(saved); i++)
		check(HOST_REGISTER, saved[i], changed >> i & 1, 0);
	check(HOST_BASE, "the change of FS", changed >> 6 & 1, 0);
	check(HOST_BASE, "the change of GS", changed >> 7 & 1, 0);
	check(HOST_FLAGS, "one of DF, NT and AC", changed >> 8 & 1, 0);
}

static void check_guest(struct ringlet_vcpu *vcpu, const struct switcher_frame *before, u64 fs, u64 gs)
{
	const struct switcher_frame *regs = &vcpu->regs;

	for (int i = 0; i < ARRAY_SIZE(registers); i++)
		if (registers[i].added >= 0)
			check(GUEST_REGISTER, registers[i].name, ((u64 *)regs)[i],
			      ((u64 *)before)[i] + registers[i].added);
	check(GUEST_REGISTER, "rsp", regs->rsp, before->rsp + 12);
	check(GUEST_REGISTER, "RFLAGS", regs->rflags & GUEST_FLAGS, before->rflags & GUEST_FLAGS);
	check(GUEST_REGISTER, "the vector", regs->vector, 6);
	check(GUEST_BASE, "the FS base that the guest reads", regs->rax, fs);
	check(GUEST_BASE, "the GS base that the guest reads", regs->rdx, gs);
	check(GUEST_BASE, "the FS base that the guest has set", vcpu->host->guest_fs, before->rbx);
	check(GUEST_BASE, "the GS base that the guest has set", vcpu->host->guest_gs, before->rcx);
}

/* Return: whether the guest ran. */
static bool trip(struct ringlet_vcpu *vcpu, u64 rip)
{
	struct switcher_frame before;
	struct host_tables tables;
	u64 fs, gs, changed;

	for (int i = 0; i < ARRAY_SIZE(registers); i++)
		((u64 *)&vcpu->regs)[i] = random();
	vcpu->regs.vector = 0;
	vcpu->regs.rip = rip;
	vcpu->regs.rsp = random();
	vcpu->regs.rflags = random() & GUEST_FLAGS;
	vcpu->regs.rbx >>= 17;		/* these two become bases */
	vcpu->regs.rcx >>= 17;
	vcpu->host->guest_fs = fs = random() >> 17;
	vcpu->host->guest_gs = gs = random() >> 17;

	local_irq_disable();
	note_host_cpu(vcpu);
	sanitize(vcpu);
	before = vcpu->regs;
	*(struct switcher_frame *)((void *)vcpu->trap + FRAME_TOP) = vcpu->regs;
	look(&tables);
	changed = watched_switch(slot_address(vcpu, BLOCK_TRAP + FRAME_TOP),
				 slot_address(vcpu, switcher_enter - switcher_text));
	look_at_host(changed, &tables);
	local_irq_enable();

	read_exit_frame(vcpu);
	if (vcpu->regs.vector == 257) {		/* EXIT_EXERCISE: turned round before the guest */
		check(GUEST_BASE, "the FS base that comes back", vcpu->host->guest_fs, fs);
		check(GUEST_BASE, "the GS base that comes back", vcpu->host->guest_gs, gs);
		return false;
	}
	check_guest(vcpu, &before, fs, gs);
	return true;
}

static void watch(struct ringlet_vcpu *vcpu)
{
	u64 rip = vcpu->regs.rip;
	int entered = 0;

	(void)enter_guest;
	for (int i = 0; i < TRIPS; i++)
		entered += trip(vcpu, rip);
	pr_info("watch: %d of %d trips entered the guest\n", entered, TRIPS);
	vcpu->host->guest_fs = 0;
	vcpu->host->guest_gs = 0;
}

/* Where a gva leads, and what is allowed there; 0: nowhere. @table: of level 4 or less. */
static u64 walk(const u64 *table, unsigned int level, u64 gva)
{
	u64 rights = _PAGE_PRESENT | _PAGE_RW | _PAGE_USER, entry;

	if (!table)
		return 0;
	for (;; table = phys_to_virt(entry & PHYSICAL_PAGE_MASK)) {
		entry = table[gva >> (3 + 9 * level) & 511];
		if (!(entry & _PAGE_PRESENT) || !pfn_valid((entry & PHYSICAL_PAGE_MASK) >> PAGE_SHIFT))
			return 0;
		rights = (rights & entry) | ((rights | entry) & _PAGE_NX);
		if (!--level)
			return (entry & PHYSICAL_PAGE_MASK) | rights;
	}
}

static void watch_tables(struct ringlet_vcpu *vcpu)
{
	static const u64 nothing[] = {
		2 << 20, 3 << 20, 1ul << 30, (1ul << 30) + 4096, 1ul << 39, (1ul << 39) + 8192, -4096ul,
	};
	static const struct {
		const char *name;
		unsigned int offset;
		u64 rights;
	} block[] = {
		{ "TEXT", BLOCK_TEXT, _PAGE_PRESENT },
		{ "TEXT's second page", BLOCK_TEXT + PAGE_SIZE, _PAGE_PRESENT },
		{ "IDT", BLOCK_IDT, _PAGE_PRESENT | _PAGE_NX },
		{ "TABLES", BLOCK_TABLES, _PAGE_PRESENT | _PAGE_NX },
		{ "TRAP", BLOCK_TRAP, _PAGE_PRESENT | _PAGE_RW | _PAGE_NX },
		{ "HOST", BLOCK_HOST, 0 },
		{ "what is behind HOST", BLOCK_HOST + PAGE_SIZE, 0 },
		{ "the next block", SLOT_BLOCK, 0 },
	};
	u64 host, gva, page;

	for (gva = 0; gva < 2 << 20; gva += PAGE_SIZE) {
		page = virt_to_phys(vm_page(vcpu->vm, gva, true));
		check(FLAT, "a page below 2 MiB", walk(vcpu->flat[0], 4, gva), page | _PAGE_PRESENT | _PAGE_RW);
	}
	for (int i = 0; i < ARRAY_SIZE(nothing); i++)
		check(FLAT, "an address behind the first 2 MiB", walk(vcpu->flat[0], 4, nothing[i]), 0);
	check(FLAT, "the entry of the slot", vcpu->flat[0] ? vcpu->flat[0][SLOT_PML4_INDEX] : 0, vcpu->slot);

	for (int i = 0; i < ARRAY_SIZE(block); i++) {
		gva = slot_address(vcpu, block[i].offset);
		host = walk((u64 *)current->mm->pgd, 4, gva) & PHYSICAL_PAGE_MASK;
		check(BLOCK, block[i].name, walk(page_address(vcpu->slot_pages[0]), 3, gva),
		      block[i].rights ? host | block[i].rights : 0);
	}
	pr_info("watch: page tables looked at\n");
}
