/* SPDX-License-Identifier: GPL-2.0 */
/* The border between the kernel's headers (driver.c) and ours (device.c): plain C types only. */
#ifndef DRIVER_H
#define DRIVER_H

#include <stdbool.h>
#include <stddef.h>

/* The guest's RAM. What is freed there is poisoned until it is allocated again. */
extern unsigned char *ram_base;
void *ram_alloc(size_t size);
void ram_free(void *at);

struct buffer {
	void *at;
	unsigned int length;
};

struct driver;

/* pages: a legacy layout with an alignment of 4096, zeroed. notify: the driver's kick. */
struct driver *driver_new(unsigned int size, void *pages, bool event_idx, bool indirect,
			  bool (*notify)(void *context), void *context);
void driver_delete(struct driver *driver);
int driver_add(struct driver *driver, const struct buffer *out, unsigned int nr_out,
	       const struct buffer *in, unsigned int nr_in, void *token);
void driver_kick(struct driver *driver);
void *driver_get(struct driver *driver, unsigned int *length);
void driver_interrupt(struct driver *driver);
void driver_disable_cb(struct driver *driver);
bool driver_enable_cb(struct driver *driver);
bool driver_enable_cb_delayed(struct driver *driver);
unsigned int driver_free_descriptors(struct driver *driver);

#endif
