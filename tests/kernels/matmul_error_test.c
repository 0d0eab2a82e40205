// SPDX-License-Identifier: MIT
/* How far products are from those of the activations as they were given. */
#include <errno.h>

#include "common/product.h"
#include "common/recorded.h"

enum distribution { GAUSSIAN, STUDENT_T5, SWIGLU, CHANNELS_X100, DISTRIBUTIONS };
static const char *const distribution_names[] = { "gaussian", "student-t5", "swiglu",
						  "4 channels x100" };

static double draw(enum distribution d, uint32_t column, uint64_t *rng)
{
	double x = rng_gauss(rng), g, chi = 0;

	switch (d) {
	case STUDENT_T5:
		for (int i = 0; i < 5; i++) {
			g = rng_gauss(rng);
			chi += g * g;
		}
		return x / sqrt(chi / 5);
	case SWIGLU:
		g = rng_gauss(rng);
		return g / (1 + exp(-g)) * x;
	case CHANNELS_X100:
		return column % 512 == 100 ? 100 * x : x;
	default:
		return x;
	}
}

/* Where a few activations are most of a row, it takes many outputs to see more than luck. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OUTPUTS 64u		/* instrumented code is slow */
#define RECORDED_STEP 7u
#else
#define OUTPUTS 256u
#define RECORDED_STEP 1u
#endif

/* Of A8_256, by what is drawn: most where a group has a value far beyond the others. */
static const double coarse_max[DISTRIBUTIONS] = { 7e-5, 2e-4, 4e-4, 2e-3 };

/*
 * What becomes of the product of @x by Gaussian weights, packed, or by blocks of the same
 * scale: NMSE against float64.
 */
static double end_to_end(const struct vgpu_kernels *t, const struct weights_format *f,
			 enum vgpu_mode mode, const float *x, uint32_t m, uint32_t k)
{
	uint64_t rng = 99;
	struct product p;
	double nmse;

	product_init_even(&p, f->format, m, OUTPUTS, k, &rng);
	memcpy(p.x, x, (size_t)m * k * sizeof(*x));
	product_round(&p, t->isa, VGPU_MODE_F32);
	product_run(t, &p.w, mode, p.x, m, p.y, OUTPUTS);
	nmse = product_nmse(&p, 1.0);
	product_free(&p);
	return nmse;
}

/* NMSE of a mode, the largest of the packed formats that can have k columns. */
static double mode_error(const struct vgpu_kernels *t, enum vgpu_mode mode, const float *x,
			 uint32_t m, uint32_t k)
{
	double worst = 0;

	weights_for_each(f)
		if (vgpu_weight_unit_rows(f->format) != 1 && k % f->step == 0)
			worst = fmax(worst, end_to_end(t, f, mode, x, m, k));
	assert_true(worst > 0);
	return worst;
}

static float *draw_all(enum distribution d, uint32_t m, uint32_t k)
{
	float *x = check_alloc((size_t)m * k * sizeof(*x));
	uint64_t rng = 4242 + d;

	for (size_t i = 0; i < (size_t)m * k; i++)
		x[i] = (float)draw(d, i % k, &rng);
	return x;
}

static void check_distribution(void **state, enum distribution d)
{
	const struct vgpu_kernels *t = check_table(state);
	float *x = draw_all(d, 8, 2048);
	double a16 = mode_error(t, VGPU_MODE_A16, x, 8, 2048);
	double a8 = mode_error(t, VGPU_MODE_A8, x, 8, 2048);
	double coarse = mode_error(t, VGPU_MODE_A8_256, x, 8, 2048);

	print_message("%s, %s activations: NMSE of A16 %.2e, of A8 %.2e, of A8_256 %.2e\n",
		      vgpu_isa_name(t->isa), distribution_names[d], a16, a8, coarse);
	assert_true(a16 <= 4e-6);
	assert_true(a8 <= (d == GAUSSIAN ? 5e-5 : 2e-4));
	assert_true(coarse > a8 && coarse <= coarse_max[d]);
	free(x);
}

static void product_error_on_gaussian_activations(void **state)
{
	check_distribution(state, GAUSSIAN);
}

static void product_error_on_student_t5_activations(void **state)
{
	check_distribution(state, STUDENT_T5);
}

static void product_error_on_swiglu_products(void **state)
{
	check_distribution(state, SWIGLU);
}

static void product_error_on_4_channels_x100(void **state)
{
	check_distribution(state, CHANNELS_X100);
}

static void product_error_on_recorded_minilm_activations(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	double a16, a8, worst16 = 0, worst8 = 0;
	uint32_t i, inputs = 0;
	struct recorded r;
	int rc;

	for (i = 0; !(rc = recorded_take(i, &r)); i += RECORDED_STEP, inputs++) {
		a16 = mode_error(t, VGPU_MODE_A16, r.x, r.m, r.k);
		a8 = mode_error(t, VGPU_MODE_A8, r.x, r.m, r.k);
		if (!(a16 <= 4e-6 && a8 <= 2e-4))
			fail_msg("%s: NMSE of A16 %g, of A8 %g", r.name, a16, a8);
		worst16 = fmax(worst16, a16);
		worst8 = fmax(worst8, a8);
		free(r.x);
	}
	assert_int_equal(rc, -ENOENT);
	assert_int_equal(inputs, (24 + RECORDED_STEP - 1) / RECORDED_STEP);
	print_message("%s, recorded MiniLM activations: NMSE of A16 at most %.2e, of A8 at most %.2e\n",
		      vgpu_isa_name(t->isa), worst16, worst8);
}

