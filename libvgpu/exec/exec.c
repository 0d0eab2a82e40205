// SPDX-License-Identifier: MIT
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "adopt.h"
#include "engine.h"
#include "failure.h"
#include "fetch.h"
#include "job.h"
#include "kernels/kernels.h"
#include "kernels/pool.h"
#include "page_in.h"
#include "region.h"
#include "schedule.h"
#include "staging.h"
#include "trace.h"
#include "turn.h"

#define HEARTBEAT_MS		1000u
#define PANEL_CHUNKS_MAX	4u
#define FLUSH_ACCESSES		32u	/* chunk uses that are not counted yet */
#define NVME_TRIES		10000u	/* of TEND_NS each, for the lock of the arena */
#define DEFAULT_POLICY		"replay"
#define SERVED_IN_ROW		8u	/* requests of clients between two commands */
/* How often finished transfers are looked for while nobody runs the executor. */
#define TEND_NS			(1000 * 1000)

/* Draining: what was taken is finished, but no submission is taken any more. */
enum exec_stop { EXEC_RUNS, EXEC_DRAINS, EXEC_STOPS };

/**
 * struct vgpu_exec - the executor of one device
 * @run: held by whoever runs it; protects everything but what is said below
 * @node, @fetch: fixed
 * @commits: what ended, and the device was not told yet: nobody lets go of @run before
 * @submit: where the module shows what it hands out, NULL on loopback; fixed
 * @stop: enum exec_stop, atomically; never lowered
 * @ended: why the device hands out nothing any more, or 0; atomically
 * @ran: the job whose command ran last
 * @forgets: objects that are gone, but for transfers that storage keeps
 * @page_ins: that wait for room, oldest first
 * @tend: signalled when transfers are left to themselves; @tending: no need to
 * @failures: of submissions; has a lock of its own
 * @jobs: fetched and not committed, oldest first
 * @turns: which of them runs next
 * @handling_since: a request is handled, or 0
 * @schedules: what clients declared
 * @hand_lock: protects @handed, @handed_count
 * @handed: what the executor's thread fetched while another one runs the executor, who
 *	may serve it sooner
 */
