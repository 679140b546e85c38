// SPDX-License-Identifier: GPL-2.0
/*
 * Virtual CPUs: their files, the RUN loop and the C side of the world switch
 * (chapter 1; interrupts and scheduling: 3, FPU and system calls: 6).
 *
 * From chapter 3 on RUN is two loops. The outer one may sleep: it waits for a halted vCPU, lets
 * other tasks run, looks for signals. The inner one runs with preemption off
 * and the guest's MSRs loaded, from one exit to the next.
 */
#define pr_fmt(fmt) "ringlet: " fmt
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/desc.h>
#include <asm/nospec-branch.h>
#if CHAPTER >= 3
#include <linux/hw_breakpoint.h>
#include <linux/sched/signal.h>
#include <asm/apic.h>
#include <asm/debugreg.h>
#include <asm/irq_vectors.h>
#include <asm/mce.h>
#include <asm/trapnr.h>
#endif
#if CHAPTER >= 6
#include <asm/fpu/sched.h>
#include <asm/pkru.h>
#endif
#include "ringlet.h"
#include "trace.h"

#if CHAPTER >= 3
/*
 * CR4 bits that ring 1 must not meet: global TLB entries, protection by U/S
 * and keys that only fits the host, counters, a trapped RDTSC, CET.
 */
#define CR4_NOT_IN_GUEST (X86_CR4_PGE | X86_CR4_SMAP | X86_CR4_PKE | X86_CR4_PCE | \
			  X86_CR4_TSD | BIT_ULL(23) /* CET */ | BIT_ULL(24) /* PKS */)
#endif

/* RFLAGS that a guest may have of its own; IF is ours, IOPL always 0. */
#define RFLAGS_OF_GUEST (X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | X86_EFLAGS_ZF | \
			 X86_EFLAGS_SF | X86_EFLAGS_TF | X86_EFLAGS_DF | X86_EFLAGS_OF | \
			 X86_EFLAGS_NT | X86_EFLAGS_RF | X86_EFLAGS_AC | X86_EFLAGS_ID)

#define FRAME_TOP	(TRAP_STACK_TOP - sizeof(struct switcher_frame))

#if SOLUTION < 9999
static const char *missing;	/* what this run came upon first */

void exercise_missing(const char *text)
{
	pr_err("%s\n", text);
	if (!READ_ONCE(missing))
		WRITE_ONCE(missing, text);
}
#endif

/**
 * vcpu_kill() - end the guest with one line that says why
 * @vcpu:	the vCPU that found out
 * @fmt:	the line, for the launcher's user
 *
 * Return: TO_LAUNCHER, to be passed on.
 */
enum action vcpu_kill(struct ringlet_vcpu *vcpu, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(vcpu->run->reason, sizeof(vcpu->run->reason), fmt, args);
	va_end(args);
	vcpu->run->exit = RINGLET_EXIT_KILLED;
	vcpu->dead = true;
	return TO_LAUNCHER;
}

#if CHAPTER >= 5
/**
 * vcpu_kick() - make a vCPU look at its pending interrupts
 * @vcpu:	any vCPU
 *
 * Context: any.
 */
void vcpu_kick(struct ringlet_vcpu *vcpu)
{
	struct task_struct *thread;

#if SOLUTION >= 505
	/*
	 * Pairs with the barrier in enter_guest(): either we see in_guest, or
	 * the vCPU sees the bit that our caller set.
	 */
	smp_mb();
#endif
	rcu_read_lock();	/* a thread that leaves RUN may exit */
	thread = READ_ONCE(vcpu->thread);
#if SOLUTION >= 505
	if (READ_ONCE(vcpu->in_guest) && thread)
		kick_process(thread);
#else
	/* Exercise 5.5: an IPI for a CPU that runs the guest; on our own it has exited. */
	if (thread && task_cpu(thread) != raw_smp_processor_id())
		EXERCISE("5.5");
#endif
	rcu_read_unlock();
	wake_up(&vcpu->wait);
}
#endif

