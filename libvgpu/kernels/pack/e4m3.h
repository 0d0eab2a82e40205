/* SPDX-License-Identifier: MIT */
#ifndef VGPU_PACK_E4M3_H
#define VGPU_PACK_E4M3_H

#include "kernels/pack/half.h"

/*
 * Half of NVFP4's scale, an unsigned E4M3, since its codes are taken as twice E2M1; 0x7f stands
 * for 0, as in ggml.
 */
static inline float vgpu_half_e4m3(uint8_t byte)
{
	uint32_t exponent = byte >> 3 & 15, mantissa = byte & 7;

	if (byte == 0x7f)
		return 0;
	if (!exponent)
		return (float)mantissa * 0x1p-10f;
	return (float)(8 + mantissa) * vgpu_f32_from_bits((exponent + 127 - 11) << 23);
}

/* Twice the values of E2M1. */
#define VGPU_E2M1_TWICE	{ 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 }

#endif
