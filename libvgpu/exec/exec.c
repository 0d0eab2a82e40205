// SPDX-License-Identifier: MIT
#include "executor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "filled.h"
#include "object_file.h"
#include "region.h"

#define FLUSH_ACCESSES		32u	/* chunk uses that are not counted yet */
#define RECORD_WAIT_MS		10	/* whoever was answered has gone on by then */
#define SERVED_IN_ROW		4u	/* requests of clients between two commands */
#define SETTLE_LOOK		64u	/* objects that may be forgotten by now */
#define CALM_NS_LEAST		(10ull * 1000000000u)
#define CALM_NS_MOST		(128 * CALM_NS_LEAST)

/* ------------------------------------------------------------------------
 * Requests
 */

static void exec_commit(struct vgpu_exec *x, uint64_t tag, int status, uint32_t bad_command,
			uint64_t busy_ns)
{
	struct vb_ioc_commit c = {
		.tag = tag, .status = status, .bad_command = bad_command, .busy_ns = busy_ns,
	};

	vgpu_commit(&x->fetch, &x->commits, c);
}

/* So many of the counters are all that moved.  Busy time the device counts itself. */
static uint32_t exec_counted(const struct vgpu_exec *x)
{
	uint32_t n = VB_COUNT_COUNT;

	while (n && !x->resid.count[n - 1])
		n--;
	return n;
}

/* Counters go out before the fence does, so that who waits for it sees them. */
static void exec_flush_counters(struct vgpu_exec *x, uint32_t client)
{
	uint32_t n = exec_counted(x);

	if (n)
		vgpu_commit_counters(&x->fetch, &x->commits, client, x->resid.count, n);
}

static void exec_note_failure(struct vgpu_exec *x, const struct vgpu_job *job)
{
	struct vgpu_failure f = { .queue = job->req.out_queue, .seqno = job->req.out_seqno };

	if (!job->text[0])
		return;
	memcpy(f.text, job->text, sizeof(f.text));
	vgpu_failures_note(&x->failures, &f);
}

static void exec_finish_job(struct vgpu_exec *x, struct vgpu_job *job)
{
	uint64_t tag = job->req.out_tag, busy = job->busy_ns;
	uint32_t bad = job->bad_command, client = job->req.out_client;
	int status = job->status;

	exec_note_failure(x, job);
	vgpu_job_destroy(&x->env, job);
	exec_flush_counters(x, client);
	exec_commit(x, tag, status, bad, busy);
}

/*
 * At once: the device holds for the waiter what was brought for it when it hears of that,
 * and until then it could go again for somebody else.
 */
static void exec_answer(struct vgpu_exec *x, const struct vb_ioc_fetch *req, int rc)
{
	uint64_t busy_ns = x->handling_since ? vgpu_now_ns() - x->handling_since : 0;

	exec_flush_counters(x, req->out_client);
	exec_commit(x, req->out_tag, rc, UINT32_MAX, busy_ns);
	vgpu_commit_all(&x->fetch, &x->commits);
}

/* What was running makes room for others; what was counted meanwhile is its client's. */
static void exec_yield(struct vgpu_exec *x)
{
	if (!x->ran)
		return;
	vgpu_job_yield(&x->env, x->ran);
	exec_flush_counters(x, x->ran->req.out_client);
	x->ran = NULL;
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

/* What was announced and did not come, by an error of who wanted it. */
static void exec_forget_wants(struct vgpu_exec *x)
{
	if (!x->jobs && !x->page_ins)
		vgpu_resid_unwant_all(&x->resid);
}

/* What a client asks for beside its commands is time that it has had: from here ... */
static void exec_begin(struct vgpu_exec *x)
{
	x->handling_since = vgpu_now_ns();
}

/* ... to here. */
static void exec_end(struct vgpu_exec *x, uint32_t client)
{
	vgpu_turn_charge(&x->turns, client, vgpu_now_ns() - x->handling_since);
	x->handling_since = 0;
}

/* Return: false when it waits for room. */
static bool exec_try_page_in(struct vgpu_exec *x, struct vgpu_page_in *p)
{
	int rc;

	exec_yield(x);
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

/*
 * Serve the page-ins that may be, of each client in turn.  @amid a command that waits for room
 * nobody's turn is waited for: what has it may be what a page-in waits for.  Of many that a
 * client waits for a few find that out, others' come before the rest.
 */
static void exec_page_in(struct vgpu_exec *x, bool amid)
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
	exec_forget_wants(x);
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
		exec_yield(x);
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

		if (!exec_try_forget(x, o)) {
			p = &o->forget_next;
			continue;
		}
		*p = next;
		exec_commit(x, tag, 0, UINT32_MAX, 0);
	}
}

