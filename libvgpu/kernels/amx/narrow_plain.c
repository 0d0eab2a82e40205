// SPDX-License-Identifier: MIT
/* Formats whose groups can be plain, and INT8. */
#include "kernels/amx/narrow_product.h"

void vgpu_narrow_mxfp4(struct vgpu_narrow *n, const struct vgpu_acts *x)
{
	struct vgpu_g16_table table = mxfp4_plain_table();

	table_keep(&table);
	narrow_plain(n, x, lines_mxfp4_plain, &table);
}

void vgpu_narrow_bf16(struct vgpu_narrow *n, const struct vgpu_acts *x)
{
	narrow_plain(n, x, lines_bf16, NULL);
}

void vgpu_narrow_int8(struct vgpu_narrow *n, const struct vgpu_acts *x)
{
	narrow_scaled(n, x, lines_int8, NULL, VGPU_KIND_PLAIN);
}
