/* SPDX-License-Identifier: GPL-2.0 */
/* A Linux guest of Ringlet: what its drivers and its own files share. */
#ifndef _ASM_X86_RINGLET_H
#define _ASM_X86_RINGLET_H

#include <linux/types.h>
#include <ringlet/hypercall.h>

/* The page this vCPU shares with the host. Valid in a guest only. */
static __always_inline struct ringlet_vcpu_page *ringlet_page(void)
{
	return (struct ringlet_vcpu_page *)RINGLET_PAGE;
}

/**
 * ringlet_hypercall() - ask the host
 * @nr:	RINGLET_HC_*
 * @a, @b, @c, @d: its arguments, 0 where it has fewer
 *
 * Return: 0 or a negative errno. Context: any.
 */
static __always_inline long ringlet_hypercall(unsigned long nr, unsigned long a,
					      unsigned long b, unsigned long c,
					      unsigned long d)
{
	long result;

	asm volatile("int %[vector]"
		     : "=a" (result)
		     : [vector] "i" (RINGLET_VECTOR), "a" (nr), "b" (a), "c" (b), "d" (c), "S" (d)
		     : "memory");
	return result;
}

#if CHAPTER >= 7
phys_addr_t ringlet_device_page(void);
#endif
#if CHAPTER >= 9
int ringlet_irq(unsigned int line);
#endif

#if SOLUTION < 9999
/* Stands where your code will. In a module: */
#define EXERCISE(id)	panic("exercise " id " is not done: see README.md#" id)
/* In the platform, before anything works; the launcher prints the text. */
#define PLATFORM_EXERCISE(id) do {							\
	static const char text[] = "exercise " id " is not done: see README.md#" id;	\
	ringlet_hypercall(RINGLET_HC_SHUTDOWN, RINGLET_SHUTDOWN_PANIC,			\
			  __pa_symbol(text), sizeof(text) - 1, 0);			\
} while (0)
#endif

/* arch/x86/ringlet/ only: entry.S and head.S */
extern u8 ringlet_entry_SYSCALL_64[];
extern u8 ringlet_user_return[], ringlet_user_return_end[];
extern u8 ringlet_kernel_return[], ringlet_kernel_return_end[];
extern u8 xen_iret[], early_xen_iret_patch[];
extern u8 ringlet_cmpxchg16b[], this_cpu_cmpxchg16b_emu[];
asmlinkage void ringlet_start_kernel(unsigned long boot_params_gpa);
void ringlet_irq_disable(void);
void ringlet_irq_enable(void);
unsigned long ringlet_save_fl(void);
unsigned long ringlet_read_cr2(void);

/* and its C files, of one another */
void ringlet_set_entries(void);
void ringlet_init_pv(void);
void ringlet_init_mmu(void);
void ringlet_init_irq(void);
void ringlet_init_time(void);
void ringlet_init_console(const char *command_line);
void ringlet_init_apic(void);
void ringlet_cpuid(unsigned int *eax, unsigned int *ebx, unsigned int *ecx, unsigned int *edx);
void ringlet_write_cr3(unsigned long cr3);
void ringlet_percpu_vectors(unsigned int cpu);
void ringlet_start_timer(void);
int ringlet_timer_irq(void);

#if CHAPTER >= 12
extern u8 ringlet_user_fault[];
unsigned long ringlet_fill(unsigned long address, unsigned long error);
#endif

#if CHAPTER >= 14
asmlinkage void ringlet_start_secondary(void);
asmlinkage void ringlet_secondary(void);
void ringlet_init_smp(void);
#endif

#endif
