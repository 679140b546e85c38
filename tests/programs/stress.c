// SPDX-License-Identifier: GPL-2.0
/*
 * Does a guest compute what its host computes? Each check prints "ok NAME" or
 * "FAIL NAME why", the same text on both; the last line counts. What a check
 * guards stands above it. `stress NAME...` selects.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/ucontext.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <asm/prctl.h>
#include <time.h>
#include <unistd.h>

#define PAGE	4096UL
#define LENGTH(a) (sizeof(a) / sizeof(*(a)))

/* Why a check failed, or NULL. */
typedef const char *verdict;

static verdict fail(const char *format, ...)
{
	static char why[200];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	return why;
}

static volatile char *map(size_t size, int flags)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);

	if (at == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	return at;
}

/* Run in a child; its exit status, or 1000 + the signal that ended it. */
static int in_child(int (*run)(void))
{
	int status;
	pid_t child = fork();

	if (!child)
		_exit(run());
	waitpid(child, &status, 0);
	return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- faults and signals ------------------------------------------------- */

static sigjmp_buf *landing;
static siginfo_t seen;
static greg_t seen_error;

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)number;
	seen = *info;
	seen_error = ((ucontext_t *)context)->uc_mcontext.gregs[REG_ERR];
	siglongjmp(*landing, 1);
}

/* Did the access at @at raise @number with @code? */
static int faults(void (*access)(volatile char *at), volatile char *at, int number, int code)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO }, old;
	sigjmp_buf here;
	int ok = 0;

	sigaction(number, &action, &old);
	landing = &here;
	if (!sigsetjmp(here, 1))
		access(at);
	else
		ok = seen.si_code == code && (!at || seen.si_addr == at);
	sigaction(number, &old, NULL);
	return ok;
}

static void do_read(volatile char *at) { (void)*at; }
static void do_write(volatile char *at) { *at = 1; }
static void do_call(volatile char *at) { ((void (*)(void))(uintptr_t)at)(); }
static void do_divide(volatile char *at) { (void)at; asm volatile("xor %%ecx, %%ecx; div %%ecx" ::: "eax", "ecx", "edx"); }
static void do_ud2(volatile char *at) { (void)at; asm volatile("ud2"); }
static void do_int3(volatile char *at) { (void)at; asm volatile("int3"); }
static void do_hlt(volatile char *at) { (void)at; asm volatile("hlt"); }
static void do_hypercall(volatile char *at) { (void)at; asm volatile("int $0x1f" : : "a" (1), "b" (0)); }
static void do_int80(volatile char *at) { (void)at; asm volatile("int $0xff"); }

/* injection: the right exception, code and address reach ring 3, and int $0x1f from ring 3 is refused */
static verdict fault_signals(void)
{
	volatile char *page = map(PAGE, MAP_PRIVATE), *code;

	munmap((void *)page, PAGE);
	if (!faults(do_read, page, SIGSEGV, SEGV_MAPERR))
		return "read of nothing";
	if (!faults(do_write, (char *)16, SIGSEGV, SEGV_MAPERR))
		return "write to nothing";
	page = map(PAGE, MAP_PRIVATE);
	mprotect((void *)page, PAGE, PROT_READ);
	if (!faults(do_write, page, SIGSEGV, SEGV_ACCERR))
		return "write to a read-only page";
	/* Once before the page is there, once after: the error code must say which. */
	code = map(PAGE, MAP_PRIVATE);
	if (!faults(do_call, code, SIGSEGV, SEGV_ACCERR))
		return "call of a fresh page without execute";
	*code = (char)0xc3;
	if (!faults(do_call, code, SIGSEGV, SEGV_ACCERR))
		return "call of a page without execute";
	if (!faults(do_read, (char *)0xffffffff81000000, SIGSEGV, SEGV_MAPERR))
		return "read of the kernel";
	if (!faults(do_divide, NULL, SIGFPE, FPE_INTDIV) || !faults(do_ud2, NULL, SIGILL, ILL_ILLOPN) ||
	    !faults(do_int3, NULL, SIGTRAP, SI_KERNEL))
		return "division, ud2 or int3";
	if (!faults(do_hlt, NULL, SIGSEGV, SI_KERNEL) || !faults(do_int80, NULL, SIGSEGV, SI_KERNEL) ||
	    !faults(do_hypercall, NULL, SIGSEGV, SI_KERNEL))
		return "hlt, int $0xff or int $0x1f in ring 3";
	return NULL;
}

