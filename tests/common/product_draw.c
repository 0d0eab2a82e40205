// SPDX-License-Identifier: MIT
#include "common/product_draw.h"

#include "common/guarded.h"
#include "common/weights_draw.h"
#include "kernels/avx2/matmul.h"
#include "kernels/check.h"

/* Under valgrind what was not written is known to be; else this is nothing. */
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define VALGRIND_MAKE_MEM_UNDEFINED(p, bytes)	((void)(p), (void)(bytes))
#define RUNNING_ON_VALGRIND			0
#endif

#define MACS_MAX	(1u << 22)	/* of a product */
#define VALUES_MAX	(1u << 20)	/* of an operand */
/*
 * Room for strides beyond 2^32 bytes and 2^32 elements; valgrind keeps books of all of it, and
 * has no far ones.
 */
#define FAR_BYTES	(RUNNING_ON_VALGRIND ? 16ull << 20 : 24ull << 30)
#define CANARY		0xc5u
#define BESIDE		64u		/* floats around a row that are looked at where strides are far */

/* Where no term may leave f32, nor what a level makes of it on the way. */
#define SIZE_MAX_F32	0x1p120
#define A8_MAX		0x1p110		/* Documentation/kernels.md, limits */
#define A16_MAX		0x1p110

/* The levels that this CPU has, and AVX2 on one without VNNI. */
static struct vgpu_kernels levels[VGPU_ISA_COUNT + 1];
static const char *level_names[VGPU_ISA_COUNT + 1];
static uint32_t level_count;

/* How activations are drawn. */
enum kind { GAUSS, BF16, TAILS, GROUPS, SAME, SUBNORMAL, KINDS };
static const char *const kind_names[] = { "gauss", "bf16", "tails", "groups", "same", "subnormal" };

/**
 * struct drawn - one product
 * @exponent: of the activations, about
 * @w_exponent: of weights that are drawn as floats
 * @zeros: some groups and rows of activations are zeros
 * @not_numbers: some activations are NaN or infinite
 * @far: rows of x and y are further apart than 2^32 bytes
 * @ends: bit by bit, whose memory ends at a page without access rather than begins there
 */
struct drawn {
	uint64_t rng;
	const struct vgpu_kernels *t;
	const char *level;
	const struct weights_format *f;
	enum vgpu_mode mode;
	uint32_t m, n, k;
	size_t ldx, ldy;
	enum kind kind;
	enum weights_scales scales;
	int exponent, w_exponent;
	bool zeros, not_numbers, far;
	uint32_t ends;
};

static const char *const scale_names[] = { "ordinary", "zero", "any-bits" };

enum end { END_X, END_Y, END_W, END_SCALES, END_ACTS, END_SCRATCH, END_DECODED };

static struct guarded room_x, room_y, room_w, room_scales, room_acts, room_scratch, room_decoded;
static float *dense_x, *size_x, *w_values, *w_sizes, *want, *sizes, *again;
static double *w_sums, *x_sums;
static uint8_t *no_codes, *blocks;
static bool *w_is_finite, *w_is_usable, *x_is_finite, *x_is_usable;
static char said[400], problem[800];

static bool ends_at_guard(const struct drawn *d, enum end which)
{
	return d->ends >> which & 1;
}

/* ------------------------------------------------------------------------
 * Once a process
 */

static void add_level(const char *name, const struct vgpu_kernels *t)
{
	levels[level_count] = *t;
	level_names[level_count++] = name;
}

static void find_levels(void)
{
	const struct vgpu_kernels *avx2 = vgpu_kernels_get(VGPU_ISA_AVX2);

	for (int isa = 0; isa < VGPU_ISA_COUNT; isa++)
		if (vgpu_kernels_get(isa))
			add_level(vgpu_isa_name(isa), vgpu_kernels_get(isa));
	if (!avx2 || avx2->matmul == vgpu_matmul_maddubs_avx2)
		return;
	add_level("avx2-maddubs", avx2);
	levels[level_count - 1].matmul = vgpu_matmul_maddubs_avx2;
}

static void *must_have(size_t bytes)
{
	void *p = malloc(bytes);

	if (!p)
		abort();
	return p;
}

