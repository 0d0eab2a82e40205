/* SPDX-License-Identifier: MIT */
/*
 * Products of a few tiles: a chunk of columns of one to four groups of weights by one or two
 * tiles of activations, added to sums that lie tile by tile (16 lines of 16 f32).
 *
 * Each result is added up in the same order by all of plain ones: a block's high parts, its
 * low parts, the next block; then the chunk to the sum.  That is why a row's result does not
 * depend on how many there are beside it.
 *
 * A TDPBF16PS takes 16 cycles and its result 52, so four results take turns; two by two is
 * also what needs the fewest loads.  TDPBF16PS rounds to nearest and flushes subnormals.
 */
#ifndef VGPU_AMX_TILE_H
#define VGPU_AMX_TILE_H

#include "kernels/amx/act.h"
#include "kernels/amx/lines.h"
#include "kernels/amx/tiles.h"

#define VGPU_AMX_INLINE static inline __attribute__((always_inline))

/* Columns of a chunk, in blocks: a tile's activations and two groups' weights fit L1. */
#define VGPU_AMX_CHUNK	8u

typedef float vgpu_amx_tile[256] __attribute__((aligned(64)));

VGPU_AMX_INLINE void tiles_zero(void)
{
	_tile_zero(0);
	_tile_zero(1);
	_tile_zero(2);
	_tile_zero(3);
}

VGPU_AMX_INLINE void tiles_store(vgpu_amx_tile part[4])
{
	_tile_stored(0, part[0], 64);
	_tile_stored(1, part[1], 64);
	_tile_stored(2, part[2], 64);
	_tile_stored(3, part[3], 64);
}

/* sum += part, or = */
VGPU_AMX_INLINE void sum_add(float *sum, const float *part, uint32_t rows, bool more)
{
	for (uint32_t i = 0; i < rows * 16; i += 16) {
		__m512 v = _mm512_load_ps(part + i);

		if (more)
			v = _mm512_add_ps(_mm512_load_ps(sum + i), v);
		_mm512_store_ps(sum + i, v);
	}
}

/* Two groups by two tiles; tiles as vgpu_tiles_two() has them. */
VGPU_AMX_INLINE void tiles_2x2(vgpu_amx_tile part[4], const uint8_t *w0, const uint8_t *w1,
			       struct vgpu_amx_acts a0, struct vgpu_amx_acts a1, uint32_t blocks)
{
	tiles_zero();
	for (uint32_t b = 0; b < blocks; b++) {
		_tile_loadd(4, w0 + b * VGPU_TILE_BYTES, 64);
		_tile_loadd(6, a0.lines, 64);
		_tile_loadd(5, w1 + b * VGPU_TILE_BYTES, 64);
		_tile_loadd(7, a1.lines, 64);
		_tile_dpbf16ps(0, 6, 4);
		_tile_dpbf16ps(1, 6, 5);
		_tile_dpbf16ps(2, 7, 4);
		_tile_dpbf16ps(3, 7, 5);
		if (a0.low[b]) {
			_tile_loadd(6, a0.lines + a0.rows * 64, 64);
			_tile_dpbf16ps(0, 6, 4);
			_tile_dpbf16ps(1, 6, 5);
		}
		if (a1.low[b]) {
			_tile_loadd(7, a1.lines + a1.rows * 64, 64);
			_tile_dpbf16ps(2, 7, 4);
			_tile_dpbf16ps(3, 7, 5);
		}
		a0.lines += a0.rows * 128;
		a1.lines += a1.rows * 128;
	}
	tiles_store(part);
}

/* One block of four groups, whose lines follow each other, by one tile. */
VGPU_AMX_INLINE void block_1x4(const uint8_t *w, size_t stride, const struct vgpu_amx_acts *a,
			       bool low)
{
	_tile_loadd(6, a->lines, 64);
	_tile_loadd(4, w, 64);
	_tile_dpbf16ps(0, 6, 4);
	_tile_loadd(5, w + stride, 64);
	_tile_dpbf16ps(1, 6, 5);
	_tile_loadd(4, w + 2 * stride, 64);
	_tile_dpbf16ps(2, 6, 4);
	_tile_loadd(5, w + 3 * stride, 64);
	_tile_dpbf16ps(3, 6, 5);
	if (!low)
		return;
	_tile_loadd(7, a->lines + a->rows * 64, 64);
	_tile_dpbf16ps(2, 7, 4);
	_tile_dpbf16ps(3, 7, 5);
	_tile_loadd(4, w, 64);
	_tile_dpbf16ps(0, 7, 4);
	_tile_loadd(5, w + stride, 64);
	_tile_dpbf16ps(1, 7, 5);
}

