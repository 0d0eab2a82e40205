// SPDX-License-Identifier: MIT
/*
 * Queues: each in its own order; between clients, and between the queues of each, by
 * shares of executor time (core/share.h).
 *
 * A queue has one submission in the executor's hands at a time, and its fences
 * signal in the order of their numbers.  A queue is ready when its first submission
 * has no in-fence left to wait for; a submission whose in-fence failed ends with
 * that error and is never fetched.  An in-fence names a submission that was made
 * before, so that no cycle can come to be.
 */
#include "uapi_loop.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"

#define RESULTS_MIN	32u

/* ---- results ---- */

static u64 completed(const struct loop_queue *q)
{
	return atomic_load_explicit(&q->completed, memory_order_acquire);
}

static struct loop_result *result_at(const struct loop_queue *q, u64 seqno)
{
	return &q->results[seqno & (q->result_size - 1)];
}

int vgpu_loop_queue_reserve_locked(struct loop_queue *q)
{
	u64 last = completed(q), kept = last < q->result_size ? last : q->result_size;
	u32 size = q->result_size * 2;
	struct loop_result *results;

	if (q->result_size >= 2 * (q->pending_count + 1))
		return 0;
	results = calloc(size, sizeof(*results));
	if (!results)
		return -ENOMEM;
	for (u64 seqno = last - kept + 1; seqno <= last; seqno++)
		results[seqno & (size - 1)] = *result_at(q, seqno);
	free(q->results);
	q->results = results;
	q->result_size = size;
	/* There would be room for earlier ones now, but they have left. */
	if (q->oldest < last - kept + 1)
		q->oldest = last - kept + 1;
	return 0;
}

static void result_store_locked(struct loop_queue *q, u64 seqno, const struct loop_result *r)
{
	if (seqno > q->result_size && result_at(q, seqno)->status)
		q->forgotten = seqno - q->result_size;
	*result_at(q, seqno) = *r;
}

bool vgpu_loop_queue_is_over_locked(const struct loop_queue *q, u64 seqno)
{
	return seqno <= completed(q) || (q->destroyed && seqno >= q->canceled_from);
}

int vgpu_loop_queue_result_locked(const struct loop_queue *q, u64 seqno, struct loop_result *out)
{
	static const struct loop_result fine = { .bad_command = ~0u };

	*out = fine;
	if (seqno > completed(q))
		out->status = -ECANCELED;
	else if (seqno >= q->oldest && seqno + q->result_size > completed(q))
		*out = *result_at(q, seqno);
	else if (seqno <= q->forgotten)
		return -ESTALE;
	return 0;
}

/* ---- references ---- */

struct loop_queue *vgpu_loop_queue_get_locked(struct loop_client *c, u32 queue_id)
{
	struct loop_queue *q = vgpu_loop_ids_find(&c->queues, queue_id);

	if (q)
		q->refs++;
	return q;
}

void vgpu_loop_queue_put_locked(struct loop_queue *q)
{
	if (--q->refs)
		return;
	TAILQ_REMOVE(&q->client->loop->queue_list, q, link);
	vgpu_loop_client_put_locked(q->client);
	pthread_cond_destroy(&q->cond);
	free(q->results);
	free(q);
}

/* ---- fences ---- */

static void advance_later_locked(struct loop_queue *q)
{
	if (q->advancing)
		return;
	q->advancing = true;
	q->refs++;
	TAILQ_INSERT_TAIL(&q->client->loop->advance, q, advance_link);
}

/* A full eventfd must not stop the device. */
static void eventfd_signal(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	const u64 one = 1;

	if (poll(&p, 1, 0) == 1 && p.revents & POLLOUT)
		(void)!write(fd, &one, sizeof(one));
}

static void dependent_signal_locked(struct loop_dependent *d, int status)
{
	struct loop_submission *s = d->submission;

	TAILQ_REMOVE(&d->queue->dependents, d, link);
	d->queue = NULL;
	if (!s) {
		eventfd_signal(d->fd);
		close(d->fd);
		free(d);
		return;
	}
	if (status && !s->in_status)
		s->in_status = status;
	if (!--s->unmet)
		advance_later_locked(s->queue);
}