#if CHAPTER >= 3
/* Whatever keeps this thread from going on: signal, or work at the border. */
static bool must_return(void)
{
	return signal_pending(current) || test_thread_flag(TIF_NOTIFY_RESUME);
}

/* Does something wait for this CPU, or for this thread outside of the guest? */
static bool must_leave(void)
{
#if SOLUTION >= 303
	return need_resched() || must_return();
#else
	EXERCISE("3.3");	/* or the guest keeps the CPU for ever */
	return true;
#endif
}
#endif

#if CHAPTER >= 6
/*
 * SYSCALL and SYSENTER must not reach the host's entry points. The host never
 * executes them in ring 0, so the guest's values may stay while interrupt
 * handlers run; only another task needs them back.
 */
static void load_guest_msrs(struct ringlet_vcpu *vcpu)
{
	rdmsrl(MSR_LSTAR, vcpu->user_lstar);
	wrmsrl(MSR_LSTAR, slot_address(vcpu, switcher_syscall - switcher_text));
	if (boot_cpu_has(X86_FEATURE_SEP)) {
		rdmsrl(MSR_IA32_SYSENTER_CS, vcpu->user_sysenter_cs);
		wrmsrl(MSR_IA32_SYSENTER_CS, 0);
	}
}

static void put_guest_msrs(struct ringlet_vcpu *vcpu)
{
	wrmsrl(MSR_LSTAR, vcpu->user_lstar);
	if (boot_cpu_has(X86_FEATURE_SEP))
		wrmsrl(MSR_IA32_SYSENTER_CS, vcpu->user_sysenter_cs);
}
#endif

/* What the way out restores and what cannot change while preemption is off. */
static void note_host_cpu(struct ringlet_vcpu *vcpu)
{
	struct switcher_host *host = vcpu->host;

	native_store_gdt(&host->gdt_ro);
	host->gdt_rw.size = host->gdt_ro.size;
	host->gdt_rw.address = (unsigned long)get_cpu_gdt_rw(smp_processor_id());
	host->tss_desc = host->gdt_rw.address + GDT_ENTRY_TSS * 8;
	store_idt(&host->idt);
}

#if CHAPTER >= 6
/*
 * A selector that our GDT has for ring 3, or null: anything else would fault
 * in the switcher.
 */
static u16 checked_selector(struct ringlet_vcpu *vcpu, u16 selector)
{
	unsigned int index = selector >> 3;

	if (selector & 4 || index >= ARRAY_SIZE(vcpu->tables->gdt))
		return 0;
#if SOLUTION >= 1305
	if (!vcpu->tables->gdt[index].p)
		return 0;		/* a TLS entry may have gone since the load */
#endif
	if (index == RINGLET_KERNEL_DS >> 3)
		return selector;
	if (index == GDT_ENTRY_DEFAULT_USER_DS || index == GDT_ENTRY_CPUNODE ||
	    (index >= GDT_ENTRY_TLS_MIN && index <= GDT_ENTRY_TLS_MAX))
		return selector | 3;
	return 0;
}
#endif

/* Bring the registers into a shape that iretq takes and that is the guest's. */
static void sanitize(struct ringlet_vcpu *vcpu)
{
	struct switcher_frame *regs = &vcpu->regs;
	bool user = in_user_mode(vcpu);

	regs->cs = user ? __USER_CS : RINGLET_KERNEL_CS;
	regs->ss = user ? __USER_DS : RINGLET_KERNEL_DS;
#if SOLUTION >= 1304
	regs->rflags &= RFLAGS_OF_GUEST;
#endif
	regs->rflags |= X86_EFLAGS_FIXED;
#if CHAPTER >= 3
	regs->rflags |= X86_EFLAGS_IF;	/* the host's interrupts end the run */
#endif
	if (!is_canonical(vcpu->host->guest_fs))
		vcpu->host->guest_fs = 0;
	if (!is_canonical(vcpu->host->guest_gs))
		vcpu->host->guest_gs = 0;
#if CHAPTER >= 6
	vcpu->host->ds = checked_selector(vcpu, vcpu->host->ds);
	vcpu->host->es = checked_selector(vcpu, vcpu->host->es);
	vcpu->host->fs_sel = checked_selector(vcpu, vcpu->host->fs_sel);
	vcpu->host->gs_sel = checked_selector(vcpu, vcpu->host->gs_sel);
#endif
}

