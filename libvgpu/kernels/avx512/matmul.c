// SPDX-License-Identifier: MIT
/*
 * Products, AVX-512.
 *
 * Rows of weights go in pairs of groups, 32 at a time; their columns in chunks of
 * 1024 (A8), 512 (A16) or 256 (F32), so that a chunk of 32 rows is a 32 KiB slab that
 * stays in L1 while every tile of 8 rows of activations passes over it.  Formats
 * differ only in how a slab is filled.  Up to 8 rows MXFP4, Q4_0, Q4_K and INT4 skip
 * the slab: direct_product.h expands codes in registers, and adds in the same order.
 */
#include <math.h>
#include "kernels/avx512/direct.h"
#include "kernels/avx512/matmul.h"
#include "kernels/avx512/regroup.h"
#include "kernels/avx512/tile.h"

/* A thread's scratch; vgpu_matmul_scratch_bytes() counts it. */
struct scratch {
	struct vgpu_slab_memory slab[2];
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

static void tile(const struct vgpu_out *o, const struct vgpu_slab w[2],
		 const struct vgpu_acts *x, uint32_t row, uint32_t first, uint32_t blocks)
{
	uint32_t mt = x->m - row < VGPU_MT ? x->m - row : VGPU_MT;
	size_t at = (size_t)row * x->kpad + (size_t)first * mt;

	if (x->mode == VGPU_MODE_F32)
		SWITCH_MT(mt, TILE_F32);
	else if (x->mode == VGPU_MODE_A8 && w->kind == VGPU_KIND_PLAIN)
		SWITCH_MT(mt, TILE_A8);
	else if (x->mode == VGPU_MODE_A8 && w->kind == VGPU_KIND_MINIMUM)
		SWITCH_MT(mt, TILE_A8_MINIMUM);
	else if (x->mode == VGPU_MODE_A8)
		SWITCH_MT(mt, TILE_A8_HALVES);
	else if (w->kind == VGPU_KIND_PLAIN)
		SWITCH_MT(mt, TILE_A16);
	else if (w->kind == VGPU_KIND_MINIMUM)
		SWITCH_MT(mt, TILE_A16_MINIMUM);
	else
		SWITCH_MT(mt, TILE_A16_HALVES);
}

/* All columns of two groups, all rows of activations. */
static void pair_product(const struct vgpu_group g[2], const struct vgpu_acts *x, float *y,
			 size_t ldy, struct scratch *scratch)
{
	uint32_t step = vgpu_slab_cols(x->mode);
	struct vgpu_slab w[2];
	struct vgpu_out o = {
		.ldy = ldy,
		.mask = { (__mmask16)((1u << g[0].rows) - 1), (__mmask16)((1u << g[1].rows) - 1) },
	};

	for (uint32_t first = 0; first < x->kpad; first += step) {
		uint32_t cols = x->kpad - first < step ? x->kpad - first : step;

		for (int v = 0; v < 2; v++)
			if (g[v].rows)
				vgpu_slab_fill_avx512(&w[v], scratch->slab[v].lines,
						      scratch->slab[v].scale, &g[v], x->mode,
						      first, cols / VGPU_BLOCK);
		if (!g[1].rows)
			w[1] = w[0];	/* multiplied, but not stored */
		o.more = first > 0;
		for (uint32_t row = 0; row < x->m; row += VGPU_MT) {
			o.y = y + row * ldy;
			tile(&o, w, x, row, first, cols / VGPU_BLOCK);
		}
	}
}

/* Rows row .. row + 15 of the panel; rows is 0 behind its end. */
static void group_init(struct vgpu_group *g, const struct vgpu_panel *w, uint32_t row,
		       uint8_t *scratch)
{
	size_t unit = vgpu_weight_unit_bytes(w->format, w->k);

	g->format = vgpu_regroup_format(w->format);
	g->rows = row >= w->rows ? 0 : w->rows - row < VGPU_GROUP_ROWS ? w->rows - row :
									 VGPU_GROUP_ROWS;
	g->k = w->k;
	g->row_bytes = unit;
	g->data = (const uint8_t *)w->data + row / vgpu_weight_unit_rows(w->format) * unit;
	if (g->format != w->format && g->rows) {
		vgpu_regroup_avx512(scratch, w, row, g->rows);
		g->data = scratch;
	}
}

static void fill_nan(const struct vgpu_panel *w, const struct vgpu_acts *x, float *y, size_t ldy)
{
	for (uint32_t i = 0; i < x->m; i++)
		for (uint32_t r = 0; r < w->rows; r++)
			y[i * ldy + r] = NAN;
}

void vgpu_matmul_avx512(const struct vgpu_panel *w, const struct vgpu_acts *x, float *y,
			size_t ldy, void *memory)
{
	enum vgpu_wformat format = vgpu_regroup_format(w->format);
	size_t group_bytes = vgpu_weight_unit_bytes(format, w->k);
	vgpu_direct_avx512 *direct = vgpu_direct_of_avx512(format, x);
	struct scratch *scratch = memory;
	struct vgpu_group g[2];

	if (vgpu_matmul_mode(w->format, x->mode) != x->mode) {
		fill_nan(w, x, y, ldy);
		return;
	}
	for (uint32_t row = 0; row < w->rows; row += 2 * VGPU_GROUP_ROWS) {
		group_init(&g[0], w, row, scratch->group);
		group_init(&g[1], w, row + VGPU_GROUP_ROWS, scratch->group + group_bytes);
		if (direct)
			direct(g, x, y + row, ldy);
		else
			pair_product(g, x, y + row, ldy, scratch);
	}
}

void vgpu_matmul_init_avx512(struct vgpu_kernels *t)
{
	t->acts_pack = vgpu_acts_pack_avx512;
	t->matmul = vgpu_matmul_avx512;
}
