// SPDX-License-Identifier: MIT
/*
 * Copies to and from blocks of Q8_0 through the executor: the bytes that the reference encodes,
 * wherever the rows lie, and nothing beside them.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/exec_rig.h"
#include "kernels/kernels.h"
#include "kernels/pack/half.h"

/* An offset of neither a chunk nor an element. */
#define AT	(XCHUNK - 259)
#define BLOCK	34u

static struct xrig rig;

static int set_up(void **state)
{
	return xrig_set_up(state, &rig, 256);
}

/* What x becomes, by the definition. */
static uint8_t *encoded(const float *x, size_t n)
{
	uint8_t *blocks = xalloc(n / 32 * BLOCK);

	vgpu_kernels_get(VGPU_ISA_REF)->q8_0_encode(blocks, x, n);
	return blocks;
}

static float *decoded(const uint8_t *blocks, size_t n)
{
	struct vgpu_panel w = { .format = VGPU_W_Q8_0, .rows = 1, .k = (uint32_t)n, .data = blocks };
	float *x = xalloc(n * 4);

	vgpu_kernels_get(VGPU_ISA_REF)->weight_decode(&w, x, n);
	return x;
}

static uint32_t object(const void *bytes, size_t n)
{
	uint32_t bo = xrig_anonymous(&rig, n);

	assert_int_equal(xrig_write(&rig, bo, 0, bytes, n), 0);
	return bo;
}

static void copy(struct vb_operand x, struct vb_operand y, struct xstream *s)
{
	struct vb_cmd_copy c = { .h = { VB_CMD_COPY, 0, sizeof(c) }, .x = x, .y = y };

	xstream_add(s, &c, sizeof(c));
	xrig_must_run(&rig, s);
}

/* Rows with room between them, as those of a cache are written: tokens, heads, columns. */
static void copy_to_q8_0_writes_the_rows_and_nothing_else(void **state)
{
	enum { T = 9, H = 3, D = 64, ROW = H * D / 32 * BLOCK, STEP = ROW + 13 };
	float *x = xvalues(T * H * D, 1);
	size_t bytes = AT + T * STEP;
	uint8_t *before = xalloc(bytes), *after = xalloc(bytes), *want;
	uint32_t from = object(x, T * H * D * 4), to;
	struct vb_operand source, target;
	struct xstream s;

	(void)state;
	x[5] = NAN;
	x[200] = -INFINITY;
	memset(x + 256, 0, 64 * sizeof(*x));
	assert_int_equal(xrig_write(&rig, from, 0, x, T * H * D * 4), 0);
	memset(before, 0xa5, bytes);
	to = object(before, bytes);
	xstream_begin(&s);
	source = xcube(&s, from, VB_ACCESS_READ, 0, VB_FORMAT_F32, T, H, D);
	target = xcube(&s, to, VB_ACCESS_READ | VB_ACCESS_WRITE, AT, VB_FORMAT_Q8_0, T, H, D);
	target.stride[0] = STEP;
	copy(source, target, &s);
	assert_int_equal(xrig_read(&rig, to, 0, after, bytes), 0);
	want = encoded(x, T * H * D);
	for (uint32_t t = 0; t < T; t++)
		memcpy(before + AT + t * STEP, want + t * ROW, ROW);
	assert_memory_equal(after, before, bytes);
	free(x);
	free(before);
	free(after);
	free(want);
}

