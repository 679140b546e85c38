// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupts of a guest (chapter 6): the host's interrupt lines, each with one
 * vector and one Linux interrupt number, and the timer's. The host sets a
 * vector pending and Linux's own entry code takes it from there.
 */
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <asm/apic.h>
#include <asm/hw_irq.h>
#include <asm/ringlet.h>
#include <asm/x86_init.h>

#define VECTORS	(1 + RINGLET_LINES)	/* the timer's first, then the lines */

static int first_irq __ro_after_init;

static void nothing(struct irq_data *data)
{
}

static int set_affinity(struct irq_data *data, const struct cpumask *mask, bool force)
{
	unsigned int cpu = cpumask_any_and(mask, cpu_online_mask);

	if (cpu >= nr_cpu_ids)
		return -EINVAL;
	irq_data_update_effective_affinity(data, cpumask_of(cpu));
	return ringlet_hypercall(RINGLET_HC_ROUTE_IRQ, data->irq - first_irq - 1, cpu, 0, 0);
}

static struct irq_chip ringlet_chip = {
	.name = "ringlet",
	.irq_ack = nothing,
	.irq_mask = nothing,
	.irq_unmask = nothing,
	.irq_set_affinity = set_affinity,
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
	int i;

	native_init_IRQ();
	first_irq = irq_alloc_descs(-1, 1, VECTORS, 0);
	if (first_irq < 0)
		panic("Ringlet: no interrupt numbers");
	irq_set_chip_and_handler_name(first_irq, &ringlet_chip, handle_percpu_irq, "timer");
	for (i = 1; i < VECTORS; i++)
		irq_set_chip_and_handler_name(first_irq + i, &ringlet_chip, handle_edge_irq,
					      "line");
	ringlet_percpu_vectors(0);
}

int ringlet_timer_irq(void)
{
	return first_irq;
}

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

void __init ringlet_init_irq(void)
{
	x86_init.irqs.pre_vector_init = x86_init_noop;
	x86_init.irqs.intr_init = ringlet_intr_init;
	x86_init.irqs.intr_mode_select = x86_init_noop;
	x86_init.irqs.intr_mode_init = x86_init_noop;
}
