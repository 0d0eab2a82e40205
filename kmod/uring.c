// SPDX-License-Identifier: GPL-2.0
/*
 * Commands that come by io_uring, to both nodes.
 *
 * A command that has to wait is armed: it stands in vb_device.fetches or in
 * vb_device.waits.  Who takes it out of its list, under work_lock, has to end it: work
 * that came, a fence that signalled, a ring that goes away.  It ends in its own task
 * (task work), where no lock of ours is held; there a fetch looks for work itself, so
 * that what one thread does not come to take is another one's, and waits on when others
 * were faster.
 *
 * Handlers run under the ring's uring_lock unless a worker thread calls them, without
 * IO_URING_F_NONBLOCK.  Registering buffers faults our mappings in under uring_lock, and
 * a fault may wait for an executor whose commands need that lock; so under it we take
 * spinlocks only.  What needs more asks for a worker by -EAGAIN, if it was marked
 * IOSQE_ASYNC: the payload of others is not kept for a second call by every kernel (6.12
 * stable shows what a later command has put in its place in the ring).
 *
 * Newer kernels call the handler with IO_URING_F_CANCEL when a ring is closed or its task
 * calls exec().  Where they do not, exec() waits for ever, unkillable, for what its task
 * has armed, and a closed ring holds the node open: a delayed work looks for commands
 * whose task or ring is on its way out.  On all kernels it looks when a process that has
 * the node open dies: another one may hold the ring, and with it the node.
 */
#include "uring.h"

#include "conftest.h"
#ifdef VB_HAS_URING_CMD_H
#include <linux/io_uring/cmd.h>
#else
#include <linux/io_uring.h>
#include <linux/io_uring_types.h>
#endif
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "core/share.h"
#include "client.h"
#include "exec.h"
#include "fence.h"
#include "queue.h"
#include "ucmd.h"
#include "vb.h"

#define PAYLOAD_BYTES	16u	/* what fits an entry of 64 bytes */
#define WATCH_MS	200u	/* between two looks for commands whose task leaves */
#define AT_ONCE		64u	/* waits looked at under the lock */

/**
 * struct fence_wait - what a command that waits for a fence needs
 * @d: its place on the timeline
 * @status: of the fence
 * @charged: against what its client may have wait
 */
struct fence_wait {
	struct vb_dependent d;
	int status;
	bool charged;
};

/**
 * struct armed - our part of a command, in its pdu; work_lock once it is armed
 * @link: in vb_device.fetches or vb_device.waits while nobody has undertaken to end it
 * @wait: fences: not NULL, and ours
 * @first: fetches: first slot
 * @count: fetches: slots
 * @flags: fetches: VB_FETCH_F_URGENT
 * @canceled: it is to end without a result
 */
struct armed {
	struct list_head link;
	struct fence_wait *wait;
	u16 first, count;
	u16 flags;
	bool canceled;
};

static_assert(sizeof(struct armed) <= sizeof(((struct io_uring_cmd *)0)->pdu));
static_assert(VB_URING_SLOTS <= U16_MAX);

static struct armed *armed_of(struct io_uring_cmd *cmd)
{
	return (struct armed *)cmd->pdu;
}

static struct io_uring_cmd *command_of(struct armed *a)
{
	return container_of((void *)a, struct io_uring_cmd, pdu);
}

/* ---- what the versions of io_uring call differently ---- */

static const void *payload_of(const struct io_uring_cmd *cmd)
{
#ifdef VB_HAS_URING_SQE
	return cmd->sqe->cmd;
#else
	return cmd->cmd;
#endif
}

static void done(struct io_uring_cmd *cmd, s32 res, unsigned int issue_flags)
{
#ifdef VB_HAS_URING_DONE_TWO
	io_uring_cmd_done(cmd, res, 0, issue_flags);
#else
	io_uring_cmd_done(cmd, res, issue_flags);
#endif
}

static void end_in_task(struct io_uring_cmd *cmd, unsigned int issue_flags);

#ifdef VB_HAS_URING_TASK_REQ
static void task_work(struct io_tw_req req, io_tw_token_t token)
{
	end_in_task(io_uring_cmd_from_tw(req), IO_URING_CMD_TASK_WORK_ISSUE_FLAGS);
}
#else
static void task_work(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	end_in_task(cmd, issue_flags);
}
#endif

static bool ring_is_closed(struct io_uring_cmd *cmd)
{
	return percpu_ref_is_dying(&cmd_to_io_kiocb(cmd)->ctx->refs);
}

#ifdef VB_HAS_URING_CANCEL
static void prepare_to_arm(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	io_uring_cmd_mark_cancelable(cmd, issue_flags);
}

