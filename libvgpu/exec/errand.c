// SPDX-License-Identifier: MIT
#include "errand.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "clock.h"

#define STACK_BYTES	(256u << 10)	/* a measurement lists its engines there */

/**
 * struct vgpu_errand - one on its way
 * @lock: protects @done and @left
 * @changed: @done was set; CLOCK_MONOTONIC
 * @left: nobody waits: the thread frees all of it
 */
struct vgpu_errand {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	void (*run)(void *arg);
	void (*drop)(void *arg);
	void *arg;
	bool done, left;
};

static void errand_free(struct vgpu_errand *e)
{
	pthread_cond_destroy(&e->changed);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

static void *errand_thread(void *arg)
{
	struct vgpu_errand *e = arg;
	bool left;

	e->run(e->arg);
	pthread_mutex_lock(&e->lock);
	e->done = true;
	left = e->left;
	pthread_cond_signal(&e->changed);
	pthread_mutex_unlock(&e->lock);
	/* Who has not left frees it, from now on. */
	if (left) {
		e->drop(e->arg);
		errand_free(e);
	}
	return NULL;
}

static struct vgpu_errand *errand_alloc(void)
{
	struct vgpu_errand *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	pthread_mutex_init(&e->lock, NULL);
	vgpu_cond_init(&e->changed);
	return e;
}

/* Signals are for the threads of the application. */
static int thread_start(struct vgpu_errand *e)
{
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = -pthread_create(&thread, &attr, errand_thread, e);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return rc;
}

int vgpu_errand_begin(void (*run)(void *arg), void (*drop)(void *arg), void *arg,
		      struct vgpu_errand **out)
{
	struct vgpu_errand *e = errand_alloc();
	int rc;

	if (!e)
		return -ENOMEM;
	e->run = run;
	e->drop = drop;
	e->arg = arg;
	rc = thread_start(e);
	if (rc)
		errand_free(e);
	else
		*out = e;
	return rc;
}

bool vgpu_errand_is_done(struct vgpu_errand *e, uint64_t wait_ns)
{
	uint64_t until = vgpu_now_ns() + wait_ns;
	struct timespec ts = { (time_t)(until / 1000000000u), (long)(until % 1000000000u) };
	bool done;
	int rc = 0;

	pthread_mutex_lock(&e->lock);
	while (!e->done && wait_ns && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&e->changed, &e->lock, &ts);
	done = e->done;
	pthread_mutex_unlock(&e->lock);
	return done;
}

bool vgpu_errand_leave(struct vgpu_errand *e)
{
	bool done;

	pthread_mutex_lock(&e->lock);
	done = e->done;
	e->left = true;
	pthread_mutex_unlock(&e->lock);
	if (done)
		errand_free(e);
	return done;
}
