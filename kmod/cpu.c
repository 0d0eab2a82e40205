// SPDX-License-Identifier: GPL-2.0
/*
 * Content for a client's CPU.  What is absent is paged in by the executor; the
 * commit of that request maps or pins the chunks before it lets go of the object, so
 * that nobody can take them away between the page-in and its use.  What is on its way for
 * somebody else is asked for, too: how long storage may take is the executor's to know.
 */
#include "cpu.h"

#include <linux/highmem.h>
#include <linux/hrtimer.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "core/chunk.h"
#include "core/quota.h"
#include "core/range.h"
#include "arena.h"
#include "bo.h"
#include "client.h"
#include "device.h"
#include "import.h"
#include "limit.h"
#include "move.h"
#include "region.h"
#include "request.h"
#include "resid.h"
#include "slot.h"
#include "store.h"
#include "table.h"
#include "ucmd.h"
#include "user.h"
#include "vb.h"
#include "wait.h"

#define TRIES		8u		/* page-ins for one use of a chunk */
#define WINDOW_BYTES	(8ull << 20)	/* paged in at once while streaming */

/**
 * vb_share_bytes() - host memory that a client may have at once
 * @c: client
 *
 * Context: takes slot_lock.
 * Return: bytes: the tier's, or the least of its maxima.
 */
u64 vb_share_bytes(const struct vb_client *c)
{
	u64 bytes;

	spin_lock(&vb.slot_lock);
	bytes = min(vb_content_bytes_locked(), vb_quota_least(&c->quota, VB_LIMIT_HOST_MAX));
	spin_unlock(&vb.slot_lock);
	return bytes;
}

static int range_of(const struct vb_bo *bo, u64 offset, u64 bytes, struct vb_chunk_range *out)
{
	return vb_range_chunks(bo->bytes, bo->head_bytes, vb.chunk_shift, offset, bytes, out);
}

static void write_maps_add(struct vb_bo *bo, int n)
{
	mutex_lock(&bo->lock);
	bo->write_maps += n;
	mutex_unlock(&bo->lock);
}

/* ---- chunks, held ---- */

/**
 * struct hold_try - one attempt: all chunks at once, or none
 * @client: whose page-ins they are; NULL: there are none
 * @bo: object
 * @range: chunks that must be held
 * @how: and how
 * @held: they are
 */
struct hold_try {
	struct vb_client *client;
	struct vb_bo *bo;
	struct vb_chunk_range range;
	enum vb_hold_how how;
	bool held;
};

/* -EAGAIN: absent, or on its way here; -EINPROGRESS: moving, @which. */
static int chunk_is_ready(const struct vb_table_entry *e)
{
	if (e->flags & VB_ENTRY_LOST)
		return -EIO;
	if (vb_chunk_is_coming(e))
		return -EAGAIN;
	if (e->busy)
		return -EINPROGRESS;
	return e->valid & 1u << VB_TIER_HOST ? 0 : -EAGAIN;
}

static int step_hold(struct hold_try *h, u32 chunk)
{
	return h->how == VB_HOLD_PIN ? vb_step_pin(h->bo, chunk) :
				   vb_step_map(h->bo, chunk, h->how == VB_HOLD_WRITE);
}

static void step_unhold(struct hold_try *h, u32 chunk)
{
	if (h->how == VB_HOLD_PIN)
		vb_step_unpin(h->bo, chunk);
	else
		vb_step_unmap(h->bo, chunk);
}

/*
 * A successor that has not recovered looks whether what it found is damaged, and drops that: it
 * is not ours to use, nor to hold, before.
 */
static int hold_try_locked(struct hold_try *h, u32 *which)
{
	u32 chunk;
	int rc;

	lockdep_assert_held(&h->bo->lock);
	*which = h->range.first;
	if (vb_is_recovering())
		return -EINPROGRESS;
	for (chunk = h->range.first; chunk < h->range.end; chunk++) {
		*which = chunk;
		rc = chunk_is_ready(vb_entry(h->bo, chunk));
		if (rc)
			return rc;
	}
	for (chunk = h->range.first; chunk < h->range.end; chunk++) {
		rc = step_hold(h, chunk);
		if (rc)
			goto err_unhold;
	}
	h->held = true;
	return 0;

err_unhold:
	while (chunk-- > h->range.first)
		step_unhold(h, chunk);
	return rc;
}