/* What waits for transfers; there may be much of it, and commands that take no time. */
static void exec_retry(struct vgpu_exec *x)
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

/*
 * Scratch goes nowhere while its submission runs: what runs together must leave room
 * for the largest of its commands, or none could go on.
 */
static bool exec_may_start(const struct vgpu_exec *x, const struct vgpu_job *next)
{
	uint64_t scratch = next->scratch;
	uint32_t need = next->need;
	bool alone = true;

	for (const struct vgpu_job *job = x->jobs; job; job = job->next) {
		if (!job->started)
			continue;
		alone = false;
		scratch += job->scratch;
		need = job->need > need ? job->need : need;
	}
	return alone || !scratch || scratch + need <= x->resid.slots;
}

/* In the order in which they came: none that can is kept from it for ever. */
static void exec_start_jobs(struct vgpu_exec *x)
{
	for (struct vgpu_job *job = x->jobs; job; job = job->next) {
		if (job->started)
			continue;
		if (!exec_may_start(x, job))
			return;
		vgpu_job_start(job);
		vgpu_turn_ready(&x->turns, job);
	}
}

static void exec_add_job(struct vgpu_exec *x, const struct vb_ioc_fetch *req)
{
	struct vgpu_job *job, **p = &x->jobs;
	int rc = vgpu_job_create(&x->env, req, &job);

	if (rc) {
		exec_commit(x, req->out_tag, rc, UINT32_MAX, 0);
		return;
	}
	while (*p)
		p = &(*p)->next;
	*p = job;
	x->job_count++;
	vgpu_turn_join(&x->turns, job);
	exec_start_jobs(x);
}

static uint64_t longer_calm(const struct vgpu_exec *x)
{
	return x->calm_ns < CALM_NS_MOST ? 2 * x->calm_ns : CALM_NS_MOST;
}

/*
 * Whichever region is asked for: the last one is as good, and can go.  When it had come
 * back a moment ago, that was too soon.
 */
static int exec_drain(struct vgpu_exec *x)
{
	uint64_t now = vgpu_now_ns();
	int rc = vgpu_resid_drain(&x->resid);

	if (rc)
		return rc;
	x->calm_ns = x->grew_at && now - x->grew_at < x->calm_ns ? longer_calm(x) : CALM_NS_LEAST;
	x->grow_at = now + x->calm_ns;
	return 0;
}

/* Between two commands. */
static void exec_grow(struct vgpu_exec *x)
{
	uint64_t now = vgpu_now_ns();

	if (x->resid.slots == x->resid.slots_most || now < x->grow_at)
		return;
	if (vgpu_resid_grow(&x->resid))
		x->calm_ns = longer_calm(x);
	else
		x->grew_at = now;
	x->grow_at = now + x->calm_ns;
}

static void exec_handle_request(struct vgpu_exec *x, const struct vb_ioc_fetch *req)
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
		rc = exec_drain(x);
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

static void exec_handle(struct vgpu_exec *x, const struct vb_ioc_fetch *req)
{
	if (req->out_type == VB_FETCH_SUBMIT) {
		exec_add_job(x, req);
	} else if (req->out_type == VB_FETCH_PAGE_IN) {
		exec_add_page_in(x, req);
	} else {
		exec_begin(x);
		exec_handle_request(x, req);
		exec_end(x, req->out_client);
	}
}

/* ------------------------------------------------------------------------
 * Who runs next
 */

void vgpu_exec_remove_job(struct vgpu_exec *x, struct vgpu_job *job)
{
	struct vgpu_job **p = &x->jobs;

	while (*p != job)
		p = &(*p)->next;
	*p = job->next;
	x->job_count--;
	vgpu_turn_leave(&x->turns, job);
	if (x->ran == job)
		x->ran = NULL;
}

/* What came may be what a job waits for. */
static void exec_wake_slow(struct vgpu_exec *x)
{
	for (struct vgpu_job *job = x->jobs; job; job = job->next) {
		if (job->slow && vgpu_job_may_go_on(&x->env, job))
			vgpu_turn_ready(&x->turns, job);
	}
}

