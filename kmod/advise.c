// SPDX-License-Identifier: GPL-2.0
#include "bo.h"

#include <linux/ktime.h>

#include "core/range.h"
#include "client.h"
#include "cpu.h"
#include "limit.h"
#include "request.h"
#include "resid.h"
#include "store.h"
#include "table.h"
#include "ucmd.h"
#include "vb.h"

#define STRETCH		4096u	/* chunks looked at under one lock */
#define HINTS_MAX	1024u	/* prefetches a client may have queued */

/**
 * struct advice - what an advice is about
 * @client: who gives it
 * @bo: object, of which the caller is a user
 * @range: chunks
 * @chunks: for which it took effect
 */
struct advice {
	struct vb_client *client;
	struct vb_bo *bo;
	struct vb_chunk_range range;
	u64 chunks;
};

static struct vb_request *advice_request(struct advice *a, u32 type)
{
	struct vb_request *r = vb_request_new(type, a->client, a->bo);

	if (!r)
		return NULL;
	r->first = a->range.first;
	r->count = a->range.end - a->range.first;
	return r;
}

/* A hint that nobody waits for; beyond what may be queued, or with nobody there, it is dropped. */
static int ask_ahead(struct advice *a)
{
	struct vb_request *r;
	int rc;

	if (!vb_takes_work())
		return -ENODEV;
	if (READ_ONCE(a->client->hints) >= HINTS_MAX)
		return 0;
	r = advice_request(a, VB_FETCH_PAGE_IN);
	if (!r)
		return -ENOMEM;
	r->flags = VB_FETCH_F_ASYNC;
	rc = vb_request_send(r);
	if (!rc)
		a->chunks = a->range.end - a->range.first;
	return rc == -ENODEV && vb_takes_work() ? 0 : rc;
}

static bool evicted_count(struct advice *a)
{
	const u8 memory = 1u << VB_TIER_HOST | 1u << VB_TIER_DEVICE;
	u32 chunk, n, looks = 0;
	struct vb_bo *bo = a->bo;
	bool all = true;

	mutex_lock(&bo->lock);
	for (chunk = a->range.first; chunk < a->range.end; chunk += n) {
		const struct vb_table_entry *e = vb_entry_run(bo, chunk, &n);
		bool out = !(e->valid & memory) && !e->busy;

		n = min(n, a->range.end - chunk);
		a->chunks += out ? n : 0;
		all = all && out;
		if (++looks % STRETCH == 0) {
			mutex_unlock(&bo->lock);
			cond_resched();
			mutex_lock(&bo->lock);
		}
	}
	mutex_unlock(&bo->lock);
	return all;
}

static int evict(struct advice *a)
{
	struct vb_request *r;
	int rc;

	if (!READ_ONCE(a->bo->slots)) {
		a->chunks = a->range.end - a->range.first;
		return 0;
	}
	if (vb_store_is_shared(a->bo))
		return evicted_count(a) ? 0 : -EBUSY;
	r = advice_request(a, VB_FETCH_EVICT);
	if (!r)
		return -ENOMEM;
	rc = vb_request_wait(r, vb_bound(0));
	if (rc && rc != -EBUSY)
		return rc;
	return evicted_count(a) ? 0 : -EBUSY;
}

/* What is left of them goes with the object; of a store, with the client's share in it. */
static void pins_add(struct vb_bo *bo, s64 chunks)
{
	if (bo->is_store)
		return;
	mutex_lock(&bo->lock);
	bo->pins += chunks;
	mutex_unlock(&bo->lock);
}

/* Charged first: others must not take the share while we page in. */
static int pins_charge(struct advice *a, u64 chunks)
{
	int rc = vb_limit_hold(vb_bo_holder(a->bo, a->client), chunks, true);

	if (!rc)
		pins_add(a->bo, chunks);
	return rc;
}

static void pins_uncharge(struct advice *a, u64 chunks)
{
	pins_add(a->bo, -(s64)chunks);
	vb_limit_release(vb_bo_holder(a->bo, a->client), chunks, true);
}

static bool step_unpin(struct advice *a, u32 chunk)
{
	int rc;

	mutex_lock(&a->bo->lock);
	rc = vb_step_unpin(a->bo, chunk);
	mutex_unlock(&a->bo->lock);
	return !rc;
}

