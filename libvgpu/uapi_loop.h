/* SPDX-License-Identifier: MIT */
/*
 * The device in process: what the module is, over the same core files.
 *
 *	uapi_loop.c		the device, its two nodes, who is told what
 *	uapi_loop_call.c	requests: the table, and the way into a handler
 *	uapi_loop_ids.c		ids: handles, object ids, tags
 *	uapi_loop_client.c	a client: counters, schedule, close
 *	uapi_loop_limit.c	who may have how much
 *	uapi_loop_object.c	objects: life, files, forgetting
 *	uapi_loop_bo.c		requests about one BO that wait for nobody
 *	uapi_loop_cpu.c		map, read, write: content for the CPU of a client
 *	uapi_loop_advise.c	prefetch, evict, pin
 *	uapi_loop_chunk.c	steps of the table, and who is charged for them
 *	uapi_loop_arena.c	arenas, regions, slots
 *	uapi_loop_request.c	page-ins and the like: queued for the executor, waited for
 *	uapi_loop_queue.c	queues, timelines, who runs next
 *	uapi_loop_submit.c	submissions
 *	uapi_loop_exec.c	the executor node
 *
 * Locks: one mutex, vgpu_loop.lock, protects everything here unless a field says
 * otherwise, and nothing is taken under it.  It is not held while
 *  - bytes are copied from or to a client (chunks are pinned meanwhile),
 *  - a file is asked for its change time (a hostile file system may not answer),
 *  - the server hook runs the executor on the calling thread,
 *  - a thread sleeps.
 * A function whose name ends in _locked is called with it and returns with it;
 * those that let go of it in between say so.
 *
 * Lifetime: clients, queues and objects are counted.  A handle, a mapping, a
 * submission and a call in progress each hold a reference to what they use; an
 * object whose last one goes is forgotten by the executor first and freed then.
 *
 * Not here: other processes, faults, a successor for a dead executor, dma-buf.
 */
#ifndef VGPU_UAPI_LOOP_H
#define VGPU_UAPI_LOOP_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <time.h>

#include "core/chunk.h"
#include "core/line.h"
#include "core/quota.h"
#include "core/range.h"
#include "core/share.h"
#include "core/slots.h"
#include "uapi.h"

#define LOOP_WAIT_NS		(120ull * 1000000000ull) /* bound of a wait without deadline */
#define LOOP_SPIN_NS		30000ull	/* before a wait sleeps */
#define LOOP_SUBMISSIONS	4096u		/* default limit a client, in flight */
#define LOOP_HINTS_MAX		1024u		/* prefetches a client may have queued */
#define LOOP_MOVE_BUCKETS	1024u
#define LOOP_MAP_TRIES		8u		/* page-ins for one BO_MAP */

struct loop_client;
struct loop_object;
struct loop_queue;
struct loop_request;
struct loop_submission;

/* ---- ids ---- */

/**
 * struct loop_ids - numbers for pointers
 * @slot: by index, the low 20 bits of an id; index 0 is never used
 * @size: slots there are
 * @used: slots that were ever used
 * @count: ids in use
 * @free_first, @free_last: freed slots, oldest first; 0 none
 *
 * An id counts how often its slot was used in its upper bits, and the oldest free
 * slot is taken first: an id comes back after 4096 reuses at the earliest.
 */
struct loop_ids {
	struct loop_id_slot *slot;
	u32 size, used, count;
	u32 free_first, free_last;
};

/* Return: 0; -ENOMEM; -EDQUOT all 2^20 - 1 are in use. */
int vgpu_loop_ids_add(struct loop_ids *ids, void *ptr, u32 *out_id);
void *vgpu_loop_ids_find(const struct loop_ids *ids, u32 id);	/* NULL: no such id */
void *vgpu_loop_ids_remove(struct loop_ids *ids, u32 id);	/* what it named, or NULL */
/* Walk: the first pointer at or after *index, which is advanced behind it; NULL at the end. */
void *vgpu_loop_ids_next(const struct loop_ids *ids, u32 *index);
void vgpu_loop_ids_free(struct loop_ids *ids);

