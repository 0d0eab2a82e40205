// SPDX-License-Identifier: MIT
/*
 * Blocks of GGUF into the packed formats of pack/g16_type.h.
 */
#include <immintrin.h>

#include "kernels/avx2/lanes.h"
#include "kernels/avx2/regroup.h"
#include "kernels/pack/g16_blocks.h"

/* The four words or'ed, in the lowest. */
static inline __m128i words_or(__m128i x)
{
	x = _mm_or_si128(x, _mm_shuffle_epi32(x, 0x4e));
	return _mm_or_si128(x, _mm_shuffle_epi32(x, 0xb1));
}

static inline void word_store(uint8_t *dst, __m128i x)
{
	int32_t word = _mm_cvtsi128_si32(x);

	memcpy(dst, &word, sizeof(word));
}

/* Word t of codes is step t, four columns a byte each; see g16_type.h for the order. */
static inline __attribute__((always_inline)) void put_codes(uint8_t *lane, uint32_t bits,
							    const uint8_t codes[32])
{
	const __m128i nibble = _mm_set1_epi8(15);
	__m128i a = _mm_loadu_si128((const __m128i *)codes);
	__m128i b = _mm_loadu_si128((const __m128i *)(codes + 16));
	uint8_t *high = lane + VGPU_MXFP4_BLOCK_CODES;

	vgpu_lanes_store(lane, vgpu_lanes_of_codes(_mm_and_si128(a, nibble),
						   _mm_and_si128(b, nibble)));
	if (bits == 4)
		return;
	a = _mm_and_si128(_mm_srli_epi16(a, 4), nibble);
	b = _mm_and_si128(_mm_srli_epi16(b, 4), nibble);
	if (bits == 5) {
		a = _mm_sllv_epi32(a, _mm_setr_epi32(0, 1, 2, 3));
		b = _mm_sllv_epi32(b, _mm_setr_epi32(4, 5, 6, 7));
		word_store(high, words_or(_mm_or_si128(a, b)));
		return;
	}
	word_store(high, words_or(_mm_sllv_epi32(a, _mm_setr_epi32(0, 2, 4, 6))));
	word_store(high + 64, words_or(_mm_sllv_epi32(b, _mm_setr_epi32(0, 2, 4, 6))));
}

void vgpu_regroup_g16_avx2(const struct vgpu_g16_type *type, uint8_t *dst, const uint8_t *src,
			   uint32_t rows, uint32_t k)
{
	vgpu_g16_regroup(type, dst, src, vgpu_weight_unit_bytes(type->source, k), rows, k,
			 put_codes);
}

int vgpu_pack_blocks_avx2(void *dst, enum vgpu_wformat format, const void *src, uint32_t rows,
			  uint32_t k)
{
	const struct vgpu_g16_type *type = vgpu_g16_type(format);
	int rc = vgpu_g16_check(type, src, rows, k);

	if (!rc)
		vgpu_regroup_g16_avx2(type, dst, src, rows, k);
	return rc;
}
