// SPDX-License-Identifier: GPL-2.0
/*
 * What the executor reads instead of a file whose server may never answer.
 *
 * Who waits for a FUSE server that has taken a request cannot be killed.  An executor that read
 * such a file, or opened or closed one, could be kept from leaving so, and nobody could succeed
 * it.  It gets a file of ours: a worker reads the real one, into memory that the file's user is
 * charged for, and the executor waits for the worker as for anything else.  When it gives up, the
 * worker stays until the server answers or ends.
 */
#include "proxy.h"

#include <linux/completion.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/workqueue.h>

#include "file.h"
#include "user.h"
#include "vb.h"

#define PIECE_BYTES	(256u << 10)

/**
 * struct vb_proxy - of one file
 * @kref: our file, and each reading
 * @file: the real one
 * @user: pays for readings
 */
struct vb_proxy {
	struct kref kref;
	struct file *file;
	struct vb_user *user;
};

/**
 * struct reading - a piece that a worker reads, while somebody waits
 * @kref: the worker, and who waits
 * @work: reads it
 * @over: @rc and @data are there
 * @proxy: of which file
 * @given_up: nobody waits any more, and it is counted
 * @at: from this byte on
 * @bytes: so many; @data has room for them
 * @rc: how many there were, or why none
 * @data: what was read
 */
struct reading {
	struct kref kref;
	struct work_struct work;
	struct completion over;
	struct vb_proxy *proxy;
	bool given_up;
	loff_t at;
	u32 bytes;
	ssize_t rc;
	u8 data[];
};

static struct workqueue_struct *readers;

static void proxy_free(struct kref *kref)
{
	struct vb_proxy *p = container_of(kref, struct vb_proxy, kref);

	fput(p->file);
	vb_user_put(p->user);
	kfree(p);
}

/* ---- a reading ---- */

static void reading_free(struct kref *kref)
{
	struct reading *r = container_of(kref, struct reading, kref);
	struct vb_proxy *p = r->proxy;

	if (r->given_up)
		atomic_dec(&p->user->unanswered);
	vb_user_uncharge(p->user, struct_size(r, data, r->bytes));
	kvfree(r);
	kref_put(&p->kref, proxy_free);
}

/* As whoever opened the file: the worker is nobody. */
static void reading_work(struct work_struct *work)
{
	struct reading *r = container_of(work, struct reading, work);
	struct file *file = r->proxy->file;
	const struct cred *ours = override_creds(file->f_cred);
	loff_t at = r->at;

	r->rc = kernel_read(file, r->data, r->bytes, &at);
	revert_creds(ours);
	complete_all(&r->over);
	kref_put(&r->kref, reading_free);
	/* Who unloads the module waits for the end of this. */
	module_put(THIS_MODULE);
}

static struct reading *reading_new(struct vb_proxy *p, loff_t at, u32 bytes)
{
	struct reading *r;
	int rc;

	if (atomic_read(&p->user->unanswered) >= VB_UNANSWERED_MAX)
		return ERR_PTR(-EDQUOT);
	rc = vb_user_charge(p->user, struct_size(r, data, bytes));
	if (rc)
		return ERR_PTR(rc);
	r = kvmalloc(struct_size(r, data, bytes), GFP_KERNEL_ACCOUNT);
	if (!r) {
		vb_user_uncharge(p->user, struct_size(r, data, bytes));
		return ERR_PTR(-ENOMEM);
	}
	kref_init(&r->kref);
	INIT_WORK(&r->work, reading_work);
	init_completion(&r->over);
	kref_get(&p->kref);
	r->proxy = p;
	r->given_up = false;
	r->at = at;
	r->bytes = bytes;
	return r;
}

static void reading_start(struct reading *r)
{
	__module_get(THIS_MODULE);
	kref_get(&r->kref);
	queue_work(readers, &r->work);
}

static ssize_t reading_wait(struct reading *r)
{
	int rc = wait_for_completion_interruptible(&r->over);

	if (!rc)
		return r->rc;
	r->given_up = true;
	atomic_inc(&r->proxy->user->unanswered);
	return rc;
}

/* Return: bytes, 0 at the end of the file; -errno. */
static ssize_t read_piece(struct vb_proxy *p, loff_t at, struct iov_iter *to)
{
	struct reading *r = reading_new(p, at, min_t(size_t, iov_iter_count(to), PIECE_BYTES));
	ssize_t rc;

	if (IS_ERR(r))
		return PTR_ERR(r);
	reading_start(r);
	rc = reading_wait(r);
	if (rc > 0) {
		rc = copy_to_iter(r->data, rc, to);
		rc = rc ? rc : -EFAULT;
	}
	kref_put(&r->kref, reading_free);
	return rc;
}

/* ---- our file ---- */

/* What is short is the end, or has an error behind it: whoever goes on there is told. */
static ssize_t proxy_read(struct kiocb *iocb, struct iov_iter *to)
{
	struct vb_proxy *p = iocb->ki_filp->private_data;
	ssize_t rc = 0, done = 0;
	size_t piece;

	if (iocb->ki_flags & IOCB_NOWAIT)
		return -EAGAIN;
	do {
		piece = min_t(size_t, iov_iter_count(to), PIECE_BYTES);
		if (!piece)
			break;
		rc = read_piece(p, iocb->ki_pos, to);
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
	kref_put(&p->kref, proxy_free);
	return 0;
}

static const struct file_operations proxy_fops = {
	.owner = THIS_MODULE,
	.read_iter = proxy_read,
	.release = proxy_release,
};

/**
 * vb_proxy_new() - a file of ours that reads as another one
 * @file: the other one, open for reading
 * @bytes: its length
 * @user: pays for what is read
 *
 * Context: may sleep; does not ask the file's server.
 * Return: our file, for fput(); ERR_PTR(-ENOMEM); ERR_PTR() of what says how many files there
 * may be.
 */
struct file *vb_proxy_new(struct file *file, u64 bytes, struct vb_user *user)
{
	struct vb_proxy *p = kzalloc(sizeof(*p), GFP_KERNEL_ACCOUNT);
	struct file *own;

	if (!p)
		return ERR_PTR(-ENOMEM);
	own = vb_pseudo_file(&proxy_fops, bytes);
	if (IS_ERR(own)) {
		kfree(p);
		return own;
	}
	kref_init(&p->kref);
	p->file = get_file(file);
	/* There is one with that uid. */
	p->user = vb_user_get(user->uid);
	own->private_data = p;
	return own;
}

/**
 * vb_proxy_init() - from now on there may be some
 *
 * Context: module load.
 * Return: 0, for vb_proxy_exit(); -ENOMEM.
 */
int vb_proxy_init(void)
{
	readers = alloc_workqueue("vblackwell-read", WQ_UNBOUND, WQ_MAX_ACTIVE);
	return readers ? 0 : -ENOMEM;
}

/**
 * vb_proxy_exit() - undo vb_proxy_init()
 *
 * Context: module unload: readings hold the module.
 */
void vb_proxy_exit(void)
{
	destroy_workqueue(readers);
}
