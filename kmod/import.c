// SPDX-License-Identifier: GPL-2.0
/*
 * Objects of others: dma-bufs that a client hands in.
 *
 * The memory is the exporter's and stays where it is: attached to and mapped for our
 * device while the object lives, which keeps the exporter from moving it.  Such an object
 * has no slots, nothing to page in and nothing to evict; its table stays all zero.
 * Clients map it through the exporter and read and write it through a mapping of the
 * kernel; the executor gets the dma-buf from VB_IOC_OBJECT_OPEN and maps it itself.
 *
 * The device is a platform device: it has the DMA parameters that a misc device lacks.
 * No lock of ours is held when dma_buf_*() is called, which take dma_resv.
 */
#include "import.h"

#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/highmem.h>
#include <linux/iosys-map.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "bo.h"
#include "client.h"
#include "conftest.h"
#include "cpu.h"
#include "map.h"
#include "ucmd.h"

#ifdef VB_HAS_IMPORT_NS_TOKEN
MODULE_IMPORT_NS(DMA_BUF);
#else
MODULE_IMPORT_NS("DMA_BUF");
#endif

/*
 * Of every mapping and every copy, those of what may only be read too: exporters sync all
 * mappings in the direction that a copy asks for, which has to be theirs, and what another
 * device has written is read.  Udmabuf keeps for good what it is asked for first.
 */
#define DIRECTION	DMA_BIDIRECTIONAL

/**
 * struct vb_import - the memory behind an imported object, or a device arena
 * @kref: object or arena, copies in progress
 * @dmabuf: counted
 * @attachment: of our device
 * @table: where it lies for that device
 * @map: arena: where the kernel has it, when @is_mapped
 * @is_mapped: it has
 */
struct vb_import {
	struct kref kref;
	struct dma_buf *dmabuf;
	struct dma_buf_attachment *attachment;
	struct sg_table *table;
	struct iosys_map map;
	bool is_mapped;
};

/* ---- what headers differ in ---- */

static struct sg_table *map_attachment(struct vb_import *m)
{
#ifdef VB_HAS_DMA_BUF_MAP_UNLOCKED
	return dma_buf_map_attachment_unlocked(m->attachment, DIRECTION);
#else
	return dma_buf_map_attachment(m->attachment, DIRECTION);
#endif
}

static void unmap_attachment(struct vb_import *m)
{
#ifdef VB_HAS_DMA_BUF_MAP_UNLOCKED
	dma_buf_unmap_attachment_unlocked(m->attachment, m->table, DIRECTION);
#else
	dma_buf_unmap_attachment(m->attachment, m->table, DIRECTION);
#endif
}

static int kernel_map(struct dma_buf *dmabuf, struct iosys_map *map)
{
#ifdef VB_HAS_DMA_BUF_VMAP_UNLOCKED
	return dma_buf_vmap_unlocked(dmabuf, map);
#else
	return dma_buf_vmap(dmabuf, map);
#endif
}

static void kernel_unmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
#ifdef VB_HAS_DMA_BUF_VMAP_UNLOCKED
	dma_buf_vunmap_unlocked(dmabuf, map);
#else
	dma_buf_vunmap(dmabuf, map);
#endif
}

/* ---- the device that imports ---- */

static struct platform_device *device;

/**
 * vb_import_init() - make the device that dma-bufs are attached to
 *
 * Context: module load.
 * Return: 0, for vb_import_exit(); what the driver core says.
 */
int vb_import_init(void)
{
	const struct platform_device_info info = {
		.name = "vblackwell",
		.id = PLATFORM_DEVID_NONE,
		.dma_mask = DMA_BIT_MASK(64),
	};

	device = platform_device_register_full(&info);
	if (IS_ERR(device))
		return PTR_ERR(device);
	dma_set_max_seg_size(&device->dev, UINT_MAX);
	return 0;
}

/**
 * vb_import_exit() - that device goes; nothing is attached to it
 *
 * Context: module unload.
 */
void vb_import_exit(void)
{
	platform_device_unregister(device);
}

/* ---- attach ---- */

/* A descriptor of something else is no better than none. */
static struct dma_buf *dmabuf_get(int fd)
{
	struct dma_buf *dmabuf = dma_buf_get(fd);

	return dmabuf == ERR_PTR(-EINVAL) ? ERR_PTR(-EBADF) : dmabuf;
}

static int import_map(struct vb_import *m)
{
	m->attachment = dma_buf_attach(m->dmabuf, &device->dev);
	if (IS_ERR(m->attachment))
		return PTR_ERR(m->attachment);
	m->table = map_attachment(m);
	if (!IS_ERR(m->table))
		return 0;
	dma_buf_detach(m->dmabuf, m->attachment);
	return PTR_ERR(m->table);
}

/* Attached, mapped, counted; the caller keeps its own reference. */
static struct vb_import *import_new(struct dma_buf *dmabuf)
{
	struct vb_import *m = kzalloc(sizeof(*m), GFP_KERNEL_ACCOUNT);
	int rc;