/*
 * Take over what the exit left on its stack in the TRAP page. Ring 0 wrote it
 * and no guest instruction has run since.
 */
static void read_exit_frame(struct ringlet_vcpu *vcpu)
{
	u64 trap = slot_address(vcpu, BLOCK_TRAP);
	struct switcher_frame *frame = (void *)vcpu->trap + (vcpu->host->frame - trap);
#if CHAPTER >= 3
	u64 entry = slot_address(vcpu, switcher_world - switcher_text);
	u64 entered = slot_address(vcpu, switcher_entered - switcher_text);

	/* Ring 1 can run this text and ring 3 can point there: CS decides. */
	if (!(frame->cs & 3) && frame->rip >= entry && frame->rip < entered) {
		/* An NMI in the middle of the pops: we never left. */
		vcpu->regs.vector = frame->vector;
		return;
	}
	vcpu->in_switcher = !(frame->cs & 3);
#endif
	vcpu->regs = *frame;
}

/* The switch itself: interrupts are off and everything is prepared. */
static void switch_to_guest(struct ringlet_vcpu *vcpu)
{
	unsigned long entry = slot_address(vcpu, switcher_enter - switcher_text);
	unsigned int offset = FRAME_TOP;
	unsigned long frame;
#if CHAPTER >= 3
	u64 cr4;
	u16 ldt;

	/*
	 * A stub that an NMI stopped still has its data on the top of the stack;
	 * an NMI in the pops must not find its own stack in use.
	 */
	if (vcpu->in_switcher)
		offset = TRAP_RESUME;
	vcpu->trap->missed = 0;
	asm volatile("mov %%cr4, %0" : "=r" (cr4));
	vcpu->host->cr4 = cr4;
	vcpu->tables->guest_cr4 = cr4 & ~CR4_NOT_IN_GUEST;
	/* An LDT's base would be looked up in the guest's tables: forged gates. */
	store_ldt(ldt);
	if (ldt)
		asm volatile("lldt %w0" : : "r" (0));
#endif

	*(struct switcher_frame *)((void *)vcpu->trap + offset) = vcpu->regs;
	frame = slot_address(vcpu, BLOCK_TRAP + offset);
	asm volatile(ANNOTATE_RETPOLINE_SAFE "call *%1"
		     : "+D" (frame) : "r" (entry)
		     : "rax", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "cc", "memory");

#if CHAPTER >= 3
	if (ldt)
		asm volatile("lldt %w0" : : "r" (ldt));
#endif
	read_exit_frame(vcpu);
#if CHAPTER >= 12
	shadow_sync_root(vcpu, vcpu->host->exit_cr3);
#endif
}

#if CHAPTER < 3
/* One trip into the guest and back. The guest runs with interrupts off, too. */
static void enter_guest(struct ringlet_vcpu *vcpu)
{
	local_irq_disable();
	note_host_cpu(vcpu);
	sanitize(vcpu);
	switch_to_guest(vcpu);
#if SOLUTION < 105
	if (vcpu->regs.vector == EXIT_EXERCISE)
		EXERCISE("1.5");
#endif
	trace_ringlet_exit(vcpu->id, vcpu->regs.vector & 0xff, vcpu->regs.error,
			   vcpu->regs.rip, vcpu->regs.cs);
	local_irq_enable();
}
#endif

