// SPDX-License-Identifier: MIT
/*
 * Products on the CPU: a panel is cut into blocks of rows, the blocks go to the
 * threads, and each block gets its bias, activation and residual while it is warm.
 *
 * A panel comes in pieces, because its chunks lie in slots that need not be
 * adjacent.  Rows (or groups of 16) inside a piece are used where they are; the few
 * that lie across two pieces are copied together by who multiplies them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cpu_product.h"

/* Blocks a thread, and rows of the last ones, so that a slow thread does not hold up the panel. */
#define BLOCKS_A_THREAD	8u
#define BLOCK_ROWS	64u	/* kernels take two groups of 16 at a time, or four */
/* Rows of activations of which a panel takes no longer than reading it, or little. */
#define FEW_ROWS	4u
/* Rough speed of one thread, to decide whether a job is worth sharing. */
#define BYTES_A_NS	8u
#define MACS_A_NS	40u

/* ------------------------------------------------------------------------
 * Activations
 */

/*
 * So many rows at once that what is kept of them has room, in equal parts: a row's result
 * does not depend on those beside it.  More than one part is packed anew for each panel.
 */
uint32_t vgpu_cpu_rows_at_once(uint64_t row_bytes, uint32_t m)
{
	uint64_t most = VGPU_CPU_ROWS_BYTES / row_bytes, parts = most ? (m + most - 1) / most : m;
	uint32_t n = (uint32_t)((m + parts - 1) / parts), whole = (n + 7) & ~7u;

	/* Kernels take eight rows at a time. */
	return whole <= most ? whole : n;
}

uint64_t vgpu_cpu_acts_row_bytes(uint32_t format, uint32_t mode, uint32_t k)
{
	return vgpu_acts_bytes(vgpu_matmul_mode(format, (enum vgpu_mode)mode), 1, k);
}

/* ------------------------------------------------------------------------
 * Blocks
 */

/* Where the next unit lies. */
struct walk {
	const struct vgpu_piece *piece;
	uint32_t pieces;
	uint64_t at;
};

/* Whole units from here on that lie together; 0: the next one lies across. */
static uint64_t walk_units(struct walk *w, uint64_t unit_bytes)
{
	while (w->pieces && w->at == w->piece->bytes) {
		w->piece++;
		w->pieces--;
		w->at = 0;
	}
	return (w->piece->bytes - w->at) / unit_bytes;
}

static void walk_skip(struct walk *w, uint64_t bytes)
{
	while (bytes > w->piece->bytes - w->at) {
		bytes -= w->piece->bytes - w->at;
		w->piece++;
		w->pieces--;
		w->at = 0;
	}
	w->at += bytes;
}

/* Bytes that lie across pieces, from one of the first on. */
static void pieces_copy(uint8_t *to, const struct vgpu_piece *from, uint64_t at, uint64_t bytes)
{
	for (; bytes; from++, at = 0) {
		uint64_t n = from->bytes - at < bytes ? from->bytes - at : bytes;

		memcpy(to, from->data + at, n);
		to += n;
		bytes -= n;
	}
}

/* Scales are few: together they are made by copying, when they are not. */
static const uint8_t *panel_scales(struct vgpu_cpu *cpu, const struct vgpu_panel_work *p,
				   uint64_t staged)
{
	if (!p->piece[1])
		return NULL;
	if (p->pieces[1] == 1)
		return p->piece[1]->data;
	pieces_copy(cpu->staging.data + staged, p->piece[1], 0, p->rows * p->unit_bytes[1]);
	return cpu->staging.data + staged;
}

static uint64_t align64(uint64_t x)
{
	return (x + 63) & ~63ull;
}

/*
 * Rows of a block: whole groups of 16, and of BLOCK_ROWS where every thread gets some of these.
 * What one thread does in a moment is not cut.
 */
static uint32_t block_rows(const struct vgpu_cpu *cpu, uint32_t rows, uint32_t m)
{
	uint32_t blocks = cpu->threads * BLOCKS_A_THREAD, whole = BLOCK_ROWS;
	uint32_t n = (rows + blocks - 1) / blocks;

	if (cpu->threads == 1 && m <= FEW_ROWS)
		return (rows + 15) & ~15u;
	while (whole > 16 && rows / whole < 4 * cpu->threads)
		whole /= 2;
	return (n + whole - 1) / whole * whole;
}

/* Long blocks are read faster, short ones at the end let all threads end together. */
static uint32_t block_step(const struct vgpu_cpu *cpu, uint32_t step, uint32_t left)
{
	return step > BLOCK_ROWS && cpu->threads > 1 && left <= cpu->threads * step ? BLOCK_ROWS : step;
}

