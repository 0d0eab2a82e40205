// SPDX-License-Identifier: MIT
/*
 * Sizes of the number types. Block types: ggml's block structures as GGUF v3
 * stores them; MXFP4 is OCP MX v1.0 in GGUF's order (17 bytes for 32 values).
 */
#include "kernels/formats/checkpoint.h"

static const struct vgpu_dtype_info dtypes[] = {
	[VGPU_DTYPE_F32]	= { "f32", 1, 4, VGPU_FORMAT_F32 },
	[VGPU_DTYPE_F16]	= { "f16", 1, 2, VGPU_FORMAT_F16 },
	[VGPU_DTYPE_BF16]	= { "bf16", 1, 2, VGPU_FORMAT_BF16 },
	[VGPU_DTYPE_F64]	= { "f64", 1, 8, VGPU_FORMAT_F64 },
	[VGPU_DTYPE_I8]	= { "i8", 1, 1, VGPU_FORMAT_NONE },
	[VGPU_DTYPE_I16]	= { "i16", 1, 2, VGPU_FORMAT_NONE },
	[VGPU_DTYPE_I32]	= { "i32", 1, 4, VGPU_FORMAT_I32 },
	[VGPU_DTYPE_I64]	= { "i64", 1, 8, VGPU_FORMAT_NONE },
	[VGPU_DTYPE_U8]	= { "u8", 1, 1, VGPU_FORMAT_U8 },
	[VGPU_DTYPE_U16]	= { "u16", 1, 2, VGPU_FORMAT_NONE },
	[VGPU_DTYPE_U32]	= { "u32", 1, 4, VGPU_FORMAT_NONE },
	[VGPU_DTYPE_U64]	= { "u64", 1, 8, VGPU_FORMAT_NONE },
	[VGPU_DTYPE_BOOL]	= { "bool", 1, 1, VGPU_FORMAT_NONE },
	[VGPU_DTYPE_F8_E4M3]	= { "f8_e4m3", 1, 1, VGPU_FORMAT_F8_E4M3 },
	[VGPU_DTYPE_F8_E5M2]	= { "f8_e5m2", 1, 1, VGPU_FORMAT_F8_E5M2 },
	[VGPU_DTYPE_F8_E8M0]	= { "f8_e8m0", 1, 1, VGPU_FORMAT_NONE },
	[VGPU_DTYPE_F6_E2M3]	= { "f6_e2m3", 4, 3, VGPU_FORMAT_NONE },
	[VGPU_DTYPE_F6_E3M2]	= { "f6_e3m2", 4, 3, VGPU_FORMAT_NONE },
	[VGPU_DTYPE_F4_E2M1]	= { "f4_e2m1", 2, 1, VGPU_FORMAT_F4_E2M1 },
	[VGPU_DTYPE_C64]	= { "c64", 1, 8, VGPU_FORMAT_NONE },
	[VGPU_DTYPE_Q4_0]	= { "q4_0", 32, 18, VGPU_FORMAT_Q4_0 },
	[VGPU_DTYPE_Q4_1]	= { "q4_1", 32, 20, VGPU_FORMAT_Q4_1 },
	[VGPU_DTYPE_Q5_0]	= { "q5_0", 32, 22, VGPU_FORMAT_Q5_0 },
	[VGPU_DTYPE_Q5_1]	= { "q5_1", 32, 24, VGPU_FORMAT_Q5_1 },
	[VGPU_DTYPE_Q8_0]	= { "q8_0", 32, 34, VGPU_FORMAT_Q8_0 },
	[VGPU_DTYPE_Q2_K]	= { "q2_k", 256, 84, VGPU_FORMAT_Q2_K },
	[VGPU_DTYPE_Q3_K]	= { "q3_k", 256, 110, VGPU_FORMAT_Q3_K },
	[VGPU_DTYPE_Q4_K]	= { "q4_k", 256, 144, VGPU_FORMAT_Q4_K },
	[VGPU_DTYPE_Q5_K]	= { "q5_k", 256, 176, VGPU_FORMAT_Q5_K },
	[VGPU_DTYPE_Q6_K]	= { "q6_k", 256, 210, VGPU_FORMAT_Q6_K },
	[VGPU_DTYPE_Q8_K]	= { "q8_k", 256, 292, VGPU_FORMAT_Q8_K },
	[VGPU_DTYPE_MXFP4]	= { "mxfp4", 32, 17, VGPU_FORMAT_MXFP4 },
	[VGPU_DTYPE_NVFP4]	= { "nvfp4", 64, 36, VGPU_FORMAT_NVFP4 },
	[VGPU_DTYPE_IQ1_S]	= { "iq1_s", 256, 50, VGPU_FORMAT_IQ1_S },
	[VGPU_DTYPE_IQ1_M]	= { "iq1_m", 256, 56, VGPU_FORMAT_IQ1_M },
	[VGPU_DTYPE_IQ2_XXS]	= { "iq2_xxs", 256, 66, VGPU_FORMAT_IQ2_XXS },
	[VGPU_DTYPE_IQ2_XS]	= { "iq2_xs", 256, 74, VGPU_FORMAT_IQ2_XS },
	[VGPU_DTYPE_IQ2_S]	= { "iq2_s", 256, 82, VGPU_FORMAT_IQ2_S },
	[VGPU_DTYPE_IQ3_XXS]	= { "iq3_xxs", 256, 98, VGPU_FORMAT_IQ3_XXS },
	[VGPU_DTYPE_IQ3_S]	= { "iq3_s", 256, 110, VGPU_FORMAT_IQ3_S },
	[VGPU_DTYPE_IQ4_NL]	= { "iq4_nl", 32, 18, VGPU_FORMAT_IQ4_NL },
	[VGPU_DTYPE_IQ4_XS]	= { "iq4_xs", 256, 136, VGPU_FORMAT_IQ4_XS },
	[VGPU_DTYPE_TQ1_0]	= { "tq1_0", 256, 54, VGPU_FORMAT_TQ1_0 },
	[VGPU_DTYPE_TQ2_0]	= { "tq2_0", 256, 66, VGPU_FORMAT_TQ2_0 },
	[VGPU_DTYPE_Q1_0]	= { "q1_0", 128, 18, VGPU_FORMAT_Q1_0 },
};

const struct vgpu_dtype_info *vgpu_dtype_info(enum vgpu_dtype dtype)
{
	if (dtype >= sizeof(dtypes) / sizeof(dtypes[0]) || !dtypes[dtype].name)
		return NULL;
	return &dtypes[dtype];
}
