// SPDX-License-Identifier: GPL-2.0
/*
 * Moves of chunks between tiers: those of the executor (VB_IOC_MOVE), and of the device itself.
 *
 * What leaves the host tier, or is copied out of it, is first taken out of the page
 * tables of clients, with its pages locked so that no fault is under way, and then
 * its references are counted: one too many is somebody's I/O, and the step is
 * refused with -EBUSY.
 */
#include "move.h"

#include <linux/hrtimer.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "core/chunk.h"
#include "arena.h"
#include "bo.h"
#include "client.h"
#include "exec.h"
#include "fill.h"
#include "limit.h"
#include "map.h"
#include "quarantine.h"
#include "region.h"
#include "request.h"
#include "resid.h"
#include "slot.h"
#include "store.h"
#include "table.h"
#include "trace.h"
#include "ucmd.h"
#include "user.h"
#include "vb.h"
#include "wait.h"

/* ---- moves that run ---- */

static struct vb_running *running_find(const struct vb_bo *bo, u32 chunk)
{
	struct vb_running *m;

	lockdep_assert_held(&bo->lock);
	hash_for_each_possible(bo->moves, m, link, chunk)
		if (m->chunk == chunk)
			return m;
	return NULL;
}

static void running_begin(struct vb_bo *bo, u32 chunk, struct vb_running *m)
{
	m->chunk = chunk;
	hash_add(bo->moves, &m->link, chunk);
	bo->move_count++;
}

static void running_end(struct vb_bo *bo, struct vb_running *m)
{
	hash_del(&m->link);
	bo->move_count--;
	kfree(m);
	wake_up_all(&bo->moved);
}

/**
 * vb_move_wait() - wait until no move of a chunk runs
 * @bo: object, of which the caller is a user
 * @chunk: chunk
 * @deadline_ns: CLOCK_MONOTONIC
 * @killable: only a deadly signal ends the wait
 *
 * Return: 0; -ETIME; -EINTR; -ENODEV the executor has gone.
 */
int vb_move_wait(struct vb_bo *bo, u32 chunk, u64 deadline_ns, bool killable)
{
	const struct vb_table_entry *e = vb_entry(bo, chunk);
	int rc;

	if (killable)
		rc = vb_wait_killable_until(bo->moved, !READ_ONCE(e->busy) || !vb_takes_work(),
					    deadline_ns);
	else
		rc = vb_wait_until(bo->moved, !READ_ONCE(e->busy) || !vb_takes_work(),
				   deadline_ns);
	return !rc && !vb_takes_work() ? -ENODEV : rc;
}

/* A move that its executor did not end. */
static void trace_lost(struct vb_bo *bo, u32 chunk, u8 busy, u32 loc)
{
	struct vb_move mv = { .chunk = chunk, .from = (busy - 1) >> 3, .to = (busy - 1) & 7 };

	trace_vb_move_abort(bo, &mv, loc, -ENODEV);
}

/**
 * vb_move_rollback() - a move that runs, if one does, is undone: whoever moved it has died
 * @bo: object
 * @chunk: within it
 * @e: its entry
 *
 * Context: the object's lock; takes slot_lock.
 */
void vb_move_rollback(struct vb_bo *bo, u32 chunk, struct vb_table_entry *e)
{
	struct vb_running *m = running_find(bo, chunk);
	struct vb_step s;

	if (!m)
		return;
	vb_step_of_entry(&s, bo, e);
	vb_step_end(&s, vb_chunk_rollback(e, m->loc, &s.freed));
	trace_lost(bo, chunk, s.before.busy, m->loc);
	running_end(bo, m);
}

/* ---- steps ---- */

/*
 * Take the copy in a tier out of reach of clients.  -EBUSY: somebody does I/O with it.
 * They come back by a fault, which waits for the lock of the object.  Of memory that is
 * not known to us clients have nothing.
 */
static int quiesce(struct vb_bo *bo, u32 chunk, u8 tier)
{
	struct vb_region *region;
	struct vb_slot *slot;
	int foreign;

	lockdep_assert_held(&bo->lock);
	slot = vb_slot_find(vb_entry(bo, chunk)->loc[tier], &region);
	if (!slot)
		return 0;
	vb_slot_lock(region, slot);
	vb_pages_zap(bo, (u64)chunk << vb.chunk_shift, vb.chunk_bytes);
	foreign = vb_slot_foreign(region, slot);
	vb_slot_unlock(region, slot);
	if (foreign > slot->baseline)
		return -EBUSY;
	/* Buffers were unregistered: what comes later is somebody else's. */
	slot->baseline = foreign;
	return 0;
}

