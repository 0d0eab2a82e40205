// SPDX-License-Identifier: MIT
#include "kernels/amx/narrow.h"

vgpu_narrow_product *vgpu_narrow_of(enum vgpu_wformat format)
{
	switch (format) {
	case VGPU_W_MXFP4_G16:
		return vgpu_narrow_mxfp4;
	case VGPU_W_BF16:
		return vgpu_narrow_bf16;
	case VGPU_W_INT8_G16:
		return vgpu_narrow_int8;
	case VGPU_W_Q4_0_G16:
		return vgpu_narrow_q4_0;
	case VGPU_W_Q4_1_G16:
		return vgpu_narrow_q4_1;
	case VGPU_W_Q5_0_G16:
		return vgpu_narrow_q5_0;
	case VGPU_W_Q5_1_G16:
		return vgpu_narrow_q5_1;
	case VGPU_W_Q4_K_G16:
		return vgpu_narrow_q4_k;
	case VGPU_W_Q5_K_G16:
		return vgpu_narrow_q5_k;
	case VGPU_W_Q6_K_G16:
		return vgpu_narrow_q6_k;
	case VGPU_W_NVFP4_G16:
		return vgpu_narrow_nvfp4;
	case VGPU_W_INT4_64_G16:
		return vgpu_narrow_int4_64;
	case VGPU_W_INT4_128_G16:
		return vgpu_narrow_int4_128;
	case VGPU_W_INT4_Z32_G16:
		return vgpu_narrow_int4_z32;
	case VGPU_W_INT4_Z64_G16:
		return vgpu_narrow_int4_z64;
	default:
		return vgpu_narrow_int4_z128;
	}
}
