// SPDX-License-Identifier: MIT
/*
 * Every format of weights through the commands that take it, as it lies in a file and as the
 * packed object made of it: bit for bit what the kernels give when they are called directly.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/exec_rig.h"
#include "core/format.h"
#include "kernels/kernels.h"
#include "weight_model.h"

#define ROWS	173u		/* the last group has 13 */
#define COLS	1280u		/* whole blocks of every format; half a tile of 512 columns is left */
#define STACK	3u
#define MOST	17u		/* rows of activations */
#define TOP	2u

/* The device and what the commands have beside the weights. */
struct bench {
	struct xrig r;
	uint32_t x, ids, y;
	float *values;
	int32_t id[MOST * TOP];
};

static void bench_start(struct bench *b)
{
	struct vgpu_exec_params p = xrig_params(24);

	xrig_start(&b->r, &p);
	b->values = xvalues(MOST * COLS, 8);
	b->x = xrig_anonymous(&b->r, MOST * COLS * 4);
	b->ids = xrig_anonymous(&b->r, sizeof(b->id));
	b->y = xrig_anonymous(&b->r, MOST * COLS * 4);
	for (uint32_t i = 0; i < MOST * TOP; i++)
		b->id[i] = (int32_t)(i * 5 % 7 % STACK);
	assert_int_equal(xrig_write(&b->r, b->x, 0, b->values, MOST * COLS * 4), 0);
	assert_int_equal(xrig_write(&b->r, b->ids, 0, b->id, sizeof(b->id)), 0);
}

static void bench_close(struct bench *b)
{
	free(b->values);
	xrig_close(&b->r);
}

static void expect(struct bench *b, const struct xstream *s, const float *want, size_t n)
{
	float *got = xalloc(n * 4);

	xrig_must_run(&b->r, s);
	assert_int_equal(xrig_read(&b->r, b->y, 0, got, n * 4), 0);
	assert_memory_equal(got, want, n * 4);
	free(got);
}

static void check_matmul(struct bench *b, const struct weight_model *model, uint32_t bo, uint32_t matrix,
			 uint32_t mode, uint32_t m)
{
	struct vb_cmd_matmul c = { .h = { VB_CMD_MATMUL, 0, sizeof(c) }, .mode = mode };
	float *want = xalloc(m * ROWS * 4);
	struct xstream s;

	xstream_begin(&s);
	c.x = xmatrix(&s, b->x, VB_ACCESS_READ, 0, VB_FORMAT_F32, m, COLS);
	c.w = xmatrix(&s, bo, VB_ACCESS_READ, matrix * model->bytes, (uint16_t)model->format, ROWS,
		      COLS);
	c.y = xmatrix(&s, b->y, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, m, ROWS);
	xstream_add(&s, &c, sizeof(c));
	weight_product(model, vgpu_kernels_best(), matrix, (enum vgpu_mode)mode, m, b->values, want);
	expect(b, &s, want, m * ROWS);
	free(want);
}

static void check_matmul_id(struct bench *b, const struct weight_model *model, uint32_t bo, uint32_t mode)
{
	struct vb_cmd_matmul_id c = { .h = { VB_CMD_MATMUL_ID, 0, sizeof(c) }, .mode = mode };
	float *want = xalloc(MOST * TOP * ROWS * 4), *all = xalloc(STACK * MOST * ROWS * 4);
	struct xstream s;

	xstream_begin(&s);
	c.x = xmatrix(&s, b->x, VB_ACCESS_READ, 0, VB_FORMAT_F32, MOST, COLS);
	c.w = xcube(&s, bo, VB_ACCESS_READ, 0, (uint16_t)model->format, STACK, ROWS, COLS);
	c.ids = xmatrix(&s, b->ids, VB_ACCESS_READ, 0, VB_FORMAT_I32, MOST, TOP);
	c.y = xcube(&s, b->y, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, MOST, TOP, ROWS);
	xstream_add(&s, &c, sizeof(c));
	for (uint32_t i = 0; i < STACK; i++)
		weight_product(model, vgpu_kernels_best(), i, (enum vgpu_mode)mode, MOST, b->values,
			       all + i * MOST * ROWS);
	for (uint32_t i = 0; i < MOST * TOP; i++)
		memcpy(want + i * ROWS, all + (b->id[i] * MOST + i / TOP) * ROWS, ROWS * 4);
	expect(b, &s, want, MOST * TOP * ROWS);
	free(all);
	free(want);
}

