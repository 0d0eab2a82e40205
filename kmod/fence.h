/* SPDX-License-Identifier: GPL-2.0 */
/* Timelines: results, waiting, eventfds, in-fences. */
#ifndef VB_FENCE_H
#define VB_FENCE_H

#include <linux/poll.h>
#include <linux/rbtree.h>

#include "core/deps.h"

struct eventfd_ctx;
struct file;
struct io_uring_cmd;
struct vb_client;
struct vb_queue;
struct vb_submission;
struct vb_ucmd;

/* How a submission ended. */
struct vb_result {
	s32 status;
	u32 bad_command;
	u64 busy_ns;
};

/**
 * struct vb_dependent - who waits for a fence without a thread
 * @node: in vb_queue.dependents, by @seqno; work_lock, as all of it
 * @queue: whose fence; NULL once it has signalled
 * @seqno: of the fence
 * @submission: which has this in-fence, and owns this structure; or NULL
 * @eventfd: when there is no @submission; or NULL
 * @cmd: command of io_uring that ends with the fence, when there is neither
 */
struct vb_dependent {
	struct rb_node node;
	struct vb_queue *queue;
	u64 seqno;
	struct vb_submission *submission;
	struct eventfd_ctx *eventfd;
	struct io_uring_cmd *cmd;
};

int vb_wait_charge_locked(struct vb_client *c);
void vb_wait_uncharge_locked(struct vb_client *c);
void vb_dependent_add_locked(struct vb_queue *q, struct vb_dependent *d);
void vb_dependent_remove_locked(struct vb_dependent *d);
bool vb_fence_is_over_locked(const struct vb_queue *q, u64 seqno);
int vb_fence_result_locked(const struct vb_queue *q, u64 seqno, struct vb_result *out);
void vb_fence_store_locked(struct vb_queue *q, u64 seqno, const struct vb_result *r);
void vb_fences_signal_locked(struct vb_queue *q);	/* vb_fences_wake() is to follow */
void vb_fences_wake(struct vb_queue *q);
void vb_fence_told_locked(struct vb_queue *q, u64 seqno);
extern unsigned int vb_wait_spin_us;	/* module parameter */
__poll_t vb_client_poll(struct file *filp, struct poll_table_struct *table);
int vb_wait(struct vb_client *c, struct vb_ucmd *u);
int vb_fence_eventfd(struct vb_client *c, struct vb_ucmd *u);

#endif
