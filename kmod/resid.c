// SPDX-License-Identifier: GPL-2.0
/*
 * Steps of the residency table.  The core says what a step does to an entry; here
 * the difference between before and after is charged: to the object, to its
 * client, to the arena.  Nothing else in the module writes an entry or gives a slot
 * back, so what is accounted is what the table says.
 *
 * What leaves the host tier, or is copied out of it, is first taken out of the page
 * tables of clients, with its pages locked so that no fault is under way, and then
 * its references are counted: one too many is somebody's I/O, and the step is
 * refused with -EBUSY.
 */
#include "resid.h"

#include <linux/hrtimer.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "core/chunk.h"
#include "arena.h"
#include "bo.h"
#include "client.h"
#include "exec.h"
#include "limit.h"
#include "map.h"
#include "quarantine.h"
#include "region.h"
#include "request.h"
#include "slot.h"
#include "store.h"
#include "table.h"
#include "trace.h"
#include "ucmd.h"
#include "usage.h"
#include "user.h"
#include "vb.h"
#include "wait.h"

/**
 * struct vb_running - a move that runs
 * @loc: slot that it fills, which the entry does not name yet
 */
struct vb_running {
	u32 loc;
};

/* ---- accounting ---- */

static bool is_held(const struct vb_table_entry *e)
{
	return e->pins || e->maps;
}

static bool is_device_only(const struct vb_table_entry *e)
{
	return e->valid == 1u << VB_TIER_DEVICE;
}

/* Add (or take, @sign -1) what an entry stands for. */
static void account_locked(struct vb_bo *bo, const struct vb_table_entry *e, int sign)
{
	u32 tier;

	for (tier = 0; tier < VB_TIER_COUNT; tier++)
		if (e->valid & 1u << tier)
			bo->tier_chunks[tier] += sign;
	if (e->flags & VB_ENTRY_DIRTY)
		bo->dirty += sign;
	if (is_device_only(e))
		bo->device_only += sign;
	if (e->flags & VB_ENTRY_LOST)
		bo->lost += sign;
}

static void count_pinned_locked(const struct vb_table_entry *e, int sign)
{
	lockdep_assert_held(&vb.slot_lock);
	if (is_held(e) && e->loc[VB_TIER_HOST] != VB_LOC_NONE)
		vb.arenas[VB_LOC_ARENA(e->loc[VB_TIER_HOST])]->pinned += sign;
}

/* May the copy go at once, without a write and without a loss? */
static bool is_purgeable(const struct vb_bo *bo, const struct vb_table_entry *e, u32 tier)
{
	if (e->busy || (tier == VB_TIER_HOST && is_held(e)))
		return false;
	return e->valid & ~(1u << tier) || bo->traits.kind != VB_BO_ANONYMOUS ||
	       !(e->flags & VB_ENTRY_TOUCHED);
}

static void usage_add(struct vb_usage *u, const struct vb_bo *bo, const struct vb_table_entry *e,
		      int sign)
{
	u32 tier;

	for (tier = 0; tier < VB_TIER_COUNT; tier++) {
		if (!(e->valid & 1u << tier))
			continue;
		u->resident[tier] += sign;
		if (is_purgeable(bo, e, tier))
			u->purgeable[tier] += sign;
	}
}

/* For those who look: what step_end() charges to client, arena and device. */
static void count_locked(struct vb_bo *bo, const struct vb_table_entry *e, int sign)
{
	count_pinned_locked(e, sign);
	usage_add(&bo->client->usage, bo, e, sign);
	usage_add(&vb.usage, bo, e, sign);
}

static void slots_free_locked(struct vb_bo *bo, const struct vb_chunk_freed *freed)
{
	u32 i;

	lockdep_assert_held(&vb.slot_lock);
	for (i = 0; i < freed->count; i++) {
		u32 arena = VB_LOC_ARENA(freed->loc[i]);

		vb_slot_give_locked(freed->loc[i], bo->client->user);
		bo->slots--;
		bo->client->slots[arena]--;
		vb_limit_unslot_locked(bo->client, vb.arenas[arena]->tier);
	}
}

