// SPDX-License-Identifier: MIT
/* Products have the same bits, however the work is cut and wherever it lies. */
#include "common/product.h"

static void check_bits(const float *a, const float *b, size_t n, const char *what,
		       const struct weights_format *f, int mode)
{
	if (memcmp(a, b, n * sizeof(*a)))
		fail_msg("%s %s: %s", f->name, check_mode_name(mode), what);
}

static void check_cuts(const struct vgpu_kernels *t, const struct weights_format *f, int mode)
{
	const uint32_t unit_rows = vgpu_weight_unit_rows(f->format);
	const uint32_t m = 43, n = 115, k = weights_cols(f, 1184), cut = unit_rows == 1 ? 7 : 16;
	float *y = check_alloc((size_t)m * n * sizeof(float));
	uint64_t rng = 77;
	struct product p;

	product_init(&p, f->format, m, n, k, &rng);
	product_run(t, &p.w, mode, p.x, m, p.y, n);

	for (uint32_t r = 0; r < n; r += cut) {
		struct vgpu_panel w = p.w;

		w.rows = n - r < cut ? n - r : cut;
		w.data = p.data + r / unit_rows * vgpu_weight_unit_bytes(f->format, k);
		w.scales = p.scales ? p.scales + (size_t)r * (k / 32) : NULL;
		product_run(t, &w, mode, p.x, m, y + r, n);
	}
	check_bits(y, p.y, (size_t)m * n, "depends on the panel", f, mode);

	for (uint32_t i = 0; i < m; i += 3)
		product_run(t, &p.w, mode, p.x + (size_t)i * k, m - i < 3 ? m - i : 3,
			    y + (size_t)i * n, n);
	check_bits(y, p.y, (size_t)m * n, "depends on m", f, mode);

	free(y);
	product_free(&p);
}

static void product_is_bitwise_the_same_however_cut(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	weights_for_each(f)
		for (int mode = 0; mode < VGPU_MODES; mode++)
			if (weights_takes(f, mode))
				check_cuts(t, f, mode);
}

/* Rows whose activations no cache holds go another way than few. */
static void check_many_rows(const struct vgpu_kernels *t, enum vgpu_wformat format, int mode)
{
	const uint32_t m = 541, few = 37, n = 275, k = 1280;
	const struct weights_format f = { format, "many rows", 1 };
	float *y = check_alloc((size_t)m * n * sizeof(float));
	uint64_t rng = 78;
	struct product p;

	product_init(&p, format, m, n, k, &rng);
	product_run(t, &p.w, mode, p.x, m, p.y, n);
	for (uint32_t i = 0; i < m; i += few)
		product_run(t, &p.w, mode, p.x + (size_t)i * k, m - i < few ? m - i : few,
			    y + (size_t)i * n, n);
	check_bits(y, p.y, (size_t)m * n, "depends on m", &f, mode);
	free(y);
	product_free(&p);
}

static void product_of_many_rows_is_bitwise_that_of_few(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	check_many_rows(t, VGPU_W_F32, VGPU_MODE_F32);
	check_many_rows(t, VGPU_W_F16, VGPU_MODE_F32);
	check_many_rows(t, VGPU_W_BF16, VGPU_MODE_A16);
	for (int mode = 0; mode < VGPU_MODES; mode++) {
		check_many_rows(t, VGPU_W_Q8_0, mode);
		check_many_rows(t, VGPU_W_MXFP4_G16, mode);
		check_many_rows(t, VGPU_W_Q5_K_G16, mode);
		check_many_rows(t, VGPU_W_Q6_K_G16, mode);
	}
}

/*
 * What ways of few rows could treat in another way than those of many: rows with values that
 * are most of them, tiny ones, and ones that are not finite; a group with a scale at the end.
 */
static void spoil(struct product *p)
{
	const uint32_t k = p->w.k;

	for (uint32_t i = 0; i < p->m; i++) {
		float *x = p->x + (size_t)i * k;

		if (i % 3 == 1)
			x[(i * 37) % k] *= 100;
		if (i % 5 == 2)
			for (uint32_t c = 0; c < k; c++)
				x[c] *= 0x1p-124f;
		if (i == 6 || i == 20)
			x[i * 7] = i == 6 ? NAN : INFINITY;
	}
	if (p->w.format == VGPU_W_MXFP4_G16)
		p->data[vgpu_weight_unit_bytes(p->w.format, k)] = 1;
}

