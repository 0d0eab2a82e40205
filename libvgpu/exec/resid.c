// SPDX-License-Identifier: MIT
#include "resid.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "adopt.h"
#include "clock.h"
#include "home.h"
#include "leave.h"
#include "region.h"
#include "slot.h"
#include "trace.h"

#define BEAT_NS		(50ull * 1000u * 1000u)
/* vgpu.h tells clients. */
#define ROOM_WAIT_MS	10000u

static int resid_step(struct vgpu_resid *r, struct vb_move *m)
{
	struct vb_ioc_move req = { .size = sizeof(req), .count = 1, .generation = r->generation,
				   .address = (uintptr_t)m };
	int rc = vgpu_uapi_call(r->node, VB_IOC_MOVE, &req);

	return rc ? rc : m->out_status;
}

/* Where the chunk should be, or where there is room: the device may have less than we know. */
static int resid_begin_any(struct vgpu_resid *r, struct vb_move *m, uint32_t *out_slot)
{
	uint32_t first = vgpu_home_choose(r, m->chunk);
	int rc = -ENOSPC;

	for (uint32_t i = 0; rc == -ENOSPC && i < r->homes; i++) {
		m->arena = r->home[(first + i) % r->homes].arena;
		m->slot = VB_SLOT_ANY;
		rc = resid_step(r, m);
	}
	if (!rc)
		*out_slot = vgpu_home_slot(r, m->arena, m->slot);
	return rc;
}

int vgpu_resid_move(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk, uint8_t op,
		    uint8_t from, uint8_t to, uint32_t *slot, const uint32_t *crc)
{
	struct vb_move m = {
		.object = o->id, .chunk = chunk, .op = op, .from = from, .to = to,
		.arena = r->nvme_arena, .slot = slot ? *slot : VB_SLOT_ANY,
		.flags = crc ? VB_MOVE_F_CRC : 0, .crc = crc ? *crc : 0,
	};
	bool to_host = slot && to == VB_TIER_HOST;
	int rc;

	if (to_host && *slot == VB_SLOT_ANY)
		return resid_begin_any(r, &m, slot);
	if (to_host) {
		m.arena = VB_LOC_ARENA(vgpu_home_loc(r, *slot));
		m.slot = VB_LOC_SLOT(vgpu_home_loc(r, *slot));
	}
	rc = resid_step(r, &m);
	if (!rc && slot && !to_host)
		*slot = m.slot;
	return rc;
}

void vgpu_resid_stays(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk, int error)
{
	struct vb_move m = {
		.object = o->id, .chunk = chunk, .op = VB_MOVE_ABORT, .from = VB_TIER_HOST,
		.to = VB_TIER_NVME, .arena = r->nvme_arena, .slot = VB_SLOT_ANY,
	};

	if (error == -EIO && r->unwritten++ < VGPU_BAD_IN_ROW)
		m.flags = VB_MOVE_F_BAD;
	resid_step(r, &m);
}

/* ------------------------------------------------------------------------
 * Uses
 */

/*
 * Requests that storage keeps, or keeps for good: whoever waits for them is told, and who
 * waited for @slot.
 */
static void resid_note_late(struct vgpu_resid *r, uint32_t slot)
{
	struct vgpu_io_req *late[VGPU_IO_DEPTH_MAX];
	uint32_t n = vgpu_io_overdue(r->io, late, VGPU_IO_DEPTH_MAX);

	vgpu_fill_note_slow(r, slot);
	for (uint32_t i = 0; i < n && i < VGPU_IO_DEPTH_MAX; i++)
		vgpu_fill_overdue(r, late[i]);
}

void vgpu_resid_try(struct vgpu_resid *r, struct vgpu_attempt *a)
{
	if (a->uses)
		memcpy(r->last_streamed, a->last_streamed, sizeof(r->last_streamed));
	else
		memcpy(a->last_streamed, r->last_streamed, sizeof(r->last_streamed));
	a->at = 0;
	r->attempt = a;
}

