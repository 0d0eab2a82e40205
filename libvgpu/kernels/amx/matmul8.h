/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AMX_MATMUL8_H
#define VGPU_AMX_MATMUL8_H

#include "kernels/kernels.h"

/* matmul of the table, for weights that take A8 and activations that vgpu_amx_acts8_are(). */
void vgpu_matmul8_amx(const struct vgpu_panel *w, const struct vgpu_acts *x, float *y, size_t ldy,
		      void *scratch);

#endif
