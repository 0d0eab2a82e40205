/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The device in the kernel: what the parts of the module know of each other.
 *
 *	main.c		the module: parameters, nodes, the file system of our inodes
 *	ucmd.c		requests: the table, and the way into a handler
 *	client.c	a client: open, release, counters, schedule
 *	user.c		users: what the clients of one uid have together
 *	limit.c		who may have how much
 *	file.c		files of clients
 *	object.c	objects: life, handles, forgetting
 *	store.c		objects of files, shared by those who opened the same
 *	bo.c		requests about one BO that wait for nobody
 *	cpu.c		map, read, write: content for the CPU of a client
 *	dmabuf.c	objects that leave their file descriptor
 *	import.c	objects whose memory is somebody else's
 *	advise.c	prefetch, evict, pin
 *	map.c		mmap() and faults, of clients and of the executor
 *	table.c		residency tables: pages of entries
 *	resid.c		steps of the table, and who is charged for them
 *	arena.c		arenas, regions, slots, pages
 *	drain.c		host memory that goes when the kernel is short of it
 *	device.c	the memory of device arenas, and the CPU's way to it
 *	bar.c		a PCI device whose memory stands in for a GPU's
 *	request.c	page-ins and the like: queued for the executor, waited for
 *	queue.c		queues, who runs next
 *	fence.c		timelines: results, waiting, eventfds, in-fences
 *	submit.c	submissions
 *	fdinfo.c, sysfs.c, debugfs.c, trace.h	what others may see of it
 *	exec.c		the executor node
 *	uring.c		commands that come by io_uring, to both nodes
 *	recover.c	executors that die, and their successors
 *
 * Lock order, outermost first (mmap_lock lies outside of all, and so does io_uring's
 * uring_lock, under which we take the spinlocks only; dma_resv lies outside of
 * vb_bo.lock, so that under it and below no dma_buf_*() is called):
 *
 *	vb_device.exec_lock -> vb_client.lock -> vb_bo.lock -> folio lock
 *		-> vb_device.slot_lock, vb_device.work_lock
 *
 * The shrinker runs under whatever lock somebody allocates, and takes slot_lock only:
 * nothing is allocated under that.
 *
 * exec_lock, vb_client.lock and vb_bo.lock are mutexes; under vb_bo.lock there is no
 * copy to or from user memory and no wait for user space.  slot_lock and work_lock
 * are spinlocks that never nest in each other; nothing that may drop the last
 * reference of an object is called under them.
 *
 * Lifetime: a struct vb_bo has two counts.  @users are those who may use its content
 * (handle, client mappings, submissions, requests, calls in progress); when the last
 * one goes, the executor is asked to forget it, and its slots return with that
 * commit.  @kref keeps the memory for whoever still looks at the structure.
 */
#ifndef VB_H
#define VB_H

#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/maple_tree.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/sched/stat.h>
#include <linux/spinlock.h>
#include <linux/timerqueue.h>
#include <linux/uidgid.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "conftest.h"
#include "core/chunk.h"
#include "core/quota.h"
#include "core/range.h"
#include "core/share.h"
#include "core/slots.h"

#define VB_WAIT_NS		(120ull * NSEC_PER_SEC)	/* default bound without a deadline */
#define VB_FAULT_NS		(2ull * NSEC_PER_SEC)	/* of a fault that keeps mmap_lock */
#define VB_SUBMISSIONS		4096u	/* default limit a client, in flight */
#define VB_HINTS_MAX		1024u	/* prefetches a client may have queued */
#define VB_TRIES		8u	/* page-ins for one use of a chunk */
/*
 * Client mappings: the offset of a BO is its handle << VB_BO_SPACE_SHIFT, and
 * offsets are positive.
 */
#define VB_BO_SPACE_SHIFT	46
#define VB_BO_ID_MAX		((1u << 17) - 1)
#define VB_ID_MAX		((1u << 30) - 1)
/* Executor mappings: what, then which, then bytes (VB_MMAP_SUBMIT is in the UAPI). */
#define VB_MMAP_WHAT_SHIFT	56
#define VB_MMAP_REGION		1ull
#define VB_MMAP_TABLE		2ull
#define VB_MMAP_WHICH_SHIFT	48	/* region: arena */
#define VB_MMAP_OBJECT_SHIFT	12	/* table: object id, in pages */

struct attribute_group;
struct device;
struct dma_buf;
struct io_uring_cmd;
struct poll_table_struct;
struct seq_file;
struct vb_bo;
struct vb_client;
struct vb_import;
struct vb_queue;
struct vb_request;
struct vb_submission;
struct vb_ucmd;

/* ---- memory ---- */

/**
 * struct vb_slot - the memory of one slot whose pages we know: host, or a BAR
 * @block: its pages, one pointer a block of 1 << @order pages
 * @order: the chunk's own, or a smaller one where memory is fragmented
 * @object: who held it last, an id; slot_lock, as the next
 * @chunk: and which
 * @baseline: references beyond mappings and ours when the slot was taken: those of
 *	registered buffers; protected by the lock of the BO that holds the slot
 * @quarantine: in vb_device.quarantine while others still refer to the memory;
 *	slot_lock
 * @before: such references when a successor adopted the arena, not its own; exec_lock
 * @loc: VB_LOC of it; fixed
 */
struct vb_slot {
	struct page **block;
	struct list_head quarantine;
	u32 loc;
	u32 object, chunk;
	int baseline, before;
	u8 order;
};

/**
 * struct vb_region - slots that came together
 * @kref: arena, executor mappings, copies in progress
 * @first: first slot
 * @slots: how many
 * @order: of a whole chunk
 * @is_bar: its pages are the BAR's, which is given back with the region
 * @slot: theirs
 */
struct vb_region {
	struct kref kref;
	u32 first, slots;
	u8 order;
	bool is_bar;
	struct vb_slot slot[];
};