/* ---- who pays ---- */

static void charge_slot_locked(struct vb_client *c, u32 loc, int sign)
{
	u32 arena = VB_LOC_ARENA(loc), tier = vb.arenas[arena]->tier;

	lockdep_assert_held(&vb.slot_lock);
	c->slots[arena] += sign;
	if (sign > 0)
		vb_limit_slot_locked(c, tier, tier);
	else
		vb_limit_unslot_locked(c, tier);
}

static void charge_entry_locked(struct vb_client *c, const struct vb_bo *bo,
				const struct vb_table_entry *e, int sign)
{
	u32 tier;

	usage_add(&c->usage, bo, e, sign);
	for (tier = 0; tier < VB_TIER_COUNT; tier++)
		if (e->loc[tier] != VB_LOC_NONE)
			charge_slot_locked(c, e->loc[tier], sign);
}

/**
 * vb_resid_charge() - another client is charged for what a store has
 * @bo: store
 * @to: client, counted for it; the count of the one before is the caller's
 *
 * Maxima are not looked at: somebody must pay.
 *
 * Context: the store's lock.
 */
void vb_resid_charge(struct vb_bo *bo, struct vb_client *to)
{
	struct vb_client *from = bo->client;
	struct vb_table_entry *e;
	struct vb_running *m;
	unsigned long i;
	u32 chunk;

	lockdep_assert_held(&bo->lock);
	for (chunk = 0; bo->slots && (e = vb_entry_next(bo, &chunk)); chunk++) {
		spin_lock(&vb.slot_lock);
		charge_entry_locked(from, bo, e, -1);
		charge_entry_locked(to, bo, e, 1);
		spin_unlock(&vb.slot_lock);
	}
	xa_for_each(&bo->moves, i, m) {
		spin_lock(&vb.slot_lock);
		charge_slot_locked(from, m->loc, -1);
		charge_slot_locked(to, m->loc, 1);
		spin_unlock(&vb.slot_lock);
	}
	vb_user_recharge(from->user, to->user, bo->kernel_bytes);
	bo->client = to;
}

/**
 * struct step - one step of one chunk
 * @bo: object, whose lock is held
 * @e: entry, which the step changes
 * @before: as it was
 * @none: stands for an entry that has no place yet: all steps but BEGIN refuse it, or
 *	leave it as it is
 * @freed: slots that the step gave back
 */
struct step {
	struct vb_bo *bo;
	struct vb_table_entry *e;
	struct vb_table_entry before, none;
	struct vb_chunk_freed freed;
};

static void step_of_entry(struct step *s, struct vb_bo *bo, struct vb_table_entry *e)
{
	lockdep_assert_held(&bo->lock);
	s->bo = bo;
	s->e = e;
	s->before = *e;
	s->freed.count = 0;
}

static void step_begin(struct step *s, struct vb_bo *bo, u32 chunk)
{
	struct vb_table_entry *e = vb_entry_find(bo, chunk);

	memset(&s->none, 0, sizeof(s->none));
	step_of_entry(s, bo, e ? e : &s->none);
}

/* Charge the difference that the step made; a refused one made none. */
static int step_end(struct step *s, int rc)
{
	if (rc)
		return rc;
	account_locked(s->bo, &s->before, -1);
	account_locked(s->bo, s->e, 1);
	spin_lock(&vb.slot_lock);
	count_locked(s->bo, &s->before, -1);
	count_locked(s->bo, s->e, 1);
	slots_free_locked(s->bo, &s->freed);
	spin_unlock(&vb.slot_lock);
	return 0;
}

/* ---- steps of clients ---- */

/**
 * vb_step_map() - vb_chunk_map(): a client has the host copy in use
 * @bo: object
 * @chunk: within it
 * @write: it may be written
 *
 * Context: the object's lock; takes slot_lock.
 * Return: as vb_chunk_map().
 */