static void check_any_m(const struct vgpu_kernels *t, const struct weights_format *f, int mode)
{
	static const uint32_t rows[] = { 1, 2, 3, 5, 8, 9, 16, 17 };
	const uint32_t m = 35, n = 83, k = weights_cols(f, 608);
	/* Plain C knows no ways. */
	const uint32_t ways = t->isa == VGPU_ISA_REF ? 1 : 8;
	float *y = check_alloc((size_t)m * n * sizeof(float));
	uint64_t rng = 79;
	struct product p;

	product_init(&p, f->format, m, n, k, &rng);
	spoil(&p);
	product_run(t, &p.w, mode, p.x, m, p.y, n);
	for (uint32_t way = 0; way < ways; way++) {
		const uint32_t some = rows[way];

		for (uint32_t i = 0; i < m; i += some)
			product_run(t, &p.w, mode, p.x + (size_t)i * k, m - i < some ? m - i : some,
				    y + (size_t)i * n, n);
		if (!product_is_same(y, p.y, (size_t)m * n))
			fail_msg("%s %s: depends on m, at %u rows", f->name,
				 check_mode_name(mode), some);
	}
	free(y);
	product_free(&p);
}

static void product_is_bitwise_the_same_for_any_m(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	weights_for_each(f)
		if (weights_takes(f, VGPU_MODE_A16))
			check_any_m(t, f, VGPU_MODE_A16);
}

/* Of so many columns one row of activations has no room in scratch in another form. */
static void product_of_long_rows_is_bitwise_the_same_for_any_m(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	const uint32_t m = 2, n = 19, k = 131072;
	float y[2 * 19];
	uint64_t rng = 81;
	struct product p;

	product_init(&p, VGPU_W_Q5_K_G16, m, n, k, &rng);
	product_run(t, &p.w, VGPU_MODE_A16, p.x, m, p.y, n);
	for (uint32_t i = 0; i < m; i++)
		product_run(t, &p.w, VGPU_MODE_A16, p.x + (size_t)i * k, 1, y + i * n, n);
	assert_memory_equal(y, p.y, sizeof(y));
	product_free(&p);
}

static void check_unaligned(const struct vgpu_kernels *t, const struct weights_format *f, int mode)
{
	const uint32_t m = 3, n = 21, k = weights_cols(f, 160);
	size_t bytes = vgpu_weight_unit_bytes(f->format, k) * n;
	float *y = check_alloc((size_t)m * n * sizeof(float));
	uint8_t *moved = check_alloc(bytes + 64);
	uint64_t rng = 78;
	struct product p;

	product_init(&p, f->format, m, n, k, &rng);
	product_run(t, &p.w, mode, p.x, m, p.y, n);
	for (uint32_t shift = 1; shift < 64; shift += 6) {
		struct vgpu_panel w = p.w;

		memcpy(moved + shift, p.data, bytes);
		w.data = moved + shift;
		product_run(t, &w, mode, p.x, m, y, n);
		check_bits(y, p.y, (size_t)m * n, "depends on alignment", f, mode);
	}
	free(moved);
	free(y);
	product_free(&p);
}

static void product_is_bitwise_the_same_at_any_alignment(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	weights_for_each(f)
		for (int mode = 0; mode < VGPU_MODES; mode++)
			if (vgpu_weight_unit_rows(f->format) == 1 && weights_takes(f, mode))
				check_unaligned(t, f, mode);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PRODUCT_LEVELS(product_is_bitwise_the_same_however_cut),
		CHECK_LEVEL(product_of_many_rows_is_bitwise_that_of_few, AVX2),
		CHECK_LEVEL(product_of_many_rows_is_bitwise_that_of_few, AVX512),
		CHECK_LEVEL(product_of_many_rows_is_bitwise_that_of_few, AMX),
		PRODUCT_LEVELS(product_is_bitwise_the_same_for_any_m),
		PRODUCT_LEVELS(product_of_long_rows_is_bitwise_the_same_for_any_m),
		PRODUCT_LEVELS(product_is_bitwise_the_same_at_any_alignment),
	};

	return cmocka_run_group_tests_name("matmul_cut", tests, NULL, NULL);
}
