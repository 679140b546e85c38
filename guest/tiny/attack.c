// SPDX-License-Identifier: GPL-2.0
/*
 * A guest of 3 MiB that means harm (chapter 13): `-p NAME` is one attack out of
 * a table, `-p list` names them. Each ends in a fault as on hardware, in an error,
 * without effect, or in the guest's death with one line that says why. An end
 * other than the table's counts as a success of the attack: the guest panics.
 */
#include "attack.h"

/* How an attack ends; from 0 on: in that exception. */
#define NO_EFFECT	-1		/* it returns 0 */
#define REFUSED		-2		/* it returns an error */
#define KILLED		-3		/* it does not come back */

#define MEMORY_END	0x300000UL
#define LARGE		0x200000UL	/* size of a large page */

#define UD	6
#define GP	13
#define PF	14
#define CALL(number)	hypercall(number, ~0UL, ~0UL, ~0UL)

u64 pml4[512] __attribute__((aligned(4096)));
u64 pdpt[512] __attribute__((aligned(4096)));
u64 low[512] __attribute__((aligned(4096)));
u64 spare[512] __attribute__((aligned(4096)));
static u64 directory[512] __attribute__((aligned(4096)));
static u64 user_directory[512] __attribute__((aligned(4096)));
static u64 user_table[512] __attribute__((aligned(4096)));
static struct gate idt[32] __attribute__((aligned(16)));
static volatile struct ringlet_vcpu_page *const page = (void *)RINGLET_PAGE;

static void end(u64 why, const char *text)
{
	u64 length = 0;

	while (text && text[length])
		length++;
	hypercall(RINGLET_HC_SHUTDOWN, why, (u64)text, length);
}

void exercise_missing(const char *text)
{
	end(RINGLET_SHUTDOWN_PANIC, text);
}

static long read_byte(void);
static u64 where;

/* One block of the slot is mapped here. The guest is not told which; it tries. */
u64 find_block(void)
{
	u64 block = SLOT_BASE;

	do {
		block += SLOT_BLOCK;
		where = block;
		attempt(read_byte);
	} while (fault.vector != NO_FAULT);
	return block;
}

static long read_byte(void)
{
	(void)*(volatile u8 *)where;
	return 0;
}

static long write_byte(void)
{
	*(volatile u8 *)where = 0xff;
	return 0;
}

/* Writing to the switcher's pages */

static long write_text(void)
{
	where = find_block() + BLOCK_TEXT;
	return write_byte();
}

static long read_host(void)
{
	where = find_block() + BLOCK_HOST;
	return read_byte();
}

/* All of the only page that we can write: the stubs' stacks, the frame, the notes of missed NMIs. */
static long scribble(void)
{
	u64 *trap = (void *)(find_block() + BLOCK_TRAP);
	u64 sp0 = page->sp0;

	for (int round = 0; round < 100; round++) {
		for (unsigned int i = 0; i < 512; i++)
			trap[i] = round & 1 ? ~0UL : 0x8000000000000000UL + i;
		CALL(999);
	}
	page->sp0 = sp0;
	page->interrupts = 0;
	return 0;
}

/* A fault while our stack is the switcher's. */
static long stack_in_trap_page(void)
{
	asm volatile("mov %0, %%rsp; ud2" : : "r" (find_block() + BLOCK_TRAP + PAGE_SIZE));
	return 0;
}

/* Running the switcher's text in ring 1 */

static long jump_to_entry(void)
{
	((void (*)(void *))find_block())(0);
	return 0;
}

/* Its pops and its iretq (add $16, %rsp; iretq), with a frame for ring 0. */
static long jump_to_iretq(void)
{
	const u8 *text = (void *)find_block();
	u64 frame[] = { 0, 0, (u64)attempt, 0x10, 2, (u64)(spare + 512), 0x18 };

	while (*(u32 *)text != 0x10c48348 || *(unsigned short *)(text + 4) != 0xcf48)
		text++;
	asm volatile("mov %0, %%rsp; jmp *%1" : : "r" (frame), "r" (text) : "memory");
	return 0;
}

/* Privileged instructions, descriptors of ring 0 */

#define INSTRUCTION(name, text)							\
static long name(void)								\
{										\
	asm volatile(text : : : "rax", "rcx", "rdx", "memory");			\
	return 0;								\
}

