// SPDX-License-Identifier: GPL-2.0
/*
 * Submissions.  The stream and the list of objects are copied into the submit region,
 * which the executor has mapped read-only: what the client does to its own memory
 * afterwards is not seen.
 */
#include "submit.h"

#include <linux/genalloc.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "core/cmd.h"
#include "core/quota.h"
#include "core/submit_check.h"
#include "arena.h"
#include "bo.h"
#include "client.h"
#include "exec.h"
#include "fence.h"
#include "file.h"
#include "queue.h"
#include "trace.h"
#include "ucmd.h"
#include "user.h"
#include "vb.h"

/**
 * vb_submit_alloc() - memory of the submit region
 * @user: whose
 * @bytes: length
 *
 * A user may hold as much as it leaves free to all others: alone half of the region,
 * and however many are greedy, some of it is there for who comes next.
 *
 * Context: any.
 * Return: the memory, for vb_submit_free(); ERR_PTR(-EDQUOT), or ERR_PTR(-ENOMEM) when
 * it is full or in pieces.
 */
void *vb_submit_alloc(struct vb_user *user, size_t bytes)
{
	void *p;

	if (atomic_long_add_return(bytes, &user->submit_bytes) > gen_pool_avail(vb.submit)) {
		atomic_long_sub(bytes, &user->submit_bytes);
		return ERR_PTR(-EDQUOT);
	}
	/* The pool would do without; KCSAN sees it look for bits that others clear. */
	spin_lock(&vb.submit_lock);
	p = (void *)gen_pool_alloc(vb.submit, bytes);
	spin_unlock(&vb.submit_lock);
	if (p)
		return p;
	atomic_long_sub(bytes, &user->submit_bytes);
	return ERR_PTR(-ENOMEM);
}

/**
 * vb_submit_free() - give memory of the submit region back
 * @user: as given
 * @p: of vb_submit_alloc()
 * @bytes: as given
 *
 * Context: any.
 */
void vb_submit_free(struct vb_user *user, void *p, size_t bytes)
{
	spin_lock(&vb.submit_lock);
	gen_pool_free(vb.submit, (unsigned long)p, bytes);
	spin_unlock(&vb.submit_lock);
	atomic_long_sub(bytes, &user->submit_bytes);
}

/* ---- memory ---- */

static size_t region_bytes(const struct vb_ioc_submit *cmd)
{
	return ALIGN((size_t)cmd->stream_bytes, 8) +
	       (size_t)cmd->bo_count * sizeof(struct vb_exec_bo);
}

static size_t kernel_bytes(const struct vb_ioc_submit *cmd)
{
	return sizeof(struct vb_submission) + cmd->bo_count * sizeof(struct vb_bo *) +
	       cmd->fence_count * sizeof(struct vb_dependent);
}

static int submission_memory(struct vb_submission *s, const struct vb_ioc_submit *cmd)
{
	if (cmd->bo_count)
		s->bos = kvcalloc(cmd->bo_count, sizeof(*s->bos), GFP_KERNEL_ACCOUNT);
	if (cmd->fence_count)
		s->fences = kcalloc(cmd->fence_count, sizeof(*s->fences), GFP_KERNEL_ACCOUNT);
	if ((cmd->bo_count && !s->bos) || (cmd->fence_count && !s->fences))
		return -ENOMEM;
	s->region_bytes = region_bytes(cmd);
	s->stream = vb_submit_alloc(s->user, s->region_bytes);
	if (IS_ERR(s->stream))
		return PTR_ERR(s->stream);
	s->refs = s->stream + ALIGN((size_t)cmd->stream_bytes, 8);
	return 0;
}

static struct vb_submission *submission_new(struct vb_client *c, const struct vb_ioc_submit *cmd)
{
	struct vb_submission *s = kzalloc(sizeof(*s), GFP_KERNEL_ACCOUNT);
	int rc;

	if (!s)
		return ERR_PTR(-ENOMEM);
	rc = vb_user_charge(c->user, kernel_bytes(cmd));
	if (rc) {
		kfree(s);
		return ERR_PTR(rc);
	}
	INIT_LIST_HEAD(&s->work.link);
	s->work.is_submission = true;
	s->user = c->user;
	s->kernel_bytes = kernel_bytes(cmd);
	s->stream_bytes = cmd->stream_bytes;
	s->deadline_ns = cmd->deadline_ns;
	rc = submission_memory(s, cmd);
	if (rc)
		goto err_free;
	if (xa_alloc_cyclic(&vb.tags, &s->work.tag, &s->work, XA_LIMIT(1, VB_ID_MAX),
			    &vb.next_tag, GFP_KERNEL_ACCOUNT) >= 0)
		return s;
	vb_submit_free(s->user, s->stream, s->region_bytes);
	rc = -ENOMEM;

err_free:
	vb_user_uncharge(s->user, s->kernel_bytes);
	kfree(s->fences);
	kvfree(s->bos);
	kfree(s);
	return ERR_PTR(rc);
}