static void watch_locked(void)
{
}

static const struct task_struct *task_of(struct io_uring_cmd *cmd)
{
	return io_uring_cmd_get_task(cmd);
}

static bool is_in_exec(const struct task_struct *task)
{
	return task->signal->group_exec_task;
}
#else
#define IO_URING_F_CANCEL	0u

static void prepare_to_arm(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
}

static void watch_locked(void)
{
	/* Does nothing when it is to run already. */
	schedule_delayed_work(&vb.uring_watch, msecs_to_jiffies(WATCH_MS));
}

static const struct task_struct *task_of(struct io_uring_cmd *cmd)
{
	return cmd_to_io_kiocb(cmd)->task;
}

static bool is_in_exec(const struct task_struct *task)
{
	return task->in_execve || task->signal->group_exec_task;
}
#endif

/* The thread that polls a ring ends its commands before it is PF_EXITING. */
static bool is_leaving(struct io_uring_cmd *cmd)
{
	const struct task_struct *task = task_of(cmd);

	return task->flags & PF_EXITING || task->signal->flags & SIGNAL_GROUP_EXIT ||
	       is_in_exec(task) || ring_is_closed(cmd);
}

/* ---- armed ---- */

static void arm_locked(struct io_uring_cmd *cmd, struct list_head *list)
{
	lockdep_assert_held(&vb.work_lock);
	list_add_tail(&armed_of(cmd)->link, list);
	watch_locked();
}

/* From here the caller has to end it. */
static void take_locked(struct armed *a)
{
	lockdep_assert_held(&vb.work_lock);
	list_del_init(&a->link);
	if (a->wait && a->wait->d.queue)
		vb_dependent_remove_locked(&a->wait->d);
}

static void end_later_locked(struct armed *a)
{
	take_locked(a);
	io_uring_cmd_complete_in_task(command_of(a), task_work);
}

/* This takes one who may sleep. */
static int ask_for_worker(struct io_uring_cmd *cmd)
{
	return cmd_to_io_kiocb(cmd)->flags & REQ_F_FORCE_ASYNC ? -EAGAIN : -EINVAL;
}

static int answer(struct io_uring_cmd *cmd, s32 res, unsigned int issue_flags)
{
	done(cmd, res, issue_flags);
	return -EIOCBQUEUED;
}

/* The ring or the task goes.  What somebody else has taken, he ends. */
static int cancel(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	struct armed *a = armed_of(cmd);
	bool ours;

	spin_lock(&vb.work_lock);
	ours = !list_empty(&a->link);
	if (ours)
		take_locked(a);
	spin_unlock(&vb.work_lock);
	if (!ours)
		return 0;
	kfree(a->wait);
	return answer(cmd, -ECANCELED, issue_flags);
}

static void cancel_if_leaving_locked(struct armed *a)
{
	if (!is_leaving(command_of(a)))
		return;
	a->canceled = true;
	end_later_locked(a);
}

/* All of them: one that is not in its list is not found by what it waits for. */
static void cancel_fetches(void)
{
	struct armed *a, *next;

	spin_lock(&vb.work_lock);
	list_for_each_entry_safe(a, next, &vb.fetches, link)
		cancel_if_leaving_locked(a);
	spin_unlock(&vb.work_lock);
}

/* Some of @left, which clients may have many of.  False: there are no more. */
static bool cancel_some_waits(struct list_head *left)
{
	struct armed *a;
	bool more;
	u32 n;

	spin_lock(&vb.work_lock);
	for (n = 0; n < AT_ONCE && !list_empty(left); n++) {
		a = list_first_entry(left, struct armed, link);
		list_move_tail(&a->link, &vb.waits);
		cancel_if_leaving_locked(a);
	}
	more = !list_empty(left);
	spin_unlock(&vb.work_lock);
	return more;
}

static void cancel_waits(void)
{
	LIST_HEAD(left);

	spin_lock(&vb.work_lock);
	list_splice_init(&vb.waits, &left);
	spin_unlock(&vb.work_lock);
	while (cancel_some_waits(&left))
		cond_resched();
}

/**
 * vb_uring_watch() - end armed commands whose task or ring is on its way out
 * @work: vb_device.uring_watch; where kernels do not cancel, queued again while any is armed
 *
 * Context: a worker; takes work_lock.
 */
void vb_uring_watch(struct work_struct *work)
{
	cancel_fetches();
	cancel_waits();
	spin_lock(&vb.work_lock);
	if (!list_empty(&vb.fetches) || !list_empty(&vb.waits))
		watch_locked();
	spin_unlock(&vb.work_lock);
}

