// SPDX-License-Identifier: MIT
#include "kernels/avx512/run8.h"

#include "kernels/avx512/g16.h"
#include "kernels/pack/run8.h"

#define TILE_BLOCKS	4u

/* The exponents of a tile of four blocks, a row a lane and a block a byte. */
static inline __m512i exponents(const struct vgpu_group *g, uint32_t block)
{
	return _mm512_load_si512(g->data + (size_t)(block / TILE_BLOCKS) * VGPU_MXFP4_TILE);
}

/* Bytes of a line that are blocks below end: bit j of every four. */
static inline __mmask64 blocks_below(uint32_t block, uint32_t end)
{
	uint32_t count = end - block < TILE_BLOCKS ? end - block : TILE_BLOCKS;

	return 0x1111111111111111ull * ((1u << count) - 1);
}

/* The least, or the most, of a lane's bytes in all of them. */
static inline __m512i lane_min(__m512i x)
{
	x = _mm512_min_epu8(x, _mm512_ror_epi32(x, 16));
	return _mm512_min_epu8(x, _mm512_ror_epi32(x, 8));
}

static inline __m512i lane_max(__m512i x)
{
	x = _mm512_max_epu8(x, _mm512_ror_epi32(x, 16));
	return _mm512_max_epu8(x, _mm512_ror_epi32(x, 8));
}

/* Of the run's rows: the least exponent, in all bytes of a lane, and the most. */
static void run_ends(__m512i *least, __m512i *most, const struct vgpu_group *g, uint32_t block,
		     uint32_t end)
{
	*least = _mm512_set1_epi8((char)0xff);
	*most = _mm512_setzero_si512();
	for (; block < end; block += TILE_BLOCKS) {
		__mmask64 mask = blocks_below(block, end);
		__m512i line = exponents(g, block);

		*least = _mm512_mask_min_epu8(*least, mask, *least, line);
		*most = _mm512_mask_max_epu8(*most, mask, *most, line);
	}
	*least = lane_min(*least);
	*most = lane_max(*most);
}

static bool run_fits(const struct vgpu_group *g, uint32_t block, uint32_t end)
{
	__m512i least, most;
	__mmask64 not;

	run_ends(&least, &most, g, block, end);
	not = _mm512_cmplt_epu8_mask(least, _mm512_set1_epi8(VGPU_RUN_LEAST)) |
	      _mm512_cmpgt_epu8_mask(most, _mm512_set1_epi8((char)VGPU_RUN_MOST)) |
	      _mm512_cmpgt_epu8_mask(_mm512_sub_epi8(most, least),
				     _mm512_set1_epi8(VGPU_RUN_SPREAD));
	return !not;
}

/* Behind the last block of the run that begins with one. */
static uint32_t run_end(uint32_t block, uint32_t end)
{
	return end - block < VGPU_RUN_BLOCKS ? end : block + VGPU_RUN_BLOCKS;
}

bool vgpu_run8_fit_avx512(const struct vgpu_group *g, uint32_t first, uint32_t blocks)
{
	uint32_t block = first / VGPU_BLOCK, end = block + blocks;

	for (; block < end; block += VGPU_RUN_BLOCKS)
		if (!run_fits(g, block, run_end(block, end)))
			return false;
	return true;
}

/* Twice the value of a code, shifted by bits 4 and 5, plus 128: vpermb looks at 6 bits. */
static inline __m512i table(void)
{
	static const int8_t twice[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };
	uint8_t t[64] __attribute__((aligned(64)));

	for (uint32_t i = 0; i < 64; i++)
		t[i] = (uint8_t)(128 + twice[i % 16] * (1 << i / 16));
	return _mm512_load_si512(t);
}

/* Eight lines of a block; shift: of a row in all bytes of its lane, times 16. */
static void block_fill(uint8_t *out, const uint8_t *codes, __m512i shift, __m512i t)
{
	const __m512i low = _mm512_set1_epi8(0xf);

	for (uint32_t u = 0; u < 4; u++, out += 128) {
		__m512i line = _mm512_load_si512(codes + u * 64);
		__m512i high = _mm512_srli_epi32(line, 4);

		/* low & line | shift */
		line = _mm512_ternarylogic_epi32(low, line, shift, 0xea);
		high = _mm512_ternarylogic_epi32(low, high, shift, 0xea);
		_mm512_store_si512(out, _mm512_permutexvar_epi8(line, t));
		_mm512_store_si512(out + 64, _mm512_permutexvar_epi8(high, t));
	}
}

/* What block's codes are shifted by, times 16, in all bytes of a lane. */
static inline __m512i block_shift(__m512i line, __m512i least, uint32_t block)
{
	const __m512i lane = _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
	__m512i of = _mm512_add_epi8(lane, _mm512_set1_epi8((char)(block % TILE_BLOCKS)));
	__m512i above = _mm512_sub_epi8(line, least);

	return _mm512_slli_epi32(_mm512_shuffle_epi8(above, of), 4);
}

void vgpu_run8_fill_avx512(uint8_t *lines, float *scales, const struct vgpu_group *g,
			   uint32_t first, uint32_t blocks)
{
	const uint32_t begin = first / VGPU_BLOCK, end = begin + blocks;
	const __m512i t = table();
	__m512i least, most;

	for (uint32_t b = begin; b < end; b++) {
		if ((b - begin) % VGPU_RUN_BLOCKS == 0) {
			run_ends(&least, &most, g, b, run_end(b, end));
			_mm512_store_ps(scales + (b - begin) * 16, vgpu_mxfp4_half_scale(least, 0));
		}
		block_fill(lines + (size_t)(b - begin) * 512, g->data + vgpu_mxfp4_g16_codes(b),
			   block_shift(exponents(g, b), least, b), t);
	}
}