#if CHAPTER < 2
static int run_loop(struct ringlet_vcpu *vcpu)
{
	enter_guest(vcpu);
	vcpu_kill(vcpu, "vector %u, error %#llx, rax %#llx", (u8)vcpu->regs.vector,
		  vcpu->regs.error, vcpu->regs.rax);
	vcpu->run->rip = vcpu->regs.rip;
	return 0;
}
#elif CHAPTER < 3
static int run_loop(struct ringlet_vcpu *vcpu)
{
	do {
		enter_guest(vcpu);
		count(COUNT_ENTRIES);
#if SOLUTION < 9999
		if (missing)
			break;
#endif
	} while (handle_exit(vcpu) == RESUME);
	vcpu->run->rip = vcpu->regs.rip;
	return 0;
}
#else
/*
 * Give the host's handlers what belongs to them. Interrupts are still off, and
 * NMIs still blocked if one ended the run: its handler's iretq unblocks them.
 */
static void deliver_host_events(struct ringlet_vcpu *vcpu)
{
	const gate_desc *idt = (void *)vcpu->host->idt.address;
	u64 vector = vcpu->regs.vector, missed = vcpu->trap->missed;
	/* It hit the guest, which is to the host as its user mode. */
	struct pt_regs in_guest = { .cs = 3, .flags = X86_EFLAGS_IF };

	if (vector == X86_TRAP_MC)
		do_machine_check(&in_guest);
	else if (vector != EXIT_NOTHING && (u8)vector >= FIRST_EXTERNAL_VECTOR)
		reraise(gate_offset(&idt[(u8)vector]));
#if SOLUTION >= 302
	if (vector == X86_TRAP_NMI)
		asm volatile("int $2");
	/*
	 * These hit the switcher between two worlds and went on by iretq, so
	 * NMIs are no longer blocked: only a new one is safe to raise.
	 */
	if (missed & MISSED_NMI)
		apic->send_IPI(smp_processor_id(), NMI_VECTOR);
	if (missed & MISSED_MC)
		asm volatile("int $18");
#endif
}

#if SOLUTION < 302
/*
 * Exercise 3.2: above, raise the NMI that ended the run, and what the switcher
 * noted in TRAP. Then take this line away.
 */
EXERCISE_FIRST("3.2");
#endif

/*
 * One trip into the guest. Return: RESUME with vcpu->regs.vector to be handled,
 * PAUSE if it did not enter, or what inject_interrupts() said.
 */
static enum action enter_guest(struct ringlet_vcpu *vcpu)
{
	enum action action;
#if CHAPTER >= 6
	u32 pkru;
#endif

	local_irq_disable();
#if CHAPTER >= 5
#if SOLUTION >= 505
	WRITE_ONCE(vcpu->in_guest, true);
	smp_mb();	/* Pairs with vcpu_kick(). */
#else
	/* Exercise 5.5, too: from where on does a new interrupt need a kick? */
#endif
#endif
	action = RESUME;
	if (vcpu->in_switcher) {
		/*
		 * The stub may carry an interrupt that this CPU's APIC has in
		 * service: finish it here and now, and come back at once.
		 */
#if CHAPTER >= 5
		if (must_leave() || !bitmap_empty(vcpu->interrupts, 256))
#else
		if (must_leave())
#endif
			apic->send_IPI(smp_processor_id(), RESCHEDULE_VECTOR);
	} else if (must_leave()) {
		action = PAUSE;
	} else {
#if CHAPTER >= 5
		action = inject_interrupts(vcpu);
#endif
		sanitize(vcpu);
	}
	if (action != RESUME)
		goto out;

#if CHAPTER >= 6
	/* A softirq may have used the FPU since the last entry. */
	if (test_thread_flag(TIF_NEED_FPU_LOAD))
		switch_fpu_return();
	pkru = read_pkru();
#endif
	if (hw_breakpoint_active())
		set_debugreg(0, 7);

	switch_to_guest(vcpu);
#if CHAPTER >= 6
	write_pkru(pkru);	/* the guest's XRSTOR may have loaded another */
#endif
	/* First of all: until then NMIs may be blocked, and an int3 ends that. */
	deliver_host_events(vcpu);

