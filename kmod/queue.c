// SPDX-License-Identifier: GPL-2.0
/*
 * Queues: each in its own order; between clients, and between the queues of each, by
 * shares of executor time (core/share.h).
 *
 * A queue has one submission in the executor's hands at a time.  It is ready when
 * its first submission has no in-fence left to wait for; a submission whose in-fence
 * failed ends with that error and is never fetched.  An in-fence names a submission
 * that was made before, so that no cycle can come to be.
 *
 * What ends under the lock is put on a list and freed without it: the last reference
 * to an object may ask the executor to forget it.
 */
#include "queue.h"

#include <linux/ktime.h>
#include <linux/slab.h>

#include "core/quota.h"
#include "core/share.h"
#include "client.h"
#include "exec.h"
#include "fence.h"
#include "submit.h"
#include "trace.h"
#include "ucmd.h"
#include "user.h"
#include "vb.h"

#define RESULTS_MIN	32u
#define AT_ONCE		64u	/* queues, or what ends in one, under the lock */

/* ---- references ---- */

/* With so many results, and its handle. */
static size_t kernel_bytes(u32 results)
{
	return sizeof(struct vb_queue) + sizeof(struct xa_node) +
	       results * sizeof(struct vb_result);
}

static int queue_alloc(struct vb_user *user, struct vb_queue **out)
{
	struct vb_queue *q;
	int rc;

	rc = vb_user_charge(user, kernel_bytes(RESULTS_MIN));
	if (rc)
		return rc;
	q = kzalloc(sizeof(*q), GFP_KERNEL_ACCOUNT);
	if (q)
		q->results = kvcalloc(RESULTS_MIN, sizeof(*q->results), GFP_KERNEL_ACCOUNT);
	if (q && q->results) {
		*out = q;
		return 0;
	}
	kfree(q);
	vb_user_uncharge(user, kernel_bytes(RESULTS_MIN));
	return -ENOMEM;
}

static struct vb_queue *queue_new(struct vb_client *c, u32 weight)
{
	struct vb_queue *q;
	int rc;

	rc = queue_alloc(c->user, &q);
	if (rc)
		return ERR_PTR(rc);
	kref_init(&q->kref);
	kref_get(&c->kref);
	q->client = c;
	q->share.client = &c->share;
	q->share.member.weight = weight;
	q->result_size = RESULTS_MIN;
	INIT_LIST_HEAD(&q->link);
	timerqueue_init(&q->expiry);
	INIT_LIST_HEAD(&q->advance_link);
	INIT_LIST_HEAD(&q->pending);
	q->dependents = RB_ROOT_CACHED;
	init_waitqueue_head(&q->wait);
	return q;
}

static void queue_free(struct kref *kref)
{
	struct vb_queue *q = container_of(kref, struct vb_queue, kref);

	kvfree(q->results);
	vb_user_uncharge(q->client->user, kernel_bytes(q->result_size));
	vb_client_put(q->client);
	kfree(q);
}

/**
 * vb_queue_put() - do without a queue
 * @q: queue
 *
 * Context: may sleep when it is the last reference (vb_client_put()).
 */
void vb_queue_put(struct vb_queue *q)
{
	kref_put(&q->kref, queue_free);
}

/**
 * vb_queue_get() - the queue with this handle
 * @c: whose handle
 * @handle: as the client gave it
 *
 * Context: any that allows the lock of @c->queues, a spinlock.
 * Return: the queue, counted; NULL.
 */
struct vb_queue *vb_queue_get(struct vb_client *c, u32 handle)
{
	struct vb_queue *q;

	xa_lock(&c->queues);
	q = xa_load(&c->queues, handle);
	if (q)
		kref_get(&q->kref);
	xa_unlock(&c->queues);
	return q;
}

/* ---- room for results ---- */

static bool is_roomy_locked(const struct vb_queue *q)
{
	return q->result_size >= 2 * (q->pending_count + 1);
}

static void results_move_locked(struct vb_queue *q, struct vb_result *to, u32 size)
{
	u64 kept = min_t(u64, q->completed, q->result_size);
	u64 seqno;

	for (seqno = q->completed - kept + 1; seqno <= q->completed; seqno++)
		to[seqno & (size - 1)] = q->results[seqno & (q->result_size - 1)];
	q->results = to;
	q->result_size = size;
	/* There would be room for earlier ones now, but they have left. */
	q->oldest = max(q->oldest, q->completed - kept + 1);
}