/* Was this use counted by an attempt before?  They come in the same order each time. */
static bool resid_has_counted(struct vgpu_resid *r)
{
	struct vgpu_attempt *a = r->attempt;

	if (!a)
		return false;
	if (a->at++ < a->uses)
		return true;
	a->uses++;
	return false;
}

/*
 * A chunk that the policy keeps, and that cannot come now, is forgotten: it has no place.
 * When it comes after all, the policy is asked anew; not each time it is tried.
 */
static void resid_lose(struct vgpu_resid *r, uint64_t key, bool kept)
{
	r->policy->forget(r->policy_state, key);
	if (r->attempt)
		r->attempt->lost = kept;
}

/* Was the use just counted, or come by, lost before? */
static bool resid_take_lost(struct vgpu_resid *r)
{
	struct vgpu_attempt *a = r->attempt;
	bool lost = a && a->lost && a->at == a->uses;

	if (lost)
		a->lost = false;
	return lost;
}

static void resid_count(struct vgpu_resid *r, int answer)
{
	r->count[VB_COUNT_ACCESSES]++;
	if (answer == VGPU_POLICY_HIT)
		r->count[VB_COUNT_HITS]++;
	else if (answer != VGPU_POLICY_ADMIT)
		r->count[VB_COUNT_BYPASSES]++;
}

/*
 * Ask the policy; returns whether the chunk is kept, or -errno.  When clients hold all
 * that the policy may keep, the chunk is used in staging: there is room for it or not,
 * but that is not the policy's to say.
 */
static int resid_ask(struct vgpu_resid *r, uint64_t key, unsigned int flags, bool counted)
{
	uint64_t victim = VGPU_POLICY_NONE;
	int answer = r->policy->access(r->policy_state, key, flags, &victim);

	if (answer == -EBUSY) {
		vgpu_resid_release_held(r);
		answer = r->policy->access(r->policy_state, key, flags, &victim);
	}
	if (answer < 0 && answer != -EBUSY)
		return answer;
	if (!counted)
		resid_count(r, answer);
	if (answer == -EBUSY)
		return 0;	/* the trace has what the policy counted, and no more */
	if (answer == VGPU_POLICY_BYPASS)
		vgpu_resid_check_held(r);
	/* The first three events are the answers, in order. */
	vgpu_trace_put(r->trace, (enum vgpu_trace_event)answer, key, flags, 0);
	if (victim == VGPU_POLICY_NONE)
		return answer != VGPU_POLICY_BYPASS;
	/* A victim that has to stay may take the place of this one. */
	vgpu_resid_unretain(r, victim);
	return r->policy->retains(r->policy_state, key);
}

int vgpu_resid_account(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk)
{
	uint64_t key = vgpu_policy_key(o->id, chunk);
	unsigned int flags = o->kind == VB_BO_ANONYMOUS ? VGPU_ACCESS_MUST_ADMIT : 0;
	bool counted = resid_has_counted(r);

	/* What must be kept and found no room was forgotten, and is asked for anew. */
	if (counted && (!flags || r->policy->retains(r->policy_state, key)))
		return r->policy->retains(r->policy_state, key);
	return resid_ask(r, key, flags, counted);
}

int vgpu_resid_fill(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk,
		      uint32_t wanted, uint32_t *out_slot)
{
	int rc = vgpu_fill_start(r, o, chunk, wanted, out_slot);
	bool again = true;

	while (rc == -EDQUOT && vgpu_resid_shed(r, o->client, &again))
		rc = vgpu_fill_start(r, o, chunk, wanted, out_slot);
	return rc;
}

/*
 * Slots that we gave back may be in quarantine: others still do I/O with their memory.
 * They count as free here, but the device has fewer: more of ours go until there is one.
 */
