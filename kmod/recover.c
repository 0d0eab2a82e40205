// SPDX-License-Identifier: GPL-2.0
/*
 * Executors that die, and those that come after them.
 *
 * The memory of host slots is ours and so is the table: when an executor goes, nothing
 * of what it had moved to its end is lost but what only a device had.  What it had
 * begun is undone, what it had fetched waits again, and clients wait with it, for a
 * successor to come or for recovery_ms to end.  The order of a successor's calls
 * stands in the UAPI header.
 *
 * How a slot's own references are told from those of others, without asking: when an
 * executor has gone nobody has any right to one, so all are foreign; a successor adopts
 * the arena while clients have no way to its memory, so what is added between the
 * adoption and the end of the recovery is the successor's.
 */
#include "recover.h"

#include "adopt.h"
#include "arena.h"
#include "bo.h"
#include "exec.h"
#include "queue.h"
#include "request.h"
#include "resid.h"
#include "ucmd.h"
#include "vb.h"

unsigned int vb_recovery_ms = 30000;

/**
 * vb_objects_each() - do something with every object that there is
 * @what: gets each, its memory counted; may sleep
 *
 * What comes meanwhile may be met or not.
 *
 * Context: may sleep; no lock that @what takes.
 */
void vb_objects_each(void (*what)(struct vb_bo *bo))
{
	unsigned long id;
	struct vb_bo *bo;

	for (id = 0; ; id++) {
		xa_lock(&vb.bos);
		bo = xa_find(&vb.bos, &id, ULONG_MAX, XA_PRESENT);
		if (bo)
			kref_get(&bo->kref);
		xa_unlock(&vb.bos);
		if (!bo)
			return;
		what(bo);
		vb_bo_unlook(bo);
		cond_resched();
	}
}

/* What was to be forgotten, and nobody is there to do so. */
static void orphan(struct vb_bo *bo)
{
	vb_resid_orphan(bo);
	if (bo->gone)
		vb_bo_free(bo);
}

/* Nothing can be done for what waits: all of it ends, and all memory returns. */
static void fail(void)
{
	lockdep_assert_held(&vb.exec_lock);
	vb_exec_set_state(VB_EXEC_FAILED);
	vb_queues_fail();
	vb_requests_fail();
	vb_arenas_leave(VB_LEAVE_ALL);
	vb_objects_each(orphan);
	vb_arenas_drop();
	wake_up_all(&vb.freed);
	wake_up_all(&vb.settled);
}

static void forget_executor(void)
{
	WRITE_ONCE(vb.staging_bytes, 0);
	WRITE_ONCE(vb.panel_bytes, 0);
}

static void recover_until(u64 by_ns)
{
	u64 now_ns = ktime_get_ns();

	mod_delayed_work(system_wq, &vb.recovery,
			 by_ns > now_ns ? nsecs_to_jiffies(by_ns - now_ns) + 1 : 0);
}

static void quiesce(bool blamed)
{
	/* First: with that state objects return their slots without an executor. */
	vb_arenas_orphan();
	vb_exec_set_state(VB_EXEC_QUIESCED);
	vb_arenas_leave(VB_LEAVE_DEVICES);
	vb_objects_each(orphan);
	vb_arenas_bury();
	vb_requests_return();
	vb_queues_return(blamed);
	wake_up_all(&vb.freed);
	wake_up_all(&vb.settled);
}

static bool is_waited_for(void)
{
	return !xa_empty(&vb.clients) || !xa_empty(&vb.bos);
}

/**
 * vb_exec_left() - an executor that was attached is one no more
 * @blamed: what it had in its hands may be why
 *
 * No call of it runs.  Nobody has its memory mapped, for its file was released; or for it was
 * silent, and all was taken: then some of it may still be referred to, and for long.
 *
 * Context: exec_lock; may sleep.
 */
void vb_exec_left(bool blamed)
{
	lockdep_assert_held(&vb.exec_lock);
	/* One that dies before it is done does not prolong the wait. */
	if (vb_is_live())
		vb.recover_by_ns = ktime_get_ns() +
				   (u64)READ_ONCE(vb_recovery_ms) * NSEC_PER_MSEC;
	WRITE_ONCE(vb.generation, vb.generation + 1);
	vb.forced = false;
	if (is_waited_for() && ktime_get_ns() < vb.recover_by_ns) {
		quiesce(blamed);
		/* It may have been waited for by what had to be forgotten only. */
		vb_recovery_check();
		return;
	}
	fail();
	forget_executor();
}

