/* SPDX-License-Identifier: GPL-2.0 */
/* Who may have how much. */
#ifndef VB_LIMIT_H
#define VB_LIMIT_H

#include "core/deps.h"

struct vb_client;
struct vb_ucmd;
struct vb_user;

#define VB_SUBMISSIONS		4096u	/* default limit a client, in flight */

bool vb_limit_may_shrink_locked(u64 bytes);
int vb_limit_hold(struct vb_client *c, u64 chunks, bool pin);
void vb_limit_release(struct vb_client *c, u64 chunks, bool pin);
void vb_limit_release_locked(struct vb_client *c, u64 chunks, bool pin);	/* slot_lock */
int vb_limit_slot_locked(struct vb_client *c, u32 tier, u32 from);
bool vb_limit_has_room(struct vb_client *c, u32 tier, u64 chunks);
void vb_limit_unslot_locked(struct vb_client *c, u32 tier);
void vb_limit_keep_locked(struct vb_user *user, u32 tier);
void vb_limit_let_go_locked(struct vb_user *user, u32 tier);
int vb_limit(struct vb_client *c, struct vb_ucmd *u);

#endif
