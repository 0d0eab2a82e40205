/* SPDX-License-Identifier: GPL-2.0 */
/* Slots: their memory, and who has them. */
#ifndef VB_SLOT_H
#define VB_SLOT_H

#include <linux/list.h>

#include "core/deps.h"

struct page;
struct vb_region;
struct vb_user;

/**
 * struct vb_slot - the memory of one slot whose pages we know: host, or a BAR
 * @block: its pages, one pointer a block of 1 << @order pages
 * @order: the chunk's own, or a smaller one where memory is fragmented
 * @object: who held it last, an id; slot_lock, as the next
 * @chunk: and which
 * @baseline: references beyond mappings and ours when the slot was taken: those of
 *	registered buffers; protected by the lock of the BO that holds the slot
 * @quarantine: in vb_device.quarantine while others still refer to the memory;
 *	slot_lock, as the next two
 * @of_user: in that of @user
 * @user: who is charged for it there; counted; or NULL
 * @before: such references when a successor adopted the arena, not its own; exec_lock
 * @loc: VB_LOC of it; fixed
 */
struct vb_slot {
	struct page **block;
	struct list_head quarantine, of_user;
	struct vb_user *user;
	u32 loc;
	u32 object, chunk;
	int baseline, before;
	u8 order;
};

int vb_slot_alloc(struct vb_region *region, struct vb_slot *slot, int node, gfp_t how);
bool vb_slot_is_on(const struct vb_region *region, const struct vb_slot *slot, int node);
int vb_slot_of_bar(const struct vb_region *region, struct vb_slot *slot, struct page *first);
void vb_slot_free(const struct vb_region *region, struct vb_slot *slot);
struct page *vb_slot_page(const struct vb_slot *slot, u32 index);
int vb_slot_foreign(const struct vb_region *region, const struct vb_slot *slot);
void vb_slot_lock(const struct vb_region *region, const struct vb_slot *slot);
void vb_slot_unlock(const struct vb_region *region, const struct vb_slot *slot);

int vb_slot_take_locked(u32 tier, u32 arena, u32 slot, u32 *out_loc);
void vb_slot_give_locked(u32 loc, struct vb_user *user);
void vb_slot_retire(u32 loc);

#endif
