// SPDX-License-Identifier: MIT
#include "kernels/pack/int4_layer.h"

#include <endian.h>
#include <string.h>

#include "kernels/kernels.h"

/* Without it, rows of a power of two would fall on the same lines of the cache. */
#define ROW_GAP		64u
/* Inputs, a multiple of 8, between what is fetched and what is read. */
#define AHEAD		64u

/* Of which output of eight AWQ has the code in place i of a word, and where output i is. */
static const uint8_t awq_output[VGPU_INT4_WORD_CODES] = { 0, 2, 4, 6, 1, 3, 5, 7 };
static const uint8_t awq_place[VGPU_INT4_WORD_CODES] = { 0, 4, 1, 5, 2, 6, 3, 7 };

static uint32_t word_at(const uint8_t *words, uint64_t index)
{
	uint32_t word;

	memcpy(&word, words + 4 * index, sizeof(word));
	return le32toh(word);
}

static uint16_t half_at(const uint8_t *halves, uint64_t index)
{
	uint16_t half;

	memcpy(&half, halves + 2 * index, sizeof(half));
	return le16toh(half);
}

/* What is read next lies rows of the tensor away, where no prefetcher of the CPU looks. */
static void fetch_word(const uint8_t *words, uint64_t index)
{
	__builtin_prefetch(words + 4 * index);
}

uint32_t vgpu_int4_layer_format(const struct vgpu_int4_layer *l)
{
	if (l->cols == 128)
		return l->zeros ? VGPU_W_INT4_Z128_G16 : VGPU_W_INT4_128_G16;
	if (l->cols == 64)
		return l->zeros ? VGPU_W_INT4_Z64_G16 : VGPU_W_INT4_64_G16;
	return l->zeros ? VGPU_W_INT4_Z32_G16 : VGPU_W_Q4_0_G16;
}

static size_t row_bytes(const struct vgpu_int4_layer *l)
{
	return l->k + ROW_GAP;
}

size_t vgpu_int4_layer_scratch_bytes(const struct vgpu_int4_layer *l)
{
	/* Codes, scales of two bytes, zero points. */
	return VGPU_GROUP_ROWS * (row_bytes(l) + 3 * (size_t)(l->k / l->cols));
}

/* Zero point of output @r in a group of the file. */
static uint8_t zero_at(const struct vgpu_int4_layer *l, uint32_t group, uint32_t r)
{
	uint64_t words = l->n / VGPU_INT4_WORD_CODES;
	uint32_t word = word_at(l->qzeros, group * words + r / VGPU_INT4_WORD_CODES);
	uint32_t place = r % VGPU_INT4_WORD_CODES;

	if (l->scheme == VGPU_INT4_AWQ)
		place = awq_place[place];
	return (uint8_t)((word >> 4 * place & 15) + (l->scheme == VGPU_INT4_GPTQ));
}

/* Of one row. */
static void put_scales(const struct vgpu_int4_layer *l, uint32_t row, uint16_t *scales,
		       uint8_t *zeros)
{
	for (uint32_t i = 0; i < l->k / l->cols; i++) {
		uint32_t group = i * l->cols / l->group;

		scales[i] = half_at(l->scales, (uint64_t)group * l->n + row);
		zeros[i] = zero_at(l, group, row);
	}
}

/* Eight codes of a word as eight bytes. */
static void put_word(uint8_t *codes, uint64_t word)
{
	word = (word | word << 16) & 0x0000ffff0000ffffu;
	word = (word | word << 8) & 0x00ff00ff00ff00ffu;
	word = (word | word << 4) & 0x0f0f0f0f0f0f0f0fu;
	word = htole64(word);
	memcpy(codes, &word, sizeof(word));
}

