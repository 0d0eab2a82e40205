/* SPDX-License-Identifier: MIT */
/* Copies of one weight, taken in turn: when its turn comes again, it is in no cache. */
#ifndef BENCH_ROTATION_H
#define BENCH_ROTATION_H

#include <stdbool.h>
#include <string.h>
#include "../tests/common/bench_util.h"

/**
 * struct rotation - so many copies, one behind the other
 * @bytes: of one copy
 * @next: whose turn it is
 */
struct rotation {
	uint8_t *data;
	size_t bytes;
	uint32_t copies, next;
};

/* At least @rotate bytes of copies, whose first the caller fills.  Return: false, no memory. */
static inline bool rotation_init(struct rotation *r, size_t bytes, size_t rotate)
{
	r->bytes = bytes;
	r->copies = (uint32_t)((rotate + bytes - 1) / bytes);
	r->copies += !r->copies;
	r->next = 0;
	r->data = bench_alloc(r->copies * bytes);
	return r->data;
}

/* All are as the first. */
static inline void rotation_fill(struct rotation *r)
{
	for (uint32_t i = 1; i < r->copies; i++)
		memcpy(r->data + i * r->bytes, r->data, r->bytes);
}

static inline const uint8_t *rotation_copy(const struct rotation *r, uint32_t turn)
{
	return r->data + (r->next + turn) % r->copies * r->bytes;
}

#endif
