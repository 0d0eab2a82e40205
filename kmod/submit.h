/* SPDX-License-Identifier: GPL-2.0 */
/* Submissions: command buffers on their way. */
#ifndef VB_SUBMIT_H
#define VB_SUBMIT_H

#include <linux/list.h>
#include <linux/workqueue.h>

#include "request.h"

struct vb_bo;
struct vb_client;
struct vb_dependent;
struct vb_exec_bo;
struct vb_queue;
struct vb_ucmd;
struct vb_user;

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
 * @deaths: executors that died with it, maybe by its doing; work_lock, as @was_run
 * @was_run: an executor has begun with it, and left
 * @bo_count: entries of @bos and @refs
 * @fence_count: entries of @fences
 * @stream_bytes: length of @stream
 * @fences: its in-fences
 * @bos: objects, counted as users
 * @refs: what the executor is told of them, in the submit region
 * @stream: in the submit region
 * @region_bytes: length of both there, from @stream
 * @kernel_bytes: charged to @user, see vb_user_charge()
 */
struct vb_submission {
	struct vb_work work;
	struct vb_queue *queue;
	struct vb_user *user;
	u64 seqno, deadline_ns, fetched_ns;
	u32 unmet;
	s32 in_status;
	u32 deaths;
	bool was_run;
	u32 bo_count, fence_count, stream_bytes;
	struct vb_dependent *fences;
	struct vb_bo **bos;
	struct vb_exec_bo *refs;
	void *stream;
	size_t region_bytes, kernel_bytes;
};

int vb_submit(struct vb_client *c, struct vb_ucmd *u);
void vb_submissions_free(struct list_head *ended);	/* may sleep */
void vb_submissions_free_later(struct list_head *ended);	/* takes spinlocks only */
void vb_submissions_free_now(struct work_struct *work);	/* of vb_device.free */
void *vb_submit_alloc(struct vb_user *user, size_t bytes);
void vb_submit_free(struct vb_user *user, void *p, size_t bytes);

#endif
