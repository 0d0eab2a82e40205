/* SPDX-License-Identifier: MIT */
/* Weights of any format, drawn at random. */
#ifndef TESTS_COMMON_WEIGHTS_DRAW_H
#define TESTS_COMMON_WEIGHTS_DRAW_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/kernels.h"

/* Every operand of a product; @step: what k is a multiple of. */
struct weights_format {
	enum vgpu_wformat format;
	const char *name;
	uint32_t step;
};

extern const struct weights_format weights_formats[];
extern const uint32_t weights_format_count;

#define weights_for_each(f) \
	for (const struct weights_format *f = weights_formats; \
	     f < weights_formats + weights_format_count; f++)

/* Whether products by a format know a mode. */
static inline bool weights_takes(const struct weights_format *f, int mode)
{
	return (int)vgpu_matmul_mode(f->format, mode) == mode;
}

/* Columns that a format can have, k or the next. */
static inline uint32_t weights_cols(const struct weights_format *f, uint32_t k)
{
	return (k + f->step - 1) / f->step * f->step;
}

/* What some scales are; floats: what some weights are. */
enum weights_scales { SCALES_ORDINARY, SCALES_ZERO, SCALES_ANY_BITS, SCALES_COUNT };

/**
 * struct weights_draw - one matrix
 * @format: of it
 * @n: rows
 * @k: columns
 * @scales: ordinary ones, or with some among them that are not
 * @exponent: of floats, about
 * @rng: where numbers come from
 * @floats: [16][@k], for those that are packed from floats
 * @blocks: as many as @n rows take, for those that are packed from blocks
 * @no_codes: as @blocks, set where the format has minima: the blocks with codes that are 0
 * @minima_of: set: the format of @no_codes; 0: there are none
 */
struct weights_draw {
	enum vgpu_wformat format;
	uint32_t n, k;
	enum weights_scales scales;
	int exponent;
	uint64_t *rng;
	float *floats;
	uint8_t *blocks, *no_codes;
	enum vgpu_wformat minima_of;
};

/* @split: where MXFP4_SPLIT's go, else NULL.  Return: 0, or what packing said. */
int weights_draw(struct weights_draw *d, uint8_t *data, uint8_t *split);
/* Blocks of any format that is packed as it is; @any: with scales that are no numbers, too. */
void weights_draw_blocks(struct weights_draw *d, enum vgpu_wformat format, uint8_t *data,
			 uint8_t *split, bool any);
/* One value of those that are packed from floats. */
float weights_draw_value(struct weights_draw *d);

/* One of @n draws is true. */
bool draw_one_in(uint64_t *rng, uint32_t n);
/* Nearest finite F32 that BF16 holds, too. */
float draw_finite(double x);
/* Numbers that are near to each other give sequences that are not. */
uint64_t draw_seed(uint64_t number);

#endif
