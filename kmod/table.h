/* SPDX-License-Identifier: GPL-2.0 */
/* Residency tables: pages of entries. */
#ifndef VB_TABLE_H
#define VB_TABLE_H

#include <linux/mm_types.h>
#include <linux/xarray.h>

#include "core/deps.h"

struct page;
struct vb_bo;

/* A page, and what finds it where no other one is near. */
#define VB_TABLE_PAGE_COST	(PAGE_SIZE + sizeof(struct xa_node))

/* Do clients have it in use? */
static inline bool vb_entry_is_held(const struct vb_table_entry *e)
{
	return e->pins || e->maps;
}

const struct vb_table_entry *vb_entry(struct vb_bo *bo, u32 chunk);
const struct vb_table_entry *vb_entry_run(struct vb_bo *bo, u32 chunk, u32 *count);
struct vb_table_entry *vb_entry_find(struct vb_bo *bo, u32 chunk);
struct vb_table_entry *vb_entry_make(struct vb_bo *bo, u32 chunk);
struct vb_table_entry *vb_entry_next(struct vb_bo *bo, u32 *chunk);
int vb_table_init(void);
void vb_table_exit(void);
vm_fault_t vb_table_fault(struct vb_bo *bo, u32 index, struct page **out);
void vb_table_free(struct vb_bo *bo);

#endif
