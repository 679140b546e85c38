// SPDX-License-Identifier: GPL-2.0
/* The loader against good and bad files. */
#include "loader.c"
#include "test.h"

#define RAM		(8 * MIB)
#define KERNEL_AT	(2 * MIB)
#define TEXT_SIZE	0x300

static struct memory memory;
static char kernel[] = "/tmp/ringlet-test-XXXXXX";
static char initrd[] = "/tmp/ringlet-test-XXXXXX";

/* A kernel of one segment and one note, to be spoilt in one place. */
static struct file {
	Elf64_Ehdr ehdr;
	Elf64_Phdr load, note;
	struct {
		Elf64_Nhdr other_header;
		char other_name[4];
		u32 other;
		Elf64_Nhdr header;
		char name[8];
		struct ringlet_note note;
	} notes;
	char padding[0x200];
	u8 text[TEXT_SIZE];
} file;

static void good_kernel(void)
{
	file = (struct file){
		.ehdr = {
			.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_EXEC, .e_machine = EM_X86_64,
			.e_phoff = offsetof(struct file, load),
			.e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2,
		},
		.load = { .p_type = PT_LOAD, .p_offset = offsetof(struct file, text),
			  .p_filesz = TEXT_SIZE, .p_memsz = 0x2000, .p_paddr = KERNEL_AT,
			  .p_vaddr = 0xffffffff81000000 },
		.note = { .p_type = PT_NOTE, .p_offset = offsetof(struct file, notes),
			  .p_filesz = sizeof(file.notes), .p_align = 4 },
		.notes = {
			.other_header = { 4, 1, 3 }, .other_name = "GNU",
			.header = { 8, sizeof(struct ringlet_note), RINGLET_NOTE_TYPE },
			.name = RINGLET_NOTE_NAME,
			.note = { RINGLET_ABI, 0xffffffff81000010, KERNEL_AT + 0x1000 },
		},
	};
	memset(file.text, 0xcc, sizeof(file.text));
}

static void write_file(const char *name, const void *bytes, size_t length)
{
	FILE *f = fopen(name, "w");

	CHECK(f && fwrite(bytes, 1, length, f) == length && fclose(f) == 0);
}

static struct ringlet_vcpu_setup load_file(size_t length, const char *with_initrd)
{
	struct options options = { .kernel = kernel, .initrd = with_initrd,
				   .cmdline = "console=hvc0" };
	struct ringlet_vcpu_setup setup;

	write_file(kernel, &file, length);
	memset(memory.base, 0xaa, 3 * MIB);
	memset(memory.base + BOOT_PARAMS, 0, PAGE_SIZE);
	load_guest(&options, &memory, &setup);
	return setup;
}

#define load(initrd) load_file(sizeof(file), initrd)

static void test_good(void)
{
	struct boot_params *params = (void *)(memory.base + BOOT_PARAMS);
	struct ringlet_vcpu_setup setup;

	good_kernel();
	setup = load(NULL);
	CHECK(setup.entry == 0xffffffff81000010 && setup.cr3 == KERNEL_AT + 0x1000);
	CHECK(setup.rsi == BOOT_PARAMS && setup.rsp == 0);
	CHECK(memory.base[KERNEL_AT] == 0xcc && memory.base[KERNEL_AT + TEXT_SIZE] == 0);
	CHECK(memory.base[KERNEL_AT + 0x1fff] == 0 && memory.base[KERNEL_AT + 0x2000] == 0xaa);
	CHECK(!strcmp((char *)memory.base + params->hdr.cmd_line_ptr, "console=hvc0"));
	CHECK(params->e820_entries == 2 && params->e820_table[1].addr == MIB);
	CHECK(params->e820_table[1].addr + params->e820_table[1].size == RAM);
	CHECK(params->hdr.boot_flag == 0xaa55 && params->hdr.type_of_loader == 0xff);
	CHECK(params->hdr.header == 0x53726448 && params->hdr.ramdisk_size == 0);
}

static void test_not_a_kernel(void)
{
	good_kernel();
	file.ehdr.e_ident[1] = 'F';
	CHECK(DIES(load(NULL), "not an ELF file"));
	good_kernel();
	file.ehdr.e_ident[EI_CLASS] = ELFCLASS32;
	CHECK(DIES(load(NULL), "not an ELF64"));
	good_kernel();
	file.ehdr.e_machine = EM_AARCH64;
	CHECK(DIES(load(NULL), "not an ELF64"));
	good_kernel();
	file.ehdr.e_phnum = 0;
	CHECK(DIES(load(NULL), "no program headers"));
	file.ehdr.e_phnum = 0xffff;
	CHECK(DIES(load(NULL), "no program headers"));
	CHECK(DIES(load_file(0, NULL), "not an ELF file"));
	CHECK(DIES(load_file(63, NULL), "not an ELF file"));
}

