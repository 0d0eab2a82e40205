/* SPDX-License-Identifier: MIT */
#ifndef VGPU_REF_G16_H
#define VGPU_REF_G16_H

#include "kernels/pack/g16_type.h"

/**
 * vgpu_g16_row_ref() - one row of a group as f32
 * @group: one unit of the type
 * @row: 0 .. 15
 * @dst: f32 [k]
 *
 * The bits are those of vgpu_block_row_decode() of the blocks that the group was made from.
 */
void vgpu_g16_row_ref(const struct vgpu_g16_type *type, const uint8_t *group, uint32_t row,
		      float *dst, uint32_t k);

/* pack_blocks of the table. */
int vgpu_pack_blocks_ref(void *dst, enum vgpu_wformat format, const void *src, uint32_t rows,
			 uint32_t k);

/* pack_int4 of the table. */
int vgpu_pack_int4_ref(void *dst, enum vgpu_wformat format, const struct vgpu_int4_rows *src);

/* pack_int4_layer of the table. */
int vgpu_pack_int4_layer_ref(void *dst, const struct vgpu_int4_layer *layer, uint32_t first,
			     uint32_t units, void *scratch);

#endif