/**
 * struct vb_arena - slots of one tier in one place
 * @tier: enum vb_tier; fixed
 * @numa_node: or -1; fixed
 * @slots: which are free; slot_lock
 * @memory: of @slots
 * @regions: struct vb_region by slot; locks itself; none when the pages are not ours
 * @import: device: its memory is a dma-buf; or NULL; as the next two fixed until it is gone
 * @cpu_path: device: enum vb_cpu_path
 * @cpu_reason: why it is no better, or 0
 * @pinned: chunks here that are pinned or mapped; slot_lock
 * @identity: as created
 * @orphan: its executor died, and no other one has adopted it; exec_lock
 * @gone: its memory is no more; it waits for an arena of this tier to take its number;
 *	written under exec_lock and slot_lock
 */
struct vb_arena {
	u32 tier;
	s32 numa_node;
	struct vb_slots slots;
	void *memory;
	struct maple_tree regions;
	struct vb_import *import;
	u32 cpu_path;
	int cpu_reason;
	s64 pinned;
	u64 identity[2];
	bool orphan, gone;
};

/* ---- work for the executor ---- */

/**
 * struct vb_work - what a tag names
 * @link: where it waits to be fetched; work_lock
 * @tag: lower half of the tag; fixed
 * @fetched: the executor has it; work_lock
 * @is_submission: what this is embedded in; fixed
 * @rcu: freed after everybody who looked a tag up has seen that it is not fetched
 */
struct vb_work {
	struct list_head link;
	u32 tag;
	bool fetched;
	bool is_submission;
	struct rcu_head rcu;
};

/**
 * struct vb_request - something to do that is no submission
 * @work: first
 * @kref: the queue (until it ended) and the waiter
 * @type: enum vb_fetch_type
 * @flags: VB_FETCH_F_*
 * @client: who asks; counted
 * @bo: counted as a user; FORGET: as memory
 * @arena: DRAIN
 * @first: first chunk, or slot
 * @count: chunks, ranges, or slots
 * @ranges: SCHEDULE: in the submit region; or NULL
 * @ranges_bytes: their length
 * @deadline_ns: 0 none
 * @killable: only a deadly signal ends the wait
 * @expired: the waiter has gone; work_lock
 * @finishing: a commit runs @finish; work_lock
 * @finish: called by the commit before anybody can move the chunks again, in a
 *	context that may sleep; its result is the waiter's.  May be NULL
 * @arg: of @finish
 * @status: result
 * @done: set last
 * @wait: of the waiter
 */
struct vb_request {
	struct vb_work work;
	struct kref kref;
	u32 type, flags;
	struct vb_client *client;
	struct vb_bo *bo;
	u32 arena, first, count;
	struct vb_range *ranges;
	size_t ranges_bytes;
	u64 deadline_ns;
	bool killable, expired, finishing;
	int (*finish)(struct vb_request *r);
	void *arg;
	int status;
	bool done;
	wait_queue_head_t wait;
};

/* ---- clients ---- */

/**
 * struct vb_file - a file as a client opened it, and what it looked like then
 * @link: in the table of files; its lock, as @refs; the rest is fixed
 * @file: counted
 * @direct: it again, to be read past the page cache, or NULL where its file system
 *	cannot; what the executor gets
 * @refs: objects
 * @bytes: length
 * @ino: inode number
 * @dev: device
 * @changed: change time
 */
struct vb_file {
	struct hlist_node link;
	struct file *file, *direct;
	u32 refs;
	u64 bytes, ino;
	dev_t dev;
	struct timespec64 changed;
};

/**
 * struct vb_user - whose clients they are
 * @link: in the table of users; slot_lock, as the next two
 * @refs: clients, calls in progress
 * @kept: a limit was set for it
 * @uid: fixed
 * @quota: as vb_client.quota
 * @submit_bytes: of the submit region
 */
struct vb_user {
	struct hlist_node link;
	u32 refs;
	bool kept;
	kuid_t uid;
	struct vb_quota quota;
	atomic_long_t submit_bytes;
};

/**
 * struct vb_usage - for those who look: chunks of a client, or of all; slot_lock
 * @resident: with a current copy, by tier
 * @purgeable: of these copies, those that may go at once
 */
struct vb_usage {
	u64 resident[VB_TIER_COUNT], purgeable[VB_TIER_COUNT];
};

/**
 * struct vb_client - an open client node
 * @kref: the file, each object, each queue, each request
 * @number: 1, 2, ...; fixed
 * @lock: holds, shares
 * @holds: struct vb_hold of its BO_MAPs
 * @shares: struct vb_share by id of the store
 * @bos: handles
 * @queues: handles
 * @slots: slots its objects hold, an arena, moves included; slot_lock
 * @user: whose it is, for good: who opened it; counted
 * @share: of executor time; work_lock
 * @quota: limits, and what counts against them: submissions under work_lock, all
 *	else under slot_lock
 * @usage: slot_lock
 * @hints: prefetches queued or running; work_lock
 * @counters: by enum vb_counter; work_lock
 * @schedule: queued and not fetched yet, or NULL; work_lock
 * @scheduled: the executor has heard a schedule of it; work_lock
 * @untold: its queues with an end that nobody was told of; work_lock
 * @wait: poll() waits here for such an end
 * @next_bo: next handle; lock of @bos
 * @next_queue: next handle; lock of @queues
 */
struct vb_client {
	struct kref kref;
	u32 number;
	struct mutex lock;
	struct list_head holds;
	struct xarray bos, shares, queues;
	u32 next_bo, next_queue;
	u64 slots[VB_ARENA_MAX];
	struct vb_user *user;
	struct vb_share_client share;
	struct vb_quota quota;
	struct vb_usage usage;
	u32 hints;
	u64 counters[VB_COUNT_COUNT];
	struct vb_request *schedule;
	bool scheduled;
	u32 untold;
	wait_queue_head_t wait;
};

/* ---- objects ---- */

