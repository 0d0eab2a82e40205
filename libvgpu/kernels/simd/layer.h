/* SPDX-License-Identifier: MIT */
/*
 * Norms, softmax, element-wise operations, RoPE and top-k on vectors; the contract
 * of each is that of ref/layer.h. Include the level's vec.h first.
 *
 * Sums are in f32, in several lanes, so a row's result depends on its length and
 * values alone. Where f32 is not enough (squares beyond its range, angles too large
 * to reduce) the row goes to the reference.
 */
#ifndef VGPU_KERNELS_SIMD_LAYER_H
#define VGPU_KERNELS_SIMD_LAYER_H

#include <math.h>
#include <string.h>

#include "kernels/ref/layer.h"
#include "kernels/simd/math.h"

/* Four sums at a time hide the latency of an addition. */
#define SUMS	4u

VEC_INLINE float sums_total(const vf *s)
{
	return vf_hsum(vf_add(vf_add(s[0], s[1]), vf_add(s[2], s[3])));
}

/* --- element-wise --- */

VEC_INLINE void map(float *out, const float *a, size_t n, vf (*f)(vf))
{
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		vf_store(out + i, f(vf_load(a + i)));
	if (i < n)
		vf_store_n(out + i, f(vf_load_n(a + i, n - i)), n - i);
}

static void unary(enum vgpu_unary op, float *out, const float *a, size_t n)
{
	switch (op) {
	case VGPU_UNARY_COPY:
		map(out, a, n, vf_copy);
		break;
	case VGPU_UNARY_GELU_ERF:
		map(out, a, n, vf_gelu_erf);
		break;
	case VGPU_UNARY_GELU_TANH:
		map(out, a, n, vf_gelu_tanh);
		break;
	case VGPU_UNARY_SILU:
		map(out, a, n, vf_silu);
		break;
	case VGPU_UNARY_RELU:
		map(out, a, n, vf_relu);
		break;
	case VGPU_UNARY_SIGMOID:
		map(out, a, n, vf_sigmoid);
		break;
	case VGPU_UNARY_TANH:
		map(out, a, n, vf_tanh);
		break;
	}
}

VEC_INLINE vf vf_swiglu(vf a, vf b)
{
	return vf_mul(vf_silu(a), b);
}

VEC_INLINE vf vf_geglu(vf a, vf b)
{
	return vf_mul(vf_gelu_tanh(a), b);
}

VEC_INLINE void map_pair(float *out, const float *a, const float *b, size_t n,
			 vf (*f)(vf, vf))
{
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		vf_store(out + i, f(vf_load(a + i), vf_load(b + i)));
	if (i < n)
		vf_store_n(out + i, f(vf_load_n(a + i, n - i), vf_load_n(b + i, n - i)),
			   n - i);
}

VEC_INLINE void map_scalar(float *out, const float *a, float b, size_t n,
			   vf (*f)(vf, vf))
{
	vf vb = vf_set(b);
	size_t i = 0;

	for (; i + VL <= n; i += VL)
		vf_store(out + i, f(vf_load(a + i), vb));
	if (i < n)
		vf_store_n(out + i, f(vf_load_n(a + i, n - i), vb), n - i);
}

VEC_INLINE void map_rows(float *out, const float *a, const float *b, size_t n, size_t nb,
			 vf (*f)(vf, vf))
{
	if (nb == 1) {
		map_scalar(out, a, *b, n, f);
		return;
	}
	for (size_t i = 0; i < n; i += nb)
		map_pair(out + i, a + i, b, nb, f);
}

static void binary(enum vgpu_binary op, float *out, const float *a, const float *b,
		   size_t n, size_t nb)
{
	switch (op) {
	case VGPU_BINARY_ADD:
		map_rows(out, a, b, n, nb, vf_add);
		break;
	case VGPU_BINARY_SUB:
		map_rows(out, a, b, n, nb, vf_sub);
		break;
	case VGPU_BINARY_MUL:
		map_rows(out, a, b, n, nb, vf_mul);
		break;
	case VGPU_BINARY_SWIGLU:
		map_rows(out, a, b, n, nb, vf_swiglu);
		break;
	case VGPU_BINARY_GEGLU:
		map_rows(out, a, b, n, nb, vf_geglu);
		break;
	}
}

