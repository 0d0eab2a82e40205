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

#include "filled.h"
#include "slot.h"

/* Clients may map a chunk between the choice of a window and the move. */
#define LAYOUT_TRIES	8u
/* Slots of a large tier that are looked at for a better window than there is. */
#define WINDOW_LOOK	4096u

static uint32_t run_length(const struct vgpu_run *run)
{
	return run->end - run->first;
}

static bool run_has(const struct vgpu_run *run, const struct vgpu_slot *s)
{
	return s->object == run->object && s->chunk >= run->first && s->chunk < run->end;
}

static bool run_is_adjacent(const struct vgpu_resid *r, const struct vgpu_run *run, uint32_t *out)
{
	uint32_t start = vgpu_slot_of(r, run->object, run->first);

	for (uint32_t c = run->first; start != VB_SLOT_ANY && c < run->end; c++) {
		if (vgpu_slot_of(r, run->object, c) != start + (c - run->first))
			return false;
	}
	*out = start;
	return start != VB_SLOT_ANY;
}

static bool slot_is_empty(const struct vgpu_slot *s)
{
	return s->state == VGPU_SLOT_FREE && !(s->flags & VGPU_SLOT_REFUSED);
}

/* It can be emptied; @pins: our own. */
static bool slot_can_move(const struct vgpu_slot *s, uint32_t pins)
{
	return slot_is_empty(s) ||
	       (s->state == VGPU_SLOT_READY && s->pins == pins && !s->object->gone &&
		!vgpu_slot_is_fixed(s));
}

/* Nobody knows a place: who is in the way? */
static void note_blocks(struct vgpu_resid *r)
{
	vgpu_resid_note_slow(r);
	for (uint32_t i = 0; i < r->slots && !r->blocks; i++) {
		struct vgpu_slot *s = &r->slot[i];

		if (s->state != VGPU_SLOT_READY)
			continue;
		if (s->object->gone)
			vgpu_slot_note_block(r, s, -ESTALE);
		else if (vgpu_slot_is_fixed(s))
			vgpu_slot_note_block(r, s, -EBUSY);
	}
}

/*
 * A client holds a part of the run: the rest has to come to it.
 * Return: false when none is held.  *out may lie outside of the tier.
 */
static bool run_find_anchor(const struct vgpu_resid *r, const struct vgpu_run *run, uint32_t *out)
{
	for (uint32_t c = run->first; c < run->end; c++) {
		uint32_t at = vgpu_slot_of(r, run->object, c);

		if (at == VB_SLOT_ANY || !vgpu_slot_is_fixed(&r->slot[at]))
			continue;
		*out = at - (c - run->first);
		return true;
	}
	return false;
}

/* @pins: on the run's own chunks */
static bool window_is_possible(const struct vgpu_resid *r, const struct vgpu_run *run,
			       uint32_t start, uint32_t pins)
{
	if (start >= r->slots || run_length(run) > r->slots - start)
		return false;
	for (uint32_t i = 0; i < run_length(run); i++) {
		const struct vgpu_slot *s = &r->slot[start + i];
		bool own = run_has(run, s);

		if (!(own && s->chunk == run->first + i) && !slot_can_move(s, own ? pins : 0))
			return false;
	}
	return true;
}

/* A window of slots, and how many of them are in use. */
struct window {
	uint32_t start, used;
};

/*
 * Look among the slots [from, end) for one with fewer in use than @best has: until one is
 * free, or WINDOW_LOOK slots were looked at and there is one.
 */
static void run_search_windows(struct vgpu_resid *r, const struct vgpu_run *run, uint32_t from,
			       uint32_t end, struct window *best)
{
	uint32_t n = run_length(run), used = 0, length = 0;

	for (uint32_t i = from; i < end && best->used; i++) {
		if (best->start != VB_SLOT_ANY && i - from >= WINDOW_LOOK)
			return;
		r->looks++;
		if (!slot_can_move(&r->slot[i], run_has(run, &r->slot[i]))) {
			length = used = 0;
			continue;
		}
		used += r->slot[i].state != VGPU_SLOT_FREE;
		length++;
		if (length > n) {
			used -= r->slot[i - n].state != VGPU_SLOT_FREE;
			length = n;
		}
		if (length == n && used < best->used)
			*best = (struct window){ i + 1 - n, used };
	}
}

