// SPDX-License-Identifier: MIT
/* MATMUL_ID on the CPU: one product an expert, over the rows that chose it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cmd.h"
#include "cpu_product.h"

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
	return vgpu_cpu_acts_pack(cpu, c->w.format, c->mode, rows, k, to, k);
}

/* Some of the expert's routes. */
static int matmul_id_rows(struct vgpu_product d, const struct vgpu_work *w,
			  const struct vgpu_panel_work *p, struct vgpu_cpu_rows rows)
{
	const struct vb_cmd_matmul_id *c = (const void *)w->cmd;
	size_t ld = vgpu_cpu_stride(&c->y, 0), ldt = vgpu_cpu_stride(&c->y, 1);
	const struct vgpu_route *route = d.cpu->routes;
	int rc = vgpu_cpu_rows_are_packed(d.cpu, rows) ? 0 : routes_pack(d.cpu, w, rows);

	if (rc)
		return rc;
	d.m = rows.end - rows.first;
	d.ldy = p->rows;
	if (vgpu_cpu_grow(&d.cpu->rows_out, (size_t)d.m * p->rows * sizeof(float)))
		return -ENOMEM;
	d.y = (float *)d.cpu->rows_out.data;
	rc = vgpu_product_run(&d, w, p);
	for (uint32_t n = rows.first; n < rows.end && !rc; n++)
		memcpy((float *)w->ptr[4] + route_at(&route[n], c->ids.shape[1], ld, ldt) + p->row,
		       d.y + (size_t)(n - rows.first) * p->rows, p->rows * sizeof(float));
	return rc;
}

int vgpu_experts_panel(struct vgpu_product *d, const struct vgpu_work *w,
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
	step = vgpu_cpu_rows_at_once(vgpu_cpu_acts_row_bytes(c->w.format, c->mode, d->k) +
			    ((uint64_t)d->k + p->rows) * sizeof(float), e->end - e->first);
	for (uint32_t first = e->first; first < e->end && !rc; first += step) {
		uint32_t end = step < e->end - first ? first + step : e->end;

		rc = matmul_id_rows(*d, w, p, (struct vgpu_cpu_rows){ e->matrix, first, end });
		if (!rc && end < e->end)
			rc = vgpu_work_go_on(w);
	}
	return rc;
}
