// SPDX-License-Identifier: GPL-2.0
/*
 * What clients ask of the executor beside submissions.  Requests of a client are handed
 * out in the order in which they came, and those of several in turn (core/line.h): who asks
 * for much waits for itself.
 *
 * A request has its tag from the start: to fetch needs no memory.
 */
#include "request.h"

#include <linux/hrtimer.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/topology.h>

#include "arena.h"
#include "bo.h"
#include "client.h"
#include "exec.h"
#include "fill.h"
#include "resid.h"
#include "store.h"
#include "submit.h"
#include "trace.h"
#include "vb.h"
#include "wait.h"

#define LOOK	64u	/* requests, under the lock */

unsigned int vb_page_in_timeout_ms = VB_WAIT_NS / NSEC_PER_MSEC;

/**
 * vb_bound() - the time until which a wait may last
 * @deadline_ns: CLOCK_MONOTONIC, as the caller gave it; 0: none
 *
 * Context: any.
 * Return: @deadline_ns, or from now on the device's own bound (page_in_timeout_ms).
 */
u64 vb_bound(u64 deadline_ns)
{
	u64 bound_ns = (u64)READ_ONCE(vb_page_in_timeout_ms) * NSEC_PER_MSEC;

	return deadline_ns ? deadline_ns : ktime_get_ns() + bound_ns;
}

/**
 * vb_request_new() - a request that is not queued yet
 * @type: enum vb_fetch_type
 * @c: who asks; counted
 * @bo: what about, or NULL; counted as a user
 *
 * Context: may sleep.
 * Return: the request with one reference, for vb_request_send(), vb_request_wait() or
 * vb_request_put(); NULL without memory.
 */
struct vb_request *vb_request_new(u32 type, struct vb_client *c, struct vb_bo *bo)
{
	struct vb_request *r = kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);

	if (!r)
		return NULL;
	kref_init(&r->kref);
	INIT_LIST_HEAD(&r->work.link);
	init_waitqueue_head(&r->wait);
	r->type = type;
	r->node = type == VB_FETCH_PAGE_IN ? numa_mem_id() : NUMA_NO_NODE;
	/* From here whoever walks over the tags may look at it. */
	if (xa_alloc_cyclic(&vb.tags, &r->work.tag, r, XA_LIMIT(1, VB_ID_MAX), &vb.next_tag,
			    GFP_KERNEL_ACCOUNT) < 0) {
		kfree(r);
		return NULL;
	}
	r->client = c;
	kref_get(&c->kref);
	r->bo = bo;
	if (bo) {
		vb_bo_use(bo);
		vb_bo_show(bo);
	}
	return r;
}

static void request_free(struct kref *kref)
{
	struct vb_request *r = container_of(kref, struct vb_request, kref);

	xa_erase(&vb.tags, r->work.tag);
	if (r->bo && r->type == VB_FETCH_FORGET)
		vb_bo_unlook(r->bo);
	else if (r->bo)
		vb_bo_put(r->bo);
	if (r->keeps) {
		/* Behind vb_device.gone, if this was the last user; pairs with count_leaving(). */
		smp_mb__before_atomic();
		atomic_dec(&vb.kept);
		wake_up_all(&vb.freed);
	}
	if (r->flags & VB_FETCH_F_FILLED)
		vb_fill_known();
	if (r->ranges)
		vb_submit_free(r->client->user, r->ranges, r->ranges_bytes);
	vb_client_put(r->client);
	kfree_rcu(r, work.rcu);
}

/**
 * vb_request_keep() - whoever wants the room of its object waits for it (vb_device.kept)
 * @r: request of an object, not sent yet
 *
 * Context: any.
 */
void vb_request_keep(struct vb_request *r)
{
	r->keeps = r->bo->traits.kind == VB_BO_ANONYMOUS;
	if (r->keeps)
		atomic_inc(&vb.kept);
}

/**
 * vb_request_put() - do without a request
 * @r: request
 *
 * Context: may sleep: it may be the last user of an object; no lock held.
 */
void vb_request_put(struct vb_request *r)
{
	kref_put(&r->kref, request_free);
}

static bool is_hint(const struct vb_request *r)
{
	return r->flags & VB_FETCH_F_ASYNC && r->bo;
}

/* For the executor that is there alone: another one finds in the table what it is about. */
static bool is_for_this_executor(const struct vb_request *r)
{
	return is_hint(r) || r->flags & VB_FETCH_F_FILLED;
}

/* A schedule that nobody has fetched yet makes room for the new one. */
static struct vb_request *schedule_replace_locked(struct vb_request *r)
{
	struct vb_client *c = r->client;
	struct vb_request *old = c->schedule;

