/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints: what the grader, the book and the benchmarks read. Their names
 * and fields are an interface; `trace-cmd record -e ringlet` shows them.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM ringlet

#if !defined(RINGLET_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define RINGLET_TRACE_H

#include <linux/tracepoint.h>

TRACE_EVENT(ringlet_exit,
	TP_PROTO(unsigned int vcpu, unsigned int vector, u64 error, u64 rip, u64 cs),
	TP_ARGS(vcpu, vector, error, rip, cs),
	TP_STRUCT__entry(
		__field(unsigned int, vcpu)
		__field(unsigned int, vector)
		__field(u64, error)
		__field(u64, rip)
		__field(unsigned int, ring)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->vector = vector;
		__entry->error = error;
		__entry->rip = rip;
		__entry->ring = cs & 3;
	),
	TP_printk("vcpu=%u vector=%u error=%#llx rip=%#llx ring=%u", __entry->vcpu,
		  __entry->vector, __entry->error, __entry->rip, __entry->ring)
);

#if CHAPTER >= 2
TRACE_EVENT(ringlet_hypercall,
	TP_PROTO(unsigned int vcpu, u64 number, u64 a, u64 b, u64 c, u64 d),
	TP_ARGS(vcpu, number, a, b, c, d),
	TP_STRUCT__entry(
		__field(unsigned int, vcpu)
		__field(u64, number)
		__field(u64, a)
		__field(u64, b)
		__field(u64, c)
		__field(u64, d)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->number = number;
		__entry->a = a;
		__entry->b = b;
		__entry->c = c;
		__entry->d = d;
	),
	TP_printk("vcpu=%u number=%llu args=%#llx,%#llx,%#llx,%#llx", __entry->vcpu,
		  __entry->number, __entry->a, __entry->b, __entry->c, __entry->d)
);
#endif

#if CHAPTER >= 4
TRACE_EVENT(ringlet_fill,
	TP_PROTO(unsigned int vcpu, u64 gva, u64 gpa, int level),
	TP_ARGS(vcpu, gva, gpa, level),
	TP_STRUCT__entry(
		__field(unsigned int, vcpu)
		__field(u64, gva)
		__field(u64, gpa)
		__field(int, level)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->gva = gva;
		__entry->gpa = gpa;
		__entry->level = level;
	),
	TP_printk("vcpu=%u gva=%#llx gpa=%#llx level=%d", __entry->vcpu, __entry->gva,
		  __entry->gpa, __entry->level)
);

/* gva 0: the lower half; ~0: everything; else one page */
TRACE_EVENT(ringlet_flush,
	TP_PROTO(unsigned int vcpu, u64 gva),
	TP_ARGS(vcpu, gva),
	TP_STRUCT__entry(
		__field(unsigned int, vcpu)
		__field(u64, gva)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->gva = gva;
	),
	TP_printk("vcpu=%u gva=%#llx", __entry->vcpu, __entry->gva)
);

TRACE_EVENT(ringlet_cr3,
	TP_PROTO(unsigned int vcpu, u64 cr3, bool cached),
	TP_ARGS(vcpu, cr3, cached),
	TP_STRUCT__entry(
		__field(unsigned int, vcpu)
		__field(u64, cr3)
		__field(bool, cached)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->cr3 = cr3;
		__entry->cached = cached;
	),
	TP_printk("vcpu=%u cr3=%#llx cached=%d", __entry->vcpu, __entry->cr3,
		  __entry->cached)
);
#endif

#if CHAPTER >= 5
TRACE_EVENT(ringlet_inject,
	TP_PROTO(unsigned int vcpu, unsigned int vector, u64 error, u64 rip),
	TP_ARGS(vcpu, vector, error, rip),
	TP_STRUCT__entry(
		__field(unsigned int, vcpu)
		__field(unsigned int, vector)
		__field(u64, error)
		__field(u64, rip)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->vector = vector;
		__entry->error = error;
		__entry->rip = rip;
	),
	TP_printk("vcpu=%u vector=%u error=%#llx interrupted=%#llx", __entry->vcpu,
		  __entry->vector, __entry->error, __entry->rip)
);

TRACE_EVENT(ringlet_interrupt,
	TP_PROTO(unsigned int vcpu, unsigned int vector),
	TP_ARGS(vcpu, vector),
	TP_STRUCT__entry(
		__field(unsigned int, vcpu)
		__field(unsigned int, vector)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->vector = vector;
	),
	TP_printk("vcpu=%u vector=%u", __entry->vcpu, __entry->vector)
);
#endif

#if CHAPTER >= 9
TRACE_EVENT(ringlet_notify,
	TP_PROTO(u64 device, u64 queue),
	TP_ARGS(device, queue),
	TP_STRUCT__entry(
		__field(u64, device)
		__field(u64, queue)
	),
	TP_fast_assign(
		__entry->device = device;
		__entry->queue = queue;
	),
	TP_printk("device=%llu queue=%llu", __entry->device, __entry->queue)
);
#endif

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
