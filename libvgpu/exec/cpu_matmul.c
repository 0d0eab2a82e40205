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
};

/* ------------------------------------------------------------------------
 * Activations
 */

static int acts_prepare(struct vgpu_cpu *cpu, enum vgpu_wformat format, uint32_t mode, uint32_t m,
			uint32_t k, const float *x, size_t ldx)
{
	enum vgpu_mode have = vgpu_matmul_mode(format, (enum vgpu_mode)mode);
	int rc = vgpu_cpu_grow(&cpu->acts_memory, vgpu_acts_bytes(have, m, k));

	if (!rc)
		rc = vgpu_cpu_scratch_grow(cpu, vgpu_matmul_scratch_bytes(format, k));
	if (rc)
		return rc;
	vgpu_acts_init(&cpu->acts, have, m, k, cpu->acts_memory.data);
	cpu->k->acts_pack(&cpu->acts, x, ldx);
	return 0;
}

int vgpu_cpu_matmul_begin(void *be, const struct vgpu_work *w)
{
	const struct vb_cmd_matmul *c = (const void *)w->cmd;

	if (w->cmd->opcode != VB_CMD_MATMUL)
		return 0;	/* packed expert by expert */
	return acts_prepare(be, c->w.format, c->mode, c->x.shape[0], c->x.shape[1], w->ptr[0],
			    vgpu_cpu_stride(&c->x, 0));
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
	bool askew = panel_is_askew(p);
	uint64_t copies = askew ? p->rows / p->unit_rows + 1 : p->pieces[0];
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
		uint64_t units = walk_units(&w, unit, &b->data), rows;

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
	int n = panel_cut(d->cpu, p, &d->block), rc;

	if (n < 0)
		return n;
	rc = vgpu_cpu_run(d->cpu, w, product_block, d, (size_t)n,
			  macs / MACS_A_NS + bytes / BYTES_A_NS);
	free(d->block);
	return rc;
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

static int matmul_panel(struct vgpu_cpu *cpu, const struct vgpu_work *w,
			const struct vgpu_panel_work *p)
{
	const struct vb_cmd_matmul *c = (const void *)w->cmd;
	struct product d = {
		.cpu = cpu, .format = c->w.format, .k = c->x.shape[1], .m = c->x.shape[0],
		.act = c->act, .y = (float *)w->ptr[3] + p->row, .ldy = vgpu_cpu_stride(&c->y, 0),
		.bias = w->ptr[4] ? (const float *)w->ptr[4] + p->row : NULL,
		.residual = w->ptr[5] ? (const float *)w->ptr[5] + p->row : NULL,
		.ldr = w->ptr[5] ? vgpu_cpu_stride(&c->residual, 0) : 0,
	};

	if (w->ptr[5] == w->ptr[3] && residual_save(&d, p))
		return -ENOMEM;
	return product_run(&d, w, p);
}

/* ------------------------------------------------------------------------
 * MATMUL_ID: one product an expert, over the rows that chose it
 */

static void route_take(void *arg, uint32_t i, uint32_t t, uint32_t expert)
{
	struct vgpu_cpu *cpu = arg;

	cpu->routes[cpu->route_count++] = (struct vgpu_cpu_route){ i, t, expert };
}

/* By expert, then as read: results do not depend on how it is sorted. */
static int compare_routes(const void *a, const void *b)
{
	const struct vgpu_cpu_route *x = a, *y = b;

	if (x->expert != y->expert)
		return x->expert < y->expert ? -1 : 1;
	if (x->i != y->i)
		return x->i < y->i ? -1 : 1;
	return x->t < y->t ? -1 : x->t > y->t;
}

static int routes_grow(struct vgpu_cpu *cpu, size_t n)
{
	struct vgpu_cpu_route *grown;

	if (n <= cpu->route_room)
		return 0;
	if (n > UINT32_MAX)
		return -EOVERFLOW;
	grown = realloc(cpu->routes, n * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	cpu->routes = grown;
	cpu->route_room = (uint32_t)n;
	return 0;
}

int vgpu_cpu_matmul_select(void *be, const struct vgpu_work *w, uint32_t *matrices,
			   uint32_t *count)
{
	const struct vb_cmd_matmul_id *c = (const void *)w->cmd;
	struct vgpu_cpu *cpu = be;
	int rc = routes_grow(cpu, (size_t)c->ids.shape[0] * c->ids.shape[1]);

	cpu->expert = UINT32_MAX;
	cpu->route_count = 0;
	if (!rc)
		rc = vgpu_backend_select_ids(w, matrices, count, route_take, cpu);
	if (rc)
		return rc;
	qsort(cpu->routes, cpu->route_count, sizeof(*cpu->routes), compare_routes);
	return 0;
}

/* Gather and pack the activations of one expert's routes. */
static int expert_begin(struct vgpu_cpu *cpu, const struct vgpu_work *w, uint32_t expert)
{
	const struct vb_cmd_matmul_id *c = (const void *)w->cmd;
	size_t ld = vgpu_cpu_stride(&c->x, 0), ldt = c->x.rank == 3 ? vgpu_cpu_stride(&c->x, 1) : 0;
	uint32_t k = c->x.shape[c->x.rank - 1], first = 0, end;
	float *rows;

	while (cpu->routes[first].expert != expert)
		first++;
	for (end = first; end < cpu->route_count && cpu->routes[end].expert == expert; end++)
		;
	if (vgpu_cpu_grow(&cpu->rows_in, (size_t)(end - first) * k * sizeof(float)))
		return -ENOMEM;
	rows = (float *)cpu->rows_in.data;
	for (uint32_t n = first; n < end; n++)
		memcpy(rows + (size_t)(n - first) * k,
		       (const float *)w->ptr[0] + cpu->routes[n].i * ld + cpu->routes[n].t * ldt,
		       k * sizeof(float));
	cpu->expert = expert;
	cpu->first = first;
	cpu->end = end;
	return acts_prepare(cpu, c->w.format, c->mode, end - first, k, rows, k);
}

static int matmul_id_panel(struct vgpu_cpu *cpu, const struct vgpu_work *w,
			   const struct vgpu_panel_work *p)
{
	const struct vb_cmd_matmul_id *c = (const void *)w->cmd;
	size_t ld = vgpu_cpu_stride(&c->y, 0), ldt = vgpu_cpu_stride(&c->y, 1);
	struct product d = { .cpu = cpu, .format = c->w.format,
			     .k = c->x.shape[c->x.rank - 1], .ldy = p->rows };
	int rc = cpu->expert == p->matrix ? 0 : expert_begin(cpu, w, p->matrix);

	if (rc)
		return rc;
	d.m = cpu->end - cpu->first;
	if (vgpu_cpu_grow(&cpu->rows_out, (size_t)d.m * p->rows * sizeof(float)))
		return -ENOMEM;
	d.y = (float *)cpu->rows_out.data;
	if (w->ptr[5])
		d.bias = (const float *)w->ptr[5] + p->matrix * vgpu_cpu_stride(&c->bias, 0) + p->row;
	rc = product_run(&d, w, p);
	for (uint32_t n = cpu->first; n < cpu->end && !rc; n++)
		memcpy((float *)w->ptr[4] + cpu->routes[n].i * ld + cpu->routes[n].t * ldt + p->row,
		       d.y + (size_t)(n - cpu->first) * p->rows, p->rows * sizeof(float));
	return rc;
}

int vgpu_cpu_matmul_panel(void *be, const struct vgpu_work *w, const struct vgpu_panel_work *p)
{
	if (w->cmd->opcode == VB_CMD_MATMUL)
		return matmul_panel(be, w, p);
	return matmul_id_panel(be, w, p);
}
