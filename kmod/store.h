/* SPDX-License-Identifier: GPL-2.0 */
/* Objects of files, shared by those who opened the same. */
#ifndef VB_STORE_H
#define VB_STORE_H

#include "bo.h"

struct vb_chunk_range;

struct vb_bo *vb_store_find(struct vb_bo *bo);
void vb_store_end(struct vb_bo *bo);
int vb_store_join(struct vb_client *c, struct vb_bo *bo);
void vb_store_leave(struct vb_client *c, struct vb_bo *bo);
bool vb_store_is_shared(struct vb_bo *bo);
bool vb_store_charge_other_locked(struct vb_bo *bo, u32 tier);
int vb_store_pin(struct vb_client *c, struct vb_bo *bo, u32 chunk, int n);
bool vb_store_unpin_locked(struct vb_client *c, struct vb_bo *bo,
			   const struct vb_chunk_range *range);
void vb_store_usage(struct vb_client *c, u64 *out_others, u64 *out_shared);
struct vb_client *vb_bo_payer(struct vb_bo *bo);
/* Who pays for what @c pins and maps: of a store itself, else the creator. */
static inline struct vb_client *vb_bo_holder(struct vb_bo *bo, struct vb_client *c)
{
	return bo->is_store ? c : bo->client;
}

#endif