static int hold_try(struct hold_try *h, u32 *which)
{
	int rc;

	mutex_lock(&h->bo->lock);
	rc = hold_try_locked(h, which);
	mutex_unlock(&h->bo->lock);
	return rc;
}

/* An attempt that finds the range torn apart again is made anew by the waiter. */
static int hold_finish(struct vb_request *r)
{
	u32 which;
	int rc = hold_try(r->arg, &which);

	return rc == -EAGAIN || rc == -EINPROGRESS ? 0 : rc;
}

static int hold_page_in(struct hold_try *h, u32 first, u32 end, u64 deadline_ns)
{
	struct vb_request *r;

	if (!vb_takes_work())
		return -ENODEV;
	r = vb_request_new(VB_FETCH_PAGE_IN, h->client, h->bo);
	if (!r)
		return -ENOMEM;
	r->first = first;
	r->count = end - first;
	r->flags = h->how == VB_HOLD_WRITE ? VB_FETCH_F_WRITE : 0;
	r->finish = hold_finish;
	r->arg = h;
	return vb_request_wait(r, deadline_ns);
}

/* For the end of what makes -EINPROGRESS. */
static int hold_wait(const struct hold_try *h, u32 which, u64 deadline_ns)
{
	if (vb_is_recovering())
		return vb_wait_until(vb.settled, !vb_is_recovering(), deadline_ns);
	return vb_move_wait(h->bo, which, deadline_ns, false);
}

/* From the first that is not there on: of a file's chunks the rest may be on its way, no more. */
static int hold_range(struct hold_try *h, u32 end, u64 deadline_ns)
{
	u32 tries = 0, reached = h->range.first, which;
	int rc;

	while (!h->held) {
		rc = hold_try(h, &which);
		if (which > reached)
			tries = 0;
		reached = max(reached, which);
		if (rc == -EINPROGRESS)
			rc = hold_wait(h, which, deadline_ns);
		else if (rc == -EAGAIN && tries < TRIES)
			/* When others took it away at once, ask for less. */
			rc = hold_page_in(h, which, tries++ ? h->range.end : end, deadline_ns);
		else if (rc == -EAGAIN)
			rc = -EBUSY;
		if (rc)
			return rc;
	}
	return 0;
}

/**
 * vb_hold() - have a chunk in host memory and keep it there
 * @c: who asks, whose time it takes to page it in
 * @bo: object, of which the caller is a user
 * @chunk: which
 * @end: page in up to here (exclusive) while we are at it
 * @how: against what; the caller undoes it by vb_step_unpin() or vb_step_unmap()
 * @deadline_ns: CLOCK_MONOTONIC; 0: the device's own bound, from now
 *
 * Context: waits; no lock held.
 * Return: 0; -ETIME; -EINTR; -ENODEV; what the executor said.
 */
int vb_hold(struct vb_client *c, struct vb_bo *bo, u32 chunk, u32 end, enum vb_hold_how how,
	    u64 deadline_ns)
{
	struct hold_try h = {
		.client = c,
		.bo = bo,
		.range = { .first = chunk, .end = chunk + 1 },
		.how = how,
	};

	return hold_range(&h, end, vb_bound(deadline_ns));
}

/**
 * vb_hold_all() - keep all chunks of an object in host memory, where they are already
 * @bo: object, of which the caller is a user
 * @write: they are to be written
 *
 * Context: waits for nobody; takes the object's lock.
 * Return: 0, undone by vb_unhold_all(); -EBUSY one is elsewhere or moves, or a successor has not
 * recovered; -EIO; -EROFS.
 */
