/* SPDX-License-Identifier: MIT */
/*
 * MXFP4 in integers.  An element is E2M1: sign, 2 bits of exponent, 1 of mantissa;
 * 32 of them share an E8M0 scale 2^(e - 127), e = 255 is NaN.
 * Source: OCP Microscaling Formats (MX) Specification v1.0, sections 5.3.3, 5.4.1
 * and 6.3.
 *
 * Nothing here is floating-point arithmetic: scales down to 2^-127 make products
 * that are subnormal f32, and those must come out right with flush to zero on.
 */
#ifndef VGPU_PACK_MXFP4_H
#define VGPU_PACK_MXFP4_H

#include <stdbool.h>
#include <stdint.h>
#include "kernels/pack/half.h"

#define VGPU_MXFP4_NAN_SCALE	255u

/* Magnitudes of codes 0..7; bit 3 of a code is the sign. */
#define VGPU_MXFP4_VALUES	{ 0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f }

/*
 * significand * 2^exponent as f32 bits, exact; significand is 24 bits with its
 * leading bit set, and exponent is that of the leading bit, biased by 127.
 * Beyond f32 it is infinite; below 2^-126 the caller knows that no bit is lost.
 */
static inline uint32_t vgpu_f32_compose(uint32_t significand, int biased)
{
	if (biased >= 255)
		return 0x7f800000u;
	if (biased > 0)
		return (uint32_t)biased << 23 | (significand & 0x7fffff);
	return significand >> (1 - biased);
}

/* The f32 nearest to code * 2^(e - 127): exact but for overflow, which is infinite. */
static inline float vgpu_mxfp4_decode(uint32_t code, uint32_t e)
{
	static const int8_t exponent[8] = { 0, -1, 0, 0, 1, 1, 2, 2 };
	uint32_t sign = (code & 8) << 28, magnitude = code & 7;
	/* Odd codes above 1 are 1.5 * 2^exponent. */
	uint32_t significand = magnitude > 1 && (code & 1) ? 0xc00000 : 0x800000;

	if (e == VGPU_MXFP4_NAN_SCALE)
		return vgpu_f32_from_bits(0x7fc00000u);
	if (!magnitude)
		return vgpu_f32_from_bits(sign);
	return vgpu_f32_from_bits(sign | vgpu_f32_compose(significand,
							  (int)e + exponent[magnitude]));
}

/* The scale itself, 2^(e - 127); NaN for 255. */
static inline float vgpu_mxfp4_scale(uint32_t e)
{
	return vgpu_mxfp4_decode(2, e);
}

/*
 * The block's scale byte from the bits of max|x|, which is finite:
 * floor(log2(max)) - emax with emax = 2, clamped.  A block of zeros gets 0.
 */
static inline uint32_t vgpu_mxfp4_exponent(uint32_t max_bits)
{
	uint32_t biased = max_bits >> 23;

	return biased > 2 ? biased - 2 : 0;
}

/*
 * Limits between neighbouring codes: |x| has code c when exactly c of the limits
 * are smaller than the bits of |x|.  The midpoints are 0.25, 0.75, 1.25, 1.75, 2.5,
 * 3.5 and 5 times the scale; a tie goes to the even code, so that every second
 * limit lies one below its midpoint.  All of them are exact f32, for every e.
 */
static inline void vgpu_mxfp4_limits(uint32_t e, uint32_t limit[7])
{
	static const struct { uint32_t significand; int8_t exponent; } mid[7] = {
		{ 0x800000, -2 }, { 0xc00000, -1 }, { 0xa00000, 0 }, { 0xe00000, 0 },
		{ 0xa00000, 1 }, { 0xe00000, 1 }, { 0xa00000, 2 },
	};
	/* The same for e = 0 as if exponents below 1 were normal, odd ones less one. */
	static const uint32_t normal[7] = {
		0xff000000u, 0xffbfffffu, 0x00200000u, 0x005fffffu,
		0x00a00000u, 0x00dfffffu, 0x01200000u,
	};
	bool is_normal = e >= 3 && e <= 252;

	for (uint32_t i = 0; i < 7 && is_normal; i++)
		limit[i] = (e << 23) + normal[i];
	for (uint32_t i = 0; i < 7 && !is_normal; i++)
		limit[i] = vgpu_f32_compose(mid[i].significand, (int)e + mid[i].exponent) -
			   (i & 1);
}

#endif
