// SPDX-License-Identifier: MIT
#include "home.h"

#include <numa.h>
#include <stdio.h>

#include "kernels/cpus.h"

/* ------------------------------------------------------------------------
 * Which
 */

uint32_t vgpu_homes_wanted(struct vgpu_home_wish *out, uint32_t max)
{
	struct vgpu_cpus_node nodes[VGPU_CPUS_NODES_MAX];
	uint32_t count = vgpu_cpus_nodes(nodes, VGPU_CPUS_NODES_MAX), n = 0;

	for (uint32_t i = 0; i < count && n < max; i++)
		if (numa_node_size64(nodes[i].id, NULL) > 0)
			out[n++] = (struct vgpu_home_wish){ nodes[i].id,
							    (uint32_t)CPU_COUNT(&nodes[i].cpus) };
	return n > 1 ? n : 0;
}

/* The one that has least of its part; of equal ones the first. */
static uint32_t next_home(const struct vgpu_resid *r, const struct vgpu_home_wish *wish,
			  uint32_t wishes)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < wishes; i++)
		if ((uint64_t)(r->home[i].regions + 1) * wish[best].weight <
		    (uint64_t)(r->home[best].regions + 1) * wish[i].weight)
			best = i;
	return best;
}

void vgpu_home_give(struct vgpu_resid *r, uint32_t home, uint32_t region, uint32_t slots)
{
	struct vgpu_home *h = &r->home[home];

	r->region_home[region] = (uint8_t)home;
	r->region_first[region] = h->slots;
	h->region[h->regions++] = (uint8_t)region;
	h->slots += slots;
	h->free += slots;
}

/* Those without a region are none. */
static void drop_empty(struct vgpu_resid *r)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < r->homes; i++) {
		for (uint32_t k = 0; k < r->home[i].regions; k++)
			r->region_home[r->home[i].region[k]] = (uint8_t)n;
		if (r->home[i].regions)
			r->home[n++] = r->home[i];
	}
	r->homes = n;
}

void vgpu_homes_deal(struct vgpu_resid *r, const struct vgpu_home_wish *wish, uint32_t wishes)
{
	static const struct vgpu_home_wish anywhere = { -1, 1 };

	if (!wishes || r->regions == 1) {
		wish = &anywhere;
		wishes = 1;
	}
	r->homes = wishes < VGPU_REGIONS_MAX ? wishes : VGPU_REGIONS_MAX;
	for (uint32_t i = 0; i < r->homes; i++)
		r->home[i] = (struct vgpu_home){ .node = wish[i].node };
	for (uint32_t i = 0; i < r->regions; i++) {
		uint32_t left = r->slots - i * r->region_slots;

		vgpu_home_give(r, next_home(r, wish, r->homes), i,
			       left < r->region_slots ? left : r->region_slots);
	}
	drop_empty(r);
}

/* ------------------------------------------------------------------------
 * Where
 */

uint32_t vgpu_home_of(const struct vgpu_resid *r, uint32_t slot)
{
	return r->region_home[slot / r->region_slots];
}

uint32_t vgpu_home_loc(const struct vgpu_resid *r, uint32_t slot)
{
	uint32_t region = slot / r->region_slots;

	return VB_LOC(r->home[r->region_home[region]].arena,
		      r->region_first[region] + slot % r->region_slots);
}

uint32_t vgpu_home_slot(const struct vgpu_resid *r, uint32_t arena, uint32_t at)
{
	uint32_t home = 0;

	while (home + 1 < r->homes && r->home[home].arena != arena)
		home++;
	return r->home[home].region[at / r->region_slots] * r->region_slots + at % r->region_slots;
}

uint32_t vgpu_home_of_node(const struct vgpu_resid *r, int32_t node)
{
	for (uint32_t i = 0; i < r->homes; i++)
		if (node >= 0 && r->home[i].node == node)
			return i;
	return VGPU_HOME_NONE;
}

uint32_t vgpu_home_choose(const struct vgpu_resid *r, uint32_t chunk)
{
	uint32_t wanted = r->prefers != VGPU_HOME_NONE ? r->prefers :
							 r->region_home[chunk % r->regions];

	for (uint32_t i = 0; i < r->homes; i++)
		if (r->home[(wanted + i) % r->homes].free)
			return (wanted + i) % r->homes;
	return wanted;
}

/* ------------------------------------------------------------------------
 * For people
 */

/* Slots of it that the kernel had to make of another node's memory; -errno: nobody says. */
static int slots_elsewhere(const struct vgpu_resid *r, const struct vgpu_home *h)
{
	struct vb_ioc_arena_query q = { .size = sizeof(q), .arena = h->arena };
	int rc = vgpu_uapi_call(r->node, VB_IOC_ARENA_QUERY, &q);

	return rc ? rc : (int)q.out_slots_elsewhere;
}

int vgpu_homes_describe(const struct vgpu_resid *r, char *text, size_t len)
{
	size_t n = 0;

	if (r->home[0].node < 0)
		return snprintf(text, len, "wherever memory is");
	for (uint32_t i = 0; i < r->homes && n < len; i++) {
		int elsewhere = slots_elsewhere(r, &r->home[i]);

		n += (size_t)snprintf(text + n, len - n, "%s%u chunks on node %d", i ? ", " : "",
				      r->home[i].slots, r->home[i].node);
		if (elsewhere > 0 && n < len)
			n += (size_t)snprintf(text + n, len - n, " (%d of them on others: it is full)",
					      elsewhere);
	}
	return (int)n;
}
