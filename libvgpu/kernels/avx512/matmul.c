// SPDX-License-Identifier: MIT
/*
 * Products, AVX-512.
 *
 * Rows of weights go in pairs of groups, 32 at a time; their columns in chunks of
 * 1024 (A8), 512 (A16) or 256 (F32), so that a chunk of 32 rows is a 32 KiB slab that
 * stays in L1 while every tile of 8 (F32: 12) rows of activations passes over it.  Formats
 * differ only in how a slab is filled.  Up to 16 rows in A8, and 8 in A16, MXFP4, Q4_0,
 * Q4_K and INT4 skip the slab: direct_product.h expands codes in registers, and adds in the
 * same order.
 *
 * Activations that L2 does not hold go through it a chunk of up to 512 rows at a time, which
 * meets the chunks of a few pairs.  Until all columns are through sums stay in scratch: rows
 * of y may be a power of two apart, and then share few lines of the caches.
 */
#include "kernels/avx512/direct.h"
#include "kernels/avx512/matmul.h"
#include "kernels/avx512/regroup.h"
#include "kernels/avx512/tile.h"
#include "kernels/avx512/tile_run.h"
#include "kernels/avx512/transposed.h"

#define SPAN_PAIRS	4u
/* Of activations; whole tiles of 8 and of 12. */
#define PART_ROWS	528u
#define PAIR_ROWS	(2 * VGPU_GROUP_ROWS)
/* Activations up to this stay in L2, whatever else comes along. */
#define NEAR_BYTES	(1u << 20)

struct pair {
	struct vgpu_group g[2];
	float *y;
};

/* A thread's scratch; vgpu_matmul_scratch_bytes() counts it. */
struct scratch {
	struct vgpu_slab_memory slab[2];
	float sum[SPAN_PAIRS][PART_ROWS][PAIR_ROWS] __attribute__((aligned(64)));
	struct pair pair[SPAN_PAIRS];
	uint8_t group[] __attribute__((aligned(64)));
};
_Static_assert(sizeof(struct scratch) <= VGPU_PANEL_BYTES, "panel too small");

/* A tile of mt rows at column first, as tile.h's functions want it. */
#define TILE_A8(n) tile_a8(o, w, x, at, blocks, n, VGPU_KIND_PLAIN)
#define TILE_A16(n) tile_a16(o, w, x, at, blocks, n, VGPU_KIND_PLAIN)
#define TILE_A8_MINIMUM(n) tile_a8(o, w, x, at, blocks, n, VGPU_KIND_MINIMUM)
#define TILE_A16_MINIMUM(n) tile_a16(o, w, x, at, blocks, n, VGPU_KIND_MINIMUM)
#define TILE_A8_HALVES(n) tile_a8(o, w, x, at, blocks, n, VGPU_KIND_HALVES)
#define TILE_A16_HALVES(n) tile_a16(o, w, x, at, blocks, n, VGPU_KIND_HALVES)
#define TILE_A8_RUNS(n) tile_a8_runs(o, w, x, at, blocks, n)
#define TILE_F32(n) tile_f32(o, w, (const float *)x->data + at, blocks, n)
#define SWITCH_MT(mt, call) do {			\
	switch (mt) {					\
	case 1: call(1); break;				\
	case 2: call(2); break;				\
	case 3: call(3); break;				\
	case 4: call(4); break;				\
	case 5: call(5); break;				\
	case 6: call(6); break;				\
	case 7: call(7); break;				\
	default: call(8); break;			\
	}						\
} while (0)

#define SWITCH_MT_F32(mt, call) do {			\
	switch (mt) {					\
	case 9: call(9); break;				\
	case 10: call(10); break;			\
	case 11: call(11); break;			\
	case 12: call(12); break;			\
	default: SWITCH_MT(mt, call);			\
	}						\
} while (0)

