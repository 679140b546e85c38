// SPDX-License-Identifier: GPL-2.0
/*
 * The `ringlet` command (chapter 1): subcommands, and the end of the process.
 * Everything about running a guest starts in vm_run().
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "launcher.h"

static struct vm vm;

static int run(int argc, char **argv)
{
	sigset_t mask;
	int code;

	/* What we open must never become stdin, stdout or stderr. */
	do {
		code = open("/dev/null", O_RDWR | O_CLOEXEC);
	} while (code >= 0 && code <= STDERR_FILENO &&
		 fcntl(code, F_SETFD, 0) == 0);
	close(code);

	options_parse(&vm.options, argc, argv);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	code = vm_run(&vm);
	if (code != EXIT_REBOOT || vm.options.no_reboot)
		return code;

	/* A fresh process is a fresh machine: memory, devices, file offsets. */
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	execv("/proc/self/exe", argv - 1);
	execvp(argv[-1], argv - 1);
	die(EXIT_HOST, "%s: cannot start again for the guest's reboot: %m; mount /proc",
	    argv[-1]);
}

static int version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("ringlet: ABI %d\n", RINGLET_ABI);
	return 0;
}

static int help(int argc, char **argv);

static const struct {
	const char *name;
	int (*function)(int argc, char **argv);
	const char *text;
} commands[] = {
	{ "run",	run,		"run a guest; `ringlet run --help` lists its options" },
	{ "version",	version,	"the version of the interface that this launcher speaks" },
	{ "help",	help,		"this text" },
};

static int help(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("usage: ringlet COMMAND [OPTION...]\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-9s%s\n", commands[i].name, commands[i].text);
	return 0;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	if (!strncmp(name, "--", 2))
		name += 2;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(name, commands[i].name))
			return commands[i].function(argc - 1, argv + 1);
	die(EXIT_USAGE, *name ? "%s: no such command; try `ringlet help`" :
	    "%swhat to do? try `ringlet help`", name);
}
