/* SPDX-License-Identifier: MIT */
/*
 * Products by a weight from the left on vectors; the contract is that of kernels.h.  Include the
 * level's vec.h first, and say how many rows by how many vectors a tile has.
 *
 * SLAB_ROWS rows of some columns are decoded to f32, once for all rows of activations.  A strip of
 * the slab, as wide as a tile, stays in L1 while every tile passes over it: a lane is a column,
 * and adds up rows in ascending order, so that no cut of the work changes a bit.
 *
 * What is decoded is a panel of its own: a row of a row-major format, or a group of 16 rows, from a
 * multiple of VGPU_TRANSPOSED_COLS columns on.  Blocks of GGUF that decoders leave to the reference
 * are regrouped first.
 */
#ifndef VGPU_KERNELS_SIMD_TRANSPOSED_H
#define VGPU_KERNELS_SIMD_TRANSPOSED_H

#include <string.h>

#include "kernels/avx2/decode.h"
#include "kernels/pack/blocks.h"
#include "kernels/pack/group.h"

#define SLAB_ROWS	128u
#define SLAB_COLS	VGPU_TRANSPOSED_COLS
/* Rows a power of two apart would share few lines of L1. */
#define SLAB_LD		(SLAB_COLS + 16)
#define STRIP_COLS	(TILE_VECTORS * VL)
/* A group of INT8_G16, the longest that blocks are regrouped to. */
#define GROUP_BYTES	(SLAB_COLS / VGPU_G16_TILE_COLS * VGPU_INT8_TILE)

/* A thread's scratch; vgpu_matmul_scratch_bytes() counts it. */
struct transposed_scratch {
	float slab[SLAB_ROWS][SLAB_LD];
	float edge[TILE_ROWS][STRIP_COLS];
	uint8_t rows[GROUP_BYTES] __attribute__((aligned(64)));
	uint8_t group[GROUP_BYTES] __attribute__((aligned(64)));
};
_Static_assert(sizeof(struct transposed_scratch) <= VGPU_PANEL_BYTES, "panel too small");

typedef void regroup_fn(uint8_t *dst, const struct vgpu_panel *w, uint32_t first, uint32_t rows);

/* ------------------------------------------------------------------------
 * Slabs
 */

/* Bytes from a unit's first to those of a column, a multiple of SLAB_COLS. */
static size_t unit_offset(enum vgpu_wformat format, uint32_t col)
{
	/* Whole tiles are as long as a weight of as many columns. */
	return col ? vgpu_weight_unit_bytes(format, col) : 0;
}

/* The unit of a panel that begins at a row, from a column on. */
static struct vgpu_panel unit_at(const struct vgpu_panel *w, uint32_t row, uint32_t col,
				 uint32_t cols)
{
	uint32_t unit_rows = vgpu_weight_unit_rows(w->format), left = w->rows - row;
	struct vgpu_panel unit = {
		.format = w->format, .rows = left < unit_rows ? left : unit_rows, .k = cols,
		.data = (const uint8_t *)w->data + unit_offset(w->format, col) +
			row / unit_rows * vgpu_weight_unit_bytes(w->format, w->k),
	};

	if (w->scales)
		unit.scales = w->scales + (size_t)row * (w->k / VGPU_BLOCK) + col / VGPU_BLOCK;
	return unit;
}

/* 16 rows of blocks, or those that are left, brought together and regrouped. */
static struct vgpu_panel blocks_at(const struct vgpu_panel *w, uint32_t row, uint32_t col,
				   uint32_t cols, struct transposed_scratch *s, regroup_fn *regroup)
{
	uint32_t left = w->rows - row, rows = left < VGPU_GROUP_ROWS ? left : VGPU_GROUP_ROWS;
	size_t bytes = vgpu_weight_unit_bytes(w->format, cols);
	struct vgpu_panel blocks = { .format = w->format, .rows = rows, .k = cols, .data = s->rows };
	struct vgpu_panel group = { .format = vgpu_regroup_format(w->format), .rows = rows,
				    .k = cols, .data = s->group };

	for (uint32_t i = 0; i < rows; i++)
		memcpy(s->rows + i * bytes, unit_at(w, row + i, col, cols).data, bytes);
	regroup(s->group, &blocks, 0, rows);
	return group;
}

/* Blocks whose decoder is the reference's. */
static bool is_regrouped(enum vgpu_wformat format)
{
	return vgpu_g16_of_source(format) != NULL;
}

/* Zeros up to a whole strip: what is multiplied there is not stored. */
static void slab_end(float (*slab)[SLAB_LD], uint32_t rows, uint32_t cols)
{
	uint32_t end = (cols + STRIP_COLS - 1) / STRIP_COLS * STRIP_COLS;

	for (uint32_t r = 0; r < rows && end > cols; r++)
		memset(slab[r] + cols, 0, (end - cols) * sizeof(**slab));
}

static void slab_fill(struct transposed_scratch *s, const struct vgpu_panel *w, uint32_t row,
		      uint32_t rows, uint32_t col, uint32_t cols, regroup_fn *regroup)
{
	struct vgpu_panel unit;

	for (uint32_t r = 0; r < rows; r += unit.rows) {
		unit = is_regrouped(w->format) ? blocks_at(w, row + r, col, cols, s, regroup) :
						 unit_at(w, row + r, col, cols);
		vgpu_weight_decode_avx2(&unit, s->slab[r], SLAB_LD);
	}
	slab_end(s->slab, rows, cols);
}

