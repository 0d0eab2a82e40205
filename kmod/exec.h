/* SPDX-License-Identifier: GPL-2.0 */
/* The executor node: what is fetched, and what is committed. */
#ifndef VB_EXEC_H
#define VB_EXEC_H

#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/poll.h>
#include <linux/workqueue.h>

#include "core/deps.h"

struct pid;
struct task_struct;
struct vb_ioc_commit;
struct vb_ucmd;

/**
 * struct vb_exec - the open executor node
 * @inode: whose pages its mappings are, so that they can be PMD-mapped
 * @attached: it is the executor; exec_lock
 * @submit_address: where it maps the submit region, or 0
 * @stopped: nobody sleeps in VB_IOC_EXCHANGE any more
 * @slots: what is fetched by io_uring, VB_MMAP_FETCH_BYTES
 * @pid: process that attached; counted
 * @task: it again, for how it ends, which is known as long as this is counted
 * @was_silent: the device has killed it, and whoever else has the file is no executor any more;
 *	written under exec_lock
 * @calls: of whoever has the file that run, faults in what it has mapped among them
 * @looks: since it was silent, at which none ran; exec_lock
 * @windows: what it has mapped of regions; vb_device.slot_lock
 * @last_call_ns: when it asked us for something last, or ended asking
 */
struct vb_exec {
	struct inode *inode;
	bool attached, stopped;
	unsigned long submit_address;
	void *slots;
	struct pid *pid;
	struct task_struct *task;
	bool was_silent;
	atomic_t calls;
	u32 looks;
	struct list_head windows;
	u64 last_call_ns;
};

void vb_exec_set_state(u32 state);
extern unsigned int vb_exec_timeout_ms;		/* module parameter; 0: no timeout */
void vb_exec_watch(struct work_struct *work);	/* of vb_device.watch */
/* It makes a call, or returns from one: that is its heartbeat. */
static inline void vb_exec_beat(struct vb_exec *x)
{
	WRITE_ONCE(x->last_call_ns, ktime_get_coarse_ns());
}

/* Whoever has the file: 0, he may act as the executor; -EPERM it has not attached; -ESTALE. */
static inline int vb_exec_role(const struct vb_exec *x)
{
	if (READ_ONCE(x->was_silent))
		return -ESTALE;
	return READ_ONCE(x->attached) ? 0 : -EPERM;
}

/* A call of his, which vb_exec_end() ends whatever this says; vb_exec_role(). */
static inline int vb_exec_begin(struct vb_exec *x)
{
	atomic_inc(&x->calls);
	/* Silence is said first, and then calls are counted. */
	smp_mb__after_atomic();
	return vb_exec_role(x);
}

static inline void vb_exec_end(struct vb_exec *x)
{
	/* What the call did is seen by who does not find it any more. */
	smp_mb__before_atomic();
	atomic_dec(&x->calls);
}

int vb_exec_open(struct inode *inode, struct file *filp);
int vb_exec_release(struct inode *inode, struct file *filp);
int vb_exec_attach(struct vb_exec *x, struct vb_ucmd *u);
void vb_fetch_wake_locked(bool urgent);
void vb_fetch_wake(void);
u32 vb_fetch_locked(struct vb_exec *x, u32 first, u32 count, u32 flags);
__poll_t vb_exec_poll(struct file *filp, struct poll_table_struct *table);
int vb_exec_fetch(struct vb_exec *x, struct vb_ucmd *u);
int vb_commit(const struct vb_ioc_commit *cmd, bool may_sleep);
int vb_exec_commit(struct vb_exec *x, struct vb_ucmd *u);
int vb_exec_exchange(struct vb_exec *x, struct vb_ucmd *u);
int vb_exec_poll_cancel(struct vb_exec *x, struct vb_ucmd *u);
int vb_exec_object_open(struct vb_exec *x, struct vb_ucmd *u);
int vb_exec_stats(struct vb_exec *x, struct vb_ucmd *u);

#endif