	if (hw_breakpoint_active())
		hw_breakpoint_restore();
	count(COUNT_ENTRIES);
	trace_ringlet_exit(vcpu->id, vcpu->regs.vector & 0x1ff, vcpu->regs.error,
			   vcpu->regs.rip, vcpu->regs.cs);
out:
#if CHAPTER >= 5
	WRITE_ONCE(vcpu->in_guest, false);
#endif
	local_irq_enable();
	return action;
}

/* The inner loop, with preemption off. */
static enum action run_atomic(struct ringlet_vcpu *vcpu)
{
	enum action action;

	preempt_disable();
	note_host_cpu(vcpu);
#if CHAPTER >= 6
	load_guest_msrs(vcpu);
#endif
	do {
		action = enter_guest(vcpu);
		if (action == RESUME)
			action = handle_exit(vcpu);
#if SOLUTION < 9999
		if (missing)
			action = TO_LAUNCHER;
#endif
	} while (action == RESUME && !vcpu->halted);
#if CHAPTER >= 6
	put_guest_msrs(vcpu);
#endif
	preempt_enable();
	return action;
}

static bool runnable(struct ringlet_vcpu *vcpu)
{
#if CHAPTER >= 5
	if (!bitmap_empty(vcpu->interrupts, 256))
		return READ_ONCE(vcpu->started);
#endif
	return READ_ONCE(vcpu->started) && !vcpu->halted;
}

static int run_loop(struct ringlet_vcpu *vcpu)
{
	vcpu->run->exit = RINGLET_EXIT_INTR;
	for (;;) {
		cond_resched();
#if SOLUTION >= 304
		/* A halted or unborn vCPU waits here; so does its thread's kill. */
		if (wait_event_interruptible(vcpu->wait, runnable(vcpu)) || must_return())
			return 0;
		vcpu->halted = false;
#else
		/* Exercise 3.4: sleep until runnable() or a signal; then it is not halted. */
		if (!runnable(vcpu)) {
			EXERCISE("3.4");
			return 0;
		}
		if (must_return())
			return 0;
#endif
		if (run_atomic(vcpu) == TO_LAUNCHER) {
			vcpu->run->rip = vcpu->regs.rip;
			return 0;
		}
	}
}
#endif

static bool has_null_selectors(void)
{
	u16 ds, es, fs, gs;

	savesegment(ds, ds);
	savesegment(es, es);
	savesegment(fs, fs);
	savesegment(gs, gs);
	return !(ds | es | fs | gs);
}

static int vcpu_run(struct ringlet_vcpu *vcpu)
{
	int ret;

	if (current->mm != vcpu->vm->mm || vcpu->dead)
		return -EIO;
	if (!has_null_selectors())
		return -EINVAL;		/* the switcher would not restore them */
#if SOLUTION < 9999
	if (!missing && first_exercise)
		exercise_missing(first_exercise);
	if (missing) {
		vcpu_kill(vcpu, "%s", missing);
		missing = NULL;
		return 0;
	}
#endif
#if CHAPTER >= 2
#if SOLUTION >= 203
	if (vcpu->complete_hypercall)
		vcpu->regs.rax = vcpu->run->result;
	vcpu->complete_hypercall = false;
#else
	/* Exercise 2.3, the other half: the launcher's answer, if one is due. */
#endif
#endif
#if CHAPTER >= 5
	WRITE_ONCE(vcpu->thread, current);
#endif
#if CHAPTER >= 6
	/* From here to the swap back this thread's FPU state is the guest's. */
	fpu_swap_kvm_fpstate(&vcpu->fpu, true);
#endif
	ret = run_loop(vcpu);
#if SOLUTION < 9999
	if (missing)
		vcpu_kill(vcpu, "%s", missing);
	missing = NULL;
#endif
#if CHAPTER >= 6
	fpu_swap_kvm_fpstate(&vcpu->fpu, false);
#endif
#if CHAPTER >= 5
	WRITE_ONCE(vcpu->thread, NULL);
#endif
	return ret;
}

