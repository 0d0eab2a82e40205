// SPDX-License-Identifier: MIT
/*
 * What does it cost to hand work to the thread pool?
 *
 *	pool [THREADS]		default: what the pool takes, VBLACKWELL_THREADS or all CPUs
 *
 *	empty-spin	a run of empty items, its threads still looking for work
 *	empty-sleep	the same after they went to sleep
 *	help-spin	from the start of a run until another thread begins an item
 *	help-sleep	the same after they went to sleep
 *
 * Medians of $BENCH_RUNS (7) medians. The peer is what one would write with pthreads: a barrier to
 * begin and a barrier to end; it waits for every thread, which the pool does not, so its
 * "help" is the time until the other thread is past the first barrier.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/bench_util.h"
#include "clock.h"
#include "kernels/pool.h"

#define MAX_RUNS	99u
#define MAX_ROUNDS	300u
/* Much longer than threads look for work before they sleep. */
#define PAUSE_NS	(10 * VGPU_POOL_SPIN_NS)
/* A caller that nobody helps gives up after this. */
#define PATIENCE_NS	(5 * 1000 * 1000)

enum what { EMPTY, HELP };

static unsigned int round_count(void)
{
	return bench_short() ? 10 : MAX_ROUNDS;
}

static void rest(bool asleep)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };

	if (asleep)
		nanosleep(&pause, NULL);
}

/* When another thread than the caller began; 0: not yet. */
static _Atomic uint64_t helped;

static void nothing(void *ctx, size_t item)
{
	(void)ctx;
	(void)item;
}

/* The caller's item lasts until another thread has one too. */
static void until_helped(void *ctx, size_t item)
{
	uint64_t start = vgpu_now_ns();

	(void)ctx;
	(void)item;
	if (vgpu_pool_self_index()) {
		atomic_store(&helped, start);
		return;
	}
	while (!atomic_load(&helped) && vgpu_now_ns() - start < PATIENCE_NS)
		__builtin_ia32_pause();
}

static double pool_ns(struct vgpu_pool *pool, enum what what, bool asleep)
{
	struct vgpu_pool_job job = { .fn = what == EMPTY ? nothing : until_helped,
				     .items = vgpu_pool_threads(pool), .grain = 1 };
	double ns[MAX_ROUNDS];
	unsigned int rounds = round_count();

	for (unsigned int i = 0; i < rounds; i++) {
		uint64_t start;

		rest(asleep);
		atomic_store(&helped, 0);
		start = vgpu_now_ns();
		vgpu_pool_run_job(pool, &job);
		ns[i] = (double)((what == EMPTY ? vgpu_now_ns() : atomic_load(&helped)) - start);
	}
	return bench_median(ns, rounds);
}

/* The peer: threads that wait at a barrier, and at another when they are done. */
struct barriers {
	pthread_barrier_t begin, end;
	_Atomic bool stop;
};

static void *barrier_thread(void *arg)
{
	struct barriers *b = arg;

	for (;;) {
		pthread_barrier_wait(&b->begin);
		atomic_store(&helped, vgpu_now_ns());
		if (atomic_load(&b->stop))
			return NULL;
		pthread_barrier_wait(&b->end);
	}
}

static double barrier_ns(struct barriers *b, enum what what, bool asleep)
{
	double ns[MAX_ROUNDS];
	unsigned int rounds = round_count();

	for (unsigned int i = 0; i < rounds; i++) {
		uint64_t start;

		rest(asleep);
		start = vgpu_now_ns();
		pthread_barrier_wait(&b->begin);
		pthread_barrier_wait(&b->end);
		ns[i] = (double)((what == EMPTY ? vgpu_now_ns() : atomic_load(&helped)) - start);
	}
	return bench_median(ns, rounds);
}

static void emit(const char *mode, uint32_t threads, double *ours, double *theirs,
		 unsigned int runs)
{
	double us = bench_median(ours, runs) / 1e3, peer = bench_median(theirs, runs) / 1e3;
	char note[80];
	/* More is better: runs a second. */
	struct bench_result r = { .bench = "pool", .mode = mode, .threads = threads,
				  .unit = "1/s", .ours = 1e6 / us, .peer = "pthread barriers",
				  .theirs = 1e6 / peer, .runs = runs, .note = note };

	snprintf(note, sizeof(note), "%.2f us against %.2f us", us, peer);
	bench_emit(&r);
}

static const struct {
	const char *name;
	enum what what;
	bool asleep;
} modes[] = {
	{ "empty-spin", EMPTY, false },
	{ "empty-sleep", EMPTY, true },
	{ "help-spin", HELP, false },
	{ "help-sleep", HELP, true },
};
#define MODES	(sizeof(modes) / sizeof(modes[0]))

static void compare(struct vgpu_pool *pool, struct barriers *b)
{
	double ours[MODES][MAX_RUNS], theirs[MODES][MAX_RUNS];
	unsigned int runs = bench_runs(7, MAX_RUNS);

	for (unsigned int run = 0; run < runs; run++) {
		for (unsigned int i = 0; i < MODES; i++) {
			ours[i][run] = pool_ns(pool, modes[i].what, modes[i].asleep);
			theirs[i][run] = barrier_ns(b, modes[i].what, modes[i].asleep);
		}
	}
	for (unsigned int i = 0; i < MODES; i++)
		emit(modes[i].name, vgpu_pool_threads(pool), ours[i], theirs[i], runs);
}

int main(int argc, char **argv)
{
	struct vgpu_pool_params params = { .threads = argc > 1 ? (uint32_t)atoi(argv[1]) : 0 };
	struct vgpu_pool *pool;
	struct barriers b = { .stop = false };
	pthread_t *thread;
	uint32_t threads;

	if (vgpu_pool_open(&params, &pool)) {
		fprintf(stderr, "pool: cannot open a pool of %u threads\n", params.threads);
		return 1;
	}
	threads = vgpu_pool_threads(pool);
	thread = calloc(threads, sizeof(*thread));
	if (threads < 2 || !thread) {
		fprintf(stderr, "pool: %u thread: nobody to hand work to\n", threads);
		return threads < 2 ? 0 : 1;
	}
	pthread_barrier_init(&b.begin, NULL, threads);
	pthread_barrier_init(&b.end, NULL, threads);
	for (uint32_t i = 1; i < threads; i++) {
		if (pthread_create(&thread[i], NULL, barrier_thread, &b))
			return 1;
	}
	compare(pool, &b);
	atomic_store(&b.stop, true);
	pthread_barrier_wait(&b.begin);
	for (uint32_t i = 1; i < threads; i++)
		pthread_join(thread[i], NULL);
	free(thread);
	vgpu_pool_close(pool);
	return 0;
}