/* the switcher's addresses: ring 3 must not see them */
static verdict hypervisor_hole(void)
{
	uint64_t hole;

	for (hole = 0xffff800000000000; hole < 0xffff800000040000; hole += PAGE)
		if (!faults(do_read, (char *)hole, SIGSEGV, SEGV_MAPERR))
			return fail("%#llx", (unsigned long long)hole);
	return NULL;
}

static volatile int count_down;
static void on_bus(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;	/* behind ud2 */
	count_down--;
}

/* sigreturn: registers changed in the frame are there afterwards */
static verdict signal_frames(void)
{
	struct sigaction action = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };

	sigaction(SIGILL, &action, NULL);
	count_down = 1000;
	while (count_down)
		asm volatile("ud2" ::: "memory");
	signal(SIGILL, SIG_DFL);
	return NULL;
}

static int frame_field;
static greg_t frame_value;
static void corrupt_frame(int number, siginfo_t *info, void *context)
{
	greg_t *gregs = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)number;
	(void)info;
	if (frame_field == REG_CSGSFS)
		gregs[REG_CSGSFS] = (gregs[REG_CSGSFS] & ~0xffffLL) | frame_value;
	else
		gregs[frame_field] = frame_value;
}

static int return_on_bad_frame(void)
{
	struct sigaction action = { .sa_sigaction = corrupt_frame, .sa_flags = SA_SIGINFO };

	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	return 0;
}

/* the guest kernel's own iretq faults on a bad frame: that is the user's fault, not the kernel's */
static verdict hostile_frames(void)
{
	static const struct { int field; greg_t value; int expected; } frames[] = {
		{ REG_RIP, 0x0000800000000000, 1000 + SIGSEGV },
		{ REG_RIP, 0x7fffffffffffffff, 1000 + SIGSEGV },
		{ REG_RIP, (greg_t)0xffff800000000000, 1000 + SIGSEGV },
		{ REG_RIP, (greg_t)0xffffffff81000000, 1000 + SIGSEGV },
		{ REG_CSGSFS, 0x10, 1000 + SIGSEGV },
		{ REG_CSGSFS, 0x2b, 1000 + SIGSEGV },
		{ REG_CSGSFS, 0x81, 1000 + SIGSEGV },
		{ REG_CSGSFS, 0xfff8, 1000 + SIGSEGV },
		{ REG_EFL, 0x246 | 3 << 12 | 1 << 14, 0 },	/* IOPL 3, NT: not granted */
		{ REG_EFL, 0x46, 0 },				/* IF off: not granted */
		{ REG_EFL, 0x40246, 0 },			/* AC */
	};

	for (size_t i = 0; i < LENGTH(frames); i++) {
		int status;

		frame_field = frames[i].field;
		frame_value = frames[i].value;
		status = in_child(return_on_bad_frame);
		if (status != frames[i].expected)
			return fail("frame %zu: %d", i, status);
	}
	return NULL;
}

static int run_off_canonical(void)
{
	unsigned char *last = mmap((void *)0x7ffffffff000UL - PAGE, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (last == MAP_FAILED)
		raise(SIGSEGV);		/* the stack is there: the same end */
	memset(last, 0x90, PAGE);
	((void (*)(void))last)();
	return 0;
}

/* execution that runs off the end of user space ends in a signal */
static verdict end_of_user_space(void)
{
	int status = in_child(run_off_canonical);

	return status == 1000 + SIGSEGV ? NULL : fail("%d", status);
}

/* ---- single-step and breakpoints ---------------------------------------- */

extern char stepped[], stepped_end[];
static void step_over(void)
{
	asm volatile(".globl stepped, stepped_end\n"
		     "stepped: nop; nop; mov $39, %%eax; syscall; inc %%rbx; push %%rbx; pop %%rbx; pushf; popf\n"
		     "stepped_end: nop" ::: "rax", "rbx", "rcx", "r11", "memory");
}

/* #DB with TF, through the switcher and across a direct system call: one stop an instruction */
static verdict single_step(void)
{
	struct user_regs_struct regs;
	int status, steps = 0, inside = 0;
	pid_t child = fork();

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		step_over();
		_exit(7);
	}
	waitpid(child, &status, 0);
	while (WIFSTOPPED(status) && steps++ < 20000) {
		ptrace(PTRACE_GETREGS, child, NULL, &regs);
		inside += regs.rip >= (uintptr_t)stepped && regs.rip < (uintptr_t)stepped_end;
		ptrace(PTRACE_SINGLESTEP, child, NULL, NULL);
		waitpid(child, &status, 0);
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 7)
		return fail("status %#x after %d steps", status, steps);
	return inside == 9 ? NULL : fail("%d stops for 9 instructions", inside);
}

