/* SPDX-License-Identifier: MIT */
/* One group of 16 rows of weights as products take it, at any level with vectors. */
#ifndef VGPU_PACK_GROUP_H
#define VGPU_PACK_GROUP_H

#include <math.h>
#include "kernels/kernels.h"
#include "kernels/pack/g16_type.h"

/* The packed layout with the same values as a row-major block format, else itself. */
static inline enum vgpu_wformat vgpu_regroup_format(enum vgpu_wformat format)
{
	switch (format) {
	case VGPU_W_MXFP4:
	case VGPU_W_MXFP4_SPLIT:
		return VGPU_W_MXFP4_G16;
	case VGPU_W_Q8_0:
		return VGPU_W_INT8_G16;
	default:
		return vgpu_g16_of_source(format) ? vgpu_g16_of_source(format)->format : format;
	}
}

/**
 * struct vgpu_group - one group of rows, where a slab is made from
 * @format: VGPU_W_F32, _F16, _BF16 (row-major) or a G16 format
 * @rows: rows that exist, 0 .. 16; the others are zero
 * @k: columns
 * @data: first row, or the group
 * @row_bytes: row-major formats: from row to row
 */
struct vgpu_group {
	enum vgpu_wformat format;
	uint32_t rows, k;
	const uint8_t *data;
	size_t row_bytes;
};

/**
 * vgpu_group_at() - where rows row .. row + 15 of a panel lie
 * @g: of another format than the panel has when it is to be regrouped: @g->data is the caller's
 *	to bring then
 */
static inline void vgpu_group_at(struct vgpu_group *g, const struct vgpu_panel *w, uint32_t row)
{
	uint32_t left = row < w->rows ? w->rows - row : 0;

	g->format = vgpu_regroup_format(w->format);
	g->rows = left < VGPU_GROUP_ROWS ? left : VGPU_GROUP_ROWS;
	g->k = w->k;
	g->row_bytes = vgpu_weight_unit_bytes(w->format, w->k);
	g->data = (const uint8_t *)w->data +
		  row / vgpu_weight_unit_rows(w->format) * g->row_bytes;
}

/* Floats that a block of a slab has beside its lines: 16 scales, and 16 minima or second scales. */
static inline uint32_t vgpu_slab_scales(enum vgpu_g16_kind kind)
{
	return kind == VGPU_KIND_PLAIN ? VGPU_GROUP_ROWS : 2 * VGPU_GROUP_ROWS;
}

/* What a product is in a mode that its weights do not have. */
static inline void vgpu_product_none(const struct vgpu_panel *w, const struct vgpu_acts *x,
				     float *y, size_t ldy)
{
	for (uint32_t i = 0; i < x->m; i++)
		for (uint32_t r = 0; r < w->rows; r++)
			y[i * ldy + r] = NAN;
}

#endif
