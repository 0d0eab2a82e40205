// SPDX-License-Identifier: MIT
/*
 * Encoding to the packed layouts, 32 values at a time; the bytes are the reference's.
 *
 * MXFP4 compares the bits of |x| with the seven limits between codes: integers all
 * the way, so that subnormals need no care.  INT8 divides in double, where a quotient
 * that only almost ties cannot be rounded to the tie.  All rows of a block come before
 * the next block, so that the lines they share are written while in L1.
 */
#include <errno.h>
#include <immintrin.h>
#include <string.h>
#include "kernels/avx2/decode.h"
#include "kernels/avx2/int4_layer.h"
#include "kernels/avx2/lanes.h"
#include "kernels/avx2/pack.h"
#include "kernels/avx2/regroup.h"
#include "kernels/pack/g16.h"
#include "kernels/pack/int8.h"
#include "kernels/pack/mxfp4.h"
#include "kernels/pack/source.h"
#include "kernels/ref/rows.h"

/* Bits of 32 values of f32. */
struct block {
	__m256i v[4];
};

static inline __m256i load8(const uint8_t *p, enum vgpu_wformat format)
{
	__m128i half;

	if (format == VGPU_W_F32)
		return _mm256_loadu_si256((const __m256i *)p);
	half = _mm_loadu_si128((const __m128i *)p);
	if (format == VGPU_W_F16)
		return _mm256_castps_si256(_mm256_cvtph_ps(half));
	return _mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16);
}

/* Columns behind the end are zero. */
static inline struct block source_block(const struct vgpu_pack_source *s, uint32_t row,
					uint32_t index)
{
	uint32_t first = index * VGPU_BLOCK;
	const uint8_t *p = s->data + row * s->row_bytes + first * s->element_bytes;
	float tail[VGPU_BLOCK] = { 0 };
	struct block x;

	if (s->k - first >= VGPU_BLOCK) {
		for (int i = 0; i < 4; i++)
			x.v[i] = load8(p + 8 * i * s->element_bytes, s->format);
		return x;
	}
	vgpu_row_load_ref(tail, p, s->format, s->k - first);
	for (int i = 0; i < 4; i++)
		x.v[i] = load8((const uint8_t *)(tail + 8 * i), VGPU_W_F32);
	return x;
}

/* Lanes hold the largest magnitudes, as bits, which order like the values. */
static inline __m256i block_max(struct block x)
{
	const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
	__m256i a = _mm256_max_epi32(_mm256_and_si256(x.v[0], magnitude),
				     _mm256_and_si256(x.v[1], magnitude));
	__m256i b = _mm256_max_epi32(_mm256_and_si256(x.v[2], magnitude),
				     _mm256_and_si256(x.v[3], magnitude));

	return _mm256_max_epi32(a, b);
}

static inline uint32_t max_lane(__m256i v)
{
	__m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));

	m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
	m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
	return (uint32_t)_mm_cvtsi128_si32(m);
}

static uint32_t source_max(const struct vgpu_pack_source *s)
{
	__m256i max = _mm256_setzero_si256();

	for (uint32_t row = 0; row < s->rows; row++)
		for (uint32_t b = 0; b < vgpu_k_blocks(s->k); b++)
			max = _mm256_max_epi32(max, block_max(source_block(s, row, b)));
	return max_lane(max);
}

