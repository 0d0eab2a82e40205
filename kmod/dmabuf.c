// SPDX-License-Identifier: GPL-2.0
/*
 * Objects as dma-bufs: how they leave the file descriptor that made them.
 *
 * A dma-buf of ours is a user of its object, as a handle is.  Whoever opens the device
 * and imports it gets a handle of the same object: nothing is pinned, the executor moves
 * it as before, and it stays charged to its creator until the last user has gone.
 *
 * Another device attaches.  It knows nothing of tiers, so while it is attached all
 * chunks are held in host memory, as a writable BO_MAP holds them (a readable one when
 * the object is sealed), and count as pinned.  The kernel forbids to wait for user space
 * on the way there, so what is not in host memory at that moment is -EBUSY: the owner
 * maps or pins the object first.  While an sg table is out it also counts the pages, so
 * that the memory outlives an executor that dies.
 *
 * Fences of ours depend on user space and are never put into a dma-buf: who shares an
 * object orders its uses by other means.  There is no vmap(): it would be one more way
 * to hold all chunks, and drivers that copy by CPU have mmap() in user space.
 */
#include "import.h"

#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "bo.h"
#include "client.h"
#include "cpu.h"
#include "limit.h"
#include "map.h"
#include "region.h"
#include "slot.h"
#include "store.h"
#include "table.h"
#include "ucmd.h"
#include "vb.h"

/**
 * struct attached - a device that has attached
 * @link: in vb_bo.attached
 * @device: which
 * @payer: who is charged; counted, fixed
 * @write: it may write; fixed
 * @table: what it has mapped, or NULL; the object's lock
 * @direction: of @table
 */
struct attached {
	struct list_head link;
	struct device *device;
	struct vb_client *payer;
	bool write;
	struct sg_table *table;
	enum dma_data_direction direction;
};

static size_t export_bytes(const struct vb_bo *bo)
{
	return PAGE_ALIGN(bo->bytes);
}

/* ---- attach ---- */

static void write_maps_add(struct vb_bo *bo, int n)
{
	mutex_lock(&bo->lock);
	bo->write_maps += n;
	mutex_unlock(&bo->lock);
}

/* All chunks, for as long as the device is there; nobody is waited for. */
static int lend(struct vb_bo *bo, struct vb_client *payer, bool write)
{
	int rc;

	rc = vb_limit_hold(payer, bo->chunks, true);
	if (rc)
		return rc;
	write_maps_add(bo, write);
	rc = vb_hold_all(bo, write);
	if (!rc)
		return 0;
	write_maps_add(bo, -write);
	vb_limit_release(payer, bo->chunks, true);
	return rc;
}

static void lend_end(struct vb_bo *bo, struct vb_client *payer, bool write)
{
	vb_unhold_all(bo);
	write_maps_add(bo, -write);
	vb_limit_release(payer, bo->chunks, true);
}

/* Who could only read the descriptor cannot have a device write. */
static bool may_write(const struct dma_buf *dmabuf, const struct vb_bo *bo)
{
	return dmabuf->file->f_mode & FMODE_WRITE && !READ_ONCE(bo->traits.sealed);
}

static int export_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attachment)
{
	struct vb_bo *bo = dmabuf->priv;
	struct attached *a = kzalloc(sizeof(*a), GFP_KERNEL_ACCOUNT);
	int rc;

	if (!a)
		return -ENOMEM;
	a->device = attachment->dev;
	a->write = may_write(dmabuf, bo);
	a->payer = vb_bo_payer(bo);
	rc = lend(bo, a->payer, a->write);
	if (rc) {
		vb_client_put(a->payer);
		kfree(a);
		return rc;
	}
	attachment->priv = a;
	mutex_lock(&bo->lock);
	list_add_tail(&a->link, &bo->attached);
	mutex_unlock(&bo->lock);
	return 0;
}

static void export_detach(struct dma_buf *dmabuf, struct dma_buf_attachment *attachment)
{
	struct vb_bo *bo = dmabuf->priv;
	struct attached *a = attachment->priv;

	mutex_lock(&bo->lock);
	list_del(&a->link);
	mutex_unlock(&bo->lock);
	lend_end(bo, a->payer, a->write);
	vb_client_put(a->payer);
	kfree(a);
}

/* ---- map ---- */

