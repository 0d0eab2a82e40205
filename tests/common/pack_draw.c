// SPDX-License-Identifier: MIT
#include "common/pack_draw.h"

#include "common/guarded.h"
#include "common/weights_draw.h"
#include "kernels/random_blocks.h"

#define COLS_MAX	2048u
#define UNTOUCHED	0xa5u

/**
 * struct drawn - one group
 * @format: it is packed to
 * @source: enum vgpu_wformat of floats or blocks; 0: INT4
 * @rows: of the group
 * @ld: elements between rows of floats and of codes
 * @at_end: what is read ends at a page without access rather than begins there
 */
struct drawn {
	uint64_t rng;
	enum vgpu_wformat format, source;
	uint32_t rows, k;
	size_t ld;
	enum weights_scales scales;
	bool at_end;
	const void *src;
	struct vgpu_int4_rows int4;
	struct vgpu_mxfp4_rows mxfp4;
};

static struct guarded room_src, room_scales, room_zeros, room_want, room_got;
static uint8_t *no_codes;
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
	must_open(&room_src, 16 * (COLS_MAX + 64) * 4);
	must_open(&room_scales, 16 * COLS_MAX / 32 * 2);
	must_open(&room_zeros, 16 * COLS_MAX / 32);
	must_open(&room_want, 16 * COLS_MAX * 2);
	must_open(&room_got, 16 * COLS_MAX * 2);
	no_codes = malloc(16 * COLS_MAX * 4);
	if (!no_codes)
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

static void *put(struct guarded *room, const void *from, size_t bytes, bool at_end)
{
	return memcpy(guarded_part(room, bytes, at_end), from, bytes);
}

/* INT4, sometimes with a code, a scale or a zero that there is not. */
static void draw_int4(struct drawn *d)
{
	static const enum vgpu_wformat formats[] = {
		VGPU_W_Q4_0_G16, VGPU_W_INT4_64_G16, VGPU_W_INT4_128_G16,
		VGPU_W_INT4_Z32_G16, VGPU_W_INT4_Z64_G16, VGPU_W_INT4_Z128_G16,
	};
	const struct vgpu_g16_type *type;
	struct random_int4 drawn;
	uint32_t step, groups;

	d->format = formats[rng_below(&d->rng, 6)];
	type = vgpu_g16_type(d->format);
	step = vgpu_g16_scale_cols(type);
	d->k = step * (1 + rng_below(&d->rng, COLS_MAX / step));
	groups = d->k / step;
	random_int4(&drawn, type, d->rows, d->k, false, &d->rng);
	if (draw_one_in(&d->rng, 6))
		drawn.codes[rng_below(&d->rng, d->rows * d->k)] = (uint8_t)rng_next(&d->rng);
	if (draw_one_in(&d->rng, 6))
		drawn.scales[rng_below(&d->rng, d->rows * groups)] = (uint16_t)rng_next(&d->rng);
	if (draw_one_in(&d->rng, 6))
		drawn.zeros[rng_below(&d->rng, d->rows * groups)] = (uint8_t)rng_below(&d->rng, 20);
	d->int4 = drawn.rows;
	d->int4.codes = put(&room_src, drawn.codes, d->rows * d->k, d->at_end);
	d->int4.scales = put(&room_scales, drawn.scales, d->rows * groups * 2, d->at_end);
	if (d->int4.zeros)
		d->int4.zeros = put(&room_zeros, drawn.zeros, d->rows * groups, d->at_end);
	random_int4_free(&drawn);
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

	*d = (struct drawn){ .rng = draw_seed(number) };
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
		draw_int4(d);
	snprintf(said, sizeof(said), "format %d of %d: %u rows of %u, %zu apart, %s", d->format,
		 d->source, d->rows, d->k, d->ld, d->at_end ? "ends at a guard" : "begins at a guard");
}

/* ------------------------------------------------------------------------
 * What levels make of it
 */

static int pack(const struct drawn *d, const struct vgpu_kernels *t, void *dst)
{
	if (!d->source)
		return t->pack_int4(dst, d->format, &d->int4);
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
	bytes = vgpu_weight_unit_bytes(d.format, d.k);
	want = guarded_part(&room_want, bytes, true);
	memset(want, UNTOUCHED, bytes);
	rc = pack(&d, ref, want);
	for (size_t i = 0; i < bytes && rc; i++)
		if (want[i] != UNTOUCHED)
			return "the reference wrote something of what it refused";
	for (int isa = VGPU_ISA_AVX2; isa < VGPU_ISA_COUNT && !e; isa++)
		if (vgpu_kernels_get(isa))
			e = check(&d, vgpu_kernels_get(isa), rc, want, bytes);
	return e;
}
