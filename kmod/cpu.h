/* SPDX-License-Identifier: GPL-2.0 */
/* Content for the CPU of a client: map, read, write. */
#ifndef VB_CPU_H
#define VB_CPU_H

#include <linux/list.h>

#include "core/deps.h"

struct vb_bo;
struct vb_client;
struct vb_ucmd;

/**
 * struct vb_hold - a range that BO_MAP keeps in host memory
 * @link: in vb_bo.mappings
 * @client_link: in vb_client.holds
 * @client: who asked
 * @bo: object, of which this is a user
 * @offset: as given
 * @bytes: as given
 * @flags: as given
 */
struct vb_hold {
	struct list_head link, client_link;
	struct vb_client *client;
	struct vb_bo *bo;
	u64 offset, bytes;
	u32 flags;
};

enum vb_hold_how {
	VB_HOLD_PIN,		/* for VB_ADVISE_PIN; undone by vb_step_unpin() */
	VB_HOLD_READ,		/* for a copy; undone by vb_step_unmap(), as the next */
	VB_HOLD_WRITE,		/* and to be written */
};

int vb_hold(struct vb_client *c, struct vb_bo *bo, u32 chunk, u32 end, enum vb_hold_how how,
	    u64 deadline_ns);
int vb_hold_all(struct vb_bo *bo, bool write);
void vb_unhold_all(struct vb_bo *bo);
void vb_holds_drop(struct vb_client *c);
u64 vb_share_bytes(const struct vb_client *c);
int vb_bo_map(struct vb_client *c, struct vb_ucmd *u);
int vb_bo_unmap(struct vb_client *c, struct vb_ucmd *u);
int vb_bo_read(struct vb_client *c, struct vb_ucmd *u);
int vb_bo_write(struct vb_client *c, struct vb_ucmd *u);

/**
 * struct vb_copy - bytes between an object and the caller's memory
 * @bo: object, of which the caller is a user
 * @write: into the object
 * @offset: first byte
 * @bytes: length, within the object
 * @done: bytes copied
 * @memory: caller's
 */
struct vb_copy {
	struct vb_bo *bo;
	bool write;
	u64 offset, bytes, done;
	char __user *memory;
};

#endif