/**
 * vb_recovery_check() - is a successor still waited for
 *
 * If not, all ends: memory is not kept for nobody, nor beyond the time that was promised.
 *
 * Context: exec_lock; may sleep. When a client has left or comes, and when the time is over.
 */
void vb_recovery_check(void)
{
	lockdep_assert_held(&vb.exec_lock);
	if (vb.exec_state != VB_EXEC_QUIESCED)
		return;
	if (is_waited_for() && ktime_get_ns() < vb.recover_by_ns) {
		recover_until(vb.recover_by_ns);
		return;
	}
	fail();
	forget_executor();
}

/**
 * vb_recovery_hurry() - an object has gone: if it was the last one, look at once
 *
 * It may outlive its client: exported, or in a submission that still ends.
 *
 * Context: any that may sleep; takes no lock, vb_recovery_end() does.
 */
void vb_recovery_hurry(void)
{
	if (READ_ONCE(vb.exec_state) == VB_EXEC_QUIESCED && xa_empty(&vb.bos))
		mod_delayed_work(system_wq, &vb.recovery, 0);
}

/**
 * vb_recovery_end() - vb_recovery_check() when the time is over
 * @work: vb_device.recovery
 *
 * Context: a worker; takes exec_lock.
 */
void vb_recovery_end(struct work_struct *work)
{
	mutex_lock(&vb.exec_lock);
	vb_recovery_check();
	mutex_unlock(&vb.exec_lock);
}

/**
 * vb_recovery_exit() - nobody has a node open: what was kept for a successor goes
 *
 * Context: module unload; takes exec_lock.
 */
void vb_recovery_exit(void)
{
	cancel_delayed_work_sync(&vb.recovery);
	mutex_lock(&vb.exec_lock);
	if (vb.exec_state == VB_EXEC_QUIESCED) {
		fail();
		forget_executor();
	}
	mutex_unlock(&vb.exec_lock);
	/* An object that went meanwhile may have set it again. */
	cancel_delayed_work_sync(&vb.recovery);
}

/* ---- successors ---- */

/**
 * vb_object_next() - VB_IOC_OBJECT_NEXT: the first object that is used, from an id on
 * @x: successor
 * @u: struct vb_ioc_object_next
 *
 * Context: takes the lock of vb_device.bos.
 * Return: 0; -ENOENT there is none.
 */
int vb_object_next(struct vb_exec *x, struct vb_ucmd *u)
{
	struct vb_ioc_object_next *cmd = u->cmd;
	unsigned long id = cmd->object;
	struct vb_bo *bo;

	xa_lock(&vb.bos);
	do {
		bo = xa_find(&vb.bos, &id, ULONG_MAX, XA_PRESENT);
		cmd->out_object = id;
	} while (bo && !refcount_read(&bo->users) && ++id);
	xa_unlock(&vb.bos);
	return bo ? 0 : -ENOENT;
}

/* The rest goes on: what is not there any more is known before anybody asks for it. */
static void adopt(void)
{
	vb_arenas_leave(VB_LEAVE_ORPHANS);
	vb_objects_each(orphan);
	vb_arenas_bury();
	vb_arenas_settle();
	vb_queues_settle();
}

static int recover_locked(const struct vb_ioc_recover *cmd)
{
	lockdep_assert_held(&vb.exec_lock);
	if (cmd->generation != vb.generation)
		return -ESTALE;
	if (!vb_is_recovering())
		return -EPERM;
	if (cmd->flags & VB_RECOVER_DISCARD)
		fail();
	else
		adopt();
	vb_exec_set_state(VB_EXEC_LIVE);
	cancel_delayed_work(&vb.recovery);
	wake_up_all(&vb.settled);
	spin_lock(&vb.work_lock);
	vb_fetch_wake_locked(true);
	vb_fetch_wake_locked(false);
	spin_unlock(&vb.work_lock);
	vb_fetch_wake();
	return 0;
}

/**
 * vb_recover() - VB_IOC_RECOVER: the successor is done; the device is LIVE
 * @x: successor
 * @u: struct vb_ioc_recover
 *
 * What it has not adopted is lost, with VB_RECOVER_DISCARD all of it.
 *
 * Context: takes exec_lock, under it the locks of objects, slot_lock, work_lock; may sleep.
 * Return: 0; -ESTALE of another executor's time; -EPERM the device is not RECOVERING.
 */
int vb_recover(struct vb_exec *x, struct vb_ucmd *u)
{
	int rc;

	mutex_lock(&vb.exec_lock);
	rc = recover_locked(u->cmd);
	mutex_unlock(&vb.exec_lock);
	return rc;
}
