// SPDX-License-Identifier: MIT
#include "common/pack_draw.h"

#include "common/guarded.h"
#include "common/weights_draw.h"
#include "kernels/pack/int4_layer.h"
#include "kernels/random_blocks.h"

#define COLS_MAX	2048u
/* Outputs of a layer of AWQ or GPTQ. */
#define LAYER_ROWS_MAX	200u
/* Bytes by which a tensor begins beside a word. */
#define OFF_MAX		3u
#define UNTOUCHED	0xa5u

/**
 * struct drawn - one group, or some of a layer
 * @format: it is packed to
 * @source: enum vgpu_wformat of floats or blocks; 0: a layer of AWQ or GPTQ
 * @rows: of the group; of a layer the first
 * @units: of a layer, else 1
 * @ld: elements between rows of floats and of codes
 * @at_end: what is read ends at a page without access rather than begins there
 */
struct drawn {
	uint64_t rng;
	enum vgpu_wformat format, source;
	uint32_t rows, units, k;
	size_t ld;
	enum weights_scales scales;
	bool at_end;
	const void *src;
	struct vgpu_int4_layer layer;
	struct vgpu_mxfp4_rows mxfp4;
};

static struct guarded room_src, room_scales, room_zeros, room_want, room_got;
static uint8_t *no_codes, *scratch;
static char said[200], problem[400];

static void must_open(struct guarded *g, size_t bytes)
{
	if (guarded_open(g, bytes))
		abort();
}

static void open_once(void)
{
	if (no_codes)
		return;
	must_open(&room_src, LAYER_ROWS_MAX * COLS_MAX / 2 + OFF_MAX);
	must_open(&room_scales, LAYER_ROWS_MAX * COLS_MAX / 32 * 2 + OFF_MAX);
	must_open(&room_zeros, LAYER_ROWS_MAX * COLS_MAX / 32 / 2 + OFF_MAX);
	must_open(&room_want, VGPU_INT4_UNITS * 16 * COLS_MAX);
	must_open(&room_got, VGPU_INT4_UNITS * 16 * COLS_MAX);
	no_codes = malloc(16 * COLS_MAX * 4);
	scratch = malloc(16 * COLS_MAX * 2);
	if (!no_codes || !scratch)
		abort();
}

/* ------------------------------------------------------------------------
 * What is drawn
 */

/* Sources of pack_mxfp4 and pack_int8, any value, sometimes one that is no number. */
static void draw_floats(struct drawn *d, struct weights_draw *w)
{
	static const enum vgpu_wformat sources[] = { VGPU_W_F32, VGPU_W_F16, VGPU_W_BF16 };
	size_t element, n, bad;
	uint8_t *src;

	d->format = rng_below(&d->rng, 2) ? VGPU_W_MXFP4_G16 : VGPU_W_INT8_G16;
	d->source = sources[rng_below(&d->rng, 3)];
	d->k = 1 + rng_below(&d->rng, draw_one_in(&d->rng, 2) ? 40 : 700);
	d->ld = d->k + (draw_one_in(&d->rng, 2) ? 0 : rng_below(&d->rng, 60));
	element = d->source == VGPU_W_F32 ? 4 : 2;
	n = (d->rows - 1) * d->ld + d->k;
	bad = draw_one_in(&d->rng, 6) ? rng_below(&d->rng, (uint32_t)n) : n;
	src = guarded_part(&room_src, n * element, d->at_end);
	for (size_t i = 0; i < n; i++) {
		float x = i == bad ? rng_below(&d->rng, 2) ? NAN : -INFINITY : weights_draw_value(w);

		if (d->source == VGPU_W_F16)
			put_half(src + 2 * i, x);
		else
			memcpy(src + element * i, (uint8_t *)&x + 4 - element, element);
	}
	d->src = src;
}

static void draw_blocks(struct drawn *d, struct weights_draw *w)
{
	static const enum vgpu_wformat numbers[] = { VGPU_W_Q8_0, VGPU_W_Q4_0, VGPU_W_Q5_0 };
	const struct vgpu_g16_type *type;
	uint32_t step;
	uint8_t *src;

	d->format = VGPU_W_Q4_0_G16 + rng_below(&d->rng, 8);
	type = vgpu_g16_type(d->format);
	d->source = type->source;
	if (draw_one_in(&d->rng, 3)) {
		d->format = VGPU_W_INT8_G16;
		d->source = numbers[rng_below(&d->rng, 3)];
	}
	step = vgpu_block_type(d->source)->values;
	d->k = step * (1 + rng_below(&d->rng, COLS_MAX / step));
	src = guarded_part(&room_src, d->rows * vgpu_weight_unit_bytes(d->source, d->k), d->at_end);
	w->n = d->rows;
	w->k = d->k;
	weights_draw_blocks(w, d->source, src, NULL, draw_one_in(&d->rng, 4));
	d->src = src;
}

