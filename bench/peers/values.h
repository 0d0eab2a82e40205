/* SPDX-License-Identifier: MIT */
/*
 * What both sides of a comparison of products make for themselves, weights and activations: the same
 * bits from the same numbers.
 */
#ifndef BENCH_PEERS_VALUES_H
#define BENCH_PEERS_VALUES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VALUES_X_SEED		1u
#define VALUES_W_SEED		2u
#define VALUES_BLOCK_MOST	210u

static inline uint32_t values_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*state >> 32);
}

/* In [-1, 1). */
static inline float values_number(uint64_t *state)
{
	return (float)(int32_t)values_random(state) * 0x1p-31f;
}

/* x: [n] */
static inline void values_activations(float *x, size_t n)
{
	uint64_t state = VALUES_X_SEED;

	for (size_t i = 0; i < n; i++)
		x[i] = values_number(&state);
}

/**
 * struct values_type - how a block of one of ggml's types is made
 * @bytes: of a block
 * @scale: where its F16 scale is; beyond @bytes: it has none, and see values_block()
 */
struct values_type {
	const char *name;
	uint32_t bytes, scale;
};

#define VALUES_NO_SCALE	1000u

static inline const struct values_type *values_type(const char *name)
{
	static const struct values_type all[] = {
		{ "mxfp4", 17, VALUES_NO_SCALE }, { "nvfp4", 36, VALUES_NO_SCALE },
		{ "q4_0", 18, 0 }, { "q5_0", 22, 0 }, { "q8_0", 34, 0 },
		{ "q4_K", 144, 0 }, { "q6_K", 210, 208 },
		{ "f16", 2, 0 }, { "bf16", 2, VALUES_NO_SCALE }, { "f32", 4, VALUES_NO_SCALE },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (!strcmp(all[i].name, name))
			return &all[i];
	return NULL;
}

/* 2^-7 .. 2^-5, of both signs where a number is its own scale. */
static inline void values_scale(const struct values_type *t, uint8_t *block, uint32_t random)
{
	uint16_t sign = t->bytes == 2 ? (uint16_t)(random >> 16 & 0x8000) : 0;
	uint16_t scale = (uint16_t)(0x2000 | (random & 0x7ff) | sign), minimum = scale + (3u << 10);

	memcpy(block + t->scale, &scale, sizeof(scale));
	/* Codes are 0 .. 15, and 8 times the scale is the middle. */
	if (!strcmp(t->name, "q4_K"))
		memcpy(block + 2, &minimum, sizeof(minimum));
}

/* Random codes, under scales that are close to each other. */
static inline void values_block(const struct values_type *t, uint8_t *block, uint64_t *state)
{
	uint32_t random = values_random(state);
	float number = values_number(state);

	if (!strcmp(t->name, "f32") || !strcmp(t->name, "bf16")) {
		memcpy(block, (uint8_t *)&number + (4 - t->bytes), t->bytes);
		return;
	}
	for (uint32_t i = 0; i < t->bytes; i++)
		block[i] = (uint8_t)(values_random(state) >> 24);
	if (t->scale < t->bytes)
		values_scale(t, block, random);
	else if (!strcmp(t->name, "mxfp4"))
		block[0] = (uint8_t)(119 + (random & 3));	/* E8M0: 2^-8 .. 2^-5 */
	else
		for (uint32_t i = 0; i < 4; i++)	/* E4M3: 2^-2 .. 2^-1 */
			block[i] = (uint8_t)(0x28 | (block[i] & 15));
}

/* bytes: whole blocks */
static inline void values_weights(const struct values_type *t, uint8_t *data, size_t bytes)
{
	uint64_t state = VALUES_W_SEED;

	for (size_t at = 0; at < bytes; at += t->bytes)
		values_block(t, data + at, &state);
}

#endif
