// SPDX-License-Identifier: GPL-2.0
/*
 * In the guest, for lab 6's tests: does a program find its state as it was? "state page COUNT" asks after page faults,
 * "state trap COUNT" after int3, which within.ko takes as the moment for an interrupt.
 */
#include <asm/prctl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REGISTERS	13	/* rbx rcx rdx rsi rdi rbp r8-r14 */
#define FLAGS		0x8d5UL	/* OF SF ZF AF PF CF */

/* Load them, touch a page (or, without one, trap), write them down. */
static uint64_t through(uint64_t *registers, volatile char *page, uint64_t flags)
{
	asm volatile("sub $128, %%rsp; push %%rbp; push %%r15\n"
		     "mov %%rdi, %%r15\n"
		     "push %%rsi\n"
		     "mov 0(%%r15), %%rbx; mov 8(%%r15), %%rcx; mov 16(%%r15), %%rdx; mov 24(%%r15), %%rsi\n"
		     "mov 32(%%r15), %%rdi; mov 40(%%r15), %%rbp; mov 48(%%r15), %%r8; mov 56(%%r15), %%r9\n"
		     "mov 64(%%r15), %%r10; mov 72(%%r15), %%r11; mov 80(%%r15), %%r12; mov 88(%%r15), %%r13\n"
		     "mov 96(%%r15), %%r14\n"
		     "test %%rax, %%rax; jz 1f\n"
		     "popfq; movb $1, (%%rax); jmp 2f\n"
		     "1: popfq; int3\n"
		     "2: pushfq\n"
		     "mov %%rbx, 0(%%r15); mov %%rcx, 8(%%r15); mov %%rdx, 16(%%r15); mov %%rsi, 24(%%r15)\n"
		     "mov %%rdi, 32(%%r15); mov %%rbp, 40(%%r15); mov %%r8, 48(%%r15); mov %%r9, 56(%%r15)\n"
		     "mov %%r10, 64(%%r15); mov %%r11, 72(%%r15); mov %%r12, 80(%%r15); mov %%r13, 88(%%r15)\n"
		     "mov %%r14, 96(%%r15)\n"
		     "pop %%rsi; pop %%r15; pop %%rbp; add $128, %%rsp\n"
		     : "+S" (flags), "+D" (registers), "+a" (page)
		     :
		     : "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "memory", "cc");
	return flags;
}

int main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[2]) : 0, page = argc > 1 && !strcmp(argv[1], "page"), wrong = 0, i, n;
	char *pages = mmap(NULL, count * 4096UL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (!count || pages == MAP_FAILED)
		return 2;
	srandom(getpid());
	for (n = 0; n < count; n++) {
		uint64_t before[REGISTERS], after[REGISTERS], flags = (random() & FLAGS) | 0x202, gs = random() & ~4095UL, now;

		for (i = 0; i < REGISTERS; i++)
			after[i] = before[i] = (uint64_t)random() << 33 | random();
		syscall(SYS_arch_prctl, ARCH_SET_GS, gs);
		if (through(after, page ? pages + n * 4096UL : NULL, flags) != flags && wrong++ < 3)
			printf("flags %#lx changed\n", flags);
		for (i = 0; i < REGISTERS; i++)
			if (before[i] != after[i] && wrong++ < 3)
				printf("register %d: %#lx, was %#lx\n", i, after[i], before[i]);
		asm volatile("rdgsbase %0" : "=r" (now));
		if (now != gs && wrong++ < 3)
			printf("GS base %#lx, was %#lx\n", now, gs);
	}
	printf("state: %d times, %d wrong\n", count, wrong);
	return 0;
}
