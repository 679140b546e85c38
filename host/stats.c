// SPDX-License-Identifier: GPL-2.0
/*
 * Counters since the module was loaded (chapter 2), in debugfs: `ringlet/exits`, a line
 * "name count" each. Writing anything to the file sets them to zero.
 */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/seq_file.h>
#include "ringlet.h"

DEFINE_PER_CPU(u64[COUNTERS], ringlet_counters);
static struct dentry *directory;

static const char *const names[COUNT_HYPERCALLS] = {
	[COUNT_INTERRUPT] = "exit_interrupt",
	[COUNT_NMI] = "exit_nmi",
	[COUNT_PAGE_FAULT] = "exit_page_fault",
	[COUNT_PROTECTION] = "exit_protection",
	[COUNT_HYPERCALL] = "exit_hypercall",
	[COUNT_DEBUG] = "exit_debug",
	[COUNT_EXCEPTION] = "exit_exception",
	[COUNT_OTHER] = "exit_other",
	[COUNT_ENTRIES] = "entries",
#if CHAPTER >= 4
	[COUNT_FILL] = "fills",
	[COUNT_FLUSH] = "flushes",
#endif
#if CHAPTER >= 5
	[COUNT_INJECT] = "injections",
#endif
#if CHAPTER >= 9
	[COUNT_NOTIFY] = "notifies",
#endif
};

static u64 total(unsigned int counter)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += per_cpu(ringlet_counters, cpu)[counter];
	return sum;
}

static int exits_show(struct seq_file *file, void *unused)
{
	unsigned int i;

	for (i = 0; i < COUNT_HYPERCALLS; i++)
		seq_printf(file, "%s %llu\n", names[i], total(i));
	for (i = 0; i < RINGLET_HC_COUNT; i++)
		if (hypercall_name(i))
			seq_printf(file, "hypercall_%s %llu\n", hypercall_name(i),
				   total(COUNT_HYPERCALLS + i));
	return 0;
}

static int exits_open(struct inode *inode, struct file *file)
{
	return single_open(file, exits_show, NULL);
}

static ssize_t exits_write(struct file *file, const char __user *buffer, size_t length,
			   loff_t *offset)
{
	int cpu;

	for_each_possible_cpu(cpu)
		memset(per_cpu(ringlet_counters, cpu), 0, sizeof(ringlet_counters));
	return length;
}

static const struct file_operations exits_fops = {
	.owner = THIS_MODULE,
	.open = exits_open,
	.read = seq_read,
	.write = exits_write,
	.llseek = seq_lseek,
	.release = single_release,
};

void stats_init(void)
{
	directory = debugfs_create_dir("ringlet", NULL);
	debugfs_create_file("exits", 0644, directory, NULL, &exits_fops);
}

void stats_exit(void)
{
	debugfs_remove_recursive(directory);
}
