// SPDX-License-Identifier: MIT
/*
 * Weights of GGUF files as derived objects: what they hold beside the values that another
 * implementation gives the same blocks, and products with them beside float64.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/exec_rig.h"
#include "common/golden.h"
#include "core/format.h"
#include "kernels/kernels.h"

#define ROWS	37u		/* the last group has 5 */
#define COLS	2304u		/* more than are decoded at a time, and no multiple of that */
#define STACK	3u
#define START	100u
/* Matrices apart, rows one behind the other. */
#define VALUES	((size_t)STACK * ROWS * COLS)

/**
 * struct model - a stack of matrices made of golden blocks
 * @format: of the blocks
 * @bytes: of the file range
 * @fd: file, the range at START
 * @values: [STACK][ROWS][COLS], by the other implementation
 */
struct model {
	uint32_t format;
	size_t bytes;
	int fd;
	float *values;
};

/* Block @i of the model; INT8 has no scale for the one with the largest F16. */
static uint32_t pick(const struct golden *g, size_t i)
{
	uint32_t which = (uint32_t)((i * 5 + i / 7) % (g->count - 1));

	return which < 3 ? which : which + 1;
}

static void model_make(struct model *m, const char *name)
{
	struct golden g;
	uint8_t *blocks;

	golden_open(&g, name);
	m->format = g.format;
	m->bytes = VALUES / g.values_each * g.bytes_each;
	m->values = xalloc(VALUES * sizeof(float));
	blocks = xalloc(m->bytes);
	for (size_t i = 0; i < VALUES / g.values_each; i++) {
		memcpy(blocks + i * g.bytes_each, g.blocks + pick(&g, i) * g.bytes_each,
		       g.bytes_each);
		memcpy(m->values + i * g.values_each, g.values + pick(&g, i) * g.values_each,
		       g.values_each * sizeof(float));
	}
	m->fd = xfile(blocks, m->bytes, START);
	free(blocks);
	golden_close(&g);
}

static void model_drop(struct model *m)
{
	close(m->fd);
	free(m->values);
}

static size_t matrix_bytes(uint32_t format)
{
	return (ROWS + 15) / 16 * vgpu_weight_unit_bytes(format, COLS);
}

/* Bytes of the object, through the device. */
static uint8_t *read_derived(struct xrig *r, uint32_t bo, uint32_t format)
{
	uint8_t *packed = aligned_alloc(64, STACK * matrix_bytes(format));

	assert_int_equal(xrig_read(r, bo, 0, packed, STACK * matrix_bytes(format)), 0);
	return packed;
}

/* [STACK][ROWS][COLS] */
static float *decode(const uint8_t *packed, uint32_t format)
{
	float *out = xalloc(VALUES * sizeof(float));

	for (uint32_t i = 0; i < STACK; i++) {
		struct vgpu_panel p = { .format = format, .rows = ROWS, .k = COLS,
					.data = packed + i * matrix_bytes(format) };

		vgpu_kernels_best()->weight_decode(&p, out + (size_t)i * ROWS * COLS, COLS);
	}
	return out;
}

/* What packing makes of the other implementation's values. */
static uint8_t *pack_values(const float *values, uint32_t format)
{
	const struct vgpu_kernels *k = vgpu_kernels_best();
	uint8_t *packed = aligned_alloc(64, STACK * matrix_bytes(format)), *to = packed;

	for (uint32_t i = 0; i < STACK; i++)
		for (uint32_t row = 0; row < ROWS; row += 16) {
			const float *from = values + ((size_t)i * ROWS + row) * COLS;
			uint32_t rows = ROWS - row < 16 ? ROWS - row : 16;

			assert_int_equal((format == VB_FORMAT_INT8_G16 ? k->pack_int8 : k->pack_mxfp4)
					 (to, from, VGPU_W_F32, COLS, rows, COLS), 0);
			to += vgpu_weight_unit_bytes(format, COLS);
		}
	return packed;
}

static bool is_exact(const char *name)
{
	return !strcmp(name, "Q8_0") || !strcmp(name, "Q4_0") || !strcmp(name, "Q5_0") ||
	       !strcmp(name, "IQ4_NL") || !strncmp(name, "TQ", 2) || !strcmp(name, "Q1_0");
}

/* One matrix of the stack by three rows of activations, beside float64. */
static void check_product(struct xrig *r, uint32_t bo, uint32_t format, uint32_t matrix,
			  const float *w)
{
	struct vb_cmd_matmul c = { .h = { VB_CMD_MATMUL, 0, sizeof(c) }, .mode = VB_MODE_F32 };
	float *x = xvalues(3 * COLS, 8), y[3 * ROWS];
	uint32_t bx = xrig_anonymous(r, 3 * COLS * 4), by = xrig_anonymous(r, sizeof(y));
	double error = 0, size = 0;
	struct xstream s;

	assert_int_equal(xrig_write(r, bx, 0, x, 3 * COLS * 4), 0);
	xstream_begin(&s);
	c.x = xmatrix(&s, bx, VB_ACCESS_READ, 0, VB_FORMAT_F32, 3, COLS);
	c.w = xmatrix(&s, bo, VB_ACCESS_READ, matrix * matrix_bytes(format), (uint16_t)format, ROWS, COLS);
	c.y = xmatrix(&s, by, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 3, ROWS);
	xstream_add(&s, &c, sizeof(c));
	xrig_must_run(r, &s);
	assert_int_equal(xrig_read(r, by, 0, y, sizeof(y)), 0);
	for (uint32_t i = 0; i < 3 * ROWS; i++) {
		double sum, want = xdot(x + i / ROWS * COLS, w + (size_t)(i % ROWS) * COLS, COLS,
					&sum);

		assert_true(fabs(y[i] - want) <= sum * 0x1p-18);
		error += (y[i] - want) * (y[i] - want);
		size += want * want;
	}
	assert_true(error <= 1e-12 * size);
	xrig_destroy(r, bx);
	xrig_destroy(r, by);
	free(x);
}