/* A vector of more blocks than are copied between two questions, in several chunks. */
static void copy_of_a_long_vector_goes_through_q8_0(void **state)
{
	enum { N = (1 << 20) + 96 };
	float *x = xvalues(N, 2), *back = xalloc(N * 4), *values;
	uint8_t *want = encoded(x, N), *got = xalloc(N / 32 * BLOCK);
	uint32_t from = object(x, N * 4), blocks = xrig_anonymous(&rig, AT + N / 32 * BLOCK);
	uint32_t to = xrig_anonymous(&rig, N * 4);
	struct vb_operand a, b;
	struct xstream s;

	(void)state;
	xstream_begin(&s);
	a = xvector(&s, from, VB_ACCESS_READ, 0, VB_FORMAT_F32, N);
	b = xvector(&s, blocks, VB_ACCESS_WRITE, AT, VB_FORMAT_Q8_0, N);
	copy(a, b, &s);
	assert_int_equal(xrig_read(&rig, blocks, AT, got, N / 32 * BLOCK), 0);
	assert_memory_equal(got, want, N / 32 * BLOCK);
	xstream_begin(&s);
	a = xvector(&s, blocks, VB_ACCESS_READ, AT, VB_FORMAT_Q8_0, N);
	b = xvector(&s, to, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, N);
	copy(a, b, &s);
	assert_int_equal(xrig_read(&rig, to, 0, back, N * 4), 0);
	values = decoded(want, N);
	assert_memory_equal(back, values, N * 4);
	free(x);
	free(back);
	free(values);
	free(want);
	free(got);
}

/* Any bytes, also those that no value becomes. */
static void copy_of_q8_0_to_q8_0_moves_bytes(void **state)
{
	enum { M = 7, N = 160, BYTES = M * N / 32 * BLOCK };
	uint8_t bytes[BYTES], got[BYTES];
	uint64_t rng = 3;
	uint32_t from, to = xrig_anonymous(&rig, AT + BYTES);
	struct vb_operand a, b;
	struct xstream s;

	(void)state;
	for (uint32_t i = 0; i < BYTES; i++)
		bytes[i] = (uint8_t)xrandom(&rng);
	from = object(bytes, BYTES);
	xstream_begin(&s);
	a = xmatrix(&s, from, VB_ACCESS_READ, 0, VB_FORMAT_Q8_0, M, N);
	b = xmatrix(&s, to, VB_ACCESS_WRITE, AT, VB_FORMAT_Q8_0, M, N);
	copy(a, b, &s);
	assert_int_equal(xrig_read(&rig, to, AT, got, BYTES), 0);
	assert_memory_equal(got, bytes, BYTES);
}

/* From halves, and to them: by way of the f32 that they are. */
static void copy_between_q8_0_and_halves(void **state)
{
	enum { N = 640 };
	static const uint16_t formats[] = { VB_FORMAT_F16, VB_FORMAT_BF16 };
	float *x = xvalues(N, 4), *same = xalloc(N * 4), *back = xalloc(N * 4), *values;
	uint8_t *want, got[N / 32 * BLOCK];
	uint32_t from = object(x, N * 4), half = xrig_anonymous(&rig, N * 2);
	uint32_t blocks = xrig_anonymous(&rig, AT + sizeof(got)), to = xrig_anonymous(&rig, N * 4);
	struct xstream s;

	(void)state;
	for (int f = 0; f < 2; f++) {
		const uint32_t chain[] = { from, half, to, half, blocks, half, to };
		const uint16_t as[] = { VB_FORMAT_F32, formats[f], VB_FORMAT_F32, formats[f],
					VB_FORMAT_Q8_0, formats[f], VB_FORMAT_F32 };

		for (int i = 0; i < 6; i++) {
			struct vb_operand a, b;

			xstream_begin(&s);
			a = xvector(&s, chain[i], VB_ACCESS_READ, chain[i] == blocks ? AT : 0, as[i], N);
			b = xvector(&s, chain[i + 1], VB_ACCESS_WRITE, chain[i + 1] == blocks ? AT : 0,
				    as[i + 1], N);
			copy(a, b, &s);
			if (i == 1)
				assert_int_equal(xrig_read(&rig, to, 0, same, N * 4), 0);
		}
		assert_int_equal(xrig_read(&rig, blocks, AT, got, sizeof(got)), 0);
		want = encoded(same, N);
		assert_memory_equal(got, want, sizeof(got));
		assert_int_equal(xrig_read(&rig, to, 0, back, N * 4), 0);
		values = decoded(want, N);
		/* A value of a block has up to 18 bits, of which a half keeps 8 or 11. */
		for (int i = 0; i < N; i++)
			assert_true(fabsf(back[i] - values[i]) <= fabsf(values[i]) * (f ? 0x1p-8f : 0x1p-11f));
		free(want);
		free(values);
	}
	free(x);
	free(same);
	free(back);
}

