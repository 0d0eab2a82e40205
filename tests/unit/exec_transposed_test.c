// SPDX-License-Identifier: MIT
/*
 * Products by a weight from the left, for every format and level: bit for bit what the table's function
 * gives of the whole weight at once, with any number of threads, wherever a file has the weight, and
 * through a tier that holds a quarter of it.
 *
 * A process has one level, so that each has one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/exec_rig.h"
#include "common/weights_draw.h"
#include "kernels/check.h"

#define APART	5u		/* floats between rows */
#define PATTERN	0x5a
#define HELD	4u		/* slots of 64 KiB that x and y take at most where the tier is small */

/**
 * struct left - one product
 * @bytes: of the weight; of its scales, where these are apart, @split_bytes
 * @start: where the file has the weight
 * @x: [m][n], @want: [m][k], rows APART
 */
struct left {
	const struct weights_format *f;
	uint32_t m, n, k;
	uint64_t start;
	uint8_t *data;
	size_t bytes, split_bytes;
	float *x, *want;
	size_t ldx, ldy;
};

static size_t x_bytes(const struct left *l)
{
	return l->m * l->ldx * sizeof(float);
}

static size_t y_bytes(const struct left *l)
{
	return l->m * l->ldy * sizeof(float);
}

static void draw_weights(struct left *l)
{
	uint64_t rng = l->f->format;
	struct weights_draw d = {
		.format = l->f->format, .n = l->n, .k = l->k, .rng = &rng,
		.floats = check_alloc(16 * l->k * sizeof(float)),
		.blocks = check_alloc((size_t)l->n * l->k * 4),
		.no_codes = check_alloc((size_t)l->n * l->k * 4),
	};

	assert_int_equal(weights_draw(&d, l->data, l->split_bytes ? l->data + l->bytes : NULL), 0);
	free(d.floats);
	free(d.blocks);
	free(d.no_codes);
}

/* By the table alone, all of it at once; beside rows nothing changes. */
static void expect(struct left *l)
{
	struct vgpu_panel w = { l->f->format, l->n, l->k, l->data,
				l->split_bytes ? l->data + l->bytes : NULL };
	struct vgpu_transposed p = { .x = l->x, .y = l->want, .ldx = l->ldx, .ldy = l->ldy,
				     .m = l->m, .end = l->k };
	void *scratch = check_alloc(vgpu_matmul_scratch_bytes(l->f->format, l->k));

	memset(l->want, PATTERN, y_bytes(l));
	vgpu_kernels_best()->matmul_transposed(&w, &p, scratch);
	free(scratch);
}

/* Among the activations are zeros, subnormal numbers, NaN and infinity. */
static void left_make(struct left *l, const struct weights_format *f, uint32_t m, uint32_t n, uint32_t k)
{
	uint32_t unit = vgpu_weight_unit_rows(f->format);

	*l = (struct left){ .f = f, .m = m, .n = n, .k = k, .ldx = n + APART, .ldy = k + APART,
			    .start = 4096 };
	l->bytes = (n + unit - 1) / unit * vgpu_weight_unit_bytes(f->format, k);
	l->split_bytes = f->format == VGPU_W_MXFP4_SPLIT ? n * (k / 32) : 0;
	l->data = check_alloc(l->bytes + l->split_bytes);
	draw_weights(l);
	l->x = xvalues(m * l->ldx, 8);
	l->want = xalloc(y_bytes(l));
	if (m > 3) {
		memset(l->x, 0, n * sizeof(float));
		for (uint32_t r = 0; r < n; r++)
			l->x[l->ldx + r] *= 0x1p-127f;
		l->x[2 * l->ldx + n / 2] = NAN;
		l->x[3 * l->ldx + n - 1] = -INFINITY;
	}
	expect(l);
}

static void left_drop(struct left *l)
{
	free(l->data);
	free(l->x);
	free(l->want);
}

/* ------------------------------------------------------------------------
 * By a command
 */

static struct vb_operand apart(struct vb_operand op, size_t row_floats)
{
	op.stride[0] = row_floats * sizeof(float);
	return op;
}

static void run(struct xrig *rig, const struct left *l, uint32_t x, uint32_t w, uint32_t y)
{
	struct vb_cmd_matmul_transposed c = { .h = { VB_CMD_MATMUL_TRANSPOSED, 0, sizeof(c) } };
	struct xstream s;

	xstream_begin(&s);
	c.x = apart(xmatrix(&s, x, VB_ACCESS_READ, 0, VB_FORMAT_F32, l->m, l->n), l->ldx);
	c.w = xmatrix(&s, w, VB_ACCESS_READ, 0, (uint16_t)l->f->format, l->n, l->k);
	if (l->split_bytes)
		c.scales = xmatrix(&s, w, VB_ACCESS_READ, l->bytes, VB_FORMAT_U8, l->n, l->k / 32);
	c.y = apart(xmatrix(&s, y, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, l->m, l->k), l->ldy);
	xstream_add(&s, &c, sizeof(c));
	xrig_must_run(rig, &s);
}

static void compare(const struct left *l, const float *got, const char *what)
{
	for (size_t i = 0; i < l->m * l->ldy; i++)
		if (memcmp(&got[i], &l->want[i], 4) && !(isnan(got[i]) && isnan(l->want[i])))
			fail_msg("%s %s: row %zu, column %zu is %a, not %a", l->f->name, what,
				 i / l->ldy, i % l->ldy, got[i], l->want[i]);
}

