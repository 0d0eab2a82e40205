// SPDX-License-Identifier: GPL-2.0
/*
 * The executor node.  A tag carries the generation of the executor it was given to
 * in its upper half: what a dead executor still sends is told from what a living
 * one invents.
 *
 * That its file is released is what detaches an executor, so its memory is not mapped and no call
 * of it runs any more when another one may come.  One that has work and makes no call within the
 * timeout is killed, what it has mapped is taken from whoever has it, and no call of it begins:
 * when none runs it is detached, though its file is open.  Its process may be unable to leave: a
 * client can hold the lock of a file that it reads, and whoever waits for that cannot be killed.
 */
#include "exec.h"

#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/oom.h>
#include <linux/pid.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "core/death.h"
#include "core/share.h"
#include "bo.h"
#include "client.h"
#include "file.h"
#include "fill.h"
#include "import.h"
#include "map.h"
#include "queue.h"
#include "recover.h"
#include "request.h"
#include "submit.h"
#include "trace.h"
#include "ucmd.h"
#include "uring.h"
#include "vb.h"
#include "wait.h"

#define WATCH_MS	250u	/* between two looks */
#define LOOKS_LAST	2u	/* that find no call of who was silent */
#define REQUESTS_IN_ROW	8u	/* while a submission is ready */
#define ERRNO_LAST	511	/* those beyond never leave a kernel: -ERESTARTSYS is one */

static struct vb_request *request_of(struct vb_work *work)
{
	return container_of(work, struct vb_request, work);
}

static struct vb_submission *submission_of(struct vb_work *work)
{
	return container_of(work, struct vb_submission, work);
}

static u64 tag_of(const struct vb_work *work)
{
	return (u64)vb.generation << 32 | work->tag;
}

/* What a tag names, if it was fetched; the caller is in an RCU section. */
static struct vb_work *work_find_locked(u64 tag, int *rc)
{
	struct vb_work *work;

	lockdep_assert_held(&vb.work_lock);
	*rc = -ESTALE;
	if (tag >> 32 != vb.generation)
		return NULL;
	work = xa_load(&vb.tags, (u32)tag);
	*rc = work && work->fetched ? 0 : -ENOENT;
	return *rc ? NULL : work;
}

/* ---- the node ---- */

/**
 * vb_exec_open() - open() of the executor's node; it is no executor before it attaches
 * @inode: node
 * @filp: file; its private data becomes the struct vb_exec
 *
 * Context: takes exec_lock; may sleep.
 * Return: 0; -EBUSY another one has it open; -ENOMEM.
 */
int vb_exec_open(struct inode *inode, struct file *filp)
{
	struct vb_exec *x = kzalloc(sizeof(*x), GFP_KERNEL_ACCOUNT);
	int rc;

	if (!x)
		return -ENOMEM;
	x->slots = vmalloc_user(VB_MMAP_FETCH_BYTES);
	if (!x->slots) {
		rc = -ENOMEM;
		goto err_free;
	}
	x->inode = vb_inode_new();
	if (IS_ERR(x->inode)) {
		rc = PTR_ERR(x->inode);
		goto err_slots;
	}
	INIT_LIST_HEAD(&x->windows);
	mutex_lock(&vb.exec_lock);
	vb_recovery_check();
	rc = vb.exec ? -EBUSY : 0;
	if (!rc)
		vb.exec = x;
	mutex_unlock(&vb.exec_lock);
	if (rc)
		goto err_inode;
	filp->private_data = x;
	filp->f_mapping = x->inode->i_mapping;
	return 0;

err_inode:
	vb_inode_free(x->inode);
err_slots:
	vfree(x->slots);
err_free:
	kfree(x);
	return rc;
}

/* ---- heartbeat ---- */

unsigned int vb_exec_timeout_ms = 30000;

static bool has_duties(void)
{
	bool duties;

	spin_lock(&vb.work_lock);
	duties = vb.fetched || !vb_line_is_empty(&vb.requests) || !vb_share_is_idle(&vb.shares);
	spin_unlock(&vb.work_lock);
	return duties;
}

