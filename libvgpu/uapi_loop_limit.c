// SPDX-License-Identifier: MIT
/*
 * Limits of clients and of the one user there is in a process.  The core says what may
 * be charged to whom; the device's mutex protects it all.
 */
#include "uapi_loop.h"

#include <unistd.h>

static void room_update(struct vgpu_loop *loop)
{
	loop->quota.room[0] = vgpu_loop_content_bytes_locked(loop);
	loop->quota.room[1] = vgpu_loop_device_bytes_locked(loop);
}

bool vgpu_loop_limit_may_shrink_locked(const struct vgpu_loop *loop, u64 bytes)
{
	u64 host = vgpu_loop_host_bytes_locked(loop), staging = loop->staging_bytes;
	u64 storage = vgpu_loop_capacity_locked(loop) - vgpu_loop_content_bytes_locked(loop);
	u64 content = host > bytes + staging ? host - bytes - staging : 0;

	return loop->reserved_bytes <= content + storage &&
	       loop->quota.promised[0] + loop->quota.excess <= content;
}

/* ---- charges ---- */

int vgpu_loop_limit_hold_locked(struct loop_client *c, u64 chunks, bool pin)
{
	room_update(c->loop);
	return vb_quota_hold(&c->loop->quota, &c->quota, chunks << c->loop->chunk_shift, pin);
}

void vgpu_loop_limit_release_locked(struct loop_client *c, u64 chunks, bool pin)
{
	vb_quota_release(&c->loop->quota, &c->quota, chunks << c->loop->chunk_shift, pin);
}

/* What counts as use of host and device tiers; NVMe is bounded by what is reserved. */
static u32 use_of_tier(u32 tier)
{
	return tier == VB_TIER_HOST ? VB_USE_HOST : VB_USE_DEVICE;
}

int vgpu_loop_limit_slot_locked(struct loop_client *c, u32 tier, u32 from)
{
	if (tier == VB_TIER_NVME)
		return 0;
	if (tier != from)
		return vb_quota_charge(&c->quota, use_of_tier(tier), c->loop->chunk_bytes);
	vb_quota_add(&c->quota, use_of_tier(tier), c->loop->chunk_bytes);
	return 0;
}

void vgpu_loop_limit_unslot_locked(struct loop_client *c, u32 tier)
{
	if (tier != VB_TIER_NVME)
		vb_quota_sub(&c->quota, use_of_tier(tier), c->loop->chunk_bytes);
}

/* ---- VB_IOC_LIMIT ---- */

static int limit_locked(struct loop_client *c, struct vb_quota *q, struct vb_ioc_limit *cmd)
{
	struct vb_quota_device *d = &c->loop->quota;
	int rc = 0;

	room_update(c->loop);
	if (cmd->flags & VB_LIMIT_SET)
		rc = vb_quota_set(d, q, cmd->limit, cmd->value);
	cmd->out_value = vb_quota_limit(d, q, cmd->limit);
	cmd->out_used = vb_quota_used(q, cmd->limit);
	return rc;
}

static int weight_call(struct loop_client *c, struct vb_ioc_limit *cmd)
{
	bool set = cmd->flags & VB_LIMIT_SET;
	u32 *weight = &c->share.member.weight;

	if (cmd->flags & VB_LIMIT_USER || cmd->uid || (!set && cmd->value) ||
	    (set && (cmd->value < VB_QUEUE_WEIGHT_MIN || cmd->value > VB_QUEUE_WEIGHT_MAX)))
		return -EINVAL;
	pthread_mutex_lock(&c->loop->lock);
	if (set)
		*weight = (u32)cmd->value;
	cmd->out_value = *weight;
	cmd->out_used = 0;
	pthread_mutex_unlock(&c->loop->lock);
	return 0;
}

int vgpu_loop_limit(struct loop_client *c, void *arg)
{
	struct vb_ioc_limit *cmd = arg;
	bool user = cmd->flags & VB_LIMIT_USER;
	int rc;

	if (cmd->limit == VB_LIMIT_WEIGHT)
		return weight_call(c, cmd);
	if (cmd->limit < VB_LIMIT_HOST_MIN || cmd->limit > VB_LIMIT_SUBMISSIONS ||
	    (!(cmd->flags & VB_LIMIT_SET) && cmd->value) || (!user && cmd->uid))
		return -EINVAL;
	if (user && cmd->uid != geteuid())
		return cmd->uid == ~0u ? -EINVAL : -EPERM;
	pthread_mutex_lock(&c->loop->lock);
	rc = limit_locked(c, user ? c->quota.user : &c->quota, cmd);
	pthread_mutex_unlock(&c->loop->lock);
	return rc;
}
