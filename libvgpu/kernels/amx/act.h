/* SPDX-License-Identifier: MIT */
/*
 * Activations as the AMX level keeps them in mode A16.
 *
 * A value x is high + low: high = bf16(x), and low = bf16(x - high) where it matters, else 0.
 * BF16 moves a value by up to 2^-8 of it, by 2^-9 on the whole; of many values that average to
 * an NMSE of 3e-6 nothing more is wanted, but where few are most of a row, their error is the
 * product's.  So a group of 32 columns has low parts when the square of its largest value
 * is more than 1/64 of the row's sum of squares.  It depends on the row alone.
 *
 * Rows are cut into tiles of 16 (the last may hold fewer, mt).  A tile is, block by block of 32
 * columns, mt lines of high parts and mt lines of low parts, 64 bytes each, of every four
 * columns the order 0, 2, 1, 3 (as in avx512/act.h).  acts->scale begins, tile by tile
 * (16 * kpad / 32 words each), with a word a block: whether any of its rows has low parts.
 * A block without any is not looked at: low parts that are 0 change no sum.
 */
#ifndef VGPU_AMX_ACT_H
#define VGPU_AMX_ACT_H

#include "kernels/kernels.h"

#define VGPU_AMX_LOW_SHARE	64.0f

/**
 * struct vgpu_amx_acts - one tile of activations from some block on
 * @lines: high parts of the block; low parts follow, then the next block
 * @low: a word a block
 * @sum: f32, one a row, then the next block: sum of the row's values, low parts included
 * @rows: 1 .. 16
 */
struct vgpu_amx_acts {
	const uint8_t *lines;
	const uint32_t *low;
	const float *sum;
	uint32_t rows;
};

/* The tile that begins with row first, a multiple of 16, from a block on. */
static inline struct vgpu_amx_acts vgpu_amx_acts_at(const struct vgpu_acts *x, uint32_t first,
						    uint32_t block)
{
	uint32_t left = x->m - first, rows = left < 16 ? left : 16;
	size_t blocks = x->kpad / VGPU_BLOCK;

	return (struct vgpu_amx_acts){
		.lines = (const uint8_t *)x->data + (size_t)first * x->kpad * 4 +
			 (size_t)block * rows * 128,
		.low = (const uint32_t *)x->scale + first * blocks + block,
		.sum = x->sum + first * blocks + (size_t)block * rows,
		.rows = rows,
	};
}

/* Modes other than A16 are avx512's. */
void vgpu_acts_pack_amx(struct vgpu_acts *acts, const float *x, size_t ldx, uint32_t first,
			uint32_t end);

#endif
