/* SPDX-License-Identifier: MIT */
/*
 * Any format of pack/g16_type.h, and INT8_G16, by one to four rows of activations, codes expanded
 * in registers step by step.  What is four bits and has a table has a shorter way,
 * direct_product.h.
 *
 * Type's fields and mt are constants at every call.
 */
#ifndef VGPU_AVX512_DIRECT_STEPS_H
#define VGPU_AVX512_DIRECT_STEPS_H

#include <string.h>

#include "kernels/avx512/act.h"
#include "kernels/avx512/direct.h"
#include "kernels/avx512/g16.h"

#define STEPS_INLINE static inline __attribute__((always_inline))

/* The hardware prefetcher stops at 4 KiB; with small pages it needs a hint beyond. */
#define PREFETCH_BYTES	8192

STEPS_INLINE __m512i broadcast_word(const void *p)
{
	int32_t word;

	memcpy(&word, p, sizeof(word));
	return _mm512_set1_epi32(word);
}

/*
 * A block's share of its tile, further on: with what is between blocks, for a line that no hint
 * names is waited for.
 */
STEPS_INLINE void prefetch_block(const struct vgpu_g16_type *type, const uint8_t *group, uint32_t b)
{
	const uint32_t share = vgpu_g16_tile_at(type, type->tile_blocks) / type->tile_blocks;
	const char *ahead = (const char *)group + PREFETCH_BYTES + b * share;

	/* One pointer: else each line's has a register of its own. */
	__asm__("" : "+r"(ahead));
#pragma GCC unroll 16
	for (uint32_t i = 0; i < share; i += 64)
		_mm_prefetch(ahead + i, _MM_HINT_T0);
}

/* What a minimum adds to a block's product. */
STEPS_INLINE __m512 minimum_of(const struct vgpu_g16_type *type, struct vgpu_g16_scales s,
			       const struct vgpu_acts *x, size_t at, __m512 sum)
{
	if (type->kind != VGPU_KIND_MINIMUM)
		return sum;
	return _mm512_fmadd_ps(_mm512_set1_ps(x->sum[at]), s.more, sum);
}

/* Block b of a group; at: its first group of the activations. */
STEPS_INLINE void steps_a8(__m512 sum[], const struct vgpu_g16_type *type,
			   const struct vgpu_g16_table *table, const uint8_t *group, uint32_t b,
			   const struct vgpu_acts *x, size_t at, uint32_t mt)
{
	const uint32_t parts = type->kind == VGPU_KIND_HALVES ? 2 : 1, steps = 8 / parts;
	const int32_t *start = parts == 2 ? x->half + at * 2 : x->start + at;
	const uint8_t *block = group + vgpu_g16_block_at(type, b);
	struct vgpu_g16_scales s = vgpu_g16_scales(type, group, b);
	__m512i add = vgpu_g16_add(type, group, b, true), dot[4];
	const int8_t *a = (const int8_t *)x->data + at * VGPU_BLOCK;

	prefetch_block(type, group, b);
#pragma GCC unroll 8
	for (uint32_t t = 0; t < 8; t++) {
		__m512i w = vgpu_g16_step_a8(type, table, block, t, add);
		__m512 scale = t < 4 || parts == 1 ? s.scale : s.more;

#pragma GCC unroll 4
		for (uint32_t i = 0; i < mt; i++) {
			if (t % steps == 0)
				dot[i] = _mm512_set1_epi32(start[t / steps * mt + i]);
			dot[i] = _mm512_dpbusd_epi32(dot[i], w,
						     broadcast_word(a + (t * mt + i) * 4));
			if (t % steps == steps - 1)
				sum[i] = _mm512_fmadd_ps(
					_mm512_fmadd_ps(_mm512_castsi512_ps(dot[i]),
							_mm512_set1_ps(x->scale[at + i]),
							_mm512_set1_ps(x->offset[at + i])),
					scale, sum[i]);
		}
	}
#pragma GCC unroll 4
	for (uint32_t i = 0; i < mt; i++)
		sum[i] = minimum_of(type, s, x, at + i, sum[i]);
}

