/* SPDX-License-Identifier: GPL-2.0 */
/* Steps of the table, and who is charged for them. */
#ifndef VB_RESID_H
#define VB_RESID_H

#include "core/deps.h"

struct vb_bo;
struct vb_client;
struct vb_exec;
struct vb_ucmd;

int vb_step_map(struct vb_bo *bo, u32 chunk, bool write);
void vb_step_unmap(struct vb_bo *bo, u32 chunk);
int vb_step_pin(struct vb_bo *bo, u32 chunk);
int vb_step_unpin(struct vb_bo *bo, u32 chunk);
int vb_step_write(struct vb_bo *bo, u32 chunk, u8 tier);
void vb_resid_release(struct vb_bo *bo);	/* every slot; no executor moves them */
void vb_resid_orphan(struct vb_bo *bo);
void vb_resid_hide(struct vb_bo *bo);
void vb_resid_charge(struct vb_bo *bo, struct vb_client *to);
int vb_resid_wait(struct vb_bo *bo, u32 chunk, u64 deadline_ns, bool killable);
bool vb_resid_is_here(struct vb_bo *bo, u32 chunk);
int vb_move(struct vb_exec *x, struct vb_ucmd *u);

#endif
