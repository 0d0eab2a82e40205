// SPDX-License-Identifier: MIT
#include "resid.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "trace.h"

/* A wait for storage is bounded by the engine's own deadline; this only paces it. */
#define PUMP_WAIT_NS	(1000LL * 1000 * 1000)
#define HUGE_BYTES	(2u << 20)

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t slot_key(const struct vgpu_slot *s)
{
	return vgpu_policy_key(s->object->id, s->chunk);
}

static uint32_t resid_find(const struct vgpu_resid *r, uint64_t key)
{
	uint32_t slot;

	return vgpu_keymap_find(&r->map, key, &slot) ? slot : VB_SLOT_ANY;
}

static const volatile struct vb_table_entry *entry_of(const struct vgpu_slot *s)
{
	return &s->object->table[s->chunk];
}

int vgpu_resid_move(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk, uint8_t op,
		    uint8_t from, uint8_t to, uint32_t *slot, const uint32_t *crc)
{
	struct vb_move m = {
		.object = o->id, .chunk = chunk, .op = op, .from = from, .to = to,
		.arena = to == VB_TIER_NVME ? r->nvme_arena : r->host_arena,
		.slot = slot ? *slot : VB_SLOT_ANY,
		.flags = crc ? VB_MOVE_F_CRC : 0, .crc = crc ? *crc : 0,
	};
	struct vb_ioc_move req = { .size = sizeof(req), .count = 1, .generation = r->generation,
				   .address = (uintptr_t)&m };
	int rc = vgpu_uapi_call(r->node, VB_IOC_MOVE, &req);

	if (rc)
		return rc;
	if (!m.out_status && slot)
		*slot = m.slot;
	return m.out_status;
}

/* ------------------------------------------------------------------------
 * A slot comes and goes
 */

/* The slot holds nothing any more; the device knows already. */
static void slot_clear(struct vgpu_resid *r, uint32_t slot)
{
	struct vgpu_slot *s = &r->slot[slot];

	vgpu_keymap_remove(&r->map, slot_key(s));
	memset(s, 0, sizeof(*s));
	r->free++;
}

/* Keep what cannot leave: pinned by the device, mapped, or nowhere to go. */
static void slot_keep(struct vgpu_resid *r, uint32_t slot)
{
	struct vgpu_slot *s = &r->slot[slot];
	uint64_t victim = VGPU_POLICY_NONE;
	int answer = r->policy->access(r->policy_state, slot_key(s), VGPU_ACCESS_MUST_ADMIT,
				       &victim);

	if (answer < 0)
		return;		/* more is held than the policy may keep; stays in staging */
	/* The trace has every question that the policy was asked. */
	vgpu_trace_put(r->trace, (enum vgpu_trace_event)answer, slot_key(s),
		       VGPU_ACCESS_MUST_ADMIT, 0);
	s->flags |= VGPU_SLOT_RETAINED | VGPU_SLOT_HELD;
	r->policy->hold(r->policy_state, slot_key(s), true);
	if (victim != VGPU_POLICY_NONE) {
		uint32_t other = resid_find(r, victim);

		/* Not retired here: that could come back to this slot. */
		if (other != VB_SLOT_ANY)
			r->slot[other].flags &= ~VGPU_SLOT_RETAINED;
	}
}

static bool slot_is_idle(const struct vgpu_slot *s)
{
	return s->state == VGPU_SLOT_READY && !s->pins && !s->wants &&
	       !(s->flags & VGPU_SLOT_RETAINED);
}

/* Nothing keeps this slot: give it back, by way of NVMe if it must be written. */
static void slot_retire(struct vgpu_resid *r, uint32_t slot)
{
	struct vgpu_slot *s = &r->slot[slot];
	const volatile struct vb_table_entry *e = entry_of(s);
	int rc;

	if (e->maps || e->pins) {
		slot_keep(r, slot);
		return;
	}
	rc = vgpu_resid_move(r, s->object, s->chunk, VB_MOVE_DROP, VB_TIER_HOST, 0, NULL, NULL);
	if (!rc) {
		r->count[VB_COUNT_EVICTIONS]++;
		vgpu_trace_put(r->trace, VGPU_TRACE_EVICT, slot_key(s), 0, 0);
		slot_clear(r, slot);
		return;
	}
	if (!r->nvme || vgpu_fill_write_out(r, slot))
		slot_keep(r, slot);
}

