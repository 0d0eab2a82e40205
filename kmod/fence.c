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
#include "user.h"
#include "vb.h"
#include "wait.h"

static struct vb_result *result_at(const struct vb_queue *q, u64 seqno)
{
	return &q->results[seqno & (q->result_size - 1)];
}

/**
 * vb_fence_store_locked() - how a submission ended, for those who ask
 * @q: queue
 * @seqno: of it
 * @r: its end
 *
 * It takes the place of an earlier one, of which only a failure is remembered.
 *
 * Context: work_lock; in the order of @seqno.
 */
void vb_fence_store_locked(struct vb_queue *q, u64 seqno, const struct vb_result *r)
{
	lockdep_assert_held(&vb.work_lock);
	if (seqno > q->result_size && result_at(q, seqno)->status)
		q->forgotten = seqno - q->result_size;
	*result_at(q, seqno) = *r;
}

/**
 * vb_fence_is_over_locked() - has a fence signalled, or will it never
 * @q: queue
 * @seqno: of the fence, which was submitted
 *
 * Context: work_lock.
 * Return: true: there is a result, -ECANCELED where the queue was destroyed before.
 */
bool vb_fence_is_over_locked(const struct vb_queue *q, u64 seqno)
{
	return seqno <= q->completed || (q->destroyed && seqno >= q->canceled_from);
}

/**
 * vb_fence_result_locked() - how a fence ended
 * @q: queue
 * @seqno: of a fence that is over
 * @out: filled; of an old one that succeeded the time is 0
 *
 * Context: work_lock.
 * Return: 0; -ESTALE it left the ring, and so did a failure since: nobody knows.
 */
int vb_fence_result_locked(const struct vb_queue *q, u64 seqno, struct vb_result *out)
{
	lockdep_assert_held(&vb.work_lock);
	*out = (struct vb_result){ .bad_command = ~0u };
	if (seqno > q->completed)
		out->status = -ECANCELED;
	else if (seqno >= q->oldest && seqno + q->result_size > q->completed)
		*out = *result_at(q, seqno);
	else if (seqno <= q->forgotten)
		return -ESTALE;
	return 0;
}

/* ---- who waits ---- */

static struct vb_dependent *dependent_of(struct rb_node *node)
{
	return rb_entry_safe(node, struct vb_dependent, node);
}

static bool is_before(struct rb_node *a, const struct rb_node *b)
{
	return dependent_of(a)->seqno < rb_entry(b, struct vb_dependent, node)->seqno;
}

/**
 * vb_wait_charge_locked() - a client is to wait for a fence, by no submission
 * @c: client
 *
 * Context: work_lock.
 * Return: 0, for vb_dependent_add_locked() or vb_wait_uncharge_locked(); -EDQUOT too many
 * wait already, or the user has too much kernel memory.
 */
int vb_wait_charge_locked(struct vb_client *c)
{
	lockdep_assert_held(&vb.work_lock);
	if (c->waits >= VB_WAITS_MAX || vb_user_charge(c->user, sizeof(struct vb_dependent)))
		return -EDQUOT;
	c->waits++;
	return 0;
}

/**
 * vb_wait_uncharge_locked() - undo vb_wait_charge_locked()
 * @c: client
 *
 * Context: work_lock.
 */
void vb_wait_uncharge_locked(struct vb_client *c)
{
	lockdep_assert_held(&vb.work_lock);
	c->waits--;
	vb_user_uncharge(c->user, sizeof(struct vb_dependent));
}

/**
 * vb_dependent_add_locked() - wait for a fence that is not over
 * @q: whose fence; it is held until then by the submission that has the fence
 * @d: its seqno is set, and who waits: a submission, which has a limit of its own, or
 *	somebody whose wait was charged
 *
 * In the order of the fences: one that ends costs time by those who wait for it, and a
 * client must not keep the lock by having many wait for the last one.
 *
 * Context: work_lock.
 */
void vb_dependent_add_locked(struct vb_queue *q, struct vb_dependent *d)
{
	lockdep_assert_held(&vb.work_lock);
	d->queue = q;
	rb_add_cached(&d->node, &q->dependents, is_before);
}

/**
 * vb_dependent_remove_locked() - nobody waits for that fence any more
 * @d: as added; the caller's to free
 *
 * Context: work_lock.
 */
void vb_dependent_remove_locked(struct vb_dependent *d)
{
	lockdep_assert_held(&vb.work_lock);
	rb_erase_cached(&d->node, &d->queue->dependents);
	if (!d->submission)
		vb_wait_uncharge_locked(d->queue->client);
	d->queue = NULL;
}

/* The first that waits for this fence or a later one. */
static struct vb_dependent *dependent_from(const struct vb_queue *q, u64 seqno)
{
	struct rb_node *at = q->dependents.rb_root.rb_node;
	struct vb_dependent *d, *found = NULL;

	while (at) {
		d = dependent_of(at);
		if (d->seqno >= seqno)
			found = d;
		at = d->seqno >= seqno ? at->rb_left : at->rb_right;
	}
	return found;
}

/* The next one whose fence is over. */
static struct vb_dependent *dependent_next(const struct vb_queue *q)
{
	struct vb_dependent *d = dependent_of(rb_first_cached(&q->dependents));

	if (d && d->seqno <= q->completed)
		return d;
	return q->destroyed ? dependent_from(q, q->canceled_from) : NULL;
}

static void eventfd_add_one(struct eventfd_ctx *eventfd)
{
#ifdef VB_HAS_EVENTFD_SIGNAL_ONE
	eventfd_signal(eventfd);
#else
	eventfd_signal(eventfd, 1);
#endif
}

