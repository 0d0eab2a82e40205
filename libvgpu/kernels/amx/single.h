/* SPDX-License-Identifier: MIT */
/*
 * Products by one row of activations, mode A16, without tiles: a token of a decoder.
 */
#ifndef VGPU_AMX_SINGLE_H
#define VGPU_AMX_SINGLE_H

#include <immintrin.h>

#include "kernels/avx512/slab.h"

/* Blocks of a row that have room in a thread's scratch. */
#define VGPU_SINGLE_BLOCKS	1024u

/**
 * struct vgpu_single_acts - a block of activations as f32
 * @high, @low: first columns of 16 pairs, then the second ones; low parts where there are some
 */
struct vgpu_single_acts {
	float high[32], low[32];
};

/**
 * struct vgpu_single - a row of activations
 * @acts: block by block
 * @is_low: a word a block: there are low parts
 * @sum: of a block's activations
 */
struct vgpu_single {
	const struct vgpu_single_acts *acts;
	const uint32_t *is_low;
	const float *sum;
	uint32_t blocks;
};

/**
 * vgpu_single_product() - the row by a group of 16 rows of weights
 *
 * Bitwise the result of the products in tile.h.
 */
typedef __m512 vgpu_single_product(const struct vgpu_single *s, const struct vgpu_group *g);

/* For this format; NULL: tiles are for it. */
vgpu_single_product *vgpu_single_of(enum vgpu_wformat format);

/**
 * vgpu_single_open() - take a row of activations apart
 * @s: filled
 * @acts: room for VGPU_SINGLE_BLOCKS
 * @x: mode A16, one row
 *
 * Return: false where a tile would do something else: with numbers so small that it counts
 * some for zero, or infinite ones; or where there is no room.
 */
bool vgpu_single_open(struct vgpu_single *s, struct vgpu_single_acts *acts,
		      const struct vgpu_acts *x);

/* One for each format but those that can be plain; see single_product.h. */
vgpu_single_product vgpu_single_int8, vgpu_single_q4_0, vgpu_single_q4_1, vgpu_single_q5_0,
	vgpu_single_q5_1, vgpu_single_q4_k, vgpu_single_q5_k, vgpu_single_q6_k, vgpu_single_nvfp4,
	vgpu_single_int4_64, vgpu_single_int4_128, vgpu_single_int4_z32, vgpu_single_int4_z64,
	vgpu_single_int4_z128;

#endif
