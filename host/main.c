// SPDX-License-Identifier: GPL-2.0
/*
 * ringlet.ko: module and file operations of /dev/ringlet (chapter 1). Opening
 * the device makes a VM; include/ringlet/control.h has the interface.
 */
#define pr_fmt(fmt) "ringlet: " fmt
#include <linux/compat.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>
#include "ringlet.h"

static int ringlet_open(struct inode *inode, struct file *file)
{
	struct ringlet_vm *vm = vm_create();

	if (IS_ERR(vm))
		return PTR_ERR(vm);
	file->private_data = vm;
	return 0;
}

static int ringlet_release(struct inode *inode, struct file *file)
{
	struct ringlet_vm *vm = file->private_data;

	vm_put(vm);
	return 0;
}

static long vm_ioctl(struct ringlet_vm *vm, unsigned int cmd, unsigned long arg)
{
	struct ringlet_memory memory;
#if CHAPTER >= 9
	struct ringlet_eventfd bind;
#endif

	switch (cmd) {
	case RINGLET_GET_ABI:
		return RINGLET_ABI;
	case RINGLET_SET_MEMORY:
		if (copy_from_user(&memory, (void __user *)arg, sizeof(memory)))
			return -EFAULT;
		return vm_set_memory(vm, &memory);
	case RINGLET_CREATE_VCPU:
		return vcpu_create(vm, arg);
#if CHAPTER >= 9
	case RINGLET_NOTIFY_FD:
	case RINGLET_IRQ_FD:
		if (copy_from_user(&bind, (void __user *)arg, sizeof(bind)))
			return -EFAULT;
		return cmd == RINGLET_IRQ_FD ? irqfd_bind(vm, &bind) : notify_bind(vm, &bind);
	case RINGLET_RAISE_IRQ:
		return arg < RINGLET_LINES ? line_raise(vm, arg) : -EINVAL;
#endif
	}
	return -ENOTTY;
}

static long ringlet_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct ringlet_vm *vm = file->private_data;
	long ret;

	mutex_lock(&vm->lock);
	ret = vm_ioctl(vm, cmd, arg);
	mutex_unlock(&vm->lock);
	return ret;
}

static const struct file_operations ringlet_fops = {
	.owner = THIS_MODULE,
	.open = ringlet_open,
	.release = ringlet_release,
	.unlocked_ioctl = ringlet_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice ringlet_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "ringlet",
	.fops = &ringlet_fops,
	.mode = 0666,
};

static int __init ringlet_init(void)
{
	int ret = check_host();

	if (ret)
		return ret;
	ret = slot_init();
	if (ret)
		return ret;
	ret = misc_register(&ringlet_device);
	if (ret) {
		slot_exit();
		return ret;
	}
#if CHAPTER >= 2
	stats_init();
#endif
	return 0;
}

static void __exit ringlet_exit(void)
{
#if CHAPTER >= 2
	stats_exit();
#endif
	misc_deregister(&ringlet_device);
	slot_exit();
}

module_init(ringlet_init);
module_exit(ringlet_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Ringlet: a hypervisor to learn from");
