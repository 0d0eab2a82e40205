/* SPDX-License-Identifier: GPL-2.0 */
/* Steps of the table, and who is charged for them. */
#ifndef VB_RESID_H
#define VB_RESID_H

#include "core/chunk.h"

struct vb_bo;
struct vb_client;

/**
 * struct vb_step - one step of one chunk
 * @bo: object, whose lock is held
 * @e: entry, which the step changes
 * @before: as it was
 * @none: stands for an entry that has no place yet: all steps but BEGIN refuse it, or
 *	leave it as it is
 * @freed: slots that the step gave back
 */
struct vb_step {
	struct vb_bo *bo;
	struct vb_table_entry *e;
	struct vb_table_entry before, none;
	struct vb_chunk_freed freed;
};

void vb_step_begin(struct vb_step *s, struct vb_bo *bo, u32 chunk);
void vb_step_of_entry(struct vb_step *s, struct vb_bo *bo, struct vb_table_entry *e);
int vb_step_end(struct vb_step *s, int rc);
int vb_step_map(struct vb_bo *bo, u32 chunk, bool write);
void vb_step_unmap(struct vb_bo *bo, u32 chunk);
int vb_step_pin(struct vb_bo *bo, u32 chunk);
int vb_step_unpin(struct vb_bo *bo, u32 chunk);
int vb_step_write(struct vb_bo *bo, u32 chunk, u8 tier);
bool vb_resid_is_here(struct vb_bo *bo, u32 chunk);
void vb_resid_give(struct vb_bo *bo, u32 loc);
void vb_resid_release(struct vb_bo *bo);	/* every slot; no executor moves them */
void vb_resid_orphan(struct vb_bo *bo);
void vb_resid_hide(struct vb_bo *bo);
void vb_resid_charge(struct vb_bo *bo, struct vb_client *to);

#endif
