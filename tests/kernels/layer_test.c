// SPDX-License-Identifier: MIT
/*
 * Layer operations at every level against direct formulas in double. Memory ends
 * where the operand ends and starts 4 bytes off alignment, so that AddressSanitizer
 * sees a vector that reaches too far.
 */
#include "check.h"

#define TAILS	68	/* row lengths 1 .. 67 cover every remainder of every level */

/* --- operands --- */

struct row {
	float *memory, *at;
	size_t n;
};

static struct row row_new(size_t n)
{
	struct row r = { .n = n };

	r.memory = malloc((n + 1) * sizeof(float));
	assert_non_null(r.memory);
	r.at = r.memory + 1;
	return r;
}

static void row_free(struct row r)
{
	free(r.memory);
}

static struct row row_gauss(uint64_t *rng, size_t n, double mean, double deviation)
{
	struct row r = row_new(n);

	for (size_t i = 0; i < n; i++)
		r.at[i] = (float)(mean + deviation * rng_gauss(rng));
	return r;
}

static struct row row_copy(struct row of)
{
	struct row r = row_new(of.n);

	memcpy(r.at, of.at, of.n * sizeof(float));
	return r;
}

/* |got - want| <= relative * |want| + absolute; NaN and infinities must match. */
static void assert_close(float got, double want, double relative, double absolute)
{
	double error = fabs(got - want);

	if (isnan(want) ? isnan(got) : error <= relative * fabs(want) + absolute)
		return;
	if (isinf(want) && (double)got == want)
		return;
	fail_msg("got %.9g, want %.17g, error %.3g", (double)got, want, error);
}

static const uint32_t long_rows[] = { 128, 384, 1000, 1536, 4095, 4096 };
#define LONG_ROWS (sizeof(long_rows) / sizeof(long_rows[0]))

/* Row lengths 1..67, then the long ones. */
static uint32_t row_length(uint32_t i)
{
	return i < TAILS - 1 ? i + 1 : long_rows[i - (TAILS - 1)];
}
#define ROW_LENGTHS (TAILS - 1 + LONG_ROWS)

/* --- norms --- */

static void check_layernorm(const struct vgpu_kernels *t, struct row x, const float *gamma,
			    const float *beta, float eps)
{
	struct row out = row_new(x.n);
	double mean = 0, var = 0, scale;

	for (size_t i = 0; i < x.n; i++)
		mean += x.at[i] / (double)x.n;
	for (size_t i = 0; i < x.n; i++)
		var += (x.at[i] - mean) * (x.at[i] - mean) / (double)x.n;
	scale = 1 / sqrt(var + eps);
	t->layernorm(out.at, x.at, gamma, beta, (uint32_t)x.n, eps);
	for (size_t i = 0; i < x.n; i++) {
		double y = (x.at[i] - mean) * scale;
		double g = gamma ? gamma[i] : 1, b = beta ? beta[i] : 0;

		/* The spread of the row bounds what rounding the mean may move. */
		assert_close(out.at[i], y * g + b, 1e-6,
			     2e-6 * (fabs(g) + fabs(b)) + 1e-7 * fabs(x.at[i] * scale * g));
	}
	row_free(out);
}

static void layernorm_is_within_bound(void **state)
{
	static const double offsets[] = { 0, 3, -1e4 };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 1;

	for (uint32_t i = 0; i < ROW_LENGTHS; i++) {
		uint32_t n = row_length(i);
		struct row gamma = row_gauss(&rng, n, 1, 0.3), beta = row_gauss(&rng, n, 0, 1);

		for (int o = 0; o < 3; o++) {
			struct row x = row_gauss(&rng, n, offsets[o], 1);

			check_layernorm(t, x, gamma.at, beta.at, 1e-5f);
			check_layernorm(t, x, NULL, NULL, 1e-12f);
			row_free(x);
		}
		row_free(gamma);
		row_free(beta);
	}
}