INSTRUCTION(do_lgdt,	"lgdt spare")
INSTRUCTION(do_lidt,	"lidt spare")
INSTRUCTION(do_ltr,	"mov $0x40, %%eax; ltr %%ax")
INSTRUCTION(do_lldt,	"xor %%eax, %%eax; lldt %%ax")
INSTRUCTION(do_cr3,	"xor %%eax, %%eax; mov %%rax, %%cr3")
INSTRUCTION(do_dr7,	"xor %%eax, %%eax; mov %%rax, %%dr7")
INSTRUCTION(do_rdmsr,	"mov $0xc0000082, %%ecx; rdmsr")
INSTRUCTION(do_wrmsr,	"mov $0xc0000082, %%ecx; xor %%eax, %%eax; xor %%edx, %%edx; wrmsr")
INSTRUCTION(do_invlpg,	"invlpg 0")
INSTRUCTION(do_swapgs,	"swapgs")
INSTRUCTION(do_sysret,	"sysretq")
INSTRUCTION(do_gate_14,	"int $14")
INSTRUCTION(do_gate_80,	"int $0x80")
INSTRUCTION(do_mov_ss,	"mov $0x18, %%eax; mov %%eax, %%ss")
INSTRUCTION(do_mov_ds,	"mov $0x18, %%eax; mov %%eax, %%ds")
INSTRUCTION(do_ldt_ds,	"mov $0x07, %%eax; mov %%eax, %%ds")
INSTRUCTION(do_lret,	"pushq $0x10; pushq $attempt; lretq")
INSTRUCTION(do_iret,	"pushq $0x18; pushq $spare; pushq $2; pushq $0x10; pushq $attempt; iretq")
INSTRUCTION(do_iret_ldt, "pushq $0x89; pushq $spare; pushq $2; pushq $0x05; pushq $attempt; iretq")
INSTRUCTION(do_iret_nt,	"pushfq; orq $0x4000, (%%rsp); popfq; "
			"pushq $0x89; pushq $spare; pushq $2; pushq $0x81; pushq $attempt; iretq")

/* Each must be a general protection fault. Returns how many were not. */
static long all_fault(long (*const *run)(void), unsigned int count)
{
	long wrong = 0;

	for (unsigned int i = 0; i < count; i++) {
		attempt(run[i]);
		if (fault.vector != GP) {
			wrong++;
			print_number("  number ", i);
			print_number("    ended in ", fault.vector);
		}
	}
	return wrong;
}

static long privileged(void)
{
	static long (*const run[])(void) = {
		do_lgdt, do_lidt, do_ltr, do_lldt, do_cr3, do_dr7, do_rdmsr, do_wrmsr, do_invlpg,
		do_swapgs, do_sysret,
	};

	return all_fault(run, ARRAY_SIZE(run));
}

static long ring_0_selectors(void)
{
	static long (*const run[])(void) = {
		do_gate_14, do_gate_80, do_mov_ss, do_mov_ds, do_ldt_ds, do_lret, do_iret, do_iret_ldt,
		do_iret_nt,
	};

	return all_fault(run, ARRAY_SIZE(run));
}

/* IOPL, NT, AC, VIF and VIP by popf and a hypercall with all of that; interrupts off by cli. */
static long flags(void)
{
	u64 after;

	asm volatile("pushq $0x1d7000; popfq; int %1; pushfq; pop %0; pushq $2; popfq; cli"
		     : "=r" (after) : "i" (RINGLET_VECTOR), "a" (999) : "memory");
	return after & 0x3000;
}

/* A trap flag that MOV SS holds back until the switcher's first instruction. */
static long trap_in_switcher(void)
{
	asm volatile("mov %%ss, %%ecx; pushq $0x102; popfq; mov %%ecx, %%ss; int %0"
		     : : "i" (RINGLET_VECTOR), "a" (999) : "rcx", "memory");
	return 0;
}

/* Page tables */

static long tables_outside(void)
{
	pdpt[2] = 1UL << 40 | P | W;
	where = 2UL << 30;
	return read_byte();
}

static long root_outside(void)
{
	hypercall(RINGLET_HC_LOAD_CR3, 1UL << 40, 0, 0);
	return 0;
}

/* The table is its own child, four times over. */
static long tables_in_a_loop(void)
{
	pml4[5] = (u64)pml4 | P | W;
	hypercall(RINGLET_HC_FLUSH_ALL, 0, 0, 0);
	return *(volatile u64 *)(5UL << 39 | 5UL << 30 | 5UL << 21 | 5UL << 12) != pml4[0];
}

static long reserved_bit(void)
{
	pml4[6] = (u64)pdpt | P | W | PS;
	where = 6UL << 39;
	return read_byte();
}

/* A large page with its beginning in our memory and its end outside. */
static long half_outside(void)
{
	directory[1] = LARGE | P | W | PS;
	where = LARGE;
	attempt(read_byte);
	where = MEMORY_END + PAGE_SIZE;		/* behind the device page */
	return read_byte();
}

/* Hypercalls */