/* Any bits at any address; what ends at a guard lies as its length has it. */
static uint8_t *draw_bits(struct drawn *d, struct guarded *room, size_t bytes)
{
	uint32_t off = d->at_end ? 0 : rng_below(&d->rng, OFF_MAX + 1);
	uint8_t *at = guarded_part(room, bytes + off, d->at_end);

	at += off;
	for (size_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)(rng_next(&d->rng) >> 32);
	return at;
}

/* Numbers, sometimes all but one. */
static void draw_scales(struct drawn *d, uint8_t *scales, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		scales[2 * i + 1] &= 0xbf;
	if (draw_one_in(&d->rng, 6))
		scales[2 * rng_below(&d->rng, count) + 1] |= 0x7c;
}

/* A layer of any shape that there is, and some groups of it. */
static void draw_layer(struct drawn *d)
{
	uint32_t cols = 32u << rng_below(&d->rng, 3), left;
	struct vgpu_int4_layer *l = &d->layer;
	uint8_t *scales;

	d->k = cols * (1 + rng_below(&d->rng, (draw_one_in(&d->rng, 2) ? 700 : COLS_MAX) / cols));
	*l = (struct vgpu_int4_layer){
		.scheme = (enum vgpu_int4_scheme)rng_below(&d->rng, 3), .k = d->k, .cols = cols,
		.n = VGPU_INT4_WORD_CODES * (1 + rng_below(&d->rng, LAYER_ROWS_MAX / VGPU_INT4_WORD_CODES)),
		.group = cols * (1 + (draw_one_in(&d->rng, 2) ? 0 : rng_below(&d->rng, 20))),
		.zeros = rng_below(&d->rng, 2),
	};
	l->groups = (l->k + l->group - 1) / l->group;
	scales = draw_bits(d, &room_scales, (size_t)l->groups * l->n * 2);
	draw_scales(d, scales, l->groups * l->n);
	l->scales = scales;
	l->qzeros = draw_bits(d, &room_zeros, (size_t)l->groups * l->n / 2);
	l->qweight = draw_bits(d, &room_src, (size_t)l->n * l->k / 2);
	d->format = (enum vgpu_wformat)vgpu_int4_layer_format(l);
	d->rows = 16 * rng_below(&d->rng, (l->n + 15) / 16);
	left = (l->n - d->rows + 15) / 16;
	d->units = 1 + rng_below(&d->rng, left < VGPU_INT4_UNITS ? left : VGPU_INT4_UNITS);
}

/* A scale of any size, often at an end of them. */
static uint8_t e8m0(uint64_t *rng)
{
	uint32_t near = rng_below(rng, 4);

	return draw_one_in(rng, 200) ? (uint8_t)(252 + near) :
	       draw_one_in(rng, 3) ? (uint8_t)near : (uint8_t)(4 + rng_below(rng, 248));
}

/* Blocks of MXFP4 whose codes are all, or no larger than some. */
static void draw_mxfp4(struct drawn *d)
{
	bool split = rng_below(&d->rng, 2);
	uint8_t *blocks, *scales, mask;
	uint32_t count;

	d->format = VGPU_W_MXFP4_G16;
	d->source = split ? VGPU_W_MXFP4_SPLIT : VGPU_W_MXFP4;
	count = 1 + rng_below(&d->rng, COLS_MAX / 32);
	d->k = 32 * count;
	d->ld = (split ? 16 : 17) * count;
	blocks = guarded_part(&room_src, d->rows * d->ld, d->at_end);
	scales = guarded_part(&room_scales, d->rows * count, d->at_end);
	for (uint32_t b = 0; b < d->rows * count; b++) {
		uint8_t *block = blocks + b * (split ? 16 : 17);

		mask = draw_one_in(&d->rng, 2) ? 0xff : (uint8_t)(0x88 | rng_below(&d->rng, 8) * 0x11);
		*(split ? scales + b : block++) = e8m0(&d->rng);
		for (uint32_t i = 0; i < 16; i++)
			block[i] = (uint8_t)rng_next(&d->rng) & mask;
	}
	d->mxfp4 = (struct vgpu_mxfp4_rows){
		.blocks = blocks, .scales = split ? scales : NULL, .row_bytes = d->ld,
		.scale_row_bytes = count, .rows = d->rows, .k = d->k,
	};
}