static void slot_let_go(struct vgpu_resid *r, uint32_t slot)
{
	if (slot_is_idle(&r->slot[slot]))
		slot_retire(r, slot);
}

void vgpu_slot_filled(struct vgpu_resid *r, uint32_t slot, int error)
{
	struct vgpu_slot *s = &r->slot[slot];

	s->state = error ? VGPU_SLOT_FAILED : VGPU_SLOT_READY;
	s->error = error;
	if (error && !s->pins) {
		/* Nobody waits: a later use tries again and reports. */
		r->policy->forget(r->policy_state, slot_key(s));
		slot_clear(r, slot);
	} else if (s->object->gone) {
		slot_let_go(r, slot);
	}
}

void vgpu_slot_left(struct vgpu_resid *r, uint32_t slot, int error)
{
	struct vgpu_slot *s = &r->slot[slot];

	s->state = VGPU_SLOT_READY;
	if (error) {
		slot_keep(r, slot);
		return;
	}
	if (!s->pins && !s->wants && !(s->flags & VGPU_SLOT_RETAINED))
		slot_retire(r, slot);
}

/* ------------------------------------------------------------------------
 * Room
 */

static bool slot_is_spare(const struct vgpu_slot *s)
{
	return s->state == VGPU_SLOT_READY && !s->pins && !(s->flags & VGPU_SLOT_RETAINED);
}

/* Give up a slot that was read ahead: a guess first, else the farthest use. */
static bool resid_steal(struct vgpu_resid *r, bool guesses_only)
{
	uint32_t best = VB_SLOT_ANY;
	uint64_t farthest = 0;

	for (uint32_t i = 0; i < r->slots; i++) {
		const struct vgpu_slot *s = &r->slot[i];
		uint64_t rank = s->wants ? s->wanted_at : UINT64_MAX;

		if (!slot_is_spare(s) || (guesses_only && s->wants))
			continue;
		if (best == VB_SLOT_ANY || rank > farthest) {
			best = i;
			farthest = rank;
		}
	}
	if (best == VB_SLOT_ANY)
		return false;
	r->slot[best].wants = 0;
	slot_retire(r, best);
	return true;
}

