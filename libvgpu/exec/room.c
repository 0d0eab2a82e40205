// SPDX-License-Identifier: MIT
/* How a slot is given up, and what goes when there is none. */
#include "slot.h"

#include <errno.h>

#include "leave.h"
#include "trace.h"

/* How often held slots are looked after while the policy finds no room. */
#define HELD_CHECK	64u
/* Slots that a client at its limit is searched for. */
#define CLIENT_LOOK	64u

/* ------------------------------------------------------------------------
 * A slot comes and goes
 */

void vgpu_slot_is_no_guess(struct vgpu_resid *r, struct vgpu_slot *s)
{
	r->guesses -= !!(s->flags & VGPU_SLOT_GUESS);
	s->flags &= ~VGPU_SLOT_GUESS;
}

void vgpu_slot_abort(struct vgpu_resid *r, uint32_t slot)
{
	struct vgpu_slot *s = &r->slot[slot];
	uint32_t at = slot;

	r->policy->forget(r->policy_state, vgpu_slot_key(s));
	vgpu_resid_move(r, s->object, s->chunk, VB_MOVE_ABORT, s->from, VB_TIER_HOST, &at, NULL);
	vgpu_slot_leave(r, slot);
}

/* Stays in staging until room is needed. */
static void slot_park(struct vgpu_resid *r, uint32_t slot)
{
	vgpu_slot_flag(r, slot, VGPU_SLOT_PARKED, 0);
}

/*
 * Keep what cannot leave: pinned by the device, mapped, or nowhere to go.  What goes with
 * its object in a moment is not kept in place of anything.
 */
static void slot_keep(struct vgpu_resid *r, uint32_t slot)
{
	struct vgpu_slot *s = &r->slot[slot];
	uint64_t victim = VGPU_POLICY_NONE;
	int answer;

	if (s->object->gone) {
		r->policy->forget(r->policy_state, vgpu_slot_key(s));
		vgpu_slot_flag(r, slot, VGPU_SLOT_PARKED, VGPU_SLOT_RETAINED | VGPU_SLOT_HELD);
		return;
	}
	answer = r->policy->access(r->policy_state, vgpu_slot_key(s), VGPU_ACCESS_MUST_ADMIT,
				   &victim);
	if (answer < 0) {
		/* More is held than the policy may keep. */
		slot_park(r, slot);
		return;
	}
	/* The trace has every question that the policy was asked. */
	vgpu_trace_put(r->trace, (enum vgpu_trace_event)answer, vgpu_slot_key(s),
		       VGPU_ACCESS_MUST_ADMIT, 0);
	vgpu_slot_flag(r, slot, VGPU_SLOT_RETAINED | VGPU_SLOT_HELD, VGPU_SLOT_PARKED);
	r->policy->hold(r->policy_state, vgpu_slot_key(s), true);
	if (victim != VGPU_POLICY_NONE) {
		uint32_t other = vgpu_slot_find(r, victim);

		/* Not retired here: that could come back to this slot. */
		if (other != VB_SLOT_ANY) {
			vgpu_slot_flag(r, other, VGPU_SLOT_PARKED, VGPU_SLOT_RETAINED);
			r->displaced++;
		}
	}
}

static bool slot_is_idle(const struct vgpu_resid *r, const struct vgpu_slot *s)
{
	return s->state == VGPU_SLOT_READY && !s->pins && !vgpu_slot_wants(r, s) &&
	       !(s->flags & VGPU_SLOT_RETAINED) && !vgpu_leave_stays(s);
}

/*
 * The slot cannot leave, nor move: the device answered @rc.  Does that change by
 * itself?  A chunk that is clean, or that could not be written, is refused because a
 * client holds it.
 */
void vgpu_slot_note_block(struct vgpu_resid *r, struct vgpu_slot *s, int rc)
{
	if (rc == -ESTALE) {
		/* Destroyed a moment ago: we are going to be told. */
		s->object->gone = true;
		r->blocks |= VGPU_BLOCK_GONE;
	} else if (rc == -EBUSY) {
		r->blocks |= VGPU_BLOCK_CLIENT;
	}
}

