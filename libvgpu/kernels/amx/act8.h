/* SPDX-License-Identifier: MIT */
/*
 * Activations as the AMX level keeps them in mode A8, where there are enough of them.
 *
 * Rows are cut into tiles of 16; those that the last one lacks are zeros, and have their
 * memory (vgpu_acts_bytes()).  A tile is one struct vgpu_amx_block8 a block of 32 columns, so
 * that a product reads one ascending stream.  They begin at acts->data and take some of the
 * memory behind it; nothing else of acts is used.
 */
#ifndef VGPU_AMX_ACT8_H
#define VGPU_AMX_ACT8_H

#include "kernels/kernels.h"

/**
 * struct vgpu_amx_block8 - a block of 16 rows
 * @bytes: as TDPBSSD takes them, a row a line
 * @scale, @offset, @sum: of each row, the numbers of avx512/act.h
 */
struct vgpu_amx_block8 {
	int8_t bytes[16][32];
	float scale[16], offset[16], sum[16];
} __attribute__((aligned(64)));

/* Whether activations lie as said here, and not as avx512 has them. */
static inline bool vgpu_amx_acts8_are(const struct vgpu_acts *x)
{
	return x->mode == VGPU_MODE_A8 && x->m >= VGPU_AMX_A8_ROWS;
}

/* A block of the tile that row is in. */
static inline struct vgpu_amx_block8 *vgpu_amx_block8_at(const struct vgpu_acts *x, uint32_t row,
							 uint32_t block)
{
	return (struct vgpu_amx_block8 *)x->data + (size_t)row / 16 * (x->kpad / VGPU_BLOCK) + block;
}

/* acts_pack of the table, for activations that vgpu_amx_acts8_are(). */
void vgpu_acts_pack8_amx(struct vgpu_acts *acts, const float *x, size_t ldx, uint32_t first,
			 uint32_t end);

#endif