/* #BP under ptrace: text written by the tracer, rip behind the int3 */
static verdict breakpoint(void)
{
	struct user_regs_struct regs;
	int status;
	long word;
	pid_t child = fork();

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		step_over();
		_exit(9);
	}
	waitpid(child, &status, 0);
	word = ptrace(PTRACE_PEEKTEXT, child, stepped, NULL);
	ptrace(PTRACE_POKETEXT, child, stepped, (word & ~0xffL) | 0xcc);
	ptrace(PTRACE_CONT, child, NULL, NULL);
	waitpid(child, &status, 0);
	ptrace(PTRACE_GETREGS, child, NULL, &regs);
	if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP || regs.rip != (uintptr_t)stepped + 1) {
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		return "no stop behind the int3";
	}
	ptrace(PTRACE_POKETEXT, child, stepped, word);
	regs.rip--;
	ptrace(PTRACE_SETREGS, child, NULL, &regs);
	ptrace(PTRACE_CONT, child, NULL, NULL);
	waitpid(child, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == 9 ? NULL : "child lost";
}

/* ---- memory -------------------------------------------------------------- */

/* stale writable shadow entries after fork: each side must keep its own copy */
static verdict copy_on_write(void)
{
	enum { PAGES = 600 };
	volatile char *private = map(PAGES * PAGE, MAP_PRIVATE);
	int i, status;
	pid_t child;

	for (int round = 0; round < 5; round++) {
		for (i = 0; i < PAGES; i++)
			private[i * PAGE] = round;
		child = fork();
		for (i = 0; i < PAGES; i++) {
			int at = child ? i : PAGES - 1 - i;

			if (private[at * PAGE] != round)
				_exit(1);
			private[at * PAGE] = child ? 50 + round : 90 + round;
		}
		for (i = 0; i < PAGES; i++)
			if (private[i * PAGE] != (child ? 50 : 90) + round)
				_exit(1);
		if (!child)
			_exit(0);
		waitpid(child, &status, 0);
		if (status)
			return fail("round %d: child sees the parent's page", round);
	}
	munmap((void *)private, PAGES * PAGE);
	return NULL;
}

/* the opposite: shared pages stay shared, anonymous and of a file */
static verdict shared_mappings(void)
{
	int fd = memfd_create("shared", 0), status;
	volatile int *anonymous = (volatile int *)map(64 * PAGE, MAP_SHARED), *file;
	pid_t child;

	if (fd < 0 || ftruncate(fd, 64 * PAGE))
		return "memfd";
	file = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	child = fork();
	if (!child) {
		for (int i = 0; i < 64; i++)
			anonymous[i * 1024] = file[i * 1024 + 1] = i * 7;
		_exit(0);
	}
	waitpid(child, &status, 0);
	for (int i = 0; i < 64; i++)
		if (anonymous[i * 1024] != i * 7 || file[i * 1024 + 1] != i * 7)
			return fail("page %d", i);
	return NULL;
}

/* FLUSH_PAGE and FLUSH_USER: a right taken away is gone at once, one given is there */
static verdict protections(void)
{
	volatile char *page = map(40 * PAGE, MAP_PRIVATE);

	for (int i = 0; i < 40; i++) {
		volatile char *at = page + i * PAGE;

		*at = i;
		mprotect((void *)at, PAGE, PROT_READ);
		if (*at != i || !faults(do_write, at, SIGSEGV, SEGV_ACCERR))
			return "read-only";
		mprotect((void *)at, PAGE, PROT_NONE);
		if (!faults(do_read, at, SIGSEGV, SEGV_ACCERR))
			return "none";
		mprotect((void *)at, PAGE, PROT_READ | PROT_WRITE);
		*at += 1;
		if (*at != i + 1)
			return "writable again";
	}
	mprotect((void *)page, 40 * PAGE, PROT_READ);
	for (int i = 0; i < 40; i++)
		if (!faults(do_write, page + i * PAGE, SIGSEGV, SEGV_ACCERR))
			return "a range";
	return NULL;
}