/* ---- arenas ---- */

struct loop_region {
	u32 first, slots;
	char *address;
};

/**
 * struct loop_arena - slots of one tier in one place
 * @tier: enum vb_tier
 * @numa_node: or -1
 * @slots: which are free
 * @memory: of @slots
 * @regions: host: where the executor has them, in no order
 * @pinned: chunks here that are pinned or mapped
 */
struct loop_arena {
	u32 tier;
	s32 numa_node;
	struct vb_slots slots;
	void *memory;
	struct loop_region *regions;
	u32 region_count;
	u64 pinned;
};

/* ---- clients ---- */

/**
 * struct loop_client - an open client node
 * @uapi: what the library holds
 * @loop: fixed
 * @link: in vgpu_loop.clients
 * @refs: the node, each object, each queue
 * @number: 1, 2, ...; fixed
 * @bos: handles of struct loop_object
 * @queues: handles of struct loop_queue
 * @slots: slots its objects hold, an arena; moves included
 * @hints: prefetches queued or running
 * @quota: limits, and what counts against them
 * @share: of executor time
 * @line: its turn among those that ask for something else
 * @counters: by enum vb_counter
 * @schedule: queued and not fetched yet, or NULL
 * @files: files of its objects
 */
struct loop_client {
	struct vgpu_uapi uapi;
	struct vgpu_loop *loop;
	TAILQ_ENTRY(loop_client) link;
	u32 refs;
	u32 number;
	struct loop_ids bos;
	struct loop_ids queues;
	u64 slots[VB_ARENA_MAX];
	struct vb_quota quota;
	struct vb_share_client share;
	struct vb_line_client line;
	u32 hints;
	u64 counters[VB_COUNT_COUNT];
	struct loop_request *schedule;
	bool scheduled;
	TAILQ_HEAD(, loop_file) files;
};

/* ---- objects ---- */

/**
 * struct loop_file - a file as a client opened it, and what it looked like then
 * @fd: ours
 * @refs: objects
 * @mark: submission that looked at it last
 * @fuse: what is known here of its length may be less than it is
 */
struct loop_file {
	TAILQ_ENTRY(loop_file) link;
	int fd;
	u32 refs;
	u64 mark;
	dev_t dev;
	ino_t ino;
	u64 bytes;
	struct timespec changed;
	bool fuse;
};

/* A range that a client has mapped; the same range may stand here more than once. */
struct loop_mapping {
	TAILQ_ENTRY(loop_mapping) link;
	u64 offset, bytes;
	u32 flags;
};

/**
 * struct loop_object - an object of the device
 * @link: in vgpu_loop.object_list
 * @refs: handle, mappings, submissions, requests, calls in progress
 * @id: device-wide; fixed
 * @client: creator, who is charged; fixed
 * @traits: what the core must know; only @traits.sealed changes
 * @flags: VB_BO_*
 * @chunks, @head_bytes, @bytes, @file_offset, @file_bytes, @transform, @file: fixed
 * @table: @chunks entries, changed by uapi_loop_chunk.c only
 * @tier_chunks: chunks with a valid copy, a tier
 * @slots: held, moves included
 * @dirty: chunks with VB_ENTRY_DIRTY
 * @device_only: chunks whose one valid copy is on a device
 * @pins: pins of VB_ADVISE_PIN
 * @writers: queued and running submissions that write it
 * @write_maps: writable mappings, and BO_WRITE in progress
 * @moves: running
 * @mark: submission that met it last, to find duplicates
 * @shown: the executor may have heard of it, and must be told when it goes
 * @gone: no reference is left; waits for the executor to forget it
 */
