// SPDX-License-Identifier: MIT
/*
 * Products at every level against float64, on the activations that the mode uses,
 * and against the activations that it was given.
 */
#include <errno.h>
#include "check.h"
#include "common/recorded.h"
#include "kernels/avx2/matmul.h"
#include "random_blocks.h"

/* @step: what k is a multiple of */
static const struct format {
	enum vgpu_wformat format;
	const char *name;
	uint32_t step;
} formats[] = {
	{ VGPU_W_F32, "f32", 1 },
	{ VGPU_W_F16, "f16", 1 },
	{ VGPU_W_BF16, "bf16", 1 },
	{ VGPU_W_MXFP4, "mxfp4", 32 },
	{ VGPU_W_MXFP4_SPLIT, "mxfp4_split", 32 },
	{ VGPU_W_Q8_0, "q8_0", 32 },
	{ VGPU_W_MXFP4_G16, "mxfp4_g16", 1 },
	{ VGPU_W_INT8_G16, "int8_g16", 1 },
	{ VGPU_W_Q4_0, "q4_0", 32 },
	{ VGPU_W_Q4_0_G16, "q4_0_g16", 32 },
	{ VGPU_W_Q5_0, "q5_0", 32 },
	{ VGPU_W_Q5_0_G16, "q5_0_g16", 32 },
	{ VGPU_W_Q4_1, "q4_1", 32 },
	{ VGPU_W_Q4_1_G16, "q4_1_g16", 32 },
	{ VGPU_W_Q5_1, "q5_1", 32 },
	{ VGPU_W_Q5_1_G16, "q5_1_g16", 32 },
	{ VGPU_W_Q4_K, "q4_k", 256 },
	{ VGPU_W_Q4_K_G16, "q4_k_g16", 256 },
	{ VGPU_W_Q5_K, "q5_k", 256 },
	{ VGPU_W_Q5_K_G16, "q5_k_g16", 256 },
	{ VGPU_W_Q6_K, "q6_k", 256 },
	{ VGPU_W_Q6_K_G16, "q6_k_g16", 256 },
	{ VGPU_W_NVFP4, "nvfp4", 64 },
	{ VGPU_W_NVFP4_G16, "nvfp4_g16", 64 },
	{ VGPU_W_INT4_64_G16, "int4_64_g16", 64 },
	{ VGPU_W_INT4_128_G16, "int4_128_g16", 128 },
	{ VGPU_W_INT4_Z32_G16, "int4_z32_g16", 32 },
	{ VGPU_W_INT4_Z64_G16, "int4_z64_g16", 64 },
	{ VGPU_W_INT4_Z128_G16, "int4_z128_g16", 128 },
};
#define FORMATS (sizeof(formats) / sizeof(formats[0]))

static const char *const mode_names[] = { "f32", "a16", "a8" };

/* One product: weights as bytes and decoded, activations as given and as rounded. */
struct product {
	struct vgpu_panel w;
	uint8_t *data, *scales;
	float *wf;		/* [n][k] */
	float *x;		/* [m][k] */
	double *xr;		/* [m][k], what the mode makes of x */
	float *y;		/* [m][n] */
	uint32_t m;
};

static void fill_floats(struct product *p, uint64_t *rng)
{
	for (size_t i = 0; i < (size_t)p->w.rows * p->w.k; i++) {
		float value = (float)rng_gauss(rng);
		_Float16 half = (_Float16)value;

		if (p->w.format == VGPU_W_F32)
			memcpy(p->data + 4 * i, &value, 4);
		else if (p->w.format == VGPU_W_F16)
			memcpy(p->data + 2 * i, &half, 2);
		else
			memcpy(p->data + 2 * i, (uint8_t *)&value + 2, 2);
	}
}

static void fill_row_major(struct product *p, uint64_t *rng)
{
	if (p->w.format <= VGPU_W_BF16)
		fill_floats(p, rng);
	else
		random_blocks(p->w.format, p->data, p->scales, p->w.rows, p->w.k, false, rng);
}

/* From random blocks of the same values. */
static void fill_from_blocks(struct product *p, const struct vgpu_g16_type *type, bool even,
			     uint64_t *rng)
{
	const struct vgpu_kernels *ref = vgpu_kernels_get(VGPU_ISA_REF);
	size_t unit = vgpu_weight_unit_bytes(p->w.format, p->w.k);
	size_t row = vgpu_weight_unit_bytes(type->source, p->w.k);
	uint8_t *src = check_alloc(row * p->w.rows);

	random_blocks(type->source, src, NULL, p->w.rows, p->w.k, even, rng);
	for (uint32_t r = 0; r < p->w.rows; r += 16) {
		uint32_t rows = p->w.rows - r < 16 ? p->w.rows - r : 16;

		assert_int_equal(ref->pack_blocks(p->data + r / 16 * unit, p->w.format,
						  src + r * row, rows, p->w.k), 0);
	}
	free(src);
}

