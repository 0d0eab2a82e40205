// SPDX-License-Identifier: GPL-2.0
/*
 * Host memory that goes when the kernel is short of it.
 *
 * The shrinker runs wherever somebody allocates, so it only wakes a worker.  The worker
 * chooses the region with the most free slots, if all that was promised still fits
 * without it.  A region that is empty and mapped by nobody is freed; for any other the
 * executor is asked to empty and to remove it (VB_FETCH_DRAIN), one at a time, and
 * nobody waits for the answer.
 */
#include "arena.h"

#include <linux/jiffies.h>
#include <linux/shrinker.h>

#include "core/slots.h"
#include "client.h"
#include "conftest.h"
#include "limit.h"
#include "region.h"
#include "request.h"
#include "vb.h"

/* Who asks: the device itself, client 0. */
static struct vb_client self = { .share.member.weight = VB_QUEUE_WEIGHT_DEFAULT };
static unsigned long next_jiffies;
unsigned int vb_drain_pause_ms = MSEC_PER_SEC;

/**
 * struct choice - the region that may go
 * @arena: of it
 * @region: counted
 * @free: its free slots
 */
struct choice {
	u32 arena, free;
	struct vb_region *region;
};

/* ---- the worker ---- */

static u32 free_slots_locked(const struct vb_arena *a, const struct vb_region *region)
{
	u32 i, free = 0;

	for (i = 0; i < region->slots; i++)
		free += vb_slots_is_free(&a->slots, region->first + i);
	return free;
}

static void consider(struct choice *best, u32 arena, struct vb_region *region)
{
	bool may_go;
	u32 free;

	spin_lock(&vb.slot_lock);
	may_go = vb_limit_may_shrink_locked((u64)region->slots << vb.chunk_shift);
	free = free_slots_locked(vb.arenas[arena], region);
	spin_unlock(&vb.slot_lock);
	if (!may_go || (best->region && free <= best->free))
		return;
	if (best->region)
		vb_region_put(best->region);
	kref_get(&region->kref);
	*best = (struct choice){ .arena = arena, .free = free, .region = region };
}

/* Regions come and go under exec_lock. */
static struct choice choose(void)
{
	struct choice best = { .region = NULL };
	struct vb_region *region;
	unsigned long at;
	u32 i;

	lockdep_assert_held(&vb.exec_lock);
	for (i = 0; i < vb.arena_count; i++) {
		if (vb.arenas[i]->tier != VB_TIER_HOST)
			continue;
		at = 0;
		mt_for_each(&vb.arenas[i]->regions, region, at, ULONG_MAX)
			consider(&best, i, region);
	}
	return best;
}

/* References: the arena's and ours. */
static bool is_mapped(const struct vb_region *region)
{
	return kref_read(&region->kref) > 2;
}

static void ask(const struct choice *c)
{
	struct vb_request *r = vb_request_new(VB_FETCH_DRAIN, &self, NULL);

	if (!r)
		return;
	r->flags = VB_FETCH_F_ASYNC;
	r->arena = c->arena;
	r->first = c->region->first;
	r->count = c->region->slots;
	WRITE_ONCE(vb.draining, true);
	if (vb_request_send(r))
		WRITE_ONCE(vb.draining, false);
}

static void drain(struct work_struct *work)
{
	struct choice c;

	mutex_lock(&vb.exec_lock);
	/* Who scheduled us may have looked at the time before the last one had gone. */
	if (time_before(jiffies, READ_ONCE(next_jiffies)))
		goto unlock;
	if (!vb_is_live() || READ_ONCE(vb.draining))
		goto out;
	c = choose();
	if (!c.region)
		goto out;
	if (c.free < c.region->slots || is_mapped(c.region) ||
	    vb_region_drop_locked(c.arena, c.region))
		ask(&c);
	vb_region_put(c.region);
out:
	WRITE_ONCE(next_jiffies, jiffies + msecs_to_jiffies(READ_ONCE(vb_drain_pause_ms)));
unlock:
	mutex_unlock(&vb.exec_lock);
}

static DECLARE_WORK(drain_work, drain);

/**
 * vb_drain_done() - the executor has answered a DRAIN, or will never
 *
 * Another region may be asked for, when the pause is over.
 *
 * Context: any.
 */
void vb_drain_done(void)
{
	WRITE_ONCE(vb.draining, false);
}

/* ---- the shrinker ---- */

static unsigned long shrink_count(struct shrinker *s, struct shrink_control *sc)
{
	u64 bytes;

	if (!vb_is_live() || READ_ONCE(vb.draining) || atomic_read(&vb.growing) ||
	    time_before(jiffies, READ_ONCE(next_jiffies)))
		return SHRINK_EMPTY;
	spin_lock(&vb.slot_lock);
	bytes = vb_content_bytes_locked();
	spin_unlock(&vb.slot_lock);
	return bytes ? bytes >> PAGE_SHIFT : SHRINK_EMPTY;
}

static unsigned long shrink_scan(struct shrinker *s, struct shrink_control *sc)
{
	schedule_work(&drain_work);
	return SHRINK_STOP;
}

#ifdef VB_HAS_SHRINKER_ALLOC
static struct shrinker *shrinker;

static int shrinker_init(void)
{
	shrinker = shrinker_alloc(0, "vblackwell");
	if (!shrinker)
		return -ENOMEM;
	shrinker->count_objects = shrink_count;
	shrinker->scan_objects = shrink_scan;
	shrinker_register(shrinker);
	return 0;
}

static void shrinker_exit(void)
{
	shrinker_free(shrinker);
}
#else
static struct shrinker shrinker = {
	.count_objects = shrink_count,
	.scan_objects = shrink_scan,
	.seeks = DEFAULT_SEEKS,
};

static int shrinker_init(void)
{
	return register_shrinker(&shrinker, "vblackwell");
}

static void shrinker_exit(void)
{
	unregister_shrinker(&shrinker);
}
#endif

/**
 * vb_drain_init() - from now on the kernel may take host memory back
 *
 * Context: module load.
 * Return: 0, for vb_drain_exit(); -ENOMEM.
 */
int vb_drain_init(void)
{
	kref_init(&self.kref);
	next_jiffies = jiffies;
	return shrinker_init();
}

/**
 * vb_drain_exit() - the shrinker goes; a worker that drains is waited for
 *
 * Context: module unload; exec_lock not held.
 */
void vb_drain_exit(void)
{
	shrinker_exit();
	cancel_work_sync(&drain_work);
}
