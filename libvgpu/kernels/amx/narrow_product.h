/* SPDX-License-Identifier: MIT */
/*
 * At one row of activations a product is bound by memory, if nothing waits.  So lines are made
 * two blocks before they are multiplied, and what leaves the tiles is looked at when the next
 * results do: a store is not forwarded to a load of a tile, nor a tile's to a vector's.
 *
 * Groups take turns: a TDPBF16PS waits 52 cycles for the one before it of the same tile.
 *
 * A tile's way to memory takes 16 cycles, however few its rows.  So blocks that are not
 * plain share one: each has rows of its own, and zeros in the others, which change no sum of
 * numbers that are finite, as integers are.
 *
 * make and kind are constants at every call, and what a table has stays in registers: its
 * load would wait for a store to the same place in another page.
 */
#ifndef VGPU_AMX_NARROW_PRODUCT_H
#define VGPU_AMX_NARROW_PRODUCT_H

#include <string.h>

#include "kernels/amx/lines_block.h"
#include "kernels/amx/narrow.h"

#define NARROW_INLINE static inline __attribute__((always_inline))
/* Lines are overwritten as soon as they are in a tile. */
#define NARROW_AHEAD	VGPU_NARROW_LINES
_Static_assert(VGPU_NARROW_GROUPS * 32 == LINES_SCALE_STEP, "scales lie elsewhere");

NARROW_INLINE void narrow_fill(struct vgpu_narrow *n, lines_block *make,
			       const struct vgpu_g16_table *table, uint32_t g, uint32_t b)
{
	make(n->lines[b % VGPU_NARROW_LINES][g], n->scale[b % VGPU_NARROW_SCALES][g],
	     &n->group[g], b, table);
}

/* The compiler would make it anew for each block. */
NARROW_INLINE void table_keep(struct vgpu_g16_table *table)
{
	__asm__("" : "+v"(table->u8), "+v"(table->low));
}

/* Lines of the first blocks. */
NARROW_INLINE void narrow_begin(struct vgpu_narrow *n, lines_block *make,
				const struct vgpu_g16_table *table, uint32_t all)
{
	uint32_t blocks = all < NARROW_AHEAD ? all : NARROW_AHEAD;

	for (uint32_t i = 0; i < blocks * n->groups; i++)
		narrow_fill(n, make, table, i % n->groups, i / n->groups);
}

NARROW_INLINE void acts_load(const struct vgpu_amx_acts *a)
{
	_tile_loadd(6, a->lines, 64);
	if (a->low[0])
		_tile_loadd(7, a->lines + a->rows * 64, 64);
}

/* Lines w by tiles 6 and, where there are low parts, 7. */
#define LINES_ADD(t, w, weights, low) do {					\
	_tile_loadd(weights, w, 64);						\
	_tile_dpbf16ps(t, 6, weights);						\
	if (low)								\
		_tile_dpbf16ps(t, 7, weights);					\
} while (0)

/* The tile of a group is an instruction's constant. */
NARROW_INLINE void group_multiply(const uint8_t *lines, uint32_t g, bool low)
{
	switch (g) {
	case 0:
		LINES_ADD(0, lines, 4, low);
		break;
	case 1:
		LINES_ADD(1, lines, 5, low);
		break;
	case 2:
		LINES_ADD(2, lines, 4, low);
		break;
	default:
		LINES_ADD(3, lines, 5, low);
		break;
	}
}

static void tiles_out(vgpu_amx_tile part[4])
{
	tiles_store(part);
	tiles_zero();
}

/* A chunk to the sums. */
static void chunk_add(struct vgpu_narrow *n, uint32_t chunk, uint32_t rows)
{
	for (uint32_t g = 0; g < n->groups; g++)
		sum_add(n->sum[g], n->part[chunk % 2][g], rows, chunk > 0);
}

