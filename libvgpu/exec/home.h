/* SPDX-License-Identifier: MIT */
/*
 * Homes: the NUMA nodes that the host tier is on, an arena of the device each.
 *
 * The tier's regions are dealt out to the homes in proportion to their weights, in turn, so
 * that what goes when memory is short, the last region first, goes from all of them.  Slots
 * are numbered through here; the device knows them by arena and number in it.
 *
 * A chunk goes to the node of the thread that waits for it.  What commands use panel by panel
 * goes to all in turn, as regions do: threads of all nodes compute on each panel
 * (kernels/pool.h), and so it comes from the memory of all.  Runs (run.c) are where adjacent
 * slots are.  That is where it is put when there is room; it is not moved later, and nothing
 * else leaves a node for it.
 */
#ifndef VGPU_EXEC_HOME_H
#define VGPU_EXEC_HOME_H

#include "resid.h"

/**
 * struct vgpu_home_wish - a node that memory is wanted on
 * @node: NUMA node
 * @weight: its part; not 0
 */
struct vgpu_home_wish {
	int32_t node;
	uint32_t weight;
};

/**
 * vgpu_homes_wanted() - the nodes with memory whose CPUs this process may use
 * @out: room for @max; weights are their CPUs
 *
 * Return: how many; 0 when there is but one, or nobody knows.
 */
uint32_t vgpu_homes_wanted(struct vgpu_home_wish *out, uint32_t max);

/**
 * vgpu_homes_deal() - which region is where
 * @r: @slots, @regions and @region_slots are set; @home, @homes and what regions have of them
 *	is filled in, but for arenas
 * @wish: @wishes of them; 0: one home wherever the device likes, as for a single region
 */
void vgpu_homes_deal(struct vgpu_resid *r, const struct vgpu_home_wish *wish, uint32_t wishes);
/* The region, whose slots are the next ones of its arena. */
void vgpu_home_give(struct vgpu_resid *r, uint32_t home, uint32_t region, uint32_t slots);

/* VB_LOC of a slot. */
uint32_t vgpu_home_loc(const struct vgpu_resid *r, uint32_t slot);
/* The slot that the device means. */
uint32_t vgpu_home_slot(const struct vgpu_resid *r, uint32_t arena, uint32_t at);
/* Of a slot: index in vgpu_resid.home. */
uint32_t vgpu_home_of(const struct vgpu_resid *r, uint32_t slot);
/* That of a NUMA node; VGPU_HOME_NONE: it has none. */
uint32_t vgpu_home_of_node(const struct vgpu_resid *r, int32_t node);
/* Where a chunk is to go, the next best if there is no room. */
uint32_t vgpu_home_choose(const struct vgpu_resid *r, uint32_t chunk);

/* vgpu_exec_describe(): "host.nodes". */
int vgpu_homes_describe(const struct vgpu_resid *r, char *text, size_t len);

#endif
