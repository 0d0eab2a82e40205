/* SPDX-License-Identifier: MIT */
#ifndef VGPU_REF_PACK_H
#define VGPU_REF_PACK_H

#include "kernels/kernels.h"

/* pack_mxfp4_rows and pack_codes of the table. */
int vgpu_pack_mxfp4_rows_ref(void *dst, const struct vgpu_mxfp4_rows *src);
int vgpu_pack_codes_ref(void *dst, const void *src, enum vgpu_wformat src_format, uint32_t rows,
			uint32_t k);

#endif
