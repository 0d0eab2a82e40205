/* SPDX-License-Identifier: MIT */
/*
 * A group of 16 rows by one row of activations without tiles, with the bits that tiles give.
 *
 * TDPBF16PS adds up the first columns of its pairs one after the other, by an FMA in f32 each,
 * the second ones beside them, and then both.  FMA of AVX-512 do the same.  A tile takes its
 * time however few its rows are, and its weights go to memory and back first: for one row this
 * is half the instructions of narrow_product.h, and weights are read in the order in which they
 * lie.
 *
 * Type's fields are constants at every call.
 */
#ifndef VGPU_AMX_SINGLE_PRODUCT_H
#define VGPU_AMX_SINGLE_PRODUCT_H

#include "kernels/amx/lines_block.h"
#include "kernels/amx/single.h"

#define SINGLE_INLINE static inline __attribute__((always_inline))

/*
 * Into L2 a page ahead, where the hardware prefetcher does not go, and from there into L1, whose
 * few buffers memory would keep busy; measured.
 */
#define SINGLE_FAR	4096
#define SINGLE_NEAR	1024

SINGLE_INLINE void single_prefetch(const uint8_t *p, size_t bytes)
{
#pragma GCC unroll 8
	for (size_t i = 0; i < bytes; i += 64) {
		_mm_prefetch((const char *)p + i + SINGLE_FAR, _MM_HINT_T1);
		_mm_prefetch((const char *)p + i + SINGLE_NEAR, _MM_HINT_T0);
	}
}

/* A byte behind the bits of 2^23, as a number less the code of zero. */
SINGLE_INLINE __m512 single_number(__m512i bits, uint32_t zero)
{
	return _mm512_sub_ps(_mm512_castsi512_ps(bits), _mm512_set1_ps(0x1p23f + (float)zero));
}

/* Columns 4 t .. 4 t + 3 of a block of bytes: one is masked, one shifted, two are shuffled. */
SINGLE_INLINE void single_bytes(__m512 w[4], __m512i bytes, uint32_t zero)
{
	const __m512i bits = _mm512_set1_epi32(0x4b000000);
	const __m512i second = _mm512_set4_epi32(13, 9, 5, 1);
	const __m512i third = _mm512_set4_epi32(14, 10, 6, 2);
	const __mmask64 lowest = 0x1111111111111111;

	w[0] = single_number(_mm512_ternarylogic_epi32(bytes, _mm512_set1_epi32(0xff), bits, 0xea),
			     zero);
	w[1] = single_number(_mm512_mask_shuffle_epi8(bits, lowest, bytes, second), zero);
	w[2] = single_number(_mm512_mask_shuffle_epi8(bits, lowest, bytes, third), zero);
	w[3] = single_number(_mm512_or_si512(_mm512_srli_epi32(bytes, 24), bits), zero);
}

/* Numbers of codes: 0 .. 15, of five bits 16 .. 31, too. */
struct single_table {
	__m512 first, last;
};

SINGLE_INLINE struct single_table single_table(const struct vgpu_g16_type *type)
{
	__m512i zero = _mm512_set1_epi32(type->header == VGPU_HEADER_F16_ZERO ? 16 : type->zero);
	__m512i count = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	__m512i twice = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(vgpu_mxfp4_table_bf16()));

	count = _mm512_sub_epi32(count, zero);
	return (struct single_table){
		type->e2m1 ? _mm512_castsi512_ps(_mm512_slli_epi32(twice, 16)) :
			     _mm512_cvtepi32_ps(count),
		_mm512_cvtepi32_ps(_mm512_add_epi32(count, _mm512_set1_epi32(16))),
	};
}

/* The same of codes of four bits: a permutation looks at no more. */
SINGLE_INLINE void single_nibbles(__m512 w[4], const uint8_t *block, uint32_t t, __m512 table)
{
	__m512i line = _mm512_load_si512(block + t / 2 * 64);

#pragma GCC unroll 4
	for (uint32_t i = 0; i < 4; i++)
		w[i] = _mm512_permutexvar_ps(_mm512_srli_epi32(line, 8 * i + t % 2 * 4), table);
}

/* Of bytes whose lower five bits count. */
SINGLE_INLINE void single_fives(__m512 w[4], __m512i codes, struct single_table table)
{
#pragma GCC unroll 4
	for (uint32_t i = 0; i < 4; i++)
		w[i] = _mm512_permutex2var_ps(table.first, _mm512_srli_epi32(codes, 8 * i),
					      table.last);
}

