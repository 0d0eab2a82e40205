/* SPDX-License-Identifier: MIT */
/*
 * A vector of floats, 8 lanes: the few operations that simd/ is written in.
 *
 * simd/ holds one text for both vector levels; each level includes its own vec.h
 * first. avx512/vec.h has the same names for 16 lanes.
 */
#ifndef VGPU_KERNELS_VEC_H
#define VGPU_KERNELS_VEC_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define VEC_INLINE	static inline __attribute__((always_inline))

#define VL	8u
/* Rows of scores in one register tile of VEC_ROWS x 2 vectors. */
#define VEC_ROWS	4u

typedef __m256 vf;
typedef __m256 vmask;	/* all bits of a lane, or none */

/* Lanes below n; all of them from n = VL on. */
VEC_INLINE vmask vmask_first(size_t n)
{
	__m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	int count = n < VL ? (int)n : (int)VL;

	return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane));
}

/* Lanes in [first, end); either may lie outside the vector. */
VEC_INLINE vmask vmask_between(int64_t first, int64_t end)
{
	vmask below = vmask_first(first <= 0 ? 0 : (size_t)first);

	return _mm256_andnot_ps(below, vmask_first(end <= 0 ? 0 : (size_t)end));
}

/* Bit l is lane l. */
VEC_INLINE uint32_t vmask_bits(vmask m)
{
	return (uint32_t)_mm256_movemask_ps(m);
}

VEC_INLINE vf vf_zero(void)
{
	return _mm256_setzero_ps();
}

VEC_INLINE vf vf_set(float x)
{
	return _mm256_set1_ps(x);
}

VEC_INLINE vf vf_load(const float *p)
{
	return _mm256_loadu_ps(p);
}

/* The first n floats; the other lanes are 0 and their memory is not touched. */
VEC_INLINE vf vf_load_n(const float *p, size_t n)
{
	return _mm256_maskload_ps(p, _mm256_castps_si256(vmask_first(n)));
}

/* VL values of another type, any alignment. */
VEC_INLINE vf vf_load_f16(const void *p)
{
	return _mm256_cvtph_ps(_mm_loadu_si128(p));
}

VEC_INLINE vf vf_load_bf16(const void *p)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)),
						     16));
}

VEC_INLINE vf vf_load_s8(const void *p)
{
	return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p)));
}

/* Integers of 8 bits, signed. */
VEC_INLINE void vf_store_s8(void *p, vf a)
{
	__m256i whole = _mm256_cvtps_epi32(a);
	__m128i words = _mm_packs_epi32(_mm256_castsi256_si128(whole),
					_mm256_extracti128_si256(whole, 1));

	_mm_storel_epi64(p, _mm_packs_epi16(words, words));
}

VEC_INLINE void vf_store(float *p, vf a)
{
	_mm256_storeu_ps(p, a);
}

VEC_INLINE void vf_store_n(float *p, vf a, size_t n)
{
	_mm256_maskstore_ps(p, _mm256_castps_si256(vmask_first(n)), a);
}

VEC_INLINE vf vf_add(vf a, vf b)
{
	return _mm256_add_ps(a, b);
}

VEC_INLINE vf vf_sub(vf a, vf b)
{
	return _mm256_sub_ps(a, b);
}

VEC_INLINE vf vf_mul(vf a, vf b)
{
	return _mm256_mul_ps(a, b);
}

VEC_INLINE vf vf_div(vf a, vf b)
{
	return _mm256_div_ps(a, b);
}

/* a * b + c, rounded once */
VEC_INLINE vf vf_fma(vf a, vf b, vf c)
{
	return _mm256_fmadd_ps(a, b, c);
}

/* c - a * b, rounded once */
VEC_INLINE vf vf_fnma(vf a, vf b, vf c)
{
	return _mm256_fnmadd_ps(a, b, c);
}

/* Where either is NaN, the second: vf_max(limit, x) lets the NaN of x through. */
VEC_INLINE vf vf_max(vf a, vf b)
{
	return _mm256_max_ps(a, b);
}

VEC_INLINE vf vf_min(vf a, vf b)
{
	return _mm256_min_ps(a, b);
}

