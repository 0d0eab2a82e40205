// SPDX-License-Identifier: GPL-2.0
/*
 * Limits of clients and users.  The core says what may be charged to whom; here are the
 * locks, and who may change what.
 *
 * Submissions in flight are counted under work_lock, with the queues; all else is
 * counted under slot_lock, with the slots.
 */
#include "limit.h"

#include <linux/capability.h>
#include <linux/uidgid.h>

#include "core/quota.h"
#include "arena.h"
#include "client.h"
#include "ucmd.h"
#include "user.h"
#include "vb.h"

static const struct vb_quota_device *room_locked(void)
{
	lockdep_assert_held(&vb.slot_lock);
	vb.quota.room[0] = vb_content_bytes_locked();
	vb.quota.room[1] = vb_device_bytes_locked();
	return &vb.quota;
}

/**
 * vb_limit_may_shrink_locked() - would all that was promised fit with less host memory
 * @bytes: how much less
 *
 * What is reserved must fit host memory and NVMe, what clients are promised or hold beyond
 * it must fit host memory alone.
 *
 * Context: slot_lock.
 * Return: it would.
 */
bool vb_limit_may_shrink_locked(u64 bytes)
{
	u64 host = vb_host_bytes_locked(), staging = READ_ONCE(vb.staging_bytes);
	u64 storage = vb_capacity_locked() - vb_content_bytes_locked();
	u64 content = host > bytes + staging ? host - bytes - staging : 0;

	return vb.reserved_bytes <= content + storage &&
	       vb.quota.promised[0] + vb.quota.excess <= content;
}

/* ---- charges ---- */

/**
 * vb_limit_hold() - a client pins or maps chunks in host memory
 * @c: client
 * @chunks: how many
 * @pin: by VB_ADVISE_PIN
 *
 * Context: takes slot_lock.
 * Return: 0, to be undone by vb_limit_release(); -EDQUOT; -ENOSPC (vb_quota_hold());
 * -ENODEV where nobody makes host memory that could be had.
 */
int vb_limit_hold(struct vb_client *c, u64 chunks, bool pin)
{
	int rc;

	spin_lock(&vb.slot_lock);
	room_locked();
	rc = vb_quota_hold(&vb.quota, &c->quota, chunks << vb.chunk_shift, pin);
	spin_unlock(&vb.slot_lock);
	return rc && !vb_takes_work() ? -ENODEV : rc;
}

/**
 * vb_limit_release_locked() - undo vb_limit_hold()
 * @c: client
 * @chunks: how many
 * @pin: as given
 *
 * Context: slot_lock.
 */
void vb_limit_release_locked(struct vb_client *c, u64 chunks, bool pin)
{
	lockdep_assert_held(&vb.slot_lock);
	vb_quota_release(&vb.quota, &c->quota, chunks << vb.chunk_shift, pin);
}

/**
 * vb_limit_release() - vb_limit_release_locked() for who does not have the lock
 * @c: client
 * @chunks: how many
 * @pin: as given to vb_limit_hold()
 *
 * Context: takes slot_lock.
 */
void vb_limit_release(struct vb_client *c, u64 chunks, bool pin)
{
	spin_lock(&vb.slot_lock);
	vb_limit_release_locked(c, chunks, pin);
	spin_unlock(&vb.slot_lock);
}

/* What counts as use of host and device tiers; NVMe is bounded by what is reserved. */
static u32 use_of_tier(u32 tier)
{
	return tier == VB_TIER_HOST ? VB_USE_HOST : VB_USE_DEVICE;
}

/**
 * vb_limit_slot_locked() - a client gets a slot
 * @c: client
 * @tier: of the slot
 * @from: where the content comes from; within a tier a client may always move
 *
 * Return: 0, to be undone by vb_limit_unslot_locked(); -EDQUOT.
 */
int vb_limit_slot_locked(struct vb_client *c, u32 tier, u32 from)
{
	lockdep_assert_held(&vb.slot_lock);
	if (tier == VB_TIER_NVME)
		return 0;
	if (tier != from)
		return vb_quota_charge(&c->quota, use_of_tier(tier), vb.chunk_bytes);
	vb_quota_add(&c->quota, use_of_tier(tier), vb.chunk_bytes);
	return 0;
}

/**
 * vb_limit_has_room() - could a client have so many slots of a tier more
 * @c: client
 * @tier: which
 * @chunks: how many
 *
 * Context: takes slot_lock; by the time it is answered another thread may have taken them.
 * Return: by its maxima and its user's; of NVMe always.
 */
bool vb_limit_has_room(struct vb_client *c, u32 tier, u64 chunks)
{
	u64 bytes = chunks << vb.chunk_shift;
	int rc;

	if (tier == VB_TIER_NVME)
		return true;
	spin_lock(&vb.slot_lock);
	rc = vb_quota_charge(&c->quota, use_of_tier(tier), bytes);
	if (!rc)
		vb_quota_sub(&c->quota, use_of_tier(tier), bytes);
	spin_unlock(&vb.slot_lock);
	return !rc;
}

/**
 * vb_limit_unslot_locked() - a client gives a slot back
 * @c: client
 * @tier: of the slot
 *
 * Context: slot_lock.
 */
void vb_limit_unslot_locked(struct vb_client *c, u32 tier)
{
	lockdep_assert_held(&vb.slot_lock);
	if (tier != VB_TIER_NVME)
		vb_quota_sub(&c->quota, use_of_tier(tier), vb.chunk_bytes);
}