/*
 * Its file may be in other hands, by fork or over a socket, and so may what it has mapped.
 * A fault that was under way is undone by the next look.
 */
static void end_silence(struct vb_exec *x)
{
	const bool runs = atomic_read(&x->calls);

	WRITE_ONCE(x->was_silent, true);
	x->looks = runs ? 0 : x->looks + 1;
	kill_pid(x->pid, SIGKILL, 1);
	unmap_mapping_range(x->inode->i_mapping, 0, 0, 1);
	wake_up_all(&vb.fetch);
	vb_uring_end_fetches();
}

/* Idle time is no silence: it begins with the first duty. */
static void look_after(struct vb_exec *x)
{
	u64 timeout_ns = (u64)READ_ONCE(vb_exec_timeout_ms) * NSEC_PER_MSEC;
	u64 last_ns = READ_ONCE(x->last_call_ns);

	/* A call that comes meanwhile is later than now: add, never subtract. */
	if (x->was_silent)
		end_silence(x);
	else if (!timeout_ns || !has_duties())
		vb_exec_beat(x);
	else if (ktime_get_ns() > last_ns + timeout_ns)
		end_silence(x);
}

/* Its process may be there no more, and whoever waited for it have been told. */
static struct vb_death death_of(const struct vb_exec *x)
{
	const struct signal_struct *process = x->task->signal;

	return (struct vb_death){
		.status = READ_ONCE(process->group_exit_code),
		.ended = READ_ONCE(process->flags) & SIGNAL_GROUP_EXIT,
		.was_silent = x->was_silent,
		.was_starved = tsk_is_oom_victim(x->task),
	};
}

/* It is the executor no more: another one may come. */
static void leave(struct vb_exec *x)
{
	const struct vb_death death = death_of(x);

	vb_exec_left(vb_death_is_blamed(&death));
	put_task_struct(x->task);
	put_pid(x->pid);
	vb.exec = NULL;
}

/**
 * vb_exec_watch() - kill an executor that has work and has made no call for too long
 * @work: vb_device.watch; queued again as long as one is attached
 *
 * It is detached by that its file is released, which its death brings about; or here, when none
 * of its calls runs; faults that it had begun are waited for then.
 * What he still refers to is told by the counts of its pages, as with any that has gone.
 *
 * Context: a worker; takes exec_lock, work_lock.
 */
void vb_exec_watch(struct work_struct *work)
{
	mutex_lock(&vb.exec_lock);
	if (vb.exec && vb.exec->attached) {
		look_after(vb.exec);
		if (vb.exec->looks > LOOKS_LAST) {
			vb_exec_forsake(vb.exec);
			leave(vb.exec);
			vb.lingering++;
		} else {
			schedule_delayed_work(&vb.watch, msecs_to_jiffies(WATCH_MS));
		}
	}
	mutex_unlock(&vb.exec_lock);
}

/**
 * vb_exec_set_state() - the device goes from one state to another
 * @state: enum vb_exec_state
 *
 * Context: exec_lock; takes work_lock, so that under either of them it stays as it is.
 */
void vb_exec_set_state(u32 state)
{
	spin_lock(&vb.work_lock);
	WRITE_ONCE(vb.exec_state, state);
	spin_unlock(&vb.work_lock);
}

/**
 * vb_exec_attach() - VB_IOC_EXEC_ATTACH: the caller's process is the executor
 * @x: who asks
 * @u: struct vb_ioc_exec_attach; @out_state says whether it has to recover
 *
 * Context: takes exec_lock, work_lock.
 * Return: 0; -EBUSY it is already.
 */
