/* SPDX-License-Identifier: MIT */
/*
 * The CPU backend: cpu_matmul.c, cpu_experts.c, cpu_transposed.c, cpu_product.c, cpu_layer.c,
 * cpu_copy.c and cpu_topk.c.
 */
#ifndef VGPU_EXEC_CPU_H
#define VGPU_EXEC_CPU_H

#include "backend.h"
#include "kernels/kernels.h"
#include "kernels/pool.h"

/* Memory that grows and is kept; 64-byte aligned. */
struct vgpu_cpu_memory {
	uint8_t *data;
	size_t bytes;
};

/*
 * Activations, packed, and what is gathered of them and of results: not more at once.  Rows
 * that have no room are taken after the others, of each panel.
 */
#define VGPU_CPU_ROWS_BYTES	(12u << 20)

/* Rows [first, end) of the activations; none: end is 0. */
struct vgpu_cpu_rows {
	uint32_t first, end;
};

/**
 * struct vgpu_cpu_segment - routes of one expert whose activations are packed
 * @first, @end: which routes
 * @shared: @acts are those of the segment before, which has the same rows
 */
struct vgpu_cpu_segment {
	uint32_t first, end;
	bool shared;
	struct vgpu_acts acts;
};

/**
 * struct vgpu_cpu - state of the backend
 * @acts: activations of the running MATMUL, packed; @packed: which
 * @acts_memory: where they are, or those of segments
 * @scratch: one piece a thread, @scratch_bytes each
 * @staging: units that lie across pieces, copied together
 * @routes: MATMUL_ID: every index, by expert, then as read; room for twice as many
 * @segment: MATMUL_ID: routes that are packed, ascending
 * @rows_in, @rows_out: their activations, and results of one, gathered; MATMUL: @rows_out is
 *	the residual of a panel when the output is the same array
 */
struct vgpu_cpu {
	struct vgpu_pool *pool;
	const struct vgpu_kernels *k;
	uint32_t threads;
	struct vgpu_acts acts;
	struct vgpu_cpu_memory acts_memory, scratch, staging;
	size_t scratch_bytes;
	struct vgpu_route *routes;
	uint32_t route_count, route_room;
	struct vgpu_cpu_segment *segment;
	uint32_t segments, segment_room;
	struct vgpu_cpu_rows packed;
	struct vgpu_cpu_memory rows_in, rows_out;
};

/* Make room for @bytes; content is lost.  Return: 0 or -ENOMEM. */
int vgpu_cpu_grow(struct vgpu_cpu_memory *m, size_t bytes);
/* Scratch of the thread that asks, once vgpu_cpu_scratch_grow() gave each so much. */
int vgpu_cpu_scratch_grow(struct vgpu_cpu *cpu, size_t bytes);
static inline void *vgpu_cpu_scratch(const struct vgpu_cpu *cpu)
{
	return cpu->scratch.data + vgpu_pool_self_index() * cpu->scratch_bytes;
}

/*
 * Parallel for with a guess of what it costs on one thread; in pieces where that is much.
 * Return: 0, or what vgpu_work_go_on() says.
 */
int vgpu_cpu_run(struct vgpu_cpu *cpu, const struct vgpu_work *w, vgpu_pool_fn fn, void *ctx,
		 size_t items, uint64_t cost_ns);

/* cpu_matmul.c */
int vgpu_cpu_matmul_begin(void *be, const struct vgpu_work *w);
int vgpu_cpu_matmul_panel(void *be, const struct vgpu_work *w, const struct vgpu_panel_work *p);
/* cpu_experts.c */
int vgpu_cpu_matmul_select(void *be, const struct vgpu_work *w, uint32_t *matrices,
			   uint32_t *count, struct vgpu_wrong_id *wrong);
/* cpu_topk.c */
/**
 * vgpu_cpu_topk() - vgpu_topk_f32_ref() of a row that is long, or of many values
 * @w: whose command it is
 * @x: [n]
 * @n: at least @top
 * @top: at least 1
 * @value, @index: [top], overwritten
 *
 * Return: 0, or what vgpu_work_go_on() says.
 */
int vgpu_cpu_topk(const struct vgpu_work *w, const float *x, uint32_t n, uint32_t top,
		  float *value, int32_t *index);
/* cpu_copy.c */
/* Bytes of @n values behind each other, of a format that a copy takes. */
uint64_t vgpu_cpu_values_bytes(uint32_t format, uint64_t n);
/* Return: 0, or what vgpu_work_go_on() says. */
int vgpu_cpu_copy(struct vgpu_cpu *cpu, const struct vgpu_work *w);
int vgpu_cpu_fill(struct vgpu_cpu *cpu, const struct vgpu_work *w);
/* cpu_layer.c */
int vgpu_cpu_layer_run(void *be, const struct vgpu_work *w);
/* MATMUL_GATE whose product is in y.  Return: 0, or what vgpu_work_go_on() says. */
int vgpu_cpu_gate(struct vgpu_cpu *cpu, const struct vgpu_work *w);

/* Stride of a dimension of an F32 or I32 operand, in elements. */
size_t vgpu_cpu_stride(const struct vb_operand *op, uint32_t dim);

#endif