static void pages_put(struct page **pages, u64 count)
{
	while (count--)
		put_page(pages[count]);
}

/* The page that holds a chunk's page @index, counted; NULL: lost with the executor. */
static struct page *page_get_locked(struct vb_bo *bo, u64 index)
{
	const u32 shift = vb.chunk_shift - PAGE_SHIFT;
	struct vb_region *region;
	struct vb_slot *slot;
	struct page *page;

	slot = vb_slot_find(vb_entry(bo, index >> shift)->loc[VB_TIER_HOST], &region);
	if (!slot)
		return NULL;
	page = vb_slot_page(slot, index & ((1u << shift) - 1));
	get_page(page);
	return page;
}

static int pages_get(struct vb_bo *bo, struct page **pages, u64 count)
{
	u64 i;

	mutex_lock(&bo->lock);
	for (i = 0; i < count; i++) {
		pages[i] = page_get_locked(bo, i);
		if (!pages[i])
			break;
	}
	mutex_unlock(&bo->lock);
	if (i == count)
		return 0;
	pages_put(pages, i);
	return -EIO;
}

static void table_free(struct sg_table *table)
{
	struct sg_page_iter i;

	for_each_sgtable_page(table, &i, 0)
		put_page(sg_page_iter_page(&i));
	sg_free_table(table);
	kfree(table);
}

/* The pages of an object in as few pieces as @device takes. */
static struct sg_table *table_new(struct vb_bo *bo, struct device *device)
{
	struct sg_table *table = kzalloc(sizeof(*table), GFP_KERNEL_ACCOUNT);
	u64 count = export_bytes(bo) >> PAGE_SHIFT;
	struct page **pages;
	int rc = -ENOMEM;

	if (!table)
		return ERR_PTR(-ENOMEM);
	pages = kvmalloc_array(count, sizeof(*pages), GFP_KERNEL_ACCOUNT);
	if (!pages)
		goto err_table;
	rc = pages_get(bo, pages, count);
	if (rc)
		goto err_array;
	rc = sg_alloc_table_from_pages_segment(table, pages, count, 0, export_bytes(bo),
					       dma_get_max_seg_size(device), GFP_KERNEL_ACCOUNT);
	if (rc)
		goto err_pages;
	kvfree(pages);
	return table;

err_pages:
	pages_put(pages, count);
err_array:
	kvfree(pages);
err_table:
	kfree(table);
	return ERR_PTR(rc);
}

static void attached_set(struct vb_bo *bo, struct attached *a, struct sg_table *table,
			 enum dma_data_direction direction)
{
	mutex_lock(&bo->lock);
	a->table = table;
	a->direction = direction;
	mutex_unlock(&bo->lock);
}

static struct sg_table *export_map(struct dma_buf_attachment *attachment,
				   enum dma_data_direction direction)
{
	struct vb_bo *bo = attachment->dmabuf->priv;
	struct attached *a = attachment->priv;
	struct sg_table *table;
	int rc;

	if (direction != DMA_TO_DEVICE && !a->write)
		return ERR_PTR(-EROFS);
	table = table_new(bo, attachment->dev);
	if (IS_ERR(table))
		return table;
	rc = dma_map_sgtable(attachment->dev, table, direction, 0);
	if (rc) {
		table_free(table);
		return ERR_PTR(rc);
	}
	attached_set(bo, a, table, direction);
	return table;
}

static void export_unmap(struct dma_buf_attachment *attachment, struct sg_table *table,
			 enum dma_data_direction direction)
{
	attached_set(attachment->dmabuf->priv, attachment->priv, NULL, DMA_NONE);
	dma_unmap_sgtable(attachment->dev, table, direction, 0);
	table_free(table);
}

/* ---- the CPU ---- */

static int export_begin_cpu(struct dma_buf *dmabuf, enum dma_data_direction direction)
{
	struct vb_bo *bo = dmabuf->priv;
	struct attached *a;

	mutex_lock(&bo->lock);
	list_for_each_entry(a, &bo->attached, link)
		if (a->table)
			dma_sync_sgtable_for_cpu(a->device, a->table, a->direction);
	mutex_unlock(&bo->lock);
	return 0;
}