int vb_exec_attach(struct vb_exec *x, struct vb_ucmd *u)
{
	struct vb_ioc_exec_attach *cmd = u->cmd;
	int rc = 0;

	vb_fill_forget();
	mutex_lock(&vb.exec_lock);
	if (x->attached) {
		rc = -EBUSY;
	} else {
		WRITE_ONCE(vb.staging_bytes, cmd->staging_bytes);
		WRITE_ONCE(vb.panel_bytes, cmd->panel_bytes);
		WRITE_ONCE(vb.generation, vb.generation + 1);
		cmd->out_generation = vb.generation;
		vb_fill_allow(0);
		vb_fill_hold(false);
		x->pid = get_pid(task_tgid(current));
		x->task = get_task_struct(current->group_leader);
		WRITE_ONCE(x->attached, true);
		cmd->out_state = vb.exec_state == VB_EXEC_QUIESCED ? VB_EXEC_RECOVERING :
								     VB_EXEC_LIVE;
		cmd->out_lingering = vb.lingering;
		vb_exec_set_state(cmd->out_state);
		schedule_delayed_work(&vb.watch, msecs_to_jiffies(WATCH_MS));
	}
	mutex_unlock(&vb.exec_lock);
	return rc;
}

/**
 * vb_exec_release() - the last reference to the executor's file has gone
 * @inode: node
 * @filp: file
 *
 * Nobody has its memory mapped and no call is in it: now another one may come, if it was not
 * for its silence that one might before.
 *
 * Context: takes exec_lock; may sleep.
 * Return: 0.
 */
int vb_exec_release(struct inode *inode, struct file *filp)
{
	struct vb_exec *x = filp->private_data;

	mutex_lock(&vb.exec_lock);
	if (vb.exec != x)
		vb.lingering--;
	else if (x->attached)
		leave(x);
	else
		vb.exec = NULL;
	mutex_unlock(&vb.exec_lock);
	vb_inode_free(x->inode);
	vfree(x->slots);
	kfree(x);
	return 0;
}

/* ---- fetch ---- */

static u64 address_of(const struct vb_exec *x, const void *p)
{
	return p ? READ_ONCE(x->submit_address) + (u64)(p - vb.submit_base) : 0;
}

static struct vb_request *first_request_locked(void)
{
	struct vb_line_place *first = vb_line_first(&vb.requests);

	return first ? container_of(first, struct vb_request, place) : NULL;
}

static void fetch_request_locked(struct vb_exec *x, struct vb_ioc_fetch *cmd)
{
	struct vb_request *r = first_request_locked();

	vb_line_serve(&vb.requests);
	r->work.fetched = true;
	vb.fetched++;
	if (r->client->schedule == r)
		r->client->schedule = NULL;
	vb.requests_in_row++;
	cmd->flags = r->flags;
	cmd->out_tag = tag_of(&r->work);
	cmd->out_type = r->type;
	cmd->out_client = r->client->number;
	cmd->out_deadline_ns = r->deadline_ns;
	cmd->out_object = r->bo ? r->bo->id : r->arena;
	cmd->out_chunk = r->first;
	cmd->out_count = r->count;
	cmd->out_bos_address = address_of(x, r->ranges);
	cmd->out_numa_node = r->node;
}

static void fetch_submission_locked(struct vb_exec *x, struct vb_ioc_fetch *cmd)
{
	struct vb_submission *s = vb_queue_next_locked();
	const struct vb_queue *q = s->queue;

	vb_queue_start_locked(s);
	vb.requests_in_row = 0;
	s->fetched_ns = ktime_get_ns();
	cmd->flags = 0;
	cmd->out_tag = tag_of(&s->work);
	cmd->out_type = VB_FETCH_SUBMIT;
	cmd->out_client = q->client->number;
	cmd->out_queue = q->number;
	cmd->out_weight = q->share.member.weight;
	cmd->out_seqno = s->seqno;
	cmd->out_deadline_ns = s->deadline_ns;
	cmd->out_stream_address = address_of(x, s->stream);
	cmd->out_stream_bytes = s->stream_bytes;
	cmd->out_bo_count = s->bo_count;
	cmd->out_bos_address = address_of(x, s->refs);
	cmd->out_numa_node = NUMA_NO_NODE;
}

static bool has_work(u32 flags)
{
	return !vb_line_is_empty(&vb.requests) ||
	       (!(flags & VB_FETCH_F_URGENT) && vb_queues_have_next());
}

/* Submissions of others go before it when its client has had more executor time. */
static bool request_is_next_locked(u32 flags)
{
	const struct vb_request *r = first_request_locked();

	return r && (flags & VB_FETCH_F_URGENT || !vb_queues_have_next() ||
		     (vb.requests_in_row < REQUESTS_IN_ROW &&
		      !vb_share_is_ahead(&vb.shares, &r->client->share)));
}

