// SPDX-License-Identifier: MIT
/*
 * Norms, softmax and element-wise operations: the definition of correct.
 *
 * Sums and functions are in double and rounded to f32 once, at the store, so the
 * tests can hold every other level against this one with bounds that are their own.
 */
#include "kernels/ref/layer.h"

#include <math.h>

static double sum_of(const float *x, uint32_t n)
{
	double sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += x[i];
	return sum;
}

static double squares_of(const float *x, uint32_t n, double mean)
{
	double sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += (x[i] - mean) * (x[i] - mean);
	return sum;
}

void vgpu_layernorm_f32_ref(float *out, const float *x, const float *gamma,
			    const float *beta, uint32_t n, float eps)
{
	double mean = sum_of(x, n) / n;
	double inv = 1 / sqrt(squares_of(x, n, mean) / n + eps);

	for (uint32_t i = 0; i < n; i++) {
		double y = (x[i] - mean) * inv;

		out[i] = (float)(y * (gamma ? gamma[i] : 1) + (beta ? beta[i] : 0));
	}
}

void vgpu_rmsnorm_f32_ref(float *out, const float *x, const float *gamma,
			  uint32_t n, float eps, float add)
{
	double inv = 1 / sqrt(squares_of(x, n, 0) / n + eps);

	for (uint32_t i = 0; i < n; i++) {
		double g = gamma ? (double)gamma[i] + add : 1;

		out[i] = (float)(x[i] * inv * g);
	}
}

static double softmax_logit(const float *x, const float *mask, uint32_t i, float scale)
{
	double t = (double)x[i] * scale;

	return mask ? t + mask[i] : t;
}

void vgpu_softmax_f32_ref(float *x, const float *mask, uint32_t n, float scale)
{
	double max = -INFINITY, sum = 0;

	for (uint32_t i = 0; i < n; i++) {
		double t = softmax_logit(x, mask, i, scale);

		/* Not fmax(): a NaN has to reach the sum, and does below. */
		max = t > max ? t : max;
	}
	if (max == -INFINITY)
		max = 0;
	for (uint32_t i = 0; i < n; i++)
		sum += exp(softmax_logit(x, mask, i, scale) - max);
	for (uint32_t i = 0; i < n; i++) {
		double p = exp(softmax_logit(x, mask, i, scale) - max);

		x[i] = sum == 0 ? 0 : (float)(p / sum);
	}
}

static double gelu_erf(double x)
{
	/* erfc keeps the negative tail, where 1 + erf cancels. */
	return 0.5 * x * erfc(-x * M_SQRT1_2);
}

static double gelu_tanh(double x)
{
	double u = sqrt(M_2_PI) * (x + 0.044715 * x * x * x);

	/* (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u)), without the cancellation. */
	return x / (1 + exp(-2 * u));
}

static double silu(double x)
{
	return x / (1 + exp(-x));
}

static double unary_of(enum vgpu_unary op, double x)
{
	switch (op) {
	case VGPU_UNARY_GELU_ERF:
		return gelu_erf(x);
	case VGPU_UNARY_GELU_TANH:
		return gelu_tanh(x);
	case VGPU_UNARY_SILU:
		return silu(x);
	case VGPU_UNARY_RELU:
		return x < 0 ? 0 : x;
	case VGPU_UNARY_SIGMOID:
		return 1 / (1 + exp(-x));
	case VGPU_UNARY_TANH:
		return tanh(x);
	case VGPU_UNARY_COPY:
		break;
	}
	return x;
}

void vgpu_unary_f32_ref(enum vgpu_unary op, float *out, const float *a, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = (float)unary_of(op, a[i]);
}

static double binary_of(enum vgpu_binary op, double a, double b)
{
	switch (op) {
	case VGPU_BINARY_ADD:
		return a + b;
	case VGPU_BINARY_SUB:
		return a - b;
	case VGPU_BINARY_MUL:
		return a * b;
	case VGPU_BINARY_SWIGLU:
		return silu(a) * b;
	case VGPU_BINARY_GEGLU:
		return gelu_tanh(a) * b;
	}
	return a;
}

void vgpu_binary_f32_ref(enum vgpu_binary op, float *out, const float *a,
			 const float *b, size_t n, size_t nb)
{
	for (size_t i = 0, j = 0; i < n; i++) {
		out[i] = (float)binary_of(op, a[i], b[j]);
		j = j + 1 == nb ? 0 : j + 1;
	}
}

void vgpu_scale_f32_ref(float *out, const float *a, float s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = a[i] * s;
}

void vgpu_layer_init_ref(struct vgpu_kernels *t)
{
	t->layernorm = vgpu_layernorm_f32_ref;
	t->rmsnorm = vgpu_rmsnorm_f32_ref;
	t->softmax = vgpu_softmax_f32_ref;
	t->unary = vgpu_unary_f32_ref;
	t->binary = vgpu_binary_f32_ref;
	t->scale = vgpu_scale_f32_ref;
	t->rope = vgpu_rope_f32_ref;
	t->topk = vgpu_topk_f32_ref;
	t->attention = vgpu_attention_f32_ref;
	t->gate = vgpu_gate_f32_ref;
	t->q8_0_encode = vgpu_q8_0_encode_ref;
}