	lockdep_assert_held(&vb.work_lock);
	if (old)
		vb_line_remove(&vb.requests, &old->place);
	c->schedule = r;
	c->scheduled = r->count;
	return old;
}

/**
 * vb_request_send() - queue a request; nobody waits
 * @r: request; one reference of the caller's is used up, whatever comes of it
 *
 * A schedule takes the place of the one before that nobody has fetched. A hint is for the
 * executor that is there: kept for another one it would keep its object, and for the object
 * all memory, though nobody waits.
 *
 * Context: takes work_lock; may sleep; no lock held.
 * Return: 0; -ENODEV nobody is there who could do it, nor expected.
 */
int vb_request_send(struct vb_request *r)
{
	struct vb_request *old = NULL;
	bool live;

	spin_lock(&vb.work_lock);
	live = is_for_this_executor(r) ? vb_is_live() || vb_is_recovering() : vb_takes_work();
	if (live) {
		if (r->type == VB_FETCH_SCHEDULE)
			old = schedule_replace_locked(r);
		r->client->hints += is_hint(r);
		vb_line_add(&vb.requests, &r->client->line, &r->place);
		if (r->type == VB_FETCH_PAGE_IN)
			trace_vb_page_in(r);
		vb_fetch_wake_locked(true);
	}
	spin_unlock(&vb.work_lock);
	vb_fetch_wake();
	if (old)
		vb_request_put(old);
	if (!live) {
		vb_request_put(r);
		return -ENODEV;
	}
	return 0;
}

/* Another object's with the same one is woken for nothing. */
static void *key_of(const struct vb_bo *bo, u32 chunk)
{
	return (void *)bo + chunk;
}

/**
 * vb_request_arrived() - a chunk is in host memory: who waits for nothing else goes on
 * @bo: object
 * @chunk: within it
 *
 * The executor's word on their requests comes later, and finds nobody waiting.
 *
 * Context: any; what says that it is there was written before.
 */
void vb_request_arrived(const struct vb_bo *bo, u32 chunk)
{
	/* Pairs with prepare_to_wait_event(): they see it, or we see them. */
	smp_mb();
	wake_up_var(key_of(bo, chunk));
}

static void request_finish(struct vb_request *r, int status)
{
	if (!status && r->finish)
		status = r->finish(r);
	r->status = status;
	/* Whoever sees @done sees @status, and what @finish did. */
	smp_store_release(&r->done, true);
	wake_up_all(&r->wait);
	if (r->early)
		vb_request_arrived(r->bo, r->first);
}

/**
 * vb_request_done() - the executor has ended it, or will never
 * @r: request that the caller took out of the executor's hands, or out of its list;
 *	the queue's reference is used up
 * @status: 0 or -errno for who waits
 *
 * Context: may sleep; no lock held.
 */
void vb_request_done(struct vb_request *r, int status)
{
	bool waited;

	spin_lock(&vb.work_lock);
	if (r->client->schedule == r)
		r->client->schedule = NULL;
	r->client->hints -= is_hint(r);
	waited = !r->expired;
	r->finishing = waited;
	spin_unlock(&vb.work_lock);
	if (r->type == VB_FETCH_DRAIN)
		vb_drain_done();
	if (waited)
		request_finish(r, status);
	vb_request_put(r);
}

/* The waiter leaves; false: a commit is finishing it, the result comes at once. */
static bool request_abandon(struct vb_request *r)
{
	bool unqueued = false, finishing;

	spin_lock(&vb.work_lock);
	finishing = r->finishing;
	if (!finishing) {
		r->expired = true;
		unqueued = r->place.client;
		if (!unqueued && r->bo)
			vb_request_keep(r);
		vb_line_remove(&vb.requests, &r->place);
	}
	spin_unlock(&vb.work_lock);
	if (unqueued)
		vb_request_put(r);
	return !finishing;
}

static bool is_done(struct vb_request *r)
{
	/* Pairs with request_finish(). */
	return smp_load_acquire(&r->done);
}

static int request_sleep(struct vb_request *r, u64 deadline_ns)
{
	const unsigned int state = r->killable ? TASK_KILLABLE : TASK_INTERRUPTIBLE;

	if (r->early)
		return vb_wait_var_until(key_of(r->bo, r->first),
					 is_done(r) || vb_resid_is_here(r->bo, r->first), state,
					 deadline_ns);
	if (r->killable)
		return vb_wait_killable_until(r->wait, is_done(r), deadline_ns);
	return vb_wait_until(r->wait, is_done(r), deadline_ns);
}

