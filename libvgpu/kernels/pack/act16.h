/* SPDX-License-Identifier: MIT */
/*
 * Rounding of activations to BF16 (mode A16), one definition for every level, so that
 * all of them multiply the same values.
 *
 * BF16 moves a value by up to 2^-8 of it.  Where one value is most of a row, that is
 * the error of the whole product, so the largest of every group of 32 is kept: with M
 * of largest magnitude the group has scale s = M / bf16(M), within 2^-8 of 1, and
 * q = bf16(x * (1 / s)).  s q is M again, to f32, and of the others what BF16 makes of
 * them.  Where M is a BF16 number s is 1, so that rows of BF16 numbers stay as they are.
 */
#ifndef VGPU_PACK_ACT16_H
#define VGPU_PACK_ACT16_H

#include <stdint.h>
#include "kernels/pack/half.h"

/**
 * struct vgpu_a16_scale - how a group is rounded
 * @scale: s; 1 when M is below 2^-126, beyond BF16 or NaN
 * @inverse: 1 / s
 */
struct vgpu_a16_scale {
	float scale, inverse;
};

/* From the bits of the largest magnitude of the group. */
static inline struct vgpu_a16_scale vgpu_a16_scale(uint32_t max_bits)
{
	struct vgpu_a16_scale s = { 1.0f, 1.0f };
	float max = vgpu_f32_from_bits(max_bits), rounded;
	uint32_t rounded_bits;

	rounded = vgpu_bf16_to_f32(vgpu_f32_to_bf16(max));
	rounded_bits = vgpu_f32_bits(rounded);
	if (max_bits < 0x00800000u || rounded_bits >= 0x7f800000u)
		return s;
	s.scale = max / rounded;
	s.inverse = 1.0f / s.scale;
	return s;
}

#endif