/* DONTNEED and mremap: no old page under a new mapping */
static verdict remapping(void)
{
	volatile char *at = map(256 * PAGE, MAP_PRIVATE), *moved;

	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 256; i++)
			at[i * PAGE] = round + 1;
		madvise((void *)at, 256 * PAGE, MADV_DONTNEED);
		for (int i = 0; i < 256; i += 17)
			if (at[i * PAGE])
				return "DONTNEED";
	}
	for (int i = 0; i < 256; i++)
		at[i * PAGE] = i;
	moved = mremap((void *)at, 256 * PAGE, 512 * PAGE, MREMAP_MAYMOVE);
	for (int i = 0; i < 512; i++)
		if (moved[i * PAGE] != (i < 256 ? (char)i : 0))
			return "mremap";
	munmap((void *)moved, 512 * PAGE);
	for (int i = 0; i < 300; i++) {
		at = map(8 * PAGE, MAP_PRIVATE);
		for (int j = 0; j < 8; j++) {
			if (at[j * PAGE])
				return "a new mapping is not zero";
			at[j * PAGE] = 1;
		}
		munmap((void *)at, 8 * PAGE);
	}
	return NULL;
}

/* large guest pages, split and joined under the shadow's feet */
static verdict huge_pages(void)
{
	size_t huge = 2UL << 20;
	volatile char *raw = map(4 * huge, MAP_PRIVATE);
	volatile char *at = (volatile char *)(((uintptr_t)raw + huge - 1) & -huge);

	madvise((void *)at, 3 * huge, MADV_HUGEPAGE);
	for (int round = 1; round < 4; round++) {
		for (size_t i = 0; i < 3 * huge; i += PAGE)
			at[i] = round + (char)(i >> 12);
		mprotect((void *)(at + huge + 64 * PAGE), PAGE, PROT_READ);
		if (!faults(do_write, at + huge + 64 * PAGE, SIGSEGV, SEGV_ACCERR))
			return "split";
		madvise((void *)(at + 100 * PAGE), 10 * PAGE, MADV_DONTNEED);
		mprotect((void *)(at + huge + 64 * PAGE), PAGE, PROT_READ | PROT_WRITE);
		for (size_t i = 0; i < 3 * huge; i += PAGE) {
			char want = i >= 100 * PAGE && i < 110 * PAGE ? 0 : round + (char)(i >> 12);

			if (at[i] != want)
				return fail("offset %zx", i);
		}
	}
	munmap((void *)raw, 4 * huge);
	return NULL;
}

/* many address spaces at once: PCIDs run out, roots are reused */
static verdict many_address_spaces(void)
{
	enum { CHILDREN = 24 };
	volatile int *private = (volatile int *)map(16 * PAGE, MAP_PRIVATE);
	pid_t children[CHILDREN];
	int status, bad = 0;

	for (int c = 0; c < CHILDREN; c++) {
		children[c] = fork();
		if (children[c])
			continue;
		for (int round = 0; round < 30; round++) {
			for (int i = 0; i < 16; i++)
				private[i * 1024] = c * 1000 + round + i;
			sched_yield();
			for (int i = 0; i < 16; i++)
				if (private[i * 1024] != c * 1000 + round + i)
					_exit(1);
		}
		_exit(0);
	}
	for (int c = 0; c < CHILDREN; c++) {
		waitpid(children[c], &status, 0);
		bad += !!status;
	}
	return bad ? fail("%d children saw another's memory", bad) : NULL;
}

/* ---- threads and processor state ----------------------------------------- */

#define THREADS	8
static __thread long mine = 42;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long shared_count;

static void *tls_thread(void *argument)
{
	long id = (long)argument;

	if (mine != 42)
		return (void *)1;
	for (int i = 0; i < 2000; i++) {
		mine = id * 10000 + i;
		if (!(i % 16))
			sched_yield();
		if (mine != id * 10000 + i)
			return (void *)1;
		pthread_mutex_lock(&lock);
		shared_count++;
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void *run_threads(void *(*body)(void *argument))
{
	pthread_t threads[THREADS];
	void *result, *bad = NULL;

	for (long i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, body, (void *)i))
			return (void *)2;
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &result);
		bad = bad ? bad : result;
	}
	return bad;
}

