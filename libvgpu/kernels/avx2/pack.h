/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AVX2_PACK_H
#define VGPU_AVX2_PACK_H

#include "kernels/pack/source.h"

/*
 * Encode block @index of row @row, which is there, into a group whose bytes of it may be any.
 * Every value has a code.
 */
void vgpu_pack_mxfp4_block_avx2(uint8_t *group, const struct vgpu_pack_source *s, uint32_t row,
				uint32_t index);

#endif