/* Only marks the queues that wait: whoever calls runs them, outside this walk. */
static void fences_signal_locked(struct loop_queue *q)
{
	struct loop_dependent *d, *next;
	struct loop_result r;

	for (d = TAILQ_FIRST(&q->dependents); d; d = next) {
		next = TAILQ_NEXT(d, link);
		if (!vgpu_loop_queue_is_over_locked(q, d->seqno))
			continue;
		vgpu_loop_queue_result_locked(q, d->seqno, &r);
		dependent_signal_locked(d, r.status);
	}
	if (q->sleepers)
		pthread_cond_broadcast(&q->cond);
}

/* ---- who is ready ---- */

static void queue_set_ready_locked(struct loop_queue *q, bool ready)
{
	struct vgpu_loop *loop = q->client->loop;

	if (ready)
		vb_share_add(&loop->shares, &q->share);
	else
		vb_share_remove(&loop->shares, &q->share);
}

static void advance_one_locked(struct loop_queue *q)
{
	struct loop_submission *s;

	while (!q->running && (s = TAILQ_FIRST(&q->pending)) && !s->unmet) {
		if (!s->in_status) {
			queue_set_ready_locked(q, true);
			return;
		}
		vgpu_loop_complete_locked(s, s->in_status, ~0u, 0);
	}
}

/* A list instead of recursion: a chain of failing fences may be long. */
static void advance_run_locked(struct vgpu_loop *loop)
{
	struct loop_queue *q;

	if (loop->advancing)
		return;
	loop->advancing = true;
	while ((q = TAILQ_FIRST(&loop->advance))) {
		TAILQ_REMOVE(&loop->advance, q, advance_link);
		q->advancing = false;
		advance_one_locked(q);
		vgpu_loop_queue_put_locked(q);
	}
	loop->advancing = false;
}

void vgpu_loop_queue_advance_locked(struct loop_queue *q)
{
	advance_later_locked(q);
	advance_run_locked(q->client->loop);
}

struct loop_submission *vgpu_loop_queue_next_locked(struct vgpu_loop *loop)
{
	struct vb_share_queue *share = vb_share_next(&loop->shares);

	return TAILQ_FIRST(&container_of(share, struct loop_queue, share)->pending);
}

void vgpu_loop_queue_start_locked(struct loop_submission *s)
{
	struct loop_queue *q = s->queue;

	vb_share_start(&q->client->loop->shares, &q->share);
	TAILQ_REMOVE(&q->pending, s, link);
	q->pending_count--;
	q->running = s;
}

/* ---- ends ---- */

static void submission_leave_locked(struct loop_submission *s, u64 busy_ns)
{
	struct loop_queue *q = s->queue;

	if (q->running == s) {
		vb_share_end(&q->client->loop->shares, &q->share, busy_ns);
		q->running = NULL;
		return;
	}
	queue_set_ready_locked(q, false);
	TAILQ_REMOVE(&q->pending, s, link);
	q->pending_count--;
}

void vgpu_loop_complete_locked(struct loop_submission *s, int status, u32 bad_command, u64 busy_ns)
{
	struct loop_queue *q = s->queue;
	struct loop_result r = {
		.status = status,
		.bad_command = status ? bad_command : ~0u,
		.busy_ns = busy_ns,
	};

	submission_leave_locked(s, busy_ns);
	vgpu_loop_count_locked(q->client, VB_COUNT_BUSY_NS, busy_ns);
	if (status)
		vgpu_loop_count_locked(q->client, VB_COUNT_ERRORS, 1);
	result_store_locked(q, s->seqno, &r);
	atomic_store_explicit(&q->completed, s->seqno, memory_order_release);
	q->refs++;
	vgpu_loop_submission_free_locked(s);
	fences_signal_locked(q);
	vgpu_loop_queue_advance_locked(q);
	vgpu_loop_queue_put_locked(q);
}

