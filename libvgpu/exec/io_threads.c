// SPDX-License-Identifier: MIT
/*
 * Engines "threads" and "buffered": a pool of depth threads, each in a plain pread() or pwrite().
 *
 * "threads" is for machines where io_uring is forbidden; it uses O_DIRECT where it can.
 * "buffered" goes through the page cache on purpose: on some virtual disks the kernel's readahead
 * is faster than any direct read. Reads in a row are left to it: announcing a range makes its
 * pages appear without the marks that keep readahead going, and halves the speed. Where the next
 * attempt in the queue lies elsewhere, a worker announces it before it begins its own. What was
 * read is dropped again, so that the page cache does not become a tier nobody accounts for.
 *
 * A worker in the kernel cannot be called back: cancelling works only for attempts that no worker
 * has taken yet. Workers see attempts and jobs, never requests.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exec/io_engine.h"

#define STACK_BYTES	(256u << 10)

struct job {
	struct vgpu_io_attempt at;
	int32_t res;
	struct job *next;
};

/* A worker and a job beside the depth ones: another worker may never come back. */
struct more {
	struct job job;
	pthread_t thread;
	struct more *next;
};

struct queue {
	struct job *head;
	struct job *tail;
};

/**
 * struct pool - engine state
 * @lock: protects todo, done and stop; nothing is taken inside it
 * @work: todo or stop changed
 * @finished: done changed; CLOCK_MONOTONIC
 * @todo: attempts no worker has taken
 * @done: attempts to be answered
 * @stop: workers return when they are idle
 * @buffered: announce reads; fixed after creation
 * @free: unused jobs; the caller's thread only
 * @jobs: depth of them
 * @more: jobs, and workers, for attempts that were set aside
 * @threads: workers
 * @count: entries of @threads
 */
struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_cond_t finished;
	struct queue todo;
	struct queue done;
	bool stop;
	bool buffered;
	struct job *free;
	struct job *jobs;
	struct more *more;
	pthread_t *threads;
	uint32_t count;
};

static void queue_push(struct queue *q, struct job *job)
{
	job->next = NULL;
	if (q->tail)
		q->tail->next = job;
	else
		q->head = job;
	q->tail = job;
}

static struct job *queue_pop(struct queue *q)
{
	struct job *job = q->head;

	if (!job)
		return NULL;
	q->head = job->next;
	if (!q->head)
		q->tail = NULL;
	return job;
}

static void announce(const struct vgpu_io_attempt *now, const struct vgpu_io_attempt *ahead)
{
	bool follows = ahead->fd == now->fd && ahead->offset == now->offset + now->bytes;

	/* Nothing is ahead when its length is 0. */
	if (ahead->bytes && !ahead->write && !follows)
		posix_fadvise(ahead->fd, (off_t)ahead->offset, ahead->bytes, POSIX_FADV_WILLNEED);
}

static int32_t transfer(const struct vgpu_io_attempt *at)
{
	ssize_t n;
	int32_t res;

	if (at->write)
		n = pwrite(at->fd, at->buf, at->bytes, (off_t)at->offset);
	else
		n = pread(at->fd, at->buf, at->bytes, (off_t)at->offset);
	res = n < 0 ? -errno : (int32_t)n;
	if (!at->direct)
		vgpu_io_drop_behind(at);
	return res;
}

/* Returns the next job with the lock held, NULL to stop; copies the one behind it to @ahead. */
static struct job *worker_wait_locked(struct pool *pool, struct vgpu_io_attempt *ahead)
{
	struct job *job;

	while (!pool->todo.head && !pool->stop)
		pthread_cond_wait(&pool->work, &pool->lock);
	if (pool->stop)
		return NULL;
	job = queue_pop(&pool->todo);
	*ahead = pool->todo.head ? pool->todo.head->at : (struct vgpu_io_attempt){ 0 };
	return job;
}

