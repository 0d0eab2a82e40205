// SPDX-License-Identifier: MIT
/*
 * How a run is published and how it ends:
 *
 *	state	one 64-bit word: run number, an OPEN bit, threads that have joined.
 *		A thread joins by compare-and-swap and only while OPEN is set; the
 *		caller clears OPEN when nothing is left to take and waits until the
 *		joined count is zero. pool->job and the shares change only while OPEN
 *		is clear and nobody is joined, so those who joined may read them.
 *	bell	what idle threads watch: changes with every run and at the end.
 *	done	what a caller sleeps on; rung only when caller_sleeps is set.
 *
 * Both sleeps follow the same rule against a lost wake-up: the sleeper announces
 * itself before it looks for the last time, the waker changes the world before it
 * looks for sleepers, all four sequentially consistent.
 */
#include "kernels/pool.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "kernels/cpus.h"

#define CACHE_LINE	64
#define STATE_JOINED	0x7fffffffull
#define STATE_OPEN	0x80000000ull
#define STATE_RUN_SHIFT	32
/* Looks at the watched word between two looks at the clock. */
#define SPINS_A_CLOCK	16

/* A contiguous range of items with one counter; alone on its cache line. */
struct share {
	_Alignas(CACHE_LINE) _Atomic size_t next;
	size_t end;
};

struct worker {
	struct vgpu_pool *pool;
	uint32_t index;
	uint32_t node;		/* index into pool->node_threads */
	pthread_t thread;	/* not set for worker 0, the caller */
};

struct vgpu_pool {
	/* Fixed after vgpu_pool_open(). */
	uint32_t threads;
	uint32_t started;	/* workers [1, started) have a thread */
	uint32_t nodes;
	bool pinned;
	uint32_t spin_ns;
	uint32_t fork_epoch;
	uint32_t *node_first;	/* [nodes + 1]: first worker of a node */
	struct vgpu_cpus_node *numa;	/* [nodes] when pinned, else NULL */
	struct worker *workers;	/* [threads] */
	struct share *shares;	/* [max(threads, nodes)] */

	pthread_mutex_t turn;	/* held for a whole run */
	struct vgpu_pool_job job;	/* see state */
	bool wait_all;		/* see state: every share must be emptied by its own */
	_Atomic uint64_t runs, inline_runs;

	_Alignas(CACHE_LINE) _Atomic uint64_t state;
	_Alignas(CACHE_LINE) _Atomic uint32_t bell;
	_Atomic uint32_t sleepers;
	_Atomic bool stop;
	_Alignas(CACHE_LINE) _Atomic uint32_t done;
	_Atomic bool caller_sleeps;
	_Atomic size_t left;	/* items not finished; counted when wait_all */
};

static __thread struct {
	const struct vgpu_pool *pool;
	uint32_t index;
} self;

/* Counts forks on the child's side: a pool of another epoch has no threads here. */
static _Atomic uint32_t fork_epoch;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void fork_in_child(void)
{
	atomic_fetch_add(&fork_epoch, 1);
}

static void fork_watch(void)
{
	pthread_atfork(NULL, NULL, fork_in_child);
}

static bool pool_is_from_parent(const struct vgpu_pool *pool)
{
	return pool->fork_epoch != atomic_load_explicit(&fork_epoch, memory_order_relaxed);
}

static void futex_sleep(_Atomic uint32_t *word, uint32_t value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int count)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

/* --- taking items --- */

static void share_take(struct vgpu_pool *pool, struct share *share)
{
	const struct vgpu_pool_job *job = &pool->job;

	for (;;) {
		size_t first = atomic_fetch_add_explicit(&share->next, job->grain,
							 memory_order_relaxed);
		size_t end;

		if (first >= share->end)
			return;
		end = share->end - first < job->grain ? share->end : first + job->grain;
		for (size_t i = first; i < end; i++)
			job->fn(job->ctx, i);
		if (pool->wait_all)
			atomic_fetch_sub(&pool->left, end - first);
	}
}

