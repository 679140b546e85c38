// SPDX-License-Identifier: GPL-2.0
/*
 * vcpu.c of a launcher that prints each hypercall, with all arguments, and answers from $ANSWERS, decimal numbers in a row; "x"
 * leaves the answer as the module has put it there. When they are used up it ends with 0.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include "launcher.h"

void vcpu_create(struct vm *vm, unsigned int id)
{
	struct vcpu *vcpu = &vm->vcpus[id];

	vcpu->vm = vm;
	vcpu->fd = ioctl(vm->fd, RINGLET_CREATE_VCPU, id);
	vcpu->run = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->fd < 0 || vcpu->run == MAP_FAILED)
		die(EXIT_HOST, "no vCPU: %m");
}

void vcpu_start(struct vcpu *vcpu)
{
	char *answers = getenv("ANSWERS") ?: "";
	struct ringlet_run *run = vcpu->run;

	for (; *answers; answers++) {
		if (ioctl(vcpu->fd, RINGLET_RUN) < 0)
			die(EXIT_HOST, "RUN: %m");
		if (run->exit != RINGLET_EXIT_HYPERCALL)
			die(EXIT_KILLED, "exit %u: %s", run->exit, run->reason);
		printf("%u: %#llx %#llx %#llx %#llx, answer %lld\n", run->number, run->args[0], run->args[1], run->args[2],
		       run->args[3], run->result);
		fflush(stdout);
		if (*answers == 'x')
			answers++;
		else
			run->result = strtoll(answers, &answers, 10);
		if (!*answers)
			break;
	}
	vm_end(vcpu->vm, EXIT_POWEROFF, NULL);
}
