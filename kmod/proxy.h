/* SPDX-License-Identifier: GPL-2.0 */
/* What the executor reads instead of a file whose server may never answer. */
#ifndef VB_PROXY_H
#define VB_PROXY_H

#include <linux/kref.h>
#include <linux/workqueue.h>

#include "core/deps.h"

struct file;
struct vb_user;

/**
 * struct vb_proxy - what stands for such a file, and has it
 * @kref: struct vb_file, the file that the executor gets, each reading
 * @work: closes it
 * @file: the real one
 * @user: who opened it, and pays
 */
struct vb_proxy {
	struct kref kref;
	struct work_struct work;
	struct file *file;
	struct vb_user *user;
};

struct vb_proxy *vb_proxy_new(struct file *file, struct vb_user *user);
void vb_proxy_put(struct vb_proxy *p);
struct file *vb_proxy_file(struct vb_proxy *p, u64 bytes);
int vb_proxy_init(void);
void vb_proxy_exit(void);

#endif