static void tile(const struct vgpu_out *o, const struct vgpu_slab w[2],
		 const struct vgpu_acts *x, uint32_t row, uint32_t first, uint32_t blocks)
{
	uint32_t mt = vgpu_acts_tile_rows(x, row);
	size_t at = vgpu_acts_at(x, row, first);

	if (w[0].runs)
		SWITCH_MT(mt, TILE_A8_RUNS);
	else if (x->mode == VGPU_MODE_F32)
		SWITCH_MT_F32(mt, TILE_F32);
	else if (vgpu_mode_is_a8(x->mode) && w->kind == VGPU_KIND_PLAIN)
		SWITCH_MT(mt, TILE_A8);
	else if (vgpu_mode_is_a8(x->mode) && w->kind == VGPU_KIND_MINIMUM)
		SWITCH_MT(mt, TILE_A8_MINIMUM);
	else if (vgpu_mode_is_a8(x->mode))
		SWITCH_MT(mt, TILE_A8_HALVES);
	else if (w->kind == VGPU_KIND_PLAIN)
		SWITCH_MT(mt, TILE_A16);
	else if (w->kind == VGPU_KIND_MINIMUM)
		SWITCH_MT(mt, TILE_A16_MINIMUM);
	else
		SWITCH_MT(mt, TILE_A16_HALVES);
}

/* Slabs of which one has runs: each by itself. */
static void tile_apart(const struct vgpu_out *o, const struct vgpu_slab w[2],
		       const struct vgpu_acts *x, uint32_t row, uint32_t first, uint32_t blocks)
{
	for (uint32_t v = 0; v < 2; v++) {
		const struct vgpu_slab same[2] = { w[v], w[v] };
		struct vgpu_out to = *o;

		to.y += 16 * v;
		to.sum = o->sum ? o->sum + 16 * v : NULL;
		to.mask[0] = o->mask[v];
		to.mask[1] = 0;
		tile(&to, same, x, row, first, blocks);
	}
}

/* A chunk of a pair, from column first on, by rows row .. end - 1 of activations. */
static void pair_chunk(const struct pair *p, const struct vgpu_acts *x, uint32_t first,
		       uint32_t row, uint32_t end, size_t ldy, float (*sum)[PAIR_ROWS],
		       struct scratch *scratch)
{
	uint32_t cols = vgpu_slab_cols(x->mode), left = x->kpad - first;
	uint32_t most = vgpu_acts_tile_most(x->mode);
	uint32_t blocks = (left < cols ? left : cols) / VGPU_BLOCK;
	bool last = left <= cols;
	struct vgpu_slab w[2];
	struct vgpu_out o = {
		.ldy = last ? ldy : PAIR_ROWS, .ldsum = PAIR_ROWS,
		.mask = { (__mmask16)((1u << p->g[0].rows) - 1),
			  (__mmask16)((1u << p->g[1].rows) - 1) },
	};

	for (int v = 0; v < 2; v++)
		if (p->g[v].rows)
			vgpu_slab_fill_avx512(&w[v], scratch->slab[v].lines, scratch->slab[v].scale,
					      &p->g[v], x->mode, first, blocks);
	if (!p->g[1].rows)
		w[1] = w[0];	/* multiplied, but not stored */
	for (; row < end; row += most, sum += most) {
		o.y = last ? p->y + row * ldy : *sum;
		o.sum = first ? *sum : NULL;
		if (w[0].runs == w[1].runs)
			tile(&o, w, x, row, first, blocks);
		else
			tile_apart(&o, w, x, row, first, blocks);
	}
}

/* All columns of a span of pairs, all rows of activations. */
static void span_product(const struct vgpu_acts *x, size_t ldy, uint32_t pairs,
			 struct scratch *scratch)
{
	uint32_t cols = vgpu_slab_cols(x->mode);

	for (uint32_t row = 0; row < x->m; row += PART_ROWS) {
		uint32_t end = x->m - row < PART_ROWS ? x->m : row + PART_ROWS;

		for (uint32_t first = 0; first < x->kpad; first += cols)
			for (uint32_t p = 0; p < pairs; p++)
				pair_chunk(&scratch->pair[p], x, first, row, end, ldy,
					   scratch->sum[p], scratch);
	}
}

