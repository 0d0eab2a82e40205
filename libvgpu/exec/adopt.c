// SPDX-License-Identifier: MIT
#include "adopt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "crc32c.h"
#include "home.h"
#include "kernels/pool.h"
#include "slot.h"

/* I/O of the dead ends in milliseconds, but for a disk that is in trouble. */
#define TRY_NS		(10 * 1000 * 1000)
/* Slots that are checked between two signs of life; some milliseconds of one thread. */
#define CHECK_SLOTS	64u

static void left_add(struct vgpu_left *left, const struct vb_ioc_arena_query *q)
{
	if (!(q->out_flags & VB_ARENA_ORPHAN))
		return;
	if (q->out_tier == VB_TIER_HOST && left->homes < VGPU_LEFT_HOMES) {
		left->home[left->homes++] = (struct vgpu_left_home){
			.arena = q->arena, .node = q->out_numa_node, .slots = q->out_slots,
		};
		left->host_slots += q->out_slots;
	} else if (q->out_tier == VB_TIER_NVME && !left->nvme) {
		left->nvme = true;
		left->nvme_arena = q->arena;
		left->nvme_slots = q->out_slots;
		left->identity[0] = q->out_identity[0];
		left->identity[1] = q->out_identity[1];
	}
}

int vgpu_left_query(struct vgpu_uapi *node, struct vgpu_left *out)
{
	struct vb_ioc_arena_query q = { .size = sizeof(q) };
	int rc;

	*out = (struct vgpu_left){ 0 };
	while (!(rc = vgpu_uapi_call(node, VB_IOC_ARENA_QUERY, &q))) {
		left_add(out, &q);
		q.arena++;
	}
	return rc == -ENOENT ? 0 : rc;
}

static int adopt_host(struct vgpu_uapi *node, uint32_t arena, uint64_t until_ns)
{
	struct vb_ioc_arena_adopt cmd = { .size = sizeof(cmd), .arena = arena };
	const struct timespec pause = { .tv_nsec = TRY_NS };
	int rc;

	while ((rc = vgpu_uapi_call(node, VB_IOC_ARENA_ADOPT, &cmd)) == -EBUSY &&
	       vgpu_now_ns() < until_ns)
		nanosleep(&pause, NULL);
	if (rc != -EBUSY)
		return rc;
	cmd.flags = VB_ADOPT_FORCE;
	return vgpu_uapi_call(node, VB_IOC_ARENA_ADOPT, &cmd);
}

int vgpu_left_adopt_host(struct vgpu_uapi *node, const struct vgpu_left *left)
{
	int rc = 0;

	for (uint32_t i = 0; !rc && i < left->homes; i++)
		rc = adopt_host(node, left->home[i].arena, left->until_ns);
	return rc;
}

int vgpu_left_adopt_nvme(struct vgpu_uapi *node, const struct vgpu_left *left)
{
	/* Its lock is ours: who still wrote there would have it. */
	struct vb_ioc_arena_adopt cmd = {
		.size = sizeof(cmd), .arena = left->nvme_arena, .flags = VB_ADOPT_FORCE,
		.identity = { left->identity[0], left->identity[1] },
	};

	return vgpu_uapi_call(node, VB_IOC_ARENA_ADOPT, &cmd);
}

int vgpu_left_recover(struct vgpu_uapi *node, uint32_t generation, uint32_t flags)
{
	struct vb_ioc_recover cmd = {
		.size = sizeof(cmd), .flags = flags, .generation = generation,
	};

	return vgpu_uapi_call(node, VB_IOC_RECOVER, &cmd);
}

/* ---- objects ---- */

static int object_next(struct vgpu_uapi *node, uint32_t from, uint32_t *out)
{
	struct vb_ioc_object_next cmd = { .size = sizeof(cmd), .object = from };
	int rc = vgpu_uapi_call(node, VB_IOC_OBJECT_NEXT, &cmd);

	*out = cmd.out_object;
	return rc;
}

bool vgpu_left_is_wanted(struct vgpu_uapi *node)
{
	uint32_t id;

	return !object_next(node, 1, &id);
}

