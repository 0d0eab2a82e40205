// SPDX-License-Identifier: MIT
#include "vgpu.h"

#include <errno.h>

#include "core/format.h"
#include "error.h"
#include "kernels/weight.h"

#define SAME(name) _Static_assert((int)VGPU_FORMAT_##name == (int)VB_FORMAT_##name, #name)
SAME(NONE);
SAME(F32);
SAME(F16);
SAME(BF16);
SAME(I32);
SAME(U8);
SAME(F8_E4M3);
SAME(F8_E5M2);
SAME(F64);
SAME(Q8_K);
SAME(IQ1_S);
SAME(IQ1_M);
SAME(IQ2_XXS);
SAME(IQ2_XS);
SAME(TQ1_0);
SAME(TQ2_0);
SAME(MXFP4);
SAME(MXFP4_SPLIT);
SAME(Q8_0);
SAME(Q4_0);
SAME(Q4_1);
SAME(Q5_0);
SAME(Q5_1);
SAME(Q2_K);
SAME(Q3_K);
SAME(Q4_K);
SAME(Q5_K);
SAME(Q6_K);
SAME(IQ4_NL);
SAME(IQ4_XS);
SAME(NVFP4);
SAME(IQ2_S);
SAME(MXFP4_G16);
SAME(INT8_G16);
SAME(Q4_0_G16);
SAME(Q4_1_G16);
SAME(Q5_0_G16);
SAME(Q5_1_G16);
SAME(Q4_K_G16);
SAME(Q5_K_G16);
SAME(Q6_K_G16);
SAME(NVFP4_G16);
SAME(INT4_64_G16);
SAME(INT4_128_G16);
SAME(INT4_Z32_G16);
SAME(INT4_Z64_G16);
SAME(INT4_Z128_G16);
SAME(IQ3_XXS);
SAME(IQ3_S);
SAME(Q1_0);
SAME(F4_E2M1);
#undef SAME

const char *vgpu_format_name(enum vgpu_format format)
{
	return vb_format_name(format);
}

int vgpu_matrix_bytes(enum vgpu_format format, uint32_t n, uint32_t k, uint64_t *out)
{
	u64 bytes;
	int rc;

	rc = vb_format_matrix_bytes(format, n, k, &bytes);
	if (rc == -EOVERFLOW)
		return vgpu_fail(rc, "%u x %u of %s exceed 64 bits", n, k, vb_format_name(format));
	if (rc)
		return vgpu_fail(rc, "a matrix of %u x %u cannot have format %s (%d)", n, k,
				 vb_format_name(format), (int)format);
	*out = bytes;
	return 0;
}

bool vgpu_format_is_weight(enum vgpu_format format)
{
	return vb_format_is_weight(format);
}

enum vgpu_format vgpu_format_packed(enum vgpu_format format)
{
	return (enum vgpu_format)vb_format_packed(format);
}

bool vgpu_pack_is_exact(enum vgpu_format source, enum vgpu_format packed)
{
	return vgpu_weight_pack_is_exact(source, packed);
}

int vgpu_matrix_decode(enum vgpu_format format, uint32_t n, uint32_t k, const void *data,
		       float *out)
{
	uint64_t bytes;
	int rc = vgpu_matrix_bytes(format, n, k, &bytes);

	if (rc)
		return rc;
	if (vb_format_is_packed(format) && (uintptr_t)data % 64)
		return vgpu_fail(-EINVAL, "a matrix of %s lies at %p, no multiple of 64",
				 vb_format_name(format), data);
	rc = vgpu_weight_decode(format, n, k, data, out);
	return rc ? vgpu_fail(rc, "a matrix of %s alone cannot be decoded",
			      vb_format_name(format)) : 0;
}
