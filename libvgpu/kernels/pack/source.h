/* SPDX-License-Identifier: MIT */
/* What is packed: up to 16 rows of floats, of which each version loads blocks as it likes. */
#ifndef VGPU_PACK_SOURCE_H
#define VGPU_PACK_SOURCE_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

/**
 * struct vgpu_pack_source - up to 16 rows of a source
 * @data: of its first one
 * @format: VGPU_W_F32, VGPU_W_F16 or VGPU_W_BF16
 * @row_bytes: from a row to the next
 * @element_bytes: of a value
 * @rows: 1 .. 16
 * @k: columns
 */
struct vgpu_pack_source {
	const uint8_t *data;
	enum vgpu_wformat format;
	size_t row_bytes, element_bytes;
	uint32_t rows, k;
};

/* @ld: elements from a row to the next.  0, or -EINVAL: a format that is not packed. */
static inline int vgpu_pack_source_init(struct vgpu_pack_source *s, const void *src,
					enum vgpu_wformat format, size_t ld, uint32_t rows,
					uint32_t k)
{
	if (format != VGPU_W_F32 && format != VGPU_W_F16 && format != VGPU_W_BF16)
		return -EINVAL;
	s->data = src;
	s->format = format;
	s->element_bytes = format == VGPU_W_F32 ? 4 : 2;
	s->row_bytes = ld * s->element_bytes;
	s->rows = rows;
	s->k = k;
	return 0;
}

#endif