void vgpu_group_of_panel_avx512(struct vgpu_group *g, const struct vgpu_panel *w, uint32_t row,
				uint8_t *scratch)
{
	vgpu_group_at(g, w, row);
	if (g->format != w->format && g->rows) {
		vgpu_regroup_avx512(scratch, w, row, g->rows);
		g->data = scratch;
	}
}

/* Both groups of a pair, from row on; of regrouped ones scratch has room for one pair. */
static void pair_init(struct pair *p, const struct vgpu_panel *w, uint32_t row, float *y,
		      struct scratch *scratch)
{
	size_t bytes = vgpu_weight_unit_bytes(vgpu_regroup_format(w->format), w->k);

	vgpu_group_of_panel_avx512(&p->g[0], w, row, scratch->group);
	vgpu_group_of_panel_avx512(&p->g[1], w, row + VGPU_GROUP_ROWS, scratch->group + bytes);
	p->y = y + row;
}

/* Pairs that are worth a span. */
static uint32_t span_pairs(const struct vgpu_panel *w, const struct vgpu_acts *x)
{
	bool regrouped = vgpu_regroup_format(w->format) != w->format;

	return regrouped || vgpu_acts_bytes(x->mode, x->m, x->k) <= NEAR_BYTES ? 1 : SPAN_PAIRS;
}

/* Groups that lie one behind the other: short rows are over soon, and so little is done for each. */
static void direct_in_place(vgpu_direct_avx512 *direct, const struct vgpu_panel *w,
			    const struct vgpu_acts *x, float *y, size_t ldy)
{
	struct vgpu_group g[2];

	vgpu_group_at(&g[0], w, 0);
	g[1] = g[0];
	g[1].data += g[0].row_bytes;
	for (uint32_t row = 0; row < w->rows; row += PAIR_ROWS) {
		uint32_t left = w->rows - row;

		g[0].rows = left < VGPU_GROUP_ROWS ? left : VGPU_GROUP_ROWS;
		g[1].rows = left < PAIR_ROWS ? left - g[0].rows : VGPU_GROUP_ROWS;
		direct(g, x, y + row, ldy);
		g[0].data += 2 * g[0].row_bytes;
		g[1].data += 2 * g[0].row_bytes;
	}
}

static void direct_pairs(vgpu_direct_avx512 *direct, const struct vgpu_panel *w,
			 const struct vgpu_acts *x, float *y, size_t ldy, struct scratch *scratch)
{
	struct pair *p = scratch->pair;

	for (uint32_t row = 0; row < w->rows; row += PAIR_ROWS) {
		pair_init(p, w, row, y, scratch);
		direct(p->g, x, y + row, ldy);
	}
}

static void spans(const struct vgpu_panel *w, const struct vgpu_acts *x, float *y, size_t ldy,
		  struct scratch *scratch)
{
	uint32_t pairs = span_pairs(w, x), row = 0;

	while (row < w->rows) {
		uint32_t p = 0;

		for (; p < pairs && row < w->rows; p++, row += PAIR_ROWS)
			pair_init(&scratch->pair[p], w, row, y, scratch);
		span_product(x, ldy, p, scratch);
	}
}

void vgpu_matmul_avx512(const struct vgpu_panel *w, const struct vgpu_acts *x, float *y,
			size_t ldy, void *memory)
{
	enum vgpu_wformat format = vgpu_regroup_format(w->format);
	vgpu_direct_avx512 *direct = vgpu_direct_of_avx512(format, x);

	if (vgpu_matmul_mode(w->format, x->mode) != x->mode)
		vgpu_product_none(w, x, y, ldy);
	else if (direct && format == w->format)
		direct_in_place(direct, w, x, y, ldy);
	else if (direct)
		direct_pairs(direct, w, x, y, ldy, memory);
	else
		spans(w, x, y, ldy, memory);
}

void vgpu_matmul_init_avx512(struct vgpu_kernels *t)
{
	t->acts_pack = vgpu_acts_pack_avx512;
	t->matmul = vgpu_matmul_avx512;
	t->matmul_transposed = vgpu_matmul_transposed_avx512;
}