/* Nobody undoes what another has pinned of a store. */
static u32 unpin_until(struct advice *a, u32 end)
{
	u32 chunk, count = 0;

	for (chunk = a->range.first; chunk < end; chunk++)
		if (!a->bo->is_store || !vb_store_pin(a->client, a->bo, chunk, -1))
			count += step_unpin(a, chunk);
	return count;
}

static int pin_chunk(struct advice *a, u32 chunk)
{
	int rc = vb_hold(a->client, a->bo, chunk, chunk + 1, VB_HOLD_PIN, 0);

	if (rc || !a->bo->is_store)
		return rc;
	rc = vb_store_pin(a->client, a->bo, chunk, 1);
	if (rc)
		step_unpin(a, chunk);
	return rc;
}

static int pin(struct advice *a)
{
	u64 chunks = a->range.end - a->range.first;
	u32 chunk;
	int rc;

	rc = pins_charge(a, chunks);
	if (rc)
		return rc;
	for (chunk = a->range.first; chunk < a->range.end; chunk++) {
		rc = pin_chunk(a, chunk);
		if (rc)
			goto err_unpin;
	}
	a->chunks = chunks;
	return 0;

err_unpin:
	/* What another thread has unpinned meanwhile, it has also paid back. */
	pins_uncharge(a, unpin_until(a, chunk) + a->range.end - chunk);
	return rc;
}

/* The client's word, all of it or none, under one lock: two threads cannot both take it back. */
static bool pins_take_back_locked(struct advice *a)
{
	u32 chunk;

	if (a->bo->is_store)
		return vb_store_unpin_locked(a->client, a->bo, &a->range);
	for (chunk = a->range.first; chunk < a->range.end; chunk++)
		if (!vb_entry(a->bo, chunk)->pins)
			return false;
	a->bo->pins -= a->range.end - a->range.first;
	return true;
}

static int unpin(struct advice *a)
{
	u32 chunk;
	bool taken;

	mutex_lock(&a->client->lock);
	mutex_lock(&a->bo->lock);
	taken = pins_take_back_locked(a);
	for (chunk = a->range.first; taken && chunk < a->range.end; chunk++)
		a->chunks += !vb_step_unpin(a->bo, chunk);
	mutex_unlock(&a->bo->lock);
	mutex_unlock(&a->client->lock);
	if (!taken)
		return -EINVAL;
	vb_limit_release(vb_bo_holder(a->bo, a->client), a->chunks, true);
	return 0;
}

static int advise(struct advice *a, const struct vb_ioc_bo_advise *cmd)
{
	int rc;

	if (a->bo->import)
		return -EOPNOTSUPP;
	rc = vb_range_chunks(a->bo->bytes, a->bo->head_bytes, vb.chunk_shift, cmd->offset,
			     cmd->bytes, &a->range);
	if (rc)
		return rc;
	switch (cmd->advice) {
	case VB_ADVISE_PREFETCH:
		return ask_ahead(a);
	case VB_ADVISE_EVICT:
		return evict(a);
	case VB_ADVISE_PIN:
		return pin(a);
	case VB_ADVISE_UNPIN:
		return unpin(a);
	default:
		return -EINVAL;
	}
}

/**
 * vb_bo_advise() - VB_IOC_BO_ADVISE: prefetch, evict, pin, unpin
 * @c: who advises
 * @u: struct vb_ioc_bo_advise; @out_bytes says for how much it took effect
 *
 * A prefetch is queued and forgotten; to evict and to pin waits for the executor.
 *
 * Context: no lock held; may sleep, interruptible.
 * Return: 0; -ENOENT; -EINVAL, among these to unpin what is not pinned; -ERANGE, -EOVERFLOW
 * outside the object; -EOPNOTSUPP an imported one; -EBUSY something stays where it is; -EDQUOT,
 * -ENOSPC (vb_limit_hold()); -ENOMEM; -ENODEV, -ETIME, -EINTR.
 */
int vb_bo_advise(struct vb_client *c, struct vb_ucmd *u)
{
	struct vb_ioc_bo_advise *cmd = u->cmd;
	struct advice a = { .client = c };
	int rc;

	if (!cmd->bytes)
		return -EINVAL;
	a.bo = vb_bo_get(c, cmd->bo_id);
	if (!a.bo)
		return -ENOENT;
	rc = advise(&a, cmd);
	vb_bo_put(a.bo);
	cmd->out_bytes = a.chunks << vb.chunk_shift;
	return rc;
}