void vgpu_loop_queue_cancel_locked(struct loop_queue *q)
{
	struct loop_submission *s;

	q->destroyed = true;
	q->canceled_from = (q->running ? q->running->seqno : completed(q)) + 1;
	queue_set_ready_locked(q, false);
	q->refs++;
	while ((s = TAILQ_FIRST(&q->pending))) {
		TAILQ_REMOVE(&q->pending, s, link);
		q->pending_count--;
		vgpu_loop_count_locked(q->client, VB_COUNT_ERRORS, 1);
		vgpu_loop_submission_free_locked(s);
	}
	fences_signal_locked(q);
	advance_run_locked(q->client->loop);
	vgpu_loop_queue_put_locked(q);
}

u64 vgpu_loop_expire_locked(struct vgpu_loop *loop)
{
	u64 now, earliest = ~0ull;
	struct loop_queue *q, *next;

	if (!loop->deadlines)
		return earliest;
	now = vgpu_now_ns();
	for (q = TAILQ_FIRST(&loop->queue_list); q; q = next) {
		struct loop_submission *s;

		next = TAILQ_NEXT(q, link);
		while (!q->running && (s = TAILQ_FIRST(&q->pending)) && s->deadline_ns &&
		       s->deadline_ns <= now)
			vgpu_loop_complete_locked(s, -ETIME, ~0u, 0);
		s = q->running ? NULL : TAILQ_FIRST(&q->pending);
		if (s && s->deadline_ns && s->deadline_ns < earliest)
			earliest = s->deadline_ns;
	}
	return earliest;
}

/* ---- requests ---- */

static struct loop_queue *queue_new(struct loop_client *c, u32 weight)
{
	struct loop_queue *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->results = calloc(RESULTS_MIN, sizeof(*q->results));
	if (!q->results) {
		free(q);
		return NULL;
	}
	q->result_size = RESULTS_MIN;
	q->refs = 1;
	q->client = c;
	q->share.client = &c->share;
	q->share.member.weight = weight;
	TAILQ_INIT(&q->pending);
	TAILQ_INIT(&q->dependents);
	vgpu_cond_init(&q->cond);
	return q;
}

int vgpu_loop_queue_create(struct loop_client *c, void *arg)
{
	struct vb_ioc_queue_create *cmd = arg;
	u32 weight = cmd->weight ? cmd->weight : VB_QUEUE_WEIGHT_DEFAULT;
	struct loop_queue *q;
	int rc;

	if (weight > VB_QUEUE_WEIGHT_MAX)
		return -EINVAL;
	q = queue_new(c, weight);
	if (!q)
		return -ENOMEM;
	pthread_mutex_lock(&c->loop->lock);
	rc = vgpu_loop_ids_add(&c->queues, q, &cmd->out_queue_id);
	if (!rc) {
		c->refs++;
		q->number = ++c->loop->next_queue;
		cmd->out_number = q->number;
		TAILQ_INSERT_TAIL(&c->loop->queue_list, q, link);
	}
	pthread_mutex_unlock(&c->loop->lock);
	if (rc) {
		pthread_cond_destroy(&q->cond);
		free(q->results);
		free(q);
	}
	return rc;
}

int vgpu_loop_queue_destroy(struct loop_client *c, void *arg)
{
	struct vb_ioc_queue_destroy *cmd = arg;
	struct loop_queue *q;

	pthread_mutex_lock(&c->loop->lock);
	q = vgpu_loop_ids_remove(&c->queues, cmd->queue_id);
	if (q) {
		vgpu_loop_queue_cancel_locked(q);
		vgpu_loop_queue_put_locked(q);
		vgpu_loop_kick_locked(c->loop, false);
	}
	pthread_mutex_unlock(&c->loop->lock);
	return q ? 0 : -ENOENT;
}

static void spin_for(struct loop_queue *q, u64 seqno, u64 deadline_ns)
{
	pthread_mutex_t *lock = &q->client->loop->lock;
	u64 now, until;

	pthread_mutex_unlock(lock);
	now = vgpu_now_ns();
	until = now + LOOP_SPIN_NS < deadline_ns ? now + LOOP_SPIN_NS : deadline_ns;
	while (completed(q) < seqno && vgpu_now_ns() < until)
		__builtin_ia32_pause();
	pthread_mutex_lock(lock);
}

