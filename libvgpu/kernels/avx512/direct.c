// SPDX-License-Identifier: MIT
#include "kernels/avx512/direct.h"

#include "kernels/avx512/act.h"

static vgpu_direct_avx512 *few_rows(enum vgpu_wformat format)
{
	switch (format) {
	case VGPU_W_INT8_G16:
		return vgpu_direct_int8_avx512;
	case VGPU_W_Q4_1_G16:
		return vgpu_direct_q4_1_avx512;
	case VGPU_W_Q5_0_G16:
		return vgpu_direct_q5_0_avx512;
	case VGPU_W_Q5_1_G16:
		return vgpu_direct_q5_1_avx512;
	case VGPU_W_Q5_K_G16:
		return vgpu_direct_q5_k_avx512;
	case VGPU_W_Q6_K_G16:
		return vgpu_direct_q6_k_avx512;
	case VGPU_W_NVFP4_G16:
		return vgpu_direct_nvfp4_avx512;
	case VGPU_W_INT4_Z32_G16:
	case VGPU_W_INT4_Z64_G16:
	case VGPU_W_INT4_Z128_G16:
		return vgpu_direct_int4_z_avx512;
	default:
		return NULL;
	}
}

vgpu_direct_avx512 *vgpu_direct_of_avx512(enum vgpu_wformat format, const struct vgpu_acts *x)
{
	/* Two tiles in A8 take less than a slab; in A16 arithmetic takes the time. */
	uint32_t most = vgpu_mode_is_a8(x->mode) ? 2 * VGPU_MT : VGPU_MT;

	if (x->mode == VGPU_MODE_F32 || !x->m || x->m > most)
		return NULL;
	switch (format) {
	case VGPU_W_MXFP4_G16:
		/* Of one row and of many it must be the same: slabs have runs. */
		return x->mode == VGPU_MODE_A8_256 ? NULL : vgpu_direct_mxfp4_avx512;
	case VGPU_W_Q4_0_G16:
	case VGPU_W_INT4_64_G16:
	case VGPU_W_INT4_128_G16:
		return vgpu_direct_f16_avx512;
	case VGPU_W_Q4_K_G16:
		return vgpu_direct_k6_avx512;
	default:
		return x->m <= 4 ? few_rows(format) : NULL;
	}
}