/* A client at its maximum gives something up before it gets more. */
static int slot_take_locked(struct vb_bo *bo, const struct vb_move *mv, const struct vb_fill *by,
			    u32 *out)
{
	struct vb_region *region;
	struct vb_slot *slot;
	int rc;

	if (by && vb_fill_is_held_locked())
		return -EAGAIN;
	rc = vb_limit_slot_locked(bo->client, mv->to, mv->from);
	if (rc == -EDQUOT && !list_empty(&bo->client->user->quarantine)) {
		/* Some of these may be free by now. */
		vb_quarantine_sweep_locked(bo->client->user);
		rc = vb_limit_slot_locked(bo->client, mv->to, mv->from);
	}
	if (rc)
		return rc;
	rc = vb_slot_take_locked(mv->to, mv->arena, mv->slot, out);
	if (rc) {
		vb_limit_unslot_locked(bo->client, mv->to);
		return rc;
	}
	bo->slots++;
	bo->client->slots[VB_LOC_ARENA(*out)]++;
	slot = vb_slot_find(*out, &region);
	if (slot) {
		slot->baseline = vb_slot_foreign(region, slot);
		slot->object = bo->id;
		slot->chunk = mv->chunk;
	}
	return 0;
}

/* How many in quarantine could help who was refused so?  NVMe is never lent to anybody. */
static u32 hope_locked(const struct vb_bo *bo, const struct vb_move *mv, int rc)
{
	if (rc == -EDQUOT)
		return bo->client->user->quarantined;
	return rc == -ENOSPC && mv->to != VB_TIER_NVME ? vb.quarantined : 0;
}

/* Each try looks at the next few in quarantine: nobody is refused before all were looked at. */
static int slot_take(struct vb_bo *bo, const struct vb_move *mv, const struct vb_fill *by,
		     u32 *out)
{
	u32 hope, most = 0, seen = 0;
	int rc;

	do {
		cond_resched();
		spin_lock(&vb.slot_lock);
		rc = slot_take_locked(bo, mv, by, out);
		hope = hope_locked(bo, mv, rc);
		spin_unlock(&vb.slot_lock);
		most = max(most, hope);
		seen += VB_QUARANTINE_FEW;
	} while (hope && seen < most && !fatal_signal_pending(current));
	return rc;
}

static bool has(const struct vb_table_entry *e, u8 tier)
{
	return e->valid & 1u << tier;
}

/*
 * A copy that is moved is out of reach; so is one on a device when another comes to
 * host memory, which faults prefer from then on.
 */
static int move_quiesce(struct vb_bo *bo, const struct vb_move *mv, const struct vb_table_entry *e)
{
	int rc = 0;

	if (e->busy)
		return 0;
	if (mv->from == VB_TIER_HOST && has(e, VB_TIER_HOST))
		rc = quiesce(bo, mv->chunk, VB_TIER_HOST);
	if (!rc && (mv->from == VB_TIER_DEVICE || mv->to == VB_TIER_HOST) && has(e, VB_TIER_DEVICE))
		rc = quiesce(bo, mv->chunk, VB_TIER_DEVICE);
	return rc;
}

static int move_begin(struct vb_bo *bo, struct vb_move *mv, const struct vb_fill *by)
{
	struct vb_table_entry *e;
	struct vb_running *m;
	struct vb_step s;
	int rc;

	if (bo->gone)
		return -ESTALE;
	e = vb_entry_make(bo, mv->chunk);
	if (e == ERR_PTR(-EDQUOT) && vb_store_charge_other_locked(bo, mv->to))
		e = vb_entry_make(bo, mv->chunk);
	if (IS_ERR(e))
		return PTR_ERR(e);
	m = kmalloc(sizeof(*m), GFP_KERNEL_ACCOUNT);
	if (!m)
		return -ENOMEM;
	rc = slot_take(bo, mv, by, &m->loc);
	if (rc == -EDQUOT && vb_store_charge_other_locked(bo, mv->to))
		rc = slot_take(bo, mv, by, &m->loc);
	if (rc)
		goto err_free;
	rc = move_quiesce(bo, mv, e);
	if (rc)
		goto err_give;
	vb_step_of_entry(&s, bo, e);
	rc = vb_step_end(&s, vb_chunk_begin(e, &bo->traits, mv->from, mv->to, m->loc));
	if (rc)
		goto err_give;
	mv->slot = VB_LOC_SLOT(m->loc);
	m->fill = by;
	running_begin(bo, mv->chunk, m);
	vb_bo_show(bo);
	trace_vb_move_begin(bo, mv, m->loc, 0);
	return 0;

err_give:
	vb_resid_give(bo, m->loc);
err_free:
	kfree(m);
	trace_vb_move_begin(bo, mv, VB_LOC_NONE, rc);
	return rc;
}