/* Make sure one slot is free; may wait for I/O. */
static int resid_make_room(struct vgpu_resid *r)
{
	while (!r->free) {
		uint32_t before = r->free;

		if (resid_steal(r, false) && r->free > before)
			return 0;
		if (!r->moving)
			return -ENOSPC;
		int rc = vgpu_resid_pump(r, PUMP_WAIT_NS);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static void resid_unretain(struct vgpu_resid *r, uint64_t key)
{
	uint32_t slot = resid_find(r, key);

	if (slot == VB_SLOT_ANY)
		return;
	r->slot[slot].flags &= ~(VGPU_SLOT_RETAINED | VGPU_SLOT_HELD);
	slot_let_go(r, slot);
}

/* Slots that were held for a client's mapping, and are not mapped any more. */
static void resid_release_held(struct vgpu_resid *r)
{
	for (uint32_t i = 0; i < r->slots; i++) {
		struct vgpu_slot *s = &r->slot[i];

		if (s->state != VGPU_SLOT_READY || !(s->flags & VGPU_SLOT_HELD) || s->pins ||
		    entry_of(s)->maps || entry_of(s)->pins)
			continue;
		if (!r->nvme && !s->object->sealed && s->object->kind == VB_BO_ANONYMOUS)
			continue;	/* has nowhere to go */
		s->flags &= ~VGPU_SLOT_HELD;
		r->policy->hold(r->policy_state, slot_key(s), false);
	}
}

/* ------------------------------------------------------------------------
 * Uses
 */

/* Ask the policy; returns whether the chunk is kept, or -errno. */
static int resid_account(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk)
{
	uint64_t key = vgpu_policy_key(o->id, chunk), victim = VGPU_POLICY_NONE;
	unsigned int flags = o->kind == VB_BO_ANONYMOUS ? VGPU_ACCESS_MUST_ADMIT : 0;
	int answer = r->policy->access(r->policy_state, key, flags, &victim);

	if (answer == -EBUSY) {
		resid_release_held(r);
		answer = r->policy->access(r->policy_state, key, flags, &victim);
	}
	if (answer < 0)
		return answer == -EBUSY ? -ENOSPC : answer;
	r->count[VB_COUNT_ACCESSES]++;
	if (answer == VGPU_POLICY_HIT)
		r->count[VB_COUNT_HITS]++;
	else if (answer == VGPU_POLICY_BYPASS)
		r->count[VB_COUNT_BYPASSES]++;
	/* The first three events are the answers, in order. */
	vgpu_trace_put(r->trace, (enum vgpu_trace_event)answer, key, flags, 0);
	if (victim != VGPU_POLICY_NONE)
		resid_unretain(r, victim);
	return answer != VGPU_POLICY_BYPASS;
}

/* A chunk without a place: take one and start to fill it. */
static int resid_bring(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk,
		       uint32_t *out_slot)
{
	int rc = resid_make_room(r);

	if (rc)
		return rc;
	return vgpu_fill_start(r, o, chunk, VB_SLOT_ANY, out_slot);
}

static void slot_note_ahead(struct vgpu_resid *r, struct vgpu_slot *s)
{
	if (!(s->flags & VGPU_SLOT_AHEAD))
		return;
	s->flags &= ~VGPU_SLOT_AHEAD;
	r->count[VB_COUNT_PREFETCH_USED]++;
	if (s->state == VGPU_SLOT_FILLING)
		r->count[VB_COUNT_PREFETCH_LATE]++;
	vgpu_trace_put(r->trace, s->state == VGPU_SLOT_FILLING ? VGPU_TRACE_PREFETCH_LATE :
		       VGPU_TRACE_PREFETCH_USED, slot_key(s), 0, 0);
}

int vgpu_resid_use(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk, uint32_t flags,
		   uint32_t *out_slot)
{
	uint64_t key = vgpu_policy_key(o->id, chunk);
	bool account = true;
	uint32_t slot = resid_find(r, key);
	struct vgpu_slot *s;
	int rc, keep = 0;

	for (uint32_t part = 0; part < 2; part++) {
		if (!(flags & VGPU_USE_PART(part)))
			continue;
		account = key != r->last_streamed[part];
		r->last_streamed[part] = key;
	}
	/* Pinned while the policy looks for a victim, which may not be this one. */
	if (slot != VB_SLOT_ANY)
		r->slot[slot].pins++;
	if (account) {
		keep = resid_account(r, o, chunk);
		if (keep < 0) {
			if (slot != VB_SLOT_ANY)
				vgpu_resid_unpin(r, slot);
			return keep;
		}
	}
	if (slot == VB_SLOT_ANY) {
		rc = resid_bring(r, o, chunk, &slot);
		if (rc) {
			r->policy->forget(r->policy_state, key);
			return rc;
		}
		r->slot[slot].pins++;
	}
	s = &r->slot[slot];
	slot_note_ahead(r, s);
	if (keep)
		s->flags |= VGPU_SLOT_RETAINED;
	if (s->wants)
		s->wants--;
	*out_slot = slot;
	return 0;
}

int vgpu_resid_wait(struct vgpu_resid *r, uint32_t slot)
{
	struct vgpu_slot *s = &r->slot[slot];
	uint64_t start;
	int rc = 0;

	if (s->state == VGPU_SLOT_READY)
		return 0;
	start = now_ns();
	while (s->state == VGPU_SLOT_FILLING || s->state == VGPU_SLOT_LEAVING) {
		rc = vgpu_resid_pump(r, PUMP_WAIT_NS);
		if (rc < 0)
			break;
	}
	r->count[VB_COUNT_STALL_NS] += now_ns() - start;
	if (rc < 0)
		return rc;
	return s->state == VGPU_SLOT_FAILED ? s->error : 0;
}

void vgpu_resid_unpin(struct vgpu_resid *r, uint32_t slot)
{
	struct vgpu_slot *s = &r->slot[slot];

	if (--s->pins)
		return;
	if (s->state == VGPU_SLOT_FAILED) {
		r->policy->forget(r->policy_state, slot_key(s));
		slot_clear(r, slot);
		return;
	}
	slot_let_go(r, slot);
}

/* ------------------------------------------------------------------------
 * Runs of adjacent slots
 */

static bool run_is_adjacent(const struct vgpu_resid *r, struct vgpu_object *o, uint32_t first,
			    uint32_t end, uint32_t *out_slot)
{
	uint32_t start = resid_find(r, vgpu_policy_key(o->id, first));

	for (uint32_t c = first; start != VB_SLOT_ANY && c < end; c++) {
		if (resid_find(r, vgpu_policy_key(o->id, c)) != start + (c - first))
			return false;
	}
	*out_slot = start;
	return start != VB_SLOT_ANY;
}

/* Can the content of this slot be somewhere else a moment later? */
static bool slot_can_move(const struct vgpu_slot *s)
{
	return s->state == VGPU_SLOT_FREE ||
	       (s->state == VGPU_SLOT_READY && !s->pins && !entry_of(s)->maps &&
		!entry_of(s)->pins);
}

/* The window of @n slots with the fewest in use, none of them fixed. */
static uint32_t run_find_window(const struct vgpu_resid *r, uint32_t n)
{
	uint32_t best = VB_SLOT_ANY, best_used = UINT32_MAX, used = 0, length = 0;

	for (uint32_t i = 0; i < r->slots; i++) {
		if (!slot_can_move(&r->slot[i])) {
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
	if (rc)
		return rc;
	memcpy(vgpu_resid_ptr(r, taken), vgpu_resid_ptr(r, from), r->chunk_bytes);
	rc = vgpu_resid_move(r, s->object, s->chunk, VB_MOVE_COMMIT, VB_TIER_HOST, VB_TIER_HOST,
			     &taken, NULL);
	if (rc)
		return rc;
	r->count[VB_COUNT_COPY_BYTES] += r->chunk_bytes;
	vgpu_keymap_set(&r->map, slot_key(s), taken);
	r->slot[taken] = *s;
	memset(s, 0, sizeof(*s));
	return 0;
}

static uint32_t slot_free_outside(const struct vgpu_resid *r, uint32_t first, uint32_t n)
{
	for (uint32_t i = r->slots; i-- > 0;) {
		if (i >= first && i < first + n)
			continue;
		if (r->slot[i].state == VGPU_SLOT_FREE)
			return i;
	}
	return VB_SLOT_ANY;
}

/* Empty the slots [first, first + n), by moving what is in them elsewhere. */
static int run_clear_window(struct vgpu_resid *r, uint32_t first, uint32_t n)
{
	for (uint32_t i = first; i < first + n; i++) {
		uint32_t to;
		int rc;

		if (r->slot[i].state == VGPU_SLOT_FREE)
			continue;
		to = slot_free_outside(r, first, n);
		if (to == VB_SLOT_ANY)
			return -ENOSPC;
		rc = slot_relocate(r, i, to);
		if (rc)
			return rc;
	}
	return 0;
}

/* Slots that must be free before a run of @n can be laid out: one a chunk. */
static int run_make_room(struct vgpu_resid *r, uint32_t n)
{
	if (n > r->slots)
		return -ENOSPC;
	while (r->free < n) {
		if (resid_steal(r, false))
			continue;
		if (!r->moving)
			return -ENOSPC;
		int rc = vgpu_resid_pump(r, PUMP_WAIT_NS);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Put the chunks where they belong: move what is there, fill what is not. */
static int run_place(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first, uint32_t end,
		     uint32_t window)
{
	for (uint32_t c = first; c < end; c++) {
		uint32_t at = resid_find(r, vgpu_policy_key(o->id, c)), slot;
		int rc;

		if (at == VB_SLOT_ANY)
			rc = vgpu_fill_start(r, o, c, window + (c - first), &slot);
		else
			rc = slot_relocate(r, at, window + (c - first));
		if (rc)
			return rc;
	}
	return 0;
}

/* Let reads that are under way settle, so that their slots can move. */
static int run_settle(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first, uint32_t end)
{
	for (uint32_t c = first; c < end; c++) {
		uint32_t at = resid_find(r, vgpu_policy_key(o->id, c));

		if (at != VB_SLOT_ANY) {
			r->slot[at].pins++;
			int rc = vgpu_resid_wait(r, at);

			r->slot[at].pins--;
			if (rc)
				return rc;
		}
	}
	return 0;
}

static int run_lay_out(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first, uint32_t end)
{
	uint32_t n = end - first, window;
	int rc = run_settle(r, o, first, end);

	if (!rc)
		rc = run_make_room(r, n);
	if (rc)
		return rc;
	window = run_find_window(r, n);
	while (window == VB_SLOT_ANY && r->moving) {
		rc = vgpu_resid_pump(r, PUMP_WAIT_NS);
		if (rc < 0)
			return rc;
		window = run_find_window(r, n);
	}
	if (window == VB_SLOT_ANY)
		return -ENOSPC;
	rc = run_clear_window(r, window, n);
	return rc ? rc : run_place(r, o, first, end, window);
}

/* Account every chunk of the run; the policy keeps what is anonymous. */
static int run_account(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first, uint32_t end)
{
	for (uint32_t c = first; c < end; c++) {
		uint32_t slot = resid_find(r, vgpu_policy_key(o->id, c));
		int keep;

		if (slot != VB_SLOT_ANY)
			r->slot[slot].pins++;
		keep = resid_account(r, o, c);
		if (slot != VB_SLOT_ANY) {
			r->slot[slot].pins--;
			if (keep > 0)
				r->slot[slot].flags |= VGPU_SLOT_RETAINED;
		}
		if (keep < 0)
			return keep;
	}
	return 0;
}

/* Pin the run that lies at @slot and wait for its bytes. */
static int run_pin(struct vgpu_resid *r, uint32_t slot, uint32_t n, bool write)
{
	uint32_t i;
	int rc = 0;

	for (i = 0; i < n; i++) {
		struct vgpu_slot *s = &r->slot[slot + i];

		s->pins++;
		slot_note_ahead(r, s);
		if (s->wants)
			s->wants--;
		if (r->policy->retains(r->policy_state, slot_key(s)))
			s->flags |= VGPU_SLOT_RETAINED;
	}
	for (i = 0; i < n && !rc; i++)
		rc = vgpu_resid_wait(r, slot + i);
	for (i = 0; i < n && !rc && write; i++) {
		struct vgpu_slot *s = &r->slot[slot + i];

		rc = vgpu_resid_move(r, s->object, s->chunk, VB_MOVE_WRITE, VB_TIER_HOST,
				     VB_TIER_HOST, NULL, NULL);
	}
	for (i = 0; i < n && rc; i++)
		vgpu_resid_unpin(r, slot + i);
	return rc;
}

int vgpu_resid_use_run(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first, uint32_t end,
		       bool write, uint32_t *out_slot)
{
	int rc = run_account(r, o, first, end);

	if (rc)
		return rc;
	if (!run_is_adjacent(r, o, first, end, out_slot)) {
		rc = run_lay_out(r, o, first, end);
		if (rc)
			return rc;
		if (!run_is_adjacent(r, o, first, end, out_slot))
			return -EIO;
	}
	return run_pin(r, *out_slot, end - first, write);
}

/* ------------------------------------------------------------------------
 * Reading ahead
 */

/* Slots that uses keep for themselves, so that reading ahead never blocks them. */
static bool resid_has_spare(struct vgpu_resid *r)
{
	if (r->free > 1)
		return true;
	return resid_steal(r, true) && r->free > 1;
}

static int resid_read_ahead(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk,
			    uint32_t *out_slot)
{
	int rc = vgpu_fill_start(r, o, chunk, VB_SLOT_ANY, out_slot);

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
	return o->kind == VB_BO_ANONYMOUS && !(o->table[chunk].flags & VB_ENTRY_TOUCHED);
}

int vgpu_resid_want(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk)
{
	uint32_t slot = resid_find(r, vgpu_policy_key(o->id, chunk));

	if (slot == VB_SLOT_ANY) {
		if (chunk_is_empty(o, chunk))
			return 0;
		if (!resid_has_spare(r))
			return -EAGAIN;
		if (resid_read_ahead(r, o, chunk, &slot))
			return 0;	/* the use will try again and report */
	}
	r->slot[slot].wants++;
	r->slot[slot].wanted_at = ++r->clock;
	return 0;
}

bool vgpu_resid_hint(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk)
{
	uint32_t slot = resid_find(r, vgpu_policy_key(o->id, chunk));

	if (slot != VB_SLOT_ANY || chunk_is_empty(o, chunk))
		return true;
	if (r->free <= 1)
		return false;
	return !resid_read_ahead(r, o, chunk, &slot);
}

void vgpu_resid_unwant_all(struct vgpu_resid *r)
{
	for (uint32_t i = 0; i < r->slots; i++) {
		if (r->slot[i].wants) {
			r->slot[i].wants = 0;
			slot_let_go(r, i);
		}
	}
}

/* ------------------------------------------------------------------------
 * Requests of the device
 */

uint64_t vgpu_resid_evict(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first,
			  uint32_t end)
{
	uint64_t bytes = 0;

	for (uint32_t c = first; c < end; c++) {
		uint32_t slot = resid_find(r, vgpu_policy_key(o->id, c));

		if (slot == VB_SLOT_ANY || r->slot[slot].pins)
			continue;
		if (entry_of(&r->slot[slot])->maps || entry_of(&r->slot[slot])->pins)
			continue;
		r->policy->forget(r->policy_state, vgpu_policy_key(o->id, c));
		r->slot[slot].wants = 0;
		r->slot[slot].flags = 0;
		slot_let_go(r, slot);
	}
	while (r->moving && vgpu_resid_pump(r, PUMP_WAIT_NS) >= 0)
		;
	for (uint32_t c = first; c < end; c++)
		bytes += !(o->table[c].valid & (1u << VB_TIER_HOST)) ? r->chunk_bytes : 0;
	return bytes;
}

uint32_t vgpu_resid_reclaim(struct vgpu_resid *r, uint32_t count)
{
	uint32_t before = r->free;

	while (r->free < before + count) {
		uint64_t victim;

		if (resid_steal(r, false))
			continue;
		if (r->policy->shrink(r->policy_state, &victim))
			break;
		resid_unretain(r, victim);
	}
	return r->free - before;
}

void vgpu_resid_forget(struct vgpu_resid *r, struct vgpu_object *o)
{
	o->gone = true;
	for (uint32_t i = 0; i < r->slots; i++) {
		struct vgpu_slot *s = &r->slot[i];

		/* A request that never comes back keeps its slot: see vgpu_io_overdue(). */
		while (s->object == o && (s->state == VGPU_SLOT_FILLING ||
					  s->state == VGPU_SLOT_LEAVING)) {
			if (vgpu_resid_pump(r, PUMP_WAIT_NS) < 0 || !r->moving)
				break;
		}
		if (s->object != o)
			continue;
		r->policy->forget(r->policy_state, slot_key(s));
		slot_clear(r, i);
	}
}

int vgpu_resid_pump(struct vgpu_resid *r, int64_t wait_ns)
{
	struct vgpu_io_req *done = NULL;
	int n;

	if (!r->moving)
		return 0;
	n = vgpu_io_reap(r->io, wait_ns ? 1 : 0, 64, wait_ns, &done);
	if (n < 0)
		return n;
	while (done) {
		struct vgpu_io_req *req = done;

		done = req->next;
		vgpu_fill_done(r, req);
	}
	return n;
}

/* ------------------------------------------------------------------------
 * Set-up
 */

static int resid_map_memory(struct vgpu_resid *r)
{
	size_t bytes = (size_t)r->slots * r->chunk_bytes + HUGE_BYTES;
	uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t skip;

	if (p == MAP_FAILED)
		return -ENOMEM;
	skip = (HUGE_BYTES - ((uintptr_t)p & (HUGE_BYTES - 1))) & (HUGE_BYTES - 1);
	if (skip)
		munmap(p, skip);
	munmap(p + bytes - (HUGE_BYTES - skip), HUGE_BYTES - skip);
	r->memory = p + skip;
	r->memory_bytes = bytes - HUGE_BYTES;
	madvise(r->memory, r->memory_bytes, MADV_HUGEPAGE);
	madvise(r->memory, r->memory_bytes, MADV_DONTFORK);
	return 0;
}

static int resid_create_arenas(struct vgpu_resid *r)
{
	struct vb_ioc_arena_create host = { .size = sizeof(host), .tier = VB_TIER_HOST,
					    .numa_node = -1, .slots = r->slots };
	struct vb_ioc_region region = { .size = sizeof(region), .slots = r->slots,
					.address = (uintptr_t)r->memory };
	struct vb_ioc_arena_create nvme = { .size = sizeof(nvme), .tier = VB_TIER_NVME,
					    .numa_node = -1 };
	int rc;

	rc = vgpu_uapi_call(r->node, VB_IOC_ARENA_CREATE, &host);
	if (rc)
		return rc;
	r->host_arena = region.arena = host.out_arena;
	rc = vgpu_uapi_call(r->node, VB_IOC_REGION_ADD, &region);
	if (rc || !r->nvme)
		return rc;
	nvme.slots = (uint32_t)(vgpu_nvme_bytes(r->nvme) / r->chunk_bytes);
	while (nvme.slots && vgpu_nvme_offset(r->nvme, nvme.slots - 1) == UINT64_MAX)
		nvme.slots--;
	rc = vgpu_uapi_call(r->node, VB_IOC_ARENA_CREATE, &nvme);
	r->nvme_arena = nvme.out_arena;
	return rc ? rc : vgpu_io_file_add(r->io, vgpu_nvme_fd(r->nvme), 0, &r->nvme_file);
}

int vgpu_resid_init(struct vgpu_resid *r, const struct vgpu_resid_params *p)
{
	struct vgpu_policy_params pp = { .capacity = p->capacity };
	int rc;

	r->generation = p->generation;
	r->chunk_bytes = p->chunk_bytes;
	r->capacity = p->capacity;
	r->staging = p->staging;
	r->slots = r->free = p->capacity + p->staging;
	r->last_streamed[0] = r->last_streamed[1] = VGPU_POLICY_NONE;
	r->region = -1;
	r->policy = vgpu_policy_find(p->policy);
	if (!r->policy)
		return -EINVAL;
	r->slot = calloc(r->slots, sizeof(*r->slot));
	if (!r->slot)
		return -ENOMEM;
	rc = vgpu_keymap_init(&r->map, r->slots, r->slots);
	if (!rc)
		rc = resid_map_memory(r);
	if (!rc)
		rc = vgpu_io_region_add(r->io, r->memory, r->memory_bytes, &r->region);
	if (!rc)
		rc = r->policy->create(&pp, &r->policy_state);
	return rc ? rc : resid_create_arenas(r);
}

void vgpu_resid_destroy(struct vgpu_resid *r)
{
	if (r->policy)
		r->policy->destroy(r->policy_state);
	if (r->memory && r->region >= 0)
		vgpu_io_region_remove(r->io, r->region);
	if (r->memory)
		munmap(r->memory, r->memory_bytes);
	vgpu_fill_drain(r);
	vgpu_keymap_fini(&r->map);
	free(r->slot);
	memset(r, 0, sizeof(*r));
}
