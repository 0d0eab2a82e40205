// SPDX-License-Identifier: GPL-2.0
/*
 * Steps of the residency table.  The core says what a step does to an entry; here
 * the difference between before and after is charged: to the object, to its
 * client, to the arena.  Nothing else in the module writes an entry or gives a slot
 * back, so what is accounted is what the table says.
 */
#include "resid.h"

#include "core/chunk.h"
#include "arena.h"
#include "bo.h"
#include "client.h"
#include "limit.h"
#include "map.h"
#include "move.h"
#include "region.h"
#include "slot.h"
#include "table.h"
#include "usage.h"
#include "user.h"
#include "vb.h"

/* ---- accounting ---- */

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
	if (vb_entry_is_held(e) && e->loc[VB_TIER_HOST] != VB_LOC_NONE)
		vb.arenas[VB_LOC_ARENA(e->loc[VB_TIER_HOST])]->pinned += sign;
}

/* May the copy go at once, without a write and without a loss? */
static bool is_purgeable(const struct vb_bo *bo, const struct vb_table_entry *e, u32 tier)
{
	if (e->busy || (tier == VB_TIER_HOST && vb_entry_is_held(e)))
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

/* For those who look: what vb_step_end() charges to client, arena and device. */
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
	u32 chunk, i;

	lockdep_assert_held(&bo->lock);
	for (chunk = 0; bo->slots && (e = vb_entry_next(bo, &chunk)); chunk++) {
		spin_lock(&vb.slot_lock);
		charge_entry_locked(from, bo, e, -1);
		charge_entry_locked(to, bo, e, 1);
		spin_unlock(&vb.slot_lock);
	}
	hash_for_each(bo->moves, i, m, link) {
		spin_lock(&vb.slot_lock);
		charge_slot_locked(from, m->loc, -1);
		charge_slot_locked(to, m->loc, 1);
		spin_unlock(&vb.slot_lock);
	}
	vb_user_recharge(from->user, to->user, bo->kernel_bytes);
	bo->client = to;
}

/**
 * vb_step_of_entry() - begin a step
 * @s: of this
 * @bo: object
 * @e: entry of it, which has its place
 *
 * Context: the object's lock.
 */
void vb_step_of_entry(struct vb_step *s, struct vb_bo *bo, struct vb_table_entry *e)
{
	lockdep_assert_held(&bo->lock);
	s->bo = bo;
	s->e = e;
	s->before = *e;
	s->freed.count = 0;
}

/**
 * vb_step_begin() - begin a step
 * @s: of this
 * @bo: object
 * @chunk: of this chunk, whose entry may have no place yet
 *
 * Context: the object's lock.
 */
void vb_step_begin(struct vb_step *s, struct vb_bo *bo, u32 chunk)
{
	struct vb_table_entry *e = vb_entry_find(bo, chunk);

	memset(&s->none, 0, sizeof(s->none));
	vb_step_of_entry(s, bo, e ? e : &s->none);
}

/**
 * vb_step_end() - charge the difference that the step made; a refused one made none
 * @s: as it began
 * @rc: how it ended
 *
 * Context: the object's lock; takes slot_lock.
 * Return: @rc.
 */
int vb_step_end(struct vb_step *s, int rc)
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

/**
 * vb_resid_give() - a slot that no entry names is given back
 * @bo: object that is charged for it
 * @loc: where
 *
 * Context: the object's lock; takes slot_lock.
 */
void vb_resid_give(struct vb_bo *bo, u32 loc)
{
	struct vb_chunk_freed freed = { .loc = { loc }, .count = 1 };

	spin_lock(&vb.slot_lock);
	slots_free_locked(bo, &freed);
	spin_unlock(&vb.slot_lock);
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
	struct vb_step s;

	vb_step_begin(&s, bo, chunk);
	return vb_step_end(&s, vb_chunk_map(s.e, &bo->traits, write, &s.freed));
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
	struct vb_step s;

	vb_step_begin(&s, bo, chunk);
	vb_step_end(&s, vb_chunk_unmap(s.e));
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
	struct vb_step s;

	vb_step_begin(&s, bo, chunk);
	return vb_step_end(&s, vb_chunk_pin(s.e));
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
	struct vb_step s;

	vb_step_begin(&s, bo, chunk);
	return vb_step_end(&s, vb_chunk_unpin(s.e));
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
	struct vb_step s;

	vb_step_begin(&s, bo, chunk);
	return vb_step_end(&s, vb_chunk_write(s.e, &bo->traits, tier, &s.freed));
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
	struct vb_step s;
	u32 chunk;

	mutex_lock(&bo->lock);
	for (chunk = 0; bo->slots && (e = vb_entry_next(bo, &chunk)); chunk++) {
		vb_move_rollback(bo, chunk, e);
		vb_step_of_entry(&s, bo, e);
		vb_step_end(&s, vb_chunk_release(e, &s.freed));
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
	struct vb_step s;
	u8 tier;

	for (tier = 0; tier < VB_TIER_COUNT; tier++) {
		if (e->loc[tier] == VB_LOC_NONE || !vb_arena_is_gone(e->loc[tier]))
			continue;
		hide(bo, chunk, e->loc[tier]);
		vb_step_of_entry(&s, bo, e);
		vb_step_end(&s, vb_chunk_lose(e, &bo->traits, tier, VB_LOC_NONE, &s.freed));
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
		vb_move_rollback(bo, chunk, e);
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
