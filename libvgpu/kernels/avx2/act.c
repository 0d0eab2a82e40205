// SPDX-License-Identifier: MIT
/*
 * Rounds activations to a mode and lays them out as act.h says.
 */
#include <immintrin.h>
#include <string.h>
#include "kernels/avx2/act.h"
#include "kernels/pack/act16.h"
#include "kernels/pack/act8.h"

static void row_f32(float *dst, const float *x, uint32_t k, uint32_t kpad, uint32_t mt)
{
	for (uint32_t c = 0; c < kpad; c++)
		dst[(size_t)c * mt] = c < k ? x[c] : 0.0f;
}

/* The 32 columns of a row of k from c on: in the row, or in tail with zeros behind them. */
static const float *group_at(float tail[VGPU_BLOCK], const float *x, uint32_t c, uint32_t k)
{
	if (k - c >= VGPU_BLOCK)
		return x + c;
	memset(tail, 0, VGPU_BLOCK * sizeof(*tail));
	return memcpy(tail, x + c, (k - c) * sizeof(*x));
}

/* Bits of the largest magnitude of a group. */
static uint32_t group_max(const float *x)
{
	const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
	__m256i max = _mm256_setzero_si256();
	uint32_t lane[8], top = 0;

	for (int i = 0; i < 4; i++)
		max = _mm256_max_epu32(max, _mm256_and_si256(magnitude,
			_mm256_loadu_si256((const __m256i *)(x + 8 * i))));
	_mm256_storeu_si256((__m256i *)lane, max);
	for (int i = 0; i < 8; i++)
		top = lane[i] > top ? lane[i] : top;
	return top;
}

static void row_a16(float *dst, const float *x, uint32_t k, uint32_t kpad, uint32_t mt)
{
	for (uint32_t c = 0; c < kpad; c += VGPU_BLOCK) {
		float tail[VGPU_BLOCK], value[VGPU_BLOCK];
		const float *src = group_at(tail, x, c, k);
		struct vgpu_a16_scale s = vgpu_a16_scale(group_max(src));

		for (uint32_t j = 0; j < VGPU_BLOCK; j++)
			value[j] = vgpu_bf16_to_f32(vgpu_f32_to_bf16(src[j] * s.inverse)) * s.scale;
		for (uint32_t j = 0; j < VGPU_BLOCK; j++)
			dst[(size_t)(c + j) * mt] = value[j];
	}
}

/* Rounded to nearest even, 8 values; NaN and infinity times 0 become INT32_MIN. */
static inline __m256i round8(const float *x, __m256 inverse)
{
	return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inverse));
}

/* 32 signed bytes added up. */
static inline int32_t byte_sum(__m256i x)
{
	__m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), x);
	__m256i v = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
	__m128i w = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));

	w = _mm_add_epi32(w, _mm_shuffle_epi32(w, 0x4e));
	return _mm_cvtsi128_si32(_mm_add_epi32(w, _mm_shuffle_epi32(w, 0xb1)));
}

/* 32 columns of a group, word j of their bytes to dst[j * mt]; their sum. */
static float block_a8(uint8_t *dst, struct vgpu_a8_scale s, const float *x, uint32_t mt)
{
	const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
	__m256 inverse = _mm256_set1_ps(s.inverse);
	__m256i low, high;
	uint32_t lane[8];

	low = _mm256_packs_epi32(round8(x, inverse), round8(x + 8, inverse));
	high = _mm256_packs_epi32(round8(x + 16, inverse), round8(x + 24, inverse));
	/* A group that has a NaN is all NaN by its scale; its bytes must only be bytes. */
	low = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
	low = _mm256_max_epi8(low, _mm256_set1_epi8(-127));
	_mm256_storeu_si256((__m256i *)lane, low);
	for (uint32_t j = 0; j < 8; j++)
		memcpy(dst + (size_t)j * mt * 4, &lane[j], 4);
	return s.scale * (float)byte_sum(low);
}

/* Of columns c to end - 1. */
static struct vgpu_a8_scale scale_a8(const struct vgpu_acts *acts, const float *x, uint32_t c,
				     uint32_t end)
{
	float tail[VGPU_BLOCK];
	uint32_t max = 0;

	for (; c < end; c += VGPU_BLOCK) {
		uint32_t one = group_max(group_at(tail, x, c, acts->k));

		max = one > max ? one : max;
	}
	return vgpu_a8_scale(max);
}

static void row_a8(const struct vgpu_acts *acts, size_t row, uint32_t i, uint32_t mt,
		   const float *x)
{
	const uint32_t group = vgpu_a8_group(acts->mode);
	struct vgpu_a8_scale s = { 0 };

	for (uint32_t c = 0; c < acts->kpad; c += VGPU_BLOCK) {
		uint32_t left = acts->kpad - c;
		size_t at = row + (size_t)c * mt;
		float tail[VGPU_BLOCK];

		if (c % group == 0)
			s = scale_a8(acts, x, c, c + (left < group ? left : group));
		acts->scale[at / VGPU_BLOCK + i] = s.scale;
		acts->sum[at / VGPU_BLOCK + i] = block_a8((uint8_t *)acts->data + at + 4 * i, s,
							  group_at(tail, x, c, acts->k), mt);
	}
}

void vgpu_acts_pack_avx2(struct vgpu_acts *acts, const float *x, size_t ldx, uint32_t first,
			 uint32_t end)
{
	for (uint32_t row = first; row < end; row++) {
		uint32_t i = row % VGPU_MT_AVX2, left = acts->m - (row - i);
		uint32_t mt = left < VGPU_MT_AVX2 ? left : VGPU_MT_AVX2;
		size_t at = (size_t)(row - i) * acts->kpad;
		const float *src = x + row * ldx;

		switch (acts->mode) {
		case VGPU_MODE_F32:
			row_f32((float *)acts->data + at + i, src, acts->k, acts->kpad, mt);
			break;
		case VGPU_MODE_A16:
			row_a16((float *)acts->data + at + i, src, acts->k, acts->kpad, mt);
			break;
		case VGPU_MODE_A8:
		case VGPU_MODE_A8_256:
			row_a8(acts, at, i, mt, src);
			break;
		}
	}
}