/* The share a thread takes from: its own in a static run, else its node's. */
static struct share *share_of(struct vgpu_pool *pool, uint32_t index, uint32_t node)
{
	return &pool->shares[pool->job.placement == VGPU_POOL_STATIC ? index : node];
}

/* First item of part @at when n items are cut in proportion to at / of. */
static size_t cut(size_t n, uint32_t at, uint32_t of)
{
	return n / of * at + n % of * at / of;
}

static void shares_fill(struct vgpu_pool *pool, size_t items)
{
	bool fixed = pool->job.placement == VGPU_POOL_STATIC;
	uint32_t count = fixed ? pool->threads : pool->nodes;

	for (uint32_t s = 0; s < count; s++) {
		uint32_t first = fixed ? s : pool->node_first[s];
		uint32_t end = fixed ? s + 1 : pool->node_first[s + 1];

		atomic_store_explicit(&pool->shares[s].next,
				      cut(items, first, pool->threads),
				      memory_order_relaxed);
		pool->shares[s].end = cut(items, end, pool->threads);
	}
}

uint32_t vgpu_pool_node_of_item(const struct vgpu_pool *pool, size_t item, size_t items)
{
	uint32_t node = 0;

	while (item >= cut(items, pool->node_first[node + 1], pool->threads))
		node++;
	return node;
}

/* --- waiting --- */

/* True when the word changed within the pool's spinning time. */
static bool spin_while(struct vgpu_pool *pool, _Atomic uint32_t *word, uint32_t value)
{
	uint64_t end;

	if (!pool->spin_ns)
		return false;
	end = vgpu_now_ns() + pool->spin_ns;
	do {
		for (int i = 0; i < SPINS_A_CLOCK; i++) {
			if (atomic_load_explicit(word, memory_order_acquire) != value)
				return true;
			__builtin_ia32_pause();
		}
	} while (vgpu_now_ns() < end);
	return false;
}

static void bell_wait(struct vgpu_pool *pool, uint32_t value)
{
	if (spin_while(pool, &pool->bell, value))
		return;
	atomic_fetch_add(&pool->sleepers, 1);
	/* The kernel compares before it sleeps: that is the last look. */
	futex_sleep(&pool->bell, value);
	atomic_fetch_sub(&pool->sleepers, 1);
}

static void bell_ring(struct vgpu_pool *pool, size_t wanted)
{
	atomic_fetch_add(&pool->bell, 1);
	if (atomic_load(&pool->sleepers))
		futex_wake(&pool->bell, wanted < INT_MAX ? (int)wanted : INT_MAX);
}

static bool nobody_joined(struct vgpu_pool *pool)
{
	return !(atomic_load(&pool->state) & STATE_JOINED);
}

static bool nothing_left(struct vgpu_pool *pool)
{
	return !atomic_load(&pool->left);
}

static void caller_wait(struct vgpu_pool *pool, bool (*over)(struct vgpu_pool *))
{
	uint64_t end = vgpu_now_ns() + pool->spin_ns;

	do {
		for (int i = 0; i < SPINS_A_CLOCK; i++) {
			if (over(pool))
				return;
			__builtin_ia32_pause();
		}
	} while (vgpu_now_ns() < end);

	atomic_store(&pool->caller_sleeps, true);
	for (;;) {
		uint32_t done = atomic_load(&pool->done);

		if (over(pool))
			break;
		futex_sleep(&pool->done, done);
	}
	atomic_store(&pool->caller_sleeps, false);
}

static void caller_notify(struct vgpu_pool *pool)
{
	if (!atomic_load(&pool->caller_sleeps))
		return;
	atomic_fetch_add(&pool->done, 1);
	futex_wake(&pool->done, 1);
}

/* --- threads --- */

