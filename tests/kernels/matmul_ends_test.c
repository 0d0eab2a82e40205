// SPDX-License-Identifier: MIT
/* Products of scales and activations at the ends of their range. */
#include "common/product.h"
#include "random_blocks.h"

/* Every block of a row has one scale; x is such that the product is an ordinary f32. */
static void check_scale(const struct vgpu_kernels *t, int mode, uint8_t e, float x)
{
	const uint32_t m = 2, n = 17, k = 160;
	const struct vgpu_kernels *ref = vgpu_kernels_get(VGPU_ISA_REF);
	uint64_t rng = e + 1;
	struct product p;

	product_init(&p, VGPU_W_MXFP4, m, n, k, &rng);
	for (uint32_t i = 0; i < n * k / 32; i++) {
		p.data[i * 17] = e;
		/* 4 * 2^126 is no f32: only codes up to 1.5. */
		for (int j = 1; e >= 253 && j < 17; j++)
			p.data[i * 17 + j] &= 0xbb;
	}
	for (uint32_t i = 0; i < m * k; i++)
		p.x[i] *= x;
	ref->weight_decode(&p.w, p.wf, k);
	product_round(&p, t->isa, mode);
	product_run(t, &p.w, mode, p.x, m, p.y, n);
	assert_true(product_nmse(&p, 0x1p-18) <= 1e-12);
	product_free(&p);
}

static void product_is_right_at_the_ends_of_the_scale(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	for (int mode = 0; mode < VGPU_MODES; mode++) {
		check_scale(t, mode, 0, 0x1p60f);
		check_scale(t, mode, 1, 0x1p60f);
		check_scale(t, mode, 2, 0x1p60f);
		check_scale(t, mode, 253, 0x1p-60f);
		check_scale(t, mode, 254, 0x1p-60f);
	}
}

static void product_has_nan_where_a_scale_is_nan_and_nowhere_else(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	const uint32_t m = 9, n = 40, k = 256, bad = 19;
	uint64_t rng = 9;
	struct product p;

	product_init(&p, VGPU_W_MXFP4, m, n, k, &rng);
	p.data[(bad * k / 32 + 5) * 17] = 255;
	for (int mode = 0; mode < VGPU_MODES; mode++) {
		for (uint32_t rows = 1; rows <= m; rows += m - 1) {
			product_run(t, &p.w, mode, p.x, rows, p.y, n);
			for (uint32_t i = 0; i < rows * n; i++)
				assert_int_equal(!!isnan(p.y[i]), i % n == bad);
		}
	}
	product_free(&p);
}

/* Of three rows the second has one value that is none. */
static void check_not_a_number(const struct vgpu_kernels *t, const struct weights_format *f,
			       float x)
{
	const uint32_t m = 3, n = 20, k = weights_cols(f, 96);
	uint64_t rng = 10;
	struct product p;

	product_init(&p, f->format, m, n, k, &rng);
	p.x[1 * k + 40] = x;
	for (int mode = 0; mode < VGPU_MODES; mode++) {
		if (!weights_takes(f, mode))
			continue;
		product_run(t, &p.w, mode, p.x, m, p.y, n);
		for (uint32_t i = 0; i < m * n; i++)
			if ((isnan(x) ? !!isnan(p.y[i]) : !isfinite(p.y[i])) != (i / n == 1))
				fail_msg("%s %s: %g at %u", f->name, check_mode_name(mode), p.y[i],
					 i);
	}
	product_free(&p);
}

static void product_of_nan_or_infinite_activations_is_not_a_number(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	weights_for_each(f) {
		check_not_a_number(t, f, NAN);
		check_not_a_number(t, f, -INFINITY);
	}
}

/* Blocks whose F16 are subnormal, by activations with which the product is an ordinary f32. */
static void check_subnormal(const struct vgpu_kernels *t, const struct vgpu_g16_type *type,
			    int mode)
{
	const uint32_t m = 5, n = 20, k = 512;
	size_t unit = vgpu_weight_unit_bytes(type->format, k);
	size_t row = vgpu_weight_unit_bytes(type->source, k);
	uint8_t *src = check_alloc(row * n);
	uint64_t rng = 16;
	struct product p;

	product_init(&p, type->format, m, n, k, &rng);
	random_blocks(type->source, src, NULL, n, k, false, &rng);
	subnormal_blocks(type->source, src, (size_t)n * k);
	for (uint32_t r = 0; r < n; r += 16)
		assert_int_equal(t->pack_blocks(p.data + r / 16 * unit, type->format, src + r * row,
						n - r < 16 ? n - r : 16, k), 0);
	for (uint32_t i = 0; i < m * k; i++)
		p.x[i] *= 0x1p15f;
	vgpu_kernels_get(VGPU_ISA_REF)->weight_decode(&p.w, p.wf, k);
	product_round(&p, t->isa, mode);
	product_run(t, &p.w, mode, p.x, m, p.y, n);
	assert_true(product_nmse(&p, 0x1p-18) <= 1e-12);
	free(src);
	product_free(&p);
}

static void product_is_right_where_f16_scales_are_subnormal(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	weights_for_each(f) {
		const struct vgpu_g16_type *type = vgpu_g16_type(f->format);

		for (int mode = 0; mode < VGPU_MODES && type && type->source; mode++)
			if (type->source != VGPU_W_NVFP4)
				check_subnormal(t, type, mode);
	}
}