/* ------------------------------------------------------------------------
 * Tiles
 */

/**
 * struct transposed_tile - rows of activations by a strip
 * @y, @ldy: where results go, a strip of columns
 * @x, @ldx: the activations of the slab's rows
 * @w: the strip's first column in the slab
 * @rows: of the slab
 * @add: to what is in @y
 */
struct transposed_tile {
	float *y;
	size_t ldy;
	const float *x;
	size_t ldx;
	const float *w;
	uint32_t rows;
	bool add;
};

/* mt is a constant at every call, so that sums stay in registers. */
VEC_INLINE void tile_rows(const struct transposed_tile *t, uint32_t mt)
{
	vf sum[TILE_ROWS][TILE_VECTORS], w[TILE_VECTORS];

#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++)
#pragma GCC unroll 8
		for (uint32_t v = 0; v < TILE_VECTORS; v++)
			sum[i][v] = t->add ? vf_load(t->y + i * t->ldy + v * VL) : vf_zero();
	for (uint32_t r = 0; r < t->rows; r++) {
#pragma GCC unroll 8
		for (uint32_t v = 0; v < TILE_VECTORS; v++)
			w[v] = vf_load(t->w + (size_t)r * SLAB_LD + v * VL);
#pragma GCC unroll 8
		for (uint32_t i = 0; i < mt; i++) {
			vf x = vf_set(t->x[i * t->ldx + r]);

#pragma GCC unroll 8
			for (uint32_t v = 0; v < TILE_VECTORS; v++)
				sum[i][v] = vf_fma(x, w[v], sum[i][v]);
		}
	}
#pragma GCC unroll 8
	for (uint32_t i = 0; i < mt; i++)
#pragma GCC unroll 8
		for (uint32_t v = 0; v < TILE_VECTORS; v++)
			vf_store(t->y + i * t->ldy + v * VL, sum[i][v]);
}

static void tile(const struct transposed_tile *t, uint32_t mt)
{
	_Static_assert(TILE_ROWS == 6, "a case for each");
	switch (mt) {
	case 1: tile_rows(t, 1); break;
	case 2: tile_rows(t, 2); break;
	case 3: tile_rows(t, 3); break;
	case 4: tile_rows(t, 4); break;
	case 5: tile_rows(t, 5); break;
	default: tile_rows(t, 6); break;
	}
}

/* A strip that ends early: results go through scratch. */
static void tile_edge(const struct transposed_tile *t, uint32_t mt, uint32_t cols,
		      float (*edge)[STRIP_COLS])
{
	struct transposed_tile e = *t;

	e.y = edge[0];
	e.ldy = STRIP_COLS;
	memset(edge, 0, mt * sizeof(*edge));
	for (uint32_t i = 0; i < mt && t->add; i++)
		memcpy(edge[i], t->y + i * t->ldy, cols * sizeof(float));
	tile(&e, mt);
	for (uint32_t i = 0; i < mt; i++)
		memcpy(t->y + i * t->ldy, edge[i], cols * sizeof(float));
}

/* All rows of activations by a strip. */
static void strip_product(struct transposed_tile t, uint32_t m, uint32_t cols,
			  float (*edge)[STRIP_COLS])
{
	for (uint32_t i = 0; i < m; i += TILE_ROWS) {
		uint32_t mt = m - i < TILE_ROWS ? m - i : TILE_ROWS;

		if (cols < STRIP_COLS)
			tile_edge(&t, mt, cols, edge);
		else
			tile(&t, mt);
		t.y += TILE_ROWS * t.ldy;
		t.x += TILE_ROWS * t.ldx;
	}
}

/* All rows of activations by a slab that begins at a row and a column. */
static void slab_product(struct transposed_scratch *s, const struct vgpu_transposed *p,
			 uint32_t row, uint32_t rows, uint32_t col, uint32_t cols)
{
	struct transposed_tile t = { .ldy = p->ldy, .x = p->x + row, .ldx = p->ldx, .rows = rows,
				     .add = p->add || row };

	for (uint32_t c = 0; c < cols; c += STRIP_COLS) {
		t.y = p->y + col + c;
		t.w = s->slab[0] + c;
		strip_product(t, p->m, cols - c < STRIP_COLS ? cols - c : STRIP_COLS, s->edge);
	}
}

static inline void transposed(const struct vgpu_panel *w, const struct vgpu_transposed *p,
			      struct transposed_scratch *s, regroup_fn *regroup)
{
	if (!p->m)
		return;
	for (uint32_t col = p->first; col < p->end; col += SLAB_COLS) {
		uint32_t cols = p->end - col < SLAB_COLS ? p->end - col : SLAB_COLS;

		for (uint32_t row = 0; row < w->rows; row += SLAB_ROWS) {
			uint32_t rows = w->rows - row < SLAB_ROWS ? w->rows - row : SLAB_ROWS;

			slab_fill(s, w, row, rows, col, cols, regroup);
			slab_product(s, p, row, rows, col, cols);
		}
	}
}

#endif