/* Squares that leave the range of f32, both ways, and a row without variance. */
static void layernorm_survives_extreme_rows(void **state)
{
	static const double deviations[] = { 1e25, 3e37, 1e-18, 1e-25, 0 };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 2;

	for (int d = 0; d < 5; d++) {
		struct row x = row_gauss(&rng, 100, 0, deviations[d]);

		check_layernorm(t, x, NULL, NULL, 1e-12f);
		check_layernorm(t, x, NULL, NULL, 1e-37f);
		row_free(x);
	}
}

static void check_rmsnorm(const struct vgpu_kernels *t, struct row x, const float *gamma,
			  float eps, float add)
{
	struct row out = row_new(x.n);
	double square = 0, scale;

	for (size_t i = 0; i < x.n; i++)
		square += (double)x.at[i] * x.at[i] / (double)x.n;
	scale = 1 / sqrt(square + eps);
	t->rmsnorm(out.at, x.at, gamma, (uint32_t)x.n, eps, add);
	for (size_t i = 0; i < x.n; i++) {
		double g = gamma ? (double)gamma[i] + add : 1;
		/* gamma + add is rounded once, against its own parts. */
		double rounding = gamma ? 1e-7 * (fabs(gamma[i]) + fabs(add)) : 0;

		assert_close(out.at[i], x.at[i] * scale * g, 1e-6,
			     rounding * fabs(x.at[i] * scale) + 1e-40);
	}
	row_free(out);
}

static void rmsnorm_is_within_bound(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 3;

	for (uint32_t i = 0; i < ROW_LENGTHS; i++) {
		uint32_t n = row_length(i);
		struct row gamma = row_gauss(&rng, n, 0, 1), x = row_gauss(&rng, n, 0.5, 2);

		check_rmsnorm(t, x, gamma.at, 1e-6f, 0);
		check_rmsnorm(t, x, gamma.at, 1e-6f, 1);
		check_rmsnorm(t, x, NULL, 1e-6f, 0);
		row_free(gamma);
		row_free(x);
	}
}

static void rmsnorm_survives_extreme_rows(void **state)
{
	static const double deviations[] = { 1e25, 3e37, 1e-18, 1e-25, 0 };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 4;

	for (int d = 0; d < 5; d++) {
		struct row x = row_gauss(&rng, 77, 0, deviations[d]);

		check_rmsnorm(t, x, NULL, 1e-12f, 0);
		check_rmsnorm(t, x, NULL, 1e-37f, 0);
		row_free(x);
	}
}

static void norms_work_in_place(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 5;
	struct row x = row_gauss(&rng, 67, 1, 1), out = row_new(67);
	struct row gamma = row_gauss(&rng, 67, 1, 1), same = row_copy(x);

	t->layernorm(out.at, x.at, gamma.at, gamma.at, 67, 1e-5f);
	t->layernorm(same.at, same.at, gamma.at, gamma.at, 67, 1e-5f);
	assert_memory_equal(out.at, same.at, 67 * sizeof(float));
	memcpy(same.at, x.at, 67 * sizeof(float));
	t->rmsnorm(out.at, x.at, gamma.at, 67, 1e-5f, 0);
	t->rmsnorm(same.at, same.at, gamma.at, 67, 1e-5f, 0);
	assert_memory_equal(out.at, same.at, 67 * sizeof(float));
	row_free(x);
	row_free(out);
	row_free(gamma);
	row_free(same);
}

static void norms_pass_nan_on(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 6;
	struct row x = row_gauss(&rng, 40, 0, 1), out = row_new(40);

	x.at[33] = NAN;
	t->layernorm(out.at, x.at, NULL, NULL, 40, 1e-5f);
	for (int i = 0; i < 40; i++)
		assert_true(isnan(out.at[i]));
	t->rmsnorm(out.at, x.at, NULL, 40, 1e-5f, 0);
	for (int i = 0; i < 40; i++)
		assert_true(isnan(out.at[i]));
	row_free(x);
	row_free(out);
}