struct vgpu_exec {
	pthread_mutex_t run;
	struct vgpu_uapi *node;
	void *submit;
	struct vgpu_fetcher fetch;
	struct vgpu_commits commits;
	struct vgpu_pool *pool;
	struct vgpu_engine engine;
	struct vgpu_nvme *nvme;
	struct vgpu_store store;
	struct vgpu_resid resid;
	struct vgpu_job_env env;
	struct vgpu_job *jobs, *ran;
	uint32_t job_count;
	struct vgpu_turns turns;
	uint64_t handling_since;
	struct vgpu_object *forgets;
	struct vgpu_page_in *page_ins;
	struct vgpu_schedules schedules;
	int trace_fd;
	pthread_t thread, tender;
	bool thread_runs, tender_runs, tending;
	pthread_cond_t tend;
	int stop, ended;
	pthread_mutex_t hand_lock;
	struct vb_ioc_fetch handed[VGPU_FETCH_MAX];
	uint32_t handed_count;
	struct vgpu_failures failures;
	bool recovering;
	struct vgpu_left left;
	char recovery[256];
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

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

/* Busy time the device counts itself. */
static bool exec_has_counted(const struct vgpu_exec *x)
{
	for (uint32_t i = 0; i < VB_COUNT_COUNT; i++)
		if (x->resid.count[i] && i != VB_COUNT_BUSY_NS)
			return true;
	return false;
}

/* Counters go out before the fence does, so that who waits for it sees them. */
static void exec_flush_counters(struct vgpu_exec *x, uint32_t client)
{
	if (exec_has_counted(x))
		vgpu_commit_counters(&x->fetch, &x->commits, client, x->resid.count);
}

static void exec_note_failure(struct vgpu_exec *x, const struct vgpu_job *job)
{
	struct vgpu_failure f = { .queue = job->req.out_queue, .seqno = job->req.out_seqno };

	memcpy(f.text, job->text, sizeof(f.text));
	vgpu_failures_note(&x->failures, &f);
}

static void exec_finish_job(struct vgpu_exec *x, struct vgpu_job *job)
{
	uint64_t tag = job->req.tag, busy = job->busy_ns;
	uint32_t bad = job->bad_command, client = job->req.out_client;
	int status = job->status;

	exec_note_failure(x, job);
	x->resid.count[VB_COUNT_BUSY_NS] += busy;
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
	uint64_t busy_ns = x->handling_since ? now_ns() - x->handling_since : 0;

	exec_flush_counters(x, req->out_client);
	exec_commit(x, req->tag, rc, UINT32_MAX, busy_ns);
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

/* Serve the page-ins that may be, the oldest first. */
static void exec_page_in(struct vgpu_exec *x)
{
	struct vgpu_page_in **at = &x->page_ins, *p;
	uint64_t now, turn;

	if (!x->page_ins)
		return;
	exec_yield(x);
	now = now_ns();
	turn = jobs_have_turn_since(x, now);
	while ((p = *at) && p->came <= turn) {
		int rc = vgpu_page_in_try(&x->resid, &x->store, p);

		if (rc == -EAGAIN) {
			if (vgpu_room_is_its_turn(&p->room, now))
				return;
			at = &p->next;
			continue;
		}
		*at = p->next;
		exec_answer(x, &p->req, rc);
		vgpu_page_in_release(&x->resid, p);
		free(p);
	}
}

static void exec_add_page_in(struct vgpu_exec *x, const struct vb_ioc_fetch *req)
{
	struct vgpu_page_in **at = &x->page_ins, *p = calloc(1, sizeof(*p));

	if (!p) {
		exec_answer(x, req, -ENOMEM);
		return;
	}
	p->req = *req;
	p->came = now_ns();
	while (*at)
		at = &(*at)->next;
	*at = p;
	exec_page_in(x);
}

static int exec_evict(struct vgpu_exec *x, const struct vb_ioc_fetch *req)
{
	struct vgpu_object *o;
	int rc = vgpu_store_get(&x->store, req->out_object, &o);

	if (!rc)
		vgpu_resid_evict(&x->resid, o, req->out_chunk, req->out_chunk + req->out_count);
	return rc;
}

/* Return: false when storage still has a chunk of it. */
static bool exec_try_forget(struct vgpu_exec *x, struct vgpu_object *o)
{
	if (!vgpu_resid_forget(&x->resid, o))
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
	o->forget_tag = req->tag;
	o->forget_next = x->forgets;
	x->forgets = o;
}

static void exec_retry_forgets(struct vgpu_exec *x)
{
	struct vgpu_object **p = &x->forgets, *o;

	while ((o = *p)) {
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

/* What this client declared changed: the policy follows what all of them declare. */
static int exec_schedule(struct vgpu_exec *x, const struct vb_ioc_fetch *req)
{
	uint64_t *keys;
	size_t n;
	bool cycle;
	int rc = vgpu_schedules_set(&x->schedules, req->out_client,
				    (const void *)(uintptr_t)req->out_bos_address, req->out_count,
				    req->flags & VB_FETCH_F_CYCLE);

	if (!rc)
		rc = vgpu_schedules_weave(&x->schedules, &keys, &n, &cycle);
	if (rc)
		return rc;
	rc = x->resid.policy->future(x->resid.policy_state, keys, n, cycle);
	free(keys);
	return rc == -EOPNOTSUPP ? 0 : rc;
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
		exec_commit(x, req->tag, rc, UINT32_MAX, 0);
		return;
	}
	while (*p)
		p = &(*p)->next;
	*p = job;
	x->job_count++;
	vgpu_turn_join(&x->turns, job);
	exec_start_jobs(x);
}

static void exec_handle_request(struct vgpu_exec *x, const struct vb_ioc_fetch *req)
{
	int rc = 0;

	switch (req->out_type) {
	case VB_FETCH_PAGE_IN:
		exec_add_page_in(x, req);
		return;
	case VB_FETCH_EVICT:
		rc = exec_evict(x, req);
		break;
	case VB_FETCH_RECLAIM:
		vgpu_resid_reclaim(&x->resid, req->out_count);
		break;
	case VB_FETCH_DRAIN:
		/* Whichever region is asked for: the last one is as good, and can go. */
		rc = vgpu_resid_drain(&x->resid);
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

/* What a client asks for beside its commands is time that it has had. */
static void exec_handle(struct vgpu_exec *x, const struct vb_ioc_fetch *req)
{
	if (req->out_type == VB_FETCH_SUBMIT) {
		exec_add_job(x, req);
		return;
	}
	x->handling_since = now_ns();
	exec_handle_request(x, req);
	vgpu_turn_charge(&x->turns, req->out_client, now_ns() - x->handling_since);
	x->handling_since = 0;
}

/* ------------------------------------------------------------------------
 * Who runs next
 */

static void exec_remove_job(struct vgpu_exec *x, struct vgpu_job *job)
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

/* One command of one job. */
static void exec_step(struct vgpu_exec *x)
{
	struct vgpu_job *job = vgpu_turn_take(&x->turns);
	uint64_t before;
	bool done;

	if (!job)
		return;
	if (x->ran != job)
		exec_yield(x);
	x->ran = job;
	before = job->busy_ns;
	done = vgpu_job_step(&x->env, job);
	vgpu_turn_end(&x->turns, job, job->busy_ns - before);
	if (!done) {
		vgpu_turn_ready(&x->turns, job);
		/* Who waits for a long job sees it move. */
		if (x->resid.count[VB_COUNT_ACCESSES] >= FLUSH_ACCESSES)
			exec_flush_counters(x, job->req.out_client);
		return;
	}
	exec_remove_job(x, job);
	exec_finish_job(x, job);
	exec_start_jobs(x);
	/* What was announced and did not come, by an error of another job. */
	if (!x->jobs)
		vgpu_resid_unwant_all(&x->resid);
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

static void exec_take_over(struct vgpu_exec *x, uint32_t fetch_flags)
{
	struct vb_ioc_fetch req[VGPU_FETCH_MAX];
	uint32_t n = exec_take_handed(x, fetch_flags, req);

	for (uint32_t i = 0; i < n; i++)
		exec_handle(x, &req[i]);
}

/* Commit, and take what there is and can be had; how many were taken. */
static uint32_t exec_fetch(struct vgpu_exec *x, uint32_t fetch_flags)
{
	uint32_t left = VGPU_TURN_JOBS_MAX - x->job_count, n;
	struct vb_ioc_fetch req[VGPU_FETCH_MAX];

	if (!left)
		fetch_flags |= VB_FETCH_F_URGENT;
	if (vgpu_fetch(&x->fetch, fetch_flags, &x->commits, req,
		       left && left < VGPU_FETCH_MAX ? left : VGPU_FETCH_MAX, &n))
		return 0;
	for (uint32_t i = 0; i < n; i++)
		exec_handle(x, &req[i]);
	return n;
}

/*
 * Serve what others ask for, without running commands; not all there is, which may never
 * end, but so much that who asks does not wait for ever either.
 */
static void exec_serve_others(struct vgpu_exec *x, uint32_t fetch_flags)
{
	uint32_t served = 0, n;

	exec_take_over(x, fetch_flags);
	exec_page_in(x);
	do {
		n = exec_fetch(x, fetch_flags);
		served += n;
	} while (n && served < SERVED_IN_ROW);
	vgpu_commit_all(&x->fetch, &x->commits);
}

/* struct vgpu_job_env: a command waits for room. */
static bool exec_serve_amid(void *arg)
{
	exec_serve_others(arg, VB_FETCH_F_NOWAIT | VB_FETCH_F_URGENT);
	return !exec_is_stopping(arg);
}

/* Run until no job is left; between commands, serve what others ask for. */
static void exec_run(struct vgpu_exec *x, uint32_t fetch_flags)
{
	while (x->jobs && !exec_is_stopping(x)) {
		if (exec_stop(x) == EXEC_DRAINS)
			fetch_flags |= VB_FETCH_F_URGENT;
		exec_step(x);
		/* On the module the last commit goes with the next sleep for work. */
		if (x->jobs || x->page_ins || !x->fetch.several)
			exec_serve_others(x, fetch_flags);
	}
}

/* Let go; transfers that are under way are looked after by the tender. */
static void exec_unlock(struct vgpu_exec *x)
{
	vgpu_commit_all(&x->fetch, &x->commits);
	if ((x->resid.moving || x->page_ins) && !x->tending)
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

/*
 * The executor's thread sleeps in FETCH and clients serve only while they wait, so
 * that transfers can be left with nobody to take their results in: what was read
 * ahead at the end of the last submission, or is being written out.  A client may
 * wait for exactly these chunks.
 */
static void *exec_tend(void *arg)
{
	struct vgpu_exec *x = arg;
	bool locked = true;

	pthread_mutex_lock(&x->run);
	while (locked && !exec_is_stopping(x)) {
		if (!x->resid.moving && !x->forgets && !x->page_ins) {
			x->tending = false;
			pthread_cond_wait(&x->tend, &x->run);
			x->tending = true;
			continue;
		}
		vgpu_resid_pump(&x->resid, 0);
		exec_retry_forgets(x);
		exec_page_in(x);
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
	served = exec_fetch(x, VB_FETCH_F_NOWAIT);
	/* Submissions of others wait for the executor's own thread. */
	if (served)
		exec_run(x, VB_FETCH_F_NOWAIT | VB_FETCH_F_URGENT);
	exec_unlock(x);
	return served;
}

/* Run what was fetched; what ended at last the device is told with the next fetch. */
static void exec_run_fetched(struct vgpu_exec *x, const struct vb_ioc_fetch *req, uint32_t count,
			     struct vgpu_commits *last)
{
	exec_hand_over(x, req, count);
	pthread_mutex_lock(&x->run);
	exec_take_over(x, 0);
	exec_run(x, VB_FETCH_F_NOWAIT);
	vgpu_commits_move(last, &x->commits);
	exec_unlock(x);
}

static void *exec_thread(void *arg)
{
	const struct timespec pause = { .tv_nsec = TEND_NS };
	struct vb_ioc_fetch req[VGPU_FETCH_MAX];
	struct vgpu_commits last = { .count = 0, .counted = false };
	struct vgpu_exec *x = arg;
	uint32_t n;
	int rc;

	while (exec_stop(x) == EXEC_RUNS) {
		rc = vgpu_fetch(&x->fetch, 0, &last, req, VGPU_FETCH_MAX, &n);
		if (rc == -EINTR)
			continue;
		if (rc == -ENOMEM) {
			/* The request stays queued; memory may come back. */
			nanosleep(&pause, NULL);
			continue;
		}
		if (rc) {
			__atomic_store_n(&x->ended, rc, __ATOMIC_RELAXED);
			break;
		}
		if (n)
			exec_run_fetched(x, req, n, &last);
	}
	vgpu_commit_all(&x->fetch, &last);
	return NULL;
}

/* ------------------------------------------------------------------------
 * Opening
 */

static int say(char *text, size_t len, int rc, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static int say(char *text, size_t len, int rc, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (text)
		vsnprintf(text, len, format, args);
	va_end(args);
	return rc;
}

/* Slots of the host tier, divided. */
struct room {
	uint32_t capacity, staging, panel_chunks;
};

static int exec_divide_host(const struct vgpu_exec_params *p, struct room *room, char *text,
			    size_t len)
{
	uint64_t slots = p->host_bytes / p->chunk_bytes, staging = p->staging_bytes / p->chunk_bytes;
	uint64_t least;

	if (!p->staging_bytes)
		staging = vgpu_staging_slots(slots);
	if (staging < VGPU_STAGING_CHUNKS_LEAST)
		staging = VGPU_STAGING_CHUNKS_LEAST;
	least = staging > VGPU_STAGING_CHUNKS_MIN ? staging : VGPU_STAGING_CHUNKS_MIN;
	if (slots < least + 1)
		return say(text, len, -EINVAL,
			   "host_bytes is %llu; two panels and one chunk need at least %llu",
			   (unsigned long long)p->host_bytes,
			   (unsigned long long)(least + 1) * p->chunk_bytes);
	if (slots >= VB_ARENA_SLOTS_MAX)
		return say(text, len, -EINVAL, "host_bytes is %llu; at %u bytes a chunk at most %llu",
			   (unsigned long long)p->host_bytes, p->chunk_bytes,
			   (unsigned long long)(VB_ARENA_SLOTS_MAX - 1) * p->chunk_bytes);
	room->staging = (uint32_t)staging;
	room->capacity = (uint32_t)(slots - staging);
	room->panel_chunks = room->staging / VGPU_STAGING_CHUNKS_MIN;
	if (!room->panel_chunks)
		room->panel_chunks = 1;
	if (room->panel_chunks > PANEL_CHUNKS_MAX)
		room->panel_chunks = PANEL_CHUNKS_MAX;
	return 0;
}

/* The dead may still hold the lock of its arena: its I/O engine ends by and by. */
static int exec_adopt_nvme(struct vgpu_exec *x, const struct vgpu_exec_params *p, char *why)
{
	const struct timespec pause = { .tv_nsec = TEND_NS };
	int rc = -EBUSY;

	for (uint32_t i = 0; i < NVME_TRIES && rc == -EBUSY; i++) {
		rc = vgpu_nvme_adopt(p->nvme_path, x->left.identity, x->left.nvme_slots,
				     p->chunk_bytes, why, &x->nvme);
		if (rc == -EBUSY)
			nanosleep(&pause, NULL);
	}
	return rc;
}

static int exec_open_nvme(struct vgpu_exec *x, const struct vgpu_exec_params *p, char *why)
{
	int rc = x->recovering && x->left.nvme ? exec_adopt_nvme(x, p, why) : -ESTALE;

	if (rc != -ESTALE)
		return rc;
	x->left.nvme = false;
	return vgpu_nvme_open(p->nvme_path, p->nvme_bytes / p->chunk_bytes, p->chunk_bytes, why,
			      &x->nvme);
}

static int exec_open_io(struct vgpu_exec *x, const struct vgpu_exec_params *p, char *text,
			size_t len)
{
	int rc;

	x->engine.timeout_ms = p->io_timeout_ms;
	x->engine.measure = p->io_measure ? p->io_measure : vgpu_io_probe;
	rc = vgpu_engine_open(&x->engine, p->io_engine, p->chunk_bytes);

	if (rc)
		return say(text, len, rc, "io_engine \"%s\": %s", p->io_engine ? p->io_engine : "auto",
			   strerror(-rc));
	if (!p->nvme_bytes) {
		x->left.nvme = false;
		return 0;
	}
	char why[VGPU_NVME_WHY_BYTES] = "";

	if (!p->nvme_path)
		return say(text, len, -EINVAL, "nvme_bytes is %llu but nvme_path is not set",
			   (unsigned long long)p->nvme_bytes);
	rc = exec_open_nvme(x, p, why);
	return rc ? say(text, len, rc, "%s", why) : 0;
}

/* What an executor before us has left: we go on with it, as large as it is. */
static int exec_look_at_left(struct vgpu_exec *x, struct room *room)
{
	int rc = vgpu_left_query(x->node, &x->left);

	if (rc)
		return rc;
	x->recovering = x->left.host && x->left.host_slots > room->staging;
	if (x->recovering) {
		room->capacity = x->left.host_slots - room->staging;
		return 0;
	}
	snprintf(x->recovery, sizeof(x->recovery), "begun anew: the host tier that was left has "
		 "%u chunks, transfers alone take %u", x->left.host_slots, room->staging);
	return vgpu_left_recover(x->node, x->fetch.generation, VB_RECOVER_DISCARD);
}

static int exec_attach(struct vgpu_exec *x, const struct vgpu_exec_params *p, struct room *room)
{
	struct vb_ioc_exec_attach a = {
		.size = sizeof(a), .heartbeat_ms = HEARTBEAT_MS,
		.staging_bytes = (uint64_t)room->staging * p->chunk_bytes,
		.panel_bytes = (uint64_t)room->panel_chunks * p->chunk_bytes,
	};
	int rc = vgpu_uapi_call(x->node, VB_IOC_EXEC_ATTACH, &a);

	x->fetch = (struct vgpu_fetcher){
		.node = x->node, .generation = a.out_generation,
		.spin_ns = p->spin_us * 1000u, .several = x->node->ops->fd,
	};
	if (!rc && a.out_state == VB_EXEC_RECOVERING)
		rc = exec_look_at_left(x, room);
	return rc;
}

/* Where the module shows what it hands out; it fetches nothing before it is there. */
static int exec_map_submit(struct vgpu_exec *x)
{
	if (!x->node->ops->fd)
		return 0;
	return vgpu_uapi_map(x->node, 0, VB_MMAP_SUBMIT, VB_MMAP_SUBMIT_BYTES, false, &x->submit);
}

static int exec_open_trace(struct vgpu_exec *x, const struct vgpu_exec_params *p,
			   const struct room *room, char *text, size_t len)
{
	struct vgpu_trace_header h = { .chunk_bytes = p->chunk_bytes, .capacity = room->capacity,
				       .staging = room->staging };
	int rc;

	if (!p->trace_path)
		return 0;
	x->trace_fd = open(p->trace_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (x->trace_fd < 0)
		return say(text, len, -errno, "trace_path %s: %s", p->trace_path, strerror(errno));
	snprintf(h.policy, sizeof(h.policy), "%s", p->policy ? p->policy : DEFAULT_POLICY);
	rc = vgpu_trace_create(x->trace_fd, &h, &x->resid.trace);
	return rc ? say(text, len, rc, "trace_path %s: %s", p->trace_path, strerror(-rc)) : 0;
}

static void exec_tell_recovery(struct vgpu_exec *x, const struct vgpu_exec_params *p)
{
	uint64_t host = (uint64_t)x->resid.slots * p->chunk_bytes;
	char *at = x->recovery, *end = at + sizeof(x->recovery);

	if (!x->recovering)
		return;
	at += snprintf(at, end - at, "went on with %u chunks in host memory", x->left.chunks);
	if (host / p->chunk_bytes != p->host_bytes / p->chunk_bytes)
		at += snprintf(at, end - at, "; the host tier stays at %llu bytes",
			       (unsigned long long)host);
	if (!x->left.nvme)
		snprintf(at, end - at, "; what was on NVMe is lost");
	else if (vgpu_nvme_bytes(x->nvme) / p->chunk_bytes != p->nvme_bytes / p->chunk_bytes)
		snprintf(at, end - at, "; the NVMe arena stays at %llu bytes",
			 (unsigned long long)vgpu_nvme_bytes(x->nvme));
}

static int exec_open_resid(struct vgpu_exec *x, const struct vgpu_exec_params *p,
			   const struct room *room, char *text, size_t len)
{
	struct vgpu_resid_params rp = {
		.generation = x->fetch.generation, .chunk_bytes = p->chunk_bytes,
		.capacity = room->capacity, .staging = room->staging,
		.room_wait_ms = p->room_wait_ms,
		.policy = p->policy ? p->policy : DEFAULT_POLICY,
		.left = x->recovering ? &x->left : NULL,
	};
	int rc = vgpu_store_init(&x->store, x->node, x->engine.io);

	if (rc)
		return rc;
	x->resid.node = x->node;
	x->resid.store = &x->store;
	x->schedules = (struct vgpu_schedules){ .store = &x->store, .chunk_bytes = p->chunk_bytes };
	x->resid.io = x->engine.io;
	x->engine.resid = &x->resid;
	x->store.choose = vgpu_engine_choose;
	x->store.choose_arg = &x->engine;
	x->resid.nvme = x->nvme;
	x->resid.pool = x->pool;
	if (!vgpu_policy_find(rp.policy))
		return say(text, len, -EINVAL, "policy \"%s\" is not known", rp.policy);
	rc = vgpu_resid_init(&x->resid, &rp);
	if (rc)
		return say(text, len, rc, "host tier of %llu bytes: %s",
			   (unsigned long long)p->host_bytes, strerror(-rc));
	exec_tell_recovery(x, p);
	return 0;
}

static int exec_open_backend(struct vgpu_exec *x, const struct vgpu_exec_params *p,
			     const struct room *room, char *text, size_t len)
{
	const char *name = p->backend ? p->backend : "cpu";
	int rc;

	x->env = (struct vgpu_job_env){
		.node = x->node, .resid = &x->resid, .store = &x->store,
		.backend = vgpu_backend_find(name),
		.panel_bytes = (uint64_t)room->panel_chunks * p->chunk_bytes,
		.serve_others = exec_serve_amid, .serve_arg = x,
	};
	if (!x->env.backend)
		return say(text, len, -EINVAL, "backend \"%s\" is not known", name);
	rc = x->env.backend->open(x->pool, &x->env.be);
	return rc ? say(text, len, rc, "backend \"%s\": %s", name, strerror(-rc)) : 0;
}

static int exec_open_parts(struct vgpu_exec *x, const struct vgpu_exec_params *p, char *text,
			   size_t len)
{
	struct vgpu_pool_params pool = { .threads = p->threads };
	struct room room = { 0 };
	int rc = exec_divide_host(p, &room, text, len);

	if (rc)
		return rc;
	rc = vgpu_pool_open(&pool, &x->pool);
	if (rc)
		return say(text, len, rc, "threads is %u: %s", p->threads, strerror(-rc));
	/* First: what is there decides how the rest is made. */
	rc = exec_attach(x, p, &room);
	if (!rc)
		rc = exec_open_io(x, p, text, len);
	if (!rc)
		rc = exec_map_submit(x);
	if (!rc)
		rc = exec_open_trace(x, p, &room, text, len);
	if (!rc)
		rc = exec_open_resid(x, p, &room, text, len);
	if (!rc)
		rc = exec_open_backend(x, p, &room, text, len);
	return rc;
}

static void exec_free(struct vgpu_exec *x)
{
	uint32_t abandoned;

	while (x->jobs) {
		struct vgpu_job *job = x->jobs;

		exec_remove_job(x, job);
		vgpu_job_destroy(&x->env, job);
	}
	if (x->env.backend && x->env.be)
		x->env.backend->close(x->env.be);
	/* One that ends early would be taken for all that happened: nothing is left of it. */
	if (vgpu_trace_finish(x->resid.trace))
		(void)!ftruncate(x->trace_fd, 0);
	if (x->trace_fd >= 0)
		close(x->trace_fd);
	/* First nothing writes to our memory any more, then it is freed. */
	abandoned = vgpu_io_close(x->engine.io);
	x->store.io = NULL;
	vgpu_resid_destroy(&x->resid, abandoned);
	vgpu_store_destroy(&x->store);
	while (x->page_ins) {
		struct vgpu_page_in *p = x->page_ins;

		x->page_ins = p->next;
		free(p);
	}
	vgpu_schedules_fini(&x->schedules);
	/* Clients of the module may go on with another executor. */
	if (x->node->ops->fd && vgpu_left_is_wanted(x->node))
		vgpu_nvme_leave(x->nvme);
	else
		vgpu_nvme_close(x->nvme);
	vgpu_pool_close(x->pool);
	vgpu_uapi_unmap(x->node, x->submit, VB_MMAP_SUBMIT_BYTES);
	x->node->ops->close(x->node);
	pthread_cond_destroy(&x->tend);
	vgpu_failures_fini(&x->failures);
	vgpu_engine_fini(&x->engine);
	pthread_mutex_destroy(&x->hand_lock);
	pthread_mutex_destroy(&x->run);
	free(x);
}

static void exec_set_stop(struct vgpu_exec *x, enum exec_stop stop)
{
	__atomic_store_n(&x->stop, stop, __ATOMIC_RELAXED);
	vgpu_fetch_stop(&x->fetch);
}

static void exec_join_thread(struct vgpu_exec *x)
{
	if (x->thread_runs)
		pthread_join(x->thread, NULL);
	x->thread_runs = false;
}

static void exec_join(struct vgpu_exec *x)
{
	exec_set_stop(x, EXEC_STOPS);
	pthread_mutex_lock(&x->run);
	pthread_cond_signal(&x->tend);
	pthread_mutex_unlock(&x->run);
	if (x->tender_runs)
		pthread_join(x->tender, NULL);
	x->tender_runs = false;
	exec_join_thread(x);
}

int vgpu_exec_start(struct vgpu_exec *x)
{
	int rc = -pthread_create(&x->tender, NULL, exec_tend, x);

	if (rc)
		return rc;
	x->tender_runs = true;
	rc = -pthread_create(&x->thread, NULL, exec_thread, x);
	x->thread_runs = !rc;
	if (rc)
		exec_join(x);
	return rc;
}

int vgpu_exec_prepare(struct vgpu_uapi *node, const struct vgpu_exec_params *params, char *text,
		      size_t text_len, struct vgpu_exec **out)
{
	struct vgpu_exec *x = calloc(1, sizeof(*x));
	int rc;

	if (!x) {
		node->ops->close(node);
		return -ENOMEM;
	}
	x->node = node;
	x->trace_fd = -1;
	pthread_mutex_init(&x->run, NULL);
	pthread_mutex_init(&x->hand_lock, NULL);
	vgpu_failures_init(&x->failures);
	vgpu_engine_init(&x->engine);
	pthread_cond_init(&x->tend, NULL);
	x->tending = true;
	rc = exec_open_parts(x, params, text, text_len);
	if (rc) {
		exec_free(x);
		return rc;
	}
	*out = x;
	return 0;
}

int vgpu_exec_open(struct vgpu_uapi *node, const struct vgpu_exec_params *params, char *text,
		   size_t text_len, struct vgpu_exec **out)
{
	struct vgpu_exec *x;
	int rc = vgpu_exec_prepare(node, params, text, text_len, &x);

	if (rc)
		return rc;
	rc = vgpu_exec_start(x);
	if (rc)
		exec_free(x);
	else
		*out = x;
	return rc;
}

int vgpu_exec_ended(struct vgpu_exec *x)
{
	return __atomic_load_n(&x->ended, __ATOMIC_RELAXED);
}

void vgpu_exec_drain(struct vgpu_exec *x)
{
	exec_set_stop(x, EXEC_DRAINS);
	exec_join_thread(x);
}

void vgpu_exec_close(struct vgpu_exec *x)
{
	if (!x)
		return;
	exec_join(x);
	exec_free(x);
}

int vgpu_exec_check(struct vgpu_exec *x, char *text, size_t len)
{
	int rc;

	pthread_mutex_lock(&x->run);
	rc = vgpu_resid_check(&x->resid, !x->jobs, text, len);
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

/* ------------------------------------------------------------------------
 * Describing
 */

static int describe_threads(struct vgpu_exec *x, char *text, size_t len)
{
	struct vgpu_pool_info pool;

	vgpu_pool_query(x->pool, &pool);
	return snprintf(text, len, "%u thread%s on %u node%s%s", pool.threads,
			pool.threads == 1 ? "" : "s", pool.nodes, pool.nodes == 1 ? "" : "s",
			pool.pinned ? ", pinned" : "");
}

static int describe_staging(struct vgpu_exec *x, char *text, size_t len)
{
	return snprintf(text, len, "%llu bytes of the tier, beside it at most %llu so far of %llu",
			(unsigned long long)x->resid.staging * x->resid.chunk_bytes,
			(unsigned long long)__atomic_load_n(&x->resid.beside.most, __ATOMIC_RELAXED),
			VGPU_BESIDE_BYTES);
}

static int describe(struct vgpu_exec *x, const char *key, char *text, size_t len)
{
	if (!strncmp(key, "error", 5))
		return vgpu_failures_describe(&x->failures, key, text, len);
	if (!strcmp(key, "backend"))
		return snprintf(text, len, "%s", x->env.backend->name);
	if (!strcmp(key, "isa"))
		return snprintf(text, len, "%s", vgpu_isa_name(vgpu_kernels_best()->isa));
	if (!strcmp(key, "threads"))
		return describe_threads(x, text, len);
	if (!strcmp(key, "policy"))
		return snprintf(text, len, "%s", x->resid.policy->name);
	if (!strcmp(key, "staging"))
		return describe_staging(x, text, len);
	if (!strcmp(key, "host.pages"))
		return snprintf(text, len, "%s", x->resid.pages);
	if (!strcmp(key, "recovery"))
		return snprintf(text, len, "%s", x->recovery);
	if (!strcmp(key, "nvme"))
		return snprintf(text, len, "%llu bytes", x->nvme ?
				(unsigned long long)vgpu_nvme_bytes(x->nvme) : 0ull);
	return vgpu_engine_describe(&x->engine, key, text, len);
}

int vgpu_exec_describe(struct vgpu_exec *x, const char *key, char *text, size_t len)
{
	int n = len ? describe(x, key, text, len) : -EINVAL;

	return n < (int)len ? n : (int)len - 1;
}