/* Of each two words @step apart: upper codes of the one for lower ones of the other. */
static inline void swap_codes(uint32_t w[VGPU_INT4_WORD_CODES], uint32_t step, uint32_t lower)
{
	for (uint32_t i = 0; i < VGPU_INT4_WORD_CODES; i++) {
		uint32_t other;

		if (i & step)
			continue;
		other = (w[i] >> 4 * step ^ w[i + step]) & lower;
		w[i + step] ^= other;
		w[i] ^= other << 4 * step;
	}
}

/* Code i of word j becomes code j of word i; Warren, Hacker's Delight, 2nd ed., 7-3. */
static void transpose(uint32_t w[VGPU_INT4_WORD_CODES])
{
	swap_codes(w, 4, 0x0000ffff);
	swap_codes(w, 2, 0x00ff00ff);
	swap_codes(w, 1, 0x0f0f0f0f);
}

/* A word has an input of eight outputs: eight of them, turned, have eight inputs of one each. */
static void put_codes_awq(const struct vgpu_int4_layer *l, uint32_t first, uint32_t rows,
			  uint8_t *codes)
{
	uint64_t words = l->n / VGPU_INT4_WORD_CODES;
	uint32_t w[VGPU_INT4_WORD_CODES];
	size_t ld = row_bytes(l);

	for (uint32_t c = 0; c < l->k; c += VGPU_INT4_WORD_CODES) {
		for (uint32_t i = 0; i < VGPU_INT4_WORD_CODES && c + AHEAD < l->k; i++)
			fetch_word(l->qweight, (c + AHEAD + i) * words + first / VGPU_INT4_WORD_CODES);
		for (uint32_t r = 0; r < rows; r += VGPU_INT4_WORD_CODES) {
			for (uint32_t i = 0; i < VGPU_INT4_WORD_CODES; i++)
				w[i] = word_at(l->qweight, (c + i) * words +
					       (first + r) / VGPU_INT4_WORD_CODES);
			transpose(w);
			for (uint32_t i = 0; i < VGPU_INT4_WORD_CODES; i++)
				put_word(codes + (r + awq_output[i]) * ld + c, w[i]);
		}
	}
}

/* A word has eight inputs of an output. */
static void put_codes_gptq(const struct vgpu_int4_layer *l, uint32_t first, uint32_t rows,
			   uint8_t *codes)
{
	size_t ld = row_bytes(l);

	for (uint32_t c = 0; c < l->k; c += VGPU_INT4_WORD_CODES) {
		uint64_t at = (uint64_t)(c / VGPU_INT4_WORD_CODES) * l->n + first;

		if (c + AHEAD < l->k)
			fetch_word(l->qweight, at + AHEAD / VGPU_INT4_WORD_CODES * l->n);
		for (uint32_t r = 0; r < rows; r++)
			put_word(codes + r * ld + c, word_at(l->qweight, at + r));
	}
}

void vgpu_int4_layer_rows(const struct vgpu_int4_layer *l, uint32_t first, void *scratch,
			  struct vgpu_int4_rows *out)
{
	uint32_t rows = l->n - first < VGPU_GROUP_ROWS ? l->n - first : VGPU_GROUP_ROWS;
	uint8_t *codes = scratch, *zeros;
	size_t groups = l->k / l->cols;
	uint16_t *scales;

	scales = (uint16_t *)(codes + VGPU_GROUP_ROWS * row_bytes(l));
	zeros = (uint8_t *)(scales + VGPU_GROUP_ROWS * groups);
	for (uint32_t r = 0; r < rows; r++)
		put_scales(l, first + r, scales + r * groups, zeros + r * groups);
	if (l->scheme == VGPU_INT4_AWQ)
		put_codes_awq(l, first, rows, codes);
	else
		put_codes_gptq(l, first, rows, codes);
	*out = (struct vgpu_int4_rows){
		.codes = codes, .scales = scales, .zeros = l->zeros ? zeros : NULL,
		.ld = row_bytes(l), .ld_groups = groups, .rows = rows, .k = l->k,
	};
}