/* Results of a chunk leave the tiles; those of the one before have by now. */
static void chunk_end(struct vgpu_narrow *n, uint32_t chunk, uint32_t rows)
{
	if (chunk)
		chunk_add(n, chunk - 1, rows);
	tiles_out(n->part[chunk % 2]);
}

NARROW_INLINE void narrow_plain(struct vgpu_narrow *n, const struct vgpu_acts *x,
				lines_block *make, const struct vgpu_g16_table *table)
{
	uint32_t all = x->kpad / VGPU_BLOCK;

	narrow_begin(n, make, table, all);
	tiles_zero();
	for (uint32_t b = 0; b < all; b++) {
		struct vgpu_amx_acts a = vgpu_amx_acts_at(x, 0, b);

		acts_load(&a);
#pragma GCC unroll 4
		for (uint32_t g = 0; g < VGPU_NARROW_GROUPS; g++) {
			if (g >= n->groups)
				break;
			group_multiply(n->lines[b % VGPU_NARROW_LINES][g], g, a.low[0]);
			if (b + NARROW_AHEAD < all)
				narrow_fill(n, make, table, g, b + NARROW_AHEAD);
		}
		if ((b + 1) % VGPU_AMX_CHUNK == 0 || b + 1 == all)
			chunk_end(n, b / VGPU_AMX_CHUNK, x->m);
	}
	chunk_add(n, (all - 1) / VGPU_AMX_CHUNK, x->m);
}

/* What blocks that are not plain need: rows of a block in a tile, and blocks that share one. */
struct narrow_slots {
	uint32_t rows, slots;
};

NARROW_INLINE struct narrow_slots narrow_slots(uint32_t m, enum vgpu_g16_kind kind)
{
	uint32_t rows = kind == VGPU_KIND_HALVES ? 2 * m : m, slots = VGPU_TILE_ROWS / rows;

	return (struct narrow_slots){ rows, slots < VGPU_NARROW_SLOTS ? slots : VGPU_NARROW_SLOTS };
}

/*
 * A block's activations between the rows of zeros; of halves the first half of each row, and
 * then the second, each with zeros for the other.
 */
NARROW_INLINE void acts_place(uint8_t (*to)[64], const uint8_t *lines, uint32_t m,
			      enum vgpu_g16_kind kind)
{
	to += VGPU_NARROW_MARGIN;
	for (uint32_t i = 0; i < m; i++) {
		__m512i line = _mm512_load_si512(lines + i * 64);

		if (kind == VGPU_KIND_HALVES) {
			_mm512_store_si512(to[m + i], _mm512_maskz_mov_epi64(0xf0, line));
			line = _mm512_maskz_mov_epi64(0x0f, line);
		}
		_mm512_store_si512(to[i], line);
	}
}

NARROW_INLINE void block_place(struct vgpu_narrow *n, const struct vgpu_acts *x, uint32_t b,
			       enum vgpu_g16_kind kind)
{
	struct vgpu_amx_acts a = vgpu_amx_acts_at(x, 0, b);

	acts_place(n->acts[b % 2][0], a.lines, x->m, kind);
	if (a.low[0])
		acts_place(n->acts[b % 2][1], a.lines + x->m * 64, x->m, kind);
}

/* So that the rows of the block are those of its slot. */
NARROW_INLINE void slot_load(struct vgpu_narrow *n, uint32_t b, struct narrow_slots s, bool low)
{
	uint32_t first = VGPU_NARROW_MARGIN - b % s.slots * s.rows;

	_tile_loadd(6, n->acts[b % 2][0][first], 64);
	if (low)
		_tile_loadd(7, n->acts[b % 2][1][first], 64);
}

/*
 * A row by a group: sum += part * scale, and the minimum times the activations' sums, of the
 * blocks of a tile.
 */
NARROW_INLINE void row_add(struct vgpu_narrow *n, const float *group_sum, const float *part,
			   uint32_t g, uint32_t row, uint32_t first, uint32_t blocks, uint32_t m,
			   enum vgpu_g16_kind kind)
{
	const uint32_t step = (kind == VGPU_KIND_HALVES ? 2 : 1) * m * 16;
	__m512 sum = _mm512_load_ps(n->sum[g] + row * 16);