static bool fetch_one_locked(struct vb_exec *x, struct vb_ioc_fetch *cmd, u32 flags)
{
	if (vb.exec_state != VB_EXEC_LIVE || vb_exec_role(x))
		return false;
	if (request_is_next_locked(flags))
		fetch_request_locked(x, cmd);
	else if (!(flags & VB_FETCH_F_URGENT) && vb_queues_have_next())
		fetch_submission_locked(x, cmd);
	else
		return false;
	return true;
}

/**
 * vb_fetch_locked() - hand work out, into slots of the executor
 * @x: executor, which has mapped the submit region
 * @first: first slot
 * @count: slots there are
 * @flags: VB_FETCH_F_URGENT: requests only
 *
 * What is in a slot is in the executor's hands from here on, to be committed.
 *
 * Context: work_lock.
 * Return: how many were filled; 0: there is nothing to do, or the device is not LIVE.
 */
u32 vb_fetch_locked(struct vb_exec *x, u32 first, u32 count, u32 flags)
{
	struct vb_ioc_fetch cmd;
	u32 n;

	static_assert(sizeof(cmd) <= VB_URING_SLOT_BYTES);
	lockdep_assert_held(&vb.work_lock);
	for (n = 0; n < count; n++) {
		memset(&cmd, 0, sizeof(cmd));
		cmd.size = sizeof(cmd);
		if (!fetch_one_locked(x, &cmd, flags))
			break;
		memcpy(x->slots + (first + n) * VB_URING_SLOT_BYTES, &cmd, sizeof(cmd));
	}
	return n;
}

/**
 * vb_fetch_wake_locked() - there is work
 * @urgent: a request, and no submission
 *
 * Wakes one command of io_uring that waits for it. Who sleeps in a call wants the lock
 * first: vb_fetch_wake() is to follow when it has been let go.
 *
 * Context: work_lock.
 */
void vb_fetch_wake_locked(bool urgent)
{
	lockdep_assert_held(&vb.work_lock);
	/* Another one may take it, and wakes for us too: he has to see what there is to do. */
	smp_store_release(&vb.kick, true);
	vb_uring_wake_locked(urgent);
}

/**
 * vb_fetch_wake() - wake who sleeps in a call of the executor, if there has been work
 *
 * Who wakes mostly sleeps next, for the answer, and leaves his processor to the executor.
 *
 * Context: any; not under work_lock, which whoever is woken wants first.
 */
void vb_fetch_wake(void)
{
	/* xchg() is the barrier between what there is to do and waitqueue_active(). */
	if (READ_ONCE(vb.kick) && xchg(&vb.kick, false) && waitqueue_active(&vb.fetch))
		wake_up_interruptible_sync(&vb.fetch);
}

/**
 * vb_exec_poll() - poll() of the executor's node
 * @filp: file
 * @table: of the caller
 *
 * Context: takes work_lock.
 * Return: EPOLLPRI with EPOLLIN: a request; EPOLLIN: a submission may be fetched; EPOLLERR:
 * it has not attached, or was silent for too long.
 */
__poll_t vb_exec_poll(struct file *filp, struct poll_table_struct *table)
{
	struct vb_exec *x = filp->private_data;
	__poll_t mask = 0;

	if (vb_exec_role(x))
		return EPOLLERR;
	poll_wait(filp, &vb.fetch, table);
	spin_lock(&vb.work_lock);
	if (!vb_line_is_empty(&vb.requests))
		mask |= EPOLLIN | EPOLLRDNORM | EPOLLPRI;
	if (vb_queues_have_next())
		mask |= EPOLLIN | EPOLLRDNORM;
	spin_unlock(&vb.work_lock);
	return mask;
}

static bool fetch_try(struct vb_exec *x, struct vb_ioc_fetch *cmd, u32 flags)
{
	bool got;

	spin_lock(&vb.work_lock);
	got = fetch_one_locked(x, cmd, flags);
	spin_unlock(&vb.work_lock);
	return got;
}

