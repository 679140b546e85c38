/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The host module's own structures and what its files call of one another.
 * Read this first; each group of functions names its file and chapter.
 */
#ifndef RINGLET_H
#define RINGLET_H

#if CHAPTER >= 5
#include <linux/hrtimer.h>
#endif
#include <linux/kref.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#if CHAPTER >= 3
#include <linux/wait.h>
#endif
#if CHAPTER >= 6
#include <asm/fpu/api.h>
#endif
#include <ringlet/control.h>
#include <ringlet/hypercall.h>
#include "switcher.h"

#if CHAPTER >= 4
/* Shadow page table pages of one vCPU; when they run out, all are dropped. */
#define SHADOW_PAGES	1024
#endif

/* What a handler of an exit or a hypercall says. */
enum action {
	RESUME,			/* enter the guest again */
#if CHAPTER >= 3
	PAUSE,			/* leave the atomic loop: halted, or a signal */
#endif
	TO_LAUNCHER,		/* return from the RUN ioctl, vcpu->run says why */
};

/**
 * struct memory_range - pinned guest-physical memory
 * @start:	first gpa
 * @count:	pages; 0 if the range is not set
 * @writable:	false for the device page
 * @pages:	@count pages, each held by pin_user_pages()
 */
struct memory_range {
	u64 start;
	u64 count;
	bool writable;
	struct page **pages;
};

enum {
	MEMORY_RAM,
#if CHAPTER >= 7
	MEMORY_READONLY,
#endif
	MEMORY_RANGES,
};

#if CHAPTER >= 4
/**
 * struct shadow - the page tables that the CPU uses for one vCPU
 *
 * A software TLB: everything here may be dropped at any time and comes back on
 * the next fault. Private to its vCPU, so only that vCPU's thread touches it.
 *
 * @root:	the PML4 in force
 * @guest_cr3:	the guest's own tables, which it stands for
 * @free:	stack of @nfree pages for tables below the root. A page whose
 *		->private is 1 was filled from a guest leaf of 2 MiB or more
 */
struct shadow {
	u64 *root;
	u64 guest_cr3;
	unsigned int nfree;
	struct page *free[SHADOW_PAGES];
#if CHAPTER >= 12
	/*
	 * Cached roots: @pml4[i] stands for tables->roots[i].guest_cr3; @root is
	 * one of them. PML4 entries 257 up (the guest kernel) are the same in all.
	 */
	u64 *pml4[GUEST_ROOTS];
#endif
};
#endif

/**
 * struct ringlet_vcpu - one virtual CPU
 *
 * The thread in RUN owns it (@lock); other threads may only set bits in
 * @interrupts and call vcpu_kick().
 *
 * @block:	number of its block in slot 256
 * @tables, @trap, @host, @idt: kernel addresses of the block's pages
 * @slot:	PML4 entry 256 of its page tables, and the tables behind it
 * @regs:	the guest's registers between exit and entry
 * @flat:	page tables of a guest that has not turned paging on
 * @started:	it has its first state
 * @dead:	it was killed and will not run again
 */
struct ringlet_vcpu {
	struct ringlet_vm *vm;
	unsigned int id;
	struct mutex lock;		/* held in RUN */

	unsigned int block;
	struct switcher_tables *tables;
	struct switcher_trap *trap;
	struct switcher_host *host;
	gate_desc *idt;
	struct page *slot_pages[3];
	u64 slot;

	struct switcher_frame regs;
	u64 *flat[4];
	bool started;
	bool dead;
	struct ringlet_run *run;
#if CHAPTER >= 2
	bool complete_hypercall;	/* the launcher owes a result for rax */
#endif
#if CHAPTER >= 3
	bool in_switcher;		/* an NMI stopped it in ring 0: resume it there */
	bool halted;			/* it waits for an interrupt */
	wait_queue_head_t wait;
#endif
#if CHAPTER >= 4
	struct shadow shadow;
#endif
#if CHAPTER >= 5
	bool in_guest;			/* from the last look at @interrupts to the exit */
	struct task_struct *thread;	/* in RUN, for vcpu_kick() */
	u64 idt_gva;
	u16 idt_limit;
	DECLARE_BITMAP(interrupts, 256);	/* pending, by vector */
	struct hrtimer timer;
#endif
#if CHAPTER >= 6
	struct fpu_guest fpu;
	u64 user_lstar;			/* the host's, while ours are in the MSRs */
	u64 user_sysenter_cs;
	struct ringlet_entries entries;
#endif
#if CHAPTER >= 14
	bool claimed;			/* somebody gives it its first state */
#endif
};

/**
 * struct ringlet_vm - one guest
 *
 * @refs:	one for the VM's file, one for each vCPU's
 * @mm:		the launcher's; a vCPU runs in no other
 */
