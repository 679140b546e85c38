/* SPDX-License-Identifier: GPL-2.0 */
/*
 * void with_registers(u64 regs[15], void *code) - call code with these registers, and see what it leaves in them: rax rbx rcx
 * rdx rsi rdi rbp r8 ... r15.
 */
	.text
	.globl	with_registers
with_registers:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rdi, regs(%rip)
	mov	%rsi, code(%rip)
	at = 112
	.irp	reg, r15, r14, r13, r12, r11, r10, r9, r8, rbp, rsi, rdx, rcx, rbx, rax
	.if	at == 40
	at = 32				/* rdi comes last */
	.endif
	mov	at(%rdi), %\reg
	at = at - 8
	.endr
	mov	40(%rdi), %rdi
	call	*code(%rip)
	mov	%rdi, code(%rip)
	mov	regs(%rip), %rdi
	at = 112
	.irp	reg, r15, r14, r13, r12, r11, r10, r9, r8, rbp, rsi, rdx, rcx, rbx, rax
	.if	at == 40
	at = 32
	.endif
	mov	%\reg, at(%rdi)
	at = at - 8
	.endr
	mov	code(%rip), %rax
	mov	%rax, 40(%rdi)
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

	.globl	plain_call
plain_call:
	int	$0x1f
	ret

	.bss
	.balign	8
regs:
	.skip	8
code:
	.skip	8