static int export_end_cpu(struct dma_buf *dmabuf, enum dma_data_direction direction)
{
	struct vb_bo *bo = dmabuf->priv;
	struct attached *a;

	mutex_lock(&bo->lock);
	list_for_each_entry(a, &bo->attached, link)
		if (a->table)
			dma_sync_sgtable_for_device(a->device, a->table, a->direction);
	mutex_unlock(&bo->lock);
	return 0;
}

static int export_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	return vb_bo_mmap(dmabuf->priv, NULL, vma);
}

/* ---- life ---- */

static void exports_add(struct vb_bo *bo, int n)
{
	mutex_lock(&bo->lock);
	bo->exports += n;
	if (bo->exports)
		bo->flags |= VB_BO_EXPORTED;
	else
		bo->flags &= ~VB_BO_EXPORTED;
	mutex_unlock(&bo->lock);
}

static void export_release(struct dma_buf *dmabuf)
{
	struct vb_bo *bo = dmabuf->priv;

	exports_add(bo, -1);
	vb_bo_put(bo);
}

static const struct dma_buf_ops export_ops = {
	.attach = export_attach,
	.detach = export_detach,
	.map_dma_buf = export_map,
	.unmap_dma_buf = export_unmap,
	.begin_cpu_access = export_begin_cpu,
	.end_cpu_access = export_end_cpu,
	.mmap = export_mmap,
	.release = export_release,
};

/**
 * vb_export_bo() - the object behind a dma-buf of ours
 * @dmabuf: any dma-buf
 *
 * Return: the object, which lives as long as @dmabuf; NULL when it is somebody else's.
 */
struct vb_bo *vb_export_bo(const struct dma_buf *dmabuf)
{
	return dmabuf->ops == &export_ops ? dmabuf->priv : NULL;
}

/* ---- VB_IOC_BO_EXPORT ---- */

static int export_check(struct vb_bo *bo, u32 flags)
{
	if (bo->head_bytes)
		return -EINVAL;
	return flags & O_RDWR && READ_ONCE(bo->traits.sealed) ? -EROFS : 0;
}

static struct dma_buf *export_new(struct vb_bo *bo, u32 flags)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf *dmabuf;

	info.ops = &export_ops;
	info.size = export_bytes(bo);
	info.flags = flags & O_RDWR;
	info.priv = bo;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf))
		return dmabuf;
	/* Its release lets go of them. */
	vb_bo_use(bo);
	exports_add(bo, 1);
	return dmabuf;
}

static struct dma_buf *export_open(struct vb_bo *bo, u32 flags)
{
	int rc;

	if (bo->import)
		return vb_import_dmabuf(bo);
	rc = export_check(bo, flags);
	return rc ? ERR_PTR(rc) : export_new(bo, flags);
}

static int export_answer(struct vb_ucmd *u, struct dma_buf *dmabuf)
{
	struct vb_ioc_bo_export *cmd = u->cmd;
	int fd, rc;

	/* Nobody would be told of the descriptor. */
	if (u->user_bytes < sizeof(*cmd))
		return -EINVAL;
	fd = get_unused_fd_flags(cmd->flags & O_CLOEXEC);
	if (fd < 0)
		return fd;
	cmd->out_fd = fd;
	rc = vb_ucmd_respond(u);
	if (rc)
		put_unused_fd(fd);
	else
		fd_install(fd, dmabuf->file);
	return rc;
}

/**
 * vb_bo_export() - VB_IOC_BO_EXPORT: a dma-buf of an object
 * @c: who asks
 * @u: struct vb_ioc_bo_export; answered before the descriptor works
 *
 * Of an imported object it is the dma-buf that came in.
 *
 * Context: takes the object's lock; may sleep.
 * Return: 0; -ENOENT; -EINVAL its first byte is not that of a chunk, or the caller's structure
 * is too short to be told of the descriptor; -EROFS; -EFAULT; -EMFILE; -ENOMEM.
 */
int vb_bo_export(struct vb_client *c, struct vb_ucmd *u)
{
	struct vb_ioc_bo_export *cmd = u->cmd;
	struct dma_buf *dmabuf;
	struct vb_bo *bo;
	int rc;

	cmd->out_fd = -1;
	bo = vb_bo_get(c, cmd->bo_id);
	if (!bo)
		return -ENOENT;
	dmabuf = export_open(bo, cmd->flags);
	vb_bo_put(bo);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	rc = export_answer(u, dmabuf);
	if (rc)
		dma_buf_put(dmabuf);
	return rc;
}
