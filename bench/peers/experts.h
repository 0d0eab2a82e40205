/* SPDX-License-Identifier: MIT */
/*
 * What both sides of a comparison of mixtures of experts make for themselves: weights, activations
 * and who chooses which experts, the same bits from the same numbers.
 */
#ifndef BENCH_PEERS_EXPERTS_H
#define BENCH_PEERS_EXPERTS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Most experts of a stack. */
#define EXPERTS_MOST	256u
/* Choices that are taken in turn; each turn of a measurement goes on where the last one ended. */
#define EXPERTS_SETS	16u
#define EXPERTS_X_SEED	1u

enum experts_routing { EXPERTS_UNIFORM, EXPERTS_ZIPF };

static inline uint32_t experts_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*state >> 32);
}

/* One of @experts; Zipf: the one of rank r, in some order, with a weight of 1 / r. */
static inline uint32_t experts_draw(uint64_t *state, enum experts_routing routing, uint32_t experts)
{
	double all = 0, at;
	uint32_t r = 0;

	if (routing == EXPERTS_UNIFORM)
		return experts_random(state) % experts;
	for (uint32_t i = 1; i <= experts; i++)
		all += 1.0 / i;
	at = experts_random(state) * 0x1p-32 * all;
	while (r + 1 < experts && at >= 1.0 / (r + 1))
		at -= 1.0 / ++r;
	return (r * 7u + 3u) % experts;	/* ranks are spread where 7 does not divide them */
}

/* ids: [tokens][used], no expert twice for a token, of choice number @set. */
static inline void experts_choose(uint32_t set, enum experts_routing routing, uint32_t experts,
				  uint32_t tokens, uint32_t used, int32_t *ids)
{
	uint64_t state = set * 2ull + 1;

	for (uint32_t i = 0; i < tokens; i++, ids += used) {
		bool taken[EXPERTS_MOST] = { false };

		for (uint32_t t = 0; t < used;) {
			uint32_t e = experts_draw(&state, routing, experts);

			if (taken[e])
				continue;
			taken[e] = true;
			ids[t++] = (int32_t)e;
		}
	}
}

/* x: [n] */
static inline void experts_activations(float *x, size_t n)
{
	uint64_t state = EXPERTS_X_SEED;

	for (size_t i = 0; i < n; i++)
		x[i] = (float)(int32_t)experts_random(&state) * 0x1p-31f;
}

/*
 * Blocks of ggml's types mxfp4, q4_0 and q8_0: a scale of one to two bytes, then codes.
 * Return: bytes of a block of 32 values; 0: another type.
 */
static inline uint32_t experts_block(const char *type, uint8_t *block, uint64_t *state)
{
	bool mxfp4 = !strcmp(type, "mxfp4"), q8_0 = !strcmp(type, "q8_0");
	uint32_t scale = mxfp4 ? 1 : 2, codes = q8_0 ? 32 : 16;
	uint16_t f16 = (uint16_t)(0x2000 | (experts_random(state) & 0x7ff));

	if (!mxfp4 && !q8_0 && strcmp(type, "q4_0"))
		return 0;
	if (mxfp4)
		block[0] = (uint8_t)(119 + (f16 & 3));	/* 2^-8 .. 2^-5 */
	else
		memcpy(block, &f16, 2);
	for (uint32_t i = 0; i < codes; i += 4) {
		uint32_t word = experts_random(state);

		memcpy(block + scale + i, &word, 4);
	}
	return scale + codes;
}

/* A stack: bytes are whole blocks. */
static inline void experts_weights(const char *type, uint8_t *data, size_t bytes)
{
	uint64_t state = 1;

	for (size_t at = 0; at < bytes;)
		at += experts_block(type, data + at, &state);
}

#endif
