/* SPDX-License-Identifier: MIT */
/*
 * The executor from inside: what its loop (exec.c), the requests that are no commands
 * (request.c), its beginning and end (life.c) and what it says of itself (describe.c)
 * share and nobody else needs.
 */
#ifndef VGPU_EXEC_EXECUTOR_H
#define VGPU_EXEC_EXECUTOR_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "adopt.h"
#include "engine.h"
#include "exec.h"
#include "failure.h"
#include "fetch.h"
#include "job.h"
#include "page_in.h"
#include "schedule.h"
#include "turn.h"

/* How often finished transfers are looked for while nobody runs the executor. */
#define TEND_NS			(1000 * 1000)

/* Draining: what was taken is finished, but no submission is taken any more. */
enum exec_stop { EXEC_RUNS, EXEC_DRAINS, EXEC_STOPS };

/**
 * struct vgpu_evict - EVICT that is answered when what it names moves no more
 * @at, @until: for vgpu_resid_is_evicted()
 */
struct vgpu_evict {
	struct vb_ioc_fetch req;
	uint64_t until;
	uint32_t at;
	struct vgpu_evict *next;
};

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
 * @evicts: that wait for transfers
 * @retried_at: when these and @forgets were looked at last
 * @settled: vgpu_resid.arrived when somebody looked at @forgets for want of room
 * @page_ins: that wait for room, by their rounds, in each the oldest first
 * @tend: signalled when transfers are left to themselves; @tending: no need to
 * @failures: of submissions; has a lock of its own
 * @jobs: fetched and not committed, oldest first
 * @turns: which of them runs next
 * @handling_since: a request is handled, or 0
 * @schedules: what clients declared
 * @calm_ns: how long after memory was given back it is asked for again
 * @served_at: when others than who has the turn were served last, as the job's env counts
 * @grow_at: when the next region is, CLOCK_MONOTONIC; @grew_at: when one came last
 * @grow: somebody asked whether it is time, and could not look; atomically
 * @recovering: it goes on with what is @left; @succeeds: who was before it may have what it had
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
	struct vgpu_evict *evicts;
	uint64_t retried_at, settled;
	struct vgpu_page_in *page_ins;
	struct vgpu_schedules schedules;
	uint64_t calm_ns, served_at, grow_at, grew_at;
	int grow;
	int trace_fd;
	pthread_t thread, tender;
	bool thread_runs, tender_runs, tending;
	pthread_cond_t tend;
	int stop, ended;
	pthread_mutex_t hand_lock;
	struct vb_ioc_fetch handed[VGPU_FETCH_MAX];
	uint32_t handed_count;
	struct vgpu_failures failures;
	bool recovering, succeeds;
	struct vgpu_left left;
	char recovery[256];
};

/* The threads: @arg is the executor.  The first takes results in while nobody runs it. */
void *vgpu_exec_tend(void *arg);
void *vgpu_exec_thread(void *arg);
/* struct vgpu_job_env.serve_others: a command waits for room. */
bool vgpu_exec_serve_amid(void *arg);
/* struct vgpu_job_env.take_in: a command computes. */
void vgpu_exec_take_in(void *arg);
/* struct vgpu_resid.settle: there is no room. */
bool vgpu_exec_settle(void *arg);
/* A job is not the executor's any more. */
void vgpu_exec_remove_job(struct vgpu_exec *x, struct vgpu_job *job);

/* ---- what the loop has for requests ---- */

/* With the next call of the device. */
void vgpu_exec_commit(struct vgpu_exec *x, uint64_t tag, int status, uint32_t bad_command,
		      uint64_t busy_ns);
/* Counters go out before the fence does, so that who waits for it sees them. */
void vgpu_exec_flush_counters(struct vgpu_exec *x, uint32_t client);
/* What was running makes room for others; what was counted meanwhile is its client's. */
void vgpu_exec_yield(struct vgpu_exec *x);
/*
 * Whichever region is asked for: the last one is as good, and can go.  When it had come
 * back a moment ago, that was too soon.  0, or what vgpu_resid_drain() says.
 */
int vgpu_exec_shrink(struct vgpu_exec *x);

/* ---- requests, for the loop ---- */

/* Any but SUBMIT: answered now, or kept. */
void vgpu_exec_request(struct vgpu_exec *x, const struct vb_ioc_fetch *req);
/*
 * Serve the page-ins that may be, of each client in turn.  @amid a command that waits for room
 * nobody's turn is waited for: what has it may be what a page-in waits for.  Of many that a
 * client waits for a few find that out, others' come before the rest.
 */
void vgpu_exec_page_in(struct vgpu_exec *x, bool amid);
/* Who waits for a chunk that came is answered, whoever else computes how long. */
void vgpu_exec_answer_late(struct vgpu_exec *x);
/* What waits for transfers; there may be much of it, and commands that take no time. */
void vgpu_exec_retry(struct vgpu_exec *x);
/* What was announced and did not come, by an error of who wanted it. */
void vgpu_exec_forget_wants(struct vgpu_exec *x);

#endif
