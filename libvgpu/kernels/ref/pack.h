/* SPDX-License-Identifier: MIT */
#ifndef VGPU_REF_PACK_H
#define VGPU_REF_PACK_H

#include "kernels/kernels.h"

/* pack_mxfp4_rows of the table. */
int vgpu_pack_mxfp4_rows_ref(void *dst, const struct vgpu_mxfp4_rows *src);

#endif
