// SPDX-License-Identifier: GPL-2.0
/*
 * Guests and their memory (chapter 1). All guest memory is pinned for as long
 * as the VM lives: a gpa is an index into an array of pages, and nothing the
 * launcher does to its own mapping can pull a page from under the guest.
 */
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include "ringlet.h"

/**
 * vm_create() - make an empty guest for the current process
 *
 * Return: the VM with one reference, or an ERR_PTR: -EBUSY if this process has
 * one already, -ENOMEM.
 */
struct ringlet_vm *vm_create(void)
{
	struct ringlet_vm *vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!vm)
		return ERR_PTR(-ENOMEM);
	kref_init(&vm->refs);
	mutex_init(&vm->lock);
#if CHAPTER >= 9
	spin_lock_init(&vm->notify_lock);
	INIT_LIST_HEAD(&vm->irqfds);
#endif
	ret = slot_attach(current->mm);
	if (ret) {
		kfree(vm);
		return ERR_PTR(ret);
	}
	/* Keeps the PML4 for slot_detach(), even after the process is gone. */
	vm->mm = current->mm;
	mmgrab(vm->mm);
	return vm;
}

static void range_free(struct ringlet_vm *vm, struct memory_range *range)
{
	if (!range->count)
		return;
	unpin_user_pages_dirty_lock(range->pages, range->count, range->writable);
	account_locked_vm(vm->mm, range->count, false);
	kvfree(range->pages);
	range->count = 0;
}

static void vm_free(struct kref *refs)
{
	struct ringlet_vm *vm = container_of(refs, struct ringlet_vm, refs);
	int i;

#if CHAPTER >= 9
	eventfds_free(vm);
#endif
	for (i = 0; i < RINGLET_MAX_VCPUS; i++)
		vcpu_destroy(vm->vcpus[i]);
	for (i = 0; i < MEMORY_RANGES; i++)
		range_free(vm, &vm->memory[i]);
	slot_detach(vm->mm);
	mmdrop(vm->mm);
	kfree(vm);
}

/**
 * vm_put() - drop a reference
 * @vm:	the VM; the last reference takes it all down
 *
 * Context: may sleep.
 */
void vm_put(struct ringlet_vm *vm)
{
	kref_put(&vm->refs, vm_free);
}

static int pin(struct ringlet_vm *vm, struct memory_range *range, u64 hva, u64 count)
{
	unsigned int flags = FOLL_LONGTERM | (range->writable ? FOLL_WRITE : 0);
	u64 done = 0;
	long ret;

	range->pages = kvmalloc_array(count, sizeof(*range->pages), GFP_KERNEL_ACCOUNT);
	if (!range->pages)
		return -ENOMEM;
	ret = account_locked_vm(vm->mm, count, true);
	if (ret)
		goto free;
	while (done < count) {
		ret = pin_user_pages_fast(hva + done * PAGE_SIZE, min_t(u64, count - done, 4096),
					  flags, range->pages + done);
		if (ret <= 0)
			goto unpin;
		done += ret;
	}
	range->count = count;
	return 0;
unpin:
	ret = ret ?: -EFAULT;
	unpin_user_pages(range->pages, done);
	account_locked_vm(vm->mm, count, false);
free:
	kvfree(range->pages);
	return ret;
}

/**
 * vm_set_memory() - give a guest its RAM (or, from chapter 7 on, its device page)
 * @vm:		a VM of the current process
 * @memory:	the range; checked here
 *
 * Return: 0, -EINVAL for a bad range, -EEXIST if it is set already or RAM
 * comes second, -ENOMEM if the pages cannot be pinned (RLIMIT_MEMLOCK).
 * Context: may sleep; vm->lock held.
 */
int vm_set_memory(struct ringlet_vm *vm, const struct ringlet_memory *memory)
{
#if CHAPTER >= 7
	bool readonly = memory->flags == RINGLET_MEMORY_READONLY;
	struct memory_range *range = &vm->memory[readonly ? MEMORY_READONLY : MEMORY_RAM];
	struct memory_range *ram = &vm->memory[MEMORY_RAM];
#else
	struct memory_range *range = &vm->memory[MEMORY_RAM];
#endif
	u64 end;

	if (vm->mm != current->mm)
		return -EIO;
#if CHAPTER >= 7
	if (memory->flags && !readonly)
		return -EINVAL;
	if (readonly ? memory->gpa < ram->count * PAGE_SIZE : memory->gpa != 0)
		return -EINVAL;
	if (!readonly && vm->memory[MEMORY_READONLY].count)
		return -EEXIST;
#else
	if (memory->flags || memory->gpa)
		return -EINVAL;
#endif
	if (!memory->size ||
	    (memory->hva | memory->gpa | memory->size) & ~PAGE_MASK ||
	    check_add_overflow(memory->gpa, memory->size, &end) ||
	    end > RINGLET_MAX_MEMORY + PAGE_SIZE)
		return -EINVAL;
	if (range->count || vm->nr_vcpus)
		return -EEXIST;
	range->start = memory->gpa;
#if CHAPTER >= 7
	range->writable = !readonly;
#else
	range->writable = true;
#endif
	return pin(vm, range, memory->hva, memory->size >> PAGE_SHIFT);
}

#if CHAPTER >= 6
/**
 * vm_read() - copy a small structure out of guest memory
 * @vm:		the VM
 * @gpa:	where; the structure must not cross a page
 * @to:		the copy
 * @length:	bytes
 *
 * Return: 0 or -EFAULT.
 */
int vm_read(struct ringlet_vm *vm, u64 gpa, void *to, size_t length)
{
	void *page = vm_page(vm, gpa, false);

	if (!page || offset_in_page(gpa) + length > PAGE_SIZE)
		return -EFAULT;
	memcpy(to, page + offset_in_page(gpa), length);
	return 0;
}
#endif
