/* SPDX-License-Identifier: GPL-2.0 */
/* Moves of chunks between tiers. */
#ifndef VB_MOVE_H
#define VB_MOVE_H

#include "core/deps.h"

struct vb_bo;
struct vb_exec;
struct vb_fill;
struct vb_table_entry;
struct vb_ucmd;

/**
 * struct vb_running - a move that runs
 * @link: in the object's @moves
 * @fill: whose it is when the device reads the chunk itself; NULL: the executor's
 * @chunk: that moves
 * @loc: slot that it fills, which the entry does not name yet
 */
struct vb_running {
	struct hlist_node link;
	const struct vb_fill *fill;
	u32 chunk, loc;
};

/**
 * struct vb_fill_move - a chunk that the device itself brings into host memory
 * @node: NUMA node that it is wanted on, if there is room, or NUMA_NO_NODE
 * @from: VB_TIER_SOURCE or VB_TIER_NVME
 * @at: its slot there, for VB_TIER_NVME
 * @loc: slot that it goes to
 * @has_crc: there is a checksum to compare @crc with
 * @crc: of what came
 */
struct vb_fill_move {
	int node;
	u8 from;
	bool has_crc;
	u32 at, loc, crc;
};

void vb_move_rollback(struct vb_bo *bo, u32 chunk, struct vb_table_entry *e);
int vb_move_wait(struct vb_bo *bo, u32 chunk, u64 deadline_ns, bool killable);
int vb_move_fill_look(struct vb_bo *bo, u32 chunk, struct vb_fill_move *m);
int vb_move_fill_begin(struct vb_bo *bo, u32 chunk, const struct vb_fill *by,
		       struct vb_fill_move *m);
int vb_move_fill_end(struct vb_bo *bo, u32 chunk, const struct vb_fill *by,
		     const struct vb_fill_move *m, int status);
bool vb_move_is_fill(struct vb_bo *bo, u32 chunk);
int vb_move(struct vb_exec *x, struct vb_ucmd *u);

#endif