/* One command of one job; false when all that there are wait for storage. */
static bool exec_step(struct vgpu_exec *x)
{
	struct vgpu_job *job;
	uint64_t before;
	bool done;

	exec_wake_slow(x);
	job = vgpu_turn_take(&x->turns);
	if (!job)
		return false;
	if (x->ran != job)
		exec_yield(x);
	x->ran = job;
	before = job->busy_ns;
	done = vgpu_job_step(&x->env, job);
	vgpu_turn_end(&x->turns, job, job->busy_ns - before);
	if (!done) {
		if (!job->slow)
			vgpu_turn_ready(&x->turns, job);
		/* Who waits for a long job sees it move. */
		if (x->resid.count[VB_COUNT_ACCESSES] >= FLUSH_ACCESSES)
			exec_flush_counters(x, job->req.out_client);
		return true;
	}
	vgpu_exec_remove_job(x, job);
	exec_finish_job(x, job);
	exec_start_jobs(x);
	exec_forget_wants(x);
	return true;
}

static enum exec_stop exec_stop(struct vgpu_exec *x)
{
	return (enum exec_stop)__atomic_load_n(&x->stop, __ATOMIC_RELAXED);
}

static bool exec_is_stopping(struct vgpu_exec *x)
{
	return exec_stop(x) == EXEC_STOPS;
}

static void exec_hand_over(struct vgpu_exec *x, const struct vb_ioc_fetch *req, uint32_t count)
{
	pthread_mutex_lock(&x->hand_lock);
	memcpy(x->handed, req, count * sizeof(*req));
	x->handed_count = count;
	pthread_mutex_unlock(&x->hand_lock);
}

/* Take from what was handed over all that is for who fetches with such flags. */
static uint32_t exec_take_handed(struct vgpu_exec *x, uint32_t fetch_flags,
				 struct vb_ioc_fetch *to)
{
	uint32_t kept = 0, taken = 0;

	pthread_mutex_lock(&x->hand_lock);
	for (uint32_t i = 0; i < x->handed_count; i++) {
		bool other = fetch_flags & VB_FETCH_F_URGENT &&
			     x->handed[i].out_type == VB_FETCH_SUBMIT;

		if (other)
			x->handed[kept++] = x->handed[i];
		else
			to[taken++] = x->handed[i];
	}
	x->handed_count = kept;
	pthread_mutex_unlock(&x->hand_lock);
	return taken;
}

static void exec_handle_all(struct vgpu_exec *x, const struct vb_ioc_fetch *req, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		exec_handle(x, &req[i]);
}

static void exec_take_over(struct vgpu_exec *x, uint32_t fetch_flags)
{
	struct vb_ioc_fetch req[VGPU_FETCH_MAX];
	uint32_t n = exec_take_handed(x, fetch_flags, req);

	exec_handle_all(x, req, n);
}

/* What waits for a slow file is in nobody's way. */
static uint32_t exec_jobs_left(const struct vgpu_exec *x)
{
	uint32_t slow = 0, ready;

	if (x->job_count < VGPU_TURN_JOBS_MAX)
		return VGPU_TURN_JOBS_MAX - x->job_count;
	for (const struct vgpu_job *job = x->jobs; job; job = job->next)
		slow += job->slow;
	slow = slow < VGPU_TURN_SLOW_MAX ? slow : VGPU_TURN_SLOW_MAX;
	ready = x->job_count - slow;
	return ready < VGPU_TURN_JOBS_MAX ? VGPU_TURN_JOBS_MAX - ready : 0;
}

/* Commit, and take so much of what there is and can be had; how many were taken. */
static uint32_t exec_fetch(struct vgpu_exec *x, uint32_t fetch_flags, uint32_t most)
{
	uint32_t left = exec_jobs_left(x), n;
	struct vb_ioc_fetch req[VGPU_FETCH_MAX];

	if (!left)
		fetch_flags |= VB_FETCH_F_URGENT;
	if (vgpu_fetch(&x->fetch, fetch_flags, &x->commits, req, left && left < most ? left : most,
		       &n))
		return 0;
	exec_handle_all(x, req, n);
	return n;
}

/*
 * Serve what others ask for, without running commands; not all there is, which never ends
 * while threads ask anew as soon as they are answered.
 */
static void exec_serve_others(struct vgpu_exec *x, uint32_t fetch_flags, bool amid)
{
	uint32_t served = 0, n;

	vgpu_fetch_fills(&x->fetch, vgpu_filled_most(&x->resid));
	exec_take_over(x, fetch_flags);
	do {
		n = exec_fetch(x, fetch_flags, SERVED_IN_ROW - served);
		served += n;
	} while (n && served < SERVED_IN_ROW && !x->fetch.several);
	exec_page_in(x, amid);
	exec_retry(x);
	vgpu_commit_all(&x->fetch, &x->commits);
}

