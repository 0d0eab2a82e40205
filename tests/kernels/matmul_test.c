// SPDX-License-Identifier: MIT
/*
 * Products at every level against float64, on the activations that the mode uses, and
 * against other levels.
 */
#include "common/product.h"
#include "kernels/avx2/matmul.h"

static void check_product(const struct vgpu_kernels *t, const struct weights_format *f,
			  enum vgpu_mode mode, uint32_t m, uint32_t n, uint32_t k)
{
	uint64_t rng = 0x9e3779b97f4a7c15ull + m * 1000003ull + n * 1009ull + k;
	struct product p;
	double nmse;

	product_init(&p, f->format, m, n, k, &rng);
	product_round(&p, t->isa, mode);
	product_run(t, &p.w, mode, p.x, m, p.y, n);
	nmse = product_nmse(&p, 0x1p-18);
	if (!(nmse <= 1e-12))
		fail_msg("%s %s m=%u n=%u k=%u: NMSE %g", f->name, check_mode_name(mode), m, n, k,
			 nmse);
	product_free(&p);
}

static const struct { uint32_t m, n, k; } shapes[] = {
	{ 1, 1, 32 }, { 1, 33, 96 }, { 2, 17, 160 }, { 3, 47, 224 }, { 4, 16, 128 },
	{ 5, 31, 480 }, { 6, 40, 1056 }, { 7, 15, 1184 }, { 8, 32, 992 }, { 9, 18, 1120 },
	{ 15, 20, 352 }, { 23, 34, 608 }, { 1, 16, 14336 }, { 16, 3, 3104 },
	{ 16, 64, 288 }, { 17, 130, 256 }, { 47, 81, 544 }, { 290, 50, 320 },
};
/* Columns that no block divides. */
static const struct { uint32_t m, n, k; } odd_shapes[] = {
	{ 1, 3, 1 }, { 2, 19, 7 }, { 5, 33, 77 }, { 9, 5, 300 }, { 13, 17, 1027 },
};

static void product_is_float64s_on_the_rounded_activations(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	weights_for_each(f) {
		for (int mode = 0; mode < VGPU_MODES; mode++) {
			if (!weights_takes(f, mode))
				continue;
			for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++)
				check_product(t, f, mode, shapes[s].m, shapes[s].n,
					      weights_cols(f, shapes[s].k));
		}
	}
}

static void product_takes_any_k_where_the_format_does(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	weights_for_each(f) {
		for (int mode = 0; mode < VGPU_MODES && f->step == 1; mode++) {
			if (!weights_takes(f, mode))
				continue;
			for (size_t s = 0; s < sizeof(odd_shapes) / sizeof(odd_shapes[0]); s++)
				check_product(t, f, mode, odd_shapes[s].m, odd_shapes[s].n,
					      odd_shapes[s].k);
		}
	}
}

static void check_beside_ref(const struct vgpu_kernels *t, const struct weights_format *f,
			     int mode, uint32_t m, uint32_t n, uint32_t k)
{
	/* A16 of amx is another rounding: two of BF16 are within 2^-8 + 2^-8 of each other. */
	double bound = t->isa == VGPU_ISA_AMX && mode == VGPU_MODE_A16 ? 0x1p-7 : 0x1p-18;
	float *y = check_alloc((size_t)m * n * sizeof(*y));
	uint64_t rng = 0x51ed2701u + m + n + k;
	struct product p;

	product_init(&p, f->format, m, n, k, &rng);
	product_round(&p, t->isa, mode);
	product_run(t, &p.w, mode, p.x, m, p.y, n);
	product_run(vgpu_kernels_get(VGPU_ISA_REF), &p.w, mode, p.x, m, y, n);
	for (uint32_t i = 0; i < m * n; i++) {
		double size = 0;

		for (uint32_t c = 0; c < k; c++)
			size += fabs(p.xr[(size_t)(i / n) * k + c] * p.wf[(size_t)(i % n) * k + c]);
		if (!(fabs((double)p.y[i] - y[i]) <= bound * size))
			fail_msg("%s %s m=%u n=%u k=%u: %g, ref has %g, |a||w| %g", f->name,
				 check_mode_name(mode), m, n, k, p.y[i], y[i], size);
	}
	product_free(&p);
	free(y);
}

