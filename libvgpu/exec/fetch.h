/* SPDX-License-Identifier: MIT */
/*
 * Between the executor and its device: what is fetched and what is committed, on the module
 * several of each at a time, so that a command that nobody waits behind costs one way
 * into the kernel.
 */
#ifndef VGPU_EXEC_FETCH_H
#define VGPU_EXEC_FETCH_H

#include "../uapi.h"

#define VGPU_FETCH_MAX	16u

/**
 * struct vgpu_commits - what the device was not told yet
 * @commit: what ended
 * @count: how many
 * @client: whose @counters are
 * @counters: by enum vb_counter
 * @counted: how many of them are used; they go out first, so that who waits sees them
 */
struct vgpu_commits {
	struct vb_ioc_commit commit[VGPU_FETCH_MAX];
	uint32_t count, client, counted;
	uint64_t counters[VB_COUNT_COUNT];
};

/**
 * struct vgpu_fetcher - fixed after the attach but for what it learns
 * @node: executor node
 * @generation: from attach
 * @spin_ns: how long to look for work, awake, before sleeping, while it comes as soon; module
 * @several: the device takes several at once: the module
 * @fill_most: chunks that the device may bring by itself (filled.h); any thread sets it
 * @fills: it can
 * @soon: what was waited for last came within @spin_ns; of the thread that waits
 */
struct vgpu_fetcher {
	struct vgpu_uapi *node;
	uint32_t generation, spin_ns, fill_most;
	bool several, fills, soon;
};

/* Can the device do by itself what @fill_most is about? */
void vgpu_fetch_ask(struct vgpu_fetcher *f);

/*
 * Memory whose slots it could take is about to be registered, or unregistered, or none is any
 * more.  From vgpu_fetch_ask() on it takes none.
 */
void vgpu_fetch_hold(const struct vgpu_fetcher *f, bool hold);

/* From the next call on; whoever knows how much room there is says so. */
static inline void vgpu_fetch_fills(struct vgpu_fetcher *f, uint32_t most)
{
	__atomic_store_n(&f->fill_most, f->fills ? most : 0, __ATOMIC_RELAXED);
}

/**
 * vgpu_fetch() - commit what ended, take what there is to do
 * @f: fetcher
 * @flags: VB_FETCH_F_*
 * @c: emptied
 * @to: filled
 * @room: of @to, at least 1 and at most VGPU_FETCH_MAX
 * @count: how many were; 0 only when it was not to sleep, or nobody is to any more
 *
 * One thread at a time may wait in it.  It looks awake only after a wait that was short: what
 * comes seldom costs no more than one such look.
 *
 * Return: 0; what FETCH said.
 */
int vgpu_fetch(struct vgpu_fetcher *f, uint32_t flags, struct vgpu_commits *c,
	       struct vb_ioc_fetch *to, uint32_t room, uint32_t *count);

/* May there be something to fetch, or was its sleep ended?  The module waits so long for it. */
bool vgpu_fetch_may(const struct vgpu_fetcher *f, int wait_ms);

/* Commit, with the next fetch where that will do. @done: tag, status, bad_command, busy_ns. */
void vgpu_commit(const struct vgpu_fetcher *f, struct vgpu_commits *c, struct vb_ioc_commit done);

/*
 * Count for a client, before what is committed after this: the first @n counters, which are
 * zero then.
 */
void vgpu_commit_counters(const struct vgpu_fetcher *f, struct vgpu_commits *c, uint32_t client,
			  uint64_t *counters, uint32_t n);

/* What is left of @from in @to, which is empty. */
void vgpu_commits_move(struct vgpu_commits *to, struct vgpu_commits *from);

/* Commit now. */
void vgpu_commit_all(const struct vgpu_fetcher *f, struct vgpu_commits *c);

/* End the sleep of who fetches; module. */
void vgpu_fetch_stop(const struct vgpu_fetcher *f);

#endif