/*
 * Serve, spin, sleep, until the fence is over or the time is.  Nobody knows how long
 * work takes, so that only who waits without a bound is given some.
 */
static void queue_wait_locked(struct loop_queue *q, u64 seqno, u64 deadline_ns)
{
	struct vgpu_loop *loop = q->client->loop;
	bool served = deadline_ns == ~0ull;

	while (served && !vgpu_loop_queue_is_over_locked(q, seqno))
		served = vgpu_loop_kick_locked(loop, true);
	if (!vgpu_loop_queue_is_over_locked(q, seqno))
		spin_for(q, seqno, deadline_ns);
	while (!vgpu_loop_queue_is_over_locked(q, seqno) && vgpu_now_ns() < deadline_ns) {
		u64 expiry = vgpu_loop_expire_locked(loop);

		if (vgpu_loop_queue_is_over_locked(q, seqno))
			break;
		q->sleepers++;
		vgpu_loop_sleep_locked(loop, &q->cond, expiry < deadline_ns ? expiry : deadline_ns);
		q->sleepers--;
	}
}

static int wait_locked(struct loop_queue *q, struct vb_ioc_wait *cmd)
{
	struct loop_result r;
	int rc;

	if (!cmd->seqno || cmd->seqno > q->submitted)
		return -EINVAL;
	if (cmd->timeout_ns && !vgpu_loop_queue_is_over_locked(q, cmd->seqno))
		queue_wait_locked(q, cmd->seqno, cmd->timeout_ns);
	if (!vgpu_loop_queue_is_over_locked(q, cmd->seqno))
		return -ETIME;
	rc = vgpu_loop_queue_result_locked(q, cmd->seqno, &r);
	if (rc)
		return rc;
	cmd->out_status = r.status;
	cmd->out_bad_command = r.bad_command;
	cmd->out_busy_ns = r.busy_ns;
	return 0;
}

int vgpu_loop_wait(struct loop_client *c, void *arg)
{
	struct vb_ioc_wait *cmd = arg;
	struct loop_queue *q;
	int rc = -ENOENT;

	pthread_mutex_lock(&c->loop->lock);
	q = vgpu_loop_queue_get_locked(c, cmd->queue_id);
	if (q) {
		rc = wait_locked(q, cmd);
		vgpu_loop_queue_put_locked(q);
	}
	pthread_mutex_unlock(&c->loop->lock);
	return rc;
}

/* A copy of the caller's eventfd; -EBADF, -EINVAL when it is something else. */
static int eventfd_copy(int fd)
{
	char path[32], name[32];
	ssize_t n;
	int copy;

	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return errno == EBADF ? -EBADF : -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", copy);
	n = readlink(path, name, sizeof(name) - 1);
	if (n >= 0) {
		name[n] = 0;
		if (strcmp(name, "anon_inode:[eventfd]")) {
			close(copy);
			return -EINVAL;
		}
	}
	return copy;
}

static int eventfd_arm_locked(struct loop_queue *q, u64 seqno, struct loop_dependent *d)
{
	if (!seqno || seqno > q->submitted)
		return -EINVAL;
	d->queue = q;
	d->seqno = seqno;
	TAILQ_INSERT_TAIL(&q->dependents, d, link);
	if (vgpu_loop_queue_is_over_locked(q, seqno))
		dependent_signal_locked(d, 0);
	return 0;
}

int vgpu_loop_fence_eventfd(struct loop_client *c, void *arg)
{
	struct vb_ioc_fence_eventfd *cmd = arg;
	struct loop_dependent *d;
	struct loop_queue *q;
	int rc = -ENOENT;
	int fd = eventfd_copy(cmd->fd);

	if (fd < 0)
		return fd;
	d = calloc(1, sizeof(*d));
	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	d->fd = fd;
	pthread_mutex_lock(&c->loop->lock);
	q = vgpu_loop_queue_get_locked(c, cmd->queue_id);
	if (q) {
		rc = eventfd_arm_locked(q, cmd->seqno, d);
		vgpu_loop_queue_put_locked(q);
	}
	pthread_mutex_unlock(&c->loop->lock);
	if (rc) {
		close(fd);
		free(d);
	}
	return rc;
}