/**
 * vb_queue_reserve() - room in the ring of results for one submission more
 * @q: queue
 *
 * Context: may sleep.
 * Return: 0; -EDQUOT; -ENOMEM.
 */
int vb_queue_reserve(struct vb_queue *q)
{
	struct vb_user *user = q->client->user;
	struct vb_result *bigger, *old = NULL;
	u32 size;
	int rc;

	spin_lock(&vb.work_lock);
	size = is_roomy_locked(q) ? 0 : q->result_size * 2;
	spin_unlock(&vb.work_lock);
	if (!size)
		return 0;
	rc = vb_user_charge(user, size * sizeof(*bigger));
	if (rc)
		return rc;
	bigger = kvcalloc(size, sizeof(*bigger), GFP_KERNEL_ACCOUNT);
	if (!bigger) {
		vb_user_uncharge(user, size * sizeof(*bigger));
		return -ENOMEM;
	}
	spin_lock(&vb.work_lock);
	/* Another thread may have been here. */
	if (q->result_size < size) {
		old = q->results;
		results_move_locked(q, bigger, size);
		bigger = NULL;
	}
	spin_unlock(&vb.work_lock);
	/* The old one, half as large; or the new one, for which nobody has use. */
	vb_user_uncharge(user, (old ? size / 2 : size) * sizeof(*bigger));
	kvfree(old);
	kvfree(bigger);
	return 0;
}

/* ---- who is ready ---- */

static struct vb_submission *first_pending_locked(struct vb_queue *q)
{
	return list_first_entry_or_null(&q->pending, struct vb_submission, work.link);
}

static void set_ready_locked(struct vb_queue *q, bool ready)
{
	lockdep_assert_held(&vb.work_lock);
	if (ready == q->share.member.ready)
		return;
	if (ready) {
		trace_vb_queue(q, first_pending_locked(q)->seqno);
		vb_share_add(&vb.shares, &q->share);
		vb_fetch_wake_locked(false);
	} else {
		vb_share_remove(&vb.shares, &q->share);
	}
}

/* Somebody must look when the first deadline of all passes. */
static void expire_later_locked(void)
{
	struct timerqueue_node *first = timerqueue_getnext(&vb.expiries);
	u64 now = ktime_get_ns();

	if (!first)
		return;
	/* A jiffy late rather than early: it would look and find nothing. */
	mod_delayed_work(system_wq, &vb.expire, (u64)first->expires > now ?
			 nsecs_to_jiffies((u64)first->expires - now) + 1 : 0);
}

static void expiry_disarm_locked(struct vb_queue *q)
{
	if (timerqueue_node_queued(&q->expiry))
		timerqueue_del(&vb.expiries, &q->expiry);
}

/* The first of a queue has a deadline. */
static void expiry_arm_locked(struct vb_queue *q, u64 deadline_ns)
{
	expiry_disarm_locked(q);
	q->expiry.expires = min_t(u64, deadline_ns, KTIME_MAX);
	if (timerqueue_add(&vb.expiries, &q->expiry))
		expire_later_locked();
}

static bool is_expired(const struct vb_submission *s)
{
	return s->deadline_ns && s->deadline_ns <= ktime_get_ns();
}

/* One submission ends at most: where one more may, the queue is marked again. */
static void advance_one_locked(struct vb_queue *q, struct list_head *ended)
{
	struct vb_submission *s = first_pending_locked(q);

	if (!s || q->running || q->destroyed)
		return;
	if (is_expired(s)) {
		vb_complete_locked(s, -ETIME, ~0u, 0, ended);
	} else if (!s->unmet && s->in_status) {
		vb_complete_locked(s, s->in_status, ~0u, 0, ended);
	} else {
		if (s->deadline_ns)
			expiry_arm_locked(q, s->deadline_ns);
		set_ready_locked(q, !s->unmet);
	}
}

/* Until advance_end_locked() queues are only marked: who ends many ends no more with each. */
static bool advance_begin_locked(void)
{
	bool first = !vb.advancing;

	lockdep_assert_held(&vb.work_lock);
	vb.advancing = true;
	return first;
}

/*
 * A list instead of recursion, and a few at a time: a chain of failing fences may be long.
 * What is left is a worker's.
 */