/* --- softmax --- */

static void check_softmax(const struct vgpu_kernels *t, struct row x, const float *mask,
			  float scale)
{
	struct row got = row_copy(x);
	double max = -INFINITY, sum = 0, total = 0;
	double *logit = calloc(x.n, sizeof(*logit));

	assert_non_null(logit);
	for (size_t i = 0; i < x.n; i++) {
		logit[i] = (double)x.at[i] * scale + (mask ? mask[i] : 0);
		max = fmax(max, logit[i]);
	}
	for (size_t i = 0; i < x.n; i++)
		sum += max == -INFINITY ? 0 : exp(logit[i] - max);
	t->softmax(got.at, mask, (uint32_t)x.n, scale);
	for (size_t i = 0; i < x.n; i++) {
		double want = max == -INFINITY ? 0 : exp(logit[i] - max) / sum;
		/* A logit is rounded to f32 before exp() sees it. */
		double rounding = fabs(logit[i]) < INFINITY ?
				  1.2e-7 * (fabs(logit[i]) + fabs(max)) : 0;

		/* A probability below 2^-126 may be 0. */
		assert_close(got.at[i], want, 2e-6 + rounding, 0x1p-126);
		total += got.at[i];
	}
	assert_close((float)total, max == -INFINITY ? 0 : 1, 2e-6, 0);
	free(logit);
	row_free(got);
}

static void softmax_is_within_bound(void **state)
{
	static const float scales[] = { 1, 0.125f, 30 };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 7;

	for (uint32_t i = 0; i < ROW_LENGTHS; i++) {
		uint32_t n = row_length(i);
		struct row x = row_gauss(&rng, n, 0, 2), mask = row_gauss(&rng, n, 0, 3);

		for (uint32_t j = 0; j < n; j += 3)
			mask.at[j] = -INFINITY;
		for (int s = 0; s < 3; s++) {
			check_softmax(t, x, NULL, scales[s]);
			check_softmax(t, x, mask.at, scales[s]);
		}
		row_free(x);
		row_free(mask);
	}
}

/* Terms that differ by less than they can be rounded by, each to the same side. */
static void softmax_of_long_even_rows_is_within_bound(void **state)
{
	static const uint32_t lengths[] = { 3041, 3953, 32003, 262144 };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 19;

	for (int l = 0; l < 4; l++)
		for (int e = -24; e <= -18; e += 2) {
			struct row x = row_gauss(&rng, lengths[l], 0, ldexp(1, e));

			check_softmax(t, x, NULL, 1);
			row_free(x);
		}
}

static void softmax_of_large_logits_does_not_overflow(void **state)
{
	static const float peaks[] = { 1e4f, -1e4f, 1e30f, -1e30f, 3.4e38f, -3.4e38f };
	const struct vgpu_kernels *t = check_table(state);

	for (int p = 0; p < 6; p++) {
		struct row x = row_new(37);

		for (size_t i = 0; i < x.n; i++)
			x.at[i] = peaks[p] - (peaks[p] < 1e5f ? (float)i : 0);
		check_softmax(t, x, NULL, 1);
		row_free(x);
	}
}

/* Frameworks mask by the lowest finite number too: all-masked is then uniform. */
static void softmax_of_lowest_finite_masks_is_uniform(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	struct row x = row_new(20), mask = row_new(20);

	for (size_t i = 0; i < 20; i++) {
		x.at[i] = 1;
		mask.at[i] = -3.4028234e38f;
	}
	t->softmax(x.at, mask.at, 20, 1);
	for (size_t i = 0; i < 20; i++)
		assert_close(x.at[i], 0.05, 1e-6, 0);
	row_free(x);
	row_free(mask);
}

