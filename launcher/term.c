// SPDX-License-Identifier: GPL-2.0
/*
 * The user's terminal (output: chapter 2; input: 9). It is raw while the guest
 * runs, and restored however the launcher ends. The main thread reads it, so that
 * Ctrl-A works whatever the guest does; what is for the guest goes through a pipe
 * to the console's queue thread. Without a terminal the guest gets plain stdin.
 */
#include <errno.h>
#include <unistd.h>
#if CHAPTER >= 7
#include <sys/ioctl.h>
#endif
#if CHAPTER >= 9
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#endif
#include "launcher.h"

/**
 * term_print() - write to stdout
 * @vm:		the guest; output that blocks is given up when it ends
 * @bytes, @length: what to write
 */
void term_print(struct vm *vm, const char *bytes, size_t length)
{
	while (length) {
		ssize_t n = write(STDOUT_FILENO, bytes, length);

		if (n < 0 && (errno != EINTR || atomic_load(&vm->stopping)))
			return;
		if (n > 0) {
			bytes += n;
			length -= n;
		}
	}
}

#if CHAPTER >= 7
/**
 * term_size() - how large the window is
 * @columns, @rows: 0 if nobody knows
 */
void term_size(u16 *columns, u16 *rows)
{
	struct winsize size = { .ws_col = 0 };

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	*columns = size.ws_col;
	*rows = size.ws_row;
}
#endif

#if CHAPTER >= 9
#define CTRL_A 1

static struct termios saved;
static volatile sig_atomic_t is_raw;
static bool escaped;			/* the last byte was Ctrl-A */
static int to_guest = -1, from_user = -1;	/* the pipe */

/* A job in the background must leave the terminal alone. */
static bool have_terminal(void)
{
	pid_t group = tcgetpgrp(STDIN_FILENO);

	return isatty(STDIN_FILENO) && (group < 0 || group == getpgrp());
}

/**
 * term_restore() - give the terminal back as it was
 *
 * Context: any, also a signal handler.
 */
void term_restore(void)
{
	if (is_raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	is_raw = 0;
}

/* The launcher itself crashes: a bug, but the user's shell shall survive it. */
static void crashed(int number)
{
	term_restore();
	signal(number, SIG_DFL);
	raise(number);
}

/**
 * term_raw() - let the guest have every key
 *
 * Return: whether stdin is a terminal and term_read() is to be called.
 */
bool term_raw(void)
{
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
	struct termios raw;

	if (!have_terminal() || tcgetattr(STDIN_FILENO, &saved) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(crashes); i++)
		signal(crashes[i], crashed);
	atexit(term_restore);
	raw = saved;
	cfmakeraw(&raw);
	raw.c_oflag |= OPOST;	/* boot messages end with a bare newline */
	is_raw = 1;
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	return true;
}

/**
 * term_input() - where the console reads
 *
 * Return: a descriptor, or -1 if there is no input.
 */
int term_input(void)
{
	int fds[2];

	if (!isatty(STDIN_FILENO))
		return STDIN_FILENO;
	if (from_user < 0 && pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0) {
		from_user = fds[0];
		to_guest = fds[1];
	}
	return from_user;
}

static void handle_key(struct vm *vm, char key)
{
	static const char help[] = "\r\nCtrl-A x  end the guest\r\n"
				   "Ctrl-A h  this help\r\n"
				   "Ctrl-A Ctrl-A  send Ctrl-A\r\n";

	if (!escaped && key == CTRL_A) {
		escaped = true;
		return;
	}
	if (escaped && key == 'x')
		vm_end(vm, EXIT_USER, "ended by Ctrl-A x");
	else if (escaped && key == 'h')
		term_print(vm, help, sizeof(help) - 1);
	else if (!escaped || key == CTRL_A)
		/* A guest that does not read loses keys; Ctrl-A must go on. */
		(void)!write(to_guest, &key, 1);
	escaped = false;
}

/**
 * term_read() - the terminal has input
 * @vm:		the guest
 */
void term_read(struct vm *vm)
{
	char keys[256];
	ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

	if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
		vm_end(vm, EXIT_USER, "the terminal is gone");
	for (ssize_t i = 0; i < n; i++)
		handle_key(vm, keys[i]);
}
#endif
