/* SPDX-License-Identifier: MIT */
/*
 * What both sides of a comparison of mixtures of experts make for themselves beside weights and
 * activations: who chooses which experts, the same from the same numbers.
 */
#ifndef BENCH_PEERS_EXPERTS_H
#define BENCH_PEERS_EXPERTS_H

#include <stdbool.h>
#include "values.h"

/* Most experts of a stack. */
#define EXPERTS_MOST	256u
/* Choices that are taken in turn; each turn of a measurement goes on where the last one ended. */
#define EXPERTS_SETS	16u

enum experts_routing { EXPERTS_UNIFORM, EXPERTS_ZIPF };

/* One of @experts; Zipf: the one of rank r, in some order, with a weight of 1 / r. */
static inline uint32_t experts_draw(uint64_t *state, enum experts_routing routing, uint32_t experts)
{
	double all = 0, at;
	uint32_t r = 0;

	if (routing == EXPERTS_UNIFORM)
		return values_random(state) % experts;
	for (uint32_t i = 1; i <= experts; i++)
		all += 1.0 / i;
	at = values_random(state) * 0x1p-32 * all;
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

#endif
