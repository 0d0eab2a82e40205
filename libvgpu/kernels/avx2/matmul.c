// SPDX-License-Identifier: MIT
/*
 * Products, AVX2: groups of 16 rows, a chunk of their columns at a time in a slab of
 * 16 KiB, over which every tile of 4 rows of activations passes.  Formats differ only
 * in how a slab is filled.
 */
#include <cpuid.h>
#include <string.h>
#include "kernels/avx2/act.h"
#include "kernels/avx2/matmul.h"
#include "kernels/avx2/regroup.h"
#include "kernels/avx2/slab.h"
#include "kernels/avx2/tile_product.h"
#include "kernels/avx2/transposed.h"
#include "kernels/pack/g16.h"

typedef void tile_fn(const struct vgpu_out_avx2 *o, const struct vgpu_slab_avx2 *w,
		     const struct vgpu_acts *x, uint32_t row, uint32_t first, uint32_t blocks);

/* A thread's scratch; vgpu_matmul_scratch_bytes() counts it. */
struct scratch {
	struct vgpu_slab_avx2 slab;
	float edge[VGPU_MT_AVX2][VGPU_GROUP_ROWS];
	uint8_t group[] __attribute__((aligned(64)));
};
_Static_assert(sizeof(struct scratch) <= VGPU_PANEL_BYTES, "panel too small");

/* A group that ends early: 16 columns of results go through scratch. */
static void tile_edge(tile_fn *tile, const struct vgpu_out_avx2 *o, struct scratch *s,
		      const struct vgpu_acts *x, uint32_t row, uint32_t first, uint32_t blocks,
		      uint32_t cols)
{
	uint32_t mt = x->m - row < VGPU_MT_AVX2 ? x->m - row : VGPU_MT_AVX2;
	struct vgpu_out_avx2 edge = { s->edge[0], VGPU_GROUP_ROWS, o->more };

	memset(s->edge, 0, sizeof(s->edge));
	for (uint32_t i = 0; i < mt && o->more; i++)
		memcpy(s->edge[i], o->y + i * o->ldy, cols * sizeof(float));
	tile(&edge, &s->slab, x, row, first, blocks);
	for (uint32_t i = 0; i < mt; i++)
		memcpy(o->y + i * o->ldy, s->edge[i], cols * sizeof(float));
}

/* All columns of a group, all rows of activations. */
static void group_product(tile_fn *tile, const struct vgpu_group *g,
			  const struct vgpu_acts *x, float *y, size_t ldy, struct scratch *s)
{
	uint32_t step = vgpu_slab_cols_avx2(x->mode);

	for (uint32_t first = 0; first < x->kpad; first += step) {
		uint32_t cols = x->kpad - first < step ? x->kpad - first : step;
		uint32_t blocks = cols / VGPU_BLOCK;

		vgpu_slab_fill_avx2(&s->slab, g, vgpu_mode_is_a8(x->mode), first, blocks);
		for (uint32_t row = 0; row < x->m; row += VGPU_MT_AVX2) {
			struct vgpu_out_avx2 o = { y + row * ldy, ldy, first > 0 };

			if (g->rows == VGPU_GROUP_ROWS)
				tile(&o, &s->slab, x, row, first, blocks);
			else
				tile_edge(tile, &o, s, x, row, first, blocks, g->rows);
		}
	}
}

/* The group that begins at row of the panel. */
static void group_init(struct vgpu_group *g, const struct vgpu_panel *w, uint32_t row,
		       uint8_t *scratch)
{
	vgpu_group_at(g, w, row);
	if (g->format != w->format) {
		vgpu_regroup_avx2(scratch, w, row, g->rows);
		g->data = scratch;
	}
}

/*
 * BF16 weights by A16 take the way of F32: the activations are rounded and scaled already.
 */
static void matmul(tile_fn *tile, const struct vgpu_panel *w, const struct vgpu_acts *x,
		   float *y, size_t ldy, struct scratch *scratch)
{
	struct vgpu_group g;

	if (vgpu_matmul_mode(w->format, x->mode) != x->mode) {
		vgpu_product_none(w, x, y, ldy);
		return;
	}
	for (uint32_t row = 0; row < w->rows; row += VGPU_GROUP_ROWS) {
		group_init(&g, w, row, scratch->group);
		group_product(tile, &g, x, y + row, ldy, scratch);
	}
}

void vgpu_matmul_maddubs_avx2(const struct vgpu_panel *w, const struct vgpu_acts *x, float *y,
			      size_t ldy, void *scratch)
{
	matmul(vgpu_tile_avx2, w, x, y, ldy, scratch);
}

void vgpu_matmul_vnni_avx2(const struct vgpu_panel *w, const struct vgpu_acts *x, float *y,
			   size_t ldy, void *scratch)
{
	matmul(vgpu_tile_avxvnni, w, x, y, ldy, scratch);
}

/* Not every supported compiler's __builtin_cpu_supports() knows this one. */
static bool cpu_has_avxvnni(void)
{
	unsigned int a = 0, b, c, d;

	return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}

void vgpu_matmul_init_avx2(struct vgpu_kernels *t)
{
	t->acts_pack = vgpu_acts_pack_avx2;
	t->matmul = cpu_has_avxvnni() ? vgpu_matmul_vnni_avx2 : vgpu_matmul_maddubs_avx2;
	t->matmul_transposed = vgpu_matmul_transposed_avx2;
}