static void advance_end_locked(struct list_head *ended)
{
	struct vb_queue *q;
	u32 n;

	for (n = 0; n < AT_ONCE; n++) {
		q = list_first_entry_or_null(&vb.advance, struct vb_queue, advance_link);
		if (!q)
			break;
		list_del_init(&q->advance_link);
		advance_one_locked(q, ended);
	}
	vb.advancing = false;
	if (!list_empty(&vb.advance))
		schedule_work(&vb.advance_more);
}

/**
 * vb_queue_mark_locked() - somebody must look at a queue
 * @q: queue; it is marked while it has submissions, which hold it
 *
 * Context: work_lock; vb_queue_advance_locked() of any queue is to follow.
 */
void vb_queue_mark_locked(struct vb_queue *q)
{
	lockdep_assert_held(&vb.work_lock);
	if (!list_empty(&q->pending) && list_empty(&q->advance_link))
		list_add_tail(&q->advance_link, &vb.advance);
}

/**
 * vb_queue_advance_locked() - its first submission may have become ready, or ended unrun
 * @q: queue, the first of those that are marked
 * @ended: gets what ended, here and in queues that waited for it; for vb_submissions_free()
 *
 * Context: work_lock; called from within itself it only marks the queue, for the outer one.
 */
void vb_queue_advance_locked(struct vb_queue *q, struct list_head *ended)
{
	bool first = advance_begin_locked();

	vb_queue_mark_locked(q);
	if (!first)
		return;
	/* However many others are marked. */
	if (!list_empty(&q->advance_link))
		list_move(&q->advance_link, &vb.advance);
	advance_end_locked(ended);
}

/**
 * vb_queues_advance_more() - look at more of the queues that are marked
 * @work: vb_device.advance_more; set again while any are left
 *
 * Context: a worker; takes work_lock; may sleep.
 */
void vb_queues_advance_more(struct work_struct *work)
{
	LIST_HEAD(ended);

	spin_lock(&vb.work_lock);
	advance_begin_locked();
	advance_end_locked(&ended);
	spin_unlock(&vb.work_lock);
	vb_submissions_free(&ended);
}

/**
 * vb_queues_have_next() - may a submission be handed out now
 *
 * Context: any.
 * Return: yes or no; without work_lock a guess.
 */
bool vb_queues_have_next(void)
{
	return !vb_share_is_idle(&vb.shares) &&
	       !(READ_ONCE(vb.suspects) && READ_ONCE(vb.running));
}

/**
 * vb_queue_next_locked() - whose turn it is
 *
 * Context: work_lock; at least one queue is ready.
 * Return: its first submission.
 */
struct vb_submission *vb_queue_next_locked(void)
{
	struct vb_share_queue *share = vb_share_next(&vb.shares);

	lockdep_assert_held(&vb.work_lock);
	return first_pending_locked(container_of(share, struct vb_queue, share));
}

/**
 * vb_queue_start_locked() - the executor gets a submission
 * @s: of vb_queue_next_locked()
 *
 * Context: work_lock.
 */
void vb_queue_start_locked(struct vb_submission *s)
{
	struct vb_queue *q = s->queue;

	lockdep_assert_held(&vb.work_lock);
	vb_share_start(&vb.shares, &q->share);
	expiry_disarm_locked(q);
	list_del_init(&s->work.link);
	q->pending_count--;
	q->running = s;
	s->work.fetched = true;
	vb.fetched++;
	WRITE_ONCE(vb.running, vb.running + 1);
	trace_vb_fetch(q, s->seqno);
}

/* ---- ends ---- */

/* Nothing of the queue is in the executor's hands any more. */
static void running_end_locked(struct vb_queue *q)
{
	q->running->work.fetched = false;
	q->running = NULL;
	vb.fetched--;
	WRITE_ONCE(vb.running, vb.running - 1);
}

static void submission_leave_locked(struct vb_submission *s, u64 busy_ns,
				    struct list_head *ended)
{
	struct vb_queue *q = s->queue;
	bool others = vb.suspects;

