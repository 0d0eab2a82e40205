// SPDX-License-Identifier: MIT
/*
 * Products on the CPU: a panel is cut into blocks of rows, the blocks go to the
 * threads, and each block gets its bias, activation and residual while it is warm.
 *
 * A panel comes in pieces, because its chunks lie in slots that need not be
 * adjacent.  Rows (or groups of 16) inside a piece are used where they are; the few
 * that lie across two pieces are copied together first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cmd.h"
#include "cpu.h"

/* Blocks a thread, so that a slow one does not hold up the panel. */
#define BLOCKS_A_THREAD	4u
/* Rough speed of one thread, to decide whether a job is worth sharing. */
#define BYTES_A_NS	8u
#define MACS_A_NS	40u

/* Rows that lie together. */
struct block {
	const uint8_t *data;
	const uint8_t *scales;
	uint32_t row, rows;
};

/**
 * struct product - one panel on its way
 * @mode: of the activations as packed
 * @y: element [0][0] of the output of this panel's matrix
 * @bias: of this panel's matrix, or NULL
 */
struct product {
	struct vgpu_cpu *cpu;
	enum vgpu_wformat format;
	uint32_t k, m, act;
	float *y;
	size_t ldy;
	const float *bias, *residual;
	size_t ldr;
	struct block *block;
	uint32_t blocks;
};

/* ------------------------------------------------------------------------
 * Activations
 */

/*
 * So many rows at once that what is kept of them has room, in equal parts: a row's result
 * does not depend on those beside it.  More than one part is packed anew for each panel.
 */
static uint32_t rows_at_once(uint64_t row_bytes, uint32_t m)
{
	uint64_t most = VGPU_CPU_ROWS_BYTES / row_bytes, parts = most ? (m + most - 1) / most : m;
	uint32_t n = (uint32_t)((m + parts - 1) / parts), whole = (n + 7) & ~7u;

	/* Kernels take eight rows at a time. */
	return whole <= most ? whole : n;
}

static uint64_t acts_row_bytes(uint32_t format, uint32_t mode, uint32_t k)
{
	return vgpu_acts_bytes(vgpu_matmul_mode(format, (enum vgpu_mode)mode), 1, k);
}

static bool rows_are_packed(const struct vgpu_cpu *cpu, struct vgpu_cpu_rows rows)
{
	return cpu->packed.matrix == rows.matrix && cpu->packed.first == rows.first &&
	       cpu->packed.end == rows.end;
}

static void forget_packed(struct vgpu_cpu *cpu)
{
	cpu->packed = (struct vgpu_cpu_rows){ 0 };
}

/* @x: row @rows.first */
static int acts_pack(struct vgpu_cpu *cpu, uint32_t format, uint32_t mode,
		     struct vgpu_cpu_rows rows, uint32_t k, const float *x, size_t ldx)
{
	enum vgpu_mode have = vgpu_matmul_mode(format, (enum vgpu_mode)mode);
	uint32_t m = rows.end - rows.first;
	int rc = vgpu_cpu_grow(&cpu->acts_memory, vgpu_acts_bytes(have, m, k));

	if (!rc)
		rc = vgpu_cpu_scratch_grow(cpu, vgpu_matmul_scratch_bytes(format, k));
	if (rc)
		return rc;
	vgpu_acts_init(&cpu->acts, have, m, k, cpu->acts_memory.data);
	cpu->k->acts_pack(&cpu->acts, x, ldx);
	cpu->packed = rows;
	return 0;
}

