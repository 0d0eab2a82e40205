/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AVX512_REGROUP_H
#define VGPU_AVX512_REGROUP_H

#include "kernels/avx2/regroup.h"

/* As vgpu_regroup_avx2(), which it leaves groups of fewer than 16 rows to. */
void vgpu_regroup_avx512(uint8_t *dst, const struct vgpu_panel *w, uint32_t first,
			 uint32_t rows);

/* As vgpu_regroup_g16_avx2(), of 16 rows. */
void vgpu_regroup_g16_avx512(const struct vgpu_g16_type *type, uint8_t *dst, const uint8_t *src,
			     uint32_t k);

/* pack_mxfp4_rows, pack_codes and pack_blocks of the table. */
int vgpu_pack_codes_avx512(void *dst, const void *src, enum vgpu_wformat src_format,
			   uint32_t rows, uint32_t k);
int vgpu_pack_mxfp4_rows_avx512(void *dst, const struct vgpu_mxfp4_rows *src);
int vgpu_pack_blocks_avx512(void *dst, enum vgpu_wformat format, const void *src, uint32_t rows,
			    uint32_t k);

#endif
