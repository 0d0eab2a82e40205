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
 * @count: slots in the arena, at most VB_ARENA_SLOTS_MAX
 * @present: of these, in a region
 * @free: of these, free
 * @used: bitmap, 1 = not free (in use or absent)
 * @absent: bitmap, 1 = no region
 * @full: summary: 1 = that word of @used is all ones
 * @packed: summary of the summary: 1 = that word of @full is all ones
 */
struct vb_slots {
	u32 count, present, free;
	u64 *used;
	u64 *absent;
	u64 *full;
	u64 *packed;
};

/**
 * vb_slots_bytes() - memory that an arena of @count slots needs
 * @count: slots, at most VB_ARENA_SLOTS_MAX
 *
 * Return: bytes; a little over 2 bits a slot.
 */
size_t vb_slots_bytes(u32 count);

/**
 * vb_slots_init() - an arena without regions: every slot is absent
 * @s: filled
 * @count: slots, at most VB_ARENA_SLOTS_MAX
 * @memory: vb_slots_bytes(@count), 8-byte aligned; the caller's until @s is no
 *	longer used
 */
void vb_slots_init(struct vb_slots *s, u32 count, void *memory);

/**
 * vb_slots_add() - a region came: its slots are free
 * @s: slots
 * @first: first slot of it
 * @n: slots in it, at least 1
 *
 * Return: 0; -EINVAL empty or outside the arena; -EEXIST one is present already.
 */
int vb_slots_add(struct vb_slots *s, u32 first, u32 n);

/**
 * vb_slots_remove() - a region goes: its slots are absent
 * @s: slots
 * @first: first slot of it
 * @n: slots in it, at least 1
 *
 * Return: 0; -EINVAL empty, outside the arena, or one is absent; -EBUSY one is in
 * use.
 */
int vb_slots_remove(struct vb_slots *s, u32 first, u32 n);

/**
 * vb_slots_take() - a free slot
 * @s: slots
 * @top: the highest instead of the lowest
 *
 * Return: the slot, in use from now on; VB_SLOTS_NONE when none is free.
 */
u32 vb_slots_take(struct vb_slots *s, bool top);

/**
 * vb_slots_take_run() - adjacent free slots
 * @s: slots
 * @n: how many, at least 1
 *
 * Looks at every word that is not full when the arena is in pieces: for mappings,
 * not for every page-in.
 *
 * Return: the lowest slot of the lowest run that is long enough; VB_SLOTS_NONE when
 * there is none.
 */
u32 vb_slots_take_run(struct vb_slots *s, u32 n);

/**
 * vb_slots_take_this() - this slot and no other
 * @s: slots
 * @slot: the slot
 *
 * Return: 0; -EEXIST in use; -EINVAL outside the arena or absent.
 */
int vb_slots_take_this(struct vb_slots *s, u32 slot);

/**
 * vb_slots_give() - give a slot back
 * @s: slots
 * @slot: a slot in use
 *
 * Return: 0; -EINVAL when it was not in use: a bug of the caller, to be counted and
 * never ignored.
 */
int vb_slots_give(struct vb_slots *s, u32 slot);

/**
 * vb_slots_is_free() - is a slot present and free
 * @s: slots
 * @slot: any number
 *
 * Return: yes or no; no outside the arena.
 */
bool vb_slots_is_free(const struct vb_slots *s, u32 slot);

#endif