static int resid_fill_any(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk,
			  uint32_t *out_slot)
{
	int rc = vgpu_resid_fill(r, o, chunk, VB_SLOT_ANY, out_slot);

	while (rc == -ENOSPC && r->free) {
		r->blocks |= VGPU_BLOCK_CLIENT;
		rc = vgpu_resid_make_room(r, r->free + 1);
		if (!rc)
			rc = vgpu_resid_fill(r, o, chunk, VB_SLOT_ANY, out_slot);
	}
	return rc;
}

/* A chunk without a place: take one and start to fill it. */
static int resid_bring(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk,
		       uint32_t *out_slot)
{
	int rc = vgpu_resid_make_room(r, 1);

	if (rc)
		return rc;
	return resid_fill_any(r, o, chunk, out_slot);
}

void vgpu_slot_note_ahead(struct vgpu_resid *r, struct vgpu_slot *s)
{
	if (!(s->flags & VGPU_SLOT_AHEAD))
		return;
	s->flags &= ~VGPU_SLOT_AHEAD;
	vgpu_slot_is_no_guess(r, s);
	r->count[VB_COUNT_PREFETCH_USED]++;
	if (s->state == VGPU_SLOT_FILLING)
		r->count[VB_COUNT_PREFETCH_LATE]++;
	vgpu_trace_put(r->trace, s->state == VGPU_SLOT_FILLING ? VGPU_TRACE_PREFETCH_LATE :
		       VGPU_TRACE_PREFETCH_USED, vgpu_slot_key(s), 0, 0);
}

/* Is there a reason not to wait for it? */
static int slot_is_late(struct vgpu_resid *r, const struct vgpu_slot *s)
{
	if (s->flags & VGPU_SLOT_OVERDUE) {
		r->fault_key = vgpu_slot_key(s);
		r->fault_error = -ETIMEDOUT;
		return -ETIMEDOUT;
	}
	if (!(s->flags & VGPU_SLOT_SLOW))
		return 0;
	r->late_slot = (uint32_t)(s - r->slot);
	return -EAGAIN;
}

/* Is it another use than that of the panel before?  It is the last one now. */
static bool resid_stream(struct vgpu_resid *r, uint64_t key, uint32_t flags)
{
	bool other = true;

	for (uint32_t part = 0; part < 2; part++) {
		if (!(flags & VGPU_USE_PART(part)))
			continue;
		other = key != r->last_streamed[part];
		r->last_streamed[part] = key;
	}
	return other;
}

int vgpu_resid_use(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk, uint32_t flags,
		   uint32_t *out_slot)
{
	uint64_t key = vgpu_policy_key(o->id, chunk);
	uint32_t slot = vgpu_slot_of(r, o, chunk);
	bool lost = false;
	int rc, keep = 0;

	if (slot != VB_SLOT_ANY && r->slot[slot].flags & VGPU_SLOT_OVERDUE)
		return slot_is_late(r, &r->slot[slot]);
	/* Pinned while the policy looks for a victim, which may not be this one. */
	if (slot != VB_SLOT_ANY)
		vgpu_slot_pin(r, slot);
	if (resid_stream(r, key, flags)) {
		keep = vgpu_resid_account(r, o, chunk);
		lost = resid_take_lost(r);
		if (keep < 0) {
			if (slot != VB_SLOT_ANY)
				vgpu_resid_unpin(r, slot);
			return keep;
		}
	}
	if (slot == VB_SLOT_ANY) {
		rc = resid_bring(r, o, chunk, &slot);
		if (rc) {
			resid_lose(r, key, keep || lost);
			return rc;
		}
		vgpu_slot_pin(r, slot);
		/* Room may have been made by keeping what could not leave, instead of this. */
		keep = keep && r->policy->retains(r->policy_state, key);
	}
	if (lost && !keep)
		keep = resid_ask(r, key, 0, true) > 0;
	vgpu_slot_note_ahead(r, &r->slot[slot]);
	if (keep)
		vgpu_slot_flag(r, slot, VGPU_SLOT_RETAINED, 0);
	vgpu_slot_unwant(r, slot, 1);
	*out_slot = slot;
	return 0;
}