static void *worker(void *arg)
{
	struct vgpu_io_attempt ahead;
	struct pool *pool = arg;
	struct job *job;

	pthread_mutex_lock(&pool->lock);
	while ((job = worker_wait_locked(pool, &ahead))) {
		pthread_mutex_unlock(&pool->lock);
		if (pool->buffered)
			announce(&job->at, &ahead);
		job->res = transfer(&job->at);
		pthread_mutex_lock(&pool->lock);
		queue_push(&pool->done, job);
		pthread_cond_signal(&pool->finished);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

static void pool_stop(struct pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->stop = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
}

static void pool_free(struct pool *pool)
{
	pthread_cond_destroy(&pool->finished);
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
	while (pool->more) {
		struct more *more = pool->more;

		pool->more = more->next;
		free(more);
	}
	free(pool->threads);
	free(pool->jobs);
	free(pool);
}

static void threads_close(struct vgpu_io *io)
{
	struct pool *pool = io->engine;
	uint32_t i;

	pool_stop(pool);
	for (i = 0; i < pool->count; i++)
		pthread_join(pool->threads[i], NULL);
	for (struct more *more = pool->more; more; more = more->next)
		pthread_join(more->thread, NULL);
	pool_free(pool);
}

static void threads_abandon(struct vgpu_io *io)
{
	struct pool *pool = io->engine;
	uint32_t i;

	pool_stop(pool);
	for (i = 0; i < pool->count; i++)
		pthread_detach(pool->threads[i]);
	for (struct more *more = pool->more; more; more = more->next)
		pthread_detach(more->thread);
}

static struct pool *pool_alloc(uint32_t depth)
{
	struct pool *pool = calloc(1, sizeof(*pool));
	uint32_t i;

	if (!pool)
		return NULL;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	vgpu_cond_init(&pool->finished);
	pool->jobs = calloc(depth, sizeof(*pool->jobs));
	pool->threads = calloc(depth, sizeof(*pool->threads));
	if (!pool->jobs || !pool->threads) {
		pool_free(pool);
		return NULL;
	}
	for (i = 0; i < depth; i++) {
		pool->jobs[i].next = pool->free;
		pool->free = &pool->jobs[i];
	}
	return pool;
}

/* Workers take no signals: those are for the threads of the application. */
static int worker_start(struct pool *pool, pthread_t *thread)
{
	sigset_t all, old;
	pthread_attr_t attr;
	int rc;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = -pthread_create(thread, &attr, worker, pool);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return rc;
}

static int pool_start(struct pool *pool, uint32_t depth)
{
	int rc = 0;

	while (!rc && pool->count < depth) {
		rc = worker_start(pool, &pool->threads[pool->count]);
		if (!rc)
			pool->count++;
	}
	return pool->count ? 0 : rc;
}

static bool threads_set_aside(struct vgpu_io *io)
{
	struct more *more = calloc(1, sizeof(*more));
	struct pool *pool = io->engine;

	if (!more)
		return false;
	if (worker_start(pool, &more->thread)) {
		free(more);
		return false;
	}
	more->next = pool->more;
	pool->more = more;
	more->job.next = pool->free;
	pool->free = &more->job;
	return true;
}

static int threads_open(struct vgpu_io *io, const struct vgpu_io_params *params)
{
	struct pool *pool = pool_alloc(io->depth);
	int rc;

	(void)params;
	if (!pool)
		return -ENOMEM;
	pool->buffered = io->ops->buffered;
	rc = pool_start(pool, io->depth);
	if (rc) {
		pool_free(pool);
		return rc;
	}
	if (pool->count < io->depth)
		snprintf(io->degraded, sizeof(io->degraded),
			 "only %u of %u threads could be created", pool->count, io->depth);
	io->engine = pool;
	snprintf(io->reason, sizeof(io->reason), "%s, %u threads",
		 pool->buffered ? "buffered pread() with readahead, dropped behind" :
				  "pread() and pwrite()", io->depth);
	return 0;
}

static void threads_start(struct vgpu_io *io, const struct vgpu_io_attempt *attempt)
{
	struct pool *pool = io->engine;
	struct job *job = pool->free;

	pool->free = job->next;
	job->at = *attempt;
	pthread_mutex_lock(&pool->lock);
	queue_push(&pool->todo, job);
	pthread_cond_signal(&pool->work);
	pthread_mutex_unlock(&pool->lock);
}

static struct job *pool_wait(struct pool *pool, int64_t timeout_ns)
{
	uint64_t until = vgpu_now_ns() + (uint64_t)timeout_ns;
	struct timespec ts = { (time_t)(until / 1000000000u), (long)(until % 1000000000u) };
	struct job *jobs;
	int rc = 0;

	pthread_mutex_lock(&pool->lock);
	while (!pool->done.head && timeout_ns && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&pool->finished, &pool->lock, &ts);
	jobs = pool->done.head;
	pool->done = (struct queue){ 0 };
	pthread_mutex_unlock(&pool->lock);
	return jobs;
}

static int threads_reap(struct vgpu_io *io, int64_t timeout_ns)
{
	struct pool *pool = io->engine;
	struct vgpu_io_req *req;
	struct job *job, *next;
	int32_t res;

	for (job = pool_wait(pool, timeout_ns); job; job = next) {
		next = job->next;
		req = job->at.req;
		res = job->res;
		job->next = pool->free;
		pool->free = job;
		vgpu_io_attempt_done(io, req, res);
	}
	return 0;
}

static struct job *todo_take_locked(struct pool *pool, const struct vgpu_io_req *req)
{
	struct job *job, *prev = NULL;

	for (job = pool->todo.head; job && job->at.req != req; job = job->next)
		prev = job;
	if (!job)
		return NULL;
	if (prev)
		prev->next = job->next;
	else
		pool->todo.head = job->next;
	if (pool->todo.tail == job)
		pool->todo.tail = prev;
	return job;
}

static void threads_cancel(struct vgpu_io *io, struct vgpu_io_req *req)
{
	struct pool *pool = io->engine;
	struct job *job;

	pthread_mutex_lock(&pool->lock);
	job = todo_take_locked(pool, req);
	if (job) {
		job->res = -ECANCELED;
		queue_push(&pool->done, job);
	}
	pthread_mutex_unlock(&pool->lock);
}

const struct vgpu_io_ops vgpu_io_threads_ops = {
	.name = "threads",
	.depth = 8,
	.open = threads_open,
	.close = threads_close,
	.abandon = threads_abandon,
	.set_aside = threads_set_aside,
	.start = threads_start,
	.reap = threads_reap,
	.cancel = threads_cancel,
};

const struct vgpu_io_ops vgpu_io_buffered_ops = {
	.name = "buffered",
	.depth = 2,
	.buffered = true,
	.open = threads_open,
	.close = threads_close,
	.abandon = threads_abandon,
	.set_aside = threads_set_aside,
	.start = threads_start,
	.reap = threads_reap,
	.cancel = threads_cancel,
};
