/* SPDX-License-Identifier: MIT */
/* INT4 in groups along k, as AWQ and GPTQ have it, into what g16_type.h lays out. */
#ifndef VGPU_PACK_G16_INT4_H
#define VGPU_PACK_G16_INT4_H

#include <errno.h>
#include <string.h>

#include "kernels/pack/g16_type.h"

/* Zero points are 0 .. 15; GPTQ, which stores them less one, can have this one. */
#define VGPU_INT4_ZERO_MAX	16u

/* Codes of a row are below 16: eight at a time, of which there are whole ones. */
static inline bool vgpu_int4_codes_fit(const uint8_t *codes, uint32_t k)
{
	uint64_t all = 0, eight;

	for (uint32_t c = 0; c < k; c += 8) {
		memcpy(&eight, codes + c, sizeof(eight));
		all |= eight;
	}
	return !(all & 0xf0f0f0f0f0f0f0f0u);
}

/* 0, or what the table's pack_int4 says to a format, a k, or a value. */
static inline int vgpu_int4_check(const struct vgpu_g16_type *type, const struct vgpu_int4_rows *s)
{
	uint32_t cols = type ? vgpu_g16_scale_cols(type) : 0;
	bool zeros = type && type->header == VGPU_HEADER_F16_ZERO;

	if (!type || type->bits != 4 || (!zeros && type->header != VGPU_HEADER_F16) ||
	    s->k % cols || zeros != !!s->zeros)
		return -EINVAL;
	for (uint32_t r = 0; r < s->rows; r++) {
		if (!vgpu_int4_codes_fit(s->codes + r * s->ld, s->k))
			return -EDOM;
		for (uint32_t i = 0; i < s->k / cols; i++)
			if ((s->scales[r * s->ld_groups + i] & 0x7c00) == 0x7c00 ||
			    (zeros && s->zeros[r * s->ld_groups + i] > VGPU_INT4_ZERO_MAX))
				return -EDOM;
	}
	return 0;
}

/* Scale i of row r, and its zero point. */
static inline void vgpu_int4_put_scale(const struct vgpu_g16_type *type, uint8_t *dst, uint32_t i,
				       uint32_t r, const struct vgpu_int4_rows *s)
{
	uint32_t block = i * vgpu_g16_scale_cols(type) / VGPU_BLOCK;
	uint8_t *tile = dst + vgpu_g16_tile_at(type, block);

	memcpy(tile + i % 4 * 32 + 2 * r, &s->scales[r * s->ld_groups + i], 2);
	if (s->zeros)
		tile[128 + 4 * r + i % 4] = s->zeros[r * s->ld_groups + i];
}

/* put as that of vgpu_g16_regroup(). */
static inline __attribute__((always_inline)) void
vgpu_int4_put(const struct vgpu_g16_type *type, uint8_t *dst, const struct vgpu_int4_rows *s,
	      void (*put)(uint8_t *lane, uint32_t bits, const uint8_t codes[32]))
{
	/* Missing rows and blocks: a scale of zero. */
	memset(dst, 0, vgpu_g16_bytes(type, s->k));
	for (uint32_t i = 0; i < s->k / vgpu_g16_scale_cols(type); i++)
		for (uint32_t r = 0; r < s->rows; r++)
			vgpu_int4_put_scale(type, dst, i, r, s);
	for (uint32_t b = 0; b < s->k / VGPU_BLOCK; b++)
		for (uint32_t r = 0; r < s->rows; r++)
			put(dst + vgpu_g16_block_at(type, b) + 4 * r, 4,
			    s->codes + r * s->ld + b * VGPU_BLOCK);
}

#endif