/* FS base across switches; futexes */
static verdict threads_and_tls(void)
{
	shared_count = 0;
	if (run_threads(tls_thread))
		return "a thread's own variable changed";
	return shared_count == THREADS * 2000L ? NULL : fail("count %ld", shared_count);
}

/* GS base: set, kept across exits and switches */
static verdict gs_base(void)
{
	static unsigned long cell = 0x1234;
	unsigned long base = 0, value;

	if (syscall(SYS_arch_prctl, ARCH_SET_GS, &cell))
		return "ARCH_SET_GS";
	for (int i = 0; i < 200; i++) {
		asm volatile("mov %%gs:0, %0" : "=r" (value));
		if (value != 0x1234)
			return fail("round %d: %#lx", i, value);
		if (i % 8)
			sched_yield();
		else
			usleep(1);
	}
	syscall(SYS_arch_prctl, ARCH_GET_GS, &base);
	syscall(SYS_arch_prctl, ARCH_SET_GS, 0);
	return base == (unsigned long)&cell ? NULL : "ARCH_GET_GS";
}

static void on_alarm(int number)
{
	double garbage = number;

	for (int i = 0; i < 10; i++)
		garbage = garbage * 1.1 + i;
	asm volatile("movq %0, %%xmm7; movq %0, %%xmm15" : : "r" (0xdeadUL) : "xmm7", "xmm15");
}

static int have_avx(void)
{
	__builtin_cpu_init();
	return __builtin_cpu_supports("avx");
}

__attribute__((target("avx"))) static int avx_holds(long id, int round)
{
	uint64_t in[4] = { id, round, id ^ round, ~id }, out[4];

	/* Most of the time goes by with the value in the register and nowhere else. */
	asm volatile("vmovups %1, %%ymm7\n vmovups %1, %%ymm13\n"
		     "mov $20000, %%eax\n 1: dec %%eax\n jnz 1b\n"
		     "mov $24, %%eax\n syscall\n"		/* sched_yield */
		     "vmovups %%ymm7, %0"
		     : "=m" (out) : "m" (in) : "rax", "rcx", "r11", "xmm7", "xmm13", "memory");
	return !memcmp(in, out, sizeof(in));
}

static int sse_holds(long id, int round)
{
	uint64_t in[2] = { id, round }, out[2];

	asm volatile("movups %1, %%xmm7\n mov $20000, %%eax\n 1: dec %%eax\n jnz 1b\n"
		     "mov $24, %%eax\n syscall\n movups %%xmm7, %0"
		     : "=m" (out) : "m" (in) : "rax", "rcx", "r11", "xmm7", "memory");
	return !memcmp(in, out, sizeof(in));
}

static void *vector_thread(void *argument)
{
	for (int i = 0; i < 1500; i++)
		if (!(have_avx() ? avx_holds((long)argument, i) : sse_holds((long)argument, i)))
			return (void *)1;
	return NULL;
}

/* XSAVE state of eight threads, with signals and the host's own FPU use in between */
static verdict vector_registers(void)
{
	struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, never = { 0 };
	void *bad;

	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &often, NULL);
	bad = run_threads(vector_thread);
	setitimer(ITIMER_REAL, &never, NULL);
	signal(SIGALRM, SIG_DFL);
	return bad ? "a vector register changed" : NULL;
}

/* x87 and SSE control words are a thread's own */
static verdict control_words(void)
{
	uint32_t mxcsr = 0x1f80 | 3 << 13, mxcsr_after;
	uint16_t fcw = 0x027f, fcw_after;

	asm volatile("ldmxcsr %0; fldcw %1" : : "m" (mxcsr), "m" (fcw));
	for (int i = 0; i < 50; i++)
		usleep(1);
	asm volatile("stmxcsr %0; fnstcw %1" : "=m" (mxcsr_after), "=m" (fcw_after));
	asm volatile("fninit; ldmxcsr %0" : : "m" ((uint32_t){ 0x1f80 }));
	return (mxcsr_after & 0xffc0) == mxcsr && fcw_after == fcw ? NULL : "lost";
}

