/* SPDX-License-Identifier: GPL-2.0 */
/* Commands that come by io_uring, to both nodes. */
#ifndef VB_URING_H
#define VB_URING_H

#include <linux/fs.h>
#include <linux/workqueue.h>

#include "core/deps.h"

struct io_uring_cmd;
struct vb_dependent;

int vb_uring_client(struct io_uring_cmd *cmd, unsigned int issue_flags);
int vb_uring_exec(struct io_uring_cmd *cmd, unsigned int issue_flags);
void vb_uring_wake_locked(bool urgent);
void vb_uring_signal_locked(struct vb_dependent *d, int status);
void vb_uring_watch(struct work_struct *work);	/* of vb_device.uring_watch */
void vb_uring_end_fetches(void);
int vb_uring_flush(struct file *filp, fl_owner_t id);

#endif
