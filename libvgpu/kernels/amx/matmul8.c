// SPDX-License-Identifier: MIT
/*
 * Products in mode A8 by tiles of 16 x 16 results, AMX-INT8.
 *
 * Columns go in chunks, as in matmul.c: of a span of groups a chunk's weights are brought into
 * lines, once for up to 512 rows of activations.  A tile's chunk of activations and a group's
 * chunk of weights, 11 and 9 KiB with their scales, meet in L1; the other groups come from L2.
 * Sums stay tile by tile until all columns are through.
 */
#include "kernels/amx/matmul8.h"

#include "kernels/amx/tile8.h"
#include "kernels/avx512/matmul.h"
#include "kernels/avx512/regroup.h"

#define SPAN_GROUPS	16u
#define PART_TILES	32u
#define PART_ROWS	(PART_TILES * 16)
#define CHUNK_BLOCKS	16u

/**
 * struct span8 - some groups of weights, and what is made of them; in a thread's scratch
 * @w: a chunk of each group
 * @lines, @scale: that of one as a slab
 * @sum: tile t of the activations by group g
 * @kind: of all of them
 */
struct span8 {
	struct vgpu_amx_weight8 w[SPAN_GROUPS][CHUNK_BLOCKS];
	uint8_t lines[CHUNK_BLOCKS * 512] __attribute__((aligned(64)));
	float scale[CHUNK_BLOCKS * 32] __attribute__((aligned(64)));
	float sum[PART_TILES][SPAN_GROUPS][256] __attribute__((aligned(64)));
	vgpu_amx_part8 part[2];
	struct vgpu_group group[SPAN_GROUPS];
	enum vgpu_g16_kind kind;
	uint32_t groups;
	uint8_t regrouped[] __attribute__((aligned(64)));
};
_Static_assert(sizeof(struct span8) <= VGPU_AMX_SCRATCH_BYTES, "scratch too small");

/* Activations in tiles 4 and 5, weights in 6 and 7, of so many columns. */
static void configure(uint32_t columns)
{
	struct vgpu_tile_config c = { .palette = 1 };

	for (uint32_t i = 0; i < 8; i++) {
		c.lines[i] = (uint8_t)(i < 6 ? 16 : columns / 4);
		c.line_bytes[i] = (uint16_t)(i == 4 || i == 5 ? columns : 64);
	}
	vgpu_tiles_configure(&c);
}

/* The codes of a slab are unsigned, 128 added. */
static void block_take(struct vgpu_amx_weight8 *to, const struct vgpu_slab *from, uint32_t block)
{
	const uint8_t *line = from->lines + block / 4 * from->tile_bytes + block % 4 * 512;
	const float *scale = from->scale + block * vgpu_slab_scales(from->kind);
	const __m512i sign = _mm512_set1_epi8((char)VGPU_INT8_ZERO);

	for (uint32_t u = 0; u < 8; u++)
		_mm512_store_si512(to->lines[u],
				   _mm512_xor_si512(_mm512_load_si512(line + u * 64), sign));
	_mm512_store_ps(to->scale, _mm512_load_ps(scale));
	if (from->kind != VGPU_KIND_PLAIN)
		_mm512_store_ps(to->more, _mm512_load_ps(scale + 16));
}

static void span_fill(struct span8 *s, uint32_t first, uint32_t blocks)
{
	struct vgpu_slab slab;

	for (uint32_t g = 0; g < s->groups; g++) {
		vgpu_slab_fill_avx512(&slab, s->lines, s->scale, &s->group[g], VGPU_MODE_A8,
				      first * VGPU_BLOCK, blocks);
		for (uint32_t b = 0; b < blocks; b++)
			block_take(&s->w[g][b], &slab, b);
	}
}