int vb_step_map(struct vb_bo *bo, u32 chunk, bool write)
{
	struct step s;

	step_begin(&s, bo, chunk);
	return step_end(&s, vb_chunk_map(s.e, &bo->traits, write, &s.freed));
}

/**
 * vb_step_unmap() - undo one vb_step_map()
 * @bo: object
 * @chunk: within it
 *
 * Nothing happens where there is none to undo: the chunk may have been lost with its slot.
 *
 * Context: the object's lock; takes slot_lock.
 */
void vb_step_unmap(struct vb_bo *bo, u32 chunk)
{
	struct step s;

	step_begin(&s, bo, chunk);
	step_end(&s, vb_chunk_unmap(s.e));
}

/**
 * vb_step_pin() - vb_chunk_pin(): keep the host copy where it is
 * @bo: object
 * @chunk: within it
 *
 * Context: the object's lock; takes slot_lock.
 * Return: as vb_chunk_pin().
 */
int vb_step_pin(struct vb_bo *bo, u32 chunk)
{
	struct step s;

	step_begin(&s, bo, chunk);
	return step_end(&s, vb_chunk_pin(s.e));
}

/**
 * vb_step_unpin() - undo one vb_step_pin()
 * @bo: object
 * @chunk: within it
 *
 * Context: the object's lock; takes slot_lock.
 * Return: as vb_chunk_unpin().
 */
int vb_step_unpin(struct vb_bo *bo, u32 chunk)
{
	struct step s;

	step_begin(&s, bo, chunk);
	return step_end(&s, vb_chunk_unpin(s.e));
}

/**
 * vb_step_write() - vb_chunk_write(): the CPU of a client is about to write a copy
 * @bo: object
 * @chunk: within it
 * @tier: whose copy: of host or device memory; the others become stale, their slots return
 *
 * Context: the object's lock; takes slot_lock.
 * Return: as vb_chunk_write().
 */
int vb_step_write(struct vb_bo *bo, u32 chunk, u8 tier)
{
	struct step s;

	step_begin(&s, bo, chunk);
	return step_end(&s, vb_chunk_write(s.e, &bo->traits, tier, &s.freed));
}

/* ---- page tables of clients ---- */

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

/* ---- moves that run ---- */

static void running_end(struct vb_bo *bo, u32 chunk, struct vb_running *m)
{
	xa_erase(&bo->moves, chunk);
	bo->move_count--;
	kfree(m);
	wake_up_all(&bo->moved);
}

/**
 * vb_resid_wait() - wait until no move of a chunk runs
 * @bo: object, of which the caller is a user
 * @chunk: chunk
 * @deadline_ns: CLOCK_MONOTONIC
 * @killable: only a deadly signal ends the wait
 *
 * Return: 0; -ETIME; -EINTR; -ENODEV the executor has gone.
 */
int vb_resid_wait(struct vb_bo *bo, u32 chunk, u64 deadline_ns, bool killable)
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

/**
 * vb_resid_is_here() - does host memory have a chunk, to be mapped?
 * @bo: object
 * @chunk: within it
 *
 * Context: any; without the object's lock it may be another answer by now.
 * Return: it has.
 */
bool vb_resid_is_here(struct vb_bo *bo, u32 chunk)
{
	const struct vb_table_entry *e = vb_entry(bo, chunk);

	return READ_ONCE(e->valid) & 1u << VB_TIER_HOST && !READ_ONCE(e->busy);
}

/* ---- the object goes, or the executor ---- */

/* A move that its executor did not end. */
static void trace_lost(struct vb_bo *bo, u32 chunk, u8 busy, u32 loc)
{
	struct vb_move mv = { .chunk = chunk, .from = (busy - 1) >> 3, .to = (busy - 1) & 7 };

	trace_vb_move_abort(bo, &mv, loc, -ENODEV);
}

