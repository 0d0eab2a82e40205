// SPDX-License-Identifier: GPL-2.0
/* The module: its parameters, its two nodes, and the inodes of mappings. */
#include <linux/genalloc.h>
#include <linux/miscdevice.h>
#include <linux/mmap_lock.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pseudo_fs.h>
#include <linux/vmalloc.h>

#include "arena.h"
#include "client.h"
#include "crc.h"
#include "device.h"
#include "exec.h"
#include "fence.h"
#include "fill.h"
#include "import.h"
#include "limit.h"
#include "map.h"
#include "proxy.h"
#include "queue.h"
#include "recover.h"
#include "request.h"
#include "show.h"
#include "submit.h"
#include "table.h"
#include "ucmd.h"
#include "uring.h"
#include "user.h"
#include "vb.h"

#define SUBMIT_ALIGN_SHIFT	6

struct vb_device vb;

static unsigned int chunk_bytes = VB_CHUNK_BYTES_MAX;
module_param(chunk_bytes, uint, 0444);
MODULE_PARM_DESC(chunk_bytes, "bytes of a chunk, a power of two from 64 KiB to 2 MiB");

module_param_named(executor_timeout_ms, vb_exec_timeout_ms, uint, 0644);
MODULE_PARM_DESC(executor_timeout_ms,
		 "an executor that has work and asks for nothing so long is killed; 0: never");

module_param_named(page_in_timeout_ms, vb_page_in_timeout_ms, uint, 0644);
MODULE_PARM_DESC(page_in_timeout_ms, "bound of a wait for the executor without a deadline, each");

module_param_named(wait_spin_us, vb_wait_spin_us, uint, 0644);
MODULE_PARM_DESC(wait_spin_us, "how long a wait for a fence looks for it, awake, before it sleeps");

module_param_named(drain_pause_ms, vb_drain_pause_ms, uint, 0644);
MODULE_PARM_DESC(drain_pause_ms,
		 "time between two regions that go when the kernel is short of memory");

module_param_named(recovery_ms, vb_recovery_ms, uint, 0644);
MODULE_PARM_DESC(recovery_ms,
		 "clients wait so long for a successor of an executor that died; 0: not at all");

/* ---- inodes: address spaces of mappings, large enough for all ---- */

/* Pinned by each inode: a mount of our own would keep the module from being unloaded. */
static struct vfsmount *vb_mount;
static int vb_mount_count;

static int vb_fs_init_context(struct fs_context *fc)
{
	return init_pseudo(fc, 0x76626c6b) ? 0 : -ENOMEM;
}

static struct file_system_type vb_fs = {
	.name = "vblackwell",
	.owner = THIS_MODULE,
	.init_fs_context = vb_fs_init_context,
	.kill_sb = kill_anon_super,
};

/**
 * vb_inode_new() - an inode for the pages that somebody maps
 *
 * Its size is the largest there is: the kernel maps huge pages only where they end
 * within the file.
 *
 * Return: the inode, for vb_inode_free(); ERR_PTR(-ENOMEM).
 */
struct inode *vb_inode_new(void)
{
	struct inode *inode;
	int rc;

	rc = simple_pin_fs(&vb_fs, &vb_mount, &vb_mount_count);
	if (rc)
		return ERR_PTR(rc);
	inode = alloc_anon_inode(vb_mount->mnt_sb);
	if (IS_ERR(inode))
		simple_release_fs(&vb_mount, &vb_mount_count);
	else
		i_size_write(inode, MAX_LFS_FILESIZE);
	return inode;
}

/**
 * vb_inode_free() - nobody maps those pages any more
 * @inode: of vb_inode_new()
 *
 * Context: may sleep.
 */
void vb_inode_free(struct inode *inode)
{
	iput(inode);
	simple_release_fs(&vb_mount, &vb_mount_count);
}

/**
 * vb_pseudo_file() - a file of ours that is in no folder, to be read only
 * @fops: what can be done with it; its release() ends with vb_pseudo_gone()
 * @bytes: its length
 *
 * Context: may sleep.
 * Return: the file, for fput(); ERR_PTR(-ENOMEM); ERR_PTR(-ENFILE).
 */
struct file *vb_pseudo_file(const struct file_operations *fops, u64 bytes)
{
	static atomic64_t last;
	struct inode *inode = vb_inode_new();
	struct file *file;

	if (IS_ERR(inode))
		return ERR_CAST(inode);
	/* Two are never one: by these the executor tells files from each other. */
	inode->i_ino = atomic64_inc_return(&last);
	inode->i_mode = S_IFREG | 0400;
	i_size_write(inode, bytes);
	file = alloc_file_pseudo(inode, vb_mount, "vblackwell", O_RDONLY | O_LARGEFILE, fops);
	if (IS_ERR(file)) {
		vb_inode_free(inode);
		return file;
	}
	/* Let go when the file goes. */
	__module_get(fops->owner);
	file->f_mode |= FMODE_PREAD;
	return file;
}

