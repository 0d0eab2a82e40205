/* SPDX-License-Identifier: MIT */
/*
 * Keys and values that are not f32, to f32: rows of one key/value head, exactly as
 * ref/attention.c takes them; and blocks of Q8_0 from f32, the bytes of ref/kv.c.
 * Include the level's vec.h first.
 */
#ifndef VGPU_KERNELS_SIMD_KV_H
#define VGPU_KERNELS_SIMD_KV_H

#include <math.h>
#include <string.h>

#include "kernels/attention.h"
#include "kernels/pack/half.h"
#include "kernels/pack/int8.h"

VEC_INLINE vf kv_half(enum vgpu_wformat format, const void *p)
{
	return format == VGPU_W_F16 ? vf_load_f16(p) : vf_load_bf16(p);
}

VEC_INLINE void kv_halves(float *dst, const uint8_t *src, enum vgpu_wformat format, uint32_t n)
{
	uint16_t tail[VL] = { 0 };
	uint32_t c = 0;

	for (; c + VL <= n; c += VL)
		vf_store(dst + c, kv_half(format, src + 2 * (size_t)c));
	if (c < n) {
		memcpy(tail, src + 2 * (size_t)c, 2 * (size_t)(n - c));
		vf_store_n(dst + c, kv_half(format, tail), n - c);
	}
}

/* n is a multiple of 32. */
VEC_INLINE void kv_q8_0(float *dst, const uint8_t *src, uint32_t n)
{
	for (uint32_t c = 0; c < n; c += 32, src += VGPU_KV_Q8_0_BYTES) {
		uint16_t d;
		vf scale;

		memcpy(&d, src, sizeof(d));
		scale = vf_set(vgpu_f16_to_f32(d));
		for (uint32_t i = 0; i < 32; i += VL)
			vf_store(dst + c + i, vf_mul(scale, vf_load_s8(src + 2 + i)));
	}
}

/*
 * The quotient is rounded twice, to an f32 and to an integer.  It comes to the same: an x beside
 * the middle of two codes is at least 2^-24 of it away, and more than half an ulp of a quotient.
 */
VEC_INLINE void q8_0_codes(int8_t *dst, const vf *x, float scale)
{
	vf most = vf_set(127), least = vf_set(-127);

	for (uint32_t i = 0; i < 32 / VL; i++) {
		vf q = vf_round(vf_div(x[i], vf_set(scale)));

		vf_store_s8(dst + i * VL, vf_max(least, vf_min(most, q)));
	}
}

VEC_INLINE void q8_0_block(uint8_t *dst, const float *src)
{
	vf x[32 / VL], max = vf_zero(), limit = vf_set(vgpu_f32_from_bits(VGPU_INT8_LIMIT));
	uint32_t wrong = 0;
	uint16_t d;

	for (uint32_t i = 0; i < 32 / VL; i++) {
		x[i] = vf_load(src + i * VL);
		wrong |= vmask_bits(vf_not_lt(vf_abs(x[i]), limit));
		max = vf_max(max, vf_abs(x[i]));
	}
	d = wrong ? VGPU_F16_NAN : vgpu_int8_scale(vgpu_f32_bits(vf_hmax(max)));
	memcpy(dst, &d, sizeof(d));
	if (d == 0 || d == VGPU_F16_NAN)
		memset(dst + sizeof(d), 0, 32);
	else
		q8_0_codes((int8_t *)dst + sizeof(d), x, vgpu_f16_to_f32(d));
}

static void q8_0_encode(void *dst, const float *src, size_t n)
{
	uint8_t *block = dst;

	for (size_t i = 0; i < n; i += 32, block += VGPU_KV_Q8_0_BYTES)
		q8_0_block(block, src + i);
}

/* dst[c] = column c of n; what is behind stays. */
VEC_INLINE void kv_row(float *dst, const void *src, enum vgpu_wformat format, uint32_t n)
{
	if (format == VGPU_W_F16)
		kv_halves(dst, src, VGPU_W_F16, n);
	else if (format == VGPU_W_BF16)
		kv_halves(dst, src, VGPU_W_BF16, n);
	else if (format == VGPU_W_Q8_0)
		kv_q8_0(dst, src, n);
	else
		for (uint32_t c = 0; c < n; c++)
			dst[c] = NAN;
}

#endif
