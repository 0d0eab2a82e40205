// SPDX-License-Identifier: GPL-2.0
/* Arenas that outlive their executor, and are adopted by its successor. */
#include "adopt.h"

#include <linux/sched/signal.h>

#include "core/slots.h"
#include "arena.h"
#include "exec.h"
#include "quarantine.h"
#include "recover.h"
#include "region.h"
#include "resid.h"
#include "slot.h"
#include "ucmd.h"
#include "vb.h"

static void slot_orphan(struct vb_arena *a, struct vb_region *region, struct vb_slot *slot)
{
	u32 i = VB_LOC_SLOT(slot->loc);

	spin_lock(&vb.slot_lock);
	slot->baseline = 0;
	if (vb_slots_is_free(&a->slots, i) && vb_slot_foreign(region, slot) &&
	    !vb_slots_take_this(&a->slots, i))
		vb_quarantine_enter_locked(slot, NULL);
	spin_unlock(&vb.slot_lock);
}

/**
 * vb_arenas_orphan() - the executor has left, its memory stays
 *
 * Nobody has registered it any more: every reference is foreign, also to a slot that
 * was free.
 *
 * Context: exec_lock; before the device is QUIESCED, so that no slot returns by the
 * old count.
 */
void vb_arenas_orphan(void)
{
	u32 i;

	lockdep_assert_held(&vb.exec_lock);
	for (i = 0; i < vb.arena_count; i++) {
		vb.arenas[i]->orphan = !vb.arenas[i]->gone;
		vb_region_slots_each(vb.arenas[i], slot_orphan);
	}
}

/* ---- successors ---- */

static u32 slots_elsewhere(struct vb_arena *a)
{
	struct vb_region *region;
	unsigned long index = 0;
	u32 n = 0;

	mt_for_each(&a->regions, region, index, ULONG_MAX)
		n += vb_region_slots_elsewhere(region, a->numa_node);
	return n;
}

/**
 * vb_arena_query() - VB_IOC_ARENA_QUERY: what an arena is, for a successor
 * @x: who asks
 * @u: struct vb_ioc_arena_query
 *
 * Context: takes exec_lock; may sleep.
 * Return: 0; -ENOENT there is none.
 */
int vb_arena_query(struct vb_exec *x, struct vb_ucmd *u)
{
	struct vb_ioc_arena_query *cmd = u->cmd;
	struct vb_arena *a;

	mutex_lock(&vb.exec_lock);
	a = vb_arena_of(cmd->arena);
	if (a) {
		cmd->out_slots_elsewhere = a->tier == VB_TIER_HOST ? slots_elsewhere(a) : 0;
		cmd->out_tier = a->tier;
		cmd->out_numa_node = a->numa_node;
		cmd->out_slots = a->tier == VB_TIER_HOST ? a->slots.present : a->slots.count;
		cmd->out_flags = (a->orphan ? VB_ARENA_ORPHAN : 0) | (a->gone ? VB_ARENA_GONE : 0);
		memcpy(cmd->out_identity, a->identity, sizeof(a->identity));
	}
	mutex_unlock(&vb.exec_lock);
	return a ? 0 : -ENOENT;
}

static void slot_describe(struct vb_ioc_slot_query *cmd, const struct vb_slot *slot)
{
	bool free;

	lockdep_assert_held(&vb.exec_lock);
	spin_lock(&vb.slot_lock);
	free = vb_slots_is_free(&vb.arenas[cmd->arena]->slots, cmd->slot);
	cmd->out_object = free ? 0 : slot->object;
	cmd->out_chunk = free ? 0 : slot->chunk;
	spin_unlock(&vb.slot_lock);
}

/**
 * vb_slot_query() - VB_IOC_SLOT_QUERY: whose content a slot of an arena has
 * @x: who asks
 * @u: struct vb_ioc_slot_query
 *
 * Only slots whose pages we know: what lies in NVMe, a successor's own record must tell.
 *
 * Context: takes exec_lock, slot_lock.
 * Return: 0, also of a slot that is free (object 0); -ENOENT no region has it.
 */
int vb_slot_query(struct vb_exec *x, struct vb_ucmd *u)
{
	struct vb_ioc_slot_query *cmd = u->cmd;
	struct vb_region *region;

	mutex_lock(&vb.exec_lock);
	region = vb_region_get(cmd->arena, cmd->slot);
	if (region)
		slot_describe(cmd, &region->slot[cmd->slot - region->first]);
	mutex_unlock(&vb.exec_lock);
	if (!region)
		return -ENOENT;
	vb_region_put(region);
	return 0;
}

static bool is_referred_to(struct vb_arena *a)
{
	struct vb_region *region;
	unsigned long index = 0;
	bool found = false;
	u32 i;

	mt_for_each(&a->regions, region, index, ULONG_MAX)
		for (i = 0; !found && i < region->slots; i++) {
			spin_lock(&vb.slot_lock);
			found = vb_slot_foreign(region, &region->slot[i]);
			spin_unlock(&vb.slot_lock);
			cond_resched();
		}
	return found;
}

static void slot_look(struct vb_arena *a, struct vb_region *region, struct vb_slot *slot)
{
	spin_lock(&vb.slot_lock);
	vb_quarantine_look_locked(region, slot);
	spin_unlock(&vb.slot_lock);
}

