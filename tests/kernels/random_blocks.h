/* SPDX-License-Identifier: MIT */
/* Random bytes in the shape of row-major blocks, with scales that make sane values. */
#ifndef TESTS_KERNELS_RANDOM_BLOCKS_H
#define TESTS_KERNELS_RANDOM_BLOCKS_H

#include "check.h"
#include "kernels/pack/blocks.h"
#include "kernels/pack/g16_type.h"

/* F16 of 0.01 .. 1.01. */
static inline uint16_t random_half(uint64_t *rng)
{
	_Float16 d = (_Float16)(0.01 + rng_unit(rng));
	uint16_t half;

	memcpy(&half, &d, sizeof(half));
	return half;
}

static inline void random_scale(enum vgpu_wformat format, uint8_t *block, uint64_t *rng)
{
	uint8_t e = (uint8_t)(119 + rng_below(rng, 17));	/* 2^-8 .. 2^8 */
	uint16_t d = random_half(rng);

	if (format == VGPU_W_MXFP4 || format == VGPU_W_MXFP4_SPLIT)
		*block = e;
	else
		memcpy(block, &d, sizeof(d));
}

/* @scales: MXFP4_SPLIT's, else not looked at */
static inline void random_blocks(enum vgpu_wformat format, uint8_t *data, uint8_t *scales,
				 uint32_t rows, uint32_t k, uint64_t *rng)
{
	const struct vgpu_block_type *type = vgpu_block_type(format);
	size_t bytes = vgpu_weight_unit_bytes(format, k) * rows;
	size_t values = type ? type->values : VGPU_BLOCK, blocks = rows * k / values;

	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)rng_next(rng);
	for (size_t i = 0; i < blocks; i++) {
		uint8_t *block = data + i * (bytes / blocks);

		random_scale(format, format == VGPU_W_MXFP4_SPLIT ? scales + i : block, rng);
	}
}

#endif