/* Not while others want the processor: to sleep is what lets them have it. */
static bool spin_for(u32 flags, u32 spin_ns)
{
	WRITE_ONCE(vb.polls, spin_ns);
	return spin_ns && vb_spin_until(has_work(flags), spin_ns);
}

/**
 * vb_exec_fetch() - VB_IOC_FETCH: something to do, waited for
 * @x: executor
 * @u: struct vb_ioc_fetch
 *
 * Context: takes work_lock, not while waiting; interruptible.
 * Return: 0; -EINVAL it has not mapped the submit region; -EPERM the device is not LIVE; -EAGAIN
 * nothing, and it does not wait; -EINTR; -ESTALE it was silent for too long.
 */
int vb_exec_fetch(struct vb_exec *x, struct vb_ucmd *u)
{
	struct vb_ioc_fetch *cmd = u->cmd;
	u32 flags = cmd->flags, size = cmd->size, spin_ns = cmd->spin_ns;

	if (!READ_ONCE(x->submit_address))
		return -EINVAL;
	if (!vb_is_live())
		return -EPERM;
	memset(cmd, 0, sizeof(*cmd));
	cmd->size = size;
	while (!fetch_try(x, cmd, flags)) {
		cmd->flags = flags;
		if (flags & VB_FETCH_F_NOWAIT)
			return -EAGAIN;
		if (!spin_for(flags, spin_ns) &&
		    wait_event_interruptible(vb.fetch, has_work(flags) || vb_exec_role(x)))
			return -EINTR;
		if (vb_exec_role(x))
			return -ESTALE;
	}
	return 0;
}

/* ---- commit ---- */

/* Do all results of durable objects lie where they outlive the executor? */
static bool is_durable_locked(const struct vb_submission *s)
{
	u32 i;

	for (i = 0; i < s->bo_count; i++)
		if (s->refs[i].access & VB_ACCESS_WRITE &&
		    s->bos[i]->traits.life == VB_LIFE_DURABLE && READ_ONCE(s->bos[i]->device_only))
			return false;
	return true;
}

static int commit_submission_locked(struct vb_submission *s, const struct vb_ioc_commit *cmd,
				    struct list_head *ended)
{
	u64 wall = ktime_get_ns() - s->fetched_ns;
	int status = s->queue->destroyed ? -ECANCELED : cmd->status;

	if (!status && !is_durable_locked(s))
		return -EBUSY;
	trace_vb_commit(s->queue, s->seqno, status, min(cmd->busy_ns, wall));
	vb_complete_locked(s, status, cmd->bad_command, min(cmd->busy_ns, wall), ended);
	return 0;
}

/* From here the request is this thread's to end. */
static int claim_request_locked(struct vb_request *r, u64 busy_ns)
{
	if (r->type == VB_FETCH_FORGET && READ_ONCE(r->bo->move_count))
		return -EBUSY;
	r->work.fetched = false;
	vb.fetched--;
	vb_share_charge(&vb.shares, &r->client->share, busy_ns);
	return 0;
}

static void end_request(struct vb_request *r, int status)
{
	struct vb_bo *forgotten = r->type == VB_FETCH_FORGET ? r->bo : NULL;

	if (forgotten) {
		kref_get(&forgotten->kref);
		vb_bo_free(forgotten);
	}
	vb_request_done(r, status);
	if (forgotten)
		vb_bo_unlook(forgotten);
}

/**
 * vb_commit() - the executor's word on what it had fetched
 * @cmd: tag and status
 * @may_sleep: the caller may; else requests are not ended, and what is freed is freed later
 *
 * Context: takes work_lock; with @may_sleep also the locks that the end of a request takes.
 * Return: 0; -EINVAL the status is no errno; -ESTALE of another executor's time; -ENOENT no such
 * tag was fetched; -EBUSY a durable result is on a device alone, or chunks of what is to be
 * forgotten still move; -EAGAIN it takes somebody who may sleep.
 */
