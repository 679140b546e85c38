/* SPDX-License-Identifier: GPL-2.0 */
/*
 * In front of virtio_ring.c, behind tools/virtio's headers: what those of 6.12
 * forgot, and memory that is a guest's. "Physical" addresses are gpas: offsets
 * into the RAM that the device knows; what a driver allocates lies there too.
 */
#ifndef SHIM_H
#define SHIM_H

#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <unistd.h>
#include "driver.h"

#define malloc(size)		ram_alloc(size)
#define free(at)		ram_free(at)
#include <linux/kernel.h>
#undef virt_to_phys
#undef page_to_phys
#define virt_to_phys(at)	((unsigned long)(at) - (unsigned long)ram_base)
#define page_to_phys(page)	((dma_addr_t)((unsigned long)(page) - (unsigned long)ram_base))
#ifdef INTERLEAVE	/* the explorer sees plain and atomic accesses; not __sync_synchronize() */
void __tsan_atomic_thread_fence(int order);
#undef virt_mb
#define virt_mb()		__tsan_atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif
#define data_race(expression)	(expression)
#define MODULE_DESCRIPTION(text)

#endif
