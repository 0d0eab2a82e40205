/* SPDX-License-Identifier: GPL-2.0 */
/* Residency tables: pages of entries. */
#ifndef VB_TABLE_H
#define VB_TABLE_H

#include "core/deps.h"

struct page;
struct vb_bo;

const struct vb_table_entry *vb_entry(struct vb_bo *bo, u32 chunk);
const struct vb_table_entry *vb_entry_run(struct vb_bo *bo, u32 chunk, u32 *count);
struct vb_table_entry *vb_entry_find(struct vb_bo *bo, u32 chunk);
struct vb_table_entry *vb_entry_make(struct vb_bo *bo, u32 chunk);
struct vb_table_entry *vb_entry_next(struct vb_bo *bo, u32 *chunk);
struct page *vb_table_page(struct vb_bo *bo, u32 index);
void vb_table_free(struct vb_bo *bo);

#endif
