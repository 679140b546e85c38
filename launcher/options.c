// SPDX-License-Identifier: GPL-2.0
/*
 * The command line of `ringlet run` (chapter 1): kvmtool's letters. What stands
 * behind -d and -n is parsed by the devices themselves (chapters 10 and 11).
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "launcher.h"

enum { OPT_NO_REBOOT = 256, OPT_DRY_RUN, OPT_RNG, OPT_NO_RNG, OPT_CONSOLE, OPT_TRACE };

/* The letters that later chapters brought. */
#if CHAPTER >= 14
#define MORE_OPTIONS "n:d:c:"
#elif CHAPTER >= 11
#define MORE_OPTIONS "n:d:"
#elif CHAPTER >= 10
#define MORE_OPTIONS "n:"
#else
#define MORE_OPTIONS ""
#endif

static const struct option long_options[] = {
	{ "kernel",	required_argument,	NULL, 'k' },
	{ "initrd",	required_argument,	NULL, 'i' },
	{ "mem",	required_argument,	NULL, 'm' },
	{ "params",	required_argument,	NULL, 'p' },
#if CHAPTER >= 7
	{ "rng",	no_argument,		NULL, OPT_RNG },
	{ "no-rng",	no_argument,		NULL, OPT_NO_RNG },
	{ "console",	required_argument,	NULL, OPT_CONSOLE },
#endif
#if CHAPTER >= 8
	{ "trace",	no_argument,		NULL, OPT_TRACE },
#endif
#if CHAPTER >= 10
	{ "network",	required_argument,	NULL, 'n' },
#endif
#if CHAPTER >= 11
	{ "disk",	required_argument,	NULL, 'd' },
#endif
#if CHAPTER >= 14
	{ "cpus",	required_argument,	NULL, 'c' },
#endif
	{ "no-reboot",	no_argument,		NULL, OPT_NO_REBOOT },
	{ "dry-run",	no_argument,		NULL, OPT_DRY_RUN },
	{ "help",	no_argument,		NULL, 'h' },
	{ NULL, 0, NULL, 0 }
};

static const char usage[] =
"usage: ringlet run -k vmlinux [OPTION...]\n"
"\n"
"  -k, --kernel FILE       ELF kernel of the guest, built for Ringlet\n"
"  -i, --initrd FILE       initial RAM disk\n"
"  -m, --mem MIB           memory, 2 to 4096 (default 256)\n"
#if CHAPTER >= 14
"  -c, --cpus N            virtual CPUs, 1 to 4 (default 1)\n"
#endif
"  -p, --params TEXT       kernel command line (default console=hvc0)\n"
#if CHAPTER >= 11
"  -d, --disk FILE[,ro][,serial=TEXT]\n"
"                          raw disk image or block device; may be repeated\n"
#endif
#if CHAPTER >= 10
"  -n, --network tap=NAME[,mac=MAC] | socket=PATH[,mac=MAC] | none\n"
"                          network card; may be repeated\n"
#endif
#if CHAPTER >= 7
"      --console on|off    virtio console on stdin and stdout (default on)\n"
"      --rng, --no-rng     virtio entropy source (default on)\n"
#endif
#if CHAPTER >= 8
"      --trace             note what the queues do in the kernel's trace\n"
#endif
"      --no-reboot         end with code 3 instead of starting the guest again\n"
"      --dry-run           load everything, show where it starts, do not run\n"
"  -h, --help              this text\n"
#if CHAPTER >= 9
"\n"
"On a terminal Ctrl-A x ends the guest, Ctrl-A h shows the other keys.\n"
#endif
#if CHAPTER >= 11
"Example: ringlet run -k vmlinux -m 256 -d root.img,ro -n tap=tap0 \\\n"
"             -p \"console=hvc0 root=/dev/vda\"\n"
#endif
;

static unsigned int number(const char *option, const char *text, unsigned int min,
			   unsigned int max)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || value < min || value > max)
		die(EXIT_USAGE, "%s %s: not a number from %u to %u", option, text, min, max);
	return value;
}

#if CHAPTER >= 7
static void add_device(struct options *options, char kind, char *argument)
{
	if (options->nr_devices == ARRAY_SIZE(options->devices))
		die(EXIT_USAGE, "more than %zu devices, console and rng included; leave some out",
		    ARRAY_SIZE(options->devices));
	options->devices[options->nr_devices++] = (struct device_option){ kind, argument };
}

static bool on_or_off(const char *option, const char *text)
{
	if (strcmp(text, "on") && strcmp(text, "off"))
		die(EXIT_USAGE, "%s %s: neither on nor off", option, text);
	return text[1] == 'n';
}
#endif

#if CHAPTER >= 10
/**
 * next_suboption() - take the next piece of "name=value,flag,..."
 * @rest:	what is left; cut up as we go
 * @name:	the piece's name
 * @value:	what stands behind its '=', or NULL
 *
 * Return: false at the end.
 */
bool next_suboption(char **rest, char **name, char **value)
{
	*name = strsep(rest, ",");
	if (!*name)
		return false;
	*value = strchr(*name, '=');
	if (*value)
		*(*value)++ = '\0';
	return true;
}
#endif

/**
 * options_parse() - read the command line or die
 * @options:	to be filled in
 * @argc, @argv: from the word "run" on. The texts are copied before anything
 *		cuts them up: a reboot starts the launcher with them again
 */
void options_parse(struct options *options, int argc, char **argv)
{
#if CHAPTER >= 7
	bool console = true, rng = true;
#endif
	int c;

	*options = (struct options){ .megabytes = 256, .vcpus = 1, .cmdline = "console=hvc0" };
	while ((c = getopt_long(argc, argv, "k:i:m:p:h" MORE_OPTIONS, long_options, NULL)) != -1) {
		switch (c) {
		case 'k': options->kernel = optarg; break;
		case 'i': options->initrd = optarg; break;
		case 'm': options->megabytes = number("-m", optarg, 2, 4096); break;
		case 'p': options->cmdline = optarg; break;
#if CHAPTER >= 7
		case OPT_RNG: rng = true; break;
		case OPT_NO_RNG: rng = false; break;
		case OPT_CONSOLE: console = on_or_off("--console", optarg); break;
#endif
#if CHAPTER >= 10
		case 'n':
			if (strcmp(optarg, "none"))
				add_device(options, c, strdup(optarg));
			break;
#endif
#if CHAPTER >= 11
		case 'd': add_device(options, c, strdup(optarg)); break;
#endif
#if CHAPTER >= 14
		case 'c': options->vcpus = number("-c", optarg, 1, RINGLET_MAX_VCPUS); break;
#endif
#if CHAPTER >= 8
		case OPT_TRACE: options->trace = true; break;
#endif
		case OPT_NO_REBOOT: options->no_reboot = true; break;
		case OPT_DRY_RUN: options->dry_run = true; break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			die(EXIT_USAGE, "try `ringlet run --help`");
		}
	}
	if (optind < argc)
		die(EXIT_USAGE, "%s: not an option; the kernel's parameters go behind -p, in quotes",
		    argv[optind]);
	if (!options->kernel)
		die(EXIT_USAGE, "no kernel: say -k vmlinux");
#if CHAPTER >= 7
	if (console)
		add_device(options, 'c', NULL);
	if (rng)
		add_device(options, 'r', NULL);
#endif
}