static void scale(float *out, const float *a, float s, size_t n)
{
	map_scalar(out, a, s, n, vf_mul);
}

/* --- norms --- */

VEC_INLINE float row_sum(const float *x, uint32_t n)
{
	vf s[SUMS] = { vf_zero(), vf_zero(), vf_zero(), vf_zero() };
	uint32_t i = 0;

	for (; i + SUMS * VL <= n; i += SUMS * VL)
		for (uint32_t u = 0; u < SUMS; u++)
			s[u] = vf_add(s[u], vf_load(x + i + u * VL));
	for (; i < n; i += VL)
		s[0] = vf_add(s[0], vf_load_n(x + i, n - i));
	return sums_total(s);
}

/* Sums of x - mean, which is what rounding of the mean left over, and of its square. */
struct moments {
	float first, second;
};

VEC_INLINE struct moments row_moments(const float *x, uint32_t n, float mean)
{
	vf a[SUMS] = { vf_zero(), vf_zero(), vf_zero(), vf_zero() };
	vf b[SUMS] = { vf_zero(), vf_zero(), vf_zero(), vf_zero() };
	vf m = vf_set(mean);
	uint32_t i = 0;

	for (; i + SUMS * VL <= n; i += SUMS * VL) {
		for (uint32_t u = 0; u < SUMS; u++) {
			vf d = vf_sub(vf_load(x + i + u * VL), m);

			a[u] = vf_add(a[u], d);
			b[u] = vf_fma(d, d, b[u]);
		}
	}
	for (; i < n; i += VL) {
		vf d = vf_select(vmask_first(n - i), vf_sub(vf_load_n(x + i, n - i), m),
				 vf_zero());

		a[0] = vf_add(a[0], d);
		b[0] = vf_fma(d, d, b[0]);
	}
	return (struct moments){ sums_total(a), sums_total(b) };
}

/* False for NaN, for squares that overflowed and for those that vanished. */
VEC_INLINE bool variance_is_sharp(float v)
{
	return v > 1e-30f && v < 1e37f;
}

static void layernorm(float *out, const float *x, const float *gamma, const float *beta,
		      uint32_t n, float eps)
{
	float mean = row_sum(x, n) / (float)n;
	struct moments mo = row_moments(x, n, mean);
	float rest = mo.first / (float)n;
	float var = mo.second / (float)n - rest * rest + eps;
	vf m = vf_set(mean), r = vf_set(rest), inv;

	if (!variance_is_sharp(var)) {
		vgpu_layernorm_f32_ref(out, x, gamma, beta, n, eps);
		return;
	}
	inv = vf_set(1.0f / sqrtf(var));
	for (uint32_t i = 0; i < n; i += VL) {
		vf y = vf_sub(vf_sub(vf_load_n(x + i, n - i), m), r);
		vf g = gamma ? vf_load_n(gamma + i, n - i) : vf_set(1.0f);
		vf b = beta ? vf_load_n(beta + i, n - i) : vf_zero();

		vf_store_n(out + i, vf_fma(vf_mul(y, inv), g, b), n - i);
	}
}

VEC_INLINE float row_squares(const float *x, uint32_t n)
{
	vf s[SUMS] = { vf_zero(), vf_zero(), vf_zero(), vf_zero() };
	uint32_t i = 0;

	for (; i + SUMS * VL <= n; i += SUMS * VL) {
		for (uint32_t u = 0; u < SUMS; u++) {
			vf v = vf_load(x + i + u * VL);

			s[u] = vf_fma(v, v, s[u]);
		}
	}
	for (; i < n; i += VL) {
		vf v = vf_load_n(x + i, n - i);

		s[0] = vf_fma(v, v, s[0]);
	}
	return sums_total(s);
}

static void rmsnorm(float *out, const float *x, const float *gamma, uint32_t n, float eps,
		    float add)
{
	float var = row_squares(x, n) / (float)n + eps;
	vf inv, more = vf_set(add);

	if (!variance_is_sharp(var)) {
		vgpu_rmsnorm_f32_ref(out, x, gamma, n, eps, add);
		return;
	}
	inv = vf_set(1.0f / sqrtf(var));
	for (uint32_t i = 0; i < n; i += VL) {
		vf y = vf_mul(vf_load_n(x + i, n - i), inv);

		if (gamma)
			y = vf_mul(y, vf_add(vf_load_n(gamma + i, n - i), more));
		vf_store_n(out + i, y, n - i);
	}
}