/* struct vgpu_job_env: a command waits for room. */
bool vgpu_exec_serve_amid(void *arg)
{
	exec_serve_others(arg, VB_FETCH_F_NOWAIT | VB_FETCH_F_URGENT, true);
	return !exec_is_stopping(arg);
}

/* Who waits for a chunk that came is answered, whoever else computes how long. */
static void exec_answer_late(struct vgpu_exec *x)
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

void vgpu_exec_take_in(void *arg)
{
	struct vgpu_exec *x = arg;

	if (vgpu_resid_pump(&x->resid, 0) > 0)
		exec_answer_late(x);
	exec_retry(x);
	vgpu_commit_all(&x->fetch, &x->commits);
}

/* Nothing to do but for storage: wait for that a moment. */
static void exec_pause(struct vgpu_exec *x)
{
	const struct timespec pause = { .tv_nsec = TEND_NS };

	nanosleep(&pause, NULL);
	vgpu_resid_pump(&x->resid, 0);
}

/*
 * Run until no job is left, but for those that wait for storage, to which the tender
 * comes back; between commands, serve what others ask for.
 */
static void exec_run(struct vgpu_exec *x, uint32_t fetch_flags)
{
	exec_page_in(x, false);
	while (x->jobs && !exec_is_stopping(x)) {
		bool ran = exec_step(x);

		if (!ran && exec_stop(x) != EXEC_DRAINS)
			return;
		if (!ran)
			exec_pause(x);
		if (exec_stop(x) == EXEC_DRAINS)
			fetch_flags |= VB_FETCH_F_URGENT;
		if (__atomic_exchange_n(&x->grow, 0, __ATOMIC_RELAXED))
			exec_grow(x);
		vgpu_resid_pump(&x->resid, 0);
		/* On the module the last commit goes with the next sleep for work. */
		if (x->jobs || x->page_ins || !x->fetch.several)
			exec_serve_others(x, fetch_flags, false);
	}
}

/* Something that goes on by itself, or could. */
static bool exec_has_left(const struct vgpu_exec *x)
{
	return x->resid.moving || x->page_ins || x->jobs || x->forgets || x->evicts ||
	       x->store.closing;
}

/* Let go; transfers that are under way are looked after by the tender. */
static void exec_unlock(struct vgpu_exec *x)
{
	vgpu_fetch_fills(&x->fetch, vgpu_filled_most(&x->resid));
	vgpu_commit_all(&x->fetch, &x->commits);
	if (exec_has_left(x) && !x->tending)
		pthread_cond_signal(&x->tend);
	pthread_mutex_unlock(&x->run);
}

/* Take the run lock, but not from somebody who uses it: they take results in too. */
static bool tend_lock(struct vgpu_exec *x)
{
	const struct timespec t = { .tv_nsec = TEND_NS };

	do {
		nanosleep(&t, NULL);
		if (exec_is_stopping(x))
			return false;
	} while (pthread_mutex_trylock(&x->run));
	return true;
}

void vgpu_exec_tend_memory(struct vgpu_exec *x)
{
	if (pthread_mutex_trylock(&x->run)) {
		__atomic_store_n(&x->grow, 1, __ATOMIC_RELAXED);
		return;
	}
	exec_grow(x);
	exec_unlock(x);
}

/*
 * The executor's thread sleeps in FETCH and clients serve only while they wait, so
 * that transfers can be left with nobody to take their results in: what was read
 * ahead at the end of the last submission, or is being written out.  A client may
 * wait for exactly these chunks, and jobs may.
 */
void *vgpu_exec_tend(void *arg)
{
	struct vgpu_exec *x = arg;
	bool locked = true;

	pthread_mutex_lock(&x->run);
	while (locked && !exec_is_stopping(x)) {
		if (!exec_has_left(x)) {
			x->tending = false;
			pthread_cond_wait(&x->tend, &x->run);
			x->tending = true;
			continue;
		}
		vgpu_resid_pump(&x->resid, 0);
		vgpu_resid_beat(&x->resid);
		vgpu_files_tend(&x->store);
		exec_retry(x);
		exec_run(x, VB_FETCH_F_NOWAIT);
		vgpu_commit_all(&x->fetch, &x->commits);
		pthread_mutex_unlock(&x->run);
		locked = tend_lock(x);
	}
	if (locked)
		pthread_mutex_unlock(&x->run);
	return NULL;
}

