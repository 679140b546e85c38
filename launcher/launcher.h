/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the launcher share: the options, the guest's memory, the
 * vCPUs and the ways to end. The virtio half is in virtio.h.
 */
#ifndef LAUNCHER_H
#define LAUNCHER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>
#include <ringlet/control.h>
#include <ringlet/device_page.h>
#include <ringlet/hypercall.h>

#ifndef CHAPTER
#define CHAPTER 14
#endif

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s64 s64;

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define PAGE_SIZE	4096ULL
#define MIB		(1ULL << 20)

/* How the launcher ends; ringlet.1 documents them. */
enum exit_code {
	EXIT_POWEROFF	= 0,
	EXIT_USAGE	= 1,	/* bad command line */
	EXIT_HOST	= 2,	/* a file, a tap, the module */
	EXIT_REBOOT	= 3,	/* the guest rebooted and --no-reboot was given */
	EXIT_KILLED	= 4,	/* the module could not go on with the guest */
	EXIT_PANIC	= 5,
	EXIT_USER	= 130,	/* Ctrl-A x or a signal */
};

/**
 * struct device_option - one device of the command line
 *
 * @kind:	'c' console, 'r' entropy, 'n' net, 'd' disk; selects the file
 * @argument:	text behind -n or -d, which that file parses; or NULL
 */
struct device_option {
	char kind;
	char *argument;
};

/**
 * struct options - the command line, numbers checked, files not yet opened
 */
struct options {
	const char *kernel;
	const char *initrd;
	const char *cmdline;
	unsigned int megabytes;
	unsigned int vcpus;
	bool no_reboot;
	bool dry_run;
	struct device_option devices[RINGLET_MAX_DEVICES];
	unsigned int nr_devices;
};

/**
 * struct memory - the guest's RAM: gpa 0 is @base
 *
 * The device page stands right behind it and is not part of @size, so that
 * nothing that the guest names by gpa can ever write it.
 */
struct memory {
	u8 *base;
	u64 size;
};

/**
 * struct vcpu - a virtual CPU: a file descriptor, a page and a thread
 *
 * @run:	what RUN says about the last exit
 * @started:	there is a thread to be stopped
 */
struct vcpu {
	struct vm *vm;
	int fd;
	struct ringlet_run *run;
	pthread_t thread;
	bool started;
};

/**
 * struct vm - the guest
 *
 * @fd:		/dev/ringlet
 * @page:	the device page, behind the RAM
 * @devices:	by number; @page->count of them
 * @line_fd:	eventfd per interrupt line; the first @nr_lines are in use
 * @stopping:	vm_end() was called: @code and @reason are final, vCPU threads
 *		leave at their next exit
 * @ended_fd:	eventfd, signalled by vm_end()
 * @end_lock:	covers the two below until @stopping is set
 * @reason:	one line for the user; empty after a power-off
 */
struct vm {
	struct options options;
	int fd;
	struct memory memory;
	struct ringlet_device_page *page;
	struct device *devices[RINGLET_MAX_DEVICES];
	int line_fd[RINGLET_LINES];
	unsigned int nr_lines;
	struct vcpu vcpus[RINGLET_MAX_VCPUS];
	atomic_bool stopping;
	int ended_fd;
	pthread_mutex_t end_lock;
	enum exit_code code;
	char reason[320];
};

/* error.c */
void die(enum exit_code code, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 2, 3)));
void warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* options.c */
void options_parse(struct options *options, int argc, char **argv);
bool next_suboption(char **rest, char **name, char **value);

/* memory.c */
void memory_alloc(struct memory *memory, u64 size);
void *memory_at(const struct memory *memory, u64 gpa, u64 length);

/* loader.c */
void load_guest(const struct options *options, const struct memory *memory,
		struct ringlet_vcpu_setup *setup);

/* vm.c */
int vm_run(struct vm *vm);
void vm_end(struct vm *vm, enum exit_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* vcpu.c */
void vcpu_create(struct vm *vm, unsigned int id);
void vcpu_start(struct vcpu *vcpu);
void vcpu_stop(struct vcpu *vcpu);

/* term.c */
bool term_raw(void);
void term_restore(void);
void term_read(struct vm *vm);
void term_size(u16 *columns, u16 *rows);
int term_input(void);
void term_print(struct vm *vm, const char *bytes, size_t length);

#endif
