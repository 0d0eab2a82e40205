// SPDX-License-Identifier: GPL-2.0
/*
 * Quarantine: slots that were given back while others still refer to their memory, until
 * they do no longer.
 *
 * Nobody tells us when a reference goes, so whoever takes a slot looks.  One lent page keeps
 * a whole slot from everybody else, and users may lend thousands: each user stays charged for
 * its own, and a look is at a few, those first that were not looked at for longest.  Who
 * is at its limit looks at its own, however many others have; who asks for one slot, at that.
 * Whoever would be refused looks again, until it has seen all: slot_lock is let go between.
 */
#include "quarantine.h"

#include "core/slots.h"
#include "arena.h"
#include "limit.h"
#include "region.h"
#include "slot.h"
#include "trace.h"
#include "user.h"
#include "vb.h"

static u32 tier_of(const struct vb_slot *slot)
{
	return vb.arenas[VB_LOC_ARENA(slot->loc)]->tier;
}

/**
 * vb_quarantine_enter_locked() - a slot that others refer to is nobody's
 * @slot: in use, and in no quarantine
 * @user: who is charged for it there; NULL: nobody
 *
 * Context: slot_lock.
 */
void vb_quarantine_enter_locked(struct vb_slot *slot, struct vb_user *user)
{
	lockdep_assert_held(&vb.slot_lock);
	list_add_tail(&slot->quarantine, &vb.quarantine);
	vb.quarantined++;
	slot->user = user;
	if (!user)
		return;
	list_add_tail(&slot->of_user, &user->quarantine);
	user->quarantined++;
	vb_limit_keep_locked(user, tier_of(slot));
}

static void leave_locked(struct vb_slot *slot)
{
	list_del_init(&slot->quarantine);
	list_del_init(&slot->of_user);
	vb.quarantined--;
	if (slot->user) {
		slot->user->quarantined--;
		vb_limit_let_go_locked(slot->user, tier_of(slot));
	}
	slot->user = NULL;
}

/**
 * vb_quarantine_look_locked() - is a slot free by now?
 * @region: of the slot
 * @slot: slot, in quarantine or not
 *
 * Context: slot_lock.
 */
void vb_quarantine_look_locked(const struct vb_region *region, struct vb_slot *slot)
{
	int foreign;

	lockdep_assert_held(&vb.slot_lock);
	if (list_empty(&slot->quarantine))
		return;
	foreign = vb_slot_foreign(region, slot);
	if (foreign > slot->baseline)
		return;
	trace_vb_quarantine_leave(slot, foreign);
	leave_locked(slot);
	vb_slots_give(&vb.arenas[VB_LOC_ARENA(slot->loc)]->slots, VB_LOC_SLOT(slot->loc));
}

/* Its region may have gone from its arena. */
static void look_again_locked(struct vb_slot *slot)
{
	struct vb_region *region;

	if (vb_slot_find(slot->loc, &region) == slot)
		vb_quarantine_look_locked(region, slot);
}

/* The next one, which is the last from now on; NULL. */
static struct vb_slot *next_of_user_locked(struct vb_user *user)
{
	struct vb_slot *slot = list_first_entry_or_null(&user->quarantine, struct vb_slot, of_user);

	if (slot)
		list_move_tail(&slot->of_user, &user->quarantine);
	return slot;
}

static struct vb_slot *next_locked(struct vb_user *user)
{
	struct vb_slot *slot;

	if (user)
		return next_of_user_locked(user);
	slot = list_first_entry_or_null(&vb.quarantine, struct vb_slot, quarantine);
	if (slot)
		list_move_tail(&slot->quarantine, &vb.quarantine);
	return slot;
}

/**
 * vb_quarantine_sweep_locked() - are some free by now?
 * @user: whose slots, counted by the caller; NULL: anybody's
 *
 * Looks at %VB_QUARANTINE_FEW at most, the next time at others.
 *
 * Context: slot_lock.
 */
void vb_quarantine_sweep_locked(struct vb_user *user)
{
	struct vb_slot *slot, *first = NULL;
	u32 i;

	lockdep_assert_held(&vb.slot_lock);
	for (i = 0; i < VB_QUARANTINE_FEW; i++) {
		slot = next_locked(user);
		if (!slot || slot == first)
			return;
		look_again_locked(slot);
		if (!first && !list_empty(&slot->quarantine))
			first = slot;
	}
}

/**
 * vb_quarantine_leave_locked() - slots of arenas that are gone leave for good
 *
 * Nobody gets them; the memory is freed when others let go of it.
 *
 * Context: slot_lock; the arenas are marked (vb_arenas_leave()), and not freed yet.
 */
void vb_quarantine_leave_locked(void)
{
	struct vb_slot *slot, *next;

	lockdep_assert_held(&vb.slot_lock);
	list_for_each_entry_safe(slot, next, &vb.quarantine, quarantine)
		if (vb_arena_is_gone(slot->loc))
			leave_locked(slot);
}