static void fill_int4(struct product *p, const struct vgpu_g16_type *type, bool even, uint64_t *rng)
{
	const struct vgpu_kernels *ref = vgpu_kernels_get(VGPU_ISA_REF);
	size_t unit = vgpu_weight_unit_bytes(p->w.format, p->w.k);
	struct random_int4 rows;

	for (uint32_t r = 0; r < p->w.rows; r += 16) {
		random_int4(&rows, type, p->w.rows - r < 16 ? p->w.rows - r : 16, p->w.k, even, rng);
		assert_int_equal(ref->pack_int4(p->data + r / 16 * unit, type->format, &rows.rows), 0);
		random_int4_free(&rows);
	}
}

static void fill_packed(struct product *p, uint64_t *rng)
{
	const struct vgpu_kernels *ref = vgpu_kernels_get(VGPU_ISA_REF);
	size_t unit = vgpu_weight_unit_bytes(p->w.format, p->w.k);

	for (size_t i = 0; i < (size_t)p->w.rows * p->w.k; i++)
		p->wf[i] = (float)rng_gauss(rng);
	for (uint32_t r = 0; r < p->w.rows; r += 16) {
		uint32_t rows = p->w.rows - r < 16 ? p->w.rows - r : 16;
		const float *src = p->wf + (size_t)r * p->w.k;
		uint8_t *dst = p->data + r / 16 * unit;

		assert_int_equal(0, p->w.format == VGPU_W_MXFP4_G16 ?
				 ref->pack_mxfp4(dst, src, VGPU_W_F32, p->w.k, rows, p->w.k) :
				 ref->pack_int8(dst, src, VGPU_W_F32, p->w.k, rows, p->w.k));
	}
}

static void product_draw(struct product *p, enum vgpu_wformat format, uint32_t m, uint32_t n,
			 uint32_t k, bool even, uint64_t *rng)
{
	uint32_t unit_rows = vgpu_weight_unit_rows(format), units = (n + unit_rows - 1) / unit_rows;
	size_t bytes = vgpu_weight_unit_bytes(format, k) * units;

	p->data = check_alloc(bytes);
	p->scales = format == VGPU_W_MXFP4_SPLIT ? check_alloc((size_t)n * (k / 32)) : NULL;
	p->w = (struct vgpu_panel) { format, n, k, p->data, p->scales };
	p->m = m;
	p->wf = check_alloc((size_t)n * k * sizeof(float));
	p->x = check_alloc((size_t)m * k * sizeof(float));
	p->xr = check_alloc((size_t)m * k * sizeof(double));
	p->y = check_alloc((size_t)m * n * sizeof(float));

	if (unit_rows == 1)
		fill_row_major(p, rng);
	else if (vgpu_g16_type(format) && !vgpu_g16_type(format)->source)
		fill_int4(p, vgpu_g16_type(format), even, rng);
	else if (vgpu_g16_type(format))
		fill_from_blocks(p, vgpu_g16_type(format), even, rng);
	else
		fill_packed(p, rng);
	vgpu_kernels_get(VGPU_ISA_REF)->weight_decode(&p->w, p->wf, k);
	for (size_t i = 0; i < (size_t)m * k; i++)
		p->x[i] = (float)rng_gauss(rng);
}

static void product_init(struct product *p, enum vgpu_wformat format, uint32_t m, uint32_t n,
			 uint32_t k, uint64_t *rng)
{
	product_draw(p, format, m, n, k, false, rng);
}

static void product_free(struct product *p)
{
	free(p->data);
	free(p->scales);
	free(p->wf);
	free(p->x);
	free(p->xr);
	free(p->y);
}

/* Nearest value of 8 significant bits, ties to even. */
static double round_bf16(double x)
{
	int exponent;

	if (x == 0)
		return 0;
	frexp(x, &exponent);
	return ldexp(nearbyint(ldexp(x, 8 - exponent)), exponent - 8);
}

/* BF16 of x over an f32 scale that makes the largest magnitude a BF16. */
static void round_a16(double *out, const float *x, uint32_t n)
{
	double max = 0;
	float scale = 1, inverse;

	for (uint32_t i = 0; i < n; i++)
		max = fmax(max, fabs(x[i]));
	if (max > 0)
		scale = (float)(max / round_bf16(max));
	inverse = 1.0f / scale;
	for (uint32_t i = 0; i < n; i++)
		out[i] = round_bf16(x[i] * inverse) * scale;
}

/* max|x| / 127 rounded up to 16 significant bits, and x times its f32 reciprocal. */
static void round_a8(double *out, const float *x, uint32_t n)
{
	float max = 0, scale, inverse;
	int exponent;

	for (uint32_t i = 0; i < n; i++)
		max = fmaxf(max, fabsf(x[i]));
	if (max < 0x1p-119f) {
		memset(out, 0, n * sizeof(*out));
		return;
	}
	scale = max / 127.0f;
	frexp(scale, &exponent);
	scale = (float)ldexp(ceil(ldexp(scale, 16 - exponent)), exponent - 16);
	inverse = 1.0f / scale;
	for (uint32_t i = 0; i < n; i++)
		out[i] = nearbyintf(x[i] * inverse) * (double)scale;
}