/* Whoever moved it has died. */
static void rollback(struct vb_bo *bo, u32 chunk, struct vb_table_entry *e)
{
	struct vb_running *m = xa_load(&bo->moves, chunk);
	struct step s;

	if (!m)
		return;
	step_of_entry(&s, bo, e);
	step_end(&s, vb_chunk_rollback(e, m->loc, &s.freed));
	trace_lost(bo, chunk, s.before.busy, m->loc);
	running_end(bo, chunk, m);
}

/**
 * vb_resid_release() - the object goes: every slot of it is given back
 * @bo: object, which nobody uses and no executor moves any more
 *
 * Moves of an executor that has died are undone first.
 *
 * Context: takes the object's lock, slot_lock; may sleep.
 */
void vb_resid_release(struct vb_bo *bo)
{
	struct vb_table_entry *e;
	struct step s;
	u32 chunk;

	mutex_lock(&bo->lock);
	for (chunk = 0; bo->slots && (e = vb_entry_next(bo, &chunk)); chunk++) {
		rollback(bo, chunk, e);
		step_of_entry(&s, bo, e);
		step_end(&s, vb_chunk_release(e, &s.freed));
		cond_resched();
	}
	mutex_unlock(&bo->lock);
}

/* Clients have the memory mapped no more, and no fault of theirs that saw it is under way. */
static void hide(struct vb_bo *bo, u32 chunk, u32 loc)
{
	struct vb_region *region;
	struct vb_slot *slot = vb_slot_find(loc, &region);

	if (!slot)
		return;
	vb_slot_lock(region, slot);
	vb_pages_zap(bo, (u64)chunk << vb.chunk_shift, vb.chunk_bytes);
	vb_slot_unlock(region, slot);
}

static void lose_gone(struct vb_bo *bo, u32 chunk, struct vb_table_entry *e)
{
	struct step s;
	u8 tier;

	for (tier = 0; tier < VB_TIER_COUNT; tier++) {
		if (e->loc[tier] == VB_LOC_NONE || !vb_arena_is_gone(e->loc[tier]))
			continue;
		hide(bo, chunk, e->loc[tier]);
		step_of_entry(&s, bo, e);
		step_end(&s, vb_chunk_lose(e, &bo->traits, tier, VB_LOC_NONE, &s.freed));
	}
}

/**
 * vb_resid_orphan() - the executor has gone: what it was moving, and what went with it
 * @bo: object
 *
 * Moves that run are undone, copies in arenas that are gone are lost, and clients that had
 * those mapped have not any more. Who waits for a move is woken.
 *
 * Context: exec_lock; takes the object's lock, folio locks, slot_lock; may sleep.
 */
void vb_resid_orphan(struct vb_bo *bo)
{
	struct vb_table_entry *e;
	u32 chunk;

	mutex_lock(&bo->lock);
	for (chunk = 0; bo->slots && (e = vb_entry_next(bo, &chunk)); chunk++) {
		rollback(bo, chunk, e);
		lose_gone(bo, chunk, e);
		cond_resched();
	}
	mutex_unlock(&bo->lock);
	wake_up_all(&bo->moved);
}

/**
 * vb_resid_hide() - clients have no host copy mapped any more; they come back by a fault
 * @bo: object
 *
 * Context: exec_lock; takes the object's lock, folio locks; may sleep.
 */
void vb_resid_hide(struct vb_bo *bo)
{
	struct vb_table_entry *e;
	u32 chunk;

	mutex_lock(&bo->lock);
	for (chunk = 0; bo->slots && (e = vb_entry_next(bo, &chunk)); chunk++) {
		hide(bo, chunk, e->loc[VB_TIER_HOST]);
		cond_resched();
	}
	mutex_unlock(&bo->lock);
}

/* ---- VB_IOC_MOVE ---- */

