/* SPDX-License-Identifier: MIT */
/*
 * Rounding of activations to int8 (mode A8), one definition for every level, so
 * that all of them multiply the same integers.
 *
 * A group of 32 has scale s = max|x| / 127, rounded up to a significand of 16
 * bits, and q = x * (1 / s), rounded to nearest even.  16 bits leave room for
 * the exact product 1.5 * 2^23 * s that the vector levels fold their conversion
 * from integer to f32 into; rounded up, |q| never exceeds 127.
 */
#ifndef VGPU_PACK_ACT8_H
#define VGPU_PACK_ACT8_H

#include <stdint.h>
#include "kernels/pack/half.h"

/* Groups whose largest magnitude is below this become zero: 1 / s must be finite. */
#define VGPU_A8_TINY	0x1p-119f

/**
 * struct vgpu_a8_scale - how a group is rounded
 * @scale: s; 0 for a group that becomes zero, NaN when it holds a NaN or infinity
 * @inverse: 1 / s; 0 where @scale is 0 or NaN
 */
struct vgpu_a8_scale {
	float scale, inverse;
};

static inline struct vgpu_a8_scale vgpu_a8_scale(uint32_t max_bits)
{
	struct vgpu_a8_scale s = { 0.0f, 0.0f };
	float max = vgpu_f32_from_bits(max_bits);

	if (max_bits >= 0x7f800000u) {
		s.scale = vgpu_f32_from_bits(0x7fc00000u);
		return s;
	}
	if (max < VGPU_A8_TINY)
		return s;
	s.scale = vgpu_f32_from_bits((vgpu_f32_bits(max / 127.0f) + 0xff) & ~0xffu);
	s.inverse = 1.0f / s.scale;
	return s;
}

#endif