int vb_commit(const struct vb_ioc_commit *cmd, bool may_sleep)
{
	struct vb_request *r = NULL;
	struct vb_work *work;
	LIST_HEAD(ended);
	int rc;

	if (cmd->status > 0 || cmd->status < -ERRNO_LAST)
		return -EINVAL;
	if (cmd->generation != READ_ONCE(vb.generation))
		return -ESTALE;
	rcu_read_lock();
	spin_lock(&vb.work_lock);
	work = work_find_locked(cmd->tag, &rc);
	if (work && work->is_submission) {
		rc = commit_submission_locked(submission_of(work), cmd, &ended);
	} else if (work && !may_sleep) {
		rc = -EAGAIN;
	} else if (work) {
		rc = claim_request_locked(request_of(work), cmd->busy_ns);
		r = rc ? NULL : request_of(work);
	}
	spin_unlock(&vb.work_lock);
	rcu_read_unlock();
	if (may_sleep)
		vb_submissions_free(&ended);
	else
		vb_submissions_free_later(&ended);
	if (r)
		end_request(r, cmd->status);
	return rc;
}

/**
 * vb_exec_commit() - VB_IOC_COMMIT
 * @x: executor
 * @u: struct vb_ioc_commit
 *
 * Context: no lock held; may sleep.
 * Return: as vb_commit().
 */
int vb_exec_commit(struct vb_exec *x, struct vb_ucmd *u)
{
	return vb_commit(u->cmd, true);
}

static u32 cancel_of_locked(struct vb_work *work)
{
	struct vb_submission *s = work->is_submission ? submission_of(work) : NULL;
	u64 deadline_ns = s ? s->deadline_ns : request_of(work)->deadline_ns;

	if (s && s->queue->destroyed)
		return VB_CANCEL_CLIENT;
	if (!s && request_of(work)->expired)
		return VB_CANCEL_DEADLINE;
	return deadline_ns && deadline_ns <= ktime_get_ns() ? VB_CANCEL_DEADLINE : VB_CANCEL_NONE;
}

/**
 * vb_exec_poll_cancel() - VB_IOC_POLL_CANCEL: is it still wanted
 * @x: executor
 * @u: struct vb_ioc_poll_cancel
 *
 * Context: takes work_lock.
 * Return: 0; -ESTALE of another executor's time; -ENOENT no such tag was fetched.
 */
int vb_exec_poll_cancel(struct vb_exec *x, struct vb_ucmd *u)
{
	struct vb_ioc_poll_cancel *cmd = u->cmd;
	struct vb_work *work;
	int rc;

	rcu_read_lock();
	spin_lock(&vb.work_lock);
	work = work_find_locked(cmd->tag, &rc);
	if (work)
		cmd->out_cancel = cancel_of_locked(work);
	spin_unlock(&vb.work_lock);
	rcu_read_unlock();
	return rc;
}

/* ---- objects, counters ---- */

static void describe(struct vb_bo *bo, struct vb_ioc_object_open *cmd)
{
	mutex_lock(&bo->lock);
	cmd->out_kind = bo->traits.kind;
	cmd->out_life = bo->traits.life;
	cmd->out_flags = bo->flags;
	cmd->out_client = bo->client->number;
	cmd->out_bytes = bo->bytes;
	cmd->out_file_offset = bo->file_offset;
	cmd->out_file_bytes = bo->file_bytes;
	cmd->out_head_bytes = bo->head_bytes;
	cmd->out_chunks = bo->chunks;
	cmd->out_transform = bo->transform;
	cmd->out_table_address = 0;
	cmd->out_table_mmap = VB_MMAP_TABLE << VB_MMAP_WHAT_SHIFT |
			      (u64)bo->id << VB_MMAP_OBJECT_SHIFT;
	mutex_unlock(&bo->lock);
}

static int check_file(struct vb_bo *bo)
{
	int rc = vb_file_check(bo->file);

	if (rc == -ESTALE) {
		mutex_lock(&bo->lock);
		bo->flags |= VB_BO_STALE;
		mutex_unlock(&bo->lock);
	}
	return rc;
}

static struct file *file_of(struct vb_bo *bo)
{
	if (bo->import)
		return vb_import_file(bo);
	return bo->file->shown;
}