/*
 * Kernels want packed units at multiples of 64 bytes.  A file may have them anywhere,
 * and then all of a panel's units are off by as much: they are copied one by one.
 */
static bool panel_is_askew(const struct vgpu_panel_work *p)
{
	return p->unit_rows > 1 && (uintptr_t)p->piece[0]->data % 64;
}

/* Threads bring such units together, each its own. */
static void block_lies_across(struct vgpu_block *b, struct walk *w, uint8_t *copy, uint64_t bytes)
{
	b->data = b->copy = copy;
	b->from = w->piece;
	b->at = w->at;
	b->bytes = bytes;
	walk_skip(w, bytes);
}

int vgpu_panel_cut(struct vgpu_cpu *cpu, const struct vgpu_panel_work *p, uint32_t m,
		   struct vgpu_block **out)
{
	struct walk w = { p->piece[0], p->pieces[0], 0 };
	uint64_t unit = p->unit_bytes[0], staged = 0;
	uint64_t units = (p->rows + p->unit_rows - 1) / p->unit_rows;
	bool askew = panel_is_askew(p);
	uint64_t copies = askew || units < p->pieces[0] ? units : p->pieces[0];
	uint64_t staging = copies * align64(unit) + p->rows * p->unit_bytes[1];
	uint32_t step = block_rows(cpu, p->rows, m), row = 0, n = 0;
	struct vgpu_block *block = malloc((p->rows / 16 + 2u * p->pieces[0] + 2) * sizeof(*block));
	const uint8_t *scales;

	if (!block || vgpu_cpu_grow(&cpu->staging, staging + 64)) {
		free(block);
		return -ENOMEM;
	}
	scales = panel_scales(cpu, p, copies * align64(unit));
	while (row < p->rows) {
		struct vgpu_block *b = &block[n++];
		uint64_t rows;

		units = walk_units(&w, unit);
		*b = (struct vgpu_block){ .data = w.piece->data + w.at, .row = row };
		if (scales)
			b->scales = scales + row * p->unit_bytes[1];
		if (!units || askew) {
			block_lies_across(b, &w, cpu->staging.data + staged, unit);
			staged += align64(unit);
			rows = p->unit_rows;
		} else {
			rows = block_step(cpu, step, p->rows - row);
			rows = units * p->unit_rows < rows ? units * p->unit_rows : rows;
			w.at += rows / p->unit_rows * unit;
		}
		b->rows = rows < p->rows - row ? (uint32_t)rows : p->rows - row;
		row += b->rows;
	}
	*out = block;
	return (int)n;
}

static void product_epilogue(const struct vgpu_product *d, const struct vgpu_block *b)
{
	const struct vgpu_kernels *k = d->cpu->k;

	for (uint32_t i = 0; i < d->acts->m; i++) {
		float *y = d->y + i * d->ldy + b->row;

		if (d->bias)
			k->binary(VGPU_BINARY_ADD, y, y, d->bias + b->row, b->rows, b->rows);
		if (d->act)
			k->unary((enum vgpu_unary)d->act, y, y, b->rows);
		if (d->residual)
			k->binary(VGPU_BINARY_ADD, y, y, d->residual + i * d->ldr + b->row,
				  b->rows, b->rows);
	}
}

void vgpu_block_bring(struct vgpu_block *b)
{
	if (b->copy)
		pieces_copy(b->copy, b->from, b->at, b->bytes);
	b->copy = NULL;
}

static void product_block(void *ctx, size_t item)
{
	const struct vgpu_product *d = ctx;
	struct vgpu_block *b = &d->block[item];
	struct vgpu_panel panel = { .format = d->format, .rows = b->rows, .k = d->k,
				    .data = b->data, .scales = b->scales };

	vgpu_block_bring(b);
	d->cpu->k->matmul(&panel, d->acts, d->y + b->row, d->ldy,
			  vgpu_cpu_scratch(d->cpu));
	if (d->bias || d->act || d->residual)
		product_epilogue(d, b);
	if (d->done)
		d->done(d, b);
}

int vgpu_product_run(struct vgpu_product *d, const struct vgpu_work *w,
		     const struct vgpu_panel_work *p)
{
	uint64_t macs = (uint64_t)p->rows * d->k * d->acts->m;
	uint64_t bytes = p->rows / p->unit_rows * p->unit_bytes[0];

	return vgpu_cpu_run(d->cpu, w, product_block, d, d->blocks,
			    macs / MACS_A_NS + bytes / BYTES_A_NS);
}