int vb_hold_all(struct vb_bo *bo, bool write)
{
	struct hold_try h = {
		.bo = bo,
		.range = { .first = 0, .end = bo->chunks },
		.how = write ? VB_HOLD_WRITE : VB_HOLD_READ,
	};
	u32 which;
	int rc = hold_try(&h, &which);

	return rc == -EAGAIN || rc == -EINPROGRESS ? -EBUSY : rc;
}

/**
 * vb_unhold_all() - undo one vb_hold_all()
 * @bo: object
 *
 * Context: takes the object's lock.
 */
void vb_unhold_all(struct vb_bo *bo)
{
	u32 chunk;

	mutex_lock(&bo->lock);
	for (chunk = 0; chunk < bo->chunks; chunk++)
		vb_step_unmap(bo, chunk);
	mutex_unlock(&bo->lock);
}

/* ---- map ---- */

/* Would it ever fit, and may it? */
static int share_check(const struct vb_client *c, u64 bytes)
{
	int rc = 0;

	spin_lock(&vb.slot_lock);
	if (bytes > vb_content_bytes_locked())
		rc = vb_takes_work() ? -ENOSPC : -ENODEV;
	else if (bytes > vb_quota_least(&c->quota, VB_LIMIT_HOST_MAX))
		rc = -EDQUOT;
	spin_unlock(&vb.slot_lock);
	return rc;
}

static int map_check(struct vb_client *c, struct vb_bo *bo, const struct vb_ioc_bo_map *cmd,
		     struct vb_chunk_range *range)
{
	u64 bytes;
	int rc;

	rc = range_of(bo, cmd->offset, cmd->bytes, range);
	if (rc)
		return rc;
	if (cmd->flags & VB_MAP_WRITE && READ_ONCE(bo->traits.sealed))
		return -EROFS;
	bytes = (u64)(range->end - range->first) << vb.chunk_shift;
	return bo->import ? 0 : share_check(vb_bo_holder(bo, c), bytes);
}

/* Counted as written from the start: a seal in between would break the promise to write. */
static int map_hold(struct vb_client *c, struct hold_try *h, bool write, u64 deadline_ns)
{
	u64 chunks = h->range.end - h->range.first;
	struct vb_bo *bo = h->bo;
	int rc;

	write_maps_add(bo, write);
	if (bo->import)
		return 0;
	rc = vb_limit_hold(vb_bo_holder(bo, c), chunks, false);
	if (rc)
		goto err_unwrite;
	rc = hold_range(h, h->range.end, deadline_ns);
	if (rc)
		goto err_release;
	return 0;

err_release:
	vb_limit_release(vb_bo_holder(bo, c), chunks, false);
err_unwrite:
	write_maps_add(bo, -write);
	return rc;
}

static struct vb_hold *hold_alloc(struct vb_client *c)
{
	struct vb_hold *hold;
	int rc;

	rc = vb_user_charge(c->user, sizeof(*hold));
	if (rc)
		return ERR_PTR(rc);
	hold = kmalloc(sizeof(*hold), GFP_KERNEL_ACCOUNT);
	if (hold)
		return hold;
	vb_user_uncharge(c->user, sizeof(*hold));
	return ERR_PTR(-ENOMEM);
}

static void hold_free(struct vb_hold *hold)
{
	vb_user_uncharge(hold->client->user, sizeof(*hold));
	kfree(hold);
}

static void hold_publish(struct vb_client *c, struct vb_hold *hold)
{
	struct vb_bo *bo = hold->bo;

	vb_bo_use(bo);
	mutex_lock(&c->lock);
	list_add_tail(&hold->client_link, &c->holds);
	mutex_lock(&bo->lock);
	list_add_tail(&hold->link, &bo->mappings);
	mutex_unlock(&bo->lock);
	mutex_unlock(&c->lock);
}

