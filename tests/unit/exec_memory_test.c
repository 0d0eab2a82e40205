// SPDX-License-Identifier: MIT
/*
 * Memory beside the tier does not follow the shape of a command: activations are packed, and
 * gathered, some rows at a time, with the same results; what would not fit even so is refused
 * by number.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/exec_rig.h"
#include "exec/backend.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SHADOWED 1
#else
#define SHADOWED 0
#endif

/* Activations of 48 MiB. */
#define M	3072u
#define K	4096u
#define N	40u
#define FEW	8u
#define X_BYTES	((uint64_t)M * K * 4)
#define Y_BYTES	((uint64_t)M * N * 4)
/* What a process may have beside its tier. */
#define BESIDE_KIB	(32u << 10)

static uint64_t status_kib(const char *key)
{
	FILE *f = fopen("/proc/self/status", "r");
	unsigned long kib = 0;
	char line[128];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, key, strlen(key)))
			sscanf(line + strlen(key), ":%lu", &kib);
	}
	fclose(f);
	return kib;
}

/* From here on VmHWM is what there is now, or was since. */
static uint64_t peak_begin(void)
{
	FILE *f = fopen("/proc/self/clear_refs", "w");

	assert_non_null(f);
	fputs("5", f);
	fclose(f);
	return status_kib("VmRSS");
}

static void peak_expect_little(uint64_t begin)
{
	if (SHADOWED)
		print_message("a sanitizer has memory of its own: only results are compared\n");
	else
		assert_in_range(status_kib("VmHWM") - begin, 0, BESIDE_KIB);
}

struct product {
	struct xrig r;
	float *x, *w, *y, *want;
	uint32_t bx, bw, by;
};

static void product_open(struct product *t)
{
	struct vgpu_exec_params p = xrig_params(1200);

	t->x = xvalues((size_t)M * K, 1);
	t->w = xvalues((size_t)N * K, 2);
	t->y = xalloc(Y_BYTES);
	t->want = xalloc(Y_BYTES);
	xrig_start(&t->r, &p);
	t->bx = xrig_anonymous(&t->r, X_BYTES);
	t->bw = xrig_anonymous(&t->r, N * K * 4);
	t->by = xrig_anonymous(&t->r, Y_BYTES);
	assert_int_equal(xrig_write(&t->r, t->bx, 0, t->x, X_BYTES), 0);
	assert_int_equal(xrig_write(&t->r, t->bw, 0, t->w, N * K * 4), 0);
	assert_int_equal(xrig_write(&t->r, t->by, 0, t->y, Y_BYTES), 0);
}

static void product_close(struct product *t)
{
	xrig_close(&t->r);
	free(t->x);
	free(t->w);
	free(t->y);
	free(t->want);
}

/* Rows [first, first + m) of the product; @in_place: y is added to. */
static void product_run(struct product *t, uint32_t first, uint32_t m, bool in_place)
{
	struct vb_cmd_matmul c = { .h = { VB_CMD_MATMUL, 0, sizeof(c) }, .mode = VB_MODE_A16 };
	struct xstream s;

	xstream_begin(&s);
	c.x = xmatrix(&s, t->bx, VB_ACCESS_READ, (uint64_t)first * K * 4, VB_FORMAT_F32, m, K);
	c.w = xmatrix(&s, t->bw, VB_ACCESS_READ, 0, VB_FORMAT_F32, N, K);
	c.y = xmatrix(&s, t->by, VB_ACCESS_WRITE, (uint64_t)first * N * 4, VB_FORMAT_F32, m, N);
	if (in_place)
		c.residual = xmatrix(&s, t->by, VB_ACCESS_READ, (uint64_t)first * N * 4,
				     VB_FORMAT_F32, m, N);
	xstream_add(&s, &c, sizeof(c));
	xrig_must_run(&t->r, &s);
}

/* A few rows at a time, whose activations were always packed at once. */
static void product_in_parts(struct product *t)
{
	for (uint32_t first = 0; first < M; first += FEW)
		product_run(t, first, FEW, false);
	assert_int_equal(xrig_read(&t->r, t->by, 0, t->want, Y_BYTES), 0);
}

static void memory_of_a_product_does_not_follow_its_rows(void **state)
{
	struct product t;
	uint64_t begin;

	(void)state;
	product_open(&t);
	begin = peak_begin();
	product_run(&t, 0, M, false);
	peak_expect_little(begin);
	assert_int_equal(xrig_read(&t.r, t.by, 0, t.y, Y_BYTES), 0);
	product_in_parts(&t);
	assert_memory_equal(t.y, t.want, Y_BYTES);
	/* In place: the same, and what was there. */
	product_run(&t, 0, M, true);
	assert_int_equal(xrig_read(&t.r, t.by, 0, t.y, Y_BYTES), 0);
	for (uint32_t i = 0; i < M * N; i++)
		assert_true(t.y[i] == t.want[i] + t.want[i]);
	product_close(&t);
}

