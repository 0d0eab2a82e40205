// SPDX-License-Identifier: MIT
/*
 * Weights of every format into slabs.
 */
#include <immintrin.h>
#include <string.h>
#include "kernels/avx2/slab.h"
#include "kernels/avx2/slab_g16.h"
#include "kernels/pack/g16.h"
#include "kernels/ref/rows.h"

/* r[i] lane j <-> r[j] lane i */
static inline void transpose8(__m256 r[8])
{
	__m256 t[8];

	for (int i = 0; i < 8; i += 4) {
		t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
		t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
		t[i + 2] = _mm256_unpacklo_ps(r[i + 2], r[i + 3]);
		t[i + 3] = _mm256_unpackhi_ps(r[i + 2], r[i + 3]);
	}
	for (int i = 0; i < 8; i += 4) {
		r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
		r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
		r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
		r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
	}
	for (int i = 0; i < 4; i++) {
		t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
		t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
	}
	memcpy(r, t, sizeof(t));
}

static inline __m256 row8(const uint8_t *p, enum vgpu_wformat format)
{
	__m128i half;

	if (format == VGPU_W_F32)
		return _mm256_loadu_ps((const float *)p);
	half = _mm_loadu_si128((const __m128i *)p);
	if (format == VGPU_W_F16)
		return _mm256_cvtph_ps(half);
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

/* 8 columns of one row, of which n exist. */
static inline __m256 row8_tail(const uint8_t *p, enum vgpu_wformat format, uint32_t n)
{
	float x[8] = { 0 };

	if (n >= 8)
		return row8(p, format);
	vgpu_row_load_ref(x, p, format, n);
	return _mm256_loadu_ps(x);
}

static void fill_rows(float *lines, const struct vgpu_group *g, uint32_t first,
		      uint32_t blocks)
{
	size_t element = g->format == VGPU_W_F32 ? 4 : 2;
	__m256 r[8];

	for (uint32_t i = 0; i < blocks * VGPU_BLOCK * 2; i += 8) {
		uint32_t c = i / 16 * 8, row = i % 16;	/* 8 columns by 8 rows at a time */
		uint32_t left = g->k > first + c ? g->k - first - c : 0;

		for (uint32_t j = 0; j < 8; j++)
			r[j] = row + j < g->rows && left ?
			       row8_tail(g->data + (row + j) * g->row_bytes +
					 (first + c) * element, g->format, left) :
			       _mm256_setzero_ps();
		transpose8(r);
		for (uint32_t j = 0; j < 8; j++)
			_mm256_store_ps(lines + (c + j) * 16 + row, r[j]);
	}
}

/* Half the scales of block j of an MXFP4_G16 tile, for 8 rows; see avx512/slab.h. */
static inline __m256 half_scale(__m256i rows, uint32_t j)
{
	__m256i e = _mm256_and_si256(_mm256_srl_epi32(rows, _mm_cvtsi32_si128((int)(8 * j))),
				     _mm256_set1_epi32(0xff));
	__m256i bits = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
	__m256i small = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e);
	__m256i nan = _mm256_cmpeq_epi32(e, _mm256_set1_epi32(255));

	bits = _mm256_blendv_epi8(bits, _mm256_sllv_epi32(_mm256_set1_epi32(1 << 21), e), small);
	bits = _mm256_blendv_epi8(bits, _mm256_set1_epi32(0x7fc00000), nan);
	return _mm256_castsi256_ps(bits);
}

/* 8 rows of one line of codes: columns 0 .. 3 to one line of s8, 4 .. 7 to the next. */
static inline void mxfp4_line(uint8_t *out, const uint8_t *codes)
{
	__m256i line = _mm256_load_si256((const __m256i *)codes);

	_mm256_store_si256((__m256i *)out, vgpu_e2m1_twice_avx2(line));
	_mm256_store_si256((__m256i *)(out + 64), vgpu_e2m1_twice_avx2(_mm256_srli_epi16(line, 4)));
}

/* One block of 8 rows, from row on. */
static void mxfp4_block(struct vgpu_slab_avx2 *out, uint32_t b, const uint8_t *tile, uint32_t j,
			uint32_t row, bool a8)
{
	const uint8_t *codes = tile + VGPU_MXFP4_TILE_SCALES + j * VGPU_MXFP4_BLOCK_CODES;
	__m256 scale = half_scale(_mm256_load_si256((const __m256i *)(tile + 4 * row)), j);
	const __m256 none = _mm256_setzero_ps();

	if (a8)
		_mm256_store_ps(out->scale + b * 16 + row, scale);
	for (uint32_t u = 0; u < 4; u++) {
		__m256i line = _mm256_load_si256((const __m256i *)(codes + u * 64 + 4 * row));
		float *f32 = (float *)out->lines + (b * 32 + u * 8) * 16 + row;

		if (a8) {
			mxfp4_line(out->lines + (b * 8 + u * 2) * 64 + 4 * row,
				   codes + u * 64 + 4 * row);
			continue;
		}
		vgpu_slab_widen_avx2(f32, vgpu_e2m1_twice_avx2(line), scale, none);
		vgpu_slab_widen_avx2(f32 + 64, vgpu_e2m1_twice_avx2(_mm256_srli_epi16(line, 4)),
				     scale, none);
	}
}

/* One block of 8 rows, from row on. */
static void int8_block(struct vgpu_slab_avx2 *out, uint32_t b, const uint8_t *codes,
		       const uint8_t *half, uint32_t row, bool a8)
{
	const __m256i zero = _mm256_set1_epi8((char)VGPU_INT8_ZERO);
	__m256 scale = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(half + 2 * row)));

	if (a8)
		_mm256_store_ps(out->scale + b * 16 + row, scale);
	for (uint32_t u = 0; u < 8; u++) {
		__m256i line = _mm256_load_si256((const __m256i *)(codes + u * 64 + 4 * row));

		line = _mm256_xor_si256(line, zero);
		if (a8)
			_mm256_store_si256((__m256i *)(out->lines + (b * 8 + u) * 64 + 4 * row),
					   line);
		else
			vgpu_slab_widen_avx2((float *)out->lines + (b * 32 + u * 4) * 16 + row, line,
					     scale, _mm256_setzero_ps());
	}
}

void vgpu_slab_fill_avx2(struct vgpu_slab_avx2 *out, const struct vgpu_group *g, bool a8,
			 uint32_t first, uint32_t blocks)
{
	out->kind = vgpu_g16_kind(g->format);
	if (vgpu_g16_type(g->format)) {
		vgpu_slab_fill_g16_avx2(out, vgpu_g16_type(g->format), g->data, a8,
					first / VGPU_BLOCK, blocks);
		return;
	}
	if (g->format != VGPU_W_MXFP4_G16 && g->format != VGPU_W_INT8_G16) {
		fill_rows((float *)out->lines, g, first, blocks);
		return;
	}
	for (uint32_t i = 0; i < blocks * 2; i++) {
		uint32_t b = i / 2, row = i % 2 * 8, block = first / VGPU_BLOCK + b;

		if (g->format == VGPU_W_MXFP4_G16)
			mxfp4_block(out, b, g->data + (size_t)(block / 4) * VGPU_MXFP4_TILE,
				    block % 4, row, a8);
		else
			int8_block(out, b, g->data + vgpu_int8_g16_codes(block),
				   g->data + vgpu_int8_g16_scale(block), row, a8);
	}
}
