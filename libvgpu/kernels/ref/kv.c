// SPDX-License-Identifier: MIT
#include <math.h>
#include <string.h>

#include "kernels/attention.h"
#include "kernels/pack/int8.h"
#include "kernels/ref/layer.h"

/* Bits of the largest magnitude; those of a NaN are above all others. */
static uint32_t largest(const float x[32])
{
	uint32_t max = 0;

	for (uint32_t i = 0; i < 32; i++) {
		uint32_t magnitude = vgpu_f32_bits(x[i]) & 0x7fffffffu;

		max = magnitude > max ? magnitude : max;
	}
	return max;
}

static void block(uint8_t *dst, const float x[32])
{
	uint32_t max = largest(x);
	uint16_t d = max < VGPU_INT8_LIMIT ? vgpu_int8_scale(max) : VGPU_F16_NAN;
	double scale = vgpu_f16_to_f32(d);

	memcpy(dst, &d, sizeof(d));
	for (uint32_t i = 0; i < 32; i++) {
		double q = scale > 0 ? rint(x[i] / scale) : 0;

		q = q > 127 ? 127 : q < -127 ? -127 : q;
		dst[sizeof(d) + i] = (uint8_t)(int8_t)q;
	}
}

void vgpu_q8_0_encode_ref(void *dst, const float *src, size_t n)
{
	for (size_t i = 0; i < n; i += 32)
		block((uint8_t *)dst + i / 32 * VGPU_KV_Q8_0_BYTES, src + i);
}
