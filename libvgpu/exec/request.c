// SPDX-License-Identifier: MIT
/* What clients ask the executor for beside their commands, and wait for. */
#include "executor.h"

#include <errno.h>
#include <stdlib.h>

#include "clock.h"
#include "object_file.h"

#define SETTLE_LOOK	64u	/* objects that may be forgotten by now */

/* What a client asks for beside its commands is time that it has had: from here ... */
static void exec_begin(struct vgpu_exec *x)
{
	x->handling_since = vgpu_now_ns();
}

/* ... to here, and further. */
static void exec_charge(struct vgpu_exec *x, uint32_t client)
{
	uint64_t now = vgpu_now_ns();

	vgpu_turn_charge(&x->turns, client, now - x->handling_since);
	x->handling_since = now;
}

static void exec_end(struct vgpu_exec *x, uint32_t client)
{
	exec_charge(x, client);
	x->handling_since = 0;
}

/*
 * At once: the device holds for the waiter what was brought for it when it hears of that,
 * and until then it could go again for somebody else.
 * What is done after that for the client is told with its next answer.
 */
static void exec_answer(struct vgpu_exec *x, const struct vb_ioc_fetch *req, int rc)
{
	if (x->handling_since)
		exec_charge(x, req->out_client);
	vgpu_exec_flush_counters(x, req->out_client);
	vgpu_exec_commit(x, req->out_tag, rc, UINT32_MAX,
			 vgpu_turn_owed(&x->turns, req->out_client));
	vgpu_commit_all(&x->fetch, &x->commits);
}

/* When the oldest job that waits for room began to, in a turn of its own; else UINT64_MAX. */
static uint64_t jobs_have_turn_since(const struct vgpu_exec *x, uint64_t now)
{
	uint64_t since = UINT64_MAX;

	for (const struct vgpu_job *job = x->jobs; job; job = job->next) {
		if (vgpu_room_is_its_turn(&job->room, now) && job->room.since < since)
			since = job->room.since;
	}
	return since;
}

void vgpu_exec_forget_wants(struct vgpu_exec *x)
{
	if (!x->jobs && !x->page_ins)
		vgpu_resid_unwant_all(&x->resid);
}

/* Return: false when it waits for room. */
static bool exec_try_page_in(struct vgpu_exec *x, struct vgpu_page_in *p)
{
	int rc;

	vgpu_exec_yield(x);
	exec_begin(x);
	rc = vgpu_page_in_try(&x->resid, &x->store, p);
	if (rc != -EAGAIN) {
		exec_answer(x, &p->req, rc);
		if (x->fetch.several)
			vgpu_record_make_room(&x->resid);
		else
			vgpu_record_all(&x->resid);
		vgpu_page_in_release(&x->resid, p);
	}
	exec_end(x, p->req.out_client);
	return rc != -EAGAIN;
}

static bool exec_may_try_page_in(struct vgpu_exec *x, const struct vgpu_page_in *p, bool amid)
{
	return (amid || vgpu_turn_may_ask(&x->turns, p->req.out_client)) &&
	       vgpu_turn_may_fail(&x->turns, p->req.out_client) &&
	       vgpu_late_may_try(&x->resid, &p->late, p->req.out_deadline_ns);
}

void vgpu_exec_page_in(struct vgpu_exec *x, bool amid)
{
	struct vgpu_page_in **at = &x->page_ins, *p;
	uint64_t now, turn;

	if (!x->page_ins)
		return;
	now = vgpu_now_ns();
	turn = jobs_have_turn_since(x, now);
	vgpu_turn_begin_pass(&x->turns);
	while ((p = *at)) {
		if (p->came > turn || !exec_may_try_page_in(x, p, amid)) {
			at = &p->next;
		} else if (exec_try_page_in(x, p)) {
			*at = p->next;
			free(p);
		} else {
			if (vgpu_room_is_its_turn(&p->room, now))
				return;
			vgpu_turn_failed(&x->turns, p->req.out_client);
			at = &p->next;
		}
	}
	vgpu_exec_forget_wants(x);
}

void vgpu_exec_answer_late(struct vgpu_exec *x)
{
	struct vgpu_page_in **at = &x->page_ins, *p;

	while ((p = *at)) {
		if (vgpu_late_came(&x->resid, &p->late) && exec_try_page_in(x, p)) {
			*at = p->next;
			free(p);
		} else {
			at = &p->next;
		}
	}
}

/* Behind all of its client's. */
static uint64_t page_in_round(struct vgpu_exec *x, uint32_t client)
{
	const struct vgpu_page_in *p = x->page_ins;
	uint64_t round = vgpu_turn_round(&x->turns, client, p ? p->round : UINT64_MAX);

	for (; p; p = p->next)
		if (p->req.out_client == client && p->round >= round)
			round = p->round + 1;
	return round;
}

/* Between two of a client that wait, one of each other. */
static void exec_add_page_in(struct vgpu_exec *x, const struct vb_ioc_fetch *req)
{
	struct vgpu_page_in **at = &x->page_ins, *p = calloc(1, sizeof(*p));

	if (!p) {
		exec_answer(x, req, -ENOMEM);
		return;
	}
	p->req = *req;
	p->came = vgpu_now_ns();
	p->late.slot = VB_SLOT_ANY;
	p->round = page_in_round(x, req->out_client);
	while (*at && (*at)->round <= p->round)
		at = &(*at)->next;
	p->next = *at;
	*at = p;
}

/* Has it gone, as far as it goes? */
static bool exec_is_evicted(struct vgpu_exec *x, struct vgpu_evict *e)
{
	struct vgpu_object *o = vgpu_store_find(&x->store, e->req.out_object);

	return !o || vgpu_resid_is_evicted(&x->resid, o, e->req.out_chunk,
					   e->req.out_chunk + e->req.out_count, &e->at, e->until);
}

