// SPDX-License-Identifier: MIT
/*
 * Weights of every format into slabs.
 */
#include <string.h>
#include "kernels/avx512/g16.h"
#include "kernels/avx512/run8.h"
#include "kernels/avx512/slab.h"
#include "kernels/avx512/slab_g16.h"

/* Reads words [0, n) of a row, zeros after them; n may be beyond 16 or negative. */
static inline __mmask16 mask16(int32_t n)
{
	return n >= 16 ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1);
}

/* r[i] lane j <-> r[j] lane i */
static inline void transpose16(__m512i r[16])
{
	__m512i t[16];

	for (int i = 0; i < 16; i += 2) {
		t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
		t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
	}
	for (int i = 0; i < 16; i += 4) {
		r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
		r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
		r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
		r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
	}
	for (int i = 0; i < 4; i++) {
		t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
		t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
		t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
		t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
	}
	for (int i = 0; i < 4; i++) {
		r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
		r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
		r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
		r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
	}
}

/*
 * The next chunk of a row lies this far ahead.  Rows are read 1 KiB at a time, 16 of
 * them in turn: too many streams for the hardware to follow.
 */
#define AHEAD_BYTES	1024

/* 16 columns of one row as f32; n of them exist. */
static inline __m512i row16_f32(const uint8_t *p, enum vgpu_wformat format, int32_t n)
{
	__m256i half;

	_mm_prefetch((const char *)p + AHEAD_BYTES, _MM_HINT_T1);
	if (format == VGPU_W_F32)
		return _mm512_maskz_loadu_epi32(mask16(n), p);
	half = _mm256_maskz_loadu_epi16(mask16(n), p);
	if (format == VGPU_W_F16)
		return _mm512_castps_si512(_mm512_cvtph_ps(half));
	return _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}

static inline __attribute__((always_inline)) void
fill_f32_rows(uint8_t *lines, const struct vgpu_group *g, enum vgpu_wformat format,
	      uint32_t first, uint32_t blocks)
{
	size_t element = format == VGPU_W_F32 ? 4 : 2;
	__m512i r[16];

	for (uint32_t c = 0; c < blocks * VGPU_BLOCK; c += 16) {
		int32_t n = (int32_t)(g->k - first) - (int32_t)c;

		for (uint32_t i = 0; i < 16; i++)
			r[i] = i < g->rows ? row16_f32(g->data + i * g->row_bytes +
						       (first + c) * element, format, n) :
					     _mm512_setzero_si512();
		transpose16(r);
		for (uint32_t i = 0; i < 16; i++)
			_mm512_store_si512(lines + (c + i) * 64, r[i]);
	}
}

/* 32 columns of one row as bf16, columns 1 and 2 of every 4 exchanged. */
static inline __m512i row32_bf16(const uint8_t *p, int32_t n)
{
	const __m512i order = _mm512_broadcast_i32x4(
		_mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15));
	__mmask32 mask;

	_mm_prefetch((const char *)p + AHEAD_BYTES, _MM_HINT_T1);
	mask = n >= 32 ? 0xffffffffu : n <= 0 ? 0 : (1u << n) - 1;

	return _mm512_shuffle_epi8(_mm512_maskz_loadu_epi16(mask, p), order);
}

void vgpu_slab_fill_bf16_avx512(uint8_t *lines, const struct vgpu_group *g, uint32_t first,
				uint32_t blocks)
{
	__m512i r[16];

	for (uint32_t b = 0; b < blocks; b++) {
		int32_t n = (int32_t)(g->k - first) - (int32_t)(b * VGPU_BLOCK);

		for (uint32_t i = 0; i < 16; i++)
			r[i] = i < g->rows ? row32_bf16(g->data + i * g->row_bytes +
							(first + b * VGPU_BLOCK) * 2, n) :
					     _mm512_setzero_si512();
		transpose16(r);
		for (uint32_t i = 0; i < 16; i++)
			_mm512_store_si512(lines + (b * 16 + i) * 64, r[i]);
	}
}

static void mxfp4_a8_block(uint8_t *out, const uint8_t *codes)
{
	const __m512i table = vgpu_mxfp4_table_u8();

	for (uint32_t u = 0; u < 4; u++) {
		__m512i line = _mm512_load_si512(codes + u * 64);

		_mm512_store_si512(out + u * 128, _mm512_permutexvar_epi8(line, table));
		_mm512_store_si512(out + u * 128 + 64,
				   _mm512_permutexvar_epi8(_mm512_srli_epi32(line, 4), table));
	}
}

static void mxfp4_a16_block(uint8_t *out, const uint8_t *codes)
{
	const __m512i table = vgpu_mxfp4_table_bf16();

	for (uint32_t u = 0; u < 4; u++) {
		__m512i line = _mm512_load_si512(codes + u * 64);
		uint8_t *p = out + u * 256;

		_mm512_store_si512(p, _mm512_permutexvar_epi16(line, table));
		_mm512_store_si512(p + 64, _mm512_permutexvar_epi16(_mm512_srli_epi16(line, 8), table));
		_mm512_store_si512(p + 128, _mm512_permutexvar_epi16(_mm512_srli_epi16(line, 4), table));
		_mm512_store_si512(p + 192, _mm512_permutexvar_epi16(_mm512_srli_epi16(line, 12), table));
	}
}