static long bounds(void)
{
	static const u64 unknown[] = {
		RINGLET_HC_COUNT, 999, 1UL << 31, 1UL << 32, 1UL << 63, ~0UL, -26UL,
	};
	static const u64 checked[] = {
		RINGLET_HC_PRINT, RINGLET_HC_SHUTDOWN, RINGLET_HC_SET_ENTRIES, RINGLET_HC_LOAD_TLS,
		RINGLET_HC_DEVICE_STATUS, RINGLET_HC_DEVICE_RESET, RINGLET_HC_DEVICE_FEATURES,
		RINGLET_HC_DEVICE_QUEUE, RINGLET_HC_DEVICE_CONFIG, RINGLET_HC_NOTIFY, RINGLET_HC_FILL,
	};
	long accepted = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(unknown); i++)
		accepted += CALL(unknown[i]) >= 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(checked); i++)
		accepted += CALL(checked[i]) >= 0;
	accepted += hypercall(RINGLET_HC_PRINT, MEMORY_END - 1, 2, 0) >= 0;
	accepted += hypercall(RINGLET_HC_PRINT, 0, 4097, 0) >= 0;
	accepted += hypercall(RINGLET_HC_PRINT, ~0UL - 1, 4, 0) >= 0;
	/* These have no wrong arguments. */
	CALL(RINGLET_HC_SET_CPU_NUMBER);
	CALL(RINGLET_HC_FLUSH_PAGE);
	CALL(RINGLET_HC_SET_TIMER);
	hypercall(RINGLET_HC_SET_TIMER, 0, 0, 0);
	return accepted;
}

static long entries(void)
{
	u64 *entry = spare, accepted = 0, taken;

	for (int i = 0; i < 6; i++) {
		entry[i] = 1UL << 63;
		taken = hypercall(RINGLET_HC_SET_ENTRIES, (u64)spare, 0, 0) >= 0;
		/* The ends of the two ranges are only compared. */
		accepted += taken && i != 2 && i != 4;
		entry[i] = 0;
	}
	return accepted + (hypercall(RINGLET_HC_SET_KERNEL_GS, 1UL << 63, 0, 0) >= 0);
}

/* An undefined instruction on AMD's; on Intel's it must find no ring 0 to enter. */
INSTRUCTION(do_sysenter, "sysenter")

static long sysenter(void)
{
	attempt(do_sysenter);
	return fault.vector != GP && fault.vector != UD;
}

/* Nobody has said where a system call goes. */
static long syscall_to_nowhere(void)
{
	asm volatile("syscall" : : : "rcx", "r11", "memory");
	return 0;
}

/* Addresses that are none */

static long rip(void)
{
	((void (*)(void))(1UL << 63))();
	return 0;
}

static long rsp(void)
{
	asm volatile("mov %0, %%rsp; int %1; ud2"
		     : : "r" (1UL << 63), "i" (RINGLET_VECTOR), "a" (999));
	return 0;
}

/* Events that cannot be delivered */

static long no_gate(void)
{
	idt[UD].bits = 0;
	asm volatile("ud2");
	return 0;
}

/* The handler faults, and so on, until the stack ends at page 0. */
static long fault_in_handler(void)
{
	static const u8 ud2[] = { 0x0f, 0x0b };

	idt[UD] = GATE(ud2, RINGLET_KERNEL_CS, 0);
	asm volatile("mov $0x2000, %%esp; ud2" : : : "memory");
	return 0;
}

INSTRUCTION(one_ud2, "ud2")

static long storm(void)
{
	for (int i = 0; i < 3000; i++)
		attempt(one_ud2);
	return fault.vector != UD;
}

/* A PKRU that denies everything; a fault if the CPU has none. */
static long deny_keys(void)
{
	static u8 area[4096] __attribute__((aligned(64)));

	area[513] = 1 << 1;			/* XSTATE_BV: component 9, which lies far behind */
	for (unsigned int i = 576; i < sizeof(area); i++)
		area[i] = 0xff;
	asm volatile("xrstor %0" : : "m" (area), "a" (1 << 9), "d" (0));
	return 0;
}

/* What a guest leaves in the FPU: unmasked exceptions, one of them pending. */
static long fpu(void)
{
	static const u32 mxcsr;

	asm volatile("fninit; fldz; fldz; fdivrp; pushq $0x300; fldcw (%%rsp); pop %%rax; ldmxcsr %0"
		     : : "m" (mxcsr) : "rax");
	attempt(deny_keys);
	return CALL(999) != -38;
}

