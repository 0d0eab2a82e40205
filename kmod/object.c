// SPDX-License-Identifier: GPL-2.0
/*
 * Objects: how they come, who keeps them, how they are forgotten.
 *
 * When the last user goes the object is gone for its client, but the executor may
 * still know it: FORGET asks it to drop every trace, and only its commit gives the
 * slots back.  An object that the executor never heard of is freed at once.
 */
#include "bo.h"

#include <linux/blkdev.h>
#include <linux/file.h>
#include <linux/hrtimer.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "core/bo_check.h"
#include "core/quota.h"
#include "core/range.h"
#include "arena.h"
#include "client.h"
#include "file.h"
#include "import.h"
#include "limit.h"
#include "recover.h"
#include "request.h"
#include "resid.h"
#include "store.h"
#include "table.h"
#include "ucmd.h"
#include "user.h"
#include "vb.h"
#include "wait.h"

#define FILE_BLOCK	4096u		/* grid of direct reads */
#define HANDLE_COST	sizeof(struct xa_node)	/* where no other one is near */
#define KEPT_NS		(2 * NSEC_PER_SEC)	/* an answered fault is told of sooner */

/* ---- life ---- */

/**
 * vb_bo_get() - a user of the object with this handle
 * @c: whose handle
 * @handle: as the client gave it
 *
 * Context: any that allows the lock of @c->bos, a spinlock.
 * Return: the object, for vb_bo_put(); NULL: no such handle, or it is on its way out.
 */
struct vb_bo *vb_bo_get(struct vb_client *c, u32 handle)
{
	struct vb_bo *bo;

	xa_lock(&c->bos);
	bo = xa_load(&c->bos, handle);
	if (bo && !refcount_inc_not_zero(&bo->users))
		bo = NULL;
	xa_unlock(&c->bos);
	return bo;
}

/**
 * vb_bo_look() - the object with this id, to be looked at
 * @id: device-wide
 *
 * Its memory stays; whether anybody uses it, is another question.
 *
 * Context: any that allows the lock of vb_device.bos, a spinlock.
 * Return: the object, for vb_bo_unlook(); NULL.
 */
struct vb_bo *vb_bo_look(u32 id)
{
	struct vb_bo *bo;

	xa_lock(&vb.bos);
	bo = xa_load(&vb.bos, id);
	if (bo)
		kref_get(&bo->kref);
	xa_unlock(&vb.bos);
	return bo;
}

/* What it is made of, and its place among all. */
static int bo_charge(struct vb_bo *bo)
{
	size_t bytes = sizeof(*bo) + sizeof(*bo->forget) + sizeof(struct xa_node) +
		       (bo->is_store ? sizeof(*bo->file) : 0);
	int rc = vb_user_charge(bo->client->user, bytes);

	if (!rc)
		bo->kernel_bytes = bytes;
	return rc;
}

/* Who pays is still there. */
static void bo_uncharge(struct vb_bo *bo)
{
	vb_user_uncharge(bo->client->user, bo->kernel_bytes);
	bo->kernel_bytes = 0;
}

static void bo_release(struct kref *kref)
{
	struct vb_bo *bo = container_of(kref, struct vb_bo, kref);

	/* Never published: the caller is its client. */
	if (!bo->freed)
		bo_uncharge(bo);
	if (bo->forget)
		vb_request_put(bo->forget);
	vb_table_free(bo);
	mutex_destroy(&bo->lock);
	kfree(bo);
}

/**
 * vb_bo_unlook() - do without the memory of an object
 * @bo: object
 *
 * Context: may sleep; no lock of the object held.
 */
void vb_bo_unlook(struct vb_bo *bo)
{
	kref_put(&bo->kref, bo_release);
}

/**
 * vb_bo_show() - the executor will hear of it, and has to be asked to forget it
 * @bo: object, of which the caller is a user
 *
 * Context: any; before its id is given away.
 */
void vb_bo_show(struct vb_bo *bo)
{
	WRITE_ONCE(bo->shown, true);
}

/* Of our arenas. */
static u64 reserved_bytes(const struct vb_bo *bo)
{
	return bo->traits.kind == VB_BO_ANONYMOUS ? (u64)bo->chunks << vb.chunk_shift : 0;
}