static void product_is_within_the_bound_of_ref(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	weights_for_each(f) {
		for (int mode = 0; mode < VGPU_MODES; mode++) {
			if (!weights_takes(f, mode))
				continue;
			check_beside_ref(t, f, mode, 1, 33, weights_cols(f, 1184));
			check_beside_ref(t, f, mode, 13, 47, weights_cols(f, 608));
			if (f->step == 1)
				check_beside_ref(t, f, mode, 9, 19, 1027);
		}
	}
}

/* On a CPU with AVX-VNNI the table never has the other way of adding bytes. */
static void product_without_vnni_is_bitwise_the_same(void **state)
{
	const struct vgpu_kernels *t = vgpu_kernels_get(VGPU_ISA_AVX2);
	const uint32_t m = 6, n = 40, k = 1280;
	struct vgpu_kernels plain;
	uint64_t rng = 12;
	struct product p;
	float *y;

	(void)state;
	if (!t) {
		print_message("SKIP: this CPU has no avx2\n");
		skip();
	}
	plain = *t;
	plain.matmul = vgpu_matmul_maddubs_avx2;
	y = check_alloc((size_t)m * n * sizeof(*y));
	weights_for_each(f) {
		if (!weights_takes(f, VGPU_MODE_A8))
			continue;
		product_init(&p, f->format, m, n, k, &rng);
		product_round(&p, t->isa, VGPU_MODE_A8);
		product_run(&plain, &p.w, VGPU_MODE_A8, p.x, m, p.y, n);
		assert_true(product_nmse(&p, 0x1p-18) <= 1e-12);
		product_run(t, &p.w, VGPU_MODE_A8, p.x, m, y, n);
		assert_memory_equal(y, p.y, m * n * sizeof(*y));
		product_free(&p);
	}
	free(y);
}

static void check_beside_avx2(const struct vgpu_kernels *t, const struct weights_format *f,
			      enum vgpu_mode mode)
{
	const struct vgpu_kernels *avx2 = vgpu_kernels_get(VGPU_ISA_AVX2);
	const uint32_t m = 11, n = 40, k = 1280;
	float *y = check_alloc((size_t)m * n * sizeof(*y));
	uint64_t rng = 15;
	struct product p;

	product_init(&p, f->format, m, n, k, &rng);
	product_run(t, &p.w, mode, p.x, m, p.y, n);
	product_run(avx2, &p.w, mode, p.x, m, y, n);
	if (memcmp(y, p.y, m * n * sizeof(*y)))
		fail_msg("%s, %s", f->name, check_mode_name(mode));
	product_free(&p);
	free(y);
}

static void product_in_a8_is_bitwise_that_of_avx2(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	weights_for_each(f) {
		if (!weights_takes(f, VGPU_MODE_A8))
			continue;
		check_beside_avx2(t, f, VGPU_MODE_A8);
		/* That has no runs. */
		if (f->format != VGPU_W_MXFP4 && f->format != VGPU_W_MXFP4_SPLIT &&
		    f->format != VGPU_W_MXFP4_G16)
			check_beside_avx2(t, f, VGPU_MODE_A8_256);
	}
}

/* Activations that a mode's limits are about, in the first rows. */
static void fill_ends(struct product *p)
{
	const float ends[] = { NAN, -INFINITY, 0, 0x1p-130f, -0x1.8p-118f, 0x1p112f, 0x1.fp127f };
	const uint32_t count = sizeof(ends) / sizeof(ends[0]);

	for (uint32_t i = 0; i < p->m && i < 2 * count; i += 2)
		for (uint32_t c = 0; c < p->w.k; c += ends[i / 2] == 0 ? 1 : 37)
			p->x[(size_t)i * p->w.k + c] = ends[i / 2];
}

