// SPDX-License-Identifier: MIT
/*
 * Activations rounded to int8.  A whole tile goes eight rows at a time, a row a lane, so that
 * its scales are made at once and its words lie in their order.
 */
#include "kernels/avx512/act8.h"

#include "kernels/avx512/act.h"
#include "kernels/avx512/group8.h"

/* ---- a row of a tile that is not whole ---- */

/* 32 columns of tile row i; their sum. */
static int32_t block_a8(const struct vgpu_acts *acts, size_t at, uint32_t i, uint32_t mt,
			const float *x, uint32_t col, struct vgpu_a8_scale s)
{
	struct vgpu_group8 g = vgpu_group8(vgpu_load16(x, col, acts->k),
					   vgpu_load16(x, col + 16, acts->k), s);
	size_t group = at / VGPU_BLOCK + i, half = at / VGPU_BLOCK * 2 + i;
	int32_t sum = g.first + g.last;

	vgpu_scatter16((uint32_t *)((int8_t *)acts->data + at) + i, _mm512_zextsi256_si512(g.q), 8, mt);
	acts->scale[group] = g.scale;
	acts->sum[group] = g.scale * (float)sum;
	acts->offset[group] = -VGPU_A8_MAGIC * g.scale;
	acts->start[group] = VGPU_A8_MAGIC_BITS - 128 * sum;
	acts->half[half] = VGPU_A8_MAGIC_BITS - 128 * g.first;
	acts->half[half + mt] = VGPU_A8_MAGIC_BITS - 128 * g.last;
	return sum;
}

/* Of columns c to end - 1. */
static struct vgpu_a8_scale scale_a8(const struct vgpu_acts *acts, const float *x, uint32_t c,
				     uint32_t end)
{
	uint32_t max = 0;

	for (; c < end; c += VGPU_BLOCK) {
		uint32_t one = vgpu_group_max(vgpu_load16(x, c, acts->k), vgpu_load16(x, c + 16, acts->k));

		max = one > max ? one : max;
	}
	return vgpu_a8_scale(max);
}

void vgpu_acts_row8_avx512(const struct vgpu_acts *acts, uint32_t tile, uint32_t i, const float *x)
{
	const uint32_t group = vgpu_a8_group(acts->mode), mt = vgpu_acts_tile_rows(acts, tile);
	uint32_t end;

	for (uint32_t c = 0; c < acts->kpad; c = end) {
		size_t run = vgpu_acts_at(acts, tile, c) / VGPU_BLOCK + i;
		struct vgpu_a8_scale s;
		int32_t sum = 0;

		end = acts->kpad - c < group ? acts->kpad : c + group;
		s = scale_a8(acts, x, c, end);
		for (uint32_t b = c; b < end; b += VGPU_BLOCK)
			sum += block_a8(acts, vgpu_acts_at(acts, tile, b), i, mt, x, b, s);
		if (acts->run)
			acts->run[run] = VGPU_A8_MAGIC_BITS - 128 * sum;
	}
}

/* ---- a whole tile ---- */

_Static_assert(VGPU_MT == 8, "a row a lane of 256 bits");

/* vgpu_a8_scale() of eight rows. */
struct scales8 {
	__m256 scale, inverse;
};

static struct scales8 scales8(__m256i max)
{
	const __m256i infinity = _mm256_set1_epi32(0x7f800000);
	__m256 value = _mm256_castsi256_ps(max);
	__m256i bits = _mm256_castps_si256(_mm256_div_ps(value, _mm256_set1_ps(127.0f)));
	__mmask8 normal = _mm256_cmp_ps_mask(value, _mm256_set1_ps(VGPU_A8_TINY), _CMP_GE_OQ);
	__mmask8 none = _mm256_cmpge_epu32_mask(max, infinity);
	__m256 scale;

	bits = _mm256_andnot_si256(_mm256_set1_epi32(0xff),
				   _mm256_add_epi32(bits, _mm256_set1_epi32(0xff)));
	normal &= (__mmask8)~none;
	scale = _mm256_castsi256_ps(_mm256_maskz_mov_epi32(normal, bits));
	return (struct scales8){
		.scale = _mm256_mask_mov_ps(scale, none, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000))),
		.inverse = _mm256_maskz_div_ps(normal, _mm256_set1_ps(1.0f), scale),
	};
}

/* Lane i of the result: the largest of all lanes of row i. */
static __m256i largest8(const __m512i row[VGPU_MT])
{
	__m256i r[VGPU_MT], t[4];

	for (uint32_t i = 0; i < VGPU_MT; i++)
		r[i] = _mm256_max_epu32(_mm512_castsi512_si256(row[i]), _mm512_extracti64x4_epi64(row[i], 1));
	/* Pairs of rows, then fours, side by side in each half; then the halves. */
	for (uint32_t i = 0; i < 4; i++)
		t[i] = _mm256_max_epu32(_mm256_unpacklo_epi32(r[2 * i], r[2 * i + 1]),
					_mm256_unpackhi_epi32(r[2 * i], r[2 * i + 1]));
	for (uint32_t i = 0; i < 2; i++)
		r[i] = _mm256_max_epu32(_mm256_unpacklo_epi64(t[2 * i], t[2 * i + 1]),
					_mm256_unpackhi_epi64(t[2 * i], t[2 * i + 1]));
	return _mm256_max_epu32(_mm256_permute2x128_si256(r[0], r[1], 0x20),
				_mm256_permute2x128_si256(r[0], r[1], 0x31));
}