static void check_gather(struct bench *b, const struct weight_model *model, uint32_t bo)
{
	struct vb_cmd_gather c = { .h = { VB_CMD_GATHER, 0, sizeof(c) } };
	struct vgpu_panel w = { .format = model->format, .rows = ROWS, .k = COLS,
				.data = model->data };
	float *want = xalloc(MOST * COLS * 4), *all = xalloc(ROWS * COLS * 4);
	struct xstream s;

	xstream_begin(&s);
	c.table = xmatrix(&s, bo, VB_ACCESS_READ, 0, (uint16_t)model->format, ROWS, COLS);
	c.ids = xvector(&s, b->ids, VB_ACCESS_READ, 0, VB_FORMAT_I32, MOST);
	c.y = xmatrix(&s, b->y, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, MOST, COLS);
	xstream_add(&s, &c, sizeof(c));
	vgpu_kernels_best()->weight_decode(&w, all, COLS);
	for (uint32_t i = 0; i < MOST; i++)
		memcpy(want + i * COLS, all + b->id[i] * COLS, COLS * 4);
	expect(b, &s, want, MOST * COLS);
	free(all);
	free(want);
}

static void check_commands(struct bench *b, const struct weight_model *model, uint32_t bo)
{
	for (uint32_t mode = VB_MODE_F32; mode < VB_MODE_COUNT; mode++) {
		check_matmul(b, model, bo, 0, mode, 1);
		check_matmul(b, model, bo, 1, mode, 5);
		check_matmul(b, model, bo, 2, mode, MOST);
		check_matmul_id(b, model, bo, mode);
	}
	check_gather(b, model, bo);
}

/* Formats of weights in one operand, but plain numbers. */
static bool is_tried(uint32_t format)
{
	return vb_format_is_weight(format) && format > VB_FORMAT_U8 && format != VB_FORMAT_MXFP4_SPLIT;
}

/* Where a file may have them: packed ones at a multiple of 64, and not. */
static void weights_in_a_file_give_the_kernels_products(void **state)
{
	static const uint32_t starts[] = { 4096, 100 };
	uint32_t tried = 0;

	(void)state;
	for (uint32_t format = 0; format < 64; format++) {
		struct weight_model model = { .format = (enum vgpu_wformat)format, .stack = STACK,
					     .rows = ROWS, .k = COLS };
		struct bench b;

		if (!is_tried(format))
			continue;
		tried++;
		weight_make(&model);
		bench_start(&b);
		for (uint32_t i = 0; i < 2; i++) {
			int fd = xfile(model.data, STACK * model.bytes, starts[i]);
			uint32_t bo = xrig_file(&b.r, fd, starts[i], STACK * model.bytes);

			check_commands(&b, &model, bo);
			xrig_destroy(&b.r, bo);
			close(fd);
		}
		bench_close(&b);
		weight_drop(&model);
	}
	assert_int_equal(tried, 10 + 15);
}

static void weights_packed_from_blocks_give_the_kernels_products(void **state)
{
	uint32_t tried = 0;

	(void)state;
	for (uint32_t format = 0; format < 64; format++) {
		struct weight_model model = { .format = (enum vgpu_wformat)format, .stack = STACK,
					     .rows = ROWS, .k = COLS };
		struct bench b;
		uint32_t bo;
		int fd;

		if (!is_tried(format) || !vgpu_g16_type((enum vgpu_wformat)format) ||
		    !vgpu_g16_type((enum vgpu_wformat)format)->source)
			continue;
		tried++;
		weight_make(&model);
		bench_start(&b);
		fd = xfile(model.source, model.source_bytes, 100);
		bo = xrig_derived(&b.r, fd, 100, vgpu_g16_type(format)->source, format, STACK, ROWS,
				  COLS);
		check_commands(&b, &model, bo);
		close(fd);
		bench_close(&b);
		weight_drop(&model);
	}
	assert_int_equal(tried, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(weights_in_a_file_give_the_kernels_products),
		cmocka_unit_test(weights_packed_from_blocks_give_the_kernels_products),
	};

	return cmocka_run_group_tests_name("exec_formats", tests, NULL, NULL);
}
