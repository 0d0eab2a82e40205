/* SPDX-License-Identifier: GPL-2.0 */
/* Queues, and who runs next. */
#ifndef VB_QUEUE_H
#define VB_QUEUE_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/rbtree.h>
#include <linux/timerqueue.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "core/share.h"

struct vb_client;
struct vb_result;
struct vb_submission;
struct vb_ucmd;

/**
 * struct vb_queue - submissions of a client, in order; work_lock unless fixed
 * @kref: handle, submissions, calls in progress, @link
 * @client: counted; fixed
 * @number: device-wide; fixed
 * @share: of its client's executor time; has work while its first submission may run
 * @link: in vb_device.queues while it has work, counted; else empty
 * @expiry: in vb_device.expiries while its first pending submission has a deadline
 * @advance_link: in vb_device.advance while it has work and somebody must look at it, else
 *	empty
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
 * @oldest: first seqno that may be in the ring: it was smaller once
 * @forgotten: last failed seqno that left the ring, or 0
 * @dependents: of its fences, by seqno
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
	u64 oldest, forgotten;
	struct rb_root_cached dependents;
	wait_queue_head_t wait;
};

struct vb_queue *vb_queue_get(struct vb_client *c, u32 handle);
void vb_queue_put(struct vb_queue *q);
void vb_queue_cancel(struct vb_queue *q);
void vb_queue_mark_locked(struct vb_queue *q);
void vb_queue_advance_locked(struct vb_queue *q, struct list_head *ended);
void vb_queues_advance_more(struct work_struct *work);	/* of vb_device.advance_more */
bool vb_queues_have_next(void);
struct vb_submission *vb_queue_next_locked(void);
void vb_queue_add_locked(struct vb_submission *s);
void vb_queue_start_locked(struct vb_submission *s);
int vb_queue_reserve(struct vb_queue *q);
void vb_complete_locked(struct vb_submission *s, int status, u32 bad_command, u64 busy_ns,
			struct list_head *ended);
void vb_queue_expire(struct work_struct *work);	/* of vb_device.expire */
void vb_queues_fail(void);
void vb_queues_return(bool blamed);
void vb_queues_settle(void);	/* of that, what cannot be run again fails */
int vb_queue_create(struct vb_client *c, struct vb_ucmd *u);
int vb_queue_destroy(struct vb_client *c, struct vb_ucmd *u);

#endif