/* To its client: memory that is nobody else's, or that it keeps others from freeing. */
static u64 charged_bytes(const struct vb_bo *bo)
{
	bool is_charged = bo->traits.kind == VB_BO_ANONYMOUS || bo->traits.kind == VB_BO_IMPORTED;

	return is_charged ? (u64)bo->chunks << vb.chunk_shift : 0;
}

/**
 * vb_bo_free() - nobody uses the object and the executor has forgotten it
 * @bo: object, published once
 *
 * Its slots and its reservation return; the memory of the structure follows when the
 * last one who looks at it lets go.
 *
 * Context: may sleep; no lock held.
 */
void vb_bo_free(struct vb_bo *bo)
{
	struct vb_client *c = bo->client;

	/* The executor may leave while it forgets. */
	if (xchg(&bo->freed, 1))
		return;
	if (bo->is_store)
		vb_store_end(bo);
	vb_resid_release(bo);
	if (bo->pages)
		fput(bo->pages);
	if (bo->import)
		vb_import_put(bo->import);
	xa_erase(&vb.bos, bo->id);
	spin_lock(&vb.slot_lock);
	vb.reserved_bytes -= reserved_bytes(bo);
	vb_quota_sub(&c->quota, VB_USE_BYTES, charged_bytes(bo));
	vb_limit_release_locked(c, bo->pins, true);
	spin_unlock(&vb.slot_lock);
	vb_file_put(bo->file);
	bo->file = NULL;
	/* Who looks on, an executor or a debugger, does so at nobody's cost. */
	bo_uncharge(bo);
	atomic_dec(&vb.gone);
	wake_up_all(&vb.freed);
	vb_recovery_hurry();
	vb_bo_unlook(bo);
	vb_client_put(c);
}

/* The request was made with the object: to be forgotten needs no memory. */
static void bo_forget(struct vb_bo *bo)
{
	struct vb_request *r = bo->forget;

	bo->forget = NULL;
	/* Without an executor nobody remembers, and a successor does not learn of it. */
	if (READ_ONCE(bo->shown) && (vb_is_live() || vb_is_recovering())) {
		kref_get(&bo->kref);
		r->bo = bo;
		if (!vb_request_send(r))
			return;
	} else {
		vb_request_put(r);
	}
	vb_bo_free(bo);
}

/**
 * vb_bo_put() - a user leaves
 * @bo: object
 *
 * Context: may sleep; no spinlock, no lock of this object held.
 */
void vb_bo_put(struct vb_bo *bo)
{
	if (!refcount_dec_and_test(&bo->users))
		return;
	/* Whoever finds it gone, when an executor dies, frees it. */
	kref_get(&bo->kref);
	atomic_inc(&vb.gone);
	mutex_lock(&bo->lock);
	bo->gone = true;
	mutex_unlock(&bo->lock);
	bo_forget(bo);
	vb_bo_unlook(bo);
}

/* ---- VB_IOC_BO_CREATE ---- */

static void bo_describe(struct vb_bo *bo, const struct vb_ioc_bo_create *cmd)
{
	kref_init(&bo->kref);
	refcount_set(&bo->users, 1);
	vb_bo_lock_init(&bo->lock);
	INIT_LIST_HEAD(&bo->mappings);
	INIT_LIST_HEAD(&bo->attached);
	INIT_LIST_HEAD(&bo->shares);
	hash_init(bo->moves);
	xa_init_flags(&bo->table, XA_FLAGS_ACCOUNT);
	init_waitqueue_head(&bo->moved);
	bo->traits.kind = cmd->kind;
	bo->traits.life = cmd->life;
	bo->traits.sealed = cmd->kind != VB_BO_ANONYMOUS;
	bo->flags = bo->traits.sealed ? VB_BO_SEALED : 0;
	bo->is_store = cmd->kind == VB_BO_FILE || cmd->kind == VB_BO_DERIVED;
	bo->bytes = cmd->bytes;
	bo->file_offset = cmd->file_offset;
	bo->file_bytes = cmd->file_bytes;
	bo->transform = cmd->transform;
	if (cmd->kind == VB_BO_FILE) {
		bo->head_bytes = cmd->file_offset % FILE_BLOCK;
		bo->file_offset -= bo->head_bytes;
	}
}

