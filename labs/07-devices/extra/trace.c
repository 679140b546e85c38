// SPDX-License-Identifier: GPL-2.0
/* What gcc calls in code that was compiled with -fsanitize=thread. */
#include <string.h>
#include "trace.h"

#define PLAIN_ACCESS(n)									\
	void __tsan_read##n(void *at) { trace(false, at, n, PLAIN); }			\
	void __tsan_write##n(void *at) { trace(true, at, n, PLAIN); }			\
	void __tsan_unaligned_read##n(void *at) { trace(false, at, n, PLAIN); }		\
	void __tsan_unaligned_write##n(void *at) { trace(true, at, n, PLAIN); }
PLAIN_ACCESS(1)
PLAIN_ACCESS(2)
PLAIN_ACCESS(4)
PLAIN_ACCESS(8)
PLAIN_ACCESS(16)

void __tsan_read_range(void *at, size_t size) { trace(false, at, size, PLAIN); }
void __tsan_write_range(void *at, size_t size) { trace(true, at, size, PLAIN); }
void __tsan_init(void) { }
void __tsan_func_entry(void *at) { (void)at; }
void __tsan_func_exit(void) { }

#define CHANGE(bits, type, name)							\
	type __tsan_atomic##bits##_##name(volatile type *at, type value, int order)	\
	{										\
		trace(true, at, sizeof(type), order);					\
		return __atomic_##name(at, value, __ATOMIC_SEQ_CST);			\
	}
#define ATOMIC_ACCESS(bits, type)							\
	type __tsan_atomic##bits##_load(const volatile type *at, int order)		\
	{										\
		trace(false, at, sizeof(type), order);					\
		return __atomic_load_n(at, __ATOMIC_SEQ_CST);				\
	}										\
	void __tsan_atomic##bits##_store(volatile type *at, type value, int order)	\
	{										\
		trace(true, at, sizeof(type), order);					\
		__atomic_store_n(at, value, __ATOMIC_SEQ_CST);				\
	}										\
	CHANGE(bits, type, fetch_add)							\
	CHANGE(bits, type, fetch_sub)							\
	CHANGE(bits, type, fetch_or)							\
	CHANGE(bits, type, fetch_and)							\
	CHANGE(bits, type, fetch_xor)							\
	type __tsan_atomic##bits##_exchange(volatile type *at, type value, int order)	\
	{										\
		trace(true, at, sizeof(type), order);					\
		return __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST);		\
	}										\
	bool __tsan_atomic##bits##_compare_exchange_strong(volatile type *at, type *old, type new, int order, int failed) \
	{										\
		(void)failed;								\
		trace(true, at, sizeof(type), order);					\
		return __atomic_compare_exchange_n(at, old, new, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
	}
ATOMIC_ACCESS(8, unsigned char)
ATOMIC_ACCESS(16, unsigned short)
ATOMIC_ACCESS(32, unsigned int)
ATOMIC_ACCESS(64, unsigned long)

void __tsan_atomic_thread_fence(int order) { trace(false, NULL, 0, order); }
void __tsan_atomic_signal_fence(int order) { (void)order; }

void *traced_memcpy(void *to, const void *from, size_t size)
{
	trace(false, from, size, PLAIN);
	trace(true, to, size, PLAIN);
	return memcpy(to, from, size);
}