static void softmax_of_an_all_masked_row_is_zero(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 8;

	for (uint32_t n = 1; n < TAILS; n++) {
		struct row x = row_gauss(&rng, n, 0, 1), mask = row_new(n);

		for (uint32_t i = 0; i < n; i++)
			mask.at[i] = -INFINITY;
		t->softmax(x.at, mask.at, n, 1);
		for (uint32_t i = 0; i < n; i++)
			assert_true(x.at[i] == 0);
		row_free(x);
		row_free(mask);
	}
}

static void softmax_passes_nan_on(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 9;

	for (int where = 0; where < 50; where++) {
		struct row x = row_gauss(&rng, 50, 0, 1);

		x.at[where] = where & 1 ? NAN : INFINITY;
		t->softmax(x.at, NULL, 50, 1);
		for (int i = 0; i < 50; i++)
			assert_true(isnan(x.at[i]));
		row_free(x);
	}
}

/* --- element-wise --- */

static double unary_want(enum vgpu_unary op, double x)
{
	double u = sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);

	switch (op) {
	case VGPU_UNARY_COPY:
		return x;
	case VGPU_UNARY_GELU_ERF:
		return x * 0.5 * erfc(-x / M_SQRT2);
	case VGPU_UNARY_GELU_TANH:
		return x / (1 + exp(-2 * u));
	case VGPU_UNARY_SILU:
		return x / (1 + exp(-x));
	case VGPU_UNARY_RELU:
		return x < 0 ? 0 : x;
	case VGPU_UNARY_SIGMOID:
		return 1 / (1 + exp(-x));
	case VGPU_UNARY_TANH:
		return tanh(x);
	}
	return NAN;
}

/*
 * The bounds that Documentation/layers.md states. GELU and SiLU are bounded against
 * |x|: their tails are tiny beside it, and so is what they are worth.
 */
static const struct unary_bound {
	enum vgpu_unary op;
	double relative, of_x;
} unary_bounds[] = {
	{ VGPU_UNARY_COPY, 0, 0 },
	{ VGPU_UNARY_GELU_ERF, 1.2e-7, 2e-7 },
	{ VGPU_UNARY_GELU_TANH, 3e-7, 1e-7 },
	{ VGPU_UNARY_SILU, 3e-7, 0 },
	{ VGPU_UNARY_RELU, 0, 0 },
	{ VGPU_UNARY_SIGMOID, 3e-7, 0 },
	{ VGPU_UNARY_TANH, 2.4e-7, 0 },
};
#define UNARIES (sizeof(unary_bounds) / sizeof(unary_bounds[0]))

/* Below this bits are lost to gradual underflow, or exp(-x) to overflow (x < -88.7). */
#define TINY 3e-37

static void check_unary(const struct vgpu_kernels *t, const struct unary_bound *b,
			struct row x)
{
	struct row out = row_new(x.n);

	t->unary(b->op, out.at, x.at, x.n);
	for (size_t i = 0; i < x.n; i++) {
		double xi = x.at[i];

		assert_close(out.at[i], unary_want(b->op, xi), b->relative,
			     b->of_x * fabs(xi) + TINY);
	}
	t->unary(b->op, x.at, x.at, x.n);
	assert_memory_equal(x.at, out.at, x.n * sizeof(float));
	row_free(out);
}

static void unary_is_within_bound_over_the_line(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	const size_t n = 200001;

	for (size_t u = 0; u < UNARIES; u++) {
		struct row x = row_new(n);

		for (size_t i = 0; i < n; i++)
			x.at[i] = (float)((double)i / 1000 - 100);
		check_unary(t, &unary_bounds[u], x);
		row_free(x);
	}
}

/* Magnitudes from the smallest subnormal to the largest number. */
static void unary_is_within_bound_at_every_magnitude(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	for (size_t u = 0; u < UNARIES; u++) {
		struct row x = row_new(2 * 277);

		for (int i = 0; i < 277; i++) {
			x.at[2 * i] = (float)ldexp(1.37, i - 149);
			x.at[2 * i + 1] = -x.at[2 * i];
		}
		check_unary(t, &unary_bounds[u], x);
		row_free(x);
	}
}

