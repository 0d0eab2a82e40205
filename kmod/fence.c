// SPDX-License-Identifier: GPL-2.0
/*
 * Timelines.  Fences of a queue signal in the order of their numbers; results are
 * kept in a ring, and of those that left it only failures are remembered, as a
 * bound.
 */
#include "fence.h"

#include <linux/eventfd.h>
#include <linux/hrtimer.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "client.h"
#include "conftest.h"
#include "queue.h"
#include "submit.h"
#include "ucmd.h"
#include "uring.h"
#include "vb.h"
#include "wait.h"

static struct vb_result *result_at(const struct vb_queue *q, u64 seqno)
{
	return &q->results[seqno & (q->result_size - 1)];
}

void vb_fence_store_locked(struct vb_queue *q, u64 seqno, const struct vb_result *r)
{
	lockdep_assert_held(&vb.work_lock);
	if (seqno > q->result_size && result_at(q, seqno)->status)
		q->forgotten = seqno - q->result_size;
	*result_at(q, seqno) = *r;
}

bool vb_fence_is_over_locked(const struct vb_queue *q, u64 seqno)
{
	return seqno <= q->completed || (q->destroyed && seqno >= q->canceled_from);
}

/* Return: 0; -ESTALE too long ago to know. */
int vb_fence_result_locked(const struct vb_queue *q, u64 seqno, struct vb_result *out)
{
	lockdep_assert_held(&vb.work_lock);
	*out = (struct vb_result){ .bad_command = ~0u };
	if (seqno > q->completed)
		out->status = -ECANCELED;
	else if (seqno + q->result_size > q->completed)
		*out = *result_at(q, seqno);
	else if (seqno <= q->forgotten)
		return -ESTALE;
	return 0;
}

static void eventfd_add_one(struct eventfd_ctx *eventfd)
{
#ifdef VB_HAS_EVENTFD_SIGNAL_ONE
	eventfd_signal(eventfd);
#else
	eventfd_signal(eventfd, 1);
#endif
}

static void dependent_signal_locked(struct vb_dependent *d, int status)
{
	struct vb_submission *s = d->submission;

	list_del(&d->link);
	d->queue = NULL;
	if (d->cmd) {
		vb_uring_signal_locked(d, status);
		return;
	}
	if (!s) {
		eventfd_add_one(d->eventfd);
		eventfd_ctx_put(d->eventfd);
		kfree(d);
		return;
	}
	if (status && !s->in_status)
		s->in_status = status;
	if (!--s->unmet && list_empty(&s->queue->advance_link)) {
		kref_get(&s->queue->kref);
		list_add_tail(&s->queue->advance_link, &vb.advance);
	}
}

/* ---- who was told: what poll() on the client node says ---- */

static void count_untold_locked(struct vb_queue *q)
{
	bool untold = !q->destroyed && q->completed > q->told;

	lockdep_assert_held(&vb.work_lock);
	if (untold == q->untold)
		return;
	q->untold = untold;
	if (untold)
		q->client->untold++;
	else
		q->client->untold--;
}

void vb_fence_told_locked(struct vb_queue *q, u64 seqno)
{
	q->told = max(q->told, seqno);
	count_untold_locked(q);
}

__poll_t vb_client_poll(struct file *filp, struct poll_table_struct *table)
{
	struct vb_client *c = filp->private_data;
	__poll_t mask;

	poll_wait(filp, &c->wait, table);
	spin_lock(&vb.work_lock);
	mask = c->untold ? EPOLLIN | EPOLLRDNORM : 0;
	spin_unlock(&vb.work_lock);
	return mask;
}

/* Only marks the queues that wait: whoever calls advances them, outside this walk. */
void vb_fences_signal_locked(struct vb_queue *q)
{
	struct vb_dependent *d, *next;
	struct vb_result r;

	lockdep_assert_held(&vb.work_lock);
	list_for_each_entry_safe(d, next, &q->dependents, link) {
		if (!vb_fence_is_over_locked(q, d->seqno))
			continue;
		vb_fence_result_locked(q, d->seqno, &r);
		if (d->cmd)
			vb_fence_told_locked(q, d->seqno);
		dependent_signal_locked(d, r.status);
	}
	count_untold_locked(q);
}