/* All rows choose the same expert, and each another one beside it. */
static void memory_of_a_routed_product_does_not_follow_its_rows(void **state)
{
	struct vb_cmd_matmul_id c = { .h = { VB_CMD_MATMUL_ID, 0, sizeof(c) },
				      .mode = VB_MODE_A16 };
	enum { EXPERTS = 2, ROWS = N / EXPERTS };
	int32_t *ids = xalloc(M * 2 * 4);
	float *y = xalloc(2 * M * ROWS * 4);
	uint32_t bids, by;
	struct product t;
	struct xstream s;
	uint64_t begin;

	(void)state;
	product_open(&t);
	for (uint32_t i = 0; i < M; i++) {
		ids[2 * i] = 1;
		ids[2 * i + 1] = (int32_t)(i % 3 ? 0 : 1);
	}
	bids = xrig_anonymous(&t.r, M * 2 * 4);
	by = xrig_anonymous(&t.r, 2 * M * ROWS * 4);
	assert_int_equal(xrig_write(&t.r, bids, 0, ids, M * 2 * 4), 0);
	assert_int_equal(xrig_write(&t.r, by, 0, y, 2 * M * ROWS * 4), 0);
	xstream_begin(&s);
	c.x = xmatrix(&s, t.bx, VB_ACCESS_READ, 0, VB_FORMAT_F32, M, K);
	c.w = xcube(&s, t.bw, VB_ACCESS_READ, 0, VB_FORMAT_F32, EXPERTS, ROWS, K);
	c.ids = xmatrix(&s, bids, VB_ACCESS_READ, 0, VB_FORMAT_I32, M, 2);
	c.y = xcube(&s, by, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, M, 2, ROWS);
	xstream_add(&s, &c, sizeof(c));
	begin = peak_begin();
	xrig_must_run(&t.r, &s);
	peak_expect_little(begin);
	assert_int_equal(xrig_read(&t.r, by, 0, y, 2 * M * ROWS * 4), 0);
	product_in_parts(&t);
	for (uint32_t i = 0; i < 2 * M; i++)
		assert_memory_equal(y + i * ROWS, t.want + i / 2 * N + ids[i] * ROWS, ROWS * 4);
	product_close(&t);
	free(ids);
	free(y);
}

/* ---- refused by number ---- */

static void expect_refused(struct xrig *r, const struct xstream *s, const char *a, const char *b)
{
	assert_int_equal(xrun(r, s), -ENOSPC);
	if (!strstr(xrig_error(r), a) || !strstr(xrig_error(r), b))
		fail_msg("\"%s\" does not name %s and %s", xrig_error(r), a, b);
	xrig_assert_sound(r);
}

static void memory_for_too_many_indices_is_refused(void **state)
{
	struct vb_cmd_matmul_id c = { .h = { VB_CMD_MATMUL_ID, 0, sizeof(c) } };
	enum { ROWS = VGPU_WORK_IDS / 2 + 1, COLS = 32 };
	struct vgpu_exec_params p = xrig_params(1200);
	struct xstream s;
	struct xrig r;

	(void)state;
	xrig_start(&r, &p);
	xstream_begin(&s);
	c.x = xmatrix(&s, xrig_anonymous(&r, ROWS * COLS * 4), VB_ACCESS_READ, 0, VB_FORMAT_F32,
		      ROWS, COLS);
	c.w = xcube(&s, xrig_anonymous(&r, 2 * COLS * 4), VB_ACCESS_READ, 0, VB_FORMAT_F32, 2, 1,
		    COLS);
	c.ids = xmatrix(&s, xrig_anonymous(&r, ROWS * 2 * 4), VB_ACCESS_READ, 0, VB_FORMAT_I32,
			ROWS, 2);
	c.y = xcube(&s, xrig_anonymous(&r, ROWS * 2 * 4), VB_ACCESS_WRITE, 0, VB_FORMAT_F32,
		    ROWS, 2, 1);
	xstream_add(&s, &c, sizeof(c));
	expect_refused(&r, &s, "262146", "262144");
	xrig_close(&r);
}

static void memory_for_rows_too_wide_is_refused(void **state)
{
	enum { COLS = (8 << 20) / 4 + 32, FORMATS = 2 };
	static const uint16_t format[FORMATS] = { VB_FORMAT_F32, VB_FORMAT_MXFP4 };
	static const uint64_t row_bytes[FORMATS] = { COLS * 4ull, COLS / 32 * 17ull };
	struct vgpu_exec_params p = xrig_params(1200);
	struct xrig r;

	(void)state;
	xrig_start(&r, &p);
	for (uint32_t i = 0; i < FORMATS; i++) {
		struct vb_cmd_matmul c = { .h = { VB_CMD_MATMUL, 0, sizeof(c) } };
		uint32_t bo = xrig_anonymous(&r, row_bytes[i]);
		struct xstream s;

		xstream_begin(&s);
		c.x = xmatrix(&s, xrig_anonymous(&r, COLS * 4), VB_ACCESS_READ, 0, VB_FORMAT_F32,
			      1, COLS);
		c.w = xmatrix(&s, bo, VB_ACCESS_READ, 0, format[i], 1, COLS);
		c.y = xmatrix(&s, xrig_anonymous(&r, 4), VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 1, 1);
		xstream_add(&s, &c, sizeof(c));
		expect_refused(&r, &s, "2097184 columns", "8388608");
	}
	xrig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_of_a_product_does_not_follow_its_rows),
		cmocka_unit_test(memory_of_a_routed_product_does_not_follow_its_rows),
		cmocka_unit_test(memory_for_too_many_indices_is_refused),
		cmocka_unit_test(memory_for_rows_too_wide_is_refused),
	};

	return cmocka_run_group_tests_name("exec_memory", tests, NULL, NULL);
}