static int move_finish(struct vb_bo *bo, const struct vb_move *mv, const struct vb_fill *by)
{
	struct vb_running *m = running_find(bo, mv->chunk);
	const u32 *crc = mv->flags & VB_MOVE_F_CRC ? &mv->crc : NULL;
	struct vb_step s;
	int rc;
	u32 loc;

	if (!m || m->fill != by)
		return -EINVAL;
	loc = m->loc;
	vb_step_begin(&s, bo, mv->chunk);
	if (mv->op == VB_MOVE_COMMIT) {
		rc = vb_chunk_commit(s.e, &bo->traits, mv->from, mv->to, m->loc, crc, &s.freed);
		trace_vb_move_commit(bo, mv, m->loc, rc);
	} else {
		rc = vb_chunk_abort(s.e, &bo->traits, mv->from, mv->to, m->loc, &s.freed);
		trace_vb_move_abort(bo, mv, m->loc, rc);
	}
	if (vb_step_end(&s, rc))
		return rc;
	running_end(bo, m);
	if (mv->op == VB_MOVE_COMMIT && mv->to == VB_TIER_HOST)
		vb_request_arrived(bo, mv->chunk);
	if (mv->flags & VB_MOVE_F_BAD)
		vb_slot_retire(loc);
	return 0;
}

/* Does the step take the host copy away? */
static bool ends_host(const struct vb_move *mv)
{
	return mv->op == VB_MOVE_DROP ? mv->from == VB_TIER_HOST : mv->to != VB_TIER_HOST;
}

static int move_drop(struct vb_bo *bo, const struct vb_move *mv)
{
	struct vb_step s;
	int rc;

	vb_step_begin(&s, bo, mv->chunk);
	if (has(s.e, VB_TIER_HOST) && !s.e->busy && !vb_entry_is_held(s.e) && ends_host(mv)) {
		rc = quiesce(bo, mv->chunk, VB_TIER_HOST);
		if (rc)
			return rc;
	}
	if (mv->op == VB_MOVE_DROP && mv->from == VB_TIER_DEVICE && has(s.e, VB_TIER_DEVICE)) {
		rc = quiesce(bo, mv->chunk, VB_TIER_DEVICE);
		if (rc)
			return rc;
	}
	if (mv->op == VB_MOVE_DROP)
		rc = vb_chunk_drop(s.e, &bo->traits, mv->from, &s.freed);
	else
		rc = vb_chunk_write(s.e, &bo->traits, mv->to, &s.freed);
	return vb_step_end(&s, rc);
}

static int move_record(struct vb_bo *bo, const struct vb_move *mv)
{
	struct vb_step s;

	vb_step_begin(&s, bo, mv->chunk);
	return vb_step_end(&s, vb_chunk_record(s.e, &bo->traits, mv->to, mv->crc));
}

static int move_step(struct vb_bo *bo, struct vb_move *mv)
{
	switch (mv->op) {
	case VB_MOVE_BEGIN:
		return move_begin(bo, mv, NULL);
	case VB_MOVE_COMMIT:
	case VB_MOVE_ABORT:
		return move_finish(bo, mv, NULL);
	case VB_MOVE_DROP:
	case VB_MOVE_WRITE:
		return move_drop(bo, mv);
	case VB_MOVE_RECORD:
		return move_record(bo, mv);
	default:
		return -EINVAL;
	}
}

static int move_one(struct vb_move *mv)
{
	struct vb_bo *bo;
	int rc = -ERANGE;

	if (!vb_move_is_valid(mv))
		return -EINVAL;
	bo = vb_bo_look(mv->object);
	if (!bo)
		return -ESTALE;
	mutex_lock(&bo->lock);
	if (mv->chunk < bo->chunks)
		rc = move_step(bo, mv);
	if (!rc)
		vb_entry_find(bo, mv->chunk)->last_use = READ_ONCE(vb.clock);
	mutex_unlock(&bo->lock);
	vb_bo_unlook(bo);
	return rc;
}

/* ---- moves of our own ---- */

/* In its file alone, or written out and nowhere else. */
static bool may_fill(const struct vb_bo *bo, const struct vb_table_entry *e)
{
	if (e->busy || e->flags & VB_ENTRY_LOST)
		return false;
	return bo->traits.kind == VB_BO_ANONYMOUS ? e->valid == 1u << VB_TIER_NVME : !e->valid;
}

/**
 * vb_move_fill_look() - where the device itself could bring a chunk from
 * @bo: object, anonymous or of a file
 * @chunk: within it
 * @m: @from, @at and @has_crc are filled in
 *
 * Context: the object's lock.
 * Return: 0; -EBUSY it is in memory, or moves, or never was anywhere.
 */