static int map(struct vb_client *c, struct vb_bo *bo, struct vb_ioc_bo_map *cmd)
{
	bool write = cmd->flags & VB_MAP_WRITE;
	struct hold_try h = {
		.client = c,
		.bo = bo,
		.how = write ? VB_HOLD_WRITE : VB_HOLD_READ,
	};
	struct vb_hold *hold;
	int rc;

	rc = map_check(c, bo, cmd, &h.range);
	if (rc)
		return rc;
	hold = hold_alloc(c);
	if (IS_ERR(hold))
		return PTR_ERR(hold);
	*hold = (struct vb_hold){
		.client = c,
		.bo = bo,
		.offset = cmd->offset,
		.bytes = cmd->bytes,
		.flags = cmd->flags,
	};
	rc = map_hold(c, &h, write, vb_bound(cmd->deadline_ns));
	if (rc) {
		hold_free(hold);
		return rc;
	}
	hold_publish(c, hold);
	cmd->out_address = 0;
	cmd->out_mmap_offset = ((u64)cmd->bo_id << VB_BO_SPACE_SHIFT) + bo->head_bytes +
			       cmd->offset;
	return 0;
}

/**
 * vb_bo_map() - VB_IOC_BO_MAP: have a range in host memory and keep it there
 * @c: who asks, and who is charged
 * @u: struct vb_ioc_bo_map
 *
 * A BO_MAP that writes counts as a writer from the start, so that nobody seals the object
 * while its pages come.
 *
 * Context: takes the client's lock and the object's, not while waiting; interruptible.
 * Return: 0; -ENOENT; -EINVAL; -ERANGE, -EOVERFLOW outside the object; -EROFS; -ENOSPC, -EDQUOT
 * more than it may have; -ENOMEM; -EIO; -EBUSY others take it away again and again; -ENODEV,
 * -ETIME, -EINTR.
 */
int vb_bo_map(struct vb_client *c, struct vb_ucmd *u)
{
	struct vb_ioc_bo_map *cmd = u->cmd;
	struct vb_bo *bo;
	int rc;

	if (!cmd->flags || !cmd->bytes)
		return -EINVAL;
	bo = vb_bo_get(c, cmd->bo_id);
	if (!bo)
		return -ENOENT;
	rc = map(c, bo, cmd);
	vb_bo_put(bo);
	return rc;
}

/* The reference that it held is left to the caller. */
static void hold_drop_locked(struct vb_bo *bo, struct vb_hold *hold)
{
	struct vb_chunk_range range;
	u32 chunk;

	lockdep_assert_held(&bo->lock);
	lockdep_assert_held(&hold->client->lock);
	if (!bo->import && !range_of(bo, hold->offset, hold->bytes, &range)) {
		for (chunk = range.first; chunk < range.end; chunk++)
			vb_step_unmap(bo, chunk);
		vb_limit_release(vb_bo_holder(bo, hold->client), range.end - range.first, false);
	}
	list_del(&hold->link);
	list_del(&hold->client_link);
	bo->write_maps -= (hold->flags & VB_MAP_WRITE) != 0;
	hold_free(hold);
}

/**
 * vb_holds_drop() - undo every BO_MAP of a client
 * @c: client, which makes no requests any more
 *
 * Context: may sleep.
 */
void vb_holds_drop(struct vb_client *c)
{
	struct vb_hold *hold;
	struct vb_bo *bo;

	mutex_lock(&c->lock);
	while ((hold = list_first_entry_or_null(&c->holds, struct vb_hold, client_link))) {
		bo = hold->bo;
		mutex_lock(&bo->lock);
		hold_drop_locked(bo, hold);
		mutex_unlock(&bo->lock);
		mutex_unlock(&c->lock);
		vb_bo_put(bo);
		mutex_lock(&c->lock);
	}
	mutex_unlock(&c->lock);
}

static int unmap_locked(struct vb_client *c, struct vb_bo *bo, const struct vb_ioc_bo_unmap *cmd)
{
	struct vb_hold *hold;

	list_for_each_entry(hold, &bo->mappings, link) {
		if (hold->client != c || hold->offset != cmd->offset ||
		    hold->bytes != cmd->bytes || hold->flags != cmd->flags)
			continue;
		hold_drop_locked(bo, hold);
		return 0;
	}
	return -EINVAL;
}

