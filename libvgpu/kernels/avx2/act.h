/* SPDX-License-Identifier: MIT */
/*
 * The order in which the AVX2 level keeps packed activations: tiles of VGPU_MT_AVX2
 * rows (the last may hold fewer, mt), and inside a tile
 *
 *	F32	f32 [k][mt]
 *	A16	f32 [k][mt], the values of bf16 times their scale
 *	A8	s8  [k / 4][mt][4]; scale, sum [k / 32][mt]
 */
#ifndef VGPU_AVX2_ACT_H
#define VGPU_AVX2_ACT_H

#include "kernels/kernels.h"

/* Rows of activations that a product keeps in registers. */
#define VGPU_MT_AVX2	4u

void vgpu_acts_pack_avx2(struct vgpu_acts *acts, const float *x, size_t ldx,
			 uint32_t first, uint32_t end);

#endif
