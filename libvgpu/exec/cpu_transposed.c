// SPDX-License-Identifier: MIT
/*
 * MATMUL_TRANSPOSED on the CPU: the output is cut at columns and, where these are few, at rows.
 * A part goes over the panel's rows in ascending order and adds to what the panels before left in
 * it, so that neither the tier's size nor the number of threads shows in a bit.
 */
#include "cpu_product.h"

/*
 * Rows of activations of a part: each decodes the panel anew, which from the least on is little
 * beside the multiplications, and the most of them stay in L2.
 */
#define PART_LEAST	64u
#define PART_MOST	512u
/* Rough speed of one thread. */
#define MACS_A_NS	64u
#define COPIED_A_NS	8u

/**
 * struct transposed - a panel on its way
 * @part: of all rows and columns; the item says which
 * @rows: of activations, of a part
 * @col_parts: parts behind each other
 */
struct transposed {
	const struct vgpu_cpu *cpu;
	enum vgpu_wformat format;
	uint32_t k;
	struct vgpu_transposed part;
	const struct vgpu_block *block;
	uint32_t blocks, rows, col_parts;
};

static void block_bring(void *ctx, size_t item)
{
	vgpu_block_bring((struct vgpu_block *)ctx + item);
}

/* What is cut for threads and lies together is multiplied together: whole slabs.  Return: blocks. */
static uint32_t blocks_join(struct vgpu_block *block, uint32_t n, const struct vgpu_panel_work *p)
{
	uint32_t last = 0;

	for (uint32_t i = 1; i < n; i++) {
		uint64_t bytes = block[last].rows / p->unit_rows * p->unit_bytes[0];

		if (block[i].data == block[last].data + bytes)
			block[last].rows += block[i].rows;
		else
			block[++last] = block[i];
	}
	return last + 1;
}

static void transposed_part(void *ctx, size_t item)
{
	const struct transposed *t = ctx;
	uint32_t row = (uint32_t)(item / t->col_parts) * t->rows;
	struct vgpu_transposed part = t->part;

	part.m = part.m - row < t->rows ? part.m - row : t->rows;
	part.x += row * part.ldx;
	part.y += row * part.ldy;
	part.first = (uint32_t)(item % t->col_parts) * VGPU_TRANSPOSED_COLS;
	part.end = t->k - part.first < VGPU_TRANSPOSED_COLS ? t->k : part.first + VGPU_TRANSPOSED_COLS;
	for (const struct vgpu_block *b = t->block; b < t->block + t->blocks; b++) {
		struct vgpu_panel panel = { .format = t->format, .rows = b->rows, .k = t->k,
					    .data = b->data, .scales = b->scales };

		t->cpu->k->matmul_transposed(&panel, &part, vgpu_cpu_scratch(t->cpu));
		part.x += b->rows;
		part.add = true;
	}
}

/* Something for everybody, and for who is ready first. */
static uint32_t part_rows(const struct vgpu_cpu *cpu, uint32_t m, uint32_t col_parts)
{
	uint32_t rows = m < PART_MOST ? m : PART_MOST;

	while (rows > PART_LEAST && (uint64_t)(m / rows) * col_parts < 4 * cpu->threads)
		rows = (rows + 1) / 2;
	return rows;
}

int vgpu_transposed_panel(const struct vgpu_product *d, const struct vgpu_work *w,
			  const struct vgpu_panel_work *p)
{
	const struct vb_cmd_matmul_transposed *c = (const void *)w->cmd;
	uint32_t m = c->x.shape[0], k = c->w.shape[1];
	struct transposed t = {
		.cpu = d->cpu, .format = c->w.format, .k = k, .block = d->block,
		.col_parts = (k - 1) / VGPU_TRANSPOSED_COLS + 1,
		.part = { .x = (const float *)w->ptr[0] + p->row, .ldx = vgpu_cpu_stride(&c->x, 0),
			  .y = w->ptr[3], .ldy = vgpu_cpu_stride(&c->y, 0), .m = m,
			  .add = p->row > 0 },
	};
	uint64_t bytes = p->rows / p->unit_rows * p->unit_bytes[0], items;
	int rc = vgpu_cpu_scratch_grow(d->cpu, vgpu_matmul_scratch_bytes(t.format, k));

	if (!rc)
		rc = vgpu_cpu_run(d->cpu, w, block_bring, d->block, d->blocks, bytes / COPIED_A_NS);
	if (rc)
		return rc;
	t.blocks = blocks_join(d->block, d->blocks, p);
	t.rows = part_rows(d->cpu, m, t.col_parts);
	items = (uint64_t)t.col_parts * ((m - 1) / t.rows + 1);
	return vgpu_cpu_run(d->cpu, w, transposed_part, &t, items,
			    (uint64_t)p->rows * k * m / MACS_A_NS);
}
