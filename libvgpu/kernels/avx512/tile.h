/* SPDX-License-Identifier: MIT */
/*
 * Products of one tile: up to VGPU_MT rows of activations, F32 VGPU_MT_F32, by two slabs of 16
 * rows.
 *
 * All three add in the same order whatever mt is: along a block of 32 columns, or each half
 * of one with two scales (F32: along a chunk of 256), then blocks in ascending order.  That,
 * and lanes that do not meet, is why a row's result does not depend on its neighbours.
 *
 * mt and kind are constants at every call, so that the loops unroll and the accumulators
 * stay in registers: 8 rows by 2 slabs are 16 of them, and as many again what they are added to.
 */
#ifndef VGPU_AVX512_TILE_H
#define VGPU_AVX512_TILE_H

#include <string.h>
#include "kernels/avx512/act.h"
#include "kernels/avx512/slab.h"

#define VGPU_INLINE static inline __attribute__((always_inline))

/**
 * struct vgpu_out - where a tile's results go
 * @y: row 0 of the tile, column of the first slab's row 0
 * @ldy: floats from row to row
 * @sum: what is added to, as y; NULL: to nothing
 * @ldsum: floats from row to row
 * @mask: rows of each slab that exist
 */
struct vgpu_out {
	float *y;
	size_t ldy;
	const float *sum;
	size_t ldsum;
	__mmask16 mask[2];
};

VGPU_INLINE __m512i broadcast_word(const void *p)
{
	int32_t word;

	memcpy(&word, p, sizeof(word));
	return _mm512_set1_epi32(word);
}

VGPU_INLINE void out_load(__m512 sum[VGPU_MT][2], const struct vgpu_out *o, uint32_t mt)
{
#pragma GCC unroll 12
	for (uint32_t i = 0; i < mt; i++) {
		for (uint32_t v = 0; v < 2; v++)
			sum[i][v] = o->sum ? _mm512_maskz_loadu_ps(o->mask[v],
								   o->sum + i * o->ldsum + 16 * v) :
					     _mm512_setzero_ps();
	}
}

VGPU_INLINE void out_store(__m512 sum[VGPU_MT][2], const struct vgpu_out *o, uint32_t mt)
{
#pragma GCC unroll 12
	for (uint32_t i = 0; i < mt; i++)
		for (uint32_t v = 0; v < 2; v++)
			_mm512_mask_storeu_ps(o->y + i * o->ldy + 16 * v, o->mask[v], sum[i][v]);
}

/* What weights with a minimum add to a block's products. */
VGPU_INLINE void minimum_add(__m512 sum[VGPU_MT][2], const float *group_sum, const float *scale0,
			     const float *scale1, uint32_t mt)
{
	__m512 m0 = _mm512_load_ps(scale0 + 16), m1 = _mm512_load_ps(scale1 + 16);

#pragma GCC unroll 12
	for (uint32_t i = 0; i < mt; i++) {
		__m512 x = _mm512_set1_ps(group_sum[i]);

		sum[i][0] = _mm512_fmadd_ps(x, m0, sum[i][0]);
		sum[i][1] = _mm512_fmadd_ps(x, m1, sum[i][1]);
	}
}

/* Steps of 4 columns that share a scale, by mt rows of a tile of so many. */
VGPU_INLINE void steps_a8(__m512 sum[VGPU_MT][2], const uint8_t *line0, const uint8_t *line1,
			  __m512 w0, __m512 w1, const int8_t *a, const float *scale,
			  const float *offset, const int32_t *start, uint32_t steps, uint32_t mt,
			  uint32_t tile)
{
	__m512i dot[VGPU_MT][2];

#pragma GCC unroll 12
	for (uint32_t i = 0; i < mt; i++)
		dot[i][0] = dot[i][1] = _mm512_set1_epi32(start[i]);
#pragma GCC unroll 12
	for (uint32_t s = 0; s < steps; s++) {
		__m512i l0 = _mm512_load_si512(line0 + s * 64);
		__m512i l1 = _mm512_load_si512(line1 + s * 64);

#pragma GCC unroll 12
		for (uint32_t i = 0; i < mt; i++) {
			__m512i x = broadcast_word(a + (s * tile + i) * 4);

			dot[i][0] = _mm512_dpbusd_epi32(dot[i][0], l0, x);
			dot[i][1] = _mm512_dpbusd_epi32(dot[i][1], l1, x);
		}
	}
#pragma GCC unroll 12
	for (uint32_t i = 0; i < mt; i++) {
		__m512 s = _mm512_set1_ps(scale[i]), c = _mm512_set1_ps(offset[i]);

		sum[i][0] = _mm512_fmadd_ps(_mm512_fmadd_ps(_mm512_castsi512_ps(dot[i][0]), s, c),
					    w0, sum[i][0]);
		sum[i][1] = _mm512_fmadd_ps(_mm512_fmadd_ps(_mm512_castsi512_ps(dot[i][1]), s, c),
					    w1, sum[i][1]);
	}
}