int vgpu_slot_note_refusal(struct vgpu_resid *r, uint32_t slot, int rc)
{
	if (rc != -EEXIST)
		return rc;
	r->slot[slot].flags |= VGPU_SLOT_REFUSED;
	r->refused++;
	r->blocks |= VGPU_BLOCK_CLIENT;
	return -EBUSY;
}

/* Scratch goes nowhere: dropped while its submission runs, its content would be lost. */
static bool slot_is_scratch_in_use(const struct vgpu_slot *s)
{
	return s->object->life == VB_LIFE_SCRATCH && s->object->jobs;
}

/*
 * Nothing keeps this slot: give it back, by way of NVMe if it must be written.  A
 * client that reads a chunk pins it for a moment only: not kept in place of something
 * better before the room is @pressed for.
 *
 * Return: true when it went or is on its way; false when it had to be kept.
 */
static bool slot_retire(struct vgpu_resid *r, uint32_t slot, bool pressed)
{
	struct vgpu_slot *s = &r->slot[slot];
	int rc;

	vgpu_leave_end(r, slot);
	if (!pressed && vgpu_slot_is_fixed(s)) {
		slot_park(r, slot);
		return false;
	}
	if (vgpu_slot_is_fixed(s)) {
		vgpu_slot_note_block(r, s, -EBUSY);
		goto keep;
	}
	if (s->object->gone) {
		vgpu_slot_note_block(r, s, -ESTALE);
		goto keep;
	}
	if (slot_is_scratch_in_use(s))
		goto keep;
	vgpu_record_slot(r, slot);
	rc = vgpu_resid_move(r, s->object, s->chunk, VB_MOVE_DROP, VB_TIER_HOST, 0, NULL, NULL);
	if (!rc) {
		r->count[VB_COUNT_EVICTIONS]++;
		if (s->flags & VGPU_SLOT_AHEAD)
			vgpu_trace_put(r->trace, VGPU_TRACE_PREFETCH_WASTED, vgpu_slot_key(s),
				       0, 0);
		vgpu_trace_put(r->trace, VGPU_TRACE_EVICT, vgpu_slot_key(s), 0, 0);
		vgpu_slot_leave(r, slot);
		return true;
	}
	if (vgpu_object_entry(s->object, s->chunk).flags & VB_ENTRY_DIRTY)
		rc = r->nvme ? vgpu_fill_write_out(r, slot) : -ENOSPC;
	if (!rc)
		return true;
	vgpu_slot_note_block(r, s, rc);
keep:
	slot_keep(r, slot);
	return false;
}

void vgpu_slot_let_go(struct vgpu_resid *r, uint32_t slot)
{
	if (slot_is_idle(r, &r->slot[slot]))
		slot_retire(r, slot, false);
}

void vgpu_slot_filled(struct vgpu_resid *r, uint32_t slot, int error)
{
	struct vgpu_slot *s = &r->slot[slot];

	s->state = error ? VGPU_SLOT_FAILED : VGPU_SLOT_READY;
	s->error = (int16_t)error;
	vgpu_slot_relist(r, slot);
	/* Nobody waits for a failed one: a later use tries again and reports. */
	if (error && !s->pins)
		vgpu_slot_abort(r, slot);
	else if (!error && !(s->flags & VGPU_SLOT_AHEAD))
		vgpu_slot_let_go(r, slot);
}

void vgpu_slot_left(struct vgpu_resid *r, uint32_t slot, int error)
{
	r->slot[slot].state = VGPU_SLOT_READY;
	vgpu_slot_relist(r, slot);
	if (error)
		slot_keep(r, slot);
	else
		vgpu_slot_let_go(r, slot);
}

/* ------------------------------------------------------------------------
 * Room
 */

/* What was read ahead: a guess first, else the farthest use. */
static uint32_t resid_find_spare(struct vgpu_resid *r, bool guesses_only)
{
	uint32_t slot = r->list[VGPU_LIST_UNWANTED].first;

	r->looks++;
	return slot != VB_SLOT_ANY || guesses_only ? slot : r->list[VGPU_LIST_WANTED].last;
}