/**
 * struct vb_bo - a buffer object
 * @kref: memory (see above)
 * @users: use (see above)
 * @id: device-wide; fixed
 * @handle: that its client was given at first; fixed; 0 for a store
 * @client: creator, who is charged; fixed but for a store: under @lock it is one of those
 *	who share it, or was the last one
 * @lock: protects what follows unless it says otherwise
 * @traits: what the core must know; only @traits.sealed changes
 * @flags: VB_BO_*
 * @chunks: how many; fixed, as are all up to @file
 * @head_bytes: of chunk 0 before the object's byte 0
 * @bytes: length
 * @file_offset: of chunk 0
 * @file_bytes: derived: source bytes
 * @transform: derived
 * @file: or NULL
 * @is_store: shared by all who ask for the same bytes of @file; fixed
 * @store: place in the table of stores
 * @shares: struct vb_share
 * @import: imported: the memory; fixed; or NULL
 * @pages: file whose address space its mappings are in, or NULL while it has none: so
 *	they can be zapped, and PMD-mapped
 * @table: its pages, by table.c; entries are changed by resid.c only
 * @tier_chunks: chunks with a valid copy, a tier
 * @slots: held, moves included
 * @dirty: chunks with VB_ENTRY_DIRTY
 * @device_only: chunks whose one valid copy is on a device
 * @lost: chunks that are
 * @pins: pins of VB_ADVISE_PIN
 * @write_maps: writable mappings, devices that may write, and BO_WRITE in progress
 * @mappings: struct vb_hold of BO_MAP
 * @exports: dma-bufs of it
 * @attached: devices that are attached to these
 * @moves: struct vb_running by chunk
 * @move_count: how many
 * @moved: waits for a move to end
 * @writers: queued and running submissions that write it; work_lock
 * @mark: submission that met it last, to find duplicates; work_lock
 * @forget: request to forget it, made with it: nothing may be lacking at the end.  It
 *	gets the object, counted as memory, when it is sent
 * @shown: the executor may have heard of it
 * @gone: no user is left
 * @freed: vb_bo_free() was called; atomic
 */
struct vb_bo {
	struct kref kref;
	refcount_t users;
	u32 id, handle;
	struct vb_client *client;
	struct mutex lock;
	struct vb_chunk_traits traits;
	u32 flags;
	u32 chunks, head_bytes;
	u64 bytes, file_offset, file_bytes;
	struct vb_transform transform;
	struct vb_file *file;
	bool is_store;
	struct hlist_node store;
	struct list_head shares;
	struct vb_import *import;
	struct file *pages;
	struct xarray table;
	u64 tier_chunks[VB_TIER_COUNT];
	u64 slots, dirty, device_only, lost, pins;
	u32 write_maps, exports;
	struct list_head mappings, attached;
	struct xarray moves;
	u32 move_count;
	wait_queue_head_t moved;
	u32 writers;
	u64 mark;
	struct vb_request *forget;
	bool shown, gone;
	int freed;
};

/* ---- queues ---- */

/* How a submission ended. */
struct vb_result {
	s32 status;
	u32 bad_command;
	u64 busy_ns;
};

/**
 * struct vb_dependent - who waits for a fence without a thread
 * @link: in vb_queue.dependents; work_lock, as all of it
 * @queue: whose fence; NULL once it has signalled
 * @seqno: of the fence
 * @submission: which has this in-fence, and owns this structure; or NULL
 * @eventfd: when there is no @submission; or NULL
 * @cmd: command of io_uring that ends with the fence, when there is neither
 */
struct vb_dependent {
	struct list_head link;
	struct vb_queue *queue;
	u64 seqno;
	struct vb_submission *submission;
	struct eventfd_ctx *eventfd;
	struct io_uring_cmd *cmd;
};

/**
 * struct vb_submission - a command buffer on its way
 * @work: first; its link is in vb_queue.pending in the order of @seqno, or in a list
 *	of those to be freed
 * @queue: counted
 * @user: whose share of the submit region @stream is; fixed
 * @seqno: 1, 2, ...
 * @deadline_ns: 0 none
 * @fetched_ns: when
 * @unmet: in-fences that did not signal
 * @in_status: of the first in-fence that failed
 * @runs: executors that died with it
 * @bo_count: entries of @bos and @refs
 * @fence_count: entries of @fences
 * @stream_bytes: length of @stream
 * @fences: its in-fences
 * @bos: objects, counted as users
 * @refs: what the executor is told of them, in the submit region
 * @stream: in the submit region
 * @region_bytes: length of both there, from @stream
 */
struct vb_submission {
	struct vb_work work;
	struct vb_queue *queue;
	struct vb_user *user;
	u64 seqno, deadline_ns, fetched_ns;
	u32 unmet;
	s32 in_status;
	u32 runs;
	u32 bo_count, fence_count, stream_bytes;
	struct vb_dependent *fences;
	struct vb_bo **bos;
	struct vb_exec_bo *refs;
	void *stream;
	size_t region_bytes;
};

/**
 * struct vb_queue - submissions of a client, in order; work_lock unless fixed
 * @kref: handle, submissions, calls in progress, lists
 * @client: counted; fixed
 * @number: device-wide; fixed
 * @share: of its client's executor time; has work while its first submission may run
 * @link: in vb_device.queues while it has work, counted; else empty
 * @expiry: in vb_device.expiries while its first pending submission has a deadline
 * @advance_link: in vb_device.advance while somebody must look at it, else empty
 * @submitted: seqno of the last submission
 * @completed: seqno up to which fences have signalled
 * @told: seqno up to which somebody was told how they ended
 * @untold: counted in vb_client.untold
 * @pending: submissions that were not fetched
 * @pending_count: how many
 * @running: fetched and not committed, or NULL
 * @destroyed: no new work; what was not running ended with -ECANCELED
 * @canceled_from: with @destroyed: first seqno that was never run
 * @results: ring by seqno & (@result_size - 1)
 * @result_size: a power of two
 * @forgotten: last failed seqno that left the ring, or 0
 * @dependents: of its fences
 * @wait: woken when @completed moves
 */
