// SPDX-License-Identifier: MIT
/*
 * Products in mode A16 by tiles of 16 x 16 results, AMX-BF16; other modes are avx512's.
 *
 * Columns go in chunks.  Of a span of groups a chunk's weights are brought into lines, once
 * for up to 256 rows of activations; these pass two tiles at a time over all groups of the
 * span, so that they come from L1 and the weights from L2.  Sums stay tile by tile until all
 * columns are through: rows of y may be a power of two apart, and then share few lines
 * of the caches.
 *
 * Up to 16 rows of activations, lines are used once, and never leave L1: narrow_product.h.
 */
#include "kernels/amx/matmul.h"

#include "kernels/amx/act8.h"
#include "kernels/amx/matmul8.h"
#include "kernels/amx/narrow.h"
#include "kernels/amx/single.h"
#include "kernels/amx/tile.h"
#include "kernels/avx512/regroup.h"

#define SPAN_GROUPS	32u
#define PART_TILES	16u
#define PART_ROWS	(PART_TILES * VGPU_TILE_ROWS)

/**
 * struct span - some groups of weights, and what is made of them; in a thread's scratch
 * @lines: a chunk of each
 * @scale: of those that are not plain
 * @sum: tile t of the activations by group g
 * @top, @low, @pairs: what the tiles are configured for
 */
struct span {
	union {
		uint8_t lines[SPAN_GROUPS][VGPU_AMX_CHUNK * VGPU_TILE_BYTES]
			__attribute__((aligned(64)));
		struct vgpu_narrow narrow;
		struct vgpu_single_acts single[VGPU_SINGLE_BLOCKS];
	};
	float scale[SPAN_GROUPS][VGPU_AMX_CHUNK * 32] __attribute__((aligned(64)));
	vgpu_amx_tile sum[PART_TILES][SPAN_GROUPS];
	vgpu_amx_tile part[4];
	struct vgpu_group group[SPAN_GROUPS];
	bool plain[SPAN_GROUPS];
	uint32_t groups, top, low, pairs;
	uint8_t regrouped[] __attribute__((aligned(64)));
};
_Static_assert(sizeof(struct span) <= VGPU_AMX_SCRATCH_BYTES, "scratch too small");

static void configure(struct span *s, uint32_t top, uint32_t low, uint32_t pairs)
{
	if (s->top == top && s->low == low && s->pairs == pairs)
		return;
	vgpu_tiles_two(top, low, pairs);
	s->top = top;
	s->low = low;
	s->pairs = pairs;
}

/* Answers whether all groups of the span are plain. */
static bool span_look(struct span *s)
{
	bool all = true;

	for (uint32_t g = 0; g < s->groups; g++) {
		s->plain[g] = vgpu_lines_plain(&s->group[g]);
		all = all && s->plain[g];
	}
	return all;
}

static void span_fill(struct span *s, uint32_t first, uint32_t blocks)
{
	for (uint32_t g = 0; g < s->groups; g++) {
		if (s->plain[g])
			vgpu_lines_fill(s->lines[g], &s->group[g], first, blocks);
		else
			vgpu_lines_fill_scaled(s->lines[g], s->scale[g], &s->group[g], first,
					       blocks);
	}
}

/* One group by one tile of the part. */
static void single(struct span *s, uint32_t g, struct vgpu_amx_acts a, float *sum,
		   uint32_t blocks, bool more)
{
	enum vgpu_g16_kind kind = vgpu_g16_kind(s->group[g].format);

	configure(s, a.rows, a.rows, kind == VGPU_KIND_HALVES ? 8 : 16);
	if (s->plain[g]) {
		tiles_1x1(s->part[0], s->lines[g], a, blocks);
		sum_add(sum, s->part[0], a.rows, more);
	} else if (kind == VGPU_KIND_HALVES) {
		tiles_halves(sum, s->part, s->lines[g], s->scale[g], a, blocks, more);
	} else if (a.rows == VGPU_TILE_ROWS) {
		tiles_scaled(sum, s->part, s->lines[g], s->scale[g], a, blocks, 16, kind, more);
	} else {
		tiles_scaled(sum, s->part, s->lines[g], s->scale[g], a, blocks, a.rows, kind, more);
	}
}

