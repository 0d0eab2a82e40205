/* SPDX-License-Identifier: MIT */
/*
 * INT8 in blocks of 32, the values of GGUF's Q8_0: scale d = max|x| / 127, computed
 * in f32 and rounded to f16, q = x / d rounded to nearest even and clamped to
 * -127 .. 127 (d may have been rounded down).  Where max|x| is below 127 * 2^-25 the
 * scale is zero and so is the block.
 */
#ifndef VGPU_PACK_INT8_H
#define VGPU_PACK_INT8_H

#include <stdint.h>
#include "kernels/pack/half.h"

#define VGPU_F32_INFINITY	0x7f800000u
/* The scale of a block that holds what has no code: all of it is NaN then. */
#define VGPU_F16_NAN		0x7e00u
/* Bits of 127 * 65520: from here on the scale rounds to an infinite f16. */
#define VGPU_INT8_LIMIT		0x4afdf020u

/* f16 bits of the scale, from the bits of max|x|, below VGPU_INT8_LIMIT. */
static inline uint16_t vgpu_int8_scale(uint32_t max_bits)
{
	return vgpu_f32_to_f16(vgpu_f32_from_bits(max_bits) / 127.0f);
}

#endif
