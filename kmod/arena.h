/* SPDX-License-Identifier: GPL-2.0 */
/* Arenas, regions, slots, pages. */
#ifndef VB_ARENA_H
#define VB_ARENA_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/maple_tree.h>

#include "core/slots.h"

struct page;
struct vb_client;
struct vb_exec;
struct vb_import;
struct vb_ucmd;

/**
 * struct vb_slot - the memory of one slot whose pages we know: host, or a BAR
 * @block: its pages, one pointer a block of 1 << @order pages
 * @order: the chunk's own, or a smaller one where memory is fragmented
 * @object: who held it last, an id; slot_lock, as the next
 * @chunk: and which
 * @baseline: references beyond mappings and ours when the slot was taken: those of
 *	registered buffers; protected by the lock of the BO that holds the slot
 * @quarantine: in vb_device.quarantine while others still refer to the memory;
 *	slot_lock
 * @before: such references when a successor adopted the arena, not its own; exec_lock
 * @loc: VB_LOC of it; fixed
 */
struct vb_slot {
	struct page **block;
	struct list_head quarantine;
	u32 loc;
	u32 object, chunk;
	int baseline, before;
	u8 order;
};

/**
 * struct vb_region - slots that came together
 * @kref: arena, executor mappings, copies in progress
 * @first: first slot
 * @slots: how many
 * @order: of a whole chunk
 * @is_bar: its pages are the BAR's, which is given back with the region
 * @slot: theirs
 */
struct vb_region {
	struct kref kref;
	u32 first, slots;
	u8 order;
	bool is_bar;
	struct vb_slot slot[];
};

/**
 * struct vb_arena - slots of one tier in one place
 * @tier: enum vb_tier; fixed
 * @numa_node: or -1; fixed
 * @slots: which are free; slot_lock
 * @memory: of @slots
 * @regions: struct vb_region by slot; locks itself; none when the pages are not ours
 * @import: device: its memory is a dma-buf; or NULL; as the next two fixed until it is gone
 * @cpu_path: device: enum vb_cpu_path
 * @cpu_reason: why it is no better, or 0
 * @pinned: chunks here that are pinned or mapped; slot_lock
 * @identity: as created
 * @orphan: its executor died, and no other one has adopted it; exec_lock
 * @gone: its memory is no more; it waits for an arena of this tier to take its number;
 *	written under exec_lock and slot_lock
 */
struct vb_arena {
	u32 tier;
	s32 numa_node;
	struct vb_slots slots;
	void *memory;
	struct maple_tree regions;
	struct vb_import *import;
	u32 cpu_path;
	int cpu_reason;
	s64 pinned;
	u64 identity[2];
	bool orphan, gone;
};

u64 vb_capacity_locked(void);	/* what anonymous objects may reserve; slot_lock, as the next */
u64 vb_host_bytes_locked(void);
u64 vb_device_bytes_locked(void);
u64 vb_content_bytes_locked(void);	/* host bytes without staging */
int vb_slot_take_locked(u32 tier, u32 arena, u32 slot, u32 *out_loc);
/* Into quarantine when others still refer to its memory. */
void vb_slot_give_locked(u32 loc);
void vb_slot_retire(u32 loc);
/* The memory of a host slot that the caller's lock keeps in use; NULL. */
struct vb_slot *vb_slot_find(u32 loc, struct vb_region **out);
struct page *vb_slot_page(const struct vb_slot *slot, u32 index);
/* References that are neither mappings nor ours. */
int vb_slot_foreign(const struct vb_region *region, const struct vb_slot *slot);
void vb_slot_lock(const struct vb_region *region, const struct vb_slot *slot);
void vb_slot_unlock(const struct vb_region *region, const struct vb_slot *slot);
/* Slots over pages of the BAR, from @first on; NULL without memory. */
struct vb_region *vb_region_of_bar(u32 arena, u32 slots, struct page *first);
struct vb_region *vb_region_get(u32 arena, u32 slot);	/* counted, or NULL */
struct vb_arena *vb_arena_of(u32 arena);		/* NULL: there is none */
void vb_region_put(struct vb_region *region);
int vb_region_drop_locked(u32 arena, struct vb_region *region);
bool vb_arena_is_gone(u32 loc);
/* What goes with an executor, with its successor's choice, with the last hope. */
enum vb_leave { VB_LEAVE_DEVICES, VB_LEAVE_ORPHANS, VB_LEAVE_ALL };
void vb_arenas_leave(enum vb_leave who);
void vb_arenas_bury(void);	/* those that are gone; no entry names them */
void vb_arenas_drop(void);
void vb_arenas_orphan(void);
void vb_arenas_settle(void);
int vb_arena_query(struct vb_exec *x, struct vb_ucmd *u);
int vb_arena_adopt(struct vb_exec *x, struct vb_ucmd *u);
int vb_region_next(struct vb_exec *x, struct vb_ucmd *u);
int vb_query_tier(struct vb_client *c, struct vb_ucmd *u);
int vb_arena_create(struct vb_exec *x, struct vb_ucmd *u);
int vb_region_add(struct vb_exec *x, struct vb_ucmd *u);
int vb_region_remove(struct vb_exec *x, struct vb_ucmd *u);

/* Host memory that goes when the kernel is short of it. */
void vb_drain_done(void);
int vb_drain_init(void);
void vb_drain_exit(void);

#endif