/* 4 vectors of 8 integers in a byte's range to 32 bytes in their order. */
static inline __m256i narrow(const __m256i v[4])
{
	__m256i low = _mm256_packs_epi32(v[0], v[1]), high = _mm256_packs_epi32(v[2], v[3]);
	__m256i bytes = _mm256_packs_epi16(low, high);

	return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

static void mxfp4_block(uint8_t *group, uint32_t row, uint32_t index, struct block x)
{
	const __m256i magnitude = _mm256_set1_epi32(0x7fffffff), sign = _mm256_set1_epi32(8);
	uint32_t e = vgpu_mxfp4_exponent(max_lane(block_max(x))), limit[7];
	__m256i code[4], bytes;

	vgpu_mxfp4_limits(e, limit);
	for (int i = 0; i < 4; i++)
		code[i] = _mm256_and_si256(_mm256_srli_epi32(x.v[i], 28), sign);
	for (int j = 0; j < 7; j++) {
		__m256i edge = _mm256_set1_epi32((int)limit[j]);

		for (int i = 0; i < 4; i++)
			code[i] = _mm256_sub_epi32(code[i], _mm256_cmpgt_epi32(
				_mm256_and_si256(x.v[i], magnitude), edge));
	}
	bytes = narrow(code);
	group[vgpu_mxfp4_g16_scale(index) + 4 * row] = (uint8_t)e;
	vgpu_lanes_store(group + vgpu_mxfp4_g16_codes(index) + 4 * row,
			 vgpu_lanes_of_codes(_mm256_castsi256_si128(bytes),
					     _mm256_extracti128_si256(bytes, 1)));
}

static int pack_mxfp4_avx2(void *dst, const void *src, enum vgpu_wformat src_format,
			   size_t ld, uint32_t rows, uint32_t k)
{
	struct vgpu_pack_source s;
	int rc;

	rc = vgpu_pack_source_init(&s, src, src_format, ld, rows, k);
	if (rc)
		return rc;
	if (source_max(&s) >= VGPU_F32_INFINITY)
		return -EDOM;

	/* Missing rows and the scales of missing blocks. */
	memset(dst, 0, vgpu_weight_unit_bytes(VGPU_W_MXFP4_G16, k));
	for (uint32_t b = 0; b < vgpu_k_blocks(k); b++)
		for (uint32_t row = 0; row < rows; row++)
			mxfp4_block(dst, row, b, source_block(&s, row, b));
	return 0;
}

/* x / d rounded to nearest even and clamped, 4 values. */
static inline __m128i quotient(__m128 x, __m256d d)
{
	const __m256d limit = _mm256_set1_pd(127.0);
	__m256d q = _mm256_div_pd(_mm256_cvtps_pd(x), d);

	q = _mm256_max_pd(_mm256_min_pd(q, limit), _mm256_set1_pd(-127.0));
	return _mm256_cvtpd_epi32(_mm256_round_pd(q, _MM_FROUND_TO_NEAREST_INT |
						     _MM_FROUND_NO_EXC));
}

static inline __m256i quotient8(__m256i x, __m256d d)
{
	__m256 value = _mm256_castsi256_ps(x);

	return _mm256_set_m128i(quotient(_mm256_extractf128_ps(value, 1), d),
				quotient(_mm256_castps256_ps128(value), d));
}

static void int8_block(uint8_t *group, uint32_t row, uint32_t index, struct block x)
{
	const __m256i zero = _mm256_set1_epi8((char)VGPU_INT8_ZERO);
	uint8_t *codes = group + vgpu_int8_g16_codes(index) + 4 * row;
	uint16_t scale = vgpu_int8_scale(max_lane(block_max(x)));
	__m256i code[4], bytes = _mm256_setzero_si256();

	memcpy(group + vgpu_int8_g16_scale(index) + 2 * row, &scale, sizeof(scale));
	if (scale) {
		for (int i = 0; i < 4; i++)
			code[i] = quotient8(x.v[i], _mm256_set1_pd(vgpu_f16_to_f32(scale)));
		bytes = narrow(code);
	}
	bytes = _mm256_xor_si256(bytes, zero);
	vgpu_lanes_store(codes, _mm256_castsi256_si128(bytes));
	vgpu_lanes_store(codes + 256, _mm256_extracti128_si256(bytes, 1));
}

static int pack_int8_avx2(void *dst, const void *src, enum vgpu_wformat src_format,
			  size_t ld, uint32_t rows, uint32_t k)
{
	const struct block zero = { 0 };
	struct vgpu_pack_source s;
	int rc;

	rc = vgpu_pack_source_init(&s, src, src_format, ld, rows, k);
	if (rc)
		return rc;
	if (source_max(&s) >= VGPU_INT8_LIMIT)
		return -EDOM;

	memset(dst, 0, vgpu_weight_unit_bytes(VGPU_W_INT8_G16, k));
	for (uint32_t b = 0; b < vgpu_k_blocks(k); b++)
		for (uint32_t row = 0; row < VGPU_GROUP_ROWS; row++)
			int8_block(dst, row, b, row < rows ? source_block(&s, row, b) : zero);
	return 0;
}

void vgpu_pack_mxfp4_block_avx2(uint8_t *group, const struct vgpu_pack_source *s, uint32_t row,
				uint32_t index)
{
	mxfp4_block(group, row, index, source_block(s, row, index));
}

void vgpu_pack_init_avx2(struct vgpu_kernels *t)
{
	t->pack_mxfp4 = pack_mxfp4_avx2;
	t->pack_int8 = pack_int8_avx2;
	t->pack_mxfp4_rows = vgpu_pack_mxfp4_rows_avx2;
	t->pack_blocks = vgpu_pack_blocks_avx2;
	t->pack_int4_layer = vgpu_pack_int4_layer_avx2;
	t->weight_decode = vgpu_weight_decode_avx2;
}
