// SPDX-License-Identifier: GPL-2.0
/*
 * The memory of device arenas, where it is known to us, and the CPU's way to it.
 *
 * The pages of a BAR are slots like those of host memory: clients fault on them, and
 * before such a chunk moves it is taken out of page tables and its references are
 * counted.  Of a dma-buf only the kernel's mapping is used, to copy a page at a time
 * while the object's lock keeps the chunk where it is.  All else stays with the executor,
 * and a client's CPU makes the chunk move to host memory.
 */
#include "device.h"

#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/uaccess.h>

#include "arena.h"
#include "bo.h"
#include "cpu.h"
#include "import.h"
#include "region.h"
#include "resid.h"
#include "slot.h"
#include "table.h"
#include "vb.h"

/* ---- VB_IOC_ARENA_CREATE ---- */

/**
 * vb_device_import() - what an arena needs before it has a number
 * @a: arena, not published
 * @cmd: as checked
 *
 * Context: may sleep; no lock held: exporters may take their time.
 * Return: 0; -EBADF, -ENOSPC, or what the exporter says.
 */
int vb_device_import(struct vb_arena *a, const struct vb_ioc_arena_create *cmd)
{
	u64 bytes = (u64)cmd->slots << vb.chunk_shift;
	int rc;

	if (cmd->memory != VB_ARENA_DMABUF) {
		a->cpu_reason = cmd->tier == VB_TIER_DEVICE ? -EOPNOTSUPP : 0;
		return 0;
	}
	rc = vb_import_arena(cmd->memory_fd, bytes, &a->import, &a->cpu_reason);
	if (!rc)
		a->cpu_path = a->cpu_reason ? VB_CPU_MIGRATE : VB_CPU_COPY;
	return rc;
}

/**
 * vb_device_bar() - the BAR as the memory of an arena
 * @a: arena, not published
 * @number: that it will have
 * @slots: how many it needs
 *
 * Context: may sleep; exec_lock, so that the number is its own.
 * Return: 0; -ENOENT, -ENOSPC, -EBUSY (vb_bar_take()); -ENOMEM.
 */
int vb_device_bar(struct vb_arena *a, u32 number, u32 slots)
{
	struct vb_region *region;
	struct page *first;
	int rc;

	lockdep_assert_held(&vb.exec_lock);
	rc = vb_bar_take((u64)slots << (vb.chunk_shift - PAGE_SHIFT), &first);
	if (rc)
		return rc;
	region = vb_region_of_bar(number, slots, first);
	if (!region)
		return -ENOMEM;
	rc = mtree_insert_range(&a->regions, 0, slots - 1, region, GFP_KERNEL_ACCOUNT);
	if (rc) {
		vb_region_put(region);
		return rc;
	}
	a->cpu_path = VB_CPU_MAP;
	a->cpu_reason = 0;
	return 0;
}

/* ---- copies ---- */

/* The arena of a chunk that is at rest on a device alone, where we can get at it; NULL. */
static struct vb_arena *arena_locked(struct vb_bo *bo, u32 chunk)
{
	const struct vb_table_entry *e = vb_entry(bo, chunk);
	struct vb_arena *a;

	lockdep_assert_held(&bo->lock);
	if (e->busy || e->valid & 1u << VB_TIER_HOST || !(e->valid & 1u << VB_TIER_DEVICE))
		return NULL;
	a = vb_arena_of(VB_LOC_ARENA(e->loc[VB_TIER_DEVICE]));
	return a && a->cpu_path != VB_CPU_MIGRATE ? a : NULL;
}

static void slot_move(u32 loc, u64 at, void *p, size_t bytes, bool write)
{
	struct vb_region *region;
	struct vb_slot *slot = vb_slot_find(loc, &region);
	char *memory = kmap_local_page(vb_slot_page(slot, at >> PAGE_SHIFT));

	if (write)
		memcpy(memory + offset_in_page(at), p, bytes);
	else
		memcpy(p, memory + offset_in_page(at), bytes);
	kunmap_local(memory);
}

