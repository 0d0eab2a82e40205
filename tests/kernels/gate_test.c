// SPDX-License-Identifier: MIT
/*
 * Gated sums at every level against the formula in long double: u + g(phi) du, where phi is the
 * angle between two rows. Rows end where their memory ends and start 4 bytes off alignment.
 */
#include "check.h"
#include "kernels/ref/layer.h"

#define TAILS	68	/* 1 .. 67 columns cover every remainder of every level */

static const struct vgpu_gate plain = { VGPU_UNARY_COPY, 0, 1 };
/* cos^2(phi / 2): how much of one direction is in another, from 0 to 1. */
static const struct vgpu_gate half_angle = { VGPU_UNARY_COPY, 0.5f, 0.5f };

struct rows {
	uint32_t n;
	float *u, *d, *y;
};

static float *row_new(uint32_t n)
{
	float *memory = malloc((n + 1) * sizeof(float));

	assert_non_null(memory);
	return memory + 1;
}

static struct rows rows_new(uint64_t *rng, uint32_t n, double u_size, double d_size)
{
	struct rows r = { n, row_new(n), row_new(n), row_new(n) };
	double shared = rng_unit(rng) * 2 - 1;

	/* Not all at right angles. */
	for (uint32_t i = 0; i < n; i++) {
		double x = rng_gauss(rng);

		r.u[i] = (float)(u_size * x);
		r.d[i] = (float)(d_size * (shared * x + rng_gauss(rng) / 2));
	}
	return r;
}

static void rows_free(struct rows *r)
{
	free(r->u - 1);
	free(r->d - 1);
	free(r->y - 1);
}

static void run(const struct vgpu_kernels *t, struct rows *r, const struct vgpu_gate *g)
{
	memcpy(r->y, r->d, r->n * sizeof(float));
	t->gate(r->y, r->u, r->n, g);
}

static long double cosine(const struct rows *r)
{
	long double uu = 0, dd = 0, ud = 0;

	for (uint32_t i = 0; i < r->n; i++) {
		uu += (long double)r->u[i] * r->u[i];
		dd += (long double)r->d[i] * r->d[i];
		ud += (long double)r->u[i] * r->d[i];
	}
	return uu > 0 && dd > 0 ? ud / sqrtl(uu) / sqrtl(dd) : 0;
}

static double gate_of(const struct vgpu_gate *g, double x)
{
	switch (g->op) {
	case VGPU_UNARY_GELU_ERF: return x / 2 * erfc(-x * M_SQRT1_2);
	case VGPU_UNARY_GELU_TANH: return x / 2 * (1 + tanh(sqrt(M_2_PI) * (x + 0.044715 * x * x * x)));
	case VGPU_UNARY_SILU: return x / (1 + exp(-x));
	case VGPU_UNARY_RELU: return x > 0 ? x : 0;
	case VGPU_UNARY_SIGMOID: return 1 / (1 + exp(-x));
	case VGPU_UNARY_TANH: return tanh(x);
	default: return x;
	}
}

/* Documentation/layers.md: 1e-6 of what goes into the gate, whose slope is at most 1.13. */
static void check(const struct vgpu_kernels *t, struct rows *r, const struct vgpu_gate *g)
{
	double x = (double)((long double)g->add + g->mul * cosine(r)), value = gate_of(g, x);
	double most = 1.13e-6 * fabs(g->mul) + 1.2e-7 * (fabs(x) + fabs(value));

	run(t, r, g);
	for (uint32_t i = 0; i < r->n; i++) {
		double want = r->u[i] + value * r->d[i];

		if (!(fabs(r->y[i] - want) <= most * fabs(r->d[i]) + 1.2e-7 * fabs(want) + 0x1p-149))
			fail_msg("%u columns, op %d: [%u] is %.9g, want %.9g", r->n, g->op, i,
				 (double)r->y[i], want);
	}
}

static void every_length_and_gate_is_within_bound(void **state)
{
	static const uint32_t more[] = { 384, 1000, 2048, 2049, 4095, 100003 };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 1;

	for (uint32_t i = 0; i < TAILS - 1 + 6; i++) {
		struct rows r = rows_new(&rng, i < TAILS - 1 ? i + 1 : more[i - TAILS + 1], 1, 0.3);

		for (int op = VGPU_UNARY_COPY; op <= VGPU_UNARY_TANH; op++) {
			struct vgpu_gate g = { (enum vgpu_unary)op, (float)rng_gauss(&rng) * 2,
					       (float)rng_gauss(&rng) };

			check(t, &r, &g);
		}
		rows_free(&r);
	}
}