	if (!m)
		return ERR_PTR(-ENOMEM);
	kref_init(&m->kref);
	m->dmabuf = dmabuf;
	rc = import_map(m);
	if (rc) {
		kfree(m);
		return ERR_PTR(rc);
	}
	get_dma_buf(dmabuf);
	return m;
}

static void import_free(struct kref *kref)
{
	struct vb_import *m = container_of(kref, struct vb_import, kref);

	if (m->is_mapped)
		kernel_unmap(m->dmabuf, &m->map);
	unmap_attachment(m);
	dma_buf_detach(m->dmabuf, m->attachment);
	dma_buf_put(m->dmabuf);
	kfree(m);
}

/**
 * vb_import_put() - let go of the exporter's memory
 * @m: import
 *
 * Context: may sleep; takes dma_resv, and what the exporter takes.
 */
void vb_import_put(struct vb_import *m)
{
	kref_put(&m->kref, import_free);
}

/* ---- use ---- */

/**
 * vb_import_dmabuf() - the dma-buf of an imported object
 * @bo: object, of which the caller is a user
 *
 * Context: any.
 * Return: the dma-buf, counted.
 */
struct dma_buf *vb_import_dmabuf(struct vb_bo *bo)
{
	get_dma_buf(bo->import->dmabuf);
	return bo->import->dmabuf;
}

/**
 * vb_import_file() - its file, to be given to the executor
 * @bo: imported object, of which the caller is a user
 *
 * Context: any.
 * Return: the file, not counted: the object's.
 */
struct file *vb_import_file(struct vb_bo *bo)
{
	return bo->import->dmabuf->file;
}

/**
 * vb_import_mmap() - map an imported object for a client
 * @bo: object
 * @vma: its offset is in pages of the object
 *
 * The mapping is the exporter's from here on; it keeps the dma-buf and not the object.
 *
 * Return: 0; -EROFS; what the exporter says, -EINVAL when it cannot or the range is none.
 */
int vb_import_mmap(struct vb_bo *bo, struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (vma->vm_flags & VM_WRITE && bo->traits.sealed)
		return -EROFS;
	/* Our node is open for writing; the exporter's descriptor was not. */
	if (bo->traits.sealed)
		vb_vma_keep_readonly(vma);
	return dma_buf_mmap(bo->import->dmabuf, vma, vma->vm_pgoff);
}

/**
 * vb_import_begin() - the CPU is about to copy from or to it
 * @m: import
 *
 * Context: may wait for the exporter's fences; takes dma_resv, so no lock under it is held.
 * Return: 0, to be undone by vb_import_end(); what the exporter says.
 */
int vb_import_begin(struct vb_import *m)
{
	return dma_buf_begin_cpu_access(m->dmabuf, DIRECTION);
}

/**
 * vb_import_end() - the CPU has done so
 * @m: import
 *
 * Context: as vb_import_begin().
 * Return: 0; what the exporter says.
 */
int vb_import_end(struct vb_import *m)
{
	return dma_buf_end_cpu_access(m->dmabuf, DIRECTION);
}

static int part_copy(struct vb_copy *copy, struct iosys_map *map, void *page, size_t bytes)
{
	u64 at = copy->offset + copy->done;
	void __user *memory = copy->memory + copy->done;

	if (copy->write) {
		if (copy_from_user(page, memory, bytes))
			return -EFAULT;
		iosys_map_memcpy_to(map, at, page, bytes);
		return 0;
	}
	iosys_map_memcpy_from(page, map, at, bytes);
	return copy_to_user(memory, page, bytes) ? -EFAULT : 0;
}

static int copy_all(struct vb_copy *copy, struct iosys_map *map)
{
	void *page = (void *)__get_free_page(GFP_KERNEL_ACCOUNT);
	int rc = page ? 0 : -ENOMEM;

	while (!rc && copy->done < copy->bytes) {
		size_t bytes = min_t(u64, copy->bytes - copy->done, PAGE_SIZE);

		rc = fatal_signal_pending(current) ? -EINTR : part_copy(copy, map, page, bytes);
		if (!rc)
			copy->done += bytes;
		cond_resched();
	}
	free_page((unsigned long)page);
	return rc;
}

static int copy_mapped(struct vb_copy *copy, struct dma_buf *dmabuf)
{
	struct iosys_map map;
	int rc;

	rc = kernel_map(dmabuf, &map);
	if (rc)
		return rc == -EINVAL ? -EOPNOTSUPP : rc;
	rc = copy_all(copy, &map);
	kernel_unmap(dmabuf, &map);
	return rc;
}

/**
 * vb_import_copy() - BO_READ and BO_WRITE of an imported object
 * @copy: what; within the object; @copy->done is advanced
 *
 * Context: waits for the exporter's fences, killable; no lock held.
 * Return: 0; -EFAULT; -ENOMEM; -EINTR; -EOPNOTSUPP the exporter has no mapping for the
 * kernel; what else it says.
 */