static long user_hypercall(void)
{
	static const u8 code[] = { 0xcd, RINGLET_VECTOR };

	asm volatile("push %0; push %1; push $2; push $0x33; push %2; iretq"
		     : : "r" (0x2bUL), "r" (USER + (u64)spare + PAGE_SIZE), "r" (USER + (u64)code));
	return 0;
}

static const struct attack {
	const char *name;
	int ends;
	long (*run)(void);
} attacks[] = {
	{ "write-text", PF, write_text },
	{ "write-idt", PF, exploit_idt },
	{ "write-gdt", PF, exploit_gdt },
	{ "read-host-page", PF, read_host },
	{ "scribble", NO_EFFECT, scribble },
	{ "stack-in-trap-page", KILLED, stack_in_trap_page },
	{ "jump-to-entry", PF, jump_to_entry },
	{ "jump-to-iretq", GP, jump_to_iretq },
	{ "privileged", NO_EFFECT, privileged },
	{ "ring-0-selectors", NO_EFFECT, ring_0_selectors },
	{ "call-gate", REFUSED, exploit_call_gate },
	{ "over-switcher", PF, exploit_over_switcher },
	{ "fill-switcher", REFUSED, exploit_fill_switcher },
	{ "flags", NO_EFFECT, flags },
	{ "return-flags", NO_EFFECT, exploit_flags },
	{ "user-return-flags", GP, exploit_user_flags },
	{ "trap-in-switcher", 1, trap_in_switcher },
	{ "selector", NO_EFFECT, exploit_selector },
	{ "tables-outside", KILLED, tables_outside },
	{ "root-outside", KILLED, root_outside },
	{ "tables-in-a-loop", NO_EFFECT, tables_in_a_loop },
	{ "reserved-bit", PF, reserved_bit },
	{ "half-outside", KILLED, half_outside },
	{ "bounds", NO_EFFECT, bounds },
	{ "entries", NO_EFFECT, entries },
	{ "sysenter", NO_EFFECT, sysenter },
	{ "syscall-to-nowhere", PF, syscall_to_nowhere },
	{ "rip", GP, rip },
	{ "rsp", KILLED, rsp },
	{ "no-gate", KILLED, no_gate },
	{ "fault-in-handler", KILLED, fault_in_handler },
	{ "storm", NO_EFFECT, storm },
	{ "fpu", NO_EFFECT, fpu },
	{ "user-hypercall", GP, user_hypercall },
};

static void build_tables(void)
{
	pml4[0] = (u64)pdpt | P | W | U;
	pdpt[0] = (u64)directory | P | W;
	directory[0] = (u64)low | P | W;
	pdpt[USER >> 30] = (u64)user_directory | P | W | U;
	user_directory[0] = (u64)user_table | P | W | U;
	for (u64 i = 1; i < 512; i++) {
		low[i] = i << 12 | P | W;
		user_table[i] = i << 12 | P | W | U;
	}
	hypercall(RINGLET_HC_LOAD_CR3, (u64)pml4, 0, 0);
}

static void set_handlers(void)
{
	for (int i = 0; i < 32; i++)
		idt[i] = GATE(catchers + 16 * i, RINGLET_KERNEL_CS, 0);
	page->sp0 = (u64)(spare + 512);
	hypercall(RINGLET_HC_SET_IDT, (u64)idt, sizeof(idt) - 1, 0);
}

/* Print how it ended; false: not as it should. */
static int report(const struct attack *attack, long result)
{
	if (fault.vector != NO_FAULT)
		print_number("  fault ", fault.vector);
	else if (result < 0)
		print_number("  refused, error -", -result);
	else if (result)
		print_number("  it went through: ", result);
	else
		print("  without effect");
	if (found)
		print_number("  the secret is ", found);
	if (fault.vector != NO_FAULT)
		return !found && (int)fault.vector == attack->ends;
	return !found && attack->ends == (result < 0 ? REFUSED : result ? KILLED - 1 : NO_EFFECT);
}

static int equal(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

void main(const char *wanted)
{
	char name[32];
	unsigned int i = 0;

	for (; i < sizeof(name) - 1 && wanted[i] > ' '; i++)
		name[i] = wanted[i];
	name[i] = 0;
	build_tables();
	set_handlers();
	for (i = 0; i < ARRAY_SIZE(attacks); i++) {
		if (equal(name, "list"))
			print(attacks[i].name);
		if (!equal(name, attacks[i].name))
			continue;
		if (!report(&attacks[i], attempt(attacks[i].run)))
			end(RINGLET_SHUTDOWN_PANIC, "that is not how this attack should end");
		end(RINGLET_SHUTDOWN_POWEROFF, 0);
	}
	if (!equal(name, "list"))
		end(RINGLET_SHUTDOWN_PANIC, "no such attack; -p list names them");
}