int vb_move_fill_look(struct vb_bo *bo, u32 chunk, struct vb_fill_move *m)
{
	const struct vb_table_entry *e = vb_entry(bo, chunk);

	lockdep_assert_held(&bo->lock);
	if (!may_fill(bo, e))
		return -EBUSY;
	m->from = e->valid ? VB_TIER_NVME : VB_TIER_SOURCE;
	m->at = e->loc[VB_TIER_NVME];
	m->has_crc = e->flags & VB_ENTRY_CRC;
	return 0;
}

/**
 * vb_move_fill_begin() - it begins to
 * @bo: object
 * @chunk: within it
 * @by: whose move it is: nobody else ends it but the death of the executor
 * @m: as vb_move_fill_look() said under this lock, and @node; @loc is filled in
 *
 * Context: the object's lock; takes slot_lock.
 * Return: 0, for vb_move_fill_end(); -ENOSPC, -EDQUOT no slot, -EAGAIN not now; -ENOMEM.
 */
int vb_move_fill_begin(struct vb_bo *bo, u32 chunk, const struct vb_fill *by,
		       struct vb_fill_move *m)
{
	struct vb_move mv = {
		.object = bo->id, .chunk = chunk, .op = VB_MOVE_BEGIN, .from = m->from,
		.to = VB_TIER_HOST, .slot = VB_SLOT_ANY,
	};
	int rc;

	lockdep_assert_held(&bo->lock);
	rc = vb_arena_with_room(m->node, &mv.arena);
	if (!rc)
		rc = move_begin(bo, &mv, by);
	if (!rc)
		m->loc = VB_LOC(mv.arena, mv.slot);
	return rc;
}

/**
 * vb_move_fill_end() - the read has ended
 * @bo: object
 * @chunk: as it began
 * @by: as it began
 * @m: as it was filled in, and @crc of what came where there is one to compare it with
 * @status: 0 the chunk is in its slot; else it stays away
 *
 * Context: the object's lock; takes slot_lock.
 * Return: 0 the chunk is in host memory; @status; -ESTALE, -EIO it is not what it was; -EINVAL
 * the executor died meanwhile, and the slot was given back.
 */
int vb_move_fill_end(struct vb_bo *bo, u32 chunk, const struct vb_fill *by,
		     const struct vb_fill_move *m, int status)
{
	struct vb_move mv = {
		.object = bo->id, .chunk = chunk, .op = VB_MOVE_COMMIT, .from = m->from,
		.to = VB_TIER_HOST, .flags = m->has_crc ? VB_MOVE_F_CRC : 0, .crc = m->crc,
	};
	int rc = status;

	lockdep_assert_held(&bo->lock);
	if (!rc)
		rc = move_finish(bo, &mv, by);
	if (rc) {
		mv.op = VB_MOVE_ABORT;
		move_finish(bo, &mv, by);
		return rc;
	}
	vb_entry_find(bo, chunk)->last_use = READ_ONCE(vb.clock);
	return 0;
}

/**
 * vb_move_is_fill() - does the device itself bring a chunk?
 * @bo: object
 * @chunk: within it
 *
 * Context: the object's lock.
 * Return: it does.
 */
bool vb_move_is_fill(struct vb_bo *bo, u32 chunk)
{
	const struct vb_running *m = running_find(bo, chunk);

	return m && m->fill;
}

/* ---- VB_IOC_MOVE ---- */

/**
 * vb_move() - VB_IOC_MOVE: steps of chunks, one after the other
 * @x: executor
 * @u: struct vb_ioc_move; each step says how it ended, @out_failed how many were refused
 *
 * A successor that has not recovered yet gives up copies which it does not believe, before
 * clients see them again, and takes no other step.
 *
 * Context: takes the locks of objects, folio locks, slot_lock, none while copying; may sleep.
 * Return: 0, also when steps were refused; -ESTALE of another executor's time; -EPERM the device
 * is not LIVE; -EFAULT.
 */
int vb_move(struct vb_exec *x, struct vb_ucmd *u)
{
	struct vb_ioc_move *cmd = u->cmd;
	struct vb_move __user *to = u64_to_user_ptr(cmd->address);
	struct vb_move mv;
	u32 i;

	cmd->out_failed = 0;
	if (cmd->generation != READ_ONCE(vb.generation))
		return -ESTALE;
	if (!vb_is_live() && !vb_is_recovering())
		return -EPERM;
	for (i = 0; i < cmd->count; i++) {
		if (copy_from_user(&mv, &to[i], sizeof(mv)))
			return -EFAULT;
		if (mv.op != VB_MOVE_DROP && !vb_is_live())
			return -EPERM;
		mv.out_status = move_one(&mv);
		cmd->out_failed += mv.out_status != 0;
		if (copy_to_user(&to[i], &mv, sizeof(mv)))
			return -EFAULT;
		cond_resched();
	}
	return 0;
}