bool vgpu_exec_serve(struct vgpu_exec *x)
{
	bool served;

	if (pthread_mutex_trylock(&x->run))
		return false;
	served = exec_fetch(x, VB_FETCH_F_NOWAIT, 1);
	/* Submissions of others wait for the executor's own thread. */
	if (served)
		exec_run(x, VB_FETCH_F_NOWAIT | VB_FETCH_F_URGENT);
	exec_unlock(x);
	return served;
}

/*
 * Run what was fetched; what ended at last the device is told with the next fetch.
 * @left: how many jobs there is room for then.
 * Return: true when there are checksums to record.
 */
static bool exec_run_fetched(struct vgpu_exec *x, const struct vb_ioc_fetch *req, uint32_t count,
			     struct vgpu_commits *last, uint32_t *left)
{
	bool records;

	if (!pthread_mutex_trylock(&x->run)) {
		exec_handle_all(x, req, count);
	} else {
		exec_hand_over(x, req, count);
		pthread_mutex_lock(&x->run);
		exec_take_over(x, 0);
	}
	exec_run(x, VB_FETCH_F_NOWAIT);
	vgpu_commits_move(last, &x->commits);
	records = x->resid.records.count;
	*left = exec_jobs_left(x);
	exec_unlock(x);
	return records;
}

/* Return: true while something is left that nobody waits for. */
static bool exec_record_some(struct vgpu_exec *x)
{
	bool more;

	if (pthread_mutex_trylock(&x->run))
		return false;
	more = vgpu_record_some(&x->resid);
	exec_unlock(x);
	return more;
}

/*
 * What nobody waits for, until there is work; not at once: whoever was answered was perhaps
 * woken on this processor, where few are as important as we.
 */
static void exec_record_idle(struct vgpu_exec *x, struct vgpu_commits *last)
{
	int wait_ms = RECORD_WAIT_MS;

	vgpu_commit_all(&x->fetch, last);
	while (!vgpu_fetch_may(&x->fetch, wait_ms) && exec_record_some(x))
		wait_ms = 0;
}

void *vgpu_exec_thread(void *arg)
{
	const struct timespec pause = { .tv_nsec = TEND_NS };
	struct vb_ioc_fetch req[VGPU_FETCH_MAX];
	struct vgpu_commits last = { .count = 0, .counted = 0 };
	uint32_t left = VGPU_TURN_JOBS_MAX, n;
	struct vgpu_exec *x = arg;
	int rc;

	while (exec_stop(x) == EXEC_RUNS) {
		/* Nobody wakes who sleeps for anything but submissions when there is room again. */
		rc = vgpu_fetch(&x->fetch, left ? 0 : VB_FETCH_F_NOWAIT | VB_FETCH_F_URGENT, &last,
				req, left && left < VGPU_FETCH_MAX ? left : VGPU_FETCH_MAX, &n);
		if (rc == -EINTR)
			continue;
		if (!left && (rc == -EAGAIN || (!rc && !n))) {
			nanosleep(&pause, NULL);
			rc = 0;
			n = 0;
		}
		if (rc == -ENOMEM) {
			/* The request stays queued; memory may come back. */
			nanosleep(&pause, NULL);
			continue;
		}
		if (rc) {
			__atomic_store_n(&x->ended, rc, __ATOMIC_RELAXED);
			break;
		}
		if ((n || !left) && exec_run_fetched(x, req, n, &last, &left))
			exec_record_idle(x, &last);
	}
	if (exec_stop(x) == EXEC_DRAINS)
		exec_run_fetched(x, req, 0, &last, &left);
	vgpu_commit_all(&x->fetch, &last);
	return NULL;
}

int vgpu_exec_check(struct vgpu_exec *x, char *text, size_t len)
{
	int rc;

	pthread_mutex_lock(&x->run);
	rc = vgpu_resid_check(&x->resid, !x->jobs && !x->page_ins, text, len);
	exec_unlock(x);
	return rc;
}

void vgpu_exec_with_io(struct vgpu_exec *x, void (*fn)(void *arg, struct vgpu_io *io), void *arg)
{
	pthread_mutex_lock(&x->run);
	fn(arg, x->engine.io);
	exec_unlock(x);
}

int vgpu_exec_change_engine(struct vgpu_exec *x, const char *name)
{
	int rc;

	pthread_mutex_lock(&x->run);
	rc = vgpu_engine_change(&x->engine, name);
	exec_unlock(x);
	return rc;
}
