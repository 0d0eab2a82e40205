/* SPDX-License-Identifier: MIT */
/*
 * Products of a chunk of columns of groups of weights by one tile of activations, A8.
 *
 * A block's 32 columns, or the 16 that share a scale, are one TDPBSSD: 16 x 16 sums, which leave
 * the tile for memory and are there multiplied by their scales and added up, in the order and
 * with the operations of avx512/tile.h, so that the results are the same bits.  The weights
 * are the lines of an A8 slab less 128, so that the sums need no start value; 1.5 * 2^23 is
 * added to their integers, and an FMA makes numbers of them (avx512/act.h).
 *
 * What bounds it, cycles a product: the two FMA for each of 16 rows take 32, because one of the
 * two units is off while tiles are in use; storing a tile takes 17 in which nothing else is
 * issued, the rest of the issue 14; the multiplication itself takes 18 beside them.  A sum is
 * 70 cycles away from the start of its product: two are on their way while a third is added,
 * across the borders of pieces, too.
 */
#ifndef VGPU_AMX_TILE8_H
#define VGPU_AMX_TILE8_H

#include "kernels/amx/act8.h"
#include "kernels/amx/tiles.h"
#include "kernels/avx512/act.h"
#include "kernels/avx512/slab.h"

#define VGPU_AMX_INLINE8 static inline __attribute__((always_inline))

/**
 * struct vgpu_amx_weight8 - a block of a group of weights
 * @lines: of an A8 slab, the codes signed
 * @scale: of each row
 * @more: the minimum or the second scale
 */
struct vgpu_amx_weight8 {
	int8_t lines[8][64];
	float scale[16], more[16];
} __attribute__((aligned(64)));

/**
 * struct vgpu_amx_piece8 - what one tile of sums is made of
 * @w: the weights
 * @a: the activations
 * @sum: 16 lines of 16 f32
 */
struct vgpu_amx_piece8 {
	const struct vgpu_amx_weight8 *w;
	const struct vgpu_amx_block8 *a;
	float *sum;
};

/* What one product left. */
typedef int32_t vgpu_amx_part8[256] __attribute__((aligned(64)));

/* The product of a block, or of its first or second half, into a tile by way of ta and tw. */
#define VGPU_AMX_START8(tile, ta, tw, block_a, block_w, second) do {	\
	_tile_zero(tile);						\
	_tile_loadd(ta, (block_a)->bytes[0] + (second) * 16, 32);	\
	_tile_loadd(tw, (block_w)->lines[(second) * 4], 64);		\
	_tile_dpbssd(tile, ta, tw);					\
} while (0)

/* acc += part, scaled by both sides. */
VGPU_AMX_INLINE8 void fold8(__m512 acc[16], const int32_t *part, const struct vgpu_amx_block8 *a,
			    __m512 w, uint32_t rows)
{
	const __m512i magic = _mm512_set1_epi32(VGPU_A8_MAGIC_BITS);

#pragma GCC unroll 16
	for (uint32_t i = 0; i < rows; i++) {
		__m512i bits = _mm512_add_epi32(_mm512_load_si512(part + i * 16), magic);
		__m512 x = _mm512_fmadd_ps(_mm512_castsi512_ps(bits), _mm512_set1_ps(a->scale[i]),
					   _mm512_set1_ps(a->offset[i]));

		acc[i] = _mm512_fmadd_ps(x, w, acc[i]);
	}
}

/* What weights with a minimum add. */
VGPU_AMX_INLINE8 void fold8_minimum(__m512 acc[16], const struct vgpu_amx_block8 *a, __m512 minimum,
				    uint32_t rows)
{
#pragma GCC unroll 16
	for (uint32_t i = 0; i < rows; i++)
		acc[i] = _mm512_fmadd_ps(_mm512_set1_ps(a->sum[i]), minimum, acc[i]);
}

/* A product of whole blocks. */
VGPU_AMX_INLINE8 void fold8_block(__m512 acc[16], const int32_t *part,
				  const struct vgpu_amx_block8 *a, const struct vgpu_amx_weight8 *w,
				  enum vgpu_g16_kind kind, uint32_t rows)
{
	fold8(acc, part, a, _mm512_load_ps(w->scale), rows);
	if (kind == VGPU_KIND_MINIMUM)
		fold8_minimum(acc, a, _mm512_load_ps(w->more), rows);
}

VGPU_AMX_INLINE8 void sum8_load(__m512 acc[16], const float *sum, uint32_t rows, bool more)
{
#pragma GCC unroll 16
	for (uint32_t i = 0; i < rows; i++)
		acc[i] = more ? _mm512_load_ps(sum + i * 16) : _mm512_setzero_ps();
}

VGPU_AMX_INLINE8 void sum8_store(float *sum, __m512 acc[16], uint32_t rows)
{
#pragma GCC unroll 16
	for (uint32_t i = 0; i < rows; i++)
		_mm512_store_ps(sum + i * 16, acc[i]);
}

