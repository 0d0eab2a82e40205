/* SPDX-License-Identifier: MIT */
#ifndef VGPU_AVX512_SLAB_G16_H
#define VGPU_AVX512_SLAB_G16_H

#include "kernels/avx512/slab.h"
#include "kernels/pack/g16_type.h"

/* Column i of a line of codes plus 128 as f32. */
static inline __m512 vgpu_slab_column(__m512i line, uint32_t i)
{
	__m512i byte = _mm512_and_si512(_mm512_srlv_epi32(line, _mm512_set1_epi32((int)(8 * i))),
					_mm512_set1_epi32(0xff));

	return _mm512_cvtepi32_ps(_mm512_sub_epi32(byte, _mm512_set1_epi32(VGPU_INT8_ZERO)));
}

/* As vgpu_slab_fill_avx512(), for the formats of pack/g16_type.h; @out has what @lines are. */
void vgpu_slab_fill_g16_avx512(struct vgpu_slab *out, uint8_t *lines, float *scales,
			       const struct vgpu_group *g, enum vgpu_mode mode, uint32_t first,
			       uint32_t blocks);

#endif