/* A16 at level amx: BF16, and what it leaves of groups with a value beyond 1/8 of the row. */
static void round_a16_amx(double *out, const float *x, uint32_t k)
{
	double squares = 0;

	for (uint32_t c = 0; c < k; c++)
		squares += (double)x[c] * x[c];
	for (uint32_t c = 0; c < k; c += 32) {
		uint32_t n = k - c < 32 ? k - c : 32;
		double max = 0;

		for (uint32_t i = c; i < c + n; i++) {
			max = fmax(max, fabs(x[i]));
			out[i] = round_bf16(x[i]);
		}
		for (uint32_t i = c; i < c + n && max > sqrt(squares / 64); i++)
			out[i] += round_bf16(x[i] - out[i]);
	}
}

static void round_activations(struct product *p, enum vgpu_isa isa, enum vgpu_mode mode)
{
	void (*round_group)(double *, const float *, uint32_t) =
		mode == VGPU_MODE_A16 ? round_a16 : round_a8;
	uint32_t k = p->w.k;

	for (size_t i = 0; i < (size_t)p->m * k; i++)
		p->xr[i] = p->x[i];
	if (isa == VGPU_ISA_AMX && mode == VGPU_MODE_A16) {
		for (uint32_t i = 0; i < p->m; i++)
			round_a16_amx(p->xr + (size_t)i * k, p->x + (size_t)i * k, k);
		return;
	}
	for (uint32_t i = 0; i < p->m && mode != VGPU_MODE_F32; i++)
		for (uint32_t c = 0; c < k; c += 32)
			round_group(p->xr + (size_t)i * k + c, p->x + (size_t)i * k + c,
				    k - c < 32 ? k - c : 32);
}

/* y = product of rows [first, first + rows) of activations by one panel. */
static void run(const struct vgpu_kernels *t, const struct vgpu_panel *w, enum vgpu_mode mode,
		const float *x, uint32_t m, float *y, size_t ldy)
{
	void *scratch = check_alloc(vgpu_matmul_scratch_bytes(w->format, w->k));
	void *memory = check_alloc(vgpu_acts_bytes(mode, m, w->k));
	struct vgpu_acts acts;

	vgpu_acts_init(&acts, mode, m, w->k, memory);
	t->acts_pack(&acts, x, w->k);
	t->matmul(w, &acts, y, ldy, scratch);
	free(memory);
	free(scratch);
}

/* NMSE against float64 on xr; fails where an element leaves the bound. */
static double compare(const struct product *p, double bound)
{
	double error = 0, power = 0;

	for (uint32_t i = 0; i < p->m; i++) {
		for (uint32_t r = 0; r < p->w.rows; r++) {
			const double *x = p->xr + (size_t)i * p->w.k;
			const float *w = p->wf + (size_t)r * p->w.k;
			double sum = 0, size = 0, d;

			for (uint32_t c = 0; c < p->w.k; c++) {
				sum += x[c] * w[c];
				size += fabs(x[c] * w[c]);
			}
			d = p->y[(size_t)i * p->w.rows + r] - sum;
			if (!(fabs(d) <= bound * size))
				fail_msg("row %u of x, %u of w: %g instead of %g, |a||w| %g", i, r,
					 sum + d, sum, size);
			error += d * d;
			power += sum * sum;
		}
	}
	return error / power;
}

/* Columns that a format can have, k or the next. */
static uint32_t cols_of(const struct format *f, uint32_t k)
{
	return (k + f->step - 1) / f->step * f->step;
}

static void check_product(const struct vgpu_kernels *t, const struct format *f,
			  enum vgpu_mode mode, uint32_t m, uint32_t n, uint32_t k)
{
	uint64_t rng = 0x9e3779b97f4a7c15ull + m * 1000003ull + n * 1009ull + k;
	struct product p;
	double nmse;

	product_init(&p, f->format, m, n, k, &rng);
	round_activations(&p, t->isa, mode);
	run(t, &p.w, mode, p.x, m, p.y, n);
	nmse = compare(&p, 0x1p-18);
	if (!(nmse <= 1e-12))
		fail_msg("%s %s m=%u n=%u k=%u: NMSE %g", f->name, mode_names[mode], m, n, k, nmse);
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

	for (size_t f = 0; f < FORMATS; f++) {
		for (int mode = 0; mode < 3; mode++) {
			if ((int)vgpu_matmul_mode(formats[f].format, mode) != mode)
				continue;
			for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++)
				check_product(t, &formats[f], mode, shapes[s].m, shapes[s].n,
					      cols_of(&formats[f], shapes[s].k));
		}
	}
}

static void product_takes_any_k_where_the_format_does(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	for (size_t f = 0; f < FORMATS; f++) {
		for (int mode = 0; mode < 3 && formats[f].step == 1; mode++) {
			if ((int)vgpu_matmul_mode(formats[f].format, mode) != mode)
				continue;
			for (size_t s = 0; s < sizeof(odd_shapes) / sizeof(odd_shapes[0]); s++)
				check_product(t, &formats[f], mode, odd_shapes[s].m,
					      odd_shapes[s].n, odd_shapes[s].k);
		}
	}
}

