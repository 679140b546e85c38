// SPDX-License-Identifier: GPL-2.0
/*
 * The ways to end, against a module that is made of paper: RUN plays a script.
 * Each case runs in a process of its own, as a launcher would.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>
#include "launcher.h"

static int fake_open(const char *name, int flags);
static int fake_ioctl(int fd, unsigned long request, ...);
static void *fake_mmap(void *at, size_t length, int prot, int flags, int fd, off_t offset);

#define open fake_open
#define ioctl fake_ioctl
#define mmap fake_mmap
#include "vm.c"
#include "vcpu.c"
#include "device_page.c"
#undef open
#undef ioctl
#undef mmap

#define VCPU_FD	1000

static struct ringlet_run runs[RINGLET_MAX_VCPUS];
static struct ringlet_run script[4];
static int steps, abi = RINGLET_ABI, open_errno, memory_errno;
static struct vm vm;

void load_guest(const struct options *options, const struct memory *memory,
		struct ringlet_vcpu_setup *setup)
{
	(void)options;
	memcpy(memory->base + 0x1000, "no init\nrubbish", 15);
	*setup = (struct ringlet_vcpu_setup){ .entry = 1 };
}

static int fake_open(const char *name, int flags)
{
	(void)name;
	(void)flags;
	errno = open_errno;
	return open_errno ? -1 : 999;
}

static void *fake_mmap(void *at, size_t length, int prot, int flags, int fd, off_t offset)
{
	(void)at; (void)length; (void)prot; (void)flags; (void)offset;
	return &runs[fd - VCPU_FD];
}

/* vCPU 0 plays the script, then a guest that halts for good, as the others do. */
static int run(int id)
{
	static int step;

	if (id == 0 && step < steps) {
		if (step)
			fprintf(stderr, "result %lld\n", runs[0].result);
		runs[0] = script[step++];
		return 0;
	}
	poll(NULL, 0, -1);
	runs[id].exit = RINGLET_EXIT_INTR;
	return id ? 0 : -1;	/* EINTR: both ways are allowed */
}

static int fake_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	unsigned long argument;

	va_start(args, request);
	argument = va_arg(args, unsigned long);
	va_end(args);
	switch (request) {
	case RINGLET_GET_ABI: return abi;
	case RINGLET_CREATE_VCPU: return VCPU_FD + argument;
	case RINGLET_SET_MEMORY: errno = memory_errno; return memory_errno ? -1 : 0;
	case RINGLET_RUN: return run(fd - VCPU_FD);
	}
	return 0;
}

static void run_guest(void)
{
	vm.options = (struct options){ .megabytes = 4, .vcpus = 3, .kernel = "vmlinux",
		.devices = { { 'c', NULL }, { 'r', NULL } }, .nr_devices = 2 };
	alarm(20);
	exit(vm_run(&vm));
}

/* Run a guest; its stderr and stdout must hold @text. */
static void expect(const char *what, int code, const char *text, int kill_with)
{
	static char output[4096];
	int fds[2], status;
	size_t length = 0;
	ssize_t n;
	pid_t pid;

	if (pipe(fds))
		exit(1);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		dup2(fds[1], STDOUT_FILENO);
		dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		run_guest();
	}
	close(fds[1]);
	if (kill_with) {
		usleep(200000);
		kill(pid, kill_with);
	}
	while (length < sizeof(output) - 1 &&
	       (n = read(fds[0], output + length, sizeof(output) - 1 - length)) > 0)
		length += n;
	output[length] = '\0';
	close(fds[0]);
	waitpid(pid, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != code || !strstr(output, text)) {
		fprintf(stderr, "%s: status %#x, output: %s\n", what, status, output);
		exit(1);
	}
	printf("ok %s\n", what);
}