bool vgpu_resid_steal(struct vgpu_resid *r, bool guesses_only)
{
	uint32_t slot;

	while ((slot = resid_find_spare(r, guesses_only)) != VB_SLOT_ANY) {
		vgpu_slot_unwant(r, slot, UINT32_MAX);
		if (slot_retire(r, slot, true))
			return true;
	}
	return false;
}

bool vgpu_resid_unpark(struct vgpu_resid *r)
{
	uint32_t before = r->free + r->leaving, count = r->list[VGPU_LIST_PARKED].count;
	uint32_t displaced = r->displaced;

	/*
	 * Who has to stay once more comes to the end of the list, and behind it who gave up
	 * its place for it: that one may be able to leave.
	 */
	for (uint32_t i = 0; i < count + (r->displaced - displaced) &&
	     r->list[VGPU_LIST_PARKED].count; i++) {
		uint32_t slot = r->list[VGPU_LIST_PARKED].first;

		r->looks++;
		vgpu_slot_flag(r, slot, 0, VGPU_SLOT_PARKED);
		if (slot_is_idle(r, &r->slot[slot]))
			slot_retire(r, slot, true);
	}
	return r->free + r->leaving > before;
}

void vgpu_resid_unretain(struct vgpu_resid *r, uint64_t key)
{
	uint32_t slot = vgpu_slot_find(r, key);

	if (slot == VB_SLOT_ANY)
		return;
	vgpu_slot_flag(r, slot, 0, VGPU_SLOT_RETAINED | VGPU_SLOT_HELD);
	vgpu_slot_let_go(r, slot);
}

void vgpu_resid_release_held(struct vgpu_resid *r)
{
	uint32_t next;

	for (uint32_t i = r->list[VGPU_LIST_HELD].first; i != VB_SLOT_ANY; i = next) {
		struct vgpu_slot *s = &r->slot[i];

		r->looks++;
		next = s->next;
		if (s->state != VGPU_SLOT_READY || s->pins || slot_is_scratch_in_use(s))
			continue;
		if (vgpu_slot_is_fixed(s)) {
			vgpu_slot_note_block(r, s, -EBUSY);
			continue;
		}
		if (!r->nvme && s->object->kind == VB_BO_ANONYMOUS &&
		    s->object->life != VB_LIFE_SCRATCH)
			continue;	/* has nowhere to go */
		vgpu_slot_flag(r, i, 0, VGPU_SLOT_HELD);
		r->policy->hold(r->policy_state, vgpu_slot_key(s), false);
	}
}

int vgpu_resid_shed_one(struct vgpu_resid *r)
{
	uint64_t victim;
	int rc = r->policy->shrink(r->policy_state, &victim);

	if (!rc)
		vgpu_resid_unretain(r, victim);
	return rc;
}

/* Staging is all in use: take room from what is kept. */
static bool resid_shrink(struct vgpu_resid *r)
{
	return !vgpu_resid_shed_one(r);
}

void vgpu_resid_note_slow(struct vgpu_resid *r)
{
	if (r->slow || r->awaited)
		r->blocks |= VGPU_BLOCK_SLOW;
}

/* What is nobody's any more goes before anybody's content does. */
static bool resid_settle(struct vgpu_resid *r)
{
	return r->settle && r->settle(r->settle_arg);
}

int vgpu_resid_make_room(struct vgpu_resid *r, uint32_t n)
{
	bool again = true, held = true;

	if (n > r->slots)
		return -ENOSPC;
	while (r->free < n) {
		if (r->free + r->leaving < n &&
		    (vgpu_leave_end_one(r, false) || vgpu_resid_steal(r, false)))
			continue;
		if (vgpu_resid_is_moving(r)) {
			int rc = vgpu_resid_pump(r, VGPU_PUMP_WAIT_NS);

			if (rc < 0)
				return rc;
			continue;
		}
		if (resid_settle(r) || vgpu_resid_steal(r, false))
			continue;
		if (again && vgpu_resid_unpark(r)) {
			again = false;
			continue;
		}
		if (!r->paging_in && vgpu_leave_end_one(r, true))
			continue;
		/* Soon there is room without it. */
		if (r->list[VGPU_LIST_LEAVE].count) {
			r->blocks |= VGPU_BLOCK_CLIENT;
			return -ENOSPC;
		}
		if (resid_shrink(r))
			continue;
		/* What was held when it was asked last may be able to leave by now. */
		if (!held) {
			vgpu_resid_note_slow(r);
			return -ENOSPC;
		}
		held = false;
		vgpu_resid_release_held(r);
	}
	return 0;
}

