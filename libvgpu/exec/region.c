// SPDX-License-Identifier: MIT
#include "region.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "adopt.h"
#include "clock.h"
#include "home.h"
#include "pages.h"
#include "slot.h"

#define SLOTS_LEAST	16u	/* of a region that is not the only one */

/* ------------------------------------------------------------------------
 * Where
 */

static bool is_module(const struct vgpu_resid *r)
{
	return r->node->ops->map;
}

static uint8_t *region_at(const struct vgpu_resid *r, uint32_t i)
{
	return r->memory + (size_t)i * r->region_slots * r->chunk_bytes;
}

static uint32_t slots_of(const struct vgpu_resid *r, uint32_t i)
{
	uint32_t first = i * r->region_slots;

	return i + 1 < r->regions ? r->region_slots : r->slots - first;
}

static size_t bytes_of(const struct vgpu_resid *r, uint32_t i)
{
	return (size_t)slots_of(r, i) * r->chunk_bytes;
}

/* In process nobody asks for memory back, and clients map adjacent slots of one region. */
static void divide(struct vgpu_resid *r)
{
	r->region_slots = (r->slots + VGPU_REGIONS_MAX - 1) / VGPU_REGIONS_MAX;
	if (r->region_slots < SLOTS_LEAST)
		r->region_slots = SLOTS_LEAST;
	if (!is_module(r) || r->slots < 2 * SLOTS_LEAST)
		r->region_slots = r->slots;
	r->regions = (r->slots + r->region_slots - 1) / r->region_slots;
}

