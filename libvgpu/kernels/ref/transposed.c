// SPDX-License-Identifier: MIT
/*
 * Products by a weight from the left in plain C: a row of it at a time, added in f32 in the order
 * that kernels.h says.
 */
#include "kernels/ref/transposed.h"

#include <math.h>

#include "kernels/ref/rows.h"

/* fmaf() rounds once whether or not the CPU has an instruction for it. */
static void row_add(float *y, float x, const float *w, uint32_t cols, bool add)
{
	for (uint32_t c = 0; c < cols; c++)
		y[c] = fmaf(x, w[c], add ? y[c] : 0.0f);
}

void vgpu_matmul_transposed_ref(const struct vgpu_panel *w, const struct vgpu_transposed *p,
				void *scratch)
{
	float *row = scratch;

	for (uint32_t r = 0; r < w->rows; r++) {
		vgpu_row_decode_ref(w, r, row);
		for (uint32_t i = 0; i < p->m; i++)
			row_add(p->y + i * p->ldy + p->first, p->x[i * p->ldx + r], row + p->first,
				p->end - p->first, p->add || r);
	}
}