/* A use waited for @key; so long that it does not fit is as long as does. */
static void note_stall(struct vgpu_resid *r, uint64_t key, uint64_t ns)
{
	uint64_t us = (ns + 500) / 1000;

	r->count[VB_COUNT_STALL_NS] += ns;
	vgpu_trace_put(r->trace, VGPU_TRACE_WAIT, key, 0,
		       us < UINT32_MAX ? (uint32_t)us : UINT32_MAX);
}

int vgpu_resid_wait(struct vgpu_resid *r, uint32_t slot)
{
	struct vgpu_slot *s = &r->slot[slot];
	uint64_t start, key;
	int rc = 0;

	if (s->state == VGPU_SLOT_READY)
		return 0;
	key = vgpu_slot_key(s);
	start = vgpu_now_ns();
	/* Whose files are slow keeps nobody waiting again. */
	if (vgpu_fill_slow_of(r, s->object->client))
		vgpu_fill_note_slow(r, slot);
	while (vgpu_slot_is_moving(s)) {
		vgpu_fill_hurry(r, slot);
		rc = slot_is_late(r, s);
		if (!rc)
			rc = vgpu_resid_pump(r, VGPU_PUMP_WAIT_NS);
		if (rc < 0)
			break;
		/* Others may go on while this one never comes. */
		if (vgpu_now_ns() - start > VGPU_SLOW_NS)
			resid_note_late(r, slot);
	}
	note_stall(r, key, vgpu_now_ns() - start);
	if (rc < 0)
		return rc;
	return s->state == VGPU_SLOT_FAILED ? s->error : 0;
}

void vgpu_resid_expect(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first,
		       uint32_t end)
{
	for (uint32_t c = first; c < end; c++) {
		uint32_t slot = vgpu_slot_of(r, o, c);

		if (slot != VB_SLOT_ANY && !vgpu_slot_wants(r, &r->slot[slot]))
			vgpu_slot_want(r, slot);
	}
}

void vgpu_resid_unpin(struct vgpu_resid *r, uint32_t slot)
{
	struct vgpu_slot *s = &r->slot[slot];

	if (--s->pins)
		return;
	vgpu_slot_relist(r, slot);
	if (s->state == VGPU_SLOT_FAILED)
		vgpu_slot_abort(r, slot);
	else
		vgpu_slot_let_go(r, slot);
}

int vgpu_resid_alloc(struct vgpu_resid *r, uint64_t bytes, void **out)
{
	while (!vgpu_beside_has_room(&r->beside, bytes) && vgpu_resid_is_moving(r)) {
		int rc = vgpu_resid_pump(r, VGPU_PUMP_WAIT_NS);

		if (rc < 0)
			return rc;
	}
	*out = vgpu_beside_alloc(&r->beside, 64, bytes);
	return *out ? 0 : -ENOMEM;
}

/* ------------------------------------------------------------------------
 * Requests of the device
 */

/**
 * struct walk - the slots that hold chunks of an object, one after the other
 * @object: which
 * @first: first chunk
 * @end: one past the last
 * @at: how far it came
 */
struct walk {
	struct vgpu_object *object;
	uint32_t first, end, at;
};

/* By the chunks, or where there are more of them than slots in the tier, by these. */
static uint32_t walk_next(struct vgpu_resid *r, struct walk *w)
{
	uint32_t count = w->end - w->first, slot;

	while (w->at < count && w->at < r->slots) {
		r->looks++;
		slot = w->at++;
		if (count <= r->slots)
			slot = vgpu_slot_of(r, w->object, w->first + slot);
		else if (r->slot[slot].object != w->object ||
			 r->slot[slot].chunk < w->first || r->slot[slot].chunk >= w->end)
			continue;
		if (slot != VB_SLOT_ANY)
			return slot;
	}
	return VB_SLOT_ANY;
}