	WRITE_ONCE(vb.suspects, vb.suspects - (s->deaths != 0));
	if (q->running == s) {
		others |= vb_share_end(&vb.shares, &q->share, busy_ns);
		running_end_locked(q);
	} else {
		set_ready_locked(q, false);
		expiry_disarm_locked(q);
		list_del_init(&s->work.link);
		q->pending_count--;
	}
	vb_quota_sub(&q->client->quota, VB_USE_SUBMISSIONS, 1);
	list_add_tail(&s->work.link, ended);
	/* The submission still holds the queue: this reference is not the last one. */
	if (!q->running && list_empty(&q->pending)) {
		list_del_init(&q->advance_link);
		list_del_init(&q->link);
		vb_queue_put(q);
	}
	/* Others may have waited for this one, in the hands of the executor or not. */
	if (others && vb_queues_have_next())
		vb_fetch_wake_locked(false);
}

/**
 * vb_queue_add_locked() - a submission takes its place at the end of its queue
 * @s: submission
 *
 * Context: work_lock; vb_queue_advance_locked() is to follow.
 */
void vb_queue_add_locked(struct vb_submission *s)
{
	struct vb_queue *q = s->queue;

	lockdep_assert_held(&vb.work_lock);
	list_add_tail(&s->work.link, &q->pending);
	q->pending_count++;
	if (list_empty(&q->link)) {
		kref_get(&q->kref);
		list_add_tail(&q->link, &vb.queues);
	}
}

/**
 * vb_complete_locked() - a submission ended
 * @s: running, or the first pending one of its queue
 * @status: 0 or -errno
 * @bad_command: index of the command to blame, or ~0
 * @busy_ns: executor time it took
 * @ended: gets it, and what ends with it; for vb_submissions_free()
 *
 * Context: work_lock.
 */
void vb_complete_locked(struct vb_submission *s, int status, u32 bad_command, u64 busy_ns,
			struct list_head *ended)
{
	struct vb_queue *q = s->queue;
	struct vb_result r = {
		.status = status,
		.bad_command = status ? bad_command : ~0u,
		.busy_ns = busy_ns,
	};

	submission_leave_locked(s, busy_ns, ended);
	vb_count_locked(q->client, VB_COUNT_BUSY_NS, busy_ns);
	if (status)
		vb_count_locked(q->client, VB_COUNT_ERRORS, 1);
	vb_fence_store_locked(q, s->seqno, &r);
	WRITE_ONCE(q->completed, s->seqno);	/* vb_wait() spins on it */
	trace_vb_signal(q, s->seqno, status, busy_ns);
	vb_fences_signal_locked(q);
	vb_queue_advance_locked(q, ended);
}

/* From here nothing makes it ready, and nothing is added. */
static void destroy_locked(struct vb_queue *q)
{
	WRITE_ONCE(q->destroyed, true);	/* who is about to be woken looks at it */
	q->canceled_from = (q->running ? q->running->seqno : q->completed) + 1;
	set_ready_locked(q, false);
	vb_fences_signal_locked(q);
}

static void cancel_one_locked(struct vb_submission *s, struct list_head *ended)
{
	struct vb_queue *q = s->queue;

	submission_leave_locked(s, 0, ended);
	trace_vb_signal(q, s->seqno, -ECANCELED, 0);
	vb_count_locked(q->client, VB_COUNT_ERRORS, 1);
}

/* Some of what was not fetched ends.  False: there is no more. */
static bool cancel_some(struct vb_queue *q)
{
	struct vb_submission *s;
	LIST_HEAD(ended);
	bool more;
	u32 n;

	spin_lock(&vb.work_lock);
	advance_begin_locked();
	for (n = 0; n < AT_ONCE && (s = first_pending_locked(q)); n++)
		cancel_one_locked(s, &ended);
	more = !list_empty(&q->pending);
	advance_end_locked(&ended);
	spin_unlock(&vb.work_lock);
	vb_submissions_free(&ended);
	return more;
}

/**
 * vb_queue_cancel() - the handle is gone
 * @q: queue
 *
 * What was not fetched ends with -ECANCELED; what runs is discarded when it ends.
 *
 * Context: may sleep.
 */
void vb_queue_cancel(struct vb_queue *q)
{
	spin_lock(&vb.work_lock);
	destroy_locked(q);
	spin_unlock(&vb.work_lock);
	vb_fences_wake(q);
	while (cancel_some(q))
		cond_resched();
}

/**
 * vb_queue_expire() - end what waits beyond its deadline, whoever sleeps
 * @work: vb_device.expire; set for the next deadline of all, at once when some are left over
 *
 * What the executor has in its hands is its own to end.
 *
 * Context: a worker; takes work_lock.
 */
