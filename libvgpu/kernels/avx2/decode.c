// SPDX-License-Identifier: MIT
/*
 * Weights to f32, a block of 32 values at a time.
 *
 * Codes become bytes, bytes integers, integers f32, and those are multiplied by the
 * scale: exact, but where MXFP4's smallest scales make subnormal values and the
 * thread may flush them to zero.  Such blocks are left to the reference.
 */
#include <immintrin.h>
#include <string.h>
#include "kernels/avx2/decode.h"
#include "kernels/avx2/lanes.h"
#include "kernels/pack/blocks.h"
#include "kernels/pack/g16.h"
#include "kernels/pack/g16_type.h"
#include "kernels/pack/half.h"
#include "kernels/pack/mxfp4.h"
#include "kernels/ref/rows.h"

/* 32 signed bytes times a scale. */
static inline void store_scaled(float *dst, __m128i first16, __m128i last16, float scale)
{
	const __m128i part[4] = { first16, _mm_srli_si128(first16, 8), last16,
				  _mm_srli_si128(last16, 8) };

	for (int i = 0; i < 4; i++)
		_mm256_storeu_ps(dst + 8 * i, _mm256_mul_ps(
			_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(part[i])), _mm256_set1_ps(scale)));
}

/* 32 codes, a byte each. */
static inline void store_mxfp4(float *dst, __m128i first16, __m128i last16, uint32_t e)
{
	/* Twice the values, so that half the scale is wanted: 2^(e - 128). */
	const __m128i table = _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
	const __m256 minus_zero = _mm256_set1_ps(-0.0f);

	store_scaled(dst, _mm_shuffle_epi8(table, first16), _mm_shuffle_epi8(table, last16),
		     e == VGPU_MXFP4_NAN_SCALE ? vgpu_mxfp4_scale(e) :
		     vgpu_f32_from_bits((e - 1) << 23));
	/* An integer has no -0; code 8 does. */
	for (int i = 0; i < 4; i++) {
		__m128i half = i < 2 ? first16 : last16;
		__m256i code = _mm256_cvtepu8_epi32(i % 2 ? _mm_srli_si128(half, 8) : half);
		__m256 sign = _mm256_castsi256_ps(_mm256_slli_epi32(code, 28));
		__m256 value = _mm256_loadu_ps(dst + 8 * i);

		_mm256_storeu_ps(dst + 8 * i, _mm256_or_ps(value, _mm256_and_ps(sign, minus_zero)));
	}
}

static void mxfp4_block(float *dst, const uint8_t *block)
{
	const __m128i nibble = _mm_set1_epi8(15);
	__m128i x = _mm_loadu_si128((const __m128i *)(block + 1));

	store_mxfp4(dst, _mm_and_si128(x, nibble), _mm_and_si128(_mm_srli_epi16(x, 4), nibble),
		    block[0]);
}

static void mxfp4_split_block(float *dst, const uint8_t *codes, uint32_t e)
{
	const __m128i nibble = _mm_set1_epi8(15);
	__m128i x = _mm_loadu_si128((const __m128i *)codes);
	__m128i even = _mm_and_si128(x, nibble);
	__m128i odd = _mm_and_si128(_mm_srli_epi16(x, 4), nibble);

	store_mxfp4(dst, _mm_unpacklo_epi8(even, odd), _mm_unpackhi_epi8(even, odd), e);
}

static void mxfp4_g16_block(float *dst, const uint8_t *lane, uint32_t e)
{
	const __m128i nibble = _mm_set1_epi8(15);
	__m128i x = vgpu_lanes_gather(lane);
	__m128i low = _mm_and_si128(x, nibble);
	__m128i high = _mm_and_si128(_mm_srli_epi16(x, 4), nibble);

	store_mxfp4(dst, _mm_unpacklo_epi32(low, high), _mm_unpackhi_epi32(low, high), e);
}

static void q8_0_block(float *dst, const uint8_t *block)
{
	uint16_t d;

	memcpy(&d, block, sizeof(d));
	store_scaled(dst, _mm_loadu_si128((const __m128i *)(block + 2)),
		     _mm_loadu_si128((const __m128i *)(block + 18)), vgpu_f16_to_f32(d));
}

static void int8_g16_block(float *dst, const uint8_t *lane, const uint8_t *scale)
{
	const __m128i zero = _mm_set1_epi8((char)VGPU_INT8_ZERO);
	uint16_t d;

	memcpy(&d, scale, sizeof(d));
	store_scaled(dst, _mm_xor_si128(vgpu_lanes_gather(lane), zero),
		     _mm_xor_si128(vgpu_lanes_gather(lane + 256), zero), vgpu_f16_to_f32(d));
}

