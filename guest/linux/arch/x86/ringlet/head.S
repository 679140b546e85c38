/* SPDX-License-Identifier: GPL-2.0 */
/* Where the host starts a vCPU, and the note that tells it so (chapter 6, 14). */
#include <linux/elfnote.h>
#include <linux/init.h>
#include <linux/linkage.h>
#include <asm/asm.h>
#include <asm/page_types.h>
#include <asm/percpu.h>
#include <asm/unwind_hints.h>
#include <ringlet/hypercall.h>

	__INIT
/*
 * vCPU 0, in ring 1 on early_top_pgt. Only the kernel's own image is mapped.
 *
 *	rsi	gpa of boot_params
 */
SYM_CODE_START(ringlet_start)
	UNWIND_HINT_END_OF_STACK
	ANNOTATE_NOENDBR
	cld
	leaq	__top_init_kernel_stack(%rip), %rsp
	movq	$INIT_PER_CPU_VAR(fixed_percpu_data), %rax
	wrgsbase %rax
	movq	%rsi, %rdi
	call	ringlet_start_kernel
	int3
SYM_CODE_END(ringlet_start)
	__FINIT

#if CHAPTER >= 14
/*
 * Another vCPU, on swapper_pg_dir, with its stack and GS base from the struct
 * ringlet_start that vCPU 0 filled in.
 */
SYM_CODE_START(ringlet_start_secondary)
	UNWIND_HINT_END_OF_STACK
	ANNOTATE_NOENDBR
	cld
	call	ringlet_secondary
	int3
SYM_CODE_END(ringlet_start_secondary)
#endif

	/* struct ringlet_note; physical addresses are link address - map */
	ELFNOTE_START(Ringlet, RINGLET_NOTE_TYPE, "a")
	.quad	RINGLET_ABI
	.quad	ringlet_start
	.quad	early_top_pgt - __START_KERNEL_map
	ELFNOTE_END