/* No rows of activations: nothing is written. */
static void product_of_no_rows_writes_nothing(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	const uint32_t n = 40;
	uint64_t rng = 18;
	struct product p;
	float *same;

	weights_for_each(f) {
		product_init(&p, f->format, 9, n, weights_cols(f, 96), &rng);
		same = check_alloc(9 * n * sizeof(*same));
		for (int mode = 0; mode < VGPU_MODES; mode++) {
			product_run(t, &p.w, mode, p.x, 0, p.y, n);
			assert_memory_equal(p.y, same, 9 * n * sizeof(*same));
		}
		free(same);
		product_free(&p);
	}
}

/* Rows of weights whose scales are all zero, and rows of activations that are zeros. */
static void product_of_zeros_is_zero(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	const uint32_t m = 3, n = 20, k = 512;
	uint64_t rng = 17;
	struct product p;

	weights_for_each(f) {
		size_t bytes = vgpu_weight_unit_bytes(f->format, k);

		product_init(&p, f->format, m, n, k, &rng);
		/* Zeros of every format; the first rows, or the group that holds them. */
		memset(p.data, 0, bytes);
		if (p.scales)
			memset(p.scales, 0, k / 32);
		memset(p.x + k, 0, k * sizeof(*p.x));
		for (int mode = 0; mode < VGPU_MODES; mode++) {
			if (!weights_takes(f, mode))
				continue;
			product_run(t, &p.w, mode, p.x, m, p.y, n);
			for (uint32_t i = 0; i < m * n; i++)
				assert_int_equal(p.y[i] == 0, i / n == 1 ||
						 i % n < vgpu_weight_unit_rows(f->format));
		}
		product_free(&p);
	}
}

/* A8 rounds a group below 2^-119 to zero, and is exact again just above. */
static void product_of_tiny_activations_is_zero_or_right(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	const uint32_t n = 20, k = 96;
	uint64_t rng = 11;
	struct product p;

	product_init(&p, VGPU_W_INT8_G16, 1, n, k, &rng);
	for (uint32_t i = 0; i < k; i++)
		p.x[i] = ldexpf(p.x[i] > 0 ? 0.9f : -0.9f, i < 32 ? -119 : -116);
	product_round(&p, t->isa, VGPU_MODE_A8);
	for (uint32_t i = 0; i < 32; i++)
		assert_true(p.xr[i] == 0 && p.xr[i + 32] != 0);
	product_run(t, &p.w, VGPU_MODE_A8, p.x, 1, p.y, n);
	assert_true(product_nmse(&p, 0x1p-18) <= 1e-12);
	product_free(&p);
}

/* Weights are BF16 of about 2^@exponent; activations are max / 2 .. max of both signs. */
static void init_end(struct product *p, enum vgpu_isa isa, float max, int exponent)
{
	uint64_t rng = 14;

	product_init(p, VGPU_W_BF16, 3, 20, 96, &rng);
	for (uint32_t i = 0; i < 20 * 96; i++) {
		uint16_t half;

		memcpy(&half, p->data + 2 * i, sizeof(half));
		half = (uint16_t)(half + exponent * 128);
		memcpy(p->data + 2 * i, &half, sizeof(half));
	}
	for (uint32_t i = 0; i < 3 * 96; i++)
		p->x[i] = (i % 3 ? max : -max) * (1 - (float)(i % 32) / 64);
	vgpu_kernels_get(VGPU_ISA_REF)->weight_decode(&p->w, p->wf, 96);
	product_round(p, isa, VGPU_MODE_A16);
}

/* The first and the last groups that have a scale in A16, and those beyond. */
static void product_at_the_ends_of_bf16_is_right_or_zero_or_infinite(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	/* A low part is 2^-16 of its value, and has to be a normal number. */
	const struct { float max; int exponent; } right[] = {
		{ t->isa == VGPU_ISA_AMX ? 0x1.01p-100f : 0x1.01p-125f, 80 },
		{ 0x1.fefp127f, -100 },
	};
	struct product p;

	for (int i = 0; i < 2; i++) {
		init_end(&p, t->isa, right[i].max, right[i].exponent);
		product_run(t, &p.w, VGPU_MODE_A16, p.x, p.m, p.y, p.w.rows);
		assert_true(product_nmse(&p, 0x1p-18) <= 1e-12);
		product_free(&p);
	}
	init_end(&p, t->isa, 0x1p-127f, 100);
	product_run(t, &p.w, VGPU_MODE_A16, p.x, p.m, p.y, p.w.rows);
	if (p.y[0] == 0)
		memset(p.xr, 0, (size_t)p.m * p.w.k * sizeof(*p.xr));
	product_nmse(&p, 0x1p-18);
	product_free(&p);

	init_end(&p, t->isa, 0x1.ffp127f, -100);
	product_run(t, &p.w, VGPU_MODE_A16, p.x, p.m, p.y, p.w.rows);
	for (uint32_t i = 0; i < p.m * p.w.rows; i++)
		assert_false(isfinite(p.y[i]));
	product_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PRODUCT_LEVELS(product_is_right_at_the_ends_of_the_scale),
		PRODUCT_LEVELS(product_has_nan_where_a_scale_is_nan_and_nowhere_else),
		PRODUCT_LEVELS(product_is_right_where_f16_scales_are_subnormal),
		PRODUCT_LEVELS(product_of_nan_or_infinite_activations_is_not_a_number),
		PRODUCT_LEVELS(product_of_zeros_is_zero),
		PRODUCT_LEVELS(product_of_no_rows_writes_nothing),
		PRODUCT_LEVELS(product_of_tiny_activations_is_zero_or_right),
		PRODUCT_LEVELS(product_at_the_ends_of_bf16_is_right_or_zero_or_infinite),
	};

	return cmocka_run_group_tests_name("matmul_ends", tests, NULL, NULL);
}