/* One group by one tile. */
VGPU_AMX_INLINE void tiles_1x1(vgpu_amx_tile part, const uint8_t *w, struct vgpu_amx_acts a,
			       uint32_t blocks)
{
	_tile_zero(0);
	for (uint32_t b = 0; b < blocks; b++, a.lines += a.rows * 128) {
		_tile_loadd(4, w + b * VGPU_TILE_BYTES, 64);
		_tile_loadd(6, a.lines, 64);
		_tile_dpbf16ps(0, 6, 4);
		if (!a.low[b])
			continue;
		_tile_loadd(7, a.lines + a.rows * 64, 64);
		_tile_dpbf16ps(0, 7, 4);
	}
	_tile_stored(0, part, 64);
}

/* Weights that are not plain, their scale not yet multiplied in; at: bytes into a line of a. */
#define VGPU_AMX_BLOCK(tile, part, w, a, at, low) do {				\
	_tile_zero(tile);							\
	_tile_loadd(4, w, 64);							\
	_tile_loadd(6, (a)->lines + (at), 64);					\
	_tile_dpbf16ps(tile, 6, 4);						\
	if (low) {								\
		_tile_loadd(7, (a)->lines + (a)->rows * 64 + (at), 64);		\
		_tile_dpbf16ps(tile, 7, 4);					\
	}									\
	_tile_stored(tile, part, 64);						\
} while (0)

/* acc += part * scale, and the minimum times sum, block after block of at most two. */
VGPU_AMX_INLINE void scaled_add(__m512 acc[16], vgpu_amx_tile part[2], const float *scale,
				const float *sum, uint32_t blocks, uint32_t rows,
				enum vgpu_g16_kind kind)
{
	for (uint32_t b = 0; b < blocks; b++, scale += vgpu_slab_scales(kind)) {
		__m512 s = _mm512_load_ps(scale);

#pragma GCC unroll 16
		for (uint32_t i = 0; i < rows; i++)
			acc[i] = _mm512_fmadd_ps(_mm512_load_ps(part[b] + i * 16), s, acc[i]);
#pragma GCC unroll 16
		for (uint32_t i = 0; i < rows && kind == VGPU_KIND_MINIMUM; i++)
			acc[i] = _mm512_fmadd_ps(_mm512_set1_ps(sum[b * rows + i]),
						 _mm512_load_ps(scale + 16),
						 acc[i]);
	}
}

/* One group whose blocks have two scales by one tile; tiles hold 8 pairs of columns. */
VGPU_AMX_INLINE void tiles_halves(float *sum, vgpu_amx_tile part[2], const uint8_t *w,
				  const float *scale, struct vgpu_amx_acts a, uint32_t blocks,
				  bool more)
{
	__m512 acc[16];

	for (uint32_t i = 0; i < a.rows; i++)
		acc[i] = more ? _mm512_load_ps(sum + i * 16) : _mm512_setzero_ps();
	for (uint32_t b = 0; b < blocks; b++, w += VGPU_TILE_BYTES, a.lines += a.rows * 128) {
		VGPU_AMX_BLOCK(0, part[0], w, &a, 0, a.low[b]);
		VGPU_AMX_BLOCK(1, part[1], w + VGPU_TILE_BYTES / 2, &a, 32, a.low[b]);
		scaled_add(acc, part, scale + b * 32, NULL, 2, a.rows, VGPU_KIND_PLAIN);
	}
	for (uint32_t i = 0; i < a.rows; i++)
		_mm512_store_ps(sum + i * 16, acc[i]);
}

/* One group that is not plain by one tile. */
VGPU_AMX_INLINE void tiles_scaled(float *sum, vgpu_amx_tile part[2], const uint8_t *w,
				  const float *scale, struct vgpu_amx_acts a, uint32_t blocks,
				  uint32_t rows, enum vgpu_g16_kind kind, bool more)
{
	__m512 acc[16];

#pragma GCC unroll 16
	for (uint32_t i = 0; i < rows; i++)
		acc[i] = more ? _mm512_load_ps(sum + i * 16) : _mm512_setzero_ps();
	for (uint32_t b = 0; b < blocks; b += 2) {
		bool two = b + 1 < blocks;

		VGPU_AMX_BLOCK(0, part[0], w + b * VGPU_TILE_BYTES, &a, 0, a.low[b]);
		a.lines += a.rows * 128;
		if (two) {
			VGPU_AMX_BLOCK(1, part[1], w + (b + 1) * VGPU_TILE_BYTES, &a, 0,
				       a.low[b + 1]);
			a.lines += a.rows * 128;
		}
		scaled_add(acc, part, scale + b * vgpu_slab_scales(kind), a.sum + b * rows,
			   1 + two, rows, kind);
	}
#pragma GCC unroll 16
	for (uint32_t i = 0; i < rows; i++)
		_mm512_store_ps(sum + i * 16, acc[i]);
}

#endif
