// SPDX-License-Identifier: GPL-2.0
/* Requests about one object that wait for nobody. */
#include "bo.h"

#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "core/chunk.h"
#include "client.h"
#include "table.h"
#include "ucmd.h"
#include "vb.h"

#define RESIDENCY_STRETCH	64u	/* chunks looked at under one lock */

/**
 * vb_bo_info() - VB_IOC_BO_INFO: what an object is and where its chunks are
 * @c: who asks
 * @u: struct vb_ioc_bo_info
 *
 * Context: takes the object's lock.
 * Return: 0; -ENOENT.
 */
int vb_bo_info(struct vb_client *c, struct vb_ucmd *u)
{
	struct vb_ioc_bo_info *info = u->cmd;
	struct vb_bo *bo = vb_bo_get(c, info->bo_id);
	u32 tier;

	if (!bo)
		return -ENOENT;
	mutex_lock(&bo->lock);
	info->out_kind = bo->traits.kind;
	info->out_life = bo->traits.life;
	info->out_flags = bo->flags;
	info->out_chunks = bo->chunks;
	info->out_bytes = bo->bytes;
	for (tier = 0; tier < VB_TIER_COUNT; tier++)
		info->out_tier_bytes[tier] = bo->tier_chunks[tier] << vb.chunk_shift;
	info->out_dirty_bytes = bo->dirty << vb.chunk_shift;
	mutex_unlock(&bo->lock);
	vb_bo_put(bo);
	return 0;
}

static int seal_locked(struct vb_bo *bo)
{
	int rc = 0;

	lockdep_assert_held(&bo->lock);
	if (bo->traits.sealed)
		return 0;
	if (bo->import)
		return -EOPNOTSUPP;
	if (bo->write_maps || bo->pins)
		return -EBUSY;
	/* A submission that comes now sees the seal, or is seen here. */
	spin_lock(&vb.work_lock);
	if (bo->writers) {
		rc = -EBUSY;
	} else {
		bo->traits.sealed = true;
		bo->flags |= VB_BO_SEALED;
	}
	spin_unlock(&vb.work_lock);
	return rc;
}

/**
 * vb_bo_seal() - VB_IOC_BO_SEAL: from now on nobody writes it
 * @c: who asks
 * @u: struct vb_ioc_bo_seal
 *
 * Context: takes the object's lock, work_lock.
 * Return: 0, also when it was sealed; -ENOENT; -EOPNOTSUPP an imported one; -EBUSY pinned,
 * mapped to be written, or a submission that writes it has not ended.
 */
int vb_bo_seal(struct vb_client *c, struct vb_ucmd *u)
{
	struct vb_ioc_bo_seal *cmd = u->cmd;
	struct vb_bo *bo = vb_bo_get(c, cmd->bo_id);
	int rc;

	if (!bo)
		return -ENOENT;
	mutex_lock(&bo->lock);
	rc = seal_locked(bo);
	mutex_unlock(&bo->lock);
	vb_bo_put(bo);
	return rc;
}

static int residency_stretch(struct vb_bo *bo, u32 first, u32 count, u8 __user *to)
{
	u8 stretch[RESIDENCY_STRETCH];
	u32 i;

	if (fatal_signal_pending(current) || mutex_lock_killable(&bo->lock))
		return -EINTR;
	for (i = 0; i < count; i++)
		stretch[i] = vb_chunk_residency(vb_entry(bo, first + i));
	mutex_unlock(&bo->lock);
	return copy_to_user(to, stretch, count) ? -EFAULT : 0;
}

/* As many as there are, which may be a billion: it must be possible to stop. */
static int residency_copy(struct vb_bo *bo, struct vb_ioc_bo_residency *cmd)
{
	u8 __user *to = u64_to_user_ptr(cmd->address);
	u32 n, count;
	int rc;

	if (cmd->first_chunk > bo->chunks)
		return -ERANGE;
	n = min(bo->chunks - cmd->first_chunk, cmd->count);
	while (cmd->out_count < n) {
		count = min(n - cmd->out_count, RESIDENCY_STRETCH);
		rc = residency_stretch(bo, cmd->first_chunk + cmd->out_count, count,
				       to + cmd->out_count);
		if (rc)
			return rc;
		cmd->out_count += count;
		cond_resched();
	}
	return 0;
}

/**
 * vb_bo_residency() - VB_IOC_BO_RESIDENCY: where each chunk is
 * @c: who asks
 * @u: struct vb_ioc_bo_residency; @out_count says how many were told, also on an error
 *
 * Chunks move meanwhile: what is said of a few hundred was true at one time.
 *
 * Context: takes the object's lock, not while copying; may fault.
 * Return: 0; -ENOENT; -ERANGE the first chunk is beyond the last; -EFAULT.
 */
int vb_bo_residency(struct vb_client *c, struct vb_ucmd *u)
{
	struct vb_ioc_bo_residency *cmd = u->cmd;
	struct vb_bo *bo;
	int rc;

	cmd->out_count = 0;
	bo = vb_bo_get(c, cmd->bo_id);
	if (!bo)
		return -ENOENT;
	rc = residency_copy(bo, cmd);
	vb_bo_put(bo);
	return rc;
}