struct loop_object {
	TAILQ_ENTRY(loop_object) link;
	u32 refs;
	u32 id;
	struct loop_client *client;
	struct vb_chunk_traits traits;
	u32 flags;
	u32 chunks, head_bytes;
	u64 bytes, file_offset, file_bytes;
	struct vb_transform transform;
	struct loop_file *file;
	struct vb_table_entry *table;
	u64 tier_chunks[VB_TIER_COUNT];
	u64 slots, dirty, device_only;
	u64 pins;
	u32 writers, write_maps, moves;
	TAILQ_HEAD(, loop_mapping) mappings;
	u64 mark;
	bool shown, gone;
};

/* A move that runs: the slot it fills, which the entry does not name yet. */
struct loop_move {
	LIST_ENTRY(loop_move) link;
	struct loop_object *object;
	u32 chunk, loc;
	u8 from, to;
};

/* What a tag names: one of the two. */
struct loop_fetched {
	struct loop_submission *submission;
	struct loop_request *request;
};

/* ---- requests to the executor ---- */

/**
 * struct loop_request - something to do that is no submission
 * @place: in vgpu_loop.requests until it is fetched
 * @type: enum vb_fetch_type
 * @flags: VB_FETCH_F_*
 * @client: who asks; counted
 * @object: counted, except for FORGET
 * @first, @count: chunks, or ranges of @ranges
 * @ranges: SCHEDULE: ours
 * @tag: id in vgpu_loop.tags once fetched, else 0
 * @deadline_ns: 0 none
 * @waited: a thread waits for it and frees it; otherwise the commit does
 * @expired: that thread has gone away; the commit frees it
 * @finish: called by the commit while the chunks are where the executor left them,
 *	before anybody can move them again; its result is the waiter's.  May be NULL
 * @arg: of @finish
 * @status: result
 * @done: set last; read without the lock
 * @cond: of the waiter
 */
struct loop_request {
	struct vb_line_place place;
	u32 type, flags;
	struct loop_client *client;
	struct loop_object *object;
	u32 first, count;
	struct vb_range *ranges;
	struct loop_fetched fetched;
	u32 tag;
	u64 deadline_ns;
	bool waited, expired;
	int (*finish)(struct loop_request *r);
	void *arg;
	int status;
	atomic_bool done;
	pthread_cond_t cond;
};

/* ---- queues ---- */

/* How a submission ended. */
struct loop_result {
	s32 status;
	u32 bad_command;
	u64 busy_ns;
};

/**
 * struct loop_dependent - who waits for a fence without a thread
 * @queue: whose fence; NULL once it has signalled
 * @seqno: of the fence
 * @submission: which has this in-fence, and owns this structure; or NULL
 * @fd: eventfd of ours, when there is no @submission
 */
struct loop_dependent {
	TAILQ_ENTRY(loop_dependent) link;
	struct loop_queue *queue;
	u64 seqno;
	struct loop_submission *submission;
	int fd;
};

/**
 * struct loop_submission - a command buffer on its way
 * @link: in loop_queue.pending, in the order of @seqno
 * @queue: counted
 * @tag: id in vgpu_loop.tags once fetched, else 0
 * @deadline_ns: 0 none
 * @fetched_ns: when
 * @unmet: in-fences that did not signal
 * @in_status: of the first in-fence that failed
 * @fences: its in-fences
 * @bos: what the executor is told; @objects: the same, counted
 * @stream: copy, 8-byte aligned; @stream_bytes long
 */
struct loop_submission {
	TAILQ_ENTRY(loop_submission) link;
	struct loop_queue *queue;
	u64 seqno;
	struct loop_fetched fetched;
	u32 tag;
	u32 unmet;
	s32 in_status;
	u32 bo_count, fence_count, stream_bytes;
	u64 deadline_ns, fetched_ns;
	struct loop_dependent *fences;
	struct loop_object **objects;
	struct vb_exec_bo *bos;
	void *stream;
};