struct ringlet_vm {
	struct kref refs;
	struct mm_struct *mm;
	struct mutex lock;		/* serialises set-up */
	struct memory_range memory[MEMORY_RANGES];
	struct ringlet_vcpu *vcpus[RINGLET_MAX_VCPUS];
	unsigned int nr_vcpus;
#if CHAPTER >= 9
	spinlock_t notify_lock;		/* covers @notify */
	struct eventfd_ctx *notify[RINGLET_MAX_DEVICES][RINGLET_MAX_QUEUES];
	struct list_head irqfds;	/* of the interrupt lines, under @lock */
#endif
#if CHAPTER >= 14
	u8 line_vcpu[RINGLET_LINES];	/* where each interrupt line goes */
#endif
};

/* The guest's privilege: ring 3 or ring 1. */
static inline bool in_user_mode(const struct ringlet_vcpu *vcpu)
{
	return (vcpu->regs.cs & 3) == 3;
}

static inline bool is_canonical(u64 gva)
{
	return (u64)((s64)(gva << 16) >> 16) == gva;
}

#if SOLUTION < 9999
/* vcpu.c: stands where your code will; ends the guest and says which exercise it is */
#define EXERCISE(id) exercise_missing("exercise " id " is not done: see README.md#" id)
void exercise_missing(const char *text);

/* The same for slow code that works: the run goes on, and the kernel log says why it is slow. */
#define EXERCISE_SLOW(id) \
	pr_err_once("exercise " id " is open, the code is slow: see README.md#" id "\n")

/* The same for code that no run may do without, and below for assembler: no run begins. */
#define EXERCISE_FIRST(id) const char first_exercise[] __weak = \
	"exercise " id " is not done: see README.md#" id
extern const char first_exercise[] __weak;
#endif

/* checks.c: can this machine be a host? (1) */
int check_host(void);

/* slot.c: PML4 entry 256 (1) */
int slot_init(void);
void slot_exit(void);
int slot_attach(struct mm_struct *mm);
void slot_detach(struct mm_struct *mm);
int slot_add_vcpu(struct ringlet_vcpu *vcpu);
void slot_remove_vcpu(struct ringlet_vcpu *vcpu);
unsigned long slot_address(const struct ringlet_vcpu *vcpu, unsigned int offset);

/* flat.c: memory of a guest without page tables of its own (1) */
int flat_init(struct ringlet_vcpu *vcpu);
void flat_load(struct ringlet_vcpu *vcpu);
void flat_free(struct ringlet_vcpu *vcpu);

/* vm.c: guests and their memory (1) */
struct ringlet_vm *vm_create(void);
void vm_put(struct ringlet_vm *vm);
int vm_set_memory(struct ringlet_vm *vm, const struct ringlet_memory *memory);
#if CHAPTER >= 6
int vm_read(struct ringlet_vm *vm, u64 gpa, void *to, size_t length);
#endif

/**
 * vm_page() - the host's address of a page of guest memory
 * @vm:		the VM
 * @gpa:	any address in the page
 * @write:	whether it is to be written
 *
 * Return: the page's address, or NULL if the guest has no such memory. The
 * guest may change what stands there at any time: read once, check the copy.
 * Context: any.
 */
static inline void *vm_page(const struct ringlet_vm *vm, u64 gpa, bool write)
{
	const struct memory_range *ram = &vm->memory[MEMORY_RAM];
#if CHAPTER >= 7
	const struct memory_range *devices = &vm->memory[MEMORY_READONLY];
#endif
	u64 index = gpa >> PAGE_SHIFT;

	if (index < ram->count)
		return page_address(ram->pages[index]);
#if CHAPTER >= 7
	index -= devices->start >> PAGE_SHIFT;
	if (!write && index < devices->count)
		return page_address(devices->pages[index]);
#endif
	return NULL;
}

/* vcpu.c: the run loop (1) */
int vcpu_create(struct ringlet_vm *vm, unsigned int id);
void vcpu_destroy(struct ringlet_vcpu *vcpu);
__printf(2, 3) enum action vcpu_kill(struct ringlet_vcpu *vcpu, const char *fmt, ...);
#if CHAPTER >= 5
void vcpu_kick(struct ringlet_vcpu *vcpu);
#endif
#if CHAPTER >= 14
void vcpu_start(struct ringlet_vcpu *vcpu, const struct ringlet_start *start);
#endif

#if CHAPTER >= 2
/* exits.c, hypercalls.c: the two tables (2) */
enum action handle_exit(struct ringlet_vcpu *vcpu);
enum action handle_hypercall(struct ringlet_vcpu *vcpu);
const char *hypercall_name(unsigned int number);
#endif

