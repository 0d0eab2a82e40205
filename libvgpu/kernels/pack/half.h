/* SPDX-License-Identifier: MIT */
/*
 * Conversions between f32 and its halves, in integers, so that neither the
 * compiler's flags nor the thread's MXCSR (flush to zero) can change a result.
 */
#ifndef VGPU_PACK_HALF_H
#define VGPU_PACK_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t vgpu_f32_bits(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, sizeof(bits));
	return bits;
}

static inline float vgpu_f32_from_bits(uint32_t bits)
{
	float x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

/* BF16 is the upper half of an f32. */
static inline float vgpu_bf16_to_f32(uint16_t h)
{
	return vgpu_f32_from_bits((uint32_t)h << 16);
}

/* Rounds to nearest, ties to even; a NaN stays a (quiet) NaN. */
static inline uint16_t vgpu_f32_to_bf16(float x)
{
	uint32_t bits = vgpu_f32_bits(x);

	if ((bits & 0x7fffffffu) > 0x7f800000u)
		return (uint16_t)(bits >> 16 | 0x40);
	return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* IEEE binary16, exact: every f16, subnormal or not, is an f32. */
static inline float vgpu_f16_to_f32(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16;
	uint32_t exponent = h >> 10 & 31, mantissa = h & 1023;
	uint32_t shift;

	if (exponent == 31)
		return vgpu_f32_from_bits(sign | 0x7f800000u | mantissa << 13);
	if (exponent)
		return vgpu_f32_from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
	if (!mantissa)
		return vgpu_f32_from_bits(sign);
	/* Bring the leading bit to bit 10, where a normal f16 hides it. */
	shift = (uint32_t)__builtin_clz(mantissa) - 21;
	return vgpu_f32_from_bits(sign | (113 - shift) << 23 |
				  (mantissa << shift & 1023) << 13);
}

/* Rounds to nearest, ties to even; too large becomes infinite. */
static inline uint16_t vgpu_f32_to_f16(float x)
{
	uint32_t bits = vgpu_f32_bits(x), magnitude = bits & 0x7fffffffu;
	uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
	uint32_t significand, drop, half;

	if (magnitude > 0x7f800000u)
		return sign | 0x7e00;
	if (magnitude >= 0x477ff000u)	/* 65520: halfway to the first beyond */
		return sign | 0x7c00;
	if (magnitude < 0x33000000u)	/* below 2^-25: nearer to zero */
		return sign;
	if (magnitude >= 0x38800000u) {	/* 2^-14: a normal f16 */
		magnitude -= 112u << 23;
		return sign | (uint16_t)((magnitude + 0xfff + (magnitude >> 13 & 1)) >> 13);
	}
	/* Subnormal: a multiple of 2^-24. */
	significand = (magnitude & 0x7fffff) | 0x800000;
	drop = 126 - (magnitude >> 23);
	half = 1u << (drop - 1);
	return sign | (uint16_t)((significand + half - 1 + (significand >> drop & 1)) >> drop);
}

#endif