STEPS_INLINE void steps_a16(__m512 sum[], const struct vgpu_g16_type *type,
			    const struct vgpu_g16_table *table, const uint8_t *group, uint32_t b,
			    const struct vgpu_acts *x, size_t at, uint32_t mt)
{
	const uint32_t steps = type->kind == VGPU_KIND_HALVES ? 4 : 8;
	const uint32_t *a = (const uint32_t *)x->data + at * VGPU_BLOCK / 2;
	const uint8_t *block = group + vgpu_g16_block_at(type, b);
	struct vgpu_g16_scales s = vgpu_g16_scales(type, group, b);
	__m512i add = vgpu_g16_add(type, group, b, false), line[2];
	__m512 dot[4];

	prefetch_block(type, group, b);
#pragma GCC unroll 8
	for (uint32_t t = 0; t < 8; t++) {
		__m512 scale = t < 4 || steps == 8 ? s.scale : s.more;

		vgpu_g16_step_a16(line, type, table, block, t, add);
#pragma GCC unroll 4
		for (uint32_t i = 0; i < mt; i++) {
			if (t % steps == 0)
				dot[i] = _mm512_setzero_ps();
			for (uint32_t j = 0; j < 2; j++)
				dot[i] = _mm512_dpbf16_ps(dot[i], (__m512bh)line[j],
					(__m512bh)broadcast_word(a + (2 * t + j) * mt + i));
			if (t % steps == steps - 1)
				sum[i] = _mm512_fmadd_ps(
					_mm512_mul_ps(dot[i], _mm512_set1_ps(x->scale[at + i])),
					scale, sum[i]);
		}
	}
#pragma GCC unroll 4
	for (uint32_t i = 0; i < mt; i++)
		sum[i] = minimum_of(type, s, x, at + i, sum[i]);
}

/*
 * One group after the other, as they lie: with two at a time memory is read in two places, and
 * of short rows much of what is asked for ahead is what the other one has had.  A block's
 * additions wait for each other, but not those of the next blocks.  One loop, so that the
 * blocks' code is there once.
 */
STEPS_INLINE void rows_product(const struct vgpu_group g[2], const struct vgpu_acts *x, float *y,
			       size_t ldy, uint32_t mt, const struct vgpu_g16_type *type)
{
	const struct vgpu_g16_table table = vgpu_g16_table(type);
	const uint32_t blocks = x->kpad / VGPU_BLOCK, all = (g[1].rows ? 2 : 1) * blocks;
	__m512 sum[2][4];

#pragma GCC unroll 4
	for (uint32_t i = 0; i < mt; i++)
		sum[0][i] = sum[1][i] = _mm512_setzero_ps();
	for (uint32_t i = 0; i < all; i++) {
		uint32_t v = i >= blocks, b = i - v * blocks;

		if (vgpu_mode_is_a8(x->mode))
			steps_a8(sum[v], type, &table, g[v].data, b, x, (size_t)b * mt, mt);
		else
			steps_a16(sum[v], type, &table, g[v].data, b, x, (size_t)b * mt, mt);
	}
	for (uint32_t v = 0; v < 2; v++) {
#pragma GCC unroll 4
		for (uint32_t i = 0; i < mt; i++)
			_mm512_mask_storeu_ps(y + i * ldy + 16 * v,
					      (__mmask16)((1u << g[v].rows) - 1), sum[v][i]);
	}
}

/* With constants for as many rows as there are. */
STEPS_INLINE void steps_product(const struct vgpu_group g[2], const struct vgpu_acts *x, float *y,
				size_t ldy, const struct vgpu_g16_type *type)
{
	switch (x->m) {
	case 1:
		rows_product(g, x, y, ldy, 1, type);
		break;
	case 2:
		rows_product(g, x, y, ldy, 2, type);
		break;
	case 3:
		rows_product(g, x, y, ldy, 3, type);
		break;
	default:
		rows_product(g, x, y, ldy, 4, type);
		break;
	}
}

#endif