/* Where to begin: a large tier is not looked at from one end to the other. */
static uint32_t run_search_from(const struct vgpu_resid *r, uint32_t n)
{
	if (r->slots <= WINDOW_LOOK)
		return 0;
	return r->free >= n ? r->list[VGPU_LIST_FREE].first : r->window_at;
}

/* The window with the fewest slots in use, none of them fixed; of a large tier, one of the best. */
static uint32_t run_find_window(struct vgpu_resid *r, const struct vgpu_run *run)
{
	struct window best = { VB_SLOT_ANY, UINT32_MAX };
	uint32_t n = run_length(run), from = run_search_from(r, n);

	if (run_find_anchor(r, run, &best.start))
		return window_is_possible(r, run, best.start, 1) ? best.start : VB_SLOT_ANY;
	run_search_windows(r, run, from, r->slots, &best);
	if (best.start == VB_SLOT_ANY)
		run_search_windows(r, run, 0, from + n < r->slots ? from + n : r->slots, &best);
	if (best.start != VB_SLOT_ANY)
		r->window_at = best.start + n < r->slots ? best.start + n : 0;
	return best.start;
}

static uint32_t run_choose_window(struct vgpu_resid *r, const struct vgpu_run *run)
{
	if (run->slot == VB_SLOT_ANY)
		return run_find_window(r, run);
	return window_is_possible(r, run, run->slot, 1) ? run->slot : VB_SLOT_ANY;
}

int vgpu_slot_move(struct vgpu_resid *r, uint32_t from, uint32_t to)
{
	struct vgpu_slot *s = &r->slot[from];
	uint32_t taken = to;
	int rc;

	rc = vgpu_resid_move(r, s->object, s->chunk, VB_MOVE_BEGIN, VB_TIER_HOST, VB_TIER_HOST,
			     &taken, NULL);
	vgpu_slot_note_block(r, s, rc);
	rc = vgpu_slot_note_refusal(r, to, rc);
	if (rc)
		return rc == -ESTALE ? -EBUSY : rc;
	memcpy(vgpu_resid_ptr(r, taken), vgpu_resid_ptr(r, from), r->chunk_bytes);
	rc = vgpu_resid_move(r, s->object, s->chunk, VB_MOVE_COMMIT, VB_TIER_HOST, VB_TIER_HOST,
			     &taken, NULL);
	if (rc) {
		vgpu_resid_move(r, s->object, s->chunk, VB_MOVE_ABORT, VB_TIER_HOST, VB_TIER_HOST,
				&taken, NULL);
		return rc;
	}
	r->count[VB_COUNT_COPY_BYTES] += r->chunk_bytes;
	vgpu_slot_relocate(r, from, taken);
	return 0;
}

/* A free slot, outside the window if there is one, else behind @slot in it. */
static uint32_t run_find_free(struct vgpu_resid *r, uint32_t window, uint32_t n, uint32_t slot)
{
	uint32_t i = r->list[VGPU_LIST_FREE].last;

	for (; i != VB_SLOT_ANY; i = r->slot[i].prev) {
		r->looks++;
		if ((i < window || i >= window + n) && slot_is_empty(&r->slot[i]))
			return i;
	}
	for (i = slot + 1; i < window + n; i++) {
		if (slot_is_empty(&r->slot[i]))
			return i;
	}
	return VB_SLOT_ANY;
}

/* Chunk @i of the run into its slot: what is there makes room, then it moves or is filled. */
static int run_place_one(struct vgpu_resid *r, const struct vgpu_run *run, uint32_t window,
			 uint32_t i)
{
	uint32_t chunk = run->first + i, to = window + i, spare;
	uint32_t at = vgpu_slot_of(r, run->object, chunk);
	int rc;

	if (at == to)
		return 0;
	if (r->slot[to].state != VGPU_SLOT_FREE) {
		spare = run_find_free(r, window, run_length(run), to);
		rc = spare == VB_SLOT_ANY ? -ENOSPC : vgpu_slot_move(r, to, spare);
		if (rc)
			return rc;
	}
	if (at != VB_SLOT_ANY)
		return vgpu_slot_move(r, at, to);
	rc = vgpu_slot_note_refusal(r, to, vgpu_resid_fill(r, run->object, chunk, to, &at));
	if (!rc)
		vgpu_slot_pin(r, at);
	return rc;
}

/* What was in quarantine then may be out of it by now. */
static void run_forget_refusals(struct vgpu_resid *r)
{
	uint32_t i = r->refused ? r->list[VGPU_LIST_FREE].first : VB_SLOT_ANY;

	for (; i != VB_SLOT_ANY; i = r->slot[i].next)
		r->slot[i].flags &= (uint8_t)~VGPU_SLOT_REFUSED;
	r->refused = 0;
}

