// SPDX-License-Identifier: GPL-2.0
/*
 * Raises interrupts for lab 5's guest, which asks for them by hypercalls that do
 * not exist: it listens to ringlet's trace.
 *
 *	200	vector		now, on this CPU
 *	201	vector, us	a while later, on another CPU
 *	202	vector, other	on another CPU, while @other is being injected
 */
#include <linux/delay.h>
#include <linux/fdtable.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/smp.h>
#include <linux/tracepoint.h>
#include <linux/workqueue.h>

static unsigned long raise;	/* address of interrupt_raise(), which is not exported */
module_param(raise, ulong, 0);

static void *vcpu;		/* whose guest asked last */
static unsigned int later, meanwhile;	/* the vectors of 201 and 202 */
static u64 delay;
static unsigned int trigger;
static bool done;
static call_single_data_t call;

static void raise_vector(unsigned int vector)
{
	((void (*)(void *vcpu, unsigned int vector))raise)(vcpu, vector);
}

/*
 * No timer, and no wait with interrupts off: the host may drive all timers by an
 * interrupt of the guest's CPU, which ends its run.
 */
static void raise_later(struct work_struct *unused)
{
	for (; delay; delay--)
		udelay(1);
	raise_vector(later);
}

static DECLARE_WORK(work, raise_later);

static void raise_here(void *unused)
{
	raise_vector(meanwhile);
	WRITE_ONCE(done, true);
}

static unsigned int another_cpu(void)
{
	return cpumask_any_but(cpu_online_mask, smp_processor_id());
}

static int is_vcpu(const void *unused, struct file *file, unsigned int fd)
{
	if (strcmp(file->f_path.dentry->d_name.name, "ringlet-vcpu"))
		return 0;
	vcpu = file->private_data;
	return 1;
}

static void on_hypercall(void *data, unsigned int id, u64 number, u64 a, u64 b, u64 c, u64 d)
{
	if (number < 200 || number > 202)
		return;
	if (!iterate_fd(current->files, 0, is_vcpu, NULL))
		return;
	if (number == 200) {
		raise_vector(a);
	} else if (number == 201) {
		later = a;
		delay = b;
		schedule_work_on(another_cpu(), &work);
	} else {
		meanwhile = a;
		trigger = b;
	}
}

/* Interrupts are off here, and the guest is about to be entered. */
static void on_inject(void *data, unsigned int id, unsigned int injected, u64 error, u64 rip)
{
	unsigned long patience = 1UL << 30;

	if (!trigger || injected != trigger)
		return;
	trigger = 0;
	done = false;
	INIT_CSD(&call, raise_here, NULL);
	smp_call_function_single_async(another_cpu(), &call);
	while (!READ_ONCE(done) && patience--)
		cpu_relax();
}

static const struct {
	const char *name;
	void *probe;
} probes[] = {
	{ "ringlet_hypercall", on_hypercall },
	{ "ringlet_inject", on_inject },
};

static struct tracepoint *listened[ARRAY_SIZE(probes)];

static int on_module(struct notifier_block *block, unsigned long event, void *data)
{
	struct tp_module *tp = data;
	int i, j;

	for (i = 0; event == MODULE_STATE_COMING && i < tp->mod->num_tracepoints; i++) {
		struct tracepoint *point = tracepoint_ptr_deref(&tp->mod->tracepoints_ptrs[i]);

		for (j = 0; j < ARRAY_SIZE(probes); j++)
			if (!strcmp(point->name, probes[j].name) &&
			    !tracepoint_probe_register(point, probes[j].probe, NULL))
				listened[j] = point;
	}
	return NOTIFY_OK;
}

static struct notifier_block block = { .notifier_call = on_module };

static int __init poke_init(void)
{
	return register_tracepoint_module_notifier(&block);
}

static void __exit poke_exit(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (listened[i])
			tracepoint_probe_unregister(listened[i], probes[i].probe, NULL);
	unregister_tracepoint_module_notifier(&block);
	tracepoint_synchronize_unregister();
	cancel_work_sync(&work);
}

module_init(poke_init);
module_exit(poke_exit);
MODULE_DESCRIPTION("Interrupts for the tests of lab 5");
MODULE_LICENSE("GPL");