/* Addresses that huge pages can be mapped at; in process with memory behind them. */
static int reserve(struct vgpu_resid *r)
{
	size_t bytes = (size_t)r->slots * r->chunk_bytes + VGPU_HUGE_BYTES;
	int access = is_module(r) ? PROT_NONE : PROT_READ | PROT_WRITE;
	uint8_t *p = mmap(NULL, bytes, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t skip;

	if (p == MAP_FAILED)
		return -ENOMEM;
	skip = (VGPU_HUGE_BYTES - ((uintptr_t)p & (VGPU_HUGE_BYTES - 1))) & (VGPU_HUGE_BYTES - 1);
	if (skip)
		munmap(p, skip);
	munmap(p + bytes - (VGPU_HUGE_BYTES - skip), VGPU_HUGE_BYTES - skip);
	r->memory = p + skip;
	r->memory_bytes = bytes - VGPU_HUGE_BYTES;
	r->slots_most = r->slots;
	if (is_module(r))
		snprintf(r->pages, sizeof(r->pages), "as the device maps its memory");
	else
		vgpu_pages_ask(r->memory, r->memory_bytes, r->pages);
	madvise(r->memory, r->memory_bytes, MADV_DONTFORK);
	return 0;
}

/* ------------------------------------------------------------------------
 * Coming
 */

static struct vb_ioc_region region_request(const struct vgpu_resid *r, uint32_t i)
{
	return (struct vb_ioc_region){
		.size = sizeof(struct vb_ioc_region), .arena = r->home[r->region_home[i]].arena,
		.first_slot = r->region_first[i], .slots = slots_of(r, i),
	};
}

static int region_remove(struct vgpu_resid *r, uint32_t i)
{
	struct vb_ioc_region cmd = region_request(r, i);

	return vgpu_uapi_call(r->node, VB_IOC_REGION_REMOVE, &cmd);
}

/* The device's memory in its place. */
static int region_map(struct vgpu_resid *r, uint32_t i)
{
	void *p;

	if (!is_module(r))
		return 0;
	p = mmap(region_at(r, i), bytes_of(r, i), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		 r->node->ops->fd(r->node), (off_t)r->region_offset[i]);
	if (p == MAP_FAILED)
		return -errno;
	/* A page table entry a chunk: better now than while somebody waits for a transfer. */
	if (r->chunk_bytes == VGPU_HUGE_BYTES)
		madvise(p, bytes_of(r, i), MADV_POPULATE_WRITE);
	return 0;
}

static int region_add(struct vgpu_resid *r, uint32_t i)
{
	struct vb_ioc_region cmd = region_request(r, i);
	int rc;

	cmd.address = is_module(r) ? 0 : (uintptr_t)region_at(r, i);
	rc = vgpu_uapi_call(r->node, VB_IOC_REGION_ADD, &cmd);
	if (rc)
		return rc;
	r->region_offset[i] = cmd.out_mmap_offset;
	rc = region_map(r, i);
	if (rc)
		region_remove(r, i);
	return rc;
}

static int region_register(struct vgpu_resid *r, struct vgpu_io *io, uint32_t i, int32_t *out)
{
	int rc = vgpu_io_region_add(io, region_at(r, i), bytes_of(r, i), out);

	if (!rc && is_module(r))
		vgpu_io_region_register(io, *out);
	return rc;
}

int vgpu_regions_register(struct vgpu_resid *r, struct vgpu_io *io, int32_t *out)
{
	int rc = 0;

	for (uint32_t i = 0; !rc && i < r->regions; i++)
		rc = region_register(r, io, i, &out[i]);
	return rc;
}

static int arena_create(struct vgpu_resid *r, struct vgpu_home *h)
{
	struct vb_ioc_arena_create cmd = {
		.size = sizeof(cmd), .tier = VB_TIER_HOST, .numa_node = h->node, .slots = h->slots,
	};
	int rc = vgpu_uapi_call(r->node, VB_IOC_ARENA_CREATE, &cmd);

	h->arena = cmd.out_arena;
	return rc;
}

int vgpu_regions_create(struct vgpu_resid *r, const struct vgpu_home_wish *wish, uint32_t wishes)
{
	int rc = reserve(r);

	divide(r);
	vgpu_homes_deal(r, wish, wishes);
	for (uint32_t i = 0; !rc && i < r->homes; i++)
		rc = arena_create(r, &r->home[i]);
	for (uint32_t i = 0; !rc && i < r->regions; i++)
		rc = region_add(r, i);
	return rc ? rc : vgpu_regions_register(r, r->io, r->region);
}

/**
 * struct found - a region of the dead
 * @home: index in vgpu_left.home
 * @first: its first slot in the arena
 * @slots: how many
 * @offset: where to mmap() it
 */
struct found {
	uint32_t home, first, slots;
	uint64_t offset;
};

/* The next one of an arena, of which @first slots are found. */
static int region_find(struct vgpu_resid *r, uint32_t home, uint32_t first, struct found *out)
{
	struct vb_ioc_region cmd = { .size = sizeof(cmd), .arena = r->home[home].arena,
				     .first_slot = first };
	int rc = vgpu_uapi_call(r->node, VB_IOC_REGION_NEXT, &cmd);

	*out = (struct found){ home, cmd.first_slot, cmd.slots, cmd.out_mmap_offset };
	return !rc && cmd.first_slot != first ? -EINVAL : rc;
}

/* One of each arena, the next of each, ...: the last of all is the last of its arena. */
static int regions_find(struct vgpu_resid *r, const struct vgpu_left *left, struct found *found)
{
	uint32_t at[VGPU_REGIONS_MAX] = { 0 }, n = 0, slots = 0;
	int rc = 0;

	while (!rc && slots < r->slots)
		for (uint32_t home = 0; !rc && home < r->homes; home++) {
			if (at[home] == left->home[home].slots)
				continue;
			rc = n >= VGPU_REGIONS_MAX ? -EINVAL :
			     region_find(r, home, at[home], &found[n]);
			if (!rc) {
				at[home] += found[n].slots;
				slots += found[n++].slots;
			}
		}
	r->regions = n;
	return rc;
}

/* All but the last have one length: a shorter one goes to the end. */
static int regions_sort(struct vgpu_resid *r, struct found *found)
{
	uint32_t least = 0, last = r->regions - 1;
	struct found shortest;

	r->region_slots = 0;
	for (uint32_t i = 0; i <= last; i++) {
		if (found[i].slots > r->region_slots)
			r->region_slots = found[i].slots;
		if (found[i].slots <= found[least].slots)
			least = i;
	}
	shortest = found[least];
	memmove(&found[least], &found[least + 1], (last - least) * sizeof(*found));
	found[last] = shortest;
	for (uint32_t i = 0; i <= last; i++)
		if (found[i].first % r->region_slots ||
		    (i < last && found[i].slots != r->region_slots))
			return -EINVAL;
	return 0;
}

static int regions_take(struct vgpu_resid *r, const struct vgpu_left *left)
{
	struct found found[VGPU_REGIONS_MAX];
	int rc;

	r->homes = left->homes;
	for (uint32_t i = 0; i < r->homes; i++)
		r->home[i] = (struct vgpu_home){ .node = left->home[i].node,
						 .arena = left->home[i].arena };
	rc = regions_find(r, left, found);
	if (!rc)
		rc = regions_sort(r, found);
	for (uint32_t i = 0; !rc && i < r->regions; i++) {
		r->region_offset[i] = found[i].offset;
		vgpu_home_give(r, found[i].home, i, found[i].slots);
	}
	return rc;
}

int vgpu_regions_adopt(struct vgpu_resid *r, const struct vgpu_left *left)
{
	int rc = reserve(r);

	if (!rc)
		rc = regions_take(r, left);
	for (uint32_t i = 0; !rc && i < r->regions; i++)
		rc = region_map(r, i);
	return rc ? rc : vgpu_regions_register(r, r->io, r->region);
}

/* ------------------------------------------------------------------------
 * Going
 */

/* What is missed least leaves, until the policy can do with @capacity. */
static int policy_shrink(struct vgpu_resid *r, uint32_t capacity)
{
	struct vgpu_policy_stats stats;
	int rc = r->policy->resize(r->policy_state, capacity);

	r->policy->stats(r->policy_state, &stats);
	while (!rc && stats.retained > capacity) {
		rc = vgpu_resid_shed_one(r);
		r->policy->stats(r->policy_state, &stats);
	}
	return rc;
}

/* The next place before @end that the device will give us. */
static uint32_t place_before(const struct vgpu_resid *r, uint32_t end)
{
	uint32_t i = r->list[VGPU_LIST_FREE].first;

	while (i != VB_SLOT_ANY && (i >= end || r->slot[i].flags & VGPU_SLOT_REFUSED))
		i = r->slot[i].next;
	return i;
}

/* Of clients' files nobody knows when they answer, nor whether. */
static bool slot_takes_long(const struct vgpu_slot *s, uint64_t until)
{
	return s->flags & (VGPU_SLOT_OVERDUE | VGPU_SLOT_SLOW) ||
	       (s->state == VGPU_SLOT_FILLING && s->from == VB_TIER_SOURCE &&
		vgpu_now_ns() >= until);
}

/* Wait until nothing is on its way into or out of a slot. */
static int slot_settle(struct vgpu_resid *r, uint32_t slot, uint64_t until)
{
	int rc = 0;

	while (rc >= 0 && vgpu_slot_is_moving(&r->slot[slot]))
		rc = slot_takes_long(&r->slot[slot], until) ? -EBUSY :
							      vgpu_resid_pump(r, VGPU_PUMP_WAIT_NS);
	return rc < 0 ? rc : 0;
}

static int slot_empty(struct vgpu_resid *r, uint32_t slot, uint32_t end, uint64_t until)
{
	const struct vgpu_slot *s = &r->slot[slot];
	uint32_t to;
	int rc = slot_settle(r, slot, until);

	while (!rc && s->state != VGPU_SLOT_FREE) {
		to = place_before(r, end);
		if (s->state != VGPU_SLOT_READY || s->pins || vgpu_slot_is_fixed(s) ||
		    to == VB_SLOT_ANY)
			return -EBUSY;
		rc = vgpu_slot_move(r, slot, to);
		/* A place in quarantine is not asked for again. */
		if (rc == -EBUSY && r->slot[to].flags & VGPU_SLOT_REFUSED)
			rc = 0;
	}
	return rc;
}

/* Nothing is in the last region, nor comes there. */
static int region_empty(struct vgpu_resid *r)
{
	uint32_t n = slots_of(r, r->regions - 1), first = r->slots - n;
	uint64_t until = vgpu_now_ns() + VGPU_SLOW_NS;
	int rc = vgpu_resid_make_room(r, n);

	for (uint32_t slot = first; !rc && slot < r->slots; slot++)
		rc = slot_empty(r, slot, first, until);
	return rc;
}

/* The addresses stay ours, for memory that comes back. */
static void region_unmap(struct vgpu_resid *r, uint32_t i)
{
	void *p = mmap(region_at(r, i), bytes_of(r, i), PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

	if (p != MAP_FAILED)
		return;
	munmap(region_at(r, i), bytes_of(r, i));
	r->slots_most = i * r->region_slots;
	r->memory_bytes = (size_t)r->slots_most * r->chunk_bytes;
}

/* The device first: when it says no, all is where it was. */
static int region_release(struct vgpu_resid *r)
{
	uint32_t i = r->regions - 1, n = slots_of(r, i);
	int rc = vgpu_io_region_remove(r->io, r->region[i]);

	if (rc)
		return rc;
	rc = region_remove(r, i);
	if (rc) {
		region_register(r, r->io, i, &r->region[i]);
		return rc;
	}
	region_unmap(r, i);
	vgpu_slots_trim(r, r->slots - n);
	r->regions--;
	return 0;
}

int vgpu_resid_drain(struct vgpu_resid *r)
{
	uint32_t n = slots_of(r, r->regions - 1);
	int rc;

	if (r->regions < 2 || r->slots - n < 2 * r->staging)
		return -EBUSY;
	rc = policy_shrink(r, r->capacity - n);
	if (!rc)
		rc = region_empty(r);
	if (!rc)
		rc = region_release(r);
	if (rc) {
		/* More than is kept now may be kept again. */
		r->policy->resize(r->policy_state, r->capacity);
		return -EBUSY;
	}
	r->capacity -= n;
	return 0;
}

/* ------------------------------------------------------------------------
 * Coming back
 */

/* With its slots counted: it is the last one. */
static int region_regain(struct vgpu_resid *r)
{
	uint32_t i = r->regions - 1;
	int rc = region_add(r, i);

	if (rc)
		return rc;
	rc = region_register(r, r->io, i, &r->region[i]);
	if (rc) {
		region_unmap(r, i);
		region_remove(r, i);
	}
	return rc;
}

int vgpu_resid_grow(struct vgpu_resid *r)
{
	uint32_t was = r->slots, missing = r->slots_most - was;
	uint32_t n = missing < r->region_slots ? missing : r->region_slots;
	int rc = n ? r->policy->resize(r->policy_state, r->capacity + n) : -ENOSPC;

	if (rc)
		return rc;
	r->slots += n;
	r->regions++;
	rc = region_regain(r);
	if (rc) {
		r->slots = was;
		r->regions--;
		r->policy->resize(r->policy_state, r->capacity);
		return rc;
	}
	vgpu_slots_extend(r, was);
	r->capacity += n;
	return 0;
}
