// SPDX-License-Identifier: GPL-2.0
/*
 * Files of clients, of which objects are made.
 *
 * The tensors of a model are many objects of one file, and so are those of everybody who
 * opened it: as long as a file looks the same it is kept open once, by us.
 */
#include "file.h"

#include <linux/blkdev.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/hashtable.h>
#include <linux/magic.h>
#include <linux/module.h>
#include <linux/once.h>
#include <linux/random.h>
#include <linux/siphash.h>
#include <linux/slab.h>

#include "proxy.h"
#include "request.h"
#include "thread.h"
#include "user.h"
#include "wait.h"

static DEFINE_MUTEX(files_lock);
static DEFINE_HASHTABLE(files, 10);	/* struct vb_file; files_lock */

/* What a file looks like; @sync as statx() takes it: its file system may be asked, or not. */
static int file_look(struct file *file, struct vb_file *f, unsigned int sync)
{
	struct inode *inode = file->f_mapping->host;
	struct kstat st;
	int rc;

	rc = vfs_getattr(&file->f_path, &st, STATX_BASIC_STATS, sync);
	if (rc)
		return rc;
	f->dev = S_ISBLK(st.mode) ? st.rdev : st.dev;
	f->ino = st.ino;
	f->changed = st.ctime;
	if (S_ISREG(st.mode))
		f->bytes = st.size;
	else if (S_ISBLK(st.mode))
		f->bytes = i_size_read(inode);
	else
		return -EINVAL;
	return 0;
}

static bool looks_the_same(const struct vb_file *a, const struct vb_file *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->bytes == b->bytes &&
	       timespec64_equal(&a->changed, &b->changed);
}

/*
 * The server may be anybody's.  What is stacked on others is what it stands on; where it does
 * not say, there may be one below it.
 */
static bool may_be_silent(const struct file *file)
{
	const struct super_block *sb = d_real_inode(file->f_path.dentry)->i_sb;

	return sb->s_magic == FUSE_SUPER_MAGIC || sb->s_stack_depth;
}

/**
 * vb_file_check() - does a file still look as it did when its object was made
 * @f: file
 *
 * By what this kernel knows.  A file system that is elsewhere is not asked: it may not answer,
 * and who waits for it can then not even be killed.  FUSE takes any short answer for the end of
 * the file: a length that became less with no change of the file is told by who reads there.
 * For whom it was opened: FUSE tells nobody else.
 *
 * Context: may sleep.
 * Return: 0; -ESTALE it changed; what its file system says.
 */
int vb_file_check(const struct vb_file *f)
{
	const struct cred *ours = override_creds(f->file->f_cred);
	struct vb_file now;
	int rc;

	rc = file_look(f->file, &now, AT_STATX_DONT_SYNC);
	revert_creds(ours);
	if (rc)
		return rc;
	if (may_be_silent(f->file) && now.bytes < f->bytes)
		now.bytes = f->bytes;
	return looks_the_same(f, &now) ? 0 : -ESTALE;
}

/*
 * They give up a read that would wait for a lock of theirs, if that is asked for.  FMODE_NOWAIT
 * does not say so much: btrfs and ntfs have it, and wait for the inode's lock whatever is asked
 * for.
 */
static bool gives_up(const struct super_block *sb)
{
	return sb->s_magic == EXT4_SUPER_MAGIC || sb->s_magic == XFS_SUPER_MAGIC;
}

/**
 * vb_file_disk() - the disk that a file can be read from directly, and that answers
 * @file: from vb_file_reopen()
 *
 * Past the page cache, from a block device or a file system that is on one, and without a wait
 * for any lock of theirs, if that is asked for.  The executor may change the file's flags at any
 * time: what is asked again may have another answer.
 *
 * Context: any.
 * Return: the disk, as long as the file is open; NULL: there is none.
 */
struct block_device *vb_file_disk(const struct file *file)
{
	struct inode *inode = file->f_mapping->host;

	if (!(READ_ONCE(file->f_flags) & O_DIRECT) || !(file->f_mode & FMODE_NOWAIT))
		return NULL;
	if (S_ISBLK(inode->i_mode))
		return I_BDEV(inode);
	return may_be_silent(file) || !gives_up(inode->i_sb) ? NULL : inode->i_sb->s_bdev;
}

/**
 * vb_file_reopen() - a file of our own, to be read only
 * @file: somebody else's: its flags are not ours to change, and may change while others read
 * @cred: whom it is opened for
 *
 * Past the page cache where the file system can.  One that does not answer keeps the caller
 * waiting.
 *
 * Context: may sleep.
 * Return: the file, for fput(); what its file system says.
 */