/* the direct system call: everything but rax, rcx and r11 comes back */
static verdict system_call_registers(void)
{
	uint64_t r[12], rcx, r11;
	int i;

	for (int round = 0; round < 1000; round++) {
		asm volatile("mov $39, %%eax\n mov $0x101, %%rbx\n mov $0x102, %%rdx\n mov $0x103, %%rsi\n"
			     "mov $0x104, %%rdi\n mov $0x105, %%r8\n mov $0x106, %%r9\n mov $0x107, %%r10\n"
			     "mov $0x108, %%r12\n mov $0x109, %%r13\n mov $0x10a, %%r14\n mov $0x10b, %%r15\n"
			     "syscall\n 1: lea 1b(%%rip), %%rax\n sub %%rax, %%rcx\n"
			     "mov %%rcx, %1\n mov %%r11, %2\n"
			     "mov %%rbx, 0x00+%0\n mov %%rdx, 0x08+%0\n mov %%rsi, 0x10+%0\n mov %%rdi, 0x18+%0\n"
			     "mov %%r8, 0x20+%0\n mov %%r9, 0x28+%0\n mov %%r10, 0x30+%0\n mov %%r12, 0x38+%0\n"
			     "mov %%r13, 0x40+%0\n mov %%r14, 0x48+%0\n mov %%r15, 0x50+%0"
			     : "=m" (r), "=m" (rcx), "=m" (r11)
			     : : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
			     "r13", "r14", "r15", "memory");
		for (i = 0; i < 11; i++)
			if (r[i] != 0x101UL + i)
				return fail("register %d", i);
		if (rcx || !(r11 & 0x200))
			return "rcx or r11";
	}
	return NULL;
}

/* ---- time ------------------------------------------------------------------ */

static void *clock_thread(void *argument)
{
	struct timespec a, b;

	(void)argument;
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < 3000; i++) {
		clock_gettime(CLOCK_MONOTONIC, &b);
		if (b.tv_sec < a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec < a.tv_nsec))
			return (void *)1;
		a = b;
		if (!(i % 64))
			sched_yield();
	}
	return NULL;
}

static volatile sig_atomic_t ticks;
static void on_tick(int number)
{
	(void)number;
	ticks++;
}

/* lost or early timer interrupts; a clock that goes back between vCPUs */
static verdict timers(void)
{
	struct itimerval every = { { 0, 5000 }, { 0, 5000 } }, never = { 0 };
	struct timespec nap = { 0, 20000000 }, a, b;

	if (run_threads(clock_thread))
		return "the clock went back";
	clock_gettime(CLOCK_MONOTONIC, &a);
	nanosleep(&nap, NULL);
	clock_gettime(CLOCK_MONOTONIC, &b);
	if ((b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec < nap.tv_nsec)
		return "woken early";
	ticks = 0;
	signal(SIGALRM, on_tick);
	setitimer(ITIMER_REAL, &every, NULL);
	while (ticks < 10)
		pause();
	setitimer(ITIMER_REAL, &never, NULL);
	signal(SIGALRM, SIG_DFL);
	return NULL;
}

/* a loop in ring 3 without a system call is interrupted */
static verdict interrupted_loop(void)
{
	struct itimerval soon = { { 0, 0 }, { 0, 30000 } };

	ticks = 0;
	signal(SIGALRM, on_tick);
	setitimer(ITIMER_REAL, &soon, NULL);
	while (!ticks)
		asm volatile("" ::: "memory");
	signal(SIGALRM, SIG_DFL);
	return NULL;
}

/* ---- processes ---------------------------------------------------------------- */

static void exec_and_exit(void)
{
	if (!vfork()) {
		execl("/proc/self/exe", "stress", "--exit", "3", NULL);
		_exit(1);
	}
}

/* page tables made and freed quickly; exec of a fresh image */
static verdict fork_storm(void)
{
	int status;

	for (int round = 0; round < 15; round++) {
		for (int i = 0; i < 12; i++) {
			if (!(i % 3))
				exec_and_exit();
			else if (!fork())
				_exit(3);
		}
		for (int i = 0; i < 12; i++)
			if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 3)
				return fail("round %d: status %#x", round, status);
	}
	return NULL;
}

/* wake-ups between processes */
static verdict pipe_ping_pong(void)
{
	int there[2], back[2];
	pid_t child;
	char byte;

	if (pipe(there) || pipe(back))
		return "pipe";
	child = fork();
	if (!child) {
		close(there[1]);
		while (read(there[0], &byte, 1) == 1)
			if (byte++, write(back[1], &byte, 1) != 1)
				break;
		_exit(0);
	}
	for (int i = 0; i < 2000; i++) {
		byte = i;
		if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1 || byte != (char)(i + 1))
			return fail("trip %d", i);
	}
	close(there[0]);
	close(there[1]);
	close(back[0]);
	close(back[1]);
	waitpid(child, NULL, 0);
	return NULL;
}

