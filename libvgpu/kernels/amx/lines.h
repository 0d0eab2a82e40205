/* SPDX-License-Identifier: MIT */
/*
 * Weights as tiles: a block of 32 columns of a group of 16 rows is 16 lines of BF16.
 *
 * What BF16 holds with its scale multiplied in is plain: MXFP4 whose values are normal
 * numbers, BF16 itself.  Products of plain groups need nothing but tiles.  Of others the lines
 * hold the integers alone, and each block's result is multiplied by its scale.
 */
#ifndef VGPU_AMX_LINES_H
#define VGPU_AMX_LINES_H

#include <stdbool.h>

#include "kernels/avx512/slab.h"

/* Whether groups of a format can be plain, and whether all of one is. */
bool vgpu_lines_can_be_plain(enum vgpu_wformat format);
bool vgpu_lines_plain(const struct vgpu_group *g);

/* Blocks first .. first + blocks - 1 of a plain group, 1024 bytes each, 64-byte aligned. */
void vgpu_lines_fill(uint8_t *lines, const struct vgpu_group *g, uint32_t first, uint32_t blocks);

/* The same of any group; scale: f32 [blocks][vgpu_slab_scales()]. */
void vgpu_lines_fill_scaled(uint8_t *lines, float *scale, const struct vgpu_group *g,
			    uint32_t first, uint32_t blocks);

#endif