static void unary_handles_every_tail(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 10;

	for (size_t u = 0; u < UNARIES; u++) {
		for (uint32_t n = 1; n < TAILS; n++) {
			struct row x = row_gauss(&rng, n, 0, 3);

			check_unary(t, &unary_bounds[u], x);
			row_free(x);
		}
	}
}

static void unary_of_nan_and_infinity_is_as_documented(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	for (size_t u = 0; u < UNARIES; u++) {
		enum vgpu_unary op = unary_bounds[u].op;
		bool product = op == VGPU_UNARY_GELU_ERF || op == VGPU_UNARY_GELU_TANH ||
			       op == VGPU_UNARY_SILU;
		float x[3] = { NAN, INFINITY, -INFINITY };

		t->unary(op, x, x, 3);
		assert_true(isnan(x[0]));
		assert_close(x[1], unary_want(op, INFINITY), 0, 0);
		assert_close(x[2], product ? NAN : unary_want(op, -INFINITY), 0, 0);
	}
}

static double binary_want(enum vgpu_binary op, double a, double b)
{
	switch (op) {
	case VGPU_BINARY_ADD:
		return a + b;
	case VGPU_BINARY_SUB:
		return a - b;
	case VGPU_BINARY_MUL:
		return a * b;
	case VGPU_BINARY_SWIGLU:
		return unary_want(VGPU_UNARY_SILU, a) * b;
	case VGPU_BINARY_GEGLU:
		return unary_want(VGPU_UNARY_GELU_TANH, a) * b;
	}
	return NAN;
}

static void check_binary(const struct vgpu_kernels *t, enum vgpu_binary op, struct row a,
			 struct row b)
{
	struct row out = row_new(a.n);

	t->binary(op, out.at, a.at, b.at, a.n, b.n);
	for (size_t i = 0; i < a.n; i++) {
		double bi = b.at[i % b.n], want = binary_want(op, a.at[i], bi);
		bool gated = op == VGPU_BINARY_SWIGLU || op == VGPU_BINARY_GEGLU;

		assert_close(out.at[i], want, gated ? 5e-7 : 6e-8,
			     gated ? 1e-7 * fabs(a.at[i] * bi) : TINY);
	}
	t->binary(op, a.at, a.at, b.at, a.n, b.n);
	assert_memory_equal(out.at, a.at, a.n * sizeof(float));
	row_free(out);
}

static void binary_broadcasts_and_stays_within_bound(void **state)
{
	static const uint32_t rows[] = { 1, 2, 5 };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 11;

	for (int op = VGPU_BINARY_ADD; op <= VGPU_BINARY_GEGLU; op++) {
		for (uint32_t nb = 1; nb < TAILS; nb++) {
			for (int r = 0; r < 3; r++) {
				struct row a = row_gauss(&rng, (size_t)nb * rows[r], 0, 3);
				struct row b = row_gauss(&rng, nb, 0, 2);

				check_binary(t, (enum vgpu_binary)op, a, b);
				row_free(a);
				row_free(b);
			}
		}
	}
}

static void binary_may_overwrite_its_second_operand(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 12;
	struct row a = row_gauss(&rng, 67, 0, 1), b = row_gauss(&rng, 67, 0, 1);
	struct row out = row_new(67);

	t->binary(VGPU_BINARY_SUB, out.at, a.at, b.at, 67, 67);
	t->binary(VGPU_BINARY_SUB, b.at, a.at, b.at, 67, 67);
	assert_memory_equal(out.at, b.at, 67 * sizeof(float));
	row_free(a);
	row_free(b);
	row_free(out);
}