static void check_beside_ref(const struct vgpu_kernels *t, const struct format *f, int mode,
			     uint32_t m, uint32_t n, uint32_t k)
{
	/* A16 of amx is another rounding: two of BF16 are within 2^-8 + 2^-8 of each other. */
	double bound = t->isa == VGPU_ISA_AMX && mode == VGPU_MODE_A16 ? 0x1p-7 : 0x1p-18;
	float *y = check_alloc((size_t)m * n * sizeof(*y));
	uint64_t rng = 0x51ed2701u + m + n + k;
	struct product p;

	product_init(&p, f->format, m, n, k, &rng);
	round_activations(&p, t->isa, mode);
	run(t, &p.w, mode, p.x, m, p.y, n);
	run(vgpu_kernels_get(VGPU_ISA_REF), &p.w, mode, p.x, m, y, n);
	for (uint32_t i = 0; i < m * n; i++) {
		double size = 0;

		for (uint32_t c = 0; c < k; c++)
			size += fabs(p.xr[(size_t)(i / n) * k + c] * p.wf[(size_t)(i % n) * k + c]);
		if (!(fabs((double)p.y[i] - y[i]) <= bound * size))
			fail_msg("%s %s m=%u n=%u k=%u: %g, ref has %g, |a||w| %g", f->name,
				 mode_names[mode], m, n, k, p.y[i], y[i], size);
	}
	product_free(&p);
	free(y);
}

