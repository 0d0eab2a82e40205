// SPDX-License-Identifier: MIT
/*
 * Speed comes from a table of Gaussians drawn once: a block of 32 numbers is a random
 * stretch of it with random signs. For FP4 the table holds blocks that are encoded
 * already, once for each quarter of a power of two; whole powers go into the scale.
 */
#include "gen_values.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK 32
#define GAUSS_COUNT (1u << 16)
#define FP4_BLOCKS 4096u

struct fp4_block {
	uint64_t codes[2];
	int exponent;		/* unbiased scale of the block */
};

struct gen_values {
	float gauss[GAUSS_COUNT + BLOCK];
	struct fp4_block fp4[4][FP4_BLOCKS];
};

/* 2^(i/4), rounded to float. */
static const float quarters[4] = { 1.0f, 0x1.306fep+0f, 0x1.6a09e6p+0f, 0x1.ae89fap+0f };

/* Vigna, http://xoshiro.di.unimi.it/splitmix64.c */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

/* Marsaglia, Xorshift RNGs (2003), with Vigna's multiplier; the state is never 0. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1du;
}

uint64_t gen_stream(uint64_t stream, uint64_t part)
{
	return mix(stream ^ mix(part));
}

/* Sum of twelve uniforms: mean 0, variance 1, and exact in a float. */
static float draw_gauss(uint64_t *state)
{
	int32_t sum = -6 * 65536;
	int i;

	for (i = 0; i < 3; i++) {
		uint64_t r = next_random(state);

		sum += (int32_t)(r & 0xffff) + (int32_t)(r >> 16 & 0xffff) +
		       (int32_t)(r >> 32 & 0xffff) + (int32_t)(r >> 48);
	}
	return (float)sum / 65536.0f;
}

/* Nearest E2M1 magnitude, ties to the even code, saturated at 6 (OCP MX v1.0, 5.3.3). */
static unsigned int encode_e2m1(float a)
{
	return (a > 0.25f) + (a >= 0.75f) + (a > 1.25f) + (a >= 1.75f) + (a > 2.5f) +
	       (a >= 3.5f) + (a > 5.0f);
}

static int floor_log2(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, sizeof(bits));
	return (int)(bits >> 23 & 0xff) - 127;
}