/*
 * Rows apart on both sides, copied and filled: as many short ones as threads share, and long ones
 * that threads share each.  Nothing between the rows changes, and nothing behind them.
 */
static void expect_shared(uint32_t rows, uint32_t cols, uint32_t format)
{
	size_t element = format == VB_FORMAT_F32 ? 4 : 2, step = (cols + 3) * element;
	size_t bytes = rows * step + 4096, n = (size_t)rows * (cols + 1);
	float *x = xvalues(n, 5);
	uint8_t *want = xalloc(bytes), *got = xalloc(bytes);
	uint32_t from = object(x, n * 4), to;
	struct vb_cmd_fill fill = { .h = { VB_CMD_FILL, 0, sizeof(fill) }, .value = 0x40490fdb };
	struct vb_operand a, b;
	struct xstream s;

	memset(want, 0xa5, bytes);
	to = object(want, bytes);
	for (size_t i = 0; i < (size_t)rows * cols; i++) {
		float value = x[i / cols * (cols + 1) + i % cols];
		uint16_t half = vgpu_f32_to_f16(value);

		memcpy(want + i / cols * step + i % cols * element,
		       element == 2 ? (void *)&half : (void *)&value, element);
	}
	xstream_begin(&s);
	a = xmatrix(&s, from, VB_ACCESS_READ, 0, VB_FORMAT_F32, rows, cols);
	a.stride[0] = (cols + 1) * 4;
	b = xmatrix(&s, to, VB_ACCESS_READ | VB_ACCESS_WRITE, 0, format, rows, cols);
	b.stride[0] = step;
	copy(a, b, &s);
	assert_int_equal(xrig_read(&rig, to, 0, got, bytes), 0);
	assert_memory_equal(got, want, bytes);
	for (size_t i = 0; element == 4 && i < (size_t)rows * cols; i++)
		memcpy(want + i / cols * step + i % cols * 4, &fill.value, 4);
	xstream_begin(&s);
	fill.y = xmatrix(&s, to, VB_ACCESS_READ | VB_ACCESS_WRITE, 0, format, rows, cols);
	fill.y.stride[0] = step;
	xstream_add(&s, &fill, sizeof(fill));
	if (element == 4)
		xrig_must_run(&rig, &s);
	assert_int_equal(xrig_read(&rig, to, 0, got, bytes), 0);
	assert_memory_equal(got, want, bytes);
	free(x);
	free(want);
	free(got);
}

static void copies_and_fills_that_threads_share_are_whole(void **state)
{
	(void)state;
	expect_shared(70001, 5, VB_FORMAT_F32);
	expect_shared(70001, 5, VB_FORMAT_F16);
	expect_shared(2, 2 * 65536 + 7, VB_FORMAT_F32);
	expect_shared(2, 2 * 65536 + 7, VB_FORMAT_F16);
	expect_shared(5, 65536, VB_FORMAT_F32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		XRIG_TEST(copy_to_q8_0_writes_the_rows_and_nothing_else, set_up),
		XRIG_TEST(copy_of_a_long_vector_goes_through_q8_0, set_up),
		XRIG_TEST(copy_of_q8_0_to_q8_0_moves_bytes, set_up),
		XRIG_TEST(copy_between_q8_0_and_halves, set_up),
		XRIG_TEST(copies_and_fills_that_threads_share_are_whole, set_up),
	};

	return cmocka_run_group_tests_name("exec_copy", tests, NULL, NULL);
}
