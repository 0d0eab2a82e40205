// SPDX-License-Identifier: MIT
#include "common/transposed_draw.h"

#include "common/guarded.h"
#include "common/weights_draw.h"
#include "kernels/check.h"

#define MACS_MAX	(1u << 20)	/* of a product: the plain loop calls fmaf() */
#define VALUES_MAX	(1u << 19)	/* of an operand */
#define CANARY		0xc5u

/**
 * struct drawn - one product
 * @first, @end: columns that are computed; others stay as they are
 * @cut: rows of a panel, whole units
 * @add: the first panel adds to what is there, too
 * @not_numbers: some activations are NaN or infinite
 * @ends: bit by bit, whose memory ends at a page without access rather than begins there
 */
struct drawn {
	uint64_t rng;
	const struct vgpu_kernels *t;
	const struct weights_format *f;
	uint32_t m, n, k, first, end, cut;
	size_t ldx, ldy;
	enum weights_scales scales;
	int exponent, w_exponent;
	bool add, not_numbers;
	uint32_t ends;
};

enum end { END_X, END_Y, END_W, END_SCALES, END_SCRATCH };

static struct guarded room_x, room_y, room_w, room_scales, room_scratch;
static float *values, *want, *floats;
static uint8_t *blocks, *no_codes;
static char said[300], problem[500];

static void must_open(struct guarded *g, size_t bytes)
{
	if (guarded_open(g, bytes))
		abort();
}

static void *must_have(size_t bytes)
{
	void *p = malloc(bytes);

	if (!p)
		abort();
	return p;
}

static void open_once(void)
{
	if (values)
		return;
	must_open(&room_x, VALUES_MAX * 4);
	must_open(&room_y, VALUES_MAX * 4);
	must_open(&room_w, VALUES_MAX * 8);
	must_open(&room_scales, VALUES_MAX);
	must_open(&room_scratch, 8u << 20);
	values = must_have(VALUES_MAX * 4);
	want = must_have(VALUES_MAX * 4);
	floats = must_have(VALUES_MAX * 4);
	blocks = must_have(VALUES_MAX * 4);
	no_codes = must_have(VALUES_MAX * 4);
}

static void *part_of(const struct drawn *d, const struct guarded *room, size_t bytes, enum end which)
{
	return guarded_part(room, bytes, d->ends >> which & 1);
}

/* ------------------------------------------------------------------------
 * What is drawn
 */

/* 1 .. most, small ones more often. */
static uint32_t few(struct drawn *d, uint32_t most)
{
	return 1 + rng_below(&d->rng, draw_one_in(&d->rng, 2) && most > 8 ? 8 : most);
}

static void draw_shape(struct drawn *d)
{
	static const uint32_t most[][3] = { /* m, n, k */
		{ 3, 3, 40 }, { 9, 20, 3000 }, { 9, 700, 200 }, { 200, 40, 200 }, { 30, 70, 700 },
	};
	const uint32_t *of = most[rng_below(&d->rng, 5)];
	uint32_t steps = of[2] / d->f->step;

	d->m = rng_below(&d->rng, 16) ? few(d, of[0]) : 0;
	d->n = few(d, of[1]);
	d->k = d->f->step * (1 + rng_below(&d->rng, steps ? steps : 1));
	if ((uint64_t)d->m * d->n * d->k > MACS_MAX)
		d->m = 1;
	d->ldx = d->n + (draw_one_in(&d->rng, 2) ? 0 : rng_below(&d->rng, 70));
	d->ldy = d->k + (draw_one_in(&d->rng, 2) ? 0 : rng_below(&d->rng, 70));
}

static void draw_cut(struct drawn *d)
{
	uint32_t unit = vgpu_weight_unit_rows(d->f->format), units = (d->n + unit - 1) / unit;
	uint32_t parts = (d->k + VGPU_TRANSPOSED_COLS - 1) / VGPU_TRANSPOSED_COLS;
	uint32_t part = rng_below(&d->rng, parts), end = part + 1 + rng_below(&d->rng, parts - part);

	d->cut = draw_one_in(&d->rng, 2) ? d->n : unit * (1 + rng_below(&d->rng, units));
	d->first = part * VGPU_TRANSPOSED_COLS;
	d->end = end == parts ? d->k : end * VGPU_TRANSPOSED_COLS;
}

static int draw_exponent(struct drawn *d)
{
	switch (rng_below(&d->rng, 4)) {
	case 0: return (int)rng_below(&d->rng, 80) - 40;
	case 1: return (int)rng_below(&d->rng, 265) - 140;
	default: return 0;
	}
}

static void draw(struct drawn *d, uint64_t number)
{
	*d = (struct drawn){ .rng = draw_seed(number) };
	do
		d->t = vgpu_kernels_get(rng_below(&d->rng, VGPU_ISA_COUNT));
	while (!d->t);
	d->f = &weights_formats[rng_below(&d->rng, weights_format_count)];
	draw_shape(d);
	draw_cut(d);
	d->scales = draw_one_in(&d->rng, 2) ? SCALES_ORDINARY : rng_below(&d->rng, SCALES_COUNT);
	d->exponent = draw_exponent(d);
	d->w_exponent = draw_exponent(d);
	d->add = draw_one_in(&d->rng, 4);
	d->not_numbers = draw_one_in(&d->rng, 8);
	d->ends = (uint32_t)rng_next(&d->rng);
	snprintf(said, sizeof(said),
		 "%s transposed at %s: m %u, n %u in panels of %u, columns %u to %u of %u, strides %zu "
		 "and %zu, activations of 2^%d%s, scales %d, weights of 2^%d%s, ends %x", d->f->name,
		 vgpu_isa_name(d->t->isa), d->m, d->n, d->cut, d->first, d->end, d->k, d->ldx, d->ldy,
		 d->exponent, d->not_numbers ? ", some no numbers" : "", (int)d->scales, d->w_exponent,
		 d->add ? ", added" : "", d->ends & 31);
}

