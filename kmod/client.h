/* SPDX-License-Identifier: GPL-2.0 */
/* Clients: what each has, and what it is told. */
#ifndef VB_CLIENT_H
#define VB_CLIENT_H

#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include "core/line.h"
#include "core/quota.h"
#include "core/share.h"
#include "usage.h"

struct file;
struct inode;
struct vb_request;
struct vb_ucmd;
struct vb_user;

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
 * @line: its turn among those that ask for something else; work_lock
 * @quota: limits, and what counts against them: submissions under work_lock, all
 *	else under slot_lock
 * @usage: slot_lock
 * @hints: prefetches queued or running; work_lock
 * @counters: by enum vb_counter; work_lock
 * @schedule: queued and not fetched yet, or NULL; work_lock
 * @scheduled: the executor has heard a schedule of it; work_lock
 * @untold: its queues with an end that nobody was told of; work_lock
 * @waits: what waits for a fence of its without a thread; work_lock
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
	struct vb_line_client line;
	struct vb_quota quota;
	struct vb_usage usage;
	u32 hints;
	u64 counters[VB_COUNT_COUNT];
	struct vb_request *schedule;
	bool scheduled;
	u32 untold, waits;
	wait_queue_head_t wait;
};

int vb_client_open(struct inode *inode, struct file *filp);
int vb_client_release(struct inode *inode, struct file *filp);
struct vb_client *vb_client_find(u32 number);
void vb_client_put(struct vb_client *c);
void vb_count_locked(struct vb_client *c, enum vb_counter counter, u64 n);	/* work_lock */
int vb_query_device(struct vb_client *c, struct vb_ucmd *u);
int vb_stats(struct vb_client *c, struct vb_ucmd *u);
int vb_schedule(struct vb_client *c, struct vb_ucmd *u);

#endif