/**
 * vb_uring_flush() - somebody closes a descriptor of one of the nodes
 * @filp: node
 * @id: whose table of descriptors it was in
 *
 * A process that dies does: what it has armed is looked for at once.
 *
 * Context: any that may sleep; takes no lock.
 * Return: 0.
 */
int vb_uring_flush(struct file *filp, fl_owner_t id)
{
	if (current->flags & PF_EXITING)
		mod_delayed_work(system_wq, &vb.uring_watch, 0);
	return 0;
}

/* ---- the executor fetches ---- */

static bool is_fetch(const struct vb_uring_fetch *f)
{
	return !(f->flags & ~(VB_FETCH_F_NOWAIT | VB_FETCH_F_URGENT)) && !f->__reserved &&
	       f->count && f->first < VB_URING_SLOTS && f->count <= VB_URING_SLOTS - f->first;
}

static int fetch(struct io_uring_cmd *cmd, const struct vb_uring_fetch *f, unsigned int issue_flags)
{
	struct armed *a = armed_of(cmd);
	struct vb_exec *x = cmd->file->private_data;
	bool armed = !(f->flags & VB_FETCH_F_NOWAIT);
	int n;

	*a = (struct armed){ .first = f->first, .count = f->count,
			     .flags = f->flags & VB_FETCH_F_URGENT };
	INIT_LIST_HEAD(&a->link);
	if (armed)
		prepare_to_arm(cmd, issue_flags);
	spin_lock(&vb.work_lock);
	n = vb_exec_role(x);
	if (!n)
		n = vb_fetch_locked(x, f->first, f->count, f->flags);
	armed = armed && !n;
	if (armed)
		arm_locked(cmd, &vb.fetches);
	spin_unlock(&vb.work_lock);
	/* Armed, it may have ended already. */
	return armed ? -EIOCBQUEUED : answer(cmd, n, issue_flags);
}

/* Is there nobody who would see the result?  Then the work is not for this command. */
static bool is_deserted(struct io_uring_cmd *cmd)
{
	return current->flags & PF_KTHREAD || is_leaving(cmd);
}

/*
 * Whoever was woken may have taken something else than what he was woken for, or nothing,
 * and more may have become ready than were woken: what is left over wakes the next one.
 * He finds some of it, so this comes to an end.
 */
static void wake_for_rest_locked(const struct vb_exec *x)
{
	lockdep_assert_held(&vb.work_lock);
	if (!vb_is_live() || vb_exec_role(x))
		return;
	if (!vb_line_is_empty(&vb.requests))
		vb_uring_wake_locked(true);
	else if (vb_queues_have_next())
		vb_uring_wake_locked(false);
}

static void fetch_end_in_task(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	struct vb_exec *x = cmd->file->private_data;
	struct armed *a = armed_of(cmd);
	int res = -ECANCELED;

	if (!vb_exec_role(x))
		vb_exec_beat(x);
	spin_lock(&vb.work_lock);
	if (!a->canceled && !is_deserted(cmd)) {
		res = vb_exec_role(x);
		if (!res)
			res = vb_fetch_locked(x, a->first, a->count, a->flags);
		if (!res)
			arm_locked(cmd, &vb.fetches);
	}
	wake_for_rest_locked(x);
	spin_unlock(&vb.work_lock);
	if (res)
		done(cmd, res, issue_flags);
}

/**
 * vb_uring_wake_locked() - there is work: one armed fetch, if any, will take it
 * @urgent: a request, which fetches of requests only take as well
 *
 * Context: work_lock.
 */
void vb_uring_wake_locked(bool urgent)
{
	struct armed *a;

	lockdep_assert_held(&vb.work_lock);
	list_for_each_entry(a, &vb.fetches, link)
		if (urgent || !(a->flags & VB_FETCH_F_URGENT)) {
			end_later_locked(a);
			return;
		}
}

/**
 * vb_uring_end_fetches() - whoever has armed one is no executor any more: they end with -ESTALE
 *
 * Context: takes work_lock.  No more are armed, vb_exec_role() says why.
 */
void vb_uring_end_fetches(void)
{
	struct armed *a, *next;

	spin_lock(&vb.work_lock);
	list_for_each_entry_safe(a, next, &vb.fetches, link)
		end_later_locked(a);
	spin_unlock(&vb.work_lock);
}

