// SPDX-License-Identifier: MIT
/*
 * Runs: chunks of one object in adjacent slots, for operands that a kernel reads with
 * one pointer.
 *
 * Most runs lie adjacent from their first touch and are only pinned.  Else a window of
 * slots is chosen, the one with the fewest in use; what is in it moves elsewhere, what
 * belongs to the run moves in, what is absent is filled there.
 */
#include <errno.h>
#include <string.h>

#include "slot.h"

/* Clients may map a chunk between the choice of a window and the move. */
#define LAYOUT_TRIES	8u

static bool run_is_adjacent(const struct vgpu_resid *r, struct vgpu_object *o, uint32_t first,
			    uint32_t end, uint32_t *out_slot)
{
	uint32_t start = vgpu_slot_find(r, vgpu_policy_key(o->id, first));

	for (uint32_t c = first; start != VB_SLOT_ANY && c < end; c++) {
		if (vgpu_slot_find(r, vgpu_policy_key(o->id, c)) != start + (c - first))
			return false;
	}
	*out_slot = start;
	return start != VB_SLOT_ANY;
}

/* Our own pin on a run that is being laid out does not keep a slot where it is. */
static bool slot_can_move(const struct vgpu_slot *s, const struct vgpu_object *o, uint32_t first,
			  uint32_t end)
{
	bool own = s->object == o && s->chunk >= first && s->chunk < end;

	return s->state == VGPU_SLOT_FREE ||
	       (s->state == VGPU_SLOT_READY && s->pins == own && !s->object->gone &&
		!vgpu_slot_is_fixed(s));
}

/* The window of as many slots with the fewest in use, none of them fixed. */
static uint32_t run_find_window(const struct vgpu_resid *r, const struct vgpu_object *o,
				uint32_t first, uint32_t end)
{
	uint32_t best = VB_SLOT_ANY, best_used = UINT32_MAX, used = 0, length = 0;
	uint32_t n = end - first;

	for (uint32_t i = 0; i < r->slots; i++) {
		if (!slot_can_move(&r->slot[i], o, first, end)) {
			length = used = 0;
			continue;
		}
		used += r->slot[i].state != VGPU_SLOT_FREE;
		length++;
		if (length > n) {
			used -= r->slot[i - n].state != VGPU_SLOT_FREE;
			length = n;
		}
		if (length == n && used < best_used) {
			best = i + 1 - n;
			best_used = used;
		}
	}
	return best;
}

static int slot_relocate(struct vgpu_resid *r, uint32_t from, uint32_t to)
{
	struct vgpu_slot *s = &r->slot[from];
	uint32_t taken = to;
	int rc;

	rc = vgpu_resid_move(r, s->object, s->chunk, VB_MOVE_BEGIN, VB_TIER_HOST, VB_TIER_HOST,
			     &taken, NULL);
	if (rc == -ESTALE) {
		/* Destroyed a moment ago: we are going to be told. */
		s->object->gone = true;
		return -EBUSY;
	}
	if (rc)
		return rc;
	memcpy(vgpu_resid_ptr(r, taken), vgpu_resid_ptr(r, from), r->chunk_bytes);
	rc = vgpu_resid_move(r, s->object, s->chunk, VB_MOVE_COMMIT, VB_TIER_HOST, VB_TIER_HOST,
			     &taken, NULL);
	if (rc) {
		vgpu_resid_move(r, s->object, s->chunk, VB_MOVE_ABORT, VB_TIER_HOST, VB_TIER_HOST,
				&taken, NULL);
		return rc;
	}
	r->count[VB_COUNT_COPY_BYTES] += r->chunk_bytes;
	vgpu_keymap_set(&r->map, vgpu_slot_key(s), taken);
	r->slot[taken] = *s;
	memset(s, 0, sizeof(*s));
	return 0;
}

/* A free slot, outside the window if there is one, else behind @slot in it. */
static uint32_t run_find_free(const struct vgpu_resid *r, uint32_t window, uint32_t n,
			      uint32_t slot)
{
	for (uint32_t i = r->slots; i-- > 0;) {
		if ((i < window || i >= window + n) && r->slot[i].state == VGPU_SLOT_FREE)
			return i;
	}
	for (uint32_t i = slot + 1; i < window + n; i++) {
		if (r->slot[i].state == VGPU_SLOT_FREE)
			return i;
	}
	return VB_SLOT_ANY;
}

/* Chunk @chunk into slot @to: what is there makes room, then it moves or is filled. */
static int run_place_one(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk, uint32_t to,
			 uint32_t window, uint32_t n)
{
	uint64_t key = vgpu_policy_key(o->id, chunk);
	uint32_t at = vgpu_slot_find(r, key), spare;
	int rc;

	if (at == to)
		return 0;
	if (r->slot[to].state != VGPU_SLOT_FREE) {
		spare = run_find_free(r, window, n, to);
		rc = spare == VB_SLOT_ANY ? -ENOSPC : slot_relocate(r, to, spare);
		if (rc)
			return rc;
	}
	if (at != VB_SLOT_ANY)
		return slot_relocate(r, at, to);
	rc = vgpu_resid_fill(r, o, chunk, to, &at);
	if (!rc)
		r->slot[at].pins++;
	return rc;
}