static void mxfp4_f32_block(uint8_t *out, const uint8_t *codes, __m512 scale)
{
	const __m512 table = _mm512_setr_ps(0, 1, 2, 3, 4, 6, 8, 12, -0.0f, -1, -2, -3, -4, -6,
					    -8, -12);

	for (uint32_t c = 0; c < VGPU_BLOCK; c++) {
		__m512i line = _mm512_load_si512(codes + c / 8 * 64);
		uint32_t shift = c % 4 * 8 + (c & 4);
		__m512i code = _mm512_srlv_epi32(line, _mm512_set1_epi32((int)shift));

		_mm512_store_ps((float *)(out + c * 64),
				_mm512_mul_ps(_mm512_permutexvar_ps(code, table), scale));
	}
}

static void fill_mxfp4(uint8_t *lines, float *scales, const struct vgpu_group *g,
		       enum vgpu_mode mode, uint32_t first, uint32_t blocks)
{
	for (uint32_t b = 0; b < blocks; b++) {
		uint32_t block = first / VGPU_BLOCK + b;
		const uint8_t *tile = g->data + (size_t)(block / 4) * VGPU_MXFP4_TILE;
		const uint8_t *codes = g->data + vgpu_mxfp4_g16_codes(block);
		__m512 scale = vgpu_mxfp4_half_scale(_mm512_load_si512(tile), block % 4);

		if (mode == VGPU_MODE_F32) {
			mxfp4_f32_block(lines + (size_t)b * 2048, codes, scale);
			continue;
		}
		_mm512_store_ps(scales + b * 16, scale);
		if (mode == VGPU_MODE_A16)
			mxfp4_a16_block(lines + (size_t)b * 1024, codes);
		else
			mxfp4_a8_block(lines + (size_t)b * 512, codes);
	}
}

static void int8_a16_block(uint8_t *out, const uint8_t *codes)
{
	for (uint32_t u = 0; u < 8; u++) {
		__m512i line = _mm512_load_si512(codes + u * 64);

		_mm512_store_si512(out + u * 128, vgpu_lanes_bytes(line, 0));
		_mm512_store_si512(out + u * 128 + 64, vgpu_lanes_bytes(line, 1));
	}
}

static void int8_f32_block(uint8_t *out, const uint8_t *codes, __m512 scale)
{
	for (uint32_t c = 0; c < VGPU_BLOCK; c++) {
		__m512i line = _mm512_load_si512(codes + c / 4 * 64);

		_mm512_store_ps((float *)(out + c * 64),
				_mm512_mul_ps(vgpu_lanes_byte(line, c % 4), scale));
	}
}

/* In mode A8 the codes stay where they are. */
static void fill_int8(uint8_t *lines, float *scales, const struct vgpu_group *g,
		      enum vgpu_mode mode, uint32_t first, uint32_t blocks)
{
	for (uint32_t b = 0; b < blocks; b++) {
		uint32_t block = first / VGPU_BLOCK + b;
		const uint8_t *codes = g->data + vgpu_int8_g16_codes(block);
		const uint8_t *half = g->data + vgpu_int8_g16_scale(block);
		__m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)half));

		if (mode == VGPU_MODE_F32) {
			int8_f32_block(lines + (size_t)b * 2048, codes, scale);
			continue;
		}
		_mm512_store_ps(scales + b * 16, scale);
		if (mode == VGPU_MODE_A16)
			int8_a16_block(lines + (size_t)b * 1024, codes);
	}
}

void vgpu_slab_fill_avx512(struct vgpu_slab *out, uint8_t *lines, float *scales,
			   const struct vgpu_group *g, enum vgpu_mode mode, uint32_t first,
			   uint32_t blocks)
{
	out->kind = vgpu_g16_kind(g->format);
	out->lines = lines;
	out->scale = scales;
	out->runs = mode == VGPU_MODE_A8_256 && g->format == VGPU_W_MXFP4_G16 &&
		    vgpu_run8_fit_avx512(g, first, blocks);
	out->tile_bytes = (size_t)VGPU_G16_TILE_COLS * VGPU_SLAB_LINES * 64 / vgpu_slab_cols(mode);

	switch (g->format) {
	case VGPU_W_F32:
		fill_f32_rows(lines, g, VGPU_W_F32, first, blocks);
		break;
	case VGPU_W_F16:
		fill_f32_rows(lines, g, VGPU_W_F16, first, blocks);
		break;
	case VGPU_W_BF16:
		if (mode == VGPU_MODE_F32) {
			fill_f32_rows(lines, g, VGPU_W_BF16, first, blocks);
			break;
		}
		vgpu_slab_fill_bf16_avx512(lines, g, first, blocks);
		for (uint32_t i = 0; i < blocks * 16; i++)
			scales[i] = 1.0f;
		break;
	case VGPU_W_INT8_G16:
		fill_int8(lines, scales, g, mode, first, blocks);
		if (vgpu_mode_is_a8(mode)) {
			out->lines = g->data + vgpu_int8_g16_codes(first / VGPU_BLOCK);
			out->tile_bytes = VGPU_INT8_TILE;
		}
		break;
	case VGPU_W_MXFP4_G16:
		if (out->runs)
			vgpu_run8_fill_avx512(lines, scales, g, first, blocks);
		else
			fill_mxfp4(lines, scales, g, mode, first, blocks);
		break;
	default:
		vgpu_slab_fill_g16_avx512(out, lines, scales, g, mode, first, blocks);
		break;
	}
}
