/* SPDX-License-Identifier: MIT */
/*
 * The one thread pool of the library: a parallel for, and nothing else.
 *
 * A run publishes (function, context, items); the caller takes items like every
 * other thread and is worker 0. Threads join a run when they see it and a run ends
 * when no item is left and those who joined have finished theirs: a thread that is
 * still asleep is never waited for. So a run costs the caller at most one futex
 * call (12 us on a virtual machine) more than doing the work alone, and two runs in
 * close succession find the threads still spinning (under 1 us).
 *
 * With more than one NUMA node every thread is pinned to the CPUs of a node and the
 * items are cut into one contiguous share a node, in proportion to its threads:
 * item i of n goes to the same node in every run, so memory that was first touched
 * in a run is local in the next. Shares are not stolen across nodes, so here every
 * node's threads are waited for. The caller is not pinned: it takes from the share
 * of the node on which it runs. With one node nothing is pinned.
 *
 * fork(): only the forking thread lives on in the child. There a pool that was
 * opened before runs every item on the calling thread, and closing it frees the
 * memory. fork() while a run is in progress leaves the items of that run to the
 * parent.
 *
 * What it does not try to do: dependencies between items, priorities, work that
 * blocks, waiting without taking part.
 */
#ifndef VGPU_KERNELS_POOL_H
#define VGPU_KERNELS_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More threads than this are refused with -EINVAL. */
#define VGPU_POOL_THREADS_MAX	1024u

enum vgpu_pool_numa {
	VGPU_POOL_NUMA_AUTO,	/* pin to nodes and cut by node when there are several */
	VGPU_POOL_NUMA_OFF	/* one share, nothing pinned */
};

/**
 * struct vgpu_pool_params - how to open a pool; all zero is the default
 * @threads: threads that take items, the caller included. 0: VBLACKWELL_THREADS
 *	when set, else the CPUs that the affinity mask and the cgroup quota allow
 * @numa: enum vgpu_pool_numa
 * @spin_ns: how long a thread that has run out of work looks for more before it
 *	sleeps; 0: the default, VGPU_POOL_SPIN_NS; UINT32_MAX: does not spin
 * @pretend_nodes: 0: ask the machine. Else cut threads and items as on a machine
 *	of so many nodes, without pinning (the caller is on the first); lets a
 *	small machine test a large one
 */
struct vgpu_pool_params {
	uint32_t threads;
	enum vgpu_pool_numa numa;
	uint32_t spin_ns;
	uint32_t pretend_nodes;
};

/* See Documentation/layers.md for how the three were measured. */
#define VGPU_POOL_SPIN_NS	30000u
/* A run that takes less than this on one thread is not worth sharing, ... */
#define VGPU_POOL_INLINE_NS	2000u
/* ... and less than this when every other thread would have to be woken first. */
#define VGPU_POOL_WAKE_NS	30000u

typedef void (*vgpu_pool_fn)(void *ctx, size_t item);

enum vgpu_pool_placement {
	/* Whoever is free takes the next items of its node's share. */
	VGPU_POOL_DYNAMIC,
	/* Item i of n always runs on the same thread; every thread is waited for. */
	VGPU_POOL_STATIC
};

/**
 * struct vgpu_pool_job - one parallel for
 * @fn: called once for each item, in any order, from several threads at a time
 * @ctx: handed to @fn
 * @items: how many; 0 does nothing
 * @grain: items a thread takes at a time; 0: enough for eight rounds a thread
 * @cost_ns: what the whole job takes on one thread, roughly; 0: unknown, so it is
 *	spread. Below VGPU_POOL_INLINE_NS, or VGPU_POOL_WAKE_NS when all others
 *	sleep, a dynamic job runs on the caller, whatever the nodes are
 * @placement: enum vgpu_pool_placement
 */
