/* SPDX-License-Identifier: GPL-2.0 */
/* mmap() and faults, of clients and of the executor. */
#ifndef VB_MAP_H
#define VB_MAP_H

#include <linux/fs.h>
#include <linux/mm.h>

#include "core/deps.h"

struct vb_bo;
struct vb_client;
struct vb_exec;

#define VB_FAULT_NS		(2ull * NSEC_PER_SEC)	/* of a fault that keeps mmap_lock */

/* Executor mappings: what, then which, then bytes (VB_MMAP_SUBMIT is in the UAPI). */
#define VB_MMAP_WHAT_SHIFT	56
#define VB_MMAP_REGION		1ull
#define VB_MMAP_TABLE		2ull
#define VB_MMAP_WHICH_SHIFT	48	/* region: arena */
#define VB_MMAP_OBJECT_SHIFT	12	/* table: object id, in pages */

void vb_vma_keep_readonly(struct vm_area_struct *vma);
void vb_table_zap(struct vb_bo *bo, u32 index);
void vb_pages_zap(struct vb_bo *bo, u64 from, u64 bytes);
int vb_bo_mmap(struct vb_bo *bo, struct vb_client *c, struct vm_area_struct *vma);
int vb_client_mmap(struct file *filp, struct vm_area_struct *vma);
void vb_exec_forsake(struct vb_exec *x);
int vb_exec_mmap(struct file *filp, struct vm_area_struct *vma);

#endif
