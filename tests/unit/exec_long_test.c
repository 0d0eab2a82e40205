// SPDX-License-Identifier: MIT
/*
 * Commands that take long, or are as large as the tier allows: whatever a client says, the
 * executor asks in the middle whether to go on, and memory and steps stay within bounds.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/exec_rig.h"
#include "kernels/ref/layer.h"

#define SLOTS	512u		/* 32 MiB */

static struct xrig rig;

static int set_up(void **state)
{
	return xrig_set_up(state, &rig, SLOTS);
}

static uint32_t object(const void *values, size_t n)
{
	uint32_t bo = xrig_anonymous(&rig, n * 4);

	if (values)
		assert_int_equal(xrig_write(&rig, bo, 0, values, n * 4), 0);
	return bo;
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* 2^32 pairs of a query and a key: seconds, and nobody waits for them any more. */
static void long_attention_ends_at_its_deadline(void **state)
{
	enum { N = 1 << 16 };
	struct vb_cmd_attention c = { .h = { VB_CMD_ATTENTION, 0, sizeof(c) } };
	uint32_t x = object(NULL, N), y = object(NULL, N);
	struct xstream s;
	uint64_t cpu;

	(void)state;
	xstream_begin(&s);
	c.q = xcube(&s, x, VB_ACCESS_READ, 0, VB_FORMAT_F32, N, 1, 1);
	c.k = c.v = c.q;
	c.out = xcube(&s, y, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, N, 1, 1);
	xstream_add(&s, &c, sizeof(c));
	s.deadline_ns = xrig_now() + 300000000;
	cpu = cpu_ns();
	assert_int_equal(xrun(&rig, &s), -ETIME);
	if (!XSANITIZED)
		assert_in_range(cpu_ns() - cpu, 0, 3000000000u);
}

/* Runs TOPK of one row; values and indices are the caller's to free. */
static void topk(const float *x, uint32_t n, uint32_t top, float **value, int32_t **index)
{
	struct vb_cmd_topk c = { .h = { VB_CMD_TOPK, 0, sizeof(c) } };
	uint32_t bx = object(x, n), bv = object(NULL, top), bi = object(NULL, top);
	struct xstream s;

	xstream_begin(&s);
	c.x = xmatrix(&s, bx, VB_ACCESS_READ, 0, VB_FORMAT_F32, 1, n);
	c.values = xmatrix(&s, bv, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 1, top);
	c.indices = xmatrix(&s, bi, VB_ACCESS_WRITE, 0, VB_FORMAT_I32, 1, top);
	xstream_add(&s, &c, sizeof(c));
	xrig_must_run(&rig, &s);
	*value = xalloc(top * 4ul);
	*index = xalloc(top * 4ul);
	assert_int_equal(xrig_read(&rig, bv, 0, *value, top * 4ul), 0);
	assert_int_equal(xrig_read(&rig, bi, 0, *index, top * 4ul), 0);
}

/* Ascending, so that each value is above all that are kept: 10^11 steps one by one. */
static void topk_of_a_quarter_of_a_row_takes_few_steps(void **state)
{
	const uint32_t n = 1u << 20, top = n / 4;
	float *x = xalloc(n * 4ul), *value;
	int32_t *index;
	uint64_t cpu;

	(void)state;
	for (uint32_t i = 0; i < n; i++)
		x[i] = (float)i;
	cpu = cpu_ns();
	topk(x, n, top, &value, &index);
	assert_in_range(cpu_ns() - cpu, 0, 5000000000u);
	for (uint32_t t = 0; t < top; t++) {
		assert_int_equal(index[t], n - 1 - t);
		assert_float_equal(value[t], (float)(n - 1 - t), 0);
	}
	free(x);
	free(value);
	free(index);
}

/* Equal values, NaN and infinities among them. */
static void topk_of_many_is_that_of_the_reference(void **state)
{
	enum { N = 5000, TOP_MAX = N };
	static const uint32_t tops[] = { 64, 65, 1000, N };
	float *x = xvalues(N, 7), *want = xalloc(TOP_MAX * 4), *value;
	int32_t *want_index = xalloc(TOP_MAX * 4), *index;

	(void)state;
	for (uint32_t i = 0; i < N; i++)
		x[i] = i % 50 == 3 ? NAN : i % 50 == 9 ? -INFINITY : roundf(x[i] * 100);
	for (size_t i = 0; i < sizeof(tops) / sizeof(tops[0]); i++) {
		vgpu_topk_f32_ref(x, N, tops[i], want, want_index);
		topk(x, N, tops[i], &value, &index);
		assert_memory_equal(index, want_index, tops[i] * 4ul);
		assert_memory_equal(value, want, tops[i] * 4ul);
		free(value);
		free(index);
	}
	free(x);
	free(want);
	free(want_index);
}

/* More rows than are put into the table's order at once. */
static void gather_of_a_million_rows(void **state)
{
	enum { TABLE = 1000 };
	const uint32_t rows = (1u << 20) + 77;
	struct vb_cmd_gather c = { .h = { VB_CMD_GATHER, 0, sizeof(c) } };
	float *table = xvalues(TABLE, 3), *y = xalloc(rows * 4ul);
	int32_t *ids = xalloc(rows * 4ul);
	uint32_t bt = object(table, TABLE), bids, by = object(NULL, rows);
	struct xstream s;

	(void)state;
	for (uint32_t i = 0; i < rows; i++)
		ids[i] = (int32_t)((i * 2654435761u >> 7) % TABLE);
	bids = object(ids, rows);
	xstream_begin(&s);
	c.table = xmatrix(&s, bt, VB_ACCESS_READ, 0, VB_FORMAT_F32, TABLE, 1);
	c.ids = xvector(&s, bids, VB_ACCESS_READ, 0, VB_FORMAT_I32, rows);
	c.y = xmatrix(&s, by, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, rows, 1);
	xstream_add(&s, &c, sizeof(c));
	xrig_must_run(&rig, &s);
	assert_int_equal(xrig_read(&rig, by, 0, y, rows * 4ul), 0);
	for (uint32_t i = 0; i < rows; i++)
		assert_float_equal(y[i], table[ids[i]], 0);
	free(table);
	free(ids);
	free(y);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		XRIG_TEST(long_attention_ends_at_its_deadline, set_up),
		XRIG_TEST(topk_of_a_quarter_of_a_row_takes_few_steps, set_up),
		XRIG_TEST(topk_of_many_is_that_of_the_reference, set_up),
		XRIG_TEST(gather_of_a_million_rows, set_up),
	};

	return cmocka_run_group_tests_name("exec_long", tests, NULL, NULL);
}