/* Checked as a whole first: what is refused has done nothing. */
static int commit(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	const struct vb_uring_fetch none = { };
	struct vb_uring_commit c;
	struct vb_ioc_commit ended;
	int rc;

	if (!(issue_flags & IO_URING_F_SQE128))
		return -EINVAL;
	memcpy(&c, payload_of(cmd), sizeof(c));
	if (c.__reserved || (memcmp(&c.fetch, &none, sizeof(none)) && !is_fetch(&c.fetch)))
		return -EINVAL;
	ended = (struct vb_ioc_commit){
		.size = sizeof(ended), .generation = c.generation, .tag = c.tag,
		.status = c.status, .bad_command = c.bad_command, .busy_ns = c.busy_ns,
	};
	rc = vb_commit(&ended, !(issue_flags & IO_URING_F_NONBLOCK));
	if (rc == -EAGAIN)
		return ask_for_worker(cmd);
	if (rc || !c.fetch.count)
		return rc;
	return fetch(cmd, &c.fetch, issue_flags);
}

static int fetch_alone(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	struct vb_uring_fetch f;

	static_assert(sizeof(f) <= PAYLOAD_BYTES);
	memcpy(&f, payload_of(cmd), sizeof(f));
	return is_fetch(&f) ? fetch(cmd, &f, issue_flags) : -EINVAL;
}

static u32 disarm_locked(u32 first, u32 count)
{
	struct armed *a, *next;
	u32 n = 0;

	list_for_each_entry_safe(a, next, &vb.fetches, link)
		if (a->first - first < count) {
			a->canceled = true;
			end_later_locked(a);
			n++;
		}
	return n;
}

static int disarm(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	struct vb_uring_fetch f;
	u32 n;

	memcpy(&f, payload_of(cmd), sizeof(f));
	if (!is_fetch(&f) || f.flags)
		return -EINVAL;
	spin_lock(&vb.work_lock);
	n = disarm_locked(f.first, f.count);
	spin_unlock(&vb.work_lock);
	return answer(cmd, n, issue_flags);
}

static int exec_call(struct vb_exec *x, struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	if (!READ_ONCE(x->submit_address))
		return -EINVAL;
	vb_exec_beat(x);
	switch (cmd->cmd_op) {
	case VB_URING_FETCH:
		return fetch_alone(cmd, issue_flags);
	case VB_URING_COMMIT:
		return commit(cmd, issue_flags);
	case VB_URING_DISARM:
		return disarm(cmd, issue_flags);
	default:
		return -ENOTTY;
	}
}

/**
 * vb_uring_exec() - a command of io_uring to the executor's node
 * @cmd: VB_URING_FETCH, _COMMIT or _DISARM
 * @issue_flags: IO_URING_F_*
 *
 * Context: uring_lock, unless a worker calls; takes work_lock.
 * Return: -EIOCBQUEUED: answered, or armed to be answered; -EAGAIN it takes a worker; -EPERM not
 * attached; -ESTALE it was silent for too long; -EINVAL; -ENOTTY; what vb_commit() says.
 */
int vb_uring_exec(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	struct vb_exec *x = cmd->file->private_data;
	int rc;

	if (issue_flags & IO_URING_F_CANCEL)
		return cancel(cmd, issue_flags);
	rc = vb_exec_begin(x);
	if (!rc)
		rc = exec_call(x, cmd, issue_flags);
	vb_exec_end(x);
	return rc;
}

/* ---- clients: a fence as a CQE ---- */

/* There is room for one wait more; -EDQUOT. */
static int wait_charge_locked(struct vb_client *c, struct fence_wait *w)
{
	int rc = w->charged ? 0 : vb_wait_charge_locked(c);

	w->charged = !rc;
	return rc;
}

static int wait_charge(struct vb_client *c, struct fence_wait *w)
{
	int rc;

	spin_lock(&vb.work_lock);
	rc = wait_charge_locked(c, w);
	spin_unlock(&vb.work_lock);
	return rc;
}

/* It was not armed. */
static void wait_free(struct vb_client *c, struct fence_wait *w)
{
	if (w->charged) {
		spin_lock(&vb.work_lock);
		vb_wait_uncharge_locked(c);
		spin_unlock(&vb.work_lock);
	}
	kfree(w);
}

/* Return: 0 armed; 1 the fence is over, and w->status is how it ended; -errno. */
static int wait_arm_locked(struct io_uring_cmd *cmd, struct vb_queue *q, u64 seqno,
			   struct fence_wait *w)
{
	struct vb_result r;
	int rc;

	lockdep_assert_held(&vb.work_lock);
	if (!seqno || seqno > q->submitted)
		return -EINVAL;
	if (vb_fence_is_over_locked(q, seqno)) {
		rc = vb_fence_result_locked(q, seqno, &r);
		vb_fence_told_locked(q, seqno);
		w->status = rc ? rc : r.status;
		return 1;
	}
	rc = wait_charge_locked(q->client, w);
	if (rc)
		return rc;
	w->d = (struct vb_dependent){ .seqno = seqno, .cmd = cmd };
	vb_dependent_add_locked(q, &w->d);
	arm_locked(cmd, &vb.waits);
	return 0;
}