struct vb_queue {
	struct kref kref;
	struct vb_client *client;
	u32 number;
	struct vb_share_queue share;
	struct list_head link, advance_link;
	struct timerqueue_node expiry;
	u64 submitted, completed, told;
	bool untold;
	struct list_head pending;
	u32 pending_count;
	struct vb_submission *running;
	bool destroyed;
	u64 canceled_from;
	struct vb_result *results;
	u32 result_size;
	u64 forgotten;
	struct list_head dependents;
	wait_queue_head_t wait;
};

/* ---- the device ---- */

/**
 * struct vb_exec - the open executor node
 * @inode: whose pages its mappings are, so that they can be PMD-mapped
 * @attached: it is the executor; exec_lock
 * @submit_address: where it maps the submit region, or 0
 * @stopped: nobody sleeps in VB_IOC_EXCHANGE any more
 * @slots: what is fetched by io_uring, VB_MMAP_FETCH_BYTES
 * @pid: process that attached; counted
 * @last_call_ns: when it asked us for something last, or ended asking
 */
struct vb_exec {
	struct inode *inode;
	bool attached, stopped;
	unsigned long submit_address;
	void *slots;
	struct pid *pid;
	u64 last_call_ns;
};

/**
 * struct vb_device - the one device
 * @chunk_bytes: fixed
 * @chunk_shift: fixed
 * @exec_lock: who is the executor; arenas coming and going
 * @exec: who has the executor node open, or NULL
 * @clients: struct vb_client by number, while its node is open
 * @next_client: next number; lock of @clients
 * @exec_state: enum vb_exec_state; written under exec_lock and work_lock
 * @generation: of the executor that attached last; as @exec_state
 * @staging_bytes: as @exec_state
 * @panel_bytes: as @exec_state
 * @slot_lock: arenas, and what is charged for them
 * @arenas: by number; grows under slot_lock
 * @arena_count: how many
 * @reserved_bytes: promised to anonymous objects; slot_lock
 * @quota: what clients and users are promised; slot_lock
 * @client_limits: of a new client, by enum vb_limit; slot_lock, as the next
 * @user_limits: of a new user
 * @usage: of all clients
 * @growing: calls that make a region: none is asked to go meanwhile
 * @draining: the executor was asked to empty a region, and has not answered
 * @quarantine: slots that nobody holds and others still refer to: DMA into memory
 *	that was a client's must not land in the next one's; slot_lock
 * @bos: struct vb_bo by id
 * @next_bo: next id; lock of @bos
 * @gone: objects that wait to be forgotten
 * @freed: woken as they go
 * @work_lock: requests, queues, fences, tags
 * @requests: struct vb_work, in the order in which they came
 * @requests_in_row: requests handed out while a submission was ready
 * @tags: struct vb_work by tag; locks itself
 * @next_tag: next one; lock of @tags
 * @queues: those with work
 * @shares: clients with a queue whose first submission may run
 * @advance: those somebody must look at
 * @advancing: somebody works on @advance
 * @next_queue: number of the last one; work_lock
 * @counters: by enum vb_counter; work_lock
 * @expire: ends what waits beyond its deadline, whoever sleeps
 * @expiries: queues by the deadline of their first submission; work_lock
 * @clock: advanced by every submission
 * @fetched: submissions and requests in the executor's hands; work_lock
 * @watch: looks whether it still asks
 * @recovery: ends the wait for a successor
 * @recover_by_ns: when; exec_lock
 * @settled: woken when the device is not RECOVERING any more
 * @fetch: the executor waits here for work
 * @polls: it looks for work, awake, before it does
 * @fetches: commands of io_uring that wait for work; work_lock, as the next two
 * @waits: commands of io_uring that wait for a fence
 * @ended: submissions to be freed by @free, where one may sleep
 * @free: frees them
 * @uring_watch: looks for commands whose task leaves
 * @submit: allocator of the submit region
 * @submit_base: its memory
 */
struct vb_device {
	u32 chunk_bytes, chunk_shift;

	struct mutex exec_lock;
	struct vb_exec *exec;
	struct xarray clients;
	u32 next_client;
	u32 exec_state, generation;
	u64 staging_bytes, panel_bytes;

	spinlock_t slot_lock;
	struct vb_arena *arenas[VB_ARENA_MAX];
	u32 arena_count;
	u64 reserved_bytes;
	struct vb_quota_device quota;
	u64 client_limits[VB_QUOTA_LIMITS], user_limits[VB_QUOTA_LIMITS];
	struct vb_usage usage;
	atomic_t growing;
	bool draining;
	struct list_head quarantine;

	struct xarray bos;
	u32 next_bo;
	atomic_t gone;
	wait_queue_head_t freed;

	spinlock_t work_lock;
	struct list_head requests;
	u32 requests_in_row;
	struct xarray tags;
	u32 next_tag;
	struct list_head queues, advance;
	struct vb_share_level shares;
	bool advancing;
	u32 next_queue;
	struct delayed_work expire;
	struct timerqueue_head expiries;
	u64 clock;
	u64 counters[VB_COUNT_COUNT];
	u32 fetched;
	struct delayed_work watch, recovery;
	u64 recover_by_ns;
	wait_queue_head_t settled, fetch;
	bool polls;
	struct list_head fetches, waits;
	struct list_head ended;
	struct work_struct free;
	struct delayed_work uring_watch;

	struct gen_pool *submit;
	void *submit_base;
};

extern struct vb_device vb;

static inline bool vb_is_live(void)
{
	return READ_ONCE(vb.exec_state) == VB_EXEC_LIVE;
}

static inline bool vb_is_recovering(void)
{
	return READ_ONCE(vb.exec_state) == VB_EXEC_RECOVERING;
}

/* There is an executor, or one may still come to do what waits. */
static inline bool vb_takes_work(void)
{
	u32 state = READ_ONCE(vb.exec_state);

	return state == VB_EXEC_LIVE || state == VB_EXEC_QUIESCED || state == VB_EXEC_RECOVERING;
}