/**
 * vb_bo_unmap() - VB_IOC_BO_UNMAP: undo one BO_MAP
 * @c: who asks
 * @u: struct vb_ioc_bo_unmap; as given to the BO_MAP
 *
 * Context: takes the client's lock and the object's.
 * Return: 0; -ENOENT; -EINVAL this client has no such mapping.
 */
int vb_bo_unmap(struct vb_client *c, struct vb_ucmd *u)
{
	struct vb_ioc_bo_unmap *cmd = u->cmd;
	struct vb_bo *bo = vb_bo_get(c, cmd->bo_id);
	int rc;

	if (!bo)
		return -ENOENT;
	mutex_lock(&c->lock);
	mutex_lock(&bo->lock);
	rc = unmap_locked(c, bo, cmd);
	mutex_unlock(&bo->lock);
	mutex_unlock(&c->lock);
	if (!rc)
		vb_bo_put(bo);
	vb_bo_put(bo);
	return rc;
}

/* ---- read and write ---- */

/* A stream of bytes of one object, chunk by chunk. */
struct rw {
	struct vb_client *client;
	struct vb_bo *bo;
	struct vb_chunk_range range;
	bool write;
	u64 offset, bytes, done, deadline_ns;
	char __user *memory;
	char *bounce;		/* a page, or NULL */
	u32 window;
};

static bool reads_as_zero(struct rw *rw, u32 chunk)
{
	const struct vb_table_entry *e;
	bool zero;

	mutex_lock(&rw->bo->lock);
	e = vb_entry(rw->bo, chunk);
	zero = !rw->write && rw->bo->traits.kind == VB_BO_ANONYMOUS && !e->valid &&
	       !(e->flags & (VB_ENTRY_LOST | VB_ENTRY_TOUCHED));
	mutex_unlock(&rw->bo->lock);
	return zero;
}

/*
 * Without faults: memory of the caller that is not there may take its time to come (a
 * userfaultfd, another object of ours), and meanwhile nobody could evict the chunk.
 * Return: bytes that were copied.
 */
static u32 copy_in_page(struct rw *rw, struct page *page, u32 at, u32 bytes)
{
	char __user *memory = rw->memory + rw->done;
	unsigned long left = bytes;
	char *p;

	if (!access_ok(memory, bytes))
		return 0;
	p = kmap_local_page(page);
	pagefault_disable();
	if (rw->write)
		left = __copy_from_user_inatomic(p + at, memory, bytes);
	else
		left = __copy_to_user_inatomic(memory, p + at, bytes);
	pagefault_enable();
	kunmap_local(p);
	return bytes - left;
}

/* The chunk is held and its region counted: no lock is needed to copy. */
static void copy_part(struct rw *rw, const struct vb_slot *slot, u64 in_chunk, u64 bytes)
{
	u64 end = rw->done + bytes;
	u32 at, n, copied;

	do {
		at = offset_in_page(in_chunk);
		n = min_t(u64, PAGE_SIZE - at, end - rw->done);
		copied = copy_in_page(rw, vb_slot_page(slot, in_chunk >> PAGE_SHIFT), at, n);
		rw->done += copied;
		in_chunk += copied;
		cond_resched();
	} while (copied == n && rw->done < end);
}

static void copy_bounced(struct rw *rw, const struct vb_slot *slot, u64 in_chunk, u32 bytes)
{
	char *p = kmap_local_page(vb_slot_page(slot, in_chunk >> PAGE_SHIFT));

	if (rw->write)
		memcpy(p + offset_in_page(in_chunk), rw->bounce, bytes);
	else
		memcpy(rw->bounce, p + offset_in_page(in_chunk), bytes);
	kunmap_local(p);
}

static struct vb_slot *held_slot(struct rw *rw, u32 chunk, struct vb_region **region)
{
	struct vb_slot *slot;

