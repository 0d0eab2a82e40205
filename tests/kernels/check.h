/* SPDX-License-Identifier: MIT */
/*
 * What the kernel tests share: a seeded generator, memory with guard room, and the
 * levels to run.
 */
#ifndef TESTS_KERNELS_CHECK_H
#define TESTS_KERNELS_CHECK_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "kernels/kernels.h"

/* xorshift64*; Vigna, An experimental exploration of Marsaglia's xorshift generators. */
static inline uint64_t rng_next(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 2685821657736338717ull;
}

static inline uint32_t rng_below(uint64_t *state, uint32_t end)
{
	return (uint32_t)((rng_next(state) >> 32) * end >> 32);
}

/* Uniform in (0, 1). */
static inline double rng_unit(uint64_t *state)
{
	return ((double)(rng_next(state) >> 12) + 0.5) * 0x1p-52;
}

/* Box and Muller. */
static inline double rng_gauss(uint64_t *state)
{
	double radius = sqrt(-2 * log(rng_unit(state)));

	return radius * cos(2 * M_PI * rng_unit(state));
}

static inline void *check_alloc(size_t bytes)
{
	void *p = aligned_alloc(64, (bytes + 127) & ~(size_t)63);

	assert_non_null(p);
	memset(p, 0xa5, bytes);
	return p;
}

/*
 * A8's scale of a group: max|x| / 127 rounded up to 16 significant bits; 0 where all of the
 * group becomes zeros.
 */
static inline float check_a8_scale(const float *x, uint32_t n)
{
	float max = 0, scale;
	int exponent;

	for (uint32_t i = 0; i < n; i++)
		max = fmaxf(max, fabsf(x[i]));
	if (max < 0x1p-119f)
		return 0;
	scale = max / 127.0f;
	frexp(scale, &exponent);
	return (float)ldexp(ceil(ldexp(scale, 16 - exponent)), exponent - 16);
}

static inline const char *check_mode_name(int mode)
{
	return mode == VGPU_MODE_F32 ? "f32" : mode == VGPU_MODE_A16 ? "a16" :
	       mode == VGPU_MODE_A8 ? "a8" : "a8-256";
}

static inline enum vgpu_isa check_level(void **state)
{
	return (enum vgpu_isa)(uintptr_t)*state;
}

/* The table of the level that a test was registered for; skips with the reason. */
static inline const struct vgpu_kernels *check_table(void **state)
{
	const struct vgpu_kernels *t = vgpu_kernels_get(check_level(state));

	if (!t) {
		print_message("SKIP: this CPU has no %s\n", vgpu_isa_name(check_level(state)));
		skip();
	}
	return t;
}

/* One test at every level. */
#define CHECK_LEVEL(test, level) \
	{ #test "_" #level, test, NULL, NULL, (void *)(uintptr_t)VGPU_ISA_##level }
#define CHECK_LEVELS(test) \
	CHECK_LEVEL(test, REF), CHECK_LEVEL(test, AVX2), CHECK_LEVEL(test, AVX512)

#endif
