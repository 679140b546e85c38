// SPDX-License-Identifier: GPL-2.0
/*
 * The boot console (chapter 6): a hypercall prints, from the first line on. It
 * goes when the real console comes (chapter 9).
 */
#include <linux/console.h>
#include <linux/init.h>
#include <linux/string.h>
#include <asm/cmdline.h>
#include <asm/page.h>
#include <asm/ringlet.h>

/* Its gpa is known before there is a memory map, as it is in the kernel's image. */
static char buffer[256];

static void ringlet_write(struct console *console, const char *text, unsigned int length)
{
#if SOLUTION >= 603
	while (length) {
		unsigned int now = min_t(unsigned int, length, sizeof(buffer));

		memcpy(buffer, text, now);
		ringlet_hypercall(RINGLET_HC_PRINT, __pa_symbol(buffer), now, 0, 0);
		text += now;
		length -= now;
	}
#else
	PLATFORM_EXERCISE("6.3");
#endif
}

static struct console ringlet_console = {
	.name = "ringlet",
	.write = ringlet_write,
	.flags = CON_PRINTBUFFER | CON_BOOT | CON_ANYTIME,
	.index = -1,
};

/* Some lines come before the kernel looks for "quiet" itself. */
void __init ringlet_init_console(const char *command_line)
{
	if (cmdline_find_option_bool(command_line, "quiet"))
		console_loglevel = CONSOLE_LOGLEVEL_QUIET;
	register_console(&ringlet_console);
}
