/* SPDX-License-Identifier: GPL-2.0 */
/* A request on its way, and into its handler. */
#ifndef VB_UCMD_H
#define VB_UCMD_H

#include <linux/fs.h>

struct vb_client;

/**
 * struct vb_ucmd - one request on its way
 * @cmd: the structure, filled up with zeros, checked against its rule
 * @user: the caller's
 * @user_bytes: of it
 * @bytes: of @cmd
 * @responded: it was written back already
 */
struct vb_ucmd {
	void *cmd;
	void __user *user;
	u32 user_bytes, bytes;
	bool responded;
};

#define VB_UCMD_BYTES_MAX	256u	/* largest structure we know */
int vb_ucmd_respond(struct vb_ucmd *u);
int vb_ucmd_can_respond(const struct vb_ucmd *u);
int vb_ucmd_client(struct vb_client *c, unsigned int request, void __user *user, u64 *cmd);
long vb_ioctl_client(struct file *filp, unsigned int request, unsigned long arg);
long vb_ioctl_exec(struct file *filp, unsigned int request, unsigned long arg);

#endif