static void product_is_within_the_bound_of_ref(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	for (size_t f = 0; f < FORMATS; f++) {
		for (int mode = 0; mode < 3; mode++) {
			if ((int)vgpu_matmul_mode(formats[f].format, mode) != mode)
				continue;
			check_beside_ref(t, &formats[f], mode, 1, 33, cols_of(&formats[f], 1184));
			check_beside_ref(t, &formats[f], mode, 13, 47, cols_of(&formats[f], 608));
			if (formats[f].step == 1)
				check_beside_ref(t, &formats[f], mode, 9, 19, 1027);
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
	for (size_t f = 0; f < FORMATS; f++) {
		if (vgpu_matmul_mode(formats[f].format, VGPU_MODE_A8) != VGPU_MODE_A8)
			continue;
		product_init(&p, formats[f].format, m, n, k, &rng);
		round_activations(&p, t->isa, VGPU_MODE_A8);
		run(&plain, &p.w, VGPU_MODE_A8, p.x, m, p.y, n);
		assert_true(compare(&p, 0x1p-18) <= 1e-12);
		run(t, &p.w, VGPU_MODE_A8, p.x, m, y, n);
		assert_memory_equal(y, p.y, m * n * sizeof(*y));
		product_free(&p);
	}
	free(y);
}

static void product_in_a8_is_bitwise_that_of_avx2(void **state)
{
	const struct vgpu_kernels *t = check_table(state), *avx2 = vgpu_kernels_get(VGPU_ISA_AVX2);
	const uint32_t m = 11, n = 40, k = 1280;
	float *y = check_alloc((size_t)m * n * sizeof(*y));
	uint64_t rng = 15;
	struct product p;

	for (size_t f = 0; f < FORMATS; f++) {
		if (vgpu_matmul_mode(formats[f].format, VGPU_MODE_A8) != VGPU_MODE_A8)
			continue;
		product_init(&p, formats[f].format, m, n, k, &rng);
		run(t, &p.w, VGPU_MODE_A8, p.x, m, p.y, n);
		run(avx2, &p.w, VGPU_MODE_A8, p.x, m, y, n);
		if (memcmp(y, p.y, m * n * sizeof(*y)))
			fail_msg("%s", formats[f].name);
		product_free(&p);
	}
	free(y);
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

/* The same bits, and NaN where NaN is. */
static bool floats_are_same(const float *a, const float *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(&a[i], &b[i], sizeof(*a)) && !(isnan(a[i]) && isnan(b[i])))
			return false;
	return true;
}

/* Rows of y are @gap floats longer than n; nothing is written behind them. */
static void check_a8_of_amx(const struct format *f, uint32_t m, uint32_t n, uint32_t k)
{
	const size_t gap = m % 2 ? 3 : 0, ldy = n + gap;
	float *y = check_alloc(m * ldy * sizeof(*y)), *z = check_alloc(m * ldy * sizeof(*z));
	uint64_t rng = 19 + m;
	struct product p;

	product_init(&p, f->format, m, n, k, &rng);
	fill_ends(&p);
	run(vgpu_kernels_get(VGPU_ISA_AMX), &p.w, VGPU_MODE_A8, p.x, m, y, ldy);
	run(vgpu_kernels_get(VGPU_ISA_AVX512), &p.w, VGPU_MODE_A8, p.x, m, z, ldy);
	if (!floats_are_same(y, z, m * ldy))
		fail_msg("%s m=%u n=%u k=%u", f->name, m, n, k);
	product_free(&p);
	free(y);
	free(z);
}

static void product_in_a8_by_tiles_is_bitwise_that_of_avx512(void **state)
{
	static const struct { uint32_t m, n, k; } a8_shapes[] = {
		{ 9, 17, 32 }, { 31, 40, 608 }, { 32, 150, 1056 }, { 33, 130, 1184 }, { 35, 17, 32 },
		{ 40, 16, 544 }, { 41, 16, 96 }, { 47, 31, 512 }, { 49, 5, 640 }, { 63, 20, 992 },
		{ 257, 33, 1024 }, { 280, 270, 320 }, { 530, 17, 96 },
	};

	check_table(state);
	for (size_t f = 0; f < FORMATS; f++) {
		if (vgpu_matmul_mode(formats[f].format, VGPU_MODE_A8) != VGPU_MODE_A8)
			continue;
		for (size_t s = 0; s < sizeof(a8_shapes) / sizeof(a8_shapes[0]); s++)
			check_a8_of_amx(&formats[f], a8_shapes[s].m, a8_shapes[s].n,
					cols_of(&formats[f], a8_shapes[s].k));
		if (formats[f].step == 1)
			check_a8_of_amx(&formats[f], 35, 37, 1027);
	}
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
	round_activations(&p, t->isa, VGPU_MODE_A8);
	run(t, &p.w, VGPU_MODE_A8, p.x, m, p.y, n);
	assert_true(compare(&p, 0x1p-18) <= 1e-12);
	run(&plain, &p.w, VGPU_MODE_A8, p.x, m, p.y, n);
	assert_true(compare(&p, 0x1p-18) <= 1e-12);
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
	run(t, &p.w, VGPU_MODE_A8, p.x, 2, p.y, 5);
	for (int i = 0; i < 10; i++)
		assert_true(isnan(p.y[i]));
	product_free(&p);
}

/* --- the same bits, however the work is cut --- */

static void check_bits(const float *a, const float *b, size_t n, const char *what,
		       const struct format *f, int mode)
{
	if (memcmp(a, b, n * sizeof(*a)))
		fail_msg("%s %s: %s", f->name, mode_names[mode], what);
}

static void check_cuts(const struct vgpu_kernels *t, const struct format *f, int mode)
{
	const uint32_t m = 43, n = 115, k = cols_of(f, 1184), unit_rows = vgpu_weight_unit_rows(f->format);
	const uint32_t cut = unit_rows == 1 ? 7 : 16;
	float *y = check_alloc((size_t)m * n * sizeof(float));
	uint64_t rng = 77;
	struct product p;

	product_init(&p, f->format, m, n, k, &rng);
	run(t, &p.w, mode, p.x, m, p.y, n);

	for (uint32_t r = 0; r < n; r += cut) {
		struct vgpu_panel w = p.w;

		w.rows = n - r < cut ? n - r : cut;
		w.data = p.data + r / unit_rows * vgpu_weight_unit_bytes(f->format, k);
		w.scales = p.scales ? p.scales + (size_t)r * (k / 32) : NULL;
		run(t, &w, mode, p.x, m, y + r, n);
	}
	check_bits(y, p.y, (size_t)m * n, "depends on the panel", f, mode);

	for (uint32_t i = 0; i < m; i += 3)
		run(t, &p.w, mode, p.x + (size_t)i * k, m - i < 3 ? m - i : 3, y + (size_t)i * n, n);
	check_bits(y, p.y, (size_t)m * n, "depends on m", f, mode);

	free(y);
	product_free(&p);
}

static void product_is_bitwise_the_same_however_cut(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	for (size_t f = 0; f < FORMATS; f++)
		for (int mode = 0; mode < 3; mode++)
			if ((int)vgpu_matmul_mode(formats[f].format, mode) == mode)
				check_cuts(t, &formats[f], mode);
}

/* Rows whose activations no cache holds go another way than few. */
static void check_many_rows(const struct vgpu_kernels *t, enum vgpu_wformat format, int mode)
{
	const uint32_t m = 541, few = 37, n = 275, k = 1280;
	const struct format f = { format, "many rows", 1 };
	float *y = check_alloc((size_t)m * n * sizeof(float));
	uint64_t rng = 78;
	struct product p;

	product_init(&p, format, m, n, k, &rng);
	run(t, &p.w, mode, p.x, m, p.y, n);
	for (uint32_t i = 0; i < m; i += few)
		run(t, &p.w, mode, p.x + (size_t)i * k, m - i < few ? m - i : few,
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
	for (int mode = 0; mode < 3; mode++) {
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

/* NaN may be any NaN. */
static bool same_bits(const float *a, const float *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(&a[i], &b[i], sizeof(*a)) && !(isnan(a[i]) && isnan(b[i])))
			return false;
	return true;
}

static void check_any_m(const struct vgpu_kernels *t, const struct format *f, int mode)
{
	static const uint32_t rows[] = { 1, 2, 3, 5, 8, 9, 16, 17 };
	/* Plain C knows no ways. */
	const uint32_t m = 35, n = 83, k = cols_of(f, 608), ways = t->isa == VGPU_ISA_REF ? 1 : 8;
	float *y = check_alloc((size_t)m * n * sizeof(float));
	uint64_t rng = 79;
	struct product p;

	product_init(&p, f->format, m, n, k, &rng);
	spoil(&p);
	run(t, &p.w, mode, p.x, m, p.y, n);
	for (uint32_t way = 0; way < ways; way++) {
		const uint32_t some = rows[way];

		for (uint32_t i = 0; i < m; i += some)
			run(t, &p.w, mode, p.x + (size_t)i * k, m - i < some ? m - i : some,
			    y + (size_t)i * n, n);
		if (!same_bits(y, p.y, (size_t)m * n))
			fail_msg("%s %s: depends on m, at %u rows", f->name, mode_names[mode], some);
	}
	free(y);
	product_free(&p);
}

static void product_is_bitwise_the_same_for_any_m(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	for (size_t f = 0; f < FORMATS; f++)
		if (vgpu_matmul_mode(formats[f].format, VGPU_MODE_A16) == VGPU_MODE_A16)
			check_any_m(t, &formats[f], VGPU_MODE_A16);
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
	run(t, &p.w, VGPU_MODE_A16, p.x, m, p.y, n);
	for (uint32_t i = 0; i < m; i++)
		run(t, &p.w, VGPU_MODE_A16, p.x + (size_t)i * k, 1, y + i * n, n);
	assert_memory_equal(y, p.y, sizeof(y));
	product_free(&p);
}

static void check_unaligned(const struct vgpu_kernels *t, const struct format *f, int mode)
{
	const uint32_t m = 3, n = 21, k = cols_of(f, 160);
	size_t bytes = vgpu_weight_unit_bytes(f->format, k) * n;
	float *y = check_alloc((size_t)m * n * sizeof(float));
	uint8_t *moved = check_alloc(bytes + 64);
	uint64_t rng = 78;
	struct product p;

	product_init(&p, f->format, m, n, k, &rng);
	run(t, &p.w, mode, p.x, m, p.y, n);
	for (uint32_t shift = 1; shift < 64; shift += 6) {
		struct vgpu_panel w = p.w;

		memcpy(moved + shift, p.data, bytes);
		w.data = moved + shift;
		run(t, &w, mode, p.x, m, y, n);
		check_bits(y, p.y, (size_t)m * n, "depends on alignment", f, mode);
	}
	free(moved);
	free(y);
	product_free(&p);
}

static void product_is_bitwise_the_same_at_any_alignment(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	for (size_t f = 0; f < FORMATS; f++)
		for (int mode = 0; mode < 3; mode++)
			if (vgpu_weight_unit_rows(formats[f].format) == 1 &&
			    (int)vgpu_matmul_mode(formats[f].format, mode) == mode)
				check_unaligned(t, &formats[f], mode);
}

/* --- against the activations as they were --- */

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

/*
 * What becomes of the product of @x by Gaussian weights, packed, or by blocks of the same
 * scale: NMSE against float64. Where
 * a few activations are most of a row, it takes many outputs to see more than luck.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OUTPUTS 64u		/* instrumented code is slow */
#define RECORDED_STEP 7u
#else
#define OUTPUTS 256u
#define RECORDED_STEP 1u
#endif

static double end_to_end(const struct vgpu_kernels *t, const struct format *f,
			 enum vgpu_mode mode, const float *x, uint32_t m, uint32_t k)
{
	uint64_t rng = 99;
	struct product p;
	double nmse;

	product_draw(&p, f->format, m, OUTPUTS, k, true, &rng);
	memcpy(p.x, x, (size_t)m * k * sizeof(*x));
	round_activations(&p, t->isa, VGPU_MODE_F32);
	run(t, &p.w, mode, p.x, m, p.y, OUTPUTS);
	nmse = compare(&p, 1.0);
	product_free(&p);
	return nmse;
}

/* NMSE of a mode, the largest of the packed formats that can have k columns. */
static double mode_error(const struct vgpu_kernels *t, enum vgpu_mode mode, const float *x,
			 uint32_t m, uint32_t k)
{
	double worst = 0;

	for (size_t f = 0; f < FORMATS; f++)
		if (vgpu_weight_unit_rows(formats[f].format) != 1 && k % formats[f].step == 0)
			worst = fmax(worst, end_to_end(t, &formats[f], mode, x, m, k));
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

/* From 32 rows on level amx packs a row of a block side by side; avx512 four columns of it. */
static void product_in_a8_is_by_tiles_where_there_are_enough_rows(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	float *x = draw_all(GAUSSIAN, 32, 64), max = 0;

	for (uint32_t c = 0; c < 32; c++)
		max = fmaxf(max, fabsf(x[c]));
	for (uint32_t m = 31; m <= 32; m++) {
		void *memory = check_alloc(vgpu_acts_bytes(VGPU_MODE_A8, m, 64));
		struct vgpu_acts acts;
		bool together = true;

		vgpu_acts_init(&acts, VGPU_MODE_A8, m, 64, memory);
		t->acts_pack(&acts, x, 64);
		for (uint32_t c = 0; c < 32; c++)
			together &= fabsf(((int8_t *)acts.data)[c] - x[c] / max * 127) < 1;
		assert_int_equal(together, m == 32);
		free(memory);
	}
	free(x);
}

static void check_distribution(void **state, enum distribution d)
{
	const struct vgpu_kernels *t = check_table(state);
	float *x = draw_all(d, 8, 2048);
	double a16 = mode_error(t, VGPU_MODE_A16, x, 8, 2048);
	double a8 = mode_error(t, VGPU_MODE_A8, x, 8, 2048);

	print_message("%s, %s activations: NMSE of A16 %.2e, of A8 %.2e\n", vgpu_isa_name(t->isa),
		      distribution_names[d], a16, a8);
	assert_true(a16 <= 4e-6);
	assert_true(a8 <= (d == GAUSSIAN ? 5e-5 : 2e-4));
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
		x[i] = (float)round_bf16(x[i]);
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
			round_a8(xr + (size_t)i * k + c, x + (size_t)i * k + c, n);
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

/* --- scales and activations at the ends of their range --- */

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
	round_activations(&p, t->isa, mode);
	run(t, &p.w, mode, p.x, m, p.y, n);
	assert_true(compare(&p, 0x1p-18) <= 1e-12);
	product_free(&p);
}

static void product_is_right_at_the_ends_of_the_scale(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	for (int mode = 0; mode < 3; mode++) {
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
	for (int mode = 0; mode < 3; mode++) {
		for (uint32_t rows = 1; rows <= m; rows += m - 1) {
			run(t, &p.w, mode, p.x, rows, p.y, n);
			for (uint32_t i = 0; i < rows * n; i++)
				assert_int_equal(!!isnan(p.y[i]), i % n == bad);
		}
	}
	product_free(&p);
}

/* Of three rows the second has one value that is none. */
static void check_not_a_number(const struct vgpu_kernels *t, const struct format *f, float x)
{
	const uint32_t m = 3, n = 20, k = cols_of(f, 96);
	uint64_t rng = 10;
	struct product p;

	product_init(&p, f->format, m, n, k, &rng);
	p.x[1 * k + 40] = x;
	for (int mode = 0; mode < 3; mode++) {
		if ((int)vgpu_matmul_mode(f->format, mode) != mode)
			continue;
		run(t, &p.w, mode, p.x, m, p.y, n);
		for (uint32_t i = 0; i < m * n; i++)
			if ((isnan(x) ? !!isnan(p.y[i]) : !isfinite(p.y[i])) != (i / n == 1))
				fail_msg("%s %s: %g at %u", f->name, mode_names[mode], p.y[i], i);
	}
	product_free(&p);
}

static void product_of_nan_or_infinite_activations_is_not_a_number(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	for (size_t f = 0; f < FORMATS; f++) {
		check_not_a_number(t, &formats[f], NAN);
		check_not_a_number(t, &formats[f], -INFINITY);
	}
}

/* Blocks whose F16 are subnormal, by activations with which the product is an ordinary f32. */
static void check_subnormal(const struct vgpu_kernels *t, const struct vgpu_g16_type *type, int mode)
{
	const uint32_t m = 5, n = 20, k = 512;
	uint8_t *src = check_alloc(vgpu_weight_unit_bytes(type->source, k) * n);
	uint64_t rng = 16;
	struct product p;

	product_init(&p, type->format, m, n, k, &rng);
	random_blocks(type->source, src, NULL, n, k, false, &rng);
	subnormal_blocks(type->source, src, (size_t)n * k);
	for (uint32_t r = 0; r < n; r += 16)
		assert_int_equal(t->pack_blocks(p.data + r / 16 * vgpu_weight_unit_bytes(type->format, k),
						type->format,
						src + r * vgpu_weight_unit_bytes(type->source, k),
						n - r < 16 ? n - r : 16, k), 0);
	for (uint32_t i = 0; i < m * k; i++)
		p.x[i] *= 0x1p15f;
	vgpu_kernels_get(VGPU_ISA_REF)->weight_decode(&p.w, p.wf, k);
	round_activations(&p, t->isa, mode);
	run(t, &p.w, mode, p.x, m, p.y, n);
	assert_true(compare(&p, 0x1p-18) <= 1e-12);
	free(src);
	product_free(&p);
}

static void product_is_right_where_f16_scales_are_subnormal(void **state)
{
	const struct vgpu_kernels *t = check_table(state);

	for (size_t f = 0; f < FORMATS; f++) {
		const struct vgpu_g16_type *type = vgpu_g16_type(formats[f].format);

		for (int mode = 0; mode < 3 && type && type->source; mode++)
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

	for (size_t f = 0; f < FORMATS; f++) {
		product_init(&p, formats[f].format, 9, n, cols_of(&formats[f], 96), &rng);
		same = check_alloc(9 * n * sizeof(*same));
		for (int mode = 0; mode < 3; mode++) {
			run(t, &p.w, mode, p.x, 0, p.y, n);
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

	for (size_t f = 0; f < FORMATS; f++) {
		size_t bytes = vgpu_weight_unit_bytes(formats[f].format, k);

		product_init(&p, formats[f].format, m, n, k, &rng);
		/* Zeros of every format; the first rows, or the group that holds them. */
		memset(p.data, 0, bytes);
		if (p.scales)
			memset(p.scales, 0, k / 32);
		memset(p.x + k, 0, k * sizeof(*p.x));
		for (int mode = 0; mode < 3; mode++) {
			if ((int)vgpu_matmul_mode(formats[f].format, mode) != mode)
				continue;
			run(t, &p.w, mode, p.x, m, p.y, n);
			for (uint32_t i = 0; i < m * n; i++)
				assert_int_equal(p.y[i] == 0, i / n == 1 ||
						 i % n < vgpu_weight_unit_rows(formats[f].format));
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
	round_activations(&p, t->isa, VGPU_MODE_A8);
	for (uint32_t i = 0; i < 32; i++)
		assert_true(p.xr[i] == 0 && p.xr[i + 32] != 0);
	run(t, &p.w, VGPU_MODE_A8, p.x, 1, p.y, n);
	assert_true(compare(&p, 0x1p-18) <= 1e-12);
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
	round_activations(p, isa, VGPU_MODE_A16);
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
		run(t, &p.w, VGPU_MODE_A16, p.x, p.m, p.y, p.w.rows);
		assert_true(compare(&p, 0x1p-18) <= 1e-12);
		product_free(&p);
	}
	init_end(&p, t->isa, 0x1p-127f, 100);
	run(t, &p.w, VGPU_MODE_A16, p.x, p.m, p.y, p.w.rows);
	if (p.y[0] == 0)
		memset(p.xr, 0, (size_t)p.m * p.w.k * sizeof(*p.xr));
	compare(&p, 0x1p-18);
	product_free(&p);

	init_end(&p, t->isa, 0x1.ffp127f, -100);
	run(t, &p.w, VGPU_MODE_A16, p.x, p.m, p.y, p.w.rows);
	for (uint32_t i = 0; i < p.m * p.w.rows; i++)
		assert_false(isfinite(p.y[i]));
	product_free(&p);
}

#define PRODUCT_LEVELS(test)	CHECK_LEVELS(test), CHECK_LEVEL(test, AMX)

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
		PRODUCT_LEVELS(product_of_extreme_bytes_does_not_saturate),
		PRODUCT_LEVELS(product_by_float_weights_takes_one_mode),
		PRODUCT_LEVELS(product_is_bitwise_the_same_however_cut),
		CHECK_LEVEL(product_of_many_rows_is_bitwise_that_of_few, AVX2),
		CHECK_LEVEL(product_of_many_rows_is_bitwise_that_of_few, AVX512),
		CHECK_LEVEL(product_of_many_rows_is_bitwise_that_of_few, AMX),
		PRODUCT_LEVELS(product_is_bitwise_the_same_for_any_m),
		PRODUCT_LEVELS(product_of_long_rows_is_bitwise_the_same_for_any_m),
		PRODUCT_LEVELS(product_is_bitwise_the_same_at_any_alignment),
		PRODUCT_LEVELS(product_error_on_gaussian_activations),
		PRODUCT_LEVELS(product_error_on_student_t5_activations),
		PRODUCT_LEVELS(product_error_on_swiglu_products),
		PRODUCT_LEVELS(product_error_on_4_channels_x100),
		PRODUCT_LEVELS(product_error_on_recorded_minilm_activations),
		PRODUCT_LEVELS(product_error_where_one_value_is_most_of_a_row),
		PRODUCT_LEVELS(product_of_bf16_activations_is_exact_in_a16),
		cmocka_unit_test(coarser_groups_of_activations_cost_accuracy),
		PRODUCT_LEVELS(product_is_right_at_the_ends_of_the_scale),
		PRODUCT_LEVELS(product_has_nan_where_a_scale_is_nan_and_nowhere_else),
		PRODUCT_LEVELS(product_is_right_where_f16_scales_are_subnormal),
		PRODUCT_LEVELS(product_of_nan_or_infinite_activations_is_not_a_number),
		PRODUCT_LEVELS(product_of_zeros_is_zero),
		PRODUCT_LEVELS(product_of_no_rows_writes_nothing),
		PRODUCT_LEVELS(product_of_tiny_activations_is_zero_or_right),
		PRODUCT_LEVELS(product_at_the_ends_of_bf16_is_right_or_zero_or_infinite),
	};

	return cmocka_run_group_tests_name("matmul", tests, NULL, NULL);
}
