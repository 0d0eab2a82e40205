// SPDX-License-Identifier: GPL-2.0
/*
 * What the executor reads instead of a file whose server may never answer.
 *
 * Who waits for a FUSE server that has taken a request cannot be killed.  An executor that read
 * such a file, or opened or closed one, could be kept from leaving so, and nobody could succeed
 * it.  It gets a file of ours: a thread reads the real one, into memory that the file's user is
 * charged for, and the executor waits for the thread as for anything else.  When it gives up, the
 * thread stays until the server answers or ends.  A worker closes the real one, which may ask its
 * server for a last word; each user has one, who closes that user's files one after the other.
 */
#include "proxy.h"

#include <linux/completion.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "file.h"
#include "request.h"
#include "thread.h"
#include "user.h"
#include "vb.h"

#define PIECE_BYTES	(256u << 10)
#define PROXY_COST	4096u		/* two files, an inode */

/**
 * struct reading - a piece that a thread reads, while somebody waits
 * @kref: the thread, and who waits
 * @over: @rc and @data are there
 * @proxy: of which file
 * @at: from this byte on
 * @bytes: so many; @data has room for them
 * @rc: how many there were, or why none
 * @data: what was read
 */
struct reading {
	struct kref kref;
	struct completion over;
	struct vb_proxy *proxy;
	loff_t at;
	u32 bytes;
	ssize_t rc;
	void *data;
};

static struct workqueue_struct *closers;

/* ---- a reading ---- */

static size_t cost_of(u32 bytes)
{
	return THREAD_SIZE + sizeof(struct task_struct) + sizeof(struct reading) +
	       PAGE_ALIGN(bytes);
}

/* All that are under way: who is silent, and is given up, leaves as many. */
static int reading_count(struct vb_user *user, u32 bytes)
{
	if (atomic_inc_return(&user->unanswered) <= VB_UNANSWERED_MAX &&
	    !vb_user_charge(user, cost_of(bytes)))
		return 0;
	atomic_dec(&user->unanswered);
	return -EDQUOT;
}

static void reading_uncount(struct vb_user *user, u32 bytes)
{
	atomic_dec(&user->unanswered);
	vb_user_uncharge(user, cost_of(bytes));
}

static void reading_free(struct kref *kref)
{
	struct reading *r = container_of(kref, struct reading, kref);
	struct vb_proxy *p = r->proxy;

	reading_uncount(p->user, r->bytes);
	kvfree(r->data);
	kfree(r);
	vb_proxy_put(p);
}

/* As whoever opened the file: the thread is nobody. */
static int reading_thread(void *arg)
{
	struct reading *r = arg;
	struct file *file = r->proxy->file;
	const struct cred *ours = override_creds(file->f_cred);
	loff_t at = r->at;

	r->rc = kernel_read(file, r->data, r->bytes, &at);
	revert_creds(ours);
	complete_all(&r->over);
	kref_put(&r->kref, reading_free);
	module_put_and_kthread_exit(0);
	return 0;
}

static struct reading *reading_alloc(u32 bytes)
{
	struct reading *r = kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);

	if (!r)
		return NULL;
	/* Whole pages: what is below may want it aligned. */
	r->data = kvmalloc(PAGE_ALIGN(bytes), GFP_KERNEL_ACCOUNT);
	if (!r->data) {
		kfree(r);
		return NULL;
	}
	kref_init(&r->kref);
	init_completion(&r->over);
	r->bytes = bytes;
	return r;
}

static struct reading *reading_new(struct vb_proxy *p, loff_t at, u32 bytes)
{
	int rc = reading_count(p->user, bytes);
	struct reading *r;

	if (rc)
		return ERR_PTR(rc);
	r = reading_alloc(bytes);
	if (!r) {
		reading_uncount(p->user, bytes);
		return ERR_PTR(-ENOMEM);
	}
	kref_get(&p->kref);
	r->proxy = p;
	r->at = at;
	return r;
}

static int reading_start(struct reading *r)
{
	int rc;

	kref_get(&r->kref);
	rc = vb_thread_start(reading_thread, r, "vb-read");
	if (rc)
		kref_put(&r->kref, reading_free);
	return rc;
}

static ssize_t reading_wait(struct reading *r, unsigned long until)
{
	long most = max((long)(until - jiffies), 0L);
	long rc = wait_for_completion_interruptible_timeout(&r->over, most);

	if (rc > 0)
		return r->rc;
	return rc ? rc : -ETIMEDOUT;
}

/* @until: jiffies.  Return: bytes, 0 at the end of the file; -errno. */
static ssize_t read_piece(struct vb_proxy *p, loff_t at, u32 bytes, struct iov_iter *to,
			  unsigned long until)
{
	struct reading *r = reading_new(p, at, bytes);
	ssize_t rc;

	if (IS_ERR(r))
		return PTR_ERR(r);
	rc = reading_start(r);
	if (!rc)
		rc = reading_wait(r, until);
	if (rc > 0) {
		rc = copy_to_iter(r->data, rc, to);
		rc = rc ? rc : -EFAULT;
	}
	kref_put(&r->kref, reading_free);
	return rc;
}