/* The CR3 to start on: tables of its own, or none. */
static void set_paging(struct ringlet_vcpu *vcpu, u64 cr3)
{
#if CHAPTER >= 4
	if (cr3 != RINGLET_NO_PAGING) {
		shadow_load_cr3(vcpu, cr3);
		return;
	}
#endif
	flat_load(vcpu);
}

#if CHAPTER >= 14
static int vcpu_setup(struct ringlet_vcpu *vcpu, const struct ringlet_vcpu_setup *setup)
{
	struct ringlet_start start = {
		.rip = setup->entry, .rsp = setup->rsp, .cr3 = setup->cr3,
	};

	if (!is_canonical(setup->entry))
		return -EINVAL;
	/* As HC_START_VCPU: a vCPU that runs must never be started again. */
	if (cmpxchg(&vcpu->claimed, false, true))
		return -EEXIST;
	vcpu->regs.rsi = setup->rsi;
	vcpu_start(vcpu, &start);
	return 0;
}

/**
 * vcpu_start() - give a vCPU its first state and let it run
 * @vcpu:	one that has not started; its RUN may be waiting
 * @start:	canonical addresses
 */
void vcpu_start(struct ringlet_vcpu *vcpu, const struct ringlet_start *start)
{
	vcpu->regs.rip = start->rip;
	vcpu->regs.rsp = start->rsp;
	vcpu->regs.rdi = start->rdi;
	vcpu->regs.cs = RINGLET_KERNEL_CS;
	vcpu->host->guest_gs = start->gs;
	vcpu->tables->kernel_gs = start->gs;
	set_paging(vcpu, start->cr3);
	/* Pairs with READ_ONCE() in runnable(): the state above first. */
	smp_store_release(&vcpu->started, true);
	wake_up(&vcpu->wait);
}
#else
static int vcpu_setup(struct ringlet_vcpu *vcpu, const struct ringlet_vcpu_setup *setup)
{
	if (!is_canonical(setup->entry))
		return -EINVAL;
	if (vcpu->started)
		return -EEXIST;
	vcpu->regs.rip = setup->entry;
	vcpu->regs.rsp = setup->rsp;
	vcpu->regs.rsi = setup->rsi;
	vcpu->regs.cs = RINGLET_KERNEL_CS;
	set_paging(vcpu, setup->cr3);
	vcpu->started = true;
	return 0;
}
#endif

static long vcpu_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct ringlet_vcpu *vcpu = file->private_data;
	struct ringlet_vcpu_setup setup;
	long ret = -ENOTTY;

	if (mutex_lock_killable(&vcpu->lock))
		return -EINTR;
	if (cmd == RINGLET_RUN)
		ret = vcpu_run(vcpu);
	else if (cmd == RINGLET_SETUP_VCPU)
		ret = copy_from_user(&setup, (void __user *)arg, sizeof(setup)) ?
			-EFAULT : vcpu_setup(vcpu, &setup);
	mutex_unlock(&vcpu->lock);
	return ret;
}

static int vcpu_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct ringlet_vcpu *vcpu = file->private_data;

	if (vma->vm_pgoff || vma->vm_end - vma->vm_start != PAGE_SIZE)
		return -EINVAL;
	return vm_insert_page(vma, vma->vm_start, virt_to_page(vcpu->run));
}

static int vcpu_release(struct inode *inode, struct file *file)
{
	struct ringlet_vcpu *vcpu = file->private_data;
	struct ringlet_vm *vm = vcpu->vm;

	/* Siblings may still send IPIs: the VM keeps the vCPU until it goes. */
	vm_put(vm);
	return 0;
}

static const struct file_operations vcpu_fops = {
	.owner = THIS_MODULE,
	.release = vcpu_release,
	.unlocked_ioctl = vcpu_ioctl,
	.mmap = vcpu_mmap,
	.llseek = noop_llseek,
};