static void must_open(struct guarded *g, size_t bytes)
{
	if (guarded_open(g, bytes))
		abort();
}

static void open_once(void)
{
	if (level_count)
		return;
	find_levels();
	must_open(&room_x, FAR_BYTES);
	must_open(&room_y, FAR_BYTES);
	must_open(&room_w, 8u << 20);
	must_open(&room_scales, 1u << 20);
	must_open(&room_acts, 16u << 20);
	must_open(&room_scratch, 8u << 20);
	must_open(&room_decoded, 16u << 20);
	dense_x = must_have(VALUES_MAX * 4);
	size_x = must_have(VALUES_MAX * 4);
	w_values = must_have(VALUES_MAX * 4);
	w_sizes = must_have(VALUES_MAX * 4);
	want = must_have(VALUES_MAX * 4);
	sizes = must_have(VALUES_MAX * 4);
	again = must_have(VALUES_MAX * 4);
	w_sums = must_have(VALUES_MAX * sizeof(*w_sums));
	x_sums = must_have(VALUES_MAX * sizeof(*x_sums));
	no_codes = must_have(VALUES_MAX * 4);
	blocks = must_have(VALUES_MAX * 4);
	w_is_finite = must_have(VALUES_MAX);
	w_is_usable = must_have(VALUES_MAX);
	x_is_usable = must_have(VALUES_MAX);
	x_is_finite = must_have(VALUES_MAX);
}

/* ------------------------------------------------------------------------
 * What is drawn: the shape
 */

/* 1 .. most, small ones more often. */
static uint32_t few(struct drawn *d, uint32_t most)
{
	return 1 + rng_below(&d->rng, draw_one_in(&d->rng, 2) && most > 8 ? 8 : most);
}

/* Columns: up to @most, or the least that the format can have. */
static uint32_t draw_k(struct drawn *d, uint32_t most)
{
	uint32_t steps = most / d->f->step;

	return d->f->step * (1 + rng_below(&d->rng, steps ? steps : 1));
}

static void draw_shape(struct drawn *d)
{
	switch (rng_below(&d->rng, 8)) {
	case 0:		/* the least there are */
		d->m = rng_below(&d->rng, 3);
		d->n = few(d, 3);
		d->k = draw_k(d, 40);
		break;
	case 1:		/* longer than a slab */
		d->m = few(d, 9);
		d->n = few(d, 20);
		d->k = draw_k(d, 6000);
		break;
	case 2:		/* more rows than a part of amx's scratch */
		d->m = few(d, 20);
		d->n = few(d, 1100);
		d->k = draw_k(d, 200);
		break;
	case 3:
		d->m = few(d, 600);
		d->n = few(d, 40);
		d->k = draw_k(d, 200);
		break;
	default:
		d->m = few(d, 40);
		d->n = few(d, 70);
		d->k = draw_k(d, 700);
		break;
	}
}

/* Elements between rows; far ones for as many rows as there is room. */
static size_t draw_stride(struct drawn *d, uint32_t row)
{
	size_t most = d->m > 1 ? FAR_BYTES / 4 / (d->m - 1) - row : row;

	if (d->far)
		return most - rng_below(&d->rng, 1000);
	return row + (draw_one_in(&d->rng, 2) ? 0 : rng_below(&d->rng, 70));
}

static void draw_strides(struct drawn *d)
{
	d->far = d->m > 1 && d->m <= 6 && draw_one_in(&d->rng, 8) && !RUNNING_ON_VALGRIND;
	d->ldx = draw_stride(d, d->k);
	d->ldy = draw_stride(d, d->n);
}

static int draw_exponent(struct drawn *d)
{
	switch (rng_below(&d->rng, 6)) {
	case 0: return (int)rng_below(&d->rng, 80) - 40;
	case 1: return (int)rng_below(&d->rng, 265) - 140;
	default: return 0;
	}
}

