/* SPDX-License-Identifier: MIT */
/*
 * Blocks of quantised weights as GGUF files have them, ggml's block structures, FP8, FP4 and F64:
 * one row of a table a type.
 *
 * Every value of a block is an integer times scales, less or plus a minimum.  The integers and the
 * scales are so short (11 bits of an F16, 7 of a second scale, at most 7 of a code) that
 * each product is exact in f32; only the sum with a minimum is rounded, once.  So there is
 * one right answer whatever the order, and it is compared bit by bit with another
 * implementation's (tests/unit/data/gguf_blocks.py).  Q8_K's scale is an F32, and F64 has
 * more bits: these are rounded once, too.
 */
#ifndef VGPU_PACK_BLOCKS_H
#define VGPU_PACK_BLOCKS_H

#include <stdint.h>

#include "kernels/kernels.h"

/* Most values of a block. */
#define VGPU_BLOCK_VALUES_MAX	256u

/**
 * struct vgpu_block_type - how a type is stored
 * @format: whose row this is
 * @values: in a block
 * @bytes: of a block
 * @decode: write the block's values to @out; NULL where there is @codes, which say it all
 * @codes: types whose value is an F16 of the block times a whole number of -128 .. 127: write
 *	the numbers to @out; NULL for all others, and their @values are a multiple of 32
 * @scale_at: offset of that F16
 */
struct vgpu_block_type {
	enum vgpu_wformat format;
	uint16_t values, bytes;
	void (*decode)(const uint8_t *block, float *out);
	void (*codes)(const uint8_t *block, int8_t *out);
	uint16_t scale_at;
};

/* The row of a format; NULL when it has none. */
const struct vgpu_block_type *vgpu_block_type(enum vgpu_wformat format);

/**
 * vgpu_block_row_decode() - a row of blocks to f32
 * @k: columns, a multiple of @type->values
 *
 * A scale that is NaN or infinite makes values that are NaN or infinite.
 */
void vgpu_block_row_decode(const struct vgpu_block_type *type, const uint8_t *row, float *dst,
			   uint32_t k);

/**
 * vgpu_blocks_to_int8() - one group of INT8_G16 from blocks that have @codes
 * @type: its codes is not NULL
 * @dst: one unit of INT8_G16, 64-byte aligned
 * @src: @rows rows behind each other
 * @rows: 1 .. 16
 * @k: columns, a multiple of @type->values
 *
 * Numbers and scales are copied: the values are bitwise what vgpu_block_row_decode() says.
 *
 * Return: 0; -EDOM a scale is NaN or infinite, @dst is then untouched.
 */
int vgpu_blocks_to_int8(const struct vgpu_block_type *type, void *dst, const uint8_t *src,
			uint32_t rows, uint32_t k);

#endif
