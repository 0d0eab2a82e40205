/* SPDX-License-Identifier: GPL-2.0 */
/* What the executor reads instead of a file whose server may never answer. */
#ifndef VB_PROXY_H
#define VB_PROXY_H

#include <linux/kref.h>
#include <linux/llist.h>

#include "core/deps.h"

struct file;
struct vb_user;
struct work_struct;

/**
 * struct vb_proxy - what stands for such a file, and has it
 * @kref: struct vb_file, the file that the executor gets, each reading
 * @closing: in vb_user.closing, when nobody has it any more
 * @file: the real one
 * @user: who opened it, and pays
 */
struct vb_proxy {
	struct kref kref;
	struct llist_node closing;
	struct file *file;
	struct vb_user *user;
};

struct vb_proxy *vb_proxy_new(struct file *file, struct vb_user *user);
void vb_proxy_put(struct vb_proxy *p);
struct file *vb_proxy_file(struct vb_proxy *p, u64 bytes);
void vb_proxies_close(struct work_struct *work);	/* of vb_user.closer */
int vb_proxy_init(void);
void vb_proxy_exit(void);

#endif
