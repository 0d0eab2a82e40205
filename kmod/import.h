/* SPDX-License-Identifier: GPL-2.0 */
/* Objects that leave their file descriptor, and those whose memory is somebody else's. */
#ifndef VB_IMPORT_H
#define VB_IMPORT_H

#include <linux/fs.h>

#include "core/deps.h"

struct dma_buf;
struct vb_bo;
struct vb_client;
struct vb_copy;
struct vb_import;
struct vb_ucmd;

#ifdef CONFIG_DMA_SHARED_BUFFER
struct vb_bo *vb_export_bo(const struct dma_buf *dmabuf);
int vb_bo_export(struct vb_client *c, struct vb_ucmd *u);
int vb_import_init(void);
void vb_import_exit(void);
struct vb_import *vb_import_get(struct vb_import *m);
void vb_import_put(struct vb_import *m);
int vb_import_arena(int fd, u64 bytes, struct vb_import **out, int *out_reason);
int vb_import_begin(struct vb_import *m);
int vb_import_end(struct vb_import *m);
void vb_import_move(struct vb_import *m, u64 at, void *p, size_t bytes, bool write);
struct dma_buf *vb_import_dmabuf(struct vb_bo *bo);
struct file *vb_import_file(struct vb_bo *bo);		/* not counted */
int vb_import_mmap(struct vb_bo *bo, struct vm_area_struct *vma);
int vb_import_copy(struct vb_copy *copy);
int vb_bo_import(struct vb_client *c, struct vb_ucmd *u);
#else
/* A kernel without dma-bufs: there are no imported objects. */
static inline int vb_bo_export(struct vb_client *c, struct vb_ucmd *u) { return -EOPNOTSUPP; }
static inline int vb_bo_import(struct vb_client *c, struct vb_ucmd *u) { return -EOPNOTSUPP; }
static inline int vb_import_init(void) { return 0; }
static inline void vb_import_exit(void) {}
static inline struct vb_import *vb_import_get(struct vb_import *m) { return m; }
static inline void vb_import_put(struct vb_import *m) {}
static inline int vb_import_arena(int fd, u64 bytes, struct vb_import **out, int *out_reason)
{
	return -EOPNOTSUPP;
}

static inline int vb_import_begin(struct vb_import *m) { return 0; }
static inline int vb_import_end(struct vb_import *m) { return 0; }
static inline void vb_import_move(struct vb_import *m, u64 at, void *p, size_t bytes, bool write) {}
static inline struct file *vb_import_file(struct vb_bo *bo) { return NULL; }
static inline int vb_import_mmap(struct vb_bo *bo, struct vm_area_struct *vma) { return -EINVAL; }
static inline int vb_import_copy(struct vb_copy *copy) { return -EOPNOTSUPP; }
#endif

#endif