/* A client at its maximum gives something up before it gets more. */
static int slot_take_locked(struct vb_bo *bo, const struct vb_move *mv, u32 *out)
{
	struct vb_region *region;
	struct vb_slot *slot;
	int rc;

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
static int slot_take(struct vb_bo *bo, const struct vb_move *mv, u32 *out)
{
	u32 hope, most = 0, seen = 0;
	int rc;

	do {
		cond_resched();
		spin_lock(&vb.slot_lock);
		rc = slot_take_locked(bo, mv, out);
		hope = hope_locked(bo, mv, rc);
		spin_unlock(&vb.slot_lock);
		most = max(most, hope);
		seen += VB_QUARANTINE_FEW;
	} while (hope && seen < most && !fatal_signal_pending(current));
	return rc;
}

static void slot_give(struct vb_bo *bo, u32 loc)
{
	struct vb_chunk_freed freed = { .loc = { loc }, .count = 1 };

	spin_lock(&vb.slot_lock);
	slots_free_locked(bo, &freed);
	spin_unlock(&vb.slot_lock);
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

static int move_begin(struct vb_bo *bo, struct vb_move *mv)
{
	struct vb_table_entry *e;
	struct vb_running *m;
	struct step s;
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
	rc = xa_reserve(&bo->moves, mv->chunk, GFP_KERNEL_ACCOUNT);
	if (rc)
		goto err_free;
	rc = slot_take(bo, mv, &m->loc);
	if (rc == -EDQUOT && vb_store_charge_other_locked(bo, mv->to))
		rc = slot_take(bo, mv, &m->loc);
	if (rc)
		goto err_unreserve;
	rc = move_quiesce(bo, mv, e);
	if (rc)
		goto err_give;
	step_of_entry(&s, bo, e);
	rc = step_end(&s, vb_chunk_begin(e, &bo->traits, mv->from, mv->to, m->loc));
	if (rc)
		goto err_give;
	mv->slot = VB_LOC_SLOT(m->loc);
	bo->move_count++;
	vb_bo_show(bo);
	xa_store(&bo->moves, mv->chunk, m, GFP_KERNEL_ACCOUNT);
	trace_vb_move_begin(bo, mv, m->loc, 0);
	return 0;

err_give:
	slot_give(bo, m->loc);
err_unreserve:
	/* A move that runs already has its entry there. */
	xa_release(&bo->moves, mv->chunk);
err_free:
	kfree(m);
	trace_vb_move_begin(bo, mv, VB_LOC_NONE, rc);
	return rc;
}

static int move_finish(struct vb_bo *bo, const struct vb_move *mv)
{
	struct vb_running *m = xa_load(&bo->moves, mv->chunk);
	const u32 *crc = mv->flags & VB_MOVE_F_CRC ? &mv->crc : NULL;
	struct step s;
	int rc;
	u32 loc;

	if (!m)
		return -EINVAL;
	loc = m->loc;
	step_begin(&s, bo, mv->chunk);
	if (mv->op == VB_MOVE_COMMIT) {
		rc = vb_chunk_commit(s.e, &bo->traits, mv->from, mv->to, m->loc, crc, &s.freed);
		trace_vb_move_commit(bo, mv, m->loc, rc);
	} else {
		rc = vb_chunk_abort(s.e, &bo->traits, mv->from, mv->to, m->loc, &s.freed);
		trace_vb_move_abort(bo, mv, m->loc, rc);
	}
	if (step_end(&s, rc))
		return rc;
	running_end(bo, mv->chunk, m);
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
	struct step s;
	int rc;

	step_begin(&s, bo, mv->chunk);
	if (has(s.e, VB_TIER_HOST) && !s.e->busy && !is_held(s.e) && ends_host(mv)) {
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
	return step_end(&s, rc);
}

static int move_record(struct vb_bo *bo, const struct vb_move *mv)
{
	struct step s;

	step_begin(&s, bo, mv->chunk);
	return step_end(&s, vb_chunk_record(s.e, &bo->traits, mv->to, mv->crc));
}

static int move_step(struct vb_bo *bo, struct vb_move *mv)
{
	switch (mv->op) {
	case VB_MOVE_BEGIN:
		return move_begin(bo, mv);
	case VB_MOVE_COMMIT:
	case VB_MOVE_ABORT:
		return move_finish(bo, mv);
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