void vb_queue_expire(struct work_struct *work)
{
	struct timerqueue_node *node;
	struct vb_queue *q;
	LIST_HEAD(ended);
	u32 n;

	spin_lock(&vb.work_lock);
	advance_begin_locked();
	for (n = 0; n < AT_ONCE && (node = timerqueue_getnext(&vb.expiries)) &&
	     (u64)node->expires <= ktime_get_ns(); n++) {
		q = container_of(node, struct vb_queue, expiry);
		expiry_disarm_locked(q);
		advance_one_locked(q, &ended);
	}
	advance_end_locked(&ended);
	expire_later_locked();
	spin_unlock(&vb.work_lock);
	vb_submissions_free(&ended);
}

static void fail_one_locked(struct vb_queue *q, struct list_head *ended)
{
	if (q->running)
		vb_complete_locked(q->running, q->destroyed ? -ECANCELED : -ENODEV, ~0u, 0, ended);
	else
		vb_complete_locked(first_pending_locked(q), -ENODEV, ~0u, 0, ended);
}

/* What ends in one may end something in others; each leaves the list when idle. */
static bool fail_some(void)
{
	struct vb_queue *q;
	LIST_HEAD(ended);
	bool more;
	u32 n;

	spin_lock(&vb.work_lock);
	advance_begin_locked();
	for (n = 0; n < AT_ONCE; n++) {
		q = list_first_entry_or_null(&vb.queues, struct vb_queue, link);
		if (!q)
			break;
		fail_one_locked(q, &ended);
	}
	advance_end_locked(&ended);
	more = !list_empty(&vb.queues);
	spin_unlock(&vb.work_lock);
	vb_submissions_free(&ended);
	return more;
}

/**
 * vb_queues_fail() - the executor has gone, and nobody will come: everything ends
 *
 * With -ENODEV, or -ECANCELED in a queue that was destroyed.
 *
 * Context: exec_lock, in a state that takes no work; takes work_lock; may sleep.
 */
void vb_queues_fail(void)
{
	while (fail_some())
		cond_resched();
}

/*
 * ---- executors that die ----
 *
 * A submission that makes an executor crash would do so for ever.  Deaths that may be its
 * doing are counted (core/death.h), and from the first one on submissions are handed out
 * one at a time, until those that were in the dead one's hands have ended: so each has
 * one such death for being near it at most, and only who is guilty has more.
 */

#define DEATHS_MAX	16u	/* executors that one submission may take with it */

/* Has the first run left all as it was, for what the second one needs? */
static bool may_run_again_locked(const struct vb_submission *s)
{
	u32 i;

	if (s->deaths >= DEATHS_MAX)
		return false;
	for (i = 0; i < s->bo_count; i++) {
		u32 access = s->refs[i].access;

		if (access & VB_ACCESS_READ && READ_ONCE(s->bos[i]->lost))
			return false;
		if (access & VB_ACCESS_WRITE && !(access & VB_ACCESS_DISCARD))
			return false;
	}
	return true;
}

static void settle_one_locked(struct vb_queue *q, struct list_head *ended)
{
	struct vb_submission *s = first_pending_locked(q);

	if (s && s->was_run && !may_run_again_locked(s))
		vb_complete_locked(s, -EIO, ~0u, 0, ended);
	else
		vb_queue_advance_locked(q, ended);
}

static void return_one_locked(struct vb_queue *q, struct list_head *ended)
{
	struct vb_submission *s = q->running;

	if (!s)
		return;
	if (q->destroyed) {
		vb_complete_locked(s, -ECANCELED, ~0u, 0, ended);
		return;
	}
	vb_share_end(&vb.shares, &q->share, 0);
	running_end_locked(q);
	s->was_run = true;
	list_add(&s->work.link, &q->pending);
	q->pending_count++;
	settle_one_locked(q, ended);
}

/* What ends in one may end something in others; each leaves its list when idle. */
static bool queues_some(struct list_head *left,
			void (*what)(struct vb_queue *q, struct list_head *ended))
{
	struct vb_queue *q;
	LIST_HEAD(ended);
	bool more;
	u32 n;

	spin_lock(&vb.work_lock);
	advance_begin_locked();
	for (n = 0; n < AT_ONCE; n++) {
		q = list_first_entry_or_null(left, struct vb_queue, link);
		if (!q)
			break;
		list_move_tail(&q->link, &vb.queues);
		what(q, &ended);
	}
	advance_end_locked(&ended);
	more = !list_empty(left);
	spin_unlock(&vb.work_lock);
	vb_submissions_free(&ended);
	return more;
}