/**
 * vb_pseudo_gone() - it is being released; its inode goes with it
 *
 * Context: may sleep.
 */
void vb_pseudo_gone(void)
{
	simple_release_fs(&vb_mount, &vb_mount_count);
}

/* ---- nodes ---- */

/*
 * All is there: what is opened before would outlive a beginning that fails, and the module.
 * A node can be opened from the moment it is registered, and others come after it.
 */
static bool ready;

static int client_open(struct inode *inode, struct file *filp)
{
	/* Pairs with the end of vb_init(). */
	return smp_load_acquire(&ready) ? vb_client_open(inode, filp) : -ENODEV;
}

static int exec_open(struct inode *inode, struct file *filp)
{
	/* The same. */
	return smp_load_acquire(&ready) ? vb_exec_open(inode, filp) : -ENODEV;
}

static const struct file_operations client_fops = {
	.owner = THIS_MODULE,
	.open = client_open,
	.release = vb_client_release,
	.unlocked_ioctl = vb_ioctl_client,
	.compat_ioctl = compat_ptr_ioctl,
	.poll = vb_client_poll,
	.uring_cmd = vb_uring_client,
	.flush = vb_uring_flush,
	.mmap = vb_client_mmap,
	.get_unmapped_area = thp_get_unmapped_area,
	.llseek = noop_llseek,
	.show_fdinfo = vb_client_fdinfo,
};

static const struct file_operations exec_fops = {
	.owner = THIS_MODULE,
	.open = exec_open,
	.release = vb_exec_release,
	.unlocked_ioctl = vb_ioctl_exec,
	.compat_ioctl = compat_ptr_ioctl,
	.poll = vb_exec_poll,
	.uring_cmd = vb_uring_exec,
	.flush = vb_uring_flush,
	.mmap = vb_exec_mmap,
	.get_unmapped_area = thp_get_unmapped_area,
	.llseek = noop_llseek,
	.show_fdinfo = vb_exec_fdinfo,
};

static struct miscdevice client_node = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "vblackwell",
	.fops = &client_fops,
	.mode = 0660,
	.groups = vb_sysfs_groups,
};

static struct miscdevice exec_node = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "vblackwell-exec",
	.fops = &exec_fops,
	.mode = 0600,
};

/* ---- the device ---- */

static int submit_region_init(void)
{
	vb.submit_base = vmalloc_user(VB_MMAP_SUBMIT_BYTES);
	if (!vb.submit_base)
		return -ENOMEM;
	vb.submit = gen_pool_create(SUBMIT_ALIGN_SHIFT, NUMA_NO_NODE);
	if (!vb.submit)
		goto err_free;
	if (gen_pool_add(vb.submit, (unsigned long)vb.submit_base, VB_MMAP_SUBMIT_BYTES,
			 NUMA_NO_NODE))
		goto err_pool;
	return 0;

err_pool:
	gen_pool_destroy(vb.submit);
err_free:
	vfree(vb.submit_base);
	return -ENOMEM;
}

static void submit_region_exit(void)
{
	gen_pool_destroy(vb.submit);
	vfree(vb.submit_base);
}