static float power_of_two(int exponent)
{
	uint32_t bits = (uint32_t)(exponent + 127) << 23;
	float x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

/* Signs are drawn later: only magnitudes count here. */
static void encode_block(const float *gauss, float scale, struct fp4_block *block)
{
	float max = 0, a[BLOCK], unit;
	int i;

	for (i = 0; i < BLOCK; i++) {
		a[i] = (gauss[i] < 0 ? -gauss[i] : gauss[i]) * scale;
		max = a[i] > max ? a[i] : max;
	}
	block->exponent = floor_log2(max) - 2;
	unit = power_of_two(-block->exponent);
	block->codes[0] = block->codes[1] = 0;
	for (i = 0; i < BLOCK; i++)
		block->codes[i / 16] |= (uint64_t)encode_e2m1(a[i] * unit) << i % 16 * 4;
}

struct gen_values *gen_values_create(void)
{
	struct gen_values *v = malloc(sizeof(*v));
	uint64_t state = 0x5eed;
	uint32_t i, q;

	if (!v)
		return NULL;
	for (i = 0; i < GAUSS_COUNT; i++)
		v->gauss[i] = draw_gauss(&state);
	memcpy(v->gauss + GAUSS_COUNT, v->gauss, BLOCK * sizeof(*v->gauss));
	for (q = 0; q < 4; q++)
		for (i = 0; i < FP4_BLOCKS; i++)
			encode_block(v->gauss + (size_t)i * 16, quarters[q], &v->fp4[q][i]);
	return v;
}

void gen_values_destroy(struct gen_values *values)
{
	free(values);
}

/* floor(4 log2(n)); the constants are 2^(i/4) with 31 binary places. */
static int quarter_log2(uint32_t n)
{
	int msb = 31 - __builtin_clz(n);
	uint32_t top = n << (31 - msb);

	return 4 * msb + (top >= 2553802834u) + (top >= 3037000500u) + (top >= 3611622603u);
}

int gen_root_shift(uint32_t n)
{
	return -quarter_log2(n) / 2;
}

/*
 * Amplitude rank^-1/2, so that the energies of ranks fall like 1/rank; ranks are drawn,
 * not permuted, which leaves the law as it is.
 */
static int law_shift(uint64_t random, uint32_t count)
{
	uint32_t rank = (uint32_t)((random >> 32) * count >> 32);

	return gen_root_shift(1 + rank);
}

static int row_shift(const struct gen_matrix *m, uint32_t row)
{
	if (m->flat)
		return m->shift;
	return m->shift + law_shift(gen_stream(m->stream, 2 * (uint64_t)row), m->rows);
}

static int block_shift(const struct gen_matrix *m, uint32_t block)
{
	if (m->flat)
		return 0;
	return law_shift(gen_stream(m->stream, 2 * (uint64_t)block + 1),
			 (m->k + BLOCK - 1) / BLOCK);
}

/* The numbers of one block: where in the table, and 32 signs. */
struct draw {
	uint32_t index;
	uint32_t signs;
};

static struct draw draw_block(uint64_t *state)
{
	uint64_t r = next_random(state);

	return (struct draw){ .index = (uint32_t)(r >> 48), .signs = (uint32_t)r };
}

static uint64_t row_state(const struct gen_matrix *m, uint32_t row)
{
	return gen_stream(~m->stream, row) | 1;
}

static void draw_floats(const struct gen_values *v, const struct gen_matrix *m, int shift,
			struct draw d, uint32_t *bits)
{
	const float *gauss = v->gauss + d.index;
	float scale = quarters[shift & 3] * power_of_two(shift >> 2);
	float x[BLOCK];
	int i;

	for (i = 0; i < BLOCK; i++)
		x[i] = gauss[i] * scale;
	memcpy(bits, x, sizeof(x));
	for (i = 0; i < BLOCK; i++)
		bits[i] ^= d.signs << i & 0x80000000u;
	if (m->offset == 0)
		return;
	memcpy(x, bits, sizeof(x));
	for (i = 0; i < BLOCK; i++)
		x[i] += m->offset;
	memcpy(bits, x, sizeof(x));
}

/* Round to nearest, ties to even; the numbers are finite. */
static void to_bf16(const uint32_t *bits, uint16_t *out)
{
	int i;

	for (i = 0; i < BLOCK; i++)
		out[i] = (uint16_t)((bits[i] + 0x7fff + (bits[i] >> 16 & 1)) >> 16);
}

static void float_row(const struct gen_values *v, const struct gen_matrix *m, uint32_t row,
		      unsigned char *out)
{
	uint64_t state = row_state(m, row);
	int shift = row_shift(m, row);
	uint32_t bits[BLOCK], at, count;
	uint16_t halves[BLOCK];

	for (at = 0; at < m->k; at += BLOCK) {
		count = m->k - at < BLOCK ? m->k - at : BLOCK;
		draw_floats(v, m, shift + block_shift(m, at / BLOCK), draw_block(&state), bits);
		if (m->element == GEN_F32) {
			memcpy(out + at * sizeof(*bits), bits, count * sizeof(*bits));
			continue;
		}
		to_bf16(bits, halves);
		memcpy(out + at * sizeof(*halves), halves, count * sizeof(*halves));
	}
}

/* Bit 3 of each half byte is its sign. */
static void fp4_row(const struct gen_values *v, const struct gen_matrix *m, uint32_t row,
		    unsigned char *out)
{
	const uint64_t signs = 0x8888888888888888u;
	uint64_t state = row_state(m, row), codes[2], r;
	int shift = row_shift(m, row), s;
	uint32_t block;

	for (block = 0; block < m->k / BLOCK; block++) {
		const struct fp4_block *from;
		struct draw d = draw_block(&state);

		s = shift + block_shift(m, block);
		from = &v->fp4[s & 3][d.index % FP4_BLOCKS];
		if (m->element == GEN_FP4_SCALES) {
			s = 127 + from->exponent + (s >> 2);
			*out++ = (unsigned char)(s < 0 ? 0 : s > 254 ? 254 : s);
			continue;
		}
		/* Four shifts, so that each of the 32 bits becomes one sign. */
		r = (uint64_t)(d.signs << 1) << 32 | d.signs;
		codes[0] = from->codes[0] ^ (r & signs);
		codes[1] = from->codes[1] ^ (r << 2 & signs);
		memcpy(out, codes, sizeof(codes));
		out += sizeof(codes);
	}
}

static void position_row(const struct gen_matrix *m, unsigned char *out)
{
	int64_t i;

	for (i = 0; i < m->k; i++)
		memcpy(out + (size_t)i * sizeof(i), &i, sizeof(i));
}

size_t gen_row_bytes(const struct gen_matrix *m)
{
	switch (m->element) {
	case GEN_F32:
		return (size_t)m->k * 4;
	case GEN_BF16:
		return (size_t)m->k * 2;
	case GEN_FP4_BLOCKS:
		return m->k / 2;
	case GEN_FP4_SCALES:
		return m->k / BLOCK;
	default:
		return (size_t)m->k * 8;
	}
}

void gen_values_row(const struct gen_values *values, const struct gen_matrix *m,
		    uint32_t row, void *out)
{
	switch (m->element) {
	case GEN_F32:
	case GEN_BF16:
		float_row(values, m, row, out);
		break;
	case GEN_FP4_BLOCKS:
	case GEN_FP4_SCALES:
		fp4_row(values, m, row, out);
		break;
	default:
		position_row(m, out);
		break;
	}
}
