// SPDX-License-Identifier: GPL-2.0
/* The timer of a vCPU: one shot, as Linux's clockevents want it (chapter 5). */
#include <linux/hrtimer.h>
#include "ringlet.h"

static enum hrtimer_restart timer_expired(struct hrtimer *timer)
{
	struct ringlet_vcpu *vcpu = container_of(timer, struct ringlet_vcpu, timer);

	interrupt_raise(vcpu, RINGLET_TIMER_VECTOR);
	return HRTIMER_NORESTART;
}

void timer_init(struct ringlet_vcpu *vcpu)
{
	hrtimer_init(&vcpu->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	vcpu->timer.function = timer_expired;
}

/**
 * timer_set() - raise RINGLET_TIMER_VECTOR later
 * @vcpu:	the vCPU
 * @ns:		from now; 0 stops the timer
 */
void timer_set(struct ringlet_vcpu *vcpu, u64 ns)
{
#if SOLUTION >= 501
	if (ns)
		hrtimer_start(&vcpu->timer, ns_to_ktime(min_t(u64, ns, KTIME_MAX)),
			      HRTIMER_MODE_REL);
	else
		hrtimer_cancel(&vcpu->timer);
#else
	EXERCISE("5.1");
#endif
}

void timer_stop(struct ringlet_vcpu *vcpu)
{
	hrtimer_cancel(&vcpu->timer);
}