static void eventfd_end(struct vb_dependent *d)
{
	eventfd_add_one(d->eventfd);
	eventfd_ctx_put(d->eventfd);
	kfree(d);
}

static void dependent_signal_locked(struct vb_dependent *d, int status)
{
	struct vb_submission *s = d->submission;

	vb_dependent_remove_locked(d);
	if (d->cmd) {
		vb_uring_signal_locked(d, status);
		return;
	}
	if (!s) {
		eventfd_end(d);
		return;
	}
	if (status && !s->in_status)
		s->in_status = status;
	if (!--s->unmet)
		vb_queue_mark_locked(s->queue);
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

/**
 * vb_fence_told_locked() - somebody was told how a fence ended
 * @q: queue
 * @seqno: of the fence; earlier ones count as told with it
 *
 * What nobody was told of is what poll() of the client's node waits for.
 *
 * Context: work_lock.
 */
void vb_fence_told_locked(struct vb_queue *q, u64 seqno)
{
	q->told = max(q->told, seqno);
	count_untold_locked(q);
}

/**
 * vb_client_poll() - poll() of a client's node
 * @filp: file
 * @table: of the caller
 *
 * Context: takes work_lock.
 * Return: EPOLLIN: a fence of a queue of it has ended, and nobody was told.
 */
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

/**
 * vb_fences_signal_locked() - fences of a queue are over: tell those who wait without a thread
 * @q: queue, whose @completed or @destroyed has changed
 *
 * Queues that waited for one are only marked, in vb_device.advance: whoever calls advances
 * them, outside this walk. For those who sleep vb_fences_wake() is to follow.
 *
 * Context: work_lock.
 */
void vb_fences_signal_locked(struct vb_queue *q)
{
	struct vb_dependent *d;
	struct vb_result r;

	lockdep_assert_held(&vb.work_lock);
	while ((d = dependent_next(q))) {
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

/**
 * struct waiter - a thread that sleeps until a fence is over
 * @entry: in vb_queue.wait
 * @queue: whose fence
 * @seqno: of the fence
 */
struct waiter {
	struct wait_queue_entry entry;
	const struct vb_queue *queue;
	u64 seqno;
};

/*
 * Who waits for a later fence sleeps on: woken to look, many of them would keep from the lock
 * whoever commits the next one.  It was changed before we are called, under that lock.
 */
static int waiter_wake(struct wait_queue_entry *entry, unsigned int mode, int flags, void *key)
{
	const struct waiter *w = container_of(entry, struct waiter, entry);

	if (READ_ONCE(w->queue->completed) < w->seqno && !READ_ONCE(w->queue->destroyed))
		return 0;
	return default_wake_function(entry, mode, flags, key);
}

/* Return: 0; -ETIME, -EINTR. */
static int sleep_until_over(struct vb_queue *q, u64 seqno, u64 deadline_ns)
{
	ktime_t end = min_t(u64, deadline_ns, KTIME_MAX);
	struct waiter w = { .queue = q, .seqno = seqno };
	int rc = 0;

	init_waitqueue_func_entry(&w.entry, waiter_wake);
	w.entry.private = current;
	add_wait_queue(&q->wait, &w.entry);
	while (!rc) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (is_over(q, seqno))
			break;
		if (signal_pending(current))
			rc = -EINTR;
		else if (!schedule_hrtimeout(end == KTIME_MAX ? NULL : &end, HRTIMER_MODE_ABS))
			rc = -ETIME;
	}
	__set_current_state(TASK_RUNNING);
	remove_wait_queue(&q->wait, &w.entry);
	return rc;
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

/**
 * vb_wait() - VB_IOC_WAIT: sleep until a fence has ended
 * @c: who asks
 * @u: struct vb_ioc_wait
 *
 * For vb_wait_spin_us it looks, awake: an executor that is awake answers sooner than the
 * caller could fall asleep and wake up.
 *
 * Context: takes work_lock, not while waiting; interruptible.
 * Return: 0, and how it ended is in @u; -ENOENT; -EINVAL never submitted; -ETIME; -EINTR; -ESTALE
 * too long ago to know.
 */
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
		rc = sleep_until_over(q, cmd->seqno, cmd->timeout_ns);
	if (!rc || rc == -ETIME)
		rc = wait_result(q, cmd);
	vb_queue_put(q);
	return rc;
}

/* ---- VB_IOC_FENCE_EVENTFD ---- */

static int eventfd_arm_locked(struct vb_queue *q, u64 seqno, struct vb_dependent *d)
{
	int rc;

	d->seqno = seqno;
	if (!seqno || seqno > q->submitted)
		return -EINVAL;
	if (vb_fence_is_over_locked(q, seqno)) {
		eventfd_end(d);
		return 0;
	}
	rc = vb_wait_charge_locked(q->client);
	if (!rc)
		vb_dependent_add_locked(q, d);
	return rc;
}

static int eventfd_arm(struct vb_queue *q, u64 seqno, struct vb_dependent *d)
{
	int rc;

	spin_lock(&vb.work_lock);
	rc = eventfd_arm_locked(q, seqno, d);
	spin_unlock(&vb.work_lock);
	return rc;
}

/**
 * vb_fence_eventfd() - VB_IOC_FENCE_EVENTFD: an eventfd is signalled when a fence ends
 * @c: who asks
 * @u: struct vb_ioc_fence_eventfd
 *
 * One that has ended already signals at once. The eventfd is kept until then, whatever
 * becomes of the descriptor.
 *
 * Context: takes work_lock; may sleep.
 * Return: 0; -ENOENT no such queue; -EINVAL never submitted, or no eventfd; -EBADF; -EDQUOT too
 * many wait (vb_dependent_add_locked()); -ENOMEM.
 */
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