static float draw_activation(struct drawn *d)
{
	static const float bad[] = { NAN, INFINITY, -INFINITY };

	if (d->not_numbers && draw_one_in(&d->rng, 200))
		return bad[rng_below(&d->rng, 3)];
	if (draw_one_in(&d->rng, 20))
		return draw_one_in(&d->rng, 2) ? 0.0f : -0.0f;
	return draw_finite(rng_gauss(&d->rng) * ldexp(1, d->exponent));
}

static int draw_weights(struct drawn *d, struct vgpu_panel *w)
{
	uint32_t unit_rows = vgpu_weight_unit_rows(d->f->format), units = (d->n + unit_rows - 1) / unit_rows;
	size_t bytes = vgpu_weight_unit_bytes(d->f->format, d->k) * units;
	uint8_t *data = part_of(d, &room_w, bytes, END_W), *split = NULL;
	struct weights_draw weights = {
		.format = d->f->format, .n = d->n, .k = d->k, .scales = d->scales,
		.exponent = d->w_exponent, .rng = &d->rng, .floats = floats, .blocks = blocks,
		.no_codes = no_codes,
	};

	if (d->f->format == VGPU_W_MXFP4_SPLIT)
		split = part_of(d, &room_scales, d->n * (d->k / 32), END_SCALES);
	*w = (struct vgpu_panel){ d->f->format, d->n, d->k, data, split };
	return weights_draw(&weights, data, split);
}

/* ------------------------------------------------------------------------
 * The product
 */

/* The plain loop, over what is in @y. */
static void expect(const struct drawn *d, const struct vgpu_panel *w, const float *x, const float *y,
		   size_t floats_y)
{
	vgpu_kernels_get(VGPU_ISA_REF)->weight_decode(w, values, d->k);
	memcpy(want, y, floats_y * sizeof(*y));
	for (uint32_t i = 0; i < d->m; i++)
		for (uint32_t c = d->first; c < d->end; c++) {
			float sum = d->add ? y[i * d->ldy + c] : 0;

			for (uint32_t r = 0; r < d->n; r++)
				sum = fmaf(x[i * d->ldx + r], values[(size_t)r * d->k + c], sum);
			want[i * d->ldy + c] = sum;
		}
}

/* Panel by panel. */
static void multiply(const struct drawn *d, const struct vgpu_panel *w, const float *x, float *y)
{
	size_t bytes = vgpu_matmul_scratch_bytes(w->format, w->k);
	void *scratch = part_of(d, &room_scratch, bytes, END_SCRATCH);
	uint32_t unit = vgpu_weight_unit_rows(w->format);

	memset(scratch, 0xff, bytes);	/* what was there is no number */
	for (uint32_t row = 0; row < d->n; row += d->cut) {
		struct vgpu_transposed p = {
			.x = x + row, .y = y, .ldx = d->ldx, .ldy = d->ldy, .m = d->m,
			.first = d->first, .end = d->end, .add = d->add || row,
		};
		struct vgpu_panel part = *w;

		part.rows = d->n - row < d->cut ? d->n - row : d->cut;
		part.data = (const uint8_t *)w->data +
			    row / unit * vgpu_weight_unit_bytes(w->format, w->k);
		part.scales = w->scales ? w->scales + (size_t)row * (w->k / 32) : NULL;
		d->t->matmul_transposed(&part, &p, scratch);
	}
}

/* Of a NaN nobody says which it is. */
static const char *compare(const struct drawn *d, const float *y, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!memcmp(&y[i], &want[i], sizeof(*y)) || (isnan(y[i]) && isnan(want[i])))
			continue;
		snprintf(problem, sizeof(problem), "%s: row %zu, column %zu is %a, the plain loop has %a",
			 said, i / d->ldy, i % d->ldy, y[i], want[i]);
		return problem;
	}
	return NULL;
}

const char *transposed_draw_said(void)
{
	return said;
}

const char *transposed_draw(uint64_t number)
{
	struct vgpu_panel w;
	struct drawn d;
	size_t floats_x, floats_y;
	float *x, *y;

	open_once();
	draw(&d, number);
	floats_x = d.m ? (d.m - 1) * d.ldx + d.n : 0;
	floats_y = d.m ? (d.m - 1) * d.ldy + d.k : 0;
	x = part_of(&d, &room_x, floats_x * sizeof(*x), END_X);
	y = part_of(&d, &room_y, floats_y * sizeof(*y), END_Y);
	if (draw_weights(&d, &w)) {
		snprintf(problem, sizeof(problem), "%s: is not packed", said);
		return problem;
	}
	for (size_t i = 0; i < floats_x; i++)
		x[i] = i % d.ldx < d.n ? draw_activation(&d) : NAN;
	memset(y, CANARY, floats_y * sizeof(*y));
	expect(&d, &w, x, y, floats_y);
	multiply(&d, &w, x, y);
	return compare(&d, y, floats_y);
}