/* --- main.c --- */
/* An inode of our own for mappings; ERR_PTR. */
struct inode *vb_inode_new(void);
void vb_inode_free(struct inode *inode);
/* Sleep until @condition or CLOCK_MONOTONIC @deadline_ns; 0, -ETIME or -EINTR. */
#define vb_wait_until(wq, condition, deadline_ns) ({				\
	u64 now_ = ktime_get_ns(), until_ = (deadline_ns);			\
	int rc_ = -ETIME;							\
	if (condition)								\
		rc_ = 0;							\
	else if (until_ > now_)							\
		rc_ = wait_event_interruptible_hrtimeout(wq, condition,		\
				min_t(u64, until_ - now_, KTIME_MAX));		\
	rc_ == -ERESTARTSYS ? -EINTR : rc_; })

/* The same where only a deadly signal may end it. */
#define vb_wait_killable_until(wq, condition, deadline_ns) ({			\
	u64 now_ = ktime_get_ns(), until_ = (deadline_ns);			\
	long rc_ = wait_event_killable_timeout(wq, condition, until_ > now_ ?	\
		nsecs_to_jiffies(min_t(u64, until_ - now_, VB_WAIT_NS)) + 1 : 0);\
	rc_ > 0 ? 0 : rc_ < 0 ? -EINTR : -ETIME; })

/* --- ucmd.c --- */
/**
 * struct vb_ucmd - one request on its way
 * @cmd: the structure, filled up with zeros, checked against its rule
 * @user: the caller's
 * @user_bytes: of it
 * @bytes: of @cmd
 * @responded: it was written back already
 */
struct vb_ucmd {
	void *cmd;
	void __user *user;
	u32 user_bytes, bytes;
	bool responded;
};

#define VB_UCMD_BYTES_MAX	256u	/* largest structure we know */
/* Answer now, before an object is published.  Return: 0 or -EFAULT. */
int vb_ucmd_respond(struct vb_ucmd *u);
/* One request of a client; @cmd has VB_UCMD_BYTES_MAX bytes and keeps the structure. */
int vb_ucmd_client(struct vb_client *c, unsigned int request, void __user *user, u64 *cmd);
long vb_ioctl_client(struct file *filp, unsigned int request, unsigned long arg);
long vb_ioctl_exec(struct file *filp, unsigned int request, unsigned long arg);

/* --- client.c --- */
int vb_client_open(struct inode *inode, struct file *filp);
int vb_client_release(struct inode *inode, struct file *filp);
struct vb_client *vb_client_find(u32 number);
void vb_client_put(struct vb_client *c);
void vb_count_locked(struct vb_client *c, enum vb_counter counter, u64 n);	/* work_lock */
int vb_query_device(struct vb_client *c, struct vb_ucmd *u);
int vb_stats(struct vb_client *c, struct vb_ucmd *u);
int vb_schedule(struct vb_client *c, struct vb_ucmd *u);

/* --- user.c --- */
struct vb_user *vb_user_get(kuid_t uid);
void vb_user_put(struct vb_user *user);
void vb_users_each_locked(void (*show)(const struct vb_user *user, void *arg), void *arg);
void vb_users_free(void);

/* --- limit.c --- */
bool vb_limit_may_shrink_locked(u64 bytes);
int vb_limit_hold(struct vb_client *c, u64 chunks, bool pin);
void vb_limit_release(struct vb_client *c, u64 chunks, bool pin);
void vb_limit_release_locked(struct vb_client *c, u64 chunks, bool pin);	/* slot_lock */
int vb_limit_slot_locked(struct vb_client *c, u32 tier, u32 from);
bool vb_limit_has_room(struct vb_client *c, u32 tier, u64 chunks);
void vb_limit_unslot_locked(struct vb_client *c, u32 tier);
int vb_limit(struct vb_client *c, struct vb_ucmd *u);

/* --- file.c --- */
int vb_file_open(int fd, struct vb_file **out);
void vb_file_put(struct vb_file *f);
/* Does the file still look as it did?  0, -ESTALE, -errno.  May sleep for ever. */
int vb_file_check(const struct vb_file *f);
int vb_file_check_known(const struct vb_file *f);

/* --- object.c --- */
/* A user of the object with this handle; NULL: -ENOENT. */
struct vb_bo *vb_bo_get(struct vb_client *c, u32 handle);
/* Another user, by one who is one. */
static inline void vb_bo_use(struct vb_bo *bo)
{
	refcount_inc(&bo->users);
}

void vb_bo_put(struct vb_bo *bo);		/* may sleep */
struct vb_bo *vb_bo_look(u32 id);		/* memory of the object with this id, or NULL */
void vb_bo_unlook(struct vb_bo *bo);
/* The executor forgot it, or there is none: slots and reservation return. */
void vb_bo_free(struct vb_bo *bo);
/* The executor will hear of it. */
void vb_bo_show(struct vb_bo *bo);
int vb_bo_adopt(struct vb_client *c, struct vb_ucmd *u, struct vb_import *m, bool readonly);
int vb_bo_share(struct vb_client *c, struct vb_bo *bo, struct vb_ucmd *u, u32 *out_id);
void vb_bo_unshare(struct vb_client *c, struct vb_bo *bo);
void vb_bo_publish(struct vb_bo *bo);
int vb_bo_create(struct vb_client *c, struct vb_ucmd *u);
int vb_bo_destroy(struct vb_client *c, struct vb_ucmd *u);

/* --- store.c --- */
struct vb_bo *vb_store_find(struct vb_bo *bo);
void vb_store_end(struct vb_bo *bo);
int vb_store_join(struct vb_client *c, struct vb_bo *bo);
void vb_store_leave(struct vb_client *c, struct vb_bo *bo);
/* Does anybody else have a handle of it?  True of stores only. */
bool vb_store_is_shared(struct vb_bo *bo);
bool vb_store_charge_other_locked(struct vb_bo *bo, u32 tier);
int vb_store_pin(struct vb_client *c, struct vb_bo *bo, u32 chunk, int n);
bool vb_store_unpin_locked(struct vb_client *c, struct vb_bo *bo,
			   const struct vb_chunk_range *range);
