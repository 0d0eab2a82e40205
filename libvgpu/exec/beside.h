/* SPDX-License-Identifier: MIT */
/*
 * Memory beside the host tier: what is read of the source of a derived chunk, and
 * operands in files that have to be copied together.  Bounded, so that a process needs
 * little more than the tier that it was given, and counted.
 */
#ifndef VGPU_EXEC_BESIDE_H
#define VGPU_EXEC_BESIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All of it, but for one that is alone and larger: a unit of a very wide source. */
#define VGPU_BESIDE_BYTES	(16ull << 20)

/**
 * struct vgpu_beside - what there is
 * @bytes: now
 * @most: the most there ever were; read beside the executor too, so atomically
 */
struct vgpu_beside {
	uint64_t bytes, most;
};

static inline bool vgpu_beside_has_room(const struct vgpu_beside *b, uint64_t bytes)
{
	return !b->bytes || b->bytes + bytes <= VGPU_BESIDE_BYTES;
}

/* Memory of the same kind that is there for a moment only. */
static inline void vgpu_beside_note(struct vgpu_beside *b, uint64_t bytes)
{
	if (b->bytes + bytes > b->most)
		__atomic_store_n(&b->most, b->bytes + bytes, __ATOMIC_RELAXED);
}

/**
 * vgpu_beside_alloc() - memory beside the tier
 * @b: counts it; whether there is room the caller asks
 * @align: power of two
 * @bytes: a multiple of @align
 *
 * What is large comes straight from the kernel and goes back to it: an allocator keeps what
 * is freed, in pieces, and the process would take twice what is counted.
 *
 * Context: any thread that may change @b.
 * Return: NULL without memory.
 */
void *vgpu_beside_alloc(struct vgpu_beside *b, size_t align, uint64_t bytes);

/* @p: NULL is fine; @bytes: as it was asked for. */
void vgpu_beside_free(struct vgpu_beside *b, void *p, uint64_t bytes);

#endif
