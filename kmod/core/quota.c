// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Sums are kept by taking an account out of them, changing it, and putting it back:
 * every change costs the same, however many clients and users there are.
 */
#include "quota.h"

enum { HOST, DEVICE };

static u64 least(u64 a, u64 b)
{
	return a < b ? a : b;
}

static u64 beyond(u64 a, u64 b)
{
	return a > b ? a - b : 0;
}

static bool is_minimum(u32 limit)
{
	return limit == VB_LIMIT_HOST_MIN || limit == VB_LIMIT_DEVICE_MIN;
}

static u64 set_minimum(const struct vb_quota *q, u32 tier)
{
	u64 value = q->limits[tier == HOST ? VB_LIMIT_HOST_MIN : VB_LIMIT_DEVICE_MIN];

	return value == VB_QUOTA_NONE ? 0 : value;
}

static u64 promise(const struct vb_quota *user, u32 tier)
{
	u64 own = set_minimum(user, tier);

	return own > user->minima[tier] ? own : user->minima[tier];
}

/* What a user's clients hold beyond their minima may still be within the user's. */
static u64 user_excess(const struct vb_quota *user)
{
	return beyond(user->excess, promise(user, HOST) - user->minima[HOST]);
}

/* ---- the sums, without and with an account ---- */

static void user_take_out(struct vb_quota_device *d, const struct vb_quota *user)
{
	d->excess -= user_excess(user);
	d->promised[HOST] -= promise(user, HOST);
	d->promised[DEVICE] -= promise(user, DEVICE);
}

static void user_put_back(struct vb_quota_device *d, const struct vb_quota *user)
{
	d->promised[DEVICE] += promise(user, DEVICE);
	d->promised[HOST] += promise(user, HOST);
	d->excess += user_excess(user);
}

static void take_out(struct vb_quota_device *d, struct vb_quota *q)
{
	struct vb_quota *user = q->user ? q->user : q;

	user_take_out(d, user);
	if (user == q)
		return;
	user->excess -= q->excess;
	user->minima[HOST] -= set_minimum(q, HOST);
	user->minima[DEVICE] -= set_minimum(q, DEVICE);
}

static void put_back(struct vb_quota_device *d, struct vb_quota *q)
{
	struct vb_quota *user = q->user ? q->user : q;

	if (user != q) {
		q->excess = beyond(q->held, set_minimum(q, HOST));
		user->minima[DEVICE] += set_minimum(q, DEVICE);
		user->minima[HOST] += set_minimum(q, HOST);
		user->excess += q->excess;
	}
	user_put_back(d, user);
}

/* ---- life ---- */

void vb_quota_init(struct vb_quota *q, const u64 *limits)
{
	memset(q, 0, sizeof(*q));
	memcpy(q->limits, limits, sizeof(q->limits));
	/* A promise is made by vb_quota_set(), which can refuse. */
	q->limits[VB_LIMIT_HOST_MIN] = VB_QUOTA_NONE;
	q->limits[VB_LIMIT_DEVICE_MIN] = VB_QUOTA_NONE;
}

void vb_quota_join(struct vb_quota_device *d, struct vb_quota *c, struct vb_quota *user)
{
	c->user = user;
	user->clients++;
	d->clients++;
}

void vb_quota_leave(struct vb_quota_device *d, struct vb_quota *c)
{
	take_out(d, c);
	c->limits[VB_LIMIT_HOST_MIN] = VB_QUOTA_NONE;
	c->limits[VB_LIMIT_DEVICE_MIN] = VB_QUOTA_NONE;
	put_back(d, c);
	c->user->clients--;
	d->clients--;
}

/* ---- limits ---- */

/* Half of what is there, or what is left of it, to all who have nothing of their own. */
static u64 default_host_minimum(const struct vb_quota_device *d, const struct vb_quota *q)
{
	const struct vb_quota *user = q->user;
	u64 shared = least(d->room[HOST] / 2, beyond(d->room[HOST], d->promised[HOST]));

	if (user && user->limits[VB_LIMIT_HOST_MIN] != VB_QUOTA_NONE)
		return beyond(set_minimum(user, HOST), user->minima[HOST]) /
		       (user->clients ? user->clients : 1);
	return user ? shared / (d->clients ? d->clients : 1) : 0;
}

u64 vb_quota_limit(const struct vb_quota_device *d, const struct vb_quota *q, u32 limit)
{
	if (!is_minimum(limit) || q->limits[limit] != VB_QUOTA_NONE)
		return q->limits[limit];
	return limit == VB_LIMIT_HOST_MIN ? default_host_minimum(d, q) : 0;
}