static void fences_disarm(struct vb_submission *s)
{
	u32 i;

	if (!s->bo_count && !s->fence_count)
		return;
	spin_lock(&vb.work_lock);
	for (i = 0; i < s->bo_count; i++)
		s->bos[i]->writers -= (s->refs[i].access & VB_ACCESS_WRITE) != 0;
	for (i = 0; i < s->fence_count; i++)
		if (s->fences[i].queue)
			vb_dependent_remove_locked(&s->fences[i]);
	spin_unlock(&vb.work_lock);
}

/*
 * What it holds and nobody else does.  What its user is charged for returns here: the client,
 * and with it the user, is held by the queue.
 */
static void submission_disarm(struct vb_submission *s)
{
	fences_disarm(s);
	vb_submit_free(s->user, s->stream, s->region_bytes);
	vb_user_uncharge(s->user, s->kernel_bytes);
}

/* Without its references. */
static void submission_free_memory(struct vb_submission *s)
{
	xa_erase(&vb.tags, s->work.tag);
	kfree(s->fences);
	kvfree(s->bos);
	kfree_rcu(s, work.rcu);
}

/* May sleep: a reference may be the last one. */
static void submission_free_rest(struct vb_submission *s)
{
	while (s->bo_count)
		vb_bo_put(s->bos[--s->bo_count]);
	if (s->queue)
		vb_queue_put(s->queue);
	submission_free_memory(s);
}

static void submission_free(struct vb_submission *s)
{
	submission_disarm(s);
	submission_free_rest(s);
}

/* What was changed under work_lock is told when it is let go: here all of it ends up. */
static void tell(const struct list_head *ended)
{
	const struct vb_submission *s;

	vb_fetch_wake();
	list_for_each_entry(s, ended, work.link)
		vb_fences_wake(s->queue);
}

/**
 * vb_submissions_free() - work_lock is let go: tell those who wait, and free what ended
 * @ended: submissions that ended; empty afterwards
 *
 * Context: may sleep: each may be the last user of an object; no lock held.
 */
void vb_submissions_free(struct list_head *ended)
{
	struct vb_submission *s, *next;

	tell(ended);
	list_for_each_entry_safe(s, next, ended, work.link) {
		list_del_init(&s->work.link);
		submission_free(s);
	}
}

/* Give back what others hold too; is that all there was? */
static bool submission_let_go(struct vb_submission *s)
{
	while (s->bo_count && refcount_dec_not_one(&s->bos[s->bo_count - 1]->users))
		s->bo_count--;
	return !s->bo_count && refcount_dec_not_one(&s->queue->kref.refcount);
}

/**
 * vb_submissions_free_later() - as vb_submissions_free(), under io_uring's lock
 * @ended: submissions that ended; empty afterwards
 */
void vb_submissions_free_later(struct list_head *ended)
{
	struct vb_submission *s, *next;

	tell(ended);
	list_for_each_entry_safe(s, next, ended, work.link) {
		submission_disarm(s);
		if (!submission_let_go(s))
			continue;
		list_del_init(&s->work.link);
		submission_free_memory(s);
	}
	if (list_empty(ended))
		return;
	spin_lock(&vb.work_lock);
	list_splice_tail_init(ended, &vb.ended);
	spin_unlock(&vb.work_lock);
	schedule_work(&vb.free);
}

/**
 * vb_submissions_free_now() - what vb_submissions_free_later() could not free
 * @work: vb_device.free
 *
 * Context: a worker; takes work_lock; may sleep.
 */
void vb_submissions_free_now(struct work_struct *work)
{
	struct vb_submission *s, *next;
	LIST_HEAD(ended);

	spin_lock(&vb.work_lock);
	list_splice_tail_init(&vb.ended, &ended);
	spin_unlock(&vb.work_lock);
	list_for_each_entry_safe(s, next, &ended, work.link) {
		list_del_init(&s->work.link);
		submission_free_rest(s);
	}
}