int vgpu_cpu_matmul_begin(void *be, const struct vgpu_work *w)
{
	(void)w;
	forget_packed(be);
	return 0;
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
static uint64_t walk_units(struct walk *w, uint64_t unit_bytes, const uint8_t **data)
{
	while (w->pieces && w->at == w->piece->bytes) {
		w->piece++;
		w->pieces--;
		w->at = 0;
	}
	*data = w->piece->data + w->at;
	return (w->piece->bytes - w->at) / unit_bytes;
}

static void walk_copy(struct walk *w, uint8_t *to, uint64_t bytes)
{
	while (bytes) {
		uint64_t n = w->piece->bytes - w->at < bytes ? w->piece->bytes - w->at : bytes;

		memcpy(to, w->piece->data + w->at, n);
		to += n;
		bytes -= n;
		w->at += n;
		if (w->at == w->piece->bytes && bytes) {
			w->piece++;
			w->pieces--;
			w->at = 0;
		}
	}
}

/* Scales are few: together they are made by copying, when they are not. */
static const uint8_t *panel_scales(struct vgpu_cpu *cpu, const struct vgpu_panel_work *p,
				   uint64_t staged)
{
	struct walk w = { p->piece[1], p->pieces[1], 0 };

	if (!p->piece[1])
		return NULL;
	if (p->pieces[1] == 1)
		return p->piece[1]->data;
	walk_copy(&w, cpu->staging.data + staged, p->rows * p->unit_bytes[1]);
	return cpu->staging.data + staged;
}

static uint64_t align64(uint64_t x)
{
	return (x + 63) & ~63ull;
}

/* Rows of a block: enough blocks for every thread, whole groups of 16 rows. */
static uint32_t block_rows(const struct vgpu_cpu *cpu, uint32_t rows)
{
	uint32_t blocks = cpu->threads * BLOCKS_A_THREAD;
	uint32_t n = (rows + blocks - 1) / blocks;

	return (n + 15) & ~15u;
}

/*
 * Kernels want packed units at multiples of 64 bytes.  A file may have them anywhere,
 * and then all of a panel's units are off by as much: they are copied one by one.
 */
static bool panel_is_askew(const struct vgpu_panel_work *p)
{
	return p->unit_rows > 1 && (uintptr_t)p->piece[0]->data % 64;
}

/* Cut the panel; returns blocks, at most one a 16 rows plus two a piece, or -ENOMEM. */
static int panel_cut(struct vgpu_cpu *cpu, const struct vgpu_panel_work *p, struct block **out)
{
	struct walk w = { p->piece[0], p->pieces[0], 0 };
	uint64_t unit = p->unit_bytes[0], staged = 0;
	uint64_t units = (p->rows + p->unit_rows - 1) / p->unit_rows;
	bool askew = panel_is_askew(p);
	uint64_t copies = askew || units < p->pieces[0] ? units : p->pieces[0];
	uint64_t staging = copies * align64(unit) + p->rows * p->unit_bytes[1];
	uint32_t step = block_rows(cpu, p->rows), row = 0, n = 0;
	struct block *block = malloc((p->rows / 16 + 2u * p->pieces[0] + 2) * sizeof(*block));
	const uint8_t *scales;

	if (!block || vgpu_cpu_grow(&cpu->staging, staging + 64)) {
		free(block);
		return -ENOMEM;
	}
	scales = panel_scales(cpu, p, copies * align64(unit));
	while (row < p->rows) {
		struct block *b = &block[n++];
		uint64_t rows;

		units = walk_units(&w, unit, &b->data);

		b->row = row;
		b->scales = scales ? scales + row * p->unit_bytes[1] : NULL;
		if (!units || askew) {
			b->data = cpu->staging.data + staged;
			walk_copy(&w, cpu->staging.data + staged, unit);
			staged += align64(unit);
			units = 1;
			rows = p->unit_rows;
		} else {
			rows = units * p->unit_rows < step ? units * p->unit_rows : step;
			w.at += rows / p->unit_rows * unit;
		}
		b->rows = rows < p->rows - row ? (uint32_t)rows : p->rows - row;
		row += b->rows;
	}
	*out = block;
	return (int)n;
}

static void product_epilogue(const struct product *d, const struct block *b)
{
	const struct vgpu_kernels *k = d->cpu->k;

	for (uint32_t i = 0; i < d->m; i++) {
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

static void product_block(void *ctx, size_t item)
{
	const struct product *d = ctx;
	const struct block *b = &d->block[item];
	struct vgpu_panel panel = { .format = d->format, .rows = b->rows, .k = d->k,
				    .data = b->data, .scales = b->scales };

	d->cpu->k->matmul(&panel, &d->cpu->acts, d->y + b->row, d->ldy,
			  vgpu_cpu_scratch(d->cpu));
	if (d->bias || d->act || d->residual)
		product_epilogue(d, b);
}

static int product_run(struct product *d, const struct vgpu_work *w,
		       const struct vgpu_panel_work *p)
{
	uint64_t macs = (uint64_t)p->rows * d->k * d->m;
	uint64_t bytes = p->rows / p->unit_rows * p->unit_bytes[0];

	return vgpu_cpu_run(d->cpu, w, product_block, d, d->blocks,
			    macs / MACS_A_NS + bytes / BYTES_A_NS);
}

/* A residual that is the output itself is overwritten before it is added: copy it. */
static int residual_save(struct product *d, const struct vgpu_panel_work *p)
{
	float *copy;

	if (vgpu_cpu_grow(&d->cpu->rows_out, (size_t)d->m * p->rows * sizeof(float)))
		return -ENOMEM;
	copy = (float *)d->cpu->rows_out.data;
	for (uint32_t i = 0; i < d->m; i++)
		memcpy(copy + (size_t)i * p->rows, d->residual + i * d->ldr,
		       p->rows * sizeof(float));
	d->residual = copy;
	d->ldr = p->rows;
	return 0;
}

/* Some rows of activations. */
static int matmul_rows(struct product d, const struct vgpu_work *w,
		       const struct vgpu_panel_work *p, struct vgpu_cpu_rows rows)
{
	const struct vb_cmd_matmul *c = (const void *)w->cmd;
	size_t ldx = vgpu_cpu_stride(&c->x, 0);
	int rc = 0;

	if (!rows_are_packed(d.cpu, rows))
		rc = acts_pack(d.cpu, c->w.format, c->mode, rows, d.k,
			       (const float *)w->ptr[0] + rows.first * ldx, ldx);
	d.m = rows.end - rows.first;
	d.y += rows.first * d.ldy;
	if (d.residual)
		d.residual += rows.first * d.ldr;
	if (!rc && w->ptr[5] == w->ptr[3])
		rc = residual_save(&d, p);
	return rc ? rc : product_run(&d, w, p);
}

static int matmul_panel(struct product *d, const struct vgpu_work *w,
			const struct vgpu_panel_work *p)
{
	const struct vb_cmd_matmul *c = (const void *)w->cmd;
	uint32_t m = c->x.shape[0], step;
	int rc = 0;

	d->k = c->x.shape[1];
	d->act = c->act;
	d->y = (float *)w->ptr[3] + p->row;
	d->ldy = vgpu_cpu_stride(&c->y, 0);
	if (w->ptr[4])
		d->bias = (const float *)w->ptr[4] + p->row;
	if (w->ptr[5]) {
		d->residual = (const float *)w->ptr[5] + p->row;
		d->ldr = vgpu_cpu_stride(&c->residual, 0);
	}
	step = rows_at_once(acts_row_bytes(c->w.format, c->mode, d->k) +
			    (w->ptr[5] == w->ptr[3] ? p->rows * sizeof(float) : 0), m);
	for (uint32_t first = 0; first < m && !rc; first += step) {
		uint32_t n = step < m - first ? step : m - first;

		rc = matmul_rows(*d, w, p, (struct vgpu_cpu_rows){ 0, first, first + n });
		if (!rc && n < m - first)
			rc = vgpu_work_go_on(w);
	}
	return rc;
}

/* ------------------------------------------------------------------------
 * MATMUL_ID: one product an expert, over the rows that chose it
 */

static int routes_grow(struct vgpu_cpu *cpu, size_t n)
{
	struct vgpu_route *grown;

	if (n <= cpu->route_room)
		return 0;
	if (n > UINT32_MAX)
		return -EOVERFLOW;
	grown = realloc(cpu->routes, 2 * n * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	cpu->routes = grown;
	cpu->route_room = (uint32_t)n;
	return 0;
}

int vgpu_cpu_matmul_select(void *be, const struct vgpu_work *w, uint32_t *matrices,
			   uint32_t *count, struct vgpu_wrong_id *wrong)
{
	uint64_t n = vgpu_backend_ids(w->cmd);
	struct vgpu_cpu *cpu = be;
	int rc = routes_grow(cpu, n);

	cpu->expert.end = 0;
	cpu->route_count = 0;
	if (!rc)
		rc = vgpu_backend_select_ids(w, cpu->routes, matrices, count, wrong);
	if (!rc)
		cpu->route_count = (uint32_t)n;
	return rc;
}

/* Whose routes these are. */
static void expert_begin(struct vgpu_cpu *cpu, uint32_t expert)
{
	uint32_t first = 0, end;

	if (cpu->expert.end && cpu->expert.matrix == expert)
		return;
	while (cpu->routes[first].expert != expert)
		first++;
	for (end = first; end < cpu->route_count && cpu->routes[end].expert == expert; end++)
		;
	cpu->expert = (struct vgpu_cpu_rows){ expert, first, end };
}

/* Element 0 of its row, of an array whose rows are @ld apart, and choices of a row @ldt. */
static size_t route_at(const struct vgpu_route *r, uint32_t top, size_t ld, size_t ldt)
{
	return r->index / top * ld + r->index % top * ldt;
}

/* Gather and pack the activations of some of its routes. */
static int routes_pack(struct vgpu_cpu *cpu, const struct vgpu_work *w, struct vgpu_cpu_rows rows)
{
	const struct vb_cmd_matmul_id *c = (const void *)w->cmd;
	size_t ld = vgpu_cpu_stride(&c->x, 0), ldt = c->x.rank == 3 ? vgpu_cpu_stride(&c->x, 1) : 0;
	uint32_t k = c->x.shape[c->x.rank - 1], top = c->ids.shape[1];
	float *to;

	if (vgpu_cpu_grow(&cpu->rows_in, (size_t)(rows.end - rows.first) * k * sizeof(float)))
		return -ENOMEM;
	to = (float *)cpu->rows_in.data;
	for (uint32_t n = rows.first; n < rows.end; n++)
		memcpy(to + (size_t)(n - rows.first) * k,
		       (const float *)w->ptr[0] + route_at(&cpu->routes[n], top, ld, ldt),
		       k * sizeof(float));
	return acts_pack(cpu, c->w.format, c->mode, rows, k, to, k);
}

/* Some of the expert's routes. */
static int matmul_id_rows(struct product d, const struct vgpu_work *w,
			  const struct vgpu_panel_work *p, struct vgpu_cpu_rows rows)
{
	const struct vb_cmd_matmul_id *c = (const void *)w->cmd;
	size_t ld = vgpu_cpu_stride(&c->y, 0), ldt = vgpu_cpu_stride(&c->y, 1);
	const struct vgpu_route *route = d.cpu->routes;
	int rc = rows_are_packed(d.cpu, rows) ? 0 : routes_pack(d.cpu, w, rows);

	if (rc)
		return rc;
	d.m = rows.end - rows.first;
	d.ldy = p->rows;
	if (vgpu_cpu_grow(&d.cpu->rows_out, (size_t)d.m * p->rows * sizeof(float)))
		return -ENOMEM;
	d.y = (float *)d.cpu->rows_out.data;
	rc = product_run(&d, w, p);
	for (uint32_t n = rows.first; n < rows.end && !rc; n++)
		memcpy((float *)w->ptr[4] + route_at(&route[n], c->ids.shape[1], ld, ldt) + p->row,
		       d.y + (size_t)(n - rows.first) * p->rows, p->rows * sizeof(float));
	return rc;
}

static int matmul_id_panel(struct product *d, const struct vgpu_work *w,
			   const struct vgpu_panel_work *p)
{
	const struct vb_cmd_matmul_id *c = (const void *)w->cmd;
	struct vgpu_cpu_rows *e = &d->cpu->expert;
	uint32_t step;
	int rc = 0;

	expert_begin(d->cpu, p->matrix);
	d->k = c->x.shape[c->x.rank - 1];
	if (w->ptr[5])
		d->bias = (const float *)w->ptr[5] + p->matrix * vgpu_cpu_stride(&c->bias, 0) +
			  p->row;
	step = rows_at_once(acts_row_bytes(c->w.format, c->mode, d->k) +
			    ((uint64_t)d->k + p->rows) * sizeof(float), e->end - e->first);
	for (uint32_t first = e->first; first < e->end && !rc; first += step) {
		uint32_t end = step < e->end - first ? first + step : e->end;

		rc = matmul_id_rows(*d, w, p, (struct vgpu_cpu_rows){ e->matrix, first, end });
		if (!rc && end < e->end)
			rc = vgpu_work_go_on(w);
	}
	return rc;
}

int vgpu_cpu_matmul_panel(void *be, const struct vgpu_work *w, const struct vgpu_panel_work *p)
{
	bool by_id = w->cmd->opcode == VB_CMD_MATMUL_ID;
	struct product d = {
		.cpu = be, .format = by_id ? ((const struct vb_cmd_matmul_id *)w->cmd)->w.format :
					     ((const struct vb_cmd_matmul *)w->cmd)->w.format,
	};
	int n = panel_cut(be, p, &d.block), rc;

	if (n < 0)
		return n;
	d.blocks = (uint32_t)n;
	rc = by_id ? matmul_id_panel(&d, w, p) : matmul_panel(&d, w, p);
	free(d.block);
	return rc;
}