/* Nobody stands still for what moves meanwhile; without memory its client hears what it met. */
static void exec_evict(struct vgpu_exec *x, const struct vb_ioc_fetch *req)
{
	struct vgpu_evict now = { .req = *req, .until = vgpu_now_ns() + VGPU_EVICT_NS }, *later;
	struct vgpu_object *o;
	int rc = vgpu_store_get(&x->store, req->out_object, &o);

	if (!rc)
		vgpu_resid_evict(&x->resid, o, req->out_chunk, req->out_chunk + req->out_count);
	later = rc || exec_is_evicted(x, &now) ? NULL : malloc(sizeof(*later));
	if (!later) {
		exec_answer(x, req, rc);
		return;
	}
	*later = now;
	later->next = x->evicts;
	x->evicts = later;
}

static void exec_retry_evicts(struct vgpu_exec *x)
{
	struct vgpu_evict **p = &x->evicts, *e;

	while ((e = *p)) {
		if (!exec_is_evicted(x, e)) {
			p = &e->next;
			continue;
		}
		*p = e->next;
		vgpu_exec_yield(x);
		exec_answer(x, &e->req, 0);
		free(e);
	}
}

static bool exec_evicts(const struct vgpu_exec *x, const struct vgpu_object *o)
{
	const struct vgpu_evict *e = x->evicts;

	while (e && e->req.out_object != o->id)
		e = e->next;
	return e;
}

/* A page-in that waits keeps what came of its object. */
static bool exec_pages_in(const struct vgpu_exec *x, const struct vgpu_object *o)
{
	const struct vgpu_page_in *p = x->page_ins;

	while (p && p->req.out_object != o->id)
		p = p->next;
	return p;
}

/* Return: false while storage has a chunk of it, or somebody waits for one. */
static bool exec_try_forget(struct vgpu_exec *x, struct vgpu_object *o)
{
	/* What has no file has nothing to close, and its room is others'. */
	if (exec_pages_in(x, o) || exec_evicts(x, o) ||
	    (o->file && vgpu_files_are_stuck(&x->store, o->client)) ||
	    !vgpu_resid_forget(&x->resid, o))
		return false;
	vgpu_store_forget(&x->store, o->id);
	return true;
}

/* The device frees the object when it is answered: not before the last transfer ended. */
static void exec_forget(struct vgpu_exec *x, const struct vb_ioc_fetch *req)
{
	struct vgpu_object *o = vgpu_store_find(&x->store, req->out_object);

	if (!o || exec_try_forget(x, o)) {
		exec_answer(x, req, 0);
		return;
	}
	vgpu_object_hold(&x->store, o);
	o->forget_tag = req->out_tag;
	o->forget_next = x->forgets;
	x->forgets = o;
}

/* At most so many, those that came last. */
static void exec_retry_forgets(struct vgpu_exec *x, uint32_t most)
{
	struct vgpu_object **p = &x->forgets, *o;

	while ((o = *p) && most--) {
		struct vgpu_object *next = o->forget_next;
		uint64_t tag = o->forget_tag;
		uint32_t client = o->client;

		if (!exec_try_forget(x, o)) {
			p = &o->forget_next;
			continue;
		}
		*p = next;
		vgpu_exec_commit(x, tag, 0, UINT32_MAX, vgpu_turn_owed(&x->turns, client));
	}
}

void vgpu_exec_retry(struct vgpu_exec *x)
{
	uint64_t now;

	if (!x->evicts && !x->forgets)
		return;
	now = vgpu_now_ns();
	if (now - x->retried_at < TEND_NS)
		return;
	x->retried_at = now;
	exec_retry_evicts(x);
	exec_retry_forgets(x, UINT32_MAX);
}

bool vgpu_exec_settle(void *arg)
{
	struct vgpu_exec *x = arg;
	uint32_t free = x->resid.free;

	/* What kept them was a transfer. */
	if (!x->forgets || x->settled == x->resid.arrived)
		return false;
	x->settled = x->resid.arrived;
	exec_retry_forgets(x, SETTLE_LOOK);
	/* Nobody takes a slot of theirs before the device knows. */
	vgpu_commit_all(&x->fetch, &x->commits);
	return x->resid.free > free;
}

/* What this client declared changed. */
static int exec_schedule(struct vgpu_exec *x, const struct vb_ioc_fetch *req)
{
	return vgpu_schedules_set(&x->schedules, req->out_client,
				  (const void *)(uintptr_t)req->out_bos_address, req->out_count,
				  req->flags & VB_FETCH_F_CYCLE);
}

static void handle(struct vgpu_exec *x, const struct vb_ioc_fetch *req)
{
	int rc = 0;

	switch (req->out_type) {
	case VB_FETCH_EVICT:
		exec_evict(x, req);
		return;
	case VB_FETCH_RECLAIM:
		vgpu_resid_reclaim(&x->resid, req->out_count);
		break;
	case VB_FETCH_DRAIN:
		rc = vgpu_exec_shrink(x);
		break;
	case VB_FETCH_FORGET:
		exec_forget(x, req);
		return;
	case VB_FETCH_SCHEDULE:
		rc = exec_schedule(x, req);
		break;
	default:
		rc = -EOPNOTSUPP;
	}
	exec_answer(x, req, rc);
}

void vgpu_exec_request(struct vgpu_exec *x, const struct vb_ioc_fetch *req)
{
	if (req->out_type == VB_FETCH_PAGE_IN) {
		exec_add_page_in(x, req);
		return;
	}
	exec_begin(x);
	handle(x, req);
	exec_end(x, req->out_client);
}