static volatile char *shot_page;
static volatile int shot_stop;
static void *shot_writer(void *argument)
{
	(void)argument;
	while (!shot_stop)
		shot_page[8] = 1;
	return NULL;
}

/* TLB shootdown: after mprotect() returned, no CPU writes the page any more */
static verdict shootdown(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	pid_t child;
	int status, bad = 0;

	sigaction(SIGSEGV, &action, NULL);
	for (int round = 0; round < 10; round++) {
		volatile char *shared = map(PAGE, MAP_SHARED);

		child = fork();
		if (!child) {
			pthread_t writer;

			shot_page = shared;
			pthread_create(&writer, NULL, shot_writer, NULL);
			while (!shared[8])
				sched_yield();
			mprotect((void *)shared, PAGE, PROT_READ);
			/* The writer must be dead of SIGSEGV before long, and us with it. */
			for (;;)
				pause();
		}
		waitpid(child, &status, 0);
		bad += !WIFSIGNALED(status) || WTERMSIG(status) != SIGSEGV;
		munmap((void *)shared, PAGE);
	}
	return bad ? fail("%d of 10", bad) : NULL;
}

/* state that stays behind on a CPU when a process moves */
static verdict migration(void)
{
	volatile long *memory = (volatile long *)map(64 * PAGE, MAP_PRIVATE);
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t one, all;

	sched_getaffinity(0, sizeof(all), &all);
	for (int round = 0; round < 100; round++) {
		CPU_ZERO(&one);
		CPU_SET(round % cpus, &one);
		if (sched_setaffinity(0, sizeof(one), &one))
			return "sched_setaffinity";
		if (sched_getcpu() != round % cpus)
			return fail("on CPU %d", sched_getcpu());
		for (int i = 0; i < 64; i++) {
			if (memory[i * 512] != (round ? round - 1 + i : 0))
				return fail("round %d page %d", round, i);
			memory[i * 512] = round + i;
		}
		if (round % 10 == 5) {
			madvise((void *)memory, 64 * PAGE, MADV_DONTNEED);
			for (int i = 0; i < 64; i++)
				memory[i * 512] += round + i;
		}
	}
	sched_setaffinity(0, sizeof(all), &all);
	munmap((void *)memory, 64 * PAGE);
	return NULL;
}

static const struct { const char *name; verdict (*run)(void); } checks[] = {
	{ "fault_signals", fault_signals }, { "hypervisor_hole", hypervisor_hole },
	{ "signal_frames", signal_frames }, { "hostile_frames", hostile_frames },
	{ "end_of_user_space", end_of_user_space }, { "single_step", single_step },
	{ "breakpoint", breakpoint }, { "copy_on_write", copy_on_write },
	{ "shared_mappings", shared_mappings }, { "protections", protections },
	{ "remapping", remapping }, { "huge_pages", huge_pages },
	{ "many_address_spaces", many_address_spaces }, { "threads_and_tls", threads_and_tls },
	{ "gs_base", gs_base }, { "vector_registers", vector_registers },
	{ "control_words", control_words }, { "system_call_registers", system_call_registers },
	{ "timers", timers }, { "interrupted_loop", interrupted_loop },
	{ "fork_storm", fork_storm }, { "pipe_ping_pong", pipe_ping_pong },
	{ "shootdown", shootdown }, { "migration", migration },
};

static int selected(const char *name, char **names)
{
	if (!*names)
		return 1;
	for (; *names; names++)
		if (!strcmp(*names, name))
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	int passed = 0, failed = 0;

	if (argc > 2 && !strcmp(argv[1], "--exit"))
		return atoi(argv[2]);
	setvbuf(stdout, NULL, _IONBF, 0);
	for (size_t i = 0; i < LENGTH(checks); i++) {
		verdict why;

		if (!selected(checks[i].name, argv + 1))
			continue;
		why = checks[i].run();
		if (why)
			printf("FAIL %s %s\n", checks[i].name, why);
		else
			printf("ok %s\n", checks[i].name);
		failed += !!why;
		passed += !why;
	}
	printf("stress: %d passed, %d failed\n", passed, failed);
	return failed != 0;
}
