/* SPDX-License-Identifier: GPL-2.0 */
/* Executors that die, and their successors. */
#ifndef VB_RECOVER_H
#define VB_RECOVER_H

#include <linux/workqueue.h>

#include "core/deps.h"

struct vb_bo;
struct vb_exec;
struct vb_ucmd;

extern unsigned int vb_recovery_ms;		/* module parameter; 0: fail at once */
void vb_exec_left(bool blamed);		/* exec_lock, as the next */
void vb_recovery_check(void);			/* a client has left, or comes */
void vb_recovery_hurry(void);			/* an object has gone; any context that may sleep */
void vb_recovery_end(struct work_struct *work);	/* of vb_device.recovery */
void vb_recovery_exit(void);			/* nobody has a node open */
void vb_objects_each(void (*what)(struct vb_bo *bo));
int vb_object_next(struct vb_exec *x, struct vb_ucmd *u);
int vb_recover(struct vb_exec *x, struct vb_ucmd *u);

#endif