/**
 * vb_fences_wake() - fences of a queue have signalled: tell those who sleep
 * @q: counted
 *
 * Context: any; not under work_lock, which they want first.
 */
void vb_fences_wake(struct vb_queue *q)
{
	if (READ_ONCE(q->untold))
		wake_up_all(&q->client->wait);
	/* An executor that sleeps when it has told us leaves its processor to who waits. */
	if (READ_ONCE(vb.polls))
		wake_up_all(&q->wait);
	else
		wake_up_interruptible_sync(&q->wait);
}

/* ---- VB_IOC_WAIT ---- */

static bool is_over(struct vb_queue *q, u64 seqno)
{
	bool over;

	spin_lock(&vb.work_lock);
	over = vb_fence_is_over_locked(q, seqno);
	spin_unlock(&vb.work_lock);
	return over;
}

static int wait_result(struct vb_queue *q, struct vb_ioc_wait *cmd)
{
	struct vb_result r;
	int rc = -ETIME;

	spin_lock(&vb.work_lock);
	if (vb_fence_is_over_locked(q, cmd->seqno))
		rc = vb_fence_result_locked(q, cmd->seqno, &r);
	if (rc != -ETIME)
		vb_fence_told_locked(q, cmd->seqno);
	spin_unlock(&vb.work_lock);
	if (rc)
		return rc;
	cmd->out_status = r.status;
	cmd->out_bad_command = r.bad_command;
	cmd->out_busy_ns = r.busy_ns;
	return 0;
}

static bool was_submitted(const struct vb_queue *q, u64 seqno)
{
	return seqno && seqno <= READ_ONCE(q->submitted);
}

unsigned int vb_wait_spin_us = 50;

/* An executor that is awake answers sooner than the caller could fall asleep and wake up. */
static bool spin_for(const struct vb_queue *q, u64 seqno)
{
	u64 spin_ns = (u64)READ_ONCE(vb_wait_spin_us) * NSEC_PER_USEC;

	return vb_spin_until(READ_ONCE(q->completed) >= seqno, spin_ns);
}

int vb_wait(struct vb_client *c, struct vb_ucmd *u)
{
	struct vb_ioc_wait *cmd = u->cmd;
	struct vb_queue *q = vb_queue_get(c, cmd->queue_id);
	int rc = 0;

	if (!q)
		return -ENOENT;
	if (!was_submitted(q, cmd->seqno))
		rc = -EINVAL;
	else if (cmd->timeout_ns && !spin_for(q, cmd->seqno))
		rc = vb_wait_until(q->wait, is_over(q, cmd->seqno), cmd->timeout_ns);
	if (!rc || rc == -ETIME)
		rc = wait_result(q, cmd);
	vb_queue_put(q);
	return rc;
}

/* ---- VB_IOC_FENCE_EVENTFD ---- */

static int eventfd_arm(struct vb_queue *q, u64 seqno, struct vb_dependent *d)
{
	int rc = -EINVAL;

	spin_lock(&vb.work_lock);
	if (seqno && seqno <= q->submitted) {
		d->queue = q;
		d->seqno = seqno;
		list_add_tail(&d->link, &q->dependents);
		if (vb_fence_is_over_locked(q, seqno))
			dependent_signal_locked(d, 0);
		rc = 0;
	}
	spin_unlock(&vb.work_lock);
	return rc;
}

int vb_fence_eventfd(struct vb_client *c, struct vb_ucmd *u)
{
	struct vb_ioc_fence_eventfd *cmd = u->cmd;
	struct vb_dependent *d;
	struct vb_queue *q;
	int rc = -ENOENT;

	d = kzalloc(sizeof(*d), GFP_KERNEL_ACCOUNT);
	if (!d)
		return -ENOMEM;
	d->eventfd = eventfd_ctx_fdget(cmd->fd);
	if (IS_ERR(d->eventfd)) {
		rc = PTR_ERR(d->eventfd);
		kfree(d);
		return rc;
	}
	q = vb_queue_get(c, cmd->queue_id);
	if (q) {
		rc = eventfd_arm(q, cmd->seqno, d);
		vb_queue_put(q);
	}
	if (rc) {
		eventfd_ctx_put(d->eventfd);
		kfree(d);
	}
	return rc;
}