	for (uint32_t b = 0; b < blocks; b++, part += step, group_sum += m) {
		const float *scale = n->scale[(first + b) % VGPU_NARROW_SCALES][g];

		sum = _mm512_fmadd_ps(_mm512_load_ps(part), _mm512_load_ps(scale), sum);
		if (kind == VGPU_KIND_HALVES)
			sum = _mm512_fmadd_ps(_mm512_load_ps(part + m * 16),
					      _mm512_load_ps(scale + 16), sum);
		if (kind == VGPU_KIND_MINIMUM)
			sum = _mm512_fmadd_ps(_mm512_set1_ps(*group_sum),
					      _mm512_load_ps(scale + 16), sum);
	}
	_mm512_store_ps(n->sum[g] + row * 16, sum);
}

NARROW_INLINE void slots_add(struct vgpu_narrow *n, const struct vgpu_acts *x, uint32_t run,
			     struct narrow_slots s, enum vgpu_g16_kind kind)
{
	uint32_t first = run * s.slots, left = x->kpad / VGPU_BLOCK - first;
	uint32_t blocks = left < s.slots ? left : s.slots;
	const float *group_sum = vgpu_amx_acts_at(x, 0, first).sum;

	for (uint32_t g = 0; g < n->groups; g++)
		for (uint32_t i = 0; i < x->m; i++)
			row_add(n, group_sum + i, n->part[run % 2][g] + i * 16, g, i, first, blocks,
				x->m, kind);
}

NARROW_INLINE void narrow_scaled(struct vgpu_narrow *n, const struct vgpu_acts *x,
				 lines_block *make, const struct vgpu_g16_table *table,
				 enum vgpu_g16_kind kind)
{
	const struct narrow_slots s = narrow_slots(x->m, kind);
	uint32_t all = x->kpad / VGPU_BLOCK, runs = 0;

	memset(n->acts, 0, sizeof(n->acts));
	memset(n->sum, 0, sizeof(n->sum));
	narrow_begin(n, make, table, all);
	block_place(n, x, 0, kind);
	tiles_zero();
	for (uint32_t b = 0; b < all; b++) {
		bool low = *vgpu_amx_acts_at(x, 0, b).low;

		slot_load(n, b, s, low);
#pragma GCC unroll 4
		for (uint32_t g = 0; g < VGPU_NARROW_GROUPS; g++) {
			if (g >= n->groups)
				break;
			group_multiply(n->lines[b % VGPU_NARROW_LINES][g], g, low);
			if (b + NARROW_AHEAD < all)
				narrow_fill(n, make, table, g, b + NARROW_AHEAD);
		}
		if (b + 1 < all)
			block_place(n, x, b + 1, kind);
		if (b % s.slots != s.slots - 1 && b + 1 < all)
			continue;
		if (runs)
			slots_add(n, x, runs - 1, s, kind);
		tiles_out(n->part[runs++ % 2]);
	}
	slots_add(n, x, runs - 1, s, kind);
}

/* The product of a format of pack/g16_type.h by its row. */
#define NARROW_G16(name, row, kind)							\
static const struct vgpu_g16_type type_##name = row;					\
											\
LINES_INLINE void lines_##name(uint8_t *lines, float *scale, const struct vgpu_group *g,	\
			       uint32_t block, const struct vgpu_g16_table *table)	\
{											\
	lines_g16(lines, scale, g, block, table, &type_##name);				\
}											\
											\
void vgpu_narrow_##name(struct vgpu_narrow *n, const struct vgpu_acts *x)		\
{											\
	struct vgpu_g16_table table = g16_lines_table(&type_##name);			\
											\
	table_keep(&table);								\
	narrow_scaled(n, x, lines_##name, &table, kind);				\
}

#endif