/*
 * Pieces of an even number of blocks: the first two of the next are started before the last
 * two of one are added.  more: add to the sums, which else begin with 0.
 */
VGPU_AMX_INLINE8 void pieces8_even(const struct vgpu_amx_piece8 *p, uint32_t pieces,
				   uint32_t blocks, vgpu_amx_part8 part[2],
				   enum vgpu_g16_kind kind, uint32_t rows, bool more)
{
	const struct vgpu_amx_piece8 *end = p + pieces;

	VGPU_AMX_START8(0, 4, 6, p->a, p->w, 0);
	VGPU_AMX_START8(1, 5, 7, p->a + 1, p->w + 1, 0);
	for (; p < end; p++) {
		const struct vgpu_amx_block8 *a = p->a, *next_a = a + 2, *last = a + blocks - 2;
		const struct vgpu_amx_weight8 *w = p->w, *next_w = w + 2;
		__m512 acc[16];

		sum8_load(acc, p->sum, rows, more);
		for (;; a += 2, w += 2, next_a = a + 2, next_w = w + 2) {
			if (a == last) {
				next_a = p + 1 < end ? p[1].a : NULL;
				next_w = p + 1 < end ? p[1].w : NULL;
			}
			_tile_stored(0, part[0], 64);
			if (next_a)
				VGPU_AMX_START8(0, 4, 6, next_a, next_w, 0);
			if (a != p->a)
				fold8_block(acc, part[1], a - 1, w - 1, kind, rows);
			_tile_stored(1, part[1], 64);
			if (next_a)
				VGPU_AMX_START8(1, 5, 7, next_a + 1, next_w + 1, 0);
			fold8_block(acc, part[0], a, w, kind, rows);
			if (a == last)
				break;
		}
		fold8_block(acc, part[1], a + 1, w + 1, kind, rows);
		sum8_store(p->sum, acc, rows);
	}
}

/* One more block of a piece. */
VGPU_AMX_INLINE8 void piece8_block(const struct vgpu_amx_piece8 *p, uint32_t block,
				   vgpu_amx_part8 part, enum vgpu_g16_kind kind, uint32_t rows,
				   bool more)
{
	__m512 acc[16];

	VGPU_AMX_START8(0, 4, 6, p->a + block, p->w + block, 0);
	_tile_stored(0, part, 64);
	sum8_load(acc, p->sum, rows, more);
	fold8_block(acc, part, p->a + block, p->w + block, kind, rows);
	sum8_store(p->sum, acc, rows);
}

VGPU_AMX_INLINE8 void pieces8(const struct vgpu_amx_piece8 *p, uint32_t pieces, uint32_t blocks,
			      vgpu_amx_part8 part[2], enum vgpu_g16_kind kind, uint32_t rows,
			      bool more)
{
	const uint32_t even = blocks & ~1u;

	if (even)
		pieces8_even(p, pieces, even, part, kind, rows, more);
	for (uint32_t i = 0; i < pieces && even < blocks; i++)
		piece8_block(p + i, even, part[0], kind, rows, more || even);
}

/* Where each half of a block has a scale; tiles hold 16 columns. */
VGPU_AMX_INLINE8 void pieces8_halves(const struct vgpu_amx_piece8 *p, uint32_t pieces,
				     uint32_t blocks, vgpu_amx_part8 part[2], uint32_t rows,
				     bool more)
{
	const struct vgpu_amx_piece8 *end = p + pieces;

	VGPU_AMX_START8(0, 4, 6, p->a, p->w, 0);
	VGPU_AMX_START8(1, 5, 7, p->a, p->w, 1);
	for (; p < end; p++) {
		const struct vgpu_amx_block8 *a = p->a, *next_a = a + 1, *last = a + blocks - 1;
		const struct vgpu_amx_weight8 *w = p->w, *next_w = w + 1;
		__m512 acc[16];

		sum8_load(acc, p->sum, rows, more);
		for (;; a++, w++, next_a = a + 1, next_w = w + 1) {
			if (a == last) {
				next_a = p + 1 < end ? p[1].a : NULL;
				next_w = p + 1 < end ? p[1].w : NULL;
			}
			_tile_stored(0, part[0], 64);
			if (next_a)
				VGPU_AMX_START8(0, 4, 6, next_a, next_w, 0);
			if (a != p->a)
				fold8(acc, part[1], a - 1, _mm512_load_ps(w[-1].more), rows);
			_tile_stored(1, part[1], 64);
			if (next_a)
				VGPU_AMX_START8(1, 5, 7, next_a, next_w, 1);
			fold8(acc, part[0], a, _mm512_load_ps(w->scale), rows);
			if (a == last)
				break;
		}
		fold8(acc, part[1], a, _mm512_load_ps(w->more), rows);
		sum8_store(p->sum, acc, rows);
	}
}

#endif
