/* SPDX-License-Identifier: MIT */
/*
 * A vector of floats, 16 lanes: the few operations that simd/ is written in.
 * avx2/vec.h has the same names for 8 lanes; see there for what each one means.
 */
#ifndef VGPU_KERNELS_VEC_H
#define VGPU_KERNELS_VEC_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define VEC_INLINE	static inline __attribute__((always_inline))

#define VL	16u
/* Rows of scores in one register tile of VEC_ROWS x 2 vectors. */
#define VEC_ROWS	8u

typedef __m512 vf;
typedef __mmask16 vmask;

VEC_INLINE vmask vmask_first(size_t n)
{
	return (vmask)(n < VL ? (1u << n) - 1 : 0xffff);
}

VEC_INLINE vmask vmask_between(int64_t first, int64_t end)
{
	vmask below = first <= 0 ? 0 : vmask_first((size_t)first);

	return end <= 0 ? 0 : (vmask)(vmask_first((size_t)end) & ~below);
}

VEC_INLINE uint32_t vmask_bits(vmask m)
{
	return m;
}

VEC_INLINE vf vf_zero(void)
{
	return _mm512_setzero_ps();
}

VEC_INLINE vf vf_set(float x)
{
	return _mm512_set1_ps(x);
}

VEC_INLINE vf vf_load(const float *p)
{
	return _mm512_loadu_ps(p);
}

VEC_INLINE vf vf_load_n(const float *p, size_t n)
{
	return _mm512_maskz_loadu_ps(vmask_first(n), p);
}

VEC_INLINE vf vf_load_f16(const void *p)
{
	return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}

VEC_INLINE vf vf_load_bf16(const void *p)
{
	return _mm512_castsi512_ps(_mm512_slli_epi32(
		_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16));
}

VEC_INLINE vf vf_load_s8(const void *p)
{
	return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p)));
}

VEC_INLINE void vf_store_s8(void *p, vf a)
{
	_mm_storeu_si128(p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a)));
}

VEC_INLINE void vf_store(float *p, vf a)
{
	_mm512_storeu_ps(p, a);
}

VEC_INLINE void vf_store_n(float *p, vf a, size_t n)
{
	_mm512_mask_storeu_ps(p, vmask_first(n), a);
}

VEC_INLINE vf vf_add(vf a, vf b)
{
	return _mm512_add_ps(a, b);
}

VEC_INLINE vf vf_sub(vf a, vf b)
{
	return _mm512_sub_ps(a, b);
}

VEC_INLINE vf vf_mul(vf a, vf b)
{
	return _mm512_mul_ps(a, b);
}

VEC_INLINE vf vf_div(vf a, vf b)
{
	return _mm512_div_ps(a, b);
}

VEC_INLINE vf vf_fma(vf a, vf b, vf c)
{
	return _mm512_fmadd_ps(a, b, c);
}

VEC_INLINE vf vf_fnma(vf a, vf b, vf c)
{
	return _mm512_fnmadd_ps(a, b, c);
}

VEC_INLINE vf vf_max(vf a, vf b)
{
	return _mm512_max_ps(a, b);
}

VEC_INLINE vf vf_min(vf a, vf b)
{
	return _mm512_min_ps(a, b);
}

VEC_INLINE vf vf_abs(vf a)
{
	return _mm512_abs_ps(a);
}

VEC_INLINE vf vf_with_sign_of(vf a, vf sign)
{
	/* Truth table of (a & ~bit) | (sign & bit). */
	return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(
		_mm512_castps_si512(a), _mm512_castps_si512(sign),
		_mm512_set1_epi32(INT32_MIN), 0xd8));
}

VEC_INLINE vf vf_round(vf a)
{
	return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

VEC_INLINE vf vf_ldexp(vmask m, vf a, vf n)
{
	return _mm512_maskz_scalef_ps(m, a, n);
}

VEC_INLINE vmask vf_lt(vf a, vf b)
{
	return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}

VEC_INLINE vmask vf_not_lt(vf a, vf b)
{
	return _mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ);
}

VEC_INLINE vmask vf_not_le(vf a, vf b)
{
	return _mm512_cmp_ps_mask(a, b, _CMP_NLE_UQ);
}

VEC_INLINE vf vf_select(vmask m, vf yes, vf no)
{
	return _mm512_mask_blend_ps(m, no, yes);
}

VEC_INLINE vf vf_swap_pairs(vf a)
{
	return _mm512_permute_ps(a, 0xb1);
}

VEC_INLINE float vf_hsum(vf a)
{
	__m256 b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
	__m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));

	c = _mm_add_ps(c, _mm_movehl_ps(c, c));
	return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

VEC_INLINE float vf_hmax(vf a)
{
	__m256 b = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
	__m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));

	c = _mm_max_ps(c, _mm_movehl_ps(c, c));
	return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

/* Per 128-bit lane: the sums of a, b, c and d. */
VEC_INLINE vf vf_sum_quad(const vf *v)
{
	vf ab = _mm512_add_ps(_mm512_unpacklo_ps(v[0], v[1]), _mm512_unpackhi_ps(v[0], v[1]));
	vf cd = _mm512_add_ps(_mm512_unpacklo_ps(v[2], v[3]), _mm512_unpackhi_ps(v[2], v[3]));

	return _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
}

VEC_INLINE vf vf_sum_lanes(vf a, vf b)
{
	return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}

VEC_INLINE vf vf_sums(const vf *v)
{
	vf a = vf_sum_lanes(vf_sum_quad(v), vf_sum_quad(v + 4));
	vf b = vf_sum_lanes(vf_sum_quad(v + 8), vf_sum_quad(v + 12));

	return vf_sum_lanes(a, b);
}

VEC_INLINE void vf_transpose(vf *v)
{
	vf t[VL];

	for (unsigned int i = 0; i < VL; i += 4) {
		vf a = _mm512_unpacklo_ps(v[i], v[i + 1]), b = _mm512_unpackhi_ps(v[i], v[i + 1]);
		vf c = _mm512_unpacklo_ps(v[i + 2], v[i + 3]);
		vf d = _mm512_unpackhi_ps(v[i + 2], v[i + 3]);

		t[i] = _mm512_shuffle_ps(a, c, 0x44);
		t[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
		t[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
		t[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
	}
	/* Lane l of t[4r + c] holds rows 4r..4r+3 of column 4l + c. */
	for (unsigned int c = 0; c < 4; c++) {
		vf a = _mm512_shuffle_f32x4(t[c], t[c + 4], 0x44);
		vf b = _mm512_shuffle_f32x4(t[c], t[c + 4], 0xee);
		vf e = _mm512_shuffle_f32x4(t[c + 8], t[c + 12], 0x44);
		vf f = _mm512_shuffle_f32x4(t[c + 8], t[c + 12], 0xee);

		v[c] = _mm512_shuffle_f32x4(a, e, 0x88);
		v[c + 4] = _mm512_shuffle_f32x4(a, e, 0xdd);
		v[c + 8] = _mm512_shuffle_f32x4(b, f, 0x88);
		v[c + 12] = _mm512_shuffle_f32x4(b, f, 0xdd);
	}
}

#endif
