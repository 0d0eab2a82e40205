/* SPDX-License-Identifier: GPL-2.0 */
/* Chunks of files that the device brings into host memory by itself. */
#ifndef VB_FILL_H
#define VB_FILL_H

#include <linux/types.h>

struct vb_bo;
struct vb_client;

/**
 * struct vb_fill_ask - a chunk that somebody wants in host memory
 * @bo: object, of which the caller is a user
 * @client: whose time it takes
 * @chunk: within @bo
 * @flags: VB_FETCH_F_* of a page-in
 * @killable: only a deadly signal ends the wait
 * @deadline_ns: CLOCK_MONOTONIC
 */
struct vb_fill_ask {
	struct vb_bo *bo;
	struct vb_client *client;
	u32 chunk, flags;
	bool killable;
	u64 deadline_ns;
};

/* Most that may be under way, or not be known to the executor yet. */
#define VB_FILLS_MAX	64u

int vb_fill(const struct vb_fill_ask *ask);
void vb_fill_known(void);
void vb_fill_allow(u32 count);
void vb_fill_forget(void);
void vb_fill_hold(bool hold);
bool vb_fill_is_held_locked(void);
int vb_fill_init(void);
void vb_fill_exit(void);

#endif
