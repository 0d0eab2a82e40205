// SPDX-License-Identifier: MIT
#include "kernels/pack/g16_type.h"

static const struct vgpu_g16_type types[] = {
	{ VGPU_W_Q4_0_G16, VGPU_W_Q4_0, VGPU_HEADER_F16, VGPU_KIND_PLAIN, 128, 4, 4, 8, false },
	{ VGPU_W_Q4_1_G16, VGPU_W_Q4_1, VGPU_HEADER_PAIR, VGPU_KIND_MINIMUM, 256, 4, 4, 0, false },
	{ VGPU_W_Q5_0_G16, VGPU_W_Q5_0, VGPU_HEADER_F16, VGPU_KIND_PLAIN, 128, 4, 5, 16, false },
	{ VGPU_W_Q5_1_G16, VGPU_W_Q5_1, VGPU_HEADER_PAIR, VGPU_KIND_MINIMUM, 256, 4, 5, 0, false },
	{ VGPU_W_Q4_K_G16, VGPU_W_Q4_K, VGPU_HEADER_K6, VGPU_KIND_MINIMUM, 256, 8, 4, 0, false },
	{ VGPU_W_Q5_K_G16, VGPU_W_Q5_K, VGPU_HEADER_K6, VGPU_KIND_MINIMUM, 256, 8, 5, 0, false },
	{ VGPU_W_Q6_K_G16, VGPU_W_Q6_K, VGPU_HEADER_S8, VGPU_KIND_HALVES, 320, 8, 6, 32, false },
	{ VGPU_W_INT4_64_G16, 0, VGPU_HEADER_F16, VGPU_KIND_PLAIN, 128, 8, 4, 8, false },
	{ VGPU_W_INT4_128_G16, 0, VGPU_HEADER_F16, VGPU_KIND_PLAIN, 128, 16, 4, 8, false },
	{ VGPU_W_INT4_Z32_G16, 0, VGPU_HEADER_F16_ZERO, VGPU_KIND_PLAIN, 192, 4, 4, 0, false },
	{ VGPU_W_INT4_Z64_G16, 0, VGPU_HEADER_F16_ZERO, VGPU_KIND_PLAIN, 192, 8, 4, 0, false },
	{ VGPU_W_INT4_Z128_G16, 0, VGPU_HEADER_F16_ZERO, VGPU_KIND_PLAIN, 192, 16, 4, 0, false },
	{ VGPU_W_NVFP4_G16, VGPU_W_NVFP4, VGPU_HEADER_E4M3, VGPU_KIND_HALVES, 64, 2, 4, 0, true },
};

const struct vgpu_g16_type *vgpu_g16_type(enum vgpu_wformat format)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].format == format)
			return &types[i];
	return NULL;
}

const struct vgpu_g16_type *vgpu_g16_of_source(enum vgpu_wformat source)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (source && types[i].source == source)
			return &types[i];
	return NULL;
}

enum vgpu_g16_kind vgpu_g16_kind(enum vgpu_wformat format)
{
	const struct vgpu_g16_type *type = vgpu_g16_type(format);

	return type ? type->kind : VGPU_KIND_PLAIN;
}