/* Rows of y are @gap floats longer than n; nothing is written behind them. */
static void check_a8_of_amx(const struct weights_format *f, uint32_t m, uint32_t n, uint32_t k)
{
	const size_t gap = m % 2 ? 3 : 0, ldy = n + gap;
	float *y = check_alloc(m * ldy * sizeof(*y)), *z = check_alloc(m * ldy * sizeof(*z));
	uint64_t rng = 19 + m;
	struct product p;

	product_init(&p, f->format, m, n, k, &rng);
	fill_ends(&p);
	product_run(vgpu_kernels_get(VGPU_ISA_AMX), &p.w, VGPU_MODE_A8, p.x, m, y, ldy);
	product_run(vgpu_kernels_get(VGPU_ISA_AVX512), &p.w, VGPU_MODE_A8, p.x, m, z, ldy);
	if (!product_is_same(y, z, m * ldy))
		fail_msg("%s m=%u n=%u k=%u", f->name, m, n, k);
	product_free(&p);
	free(y);
	free(z);
}

static void product_in_a8_by_tiles_is_bitwise_that_of_avx512(void **state)
{
	static const struct { uint32_t m, n, k; } a8_shapes[] = {
		{ 9, 17, 32 }, { 31, 40, 608 }, { 32, 150, 1056 }, { 33, 130, 1184 },
		{ 35, 17, 32 }, { 40, 16, 544 }, { 41, 16, 96 }, { 47, 31, 512 }, { 49, 5, 640 },
		{ 63, 20, 992 }, { 257, 33, 1024 }, { 280, 270, 320 }, { 530, 17, 96 },
	};

	check_table(state);
	weights_for_each(f) {
		if (!weights_takes(f, VGPU_MODE_A8))
			continue;
		for (size_t s = 0; s < sizeof(a8_shapes) / sizeof(a8_shapes[0]); s++)
			check_a8_of_amx(f, a8_shapes[s].m, a8_shapes[s].n,
					weights_cols(f, a8_shapes[s].k));
		if (f->step == 1)
			check_a8_of_amx(f, 35, 37, 1027);
	}
}

/* From 32 rows on level amx packs a row of a block side by side; avx512 four columns of it. */
static void product_in_a8_is_by_tiles_where_there_are_enough_rows(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 4242;
	float x[32 * 64], max = 0;

	for (uint32_t i = 0; i < 32 * 64; i++)
		x[i] = (float)rng_gauss(&rng);
	for (uint32_t c = 0; c < 32; c++)
		max = fmaxf(max, fabsf(x[c]));
	for (uint32_t m = 31; m <= 32; m++) {
		void *memory = check_alloc(vgpu_acts_bytes(VGPU_MODE_A8, m, 64));
		struct vgpu_acts acts;
		bool together = true;

		vgpu_acts_init(&acts, VGPU_MODE_A8, m, 64, memory);
		t->acts_pack(&acts, x, 64, 0, m);
		for (uint32_t c = 0; c < 32; c++)
			together &= fabsf(((int8_t *)acts.data)[c] - x[c] / max * 127) < 1;
		assert_int_equal(together, m == 32);
		free(memory);
	}
}

static void check_packing_in_parts(const struct vgpu_kernels *t, enum vgpu_mode mode, uint32_t m,
				   const float *x, uint32_t k)
{
	size_t bytes = vgpu_acts_bytes(mode, m, k);
	void *whole = check_alloc(bytes), *parts = check_alloc(bytes);
	struct vgpu_acts acts;

	memset(whole, 0xa5, bytes);
	memset(parts, 0xa5, bytes);
	vgpu_acts_init(&acts, mode, m, k, whole);
	t->acts_pack(&acts, x, k, 0, m);
	vgpu_acts_init(&acts, mode, m, k, parts);
	for (uint32_t end = m, first; end; end = first) {
		first = (end - 1) / VGPU_ACTS_ROWS * VGPU_ACTS_ROWS;
		t->acts_pack(&acts, x, k, first, end);
	}
	assert_memory_equal(parts, whole, bytes);
	free(parts);
	free(whole);
}