static void scale_is_exact(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 13;

	for (uint32_t n = 1; n < TAILS; n++) {
		struct row a = row_gauss(&rng, n, 0, 1), out = row_new(n);

		t->scale(out.at, a.at, 0.3f, n);
		for (uint32_t i = 0; i < n; i++)
			assert_true(out.at[i] == a.at[i] * 0.3f);
		row_free(a);
		row_free(out);
	}
}

/* --- RoPE --- */

struct rope_case {
	enum vgpu_rope kind;
	uint32_t heads, dim, rot;
	float pos, base, freq_scale;
};

static void check_rope(const struct vgpu_kernels *t, const struct rope_case *c, uint64_t *rng)
{
	struct row x = row_gauss(rng, (size_t)c->heads * c->dim, 0, 1), got = row_copy(x);
	uint32_t half = c->rot / 2;
	bool halves = c->kind == VGPU_ROPE_NEOX;

	t->rope(c->kind, got.at, c->heads, c->dim, c->rot, c->pos, c->base, c->freq_scale);
	for (uint32_t h = 0; h < c->heads; h++) {
		const float *from = x.at + (size_t)h * c->dim;
		const float *to = got.at + (size_t)h * c->dim;

		for (uint32_t i = 0; i < half; i++) {
			uint32_t a = halves ? i : 2 * i, b = halves ? i + half : 2 * i + 1;
			double theta = (double)c->pos * c->freq_scale *
				       pow(c->base, -2.0 * i / c->rot);
			double size = fabs(from[a]) + fabs(from[b]);

			assert_close(to[a], from[a] * cos(theta) - from[b] * sin(theta), 0,
				     2.5e-7 * size);
			assert_close(to[b], from[a] * sin(theta) + from[b] * cos(theta), 0,
				     2.5e-7 * size);
		}
		for (uint32_t i = 2 * half; i < c->dim; i++)
			assert_true(from[i] == to[i]);
	}
	row_free(x);
	row_free(got);
}

static void rope_is_within_bound(void **state)
{
	static const float positions[] = { 0, 1, 2.5f, 1000, 131071, 1048575, -7, 3e7f };
	static const uint32_t dims[] = { 2, 8, 40, 64, 72, 128, 256, 400 };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 14;

	for (int kind = VGPU_ROPE_NEOX; kind <= VGPU_ROPE_NORM; kind++) {
		for (int d = 0; d < 8; d++) {
			for (int p = 0; p < 8; p++) {
				struct rope_case c = { (enum vgpu_rope)kind, 3, dims[d], dims[d],
						       positions[p], 10000, 1 };

				check_rope(t, &c, &rng);
				c.rot = dims[d] / 4 * 2;
				c.base = 1e6f;
				c.freq_scale = 0.25f;
				check_rope(t, &c, &rng);
			}
		}
	}
}

static void rope_of_position_zero_changes_nothing(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 15;

	for (int kind = VGPU_ROPE_NEOX; kind <= VGPU_ROPE_NORM; kind++) {
		struct row x = row_gauss(&rng, 5 * 72, 0, 1), got = row_copy(x);

		t->rope((enum vgpu_rope)kind, got.at, 5, 72, 72, 0, 10000, 1);
		assert_memory_equal(x.at, got.at, x.n * sizeof(float));
		row_free(x);
		row_free(got);
	}
}

/* --- top-k --- */

/* Largest of those not taken, NaN last, the lowest index of equals: slow and plain. */
static int topk_next(const float *x, uint32_t n, const bool *taken)
{
	int best = -1;

	for (uint32_t i = 0; i < n; i++) {
		if (taken[i])
			continue;
		if (best < 0 || x[i] > x[best] || (isnan(x[best]) && !isnan(x[i])))
			best = (int)i;
	}
	return best;
}