static int slot_renew(struct vb_arena *a, struct vb_region *region, struct vb_slot *slot)
{
	struct vb_slot fresh = {};

	if (list_empty_careful(&slot->quarantine))
		return 0;
	if (vb_slot_alloc(region, &fresh, a->numa_node, __GFP_NORETRY))
		return -ENOMEM;
	spin_lock(&vb.slot_lock);
	if (!list_empty(&slot->quarantine)) {
		swap(slot->block, fresh.block);
		swap(slot->order, fresh.order);
	}
	spin_unlock(&vb.slot_lock);
	vb_slot_free(region, &fresh);
	return 0;
}

/*
 * The dead may write there for as long as they like; nobody will look.  Not when another one has
 * not left either: what it refers to is memory that we took for this before, and clients can have
 * one stand after the other.  Where there is none for one slot there is none for the next.
 */
static void slots_renew(struct vb_arena *a)
{
	struct vb_region *region;
	unsigned long index = 0;
	u32 i;

	if (vb.lingering > 1)
		return;
	mt_for_each(&a->regions, region, index, ULONG_MAX)
		for (i = 0; i < region->slots; i++) {
			if (fatal_signal_pending(current) ||
			    slot_renew(a, region, &region->slot[i]))
				return;
			cond_resched();
		}
}

static void slot_adopt(struct vb_arena *a, struct vb_region *region, struct vb_slot *slot)
{
	spin_lock(&vb.slot_lock);
	slot->before = vb_slot_foreign(region, slot);
	spin_unlock(&vb.slot_lock);
}

/* Host memory of the dead: of all arenas, for who adopts what they may write to. */
static bool is_any_referred_to(void)
{
	u32 i;

	for (i = 0; i < vb.arena_count; i++)
		if (vb.arenas[i]->orphan && is_referred_to(vb.arenas[i]))
			return true;
	return false;
}

static int adopt_host(struct vb_arena *a, bool force)
{
	bool referred;

	vb_objects_each(vb_resid_hide);
	referred = is_referred_to(a);
	if (!force && referred)
		return -EBUSY;
	vb.forced |= referred;
	vb_region_slots_each(a, slot_look);
	slots_renew(a);
	vb_region_slots_each(a, slot_look);
	vb_region_slots_each(a, slot_adopt);
	return 0;
}

static int adopt_nvme(const struct vb_arena *a, const u64 *identity, bool force)
{
	if (!(identity[0] | identity[1]) || memcmp(a->identity, identity, sizeof(a->identity)))
		return -ESTALE;
	return !force && (vb.forced || is_any_referred_to()) ? -EBUSY : 0;
}

static int adopt_locked(const struct vb_ioc_arena_adopt *cmd)
{
	struct vb_arena *a = vb_arena_of(cmd->arena);
	bool force = cmd->flags & VB_ADOPT_FORCE;
	int rc;

	lockdep_assert_held(&vb.exec_lock);
	if (!vb_is_recovering())
		return -EPERM;
	if (!a || !a->orphan)
		return -ENOENT;
	if (a->tier == VB_TIER_NVME)
		rc = adopt_nvme(a, cmd->identity, force);
	else
		rc = cmd->identity[0] | cmd->identity[1] ? -EINVAL : adopt_host(a, force);
	if (!rc)
		a->orphan = false;
	return rc;
}

/**
 * vb_arena_adopt() - VB_IOC_ARENA_ADOPT: an arena of the dead becomes the successor's
 * @x: who adopts
 * @u: struct vb_ioc_arena_adopt
 *
 * Host memory is taken out of every client's page tables first, and who refers to it
 * still is counted: those of the dead are not the successor's, vb_arenas_settle().
 *
 * Context: takes exec_lock, the locks of objects, slot_lock; may sleep.
 * Return: 0; -EPERM the device is not RECOVERING; -ENOENT no such orphan; -EINVAL an identity
 * for what has none; -ESTALE another identity; -EBUSY the dead may still write there.
 */
int vb_arena_adopt(struct vb_exec *x, struct vb_ucmd *u)
{
	int rc;

	mutex_lock(&vb.exec_lock);
	rc = adopt_locked(u->cmd);
	mutex_unlock(&vb.exec_lock);
	return rc;
}

static void slot_settle(struct vb_arena *a, struct vb_region *region, struct vb_slot *slot)
{
	spin_lock(&vb.slot_lock);
	slot->baseline = max(vb_slot_foreign(region, slot) - slot->before, 0);
	slot->before = 0;
	spin_unlock(&vb.slot_lock);
}

/**
 * vb_arenas_settle() - what has been referred to since the adoption is the successor's
 *
 * References of before may have gone meanwhile: then a slot is held to have fewer of
 * the successor's than it has, and is not handed out, which errs on the safe side.
 *
 * Context: exec_lock; no client had a way to the memory since.
 */
void vb_arenas_settle(void)
{
	u32 i;

	lockdep_assert_held(&vb.exec_lock);
	for (i = 0; i < vb.arena_count; i++)
		vb_region_slots_each(vb.arenas[i], slot_settle);
}
