// SPDX-License-Identifier: MIT
#include "kernels/avx512/direct.h"

#include "kernels/avx512/act.h"

vgpu_direct_avx512 *vgpu_direct_of_avx512(enum vgpu_wformat format, const struct vgpu_acts *x)
{
	if (x->mode == VGPU_MODE_F32 || x->m > VGPU_MT)
		return NULL;
	switch (format) {
	case VGPU_W_MXFP4_G16:
		return vgpu_direct_mxfp4_avx512;
	case VGPU_W_Q4_0_G16:
	case VGPU_W_INT4_64_G16:
	case VGPU_W_INT4_128_G16:
		return vgpu_direct_f16_avx512;
	case VGPU_W_Q4_K_G16:
		return vgpu_direct_k6_avx512;
	default:
		return NULL;
	}
}
