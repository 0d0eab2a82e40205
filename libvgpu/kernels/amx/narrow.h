/* SPDX-License-Identifier: MIT */
/*
 * Products by up to 16 rows of activations: a line of weights is used once.
 */
#ifndef VGPU_AMX_NARROW_H
#define VGPU_AMX_NARROW_H

#include "kernels/amx/tile.h"

#define VGPU_NARROW_GROUPS	4u
/*
 * Blocks whose lines there are at a time, and whose scales: up to eight are made ahead, and
 * those of two tiles of results are still wanted.
 */
#define VGPU_NARROW_LINES	2u
#define VGPU_NARROW_SCALES	16u
/* Blocks whose results may share a tile, and rows on either side of what is shifted in one. */
#define VGPU_NARROW_SLOTS	4u
#define VGPU_NARROW_MARGIN	12u
#define VGPU_NARROW_ACTS	(VGPU_TILE_ROWS + 2 * VGPU_NARROW_MARGIN)

/**
 * struct vgpu_narrow - a few groups of weights, and what is made of them; in a thread's scratch
 * @lines, @scale: of some blocks, in turns
 * @part: what left the tiles, in turns
 * @acts: high and low parts of a block, in turns, between rows of zeros
 * @sum: the product
 * @group: all of one format
 * @groups: 1 .. VGPU_NARROW_GROUPS
 */
struct vgpu_narrow {
	uint8_t lines[VGPU_NARROW_LINES][VGPU_NARROW_GROUPS][VGPU_TILE_BYTES]
		__attribute__((aligned(64)));
	float scale[VGPU_NARROW_SCALES][VGPU_NARROW_GROUPS][32] __attribute__((aligned(64)));
	vgpu_amx_tile part[2][VGPU_NARROW_GROUPS];
	uint8_t acts[2][2][VGPU_NARROW_ACTS][64] __attribute__((aligned(64)));
	vgpu_amx_tile sum[VGPU_NARROW_GROUPS];
	const struct vgpu_group *group;
	uint32_t groups;
};

/**
 * vgpu_narrow_product() - all rows of x by all groups, to n->sum
 * @n: group and groups are set
 * @x: mode A16, at most vgpu_narrow_rows() rows
 *
 * Bitwise the result of the products in tile.h.
 *
 * Context: any thread.
 */
typedef void vgpu_narrow_product(struct vgpu_narrow *n, const struct vgpu_acts *x);

/* Rows that a product of this format may have: halves of a block are a row each of a tile. */
static inline uint32_t vgpu_narrow_rows(enum vgpu_wformat format)
{
	return VGPU_TILE_ROWS / (vgpu_g16_kind(format) == VGPU_KIND_HALVES ? 2 : 1);
}

/* For this format.  Of one that can be plain, for groups that are. */
vgpu_narrow_product *vgpu_narrow_of(enum vgpu_wformat format);

/* One for each format or a few alike; see narrow_product.h. */
vgpu_narrow_product vgpu_narrow_mxfp4, vgpu_narrow_bf16, vgpu_narrow_int8, vgpu_narrow_q4_0,
	vgpu_narrow_q4_1, vgpu_narrow_q5_0, vgpu_narrow_q5_1, vgpu_narrow_q4_k, vgpu_narrow_q5_k,
	vgpu_narrow_q6_k, vgpu_narrow_nvfp4, vgpu_narrow_int4_64, vgpu_narrow_int4_128,
	vgpu_narrow_int4_z32, vgpu_narrow_int4_z64, vgpu_narrow_int4_z128;

#endif
