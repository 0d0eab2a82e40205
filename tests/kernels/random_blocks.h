/* SPDX-License-Identifier: MIT */
/* Random bytes in the shape of row-major blocks, with scales that make sane values. */
#ifndef TESTS_KERNELS_RANDOM_BLOCKS_H
#define TESTS_KERNELS_RANDOM_BLOCKS_H

#include "check.h"
#include "kernels/pack/blocks.h"
#include "kernels/pack/g16_type.h"

static inline void put_half(uint8_t *at, double x)
{
	_Float16 half = (_Float16)x;

	memcpy(at, &half, sizeof(half));
}

/* Scales that differ, and minima with which values have both signs. */
static inline void random_scale(enum vgpu_wformat format, uint8_t *block, uint64_t *rng)
{
	uint8_t e = (uint8_t)(119 + rng_below(rng, 17));	/* 2^-8 .. 2^8 */
	double d = 0.01 + rng_unit(rng);

	switch (format) {
	case VGPU_W_MXFP4:
	case VGPU_W_MXFP4_SPLIT:
		*block = e;
		break;
	case VGPU_W_Q4_1:
	case VGPU_W_Q5_1:
		put_half(block, d);
		put_half(block + 2, d * (format == VGPU_W_Q4_1 ? -15 : -31) * rng_unit(rng));
		break;
	case VGPU_W_Q4_K:
	case VGPU_W_Q5_K:
		put_half(block, d);
		put_half(block + 2, d * (format == VGPU_W_Q4_K ? 15 : 31) * rng_unit(rng));
		break;
	case VGPU_W_Q6_K:
		put_half(block + 208, rng_below(rng, 2) ? d : -d);
		break;
	case VGPU_W_NVFP4:	/* all scales that there are */
		break;
	default:		/* begins with its scale */
		put_half(block, d);
		break;
	}
}

/* The same scale in all blocks, and values of about as many of either sign. */
static inline void even_scale(enum vgpu_wformat format, uint8_t *block)
{
	static const uint8_t ones[4] = { 0x38, 0x38, 0x38, 0x38 };	/* of E4M3 */
	double middle = format == VGPU_W_Q4_1 || format == VGPU_W_Q4_K ? 7.5 : 15.5;

	if (format == VGPU_W_NVFP4) {
		memcpy(block, ones, sizeof(ones));
		return;
	}
	if (format == VGPU_W_Q6_K) {
		memset(block + 192, 32, 16);
		put_half(block + 208, 0.125);
		return;
	}
	put_half(block, 0.125);
	if (format == VGPU_W_Q4_1 || format == VGPU_W_Q5_1)
		put_half(block + 2, -middle / 8);
	if (format != VGPU_W_Q4_K && format != VGPU_W_Q5_K)
		return;
	/* All scales and minima are 32, their upper two bits where those of the first four are. */
	put_half(block + 2, middle / 8);
	memset(block + 4, 0xa0, 8);
	memset(block + 12, 0, 4);
}

/* @scales: MXFP4_SPLIT's, else not looked at; @even: see above, types that are packed as they are */
static inline void random_blocks(enum vgpu_wformat format, uint8_t *data, uint8_t *scales,
				 uint32_t rows, uint32_t k, bool even, uint64_t *rng)
{
	const struct vgpu_block_type *type = vgpu_block_type(format);
	size_t bytes = vgpu_weight_unit_bytes(format, k) * rows;
	size_t values = type ? type->values : VGPU_BLOCK, blocks = rows * k / values;

	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)rng_next(rng);
	for (size_t i = 0; i < blocks; i++) {
		uint8_t *block = data + i * (bytes / blocks);

		if (even)
			even_scale(format, block);
		else
			random_scale(format, format == VGPU_W_MXFP4_SPLIT ? scales + i : block,
				     rng);
	}
}

/* Halves of random_blocks() as small multiples of 2^-24. */
static inline void subnormal_blocks(enum vgpu_wformat format, uint8_t *data, size_t values)
{
	const struct vgpu_block_type *type = vgpu_block_type(format);
	bool two = vgpu_g16_kind(vgpu_g16_of_source(format)->format) == VGPU_KIND_MINIMUM;

	for (size_t i = 0; i < values; i += type->values, data += type->bytes) {
		uint8_t *half = data + (format == VGPU_W_Q6_K ? 208 : 0);

		half[1] &= 0x83;
		if (two)
			half[3] &= 0x83;
	}
}

/* Rows of INT4 with memory of their own. */
struct random_int4 {
	struct vgpu_int4_rows rows;
	uint8_t *codes, *zeros;
	uint16_t *scales;
};

/* @even: as above */
static inline void random_int4(struct random_int4 *s, const struct vgpu_g16_type *type,
			       uint32_t rows, uint32_t k, bool even, uint64_t *rng)
{
	uint32_t groups = k / vgpu_g16_scale_cols(type);

	s->codes = check_alloc((size_t)rows * k);
	s->zeros = check_alloc((size_t)rows * groups);
	s->scales = check_alloc((size_t)rows * groups * sizeof(*s->scales));
	for (uint32_t i = 0; i < rows * k; i++)
		s->codes[i] = rng_below(rng, 16);
	for (uint32_t i = 0; i < rows * groups; i++) {
		s->zeros[i] = even ? 8 : rng_below(rng, 17);
		put_half((uint8_t *)&s->scales[i], even ? 0.125 : rng_gauss(rng));
	}
	s->rows = (struct vgpu_int4_rows){
		.codes = s->codes, .scales = s->scales, .ld = k, .ld_groups = groups,
		.zeros = type->header == VGPU_HEADER_F16_ZERO ? s->zeros : NULL,
		.rows = rows, .k = k,
	};
}

static inline void random_int4_free(struct random_int4 *s)
{
	free(s->codes);
	free(s->zeros);
	free(s->scales);
}

#endif
