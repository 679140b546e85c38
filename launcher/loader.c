// SPDX-License-Identifier: GPL-2.0
/*
 * Kernel, initrd, command line and boot_params into guest memory (chapter 1;
 * initrd and boot_params: 6). vm.c calls load_guest() once.
 *
 * A Ringlet kernel is an ELF64 file whose PT_LOADs say in p_paddr where they
 * go, with a note "Ringlet" that says where to start (struct ringlet_note). The
 * file is not trusted more than the guest: every offset is checked. boot_params
 * is Documentation/arch/x86/boot.rst and zero-page.rst of Linux.
 */
#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <asm/bootparam.h>
#include "launcher.h"

/* The first MiB, as a PC's boot loader leaves it. */
#define BOOT_PARAMS	0x10000ULL
#define CMDLINE		0x20000ULL
#define CMDLINE_MAX	2047
#define BOOT_END	(CMDLINE + PAGE_SIZE)
#define LOW_END		0x9f000ULL

#define E820_RAM	1
#define KERNEL_SLACK	MIB	/* Linux's brk grows behind its image */
#define MAX_PHDRS	64
#define MAX_NOTES	(64 * 1024)

/**
 * struct image - a kernel file while it is loaded
 *
 * @name:	for messages
 * @end:	first gpa behind what was loaded
 * @note:	the Ringlet note, all zero until it is found
 */
struct image {
	const char *name;
	int fd;
	u64 file_size;
	u64 end;
	struct ringlet_note note;
};

static u64 open_file(const char *option, const char *name, int *fd)
{
	struct stat st;

	*fd = open(name, O_RDONLY | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, &st) < 0)
		die(EXIT_HOST, "%s %s: %m", option, name);
	if (!S_ISREG(st.st_mode))
		die(EXIT_HOST, "%s %s: not a regular file", option, name);
	return st.st_size;
}

/* Read all of a range of the file, or die. */
static void read_at(const struct image *image, void *to, u64 length, u64 offset)
{
	if (length > image->file_size || offset > image->file_size - length)
		die(EXIT_HOST, "-k %s: truncated; build or copy it again", image->name);
	while (length) {
		ssize_t n = pread(image->fd, to, length, offset);

		if (n <= 0)
			die(EXIT_HOST, "-k %s: cannot read: %m", image->name);
		to = (char *)to + n;
		offset += n;
		length -= n;
	}
}

static void load_segment(struct image *image, const struct memory *memory,
			 const Elf64_Phdr *phdr)
{
	u8 *to = memory_at(memory, phdr->p_paddr, phdr->p_memsz);
	u64 end = phdr->p_paddr + phdr->p_memsz;

	if (phdr->p_filesz > phdr->p_memsz)
		die(EXIT_HOST, "-k %s: a segment is larger in the file than in memory",
		    image->name);
	if (!to)
		die(EXIT_HOST, "-k %s: needs memory up to %#llx: too big for -m %llu; give more",
		    image->name, end, memory->size / MIB);
	if (phdr->p_memsz && phdr->p_paddr < BOOT_END && end > BOOT_PARAMS)
		die(EXIT_HOST, "-k %s: a segment at %#llx covers boot_params (%#llx); link it elsewhere",
		    image->name, (u64)phdr->p_paddr, BOOT_PARAMS);
	read_at(image, to, phdr->p_filesz, phdr->p_offset);
	memset(to + phdr->p_filesz, 0, phdr->p_memsz - phdr->p_filesz);
	if (end > image->end)
		image->end = end;
}

/* A note is header, name, descriptor, the last two padded to the alignment. */
static void find_note(struct image *image, const Elf64_Phdr *phdr)
{
	u64 align = phdr->p_align == 8 ? 8 : 4, size = phdr->p_filesz, at = 0;
	char *notes;

	if (size > MAX_NOTES)
		return;
	notes = malloc(size + 1);
	if (!notes)
		die(EXIT_HOST, "-k %s: %m", image->name);
	read_at(image, notes, size, phdr->p_offset);
	while (at + sizeof(Elf64_Nhdr) <= size) {
		u64 name, desc;
		Elf64_Nhdr note;

		memcpy(&note, notes + at, sizeof(note));
#if SOLUTION >= 3
		name = at + sizeof(note);
		desc = (name + note.n_namesz + align - 1) & -align;
		at = (desc + note.n_descsz + align - 1) & -align;
		if (desc + note.n_descsz > size)
			break;
#else
		/* Exercise 0.3: where its name and its descriptor begin, and the next note; do not leave the segment. */
		(void)align;
		name = desc = 0;
		EXERCISE("0.3");
#endif
		if (note.n_type == RINGLET_NOTE_TYPE &&
		    note.n_namesz == sizeof(RINGLET_NOTE_NAME) &&
		    !memcmp(notes + name, RINGLET_NOTE_NAME, sizeof(RINGLET_NOTE_NAME)) &&
		    note.n_descsz >= sizeof(image->note))
			memcpy(&image->note, notes + desc, sizeof(image->note));
	}
	free(notes);
}

static void check_header(const struct image *image, const Elf64_Ehdr *ehdr)
{
	if (memcmp(ehdr->e_ident, ELFMAG, SELFMAG))
		die(EXIT_HOST, "-k %s: not an ELF file; give the vmlinux, not the bzImage",
		    image->name);
	if (ehdr->e_ident[EI_CLASS] != ELFCLASS64 || ehdr->e_ident[EI_DATA] != ELFDATA2LSB ||
	    ehdr->e_machine != EM_X86_64)
		die(EXIT_HOST, "-k %s: not an ELF64 file for x86-64", image->name);
	if (ehdr->e_phentsize != sizeof(Elf64_Phdr) || !ehdr->e_phnum ||
	    ehdr->e_phnum > MAX_PHDRS)
		die(EXIT_HOST, "-k %s: no program headers; give a linked kernel, not an object file",
		    image->name);
}