/* Step t: first and second columns of two pairs; a: those of the activations. */
SINGLE_INLINE void single_add(__m512 sum[2], const __m512 w[4], const float *a, uint32_t t)
{
	sum[0] = _mm512_fmadd_ps(_mm512_set1_ps(a[2 * t]), w[0], sum[0]);
	sum[1] = _mm512_fmadd_ps(_mm512_set1_ps(a[16 + 2 * t]), w[2], sum[1]);
	sum[0] = _mm512_fmadd_ps(_mm512_set1_ps(a[2 * t + 1]), w[1], sum[0]);
	sum[1] = _mm512_fmadd_ps(_mm512_set1_ps(a[16 + 2 * t + 1]), w[3], sum[1]);
}

/* What a tile is then: of high parts, and of low parts where there are some. */
SINGLE_INLINE __m512 single_tile(const __m512 sum[4], bool low)
{
	__m512 tile = _mm512_add_ps(sum[0], sum[1]);

	return low ? _mm512_add_ps(tile, _mm512_add_ps(sum[2], sum[3])) : tile;
}

/* Codes of five bits, with others above them: a permutation looks at no more. */
SINGLE_INLINE __m512i single_five_codes(const uint8_t *block, uint32_t t)
{
	__m512i x = _mm512_load_si512(block + t / 2 * 64);

	if (t % 2)
		x = _mm512_srli_epi16(x, 4);
	/* x & mask | upper & ~mask */
	return _mm512_ternarylogic_epi32(_mm512_set1_epi8(15), x, vgpu_g16_upper(block, 5, t), 0xca);
}

/* Step t of a block; add: to codes whose zeros are the rows' own. */
SINGLE_INLINE void single_step(__m512 w[4], const uint8_t *block, uint32_t t, __m512i add,
			       struct single_table table, const struct vgpu_g16_type *type)
{
	if (g16_four(type))
		single_nibbles(w, block, t, table.first);
	else if (type->header == VGPU_HEADER_F16_ZERO)
		single_fives(w, _mm512_add_epi8(vgpu_g16_codes(block, type->bits, t), add), table);
	else if (type->bits == 5)
		single_fives(w, single_five_codes(block, t), table);
	else
		single_bytes(w, vgpu_g16_codes(block, type->bits, t), type->zero);
}

/* acc += block b * scale, and the minimum times the activations' sum. */
SINGLE_INLINE __m512 single_block(__m512 acc, const struct vgpu_single *s, const uint8_t *block,
				  uint32_t b, const float *scale, __m512i add,
				  struct single_table table, const struct vgpu_g16_type *type,
				  bool low)
{
	const uint32_t steps = type->kind == VGPU_KIND_HALVES ? 4 : 8;
	__m512 sum[4], w[4];

	single_prefetch(block, vgpu_g16_block_bytes(type));
#pragma GCC unroll 8
	for (uint32_t t = 0; t < 8; t++) {
		if (t % steps == 0)
			sum[0] = sum[1] = sum[2] = sum[3] = _mm512_setzero_ps();
		single_step(w, block, t, add, table, type);
		single_add(sum, w, s->acts[b].high, t);
		if (low)
			single_add(sum + 2, w, s->acts[b].low, t);
		if (t % steps == steps - 1)
			acc = _mm512_fmadd_ps(single_tile(sum, low),
					      _mm512_load_ps(scale + t / steps * 16), acc);
	}
	if (type->kind == VGPU_KIND_MINIMUM)
		acc = _mm512_fmadd_ps(_mm512_set1_ps(s->sum[b]), _mm512_load_ps(scale + 16), acc);
	return acc;
}

SINGLE_INLINE __m512 single_product(const struct vgpu_single *s, const struct vgpu_group *g,
				    const struct vgpu_g16_type *type)
{
	float scale[8 * LINES_SCALE_STEP] __attribute__((aligned(64)));
	struct single_table table = single_table(type);
	__m512 acc = _mm512_setzero_ps();

	for (uint32_t b = 0; b < s->blocks; b++) {
		const uint8_t *block = g->data + vgpu_g16_block_at(type, b);
		float *at = scale + (type->header == VGPU_HEADER_K6 ? b % 8 * LINES_SCALE_STEP : 0);
		__m512i add = vgpu_g16_add(type, g->data, b, false);

		if (b % type->tile_blocks == 0)
			single_prefetch(g->data + vgpu_g16_tile_at(type, b), type->header_bytes);
		g16_scales(at, g, b, type);
		if (s->is_low[b])
			acc = single_block(acc, s, block, b, at, add, table, type, true);
		else
			acc = single_block(acc, s, block, b, at, add, table, type, false);
	}
	return acc;
}

/* The product of a format by its row of a table. */
#define SINGLE_G16(name, ...)								\
__m512 vgpu_single_##name(const struct vgpu_single *s, const struct vgpu_group *g)	\
{											\
	static const struct vgpu_g16_type type = __VA_ARGS__;				\
											\
	return single_product(s, g, &type);						\
}

#endif
