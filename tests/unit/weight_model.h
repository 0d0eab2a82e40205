/* SPDX-License-Identifier: MIT */
/* Weights of every format that a command takes, with the values that its kernels make of them. */
#ifndef TESTS_UNIT_WEIGHT_MODEL_H
#define TESTS_UNIT_WEIGHT_MODEL_H

#include "common/exec_rig.h"
#include "kernels/random_blocks.h"

/**
 * struct weight_model - a stack of matrices
 * @format: of the operand
 * @stack: matrices
 * @rows: of one
 * @k: columns
 * @data: [stack], dense
 * @bytes: of one
 * @scales: MXFP4_SPLIT: [stack][rows][k / 32]; else NULL
 * @source: blocks that it is packed from, [stack][rows]; NULL: the operand is no packed one of a source
 * @source_bytes: of all
 */
struct weight_model {
	enum vgpu_wformat format;
	uint32_t stack, rows, k;
	uint8_t *data, *scales, *source;
	size_t bytes, source_bytes;
};

static inline uint32_t weight_rows_left(const struct weight_model *m, uint32_t row)
{
	return m->rows - row < 16 ? m->rows - row : 16;
}

/* Group by group, as a packed object has them. */
static inline void weight_pack_group(struct weight_model *m, uint32_t matrix, uint32_t row,
				     const float *values, uint64_t *rng)
{
	const struct vgpu_g16_type *type = vgpu_g16_type(m->format);
	const struct vgpu_kernels *t = vgpu_kernels_best();
	uint8_t *dst = m->data + matrix * m->bytes + row / 16 * vgpu_weight_unit_bytes(m->format, m->k);
	uint32_t rows = weight_rows_left(m, row);
	struct random_int4 int4;

	if (m->format == VGPU_W_MXFP4_G16) {
		assert_int_equal(t->pack_mxfp4(dst, values, VGPU_W_F32, m->k, rows, m->k), 0);
	} else if (m->format == VGPU_W_INT8_G16) {
		assert_int_equal(t->pack_int8(dst, values, VGPU_W_F32, m->k, rows, m->k), 0);
	} else if (type->source) {
		const uint8_t *src = m->source + (matrix * m->rows + row) *
						 (m->source_bytes / m->stack / m->rows);

		assert_int_equal(t->pack_blocks(dst, m->format, src, rows, m->k), 0);
	} else {
		random_int4(&int4, type, rows, m->k, false, rng);
		assert_int_equal(t->pack_int4(dst, m->format, &int4.rows), 0);
		random_int4_free(&int4);
	}
}

/* F32, F16 and BF16 from values. */
static inline void weight_plain(struct weight_model *m)
{
	size_t n = (size_t)m->stack * m->rows * m->k;
	float *values = xvalues(n, 5);

	for (size_t i = 0; i < n; i++) {
		if (m->format == VGPU_W_F32)
			memcpy(m->data + 4 * i, &values[i], 4);
		else if (m->format == VGPU_W_F16)
			put_half(m->data + 2 * i, values[i]);
		else
			memcpy(m->data + 2 * i, (uint8_t *)&values[i] + 2, 2);
	}
	free(values);
}

/* Format, stack, rows and k are set. */
static inline void weight_make(struct weight_model *m)
{
	const struct vgpu_g16_type *type = vgpu_g16_type(m->format);
	uint32_t unit = vgpu_weight_unit_rows(m->format);
	float *values = xvalues(16ul * m->k, 4);
	uint64_t rng = 77;

	m->bytes = (m->rows + unit - 1) / unit * vgpu_weight_unit_bytes(m->format, m->k);
	m->data = check_alloc(m->stack * m->bytes);
	m->scales = NULL;
	m->source = NULL;
	if (m->format == VGPU_W_MXFP4_SPLIT)
		m->scales = check_alloc((size_t)m->stack * m->rows * (m->k / 32));
	if (type && type->source) {
		m->source_bytes = m->stack * m->rows * vgpu_weight_unit_bytes(type->source, m->k);
		m->source = check_alloc(m->source_bytes);
		random_blocks(type->source, m->source, NULL, m->stack * m->rows, m->k, false, &rng);
	}
	if (m->format <= VGPU_W_BF16)
		weight_plain(m);
	else if (unit == 1)
		random_blocks(m->format, m->data, m->scales, m->stack * m->rows, m->k, false, &rng);
	for (uint32_t i = 0; i < m->stack && unit > 1; i++)
		for (uint32_t row = 0; row < m->rows; row += 16)
			weight_pack_group(m, i, row, values, &rng);
	free(values);
}

static inline void weight_drop(struct weight_model *m)
{
	free(m->data);
	free(m->scales);
	free(m->source);
}

/* y [m][rows] of one matrix by the kernels of a level, without any device. */
static inline void weight_product(const struct weight_model *w, const struct vgpu_kernels *t,
				  uint32_t matrix, enum vgpu_mode mode, uint32_t m, const float *x,
				  float *y)
{
	struct vgpu_panel p = { .format = w->format, .rows = w->rows, .k = w->k,
				.data = w->data + matrix * w->bytes,
				.scales = w->scales ? w->scales + (size_t)matrix * w->rows * (w->k / 32) : NULL };
	enum vgpu_mode have = vgpu_matmul_mode(w->format, mode);
	void *memory = check_alloc(vgpu_acts_bytes(have, m, w->k));
	void *scratch = check_alloc(vgpu_matmul_scratch_bytes(w->format, w->k));
	struct vgpu_acts acts;

	vgpu_acts_init(&acts, have, m, w->k, memory);
	t->acts_pack(&acts, x, w->k, 0, m);
	t->matmul(&p, &acts, y, w->rows, scratch);
	free(memory);
	free(scratch);
}

#endif