/* Rows row .. row + mt - 1 of a tile of so many. */
VGPU_INLINE void rows_a8(const struct vgpu_out *o, const struct vgpu_slab w[2],
			 const struct vgpu_acts *x, size_t at, uint32_t blocks, uint32_t row,
			 uint32_t mt, uint32_t tile, enum vgpu_g16_kind kind)
{
	const uint32_t parts = kind == VGPU_KIND_HALVES ? 2 : 1, steps = 8 / parts;
	const size_t group = at / VGPU_BLOCK + row;
	const int32_t *start = parts == 2 ? x->half + at / VGPU_BLOCK * 2 + row : x->start + group;
	const float *scale = x->scale + group, *offset = x->offset + group;
	const int8_t *a = (const int8_t *)x->data + at + row * 4;
	const uint32_t scales = vgpu_slab_scales(kind);
	struct vgpu_out to = *o;
	__m512 sum[VGPU_MT][2];

	to.y += row * o->ldy;
	if (to.sum)
		to.sum += row * o->ldsum;
	out_load(sum, &to, mt);
	for (uint32_t b = 0; b < blocks; b++) {
		const uint8_t *line0 = w[0].lines + b / 4 * w[0].tile_bytes + b % 4 * 512;
		const uint8_t *line1 = w[1].lines + b / 4 * w[1].tile_bytes + b % 4 * 512;
		const float *scale0 = w[0].scale + b * scales, *scale1 = w[1].scale + b * scales;

#pragma GCC unroll 2
		for (uint32_t part = 0; part < parts; part++)
			steps_a8(sum, line0 + part * 256, line1 + part * 256,
				 _mm512_load_ps(scale0 + part * 16),
				 _mm512_load_ps(scale1 + part * 16),
				 a + (b * 8 + part * steps) * tile * 4, scale + b * tile,
				 offset + b * tile, start + (b * parts + part) * tile, steps, mt,
				 tile);
		if (kind == VGPU_KIND_MINIMUM)
			minimum_add(sum, x->sum + group + b * tile, scale0, scale1, mt);
	}
	out_store(sum, &to, mt);
}

/*
 * at: the tile's element at the slabs' first column.  Where sums are wanted twice a block,
 * they and those of the steps do not all fit registers: four rows at a time.
 */
VGPU_INLINE void tile_a8(const struct vgpu_out *o, const struct vgpu_slab w[2],
			 const struct vgpu_acts *x, size_t at, uint32_t blocks, uint32_t mt,
			 enum vgpu_g16_kind kind)
{
	if (kind == VGPU_KIND_HALVES && mt > 4) {
		rows_a8(o, w, x, at, blocks, 0, 4, mt, kind);
		rows_a8(o, w, x, at, blocks, 4, mt - 4, mt, kind);
	} else {
		rows_a8(o, w, x, at, blocks, 0, mt, mt, kind);
	}
}