/* The descriptor is there before the caller is told, and works when it has been. */
static int open_file(struct vb_bo *bo, struct vb_ucmd *u)
{
	struct vb_ioc_object_open *cmd = u->cmd;
	int fd, rc;

	/* Nobody would be told of the descriptor. */
	if (u->user_bytes < offsetofend(struct vb_ioc_object_open, out_fd))
		return -EINVAL;
	rc = bo->file ? check_file(bo) : 0;
	if (rc)
		return rc;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	cmd->out_fd = fd;
	describe(bo, cmd);
	rc = vb_ucmd_respond(u);
	if (rc)
		put_unused_fd(fd);
	else
		fd_install(fd, get_file(file_of(bo)));
	return rc;
}

/**
 * vb_exec_object_open() - VB_IOC_OBJECT_OPEN: what an object is, and its file or dma-buf
 * @x: executor
 * @u: struct vb_ioc_object_open; answered before the descriptor works
 *
 * The executor is asked to forget the object from here on, before it is freed.
 *
 * Context: takes the object's lock; may sleep, but for no file system that is elsewhere.
 * Return: 0; -ESTALE nobody uses the object any more, or its file has changed; -EINVAL the
 * caller's structure is too short to be told of the descriptor; -EFAULT; -EMFILE.
 */
int vb_exec_object_open(struct vb_exec *x, struct vb_ucmd *u)
{
	struct vb_ioc_object_open *cmd = u->cmd;
	struct vb_bo *bo = vb_bo_look(cmd->object);
	int rc = -ESTALE;

	cmd->out_fd = -1;
	if (!bo)
		return -ESTALE;
	if (refcount_inc_not_zero(&bo->users)) {
		vb_bo_show(bo);
		describe(bo, cmd);
		rc = bo->file || bo->import ? open_file(bo, u) : 0;
		vb_bo_put(bo);
	}
	vb_bo_unlook(bo);
	return rc;
}

/* These the device counts itself. */
static bool is_own_counter(u32 i)
{
	return i == VB_COUNT_SUBMITS || i == VB_COUNT_ERRORS || i == VB_COUNT_BUSY_NS;
}

/**
 * vb_exec_stats() - VB_IOC_EXEC_STATS: what the executor has counted, to be added
 * @x: executor
 * @u: struct vb_ioc_exec_stats; what the device counts itself is passed over
 *
 * Context: takes work_lock; may fault.
 * Return: 0, also for a client that has gone; -EINVAL more counters than there are; -EFAULT.
 */
int vb_exec_stats(struct vb_exec *x, struct vb_ucmd *u)
{
	struct vb_ioc_exec_stats *cmd = u->cmd;
	u64 add[VB_COUNT_COUNT];
	struct vb_client *c;
	u32 i;

	if (cmd->count > VB_COUNT_COUNT)
		return -EINVAL;
	if (copy_from_user(add, u64_to_user_ptr(cmd->address), cmd->count * sizeof(u64)))
		return -EFAULT;
	/* A client that is gone by now is no error: the device counts on. */
	c = cmd->client ? vb_client_find(cmd->client) : NULL;
	spin_lock(&vb.work_lock);
	for (i = 0; i < cmd->count; i++) {
		if (!add[i] || is_own_counter(i))
			continue;
		vb.counters[i] += add[i];
		if (c)
			c->counters[i] += add[i];
	}
	spin_unlock(&vb.work_lock);
	if (c)
		vb_client_put(c);
	return 0;
}

/* ---- several at once ---- */

static int exchange_count(struct vb_exec *x, const struct vb_ioc_exchange *cmd)
{
	struct vb_ioc_exec_stats stats;
	struct vb_ucmd u = { .cmd = &stats };

	if (!cmd->stats_address)
		return 0;
	if (copy_from_user(&stats, u64_to_user_ptr(cmd->stats_address), sizeof(stats)))
		return -EFAULT;
	if (stats.size != sizeof(stats) || stats.__reserved)
		return -EINVAL;
	return vb_exec_stats(x, &u);
}