/* Kept when the policy has room for it, else it goes when room is needed. */
static void slot_adopt(struct vgpu_resid *r, struct vgpu_object *o, uint32_t chunk, uint32_t slot)
{
	uint64_t key = vgpu_policy_key(o->id, chunk), victim = VGPU_POLICY_NONE;
	uint32_t other;

	vgpu_slot_take(r, slot, o, chunk, VGPU_SLOT_READY);
	r->policy->access(r->policy_state, key, 0, &victim);
	if (r->policy->retains(r->policy_state, key))
		vgpu_slot_flag(r, slot, VGPU_SLOT_RETAINED, 0);
	other = victim == VGPU_POLICY_NONE ? VB_SLOT_ANY : vgpu_slot_find(r, victim);
	if (other != VB_SLOT_ANY)
		vgpu_slot_flag(r, other, 0, VGPU_SLOT_RETAINED);
}

static bool is_in_slot(const struct vgpu_resid *r, const struct vgpu_object *o, uint32_t chunk,
		       uint32_t slot)
{
	struct vb_table_entry e;

	if (chunk >= o->chunks)
		return false;
	e = vgpu_object_entry(o, chunk);
	return e.valid & 1u << VB_TIER_HOST && e.loc[VB_TIER_HOST] == vgpu_home_loc(r, slot);
}

/* An object that cannot be opened any more keeps its slots until it goes. */
static int slot_take(struct vgpu_resid *r, uint32_t slot, struct vgpu_left *left)
{
	uint32_t loc = vgpu_home_loc(r, slot);
	struct vb_ioc_slot_query cmd = { .size = sizeof(cmd), .arena = VB_LOC_ARENA(loc),
					 .slot = VB_LOC_SLOT(loc) };
	int rc = vgpu_uapi_call(r->node, VB_IOC_SLOT_QUERY, &cmd);
	struct vgpu_object *o;

	if (rc || !cmd.out_object)
		return rc == -ENOENT ? 0 : rc;
	rc = vgpu_store_get(r->store, cmd.out_object, &o);
	if (rc)
		return rc == -ENOMEM ? rc : 0;
	if (is_in_slot(r, o, cmd.out_chunk, slot)) {
		slot_adopt(r, o, cmd.out_chunk, slot);
		left->chunks++;
	}
	return 0;
}

int vgpu_left_take(struct vgpu_resid *r, struct vgpu_left *left)
{
	int rc = 0;

	for (uint32_t slot = 0; slot < r->slots && !rc; slot++)
		rc = slot_take(r, slot, left);
	return rc;
}

/* ---- what is in the slots ---- */

/* Slots from @first on; @is_damaged is theirs. */
struct check {
	struct vgpu_resid *r;
	bool *is_damaged;
	uint32_t first;
};

static void check_slot(void *arg, size_t i)
{
	const struct check *c = arg;
	uint32_t slot = c->first + (uint32_t)i;
	const struct vgpu_slot *s = &c->r->slot[slot];
	struct vb_table_entry e;

	if (s->state != VGPU_SLOT_READY)
		return;
	e = vgpu_object_entry(s->object, s->chunk);
	c->is_damaged[i] = e.flags & VB_ENTRY_CRC &&
		vgpu_crc32c(0, vgpu_resid_ptr(c->r, slot), c->r->chunk_bytes) != e.crc;
}

static void slot_distrust(struct vgpu_resid *r, uint32_t slot, struct vgpu_left *left)
{
	struct vgpu_slot *s = &r->slot[slot];

	left->damaged++;
	r->count[VB_COUNT_CRC_ERRORS]++;
	if (vgpu_resid_move(r, s->object, s->chunk, VB_MOVE_DROP, VB_TIER_HOST, 0, NULL, NULL))
		return;
	r->policy->forget(r->policy_state, vgpu_slot_key(s));
	vgpu_slot_leave(r, slot);
	left->chunks--;
}

static void check_some(struct check *c, struct vgpu_left *left, uint32_t n)
{
	memset(c->is_damaged, 0, n * sizeof(*c->is_damaged));
	vgpu_pool_run(c->r->pool, check_slot, c, n);
	for (uint32_t i = 0; i < n; i++)
		if (c->is_damaged[i])
			slot_distrust(c->r, c->first + i, left);
}

int vgpu_left_check(struct vgpu_resid *r, struct vgpu_left *left)
{
	uint32_t step = CHECK_SLOTS * vgpu_pool_threads(r->pool);
	struct check c = { .r = r, .is_damaged = calloc(step, sizeof(*c.is_damaged)) };

	if (!c.is_damaged)
		return -ENOMEM;
	for (; c.first < r->slots; c.first += step) {
		check_some(&c, left, step < r->slots - c.first ? step : r->slots - c.first);
		vgpu_resid_beat(r);
	}
	free(c.is_damaged);
	return 0;
}