/* Joins the open run unless it is the one that @last names. */
static bool run_join(struct vgpu_pool *pool, uint64_t *last)
{
	uint64_t state = atomic_load(&pool->state);

	do {
		if (!(state & STATE_OPEN) || state >> STATE_RUN_SHIFT == *last)
			return false;
	} while (!atomic_compare_exchange_weak(&pool->state, &state, state + 1));
	*last = state >> STATE_RUN_SHIFT;
	return true;
}

static void run_leave(struct vgpu_pool *pool)
{
	atomic_fetch_sub(&pool->state, 1);
	caller_notify(pool);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct vgpu_pool *pool = w->pool;
	uint64_t last = 0;

	self.pool = pool;
	self.index = w->index;
	while (!atomic_load(&pool->stop)) {
		/* Read before looking, so that a run that starts after is noticed. */
		uint32_t bell = atomic_load(&pool->bell);

		if (run_join(pool, &last)) {
			share_take(pool, share_of(pool, w->index, w->node));
			run_leave(pool);
		} else if (!atomic_load(&pool->stop)) {
			bell_wait(pool, bell);
		}
	}
	return NULL;
}

/* --- running --- */

static void run_alone(const struct vgpu_pool_job *job)
{
	for (size_t i = 0; i < job->items; i++)
		job->fn(job->ctx, i);
}

/* Below what cost on one thread the others are better left alone. */
static uint64_t worth_sharing_ns(struct vgpu_pool *pool)
{
	bool asleep = atomic_load_explicit(&pool->sleepers, memory_order_relaxed) + 1 ==
		      pool->threads;

	return asleep ? VGPU_POOL_WAKE_NS : VGPU_POOL_INLINE_NS;
}

static bool stays_with_caller(struct vgpu_pool *pool, const struct vgpu_pool_job *job)
{
	if (pool->threads == 1)
		return true;
	/* A static item belongs to its thread however small the job is. */
	if (job->placement == VGPU_POOL_STATIC)
		return false;
	return job->items == 1 || (job->cost_ns && job->cost_ns < worth_sharing_ns(pool));
}

static uint32_t caller_node(const struct vgpu_pool *pool)
{
	int cpu = pool->pinned ? sched_getcpu() : -1;

	for (uint32_t n = 0; cpu >= 0 && n < pool->nodes; n++)
		if (CPU_ISSET(cpu, &pool->numa[n].cpus))
			return n;
	return 0;
}

static size_t default_grain(const struct vgpu_pool *pool, size_t items)
{
	size_t grain = items / (8 * (size_t)pool->threads);

	return grain ? grain : 1;
}

static void run_publish(struct vgpu_pool *pool, const struct vgpu_pool_job *job)
{
	uint64_t run = (atomic_load(&pool->state) >> STATE_RUN_SHIFT) + 1;

	pool->job = *job;
	if (!job->grain)
		pool->job.grain = default_grain(pool, job->items);
	pool->wait_all = job->placement == VGPU_POOL_STATIC || pool->nodes > 1;
	atomic_store(&pool->left, job->items);
	shares_fill(pool, job->items);
	/* The run number skips 0, which no thread has to have seen. */
	run += !(run & UINT32_MAX);
	atomic_store(&pool->state, run << STATE_RUN_SHIFT | STATE_OPEN);
	bell_ring(pool, pool->wait_all ? pool->threads : job->items - 1);
}

static void run_shared(struct vgpu_pool *pool, const struct vgpu_pool_job *job)
{
	run_publish(pool, job);
	share_take(pool, share_of(pool, 0, caller_node(pool)));
	if (pool->wait_all)
		caller_wait(pool, nothing_left);
	atomic_fetch_and(&pool->state, ~STATE_OPEN);
	caller_wait(pool, nobody_joined);
}

static void run_in_turn(struct vgpu_pool *pool, const struct vgpu_pool_job *job)
{
	pthread_mutex_lock(&pool->turn);
	if (stays_with_caller(pool, job)) {
		atomic_fetch_add_explicit(&pool->inline_runs, 1, memory_order_relaxed);
		run_alone(job);
	} else {
		atomic_fetch_add_explicit(&pool->runs, 1, memory_order_relaxed);
		run_shared(pool, job);
	}
	pthread_mutex_unlock(&pool->turn);
}

