/* SPDX-License-Identifier: MIT */
/*
 * Blocks of MXFP4 as files have them, for MXFP4_G16: codes are moved, and come out as packing the
 * values would have them, with the scale that the largest value of a block asks for.
 */
#ifndef VGPU_PACK_MXFP4_ROWS_H
#define VGPU_PACK_MXFP4_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

/* From this scale on a value may be infinite: 255 is NaN, and codes reach 2^2. */
#define VGPU_MXFP4_LARGE_SCALE	253u

/* Codes of a block, and its scale. */
static inline const uint8_t *vgpu_mxfp4_rows_codes(const struct vgpu_mxfp4_rows *s, uint32_t row,
						   uint32_t block)
{
	return s->blocks + row * s->row_bytes + (s->scales ? 16 * (size_t)block :
							     17 * (size_t)block + 1);
}

static inline const uint8_t *vgpu_mxfp4_rows_scale(const struct vgpu_mxfp4_rows *s, uint32_t row,
						   uint32_t block)
{
	return s->scales ? s->scales + row * s->scale_row_bytes + block :
			   s->blocks + row * s->row_bytes + 17 * (size_t)block;
}

/* No value is infinite, whatever the codes are. */
static inline bool vgpu_mxfp4_rows_are_small(const struct vgpu_mxfp4_rows *s)
{
	uint32_t large = 0;

	for (uint32_t row = 0; row < s->rows; row++)
		for (uint32_t b = 0; b < s->k / VGPU_BLOCK; b++)
			large |= *vgpu_mxfp4_rows_scale(s, row, b) >= VGPU_MXFP4_LARGE_SCALE;
	return !large;
}

#endif