struct file *vb_file_reopen(struct file *file, const struct cred *cred)
{
	const int flags = O_RDONLY | O_LARGEFILE;
	struct file *own;

	own = dentry_open(&file->f_path, flags | O_DIRECT, cred);
	return IS_ERR(own) ? dentry_open(&file->f_path, flags, cred) : own;
}

static void file_free(struct vb_file *f)
{
	fput(f->shown);
	if (f->proxy)
		vb_proxy_put(f->proxy);
	else
		fput(f->file);
	kfree(f);
}

/* Names of files and numbers of inodes lie; the inode itself is one as long as it is open. */
static const struct inode *inode_of(const struct vb_file *f)
{
	return file_inode(f->file);
}

/*
 * A client can have many that are one inode, each as it looked at another time: none may know
 * what makes them stand in one place, where others look too.
 */
static u32 key_of(const struct vb_file *f)
{
	static siphash_key_t secret __read_mostly;
	const u64 key[] = {
		(uintptr_t)inode_of(f), f->ino, f->dev, f->bytes, f->changed.tv_sec,
		f->changed.tv_nsec,
	};

	get_random_once(&secret, sizeof(secret));
	return siphash(key, sizeof(key), &secret);
}

/* What is asked of a server that may be silent is asked for one user, who pays. */
static bool are_of_one_user(const struct vb_file *a, const struct vb_file *b)
{
	if (!a->proxy || !b->proxy)
		return a->proxy == b->proxy;
	return a->proxy->user == b->proxy->user;
}

static struct vb_file *find_locked(const struct vb_file *f)
{
	struct vb_file *other;

	lockdep_assert_held(&files_lock);
	hash_for_each_possible(files, other, link, key_of(f))
		if (inode_of(other) == inode_of(f) && looks_the_same(other, f) &&
		    are_of_one_user(other, f))
			return other;
	return NULL;
}

/* @f is used up. */
static struct vb_file *file_share(struct vb_file *f)
{
	struct vb_file *other;

	mutex_lock(&files_lock);
	other = find_locked(f);
	if (other)
		other->refs++;
	else
		hash_add(files, &f->link, key_of(f));
	mutex_unlock(&files_lock);
	if (!other)
		return f;
	file_free(f);
	return other;
}

/* A thread of ours does, see below: it may wait for the server once more. */
static int show_proxy(struct vb_file *f, struct vb_user *user)
{
	f->proxy = vb_proxy_new(f->file, user);
	if (IS_ERR(f->proxy)) {
		__fput_sync(f->file);
		return PTR_ERR(f->proxy);
	}
	f->shown = vb_proxy_file(f->proxy, f->bytes);
	if (!IS_ERR(f->shown))
		return 0;
	vb_proxy_put(f->proxy);
	return PTR_ERR(f->shown);
}

/* @user: whose, if its server may be silent */
static int file_open(struct vb_user *user, struct file *from, struct vb_file **out)
{
	struct vb_file *f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);
	int rc;

	if (!f)
		return -ENOMEM;
	rc = file_look(from, f, AT_STATX_SYNC_AS_STAT);
	if (rc)
		goto err_free;
	/* The executor may not open what a client can: for the client, who waits for the answer. */
	f->file = vb_file_reopen(from, from->f_cred);
	if (IS_ERR(f->file)) {
		rc = PTR_ERR(f->file);
		goto err_free;
	}
	if (user)
		rc = show_proxy(f, user);
	else
		f->shown = get_file(f->file);
	if (rc)
		goto err_free;
	f->refs = 1;
	*out = file_share(f);
	return 0;

err_free:
	kfree(f);
	return rc;
}

/**
 * vb_file_put() - an object does without its file
 * @f: file, or NULL
 *
 * Context: may sleep.
 */
void vb_file_put(struct vb_file *f)
{
	bool last;

	if (!f)
		return;
	mutex_lock(&files_lock);
	last = !--f->refs;
	if (last)
		hash_del(&f->link);
	mutex_unlock(&files_lock);
	if (last)
		file_free(f);
}

/* ---- file systems that may never answer ---- */

/*
 * A FUSE server that has taken a request is waited for whatever happens: SIGKILL does not end
 * that (request_wait_answer() in fs/fuse/dev.c).  So a thread of ours asks it, in the client's
 * name, and the client waits for the thread as for anything else.  When it gives up, the thread
 * stays until the server answers or ends.
 */
#define OPENING_COST	(THREAD_SIZE + sizeof(struct task_struct) + sizeof(struct opening))

