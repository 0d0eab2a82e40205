// SPDX-License-Identifier: MIT
/*
 * Reading ahead: chunks that a use will want (want), or may (hint), are brought before it
 * comes, into slots that uses can do without.
 */
#include "resid.h"

#include <errno.h>

#include "leave.h"
#include "slot.h"
#include "trace.h"

/* Slots that uses keep for themselves, so that reading ahead never blocks them. */
static bool resid_has_spare(struct vgpu_resid *r)
{
	if (r->free > 1)
		return true;
	if (r->guesses && vgpu_resid_steal(r, true) && r->free > 1)
		return true;
	if (vgpu_leave_end_one(r, false) && r->free > 1)
		return true;
	return r->list[VGPU_LIST_PARKED].count && vgpu_resid_unpark(r) && r->free > 1;
}

static int resid_read_ahead(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk,
			    uint32_t *out_slot)
{
	int rc = -EAGAIN;

	/* They may be slow, all of them, and keep their slots: not more than are for that. */
	if (r->moving - r->slow < r->staging && vgpu_fill_has_room(r, o, chunk))
		rc = vgpu_fill_start(r, o, chunk, VB_SLOT_ANY, out_slot);
	if (rc)
		return rc;
	r->slot[*out_slot].flags |= VGPU_SLOT_AHEAD;
	r->count[VB_COUNT_PREFETCHES]++;
	vgpu_trace_put(r->trace, VGPU_TRACE_PREFETCH, vgpu_policy_key(o->id, chunk), 0, 0);
	return 0;
}

/* Nothing to read: an anonymous chunk that nobody touched. */
static bool chunk_is_empty(const struct vgpu_object *o, uint32_t chunk)
{
	return o->kind == VB_BO_ANONYMOUS &&
	       !(vgpu_object_entry(o, chunk).flags & VB_ENTRY_TOUCHED);
}

int vgpu_resid_want(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk)
{
	uint32_t slot = vgpu_slot_of(r, o, chunk);
	int rc;

	if (slot == VB_SLOT_ANY) {
		if (chunk_is_empty(o, chunk))
			return 0;
		if (!resid_has_spare(r))
			return -EAGAIN;
		rc = resid_read_ahead(r, o, chunk, &slot);
		if (rc)		/* the use will try again and report */
			return rc == -EAGAIN ? rc : 0;
	}
	vgpu_slot_is_no_guess(r, &r->slot[slot]);
	vgpu_slot_want(r, slot);
	return 0;
}

bool vgpu_resid_hint(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk)
{
	uint32_t slot = vgpu_slot_of(r, o, chunk);

	r->looks++;
	if (slot != VB_SLOT_ANY || chunk_is_empty(o, chunk))
		return true;
	if (r->free <= 1 && !(vgpu_leave_end_one(r, false) && r->free > 1))
		return false;
	if (resid_read_ahead(r, o, chunk, &slot))
		return false;
	r->slot[slot].flags |= VGPU_SLOT_GUESS;
	r->guesses++;
	return true;
}

void vgpu_resid_drop_hints(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first,
			   uint32_t end)
{
	for (uint32_t c = first; c < end; c++) {
		uint32_t slot = vgpu_slot_of(r, o, c);

		if (slot != VB_SLOT_ANY && r->slot[slot].flags & VGPU_SLOT_AHEAD)
			vgpu_slot_let_go(r, slot);
	}
}

void vgpu_resid_unwant_all(struct vgpu_resid *r)
{
	uint32_t slot;

	if (!r->wanted)
		return;
	r->round++;
	r->wanted = 0;
	/* Only of these nothing else is kept. */
	while ((slot = r->list[VGPU_LIST_WANTED].first) != VB_SLOT_ANY) {
		r->looks++;
		vgpu_slot_relist(r, slot);
		vgpu_slot_let_go(r, slot);
	}
}