static void device_init(void)
{
	vb.chunk_bytes = chunk_bytes;
	vb.chunk_shift = ilog2(chunk_bytes);
	vb.exec_state = VB_EXEC_NONE;
	mutex_init(&vb.exec_lock);
	spin_lock_init(&vb.slot_lock);
	spin_lock_init(&vb.work_lock);
	spin_lock_init(&vb.submit_lock);
	INIT_LIST_HEAD(&vb.queues);
	INIT_LIST_HEAD(&vb.advance);
	INIT_LIST_HEAD(&vb.quarantine);
	INIT_LIST_HEAD(&vb.fetches);
	INIT_LIST_HEAD(&vb.waits);
	INIT_LIST_HEAD(&vb.ended);
	xa_init_flags(&vb.clients, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	xa_init_flags(&vb.bos, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	xa_init_flags(&vb.tags, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	init_waitqueue_head(&vb.freed);
	init_waitqueue_head(&vb.fetch);
	init_waitqueue_head(&vb.settled);
	INIT_WORK(&vb.advance_more, vb_queues_advance_more);
	INIT_DELAYED_WORK(&vb.expire, vb_queue_expire);
	INIT_DELAYED_WORK(&vb.watch, vb_exec_watch);
	INIT_DELAYED_WORK(&vb.recovery, vb_recovery_end);
	timerqueue_init_head(&vb.expiries);
	INIT_WORK(&vb.free, vb_submissions_free_now);
	INIT_DELAYED_WORK(&vb.uring_watch, vb_uring_watch);
	memset(vb.client_limits, 0xff, sizeof(vb.client_limits));
	memset(vb.user_limits, 0xff, sizeof(vb.user_limits));
	vb.client_limits[VB_LIMIT_SUBMISSIONS] = VB_SUBMISSIONS;
	vb_user_limit_init();
}

/**
 * vb_client_lock_init() - mutex_init() of vb_client.lock
 * @client_lock: lock of a new client
 *
 * Context: any.
 */
void vb_client_lock_init(struct mutex *client_lock)
{
	mutex_init(client_lock);
}

/**
 * vb_bo_lock_init() - mutex_init() of vb_bo.lock
 * @bo_lock: lock of a new object
 *
 * Context: any.
 */
void vb_bo_lock_init(struct mutex *bo_lock)
{
	mutex_init(bo_lock);
}

/* The order of vb.h: whoever goes against it is told, if he is the first one to take two. */
static void __init prime_lock_order(void)
{
	struct mutex client_lock, bo_lock;

	if (!IS_ENABLED(CONFIG_PROVE_LOCKING))
		return;
	vb_client_lock_init(&client_lock);
	vb_bo_lock_init(&bo_lock);
	mmap_read_lock(current->mm);
	mutex_lock(&vb.exec_lock);
	mutex_lock(&client_lock);
	mutex_lock(&bo_lock);
	might_lock(&vb.slot_lock);
	might_lock(&vb.work_lock);
	might_lock(&vb.submit_lock);
	mutex_unlock(&bo_lock);
	mutex_unlock(&client_lock);
	mutex_unlock(&vb.exec_lock);
	mmap_read_unlock(current->mm);
	mutex_destroy(&bo_lock);
	mutex_destroy(&client_lock);
}

static int __init vb_init(void)
{
	int rc;

	if (!is_power_of_2(chunk_bytes) || chunk_bytes < VB_CHUNK_BYTES_MIN ||
	    chunk_bytes > VB_CHUNK_BYTES_MAX)
		return -EINVAL;
	device_init();
	prime_lock_order();
	rc = submit_region_init();
	if (rc)
		return rc;
	rc = vb_table_init();
	if (rc)
		goto err_submit;
	rc = vb_import_init();
	if (rc)
		goto err_table;
	rc = vb_bar_init();
	if (rc)
		goto err_import;
	vb_crc_init();
	rc = vb_fill_init();
	if (rc)
		goto err_crc;
	rc = vb_proxy_init();
	if (rc)
		goto err_fill;
	rc = misc_register(&client_node);
	if (rc)
		goto err_proxy;
	rc = vb_sysfs_init(client_node.this_device);
	if (rc)
		goto err_client;
	rc = vb_drain_init();
	if (rc)
		goto err_sysfs;
	rc = misc_register(&exec_node);
	if (rc)
		goto err_drain;
	vb_debugfs_init();
	/* Whoever sees it sees all that was made before; pairs with both opens. */
	smp_store_release(&ready, true);
	return 0;

err_drain:
	vb_drain_exit();
err_sysfs:
	vb_sysfs_exit();
err_client:
	misc_deregister(&client_node);
err_proxy:
	vb_proxy_exit();
err_fill:
	vb_fill_exit();
err_crc:
	vb_crc_exit();
	vb_bar_exit();
err_import:
	vb_import_exit();
err_table:
	vb_table_exit();
err_submit:
	submit_region_exit();
	return rc;
}

/* Nobody has a node open: their files hold the module. */
static void __exit vb_exit(void)
{
	vb_debugfs_exit();
	misc_deregister(&exec_node);
	vb_drain_exit();
	vb_sysfs_exit();
	misc_deregister(&client_node);
	/* Nothing is queued any more, but its timer may be running out. */
	cancel_work_sync(&vb.advance_more);
	cancel_delayed_work_sync(&vb.expire);
	cancel_delayed_work_sync(&vb.watch);
	cancel_delayed_work_sync(&vb.uring_watch);
	flush_work(&vb.free);
	vb_fill_exit();
	vb_recovery_exit();
	vb_proxy_exit();
	/* What was freed by RCU callbacks is ours no longer once they have run. */
	rcu_barrier();
	vb_crc_exit();
	WARN_ON(!xa_empty(&vb.clients) || !xa_empty(&vb.bos) || !xa_empty(&vb.tags));
	vb_bar_exit();
	vb_import_exit();
	vb_table_exit();
	submit_region_exit();
	vb_users_free();
	xa_destroy(&vb.clients);
	xa_destroy(&vb.bos);
	xa_destroy(&vb.tags);
}

module_init(vb_init);
module_exit(vb_exit);
MODULE_DESCRIPTION("Virtual Blackwell: tiered accelerator memory, brokered");
MODULE_LICENSE("GPL");
/* The fast one, where there is one. */
MODULE_SOFTDEP("pre: crc32c");