#if CHAPTER >= 3
/* reraise.S: hand an interrupt to the host's own handler (3) */
asmlinkage void reraise(unsigned long handler);
#endif

#if CHAPTER >= 4
/* walk.c: the guest's page tables (4) */

/**
 * struct walk - what the guest's tables say of one address
 * @gpa:	where it leads (the page's, not the byte's)
 * @leaf:	the last entry, with A and D as the walk left them
 * @level:	of the last entry: 1 4 KiB, 2 2 MiB, 3 1 GiB
 * @table:	gpa of the table that holds @leaf
 * @upper:	RW and USER where all entries above have them, NX where any has
 * @error:	for a refused access: error code of the page fault
 */
struct walk {
	u64 gpa;
	u64 leaf;
	int level;
	u64 table;
	u64 upper;
	u64 error;
};

int guest_walk(struct ringlet_vcpu *vcpu, u64 gva, u64 error, struct walk *walk);

/* shadow.c: the CPU's page tables (4) */
int shadow_init(struct ringlet_vcpu *vcpu);
void shadow_free(struct ringlet_vcpu *vcpu);
void shadow_load_cr3(struct ringlet_vcpu *vcpu, u64 cr3);
void shadow_flush_user(struct ringlet_vcpu *vcpu);
void shadow_flush_all(struct ringlet_vcpu *vcpu);
void shadow_flush_page(struct ringlet_vcpu *vcpu, u64 gva);
int shadow_map(struct ringlet_vcpu *vcpu, u64 gva, u64 error, struct walk *walk);
enum action shadow_fault(struct ringlet_vcpu *vcpu, u64 gva, u64 error);
#endif

#if CHAPTER >= 5
int guest_read(struct ringlet_vcpu *vcpu, u64 gva, void *to, size_t length);
int guest_write(struct ringlet_vcpu *vcpu, u64 gva, const void *from, size_t length);

/* inject.c: events for the guest (5) */
void interrupt_raise(struct ringlet_vcpu *vcpu, unsigned int vector);
enum action inject_interrupts(struct ringlet_vcpu *vcpu);
enum action inject_exception(struct ringlet_vcpu *vcpu, unsigned int vector, u64 error);
enum action inject_page_fault(struct ringlet_vcpu *vcpu, u64 gva, u64 error);

/* timer.c (5) */
void timer_init(struct ringlet_vcpu *vcpu);
void timer_set(struct ringlet_vcpu *vcpu, u64 ns);
void timer_stop(struct ringlet_vcpu *vcpu);
#endif

#if CHAPTER >= 6
enum action return_to_user(struct ringlet_vcpu *vcpu, const u64 frame[5]);
enum action return_to_kernel(struct ringlet_vcpu *vcpu, const u64 frame[5]);

/* emulate.c: privileged instructions that pv_ops does not cover (6) */
enum action emulate(struct ringlet_vcpu *vcpu);
#endif

#if CHAPTER >= 9
/* eventfd.c: queues and interrupt lines as file descriptors (9) */
int notify_bind(struct ringlet_vm *vm, const struct ringlet_eventfd *bind);
bool notify_signal(struct ringlet_vm *vm, u64 device, u64 queue);
int irqfd_bind(struct ringlet_vm *vm, const struct ringlet_eventfd *bind);
void eventfds_free(struct ringlet_vm *vm);
int line_raise(struct ringlet_vm *vm, unsigned int line);
#endif

#if CHAPTER >= 12
const u64 *guest_table(struct ringlet_vcpu *vcpu, u64 gva, u64 *upper);
void shadow_sync_root(struct ringlet_vcpu *vcpu, u64 hardware_cr3);
#endif

#if CHAPTER >= 2
/* stats.c: counters in debugfs (2) */
enum counter {
	COUNT_INTERRUPT, COUNT_NMI, COUNT_PAGE_FAULT, COUNT_PROTECTION,
	COUNT_HYPERCALL, COUNT_DEBUG, COUNT_EXCEPTION, COUNT_OTHER,
	COUNT_ENTRIES,
#if CHAPTER >= 4
	COUNT_FILL, COUNT_FLUSH,
#endif
#if CHAPTER >= 5
	COUNT_INJECT,
#endif
#if CHAPTER >= 9
	COUNT_NOTIFY,
#endif
	COUNT_HYPERCALLS,	/* one per hypercall from here on */
	COUNTERS = COUNT_HYPERCALLS + RINGLET_HC_COUNT,
};

void stats_init(void);
void stats_exit(void);
DECLARE_PER_CPU(u64[COUNTERS], ringlet_counters);

static inline void count(enum counter counter)
{
	this_cpu_inc(ringlet_counters[counter]);
}
#endif

#endif