static int exchange_commit(struct vb_ioc_exchange *cmd)
{
	const struct vb_ioc_commit __user *from = u64_to_user_ptr(cmd->commits_address);
	struct vb_ioc_commit c;
	int rc = 0;

	while (!rc && cmd->out_committed < cmd->commit_count) {
		if (copy_from_user(&c, &from[cmd->out_committed], sizeof(c)))
			return -EFAULT;
		rc = c.size == sizeof(c) ? vb_commit(&c, true) : -EINVAL;
		cmd->out_committed += !rc;
	}
	return rc;
}

static int exchange_fetch(struct vb_exec *x, struct vb_ioc_exchange *cmd)
{
	struct vb_ioc_fetch __user *to = u64_to_user_ptr(cmd->fetches_address);
	struct vb_ioc_fetch f;

	while (cmd->out_fetched < cmd->fetch_count) {
		memset(&f, 0, sizeof(f));
		f.size = sizeof(f);
		if (!fetch_try(x, &f, cmd->flags))
			break;
		if (copy_to_user(&to[cmd->out_fetched], &f, sizeof(f)))
			return -EFAULT;
		cmd->out_fetched++;
	}
	return 0;
}

static int exchange_sleep(struct vb_exec *x, const struct vb_ioc_exchange *cmd)
{
	if (!spin_for(cmd->flags, cmd->spin_ns) &&
	    wait_event_interruptible(vb.fetch, has_work(cmd->flags) || READ_ONCE(x->stopped) ||
				     vb_exec_role(x)))
		return -EINTR;
	return vb_exec_role(x);
}

#define FILLS_BOTH	(VB_EXCHANGE_F_HOLD_FILLS | VB_EXCHANGE_F_LET_FILLS)

/*
 * To call again after a signal would count and commit again: then it is over, with nothing
 * fetched.
 */
static bool may_be_repeated(const struct vb_ioc_exchange *cmd)
{
	return !cmd->out_committed && !cmd->stats_address;
}

static bool is_fetched(struct vb_exec *x, const struct vb_ioc_exchange *cmd)
{
	return cmd->out_fetched || !cmd->fetch_count || cmd->flags & VB_FETCH_F_NOWAIT ||
	       READ_ONCE(x->stopped);
}

/**
 * vb_exec_exchange() - VB_IOC_EXCHANGE: count, commit, and fetch what is next, in one call
 * @x: executor
 * @u: struct vb_ioc_exchange; says how many were committed and fetched, also on an error
 *
 * When something was committed a signal ends it without an error: to call again would
 * commit again.
 *
 * Context: takes what vb_exec_stats(), vb_commit() and vb_exec_fetch() take; interruptible.
 * Return: 0; -EINVAL; -EPERM to fetch, and the device is not LIVE; -EFAULT; -EINTR; -ESTALE it
 * was silent for too long; what vb_commit() says of the first that is refused.
 */
int vb_exec_exchange(struct vb_exec *x, struct vb_ucmd *u)
{
	struct vb_ioc_exchange *cmd = u->cmd;
	int rc;

	cmd->out_committed = 0;
	cmd->out_fetched = 0;
	if (cmd->commit_count > VB_EXCHANGE_MAX || cmd->fetch_count > VB_EXCHANGE_MAX ||
	    (cmd->fetch_count && !READ_ONCE(x->submit_address)) ||
	    (cmd->flags & FILLS_BOTH) == FILLS_BOTH)
		return -EINVAL;
	if (cmd->fetch_count && !vb_is_live())
		return -EPERM;
	vb_fill_allow(cmd->fill_count);
	if (cmd->flags & FILLS_BOTH)
		vb_fill_hold(cmd->flags & VB_EXCHANGE_F_HOLD_FILLS);
	if (cmd->flags & VB_EXCHANGE_F_STOP) {
		WRITE_ONCE(x->stopped, true);
		wake_up_all(&vb.fetch);
	}
	rc = exchange_count(x, cmd);
	if (!rc)
		rc = exchange_commit(cmd);
	if (!rc)
		rc = exchange_fetch(x, cmd);
	while (!rc && !is_fetched(x, cmd)) {
		rc = exchange_sleep(x, cmd);
		if (rc)
			return may_be_repeated(cmd) ? rc : 0;
		rc = exchange_fetch(x, cmd);
	}
	return rc;
}
