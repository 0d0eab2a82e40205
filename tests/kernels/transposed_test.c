// SPDX-License-Identifier: MIT
/* Products by a weight from the left: Y = X W of the bytes that Y = X W^T is of. */
#include "common/product.h"

/**
 * struct left - one such product
 * @p: the weight, as bytes and decoded
 * @x: [m][n], row stride @ldx
 * @y, @want: [m][k], row stride @ldy
 */
struct left {
	struct product p;
	float *x, *y, *want;
	size_t ldx, ldy;
	uint32_t m, n, k;
};

#define BESIDE	0x1.5p33f	/* what is where nothing is written */

static void fill(float *p, size_t n, float value)
{
	for (size_t i = 0; i < n; i++)
		p[i] = value;
}

static void left_init(struct left *l, const struct weights_format *f, uint32_t m, uint32_t n,
		      uint32_t k, uint32_t gap, uint64_t *rng)
{
	*l = (struct left){ .m = m, .n = n, .k = weights_cols(f, k) };
	l->ldx = n + gap;
	l->ldy = l->k + gap;
	product_init(&l->p, f->format, 1, n, l->k, rng);
	l->x = check_alloc((m * l->ldx + 1) * sizeof(float));
	l->y = check_alloc((m * l->ldy + 1) * sizeof(float));
	l->want = check_alloc((m * l->ldy + 1) * sizeof(float));
	fill(l->x, m * l->ldx, NAN);
	fill(l->y, m * l->ldy, BESIDE);
	fill(l->want, m * l->ldy, BESIDE);
	for (uint32_t i = 0; i < m; i++)
		for (uint32_t r = 0; r < n; r++)
			l->x[i * l->ldx + r] = (float)rng_gauss(rng);
}

static void left_free(struct left *l)
{
	product_free(&l->p);
	free(l->x);
	free(l->y);
	free(l->want);
}

/* The plain loop that kernels.h has. */
static void left_expect(struct left *l)
{
	for (uint32_t i = 0; i < l->m; i++)
		for (uint32_t c = 0; c < l->k; c++) {
			float sum = 0;

			for (uint32_t r = 0; r < l->n; r++)
				sum = fmaf(l->x[i * l->ldx + r], l->p.wf[(size_t)r * l->k + c], sum);
			l->want[i * l->ldy + c] = sum;
		}
}

/* Rows [row, row + rows) of the weight, which begin a unit, and some columns. */
static void left_part(const struct left *l, const struct vgpu_kernels *t, uint32_t row, uint32_t rows,
		      struct vgpu_transposed part)
{
	void *scratch = check_alloc(vgpu_matmul_scratch_bytes(l->p.w.format, l->k));
	uint32_t unit = vgpu_weight_unit_rows(l->p.w.format);
	struct vgpu_panel w = l->p.w;

	w.rows = rows;
	w.data = l->p.data + row / unit * vgpu_weight_unit_bytes(w.format, l->k);
	w.scales = l->p.scales ? l->p.scales + (size_t)row * (l->k / 32) : NULL;
	t->matmul_transposed(&w, &part, scratch);
	free(scratch);
}

static struct vgpu_transposed left_all(const struct left *l)
{
	return (struct vgpu_transposed){ .x = l->x, .y = l->y, .ldx = l->ldx, .ldy = l->ldy,
					 .m = l->m, .end = l->k };
}

static void left_run(const struct left *l, const struct vgpu_kernels *t)
{
	left_part(l, t, 0, l->n, left_all(l));
}

static void check_same(const struct left *l, const char *what, const char *name)
{
	if (!product_is_same(l->y, l->want, l->m * l->ldy))
		fail_msg("%s: %s", name, what);
}

/* Few rows, odd ones, more than a slab has; columns of one part and of more. */
static const uint32_t shapes[][4] = { /* m, n, k, gap */
	{ 1, 1, 1, 0 }, { 5, 16, 32, 3 }, { 6, 35, 77, 0 }, { 13, 147, 600, 5 }, { 7, 290, 1100, 1 },
};

static void transposed_is_the_plain_loop_bit_by_bit(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 5;
	struct left l;

	weights_for_each(f)
		for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++) {
			left_init(&l, f, shapes[s][0], shapes[s][1], shapes[s][2], shapes[s][3], &rng);
			left_expect(&l);
			left_run(&l, t);
			check_same(&l, "other bits than the plain loop", f->name);
			left_free(&l);
		}
}

/* Panels of a unit or more, in order; parts of columns and of rows, in any. */
static void run_in_parts(const struct left *l, const struct vgpu_kernels *t, uint32_t rows,
			 uint32_t few)
{
	for (uint32_t row = 0; row < l->n; row += rows)
		for (uint32_t i = 0; i < l->m; i += few)
			for (uint32_t end = l->k; end;) {
				struct vgpu_transposed part = left_all(l);

				part.first = (end - 1) / VGPU_TRANSPOSED_COLS * VGPU_TRANSPOSED_COLS;
				part.end = end;
				part.add = row > 0;
				part.m = l->m - i < few ? l->m - i : few;
				part.x += i * l->ldx + row;
				part.y += i * l->ldy;
				left_part(l, t, row, l->n - row < rows ? l->n - row : rows, part);
				end = part.first;
			}
}

static void transposed_is_bitwise_the_same_however_cut(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 6;
	struct left l;

	weights_for_each(f) {
		uint32_t unit = vgpu_weight_unit_rows(f->format);

		left_init(&l, f, 17, 301, 1216, 4, &rng);
		left_run(&l, t);
		memcpy(l.want, l.y, l.m * l.ldy * sizeof(*l.y));
		fill(l.y, l.m * l.ldy, BESIDE);
		run_in_parts(&l, t, unit == 1 ? 7 : 48, 5);
		check_same(&l, "other bits when cut", f->name);
		left_free(&l);
	}
}

