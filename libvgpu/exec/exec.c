// SPDX-License-Identifier: MIT
#include "executor.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "filled.h"
#include "object_file.h"
#include "region.h"

#define FLUSH_ACCESSES		32u	/* chunk uses that are not counted yet */
#define RECORD_WAIT_MS		10	/* whoever was answered has gone on by then */
#define SERVED_IN_ROW		4u	/* requests of clients between two commands */
#define SERVE_NS		20000u	/* and how long they may wait for commands that are short */
#define CALM_NS_LEAST		(10ull * 1000000000u)
#define CALM_NS_MOST		(128 * CALM_NS_LEAST)

/* ------------------------------------------------------------------------
 * Jobs, from the request to the commit
 */

void vgpu_exec_commit(struct vgpu_exec *x, uint64_t tag, int status, uint32_t bad_command,
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

void vgpu_exec_flush_counters(struct vgpu_exec *x, uint32_t client)
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
	vgpu_exec_flush_counters(x, client);
	vgpu_exec_commit(x, tag, status, bad, busy);
}

void vgpu_exec_yield(struct vgpu_exec *x)
{
	if (!x->ran)
		return;
	vgpu_job_yield(&x->env, x->ran);
	vgpu_exec_flush_counters(x, x->ran->req.out_client);
	x->ran = NULL;
}

/*
 * Scratch goes nowhere while its submission runs: what runs together must leave room
 * for the largest of its commands, or none could go on.
 */
static bool exec_may_start(const struct vgpu_exec *x, struct vgpu_job *next)
{
	uint64_t scratch = next->scratch;
	uint32_t need = 0;
	bool alone = true;

	for (const struct vgpu_job *job = x->jobs; job; job = job->next) {
		alone &= !job->started;
		scratch += job->started ? job->scratch : 0;
	}
	if (alone || !scratch)
		return true;
	for (struct vgpu_job *job = x->jobs; job; job = job->next) {
		uint32_t its = job->started || job == next ? vgpu_job_need(&x->env, job) : 0;

		need = its > need ? its : need;
	}
	return scratch + need <= x->resid.slots;
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
		vgpu_exec_commit(x, req->out_tag, rc, UINT32_MAX, 0);
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

int vgpu_exec_shrink(struct vgpu_exec *x)
{
	uint64_t now = vgpu_now_ns();
	int rc;

	vgpu_fetch_hold(&x->fetch, true);
	rc = vgpu_resid_drain(&x->resid);
	vgpu_fetch_hold(&x->fetch, false);
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
	int rc;

	if (x->resid.slots == x->resid.slots_most || now < x->grow_at)
		return;
	vgpu_fetch_hold(&x->fetch, true);
	rc = vgpu_resid_grow(&x->resid);
	vgpu_fetch_hold(&x->fetch, false);
	if (rc)
		x->calm_ns = longer_calm(x);
	else
		x->grew_at = now;
	x->grow_at = now + x->calm_ns;
}

static void exec_handle(struct vgpu_exec *x, const struct vb_ioc_fetch *req)
{
	if (req->out_type == VB_FETCH_SUBMIT)
		exec_add_job(x, req);
	else
		vgpu_exec_request(x, req);
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
		vgpu_exec_yield(x);
	x->ran = job;
	before = job->busy_ns;
	done = vgpu_job_step(&x->env, job);
	vgpu_turn_end(&x->turns, job, job->busy_ns - before);
	if (!done) {
		if (!job->slow)
			vgpu_turn_ready(&x->turns, job);
		/* Who waits for a long job sees it move. */
		if (x->resid.count[VB_COUNT_ACCESSES] >= FLUSH_ACCESSES)
			vgpu_exec_flush_counters(x, job->req.out_client);
		return true;
	}
	vgpu_exec_remove_job(x, job);
	exec_finish_job(x, job);
	exec_start_jobs(x);
	vgpu_exec_forget_wants(x);
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
	vgpu_exec_page_in(x, amid);
	vgpu_exec_retry(x);
	vgpu_commit_all(&x->fetch, &x->commits);
	x->served_at = x->env.stepped_at;
}

/* Nobody waits for an answer that is there, and others were asked a moment ago. */
static bool exec_may_run_on(const struct vgpu_exec *x)
{
	return x->jobs && !x->page_ins && !x->commits.count &&
	       x->env.stepped_at - x->served_at < SERVE_NS;
}

/* struct vgpu_job_env: a command waits for room. */
bool vgpu_exec_serve_amid(void *arg)
{
	exec_serve_others(arg, VB_FETCH_F_NOWAIT | VB_FETCH_F_URGENT, true);
	return !exec_is_stopping(arg);
}

void vgpu_exec_take_in(void *arg)
{
	struct vgpu_exec *x = arg;

	if (vgpu_resid_pump(&x->resid, 0) > 0)
		vgpu_exec_answer_late(x);
	vgpu_exec_retry(x);
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
	vgpu_exec_page_in(x, false);
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
		if ((x->jobs || x->page_ins || !x->fetch.several) &&
		    !(ran && exec_may_run_on(x)))
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
		vgpu_exec_retry(x);
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