/* Sums that leave the range of F32, or lie below it. */
static void rows_of_any_size_are_within_bound(void **state)
{
	static const double sizes[] = { 0x1p-140, 0x1p-75, 0x1p-50, 0x1p-39, 1, 0x1p50, 0x1p62, 0x1p100, 0x1p124 };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 2;

	for (int a = 0; a < 9; a++) {
		for (int b = 0; b < 9; b++) {
			struct rows r = rows_new(&rng, 77, sizes[a], sizes[b]);

			check(t, &r, &half_angle);
			rows_free(&r);
		}
	}
}

static void half_an_angle_lets_through_what_it_should(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 3;
	struct rows r = rows_new(&rng, 200, 1, 1);

	/* The same direction: all; the other one: nothing; at right angles: half. */
	for (uint32_t i = 0; i < r.n; i++)
		r.d[i] = 3 * r.u[i];
	run(t, &r, &half_angle);
	for (uint32_t i = 0; i < r.n; i++)
		assert_true(fabsf(r.y[i] - 4 * r.u[i]) <= 4e-6f * fabsf(r.u[i]));
	for (uint32_t i = 0; i < r.n; i++)
		r.d[i] = -3 * r.u[i];
	run(t, &r, &half_angle);
	for (uint32_t i = 0; i < r.n; i++)
		assert_true(fabsf(r.y[i] - r.u[i]) <= 4e-6f * fabsf(r.u[i]));
	for (uint32_t i = 0; i < r.n; i += 2) {
		r.d[i] = -r.u[i + 1];
		r.d[i + 1] = r.u[i];
	}
	run(t, &r, &half_angle);
	for (uint32_t i = 0; i < r.n; i++)
		assert_true(fabsf(r.y[i] - (r.u[i] + r.d[i] / 2)) <= 4e-6f * (fabsf(r.u[i]) + fabsf(r.d[i])));
	rows_free(&r);
}

static void a_gate_that_is_open_is_a_sum(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 4;
	struct rows r = rows_new(&rng, 133, 1, 1);

	run(t, &r, &plain);
	for (uint32_t i = 0; i < r.n; i++)
		assert_true(r.y[i] == r.u[i] + r.d[i]);
	rows_free(&r);
}

/* What has no direction is at right angles to everything. */
static void rows_of_zeros_have_no_angle(void **state)
{
	static const struct vgpu_gate g = { VGPU_UNARY_TANH, 5, 0.25f };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 5;
	struct rows r = rows_new(&rng, 50, 1, 1);
	float *kept = r.u, *zeros = calloc(r.n, sizeof(float));

	assert_non_null(zeros);
	r.u = zeros;
	check(t, &r, &g);
	r.u = kept;
	memset(r.d, 0, r.n * sizeof(float));
	run(t, &r, &g);
	assert_memory_equal(r.y, r.u, r.n * sizeof(float));
	free(zeros);
	rows_free(&r);
}

/* Also through a gate that is closed to NaN. */
static void what_is_not_finite_spoils_its_row(void **state)
{
	static const struct vgpu_gate gates[] = { { VGPU_UNARY_RELU, 1, 0 }, { VGPU_UNARY_SIGMOID, 1, 0 },
						  { VGPU_UNARY_COPY, 0, 1 } };
	static const float wrong[] = { NAN, INFINITY, -INFINITY };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 6;

	for (int w = 0; w < 3; w++) {
		for (uint32_t at = 0; at < 70; at += 3) {
			struct rows r = rows_new(&rng, 70, 1, 1);

			(at % 2 ? r.u : r.d)[at] = wrong[w];
			for (int g = 0; g < 3; g++) {
				run(t, &r, &gates[g]);
				for (uint32_t i = 0; i < r.n; i++)
					assert_true(isnan(r.y[i]));
			}
			rows_free(&r);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CHECK_LEVELS(every_length_and_gate_is_within_bound),
		CHECK_LEVELS(rows_of_any_size_are_within_bound),
		CHECK_LEVELS(half_an_angle_lets_through_what_it_should),
		CHECK_LEVELS(a_gate_that_is_open_is_a_sum),
		CHECK_LEVELS(rows_of_zeros_have_no_angle),
		CHECK_LEVELS(what_is_not_finite_spoils_its_row),
	};

	return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