static void draw(struct drawn *d, uint64_t number)
{
	struct weights_draw w = { .rng = &d->rng, .no_codes = no_codes };
	uint32_t kind;

	*d = (struct drawn){ .rng = draw_seed(number), .units = 1 };
	d->rows = 1 + rng_below(&d->rng, 16);
	d->at_end = rng_below(&d->rng, 2);
	w.scales = rng_below(&d->rng, SCALES_COUNT);
	w.exponent = draw_one_in(&d->rng, 2) ? 0 : (int)rng_below(&d->rng, 280) - 150;
	kind = rng_below(&d->rng, 4);
	if (kind == 0)
		draw_floats(d, &w);
	else if (kind == 1)
		draw_blocks(d, &w);
	else if (kind == 2)
		draw_mxfp4(d);
	else
		draw_layer(d);
	if (d->layer.n)
		snprintf(said, sizeof(said), "scheme %d, %u x %u, groups of %u: format %d, %u of row %u, %s",
			 d->layer.scheme, d->layer.n, d->k, d->layer.group, d->format, d->units, d->rows,
			 d->at_end ? "ends at a guard" : "begins at a guard");
	else
		snprintf(said, sizeof(said), "format %d of %d: %u rows of %u, %zu apart, %s", d->format,
			 d->source, d->rows, d->k, d->ld,
			 d->at_end ? "ends at a guard" : "begins at a guard");
}

/* ------------------------------------------------------------------------
 * What levels make of it
 */

static int pack(const struct drawn *d, const struct vgpu_kernels *t, void *dst)
{
	if (!d->source)
		return t->pack_int4_layer(dst, &d->layer, d->rows, d->units, scratch);
	if (d->source == VGPU_W_MXFP4 || d->source == VGPU_W_MXFP4_SPLIT)
		return t->pack_mxfp4_rows(dst, &d->mxfp4);
	if (d->format == VGPU_W_MXFP4_G16)
		return t->pack_mxfp4(dst, d->src, d->source, d->ld, d->rows, d->k);
	if (d->format == VGPU_W_INT8_G16 && d->source > VGPU_W_BF16)
		return t->pack_codes(dst, d->src, d->source, d->rows, d->k);
	if (d->format == VGPU_W_INT8_G16)
		return t->pack_int8(dst, d->src, d->source, d->ld, d->rows, d->k);
	return t->pack_blocks(dst, d->format, d->src, d->rows, d->k);
}

static const char *check(const struct drawn *d, const struct vgpu_kernels *t, int want_rc,
			 const uint8_t *want, size_t bytes)
{
	uint8_t *got = guarded_part(&room_got, bytes, true);
	int rc;

	memset(got, UNTOUCHED, bytes);
	rc = pack(d, t, got);
	if (rc == want_rc && !memcmp(got, want, bytes))
		return NULL;
	snprintf(problem, sizeof(problem), "%s, at %s: %d, the reference %d, %s bytes", said,
		 vgpu_isa_name(t->isa), rc, want_rc, memcmp(got, want, bytes) ? "other" : "the same");
	return problem;
}

const char *pack_draw_said(void)
{
	return said;
}

const char *pack_draw(uint64_t number)
{
	const struct vgpu_kernels *ref = vgpu_kernels_get(VGPU_ISA_REF);
	const char *e = NULL;
	struct drawn d;
	uint8_t *want;
	size_t bytes;
	int rc;

	open_once();
	draw(&d, number);
	bytes = d.units * vgpu_weight_unit_bytes(d.format, d.k);
	want = guarded_part(&room_want, bytes, true);
	memset(want, UNTOUCHED, bytes);
	rc = pack(&d, ref, want);
	/* Of a layer that is refused groups may be written. */
	if (rc && !d.source)
		bytes = 0;
	for (size_t i = 0; i < bytes && rc; i++)
		if (want[i] != UNTOUCHED)
			return "the reference wrote something of what it refused";
	for (int isa = VGPU_ISA_AVX2; isa < VGPU_ISA_COUNT && !e; isa++)
		if (vgpu_kernels_get(isa))
			e = check(&d, vgpu_kernels_get(isa), rc, want, bytes);
	return e;
}