/* Steps of 2 columns that share a scale. */
VGPU_INLINE void steps_a16(__m512 sum[VGPU_MT][2], const uint8_t *line0, const uint8_t *line1,
			   __m512 w0, __m512 w1, const uint32_t *a, const float *scale,
			   uint32_t steps, uint32_t mt)
{
	__m512 dot[VGPU_MT][2];

#pragma GCC unroll 12
	for (uint32_t i = 0; i < mt; i++)
		dot[i][0] = dot[i][1] = _mm512_setzero_ps();
#pragma GCC unroll 4
	for (uint32_t s = 0; s < steps; s++) {
		__m512bh l0 = (__m512bh)_mm512_load_si512(line0 + s * 64);
		__m512bh l1 = (__m512bh)_mm512_load_si512(line1 + s * 64);

#pragma GCC unroll 12
		for (uint32_t i = 0; i < mt; i++) {
			__m512bh x = (__m512bh)broadcast_word(a + s * mt + i);

			dot[i][0] = _mm512_dpbf16_ps(dot[i][0], l0, x);
			dot[i][1] = _mm512_dpbf16_ps(dot[i][1], l1, x);
		}
	}
#pragma GCC unroll 12
	for (uint32_t i = 0; i < mt; i++) {
		__m512 s = _mm512_set1_ps(scale[i]);

		sum[i][0] = _mm512_fmadd_ps(_mm512_mul_ps(dot[i][0], s), w0, sum[i][0]);
		sum[i][1] = _mm512_fmadd_ps(_mm512_mul_ps(dot[i][1], s), w1, sum[i][1]);
	}
}

VGPU_INLINE void tile_a16(const struct vgpu_out *o, const struct vgpu_slab w[2],
			  const struct vgpu_acts *x, size_t at, uint32_t blocks, uint32_t mt,
			  enum vgpu_g16_kind kind)
{
	const uint32_t parts = kind == VGPU_KIND_HALVES ? 2 : 1, steps = 16 / parts;
	const uint32_t *a = (const uint32_t *)x->data + at / 2;
	const float *scale = x->scale + at / VGPU_BLOCK;
	const uint32_t scales = vgpu_slab_scales(kind);
	__m512 sum[VGPU_MT][2];

	out_load(sum, o, mt);
	for (uint32_t b = 0; b < blocks; b++) {
		const uint8_t *line0 = w[0].lines + b * 1024, *line1 = w[1].lines + b * 1024;
		const float *scale0 = w[0].scale + b * scales, *scale1 = w[1].scale + b * scales;

#pragma GCC unroll 2
		for (uint32_t part = 0; part < parts; part++)
			steps_a16(sum, line0 + part * 512, line1 + part * 512,
				  _mm512_load_ps(scale0 + part * 16),
				  _mm512_load_ps(scale1 + part * 16),
				  a + (b * 16 + part * steps) * mt, scale + b * mt, steps, mt);
		if (kind == VGPU_KIND_MINIMUM)
			minimum_add(sum, x->sum + at / VGPU_BLOCK + b * mt, scale0, scale1, mt);
	}
	out_store(sum, o, mt);
}

/* a: the tile's f32 at the slabs' first column. */
VGPU_INLINE void tile_f32(const struct vgpu_out *o, const struct vgpu_slab w[2], const float *a,
			  uint32_t blocks, uint32_t mt)
{
	__m512 dot[VGPU_MT_F32][2], sum[VGPU_MT_F32][2];

#pragma GCC unroll 12
	for (uint32_t i = 0; i < mt; i++)
		dot[i][0] = dot[i][1] = _mm512_setzero_ps();
#pragma GCC unroll 4
	for (uint32_t c = 0; c < blocks * VGPU_BLOCK; c++) {
		__m512 l0 = _mm512_load_ps(w[0].lines + c * 64);
		__m512 l1 = _mm512_load_ps(w[1].lines + c * 64);

#pragma GCC unroll 12
		for (uint32_t i = 0; i < mt; i++) {
			__m512 x = _mm512_set1_ps(a[c * mt + i]);

			dot[i][0] = _mm512_fmadd_ps(l0, x, dot[i][0]);
			dot[i][1] = _mm512_fmadd_ps(l1, x, dot[i][1]);
		}
	}
	out_load(sum, o, mt);
#pragma GCC unroll 12
	for (uint32_t i = 0; i < mt; i++) {
		sum[i][0] = _mm512_add_ps(sum[i][0], dot[i][0]);
		sum[i][1] = _mm512_add_ps(sum[i][1], dot[i][1]);
	}
	out_store(sum, o, mt);
}

#endif