static void draw(struct drawn *d, uint64_t number)
{
	uint32_t level;

	*d = (struct drawn){ .rng = draw_seed(number) };
	level = rng_below(&d->rng, level_count);
	d->t = &levels[level];
	d->level = level_names[level];
	d->f = &weights_formats[rng_below(&d->rng, weights_format_count)];
	d->mode = vgpu_matmul_mode(d->f->format, rng_below(&d->rng, VGPU_MODES));
	draw_shape(d);
	if ((uint64_t)d->m * d->n * d->k > MACS_MAX || (uint64_t)d->n * d->k > VALUES_MAX)
		d->m = d->n = 1;
	draw_strides(d);
	d->kind = rng_below(&d->rng, KINDS);
	d->scales = draw_one_in(&d->rng, 2) ? SCALES_ORDINARY :
					   rng_below(&d->rng, SCALES_COUNT);
	d->exponent = draw_exponent(d);
	d->w_exponent = draw_exponent(d);
	d->zeros = draw_one_in(&d->rng, 4);
	d->not_numbers = draw_one_in(&d->rng, 8);
	d->ends = (uint32_t)rng_next(&d->rng);
	snprintf(said, sizeof(said),
		 "%s %s at %s: m %u, n %u, k %u, strides %zu and %zu, %s activations of 2^%d%s%s, "
		 "%s scales, weights of 2^%d, ends %x", d->f->name, check_mode_name(d->mode), d->level,
		 d->m, d->n, d->k, d->ldx, d->ldy, kind_names[d->kind], d->exponent,
		 d->zeros ? ", some 0" : "", d->not_numbers ? ", some no numbers" : "",
		 scale_names[d->scales], d->w_exponent, d->ends & 127);
}

/* ------------------------------------------------------------------------
 * What is drawn: activations
 */

static float bf16(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, 4);
	bits &= 0xffff0000u;
	memcpy(&x, &bits, 4);
	return x;
}

static float draw_activation(struct drawn *d, int group)
{
	double unit = ldexp(1, d->exponent + group);
	uint32_t bits = (uint32_t)rng_next(&d->rng) & 0x807fffffu;
	float x;

	switch (d->kind) {
	case BF16: return bf16(draw_finite(rng_gauss(&d->rng) * unit));
	case TAILS: return draw_finite(rng_gauss(&d->rng) / rng_unit(&d->rng) * unit);
	case SAME: return draw_finite(rng_below(&d->rng, 2) ? unit : -unit);
	case SUBNORMAL:
		memcpy(&x, &bits, 4);
		return x;
	default: return draw_finite(rng_gauss(&d->rng) * unit);
	}
}

static void draw_group(struct drawn *d, float *x, uint32_t n)
{
	int group = d->kind == GROUPS ? (int)rng_below(&d->rng, 40) - 20 : 0;
	bool zero = d->zeros && draw_one_in(&d->rng, 4);

	for (uint32_t i = 0; i < n; i++)
		x[i] = zero ? rng_below(&d->rng, 2) ? 0.0f : -0.0f : draw_activation(d, group);
}

static void draw_row(struct drawn *d, float *x)
{
	static const float bad[] = { NAN, -NAN, INFINITY, -INFINITY };

	for (uint32_t c = 0; c < d->k; c += 32)
		draw_group(d, x + c, d->k - c < 32 ? d->k - c : 32);
	if (d->zeros && draw_one_in(&d->rng, 8))
		memset(x, 0, d->k * sizeof(*x));
	if (d->not_numbers && draw_one_in(&d->rng, 3))
		x[rng_below(&d->rng, d->k)] = bad[rng_below(&d->rng, 4)];
}