void vgpu_pool_run_job(struct vgpu_pool *pool, const struct vgpu_pool_job *job)
{
	typeof(self) outer = self;

	if (!job->items)
		return;
	if (self.pool == pool) {
		run_alone(job);
		return;
	}
	self.pool = pool;
	self.index = 0;
	/* The turn may have been held, for ever, by a thread that fork() left out. */
	if (pool_is_from_parent(pool))
		run_alone(job);
	else
		run_in_turn(pool, job);
	self = outer;
}

void vgpu_pool_run(struct vgpu_pool *pool, vgpu_pool_fn fn, void *ctx, size_t items)
{
	struct vgpu_pool_job job = { .fn = fn, .ctx = ctx, .items = items };

	vgpu_pool_run_job(pool, &job);
}

/* --- opening and closing --- */

/* Threads from VBLACKWELL_THREADS or the machine, or -EINVAL. */
static int threads_default(void)
{
	const char *text = getenv("VBLACKWELL_THREADS");
	unsigned long n;
	char *end;

	if (!text || !*text)
		return (int)vgpu_cpus_usable();
	if (!strcasecmp(text, "off") || !strcasecmp(text, "false"))
		return 1;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *end || *text < '0' || *text > '9' || n > VGPU_POOL_THREADS_MAX)
		return -EINVAL;
	return n ? (int)n : 1;
}

static int threads_wanted(const struct vgpu_pool_params *params)
{
	int n = params->threads ? (int)params->threads : threads_default();

	if (params->threads > VGPU_POOL_THREADS_MAX)
		return -EINVAL;
	return n > (int)VGPU_POOL_THREADS_MAX ? (int)VGPU_POOL_THREADS_MAX : n;
}

/* Sets nodes, pinned and numa; every node has a thread beside the caller. */
static int pool_find_nodes(struct vgpu_pool *pool, const struct vgpu_pool_params *params)
{
	struct vgpu_cpus_node found[VGPU_CPUS_NODES_MAX];
	uint32_t n;

	pool->nodes = 1;
	if (params->pretend_nodes) {
		pool->nodes = params->pretend_nodes;
		return pool->nodes > 1 && pool->nodes > pool->threads - 1 ? -EINVAL : 0;
	}
	if (params->numa == VGPU_POOL_NUMA_OFF)
		return 0;
	n = vgpu_cpus_nodes(found, VGPU_CPUS_NODES_MAX);
	if (n < 2 || n > pool->threads - 1)
		return 0;
	pool->numa = malloc(n * sizeof(*found));
	if (!pool->numa)
		return -ENOMEM;
	memcpy(pool->numa, found, n * sizeof(*found));
	pool->nodes = n;
	pool->pinned = true;
	return 0;
}

static int pool_alloc(struct vgpu_pool *pool)
{
	size_t shares = pool->threads > pool->nodes ? pool->threads : pool->nodes;

	pool->node_first = calloc(pool->nodes + 1, sizeof(*pool->node_first));
	pool->workers = calloc(pool->threads, sizeof(*pool->workers));
	pool->shares = aligned_alloc(CACHE_LINE, shares * sizeof(*pool->shares));
	return pool->node_first && pool->workers && pool->shares ? 0 : -ENOMEM;
}

/*
 * Seat 0 is the caller's and counts for node 0. The others are dealt out by
 * themselves: the caller may be on another node, and node 0 needs a thread then.
 */
static void pool_assign(struct vgpu_pool *pool)
{
	for (uint32_t n = 1; n <= pool->nodes; n++)
		pool->node_first[n] = 1 + (uint32_t)cut(pool->threads - 1, n, pool->nodes);
	for (uint32_t w = 0; w < pool->threads; w++) {
		struct worker *worker = &pool->workers[w];

		worker->pool = pool;
		worker->index = w;
		worker->node = vgpu_pool_node_of_item(pool, w, pool->threads);
	}
}

