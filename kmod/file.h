/* SPDX-License-Identifier: GPL-2.0 */
/* Files of clients, as they were when they were opened. */
#ifndef VB_FILE_H
#define VB_FILE_H

#include <linux/fs.h>

#include "core/deps.h"

#define VB_UNANSWERED_MAX	256u	/* what a user may have under way, or has given up */

struct block_device;
struct cred;
struct vb_proxy;
struct vb_user;

/**
 * struct vb_file - a file that a client had opened, and what it looked like then
 * @link: in the table of files; its lock, as @refs; the rest is fixed
 * @file: opened anew, to be read only
 * @proxy: stands for it, and has it, where its server may never answer; else NULL
 * @shown: what the executor gets
 * @refs: objects
 * @bytes: length
 * @ino: inode number
 * @dev: device
 * @changed: change time
 */
struct vb_file {
	struct hlist_node link;
	struct file *file, *shown;
	struct vb_proxy *proxy;
	u32 refs;
	u64 bytes, ino;
	dev_t dev;
	struct timespec64 changed;
};

int vb_file_open(struct vb_user *user, int fd, struct vb_file **out);
void vb_file_put(struct vb_file *f);
int vb_file_check(const struct vb_file *f);
struct file *vb_file_reopen(struct file *file, const struct cred *cred);
struct block_device *vb_file_disk(const struct file *file);

#endif