/* Sizes of x times the f32 reciprocal of its scale. */
static void round_a8(float *out, const float *x, uint32_t n)
{
	float scale = check_a8_scale(x, n);

	if (!scale) {
		memset(out, 0, n * sizeof(*out));
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		out[i] = fabsf(rintf(x[i] * (1.0f / scale))) * scale;
}

/* What a row may be held against: sizes of what is multiplied, and where limits are. */
static void weigh_row(const struct drawn *d, uint32_t row)
{
	const float *x = dense_x + (size_t)row * d->k;
	float *size = size_x + (size_t)row * d->k;
	double max = 0, limit = INFINITY;
	uint32_t group = vgpu_a8_group(d->mode);

	if (vgpu_mode_is_a8(d->mode))
		limit = A8_MAX;
	else if (d->mode == VGPU_MODE_A16 && d->f->format != VGPU_W_BF16)
		limit = A16_MAX;

	x_is_finite[row] = true;
	x_sums[row] = 0;
	for (uint32_t c = 0; c < d->k; c++) {
		size[c] = fabsf(x[c]);
		max = fmax(max, size[c]);
		x_sums[row] += size[c];
		x_is_finite[row] &= isfinite(x[c]) != 0;
	}
	for (uint32_t c = 0; c < d->k && vgpu_mode_is_a8(d->mode); c += group)
		round_a8(size + c, x + c, d->k - c < group ? d->k - c : group);
	x_is_usable[row] = max <= limit;
}

static void draw_activations(struct drawn *d)
{
	for (uint32_t i = 0; i < d->m; i++) {
		draw_row(d, dense_x + (size_t)i * d->k);
		weigh_row(d, i);
	}
}

/* ------------------------------------------------------------------------
 * Weights
 */

/* Codes by the largest E8M0 are no f32, but not infinite where they are not expanded. */
static bool is_mxfp4(enum vgpu_wformat format)
{
	return format == VGPU_W_MXFP4 || format == VGPU_W_MXFP4_SPLIT || format == VGPU_W_MXFP4_G16;
}

/* Sizes, sums of them, and what may be expected. */
static void weigh_weight(const struct drawn *d, uint32_t row)
{
	bool e8m0 = is_mxfp4(d->f->format);

	w_is_finite[row] = w_is_usable[row] = true;
	w_sums[row] = 0;
	for (size_t i = (size_t)row * d->k; i < (size_t)(row + 1) * d->k; i++) {
		w_sizes[i] += fabsf(w_values[i]);
		w_sums[row] += w_sizes[i];
		if (isinf(w_values[i]) && e8m0)
			w_is_usable[row] = false;
		else if (!isfinite(w_values[i]))
			w_is_finite[row] = false;
	}
}

/*
 * What the reference makes of the rows.  The size of a weight with a minimum is |w| + |minimum|:
 * codes and minima are multiplied apart.
 */
static void weigh_weights(const struct drawn *d, const struct vgpu_panel *w,
			  enum vgpu_wformat minima_of)
{
	const struct vgpu_kernels *ref = vgpu_kernels_get(VGPU_ISA_REF);
	struct vgpu_panel minima = { minima_of, d->n, d->k, no_codes, NULL };

	ref->weight_decode(w, w_values, d->k);
	memset(w_sizes, 0, (size_t)d->n * d->k * sizeof(*w_sizes));
	if (minima_of)
		ref->weight_decode(&minima, w_sizes, d->k);
	for (size_t i = 0; i < (size_t)d->n * d->k; i++)
		w_sizes[i] = fabsf(w_sizes[i]);
	for (uint32_t row = 0; row < d->n; row++)
		weigh_weight(d, row);
}

static int draw_weights(struct drawn *d, struct vgpu_panel *w)
{
	uint32_t unit_rows = vgpu_weight_unit_rows(d->f->format), units = (d->n + unit_rows - 1) / unit_rows;
	size_t bytes = vgpu_weight_unit_bytes(d->f->format, d->k) * units;
	uint8_t *data = guarded_part(&room_w, bytes, ends_at_guard(d, END_W)), *split = NULL;
	struct weights_draw draw = {
		.format = d->f->format, .n = d->n, .k = d->k, .scales = d->scales,
		.exponent = d->w_exponent, .rng = &d->rng, .floats = again, .blocks = blocks,
		.no_codes = no_codes,
	};
	int rc;

	if (d->f->format == VGPU_W_MXFP4_SPLIT)
		split = guarded_part(&room_scales, d->n * (d->k / 32), ends_at_guard(d, END_SCALES));
	*w = (struct vgpu_panel){ d->f->format, d->n, d->k, data, split };
	rc = weights_draw(&draw, data, split);
	if (!rc)
		weigh_weights(d, w, draw.minima_of);
	return rc;
}

/* ------------------------------------------------------------------------
 * The product, and what it may be
 */

/* Some rows of activations by a panel, by one level, all in memory that ends where it ends. */
static void multiply(const struct drawn *d, const struct vgpu_kernels *t, const struct vgpu_panel *w,
		     enum vgpu_mode mode, const float *x, size_t ldx, uint32_t m, float *y, size_t ldy)
{
	size_t acts_bytes = vgpu_acts_bytes(mode, m, w->k);
	size_t scratch_bytes = vgpu_matmul_scratch_bytes(w->format, w->k);
	void *memory = guarded_part(&room_acts, acts_bytes, ends_at_guard(d, END_ACTS));
	void *scratch = guarded_part(&room_scratch, scratch_bytes, ends_at_guard(d, END_SCRATCH));
	struct vgpu_acts acts;

	/* What was there is no number. */
	memset(memory, 0xff, acts_bytes);
	if (d->ends & 1u << 16)
		memset(scratch, 0xff, scratch_bytes);
	VALGRIND_MAKE_MEM_UNDEFINED(memory, acts_bytes);
	VALGRIND_MAKE_MEM_UNDEFINED(scratch, scratch_bytes);
	vgpu_acts_init(&acts, mode, m, w->k, memory);
	/* Parts, in whatever order, are the whole. */
	for (uint32_t end = m, first; end; end = first) {
		first = (end - 1) / VGPU_ACTS_ROWS * VGPU_ACTS_ROWS;
		t->acts_pack(&acts, x, ldx, first, end);
	}
	t->matmul(w, &acts, y, ldy, scratch);
}

/* What the reference has, and the sums of |x w|. */
static void expect(const struct drawn *d, const struct vgpu_panel *w)
{
	const struct vgpu_kernels *ref = vgpu_kernels_get(VGPU_ISA_REF);
	struct vgpu_panel size = { VGPU_W_F32, d->n, d->k, w_sizes, NULL };

	multiply(d, ref, w, d->mode, dense_x, d->k, d->m, want, d->n);
	multiply(d, ref, &size, VGPU_MODE_F32, size_x, d->k, d->m, sizes, d->n);
}

/*
 * How far it may be off.  Beside the bound there is what f32 cannot hold: a result of k terms, an
 * A8 block's product of two scales, and in A16 what an instruction takes for zero.
 */
static double bound(const struct drawn *d, uint32_t i, uint32_t r)
{
	double size = sizes[(size_t)i * d->n + r];
	bool amx = d->t->isa == VGPU_ISA_AMX && d->mode == VGPU_MODE_A16;

	switch (d->mode) {
	case VGPU_MODE_A8:
	case VGPU_MODE_A8_256: return 0x1p-18 * size + d->k * 0x1p-132;
	case VGPU_MODE_A16:
		return (amx && d->kind != BF16 && d->kind != SAME ? 0x1p-7 : 0x1p-18) * size +
		       0x1p-124 * (w_sums[r] + d->k + (d->f->format == VGPU_W_BF16 ? x_sums[i] : 0));
	default: return 0x1p-18 * size + d->k * 0x1p-147;
	}
}

/* No limit is met, nor is what a level has on the way beyond f32. */
static bool is_in_range(const struct drawn *d, uint32_t i, uint32_t r)
{
	return x_is_usable[i] && w_is_usable[r] && sizes[(size_t)i * d->n + r] <= SIZE_MAX_F32;
}

static bool is_right(const struct drawn *d, uint32_t i, uint32_t r, float y)
{
	size_t at = (size_t)i * d->n + r;

	if (!x_is_finite[i] || !w_is_finite[r])
		return !isfinite(y);
	return !is_in_range(d, i, r) || fabs((double)y - want[at]) <= bound(d, i, r);
}

static const char *wrong(const struct drawn *d, const float *y, uint32_t i, uint32_t r,
			 const char *what)
{
	size_t at = (size_t)i * d->n + r;

	snprintf(problem, sizeof(problem),
		 "%s: row %u of x by %u of w is %a, the reference has %a, sum of |x w| %g, bound %g: %s",
		 said, i, r, y[i * d->ldy + r], want[at], sizes[at], bound(d, i, r), what);
	return problem;
}

static const char *check_values(const struct drawn *d, const float *y)
{
	for (uint32_t i = 0; i < d->m; i++)
		for (uint32_t r = 0; r < d->n; r++)
			if (!is_right(d, i, r, y[i * d->ldy + r]))
				return wrong(d, y, i, r, "is wrong");
	return NULL;
}

/* Of a NaN and an infinity nobody says which it is. */
static bool is_same(float a, float b)
{
	return (!isfinite(a) && !isfinite(b)) || !memcmp(&a, &b, sizeof(a));
}

/* Rows [i0, i0 + m) by rows [r0, r0 + n) once more, which lie in `again`, dense. */
static const char *check_same(const struct drawn *d, const float *y, uint32_t i0, uint32_t m,
			      uint32_t r0, uint32_t n, const char *what)
{
	for (uint32_t i = 0; i < m; i++)
		for (uint32_t r = 0; r < n; r++)
			if (!is_same(again[(size_t)i * n + r], y[(i0 + i) * d->ldy + r0 + r]))
				return wrong(d, y, i0 + i, r0 + r, what);
	return NULL;
}

/*
 * Tiles of AMX add up 16 rows in one way, and in another one where one of these has a scale at
 * an end of its range; which 16 these are is decided by the cut, of rows that lie apart.
 */
static bool cut_may_matter(const struct drawn *d)
{
	return d->t->isa == VGPU_ISA_AMX && d->mode == VGPU_MODE_A16 && d->scales == SCALES_ANY_BITS &&
	       (d->f->format == VGPU_W_MXFP4 || d->f->format == VGPU_W_MXFP4_SPLIT);
}

/* A part of it is the same bits. */
static const char *check_cut(struct drawn *d, const struct vgpu_panel *w, const float *x,
			     const float *y)
{
	uint32_t unit = vgpu_weight_unit_rows(w->format), units = (d->n + unit - 1) / unit;
	uint32_t first = rng_below(&d->rng, units), n = (1 + rng_below(&d->rng, units - first)) * unit;
	uint32_t i0 = d->m ? rng_below(&d->rng, d->m) : 0, m = d->m ? 1 + rng_below(&d->rng, d->m - i0) : 0;
	struct vgpu_panel part = *w;

	if (cut_may_matter(d)) {
		first = 0;
		n = d->n;
	}
	part.rows = n < d->n - first * unit ? n : d->n - first * unit;
	part.data = (const uint8_t *)w->data + first * vgpu_weight_unit_bytes(w->format, d->k);
	part.scales = w->scales ? w->scales + first * (d->k / 32) : NULL;
	multiply(d, d->t, &part, d->mode, x + i0 * d->ldx, d->ldx, m, again, part.rows);
	return check_same(d, y, i0, m, first * unit, part.rows, "other bits when cut");
}

/* In A8 the vector levels multiply and add alike; only avx512 has runs. */
static const char *check_avx2(const struct drawn *d, const struct vgpu_panel *w, const float *x,
			      const float *y)
{
	if (!vgpu_mode_is_a8(d->mode) || d->t->isa < VGPU_ISA_AVX2 ||
	    (d->mode == VGPU_MODE_A8_256 && is_mxfp4(d->f->format)))
		return NULL;
	multiply(d, vgpu_kernels_get(VGPU_ISA_AVX2), w, d->mode, x, d->ldx, d->m, again, d->n);
	for (uint32_t i = 0; i < d->m; i++)
		for (uint32_t r = 0; r < d->n; r++)
			if (is_in_range(d, i, r) &&
			    !is_same(again[(size_t)i * d->n + r], y[i * d->ldy + r]))
				return wrong(d, y, i, r, "other bits than avx2 in A8");
	return NULL;
}

/* ------------------------------------------------------------------------
 * Memory around the result
 */

/* Floats before and behind row i that are nobody's. */
static void beside(const struct drawn *d, const float *y, size_t rows, uint32_t i, const float **first,
		   const float **end, bool behind)
{
	const float *row = y + i * d->ldy, *low = (const float *)room_y.at;
	const float *high = (const float *)(room_y.at + room_y.bytes);
	size_t gap = d->far ? BESIDE : d->ldy - d->n;

	if (behind) {
		*first = row + d->n;
		*end = *first + (i + 1 < rows ? gap : BESIDE);
	} else {
		*end = row;
		*first = row - (i ? gap : BESIDE);
	}
	*first = *first < low ? low : *first;
	*end = *end > high ? high : *end;
}

static void set_beside(const struct drawn *d, float *y)
{
	const float *first, *end;

	for (uint32_t i = 0; i < d->m; i++)
		for (int behind = 0; behind < 2; behind++) {
			beside(d, y, d->m, i, &first, &end, behind);
			if (first < end)
				memset((void *)(uintptr_t)first, CANARY, (size_t)(end - first) * 4);
		}
}

static const char *check_beside(const struct drawn *d, const float *y)
{
	const float *first, *end;

	for (uint32_t i = 0; i < d->m; i++)
		for (int behind = 0; behind < 2; behind++) {
			beside(d, y, d->m, i, &first, &end, behind);
			for (const uint8_t *p = (const uint8_t *)first; p < (const uint8_t *)end; p++)
				if (*p != CANARY)
					return wrong(d, y, i, 0, "bytes beside the row are written");
		}
	return NULL;
}

/* Every level decodes the same values, and writes no others. */
static const char *check_decode(struct drawn *d, const struct vgpu_panel *w)
{
	size_t ld = d->k + rng_below(&d->rng, 9);
	size_t n = (size_t)(d->n - 1) * ld + d->k;
	float *out = guarded_part(&room_decoded, n * 4, ends_at_guard(d, END_DECODED));
	float canary;

	memset(out, CANARY, n * 4);
	memset(&canary, CANARY, 4);
	for (uint32_t r = 0; r < d->n; r++)
		VALGRIND_MAKE_MEM_UNDEFINED(out + r * ld, d->k * sizeof(*out));
	d->t->weight_decode(w, out, ld);
	for (size_t i = 0; i < n; i++) {
		float value = i % ld < d->k ? w_values[i / ld * d->k + i % ld] : canary;

		if (is_same(out[i], value))
			continue;
		snprintf(problem, sizeof(problem), "%s: decoded column %zu of row %zu is %a, not %a",
			 said, i % ld, i / ld, out[i], value);
		return problem;
	}
	return NULL;
}

/* ------------------------------------------------------------------------
 */

static size_t extent(size_t ld, uint32_t rows, uint32_t row)
{
	return rows ? (rows - 1) * ld + row : 0;
}

static const char *check(struct drawn *d, const struct vgpu_panel *w)
{
	float *x = guarded_part(&room_x, extent(d->ldx, d->m, d->k) * 4, ends_at_guard(d, END_X));
	float *y = guarded_part(&room_y, extent(d->ldy, d->m, d->n) * 4, ends_at_guard(d, END_Y));
	const char *e;

	for (uint32_t i = 0; i < d->m; i++) {
		memcpy(x + i * d->ldx, dense_x + (size_t)i * d->k, d->k * sizeof(*x));
		if (!d->far && i + 1 < d->m)	/* what lies between rows is no number */
			memset(x + i * d->ldx + d->k, 0xff, (d->ldx - d->k) * sizeof(*x));
		memset(y + i * d->ldy, 0xff, d->n * sizeof(*y));
		VALGRIND_MAKE_MEM_UNDEFINED(y + i * d->ldy, d->n * sizeof(*y));
	}
	set_beside(d, y);
	multiply(d, d->t, w, d->mode, x, d->ldx, d->m, y, d->ldy);
	e = check_beside(d, y);
	if (!e)
		e = check_values(d, y);
	if (!e)
		e = check_cut(d, w, x, y);
	return e ? e : check_avx2(d, w, x, y);
}

const char *product_draw_said(void)
{
	return said;
}

const char *product_draw(uint64_t number)
{
	struct vgpu_panel w;
	struct drawn d;
	const char *e;

	open_once();
	draw(&d, number);
	draw_activations(&d);
	if (draw_weights(&d, &w)) {
		snprintf(problem, sizeof(problem), "%s: is not packed", said);
		return problem;
	}
	expect(&d, &w);
	e = check(&d, &w);
	if (!e)
		e = check_decode(&d, &w);
	if (d.far) {
		guarded_forget(&room_x);
		guarded_forget(&room_y);
	}
	return e;
}