static void check_topk(const struct vgpu_kernels *t, struct row x, uint32_t top)
{
	struct row value = row_new(top);
	int32_t *index = malloc(top * sizeof(*index));
	bool *taken = calloc(x.n, sizeof(*taken));

	assert_true(index && taken);
	t->topk(x.at, (uint32_t)x.n, top, value.at, index);
	for (uint32_t k = 0; k < top; k++) {
		int want = topk_next(x.at, (uint32_t)x.n, taken);

		assert_int_equal(index[k], want);
		assert_memory_equal(&value.at[k], &x.at[want], sizeof(float));
		taken[want] = true;
	}
	row_free(value);
	free(index);
	free(taken);
}

static void topk_is_the_plain_selection(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 16;

	for (uint32_t n = 1; n < TAILS; n++) {
		for (uint32_t top = 1; top <= n; top += 1 + n / 5) {
			struct row x = row_gauss(&rng, n, 0, 1);

			check_topk(t, x, top);
			/* Few different values: nearly all are ties. */
			for (uint32_t i = 0; i < n; i++)
				x.at[i] = (float)rng_below(&rng, 3) - 1;
			check_topk(t, x, top);
			row_free(x);
		}
	}
}

static void topk_ranks_nan_last_and_zeros_equal(void **state)
{
	static const float values[] = { NAN, -INFINITY, INFINITY, 0.0f, -0.0f, 1, -NAN };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 17;

	for (uint32_t n = 1; n < TAILS; n++) {
		struct row x = row_new(n);

		for (uint32_t i = 0; i < n; i++)
			x.at[i] = values[rng_below(&rng, 7)];
		for (uint32_t top = 1; top <= n; top++)
			check_topk(t, x, top);
		row_free(x);
	}
}

static void topk_of_a_vocabulary(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 18;
	struct row x = row_gauss(&rng, 32003, 0, 4);

	check_topk(t, x, 40);
	row_free(x);
}

static void topk_of_none_writes_nothing(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	float x[3] = { 1, 2, 3 }, value = 7;
	int32_t index = 7;

	t->topk(x, 3, 0, &value, &index);
	assert_true(value == 7);
	assert_int_equal(index, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CHECK_LEVELS(layernorm_is_within_bound),
		CHECK_LEVELS(layernorm_survives_extreme_rows),
		CHECK_LEVELS(rmsnorm_is_within_bound),
		CHECK_LEVELS(rmsnorm_survives_extreme_rows),
		CHECK_LEVELS(norms_work_in_place),
		CHECK_LEVELS(norms_pass_nan_on),
		CHECK_LEVELS(softmax_is_within_bound),
		CHECK_LEVELS(softmax_of_long_even_rows_is_within_bound),
		CHECK_LEVELS(softmax_of_large_logits_does_not_overflow),
		CHECK_LEVELS(softmax_of_lowest_finite_masks_is_uniform),
		CHECK_LEVELS(softmax_of_an_all_masked_row_is_zero),
		CHECK_LEVELS(softmax_passes_nan_on),
		CHECK_LEVELS(unary_is_within_bound_over_the_line),
		CHECK_LEVELS(unary_is_within_bound_at_every_magnitude),
		CHECK_LEVELS(unary_handles_every_tail),
		CHECK_LEVELS(unary_of_nan_and_infinity_is_as_documented),
		CHECK_LEVELS(binary_broadcasts_and_stays_within_bound),
		CHECK_LEVELS(binary_may_overwrite_its_second_operand),
		CHECK_LEVELS(scale_is_exact),
		CHECK_LEVELS(rope_is_within_bound),
		CHECK_LEVELS(rope_of_position_zero_changes_nothing),
		CHECK_LEVELS(topk_is_the_plain_selection),
		CHECK_LEVELS(topk_ranks_nan_last_and_zeros_equal),
		CHECK_LEVELS(topk_of_a_vocabulary),
		CHECK_LEVELS(topk_of_none_writes_nothing),
	};

	return cmocka_run_group_tests_name("layer", tests, NULL, NULL);
}
