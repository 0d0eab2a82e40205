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
 *	proxy.c		what the executor reads instead of those that may be silent
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
 *	move.c		moves of chunks between tiers
 *	slot.c		slots: their memory, who has them
 *	quarantine.c	and those that nobody has, and somebody still refers to
 *	region.c	regions: slots that came together
 *	arena.c		arenas: slots of one tier in one place
 *	adopt.c		arenas that outlive their executor
 *	drain.c		host memory that goes when the kernel is short of it
 *	device.c	the memory of device arenas, and the CPU's way to it
 *	bar.c		a PCI device whose memory stands in for a GPU's
 *	fill.c		chunks that the device reads without the executor
 *	crc.c		their checksums
 *	request.c	page-ins and the like: queued for the executor, waited for
 *	queue.c		queues, who runs next
 *	fence.c		timelines: results, waiting, eventfds, in-fences
 *	submit.c	submissions
 *	fdinfo.c, sysfs.c, debugfs.c, trace.h	what others may see of it
 *	exec.c		the executor node
 *	uring.c		commands that come by io_uring, to both nodes
 *	recover.c	executors that die, and their successors
 *
 * What others may use of a file is in the header of its name, but for those of one noun:
 * bo.h (object.c, bo.c, advise.c), import.h (dmabuf.c, import.c), arena.h (arena.c,
 * drain.c), device.h (device.c, bar.c), show.h (fdinfo.c, sysfs.c, debugfs.c).  What
 * all of them have in common is the device, below.
 *
 * Lock order, outermost first (mmap_lock lies outside of all, and so does io_uring's
 * uring_lock, under which we take the spinlocks only; dma_resv lies outside of
 * vb_bo.lock, so that under it and below no dma_buf_*() is called):
 *
 *	vb_device.exec_lock -> vb_client.lock -> vb_bo.lock -> folio lock
 *		-> vb_device.slot_lock, vb_device.work_lock -> vb_device.submit_lock
 *
 * The shrinker runs under whatever lock somebody allocates, and takes slot_lock only:
 * nothing is allocated under that.
 *
 * exec_lock, vb_client.lock and vb_bo.lock are mutexes; under vb_bo.lock there is no
 * copy to or from user memory and no wait for user space.  slot_lock and work_lock
 * are spinlocks that never nest in each other, and submit_lock is one for two lines of
 * submit.c; nothing that may drop the last reference of an object is called under them.
 * Lockdep is told when the module begins (main.c), before anybody takes two of them.
 */
#ifndef VB_H
#define VB_H

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/timerqueue.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "core/line.h"
#include "core/quota.h"
#include "core/share.h"
#include "usage.h"

#define VB_ID_MAX		((1u << 30) - 1)

struct gen_pool;
struct inode;
struct vb_arena;
struct vb_exec;

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
 * @user_kernel_bytes: kernel memory that each user may have us take
 * @growing: calls that make a region: none is asked to go meanwhile
 * @draining: the executor was asked to empty a region, and has not answered
 * @quarantine: slots that nobody holds and others still refer to: DMA into memory
 *	that was a client's must not land in the next one's; slot_lock, as the next
 * @quarantined: how many
 * @bos: struct vb_bo by id
 * @next_bo: next id; lock of @bos
 * @gone: objects that wait to be forgotten
 * @kept: requests nobody waits for any more, whose anonymous object the executor still keeps
 * @freed: woken as they go
 * @work_lock: requests, queues, fences, tags
 * @requests: struct vb_request, client by client in turn
 * @requests_in_row: requests handed out while a submission was ready
 * @tags: struct vb_work by tag; locks itself
 * @next_tag: next one; lock of @tags
 * @queues: those with work
 * @shares: clients with a queue whose first submission may run
 * @advance: those somebody must look at
 * @advancing: somebody works on @advance, or will before work_lock is let go
 * @advance_more: works on what is left of it
 * @next_queue: number of the last one; work_lock
 * @counters: by enum vb_counter; work_lock
 * @expire: ends what waits beyond its deadline, whoever sleeps
 * @expiries: queues by the deadline of their first submission; work_lock
 * @clock: advanced by every submission
 * @fetched: submissions and requests in the executor's hands; work_lock, as the next two
 * @running: of these, submissions
 * @suspects: submissions with a death: while there are any, one is handed out at a time
 * @watch: looks whether it still asks
 * @recovery: ends the wait for a successor
 * @recover_by_ns: when; exec_lock
 * @forced: host memory was adopted that the dead may still write to; exec_lock
 * @lingering: executors that are none any more and have their file; exec_lock
 * @settled: woken when the device is not RECOVERING any more
 * @fetch: the executor waits here for work
 * @polls: it looks for work, awake, before it does
 * @kick: it is to be woken when work_lock is let go
 * @fetches: commands of io_uring that wait for work; work_lock, as the next two
 * @waits: commands of io_uring that wait for a fence
 * @ended: submissions to be freed by @free, where one may sleep
 * @free: frees them
 * @uring_watch: looks for commands whose task leaves
 * @submit_lock: for @submit
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
	u64 user_kernel_bytes;
	atomic_t growing;
	bool draining;
	struct list_head quarantine;
	u32 quarantined;

	struct xarray bos;
	u32 next_bo;
	atomic_t gone, kept;
	wait_queue_head_t freed;

	spinlock_t work_lock;
	struct vb_line requests;
	u32 requests_in_row;
	struct xarray tags;
	u32 next_tag;
	struct list_head queues, advance;
	struct vb_share_level shares;
	bool advancing;
	struct work_struct advance_more;
	u32 next_queue;
	struct delayed_work expire;
	struct timerqueue_head expiries;
	u64 clock;
	u64 counters[VB_COUNT_COUNT];
	u32 fetched, running, suspects;
	struct delayed_work watch, recovery;
	u64 recover_by_ns;
	bool forced;
	u32 lingering;
	wait_queue_head_t settled, fetch;
	bool polls, kick;
	struct list_head fetches, waits;
	struct list_head ended;
	struct work_struct free;
	struct delayed_work uring_watch;

	spinlock_t submit_lock;
	struct gen_pool *submit;
	void *submit_base;
};

extern struct vb_device vb;

/* Each in one place: lockdep has one name for the locks of all clients, and of all objects. */
void vb_client_lock_init(struct mutex *client_lock);
void vb_bo_lock_init(struct mutex *bo_lock);

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

struct inode *vb_inode_new(void);
void vb_inode_free(struct inode *inode);
struct file *vb_pseudo_file(const struct file_operations *fops, u64 bytes);
void vb_pseudo_gone(void);

#endif