/* By any thread, in any order. */
static void activations_packed_in_parts_are_the_whole(void **state)
{
	static const uint32_t rows[] = { 47, 48, 49, 60, 96, 109, 145 };
	const struct vgpu_kernels *t = check_table(state);
	const uint32_t k = 352;
	float *x = check_alloc(145 * k * sizeof(*x));
	uint64_t rng = 48;

	for (uint32_t i = 0; i < 145 * k; i++)
		x[i] = (float)rng_gauss(&rng);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (int mode = 0; mode < VGPU_MODES; mode++)
			check_packing_in_parts(t, mode, rows[i], x, k);
	free(x);
}

/* The largest bytes there are: 16-bit sums must not saturate at any level. */
static void product_of_extreme_bytes_does_not_saturate(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	const uint32_t m = 35, n = 20, k = 192;
	struct vgpu_kernels plain = *t;
	uint64_t rng = 13;
	struct product p;

	if (t->isa == VGPU_ISA_AVX2)
		plain.matmul = vgpu_matmul_maddubs_avx2;
	product_init(&p, VGPU_W_Q8_0, m, n, k, &rng);
	for (uint32_t i = 0; i < n * k; i++)
		p.data[i / 32 * 34 + 2 + i % 32] = i / k % 2 ? 0x80 : 0x7f;
	for (uint32_t i = 0; i < m * k; i++)
		p.x[i] = i / k % 2 ? 127 : -127;
	vgpu_kernels_get(VGPU_ISA_REF)->weight_decode(&p.w, p.wf, k);
	product_round(&p, t->isa, VGPU_MODE_A8);
	product_run(t, &p.w, VGPU_MODE_A8, p.x, m, p.y, n);
	assert_true(product_nmse(&p, 0x1p-18) <= 1e-12);
	product_run(&plain, &p.w, VGPU_MODE_A8, p.x, m, p.y, n);
	assert_true(product_nmse(&p, 0x1p-18) <= 1e-12);
	product_free(&p);
}

static void product_by_float_weights_takes_one_mode(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 5;
	struct product p;

	assert_int_equal(vgpu_matmul_mode(VGPU_W_F16, VGPU_MODE_A8), VGPU_MODE_F32);
	assert_int_equal(vgpu_matmul_mode(VGPU_W_BF16, VGPU_MODE_A8), VGPU_MODE_A16);
	product_init(&p, VGPU_W_F32, 2, 5, 64, &rng);
	product_run(t, &p.w, VGPU_MODE_A8, p.x, 2, p.y, 5);
	for (int i = 0; i < 10; i++)
		assert_true(isnan(p.y[i]));
	product_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PRODUCT_LEVELS(product_is_float64s_on_the_rounded_activations),
		PRODUCT_LEVELS(product_takes_any_k_where_the_format_does),
		PRODUCT_LEVELS(product_is_within_the_bound_of_ref),
		cmocka_unit_test(product_without_vnni_is_bitwise_the_same),
		CHECK_LEVEL(product_in_a8_is_bitwise_that_of_avx2, AVX512),
		CHECK_LEVEL(product_in_a8_is_bitwise_that_of_avx2, AMX),
		CHECK_LEVEL(product_in_a8_by_tiles_is_bitwise_that_of_avx512, AMX),
		CHECK_LEVEL(product_in_a8_is_by_tiles_where_there_are_enough_rows, AMX),
		PRODUCT_LEVELS(activations_packed_in_parts_are_the_whole),
		PRODUCT_LEVELS(product_of_extreme_bytes_does_not_saturate),
		PRODUCT_LEVELS(product_by_float_weights_takes_one_mode),
	};

	return cmocka_run_group_tests_name("matmul", tests, NULL, NULL);
}
