// SPDX-License-Identifier: GPL-2.0
/*
 * vCPUs (chapter 1; threads: 3): each calls RUN in a loop and does what the guest
 * asks of the launcher (chapter 2), by tables. Most hypercalls end in the module
 * and are never seen here.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#if CHAPTER >= 3
#include <signal.h>
#include <unistd.h>
#endif
#include "launcher.h"
#if CHAPTER >= 7
#include "virtio.h"
#endif

#if CHAPTER >= 2
#define PRINT_MAX	4096
#define LINE_MAX_LENGTH	256

static s64 hc_print(struct vm *vm, u32 number, const u64 *args)
{
#if SOLUTION >= 204
	void *text = memory_at(&vm->memory, args[0], args[1]);

	(void)number;
	if (!text || args[1] > PRINT_MAX)
		return -EINVAL;
	term_print(vm, text, args[1]);
	return 0;
#else
	/* Exercise 2.4: args[0] is the gpa, args[1] the length. Both are the guest's: check them, then term_print(). */
	(void)vm, (void)number, (void)args;
	EXERCISE("2.4");
#endif
}

static s64 hc_shutdown(struct vm *vm, u32 number, const u64 *args)
{
	int length = args[2] < LINE_MAX_LENGTH ? args[2] : LINE_MAX_LENGTH;
	const char *line = args[1] ? memory_at(&vm->memory, args[1], length) : NULL;

	(void)number;
	switch (args[0]) {
	case RINGLET_SHUTDOWN_POWEROFF:
		vm_end(vm, EXIT_POWEROFF, NULL);
		break;
	case RINGLET_SHUTDOWN_REBOOT:
		vm_end(vm, EXIT_REBOOT, "guest rebooted");
		break;
	case RINGLET_SHUTDOWN_PANIC:
		vm_end(vm, EXIT_PANIC, "guest panicked: %.*s", line ? length : 20, line ? line : "it does not say why");
		break;
	default:
		return -EINVAL;
	}
	return 0;
}

static s64 (*const hypercalls[RINGLET_HC_COUNT])(struct vm *vm, u32 number, const u64 *args) = {
	[RINGLET_HC_PRINT]		= hc_print,
	[RINGLET_HC_SHUTDOWN]		= hc_shutdown,
#if CHAPTER >= 7
	[RINGLET_HC_DEVICE_STATUS]	= device_hypercall,
	[RINGLET_HC_DEVICE_RESET]	= device_hypercall,
	[RINGLET_HC_DEVICE_FEATURES]	= device_hypercall,
	[RINGLET_HC_DEVICE_CONFIG]	= device_hypercall,
#endif
#if CHAPTER >= 8
	[RINGLET_HC_DEVICE_QUEUE]	= device_hypercall,
#endif
#if CHAPTER >= 9
	[RINGLET_HC_NOTIFY]		= device_hypercall,
#endif
};

static void handle_hypercall(struct vcpu *vcpu)
{
	struct ringlet_run *run = vcpu->run;

	if (run->number < ARRAY_SIZE(hypercalls) && hypercalls[run->number])
		run->result = hypercalls[run->number](vcpu->vm, run->number, run->args);
	else
		run->result = -ENOSYS;
}

#endif

#if CHAPTER >= 3
static void handle_interrupted(struct vcpu *vcpu)
{
	(void)vcpu;	/* the loop looks whether it is the end */
}
#endif

static void handle_killed(struct vcpu *vcpu)
{
	vm_end(vcpu->vm, EXIT_KILLED, "guest killed: %.*s (rip %#llx)",
	       (int)sizeof(vcpu->run->reason), vcpu->run->reason, vcpu->run->rip);
}

static void (*const exits[])(struct vcpu *vcpu) = {
	[RINGLET_EXIT_KILLED]		= handle_killed,
#if CHAPTER >= 2
	[RINGLET_EXIT_HYPERCALL]	= handle_hypercall,
#endif
#if CHAPTER >= 3
	[RINGLET_EXIT_INTR]		= handle_interrupted,
#endif
};

/* Until vm_end(). */
static void run_vcpu(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;

	while (!atomic_load(&vm->stopping)) {
		if (ioctl(vcpu->fd, RINGLET_RUN) < 0) {
			if (errno == EINTR)
				continue;
			vm_end(vm, EXIT_HOST, "%s: RUN: %s", RINGLET_DEVICE, strerror(errno));
			break;
		}
		if (vcpu->run->exit < ARRAY_SIZE(exits))
			exits[vcpu->run->exit](vcpu);
	}
}

#if CHAPTER >= 3
static void *thread(void *vcpu)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	run_vcpu(vcpu);
	return NULL;
}

static void stop_signal(int signal)
{
	(void)signal;	/* only there to make RUN return */
}
#endif

/**
 * vcpu_create() - make a vCPU, or die
 * @vm:		with its memory set
 * @id:		its number; in order, from 0
 */
void vcpu_create(struct vm *vm, unsigned int id)
{
	struct vcpu *vcpu = &vm->vcpus[id];

	vcpu->vm = vm;
	vcpu->fd = ioctl(vm->fd, RINGLET_CREATE_VCPU, id);
	if (vcpu->fd < 0)
		die(EXIT_HOST, "-c %u: cannot make vCPU %u: %m; give fewer", vm->options.vcpus, id);
	vcpu->run = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		die(EXIT_HOST, "%s: cannot map the run page of vCPU %u: %m", RINGLET_DEVICE, id);
}

#if CHAPTER < 3
/* vcpu_start() - run the vCPU until the guest ends */
void vcpu_start(struct vcpu *vcpu)
{
	run_vcpu(vcpu);
}
#else
/**
 * vcpu_start() - let a vCPU run; all but the first wait for the guest in RUN
 * @vcpu:	as vcpu_create() made it
 */
void vcpu_start(struct vcpu *vcpu)
{
	struct sigaction action = { .sa_handler = stop_signal };	/* no SA_RESTART */
	struct vm *vm = vcpu->vm;

	sigaction(SIGUSR1, &action, NULL);
	if (pthread_create(&vcpu->thread, NULL, thread, vcpu)) {
		vm_end(vm, EXIT_HOST, "-c %u: cannot make a thread per vCPU", vm->options.vcpus);
		return;
	}
	vcpu->started = true;
}

/**
 * vcpu_stop() - wait until a vCPU's thread is gone
 * @vcpu:	vm->stopping is set
 *
 * A signal that arrives between the thread's look at @stopping and its RUN does
 * nothing, so send until one has done it.
 */
void vcpu_stop(struct vcpu *vcpu)
{
	while (vcpu->started && pthread_tryjoin_np(vcpu->thread, NULL)) {
		pthread_kill(vcpu->thread, SIGUSR1);
		usleep(1000);
	}
}
#endif
