// SPDX-License-Identifier: GPL-2.0
/*
 * Users: what the clients of one uid have and may have together.
 *
 * A user is there while one of its clients is, or a slot in quarantine, and for good once
 * a limit was set for it, whether it has clients or not.
 */
#include "user.h"

#include <linux/cred.h>
#include <linux/hash.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/user_namespace.h>

#include "core/quota.h"
#include "proxy.h"
#include "vb.h"

#define USER_BITS	8

static struct hlist_head users[1u << USER_BITS];

static struct hlist_head *bucket_of(kuid_t uid)
{
	return &users[hash_32(__kuid_val(uid), USER_BITS)];
}

static struct vb_user *user_find_locked(kuid_t uid)
{
	struct vb_user *user;

	lockdep_assert_held(&vb.slot_lock);
	hlist_for_each_entry(user, bucket_of(uid), link)
		if (uid_eq(user->uid, uid)) {
			user->refs++;
			return user;
		}
	return NULL;
}

/* Into the table, unless another was there first. */
static struct vb_user *user_add(struct vb_user *user)
{
	struct vb_user *other;

	spin_lock(&vb.slot_lock);
	other = user_find_locked(user->uid);
	if (!other) {
		vb_quota_init(&user->quota, vb.user_limits);
		hlist_add_head(&user->link, bucket_of(user->uid));
	}
	spin_unlock(&vb.slot_lock);
	if (other)
		kfree(user);
	return other ? other : user;
}

/**
 * vb_user_uid() - whose clients are those that somebody opens
 * @cred: of who opens
 *
 * A user makes a namespace, and is in it each of 65536 others: had each of these an allowance of
 * its own, no limit of a user would be one.  So they count for the owner of the namespace, and in
 * those within it as well.  What root makes divides the machine between users, as a container's
 * does: their uids are as good as any.
 *
 * Context: any.
 * Return: the effective uid; or, in namespaces that somebody other than root has made, the owner
 * of the outermost of them.
 */
kuid_t vb_user_uid(const struct cred *cred)
{
	const struct user_namespace *ns;
	kuid_t uid = cred->euid;

	for (ns = cred->user_ns; ns != &init_user_ns; ns = ns->parent)
		if (!uid_eq(ns->owner, GLOBAL_ROOT_UID))
			uid = ns->owner;
	return uid;
}

/**
 * vb_user_get() - the user with this uid
 * @uid: whose
 *
 * Context: may sleep.
 * Return: the user, for vb_user_put(); NULL without memory.
 */
struct vb_user *vb_user_get(kuid_t uid)
{
	struct vb_user *user;

	spin_lock(&vb.slot_lock);
	user = user_find_locked(uid);
	spin_unlock(&vb.slot_lock);
	if (user)
		return user;
	user = kzalloc(sizeof(*user), GFP_KERNEL_ACCOUNT);
	if (!user)
		return NULL;
	user->uid = uid;
	INIT_LIST_HEAD(&user->quarantine);
	INIT_WORK(&user->closer, vb_proxies_close);
	user->refs = 1;
	return user_add(user);
}

/**
 * vb_user_put_locked() - do without a user; it stays while a limit was set for it
 * @user: user
 *
 * Context: slot_lock.
 */
void vb_user_put_locked(struct vb_user *user)
{
	lockdep_assert_held(&vb.slot_lock);
	if (--user->refs || user->kept)
		return;
	WARN_ON_ONCE(atomic_long_read(&user->kernel_bytes));
	hlist_del(&user->link);
	kfree(user);
}

/**
 * vb_user_put() - vb_user_put_locked() for who does not have the lock
 * @user: user
 *
 * Context: takes slot_lock.
 */
void vb_user_put(struct vb_user *user)
{
	spin_lock(&vb.slot_lock);
	vb_user_put_locked(user);
	spin_unlock(&vb.slot_lock);
}

/**
 * vb_users_each_locked() - for those who look: every user that there is
 * @show: gets each; does not sleep
 * @arg: for @show
 *
 * Context: slot_lock.
 */
void vb_users_each_locked(void (*show)(const struct vb_user *user, void *arg), void *arg)
{
	struct vb_user *user;
	u32 i;

	lockdep_assert_held(&vb.slot_lock);
	for (i = 0; i < ARRAY_SIZE(users); i++)
		hlist_for_each_entry(user, &users[i], link)
			show(user, arg);
}

/* ---- kernel memory ---- */

/**
 * vb_user_charge() - kernel memory that the clients of a user have us take
 * @user: whose
 * @bytes: about so much: what a client may have any number of, with its place in the tables
 *
 * A memory cgroup counts some of it against who calls, which may be the executor, and
 * a client need not be in one that has a limit.
 *
 * Context: any.
 * Return: 0, to be undone by vb_user_uncharge(); -EDQUOT nothing was charged.
 */
int vb_user_charge(struct vb_user *user, size_t bytes)
{
	if (atomic_long_add_return(bytes, &user->kernel_bytes) <= READ_ONCE(vb.user_kernel_bytes))
		return 0;
	atomic_long_sub(bytes, &user->kernel_bytes);
	return -EDQUOT;
}

/**
 * vb_user_recharge() - another one pays
 * @from: user who has paid
 * @to: user who pays; its limit is not looked at: somebody must
 * @bytes: as charged
 *
 * Context: any.
 */
void vb_user_recharge(struct vb_user *from, struct vb_user *to, size_t bytes)
{
	atomic_long_add(bytes, &to->kernel_bytes);
	atomic_long_sub(bytes, &from->kernel_bytes);
}

/**
 * vb_user_uncharge() - what was charged has gone
 * @user: who paid
 * @bytes: as charged
 *
 * Context: any.
 */
void vb_user_uncharge(struct vb_user *user, size_t bytes)
{
	atomic_long_sub(bytes, &user->kernel_bytes);
}

/**
 * vb_user_has_room() - would vb_user_charge() refuse it?
 * @user: who would pay
 * @bytes: how much
 *
 * Context: any; a guess, unless nobody else charges.
 * Return: true: at this moment not.
 */
bool vb_user_has_room(const struct vb_user *user, size_t bytes)
{
	return atomic_long_read(&user->kernel_bytes) + bytes <= READ_ONCE(vb.user_kernel_bytes);
}

/**
 * vb_user_limit_init() - what a user may have, until somebody says otherwise: an eighth of the
 *	machine's memory
 *
 * Context: module load.
 */
void vb_user_limit_init(void)
{
	vb.user_kernel_bytes = ((u64)totalram_pages() << PAGE_SHIFT) / 8;
}

/* ---- the end ---- */

/**
 * vb_users_free() - no client is left, only users for which limits were set: these go
 *
 * Context: module unload.
 */
void vb_users_free(void)
{
	struct hlist_node *next;
	struct vb_user *user;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(users); i++)
		hlist_for_each_entry_safe(user, next, &users[i], link) {
			hlist_del(&user->link);
			kfree(user);
		}
}
