// SPDX-License-Identifier: MIT
/*
 * Splits activations into BF16 parts, as act.h says.
 */
#include "kernels/amx/act.h"

#include <immintrin.h>
#include <string.h>

#include "kernels/amx/act8.h"
#include "kernels/avx512/act.h"

/* Columns first .. first + 15 of a row of k; zeros behind the end. */
static inline __m512 load16(const float *x, uint32_t first, uint32_t k)
{
	uint32_t n = k > first ? k - first : 0;

	return _mm512_maskz_loadu_ps(n >= 16 ? 0xffff : (1u << n) - 1, x + first);
}

/* The sum of the squares of a row times a unit. */
static float sum_of_squares(const float *x, uint32_t k, float unit)
{
	__m512 sum[2] = { _mm512_setzero_ps(), _mm512_setzero_ps() };
	__m512 u = _mm512_set1_ps(unit);

	for (uint32_t c = 0; c < k; c += 32)
		for (uint32_t i = 0; i < 2; i++) {
			__m512 v = _mm512_mul_ps(load16(x, c + 16 * i, k), u);

			sum[i] = _mm512_fmadd_ps(v, v, sum[i]);
		}
	return _mm512_reduce_add_ps(_mm512_add_ps(sum[0], sum[1]));
}

/*
 * A group with a value beyond this has low parts.  Of tiny and of huge values the squares
 * are no f32 and another unit is taken.  NaN and infinite ones have no low parts: this is
 * NaN or infinite, too.
 */
static float low_from(const float *x, uint32_t k)
{
	float unit = 1, sum = sum_of_squares(x, k, unit);

	if (!(sum > 1e-20f && sum < 1e30f)) {
		unit = sum < 1 ? 0x1p80f : 0x1p-80f;
		sum = sum_of_squares(x, k, unit);
	}
	return __builtin_sqrtf(sum / VGPU_AMX_LOW_SHARE) / unit;
}

/* Two times 16 values to BF16 in the order of a line. */
static inline __m512i line_of(__m512 lo, __m512 hi)
{
	const __m512i order = _mm512_broadcast_i32x4(
		_mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15));

	return _mm512_shuffle_epi8((__m512i)_mm512_cvtne2ps_pbh(hi, lo), order);
}

/* What BF16 leaves of a value; 0 of those that it makes infinite. */
static inline __m512 rest_of(__m512 x)
{
	__m512 high = _mm512_castsi512_ps(_mm512_slli_epi32(
		_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x)), 16));
	__mmask16 finite = _mm512_cmp_ps_mask(_mm512_abs_ps(high), _mm512_set1_ps(__builtin_inff()),
					      _CMP_LT_OQ);

	return _mm512_maskz_sub_ps(finite, x, high);
}

/* All 32 values of a line added up. */
static inline float line_sum(__m512i line)
{
	__m512i high = _mm512_and_si512(line, _mm512_set1_epi32((int)0xffff0000));

	return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_castsi512_ps(_mm512_slli_epi32(line, 16)),
						  _mm512_castsi512_ps(high)));
}

/* One row of a tile of mt; to: its line of the first block, sum: that of the row. */
static void row_split(uint8_t *to, uint32_t *low, float *sum, const float *x, uint32_t k,
		      uint32_t kpad, uint32_t mt)
{
	const __m512 from = _mm512_set1_ps(low_from(x, k));

	for (uint32_t c = 0; c < kpad; c += VGPU_BLOCK) {
		__m512 a = load16(x, c, k), b = load16(x, c + 16, k);
		__m512 max = _mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b));
		__m512i rest = _mm512_setzero_si512();

		if (_mm512_cmp_ps_mask(max, from, _CMP_GT_OQ)) {
			rest = line_of(rest_of(a), rest_of(b));
			low[c / VGPU_BLOCK] = 1;
		}
		*sum = line_sum(line_of(a, b)) + line_sum(rest);
		sum += mt;
		_mm512_store_si512(to, line_of(a, b));
		_mm512_store_si512(to + mt * 64, rest);
		to += mt * 128;
	}
}

void vgpu_acts_pack_amx(struct vgpu_acts *acts, const float *x, size_t ldx, uint32_t first,
			uint32_t end)
{
	size_t blocks = acts->kpad / VGPU_BLOCK;

	if (vgpu_amx_acts8_are(acts)) {
		vgpu_acts_pack8_amx(acts, x, ldx, first, end);
		return;
	}
	if (acts->mode != VGPU_MODE_A16) {
		vgpu_acts_pack_avx512(acts, x, ldx, first, end);
		return;
	}
	for (; first < end; first += 16) {
		struct vgpu_amx_acts t = vgpu_amx_acts_at(acts, first, 0);

		memset((void *)t.low, 0, blocks * sizeof(*t.low));
		for (uint32_t i = 0; i < t.rows; i++)
			row_split((uint8_t *)t.lines + i * 64, (uint32_t *)t.low,
				  (float *)t.sum + i, x + (first + i) * ldx, acts->k, acts->kpad, t.rows);
	}
}