/* --- softmax --- */

/* x = scale * x + mask; returns the largest, -INFINITY in lanes past the end. */
VEC_INLINE float softmax_logits(float *x, const float *mask, uint32_t n, float s)
{
	vf max = vf_set(-INFINITY), vs = vf_set(s);

	for (uint32_t i = 0; i < n; i += VL) {
		vf t = vf_mul(vf_load_n(x + i, n - i), vs);

		if (mask)
			t = vf_add(t, vf_load_n(mask + i, n - i));
		vf_store_n(x + i, t, n - i);
		max = vf_max(max, vf_select(vmask_first(n - i), t, vf_set(-INFINITY)));
	}
	return vf_hmax(max);
}

/* Terms that are added up in f32. */
#define SOFTMAX_TERMS	(16 * VL)

/*
 * x = exp(x - max); returns the sum.  Where logits are near to each other so are the terms, and
 * thousands of additions to a sum of them round the same way: sums of few are added in double.
 */
VEC_INLINE double softmax_exp(float *x, uint32_t n, float max)
{
	vf m = vf_set(max);
	double total = 0;

	for (uint32_t first = 0; first < n; first += SOFTMAX_TERMS) {
		uint32_t end = n - first < SOFTMAX_TERMS ? n : first + SOFTMAX_TERMS;
		vf sum = vf_zero();

		for (uint32_t i = first; i < end; i += VL) {
			vf p = vf_exp_small(vf_sub(vf_load_n(x + i, n - i), m));

			vf_store_n(x + i, p, n - i);
			sum = vf_add(sum, vf_select(vmask_first(n - i), p, vf_zero()));
		}
		total += vf_hsum(sum);
	}
	return total;
}

static void softmax(float *x, const float *mask, uint32_t n, float s)
{
	float max = softmax_logits(x, mask, n, s);
	double sum = softmax_exp(x, n, max == -INFINITY ? 0 : max);

	scale(x, x, sum == 0 ? 0 : (float)(1 / sum), n);
}

/* --- RoPE --- */

/* Pairs whose angles are worked out together, on the stack. */
#define ROPE_PAIRS	64u
/* Above this the reduction to [-pi/4, pi/4] below would lose more than 2^-24. */
#define ROPE_ANGLE_MAX	16777216.0

struct rope_angles {
	float c[2 * ROPE_PAIRS], s[2 * ROPE_PAIRS];
};

/*
 * cos and sin of pos * base^(-2i/rot), i from first. The angle is reduced in double
 * by multiples of pi/2 in two parts, the functions are f32.
 *
 * Source: Cody, Waite, Software Manual for the Elementary Functions, chapter 8.
 */
VEC_INLINE void rope_angles_fill(struct rope_angles *an, uint32_t first, uint32_t count,
				 uint32_t rot, double pos, double base)
{
	double ratio = pow(base, -2.0 / rot), angle = pos * pow(base, -2.0 * first / rot);
	float reduced[ROPE_PAIRS];
	int quadrant[ROPE_PAIRS];

	memset(reduced, 0, sizeof(reduced));
	for (uint32_t i = 0; i < count; i++, angle *= ratio) {
		double n = rint(angle * M_2_PI);

		reduced[i] = (float)((angle - n * 0x1.921fb544p0) - n * 0x1.0b4611a626331p-34);
		quadrant[i] = (int)n & 3;
	}
	for (uint32_t i = 0; i < count; i += VL) {
		vf r = vf_load(reduced + i);

		vf_store(an->c + i, vf_cos_reduced(r));
		vf_store(an->s + i, vf_sin_reduced(r));
	}
	for (uint32_t i = 0; i < count; i++) {
		float c = an->c[i], s = an->s[i];
		bool swap = quadrant[i] & 1;

		an->c[i] = swap ? s : c;
		an->s[i] = swap ? c : s;
		if (quadrant[i] == 1 || quadrant[i] == 2)
			an->c[i] = -an->c[i];
		if (quadrant[i] >= 2)
			an->s[i] = -an->s[i];
	}
}

