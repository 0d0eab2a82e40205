/* SPDX-License-Identifier: MIT */
/*
 * Operands that a command holds whole while it runs: in adjacent slots, in one slot, or
 * copied together.
 */
#ifndef VGPU_EXEC_HOLD_H
#define VGPU_EXEC_HOLD_H

#include "resid.h"
#include "walk.h"

/**
 * struct vgpu_held - what a command holds
 * @hold: @count entries by vgpu_walk_holds(); sorted by vgpu_held_take()
 */
struct vgpu_held {
	struct vgpu_hold hold[VGPU_HOLDS_MAX];
	uint32_t count;
};

/**
 * vgpu_held_take() - have all of it in memory, pinned
 * @placed: decide first where everything goes, instead of one after the other where it
 *	is cheapest: moves more, and finds room where the other does not
 *
 * Return: 0; with nothing held: -ENOSPC or -EDQUOT (see vgpu_resid.blocks), -ENOMEM,
 * what vgpu_resid_use() and vgpu_resid_wait() said.
 */
int vgpu_held_take(struct vgpu_resid *r, struct vgpu_held *held, bool placed);
void vgpu_held_release(struct vgpu_resid *r, struct vgpu_held *held);

/* Slots that it takes up while the command runs. */
uint32_t vgpu_held_slots(const struct vgpu_held *held);
/* Slots without which it cannot be had: copies together need some for a moment. */
uint32_t vgpu_held_slots_needed(const struct vgpu_held *held);

/* Memory beside the tier for what is copied together: at most VGPU_BESIDE_BYTES. */
uint64_t vgpu_held_beside(const struct vgpu_held *held);

/* Where element 0 of an operand lies in memory. */
void *vgpu_hold_pointer(const struct vgpu_resid *r, const struct vgpu_hold *h,
			const struct vb_operand *op);

#endif
