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
#if CHAPTER >= 7
#include <ringlet/device_page.h>
#endif
#include <ringlet/hypercall.h>

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

#if CHAPTER >= 7
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
#endif

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
#if CHAPTER >= 8
	bool trace;
#endif
#if CHAPTER >= 7
	struct device_option devices[RINGLET_MAX_DEVICES];
	unsigned int nr_devices;
#endif
};

/**
 * struct memory - the guest's RAM: gpa 0 is @base
 *
 * From chapter 7 on the device page stands right behind it. It is not part of
 * @size, so that nothing that the guest names by gpa can ever write it.
 */
struct memory {
	u8 *base;
	u64 size;
};

/**
 * struct vcpu - a virtual CPU: a file descriptor and a page
 *
 * @run:	what RUN says about the last exit
 */
struct vcpu {
	struct vm *vm;
	int fd;
	struct ringlet_run *run;
#if CHAPTER >= 3
	pthread_t thread;
	bool started;		/* there is a thread to be stopped */
#endif
};

/**
 * struct vm - the guest
 *
 * @fd:		/dev/ringlet
 * @stopping:	vm_end() was called: @code and @reason are final, vCPUs stop at
 *		their next exit
 * @reason:	one line for the user; empty after a power-off
 */
struct vm {
	struct options options;
	int fd;
	struct memory memory;
	struct vcpu vcpus[RINGLET_MAX_VCPUS];
	atomic_bool stopping;
	enum exit_code code;
	char reason[320];
#if CHAPTER >= 3
	int ended_fd;			/* eventfd, signalled by vm_end() */
	pthread_mutex_t end_lock;	/* covers @code and @reason until @stopping */
#endif
#if CHAPTER >= 7
	struct ringlet_device_page *page;	/* behind the RAM */
	struct device *devices[RINGLET_MAX_DEVICES];	/* @page->count of them */
#endif
#if CHAPTER >= 9
	int line_fd[RINGLET_LINES];	/* eventfd per interrupt line */
	unsigned int nr_lines;		/* those in use */
#endif
};

/* error.c */
void die(enum exit_code code, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 2, 3)));
void warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#if SOLUTION < 9999
/* Stands where your code will. */
#define EXERCISE(id) die(EXIT_HOST, "exercise " id " is not done: see README.md#" id)
#endif

/* options.c */
void options_parse(struct options *options, int argc, char **argv);
#if CHAPTER >= 10
bool next_suboption(char **rest, char **name, char **value);
#endif

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
#if CHAPTER >= 1
void vcpu_create(struct vm *vm, unsigned int id);
void vcpu_start(struct vcpu *vcpu);
#endif
#if CHAPTER >= 3
void vcpu_stop(struct vcpu *vcpu);
#endif

/* term.c */
#if CHAPTER >= 2
void term_print(struct vm *vm, const char *bytes, size_t length);
#endif
#if CHAPTER >= 7
void term_size(u16 *columns, u16 *rows);
#endif
#if CHAPTER >= 9
bool term_raw(void);
void term_restore(void);
void term_read(struct vm *vm);
int term_input(void);
#endif

#endif