/**
 * vb_request_wait() - queue a request, wait for its end, free it
 * @r: request; used up
 * @deadline_ns: CLOCK_MONOTONIC, not 0
 *
 * Context: no lock held but, for a fault that may not let go of it, mmap_lock.
 * Return: how it ended, or 0 as soon as that will do (@early); -ETIME; -EINTR; -ENODEV there is
 * no executor.
 */
int vb_request_wait(struct vb_request *r, u64 deadline_ns)
{
	int rc;

	r->deadline_ns = deadline_ns;
	kref_get(&r->kref);
	rc = vb_request_send(r);
	if (rc)
		goto out;
	rc = request_sleep(r, deadline_ns);
	if ((rc || !is_done(r)) && request_abandon(r))
		goto out;
	/* Bounded by the commit that is under way. */
	wait_event(r->wait, is_done(r));
	rc = r->status;
out:
	vb_request_put(r);
	return rc;
}

/* ---- all of them ---- */

/* What @look puts into @over is ours to end. */
typedef void (*request_look)(struct vb_request *r, struct list_head *over);

/* Some requests from *@tag on.  False: there are no more. */
static bool requests_look(unsigned long *tag, request_look look, struct list_head *over)
{
	struct vb_work *work = NULL;
	u32 n;

	rcu_read_lock();
	spin_lock(&vb.work_lock);
	for (n = 0; n < LOOK; n++) {
		work = xa_find(&vb.tags, tag, ULONG_MAX, XA_PRESENT);
		if (!work)
			break;
		(*tag)++;
		if (!work->is_submission)
			look(container_of(work, struct vb_request, work), over);
	}
	spin_unlock(&vb.work_lock);
	rcu_read_unlock();
	return work;
}

static void requests_end(struct list_head *over, int status)
{
	struct vb_request *r;

	while (!list_empty(over)) {
		r = container_of(list_first_entry(over, struct vb_work, link), struct vb_request,
				 work);
		list_del_init(&r->work.link);
		if (r->type == VB_FETCH_FORGET)
			vb_bo_free(r->bo);
		vb_request_done(r, status);
	}
}

/* A few under the lock at a time: each object has one, to be forgotten with. */
static void requests_each(request_look look, int status)
{
	unsigned long tag = 0;
	LIST_HEAD(over);
	bool more;

	do {
		more = requests_look(&tag, look, &over);
		requests_end(&over, status);
		cond_resched();
	} while (more);
}

static void fail_one_locked(struct vb_request *r, struct list_head *over)
{
	if (!r->work.fetched && !r->place.client)
		return;		/* it has ended, or somebody ends it */
	vb.fetched -= r->work.fetched;
	r->work.fetched = false;
	vb_line_remove(&vb.requests, &r->place);
	list_add_tail(&r->work.link, over);
}

/**
 * vb_requests_fail() - nobody will end them any more: they end with -ENODEV
 *
 * Those that wait, and those that the executor had; the device takes no new ones.
 *
 * Context: may sleep.
 */
void vb_requests_fail(void)
{
	requests_each(fail_one_locked, -ENODEV);
}

/* Of what a dead executor was given, or should have forgotten: ours to end. */
static bool is_over_locked(const struct vb_request *r)
{
	if (r->type == VB_FETCH_FORGET || r->type == VB_FETCH_DRAIN || r->expired ||
	    is_for_this_executor(r))
		return true;
	return r->type == VB_FETCH_SCHEDULE && r->client->schedule && r->client->schedule != r;
}

static void return_one_locked(struct vb_request *r, struct list_head *over)
{
	bool fetched = r->work.fetched, ends;

	/* It has ended, or was not sent yet: then it may have no client. */
	if (!fetched && !r->place.client)
		return;
	ends = is_over_locked(r);
	if (!fetched && !ends)
		return;
	vb.fetched -= fetched;
	r->work.fetched = false;
	vb_line_remove(&vb.requests, &r->place);
	if (ends) {
		list_add_tail(&r->work.link, over);
		return;
	}
	vb_line_return(&vb.requests, &r->client->line, &r->place);
	if (r->type == VB_FETCH_SCHEDULE)
		r->client->schedule = r;
}

/**
 * vb_requests_return() - the executor has gone: what it had fetched waits again
 *
 * In front of what came later.  What it should have forgotten is forgotten, and so are
 * hints.
 *
 * Context: may sleep; no executor is there, nor comes meanwhile.
 */
void vb_requests_return(void)
{
	requests_each(return_one_locked, -ECANCELED);
}