void vgpu_resid_check_held(struct vgpu_resid *r)
{
	struct vgpu_policy_stats stats;

	if (++r->bypasses % HELD_CHECK)
		return;
	r->policy->stats(r->policy_state, &stats);
	if (stats.held)
		vgpu_resid_release_held(r);
}

/* May it go, if its client has too many? */
static bool slot_is_dispensable(const struct vgpu_resid *r, const struct vgpu_slot *s)
{
	return s->state == VGPU_SLOT_READY && !s->pins &&
	       !(s->flags & (VGPU_SLOT_HELD | VGPU_SLOT_PARKED)) && !vgpu_slot_is_fixed(s) &&
	       !(r->paging_in && vgpu_leave_stays(s));
}

/*
 * What a client at its limit misses least, of the next CLIENT_LOOK of its slots that may
 * go: among them is one of the least missed few percent, and it costs the same however
 * many slots the client has.
 */
static uint32_t resid_find_of_client(struct vgpu_resid *r, uint32_t client)
{
	uint32_t begin = vgpu_slot_of_client(r, client), slot = begin, best = VB_SLOT_ANY, n = 0;
	uint64_t farthest = 0;

	while (slot != VB_SLOT_ANY && n < CLIENT_LOOK) {
		const struct vgpu_slot *s = &r->slot[slot];
		uint64_t rank;

		r->looks++;
		if (slot_is_dispensable(r, s)) {
			rank = s->flags & VGPU_SLOT_RETAINED ?
				r->policy->next_use(r->policy_state, vgpu_slot_key(s)) : UINT64_MAX;
			if (best == VB_SLOT_ANY || rank > farthest) {
				best = slot;
				farthest = rank;
			}
			n++;
		}
		slot = s->client_next == begin ? VB_SLOT_ANY : s->client_next;
	}
	if (slot != VB_SLOT_ANY)
		vgpu_slot_begin_client(r, slot);
	return best;
}

bool vgpu_resid_shed(struct vgpu_resid *r, uint32_t client, bool *again)
{
	uint32_t slot;

	while ((slot = resid_find_of_client(r, client)) != VB_SLOT_ANY) {
		struct vgpu_slot *s = &r->slot[slot];

		r->policy->forget(r->policy_state, vgpu_slot_key(s));
		vgpu_slot_unwant(r, slot, UINT32_MAX);
		vgpu_slot_flag(r, slot, 0, VGPU_SLOT_RETAINED);
		if (slot_retire(r, slot, true))
			return true;
	}
	if (vgpu_resid_is_moving(r) && vgpu_resid_pump(r, VGPU_PUMP_WAIT_NS) > 0)
		return true;
	/* Its own threads may hold the rest, or held it when we asked last. */
	vgpu_resid_release_held(r);
	vgpu_resid_unpark(r);
	if (r->list[VGPU_LIST_LEAVE].count)
		r->blocks |= VGPU_BLOCK_CLIENT;
	if (!*again)
		return false;
	*again = false;
	return true;
}

uint32_t vgpu_resid_reclaim(struct vgpu_resid *r, uint32_t count)
{
	uint32_t before = r->free;

	while (r->free + r->leaving < before + count) {
		if (!vgpu_resid_steal(r, false) && !vgpu_leave_end_one(r, true) &&
		    !resid_shrink(r))
			break;
	}
	while (r->leaving && vgpu_resid_is_moving(r) &&
	       vgpu_resid_pump(r, VGPU_PUMP_WAIT_NS) >= 0)
		;
	return r->free - before;
}
