/* SPDX-License-Identifier: MIT */
/*
 * Layers of AWQ and GPTQ into lines, what levels have in common: a word of eight codes has as many
 * bits as a lane of eight columns, so that words are turned and never taken apart into bytes.
 */
#ifndef VGPU_AVX2_INT4_LAYER_H
#define VGPU_AVX2_INT4_LAYER_H

#include <errno.h>
#include <immintrin.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/pack/g16_type.h"
#include "kernels/pack/int4_layer.h"

/* Columns of a line. */
#define VGPU_INT4_LINE_COLS	VGPU_INT4_WORD_CODES
/* Lines between what is fetched and what is read: each lies rows of the tensor behind the other. */
#define VGPU_INT4_AHEAD		8u

/**
 * struct vgpu_int4_lines - lines of the codes of some units, one after the other
 * @layer: the layer
 * @first, @rows: outputs; the last unit may have 8
 * @line: the first, of eight inputs each
 * @count: how many
 * @dst: the first unit's
 * @unit_bytes: to the next unit's
 */
struct vgpu_int4_lines {
	const struct vgpu_int4_layer *layer;
	uint32_t first, rows, line, count;
	uint8_t *dst;
	size_t unit_bytes;
};

/* pack_int4_layer of the table. */
int vgpu_pack_int4_layer_avx2(void *dst, const struct vgpu_int4_layer *layer, uint32_t first,
			      uint32_t units, void *scratch);

/* Eight or 16 bytes; those above are zero. */
static inline __m128i vgpu_int4_load(const uint8_t *from, bool whole)
{
	return whole ? _mm_loadu_si128((const __m128i *)from) :
		       _mm_loadl_epi64((const __m128i *)from);
}

/* Scales of 16 or 8 rows in a group of the file. */
static inline __m256i vgpu_int4_scales(const struct vgpu_int4_layer *l, uint32_t group, uint32_t row)
{
	const uint8_t *from = l->scales + ((size_t)group * l->n + row) * 2;
	bool whole = l->n - row >= VGPU_GROUP_ROWS;

	if (!whole)
		return _mm256_zextsi128_si256(_mm_loadu_si128((const __m128i *)from));
	return _mm256_loadu_si256((const __m256i *)from);
}

static inline bool vgpu_int4_scales_finite(const struct vgpu_int4_layer *l, uint32_t first,
					   uint32_t end)
{
	const __m256i exponent = _mm256_set1_epi16(0x7c00);
	__m256i bad = _mm256_setzero_si256();

	for (uint32_t g = 0; g < l->groups; g++)
		for (uint32_t row = first; row < end; row += VGPU_GROUP_ROWS) {
			__m256i x = _mm256_and_si256(vgpu_int4_scales(l, g, row), exponent);

			bad = _mm256_or_si256(bad, _mm256_cmpeq_epi16(x, exponent));
		}
	return _mm256_testz_si256(bad, bad);
}

/* Zero points of 16 rows in a group of the file, a byte each; 0 of rows that there are not. */
static inline __m128i vgpu_int4_zeros(const struct vgpu_int4_layer *l, uint32_t group, uint32_t row)
{
	const __m128i nibble = _mm_set1_epi8(15);
	const __m128i awq = _mm_setr_epi8(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
	const uint8_t *from = l->qzeros + ((size_t)group * l->n + row) / 2;
	bool whole = l->n - row >= VGPU_GROUP_ROWS;
	__m128i x = whole ? _mm_loadl_epi64((const __m128i *)from) : _mm_loadu_si32(from);

	x = _mm_unpacklo_epi8(_mm_and_si128(x, nibble), _mm_and_si128(_mm_srli_epi16(x, 4), nibble));
	if (l->scheme == VGPU_INT4_AWQ)
		x = _mm_shuffle_epi8(x, awq);
	if (l->scheme == VGPU_INT4_GPTQ)
		x = _mm_sub_epi8(x, _mm_set1_epi8(-1));
	return whole ? x : _mm_move_epi64(x);
}

/* Byte j of lane r is number r of vector j. */
static inline void vgpu_int4_put_zeros(uint8_t *line, const __m128i x[4])
{
	__m128i a = _mm_unpacklo_epi8(x[0], x[1]), b = _mm_unpackhi_epi8(x[0], x[1]);
	__m128i c = _mm_unpacklo_epi8(x[2], x[3]), d = _mm_unpackhi_epi8(x[2], x[3]);
	__m128i *to = (__m128i *)line;

	_mm_store_si128(to, _mm_unpacklo_epi16(a, c));
	_mm_store_si128(to + 1, _mm_unpackhi_epi16(a, c));
	_mm_store_si128(to + 2, _mm_unpacklo_epi16(b, d));
	_mm_store_si128(to + 3, _mm_unpackhi_epi16(b, d));
}

/* Of one tile and one unit; scale: the tile's first.  Zeros where there are fewer. */
static inline void vgpu_int4_put_header(const struct vgpu_int4_layer *l, uint8_t *tile,
					uint32_t scale, uint32_t row)
{
	__m128i zeros[4];

	for (uint32_t j = 0; j < 4; j++) {
		bool there = (scale + j) * l->cols < l->k;
		uint32_t group = there ? (scale + j) * l->cols / l->group : 0;

		_mm256_store_si256((__m256i *)(tile + 32 * j),
				   there ? vgpu_int4_scales(l, group, row) : _mm256_setzero_si256());
		zeros[j] = there && l->zeros ? vgpu_int4_zeros(l, group, row) : _mm_setzero_si128();
	}
	if (l->zeros)
		vgpu_int4_put_zeros(tile + 128, zeros);
}

/* put writes lines of codes; what it is called with is a constant at every call. */
static inline __attribute__((always_inline)) int
vgpu_int4_pack(uint8_t *dst, const struct vgpu_int4_layer *l, uint32_t first, uint32_t units,
	       void (*put)(const struct vgpu_int4_lines *lines))
{
	const struct vgpu_g16_type *type = vgpu_g16_type(vgpu_int4_layer_format(l));
	uint32_t cols = type->tile_blocks * VGPU_BLOCK, left = l->n - first;
	struct vgpu_int4_lines lines = {
		.layer = l, .first = first, .unit_bytes = vgpu_g16_bytes(type, l->k),
		.rows = left < units * VGPU_GROUP_ROWS ? left : units * VGPU_GROUP_ROWS,
	};

	if (!vgpu_int4_scales_finite(l, first, first + lines.rows))
		return -EDOM;
	for (uint32_t c = 0; c < l->k; c += cols) {
		uint8_t *tile = dst + vgpu_g16_tile_at(type, c / VGPU_BLOCK);

		for (uint32_t u = 0; u < units; u++)
			vgpu_int4_put_header(l, tile + u * lines.unit_bytes, c / l->cols,
					     first + u * VGPU_GROUP_ROWS);
		lines.dst = tile + type->header_bytes;
		lines.line = c / VGPU_INT4_LINE_COLS;
		lines.count = (l->k - c < cols ? l->k - c : cols) / VGPU_INT4_LINE_COLS;
		put(&lines);
	}
	return 0;
}

#endif
