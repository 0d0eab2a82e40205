/* SPDX-License-Identifier: GPL-2.0 */
/* What the executor is asked: page-ins and the like. */
#ifndef VB_REQUEST_H
#define VB_REQUEST_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/rcupdate.h>
#include <linux/wait.h>

#include "core/line.h"

struct vb_bo;
struct vb_client;
struct vb_range;

/**
 * struct vb_work - what a tag names
 * @link: where a submission waits to be fetched; work_lock
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
 * @place: in vb_device.requests until it is fetched; work_lock
 * @kref: the queue (until it ended) and the waiter
 * @type: enum vb_fetch_type
 * @flags: VB_FETCH_F_*
 * @node: PAGE_IN: NUMA node of who asks, or one near it; else NUMA_NO_NODE
 * @client: who asks; counted
 * @bo: counted as a user; FORGET: as memory
 * @arena: DRAIN
 * @first: first chunk, or slot
 * @count: chunks, ranges, or slots
 * @ranges: SCHEDULE: in the submit region; or NULL
 * @ranges_bytes: their length
 * @deadline_ns: 0 none
 * @killable: only a deadly signal ends the wait
 * @early: it is over for who waits when chunk @first is in host memory
 * @expired: the waiter has gone; work_lock
 * @keeps: it is one of vb_device.kept; work_lock, fixed once @expired, or before it is sent
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
	struct vb_line_place place;
	struct kref kref;
	u32 type, flags;
	int node;
	struct vb_client *client;
	struct vb_bo *bo;
	u32 arena, first, count;
	struct vb_range *ranges;
	size_t ranges_bytes;
	u64 deadline_ns;
	bool killable, early, expired, keeps, finishing;
	int (*finish)(struct vb_request *r);
	void *arg;
	int status;
	bool done;
	wait_queue_head_t wait;
};

extern unsigned int vb_page_in_timeout_ms;	/* module parameter */
u64 vb_bound(u64 deadline_ns);	/* 0 becomes the device's own bound, from now */
struct vb_request *vb_request_new(u32 type, struct vb_client *c, struct vb_bo *bo);
void vb_request_keep(struct vb_request *r);
void vb_request_put(struct vb_request *r);
int vb_request_send(struct vb_request *r);
int vb_request_wait(struct vb_request *r, u64 deadline_ns);
void vb_request_done(struct vb_request *r, int status);
void vb_request_arrived(const struct vb_bo *bo, u32 chunk);	/* for those who wait early */
void vb_requests_fail(void);
void vb_requests_return(void);	/* what a dead executor had fetched waits again */

#endif