/**
 * struct loop_queue - submissions of a client, in order
 * @advance_link: in vgpu_loop.advance while somebody must look at it
 * @link: in vgpu_loop.queue_list
 * @refs: handle, submissions, calls in progress
 * @client: counted; fixed
 * @number: device-wide; fixed
 * @share: of its client's executor time; has work while its first submission may run
 * @submitted: seqno of the last submission
 * @completed: seqno up to which fences have signalled; read without the lock
 * @running: fetched and not committed, or NULL; one at a time
 * @destroyed: no new work; what was not running ended with -ECANCELED
 * @canceled_from: with @destroyed: first seqno that was never run
 * @results: ring by seqno & (@result_size - 1)
 * @oldest: first seqno that may be in the ring: it was smaller once
 * @forgotten: last failed seqno that left the ring, or 0
 * @dependents: of its fences
 * @cond: broadcast when @completed moves and @sleepers wait
 */
struct loop_queue {
	TAILQ_ENTRY(loop_queue) advance_link, link;
	u32 refs;
	struct loop_client *client;
	u32 number;
	struct vb_share_queue share;
	u64 submitted;
	_Atomic u64 completed;
	TAILQ_HEAD(, loop_submission) pending;
	u32 pending_count;
	struct loop_submission *running;
	bool advancing, destroyed;
	u64 canceled_from;
	struct loop_result *results;
	u32 result_size;
	u64 oldest, forgotten;
	TAILQ_HEAD(, loop_dependent) dependents;
	pthread_cond_t cond;
	u32 sleepers;
};

/* ---- the device ---- */

struct loop_exec {
	struct vgpu_uapi uapi;
	struct vgpu_loop *loop;
	bool attached;
};

/**
 * struct vgpu_loop - the device
 * @lock: see the top of this file
 * @refs: creator, clients, executor
 * @chunk_bytes, @chunk_shift: fixed
 * @shutdown: the executor is asked to leave; nothing new is taken
 * @exec: who has the executor node open, or NULL
 * @exec_state: enum vb_exec_state
 * @generation: of the executor that attached last
 * @reserved_bytes: promised to anonymous objects
 * @quota: what clients are promised
 * @user: the one there is in a process
 * @clock: advanced by every submission
 * @advancing: a thread works on @advance
 * @fetchers: threads that sleep in FETCH on @fetch_cond
 * @requests_in_row: requests handed out while a submission was ready
 * @shares: clients with a queue whose first submission may run
 * @deadlines: pending submissions that have one
 * @gone: objects that wait to be forgotten; @freed_cond is broadcast as they go
 * @move_waiters: threads that wait on @moved_cond for a move to end
 * @serving: threads inside @serve
 */
struct vgpu_loop {
	pthread_mutex_t lock;
	u32 refs;
	u32 chunk_bytes, chunk_shift;
	bool shutdown;

	struct loop_exec *exec;
	u32 exec_state, generation;
	u64 staging_bytes, panel_bytes;
	struct loop_arena arenas[VB_ARENA_MAX];
	u32 arena_count;
	u64 reserved_bytes;
	struct vb_quota_device quota;
	struct vb_quota user;

	TAILQ_HEAD(, loop_client) clients;
	u32 next_client;
	struct loop_ids objects;
	TAILQ_HEAD(, loop_object) object_list;
	LIST_HEAD(, loop_move) moves[LOOP_MOVE_BUCKETS];
	u64 clock;

	struct vb_line requests;
	struct loop_ids tags;
	u32 requests_in_row;
	TAILQ_HEAD(, loop_queue) queue_list;
	struct vb_share_level shares;
	TAILQ_HEAD(, loop_queue) advance;
	u32 next_queue, deadlines;
	bool advancing;
	u64 counters[VB_COUNT_COUNT];

	u32 gone;
	pthread_cond_t fetch_cond, moved_cond, served_cond, freed_cond;
	u32 fetchers, move_waiters, serving;
	bool (*serve)(void *arg);
	void *serve_arg;
};