/* Ends the command with the fence, or when it cannot wait for it.  Uses @w up. */
static int wait_for(struct io_uring_cmd *cmd, u32 queue_id, u64 seqno, struct fence_wait *w,
		    unsigned int issue_flags)
{
	struct vb_client *c = cmd->file->private_data;
	struct vb_queue *q = vb_queue_get(c, queue_id);
	struct armed *a = armed_of(cmd);
	int rc = -ENOENT;

	*a = (struct armed){ .wait = w };
	INIT_LIST_HEAD(&a->link);
	prepare_to_arm(cmd, issue_flags);
	if (q) {
		spin_lock(&vb.work_lock);
		rc = wait_arm_locked(cmd, q, seqno, w);
		spin_unlock(&vb.work_lock);
		vb_queue_put(q);
	}
	/* Armed, it may have ended already. */
	if (!rc)
		return -EIOCBQUEUED;
	rc = rc > 0 ? w->status : rc;
	wait_free(c, w);
	return answer(cmd, rc, issue_flags);
}

/**
 * vb_uring_signal_locked() - the fence that a command waits for has ended
 * @d: of the command, removed from its timeline; freed with it
 * @status: of the fence, its result
 *
 * Context: work_lock.
 */
void vb_uring_signal_locked(struct vb_dependent *d, int status)
{
	struct fence_wait *w = container_of(d, struct fence_wait, d);

	w->status = status;
	end_later_locked(armed_of(d->cmd));
}

static void wait_end_in_task(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	struct armed *a = armed_of(cmd);
	int status = a->canceled ? -ECANCELED : a->wait->status;

	kfree(a->wait);
	done(cmd, status, issue_flags);
}

static int wait(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	struct vb_uring_wait c;
	struct fence_wait *w;

	static_assert(sizeof(c) <= PAYLOAD_BYTES);
	memcpy(&c, payload_of(cmd), sizeof(c));
	if (c.__reserved)
		return -EINVAL;
	w = kzalloc(sizeof(*w), GFP_KERNEL_ACCOUNT);
	return w ? wait_for(cmd, c.queue_id, c.seqno, w, issue_flags) : -ENOMEM;
}

/* What could fail afterwards comes first: nobody would hear of the submission. */
static int submit(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	struct vb_client *client = cmd->file->private_data;
	u64 copy[VB_UCMD_BYTES_MAX / sizeof(u64)];
	const struct vb_ioc_submit *s = (void *)copy;
	struct vb_uring_submit c;
	struct fence_wait *w;
	int rc;

	static_assert(sizeof(c) <= PAYLOAD_BYTES);
	if (issue_flags & IO_URING_F_NONBLOCK)
		return ask_for_worker(cmd);
	memcpy(&c, payload_of(cmd), sizeof(c));
	if (c.__reserved)
		return -EINVAL;
	w = kzalloc(sizeof(*w), GFP_KERNEL_ACCOUNT);
	if (!w)
		return -ENOMEM;
	rc = wait_charge(client, w);
	if (!rc)
		rc = vb_ucmd_client(client, VB_IOC_SUBMIT, u64_to_user_ptr(c.address), copy);
	if (!rc)
		return wait_for(cmd, s->queue_id, s->out_seqno, w, issue_flags);
	wait_free(client, w);
	return answer(cmd, rc, issue_flags);
}

/**
 * vb_uring_client() - a command of io_uring to a client's node
 * @cmd: VB_URING_WAIT or VB_URING_SUBMIT
 * @issue_flags: IO_URING_F_*
 *
 * Context: uring_lock, unless a worker calls, as for a submission; takes work_lock.
 * Return: -EIOCBQUEUED: answered, or armed to be answered; -EAGAIN it takes a worker; -EINVAL;
 * -ENOMEM; -ENOTTY.
 */
int vb_uring_client(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	if (issue_flags & IO_URING_F_CANCEL)
		return cancel(cmd, issue_flags);
	switch (cmd->cmd_op) {
	case VB_URING_WAIT:
		return wait(cmd, issue_flags);
	case VB_URING_SUBMIT:
		return submit(cmd, issue_flags);
	default:
		return -ENOTTY;
	}
}

static void end_in_task(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	if (armed_of(cmd)->wait)
		wait_end_in_task(cmd, issue_flags);
	else
		fetch_end_in_task(cmd, issue_flags);
}