u64 vb_quota_least(const struct vb_quota *c, u32 limit)
{
	return least(c->limits[limit], c->user->limits[limit]);
}

/* Promised, or held as if it were. */
static u64 taken(const struct vb_quota_device *d, u32 tier)
{
	return d->promised[tier] + (tier == HOST ? d->excess : 0);
}

int vb_quota_set(struct vb_quota_device *d, struct vb_quota *q, u32 limit, u64 value)
{
	u32 tier = limit == VB_LIMIT_HOST_MIN ? HOST : DEVICE;
	u64 old = q->limits[limit], before = taken(d, tier);

	if (!is_minimum(limit)) {
		q->limits[limit] = value;
		return 0;
	}
	if (value != VB_QUOTA_NONE && value > d->room[tier])
		return -ENOSPC;
	take_out(d, q);
	q->limits[limit] = value;
	put_back(d, q);
	if (taken(d, tier) <= before || taken(d, tier) <= d->room[tier])
		return 0;
	take_out(d, q);
	q->limits[limit] = old;
	put_back(d, q);
	return -ENOSPC;
}

int vb_quota_lower(struct vb_quota_device *d, struct vb_quota *q, u32 limit, u64 value)
{
	u32 tier = limit == VB_LIMIT_HOST_MIN ? HOST : DEVICE;
	u64 old = q->limits[limit], before = d->promised[tier];
	int rc;

	if (value > vb_quota_limit(d, q, limit))
		return -EPERM;
	rc = vb_quota_set(d, q, limit, value);
	if (rc || !is_minimum(limit) || d->promised[tier] <= before)
		return rc;
	vb_quota_set(d, q, limit, old);
	return -EPERM;
}

u64 vb_quota_used(const struct vb_quota *q, u32 limit)
{
	switch (limit) {
	case VB_LIMIT_HOST_MIN:
		return q->pinned;
	case VB_LIMIT_HOST_MAX:
		return q->used[VB_USE_HOST];
	case VB_LIMIT_BYTES_MAX:
		return q->used[VB_USE_BYTES];
	case VB_LIMIT_SUBMISSIONS:
		return q->used[VB_USE_SUBMISSIONS];
	default:
		return q->used[VB_USE_DEVICE];
	}
}

/* ---- charges ---- */

static bool fits(const struct vb_quota *q, u32 use, u64 n)
{
	static const u8 limit_of[] = {
		[VB_USE_HOST] = VB_LIMIT_HOST_MAX,
		[VB_USE_DEVICE] = VB_LIMIT_DEVICE_MAX,
		[VB_USE_BYTES] = VB_LIMIT_BYTES_MAX,
		[VB_USE_SUBMISSIONS] = VB_LIMIT_SUBMISSIONS,
	};
	u64 limit = q->limits[limit_of[use]];

	return n <= limit && q->used[use] <= limit - n;
}

void vb_quota_add(struct vb_quota *q, u32 use, u64 n)
{
	q->used[use] += n;
	if (q->user)
		q->user->used[use] += n;
}

void vb_quota_sub(struct vb_quota *q, u32 use, u64 n)
{
	vb_quota_add(q, use, -n);
}

int vb_quota_charge(struct vb_quota *c, u32 use, u64 n)
{
	if (!fits(c, use, n) || !fits(c->user, use, n))
		return -EDQUOT;
	vb_quota_add(c, use, n);
	return 0;
}

static void hold_change(struct vb_quota_device *d, struct vb_quota *c, u64 n, bool pin)
{
	take_out(d, c);
	c->held += n;
	c->user->held += n;
	if (pin) {
		c->pinned += n;
		c->user->pinned += n;
	}
	put_back(d, c);
}

static bool is_within(u64 held, u64 n, u64 limit)
{
	return n <= limit && held <= limit - n;
}

int vb_quota_hold(struct vb_quota_device *d, struct vb_quota *c, u64 n, bool pin)
{
	u64 before = d->excess;

	if (pin && !is_within(c->pinned, n, vb_quota_limit(d, c, VB_LIMIT_HOST_MIN)))
		return -EDQUOT;
	if (!is_within(c->held, n, c->limits[VB_LIMIT_HOST_MAX]) ||
	    !is_within(c->user->held, n, c->user->limits[VB_LIMIT_HOST_MAX]))
		return -EDQUOT;
	hold_change(d, c, n, pin);
	if (d->excess <= before || d->excess <= beyond(d->room[HOST], d->promised[HOST]))
		return 0;
	hold_change(d, c, -n, pin);
	return pin ? -EDQUOT : -ENOSPC;
}

void vb_quota_release(struct vb_quota_device *d, struct vb_quota *c, u64 n, bool pin)
{
	hold_change(d, c, -n, pin);
}