/**
 * vb_limit_keep_locked() - a slot goes into quarantine: its user stays charged
 * @user: whose client had it
 * @tier: of the slot
 *
 * The client may be gone: the slot counts its user, as a client does.
 *
 * Context: slot_lock.
 */
void vb_limit_keep_locked(struct vb_user *user, u32 tier)
{
	lockdep_assert_held(&vb.slot_lock);
	user->refs++;
	vb_quota_add(&user->quota, use_of_tier(tier), vb.chunk_bytes);
}

/**
 * vb_limit_let_go_locked() - it leaves the quarantine: undo vb_limit_keep_locked()
 * @user: as given
 * @tier: as given
 *
 * Context: slot_lock.
 */
void vb_limit_let_go_locked(struct vb_user *user, u32 tier)
{
	lockdep_assert_held(&vb.slot_lock);
	vb_quota_sub(&user->quota, use_of_tier(tier), vb.chunk_bytes);
	vb_user_put_locked(user);
}

/* ---- VB_IOC_LIMIT ---- */

struct limit_call {
	struct vb_ioc_limit *cmd;
	struct vb_quota *quota;
	bool may_raise;
};

static int limit_call_locked(struct limit_call *l)
{
	struct vb_quota_device *d = &vb.quota;
	struct vb_ioc_limit *cmd = l->cmd;
	int rc = 0;

	if (cmd->flags & VB_LIMIT_SET && l->may_raise)
		rc = vb_quota_set(d, l->quota, cmd->limit, cmd->value);
	else if (cmd->flags & VB_LIMIT_SET)
		rc = vb_quota_lower(d, l->quota, cmd->limit, cmd->value);
	cmd->out_value = vb_quota_limit(d, l->quota, cmd->limit);
	cmd->out_used = vb_quota_used(l->quota, cmd->limit);
	return rc;
}

static int limit_call(struct limit_call *l)
{
	spinlock_t *lock = l->cmd->limit == VB_LIMIT_SUBMISSIONS ? &vb.work_lock : &vb.slot_lock;
	int rc;

	spin_lock(lock);
	if (lock == &vb.slot_lock)
		room_locked();
	rc = limit_call_locked(l);
	spin_unlock(lock);
	return rc;
}

static void user_keep(struct vb_user *user)
{
	spin_lock(&vb.slot_lock);
	user->kept = true;
	spin_unlock(&vb.slot_lock);
}

static int user_limit(struct vb_client *c, struct limit_call *l)
{
	kuid_t uid = make_kuid(current_user_ns(), l->cmd->uid);
	struct vb_user *user;
	int rc;

	if (!uid_valid(uid))
		return -EINVAL;
	l->may_raise = capable(CAP_SYS_ADMIN);
	if (!l->may_raise && (l->cmd->flags & VB_LIMIT_SET || !uid_eq(uid, c->user->uid)))
		return -EPERM;
	user = vb_user_get(uid);
	if (!user)
		return -ENOMEM;
	l->quota = &user->quota;
	rc = limit_call(l);
	if (!rc && l->cmd->flags & VB_LIMIT_SET)
		user_keep(user);
	vb_user_put(user);
	return rc;
}

static int weight_call(struct vb_client *c, struct vb_ioc_limit *cmd)
{
	bool set = cmd->flags & VB_LIMIT_SET, may_raise = set && capable(CAP_SYS_ADMIN);
	u32 *weight = &c->share.member.weight;
	int rc = 0;

	if (cmd->flags & VB_LIMIT_USER || cmd->uid || (!set && cmd->value) ||
	    (set && (cmd->value < VB_QUEUE_WEIGHT_MIN || cmd->value > VB_QUEUE_WEIGHT_MAX)))
		return -EINVAL;
	spin_lock(&vb.work_lock);
	if (set && cmd->value > *weight && !may_raise)
		rc = -EPERM;
	else if (set)
		*weight = cmd->value;
	cmd->out_value = *weight;
	cmd->out_used = 0;
	spin_unlock(&vb.work_lock);
	return rc;
}

/**
 * vb_limit() - VB_IOC_LIMIT: read or change a limit of the client or of a user
 * @c: who asks
 * @u: struct vb_ioc_limit
 *
 * Who lacks CAP_SYS_ADMIN lowers its own, and looks at those of its user.
 *
 * Context: takes slot_lock, or work_lock for what is counted there; may sleep.
 * Return: 0; -EINVAL; -EPERM; -ENOSPC a promise that cannot be kept (vb_quota_set()); -ENOMEM.
 */
int vb_limit(struct vb_client *c, struct vb_ucmd *u)
{
	struct vb_ioc_limit *cmd = u->cmd;
	struct limit_call l = { .cmd = cmd, .quota = &c->quota };
	bool set = cmd->flags & VB_LIMIT_SET;

	if (cmd->limit == VB_LIMIT_WEIGHT)
		return weight_call(c, cmd);
	if (cmd->limit < VB_LIMIT_HOST_MIN || cmd->limit > VB_LIMIT_SUBMISSIONS ||
	    (!set && cmd->value))
		return -EINVAL;
	if (cmd->flags & VB_LIMIT_USER)
		return user_limit(c, &l);
	if (cmd->uid)
		return -EINVAL;
	l.may_raise = set && capable(CAP_SYS_ADMIN);
	return limit_call(&l);
}