/* One block of one row of a format with blocks; data is its unit. */
static void decode_block(const struct vgpu_panel *w, const uint8_t *data, uint32_t row, uint32_t b,
			 float *dst)
{
	uint32_t lane = 4 * (row % VGPU_GROUP_ROWS);

	switch (w->format) {
	case VGPU_W_MXFP4:
		mxfp4_block(dst, data + (size_t)b * 17);
		break;
	case VGPU_W_MXFP4_SPLIT:
		mxfp4_split_block(dst, data + (size_t)b * 16,
				  w->scales[(size_t)row * (w->k / VGPU_BLOCK) + b]);
		break;
	case VGPU_W_MXFP4_G16:
		mxfp4_g16_block(dst, data + vgpu_mxfp4_g16_codes(b) + lane,
				data[vgpu_mxfp4_g16_scale(b) + lane]);
		break;
	case VGPU_W_Q8_0:
		q8_0_block(dst, data + (size_t)b * 34);
		break;
	default:
		int8_g16_block(dst, data + vgpu_int8_g16_codes(b) + lane,
			       data + vgpu_int8_g16_scale(b) + lane / 2);
		break;
	}
}

/* Whether a row has a scale whose products may be subnormal. */
static bool row_is_small(const struct vgpu_panel *w, const uint8_t *data, uint32_t row)
{
	uint32_t blocks = vgpu_k_blocks(w->k), smallest = 255;

	for (uint32_t b = 0; b < blocks; b++) {
		uint32_t e = 255;

		if (w->format == VGPU_W_MXFP4)
			e = data[(size_t)b * 17];
		else if (w->format == VGPU_W_MXFP4_SPLIT)
			e = w->scales[(size_t)row * blocks + b];
		else if (w->format == VGPU_W_MXFP4_G16)
			e = data[vgpu_mxfp4_g16_scale(b) + 4 * (row % VGPU_GROUP_ROWS)];
		smallest = e < smallest ? e : smallest;
	}
	return smallest < 2;
}

static void decode_row(const struct vgpu_panel *w, const uint8_t *data, uint32_t row, float *dst)
{
	uint32_t whole = w->k / VGPU_BLOCK, left = w->k % VGPU_BLOCK;
	float tail[VGPU_BLOCK];

	for (uint32_t b = 0; b < whole; b++)
		decode_block(w, data, row, b, dst + (size_t)b * VGPU_BLOCK);
	if (left) {
		decode_block(w, data, row, whole, tail);
		memcpy(dst + (size_t)whole * VGPU_BLOCK, tail, left * sizeof(*dst));
	}
}

/* F16 and BF16, 8 at a time, then what is left. */
static void widen_row(const uint8_t *src, enum vgpu_wformat format, float *dst, uint32_t k)
{
	uint32_t c = 0;

	for (; format != VGPU_W_F32 && k - c >= 8; c += 8) {
		__m128i half = _mm_loadu_si128((const __m128i *)(src + 2 * (size_t)c));
		__m256i wide = _mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16);

		_mm256_storeu_ps(dst + c, format == VGPU_W_F16 ? _mm256_cvtph_ps(half) :
								 _mm256_castsi256_ps(wide));
	}
	vgpu_row_load_ref(dst + c, src + (format == VGPU_W_F32 ? 4 : 2) * (size_t)c, format, k - c);
}

/* Other blocks of GGUF are decoded by the reference: most of them once a chunk. */
static bool is_left_to_ref(enum vgpu_wformat format)
{
	return format != VGPU_W_Q8_0 && vgpu_block_type(format);
}

void vgpu_weight_decode_avx2(const struct vgpu_panel *w, float *dst, size_t ldd)
{
	uint32_t unit_rows = vgpu_weight_unit_rows(w->format);
	size_t unit = vgpu_weight_unit_bytes(w->format, w->k);
	const struct vgpu_g16_type *type = vgpu_g16_type(w->format);

	for (uint32_t row = 0; row < w->rows && unit_rows; row++) {
		const uint8_t *data = (const uint8_t *)w->data + row / unit_rows * unit;

		if (w->format == VGPU_W_F32 || w->format == VGPU_W_F16 || w->format == VGPU_W_BF16)
			widen_row(data, w->format, dst + row * ldd, w->k);
		else if (type)
			vgpu_g16_row_avx2(type, data, row % VGPU_GROUP_ROWS, dst + row * ldd, w->k);
		else if (is_left_to_ref(w->format) || row_is_small(w, data, row))
			vgpu_row_decode_ref(w, row, dst + row * ldd);
		else
			decode_row(w, data, row, dst + row * ldd);
	}
}