/* Magnitudes' bits of columns c to end - 1. */
static __m256i max8(const struct vgpu_acts *acts, const float *x, size_t ldx, uint32_t c, uint32_t end)
{
	const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
	__m512i row[VGPU_MT];

	for (uint32_t i = 0; i < VGPU_MT; i++) {
		row[i] = _mm512_setzero_si512();
		for (uint32_t b = c; b < end; b += 16) {
			__m512i v = _mm512_castps_si512(vgpu_load16(x + i * ldx, b, acts->k));

			row[i] = _mm512_max_epu32(row[i], _mm512_and_si512(v, magnitude));
		}
	}
	return largest8(row);
}

/* Word j of row i becomes word i of step j. */
static void transpose8(__m256i r[VGPU_MT])
{
	__m256i t[VGPU_MT];

	for (uint32_t i = 0; i < 8; i += 2) {
		t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
		t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
	}
	for (uint32_t i = 0; i < 8; i += 4) {
		r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
		r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
		r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
		r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
	}
	for (uint32_t i = 0; i < 4; i++) {
		t[i] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x20);
		t[i + 4] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x31);
	}
	for (uint32_t i = 0; i < 8; i++)
		r[i] = t[i];
}

/* 32 columns of a row; of NaN and infinity, which convert to INT32_MIN, nothing is left. */
static __m256i round8(const float *x, uint32_t c, uint32_t k, float inverse)
{
	__m512 by = _mm512_set1_ps(inverse);
	__m512i lo = _mm512_cvtps_epi32(_mm512_mul_ps(vgpu_load16(x, c, k), by));
	__m512i hi = _mm512_cvtps_epi32(_mm512_mul_ps(vgpu_load16(x, c + 16, k), by));

	return _mm256_set_m128i(_mm512_cvtepi32_epi8(hi), _mm512_cvtepi32_epi8(lo));
}

/* The magic number less 128 sums. */
static inline __m256i start8(__m256i sum)
{
	return _mm256_sub_epi32(_mm256_set1_epi32(VGPU_A8_MAGIC_BITS), _mm256_slli_epi32(sum, 7));
}

/* 32 columns of a tile, whose first element is number at; their sums. */
static __m256i block8(const struct vgpu_acts *acts, size_t at, const float *x, size_t ldx, uint32_t c,
		      const struct scales8 *s)
{
	const __m256i one = _mm256_set1_epi8(1);
	__m256i step[VGPU_MT], half[2] = { _mm256_setzero_si256(), _mm256_setzero_si256() }, sum;
	size_t group = at / VGPU_BLOCK;
	float inverse[VGPU_MT];

	_mm256_storeu_ps(inverse, s->inverse);
	for (uint32_t i = 0; i < VGPU_MT; i++)
		step[i] = round8(x + i * ldx, c, acts->k, inverse[i]);
	transpose8(step);
	for (uint32_t j = 0; j < 8; j++) {
		_mm256_storeu_si256((__m256i *)((int8_t *)acts->data + at + j * 32), step[j]);
		half[j / 4] = _mm256_dpbusd_epi32(half[j / 4], one, step[j]);
	}
	sum = _mm256_add_epi32(half[0], half[1]);
	_mm256_storeu_ps(acts->scale + group, s->scale);
	_mm256_storeu_ps(acts->sum + group, _mm256_mul_ps(s->scale, _mm256_cvtepi32_ps(sum)));
	_mm256_storeu_ps(acts->offset + group, _mm256_mul_ps(s->scale, _mm256_set1_ps(-VGPU_A8_MAGIC)));
	_mm256_storeu_si256((__m256i *)(acts->start + group), start8(sum));
	_mm256_storeu_si256((__m256i *)(acts->half + group * 2), start8(half[0]));
	_mm256_storeu_si256((__m256i *)(acts->half + group * 2 + VGPU_MT), start8(half[1]));
	return sum;
}

void vgpu_acts_rows8_avx512(const struct vgpu_acts *acts, uint32_t tile, const float *x, size_t ldx)
{
	const uint32_t group = vgpu_a8_group(acts->mode);
	uint32_t end;

	for (uint32_t c = 0; c < acts->kpad; c = end) {
		size_t run = vgpu_acts_at(acts, tile, c) / VGPU_BLOCK;
		__m256i sum = _mm256_setzero_si256();
		struct scales8 s;

		end = acts->kpad - c < group ? acts->kpad : c + group;
		s = scales8(max8(acts, x, ldx, c, end));
		for (uint32_t b = c; b < end; b += VGPU_BLOCK)
			sum = _mm256_add_epi32(sum, block8(acts, vgpu_acts_at(acts, tile, b), x, ldx, b, &s));
		if (acts->run)
			_mm256_storeu_si256((__m256i *)(acts->run + run), start8(sum));
	}
}
