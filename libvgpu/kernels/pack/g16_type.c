// SPDX-License-Identifier: MIT
#include "kernels/pack/g16_type.h"

static const struct vgpu_g16_type types[] = {
	{ VGPU_W_Q4_0_G16, VGPU_W_Q4_0, VGPU_HEADER_F16, 128, 4, 4, 8 },
	{ VGPU_W_Q5_0_G16, VGPU_W_Q5_0, VGPU_HEADER_F16, 128, 4, 5, 16 },
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
		if (types[i].source == source)
			return &types[i];
	return NULL;
}
