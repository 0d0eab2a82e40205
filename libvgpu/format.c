// SPDX-License-Identifier: MIT
#include "vgpu.h"

#include <errno.h>

#include "core/format.h"
#include "error.h"

_Static_assert((int)VGPU_FORMAT_NONE == VB_FORMAT_NONE && (int)VGPU_FORMAT_F32 == VB_FORMAT_F32 &&
	       (int)VGPU_FORMAT_F16 == VB_FORMAT_F16 && (int)VGPU_FORMAT_BF16 == VB_FORMAT_BF16 &&
	       (int)VGPU_FORMAT_I32 == VB_FORMAT_I32 && (int)VGPU_FORMAT_U8 == VB_FORMAT_U8 &&
	       (int)VGPU_FORMAT_MXFP4 == VB_FORMAT_MXFP4 &&
	       (int)VGPU_FORMAT_MXFP4_SPLIT == VB_FORMAT_MXFP4_SPLIT &&
	       (int)VGPU_FORMAT_Q8_0 == VB_FORMAT_Q8_0 &&
	       (int)VGPU_FORMAT_MXFP4_G16 == VB_FORMAT_MXFP4_G16 &&
	       (int)VGPU_FORMAT_INT8_G16 == VB_FORMAT_INT8_G16, "formats");

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