VEC_INLINE vf vf_abs(vf a)
{
	return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}

VEC_INLINE vf vf_with_sign_of(vf a, vf sign)
{
	return _mm256_or_ps(vf_abs(a), _mm256_and_ps(_mm256_set1_ps(-0.0f), sign));
}

/* To the nearest integer, ties to even. */
VEC_INLINE vf vf_round(vf a)
{
	return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* 2^n for integers n in [-126, 127] */
VEC_INLINE vf vf_exp2i(__m256i n)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)),
						     23));
}

/*
 * a * 2^n where m is set, else 0; n is an integer in [-126, 254] there and a in
 * [0.5, 2). Two factors, since 2^128 is not a number; the first product is exact.
 */
VEC_INLINE vf vf_ldexp(vmask m, vf a, vf n)
{
	__m256i whole = _mm256_cvtps_epi32(n);
	__m256i half = _mm256_srai_epi32(whole, 1);

	a = _mm256_mul_ps(a, vf_exp2i(half));
	a = _mm256_mul_ps(a, vf_exp2i(_mm256_sub_epi32(whole, half)));
	return _mm256_and_ps(m, a);
}

VEC_INLINE vmask vf_lt(vf a, vf b)
{
	return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}

/* At least, or one of the two is NaN. */
VEC_INLINE vmask vf_not_lt(vf a, vf b)
{
	return _mm256_cmp_ps(a, b, _CMP_NLT_UQ);
}

/* Above, or one of the two is NaN. */
VEC_INLINE vmask vf_not_le(vf a, vf b)
{
	return _mm256_cmp_ps(a, b, _CMP_NLE_UQ);
}

VEC_INLINE vf vf_select(vmask m, vf yes, vf no)
{
	return _mm256_blendv_ps(no, yes, m);
}

/* Lanes 1, 0, 3, 2, ... */
VEC_INLINE vf vf_swap_pairs(vf a)
{
	return _mm256_permute_ps(a, 0xb1);
}

VEC_INLINE float vf_hsum(vf a)
{
	__m128 c = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));

	c = _mm_add_ps(c, _mm_movehl_ps(c, c));
	return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

VEC_INLINE float vf_hmax(vf a)
{
	__m128 c = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));

	c = _mm_max_ps(c, _mm_movehl_ps(c, c));
	return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

/* Per 128-bit lane: the sums of v[0] to v[3]. */
VEC_INLINE vf vf_sum_quad(const vf *v)
{
	vf ab = _mm256_add_ps(_mm256_unpacklo_ps(v[0], v[1]), _mm256_unpackhi_ps(v[0], v[1]));
	vf cd = _mm256_add_ps(_mm256_unpacklo_ps(v[2], v[3]), _mm256_unpackhi_ps(v[2], v[3]));

	return _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
}

/* Lane l is the sum of all lanes of v[l]; reads VL vectors. */
VEC_INLINE vf vf_sums(const vf *v)
{
	vf a = vf_sum_quad(v), b = vf_sum_quad(v + 4);

	return _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20),
			     _mm256_permute2f128_ps(a, b, 0x31));
}

/* Lane l of v[i] goes to lane i of v[l]; VL vectors. */
VEC_INLINE void vf_transpose(vf *v)
{
	vf t[VL];

	for (unsigned int i = 0; i < VL; i += 4) {
		vf a = _mm256_unpacklo_ps(v[i], v[i + 1]), b = _mm256_unpackhi_ps(v[i], v[i + 1]);
		vf c = _mm256_unpacklo_ps(v[i + 2], v[i + 3]);
		vf d = _mm256_unpackhi_ps(v[i + 2], v[i + 3]);

		t[i] = _mm256_shuffle_ps(a, c, 0x44);
		t[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
		t[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
		t[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
	}
	/* Lane l of t[4r + c] holds rows 4r..4r+3 of column 4l + c. */
	for (unsigned int c = 0; c < 4; c++) {
		v[c] = _mm256_permute2f128_ps(t[c], t[c + 4], 0x20);
		v[c + 4] = _mm256_permute2f128_ps(t[c], t[c + 4], 0x31);
	}
}

#endif
