/* SPDX-License-Identifier: MIT */
/*
 * What vbd may do: what it takes while it has the privileges, and how it gives them up.
 *
 * Reclaim must never wait for us, for we are who makes memory free: our memory is
 * locked, our I/O is that of a block device's server, and the OOM killer looks elsewhere.
 * And who gets how much of us is the device's to say: a client must not get more of it, and
 * the others less, by keeping the processors from us with many threads of his.
 * None of that is possible everywhere, and what was refused is said in the plan.
 */
#ifndef VBD_RIGHTS_H
#define VBD_RIGHTS_H

#include <stdbool.h>
#include <sys/types.h>

/**
 * struct vbd_rights - what was granted
 * @memlock: RLIMIT_MEMLOCK is without limit
 * @locked: our memory is locked
 * @io_flusher: our allocations start no I/O (PR_SET_IO_FLUSHER)
 * @no_oom: the OOM killer leaves us alone
 * @nice: our threads go before those of clients when it is below 0
 */
struct vbd_rights {
	bool memlock, locked, io_flusher, no_oom;
	int nice;
};

/* Limits and marks that threads inherit: call it before there are any. */
void vbd_rights_take(struct vbd_rights *r);

/* Lock what is there and what comes, page by page as it is touched. */
void vbd_rights_lock(struct vbd_rights *r);

/**
 * struct vbd_user - who to become
 */
struct vbd_user {
	uid_t uid;
	gid_t gid;
};

/**
 * vbd_user_find() - "name", "uid" or "uid:gid"
 *
 * A number alone is its group too, unless the user data base knows better.
 * Return: 0; -ENOENT no such user; -EINVAL root is not given up for root.
 */
int vbd_user_find(const char *text, struct vbd_user *out);

/**
 * vbd_rights_drop() - become @user for good, in all threads
 *
 * Other groups go, all capabilities go (with the last user id that is root's), and no
 * program that is run could bring any back.
 * Return: 0; -errno: do not go on.
 */
int vbd_rights_drop(const struct vbd_user *user);

#endif
