// SPDX-License-Identifier: GPL-2.0
/*
 * Time in a guest (chapter 6): the TSC tells it, as on hardware and without an
 * exit; the host's one-shot timer interrupts.
 */
#include <linux/clockchips.h>
#include <linux/interrupt.h>
#include <linux/timekeeping.h>
#include <asm/ringlet.h>
#include <asm/time.h>
#include <asm/tsc.h>
#include <asm/x86_init.h>

static DEFINE_PER_CPU(struct clock_event_device, timers);

static int set_next_event(unsigned long ns, struct clock_event_device *timer)
{
#if SOLUTION >= 604
	return ringlet_hypercall(RINGLET_HC_SET_TIMER, ns, 0, 0, 0);
#else
	EXERCISE("6.4");
#endif
}

static int shut_down(struct clock_event_device *timer)
{
#if SOLUTION >= 604
	return ringlet_hypercall(RINGLET_HC_SET_TIMER, 0, 0, 0, 0);
#else
	EXERCISE("6.4");
#endif
}

static irqreturn_t timer_interrupt(int irq, void *unused)
{
#if SOLUTION >= 604
	struct clock_event_device *timer = this_cpu_ptr(&timers);

	timer->event_handler(timer);
	return IRQ_HANDLED;
#else
	EXERCISE("6.4");
#endif
}

/* The host takes nanoseconds, so a cycle of this device is one. */
void ringlet_start_timer(void)
{
	struct clock_event_device *timer = this_cpu_ptr(&timers);

#if SOLUTION >= 604
	timer->name = "ringlet";
	timer->features = CLOCK_EVT_FEAT_ONESHOT;
	timer->rating = 400;
	timer->cpumask = cpumask_of(smp_processor_id());
	timer->set_next_event = set_next_event;
	timer->set_state_shutdown = shut_down;
	clockevents_config_and_register(timer, NSEC_PER_SEC, 1000, U32_MAX);
#else
	/* Exercise 6.4: one-shot; the callbacks above; from 1000 ns to U32_MAX ns ahead. */
	EXERCISE("6.4");
#endif
}

static void __init timer_init(void)
{
	if (request_irq(ringlet_timer_irq(), timer_interrupt,
			IRQF_TIMER | IRQF_PERCPU | IRQF_NOBALANCING, "timer", NULL))
		panic("Ringlet: no timer interrupt");
	ringlet_start_timer();
}

static unsigned long khz(void)
{
	return ringlet_page()->tsc_khz;
}

static void get_wallclock(struct timespec64 *now)
{
	now->tv_sec = ringlet_page()->wallclock;
	now->tv_nsec = 0;
}

static int set_wallclock(const struct timespec64 *now)
{
	return -ENODEV;
}

void __init ringlet_init_time(void)
{
	setup_force_cpu_cap(X86_FEATURE_TSC_KNOWN_FREQ);
	setup_force_cpu_cap(X86_FEATURE_TSC_RELIABLE);
	x86_platform.calibrate_tsc = khz;
	x86_platform.calibrate_cpu = khz;
	x86_platform.get_wallclock = get_wallclock;
	x86_platform.set_wallclock = set_wallclock;
	x86_init.timers.timer_init = timer_init;
	x86_init.timers.setup_percpu_clockev = x86_init_noop;
	x86_init.timers.wallclock_init = x86_init_noop;
}