void vb_store_usage(struct vb_client *c, u64 *out_others, u64 *out_shared);
struct vb_client *vb_bo_payer(struct vb_bo *bo);
/* Who pays for what @c pins and maps: of a store itself, else the creator. */
static inline struct vb_client *vb_bo_holder(struct vb_bo *bo, struct vb_client *c)
{
	return bo->is_store ? c : bo->client;
}

/* --- bo.c --- */
int vb_bo_info(struct vb_client *c, struct vb_ucmd *u);
int vb_bo_seal(struct vb_client *c, struct vb_ucmd *u);
int vb_bo_residency(struct vb_client *c, struct vb_ucmd *u);

/* --- cpu.c --- */
/**
 * struct vb_hold - a range that BO_MAP keeps in host memory
 * @link: in vb_bo.mappings
 * @client_link: in vb_client.holds
 * @client: who asked
 * @bo: object, of which this is a user
 * @offset: as given
 * @bytes: as given
 * @flags: as given
 */
struct vb_hold {
	struct list_head link, client_link;
	struct vb_client *client;
	struct vb_bo *bo;
	u64 offset, bytes;
	u32 flags;
};

enum vb_hold_how {
	VB_HOLD_PIN,		/* for VB_ADVISE_PIN; undone by vb_step_unpin() */
	VB_HOLD_READ,		/* for a copy; undone by vb_step_unmap(), as the next */
	VB_HOLD_WRITE,		/* and to be written */
};

int vb_hold(struct vb_bo *bo, u32 chunk, u32 end, enum vb_hold_how how, u64 deadline_ns);
int vb_hold_all(struct vb_bo *bo, bool write);
void vb_unhold_all(struct vb_bo *bo);
void vb_holds_drop(struct vb_client *c);
u64 vb_share_bytes(const struct vb_client *c);
int vb_bo_map(struct vb_client *c, struct vb_ucmd *u);
int vb_bo_unmap(struct vb_client *c, struct vb_ucmd *u);
int vb_bo_read(struct vb_client *c, struct vb_ucmd *u);
int vb_bo_write(struct vb_client *c, struct vb_ucmd *u);

/**
 * struct vb_copy - bytes between an object and the caller's memory
 * @bo: object, of which the caller is a user
 * @write: into the object
 * @offset: first byte
 * @bytes: length, within the object
 * @done: bytes copied
 * @memory: caller's
 */
struct vb_copy {
	struct vb_bo *bo;
	bool write;
	u64 offset, bytes, done;
	char __user *memory;
};

/* --- dmabuf.c, import.c --- */
#ifdef CONFIG_DMA_SHARED_BUFFER
struct vb_bo *vb_export_bo(const struct dma_buf *dmabuf);
int vb_bo_export(struct vb_client *c, struct vb_ucmd *u);
int vb_import_init(void);
void vb_import_exit(void);
struct vb_import *vb_import_get(struct vb_import *m);
void vb_import_put(struct vb_import *m);
int vb_import_arena(int fd, u64 bytes, struct vb_import **out, int *out_reason);
int vb_import_begin(struct vb_import *m);
int vb_import_end(struct vb_import *m);
void vb_import_move(struct vb_import *m, u64 at, void *p, size_t bytes, bool write);
struct dma_buf *vb_import_dmabuf(struct vb_bo *bo);
struct file *vb_import_file(struct vb_bo *bo);		/* not counted */
int vb_import_mmap(struct vb_bo *bo, struct vm_area_struct *vma);
int vb_import_copy(struct vb_copy *copy);
int vb_bo_import(struct vb_client *c, struct vb_ucmd *u);
#else
/* A kernel without dma-bufs: there are no imported objects. */
static inline int vb_bo_export(struct vb_client *c, struct vb_ucmd *u) { return -EOPNOTSUPP; }
static inline int vb_bo_import(struct vb_client *c, struct vb_ucmd *u) { return -EOPNOTSUPP; }
static inline int vb_import_init(void) { return 0; }
static inline void vb_import_exit(void) {}
static inline struct vb_import *vb_import_get(struct vb_import *m) { return m; }
static inline void vb_import_put(struct vb_import *m) {}
static inline int vb_import_arena(int fd, u64 bytes, struct vb_import **out, int *out_reason)
{
	return -EOPNOTSUPP;
}

static inline int vb_import_begin(struct vb_import *m) { return 0; }
static inline int vb_import_end(struct vb_import *m) { return 0; }
static inline void vb_import_move(struct vb_import *m, u64 at, void *p, size_t bytes, bool write) {}
static inline struct file *vb_import_file(struct vb_bo *bo) { return NULL; }
static inline int vb_import_mmap(struct vb_bo *bo, struct vm_area_struct *vma) { return -EINVAL; }
static inline int vb_import_copy(struct vb_copy *copy) { return -EOPNOTSUPP; }
#endif

/* --- bar.c --- */
#if IS_ENABLED(CONFIG_PCI) && IS_ENABLED(CONFIG_ZONE_DEVICE)
int vb_bar_init(void);
void vb_bar_exit(void);
int vb_bar_take(u64 count, struct page **out);
void vb_bar_give(void);
#else
static inline int vb_bar_init(void) { return 0; }
static inline void vb_bar_exit(void) {}
static inline int vb_bar_take(u64 count, struct page **out) { return -EOPNOTSUPP; }
static inline void vb_bar_give(void) {}
#endif

/* --- advise.c --- */
int vb_bo_advise(struct vb_client *c, struct vb_ucmd *u);

/* --- map.c --- */
void vb_pages_zap(struct vb_bo *bo, u64 from, u64 bytes);
int vb_bo_mmap(struct vb_bo *bo, struct vm_area_struct *vma);
int vb_client_mmap(struct file *filp, struct vm_area_struct *vma);
int vb_exec_mmap(struct file *filp, struct vm_area_struct *vma);

