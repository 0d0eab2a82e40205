/* SPDX-License-Identifier: MIT */
/* Seeded numbers: activations, routing, generated weights. */
#ifndef VBRUN_RANDOM_H
#define VBRUN_RANDOM_H

#include <math.h>
#include <stdint.h>

struct random {
	uint64_t state;
};

/*
 * Source: Steele, Lea, Flood: Fast splittable pseudorandom number generators,
 * OOPSLA 2014 (SplitMix64).
 */
static inline uint64_t random_u64(struct random *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* In (0, 1): neither end, so that its logarithm is finite. */
static inline double random_open(struct random *r)
{
	return ((double)(random_u64(r) >> 12) + 0.5) * 0x1p-52;
}

/* Box and Muller, one of the pair. */
static inline double random_gaussian(struct random *r)
{
	double radius = sqrt(-2 * log(random_open(r)));

	return radius * cos(6.283185307179586 * random_open(r));
}

/* Gumbel(0, 1): adding it to log p and taking the top k draws k without replacement. */
static inline double random_gumbel(struct random *r)
{
	return -log(-log(random_open(r)));
}

#endif