static void test_truncated(void)
{
	good_kernel();
	CHECK(DIES(load_file(sizeof(file) - 1, NULL), "truncated"));
	CHECK(DIES(load_file(70, NULL), "truncated"));
	file.ehdr.e_phoff = -8ULL;
	CHECK(DIES(load(NULL), "truncated"));
	good_kernel();
	file.load.p_offset = -1ULL;
	CHECK(DIES(load(NULL), "truncated"));
	good_kernel();
	file.note.p_offset = sizeof(file);
	CHECK(DIES(load(NULL), "truncated"));
}

static void test_segments(void)
{
	good_kernel();
	file.load.p_paddr = RAM - 0x2000;
	load(NULL);
	file.load.p_paddr += 1;
	CHECK(DIES(load(NULL), "too big for -m 8"));
	file.load.p_paddr = -0x1000ULL;
	CHECK(DIES(load(NULL), "too big for -m 8"));
	good_kernel();
	file.load.p_memsz = -1ULL;
	CHECK(DIES(load(NULL), "too big for -m 8"));
	good_kernel();
	file.load.p_memsz = TEXT_SIZE - 1;
	CHECK(DIES(load(NULL), "larger in the file"));
	good_kernel();
	file.load.p_paddr = BOOT_PARAMS - 0x1000;
	CHECK(DIES(load(NULL), "covers boot_params"));
}

static void test_note(void)
{
	good_kernel();
	file.ehdr.e_phnum = 1;
	CHECK(DIES(load(NULL), "not a Ringlet-enabled kernel"));
	good_kernel();
	file.notes.name[0] = 'X';
	CHECK(DIES(load(NULL), "not a Ringlet-enabled kernel"));
	good_kernel();
	file.notes.header.n_descsz = 8;
	CHECK(DIES(load(NULL), "not a Ringlet-enabled kernel"));
	file.notes.header.n_descsz = -1;
	CHECK(DIES(load(NULL), "not a Ringlet-enabled kernel"));
	good_kernel();
	file.notes.other_header.n_namesz = -1;
	CHECK(DIES(load(NULL), "not a Ringlet-enabled kernel"));
	good_kernel();
	file.notes.note.abi = RINGLET_ABI + 1;
	CHECK(DIES(load(NULL), "launcher is old"));
	good_kernel();
	file.notes.note.cr3 = RAM;
	CHECK(DIES(load(NULL), "outside of -m 8"));
}

static void test_initrd(void)
{
	struct boot_params *params = (void *)(memory.base + BOOT_PARAMS);
	static u8 bytes[RAM];

	good_kernel();
	write_file(initrd, bytes, 5000);
	load(initrd);
	CHECK(params->hdr.ramdisk_image == RAM - 2 * PAGE_SIZE && params->hdr.ramdisk_size == 5000);
	write_file(initrd, bytes, RAM - KERNEL_AT - 0x2000 - KERNEL_SLACK);
	load(initrd);
	CHECK(params->hdr.ramdisk_image == KERNEL_AT + 0x2000 + KERNEL_SLACK);
	write_file(initrd, bytes, RAM - KERNEL_AT - 0x2000 - KERNEL_SLACK + 1);
	CHECK(DIES(load(initrd), "does not fit behind the kernel"));
	CHECK(DIES(load("/nonexistent"), "-i /nonexistent"));
	file.load.p_paddr = RAM - 0x2000;
	CHECK(DIES(load(initrd), "does not fit behind the kernel"));
}

static void test_cmdline(void)
{
	struct options options = { .kernel = kernel };
	struct ringlet_vcpu_setup setup;
	char text[CMDLINE_MAX + 2];

	good_kernel();
	write_file(kernel, &file, sizeof(file));
	options.cmdline = text;
	memset(text, 'x', sizeof(text));
	text[CMDLINE_MAX] = '\0';
	load_guest(&options, &memory, &setup);
	CHECK(!strcmp((char *)memory.base + CMDLINE, text));
	text[CMDLINE_MAX] = 'x';
	text[CMDLINE_MAX + 1] = '\0';
	CHECK(DIES(load_guest(&options, &memory, &setup), "shorten it"));
}

int main(void)
{
	static const struct test tests[] = {
		TEST(test_good, "segments, bss, boot_params, where vCPU 0 starts"),
		TEST(test_not_a_kernel, "other files, other machines"),
		TEST(test_truncated, "a file shorter than its headers say"),
		TEST(test_segments, "segments outside of RAM, with overflow; boot_params covered"),
		TEST(test_note, "no, foreign, short, overlong and old notes"),
		TEST(test_initrd, "as high as it fits, never over the kernel"),
		TEST(test_cmdline, "2,047 characters and not one more"),
	};
	int fd = mkstemp(kernel), fd2 = mkstemp(initrd);

	CHECK(fd >= 0 && fd2 >= 0);
	close(fd);
	close(fd2);
	memory_alloc(&memory, RAM);
	run_tests(tests, ARRAY_SIZE(tests));
	unlink(kernel);
	unlink(initrd);
	return 0;
}