/* ---- the file that the executor gets ---- */

/* What is short is the end, or has an error behind it: whoever goes on there is told. */
static ssize_t proxy_read(struct kiocb *iocb, struct iov_iter *to)
{
	unsigned long until = jiffies + msecs_to_jiffies(READ_ONCE(vb_page_in_timeout_ms)) + 1;
	struct vb_proxy *p = iocb->ki_filp->private_data;
	ssize_t rc = 0, done = 0;
	size_t piece;

	if (iocb->ki_flags & IOCB_NOWAIT)
		return -EAGAIN;
	do {
		piece = min_t(size_t, iov_iter_count(to), PIECE_BYTES);
		if (!piece)
			break;
		rc = read_piece(p, iocb->ki_pos, piece, to, until);
		if (rc <= 0)
			break;
		iocb->ki_pos += rc;
		done += rc;
	} while (rc == piece);
	return done ? done : rc;
}

static int proxy_release(struct inode *inode, struct file *filp)
{
	struct vb_proxy *p = filp->private_data;

	vb_pseudo_gone();
	vb_proxy_put(p);
	return 0;
}

static const struct file_operations proxy_fops = {
	.owner = THIS_MODULE,
	.read_iter = proxy_read,
	.release = proxy_release,
};

/**
 * vb_proxy_file() - a file of ours that reads as the real one
 * @p: proxy
 * @bytes: length
 *
 * Context: may sleep; does not ask the file's server.
 * Return: our file, for fput(); ERR_PTR(-ENOMEM); ERR_PTR(-ENFILE).
 */
struct file *vb_proxy_file(struct vb_proxy *p, u64 bytes)
{
	struct file *own = vb_pseudo_file(&proxy_fops, bytes);

	if (IS_ERR(own))
		return own;
	kref_get(&p->kref);
	own->private_data = p;
	return own;
}

/* ---- its life ---- */

static void proxy_close(struct vb_proxy *p)
{
	/*
	 * Here: who puts it off leaves it to a worker of the kernel's, who closes for everybody.
	 * Of a mount that was let go of lazily the last file is that one's all the same.
	 */
	__fput_sync(p->file);
	vb_user_uncharge(p->user, PROXY_COST);
	vb_user_put(p->user);
	kfree(p);
	/* Who unloads the module waits for the end of this. */
	module_put(THIS_MODULE);
}

/**
 * vb_proxies_close() - close what a user has left to be closed
 * @work: vb_user.closer
 *
 * Context: a worker; waits for servers as long as they like.  The user may go with the last one.
 */
void vb_proxies_close(struct work_struct *work)
{
	struct vb_user *user = container_of(work, struct vb_user, closer);
	struct vb_proxy *p, *next;

	llist_for_each_entry_safe(p, next, llist_del_all(&user->closing), closing)
		proxy_close(p);
}

static void proxy_free(struct kref *kref)
{
	struct vb_proxy *p = container_of(kref, struct vb_proxy, kref);
	struct vb_user *user = p->user;

	__module_get(THIS_MODULE);
	/* If it is not the first, whoever put that there sees to both; and only then it may go. */
	if (llist_add(&p->closing, &user->closing))
		queue_work(closers, &user->closer);
}

/**
 * vb_proxy_new() - what stands for a file
 * @file: open for reading; the proxy's from here on, if there is one
 * @user: pays for it, and for what is read
 *
 * Context: may sleep.
 * Return: the proxy, for vb_proxy_put(); ERR_PTR(-EDQUOT), ERR_PTR(-ENOMEM).
 */
struct vb_proxy *vb_proxy_new(struct file *file, struct vb_user *user)
{
	struct vb_proxy *p;

	if (vb_user_charge(user, PROXY_COST))
		return ERR_PTR(-EDQUOT);
	p = kzalloc(sizeof(*p), GFP_KERNEL_ACCOUNT);
	if (!p) {
		vb_user_uncharge(user, PROXY_COST);
		return ERR_PTR(-ENOMEM);
	}
	kref_init(&p->kref);
	p->file = file;
	/* There is one with that uid. */
	p->user = vb_user_get(user->uid);
	return p;
}

/**
 * vb_proxy_put() - do without a proxy
 * @p: proxy; after the last one its file is closed, by a worker
 *
 * Context: any; the caller has the module.
 */
void vb_proxy_put(struct vb_proxy *p)
{
	kref_put(&p->kref, proxy_free);
}

/**
 * vb_proxy_init() - from now on there may be some
 *
 * Context: module load.
 * Return: 0, for vb_proxy_exit(); -ENOMEM.
 */
int vb_proxy_init(void)
{
	closers = alloc_workqueue("vblackwell-close", WQ_UNBOUND, WQ_MAX_ACTIVE);
	return closers ? 0 : -ENOMEM;
}

/**
 * vb_proxy_exit() - undo vb_proxy_init()
 *
 * Context: module unload: what is read or closed has the module.
 */
void vb_proxy_exit(void)
{
	destroy_workqueue(closers);
}
