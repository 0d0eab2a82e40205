// SPDX-License-Identifier: MIT
/* Layers of AWQ and GPTQ into lines, 256 bits at a time. */
#include "kernels/avx2/int4_layer.h"

/* --- GPTQ: eight inputs of an output are a word, 16 of which are a line --- */

/* Codes 0 .. 7 of each word in a lane's order: 0, 4, 1, 5, 2, 6, 3, 7. */
static inline __m256i lanes_of_words(__m256i x)
{
	const __m256i turn = _mm256_broadcastsi128_si256(
		_mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15));
	const __m256i stay = _mm256_set1_epi16((short)0xf00f);
	const __m256i low = _mm256_set1_epi16(0x00f0);

	x = _mm256_shuffle_epi8(x, turn);
	return _mm256_or_si256(_mm256_and_si256(x, stay),
			       _mm256_or_si256(_mm256_slli_epi16(_mm256_and_si256(x, low), 4),
					       _mm256_and_si256(_mm256_srli_epi16(x, 4), low)));
}

static void put_gptq(const struct vgpu_int4_lines *s)
{
	size_t line_bytes = (size_t)s->layer->n * 4;
	const uint8_t *line = s->layer->qweight + s->line * line_bytes + (size_t)s->first * 4;

	for (uint32_t i = 0; i < s->count; i++, line += line_bytes)
		for (uint32_t r = 0; r < s->rows; r += VGPU_GROUP_ROWS) {
			const __m256i *from = (const __m256i *)(line + 4 * r);
			__m256i *to = (__m256i *)(s->dst + r / VGPU_GROUP_ROWS * s->unit_bytes + 64 * i);
			__m256i last = _mm256_setzero_si256();

			if (s->rows - r >= VGPU_GROUP_ROWS)
				last = _mm256_loadu_si256(from + 1);
			_mm_prefetch((const char *)from + VGPU_INT4_AHEAD * line_bytes, _MM_HINT_T0);
			_mm256_store_si256(to, lanes_of_words(_mm256_loadu_si256(from)));
			_mm256_store_si256(to + 1, lanes_of_words(last));
		}
}

/* --- AWQ: eight outputs of an input are a word --- */

/*
 * Words of one unit in either half: column i of 8 rows and of the next 8 are qword i, two of them a
 * vector.  Bytes become dwords of four columns: those of rows 0 and 2, 4 and 6, 1 and 3, 5 and 7.
 */
static inline void turn_bytes(__m256i out[4], const __m256i x[4])
{
	const __m256i pairs = _mm256_broadcastsi128_si256(
		_mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
	__m256i y[4];

	for (uint32_t i = 0; i < 4; i++)
		y[i] = _mm256_shuffle_epi8(x[i], pairs);
	out[0] = _mm256_unpacklo_epi16(y[0], y[1]);
	out[1] = _mm256_unpackhi_epi16(y[0], y[1]);
	out[2] = _mm256_unpacklo_epi16(y[2], y[3]);
	out[3] = _mm256_unpackhi_epi16(y[2], y[3]);
}

static inline void store_halves(uint8_t *low, uint8_t *high, __m256i x)
{
	_mm_store_si128((__m128i *)low, _mm256_castsi256_si128(x));
	if (high)
		_mm_store_si128((__m128i *)high, _mm256_extracti128_si256(x, 1));
}

/* Eight rows of one unit in either half, of columns 0 .. 3 and of 4 .. 7. */
static inline void put_rows8(uint8_t *low, uint8_t *high, __m256i first, __m256i last)
{
	const __m256i nibble = _mm256_set1_epi8(15);
	__m256i even = _mm256_or_si256(_mm256_and_si256(first, nibble),
				       _mm256_slli_epi16(_mm256_and_si256(last, nibble), 4));
	__m256i odd = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(first, 4), nibble),
				      _mm256_andnot_si256(nibble, last));
	/* Rows 0, 4, 1, 5 and 2, 6, 3, 7. */
	__m256 a = _mm256_castsi256_ps(even), b = _mm256_castsi256_ps(odd);

	store_halves(low, high, _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88)));
	store_halves(low + 16, high ? high + 16 : NULL,
		     _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xdd)));
}

/* high: NULL: there is no such unit */
static inline void put_two(uint8_t *low, uint8_t *high, const __m256i x[4])
{
	__m256i bytes[4];

	turn_bytes(bytes, x);
	put_rows8(low, high, bytes[0], bytes[2]);
	put_rows8(low + 32, high ? high + 32 : NULL, bytes[1], bytes[3]);
}

/* A line of up to four units, whose words are eight of each of eight inputs. */
static inline void put_four(uint8_t *dst, size_t unit_bytes, uint32_t units, const uint8_t *words,
			    size_t input_bytes, __m256i there)
{
	__m256i x[8], even[4], odd[4];

	for (uint32_t i = 0; i < 8; i++)
		x[i] = _mm256_maskload_epi32((const int *)(words + i * input_bytes), there);
	for (uint32_t i = 0; i < 4; i++) {
		even[i] = _mm256_unpacklo_epi64(x[2 * i], x[2 * i + 1]);
		odd[i] = _mm256_unpackhi_epi64(x[2 * i], x[2 * i + 1]);
	}
	put_two(dst, units > 2 ? dst + 2 * unit_bytes : NULL, even);
	if (units > 1)
		put_two(dst + unit_bytes, units > 3 ? dst + 3 * unit_bytes : NULL, odd);
}

#define FOUR_ROWS	(4 * VGPU_GROUP_ROWS)

static void put_awq(const struct vgpu_int4_lines *s)
{
	size_t input_bytes = (size_t)s->layer->n / 2, line_bytes = 8 * input_bytes;
	const uint8_t *line = s->layer->qweight + s->line * line_bytes + s->first / 2;
	const __m256i places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);

	for (uint32_t i = 0; i < s->count; i++, line += line_bytes) {
		for (uint32_t j = 0; j < 8; j++)
			_mm_prefetch((const char *)line + (8 * VGPU_INT4_AHEAD + j) * input_bytes,
				     _MM_HINT_T0);
		for (uint32_t r = 0; r < s->rows; r += FOUR_ROWS) {
			uint32_t rows = s->rows - r < FOUR_ROWS ? s->rows - r : FOUR_ROWS;
			__m256i words = _mm256_set1_epi32((int)(rows / VGPU_INT4_WORD_CODES));

			put_four(s->dst + r / VGPU_GROUP_ROWS * s->unit_bytes + 64 * i, s->unit_bytes,
				 (rows + VGPU_GROUP_ROWS - 1) / VGPU_GROUP_ROWS, line + r / 2,
				 input_bytes, _mm256_cmpgt_epi32(words, places));
		}
	}
}

int vgpu_pack_int4_layer_avx2(void *dst, const struct vgpu_int4_layer *l, uint32_t first,
			      uint32_t units, void *scratch)
{
	(void)scratch;
	if (l->scheme == VGPU_INT4_AWQ)
		return vgpu_int4_pack(dst, l, first, units, put_awq);
	return vgpu_int4_pack(dst, l, first, units, put_gptq);
}