/* --- table.c --- */
const struct vb_table_entry *vb_entry(struct vb_bo *bo, u32 chunk);
const struct vb_table_entry *vb_entry_run(struct vb_bo *bo, u32 chunk, u32 *count);
struct vb_table_entry *vb_entry_find(struct vb_bo *bo, u32 chunk);
struct vb_table_entry *vb_entry_make(struct vb_bo *bo, u32 chunk);
struct vb_table_entry *vb_entry_next(struct vb_bo *bo, u32 *chunk);
struct page *vb_table_page(struct vb_bo *bo, u32 index);
void vb_table_free(struct vb_bo *bo);

/* --- resid.c --- */
int vb_step_map(struct vb_bo *bo, u32 chunk, bool write);
void vb_step_unmap(struct vb_bo *bo, u32 chunk);
int vb_step_pin(struct vb_bo *bo, u32 chunk);
int vb_step_unpin(struct vb_bo *bo, u32 chunk);
/* The copy in host or device memory is about to be written by the CPU of a client. */
int vb_step_write(struct vb_bo *bo, u32 chunk, u8 tier);
void vb_resid_release(struct vb_bo *bo);	/* every slot; no executor moves them */
/* The executor has gone: its moves end, and what lay in arenas that are gone. */
void vb_resid_orphan(struct vb_bo *bo);
/* Clients have it mapped no more; they come back by a fault. */
void vb_resid_hide(struct vb_bo *bo);
/* Another client is charged for a store, whose lock is held, and counted for it already. */
void vb_resid_charge(struct vb_bo *bo, struct vb_client *to);
/* Wait until a move of the object ends: 0, -ETIME, -EINTR, -ENODEV. */
int vb_resid_wait(struct vb_bo *bo, u32 chunk, u64 deadline_ns, bool killable);
int vb_move(struct vb_exec *x, struct vb_ucmd *u);

/* --- arena.c --- */
u64 vb_capacity_locked(void);	/* what anonymous objects may reserve; slot_lock, as the next */
u64 vb_host_bytes_locked(void);
u64 vb_device_bytes_locked(void);
u64 vb_content_bytes_locked(void);	/* host bytes without staging */
int vb_slot_take_locked(u32 tier, u32 arena, u32 slot, u32 *out_loc);
/* Into quarantine when others still refer to its memory. */
void vb_slot_give_locked(u32 loc);
void vb_slot_retire(u32 loc);
/* The memory of a host slot that the caller's lock keeps in use; NULL. */
struct vb_slot *vb_slot_find(u32 loc, struct vb_region **out);
struct page *vb_slot_page(const struct vb_slot *slot, u32 index);
/* References that are neither mappings nor ours. */
int vb_slot_foreign(const struct vb_region *region, const struct vb_slot *slot);
void vb_slot_lock(const struct vb_region *region, const struct vb_slot *slot);
void vb_slot_unlock(const struct vb_region *region, const struct vb_slot *slot);
/* Slots over pages of the BAR, from @first on; NULL without memory. */
struct vb_region *vb_region_of_bar(u32 arena, u32 slots, struct page *first);
struct vb_region *vb_region_get(u32 arena, u32 slot);	/* counted, or NULL */
struct vb_arena *vb_arena_of(u32 arena);		/* NULL: there is none */
void vb_region_put(struct vb_region *region);
int vb_region_drop_locked(u32 arena, struct vb_region *region);
bool vb_arena_is_gone(u32 loc);
/* What goes with an executor, with its successor's choice, with the last hope. */
enum vb_leave { VB_LEAVE_DEVICES, VB_LEAVE_ORPHANS, VB_LEAVE_ALL };
void vb_arenas_leave(enum vb_leave who);
void vb_arenas_bury(void);	/* those that are gone; no entry names them */
void vb_arenas_drop(void);
void vb_arenas_orphan(void);
void vb_arenas_settle(void);
int vb_arena_query(struct vb_exec *x, struct vb_ucmd *u);
int vb_arena_adopt(struct vb_exec *x, struct vb_ucmd *u);
int vb_region_next(struct vb_exec *x, struct vb_ucmd *u);
int vb_query_tier(struct vb_client *c, struct vb_ucmd *u);
int vb_arena_create(struct vb_exec *x, struct vb_ucmd *u);
int vb_region_add(struct vb_exec *x, struct vb_ucmd *u);
int vb_region_remove(struct vb_exec *x, struct vb_ucmd *u);

/* --- drain.c --- */
void vb_drain_done(void);
int vb_drain_init(void);
void vb_drain_exit(void);

/* --- device.c --- */
int vb_device_import(struct vb_arena *a, const struct vb_ioc_arena_create *cmd);
int vb_device_bar(struct vb_arena *a, u32 number, u32 slots);
int vb_device_copy(struct vb_copy *copy, u32 chunk, u64 at);

/* --- request.c --- */
extern unsigned int vb_page_in_timeout_ms;	/* module parameter */
u64 vb_bound(u64 deadline_ns);	/* 0 becomes the device's own bound, from now */
struct vb_request *vb_request_new(u32 type, struct vb_client *c, struct vb_bo *bo);
struct vb_request *vb_request_of_payer(u32 type, struct vb_bo *bo);
void vb_request_put(struct vb_request *r);
/* Queue it; nobody waits.  -ENODEV: there is no executor, and it is freed. */
int vb_request_send(struct vb_request *r);
/* Queue it, wait, free it.  How it ended, -ETIME, -EINTR, -ENODEV. */
int vb_request_wait(struct vb_request *r, u64 deadline_ns);
/* It ended; may sleep. */
void vb_request_done(struct vb_request *r, int status);
void vb_requests_fail(void);
void vb_requests_return(void);	/* what a dead executor had fetched waits again */

/* --- queue.c --- */
struct vb_queue *vb_queue_get(struct vb_client *c, u32 handle);
void vb_queue_put(struct vb_queue *q);
void vb_queue_cancel(struct vb_queue *q);
/* Its first submission may have become ready, or ended unrun: look, and at what follows. */
void vb_queue_advance_locked(struct vb_queue *q, struct list_head *ended);
struct vb_submission *vb_queue_next_locked(void);
void vb_queue_add_locked(struct vb_submission *s);
void vb_queue_start_locked(struct vb_submission *s);
int vb_queue_reserve(struct vb_queue *q);
/* A submission ended; it is put on @ended and freed by the caller without the lock. */
void vb_complete_locked(struct vb_submission *s, int status, u32 bad_command, u64 busy_ns,
			struct list_head *ended);