/* Wait for what is on its way, so that it can move; returns chunks that are absent. */
static int run_settle(struct vgpu_resid *r, const struct vgpu_run *run)
{
	int absent = 0;

	for (uint32_t c = run->first; c < run->end; c++) {
		uint32_t at = vgpu_slot_of(r, run->object, c);
		int rc = at == VB_SLOT_ANY ? 0 : vgpu_resid_wait(r, at);

		if (rc)
			return rc;
		absent += at == VB_SLOT_ANY;
	}
	return absent;
}

/* -EBUSY: a client mapped or pinned something meanwhile. */
static int run_lay_out_once(struct vgpu_resid *r, const struct vgpu_run *run)
{
	int absent = run_settle(r, run), rc;
	uint32_t window;

	if (absent < 0)
		return absent;
	/* One more than is missing, to move things around; what is refused is no room. */
	rc = vgpu_resid_make_room(r, (uint32_t)absent + r->refused + 1);
	if (rc == -ENOSPC)
		rc = vgpu_resid_make_room(r, (uint32_t)absent + r->refused);
	if (rc)
		return rc;
	window = run_choose_window(r, run);
	while (window == VB_SLOT_ANY && vgpu_resid_is_moving(r)) {
		rc = vgpu_resid_pump(r, VGPU_PUMP_WAIT_NS);
		if (rc < 0)
			return rc;
		window = run_choose_window(r, run);
	}
	if (window == VB_SLOT_ANY) {
		note_blocks(r);
		return -ENOSPC;
	}
	for (uint32_t i = 0; i < run_length(run); i++) {
		rc = run_place_one(r, run, window, i);
		if (rc)
			return rc;
	}
	return 0;
}

static int run_lay_out(struct vgpu_resid *r, const struct vgpu_run *run)
{
	int rc = -EBUSY;

	run_forget_refusals(r);
	/* Slots that are refused are found out one by one. */
	for (uint32_t i = 0; i < LAYOUT_TRIES + r->refused && rc == -EBUSY; i++)
		rc = run_lay_out_once(r, run);
	return rc == -EBUSY ? -ENOSPC : rc;
}

/*
 * Pin what is there, so that neither the policy nor making room takes it away.  -EAGAIN: the
 * device is about to bring a part of it.
 */
static int run_pin_present(struct vgpu_resid *r, const struct vgpu_run *run)
{
	int rc = 0;

	for (uint32_t c = run->first; c < run->end; c++) {
		uint32_t slot = vgpu_slot_of(r, run->object, c);
		int filled = slot == VB_SLOT_ANY ? vgpu_filled_take(r, run->object, c, &slot) : 0;

		if (filled == -EAGAIN)
			rc = -EAGAIN;
		if (filled)
			continue;
		vgpu_slot_pin(r, slot);
		if (r->slot[slot].flags & VGPU_SLOT_OVERDUE)
			rc = -ETIMEDOUT;
	}
	return rc;
}

/* Undo it; what the policy took in and did not come, it forgets. */
static void run_release(struct vgpu_resid *r, const struct vgpu_run *run)
{
	for (uint32_t c = run->first; c < run->end; c++) {
		uint64_t key = vgpu_policy_key(run->object->id, c);
		uint32_t slot = vgpu_slot_of(r, run->object, c);

		if (slot == VB_SLOT_ANY) {
			r->policy->forget(r->policy_state, key);
			continue;
		}
		if (r->policy->retains(r->policy_state, key))
			vgpu_slot_flag(r, slot, VGPU_SLOT_RETAINED, 0);
		vgpu_resid_unpin(r, slot);
	}
}

static int run_account(struct vgpu_resid *r, const struct vgpu_run *run)
{
	for (uint32_t c = run->first; c < run->end; c++) {
		int keep = vgpu_resid_account(r, run->object, c);

		if (keep < 0)
			return keep;
	}
	return 0;
}

/* It is in memory alone, and was written: to write it once more is nothing new to the device. */
static bool slot_is_written(const struct vgpu_slot *s)
{
	struct vb_table_entry e = vgpu_object_entry(s->object, s->chunk);

	return e.valid == 1u << VB_TIER_HOST && !e.busy &&
	       (e.flags & (VB_ENTRY_TOUCHED | VB_ENTRY_DIRTY | VB_ENTRY_CRC | VB_ENTRY_LOST)) ==
	       (VB_ENTRY_TOUCHED | VB_ENTRY_DIRTY);
}