/* Two plain groups by tiles t and t + 1. */
static void square(struct span *s, uint32_t g, uint32_t t, struct vgpu_amx_acts a0,
		   struct vgpu_amx_acts a1, uint32_t blocks, bool more)
{
	configure(s, a0.rows, a1.rows, 16);
	tiles_2x2(s->part, s->lines[g], s->lines[g + 1], a0, a1, blocks);
	sum_add(s->sum[t][g], s->part[0], a0.rows, more);
	sum_add(s->sum[t][g + 1], s->part[1], a0.rows, more);
	sum_add(s->sum[t + 1][g], s->part[2], a1.rows, more);
	sum_add(s->sum[t + 1][g + 1], s->part[3], a1.rows, more);
}

/* A chunk, all groups, by tiles t and, where two, t + 1, which are row 16 t of the part on. */
static void chunk_tiles(struct span *s, const struct vgpu_acts *x, uint32_t row, uint32_t t,
			bool two, uint32_t first, uint32_t blocks)
{
	struct vgpu_amx_acts a0 = vgpu_amx_acts_at(x, row, first), a1 = a0;
	uint32_t g = 0;

	if (two)
		a1 = vgpu_amx_acts_at(x, row + VGPU_TILE_ROWS, first);
	while (g < s->groups) {
		if (two && g + 1 < s->groups && s->plain[g] && s->plain[g + 1]) {
			square(s, g, t, a0, a1, blocks, first > 0);
			g += 2;
			continue;
		}
		single(s, g, a0, s->sum[t][g], blocks, first > 0);
		if (two)
			single(s, g, a1, s->sum[t + 1][g], blocks, first > 0);
		g++;
	}
}

static void tile_out(const float *sum, float *y, size_t ldy, uint32_t rows, __mmask16 mask)
{
	for (uint32_t i = 0; i < rows; i++)
		_mm512_mask_storeu_ps(y + i * ldy, mask, _mm512_load_ps(sum + i * 16));
}

static void span_out(const struct span *s, float *y, size_t ldy, uint32_t rows)
{
	for (uint32_t i = 0; i < rows; i += VGPU_TILE_ROWS)
		for (uint32_t g = 0; g < s->groups; g++)
			tile_out(s->sum[i / VGPU_TILE_ROWS][g], y + i * ldy + g * 16, ldy,
				 rows - i < VGPU_TILE_ROWS ? rows - i : VGPU_TILE_ROWS,
				 (__mmask16)((1u << s->group[g].rows) - 1));
}

/* Rows first .. first + rows - 1 of the activations, at most PART_ROWS. */
static void part_product(struct span *s, const struct vgpu_acts *x, uint32_t first, uint32_t rows,
			 float *y, size_t ldy)
{
	uint32_t all = x->kpad / VGPU_BLOCK;

	for (uint32_t b = 0; b < all; b += VGPU_AMX_CHUNK) {
		uint32_t blocks = all - b < VGPU_AMX_CHUNK ? all - b : VGPU_AMX_CHUNK;

		span_fill(s, b, blocks);
		for (uint32_t i = 0; i < rows; i += 2 * VGPU_TILE_ROWS)
			chunk_tiles(s, x, first + i, i / VGPU_TILE_ROWS, rows - i > VGPU_TILE_ROWS,
				    b, blocks);
	}
	span_out(s, y + first * ldy, ldy, rows);
}

/* Group g of the span: rows first .. first + 15 of the panel. */
static void group_init(struct span *s, uint32_t g, const struct vgpu_panel *w, uint32_t first)
{
	size_t bytes = vgpu_weight_unit_bytes(vgpu_regroup_format(w->format), w->k);

	vgpu_group_of_panel_avx512(&s->group[g], w, first, s->regrouped + g * bytes);
}

/*
 * Groups of a span: as many as are worth it.  Those regrouped have room for two; of rows
 * one after the other the prefetchers follow 16 at a time.
 */