static int bo_open_file(struct vb_bo *bo, const struct vb_ioc_bo_create *cmd)
{
	int rc;

	if (!bo->is_store)
		return 0;
	rc = vb_file_open(bo->client->user, cmd->fd, &bo->file);
	if (rc)
		return rc;
	rc = vb_bo_check_source(cmd, bo->file->bytes);
	if (rc) {
		vb_file_put(bo->file);
		bo->file = NULL;
	}
	return rc;
}

static int bo_new(struct vb_client *c, const struct vb_ioc_bo_create *cmd, struct vb_bo **out)
{
	struct vb_bo *bo = kzalloc(sizeof(*bo), GFP_KERNEL_ACCOUNT);
	int rc;

	if (!bo)
		return -ENOMEM;
	bo_describe(bo, cmd);
	bo->client = c;
	rc = vb_range_count(bo->bytes, bo->head_bytes, vb.chunk_shift, &bo->chunks);
	if (!rc)
		rc = bo_charge(bo);
	if (rc)
		goto err_free;
	bo->forget = vb_request_new(VB_FETCH_FORGET, c, NULL);
	rc = bo->forget ? bo_open_file(bo, cmd) : -ENOMEM;
	if (rc)
		goto err_free;
	*out = bo;
	return 0;

err_free:
	vb_bo_unlook(bo);
	return rc;
}

static int reserve_locked(struct vb_bo *bo)
{
	int rc = vb_quota_charge(&bo->client->quota, VB_USE_BYTES, charged_bytes(bo));

	if (rc)
		return rc;
	if (vb.reserved_bytes + reserved_bytes(bo) > vb_capacity_locked()) {
		vb_quota_sub(&bo->client->quota, VB_USE_BYTES, charged_bytes(bo));
		return -ENOSPC;
	}
	vb.reserved_bytes += reserved_bytes(bo);
	return 0;
}

static int reserve_try(struct vb_bo *bo)
{
	int rc = 0;

	spin_lock(&vb.slot_lock);
	if (charged_bytes(bo))
		rc = reserve_locked(bo);
	spin_unlock(&vb.slot_lock);
	return rc;
}

static void unreserve(struct vb_bo *bo)
{
	spin_lock(&vb.slot_lock);
	vb.reserved_bytes -= reserved_bytes(bo);
	vb_quota_sub(&bo->client->quota, VB_USE_BYTES, charged_bytes(bo));
	spin_unlock(&vb.slot_lock);
}

/* Objects that will be free, or may be; an object that goes from one to the other is there. */
static int count_leaving(int *out_gone)
{
	int kept = atomic_read(&vb.kept);

	/* Pairs with request_free(). */
	smp_rmb();
	*out_gone = atomic_read(&vb.gone);
	return kept + *out_gone;
}

static bool is_less_leaving(int than)
{
	int gone;

	return count_leaving(&gone) < than;
}

/*
 * Whoever destroys one object and creates another expects its room: what waits to be
 * forgotten is waited for.  A fault is over before the executor has said so, and until then
 * the object of a client that died has a user: that is waited for, too, but not for long,
 * since the clients of most such requests live.
 */
static int reserve(struct vb_bo *bo)
{
	u64 deadline_ns = vb_bound(0), soon_ns = ktime_get_ns() + KEPT_NS, until_ns;
	int gone, leaving, rc, ended;

	for (;;) {
		leaving = count_leaving(&gone);
		rc = reserve_try(bo);
		if (!rc || !leaving || !vb_takes_work())
			return rc;
		until_ns = gone ? deadline_ns : min(soon_ns, deadline_ns);
		if (ktime_get_ns() >= until_ns)
			return rc;
		ended = vb_wait_until(vb.freed, is_less_leaving(leaving) || !vb_takes_work(),
				      until_ns);
		if (ended == -EINTR)
			return ended;
	}
}

/* Names for it, which nobody can use until it is published. */
static int handle_new(struct vb_client *c, u32 *out)
{
	int rc;

	rc = vb_user_charge(c->user, HANDLE_COST);
	if (rc)
		return rc;
	rc = xa_alloc_cyclic(&c->bos, out, NULL, XA_LIMIT(1, VB_BO_ID_MAX), &c->next_bo,
			     GFP_KERNEL_ACCOUNT);
	if (rc >= 0)
		return 0;
	vb_user_uncharge(c->user, HANDLE_COST);
	return rc == -EBUSY ? -EDQUOT : rc;
}

