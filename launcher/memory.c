// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's memory (chapter 1): where it stands and the one way in. Loader,
 * hypercalls and virtqueues all go through memory_at().
 */
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include "launcher.h"

#define HUGE_PAGE (2 * MIB)

/* Pinned memory cannot be taken back: asking for more than is free kills us. */
static void check_available(u64 size)
{
	FILE *file = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "MemAvailable: %llu", &kib) == 1)
			break;
	if (file)
		fclose(file);
	if (kib && size / 1024 > kib)
		die(EXIT_HOST, "-m %llu: more than this host can pin (%llu MiB are free); try a smaller -m",
		    size / MIB, kib / 1024);
}

/**
 * memory_alloc() - get RAM, and a page behind it for the devices
 * @memory:	to be filled in
 * @size:	bytes of RAM, a multiple of the page size
 */
void memory_alloc(struct memory *memory, u64 size)
{
	u8 *start;

	check_available(size);
	start = mmap(NULL, size + PAGE_SIZE + HUGE_PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (start == MAP_FAILED)
		die(EXIT_HOST, "-m %llu: no room for so much memory: %m; try a smaller -m",
		    size / MIB);
	memory->base = start + (-(uintptr_t)start & (HUGE_PAGE - 1));
	memory->size = size;
	/* Fewer pages to pin and to walk; without them it is only slower. */
	madvise(memory->base, size, MADV_HUGEPAGE);
}

/**
 * memory_at() - the launcher's address of a range of guest RAM
 * @memory:	the guest's
 * @gpa:	its first byte, as the guest gave it
 * @length:	bytes, may be 0
 *
 * Return: NULL unless every byte is RAM. The guest may write there at any time:
 * read a value once and check the copy.
 */
void *memory_at(const struct memory *memory, u64 gpa, u64 length)
{
#if SOLUTION >= 2
	if (length > memory->size || gpa > memory->size - length)
		return NULL;
	return memory->base + gpa;
#else
	(void)memory, (void)gpa, (void)length;
	EXERCISE("0.2");
#endif
}