/* --- uapi_loop.c --- */
/* Sleep until woken or @deadline_ns; lets go of the lock.  Return: 0 or -ETIME. */
int vgpu_loop_sleep_locked(struct vgpu_loop *loop, pthread_cond_t *cond, u64 deadline_ns);
static inline bool vgpu_loop_is_live(const struct vgpu_loop *loop)
{
	return loop->exec_state == VB_EXEC_LIVE && !loop->shutdown;
}

/**
 * vgpu_loop_kick_locked() - there may be work for the executor
 * @may_serve: this thread may run it
 *
 * Lets go of the lock when it serves.  An executor that sleeps is woken only for
 * what is left after that.  Return: true when this thread ran something.
 */
bool vgpu_loop_kick_locked(struct vgpu_loop *loop, bool may_serve);
static inline bool vgpu_loop_has_work_locked(const struct vgpu_loop *loop)
{
	return !vb_line_is_empty(&loop->requests) || !vb_share_is_idle(&loop->shares);
}

/* --- uapi_loop_call.c --- */
int vgpu_loop_call_client(struct vgpu_uapi *u, unsigned long request, void *arg);
int vgpu_loop_call_exec(struct vgpu_uapi *u, unsigned long request, void *arg);

/* --- uapi_loop_client.c --- */
void vgpu_loop_close_client(struct vgpu_uapi *u);
void vgpu_loop_client_put_locked(struct loop_client *c);
void vgpu_loop_count_locked(struct loop_client *c, enum vb_counter counter, u64 n);
int vgpu_loop_query_device(struct loop_client *c, void *arg);
int vgpu_loop_stats(struct loop_client *c, void *arg);
int vgpu_loop_schedule(struct loop_client *c, void *arg);

/* --- uapi_loop_limit.c --- */
/* Would all that was promised still fit with so much less host memory? */
bool vgpu_loop_limit_may_shrink_locked(const struct vgpu_loop *loop, u64 bytes);
/* Pin or map: 0, undone by _release; -EDQUOT; -ENOSPC (vb_quota_hold()). */
int vgpu_loop_limit_hold_locked(struct loop_client *c, u64 chunks, bool pin);
void vgpu_loop_limit_release_locked(struct loop_client *c, u64 chunks, bool pin);
/* Get a slot of a tier with content from @from: 0, undone by _unslot; -EDQUOT. */
int vgpu_loop_limit_slot_locked(struct loop_client *c, u32 tier, u32 from);
void vgpu_loop_limit_unslot_locked(struct loop_client *c, u32 tier);
int vgpu_loop_limit(struct loop_client *c, void *arg);

/* --- uapi_loop_arena.c --- */
int vgpu_loop_query_tier(struct loop_client *c, void *arg);
/* Bytes that anonymous objects may reserve: host without staging, and NVMe. */
u64 vgpu_loop_capacity_locked(const struct vgpu_loop *loop);
/* Host bytes there are, staging included, and without it. */
u64 vgpu_loop_host_bytes_locked(const struct vgpu_loop *loop);
u64 vgpu_loop_content_bytes_locked(const struct vgpu_loop *loop);
u64 vgpu_loop_device_bytes_locked(const struct vgpu_loop *loop);
/* Take a slot; Return: 0; -EINVAL arena; -ENOSPC; -EEXIST the one wanted is taken. */
int vgpu_loop_slot_take_locked(struct vgpu_loop *loop, u32 tier, u32 arena, u32 slot, u32 *out_loc);
void vgpu_loop_slot_give_locked(struct vgpu_loop *loop, u32 loc);
/* Storage cannot keep a slot that was given back a moment ago: it leaves its arena. */
void vgpu_loop_slot_retire_locked(struct vgpu_loop *loop, u32 loc);
/* Where the bytes of a host slot are; NULL when its region is gone. */
char *vgpu_loop_slot_address_locked(const struct vgpu_loop *loop, u32 loc);
/* Do the slots follow each other in memory? */
bool vgpu_loop_slots_adjacent_locked(const struct vgpu_loop *loop, u32 loc, u32 next);
void vgpu_loop_arenas_drop_locked(struct vgpu_loop *loop);
int vgpu_loop_arena_create(struct loop_exec *x, void *arg);
int vgpu_loop_region_add(struct loop_exec *x, void *arg);
int vgpu_loop_region_remove(struct loop_exec *x, void *arg);