	mutex_lock(&rw->bo->lock);
	slot = vb_slot_find(vb_entry(rw->bo, chunk)->loc[VB_TIER_HOST], region);
	if (slot)
		kref_get(&(*region)->kref);
	mutex_unlock(&rw->bo->lock);
	return slot;
}

static void unhold(struct rw *rw, u32 chunk)
{
	mutex_lock(&rw->bo->lock);
	vb_step_unmap(rw->bo, chunk);
	mutex_unlock(&rw->bo->lock);
}

/* Part of a chunk, on its way: what can be copied without a fault, or (@bounced) by our page. */
static int rw_held(struct rw *rw, u32 chunk, u64 in_chunk, u64 bytes, bool bounced)
{
	u32 left = rw->range.end - chunk;
	struct vb_region *region;
	struct vb_slot *slot;
	int rc;

	rc = vb_hold(rw->client, rw->bo, chunk, chunk + min(left, rw->window),
		     rw->write ? VB_HOLD_WRITE : VB_HOLD_READ, rw->deadline_ns);
	if (rc)
		return rc;
	slot = held_slot(rw, chunk, &region);
	if (slot) {
		if (bounced)
			copy_bounced(rw, slot, in_chunk, bytes);
		else
			copy_part(rw, slot, in_chunk, bytes);
		vb_region_put(region);
	}
	unhold(rw, chunk);
	return slot ? 0 : -EIO;	/* lost with the executor */
}

/* One page by way of ours: the caller's memory is waited for without the chunk. */
static int rw_page(struct rw *rw, u32 chunk, u64 in_chunk, u64 bytes)
{
	char __user *memory = rw->memory + rw->done;
	int rc;

	bytes = min_t(u64, bytes, PAGE_SIZE - offset_in_page(in_chunk));
	if (!rw->bounce)
		rw->bounce = (void *)__get_free_page(GFP_KERNEL_ACCOUNT);
	if (!rw->bounce)
		return -ENOMEM;
	if (rw->write && copy_from_user(rw->bounce, memory, bytes))
		return -EFAULT;
	rc = rw_held(rw, chunk, in_chunk, bytes, true);
	if (rc)
		return rc;
	if (!rw->write && copy_to_user(memory, rw->bounce, bytes))
		return -EFAULT;
	rw->done += bytes;
	return 0;
}

/* What is to be written keeps its content, whatever becomes of the read. */
static void fault_in(const struct rw *rw, u64 bytes)
{
	if (rw->write)
		fault_in_readable(rw->memory + rw->done, bytes);
	else
		fault_in_safe_writeable(rw->memory + rw->done, bytes);
}

/*
 * The caller's memory comes first, so that nearly always all of it is there for the copy; when
 * it is to be written, only if that has failed, as looking for it then takes as long as a copy.
 */
static int rw_chunk(struct rw *rw, u32 chunk, u64 in_chunk, u64 bytes)
{
	u64 before = rw->done, copied = 0;
	int rc = 0, i;

	for (i = 0; i < 2 && !rc && copied < bytes; i++) {
		if (rw->write || i)
			fault_in(rw, bytes - copied);
		rc = rw_held(rw, chunk, in_chunk + copied, bytes - copied, false);
		copied = rw->done - before;
	}
	return rc || copied == bytes ? rc : rw_page(rw, chunk, in_chunk + copied, bytes - copied);
}

/* Some bytes of one chunk, at least one. */
static int rw_part(struct rw *rw)
{
	u64 at = rw->bo->head_bytes + rw->offset + rw->done;
	u32 chunk = at >> vb.chunk_shift;
	u64 in_chunk = at & (vb.chunk_bytes - 1);
	u64 bytes = min_t(u64, rw->bytes - rw->done, vb.chunk_bytes - in_chunk);
	struct vb_copy copy = {
		.bo = rw->bo,
		.write = rw->write,
		.bytes = bytes,
		.memory = rw->memory + rw->done,
	};
	int rc;

	if (fatal_signal_pending(current))
		return -EINTR;
	if (reads_as_zero(rw, chunk))
		rc = clear_user(copy.memory, bytes) ? -EFAULT : 0;
	else
		rc = vb_device_copy(&copy, chunk, in_chunk);
	if (rc == -EAGAIN)
		return rw_chunk(rw, chunk, in_chunk, bytes);
	if (!rc)
		rw->done += bytes;
	return rc;
}

