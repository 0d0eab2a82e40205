// SPDX-License-Identifier: GPL-2.0
/* A client: an open /dev/vblackwell. */
#include "client.h"

#include <linux/cred.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "core/quota.h"
#include "bo.h"
#include "cpu.h"
#include "queue.h"
#include "recover.h"
#include "request.h"
#include "submit.h"
#include "ucmd.h"
#include "user.h"
#include "vb.h"

static void client_free(struct kref *kref)
{
	struct vb_client *c = container_of(kref, struct vb_client, kref);

	xa_destroy(&c->bos);
	xa_destroy(&c->shares);
	xa_destroy(&c->queues);
	vb_user_uncharge(c->user, sizeof(*c));
	vb_user_put(c->user);
	kfree(c);
}

/**
 * vb_client_put() - do without a client
 * @c: client
 *
 * Context: may sleep; takes slot_lock (vb_user_put()).
 */
void vb_client_put(struct vb_client *c)
{
	kref_put(&c->kref, client_free);
}

static void client_init(struct vb_client *c)
{
	kref_init(&c->kref);
	vb_client_lock_init(&c->lock);
	init_waitqueue_head(&c->wait);
	INIT_LIST_HEAD(&c->holds);
	xa_init_flags(&c->bos, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	xa_init_flags(&c->shares, XA_FLAGS_ACCOUNT);
	xa_init_flags(&c->queues, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	vb_quota_init(&c->quota, vb.client_limits);
	c->share.member.weight = VB_QUEUE_WEIGHT_DEFAULT;
}

static int client_new(kuid_t uid, struct vb_client **out)
{
	struct vb_client *c = kzalloc(sizeof(*c), GFP_KERNEL_ACCOUNT);
	int rc = -ENOMEM;

	if (!c)
		return -ENOMEM;
	c->user = vb_user_get(uid);
	if (!c->user)
		goto err_free;
	rc = vb_user_charge(c->user, sizeof(*c));
	if (rc)
		goto err_user;
	client_init(c);
	*out = c;
	return 0;

err_user:
	vb_user_put(c->user);
err_free:
	kfree(c);
	return rc;
}

/**
 * vb_client_open() - open() of the client node: another client of that user
 * @inode: node
 * @filp: file; its private data becomes the client
 *
 * Context: takes exec_lock, slot_lock; may sleep.
 * Return: 0; -EDQUOT kernel memory of its user; -ENOMEM; -EBUSY every number is in use.
 */
int vb_client_open(struct inode *inode, struct file *filp)
{
	struct vb_client *c;
	int rc;

	rc = client_new(vb_user_uid(filp->f_cred), &c);
	if (rc)
		return rc;
	/* What nobody waits for any more is not what this one waits for. */
	mutex_lock(&vb.exec_lock);
	vb_recovery_check();
	mutex_unlock(&vb.exec_lock);
	rc = xa_alloc_cyclic(&vb.clients, &c->number, c, xa_limit_32b, &vb.next_client,
			     GFP_KERNEL_ACCOUNT);
	if (rc < 0) {
		vb_client_put(c);
		return rc;
	}
	spin_lock(&vb.slot_lock);
	vb_quota_join(&vb.quota, &c->quota, &c->user->quota);
	spin_unlock(&vb.slot_lock);
	filp->private_data = c;
	return 0;
}

/**
 * vb_client_find() - the client with this number
 * @number: as tracepoints and requests to the executor have it
 *
 * Return: the client, counted; NULL.
 */
struct vb_client *vb_client_find(u32 number)
{
	struct vb_client *c;

	xa_lock(&vb.clients);
	c = xa_load(&vb.clients, number);
	if (c)
		kref_get(&c->kref);
	xa_unlock(&vb.clients);
	return c;
}

static void close_queues(struct vb_client *c)
{
	struct vb_queue *q;
	unsigned long i;

	xa_for_each(&c->queues, i, q) {
		xa_erase(&c->queues, i);
		vb_queue_cancel(q);
		vb_queue_put(q);
		cond_resched();
	}
}

static void close_bos(struct vb_client *c)
{
	struct vb_bo *bo;
	unsigned long i;

	vb_holds_drop(c);
	xa_for_each(&c->bos, i, bo) {
		xa_erase(&c->bos, i);
		vb_bo_unshare(c, bo);
		cond_resched();
	}
}

static void forget_schedule(struct vb_client *c)
{
	struct vb_request *r;

	if (!READ_ONCE(c->scheduled) || !vb_takes_work())
		return;
	r = vb_request_new(VB_FETCH_SCHEDULE, c, NULL);
	if (!r)
		return;	/* a schedule costs time only */
	r->flags = VB_FETCH_F_ASYNC;
	vb_request_send(r);
}

/**
 * vb_client_release() - the last reference to a client's file has gone
 * @inode: node
 * @filp: file
 *
 * What is queued is cancelled, and its handles are closed. What runs, runs on, and keeps
 * the structure.
 *
 * Context: takes exec_lock, the locks of the client and its objects, slot_lock, work_lock;
 * may sleep, waits for no user space.
 * Return: 0.
 */
int vb_client_release(struct inode *inode, struct file *filp)
{
	struct vb_client *c = filp->private_data;

	close_queues(c);
	forget_schedule(c);
	close_bos(c);
	xa_erase(&vb.clients, c->number);
	mutex_lock(&vb.exec_lock);
	vb_recovery_check();
	mutex_unlock(&vb.exec_lock);
	spin_lock(&vb.slot_lock);
	vb_quota_leave(&vb.quota, &c->quota);
	spin_unlock(&vb.slot_lock);
	vb_client_put(c);
	return 0;
}

/* ---- counters ---- */

/**
 * vb_count_locked() - count for a client, and for all
 * @c: client
 * @counter: which
 * @n: how much more
 *
 * Context: work_lock.
 */
void vb_count_locked(struct vb_client *c, enum vb_counter counter, u64 n)
{
	lockdep_assert_held(&vb.work_lock);
	c->counters[counter] += n;
	vb.counters[counter] += n;
}

/**
 * vb_query_device() - VB_IOC_QUERY_DEVICE: what the device is, and its executor's state
 * @c: who asks
 * @u: struct vb_ioc_query_device
 *
 * Context: any; takes no lock: an executor may come or go between two fields.
 * Return: 0.
 */
int vb_query_device(struct vb_client *c, struct vb_ucmd *u)
{
	struct vb_ioc_query_device *q = u->cmd;

	q->out_exec_state = READ_ONCE(vb.exec_state);
	q->out_features = VB_FEATURE_FAULT_MMAP | VB_FEATURE_RECOVERY;
	if (IS_ENABLED(CONFIG_DMA_SHARED_BUFFER))
		q->out_features |= VB_FEATURE_DMABUF;
	if (IS_ENABLED(CONFIG_IO_URING))
		q->out_features |= VB_FEATURE_URING_CMD;
	q->out_chunk_bytes = vb.chunk_bytes;
	q->out_tier_count = READ_ONCE(vb.arena_count);
	q->out_host_staging_bytes = READ_ONCE(vb.staging_bytes);
	q->out_panel_bytes = READ_ONCE(vb.panel_bytes);
	q->out_generation = READ_ONCE(vb.generation);
	q->out_recovery_ms = READ_ONCE(vb_recovery_ms);
	return 0;
}

/* As many as the caller likes, so it must be possible to stop. */
static int clear_counters(u64 __user *to, u32 count)
{
	const u32 step = PAGE_SIZE / sizeof(u64);
	u32 n;

	for (; count; to += n, count -= n) {
		n = min(count, step);
		if (fatal_signal_pending(current))
			return -EINTR;
		if (clear_user(to, n * sizeof(u64)))
			return -EFAULT;
		cond_resched();
	}
	return 0;
}

/**
 * vb_stats() - VB_IOC_STATS: the client's counters
 * @c: who asks
 * @u: struct vb_ioc_stats; counters that this kernel does not know are filled with 0
 *
 * Context: takes work_lock, not while copying; may fault.
 * Return: 0; -EFAULT; -EINTR killed while filling.
 */
int vb_stats(struct vb_client *c, struct vb_ucmd *u)
{
	struct vb_ioc_stats *cmd = u->cmd;
	u64 __user *to = u64_to_user_ptr(cmd->address);
	u32 known = min_t(u32, cmd->count, VB_COUNT_COUNT);
	u64 counters[VB_COUNT_COUNT];

	spin_lock(&vb.work_lock);
	memcpy(counters, c->counters, sizeof(counters));
	spin_unlock(&vb.work_lock);
	if (copy_to_user(to, counters, known * sizeof(u64)))
		return -EFAULT;
	return clear_counters(to + known, cmd->count - known);
}

/* ---- schedule ---- */

static int range_translate(struct vb_client *c, struct vb_range *r)
{
	struct vb_bo *bo;
	u64 end;
	int rc = 0;

	if (r->__reserved || !r->bytes)
		return -EINVAL;
	bo = vb_bo_get(c, r->bo_id);
	if (!bo)
		return -ENOENT;
	if (check_add_overflow(r->offset, r->bytes, &end))
		rc = -EOVERFLOW;
	else if (end > bo->bytes)
		rc = -ERANGE;
	r->bo_id = bo->id;
	if (!rc)
		vb_bo_show(bo);
	vb_bo_put(bo);
	return rc;
}

static int schedule_copy(struct vb_client *c, struct vb_request *r,
			 const struct vb_range __user *from)
{
	void *p;
	u32 i;
	int rc;

	p = vb_submit_alloc(c->user, r->count * sizeof(*r->ranges));
	if (IS_ERR(p))
		return PTR_ERR(p);
	r->ranges = p;
	r->ranges_bytes = r->count * sizeof(*r->ranges);
	if (copy_from_user(r->ranges, from, r->ranges_bytes))
		return -EFAULT;
	for (i = 0; i < r->count; i++) {
		rc = range_translate(c, &r->ranges[i]);
		if (rc)
			return rc;
		cond_resched();
	}
	return 0;
}

/**
 * vb_schedule() - VB_IOC_SCHEDULE: what the client will use, in that order
 * @c: who asks
 * @u: struct vb_ioc_schedule; none ends the one that there is
 *
 * Queued for the executor, and not waited for.
 *
 * Context: takes the locks of vb_request_send(); may sleep.
 * Return: 0; -EINVAL; -ENODEV; -ENOMEM, -EDQUOT no room in the submit region
 * (vb_submit_alloc()); -EFAULT; -ENOENT; -EOVERFLOW, -ERANGE outside the object.
 */
int vb_schedule(struct vb_client *c, struct vb_ucmd *u)
{
	struct vb_ioc_schedule *cmd = u->cmd;
	struct vb_request *r;
	int rc;

	if (cmd->count > VB_SCHEDULE_MAX)
		return -EINVAL;
	if (!vb_takes_work())
		return -ENODEV;
	r = vb_request_new(VB_FETCH_SCHEDULE, c, NULL);
	if (!r)
		return -ENOMEM;
	r->count = cmd->count;
	r->flags = VB_FETCH_F_ASYNC | (cmd->flags & VB_SCHEDULE_CYCLE ? VB_FETCH_F_CYCLE : 0);
	rc = cmd->count ? schedule_copy(c, r, u64_to_user_ptr(cmd->ranges_address)) : 0;
	if (rc) {
		vb_request_put(r);
		return rc;
	}
	return vb_request_send(r);
}