void vgpu_resid_evict(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first, uint32_t end)
{
	struct walk w = { o, first, end, 0 };
	uint32_t slot;

	while ((slot = walk_next(r, &w)) != VB_SLOT_ANY) {
		if (r->slot[slot].pins || vgpu_slot_is_fixed(&r->slot[slot]))
			continue;
		r->policy->forget(r->policy_state, vgpu_slot_key(&r->slot[slot]));
		vgpu_slot_unwant(r, slot, UINT32_MAX);
		vgpu_slot_is_no_guess(r, &r->slot[slot]);
		vgpu_leave_end(r, slot);
		vgpu_slot_flag(r, slot, 0, (uint8_t)~(VGPU_SLOT_OVERDUE | VGPU_SLOT_SLOW));
		vgpu_slot_let_go(r, slot);
	}
}

/* Does a chunk move that somebody may wait for?  @w stays there. */
static bool walk_meets_moving(struct vgpu_resid *r, struct walk *w, bool slow_too)
{
	uint32_t slot;

	while (r->moving && (slot = walk_next(r, w)) != VB_SLOT_ANY) {
		const struct vgpu_slot *s = &r->slot[slot];

		if (!vgpu_slot_is_moving(s) || (s->flags & VGPU_SLOT_SLOW && !slow_too))
			continue;
		w->at--;
		return true;
	}
	return false;
}

bool vgpu_resid_is_evicted(struct vgpu_resid *r, struct vgpu_object *o, uint32_t first,
			   uint32_t end, uint32_t *at, uint64_t until)
{
	struct walk w = { o, first, end, *at };
	bool moving;

	if (vgpu_now_ns() >= until) {
		resid_note_late(r, VB_SLOT_ANY);
		vgpu_fill_note_slow_object(r, o);
	}
	moving = walk_meets_moving(r, &w, false);
	*at = w.at;
	return !moving;
}

bool vgpu_resid_forget(struct vgpu_resid *r, struct vgpu_object *o)
{
	struct walk w = { o, 0, o->chunks, 0 };
	uint32_t slot;

	o->gone = true;
	if (walk_meets_moving(r, &w, true))
		return false;
	w.at = 0;
	while ((slot = walk_next(r, &w)) != VB_SLOT_ANY) {
		r->policy->forget(r->policy_state, vgpu_slot_key(&r->slot[slot]));
		vgpu_slot_leave(r, slot);
	}
	return true;
}

void vgpu_resid_beat(struct vgpu_resid *r)
{
	struct vb_ioc_poll_cancel beat = { .size = sizeof(beat) };
	uint64_t now = vgpu_now_ns();

	if (now - r->beat_at < BEAT_NS)
		return;
	r->beat_at = now;
	vgpu_uapi_call(r->node, VB_IOC_POLL_CANCEL, &beat);
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
	if (!n && (wait_ns || r->slow))
		resid_note_late(r, VB_SLOT_ANY);
	if (!n && wait_ns)
		vgpu_resid_beat(r);
	return n;
}

/* ------------------------------------------------------------------------
 * Set-up
 */

/* The device may read there, if it can. */
static int nvme_arena_create(struct vgpu_resid *r, struct vb_ioc_arena_create *cmd)
{
	int rc;

	if (r->node->ops->fd) {
		cmd->memory = VB_ARENA_FILE;
		cmd->memory_fd = vgpu_nvme_fd(r->nvme);
		cmd->memory_offset = (uint32_t)vgpu_nvme_offset(r->nvme, 0);
		rc = vgpu_uapi_call(r->node, VB_IOC_ARENA_CREATE, cmd);
		if (rc != -EINVAL)
			return rc;
		/* One that does not know of that. */
		cmd->memory = VB_ARENA_EXECUTOR;
		cmd->memory_fd = 0;
		cmd->memory_offset = 0;
	}
	return vgpu_uapi_call(r->node, VB_IOC_ARENA_CREATE, cmd);
}

