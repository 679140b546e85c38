/* SPDX-License-Identifier: GPL-2.0 */
/* What attack.c, exploits.c and catch.S share (chapter 13). */
#ifndef ATTACK_H
#define ATTACK_H

/* The switcher's pages: a block of SLOT_BLOCK bytes for each vCPU in the host, from block 1 on. */
#define SLOT_BASE	0xffff800000000000
#define SLOT_BLOCK	0x8000
#define BLOCK_TEXT	0x0000
#define BLOCK_IDT	0x2000
#define BLOCK_TABLES	0x3000
#define BLOCK_TRAP	0x4000
#define BLOCK_HOST	0x5000

#define NO_FAULT	256

#ifndef __ASSEMBLY__
#include "tiny.h"

#define PAGE_SIZE	4096UL
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* Page table entries. The CPU is told that they were used, so that nothing waits for a bit. */
#define P	0x21UL				/* present, accessed */
#define W	0x42UL				/* writable, dirty */
#define U	0x04UL				/* for ring 3 too */
#define PS	0x80UL				/* a leaf above level 1; reserved at level 4 */

/* Our tables: 2 MiB at gva = gpa but for page 0, and the same for ring 3 from USER on. */
#define USER		0x40000000UL
extern u64 pml4[512], pdpt[512], low[512];

/* A page of our own, for whatever an attack wants to put in a page. */
extern u64 spare[512];

/* A gate of an IDT, 64-bit (SDM 3A figure 6-8). */
struct gate {
	unsigned short offset_low, selector;
	unsigned short bits, offset_middle;
	u32 offset_high, reserved;
};

#define GATE(handler, cs, dpl) (struct gate) {					\
	.offset_low = (u64)(handler), .offset_middle = (u64)(handler) >> 16,	\
	.offset_high = (u64)(handler) >> 32, .selector = (cs),			\
	.bits = 0x8e00 | (dpl) << 13 }

/* What lcall takes. */
struct far {
	u32 offset;
	unsigned short selector;
} __attribute__((packed));

/* catch.S: how the last attempt() ended */
struct fault {
	u64 vector;				/* NO_FAULT: it came back */
	u64 error;
	u64 rip;
};
extern volatile struct fault fault;

/* Call a function until it returns or faults; what it returned, or 0. */
long attempt(long (*run)(void));
extern u8 catchers[];				/* 16 bytes for each exception */

#if SOLUTION < 9999
void exercise_missing(const char *text);

/* Stands where your code will; ends the guest and says which exercise it is. */
#define EXERCISE(id) exercise_missing("exercise " id " is not done: see README.md#" id)
#endif

/*
 * Two places that hold a secret which a guest must not learn: DR0, which only
 * ring 0 can read, and eight bytes of the clock chip, which only code with
 * IOPL can read. What is found goes to @found.
 */
extern volatile u64 found;
void ring0(void);			/* catch.S: handler of a gate; DR0 */
void ring0_call(void);			/* the same behind a call gate */
u64 read_clock_chip(void);		/* at any gva */
void user_clock_chip(void);		/* the same in ring 3; ends with a fault */

u64 find_block(void);			/* gva of this vCPU's block */

/* exploits.c */
long exploit_idt(void);
long exploit_gdt(void);
long exploit_call_gate(void);
long exploit_over_switcher(void);
long exploit_fill_switcher(void);
long exploit_flags(void);
long exploit_user_flags(void);
long exploit_selector(void);
#endif
#endif
