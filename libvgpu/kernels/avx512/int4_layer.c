// SPDX-License-Identifier: MIT
/*
 * Layers of AWQ and GPTQ into lines: any eight bits of a qword are a byte of a lane, of which one
 * half is kept, so that a line is two choices of bytes and one of bits.
 */
#include "kernels/avx512/int4_layer.h"
#include "kernels/avx512/lanes.h"

/* Low nibbles of the one, high nibbles of the other. */
static inline __m512i nibbles_of(__m512i low, __m512i high)
{
	/* Where a bit of the first operand is set the second's, else the third's. */
	return _mm512_ternarylogic_epi64(_mm512_set1_epi8(15), low, high, 0xca);
}

/* --- GPTQ: eight inputs of an output are a word, 16 of which are a line --- */

/* Codes 0 .. 7 of each word in a lane's order: 0, 4, 1, 5, 2, 6, 3, 7. */
static inline __m512i lanes_of_words(__m512i x)
{
	const __m512i low = _mm512_set1_epi64(0x2c2824200c080400);
	const __m512i high = _mm512_set1_epi64(0x3834302c1814100c);

	return nibbles_of(_mm512_multishift_epi64_epi8(low, x),
			  _mm512_multishift_epi64_epi8(high, x));
}

static void put_gptq(const struct vgpu_int4_lines *s)
{
	size_t line_bytes = (size_t)s->layer->n * 4;
	const uint8_t *line = s->layer->qweight + s->line * line_bytes + (size_t)s->first * 4;

	for (uint32_t i = 0; i < s->count; i++, line += line_bytes)
		for (uint32_t r = 0; r < s->rows; r += VGPU_GROUP_ROWS) {
			uint8_t *to = s->dst + r / VGPU_GROUP_ROWS * s->unit_bytes + 64 * i;
			__mmask16 there = s->rows - r < VGPU_GROUP_ROWS ? 0x00ff : 0xffff;

			_mm_prefetch((const char *)line + 4 * r + VGPU_INT4_AHEAD * line_bytes,
				     _MM_HINT_T0);
			vgpu_lanes_claim(to);
			_mm512_store_si512(to, lanes_of_words(_mm512_maskz_loadu_epi32(there,
										       line + 4 * r)));
		}
}

/* --- AWQ: eight outputs of an input are a word --- */

/* Qword j of vector i becomes qword i of vector j. */
static inline void turn_qwords(__m512i x[8])
{
	__m512i two[8], four[8];

	for (uint32_t i = 0; i < 8; i += 2) {
		two[i] = _mm512_unpacklo_epi64(x[i], x[i + 1]);
		two[i + 1] = _mm512_unpackhi_epi64(x[i], x[i + 1]);
	}
	/* Qwords j and j + 4 of four vectors in four[j] and four[j + 4]. */
	for (uint32_t i = 0; i < 8; i += 4)
		for (uint32_t odd = 0; odd < 2; odd++) {
			four[i + odd] = _mm512_shuffle_i64x2(two[i + odd], two[i + odd + 2], 0x88);
			four[i + odd + 2] = _mm512_shuffle_i64x2(two[i + odd], two[i + odd + 2], 0xdd);
		}
	for (uint32_t j = 0; j < 4; j++) {
		x[j] = _mm512_shuffle_i64x2(four[j], four[j + 4], 0x88);
		x[j + 4] = _mm512_shuffle_i64x2(four[j], four[j + 4], 0xdd);
	}
}

/*
 * A unit's line; qword i is column i, whose byte b has two rows of either eight: rows 0 and 2 in byte
 * 0, 4 and 6, 1 and 3, 5 and 7.
 */
static inline __m512i line_of_columns(__m512i x)
{
	const __m512i byte = _mm512_setr_epi32(0x00000000, 0x02020202, 0x00000000, 0x02020202,
					       0x01010101, 0x03030303, 0x01010101, 0x03030303,
					       0x04040404, 0x06060606, 0x04040404, 0x06060606,
					       0x05050505, 0x07070707, 0x05050505, 0x07070707);
	const __m512i first = _mm512_add_epi8(byte, _mm512_set1_epi32(0x18100800));
	const __m512i last = _mm512_add_epi8(first, _mm512_set1_epi8(32));
	/* Rows 0, 1, 4, 5 are in low nibbles, rows 2, 3, 6, 7 in high ones. */
	const __m512i stay = _mm512_set1_epi64(0x3830282018100800);
	const __m512i down = _mm512_set1_epi64(0x3c342c241c140c04);
	const __m512i up = _mm512_set1_epi64(0x342c241c140c043c);
	const __mmask8 high = 0xaa;

	return nibbles_of(_mm512_multishift_epi64_epi8(_mm512_mask_mov_epi64(stay, high, down),
						       _mm512_permutexvar_epi8(first, x)),
			  _mm512_multishift_epi64_epi8(_mm512_mask_mov_epi64(up, high, stay),
						       _mm512_permutexvar_epi8(last, x)));
}

static void put_awq(const struct vgpu_int4_lines *s)
{
	size_t input_bytes = (size_t)s->layer->n / 2, line_bytes = 8 * input_bytes;
	const uint8_t *line = s->layer->qweight + s->line * line_bytes + s->first / 2;
	const __mmask16 there = (__mmask16)((1u << s->rows / VGPU_INT4_WORD_CODES) - 1);
	__m512i x[VGPU_INT4_UNITS];

	for (uint32_t i = 0; i < s->count; i++, line += line_bytes) {
		for (uint32_t j = 0; j < 8; j++) {
			_mm_prefetch((const char *)line + (8 * VGPU_INT4_AHEAD + j) * input_bytes,
				     _MM_HINT_T0);
			x[j] = _mm512_maskz_loadu_epi32(there, line + j * input_bytes);
		}
		turn_qwords(x);
		for (uint32_t u = 0; u * VGPU_GROUP_ROWS < s->rows; u++) {
			uint8_t *to = s->dst + u * s->unit_bytes + 64 * i;

			vgpu_lanes_claim(to);
			_mm512_store_si512(to, line_of_columns(x[u]));
		}
	}
}

int vgpu_pack_int4_layer_avx512(void *dst, const struct vgpu_int4_layer *l, uint32_t first,
				uint32_t units, void *scratch)
{
	(void)scratch;
	if (l->scheme == VGPU_INT4_AWQ)
		return vgpu_int4_pack(dst, l, first, units, put_awq);
	return vgpu_int4_pack(dst, l, first, units, put_gptq);
}