static int resid_create_nvme(struct vgpu_resid *r)
{
	struct vb_ioc_arena_create nvme = { .size = sizeof(nvme), .tier = VB_TIER_NVME,
					    .numa_node = -1 };
	uint64_t identity[2];
	int rc;

	if (!r->nvme)
		return 0;
	vgpu_nvme_identity(r->nvme, identity);
	memcpy(nvme.identity, identity, sizeof(identity));
	nvme.slots = (uint32_t)(vgpu_nvme_bytes(r->nvme) / r->chunk_bytes);
	while (nvme.slots && vgpu_nvme_offset(r->nvme, nvme.slots - 1) == UINT64_MAX)
		nvme.slots--;
	rc = nvme_arena_create(r, &nvme);
	r->nvme_arena = nvme.out_arena;
	return rc ? rc : vgpu_io_file_add(r->io, vgpu_nvme_fd(r->nvme), 0, &r->nvme_file);
}

static int resid_create(struct vgpu_resid *r, const struct vgpu_resid_params *p)
{
	int rc = vgpu_regions_create(r, p->wish, p->wishes);

	return rc ? rc : resid_create_nvme(r);
}

/* The device is recovering, and goes on when all is registered and known here. */
static int resid_adopt(struct vgpu_resid *r, struct vgpu_left *left)
{
	int rc = vgpu_left_adopt_host(r->node, left);

	if (rc)
		return rc;
	rc = vgpu_regions_adopt(r, left);
	if (rc)
		return rc;
	if (left->nvme) {
		r->nvme_arena = left->nvme_arena;
		rc = vgpu_left_adopt_nvme(r->node, left);
		if (!rc)
			rc = vgpu_io_file_add(r->io, vgpu_nvme_fd(r->nvme), 0, &r->nvme_file);
	} else {
		rc = resid_create_nvme(r);
	}
	if (!rc)
		rc = vgpu_left_take(r, left);
	if (!rc)
		rc = vgpu_left_check(r, left);
	return rc ? rc : vgpu_left_recover(r->node, r->generation, 0);
}

int vgpu_resid_init(struct vgpu_resid *r, const struct vgpu_resid_params *p)
{
	struct vgpu_policy_params pp = { .capacity = p->capacity };
	int rc;

	r->generation = p->generation;
	r->chunk_bytes = p->chunk_bytes;
	r->capacity = p->capacity;
	r->staging = p->staging;
	r->slots = p->capacity + p->staging;
	r->room_wait_ns = (p->room_wait_ms ? p->room_wait_ms : ROOM_WAIT_MS) * 1000000ull;
	r->storage_wait_ns = (p->io_timeout_ms ? p->io_timeout_ms : VGPU_IO_TIMEOUT_MS) * 1000000ull;
	r->last_streamed[0] = r->last_streamed[1] = VGPU_POLICY_NONE;
	r->late_slot = r->asked_slot = VB_SLOT_ANY;
	r->prefers = VGPU_HOME_NONE;
	memset(r->region, 0xff, sizeof(r->region));
	r->policy = vgpu_policy_find(p->policy);
	if (!r->policy)
		return -EINVAL;
	rc = vgpu_slots_init(r);
	if (!rc)
		rc = vgpu_keymap_init(&r->map, r->slots, r->slots);
	if (!rc)
		rc = r->policy->create(&pp, &r->policy_state);
	if (rc)
		return rc;
	return p->left ? resid_adopt(r, p->left) : resid_create(r, p);
}

void vgpu_resid_destroy(struct vgpu_resid *r, uint32_t abandoned)
{
	if (r->policy)
		r->policy->destroy(r->policy_state);
	if (r->memory && !abandoned)
		munmap(r->memory, r->memory_bytes);
	vgpu_fill_drain(r, abandoned);
	vgpu_keymap_fini(&r->map);
	vgpu_slots_fini(r);
	memset(r, 0, sizeof(*r));
}