static uint32_t span_groups(const struct vgpu_panel *w, uint32_t m)
{
	if (vgpu_regroup_format(w->format) != w->format)
		return 2;
	if (m > VGPU_TILE_ROWS)
		return SPAN_GROUPS;
	return vgpu_weight_unit_rows(w->format) == 1 ? 1 : VGPU_NARROW_GROUPS;
}

/*
 * Answers false where not all groups are plain that can be.  Their scales are looked at
 * afterwards, when they are in the caches: plain is what nearly all are.
 */
static bool narrow_product(struct span *s, const struct vgpu_acts *x, float *y, size_t ldy)
{
	enum vgpu_wformat format = s->group[0].format;
	bool plain = vgpu_lines_can_be_plain(format);
	struct vgpu_narrow *n = &s->narrow;

	n->group = s->group;
	n->groups = s->groups;
	configure(s, plain ? x->m : VGPU_TILE_ROWS, plain ? x->m : VGPU_TILE_ROWS, 16);
	vgpu_narrow_of(format)(n, x);
	if (plain && !span_look(s))
		return false;
	for (uint32_t g = 0; g < s->groups; g++)
		tile_out(n->sum[g], y + g * 16, ldy, x->m,
			 (__mmask16)((1u << s->group[g].rows) - 1));
	return true;
}

static void span_product(struct span *s, const struct vgpu_acts *x, float *y, size_t ldy)
{
	if (x->m <= vgpu_narrow_rows(s->group[0].format) && narrow_product(s, x, y, ldy))
		return;
	span_look(s);
	for (uint32_t i = 0; i < x->m; i += PART_ROWS)
		part_product(s, x, i, x->m - i < PART_ROWS ? x->m - i : PART_ROWS, y, ldy);
}

/* Groups that lie packed, by one row of activations.  Answers false where tiles are for it. */
static bool single_product(struct span *s, const struct vgpu_panel *w, const struct vgpu_acts *x,
			   float *y)
{
	vgpu_single_product *product = vgpu_single_of(w->format);
	struct vgpu_group g = { .format = w->format, .k = w->k, .data = w->data };
	size_t bytes = vgpu_weight_unit_bytes(w->format, w->k);
	struct vgpu_single single;

	if (!product || x->m != 1 || !vgpu_single_open(&single, s->single, x))
		return false;
	for (uint32_t row = 0; row < w->rows; row += VGPU_GROUP_ROWS, g.data += bytes) {
		g.rows = w->rows - row < VGPU_GROUP_ROWS ? w->rows - row : VGPU_GROUP_ROWS;
		_mm512_mask_storeu_ps(y + row, (__mmask16)((1u << g.rows) - 1), product(&single, &g));
	}
	return true;
}

void vgpu_matmul_amx(const struct vgpu_panel *w, const struct vgpu_acts *x, float *y, size_t ldy,
		     void *scratch)
{
	uint32_t step = span_groups(w, x->m) * VGPU_GROUP_ROWS;
	struct span *s = scratch;

	if (vgpu_amx_acts8_are(x) && vgpu_matmul_mode(w->format, x->mode) == x->mode) {
		vgpu_matmul8_amx(w, x, y, ldy, scratch);
		return;
	}
	if (x->mode != VGPU_MODE_A16 || vgpu_matmul_mode(w->format, x->mode) != x->mode) {
		vgpu_matmul_avx512(w, x, y, ldy, scratch);
		return;
	}
	if (!x->m || single_product(s, w, x, y))
		return;
	s->top = 0;
	for (uint32_t row = 0; row < w->rows; row += step) {
		s->groups = 0;
		for (uint32_t r = row; r < w->rows && r < row + step; r += VGPU_GROUP_ROWS)
			group_init(s, s->groups++, w, r);
		span_product(s, x, y + row, ldy);
	}
	_tile_release();
}

void vgpu_matmul_init_amx(struct vgpu_kernels *t)
{
	t->acts_pack = vgpu_acts_pack_amx;
	t->matmul = vgpu_matmul_amx;
}