/**
 * struct opening - a file that a thread opens, while its client waits
 * @kref: the client, and the thread
 * @wait: where the client is
 * @done: what came of it is there
 * @user: of the client; charged, and counted there
 * @from: the client's file
 * @cred: the client's
 * @file: what came of it, or NULL: none, or the client has taken it
 * @rc: 0, or why there is none
 */
struct opening {
	struct kref kref;
	wait_queue_head_t wait;
	bool done;
	struct vb_user *user;
	struct file *from;
	const struct cred *cred;
	struct vb_file *file;
	int rc;
};

/* All that are under way: who starts many and dies leaves as many. */
static int opening_count(struct vb_user *user)
{
	if (atomic_inc_return(&user->unanswered) <= VB_UNANSWERED_MAX &&
	    !vb_user_charge(user, OPENING_COST))
		return 0;
	atomic_dec(&user->unanswered);
	return -EDQUOT;
}

static void opening_uncount(struct vb_user *user)
{
	atomic_dec(&user->unanswered);
	vb_user_uncharge(user, OPENING_COST);
}

static struct opening *opening_new(struct vb_user *user, struct file *from)
{
	struct opening *o;

	int rc = opening_count(user);

	if (rc)
		return ERR_PTR(rc);
	o = kzalloc(sizeof(*o), GFP_KERNEL_ACCOUNT);
	if (!o) {
		opening_uncount(user);
		return ERR_PTR(-ENOMEM);
	}
	kref_init(&o->kref);
	init_waitqueue_head(&o->wait);
	/* There is one with that uid. */
	o->user = vb_user_get(user->uid);
	o->from = get_file(from);
	o->cred = get_current_cred();
	return o;
}

static void opening_free(struct kref *kref)
{
	struct opening *o = container_of(kref, struct opening, kref);

	vb_file_put(o->file);
	put_cred(o->cred);
	opening_uncount(o->user);
	vb_user_put(o->user);
	kfree(o);
}

static int opening_thread(void *arg)
{
	struct opening *o = arg;
	const struct cred *ours = override_creds(o->cred);

	o->rc = file_open(o->user, o->from, &o->file);
	revert_creds(ours);
	/* Whoever sees @done sees what came of it. */
	smp_store_release(&o->done, true);
	wake_up_all(&o->wait);
	/* The client may have closed it: then that is asked of its server here. */
	__fput_sync(o->from);
	kref_put(&o->kref, opening_free);
	module_put_and_kthread_exit(0);
	return 0;
}

static int opening_start(struct opening *o)
{
	int rc;

	kref_get(&o->kref);
	rc = vb_thread_start(opening_thread, o, "vb-open");
	if (rc) {
		fput(o->from);
		kref_put(&o->kref, opening_free);
	}
	return rc;
}

static bool is_open(const struct opening *o)
{
	/* Pairs with opening_thread(). */
	return smp_load_acquire(&o->done);
}

static int opening_wait(struct opening *o, struct vb_file **out)
{
	int rc = vb_wait_until(o->wait, is_open(o), vb_bound(0));

	if (rc)
		return rc;
	*out = o->file;
	o->file = NULL;
	return o->rc;
}

static int file_open_aside(struct vb_user *user, struct file *from, struct vb_file **out)
{
	struct opening *o = opening_new(user, from);
	int rc;

	if (IS_ERR(o))
		return PTR_ERR(o);
	rc = opening_start(o);
	if (!rc)
		rc = opening_wait(o, out);
	kref_put(&o->kref, opening_free);
	return rc;
}

/**
 * vb_file_open() - the file behind a descriptor of the caller
 * @user: who pays for a thread, where one has to wait
 * @fd: open for reading, a regular file or a block device
 * @out: for vb_file_put(); the same for all who open what looks the same
 *
 * Context: may sleep: for file systems that may never answer interruptibly and within
 * vb_bound(), for others as long as they like; no lock held.
 * Return: 0; -EBADF; -EACCES; -EINVAL; -ENOMEM; -EINTR; -ETIME; -EDQUOT kernel memory, or
 * VB_UNANSWERED_MAX are under way; what its file system says.
 */
int vb_file_open(struct vb_user *user, int fd, struct vb_file **out)
{
	struct file *file = fget(fd);
	int rc;

	if (!file)
		return -EBADF;
	if (!(file->f_mode & FMODE_READ))
		rc = -EACCES;
	else if (may_be_silent(file))
		rc = file_open_aside(user, file, out);
	else
		rc = file_open(NULL, file, out);
	fput(file);
	return rc;
}