/* A chunk of all groups by tile t, which is row row of the activations on. */
static void chunk_tile(struct span8 *s, const struct vgpu_acts *x, uint32_t row, uint32_t t,
		       uint32_t first, uint32_t blocks)
{
	struct vgpu_amx_piece8 p[SPAN_GROUPS];
	bool more = first > 0, few = x->m - row <= 8;

	for (uint32_t g = 0; g < s->groups; g++)
		p[g] = (struct vgpu_amx_piece8){ s->w[g], vgpu_amx_block8_at(x, row, first),
						 s->sum[t][g] };
	if (s->kind == VGPU_KIND_PLAIN && few)
		pieces8(p, s->groups, blocks, s->part, VGPU_KIND_PLAIN, 8, more);
	else if (s->kind == VGPU_KIND_PLAIN)
		pieces8(p, s->groups, blocks, s->part, VGPU_KIND_PLAIN, 16, more);
	else if (s->kind == VGPU_KIND_MINIMUM && few)
		pieces8(p, s->groups, blocks, s->part, VGPU_KIND_MINIMUM, 8, more);
	else if (s->kind == VGPU_KIND_MINIMUM)
		pieces8(p, s->groups, blocks, s->part, VGPU_KIND_MINIMUM, 16, more);
	else if (few)
		pieces8_halves(p, s->groups, blocks, s->part, 8, more);
	else
		pieces8_halves(p, s->groups, blocks, s->part, 16, more);
}

static void span_out(const struct span8 *s, float *y, size_t ldy, uint32_t rows)
{
	for (uint32_t i = 0; i < rows; i++)
		for (uint32_t g = 0; g < s->groups; g++)
			_mm512_mask_storeu_ps(y + i * ldy + g * 16,
					      (__mmask16)((1u << s->group[g].rows) - 1),
					      _mm512_load_ps(s->sum[i / 16][g] + i % 16 * 16));
}

/* Rows first .. first + rows - 1 of the activations, at most PART_ROWS. */
static void part_product(struct span8 *s, const struct vgpu_acts *x, uint32_t first, uint32_t rows,
			 float *y, size_t ldy)
{
	uint32_t all = x->kpad / VGPU_BLOCK;

	for (uint32_t b = 0; b < all; b += CHUNK_BLOCKS) {
		uint32_t blocks = all - b < CHUNK_BLOCKS ? all - b : CHUNK_BLOCKS;

		span_fill(s, b, blocks);
		for (uint32_t i = 0; i < rows; i += 16)
			chunk_tile(s, x, first + i, i / 16, b, blocks);
	}
	span_out(s, y + first * ldy, ldy, rows);
}

/* Group g of the span: rows first .. first + 15 of the panel. */
static void group_init(struct span8 *s, uint32_t g, const struct vgpu_panel *w, uint32_t first)
{
	size_t bytes = vgpu_weight_unit_bytes(vgpu_regroup_format(w->format), w->k);

	vgpu_group_of_panel_avx512(&s->group[g], w, first, s->regrouped + g * bytes);
}

void vgpu_matmul8_amx(const struct vgpu_panel *w, const struct vgpu_acts *x, float *y, size_t ldy,
		      void *scratch)
{
	/* Those regrouped have room for two. */
	uint32_t groups = vgpu_regroup_format(w->format) != w->format ? 2 : SPAN_GROUPS;
	struct span8 *s = scratch;

	s->kind = vgpu_g16_kind(vgpu_regroup_format(w->format));
	configure(s->kind == VGPU_KIND_HALVES ? 16 : 32);
	for (uint32_t row = 0; row < w->rows; row += groups * 16) {
		s->groups = 0;
		for (uint32_t r = row; r < w->rows && s->groups < groups; r += 16)
			group_init(s, s->groups++, w, r);
		for (uint32_t i = 0; i < x->m; i += PART_ROWS)
			part_product(s, x, i, x->m - i < PART_ROWS ? x->m - i : PART_ROWS, y + row,
				     ldy);
	}
	_tile_release();
}