void vb_queue_expire(struct work_struct *work);	/* of vb_device.expire */
void vb_queues_fail(void);
void vb_queues_return(void);	/* what a dead executor had fetched waits again, or fails */
void vb_queues_settle(void);	/* of that, what cannot be run again fails */
int vb_queue_create(struct vb_client *c, struct vb_ucmd *u);
int vb_queue_destroy(struct vb_client *c, struct vb_ucmd *u);

/* --- fence.c --- */
bool vb_fence_is_over_locked(const struct vb_queue *q, u64 seqno);
int vb_fence_result_locked(const struct vb_queue *q, u64 seqno, struct vb_result *out);
void vb_fence_store_locked(struct vb_queue *q, u64 seqno, const struct vb_result *r);
void vb_fences_signal_locked(struct vb_queue *q);
/* Somebody was told how this fence ended, and with it of the earlier ones. */
void vb_fence_told_locked(struct vb_queue *q, u64 seqno);
extern unsigned int vb_wait_spin_us;	/* module parameter */
/* Look for @condition, awake, while nobody else wants the processor: is it true? */
#define vb_spin_until(condition, ns) ({						\
	u64 end_ = ktime_get_ns() + (ns);					\
	bool met_;								\
	while (!(met_ = (condition)) && !need_resched() && single_task_running() &&\
	       !signal_pending(current) && ktime_get_ns() < end_)		\
		cpu_relax();							\
	met_; })
__poll_t vb_client_poll(struct file *filp, struct poll_table_struct *table);
int vb_wait(struct vb_client *c, struct vb_ucmd *u);
int vb_fence_eventfd(struct vb_client *c, struct vb_ucmd *u);

/* --- submit.c --- */
int vb_submit(struct vb_client *c, struct vb_ucmd *u);
void vb_submissions_free(struct list_head *ended);	/* may sleep */
void vb_submissions_free_later(struct list_head *ended);	/* takes spinlocks only */
void vb_submissions_free_now(struct work_struct *work);	/* of vb_device.free */
void *vb_submit_alloc(struct vb_user *user, size_t bytes);
void vb_submit_free(struct vb_user *user, void *p, size_t bytes);

/* --- recover.c --- */
extern unsigned int vb_recovery_ms;		/* module parameter; 0: fail at once */
void vb_exec_left(void);			/* exec_lock, as the next */
void vb_recovery_check(void);			/* a client has left */
void vb_recovery_end(struct work_struct *work);	/* of vb_device.recovery */
void vb_recovery_exit(void);			/* nobody has a node open */
void vb_objects_each(void (*what)(struct vb_bo *bo));
int vb_object_next(struct vb_exec *x, struct vb_ucmd *u);
int vb_recover(struct vb_exec *x, struct vb_ucmd *u);

/* --- exec.c --- */
void vb_exec_set_state(u32 state);
extern unsigned int vb_exec_timeout_ms;		/* module parameter; 0: no timeout */
void vb_exec_watch(struct work_struct *work);	/* of vb_device.watch */
/* It makes a call, or returns from one: that is its heartbeat. */
static inline void vb_exec_beat(struct vb_exec *x)
{
	WRITE_ONCE(x->last_call_ns, ktime_get_coarse_ns());
}

int vb_exec_open(struct inode *inode, struct file *filp);
int vb_exec_release(struct inode *inode, struct file *filp);
int vb_exec_attach(struct vb_exec *x, struct vb_ucmd *u);
/* There is work (@urgent: a request): wake who sleeps, and one command that waits for it. */
void vb_fetch_wake_locked(bool urgent);
/* Into slots of the executor; how many were filled, 0 when there is nothing to do. */
u32 vb_fetch_locked(struct vb_exec *x, u32 first, u32 count, u32 flags);
__poll_t vb_exec_poll(struct file *filp, struct poll_table_struct *table);
int vb_exec_fetch(struct vb_exec *x, struct vb_ucmd *u);
/* One commit; -EAGAIN: it takes somebody who @may_sleep. */
int vb_commit(const struct vb_ioc_commit *cmd, bool may_sleep);
int vb_exec_commit(struct vb_exec *x, struct vb_ucmd *u);
int vb_exec_exchange(struct vb_exec *x, struct vb_ucmd *u);
int vb_exec_poll_cancel(struct vb_exec *x, struct vb_ucmd *u);
int vb_exec_object_open(struct vb_exec *x, struct vb_ucmd *u);
int vb_exec_stats(struct vb_exec *x, struct vb_ucmd *u);

/* --- uring.c --- */
int vb_uring_client(struct io_uring_cmd *cmd, unsigned int issue_flags);
int vb_uring_exec(struct io_uring_cmd *cmd, unsigned int issue_flags);
/* There is work: one of the commands that wait for it, if any, will take it. */
void vb_uring_wake_locked(bool urgent);
/* The fence of @d has ended; @d is freed. */
void vb_uring_signal_locked(struct vb_dependent *d, int status);
void vb_uring_watch(struct work_struct *work);	/* of vb_device.uring_watch */
int vb_uring_flush(struct file *filp, fl_owner_t id);

/* --- fdinfo.c --- */
void vb_client_fdinfo(struct seq_file *m, struct file *filp);
void vb_exec_fdinfo(struct seq_file *m, struct file *filp);

/* --- sysfs.c --- */
extern const struct attribute_group *vb_sysfs_groups[];
const char *vb_exec_state_name(u32 state);
int vb_sysfs_init(struct device *dev);
void vb_sysfs_exit(void);

/* --- debugfs.c --- */
void vb_debugfs_init(void);
void vb_debugfs_exit(void);

#endif
