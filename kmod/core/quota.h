/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Who may have how much: clients, their users, the device.
 *
 * Each client and each user has limits (enum vb_limit) and counts what it uses.  A
 * charge goes to the client and to its user, and both must allow it.  What is charged
 * to nobody's limit is counted all the same.
 *
 * Minima are promises, so their sum fits the memory that there is.  A user promises
 * what was set for it, or the sum of what was set for its clients, whichever is more.
 * A client for which nothing was set shares, with the others like it, half of what is
 * there (or what its user was promised and its siblings were not).
 *
 * What a client *holds* (pins and maps) cannot be taken from it.  What is held beyond
 * promises may fill what is promised to nobody, and no more: so a promise can always
 * be kept by evicting.
 *
 * State in, decision out: the caller holds the lock, and says how much memory there is.
 */
#ifndef VB_CORE_QUOTA_H
#define VB_CORE_QUOTA_H

#include "deps.h"

#define VB_QUOTA_LIMITS	7u	/* enum vb_limit + 1 */
#define VB_QUOTA_NONE	(~0ull)	/* no limit; as a minimum: not set */

/* What is counted, in bytes unless said otherwise. */
enum vb_quota_use {
	VB_USE_HOST = 0,	/* slots of the host tier, moves included */
	VB_USE_DEVICE = 1,	/* slots of device tiers */
	VB_USE_BYTES = 2,	/* anonymous objects, wherever they are */
	VB_USE_SUBMISSIONS = 3,	/* in flight, a count */
	VB_USE_COUNT
};

/**
 * struct vb_quota_device - what all share
 * @room: bytes that can be promised: host, device; the caller's to keep right
 * @promised: of these, promised
 * @excess: host bytes held beyond promises
 * @clients: how many there are
 */
struct vb_quota_device {
	u64 room[2];
	u64 promised[2];
	u64 excess;
	u32 clients;
};

/**
 * struct vb_quota - a client, or a user
 * @user: of a client; NULL for a user
 * @limits: by enum vb_limit
 * @used: by enum vb_quota_use; what a lock protects may differ between entries
 * @pinned: client: host bytes that it has pinned
 * @held: host bytes pinned or mapped
 * @excess: client: of @held, beyond its set minimum; user: sum of its clients'
 * @minima: user: sum of its clients' set minima: host, device
 * @clients: user: how many
 */
struct vb_quota {
	struct vb_quota *user;
	u64 limits[VB_QUOTA_LIMITS];
	u64 used[VB_USE_COUNT];
	u64 pinned, held, excess;
	u64 minima[2];
	u32 clients;
};

/**
 * vb_quota_init() - a client or user that uses nothing
 * @q: filled
 * @limits: VB_QUOTA_LIMITS that it begins with; its minima are not set whatever they say
 */
void vb_quota_init(struct vb_quota *q, const u64 *limits);

/**
 * vb_quota_join() - a client comes
 * @d: device
 * @c: client, which uses nothing
 * @user: its user
 */
void vb_quota_join(struct vb_quota_device *d, struct vb_quota *c, struct vb_quota *user);

/**
 * vb_quota_leave() - a client goes, and what it was promised with it
 * @d: device
 * @c: client; what it still uses stays charged to it and its user until it is given back
 */
void vb_quota_leave(struct vb_quota_device *d, struct vb_quota *c);

/**
 * vb_quota_limit() - the limit in force
 * @d: device
 * @q: client or user
 * @limit: enum vb_limit
 *
 * Return: the limit, with the default of a minimum that is not set.
 */
u64 vb_quota_limit(const struct vb_quota_device *d, const struct vb_quota *q, u32 limit);

/**
 * vb_quota_least() - the least of the limits of a client and of its user
 * @c: client
 * @limit: enum vb_limit, a maximum
 *
 * Return: bytes (or a count), or VB_QUOTA_NONE.
 */
u64 vb_quota_least(const struct vb_quota *c, u32 limit);

/**
 * vb_quota_set() - change a limit
 * @d: device
 * @q: client or user
 * @limit: enum vb_limit
 * @value: bytes (or a count), or VB_QUOTA_NONE
 *
 * A maximum below what is used refuses the next charge; nothing is taken back.
 *
 * Return: 0; -ENOSPC a minimum that cannot be promised beside other promises and what
 * others hold beyond theirs.
 */
int vb_quota_set(struct vb_quota_device *d, struct vb_quota *q, u32 limit, u64 value);

/**
 * vb_quota_lower() - vb_quota_set() by one who may not raise it
 * @d: device
 * @q: client or user
 * @limit: enum vb_limit
 * @value: bytes (or a count)
 *
 * A minimum that was not set is promised to nobody: to set it is to raise it, even to
 * less than the default, unless the user was promised as much.
 *
 * Return: as vb_quota_set(); -EPERM that would be more than it has.
 */
int vb_quota_lower(struct vb_quota_device *d, struct vb_quota *q, u32 limit, u64 value);

/**
 * vb_quota_used() - what counts against a limit now
 * @q: client or user
 * @limit: enum vb_limit
 *
 * Return: bytes (or a count); of VB_LIMIT_HOST_MIN what is pinned.
 */
u64 vb_quota_used(const struct vb_quota *q, u32 limit);

/**
 * vb_quota_charge() - use more
 * @c: client
 * @use: enum vb_quota_use
 * @n: how much more
 *
 * Return: 0; -EDQUOT a maximum of the client or of its user.
 */
int vb_quota_charge(struct vb_quota *c, u32 use, u64 n);

/**
 * vb_quota_add() - vb_quota_charge() where it cannot be refused
 * @q: client, and with it its user; or a user alone
 * @use: enum vb_quota_use
 * @n: how much more
 */
void vb_quota_add(struct vb_quota *q, u32 use, u64 n);

/**
 * vb_quota_sub() - use less
 * @q: as given to vb_quota_charge() or vb_quota_add()
 * @use: enum vb_quota_use
 * @n: how much less
 */
void vb_quota_sub(struct vb_quota *q, u32 use, u64 n);

/**
 * vb_quota_hold() - keep host memory from being taken away
 * @d: device
 * @c: client
 * @n: bytes
 * @pin: by VB_ADVISE_PIN, which stays within the minimum in force
 *
 * Return: 0; -EDQUOT beyond a maximum; a pin beyond the minimum in force, or beyond what
 * promises to others leave; -ENOSPC a mapping beyond that.
 */
int vb_quota_hold(struct vb_quota_device *d, struct vb_quota *c, u64 n, bool pin);

/**
 * vb_quota_release() - undo vb_quota_hold()
 * @d: device
 * @c: client
 * @n: bytes
 * @pin: as given
 */
void vb_quota_release(struct vb_quota_device *d, struct vb_quota *c, u64 n, bool pin);

#endif