/*
 * 1 + 2^-8 is where BF16 is off most, by 2^-8: as much as a whole product when it is all
 * that a row has.
 */
static void product_error_where_one_value_is_most_of_a_row(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	float *x = draw_all(GAUSSIAN, 8, 2048);

	for (uint32_t i = 0; i < 8; i++)
		x[i * 2048 + 100 + 37 * i] = i % 2 ? -0x1.01p17f : 0x1.01p17f;
	assert_true(mode_error(t, VGPU_MODE_A16, x, 8, 2048) <= 1e-12);
	free(x);
}

static void product_of_bf16_activations_is_exact_in_a16(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	float *x = draw_all(STUDENT_T5, 8, 2048);

	for (uint32_t i = 0; i < 8 * 2048; i++)
		x[i] = (float)product_round_bf16(x[i]);
	assert_true(mode_error(t, VGPU_MODE_A16, x, 8, 2048) <= 1e-12);
	free(x);
}

/* --- groups of other sizes than A8's, which no mode has --- */

static const uint32_t groups[] = { 32, 64, 128, UINT32_MAX };
#define GROUPS (sizeof(groups) / sizeof(groups[0]))

/* NMSE of 256 outputs when the activations are rounded in groups. */
static double group_error(const float *x, uint32_t m, uint32_t k, uint32_t group)
{
	double *xr = check_alloc((size_t)m * k * sizeof(*xr)), error = 0, power = 0;
	double *w = check_alloc(k * sizeof(*w));
	uint64_t rng = 99;

	for (uint32_t i = 0; i < m; i++)
		for (uint32_t c = 0, n; c < k; c += n) {
			n = k - c < group ? k - c : group;
			product_round_a8(xr + (size_t)i * k + c, x + (size_t)i * k + c, n);
		}
	for (uint32_t r = 0; r < 256; r++) {
		for (uint32_t c = 0; c < k; c++)
			w[c] = rng_gauss(&rng);
		for (uint32_t i = 0; i < m; i++) {
			const double *rounded = xr + (size_t)i * k;
			const float *exact = x + (size_t)i * k;
			double d = 0, sum = 0;

			for (uint32_t c = 0; c < k; c++) {
				d += (rounded[c] - exact[c]) * w[c];
				sum += exact[c] * w[c];
			}
			error += d * d;
			power += sum * sum;
		}
	}
	free(w);
	free(xr);
	return error / power;
}

static void check_groups(const char *name, const float *x, uint32_t m, uint32_t k)
{
	double nmse[GROUPS];

	for (size_t g = 0; g < GROUPS; g++)
		nmse[g] = group_error(x, m, k, groups[g]);
	print_message("%s: NMSE in groups of 32 %.2e, 64 %.2e, 128 %.2e, a row %.2e\n", name,
		      nmse[0], nmse[1], nmse[2], nmse[3]);
	for (size_t g = 1; g < GROUPS; g++)
		assert_true(nmse[g] > nmse[g - 1]);
}

/* NMSE of Gaussian weights, packed. */
static double weight_error(enum vgpu_wformat format)
{
	const uint32_t rows = 64, k = 2048;
	float *before = check_alloc((size_t)rows * k * sizeof(*before));
	double error = 0, power = 0;
	uint64_t rng = 6, again = 6;
	struct product p;

	/* product_init() draws the weights first: the same numbers. */
	for (size_t i = 0; i < (size_t)rows * k; i++)
		before[i] = (float)rng_gauss(&again);
	product_init(&p, format, 1, rows, k, &rng);
	for (size_t i = 0; i < (size_t)rows * k; i++) {
		error += pow((double)p.wf[i] - before[i], 2);
		power += (double)before[i] * before[i];
	}
	product_free(&p);
	free(before);
	return error / power;
}

static void coarser_groups_of_activations_cost_accuracy(void **state)
{
	double mxfp4 = weight_error(VGPU_W_MXFP4_G16), int8 = weight_error(VGPU_W_INT8_G16);
	struct recorded r;

	(void)state;
	for (int d = 0; d < DISTRIBUTIONS; d++) {
		float *x = draw_all(d, 4, 2048);

		check_groups(distribution_names[d], x, 4, 2048);
		free(x);
	}
	assert_int_equal(recorded_take(3, &r), 0);
	check_groups(r.name, r.x, r.m, r.k);
	free(r.x);
	print_message("Gaussian weights: NMSE of MXFP4 %.2e, of INT8 %.2e\n", mxfp4, int8);
	assert_true(mxfp4 < 1.4e-2 && int8 < 5e-5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PRODUCT_LEVELS(product_error_on_gaussian_activations),
		PRODUCT_LEVELS(product_error_on_student_t5_activations),
		PRODUCT_LEVELS(product_error_on_swiglu_products),
		PRODUCT_LEVELS(product_error_on_4_channels_x100),
		PRODUCT_LEVELS(product_error_on_recorded_minilm_activations),
		PRODUCT_LEVELS(product_error_where_one_value_is_most_of_a_row),
		PRODUCT_LEVELS(product_of_bf16_activations_is_exact_in_a16),
		cmocka_unit_test(coarser_groups_of_activations_cost_accuracy),
	};

	return cmocka_run_group_tests_name("matmul_error", tests, NULL, NULL);
}