/* On a terminal: raw while it runs, as it was at the end, whatever ends it. */
static void expect_tty(const char *what, const char *keys, int kill_with, const char *text)
{
	struct termios before, during, after;
	char output[4096] = "";
	size_t length = 0;
	int master, slave, status;
	ssize_t n;
	pid_t pid;

	if (openpty(&master, &slave, NULL, NULL, NULL) || tcgetattr(slave, &before))
		exit(1);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		login_tty(slave);
		run_guest();
	}
	usleep(300000);
	tcgetattr(slave, &during);
	if (write(master, keys, strlen(keys)) < 0)
		exit(1);
	if (kill_with)
		kill(pid, kill_with);
	waitpid(pid, &status, 0);
	tcgetattr(slave, &after);
	fcntl(master, F_SETFL, O_NONBLOCK);
	while (length < sizeof(output) - 1 &&
	       (n = read(master, output + length, sizeof(output) - 1 - length)) > 0)
		length += n;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_USER || !strstr(output, text) ||
	    during.c_lflag & (ICANON | ECHO | ISIG) || !(during.c_oflag & OPOST) ||
	    before.c_lflag != after.c_lflag || before.c_iflag != after.c_iflag) {
		fprintf(stderr, "%s: status %#x, output: %s\n", what, status, output);
		exit(1);
	}
	printf("ok %s\n", what);
	close(master);
	close(slave);
}

static void play(u32 number, u64 a, u64 b, u64 c)
{
	script[steps++] = (struct ringlet_run){ .exit = RINGLET_EXIT_HYPERCALL, .number = number,
						.args = { a, b, c } };
}

int main(void)
{
	steps = 0; play(RINGLET_HC_PRINT, 0x1000, 7, 0); play(RINGLET_HC_SHUTDOWN, 0, 0, 0);
	expect("power-off after a line", EXIT_POWEROFF, "no init", 0);
	steps = 0; play(RINGLET_HC_PRINT, 4 << 20, 1, 0); play(RINGLET_HC_SHUTDOWN, 0, 0, 0);
	expect("printing the device page is refused", EXIT_POWEROFF, "result -22", 0);
	steps = 0; play(99, 0, 0, 0); play(RINGLET_HC_SHUTDOWN, 0, 0, 0);
	expect("an unknown hypercall", EXIT_POWEROFF, "result -38", 0);
	steps = 0; play(RINGLET_HC_DEVICE_STATUS, 1, 1, 0); play(RINGLET_HC_SHUTDOWN, 0, 0, 0);
	expect("a device hypercall", EXIT_POWEROFF, "result 1", 0);
	steps = 0; play(RINGLET_HC_SHUTDOWN, RINGLET_SHUTDOWN_REBOOT, 0, 0);
	expect("reboot", EXIT_REBOOT, "ringlet: guest rebooted", 0);
	steps = 0; play(RINGLET_HC_SHUTDOWN, RINGLET_SHUTDOWN_PANIC, 0x1000, 7);
	expect("panic", EXIT_PANIC, "ringlet: guest panicked: no init\n", 0);
	steps = 0; play(RINGLET_HC_SHUTDOWN, RINGLET_SHUTDOWN_PANIC, -1ULL, -1ULL);
	expect("panic with a bad line", EXIT_PANIC, "it does not say why", 0);
	script[0] = (struct ringlet_run){ .exit = RINGLET_EXIT_KILLED, .rip = 0x1234,
					  .reason = "triple fault" };
	steps = 1;
	expect("killed", EXIT_KILLED, "ringlet: guest killed: triple fault (rip 0x1234)", 0);
	steps = 0;
	expect("SIGTERM while it halts", EXIT_USER, "ended by signal 15", SIGTERM);
	expect("SIGINT while it halts", EXIT_USER, "ended by signal 2", SIGINT);
	expect_tty("Ctrl-A x", "abc\001h\001\001\001x", 0, "ended by Ctrl-A x");
	expect_tty("Ctrl-A h", "\001h\001x", 0, "this help");
	expect_tty("SIGTERM on a terminal", "\003", SIGTERM, "ended by signal 15");
	expect_tty("SIGHUP on a terminal", "x", SIGHUP, "ended by signal 1");
	open_errno = ENOENT;
	expect("no module", EXIT_HOST, "load ringlet.ko", 0);
	open_errno = EACCES;
	expect("not permitted", EXIT_HOST, "you may not open it", 0);
	open_errno = 0;
	abi = RINGLET_ABI + 1;
	expect("another ABI", EXIT_HOST, "rebuild with make", 0);
	abi = RINGLET_ABI;
	memory_errno = ENOMEM;
	expect("too much to pin", EXIT_HOST, "ulimit -l", 0);
	return 0;
}
