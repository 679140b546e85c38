// SPDX-License-Identifier: GPL-2.0
/*
 * What a system call, a fault, a fork cost: lines "name value unit", the median
 * of a few rounds of fixed work each. Runs in the host and in a guest; tools/bench
 * compares. `bench NAME...` selects.
 */
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS		5
#define TOUCH_BYTES	(16UL << 20)
#define HUGE		(2UL << 20)
#define THP		"/sys/kernel/mm/transparent_hugepage/"

static void system_calls(int count)
{
	while (count--)
		syscall(SYS_getppid);
}

static void reads(int count)
{
	static char buffer[4096];
	int zero = open("/dev/zero", O_RDONLY);

	if (zero < 0)
		err(1, "/dev/zero");
	while (count--)
		if (read(zero, buffer, sizeof(buffer)) != sizeof(buffer))
			err(1, "read");
	close(zero);
}

static void on_signal(int number)
{
	(void)number;
}

static void signals(int count)
{
	signal(SIGUSR1, on_signal);
	while (count--)
		raise(SIGUSR1);
}

/* Touch every page of a fresh, aligned mapping. */
static void touch(int pages, int advice)
{
	size_t size = pages * 4096UL;
	char *map = mmap(NULL, size + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *start = (char *)(((size_t)map + HUGE - 1) & -HUGE);

	if (map == MAP_FAILED)
		err(1, "mmap");
	madvise(start, size, advice);
	for (size_t offset = 0; offset < size; offset += 4096)
		start[offset] = 1;
	munmap(map, size + HUGE);
}

static void touches(int pages)
{
	touch(pages, MADV_NOHUGEPAGE);
}

static void set(const char *file, const char *value)
{
	int fd = open(file, O_WRONLY);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		warn("%s", file);
	close(fd);
}

static void touches_64k(int pages)
{
	set(THP "enabled", "never");
	set(THP "hugepages-64kB/enabled", "always");
	touch(pages, MADV_NORMAL);
	set(THP "hugepages-64kB/enabled", "never");
}

static void touches_2m(int pages)
{
	set(THP "enabled", "always");
	touch(pages, MADV_HUGEPAGE);
}

/* A byte there and back, both processes on one CPU. */
static void pipe_round_trips(int count)
{
	int there[2], back[2];
	cpu_set_t one;
	char byte = 0;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	sched_setaffinity(0, sizeof(one), &one);
	if (pipe(there) || pipe(back))
		err(1, "pipe");
	if (!fork()) {
		close(there[1]);
		while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1)
			;
		_exit(0);
	}
	while (count--)
		if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
			err(1, "pipe");
	close(there[0]);
	close(there[1]);
	close(back[0]);
	close(back[1]);
	wait(NULL);
}

static void forks(int count)
{
	while (count--) {
		if (!fork())
			_exit(0);
		wait(NULL);
	}
}

static void execs(int count)
{
	while (count--) {
		if (!vfork()) {
			execl("/proc/self/exe", "bench", "--exit", NULL);
			_exit(1);
		}
		wait(NULL);
	}
}

static const struct benchmark {
	const char *name, *unit;
	void (*run)(int count);
	int count;		/* operations in a round */
	double per_second;	/* units */
} benchmarks[] = {
	{ "syscall", "us", system_calls, 50000, 1e6 },
	{ "read4k", "us", reads, 20000, 1e6 },
	{ "signal", "us", signals, 4000, 1e6 },
	{ "pipe", "us", pipe_round_trips, 1000, 1e6 },
	{ "touch", "us", touches, TOUCH_BYTES / 4096, 1e6 },
	{ "mthp_page", "us", touches_64k, TOUCH_BYTES / 4096, 1e6 },
	{ "thp_page", "us", touches_2m, TOUCH_BYTES / 4096, 1e6 },
	{ "fork_exit", "ms", forks, 60, 1e3 },
	{ "vfork_exec", "ms", execs, 40, 1e3 },
};

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const struct benchmark *benchmark)
{
	double times[ROUNDS];

	benchmark->run(benchmark->count / 10);		/* warm up */
	for (int i = 0; i < ROUNDS; i++) {
		double start = now();

		benchmark->run(benchmark->count);
		times[i] = (now() - start) * benchmark->per_second / benchmark->count;
	}
	qsort(times, ROUNDS, sizeof(*times), compare);
	return times[ROUNDS / 2];
}

static int selected(const char *name, char **names)
{
	if (!*names)
		return 1;
	for (; *names; names++)
		if (!strcmp(*names, name))
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--exit"))
		return 0;
	for (size_t i = 0; i < sizeof(benchmarks) / sizeof(*benchmarks); i++) {
		const struct benchmark *b = &benchmarks[i];

		if (!selected(b->name, argv + 1))
			continue;
		printf("%s %.3f %s\n", b->name, median(b), b->unit);
		fflush(stdout);
	}
	return 0;
}
