/* SPDX-License-Identifier: MIT */
/* Memory between two pages that nobody may touch: reading or writing beyond it is a fault. */
#ifndef TESTS_COMMON_GUARDED_H
#define TESTS_COMMON_GUARDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * struct guarded - room that is mapped once and used again and again
 * @at: first byte, behind a page without access
 * @bytes: whole pages, before another one
 */
struct guarded {
	uint8_t *at;
	size_t bytes;
};

/* Pages are there when they are touched.  Return: 0, or -errno. */
int guarded_open(struct guarded *g, size_t bytes);
/* @bytes of it that end where it ends, or begin where it begins. */
void *guarded_part(const struct guarded *g, size_t bytes, bool at_end);
/* Pages that were touched are given back, and are zeros. */
void guarded_forget(const struct guarded *g);

#endif
