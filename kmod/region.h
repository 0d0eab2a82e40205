/* SPDX-License-Identifier: GPL-2.0 */
/* Regions: slots of a host arena that came together, and go together. */
#ifndef VB_REGION_H
#define VB_REGION_H

#include <linux/kref.h>

#include "slot.h"

struct page;
struct vb_arena;
struct vb_exec;
struct vb_ucmd;

/**
 * struct vb_region - slots that came together
 * @kref: arena, executor mappings, copies in progress
 * @first: first slot
 * @slots: how many
 * @order: of a whole chunk
 * @is_bar: its pages are the BAR's, which is given back with the region
 * @spills: the arena's node had no memory for one of its slots
 * @slot: theirs
 */
struct vb_region {
	struct kref kref;
	u32 first, slots;
	u8 order;
	bool is_bar, spills;
	struct vb_slot slot[];
};

struct vb_region *vb_region_of_bar(u32 arena, u32 slots, struct page *first);
struct vb_region *vb_region_get(u32 arena, u32 slot);	/* counted, or NULL */
void vb_region_put(struct vb_region *region);
int vb_region_drop_locked(u32 arena, struct vb_region *region);
u64 vb_region_mmap_offset(u32 arena, u32 first);
struct vb_slot *vb_slot_find(u32 loc, struct vb_region **out);
void vb_region_slots_each(struct vb_arena *a, void (*what)(struct vb_arena *a,
							   struct vb_region *region,
							   struct vb_slot *slot));
u32 vb_region_slots_elsewhere(const struct vb_region *region, int node);
int vb_region_next(struct vb_exec *x, struct vb_ucmd *u);
int vb_region_add(struct vb_exec *x, struct vb_ucmd *u);
int vb_region_remove(struct vb_exec *x, struct vb_ucmd *u);

#endif