/* --- uapi_loop_chunk.c --- */
int vgpu_loop_chunk_map_locked(struct loop_object *o, u32 chunk, bool write);
void vgpu_loop_chunk_unmap_locked(struct loop_object *o, u32 chunk);
int vgpu_loop_chunk_pin_locked(struct loop_object *o, u32 chunk);
int vgpu_loop_chunk_unpin_locked(struct loop_object *o, u32 chunk);
/* Give every slot back; all moves of the object must have ended. */
void vgpu_loop_chunks_release_locked(struct loop_object *o);
/* The executor took its memory with it. */
void vgpu_loop_chunks_lose_locked(struct loop_object *o);
/* Wait until a move ends; lets go of the lock.  Return: 0 or -ETIME. */
int vgpu_loop_move_wait_locked(struct vgpu_loop *loop, u64 deadline_ns);
int vgpu_loop_move(struct loop_exec *x, void *arg);

/* --- uapi_loop_object.c --- */
/* Look a handle up and count a reference; NULL: -ENOENT. */
struct loop_object *vgpu_loop_object_get_locked(struct loop_client *c, u32 bo_id);
void vgpu_loop_object_put_locked(struct loop_object *o);
/* The executor forgot it (or there is none): free it. */
void vgpu_loop_object_free_locked(struct loop_object *o);
/* Does the file still look as it did?  Without the lock.  Return: 0, -ESTALE, -errno of fstat(). */
int vgpu_loop_file_check(const struct loop_file *f);
int vgpu_loop_bo_create(struct loop_client *c, void *arg);

/* --- uapi_loop_bo.c --- */
int vgpu_loop_bo_destroy(struct loop_client *c, void *arg);
int vgpu_loop_bo_info(struct loop_client *c, void *arg);
int vgpu_loop_bo_seal(struct loop_client *c, void *arg);
int vgpu_loop_bo_residency(struct loop_client *c, void *arg);

/* --- uapi_loop_cpu.c --- */
/*
 * A copy holds its chunk by a mapping: pins are those of VB_ADVISE_PIN alone, which
 * VB_ADVISE_UNPIN may take away at any moment.
 */
enum loop_hold {
	LOOP_HOLD_PIN,		/* against eviction; undone by chunk_unpin */
	LOOP_HOLD_READ,		/* while it is copied; undone by chunk_unmap */
	LOOP_HOLD_WRITE,	/* and to be written; undone by chunk_unmap */
};
/**
 * vgpu_loop_hold_locked() - have a chunk in host memory and keep it there
 * @chunk: which
 * @end: page in up to here (exclusive) while we are at it
 * @deadline_ns: 0: the device's own bound, from now
 *
 * Lets go of the lock while it waits.
 * Return: 0; -ETIME; -ENODEV; what the executor said.
 */
int vgpu_loop_hold_locked(struct loop_object *o, u32 chunk, u32 end, enum loop_hold how,
			  u64 deadline_ns);
int vgpu_loop_bo_map(struct loop_client *c, void *arg);
int vgpu_loop_bo_unmap(struct loop_client *c, void *arg);
int vgpu_loop_bo_read(struct loop_client *c, void *arg);
int vgpu_loop_bo_write(struct loop_client *c, void *arg);
void vgpu_loop_mappings_drop_locked(struct loop_object *o);

/* --- uapi_loop_advise.c --- */
int vgpu_loop_bo_advise(struct loop_client *c, void *arg);