struct vgpu_pool_job {
	vgpu_pool_fn fn;
	void *ctx;
	size_t items;
	size_t grain;
	uint64_t cost_ns;
	enum vgpu_pool_placement placement;
};

/**
 * struct vgpu_pool_info - what a pool looks like, for summaries
 * @threads: threads that take items, the caller included
 * @nodes: NUMA nodes the items are cut by, at least 1
 * @pinned: threads are pinned to their node
 * @runs: runs that were offered to the other threads
 * @inline_runs: runs that stayed on the caller
 */
struct vgpu_pool_info {
	uint32_t threads;
	uint32_t nodes;
	bool pinned;
	uint64_t runs;
	uint64_t inline_runs;
};

struct vgpu_pool;

/**
 * vgpu_pool_open() - start the threads
 * @params: NULL for the default
 * @out: receives the pool
 *
 * Nodes are used only when each gets a thread of its own beside the caller.
 * VBLACKWELL_THREADS is a decimal number; "0", "off" and "false" mean no thread
 * beside the caller. It is read when @params->threads is 0.
 *
 * Context: Any thread.
 * Return: 0; -EINVAL more than VGPU_POOL_THREADS_MAX threads, not one thread beside
 * the caller for each pretended node, or VBLACKWELL_THREADS is not a number; -ENOMEM; -EAGAIN no more
 * threads may be started (RLIMIT_NPROC, pids cgroup).
 */
int vgpu_pool_open(const struct vgpu_pool_params *params, struct vgpu_pool **out);

/**
 * vgpu_pool_close() - end the threads and free the pool
 * @pool: no run may be in progress; NULL does nothing
 *
 * Context: Any thread that is not inside a run of this pool.
 */
void vgpu_pool_close(struct vgpu_pool *pool);

/**
 * vgpu_pool_run() - call fn(ctx, i) for each i in [0, items), spread over the pool
 * @pool: the pool
 * @fn: called once for each item
 * @ctx: handed to @fn
 * @items: how many
 *
 * The same as vgpu_pool_run_job() with nothing but these three set.
 */
void vgpu_pool_run(struct vgpu_pool *pool, vgpu_pool_fn fn, void *ctx, size_t items);

/**
 * vgpu_pool_run_job() - do every item of a job and return
 * @pool: the pool
 * @job: read during the call only
 *
 * What the caller wrote before is visible to @job->fn; what @job->fn wrote is
 * visible to the caller afterwards. A run from inside a run of the same pool is
 * done on the thread that asks, which keeps its index. Inside a run of another
 * pool the thread counts as that pool's caller.
 *
 * Context: One thread at a time; a second one waits its turn. May sleep.
 */
void vgpu_pool_run_job(struct vgpu_pool *pool, const struct vgpu_pool_job *job);

/**
 * vgpu_pool_self_index() - which thread of its pool this is
 *
 * Selects per-thread scratch: below vgpu_pool_threads() of the innermost pool whose
 * item runs on this thread, and used by one thread at a time.
 *
 * Context: Any thread.
 * Return: the index; 0 for the caller of a run and outside any run.
 */
uint32_t vgpu_pool_self_index(void);

/* Threads that take items, the caller included: sizes per-thread scratch. */
uint32_t vgpu_pool_threads(const struct vgpu_pool *pool);

/**
 * vgpu_pool_node_of_item() - where an item of a dynamic run goes
 * @pool: the pool
 * @item: index of the item, below @items
 * @items: items of the run
 *
 * Context: Any thread.
 * Return: index of the node, below vgpu_pool_info.nodes.
 */
uint32_t vgpu_pool_node_of_item(const struct vgpu_pool *pool, size_t item, size_t items);

/**
 * vgpu_pool_query() - read the layout and the counters
 * @pool: the pool
 * @info: filled in
 *
 * Context: Any thread; the counters are those of finished runs.
 */
void vgpu_pool_query(const struct vgpu_pool *pool, struct vgpu_pool_info *info);

#endif
