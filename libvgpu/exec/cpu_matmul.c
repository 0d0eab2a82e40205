// SPDX-License-Identifier: MIT
/*
 * MATMUL and MATMUL_GATE on the CPU, and what they share with MATMUL_ID and MATMUL_TRANSPOSED: where
 * commands and panels begin.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cmd.h"
#include "cpu_product.h"
#include "walk.h"

int vgpu_cpu_matmul_begin(void *be, const struct vgpu_work *w)
{
	(void)w;
	((struct vgpu_cpu *)be)->packed = (struct vgpu_cpu_rows){ 0 };
	return 0;
}

static bool rows_are_packed(const struct vgpu_cpu *cpu, struct vgpu_cpu_rows rows)
{
	return cpu->packed.first == rows.first && cpu->packed.end == rows.end;
}

/* Rows of activations on their way to be packed. */
struct packing {
	struct vgpu_cpu *cpu;
	const float *x;
	size_t ldx;
};

static void part_pack(void *ctx, size_t item)
{
	const struct packing *p = ctx;
	struct vgpu_acts *acts = &p->cpu->acts;
	uint32_t first = (uint32_t)item * VGPU_ACTS_ROWS, left = acts->m - first;

	p->cpu->k->acts_pack(acts, p->x, p->ldx, first,
			     first + (left < VGPU_ACTS_ROWS ? left : VGPU_ACTS_ROWS));
}

/* @x: row @rows.first */
static int acts_pack(struct vgpu_cpu *cpu, const struct vgpu_work *w, const struct vb_cmd_matmul *c,
		     struct vgpu_cpu_rows rows, const float *x, size_t ldx)
{
	enum vgpu_mode have = vgpu_matmul_mode(c->w.format, (enum vgpu_mode)c->mode);
	uint32_t m = rows.end - rows.first, k = c->x.shape[1];
	uint32_t parts = (m + VGPU_ACTS_ROWS - 1) / VGPU_ACTS_ROWS;
	struct packing p = { cpu, x, ldx };
	int rc = vgpu_cpu_grow(&cpu->acts_memory, vgpu_acts_bytes(have, m, k));

	if (!rc)
		rc = vgpu_cpu_scratch_grow(cpu, vgpu_matmul_scratch_bytes(c->w.format, k));
	if (rc)
		return rc;
	cpu->packed = (struct vgpu_cpu_rows){ 0 };
	vgpu_acts_init(&cpu->acts, have, m, k, cpu->acts_memory.data);
	rc = vgpu_cpu_run(cpu, w, part_pack, &p, parts, (uint64_t)m * k / VGPU_CPU_PACKED_A_NS);
	if (!rc)
		cpu->packed = rows;
	return rc;
}

/* A residual that is the output itself is overwritten before it is added: copy it. */
static int residual_save(struct vgpu_product *d, const struct vgpu_panel_work *p)
{
	float *copy;

	if (vgpu_cpu_grow(&d->cpu->rows_out, (size_t)d->acts->m * p->rows * sizeof(float)))
		return -ENOMEM;
	copy = (float *)d->cpu->rows_out.data;
	for (uint32_t i = 0; i < d->acts->m; i++)
		memcpy(copy + (size_t)i * p->rows, d->residual + i * d->ldr,
		       p->rows * sizeof(float));
	d->residual = copy;
	d->ldr = p->rows;
	return 0;
}

/* A gated one without what is behind it, in @room: its u is no residual. */
static const struct vb_cmd_matmul *product_of(const struct vb_cmd_header *cmd,
					      struct vb_cmd_matmul *room)
{
	const struct vb_cmd_matmul_gate *g = (const void *)cmd;

	if (cmd->opcode == VB_CMD_MATMUL)
		return (const struct vb_cmd_matmul *)cmd;
	*room = (struct vb_cmd_matmul){ .mode = g->mode, .act = g->act, .x = g->x, .w = g->w,
					.scales = g->scales, .y = g->y, .bias = g->bias };
	return room;
}

/* Some rows of activations. */
static int matmul_rows(struct vgpu_product d, const struct vb_cmd_matmul *c, const struct vgpu_work *w,
		       const struct vgpu_panel_work *p, struct vgpu_cpu_rows rows)
{
	size_t ldx = vgpu_cpu_stride(&c->x, 0);
	int rc = 0;

	if (!rows_are_packed(d.cpu, rows))
		rc = acts_pack(d.cpu, w, c, rows, (const float *)w->ptr[0] + rows.first * ldx, ldx);
	d.acts = &d.cpu->acts;
	d.y += rows.first * d.ldy;
	if (d.residual)
		d.residual += rows.first * d.ldr;
	if (!rc && w->ptr[5] == w->ptr[3])
		rc = residual_save(&d, p);
	return rc ? rc : vgpu_product_run(&d, w, p);
}

int vgpu_matmul_panel(struct vgpu_product *d, const struct vgpu_work *w,
		      const struct vgpu_panel_work *p)
{
	struct vb_cmd_matmul room;
	const struct vb_cmd_matmul *c = product_of(w->cmd, &room);
	bool gated = w->cmd->opcode == VB_CMD_MATMUL_GATE;
	uint32_t m = c->x.shape[0], step;
	int rc = 0;

	d->format = c->w.format;
	d->k = c->x.shape[1];
	d->act = c->act;
	d->y = (float *)w->ptr[3] + p->row;
	d->ldy = vgpu_cpu_stride(&c->y, 0);
	if (w->ptr[4])
		d->bias = (const float *)w->ptr[4] + p->row;
	if (w->ptr[5] && !gated) {
		d->residual = (const float *)w->ptr[5] + p->row;
		d->ldr = vgpu_cpu_stride(&c->residual, 0);
	}
	step = vgpu_cpu_rows_at_once(vgpu_cpu_acts_row_bytes(c->w.format, c->mode, d->k) +
				     (w->ptr[5] == w->ptr[3] ? p->rows * sizeof(float) : 0), m);
	for (uint32_t first = 0; first < m && !rc; first += step) {
		uint32_t n = step < m - first ? step : m - first;

		rc = matmul_rows(*d, c, w, p, (struct vgpu_cpu_rows){ first, first + n });
		if (!rc && n < m - first)
			rc = vgpu_work_go_on(w);
	}
	/* Panels come in order: with the last one whole rows are there, and have their lengths. */
	if (!rc && gated && p->row + p->rows == c->w.shape[0])
		rc = vgpu_cpu_gate(d->cpu, w);
	return rc;
}

int vgpu_cpu_matmul_panel(void *be, const struct vgpu_work *w, const struct vgpu_panel_work *p)
{
	struct vgpu_product d = { .cpu = be };
	int n = vgpu_panel_cut(be, p, vgpu_cmd_operand(w->cmd, 0)->shape[0], &d.block), rc;

	if (n < 0)
		return n;
	d.blocks = (uint32_t)n;
	switch (w->cmd->opcode) {
	case VB_CMD_MATMUL_ID:
		rc = vgpu_experts_panel(&d, w, p);
		break;
	case VB_CMD_MATMUL_TRANSPOSED:
		rc = vgpu_transposed_panel(&d, w, p);
		break;
	default:
		rc = vgpu_matmul_panel(&d, w, p);
		break;
	}
	free(d.block);
	return rc;
}
