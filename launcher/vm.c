// SPDX-License-Identifier: GPL-2.0
/*
 * A guest from set-up to end (loading: chapter 0, running: 1). vm_run() is the
 * launcher: a straight line of steps, each of which works or dies with a reason.
 * From chapter 3 on the main thread then waits for the terminal, signals and the
 * end, while vCPUs and queues have threads of their own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#if CHAPTER >= 3
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>
#endif
#include "launcher.h"
#if CHAPTER >= 7
#include "virtio.h"
#endif

#if CHAPTER >= 7
/* Which file makes which device. */
static const struct {
	char kind;
	void (*add)(struct vm *vm, char *argument);
} device_kinds[] = {
	{ 'r', entropy_add },
	{ 'c', console_add },
#if CHAPTER >= 10
	{ 'n', net_add },
#endif
#if CHAPTER >= 11
	{ 'd', block_add },
#endif
	{ '\0', NULL }
};
#endif

#if CHAPTER >= 1
static void open_module(struct vm *vm)
{
	int abi;

	vm->fd = open(RINGLET_DEVICE, O_RDWR | O_CLOEXEC);
	if (vm->fd < 0 && errno == ENOENT)
		die(EXIT_HOST, "%s: not there; load ringlet.ko (insmod ringlet.ko)",
		    RINGLET_DEVICE);
	if (vm->fd < 0 && (errno == EACCES || errno == EPERM))
		die(EXIT_HOST, "%s: you may not open it; become root or have root chown it to you",
		    RINGLET_DEVICE);
	if (vm->fd < 0)
		die(EXIT_HOST, "%s: %m", RINGLET_DEVICE);
	abi = ioctl(vm->fd, RINGLET_GET_ABI);
	if (abi != RINGLET_ABI)
		die(EXIT_HOST, "%s: the module speaks ABI %d, the launcher %d; rebuild with make, load the new ringlet.ko",
		    RINGLET_DEVICE, abi, RINGLET_ABI);
}

static void set_memory(struct vm *vm, void *hva, u64 gpa, u64 size, u64 flags)
{
	struct ringlet_memory range = {
		.hva = (uintptr_t)hva, .gpa = gpa, .size = size, .flags = flags,
	};

	if (ioctl(vm->fd, RINGLET_SET_MEMORY, &range) == 0)
		return;
	if (errno == ENOMEM || errno == EPERM || errno == EAGAIN)
		die(EXIT_HOST, "-m %u: more than this host can pin (%m); raise the limit (ulimit -l unlimited) or give less",
		    vm->options.megabytes);
	die(EXIT_HOST, "%s: refuses %llu MiB of memory: %m", RINGLET_DEVICE, size / MIB);
}
#endif

#if CHAPTER >= 7
static void add_devices(struct vm *vm)
{
	device_page_init(vm);
	for (unsigned int i = 0; i < vm->options.nr_devices; i++) {
		struct device_option *wanted = &vm->options.devices[i];

		for (int k = 0; device_kinds[k].kind; k++)
			if (device_kinds[k].kind == wanted->kind)
				device_kinds[k].add(vm, wanted->argument);
	}
}
#endif

#if CHAPTER >= 1
/**
 * vm_end() - the guest ends, for whatever reason
 * @vm:		the guest
 * @code:	exit code; only the first call counts
 * @fmt:	one line that says why, NULL for none
 *
 * The caller's vCPU does not go on; the main thread does the work. Context: any
 * thread.
 */
void vm_end(struct vm *vm, enum exit_code code, const char *fmt, ...)
{
	va_list args;

#if CHAPTER >= 3
	pthread_mutex_lock(&vm->end_lock);
#endif
	if (!vm->stopping) {
		vm->code = code;
		va_start(args, fmt);
		if (fmt)
			vsnprintf(vm->reason, sizeof(vm->reason), fmt, args);
		va_end(args);
		atomic_store(&vm->stopping, true);
#if CHAPTER >= 3
		eventfd_write(vm->ended_fd, 1);
#endif
	}
#if CHAPTER >= 3
	pthread_mutex_unlock(&vm->end_lock);
#endif
}
#endif