/*
 * Each queue that has work now, a few under the lock at a time.  Those that come meanwhile
 * stand in vb_device.queues, where they are not met.
 */
static void queues_each(void (*what)(struct vb_queue *q, struct list_head *ended))
{
	LIST_HEAD(left);

	lockdep_assert_held(&vb.exec_lock);
	spin_lock(&vb.work_lock);
	list_splice_init(&vb.queues, &left);
	spin_unlock(&vb.work_lock);
	while (queues_some(&left, what))
		cond_resched();
}

static void blame_one_locked(struct vb_queue *q, struct list_head *ended)
{
	struct vb_submission *s = q->running;

	if (s && !s->deaths++)
		WRITE_ONCE(vb.suspects, vb.suspects + 1);
}

/**
 * vb_queues_return() - an executor has gone: what it had fetched waits again, or fails
 * @blamed: that may be what ended it
 *
 * Context: exec_lock; may sleep.
 */
void vb_queues_return(bool blamed)
{
	if (blamed)
		queues_each(blame_one_locked);
	queues_each(return_one_locked);
}

/**
 * vb_queues_settle() - a successor goes on: what cannot be run again fails
 *
 * What has been lost in the meantime may have been what a submission reads.
 *
 * Context: exec_lock; takes work_lock; may sleep.
 */
void vb_queues_settle(void)
{
	queues_each(settle_one_locked);
}

/* ---- requests ---- */

static u32 next_number(void)
{
	u32 number;

	spin_lock(&vb.work_lock);
	number = ++vb.next_queue;
	spin_unlock(&vb.work_lock);
	return number;
}

/**
 * vb_queue_create() - VB_IOC_QUEUE_CREATE
 * @c: who asks
 * @u: struct vb_ioc_queue_create; answered before the handle works
 *
 * Context: no lock held; may sleep.
 * Return: 0; -EINVAL; -EDQUOT no handle is free, or kernel memory of its user; -ENOMEM;
 * -EFAULT.
 */
int vb_queue_create(struct vb_client *c, struct vb_ucmd *u)
{
	struct vb_ioc_queue_create *cmd = u->cmd;
	u32 weight = cmd->weight ? cmd->weight : VB_QUEUE_WEIGHT_DEFAULT;
	struct vb_queue *q;
	int rc;

	if (weight > VB_QUEUE_WEIGHT_MAX)
		return -EINVAL;
	q = queue_new(c, weight);
	if (IS_ERR(q))
		return PTR_ERR(q);
	rc = xa_alloc_cyclic(&c->queues, &cmd->out_queue_id, NULL, XA_LIMIT(1, VB_ID_MAX),
			     &c->next_queue, GFP_KERNEL_ACCOUNT);
	if (rc < 0)
		goto err_put;
	q->number = next_number();
	cmd->out_number = q->number;
	rc = vb_ucmd_respond(u);
	if (rc)
		goto err_erase;
	/* Cannot fail: the handle is there. */
	xa_store(&c->queues, cmd->out_queue_id, q, GFP_KERNEL_ACCOUNT);
	return 0;

err_erase:
	xa_erase(&c->queues, cmd->out_queue_id);
err_put:
	vb_queue_put(q);
	return rc == -EBUSY ? -EDQUOT : rc;
}

/**
 * vb_queue_destroy() - VB_IOC_QUEUE_DESTROY: the handle goes, vb_queue_cancel()
 * @c: who asks
 * @u: struct vb_ioc_queue_destroy
 *
 * Context: no lock held; may sleep, waits for no user space.
 * Return: 0; -ENOENT.
 */
int vb_queue_destroy(struct vb_client *c, struct vb_ucmd *u)
{
	struct vb_ioc_queue_destroy *cmd = u->cmd;
	struct vb_queue *q;

	xa_lock(&c->queues);
	q = xa_load(&c->queues, cmd->queue_id);
	if (q)
		__xa_erase(&c->queues, cmd->queue_id);
	xa_unlock(&c->queues);
	if (!q)
		return -ENOENT;
	vb_queue_cancel(q);
	vb_queue_put(q);
	return 0;
}