/* It was never told to anybody. */
static void handle_undo(struct vb_client *c, u32 handle)
{
	xa_erase(&c->bos, handle);
	vb_user_uncharge(c->user, HANDLE_COST);
}

static int id_new(struct vb_bo *bo)
{
	int rc;

	rc = xa_alloc_cyclic(&vb.bos, &bo->id, NULL, XA_LIMIT(1, VB_ID_MAX), &vb.next_bo,
			     GFP_KERNEL_ACCOUNT);
	return rc == -EBUSY ? -EDQUOT : min(rc, 0);
}

static int bo_name(struct vb_client *c, struct vb_bo *bo)
{
	int rc;

	rc = id_new(bo);
	if (rc)
		return rc;
	rc = handle_new(c, &bo->handle);
	if (rc)
		xa_erase(&vb.bos, bo->id);
	return rc;
}

/**
 * vb_bo_publish() - it can be found by its id, which was taken; cannot fail
 * @bo: object; counts its client from here on
 *
 * Context: any that may take the lock of vb_device.bos.
 */
void vb_bo_publish(struct vb_bo *bo)
{
	kref_get(&bo->client->kref);
	xa_store(&vb.bos, bo->id, bo, GFP_KERNEL_ACCOUNT);
}

/* Room, names, the answer: then it is there.  On an error it is freed, its file too. */
static int bo_admit(struct vb_bo *bo, struct vb_ucmd *u, u32 *out_id)
{
	struct vb_client *c = bo->client;
	int rc;

	rc = reserve(bo);
	if (rc)
		goto err_free;
	rc = bo_name(c, bo);
	if (rc)
		goto err_unreserve;
	*out_id = bo->handle;
	rc = vb_ucmd_respond(u);
	if (rc)
		goto err_names;
	/* From here another thread may use the handle, or destroy it. */
	vb_bo_publish(bo);
	xa_store(&c->bos, bo->handle, bo, GFP_KERNEL_ACCOUNT);
	return 0;

err_names:
	handle_undo(c, bo->handle);
	xa_erase(&vb.bos, bo->id);
err_unreserve:
	unreserve(bo);
err_free:
	vb_file_put(bo->file);
	vb_bo_unlook(bo);
	return rc;
}

/* A store that there is, or @new; then a handle of it, as of any object. */
static int store_open(struct vb_client *c, struct vb_ucmd *u, struct vb_bo *new)
{
	struct vb_ioc_bo_create *cmd = u->cmd;
	struct vb_bo *bo = NULL;
	u32 id = 0;
	int rc;

	rc = id_new(new);
	if (!rc) {
		id = new->id;
		bo = vb_store_find(new);
	}
	if (bo != new) {
		if (id)
			xa_erase(&vb.bos, id);
		vb_file_put(new->file);
		vb_bo_unlook(new);
	}
	if (rc)
		return rc;
	cmd->out_head_bytes = bo->head_bytes;
	rc = vb_bo_share(c, bo, u, &cmd->out_bo_id);
	vb_bo_put(bo);
	return rc;
}

/**
 * vb_bo_create() - VB_IOC_BO_CREATE: anonymous memory, or bytes of a file
 * @c: who asks
 * @u: struct vb_ioc_bo_create; answered before the handle works
 *
 * What was destroyed and still waits to be forgotten is waited for, when there is no room
 * without it. Of the same bytes of a file there is one object for all (store.c).
 *
 * Context: no lock held; may wait, interruptible, and as vb_file_open() does.
 * Return: 0; -EINVAL; -EBADF, -EACCES and others of the file (vb_file_open()); -ENOSPC, -EDQUOT;
 * -ENOMEM; -EFAULT; -EINTR.
 */