static void check_derived(const char *name, uint32_t format)
{
	struct vgpu_exec_params p = xrig_params(12);
	bool exact = (format == VB_FORMAT_INT8_G16 && is_exact(name)) ||
		     (format != VB_FORMAT_INT8_G16 && format != VB_FORMAT_MXFP4_G16);
	uint8_t *got, *want;
	struct model m;
	struct xrig r;
	float *values;
	uint32_t bo;

	model_make(&m, name);
	xrig_start(&r, &p);
	bo = xrig_derived(&r, m.fd, START, m.format, format, STACK, ROWS, COLS);
	got = read_derived(&r, bo, format);
	values = decode(got, format);
	want = exact ? NULL : pack_values(m.values, format);
	if (exact)
		assert_memory_equal(values, m.values, VALUES * sizeof(float));
	else
		assert_memory_equal(got, want, STACK * matrix_bytes(format));
	for (uint32_t i = 0; i < STACK; i++)
		check_product(&r, bo, format, i, values + (size_t)i * ROWS * COLS);
	xrig_close(&r);
	free(want);
	free(got);
	free(values);
	model_drop(&m);
}

static void blocks_derived_as_int8_are_the_same_or_rounded_once_more(void **state)
{
	(void)state;
	for (uint32_t n = 0; n < GOLDEN_NAMES; n++)
		check_derived(golden_names[n], VB_FORMAT_INT8_G16);
}

static void blocks_derived_as_mxfp4_are_rounded_once_more(void **state)
{
	(void)state;
	/* The first is Q8_0, an operand itself. */
	for (uint32_t n = 1; n < GOLDEN_NAMES; n++)
		check_derived(golden_names[n], VB_FORMAT_MXFP4_G16);
}

static void blocks_derived_as_their_own_form_are_the_same(void **state)
{
	uint32_t tried = 0;

	(void)state;
	for (uint32_t n = 0; n < GOLDEN_NAMES; n++) {
		struct golden g;
		uint32_t packed;

		golden_open(&g, golden_names[n]);
		packed = vb_format_packed(g.format);
		golden_close(&g);
		if (packed <= VB_FORMAT_INT8_G16)
			continue;
		check_derived(golden_names[n], packed);
		tried++;
	}
	assert_int_equal(tried, 8);
}

/* A scale that is no number, in one row: -EDOM, whichever way the blocks go. */
static void blocks_with_an_infinite_scale_are_edom(void **state)
{
	static const char *const names[] = { "Q5_0", "Q4_K", "Q5_0", "Q4_K" };
	static const uint16_t formats[] = { VB_FORMAT_INT8_G16, VB_FORMAT_INT8_G16,
					    VB_FORMAT_Q5_0_G16, VB_FORMAT_Q4_K_G16 };
	const uint16_t infinite = 0x7c00;

	(void)state;
	for (uint32_t n = 0; n < 4; n++) {
		struct vgpu_exec_params p = xrig_params(12);
		struct model m;
		struct xrig r;
		uint8_t byte;
		uint32_t bo;

		model_make(&m, names[n]);
		/* Both types begin with their scale. */
		assert_int_equal(pwrite(m.fd, &infinite, 2, START), 2);
		xrig_start(&r, &p);
		bo = xrig_derived(&r, m.fd, START, m.format, formats[n], STACK, ROWS, COLS);
		assert_int_equal(xrig_read(&r, bo, 0, &byte, 1), -EDOM);
		xrig_close(&r);
		model_drop(&m);
	}
}

/* The file ends inside the last block: refused when the object is made. */
static void blocks_behind_the_end_of_the_file_are_refused(void **state)
{
	struct vgpu_exec_params p = xrig_params(12);
	struct vb_ioc_bo_create c = {
		.size = sizeof(c), .kind = VB_BO_DERIVED, .file_offset = START,
		.transform = { .kind = VB_TRANSFORM_PACK, .src_format = VB_FORMAT_Q4_K,
			       .dst_format = VB_FORMAT_INT8_G16, .rows = ROWS, .cols = COLS,
			       .stack = STACK },
	};
	struct model m;
	struct xrig r;

	(void)state;
	model_make(&m, "Q4_K");
	c.fd = m.fd;
	c.file_bytes = m.bytes;
	c.bytes = STACK * matrix_bytes(VB_FORMAT_INT8_G16);
	xrig_start(&r, &p);
	assert_int_equal(ftruncate(m.fd, (off_t)(START + m.bytes - 1)), 0);
	assert_int_equal(vgpu_uapi_call(r.client, VB_IOC_BO_CREATE, &c), -ERANGE);
	xrig_close(&r);
	model_drop(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_derived_as_int8_are_the_same_or_rounded_once_more),
		cmocka_unit_test(blocks_derived_as_mxfp4_are_rounded_once_more),
		cmocka_unit_test(blocks_derived_as_their_own_form_are_the_same),
		cmocka_unit_test(blocks_with_an_infinite_scale_are_edom),
		cmocka_unit_test(blocks_behind_the_end_of_the_file_are_refused),
	};

	return cmocka_run_group_tests_name("exec_blocks", tests, NULL, NULL);
}
