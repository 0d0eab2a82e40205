// SPDX-License-Identifier: MIT
#include "kernels/pack/g16_type.h"

#include "kernels/pack/g16_rows.h"

static const struct vgpu_g16_type types[] = {
	VGPU_G16_Q4_0, VGPU_G16_Q4_1, VGPU_G16_Q5_0, VGPU_G16_Q5_1,
	VGPU_G16_Q4_K, VGPU_G16_Q5_K, VGPU_G16_Q6_K, VGPU_G16_NVFP4,
	VGPU_G16_INT4(64), VGPU_G16_INT4(128),
	VGPU_G16_INT4_Z(32), VGPU_G16_INT4_Z(64), VGPU_G16_INT4_Z(128),
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
