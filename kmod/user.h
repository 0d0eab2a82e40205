/* SPDX-License-Identifier: GPL-2.0 */
/* Users: what the clients of one uid have together. */
#ifndef VB_USER_H
#define VB_USER_H

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/uidgid.h>
#include <linux/workqueue.h>

#include "core/quota.h"

struct cred;

/**
 * struct vb_user - whose clients they are
 * @link: in the table of users; slot_lock, as the next four
 * @quarantine: slots there that it is charged for
 * @quarantined: how many
 * @refs: clients, calls in progress, slots in quarantine
 * @kept: a limit was set for it
 * @uid: fixed; vb_user_uid() of who opened them
 * @quota: as vb_client.quota
 * @submit_bytes: of the submit region
 * @kernel_bytes: of kernel memory, see vb_user_charge()
 * @unanswered: threads that open files and read them (kmod/file.c, kmod/proxy.c)
 * @closing: struct vb_proxy that are to be closed; each has a reference
 * @closer: closes them one after the other: who is silent keeps nobody else from it
 */
struct vb_user {
	struct hlist_node link;
	struct list_head quarantine;
	u32 quarantined, refs;
	bool kept;
	kuid_t uid;
	struct vb_quota quota;
	atomic_long_t submit_bytes, kernel_bytes;
	atomic_t unanswered;
	struct llist_head closing;
	struct work_struct closer;
};

/* Who that one's clients count for; see there about namespaces. */
kuid_t vb_user_uid(const struct cred *cred);
struct vb_user *vb_user_get(kuid_t uid);
void vb_user_put(struct vb_user *user);
void vb_user_put_locked(struct vb_user *user);	/* slot_lock */
void vb_users_each_locked(void (*show)(const struct vb_user *user, void *arg), void *arg);
void vb_users_free(void);
int vb_user_charge(struct vb_user *user, size_t bytes);
void vb_user_recharge(struct vb_user *from, struct vb_user *to, size_t bytes);
void vb_user_uncharge(struct vb_user *user, size_t bytes);
/* Would so much more be refused? */
bool vb_user_has_room(const struct vb_user *user, size_t bytes);
void vb_user_limit_init(void);

#endif
