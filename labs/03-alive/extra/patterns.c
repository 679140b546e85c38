// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps a pattern in all registers for many turns, interrupted all the while, and looks whether it is still there. The seed
 * stands on the command line.
 */
#include "tiny.h"

#define REGISTERS 15

volatile u64 turns __attribute__((used)) = 60000000;
u64 before[REGISTERS], after[REGISTERS];

void spin(void);

asm("spin:\n"
    "	push	%rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "	.set	at, 0\n"
    "	.irp	reg, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15\n"
    "	mov	before + at(%rip), %\\reg\n"
    "	.set	at, at + 8\n"
    "	.endr\n"
    "1:	decq	turns(%rip)\n"
    "	jnz	1b\n"
    "	.set	at, 0\n"
    "	.irp	reg, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15\n"
    "	mov	%\\reg, after + at(%rip)\n"
    "	.set	at, at + 8\n"
    "	.endr\n"
    "	pop	%r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "	ret\n");

void main(const char *command_line)
{
	u64 seed = 0, sum = 0;

	for (; *command_line >= '0' && *command_line <= '9'; command_line++)
		seed = seed * 10 + (*command_line - '0');
	for (int i = 0; i < REGISTERS; i++)
		before[i] = seed * (2 * i + 1);
	spin();
	for (int i = 0; i < REGISTERS; i++)
		sum += after[i] * (i + 1);
	print_number("sum ", sum);
}