/* Chunks to page in at once: a quarter of the share, at most WINDOW_BYTES. */
static u32 window_chunks(const struct vb_client *c)
{
	return max_t(u64, min_t(u64, vb_share_bytes(c) / 4, WINDOW_BYTES) >> vb.chunk_shift, 1);
}

static int rw_import(struct rw *rw)
{
	struct vb_copy copy = {
		.bo = rw->bo,
		.write = rw->write,
		.offset = rw->offset,
		.bytes = rw->bytes,
		.memory = rw->memory,
	};
	int rc;

	if (rw->write && rw->bo->traits.sealed)
		return -EROFS;
	rc = vb_import_copy(&copy);
	rw->done = copy.done;
	return rc;
}

static int rw_all(struct vb_client *c, struct rw *rw)
{
	struct vb_bo *bo = rw->bo;
	int rc;

	rc = range_of(bo, rw->offset, rw->bytes, &rw->range);
	if (rc)
		return rc;
	if (bo->import)
		return rw_import(rw);
	rw->window = window_chunks(vb_bo_holder(bo, c));
	mutex_lock(&bo->lock);
	if (rw->write && bo->traits.sealed)
		rc = -EROFS;
	else
		bo->write_maps += rw->write;
	mutex_unlock(&bo->lock);
	if (rc)
		return rc;
	while (!rc && rw->done < rw->bytes)
		rc = rw_part(rw);
	free_page((unsigned long)rw->bounce);
	write_maps_add(bo, -rw->write);
	return rc;
}

static int bo_rw(struct vb_client *c, struct vb_ioc_bo_rw *cmd, bool write)
{
	struct rw rw = {
		.client = c,
		.write = write,
		.offset = cmd->offset,
		.bytes = cmd->bytes,
		.memory = u64_to_user_ptr(cmd->address),
		.deadline_ns = cmd->deadline_ns,
	};
	int rc;

	cmd->out_done_bytes = 0;
	if (cmd->bytes && !cmd->address)
		return -EFAULT;
	rw.bo = vb_bo_get(c, cmd->bo_id);
	if (!rw.bo)
		return -ENOENT;
	rc = rw_all(c, &rw);
	vb_bo_put(rw.bo);
	cmd->out_done_bytes = rw.done;
	return rc;
}

/**
 * vb_bo_read() - VB_IOC_BO_READ: bytes of an object into the caller's memory
 * @c: who asks
 * @u: struct vb_ioc_bo_rw; @out_done_bytes says how many, also on an error
 *
 * What is on a device alone is copied from there where the CPU can; else it is paged in,
 * some chunks at a time, so that an object may be larger than memory. A chunk that nobody
 * has touched reads as zeros and stays so.
 *
 * Context: takes the object's lock, not while copying; killable, waits for the executor.
 * Return: 0; -ENOENT; -EFAULT; -ERANGE, -EOVERFLOW outside the object; -ENOMEM; -EIO; -EBUSY
 * others take it away again and again; -ENODEV, -ETIME, -EINTR.
 */
int vb_bo_read(struct vb_client *c, struct vb_ucmd *u)
{
	return bo_rw(c, u->cmd, false);
}

/**
 * vb_bo_write() - VB_IOC_BO_WRITE: bytes of the caller's memory into an object
 * @c: who asks
 * @u: struct vb_ioc_bo_rw; @out_done_bytes says how many, also on an error
 *
 * Context: as vb_bo_read().
 * Return: as vb_bo_read(); -EROFS sealed.
 */
int vb_bo_write(struct vb_client *c, struct vb_ucmd *u)
{
	return bo_rw(c, u->cmd, true);
}