/* Of some columns only these are written. */
static void transposed_leaves_other_columns_alone(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 7;
	struct left l;

	weights_for_each(f) {
		struct vgpu_transposed part;

		left_init(&l, f, 3, 20, 1600, 2, &rng);
		left_expect(&l);
		for (uint32_t i = 0; i < l.m; i++) {
			fill(l.want + i * l.ldy, 512, BESIDE);
			fill(l.want + i * l.ldy + 1024, l.k - 1024, BESIDE);
		}
		part = left_all(&l);
		part.first = 512;
		part.end = 1024;
		left_part(&l, t, 0, l.n, part);
		check_same(&l, "columns beside are written", f->name);
		left_free(&l);
	}
}

static void transposed_of_no_rows_writes_nothing(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 8;
	struct left l;

	weights_for_each(f) {
		struct vgpu_transposed part;

		left_init(&l, f, 2, 33, 64, 0, &rng);
		part = left_all(&l);
		part.m = 0;
		left_part(&l, t, 0, l.n, part);
		check_same(&l, "something is written", f->name);
		left_free(&l);
	}
}

/* Rows of activations do not meet; of a weight every row meets every result of its columns. */
static void transposed_spoils_the_rows_that_are_no_numbers_alone(void **state)
{
	static const float bad[] = { NAN, INFINITY, -INFINITY };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 9;
	struct left l;

	weights_for_each(f) {
		left_init(&l, f, 9, 50, 96, 1, &rng);
		for (uint32_t i = 0; i < 3; i++)
			l.x[(3 * i + 1) * l.ldx + 16 * i] = bad[i];
		memset(l.x + 2 * l.ldx, 0, l.n * sizeof(*l.x));
		left_expect(&l);
		left_run(&l, t);
		check_same(&l, "no numbers go other ways than in the plain loop", f->name);
		for (uint32_t c = 0; c < l.k; c++)
			if (!isfinite(l.y[c]) || isfinite(l.y[l.ldy + c]) || l.y[2 * l.ldy + c] != 0)
				fail_msg("%s: column %u", f->name, c);
		left_free(&l);
	}
}

static void transposed_of_nan_or_infinite_weights_is_the_plain_loop(void **state)
{
	static const float bad[] = { NAN, INFINITY, -INFINITY, -0.0f };
	static const struct weights_format f32 = { VGPU_W_F32, "f32", 1 };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 10;
	struct left l;

	left_init(&l, &f32, 7, 40, 70, 0, &rng);
	for (uint32_t i = 0; i < 4; i++) {
		memcpy(l.p.data + (7 * i * l.k + 3 * i) * 4, &bad[i], 4);
		l.p.wf[7 * i * l.k + 3 * i] = bad[i];
	}
	memset(l.x + 2 * l.ldx, 0, l.n * sizeof(*l.x));
	left_expect(&l);
	left_run(&l, t);
	check_same(&l, "other than the plain loop", "f32");
	assert_true(isnan(l.y[0]) && isnan(l.y[2 * l.ldy + 3]));
	left_free(&l);
}

/*
 * Against float64: each element within the bound of kernels.h, and the mean of squares of what
 * n roundings of 2^-24 leave, which grows with n and not with its square.
 */
static void check_error(const struct left *l, const char *name, double *worst_nmse)
{
	double u = 0x1p-24, bound = l->n * u / (1 - l->n * u), error = 0, power = 0;

	for (uint32_t i = 0; i < l->m; i++)
		for (uint32_t c = 0; c < l->k; c++) {
			double sum = 0, size = 0, d;

			for (uint32_t r = 0; r < l->n; r++) {
				d = (double)l->x[i * l->ldx + r] * l->p.wf[(size_t)r * l->k + c];
				sum += d;
				size += fabs(d);
			}
			d = l->y[i * l->ldy + c] - sum;
			if (!(fabs(d) <= bound * size))
				fail_msg("%s: row %u, column %u: %g instead of %g, bound %g", name, i, c,
					 sum + d, sum, bound * size);
			error += d * d;
			power += sum * sum;
		}
	*worst_nmse = fmax(*worst_nmse, error / power);
}

static void transposed_error_is_within_the_bound_of_float64(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	double nmse = 0;
	uint64_t rng = 11;
	struct left l;

	weights_for_each(f) {
		left_init(&l, f, 4, 2048, 64, 0, &rng);
		left_run(&l, t);
		check_error(&l, f->name, &nmse);
		left_free(&l);
	}
	print_message("%s, 2048 rows: NMSE at most %.2e\n", vgpu_isa_name(t->isa), nmse);
	assert_true(nmse <= 2048 * 0x1p-48);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PRODUCT_LEVELS(transposed_is_the_plain_loop_bit_by_bit),
		PRODUCT_LEVELS(transposed_is_bitwise_the_same_however_cut),
		PRODUCT_LEVELS(transposed_leaves_other_columns_alone),
		PRODUCT_LEVELS(transposed_of_no_rows_writes_nothing),
		PRODUCT_LEVELS(transposed_spoils_the_rows_that_are_no_numbers_alone),
		PRODUCT_LEVELS(transposed_of_nan_or_infinite_weights_is_the_plain_loop),
		PRODUCT_LEVELS(transposed_error_is_within_the_bound_of_float64),
	};

	return cmocka_run_group_tests_name("transposed", tests, NULL, NULL);
}