/* --- uapi_loop_request.c --- */
/**
 * vgpu_loop_request_new() - a request that is not queued yet
 *
 * Counts references on client and object (not for FORGET).  NULL: no memory.
 */
struct loop_request *vgpu_loop_request_new_locked(u32 type, struct loop_client *c,
						  struct loop_object *o);
void vgpu_loop_request_free_locked(struct loop_request *r);
void vgpu_loop_request_queue_locked(struct vgpu_loop *loop, struct loop_request *r);
/* Whose turn it is; NULL: there is none. */
struct loop_request *vgpu_loop_request_next_locked(struct vgpu_loop *loop);
/**
 * vgpu_loop_request_wait_locked() - queue it, let it be served, wait, free it
 *
 * Lets go of the lock.  Return: how it ended; -ETIME; -ENODEV there is no executor.
 */
int vgpu_loop_request_wait_locked(struct vgpu_loop *loop, struct loop_request *r,
				  u64 deadline_ns);
/* It ended: tell the waiter, or free it. */
void vgpu_loop_request_done_locked(struct vgpu_loop *loop, struct loop_request *r, int status);
u64 vgpu_loop_bound(u64 deadline_ns);	/* 0 becomes the device's own bound */

/* --- uapi_loop_queue.c --- */
struct loop_queue *vgpu_loop_queue_get_locked(struct loop_client *c, u32 queue_id);
void vgpu_loop_queue_put_locked(struct loop_queue *q);
void vgpu_loop_queue_cancel_locked(struct loop_queue *q);
/* Its first submission may have become ready, or ended unrun: look, and at all that follows. */
void vgpu_loop_queue_advance_locked(struct loop_queue *q);
/* How a signalled fence ended.  Return: 0; -ESTALE too long ago to know. */
int vgpu_loop_queue_result_locked(const struct loop_queue *q, u64 seqno, struct loop_result *out);
bool vgpu_loop_queue_is_over_locked(const struct loop_queue *q, u64 seqno);
/* Whose turn it is; at least one queue is ready. */
struct loop_submission *vgpu_loop_queue_next_locked(struct vgpu_loop *loop);
/* It goes to the executor now. */
void vgpu_loop_queue_start_locked(struct loop_submission *s);
/* Room in the ring of results for one submission more.  Return: 0 or -ENOMEM. */
int vgpu_loop_queue_reserve_locked(struct loop_queue *q);
/* A submission ended; frees it. */
void vgpu_loop_complete_locked(struct loop_submission *s, int status, u32 bad_command, u64 busy_ns);
/* End what waits beyond its deadline; the earliest of the others, or ~0. */
u64 vgpu_loop_expire_locked(struct vgpu_loop *loop);
int vgpu_loop_queue_create(struct loop_client *c, void *arg);
int vgpu_loop_queue_destroy(struct loop_client *c, void *arg);
int vgpu_loop_wait(struct loop_client *c, void *arg);
int vgpu_loop_fence_eventfd(struct loop_client *c, void *arg);

/* --- uapi_loop_submit.c --- */
int vgpu_loop_submit(struct loop_client *c, void *arg);
void vgpu_loop_submission_free_locked(struct loop_submission *s);

/* --- uapi_loop_exec.c --- */
void vgpu_loop_close_exec(struct vgpu_uapi *u);
/* End what waits for an executor with -ENODEV; with @running what it works on, too. */
void vgpu_loop_fail_locked(struct vgpu_loop *loop, bool running);
int vgpu_loop_attach(struct loop_exec *x, void *arg);
int vgpu_loop_fetch(struct loop_exec *x, void *arg);
int vgpu_loop_commit(struct loop_exec *x, void *arg);
int vgpu_loop_poll_cancel(struct loop_exec *x, void *arg);
int vgpu_loop_object_open(struct loop_exec *x, void *arg);
int vgpu_loop_exec_stats(struct loop_exec *x, void *arg);

#endif