/* The run lies at its slot and is pinned: wait for its bytes. */
static int run_finish(struct vgpu_resid *r, const struct vgpu_run *run, bool write)
{
	uint32_t i, n = run_length(run);
	int rc = 0;

	for (i = 0; i < n; i++) {
		struct vgpu_slot *s = &r->slot[run->slot + i];

		vgpu_slot_note_ahead(r, s);
		vgpu_slot_unwant(r, run->slot + i, 1);
		if (!(s->flags & VGPU_SLOT_RETAINED) &&
		    r->policy->retains(r->policy_state, vgpu_slot_key(s)))
			vgpu_slot_flag(r, run->slot + i, VGPU_SLOT_RETAINED, 0);
	}
	for (i = 0; i < n && !rc; i++)
		rc = vgpu_resid_wait(r, run->slot + i);
	for (i = 0; i < n && !rc && write; i++) {
		struct vgpu_slot *s = &r->slot[run->slot + i];

		if (!slot_is_written(s))
			rc = vgpu_resid_move(r, s->object, s->chunk, VB_MOVE_WRITE, VB_TIER_HOST,
					     VB_TIER_HOST, NULL, NULL);
	}
	return rc;
}

int vgpu_resid_use_run(struct vgpu_resid *r, struct vgpu_run *run, bool write)
{
	int rc = run_pin_present(r, run);
	uint32_t at;

	if (!rc)
		rc = run_account(r, run);
	if (!rc && !(run_is_adjacent(r, run, &at) &&
		     (run->slot == VB_SLOT_ANY || run->slot == at))) {
		rc = run_lay_out(r, run);
		if (!rc && !run_is_adjacent(r, run, &at))
			rc = -EIO;
	}
	if (!rc) {
		run->slot = at;
		rc = run_finish(r, run, write);
	}
	if (rc == -EAGAIN)
		vgpu_resid_expect(r, run->object, run->first, run->end);
	if (rc)
		run_release(r, run);
	return rc;
}

/* ------------------------------------------------------------------------
 * Several runs
 */

/* Does a run that has its place lie there? */
static bool slot_is_taken(const struct vgpu_run *runs, uint32_t n, uint32_t slot)
{
	for (uint32_t i = 0; i < n; i++) {
		if (runs[i].slot != VB_SLOT_ANY && slot >= runs[i].slot &&
		    slot - runs[i].slot < run_length(&runs[i]))
			return true;
	}
	return false;
}

static uint32_t first_fit(const struct vgpu_resid *r, const struct vgpu_run *runs, uint32_t n,
			  uint32_t want)
{
	uint32_t length = 0;

	for (uint32_t i = 0; i < r->slots; i++) {
		length = slot_is_taken(runs, n, i) || !slot_can_move(&r->slot[i], 0) ? 0 : length + 1;
		if (length == want)
			return i + 1 - want;
	}
	return VB_SLOT_ANY;
}

/* Where clients hold a part of a run it stays; the others fill the gaps, the longest first. */
static bool runs_have_places(const struct vgpu_resid *r, struct vgpu_run *runs, uint32_t n)
{
	uint32_t at;

	for (uint32_t i = 0; i < n; i++)
		runs[i].slot = VB_SLOT_ANY;
	for (uint32_t i = 0; i < n; i++) {
		if (!run_find_anchor(r, &runs[i], &at))
			continue;
		if (!window_is_possible(r, &runs[i], at, 0))
			return false;
		for (uint32_t slot = at; slot < at + run_length(&runs[i]); slot++) {
			if (slot_is_taken(runs, n, slot))
				return false;
		}
		runs[i].slot = at;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (runs[i].slot == VB_SLOT_ANY)
			runs[i].slot = first_fit(r, runs, n, run_length(&runs[i]));
		if (runs[i].slot == VB_SLOT_ANY)
			return false;
	}
	return true;
}

int vgpu_resid_place_runs(struct vgpu_resid *r, struct vgpu_run *runs, uint32_t n)
{
	while (!runs_have_places(r, runs, n)) {
		int rc = vgpu_resid_is_moving(r) ? vgpu_resid_pump(r, VGPU_PUMP_WAIT_NS) : -ENOSPC;

		if (rc == -ENOSPC)
			note_blocks(r);
		if (rc < 0)
			return rc;
	}
	return 0;
}
