/* SPDX-License-Identifier: MIT */
/* Scales, minima and zero points of the formats of g16_type.h, one at a time. */
#ifndef VGPU_PACK_G16_SCALE_H
#define VGPU_PACK_G16_SCALE_H

#include <string.h>

#include "kernels/pack/e4m3.h"
#include "kernels/pack/g16_type.h"
#include "kernels/pack/half.h"

static inline float vgpu_f16_at(const uint8_t *p)
{
	uint16_t h;

	memcpy(&h, p, sizeof(h));
	return vgpu_f16_to_f32(h);
}

/**
 * struct vgpu_g16_scale - of one row and block, or half of one
 * @minimum: 0 where the format has none
 */
struct vgpu_g16_scale {
	float scale, minimum;
};

/* Byte j of a lane of K6's lines, and the six bits that it begins or ends. */
static inline struct vgpu_g16_scale vgpu_g16_k6_at(const uint8_t *lane, uint32_t j)
{
	const uint8_t *scale = lane + 64 + j % 4, *minimum = scale + 64, *low = scale + 128;
	uint32_t s = *scale & 63, m = *minimum & 63;

	if (j >= 4) {
		s = (*low & 15) | *scale >> 6 << 4;
		m = *low >> 4 | *minimum >> 6 << 4;
	}
	return (struct vgpu_g16_scale){ vgpu_f16_at(lane) * (float)s,
					-(vgpu_f16_at(lane + 2) * (float)m) };
}

/* Of a row at column c of a tile. */
static inline struct vgpu_g16_scale vgpu_g16_scale_at(const struct vgpu_g16_type *type,
						      const uint8_t *tile, uint32_t row, uint32_t c)
{
	const uint8_t *lane = tile + 4 * row;
	uint32_t j = c / VGPU_BLOCK;

	switch (type->header) {
	case VGPU_HEADER_F16:
	case VGPU_HEADER_F16_ZERO:
		j = c / vgpu_g16_scale_cols(type);
		return (struct vgpu_g16_scale){ vgpu_f16_at(tile + 32 * j + 2 * row), 0 };
	case VGPU_HEADER_PAIR:
		lane += 64 * j;
		return (struct vgpu_g16_scale){ vgpu_f16_at(lane), vgpu_f16_at(lane + 2) };
	case VGPU_HEADER_K6:
		return vgpu_g16_k6_at(lane, j);
	case VGPU_HEADER_S8:
		return (struct vgpu_g16_scale){
			vgpu_f16_at(tile + 256 + 2 * row) *
			(float)(int8_t)lane[c / 64 * 64 + c / 16 % 4], 0 };
	case VGPU_HEADER_E4M3:
		return (struct vgpu_g16_scale){ vgpu_half_e4m3(lane[c / 16]), 0 };
	}
	return (struct vgpu_g16_scale){ 0, 0 };
}

/* The code that is zero; arguments as above. */
static inline int vgpu_g16_zero_at(const struct vgpu_g16_type *type, const uint8_t *tile,
				   uint32_t row, uint32_t c)
{
	if (type->header != VGPU_HEADER_F16_ZERO)
		return type->zero;
	return tile[128 + 4 * row + c / vgpu_g16_scale_cols(type)];
}

#endif