int vb_bo_create(struct vb_client *c, struct vb_ucmd *u)
{
	struct vb_ioc_bo_create *cmd = u->cmd;
	struct vb_bo *bo;
	int rc;

	rc = vb_bo_check(cmd);
	if (rc)
		return rc;
	rc = bo_new(c, cmd, &bo);
	if (rc)
		return rc;
	if (bo->is_store)
		return store_open(c, u, bo);
	cmd->out_head_bytes = bo->head_bytes;
	return bo_admit(bo, u, &cmd->out_bo_id);
}

/* ---- dma-bufs ---- */

/**
 * vb_bo_adopt() - an object over the memory of others
 * @c: client
 * @u: VB_IOC_BO_IMPORT, whose out_bytes is set; answered
 * @m: import, the object's from here on unless this fails
 * @readonly: nobody may write it through us
 *
 * Context: may sleep; no lock held.
 * Return: 0; -EINVAL larger than an object may be; -EDQUOT; -ENOMEM; -EFAULT.
 */
int vb_bo_adopt(struct vb_client *c, struct vb_ucmd *u, struct vb_import *m, bool readonly)
{
	struct vb_ioc_bo_import *cmd = u->cmd;
	const struct vb_ioc_bo_create create = {
		.kind = VB_BO_IMPORTED,
		.fd = -1,
		.bytes = cmd->out_bytes,
	};
	struct vb_bo *bo;
	int rc;

	if (!create.bytes || create.bytes > VB_OBJECT_BYTES_MAX)
		return -EINVAL;
	rc = bo_new(c, &create, &bo);
	if (rc)
		return rc;
	bo->import = m;
	bo->traits.sealed = readonly;
	bo->flags = readonly ? VB_BO_SEALED : 0;
	return bo_admit(bo, u, &cmd->out_bo_id);
}

/**
 * vb_bo_share() - a handle of an object for a client that was given it, or may have it
 * @c: client
 * @bo: object, of which the caller is a user; the handle becomes another
 * @u: request; answered when there is a new handle
 * @out_id: where in @u the handle goes: that of the creator while it has it (a store has
 *	none), else a new one
 *
 * Return: 0; -EDQUOT no handle is free, or kernel memory of the user; -ENOMEM; -EFAULT.
 */
int vb_bo_share(struct vb_client *c, struct vb_bo *bo, struct vb_ucmd *u, u32 *out_id)
{
	u32 handle;
	int rc;

	*out_id = bo->handle;
	if (!bo->is_store && c == bo->client && xa_load(&c->bos, bo->handle) == bo)
		return 0;
	rc = bo->is_store ? vb_store_join(c, bo) : 0;
	if (rc)
		return rc;
	rc = handle_new(c, &handle);
	if (rc)
		goto err_leave;
	*out_id = handle;
	rc = vb_ucmd_respond(u);
	if (rc)
		goto err_handle;
	vb_bo_use(bo);
	xa_store(&c->bos, handle, bo, GFP_KERNEL_ACCOUNT);
	return 0;

err_handle:
	handle_undo(c, handle);
err_leave:
	if (bo->is_store)
		vb_store_leave(c, bo);
	return rc;
}

/**
 * vb_bo_unshare() - a handle has gone, and with it what the object was to its client
 * @c: client
 * @bo: object; one user less
 *
 * Context: no lock held; may sleep.
 */
void vb_bo_unshare(struct vb_client *c, struct vb_bo *bo)
{
	vb_user_uncharge(c->user, HANDLE_COST);
	if (bo->is_store)
		vb_store_leave(c, bo);
	vb_bo_put(bo);
}

/**
 * vb_bo_destroy() - VB_IOC_BO_DESTROY: the handle goes; the object when nobody uses it
 * @c: who asks
 * @u: struct vb_ioc_bo_destroy
 *
 * Context: no lock held; may sleep, waits for no user space.
 * Return: 0; -ENOENT.
 */
int vb_bo_destroy(struct vb_client *c, struct vb_ucmd *u)
{
	struct vb_ioc_bo_destroy *cmd = u->cmd;
	struct vb_bo *bo;

	/* A name whose object is not published yet reads as none. */
	xa_lock(&c->bos);
	bo = xa_load(&c->bos, cmd->bo_id);
	if (bo)
		__xa_erase(&c->bos, cmd->bo_id);
	xa_unlock(&c->bos);
	if (!bo)
		return -ENOENT;
	vb_bo_unshare(c, bo);
	return 0;
}