VEC_INLINE void rope_rotate_halves(float *a, float *b, const struct rope_angles *an,
				   uint32_t count)
{
	for (uint32_t i = 0; i < count; i += VL) {
		size_t n = count - i;
		vf x = vf_load_n(a + i, n), y = vf_load_n(b + i, n);
		vf c = vf_load_n(an->c + i, n), s = vf_load_n(an->s + i, n);

		vf_store_n(a + i, vf_fnma(y, s, vf_mul(x, c)), n);
		vf_store_n(b + i, vf_fma(x, s, vf_mul(y, c)), n);
	}
}

/* Doubles the angles in place: c0 c0 c1 c1 ..., -s0 s0 -s1 s1 ... */
VEC_INLINE void rope_interleave(struct rope_angles *an, uint32_t count)
{
	for (uint32_t i = count; i-- > 0;) {
		float c = an->c[i], s = an->s[i];

		an->c[2 * i] = an->c[2 * i + 1] = c;
		an->s[2 * i] = -s;
		an->s[2 * i + 1] = s;
	}
}

VEC_INLINE void rope_rotate_pairs(float *a, const struct rope_angles *an, uint32_t count)
{
	for (uint32_t i = 0; i < 2 * count; i += VL) {
		size_t n = 2 * count - i;
		vf x = vf_load_n(a + i, n);
		vf c = vf_load_n(an->c + i, n), s = vf_load_n(an->s + i, n);

		vf_store_n(a + i, vf_fma(vf_swap_pairs(x), s, vf_mul(x, c)), n);
	}
}

static void rope(enum vgpu_rope kind, float *x, uint32_t heads, uint32_t dim, uint32_t rot,
		 float pos, float base, float freq_scale)
{
	double start = (double)pos * freq_scale;
	uint32_t half = rot / 2;

	/* Pair 0 has the largest angle when the base is at least 1. */
	if (!(fabs(start) < ROPE_ANGLE_MAX && base >= 1 && base < INFINITY)) {
		vgpu_rope_f32_ref(kind, x, heads, dim, rot, pos, base, freq_scale);
		return;
	}
	for (uint32_t i = 0; i < half; i += ROPE_PAIRS) {
		uint32_t count = half - i < ROPE_PAIRS ? half - i : ROPE_PAIRS;
		struct rope_angles an;

		rope_angles_fill(&an, i, count, rot, start, base);
		if (kind == VGPU_ROPE_NORM)
			rope_interleave(&an, count);
		for (uint32_t h = 0; h < heads; h++) {
			float *row = x + (size_t)h * dim;

			if (kind == VGPU_ROPE_NEOX)
				rope_rotate_halves(row + i, row + i + half, &an, count);
			else
				rope_rotate_pairs(row + 2 * i, &an, count);
		}
	}
}

/* --- top-k --- */

/* From @i, which is below @n, past vectors of which no value is above @last, or is NaN. */
static uint32_t topk_skip(const float *x, uint32_t i, uint32_t n, float last)
{
	const vf least = vf_set(last);

	for (; n - i >= 4 * VL; i += 4 * VL) {
		uint32_t bits = 0;

		for (uint32_t j = 0; j < 4; j++)
			bits |= vmask_bits(vf_not_le(vf_load(x + i + j * VL), least));
		if (bits)
			break;
	}
	return i;
}

/*
 * The list fills up from the first values; after that a vector is looked into only
 * where a value beats the last of the list, or where either is NaN.
 */
static void topk(const float *x, uint32_t n, uint32_t top, float *value, int32_t *index)
{
	uint32_t count = 0, i = 0;

	for (; top && i < top && i < n; i++)
		vgpu_topk_insert(value, index, &count, top, x[i], (int32_t)i);
	for (; top && i < n && (i = topk_skip(x, i, n, value[top - 1])) < n; i += VL) {
		vmask better = vf_not_le(vf_load_n(x + i, n - i), vf_set(value[top - 1]));
		uint32_t bits = vmask_bits(better) & vmask_bits(vmask_first(n - i));

		for (; bits; bits &= bits - 1) {
			uint32_t at = i + (uint32_t)__builtin_ctz(bits);

			vgpu_topk_insert(value, index, &count, top, x[at], (int32_t)at);
		}
	}
}

#endif
