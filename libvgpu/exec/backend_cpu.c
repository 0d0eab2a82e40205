// SPDX-License-Identifier: MIT
#include "cpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cmd.h"
#include "core/format.h"
#include "kernels/pack/g16.h"

/* Columns of a packed group that are decoded at a time: whole tiles of it. */
#define ROW_COLS	(8 * VGPU_G16_TILE_COLS)

int vgpu_cpu_grow(struct vgpu_cpu_memory *m, size_t bytes)
{
	uint8_t *data;

	if (bytes <= m->bytes)
		return 0;
	bytes = (bytes + 4095) & ~(size_t)4095;
	data = aligned_alloc(4096, bytes);
	if (!data)
		return -ENOMEM;
	free(m->data);
	m->data = data;
	m->bytes = bytes;
	return 0;
}

int vgpu_cpu_scratch_grow(struct vgpu_cpu *cpu, size_t bytes)
{
	bytes = (bytes + 63) & ~(size_t)63;
	if (bytes <= cpu->scratch_bytes)
		return 0;
	if (vgpu_cpu_grow(&cpu->scratch, bytes * cpu->threads))
		return -ENOMEM;
	cpu->scratch_bytes = bytes;
	return 0;
}

/* A part of a parallel for. */
struct part {
	vgpu_pool_fn fn;
	void *ctx;
	size_t first;
};

static void part_item(void *ctx, size_t item)
{
	const struct part *p = ctx;

	p->fn(p->ctx, p->first + item);
}

int vgpu_cpu_run(struct vgpu_cpu *cpu, const struct vgpu_work *w, vgpu_pool_fn fn, void *ctx,
		 size_t items, uint64_t cost_ns)
{
	uint64_t pieces = cost_ns / VGPU_WORK_PIECE_NS / cpu->threads + 1;
	size_t step = items / pieces;
	struct part p = { .fn = fn, .ctx = ctx };
	int rc = 0;

	/* Something for everybody. */
	if (step < cpu->threads)
		step = cpu->threads;
	for (; p.first < items && !rc; p.first += step) {
		struct vgpu_pool_job job = {
			.fn = part_item, .ctx = &p, .grain = 1, .cost_ns = cost_ns / pieces,
			.items = step < items - p.first ? step : items - p.first,
		};

		vgpu_pool_run_job(cpu->pool, &job);
		rc = p.first + step < items ? vgpu_work_go_on(w) : 0;
	}
	return rc;
}

size_t vgpu_cpu_stride(const struct vb_operand *op, uint32_t dim)
{
	return vb_operand_stride(op, dim) / 4;
}

static int cpu_open(struct vgpu_pool *pool, void **out)
{
	struct vgpu_cpu *cpu = calloc(1, sizeof(*cpu));

	if (!cpu)
		return -ENOMEM;
	cpu->pool = pool;
	cpu->threads = vgpu_pool_threads(pool);
	cpu->k = vgpu_kernels_best();
	*out = cpu;
	return 0;
}

static void cpu_close(void *be)
{
	struct vgpu_cpu *cpu = be;

	free(cpu->acts_memory.data);
	free(cpu->scratch.data);
	free(cpu->staging.data);
	free(cpu->rows_in.data);
	free(cpu->rows_out.data);
	free(cpu->routes);
	free(cpu->segment);
	free(cpu);
}

static bool cpu_supports(void *be, const struct vb_cmd_header *cmd)
{
	(void)be;
	return cmd->opcode < VB_CMD_COUNT;
}

/* Each command has one of them large, and another one the next: together they are bounded too. */
static void rows_trim(struct vgpu_cpu *cpu)
{
	struct vgpu_cpu_memory *m[] = { &cpu->acts_memory, &cpu->rows_in, &cpu->rows_out };

	if (m[0]->bytes + m[1]->bytes + m[2]->bytes <= VGPU_CPU_ROWS_BYTES + 3 * 4096)
		return;
	for (uint32_t i = 0; i < 3; i++) {
		free(m[i]->data);
		*m[i] = (struct vgpu_cpu_memory){ 0 };
	}
}

static void cpu_end(void *be, const struct vgpu_work *w)
{
	struct vgpu_cpu *cpu = be;

	(void)w;
	cpu->packed.end = 0;
	cpu->route_count = cpu->segments = 0;
	rows_trim(cpu);
}

/* One row of a packed group: all of them are decoded, some columns at a time, and it is kept. */
static int packed_row(struct vgpu_cpu *cpu, struct vgpu_panel p, uint32_t row, float *y)
{
	const uint8_t *unit = p.data;
	uint32_t k = p.k;
	float *all;

	if (vgpu_cpu_scratch_grow(cpu, (size_t)p.rows * ROW_COLS * sizeof(float)))
		return -ENOMEM;
	all = vgpu_cpu_scratch(cpu);
	for (uint32_t first = 0; first < k; first += p.k) {
		/* The first columns of a group are one of so many columns. */
		p.k = k - first < ROW_COLS ? k - first : ROW_COLS;
		p.data = unit + (first ? vgpu_weight_unit_bytes(p.format, first) : 0);
		cpu->k->weight_decode(&p, all, p.k);
		memcpy(y + first, all + (size_t)row * p.k, p.k * sizeof(float));
	}
	return 0;
}

/* Row-major formats decode one row. */
static int cpu_row(void *be, const struct vgpu_work *w, uint32_t out_row, uint32_t table_row,
		   const uint8_t *unit)
{
	const struct vb_cmd_gather *c = (const void *)w->cmd;
	struct vgpu_cpu *cpu = be;
	uint32_t k = c->table.shape[1], rows = vgpu_weight_unit_rows(c->table.format);
	struct vgpu_panel p = { .format = c->table.format, .rows = rows, .k = k, .data = unit };
	float *y = (float *)w->ptr[2] + out_row * vgpu_cpu_stride(&c->y, 0);

	if (rows > 1)
		return packed_row(cpu, p, table_row % rows, y);
	cpu->k->weight_decode(&p, y, k);
	return 0;
}

const struct vgpu_backend_ops vgpu_backend_cpu = {
	.name = "cpu",
	.open = cpu_open,
	.close = cpu_close,
	.supports = cpu_supports,
	.begin = vgpu_cpu_matmul_begin,
	.select = vgpu_cpu_matmul_select,
	.panel = vgpu_cpu_matmul_panel,
	.end = cpu_end,
	.row = cpu_row,
	.run = vgpu_cpu_layer_run,
};
