// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupts of a guest: the timer's (chapter 6) and the host's interrupt lines
 * (chapter 9), each with one vector and one Linux interrupt number. The host sets
 * a vector pending and Linux's own entry code takes it from there.
 */
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <asm/apic.h>
#include <asm/hw_irq.h>
#include <asm/ringlet.h>
#include <asm/x86_init.h>

#if CHAPTER >= 9
#define VECTORS	(1 + RINGLET_LINES)	/* the timer's first, then the lines */
#else
#define VECTORS	1			/* the timer's */
#endif

static int first_irq __ro_after_init;

static void nothing(struct irq_data *data)
{
}

#if CHAPTER >= 14
static int set_affinity(struct irq_data *data, const struct cpumask *mask, bool force)
{
	unsigned int cpu = cpumask_any_and(mask, cpu_online_mask);

	if (cpu >= nr_cpu_ids)
		return -EINVAL;
	irq_data_update_effective_affinity(data, cpumask_of(cpu));
	return ringlet_hypercall(RINGLET_HC_ROUTE_IRQ, data->irq - first_irq - 1, cpu, 0, 0);
}
#endif

static struct irq_chip ringlet_chip = {
	.name = "ringlet",
	.irq_ack = nothing,
	.irq_mask = nothing,
	.irq_unmask = nothing,
#if CHAPTER >= 14
	.irq_set_affinity = set_affinity,
#endif
};

/* The same vector means the same interrupt on every CPU. */
void ringlet_percpu_vectors(unsigned int cpu)
{
	int i;

	for (i = 0; i < VECTORS; i++)
		per_cpu(vector_irq, cpu)[RINGLET_TIMER_VECTOR + i] = irq_to_desc(first_irq + i);
}

static void __init ringlet_intr_init(void)
{
	native_init_IRQ();
	first_irq = irq_alloc_descs(-1, 1, VECTORS, 0);
	if (first_irq < 0)
		panic("Ringlet: no interrupt numbers");
	irq_set_chip_and_handler_name(first_irq, &ringlet_chip, handle_percpu_irq, "timer");
#if CHAPTER >= 9
	for (int i = 1; i < VECTORS; i++)
		irq_set_chip_and_handler_name(first_irq + i, &ringlet_chip, handle_edge_irq,
					      "line");
#endif
	ringlet_percpu_vectors(0);
}

int ringlet_timer_irq(void)
{
	return first_irq;
}

#if CHAPTER >= 9
/**
 * ringlet_irq() - Linux's number for an interrupt line of the host
 * @line:	0 to RINGLET_LINES - 1
 *
 * Return: the number for request_irq(), or -EINVAL.
 */
int ringlet_irq(unsigned int line)
{
	return line < RINGLET_LINES ? first_irq + 1 + line : -EINVAL;
}
EXPORT_SYMBOL_GPL(ringlet_irq);
#endif

void __init ringlet_init_irq(void)
{
	x86_init.irqs.pre_vector_init = x86_init_noop;
	x86_init.irqs.intr_init = ringlet_intr_init;
	x86_init.irqs.intr_mode_select = x86_init_noop;
	x86_init.irqs.intr_mode_init = x86_init_noop;
}