static void check_note(const struct image *image, const struct memory *memory)
{
	const struct ringlet_note *note = &image->note;

	if (!note->abi)
		die(EXIT_HOST, "-k %s: not a Ringlet-enabled kernel: no note \"%s\"; build it with the kit's patches",
		    image->name, RINGLET_NOTE_NAME);
	if (note->abi != RINGLET_ABI)
		die(EXIT_HOST, "-k %s: speaks ABI %llu, the launcher %d: the %s is old; rebuild it with make",
		    image->name, note->abi, RINGLET_ABI,
		    note->abi < RINGLET_ABI ? "kernel" : "launcher");
	if (note->cr3 == RINGLET_NO_PAGING)
		return;
	if (note->cr3 % PAGE_SIZE || !memory_at(memory, note->cr3, PAGE_SIZE))
		die(EXIT_HOST, "-k %s: its note puts the page tables at %#llx, outside of -m %llu",
		    image->name, note->cr3, memory->size / MIB);
}

static void load_kernel(struct image *image, const struct memory *memory)
{
	Elf64_Phdr phdrs[MAX_PHDRS];
	Elf64_Ehdr ehdr;
	unsigned int i;

	image->file_size = open_file("-k", image->name, &image->fd);
	memset(&ehdr, 0, sizeof(ehdr));
	if (image->file_size >= sizeof(ehdr))
		read_at(image, &ehdr, sizeof(ehdr), 0);
	check_header(image, &ehdr);
	read_at(image, phdrs, ehdr.e_phnum * sizeof(*phdrs), ehdr.e_phoff);
	/* Notes first: a kernel that cannot run is refused for that reason. */
	for (i = 0; i < ehdr.e_phnum; i++)
		if (phdrs[i].p_type == PT_NOTE)
			find_note(image, &phdrs[i]);
	check_note(image, memory);
	for (i = 0; i < ehdr.e_phnum; i++)
		if (phdrs[i].p_type == PT_LOAD)
			load_segment(image, memory, &phdrs[i]);
	close(image->fd);
}

/* As high as it fits, where Linux's own early allocations do not want to be. */
static void load_initrd(const char *name, const struct memory *memory, u64 kernel_end,
			struct setup_header *hdr)
{
	struct image initrd = { .name = name };
	u64 gpa, lowest = kernel_end + KERNEL_SLACK;

	initrd.file_size = open_file("-i", name, &initrd.fd);
	if (lowest > memory->size || initrd.file_size > memory->size - lowest)
		die(EXIT_HOST, "-i %s: does not fit behind the kernel; give more than -m %llu",
		    name, memory->size / MIB);
	gpa = (memory->size - initrd.file_size) & -PAGE_SIZE;
	if (gpa < lowest)
		die(EXIT_HOST, "-i %s: does not fit behind the kernel; give more than -m %llu",
		    name, memory->size / MIB);
	read_at(&initrd, memory_at(memory, gpa, initrd.file_size), initrd.file_size, 0);
	close(initrd.fd);
	hdr->ramdisk_image = gpa;
	hdr->ramdisk_size = initrd.file_size;
}

static void fill_boot_params(struct boot_params *params, const struct memory *memory,
			     const char *cmdline)
{
	struct boot_e820_entry *map = params->e820_table;

	if (strlen(cmdline) > CMDLINE_MAX)
		die(EXIT_USAGE, "-p: %zu characters, the kernel takes %d; shorten it",
		    strlen(cmdline), CMDLINE_MAX);
	strcpy(memory_at(memory, CMDLINE, CMDLINE_MAX + 1), cmdline);

	params->hdr.boot_flag = 0xaa55;
	memcpy(&params->hdr.header, "HdrS", 4);
	params->hdr.version = 0x020c;
	params->hdr.type_of_loader = 0xff;
	params->hdr.loadflags = LOADED_HIGH;
	params->hdr.cmd_line_ptr = CMDLINE;
	params->hdr.cmdline_size = CMDLINE_MAX;
	map[0] = (struct boot_e820_entry){ 0, LOW_END, E820_RAM };
	map[1] = (struct boot_e820_entry){ MIB, memory->size - MIB, E820_RAM };
	params->e820_entries = 2;
}

/**
 * load_guest() - fill guest memory from the command line, or die
 * @options:	names the files
 * @memory:	the guest's RAM, all zero, at least 2 MiB
 * @setup:	the state vCPU 0 starts with
 */
void load_guest(const struct options *options, const struct memory *memory,
		struct ringlet_vcpu_setup *setup)
{
	struct boot_params *params = memory_at(memory, BOOT_PARAMS, sizeof(*params));
	struct image kernel = { .name = options->kernel };

	load_kernel(&kernel, memory);
	fill_boot_params(params, memory, options->cmdline);
	if (options->initrd)
		load_initrd(options->initrd, memory, kernel.end, &params->hdr);
	*setup = (struct ringlet_vcpu_setup){
		.entry = kernel.note.entry,
		.cr3 = kernel.note.cr3,
		.rsi = BOOT_PARAMS,
	};
}