/* ---- steps of a submission, each undone by submission_free() ---- */

static int copy_stream(struct vb_submission *s, const struct vb_ioc_submit *cmd)
{
	struct vb_cmd_error error;

	if (copy_from_user(s->stream, u64_to_user_ptr(cmd->stream_address), cmd->stream_bytes))
		return -EFAULT;
	return vb_stream_check_header(s->stream, s->stream_bytes, &error) ? -EINVAL : 0;
}

/* The object is in the list, and counted, before anything else can fail. */
static int add_bo(struct vb_submission *s, const struct vb_exec_bo *ref)
{
	struct vb_bo *bo;

	if (vb_submit_check_access(ref->access))
		return -EINVAL;
	bo = vb_bo_get(s->queue->client, ref->object);
	if (!bo)
		return -ENOENT;
	vb_bo_show(bo);
	s->bos[s->bo_count] = bo;
	s->refs[s->bo_count++] = (struct vb_exec_bo){ .object = bo->id };
	return 0;
}

/*
 * Each object once, but for stores, of which a client may have several handles; no write to
 * what is sealed; then it counts as written.
 */
static int claim_bo_locked(struct vb_submission *s, u32 i, u32 access, u64 mark)
{
	struct vb_bo *bo = s->bos[i];

	lockdep_assert_held(&vb.work_lock);
	if (bo->mark == mark && !bo->is_store)
		return -EINVAL;
	if (access & VB_ACCESS_WRITE && bo->traits.sealed)
		return -EROFS;
	bo->mark = mark;
	bo->writers += (access & VB_ACCESS_WRITE) != 0;
	s->refs[i].access = access;
	return 0;
}

static int claim_bos(struct vb_submission *s, const struct vb_exec_bo *refs)
{
	u32 i;
	u64 mark;
	int rc = 0;

	spin_lock(&vb.work_lock);
	mark = ++vb.clock;
	for (i = 0; !rc && i < s->bo_count; i++)
		rc = claim_bo_locked(s, i, refs[i].access, mark);
	spin_unlock(&vb.work_lock);
	return rc;
}

static int add_bos(struct vb_submission *s, const struct vb_ioc_submit *cmd)
{
	size_t bytes = (size_t)cmd->bo_count * sizeof(struct vb_bo_ref);
	struct vb_exec_bo *refs;	/* struct vb_bo_ref has the same form */
	u32 i;
	int rc = 0;

	static_assert(sizeof(struct vb_bo_ref) == sizeof(struct vb_exec_bo));
	if (!cmd->bo_count)
		return 0;
	refs = kvmalloc(bytes, GFP_KERNEL_ACCOUNT);
	if (!refs)
		return -ENOMEM;
	if (copy_from_user(refs, u64_to_user_ptr(cmd->bos_address), bytes))
		rc = -EFAULT;
	for (i = 0; !rc && i < cmd->bo_count; i++)
		rc = add_bo(s, &refs[i]);
	if (!rc)
		rc = claim_bos(s, refs);
	kvfree(refs);
	return rc;
}

/* Has a file changed?  Objects of one file stand together more often than not. */
static int check_files(struct vb_submission *s)
{
	const struct vb_file *last = NULL;
	u32 i;
	int rc = 0;

	for (i = 0; !rc && i < s->bo_count; i++) {
		struct vb_bo *bo = s->bos[i];

		if (!bo->file || bo->file == last)
			continue;
		last = bo->file;
		rc = vb_file_check(last);
		if (rc == -ESTALE) {
			mutex_lock(&bo->lock);
			bo->flags |= VB_BO_STALE;
			mutex_unlock(&bo->lock);
		}
	}
	return rc;
}

/* Room for two panels is what a command needs to make progress. */
static int check_share(struct vb_client *c)
{
	u64 bytes;

	spin_lock(&vb.slot_lock);
	bytes = min(vb_host_bytes_locked(), vb_quota_least(&c->quota, VB_LIMIT_HOST_MAX));
	spin_unlock(&vb.slot_lock);
	return bytes < 2 * READ_ONCE(vb.panel_bytes) ? -ENOSPC : 0;
}

static int add_fence_locked(struct vb_submission *s, struct vb_queue *q, u64 seqno)
{
	struct vb_dependent *d = &s->fences[s->fence_count];
	struct vb_result r;
	int rc;

	if (!seqno || seqno > q->submitted)
		return -EINVAL;
	d->submission = s;
	d->seqno = seqno;
	s->fence_count++;
	if (!vb_fence_is_over_locked(q, seqno)) {
		s->unmet++;
		vb_dependent_add_locked(q, d);
		return 0;
	}
	rc = vb_fence_result_locked(q, seqno, &r);
	if (!rc && r.status && !s->in_status)
		s->in_status = r.status;
	return rc;
}

