// SPDX-License-Identifier: GPL-2.0
/*
 * Two secrets of the host, for lab 13's tests: `insmod secret.ko value=N` leaves
 * N in DR0 of each CPU (ring 0 alone can read it; DR7 does not enable it) and in
 * eight bytes of the clock chip's memory (who may use its ports can read them).
 */
#include <linux/module.h>
#include <linux/smp.h>
#include <asm/debugreg.h>
#include <asm/mc146818rtc.h>

static unsigned long value;
module_param(value, ulong, 0);

static void set_dr0(void *unused)
{
	set_debugreg(value, 0);
}

static int __init secret_init(void)
{
	int i;

	for (i = 0; i < 8; i++)
		CMOS_WRITE(value >> (8 * i), 0x60 + i);
	on_each_cpu(set_dr0, NULL, 1);
	return 0;
}

static void __exit secret_exit(void)
{
}

module_init(secret_init);
module_exit(secret_exit);
MODULE_DESCRIPTION("Secrets for a hostile guest to steal");
MODULE_LICENSE("GPL");