/* Wait for what is on its way, so that it can move; returns chunks that are absent. */
static int run_settle(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first, uint32_t end)
{
	int absent = 0;

	for (uint32_t c = first; c < end; c++) {
		uint32_t at = vgpu_slot_find(r, vgpu_policy_key(o->id, c));
		int rc = at == VB_SLOT_ANY ? 0 : vgpu_resid_wait(r, at);

		if (rc)
			return rc;
		absent += at == VB_SLOT_ANY;
	}
	return absent;
}

/* -EBUSY: a client mapped or pinned something meanwhile. */
static int run_lay_out_once(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first,
			    uint32_t end)
{
	uint32_t window, n = end - first;
	int absent = run_settle(r, o, first, end), rc;

	if (absent < 0)
		return absent;
	/* One more than is missing, to move things around. */
	rc = vgpu_resid_make_room(r, (uint32_t)absent + 1);
	if (rc == -ENOSPC)
		rc = vgpu_resid_make_room(r, (uint32_t)absent);
	if (rc)
		return rc;
	window = run_find_window(r, o, first, end);
	while (window == VB_SLOT_ANY && vgpu_resid_is_moving(r)) {
		rc = vgpu_resid_pump(r, VGPU_PUMP_WAIT_NS);
		if (rc < 0)
			return rc;
		window = run_find_window(r, o, first, end);
	}
	if (window == VB_SLOT_ANY)
		return -ENOSPC;
	for (uint32_t i = 0; i < n; i++) {
		rc = run_place_one(r, o, first + i, window + i, window, n);
		if (rc)
			return rc;
	}
	return 0;
}

static int run_lay_out(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first, uint32_t end)
{
	int rc = -EBUSY;

	for (uint32_t i = 0; i < LAYOUT_TRIES && rc == -EBUSY; i++)
		rc = run_lay_out_once(r, o, first, end);
	return rc;
}

/* Pin what is there, so that neither the policy nor making room takes it away. */
static int run_pin_present(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first,
			   uint32_t end)
{
	int rc = 0;

	for (uint32_t c = first; c < end; c++) {
		uint32_t slot = vgpu_slot_find(r, vgpu_policy_key(o->id, c));

		if (slot == VB_SLOT_ANY)
			continue;
		r->slot[slot].pins++;
		if (r->slot[slot].flags & VGPU_SLOT_OVERDUE)
			rc = -ETIMEDOUT;
	}
	return rc;
}

/* Undo it; what the policy took in and did not come, it forgets. */
static void run_release(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first, uint32_t end)
{
	for (uint32_t c = first; c < end; c++) {
		uint64_t key = vgpu_policy_key(o->id, c);
		uint32_t slot = vgpu_slot_find(r, key);

		if (slot == VB_SLOT_ANY) {
			r->policy->forget(r->policy_state, key);
			continue;
		}
		if (r->policy->retains(r->policy_state, key))
			r->slot[slot].flags |= VGPU_SLOT_RETAINED;
		vgpu_resid_unpin(r, slot);
	}
}

static int run_account(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first, uint32_t end)
{
	for (uint32_t c = first; c < end; c++) {
		int keep = vgpu_resid_account(r, o, c);

		if (keep < 0)
			return keep;
	}
	return 0;
}

/* The run lies at @slot and is pinned: wait for its bytes. */
static int run_finish(struct vgpu_resid *r, uint32_t slot, uint32_t n, bool write)
{
	uint32_t i;
	int rc = 0;

	for (i = 0; i < n; i++) {
		struct vgpu_slot *s = &r->slot[slot + i];

		vgpu_slot_note_ahead(r, s);
		vgpu_slot_unwant(r, s, 1);
		if (r->policy->retains(r->policy_state, vgpu_slot_key(s)))
			s->flags |= VGPU_SLOT_RETAINED;
	}
	for (i = 0; i < n && !rc; i++)
		rc = vgpu_resid_wait(r, slot + i);
	for (i = 0; i < n && !rc && write; i++) {
		struct vgpu_slot *s = &r->slot[slot + i];

		rc = vgpu_resid_move(r, s->object, s->chunk, VB_MOVE_WRITE, VB_TIER_HOST,
				     VB_TIER_HOST, NULL, NULL);
	}
	return rc;
}

int vgpu_resid_use_run(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first, uint32_t end,
		       bool write, uint32_t *out_slot)
{
	int rc = run_pin_present(r, o, first, end);

	if (!rc)
		rc = run_account(r, o, first, end);
	if (!rc && !run_is_adjacent(r, o, first, end, out_slot)) {
		rc = run_lay_out(r, o, first, end);
		if (!rc && !run_is_adjacent(r, o, first, end, out_slot))
			rc = -EIO;
	}
	if (!rc)
		rc = run_finish(r, *out_slot, end - first, write);
	if (rc)
		run_release(r, o, first, end);
	return rc;
}