static int add_fence(struct vb_submission *s, const struct vb_fence *fence)
{
	struct vb_queue *q = vb_queue_get(s->queue->client, fence->queue_id);
	int rc = -EINVAL;

	if (!q)
		return -ENOENT;
	spin_lock(&vb.work_lock);
	if (!fence->__reserved)
		rc = add_fence_locked(s, q, fence->seqno);
	spin_unlock(&vb.work_lock);
	/* Fences that did not signal belong to submissions, which hold their queue. */
	vb_queue_put(q);
	return rc;
}

static int add_fences(struct vb_submission *s, const struct vb_ioc_submit *cmd)
{
	const struct vb_fence __user *from = u64_to_user_ptr(cmd->fences_address);
	struct vb_fence fence;
	u32 i;
	int rc = 0;

	for (i = 0; !rc && i < cmd->fence_count; i++) {
		if (copy_from_user(&fence, &from[i], sizeof(fence)))
			return -EFAULT;
		rc = add_fence(s, &fence);
	}
	return rc;
}

static int publish_locked(struct vb_submission *s, u64 *out_seqno, struct list_head *ended)
{
	struct vb_queue *q = s->queue;
	int rc;

	lockdep_assert_held(&vb.work_lock);
	if (!vb_takes_work())
		return -ENODEV;
	if (q->destroyed)
		return -ENOENT;
	rc = vb_quota_charge(&q->client->quota, VB_USE_SUBMISSIONS, 1);
	if (rc)
		return rc;
	s->seqno = q->submitted + 1;
	WRITE_ONCE(q->submitted, s->seqno);	/* vb_wait() looks at it */
	*out_seqno = s->seqno;
	vb_count_locked(q->client, VB_COUNT_SUBMITS, 1);
	trace_vb_submit(q, s);
	vb_queue_add_locked(s);
	vb_queue_advance_locked(q, ended);
	return 0;
}

static int submit(struct vb_submission *s, struct vb_ioc_submit *cmd)
{
	LIST_HEAD(ended);
	int rc;

	rc = add_bos(s, cmd);
	if (rc)
		return rc;
	rc = check_files(s);
	if (rc)
		return rc;
	if (!vb_takes_work())
		return -ENODEV;
	rc = s->bo_count ? check_share(s->queue->client) : 0;
	if (rc)
		return rc;
	rc = vb_queue_reserve(s->queue);
	if (rc)
		return rc;
	rc = add_fences(s, cmd);
	if (rc)
		return rc;
	spin_lock(&vb.work_lock);
	rc = publish_locked(s, &cmd->out_seqno, &ended);
	spin_unlock(&vb.work_lock);
	vb_submissions_free(&ended);
	return rc;
}

/**
 * vb_submit() - VB_IOC_SUBMIT: a command buffer takes its place in a queue
 * @c: who asks
 * @u: struct vb_ioc_submit
 *
 * Everything that the executor will see is copied first. What fails leaves nothing behind,
 * and no number is used up.
 *
 * Context: takes the locks of its objects, slot_lock, work_lock, none while copying; sleeps as
 * long as the file systems of its objects like, else waits for nobody.
 * Return: 0; -EINVAL; -EFAULT; -ENOENT; -EROFS; -ESTALE a file has changed, or a fence is too
 * old to know; -ENODEV; -ENOSPC; -EDQUOT; -ENOMEM.
 */
int vb_submit(struct vb_client *c, struct vb_ucmd *u)
{
	struct vb_ioc_submit *cmd = u->cmd;
	struct vb_submission *s;
	int rc;

	rc = vb_submit_check(cmd);
	if (rc)
		return rc;
	s = submission_new(c, cmd);
	if (IS_ERR(s))
		return PTR_ERR(s);
	rc = copy_stream(s, cmd);
	if (rc)
		goto err_free;
	rc = -ENOENT;
	s->queue = vb_queue_get(c, cmd->queue_id);
	if (!s->queue)
		goto err_free;
	rc = vb_ucmd_can_respond(u);
	if (rc)
		goto err_free;
	rc = submit(s, cmd);
	if (rc)
		goto err_free;
	return 0;

err_free:
	submission_free(s);
	return rc;
}