static void check_command(struct xrig *rig, const struct left *l, const char *what)
{
	int fd = xfile(l->data, l->bytes + l->split_bytes, l->start);
	uint32_t w = xrig_file(rig, fd, l->start, l->bytes + l->split_bytes);
	uint32_t x = xrig_anonymous(rig, x_bytes(l)), y = xrig_anonymous(rig, y_bytes(l));
	float *got = xalloc(y_bytes(l));

	memset(got, PATTERN, y_bytes(l));
	assert_int_equal(xrig_write(rig, x, 0, l->x, x_bytes(l)), 0);
	assert_int_equal(xrig_write(rig, y, 0, got, y_bytes(l)), 0);
	/* Once more: what is in y then is not added to. */
	for (int i = 0; i < 2; i++) {
		run(rig, l, x, w, y);
		assert_int_equal(xrig_read(rig, y, 0, got, y_bytes(l)), 0);
		compare(l, got, what);
	}
	free(got);
	assert_int_equal(xrig_destroy(rig, x), 0);
	assert_int_equal(xrig_destroy(rig, y), 0);
	assert_int_equal(xrig_destroy(rig, w), 0);
	close(fd);
}

/* Rows that end in no group, columns that end in no part; the weight at an odd place, too. */
static void check_each_format(uint32_t threads)
{
	struct vgpu_exec_params p = xrig_params(24);
	struct xrig rig;

	p.threads = threads;
	xrig_start(&rig, &p);
	weights_for_each(f) {
		struct left l;

		left_make(&l, f, 19, 171, f->step == 1 ? 1061 : 1280);
		check_command(&rig, &l, "at 4096");
		l.start = 100;
		check_command(&rig, &l, "at 100");
		left_drop(&l);
	}
	xrig_close(&rig);
}

static void transposed_is_the_tables(void **state)
{
	check_table(state);
	check_each_format(1);
}

static void transposed_does_not_depend_on_threads(void **state)
{
	check_table(state);
	check_each_format(3);
}

/* Parts of rows, and one column more than parts of columns. */
static void transposed_of_many_rows_is_the_tables(void **state)
{
	static const struct weights_format formats[] = { { VGPU_W_MXFP4_G16, "mxfp4_g16", 1 },
							 { VGPU_W_BF16, "bf16", 1 } };
	struct vgpu_exec_params p = xrig_params(64);
	struct xrig rig;

	check_table(state);
	p.threads = 3;
	xrig_start(&rig, &p);
	for (int i = 0; i < 2; i++) {
		struct left l;

		left_make(&l, &formats[i], 331, 50, 513);
		check_command(&rig, &l, "of many rows");
		left_drop(&l);
	}
	xrig_close(&rig);
}

/* A tier with all of it, and one of a quarter of the weight, x and y included. */
static void check_tier(const struct weights_format *f)
{
	uint32_t most, few;
	struct xrig rig;
	struct left l;

	left_make(&l, f, 4, 6144, f->step == 1 ? 1061 : 1280);
	most = (uint32_t)((l.bytes + l.split_bytes) / XCHUNK) + 16;
	few = (uint32_t)((l.bytes + l.split_bytes) / XCHUNK / 4);
	assert_true((x_bytes(&l) + y_bytes(&l)) / XCHUNK <= HELD);
	for (uint32_t i = 0; i < 2; i++) {
		struct vgpu_exec_params p = xrig_params(i ? few : most);

		xrig_start(&rig, &p);
		check_command(&rig, &l, i ? "through a quarter" : "all there");
		xrig_close(&rig);
	}
	left_drop(&l);
}

static void transposed_does_not_depend_on_the_tier(void **state)
{
	static const struct weights_format formats[] = {
		{ VGPU_W_F16, "f16", 1 }, { VGPU_W_MXFP4_SPLIT, "mxfp4_split", 32 },
		{ VGPU_W_Q6_K, "q6_k", 256 }, { VGPU_W_MXFP4_G16, "mxfp4_g16", 1 },
		{ VGPU_W_INT4_Z128_G16, "int4_z128_g16", 128 },
	};

	check_table(state);
	for (uint32_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		check_tier(&formats[i]);
}

/* ------------------------------------------------------------------------
 */

/* One level, which VBLACKWELL_ISA then names; the status is that of its tests. */
static int run_level(enum vgpu_isa isa)
{
	static const char *const names[] = { "transposed_is_the_tables_%s",
					     "transposed_does_not_depend_on_threads_%s",
					     "transposed_of_many_rows_is_the_tables_%s",
					     "transposed_does_not_depend_on_the_tier_%s" };
	struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(transposed_is_the_tables, NULL),
		cmocka_unit_test_prestate(transposed_does_not_depend_on_threads, NULL),
		cmocka_unit_test_prestate(transposed_of_many_rows_is_the_tables, NULL),
		cmocka_unit_test_prestate(transposed_does_not_depend_on_the_tier, NULL),
	};
	char name[4][80];

	for (int i = 0; i < 4; i++) {
		snprintf(name[i], sizeof(name[i]), names[i], vgpu_isa_name(isa));
		tests[i].name = name[i];
		tests[i].initial_state = (void *)(uintptr_t)isa;
	}
	return cmocka_run_group_tests_name("exec_transposed", tests, NULL, NULL);
}

int main(void)
{
	int failed = 0, status;

	for (int isa = 0; isa < VGPU_ISA_COUNT; isa++) {
		pid_t pid = fork();

		if (!pid) {
			setenv("VBLACKWELL_ISA", vgpu_isa_name(isa), 1);
			exit(run_level(isa));
		}
		if (pid < 0 || waitpid(pid, &status, 0) < 0)
			return 1;
		failed |= !WIFEXITED(status) || WEXITSTATUS(status);
	}
	return failed;
}