int vb_import_copy(struct vb_copy *copy)
{
	struct vb_import *m = copy->bo->import;
	int rc, end;

	rc = vb_import_begin(m);
	if (rc)
		return rc;
	rc = copy_mapped(copy, m->dmabuf);
	end = vb_import_end(m);
	return rc ? rc : end;
}

/* ---- the memory of a device arena ---- */

static int kernel_map_try(struct vb_import *m)
{
	int rc = kernel_map(m->dmabuf, &m->map);

	m->is_mapped = !rc;
	return rc == -EINVAL ? -EOPNOTSUPP : rc;
}

static struct vb_import *arena_import(struct dma_buf *dmabuf, u64 bytes)
{
	if (dmabuf->size < bytes)
		return ERR_PTR(-ENOSPC);
	return import_new(dmabuf);
}

/**
 * vb_import_arena() - a dma-buf as the memory of an arena
 * @fd: of the caller
 * @bytes: how much it must have
 * @out: for vb_import_put()
 * @out_reason: 0 the kernel copies from and to it; or why it cannot
 *
 * Context: may sleep; takes dma_resv; no lock under it held.
 * Return: 0; -EBADF; -ENOSPC; what the exporter says.
 */
int vb_import_arena(int fd, u64 bytes, struct vb_import **out, int *out_reason)
{
	struct dma_buf *dmabuf = dmabuf_get(fd);
	struct vb_import *m;

	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	m = arena_import(dmabuf, bytes);
	dma_buf_put(dmabuf);
	if (IS_ERR(m))
		return PTR_ERR(m);
	*out_reason = kernel_map_try(m);
	*out = m;
	return 0;
}

/**
 * vb_import_get() - another reference, by one who has one
 * @m: import
 *
 * Context: any.
 * Return: @m.
 */
struct vb_import *vb_import_get(struct vb_import *m)
{
	kref_get(&m->kref);
	return m;
}

/**
 * vb_import_move() - bytes between a buffer of ours and the memory of an arena
 * @m: of vb_import_arena(), which gave no reason against copies
 * @at: first byte there
 * @p: ours
 * @bytes: length, within both
 * @write: into the arena
 *
 * Context: any; never sleeps. Between vb_import_begin() and vb_import_end().
 */
void vb_import_move(struct vb_import *m, u64 at, void *p, size_t bytes, bool write)
{
	if (write)
		iosys_map_memcpy_to(&m->map, at, p, bytes);
	else
		iosys_map_memcpy_from(p, &m->map, at, bytes);
}

/* ---- VB_IOC_BO_IMPORT ---- */

/* To write what was given to be read is not for the receiver to decide. */
static int import_own(struct vb_client *c, struct vb_ucmd *u, struct dma_buf *dmabuf,
		      struct vb_bo *bo)
{
	struct vb_ioc_bo_import *cmd = u->cmd;

	if (!(dmabuf->file->f_mode & FMODE_WRITE) && !READ_ONCE(bo->traits.sealed) &&
	    c != bo->client)
		return -EACCES;
	cmd->out_bytes = bo->bytes;
	return vb_bo_share(c, bo, u, &cmd->out_bo_id);
}

static int import_foreign(struct vb_client *c, struct vb_ucmd *u, struct dma_buf *dmabuf)
{
	struct vb_ioc_bo_import *cmd = u->cmd;
	struct vb_import *m = import_new(dmabuf);
	bool readonly;
	int rc;

	if (IS_ERR(m))
		return PTR_ERR(m);
	readonly = !(dmabuf->file->f_mode & FMODE_WRITE);
	cmd->out_bytes = dmabuf->size;
	rc = vb_bo_adopt(c, u, m, readonly);
	if (rc)
		vb_import_put(m);
	return rc;
}

/**
 * vb_bo_import() - VB_IOC_BO_IMPORT: an object of a dma-buf
 * @c: who asks
 * @u: struct vb_ioc_bo_import
 *
 * One of ours is the object that it came from, another handle of it; who may only read the
 * dma-buf gets what nobody can write any more, or its own object.
 *
 * Context: no lock held; may sleep as long as the exporter likes.
 * Return: 0; -EBADF; -EACCES; -EINVAL; -EDQUOT; -ENOMEM; -EFAULT; what the exporter says.
 */
int vb_bo_import(struct vb_client *c, struct vb_ucmd *u)
{
	struct vb_ioc_bo_import *cmd = u->cmd;
	struct dma_buf *dmabuf;
	struct vb_bo *own;
	int rc;

	dmabuf = dmabuf_get(cmd->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	own = vb_export_bo(dmabuf);
	rc = own ? import_own(c, u, dmabuf, own) : import_foreign(c, u, dmabuf);
	dma_buf_put(dmabuf);
	return rc;
}