#if CHAPTER >= 3
static void handle_signal(struct vm *vm, int fd)
{
	struct signalfd_siginfo info;

	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return;
#if CHAPTER >= 7
	if (info.ssi_signo == SIGWINCH) {
		console_resized();
		return;
	}
#endif
	vm_end(vm, EXIT_USER, "ended by signal %u (%s)", info.ssi_signo,
	       strsignal(info.ssi_signo));
}

/* All the main thread does while the guest runs. */
static void wait_for_end(struct vm *vm, int signal_fd)
{
	struct pollfd fds[] = {
		{ .fd = vm->ended_fd, .events = POLLIN },
		{ .fd = signal_fd, .events = POLLIN },
#if CHAPTER >= 9
		{ .fd = term_raw() ? STDIN_FILENO : -1, .events = POLLIN },
#endif
	};

	for (;;) {
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
			continue;
		if (fds[0].revents)
			return;
		if (fds[1].revents)
			handle_signal(vm, signal_fd);
#if CHAPTER >= 9
		if (fds[2].revents)
			term_read(vm);
#endif
	}
}

/* Every thread blocks these; the main thread reads them from a descriptor. */
static int catch_signals(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
#if CHAPTER >= 7
	sigaddset(&set, SIGWINCH);
#endif
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	sigaddset(&set, SIGUSR1);	/* vCPU threads unblock it */
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);	/* write errors are looked at */
	if (fd < 0)
		die(EXIT_HOST, "signalfd: %m");
	return fd;
}

/* The one way down, in reverse order of the way up. */
static void tear_down(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->options.vcpus; i++)
		vcpu_stop(&vm->vcpus[i]);
#if CHAPTER >= 7
	devices_close(vm);
#endif
#if CHAPTER >= 9
	term_restore();
#endif
}
#endif

/**
 * vm_run() - run the guest that the options describe
 * @vm:		all zero but for @vm->options
 *
 * Return: the exit code, after everything is stopped, flushed and restored.
 */
int vm_run(struct vm *vm)
{
	struct ringlet_vcpu_setup setup;
#if CHAPTER >= 3
	int signal_fd;
#endif

	memory_alloc(&vm->memory, vm->options.megabytes * MIB);
	load_guest(&vm->options, &vm->memory, &setup);
#if CHAPTER >= 7
	add_devices(vm);
#endif
	if (vm->options.dry_run) {
		printf("%s starts at gva %#llx\n", vm->options.kernel, setup.entry);
#if CHAPTER >= 7
		devices_print(vm);
		devices_close(vm);
#endif
		return EXIT_POWEROFF;
	}

#if CHAPTER < 1
	die(EXIT_HOST, "running it is chapter 1; say --dry-run");
#else
#if CHAPTER >= 8
	if (vm->options.trace)
		trace_open();
#endif
	open_module(vm);
	set_memory(vm, vm->memory.base, 0, vm->memory.size, 0);
#if CHAPTER >= 7
	set_memory(vm, vm->page, vm->memory.size, PAGE_SIZE, RINGLET_MEMORY_READONLY);
#endif
	for (unsigned int i = 0; i < vm->options.vcpus; i++)
		vcpu_create(vm, i);
	if (ioctl(vm->vcpus[0].fd, RINGLET_SETUP_VCPU, &setup) < 0)
		die(EXIT_HOST, "-k %s: the module refuses to start at %#llx: %m",
		    vm->options.kernel, setup.entry);
#if CHAPTER >= 9
	devices_bind(vm);
#endif

#if CHAPTER >= 3
	signal_fd = catch_signals();
	pthread_mutex_init(&vm->end_lock, NULL);
	vm->ended_fd = eventfd(0, EFD_CLOEXEC);
	if (vm->ended_fd < 0)
		die(EXIT_HOST, "eventfd: %m");
#endif
	for (unsigned int i = 0; i < vm->options.vcpus; i++)
		vcpu_start(&vm->vcpus[i]);
#if CHAPTER >= 3
	wait_for_end(vm, signal_fd);
	tear_down(vm);
#endif
	if (*vm->reason)
		warn("%s", vm->reason);
	return vm->code;
#endif
}