static int worker_start(struct worker *w)
{
	struct vgpu_pool *pool = w->pool;
	pthread_attr_t attr;
	int rc;

	rc = pthread_attr_init(&attr);
	if (rc)
		return -rc;
	if (pool->pinned)
		rc = pthread_attr_setaffinity_np(&attr, sizeof(cpu_set_t),
						 &pool->numa[w->node].cpus);
	if (!rc)
		rc = pthread_create(&w->thread, &attr, worker_main, w);
	pthread_attr_destroy(&attr);
	if (!rc)
		pthread_setname_np(w->thread, "vgpu-pool");
	return -rc;
}

/* Signals are for the application's threads, so ours start with all blocked. */
static int pool_start(struct vgpu_pool *pool)
{
	sigset_t all, old;
	int rc = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (pool->started = 1; !rc && pool->started < pool->threads;) {
		rc = worker_start(&pool->workers[pool->started]);
		if (!rc)
			pool->started++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

static uint32_t spin_time(const struct vgpu_pool *pool,
			  const struct vgpu_pool_params *params)
{
	/* A spinning thread would hold the CPU that another one needs. */
	if (params->spin_ns == UINT32_MAX || pool->threads > vgpu_cpus_usable())
		return 0;
	return params->spin_ns ? params->spin_ns : VGPU_POOL_SPIN_NS;
}

static void pool_free(struct vgpu_pool *pool)
{
	pthread_mutex_destroy(&pool->turn);
	free(pool->shares);
	free(pool->workers);
	free(pool->node_first);
	free(pool->numa);
	free(pool);
}

int vgpu_pool_open(const struct vgpu_pool_params *params, struct vgpu_pool **out)
{
	static const struct vgpu_pool_params standard;
	struct vgpu_pool *pool;
	int threads, rc;

	params = params ? params : &standard;
	threads = threads_wanted(params);
	if (threads < 0)
		return threads;
	pthread_once(&fork_once, fork_watch);
	pool = aligned_alloc(CACHE_LINE, sizeof(*pool));
	if (!pool)
		return -ENOMEM;
	memset(pool, 0, sizeof(*pool));
	pthread_mutex_init(&pool->turn, NULL);
	pool->threads = (uint32_t)threads;
	pool->started = 1;
	pool->fork_epoch = atomic_load(&fork_epoch);
	pool->spin_ns = spin_time(pool, params);

	rc = pool_find_nodes(pool, params);
	if (rc)
		goto err_free;
	rc = pool_alloc(pool);
	if (rc)
		goto err_free;
	pool_assign(pool);
	rc = pool_start(pool);
	if (rc)
		goto err_close;
	*out = pool;
	return 0;

err_close:
	vgpu_pool_close(pool);
	return rc;
err_free:
	pool_free(pool);
	return rc;
}

void vgpu_pool_close(struct vgpu_pool *pool)
{
	if (!pool)
		return;
	/* In a child the threads are not there to be joined. */
	if (!pool_is_from_parent(pool)) {
		atomic_store(&pool->stop, true);
		bell_ring(pool, pool->threads);
		for (uint32_t w = 1; w < pool->started; w++)
			pthread_join(pool->workers[w].thread, NULL);
	}
	pool_free(pool);
}

/* --- asking --- */

uint32_t vgpu_pool_self_index(void)
{
	return self.index;
}

uint32_t vgpu_pool_threads(const struct vgpu_pool *pool)
{
	return pool->threads;
}

void vgpu_pool_query(const struct vgpu_pool *pool, struct vgpu_pool_info *info)
{
	*info = (struct vgpu_pool_info){
		.threads = pool->threads,
		.nodes = pool->nodes,
		.pinned = pool->pinned,
		.runs = atomic_load_explicit(&pool->runs, memory_order_relaxed),
		.inline_runs = atomic_load_explicit(&pool->inline_runs,
						    memory_order_relaxed),
	};
}
