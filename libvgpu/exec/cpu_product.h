/* SPDX-License-Identifier: MIT */
/* A product's panel on the threads of the CPU backend: for cpu_matmul.c, cpu_experts.c and
 * cpu_transposed.c. */
#ifndef VGPU_EXEC_CPU_PRODUCT_H
#define VGPU_EXEC_CPU_PRODUCT_H

#include "cpu.h"

/**
 * struct vgpu_block - rows that lie together
 * @data: where
 * @copy: NULL, or @data, where nothing is yet: who multiplies them first brings them there
 * @from, @at, @bytes: the pieces that they lie across, and where in the first
 * @scales: theirs, or NULL
 * @row, @rows: which of the panel
 */
struct vgpu_block {
	const uint8_t *data;
	uint8_t *copy;
	const struct vgpu_piece *from;
	uint64_t at, bytes;
	const uint8_t *scales;
	uint32_t row, rows;
};

/**
 * struct vgpu_product - one panel on its way
 * @acts: activations, packed
 * @y: element [0][0] of the output of this panel's matrix
 * @bias: of this panel's matrix, or NULL
 * @done: NULL, or called for each block that is in @y, by the thread that made it
 */
struct vgpu_product {
	struct vgpu_cpu *cpu;
	enum vgpu_wformat format;
	uint32_t k, act;
	const struct vgpu_acts *acts;
	float *y;
	size_t ldy;
	const float *bias, *residual;
	size_t ldr;
	struct vgpu_block *block;
	uint32_t blocks;
	void (*done)(const struct vgpu_product *d, const struct vgpu_block *b);
};

/* Rough speed of one thread at packing activations, values. */
#define VGPU_CPU_PACKED_A_NS	2u

/* Rows that are computed together when one takes so many bytes: all of @m, or equal parts. */
uint32_t vgpu_cpu_rows_at_once(uint64_t row_bytes, uint32_t m);
/* Bytes of a row of activations, packed for a product. */
uint64_t vgpu_cpu_acts_row_bytes(uint32_t format, uint32_t mode, uint32_t k);

/**
 * vgpu_panel_cut() - cut a panel into blocks
 * @m: rows of activations
 * @out: receives them; free() them
 *
 * Return: how many, at most one a 16 rows plus two a piece; -ENOMEM.
 */
int vgpu_panel_cut(struct vgpu_cpu *cpu, const struct vgpu_panel_work *p, uint32_t m,
		   struct vgpu_block **out);
/* Have a block where it is to be. */
void vgpu_block_bring(struct vgpu_block *b);
/* All blocks on the threads.  Return: 0, or what vgpu_work_go_on() says. */
int vgpu_product_run(struct vgpu_product *d, const struct vgpu_work *w,
		     const struct vgpu_panel_work *p);

int vgpu_matmul_panel(struct vgpu_product *d, const struct vgpu_work *w,
		      const struct vgpu_panel_work *p);
int vgpu_experts_panel(struct vgpu_product *d, const struct vgpu_work *w,
		       const struct vgpu_panel_work *p);
/* @d: its blocks alone. */
int vgpu_transposed_panel(const struct vgpu_product *d, const struct vgpu_work *w,
			  const struct vgpu_panel_work *p);

#endif