/**
 * vcpu_destroy() - free a vCPU that nothing runs or reaches any more
 * @vcpu:	the vCPU, possibly half made; NULL is fine
 */
void vcpu_destroy(struct ringlet_vcpu *vcpu)
{
	if (!vcpu)
		return;
#if CHAPTER >= 5
	timer_stop(vcpu);
#endif
#if CHAPTER >= 4
	shadow_free(vcpu);
#endif
	flat_free(vcpu);
	slot_remove_vcpu(vcpu);
#if CHAPTER >= 6
	if (vcpu->fpu.fpstate)
		fpu_free_guest_fpstate(&vcpu->fpu);
#endif
	free_page((unsigned long)vcpu->run);
	kvfree(vcpu);
}

#if CHAPTER >= 6
static void fill_shared_page(struct ringlet_vcpu *vcpu)
{
	struct ringlet_vcpu_page *page = &vcpu->trap->shared;
#if CHAPTER >= 7
	struct memory_range *devices = &vcpu->vm->memory[MEMORY_READONLY];
#endif

	page->abi = RINGLET_ABI;
	page->tsc_khz = tsc_khz;
	page->vcpu = vcpu->id;
	page->wallclock = ktime_get_real_seconds();
#if CHAPTER >= 7
	page->device_page = devices->count ? devices->start : 0;
#endif
}
#endif

static struct ringlet_vcpu *vcpu_alloc(struct ringlet_vm *vm, unsigned int id)
{
	struct ringlet_vcpu *vcpu = kvzalloc(sizeof(*vcpu), GFP_KERNEL_ACCOUNT);
	int ret = -ENOMEM;

	if (!vcpu)
		return ERR_PTR(ret);
	vcpu->vm = vm;
	vcpu->id = id;
	mutex_init(&vcpu->lock);
#if CHAPTER >= 3
	init_waitqueue_head(&vcpu->wait);
#endif
#if CHAPTER >= 5
	timer_init(vcpu);
#endif
	vcpu->run = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!vcpu->run)
		goto fail;
#if CHAPTER >= 6
	if (!fpu_alloc_guest_fpstate(&vcpu->fpu))
		goto fail;
#endif
	ret = slot_add_vcpu(vcpu);
	if (!ret)
		ret = flat_init(vcpu);
#if CHAPTER >= 4
	if (!ret)
		ret = shadow_init(vcpu);
#endif
	if (ret)
		goto fail;
#if CHAPTER >= 6
	fill_shared_page(vcpu);
#endif
	return vcpu;
fail:
	vcpu_destroy(vcpu);
	return ERR_PTR(ret);
}

/**
 * vcpu_create() - add a vCPU to a VM
 * @vm:		the VM, with its memory set; vm->lock held
 * @id:		its number, the next free one
 *
 * Return: a file descriptor, or -EINVAL for a bad number or a VM without RAM,
 * -ENOSPC when this host has no room for another vCPU, -ENOMEM.
 */
int vcpu_create(struct ringlet_vm *vm, unsigned int id)
{
	struct ringlet_vcpu *vcpu;
	int fd;

	if (vm->mm != current->mm)
		return -EIO;
	if (id != vm->nr_vcpus || id >= RINGLET_MAX_VCPUS || !vm->memory[MEMORY_RAM].count)
		return -EINVAL;
	vcpu = vcpu_alloc(vm, id);
	if (IS_ERR(vcpu))
		return PTR_ERR(vcpu);
	kref_get(&vm->refs);
	fd = anon_inode_getfd("ringlet-vcpu", &vcpu_fops, vcpu, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		vm_put(vm);
		vcpu_destroy(vcpu);
		return fd;
	}
	WRITE_ONCE(vm->vcpus[id], vcpu);
	vm->nr_vcpus++;
#if CHAPTER >= 6
	for (int i = 0; i < vm->nr_vcpus; i++)
		vm->vcpus[i]->trap->shared.vcpus = vm->nr_vcpus;
#endif
	return fd;
}