/**
 * struct device_copy - bytes of one chunk on their way
 * @copy: what is asked for
 * @chunk: of @copy->bo
 * @at: byte of it where @copy begins
 * @import: counted; or NULL: a BAR
 * @page: a page of ours in between: nothing faults under the object's lock
 */
struct device_copy {
	struct vb_copy *copy;
	u32 chunk;
	u64 at;
	struct vb_import *import;
	void *page;
};

/* -EAGAIN: the chunk has moved. */
static int part_move_locked(struct device_copy *d, size_t bytes)
{
	struct vb_bo *bo = d->copy->bo;
	struct vb_arena *a = arena_locked(bo, d->chunk);
	u64 at = d->at + d->copy->done;
	u32 loc;
	int rc;

	if (!a || a->import != d->import)
		return -EAGAIN;
	rc = d->copy->write ? vb_step_write(bo, d->chunk, VB_TIER_DEVICE) : 0;
	if (rc)
		return rc == -EBUSY ? -EAGAIN : rc;
	loc = vb_entry(bo, d->chunk)->loc[VB_TIER_DEVICE];
	if (d->import)
		vb_import_move(d->import, ((u64)VB_LOC_SLOT(loc) << vb.chunk_shift) + at, d->page,
			       bytes, d->copy->write);
	else
		slot_move(loc, at, d->page, bytes, d->copy->write);
	return 0;
}

static int part_copy(struct device_copy *d, size_t bytes)
{
	char __user *memory = d->copy->memory + d->copy->done;
	int rc;

	if (d->copy->write && copy_from_user(d->page, memory, bytes))
		return -EFAULT;
	mutex_lock(&d->copy->bo->lock);
	rc = part_move_locked(d, bytes);
	mutex_unlock(&d->copy->bo->lock);
	if (!rc && !d->copy->write && copy_to_user(memory, d->page, bytes))
		rc = -EFAULT;
	return rc;
}

static int parts_copy(struct device_copy *d)
{
	struct vb_copy *copy = d->copy;
	int rc = 0;

	while (!rc && copy->done < copy->bytes) {
		u32 in_page = offset_in_page(d->at + copy->done);
		size_t bytes = min_t(u64, copy->bytes - copy->done, PAGE_SIZE - in_page);

		rc = part_copy(d, bytes);
		if (!rc)
			copy->done += bytes;
		cond_resched();
	}
	return rc;
}

static int import_copy(struct device_copy *d)
{
	int rc, end;

	if (!d->import)
		return parts_copy(d);
	rc = vb_import_begin(d->import);
	if (rc)
		return rc;
	rc = parts_copy(d);
	end = vb_import_end(d->import);
	return rc ? rc : end;
}

static bool is_reached(struct device_copy *d)
{
	struct vb_bo *bo = d->copy->bo;
	struct vb_arena *a;

	mutex_lock(&bo->lock);
	a = arena_locked(bo, d->chunk);
	if (a && a->import)
		d->import = vb_import_get(a->import);
	mutex_unlock(&bo->lock);
	return a;
}

/**
 * vb_device_copy() - BO_READ and BO_WRITE of a chunk that is on a device alone
 * @copy: of one chunk; its offset is not looked at
 * @chunk: which
 * @at: byte of the chunk
 *
 * Context: may wait for fences of the exporter of the device's memory, killable.
 * Return: 0; -EAGAIN it is in host memory, or must come there: copy all of it from
 * there; -EFAULT; -ENOMEM; -EROFS; -EIO.
 */
int vb_device_copy(struct vb_copy *copy, u32 chunk, u64 at)
{
	struct device_copy d = { .copy = copy, .chunk = chunk, .at = at };
	int rc = -ENOMEM;

	if (!is_reached(&d))
		return -EAGAIN;
	d.page = (void *)__get_free_page(GFP_KERNEL_ACCOUNT);
	if (d.page)
		rc = import_copy(&d);
	free_page((unsigned long)d.page);
	if (d.import)
		vb_import_put(d.import);
	return rc;
}
