/* SPDX-License-Identifier: MIT */
/*
 * Functions of a vector of floats. Include the level's vec.h first.
 *
 * The polynomials are our own minimax fits (Remez exchange in 40 digits, weighted
 * for relative error); the number beside each is the error of the fit alone. The
 * errors of the functions, rounding included, are measured by
 * tests/kernels/layer_test.c and listed in Documentation/layers.md.
 */
#ifndef VGPU_KERNELS_SIMD_MATH_H
#define VGPU_KERNELS_SIMD_MATH_H

/* Below this exp(x) is not a normal number: -126 ln(2). */
#define VF_EXP_LEAST	(-87.3365f)

/*
 * exp(x) = 2^n exp(r), |r| <= ln(2) / 2; fit 2^-28.2; x at most 88.7, or NaN.
 *
 * Results below 2^-126 become 0, and on the way there no lane holds a subnormal
 * number: one of those costs the processor more than a hundred cycles, and the
 * masked keys of attention would make one each.
 */
VEC_INLINE vf vf_exp_small(vf x)
{
	vmask normal = vf_not_lt(x, vf_set(VF_EXP_LEAST));
	vf n, r, p;

	x = vf_max(vf_set(VF_EXP_LEAST), x);
	n = vf_round(vf_mul(x, vf_set(1.44269504089f)));
	r = vf_fnma(n, vf_set(0x1.62e43p-1f), x);
	r = vf_fnma(n, vf_set(-0x1.05c61p-29f), r);
	p = vf_set(0.00138145714399f);
	p = vf_fma(p, r, vf_set(0.00836873010006f));
	p = vf_fma(p, r, vf_set(0.0416683892995f));
	p = vf_fma(p, r, vf_set(0.166665205241f));
	p = vf_fma(p, r, vf_set(0.499999934409f));
	p = vf_fma(vf_mul(r, r), p, r);
	return vf_ldexp(normal, vf_add(p, vf_set(1.0f)), n);
}

/* The same for any x; infinite from 88.73 on. */
VEC_INLINE vf vf_exp(vf x)
{
	return vf_exp_small(vf_min(vf_set(90.0f), x));
}

VEC_INLINE vf vf_sigmoid(vf x)
{
	vf one = vf_set(1.0f);

	return vf_div(one, vf_add(one, vf_exp(vf_sub(vf_zero(), x))));
}

/*
 * Below 0.55 an odd polynomial (fit 2^-29.8), because 1 - 2 / (exp(2x) + 1) loses
 * its leading bits there.
 */
VEC_INLINE vf vf_tanh(vf x)
{
	vf ax = vf_abs(x), z = vf_mul(x, x), one = vf_set(1.0f), small, large;

	small = vf_set(-0.00627424756862f);
	small = vf_fma(small, z, vf_set(0.0210716846082f));
	small = vf_fma(small, z, vf_set(-0.0538523111691f));
	small = vf_fma(small, z, vf_set(0.133325861484f));
	small = vf_fma(small, z, vf_set(-0.333333175598f));
	small = vf_fma(vf_mul(small, z), x, x);
	large = vf_div(vf_set(2.0f), vf_add(vf_exp(vf_add(ax, ax)), one));
	large = vf_with_sign_of(vf_sub(one, large), x);
	return vf_select(vf_lt(ax, vf_set(0.55f)), small, large);
}

VEC_INLINE vf vf_silu(vf x)
{
	return vf_div(x, vf_add(vf_set(1.0f), vf_exp(vf_sub(vf_zero(), x))));
}

/* x (1 + tanh(u)) / 2 = x / (1 + exp(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3) */
VEC_INLINE vf vf_gelu_tanh(vf x)
{
	vf u = vf_fma(vf_mul(x, x), vf_set(-0.0713548162726f), vf_set(-1.59576912161f));

	return vf_div(x, vf_add(vf_set(1.0f), vf_exp(vf_mul(x, u))));
}

/*
 * x Phi(x). The lower tail Phi(-t) exp(t^2/2) is smooth in y = 1 / (1 + 0.3 t):
 * a polynomial of degree 8 for t in [0, 14], relative fit 2^-24. Above that the
 * exponential is 0.
 */
VEC_INLINE vf vf_gelu_erf(vf x)
{
	vf t = vf_abs(x), one = vf_set(1.0f), y, p, tail;

	y = vf_div(one, vf_fma(t, vf_set(0.3f), one));
	p = vf_set(0.038378200098f);
	p = vf_fma(p, y, vf_set(-0.169165684639f));
	p = vf_fma(p, y, vf_set(0.2286592187f));
	p = vf_fma(p, y, vf_set(-0.0765055178499f));
	p = vf_fma(p, y, vf_set(0.142534882943f));
	p = vf_fma(p, y, vf_set(0.0946837858433f));
	p = vf_fma(p, y, vf_set(0.121920277921f));
	p = vf_fma(p, y, vf_set(0.119487697494f));
	p = vf_fma(p, y, vf_set(7.16840529432e-6f));
	tail = vf_mul(p, vf_exp(vf_mul(vf_mul(t, t), vf_set(-0.5f))));
	return vf_mul(x, vf_select(vf_lt(x, vf_zero()), tail, vf_sub(one, tail)));
}

VEC_INLINE vf vf_relu(vf x)
{
	return vf_max(vf_zero(), x);
}

VEC_INLINE vf vf_copy(vf x)
{
	return x;
}

/* sin(r), |r| <= pi/4; fit 2^-27.9 */
VEC_INLINE vf vf_sin_reduced(vf r)
{
	vf z = vf_mul(r, r), p = vf_set(-0.000195152159173f);

	p = vf_fma(p, z, vf_set(0.00833216027168f));
	p = vf_fma(p, z, vf_set(-0.166666546018f));
	return vf_fma(vf_mul(p, z), r, r);
}

/* cos(r), |r| <= pi/4; fit 2^-33 */
VEC_INLINE vf vf_cos_reduced(vf r)
{
	vf z = vf_mul(r, r), p = vf_set(2.4433081206e-5f);

	p = vf_fma(p, z, vf_set(-0.00138873156016f));
	p = vf_fma(p, z, vf_set(0.0416666456698f));
	p = vf_fma(p, z, vf_set(-0.5f));
	return vf_fma(p, z, vf_set(1.0f));
}

#endif
