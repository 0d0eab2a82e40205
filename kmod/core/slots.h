/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Which slots of an arena are free: a bitmap with a summary level.
 *
 * The caller gives the memory (vb_slots_bytes) and holds the lock.  Slots start
 * ABSENT and become free when their region is added.  Allocation is first fit
 * from the bottom or from the top, one slot or a run of adjacent ones.
 */
#ifndef VB_CORE_SLOTS_H
#define VB_CORE_SLOTS_H

#include "deps.h"

#define VB_SLOTS_NONE	0xffffffffu

/**
 * struct vb_slots - the free slots of one arena
 * @count: slots in the arena
 * @present: of these, in a region
 * @free: of these, free
 * @used: bitmap, 1 = not free (in use or absent)
 * @absent: bitmap, 1 = no region
 * @full: summary: 1 = that word of @used is all ones
 */
struct vb_slots {
	u32 count, present, free;
	u64 *used;
	u64 *absent;
	u64 *full;
};

size_t vb_slots_bytes(u32 count);
/* All absent.  memory: vb_slots_bytes(count), 8-byte aligned. */
void vb_slots_init(struct vb_slots *s, u32 count, void *memory);
/* -EINVAL outside the arena, -EEXIST some are present already. */
int vb_slots_add(struct vb_slots *s, u32 first, u32 n);
/* -EBUSY while one is in use, -EINVAL when one is absent. */
int vb_slots_remove(struct vb_slots *s, u32 first, u32 n);
/* A free slot, lowest first (or highest with @top); VB_SLOTS_NONE when full. */
u32 vb_slots_take(struct vb_slots *s, bool top);
/* n adjacent free slots, lowest first; VB_SLOTS_NONE when there is no such run. */
u32 vb_slots_take_run(struct vb_slots *s, u32 n);
/* -EEXIST in use, -EINVAL outside or absent. */
int vb_slots_take_this(struct vb_slots *s, u32 slot);
/* -EINVAL when it was not in use: counted, never ignored. */
int vb_slots_give(struct vb_slots *s, u32 slot);
bool vb_slots_is_free(const struct vb_slots *s, u32 slot);

#endif
