// SPDX-License-Identifier: MIT
/*
 * Products with all that a command may add to them, for every format, mode and level: bias,
 * activation, a residual, in place or not, or a gate; rows apart; bit for bit what the table's functions give
 * one after the other, with any number of threads.  Among the activations are zeros, subnormal
 * numbers, NaN and infinity.
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

#define ROWS	75u		/* the last group has 11 */
#define STACK	2u
#define TOP	2u
#define M	19u
#define APART	5u		/* floats between rows */
#define COLS_MAX (512u + APART)
#define PATTERN	0x5a

/* The device and what the commands have beside the weights. */
struct bench {
	struct xrig rig;
	uint32_t x, y, bias, residual, ids;
	float *values, *added;
	int32_t id[M * TOP];
};

/**
 * struct model - a stack of matrices
 * @bytes: of one; of its scales, where these are apart, @split_bytes
 */
struct model {
	enum vgpu_wformat format;
	uint32_t k;
	uint8_t *data, *split;
	size_t bytes, split_bytes;
	int fd;
	uint32_t bo;
};

static void model_make(struct model *m, const struct weights_format *f)
{
	uint32_t unit = vgpu_weight_unit_rows(f->format);
	uint64_t rng = f->format;
	struct weights_draw d = { .format = f->format, .n = ROWS, .rng = &rng };

	*m = (struct model){ .format = f->format, .k = f->step == 1 ? 261 : 512 };
	d.k = m->k;
	m->bytes = (ROWS + unit - 1) / unit * vgpu_weight_unit_bytes(f->format, m->k);
	m->split_bytes = f->format == VGPU_W_MXFP4_SPLIT ? ROWS * (m->k / 32) : 0;
	m->data = check_alloc(STACK * (m->bytes + m->split_bytes));
	m->split = m->data + STACK * m->bytes;
	d.floats = check_alloc(16 * m->k * sizeof(float));
	d.blocks = check_alloc(ROWS * m->k * 4);
	d.no_codes = check_alloc(ROWS * m->k * 4);
	for (uint32_t i = 0; i < STACK; i++)
		assert_int_equal(weights_draw(&d, m->data + i * m->bytes, m->split_bytes ?
					      m->split + i * m->split_bytes : NULL), 0);
	free(d.floats);
	free(d.blocks);
	free(d.no_codes);
}

/* In a file, as it lies in memory. */
static void model_open(struct model *m, struct bench *b)
{
	size_t bytes = STACK * (m->bytes + m->split_bytes);

	m->fd = xfile(m->data, bytes, 4096);
	m->bo = xrig_file(&b->rig, m->fd, 4096, bytes);
}

static void model_close(struct model *m, struct bench *b)
{
	xrig_destroy(&b->rig, m->bo);
	close(m->fd);
}

/* Rows of ordinary numbers, and one each of zeros, of subnormal ones, with NaN, with infinity. */
static void fill_activations(float *x)
{
	const size_t ld = COLS_MAX;

	memset(x + 1 * ld, 0, ld * sizeof(*x));
	for (size_t c = 0; c < ld; c++)
		x[2 * ld + c] *= 0x1p-127f;
	x[3 * ld + 77] = NAN;
	x[M / 2 * ld + 40] = -INFINITY;
}

static void bench_start(struct bench *b, uint32_t threads)
{
	struct vgpu_exec_params p = xrig_params(24);
	const size_t y_bytes = M * TOP * COLS_MAX * 4;

	p.threads = threads;
	xrig_start(&b->rig, &p);
	b->values = xvalues(M * TOP * COLS_MAX, 8);
	b->added = xvalues(M * TOP * COLS_MAX, 9);
	fill_activations(b->values);
	b->x = xrig_anonymous(&b->rig, y_bytes);
	b->y = xrig_anonymous(&b->rig, y_bytes);
	b->bias = xrig_anonymous(&b->rig, STACK * ROWS * 4);
	b->residual = xrig_anonymous(&b->rig, y_bytes);
	b->ids = xrig_anonymous(&b->rig, sizeof(b->id));
	for (uint32_t i = 0; i < M * TOP; i++)
		b->id[i] = (int32_t)(i * 5 % 7 % STACK);
	assert_int_equal(xrig_write(&b->rig, b->x, 0, b->values, y_bytes), 0);
	assert_int_equal(xrig_write(&b->rig, b->bias, 0, b->added, STACK * ROWS * 4), 0);
	assert_int_equal(xrig_write(&b->rig, b->residual, 0, b->added, y_bytes), 0);
	assert_int_equal(xrig_write(&b->rig, b->ids, 0, b->id, sizeof(b->id)), 0);
}

static void bench_close(struct bench *b)
{
	free(b->values);
	free(b->added);
	xrig_close(&b->rig);
}

/* ------------------------------------------------------------------------
 * By the table alone
 */

static void product(const struct model *model, uint32_t matrix, enum vgpu_mode mode, uint32_t m,
		    const float *x, size_t ldx, float *y, size_t ldy)
{
	struct vgpu_panel w = { model->format, ROWS, model->k, model->data + matrix * model->bytes,
				model->split_bytes ? model->split + matrix * model->split_bytes :
						     NULL };
	enum vgpu_mode have = vgpu_matmul_mode(model->format, mode);
	void *memory = check_alloc(vgpu_acts_bytes(have, m, model->k));
	void *scratch = check_alloc(vgpu_matmul_scratch_bytes(model->format, model->k));
	struct vgpu_acts acts;

	vgpu_acts_init(&acts, have, m, model->k, memory);
	vgpu_kernels_best()->acts_pack(&acts, x, ldx, 0, m);
	vgpu_kernels_best()->matmul(&w, &acts, y, ldy, scratch);
	free(memory);
	free(scratch);
}

static void row_finish(float *y, const float *bias, uint32_t act, const float *residual)
{
	const struct vgpu_kernels *k = vgpu_kernels_best();

	if (bias)
		k->binary(VGPU_BINARY_ADD, y, y, bias, ROWS, ROWS);
	k->unary((enum vgpu_unary)act, y, y, ROWS);
	if (residual)
		k->binary(VGPU_BINARY_ADD, y, y, residual, ROWS, ROWS);
}

static bool is_same(float a, float b)
{
	return !memcmp(&a, &b, sizeof(a)) || (isnan(a) && isnan(b));
}

/* What a command has written to @bo, the bytes between rows included. */
static void expect(struct bench *b, uint32_t bo, const float *want, size_t n, const char *what)
{
	float *got = xalloc(n * 4);

	assert_int_equal(xrig_read(&b->rig, bo, 0, got, n * 4), 0);
	for (size_t i = 0; i < n; i++)
		if (!is_same(got[i], want[i]))
			fail_msg("%s: [%zu] is %a, not %a", what, i, got[i], want[i]);
	free(got);
}

/* ------------------------------------------------------------------------
 * MATMUL
 */

enum residual { NONE, APART_FROM_Y, IN_PLACE, RESIDUALS };

/**
 * struct finish - what is added to a product
 */
struct finish {
	bool bias;
	uint32_t act;
	enum residual residual;
};

static struct vb_operand apart(struct vb_operand op, uint64_t row_floats)
{
	op.stride[0] = row_floats * 4;
	return op;
}

static void run_matmul(struct bench *b, const struct model *model, uint32_t mode, struct finish f,
		       uint32_t y)
{
	struct vb_cmd_matmul c = { .h = { VB_CMD_MATMUL, 0, sizeof(c) }, .mode = mode, .act = f.act };
	struct xstream s;

	xstream_begin(&s);
	c.x = apart(xmatrix(&s, b->x, VB_ACCESS_READ, 0, VB_FORMAT_F32, M, model->k), COLS_MAX);
	c.w = xmatrix(&s, model->bo, VB_ACCESS_READ, model->bytes, (uint16_t)model->format, ROWS,
		      model->k);
	if (model->split_bytes)
		c.scales = xmatrix(&s, model->bo, VB_ACCESS_READ,
				   STACK * model->bytes + model->split_bytes, VB_FORMAT_U8, ROWS,
				   model->k / 32);
	c.y = apart(xmatrix(&s, y, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, M, ROWS), ROWS + APART);
	if (f.bias)
		c.bias = xvector(&s, b->bias, VB_ACCESS_READ, 0, VB_FORMAT_F32, ROWS);
	if (f.residual == APART_FROM_Y)
		c.residual = apart(xmatrix(&s, b->residual, VB_ACCESS_READ, 0, VB_FORMAT_F32, M, ROWS),
				   COLS_MAX);
	if (f.residual == IN_PLACE)
		c.residual = apart(xmatrix(&s, y, VB_ACCESS_READ, 0, VB_FORMAT_F32, M, ROWS),
				   ROWS + APART);
	xstream_add(&s, &c, sizeof(c));
	xrig_must_run(&b->rig, &s);
}

static void check_matmul(struct bench *b, const struct model *model, const char *name, uint32_t mode,
			 struct finish f)
{
	const size_t ldy = ROWS + APART, n = (M - 1) * ldy + ROWS;
	float *want = xalloc(n * 4), *before = xalloc(n * 4);
	char what[120];

	snprintf(what, sizeof(what), "%s, mode %u, bias %d, act %u, residual %d", name, mode, f.bias,
		 f.act, f.residual);
	/* In place, y holds what is added; beside its rows nothing changes. */
	memset(before, PATTERN, n * 4);
	for (uint32_t i = 0; i < M && f.residual == IN_PLACE; i++)
		memcpy(before + i * ldy, b->added + i * ldy, ROWS * 4);
	memcpy(want, before, n * 4);
	product(model, 1, (enum vgpu_mode)mode, M, b->values, COLS_MAX, want, ldy);
	for (uint32_t i = 0; i < M; i++)
		row_finish(want + i * ldy, f.bias ? b->added : NULL, f.act,
			   f.residual == APART_FROM_Y ? b->added + (size_t)i * COLS_MAX :
			   f.residual == IN_PLACE ? b->added + i * ldy : NULL);
	assert_int_equal(xrig_write(&b->rig, b->y, 0, before, n * 4), 0);
	run_matmul(b, model, mode, f, b->y);
	expect(b, b->y, want, n, what);
	free(before);
	free(want);
}

/* Every activation with every format and mode; bias and residual by turns, in all pairs. */
static void check_finishes(struct bench *b, const struct model *model, uint32_t format)
{
	for (uint32_t mode = VB_MODE_F32; mode < VB_MODE_COUNT; mode++)
		for (uint32_t act = 0; act < VB_UNARY_COUNT; act++) {
			uint32_t turn = act + mode + format;
			struct finish f = { turn / RESIDUALS % 2, act, turn % RESIDUALS };

			check_matmul(b, model, weights_formats[format].name, mode, f);
		}
}

/* ------------------------------------------------------------------------
 * MATMUL_GATE
 */

static void run_gate(struct bench *b, const struct model *model, uint32_t mode, struct finish f,
		     const struct vgpu_gate *g)
{
	struct vb_cmd_matmul_gate c = { .h = { VB_CMD_MATMUL_GATE, 0, sizeof(c) }, .mode = mode,
					.act = f.act, .gate = g->op };
	struct xstream s;

	memcpy(&c.mul_f32, &g->mul, 4);
	memcpy(&c.add_f32, &g->add, 4);
	xstream_begin(&s);
	c.x = apart(xmatrix(&s, b->x, VB_ACCESS_READ, 0, VB_FORMAT_F32, M, model->k), COLS_MAX);
	c.w = xmatrix(&s, model->bo, VB_ACCESS_READ, model->bytes, (uint16_t)model->format, ROWS,
		      model->k);
	if (model->split_bytes)
		c.scales = xmatrix(&s, model->bo, VB_ACCESS_READ,
				   STACK * model->bytes + model->split_bytes, VB_FORMAT_U8, ROWS,
				   model->k / 32);
	c.y = apart(xmatrix(&s, b->y, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, M, ROWS), ROWS + APART);
	if (f.bias)
		c.bias = xvector(&s, b->bias, VB_ACCESS_READ, 0, VB_FORMAT_F32, ROWS);
	c.u = apart(xmatrix(&s, b->residual, VB_ACCESS_READ, 0, VB_FORMAT_F32, M, ROWS), COLS_MAX);
	xstream_add(&s, &c, sizeof(c));
	xrig_must_run(&b->rig, &s);
}

static void check_gate(struct bench *b, const struct model *model, const char *name, uint32_t mode,
		       struct finish f, const struct vgpu_gate *g)
{
	const size_t ldy = ROWS + APART, n = (M - 1) * ldy + ROWS;
	float *want = xalloc(n * 4);
	char what[120];

	snprintf(what, sizeof(what), "%s, mode %u, bias %d, act %u, gate %d", name, mode, f.bias, f.act,
		 g->op);
	memset(want, PATTERN, n * 4);
	assert_int_equal(xrig_write(&b->rig, b->y, 0, want, n * 4), 0);
	product(model, 1, (enum vgpu_mode)mode, M, b->values, COLS_MAX, want, ldy);
	for (uint32_t i = 0; i < M; i++) {
		row_finish(want + i * ldy, f.bias ? b->added : NULL, f.act, NULL);
		vgpu_kernels_best()->gate(want + i * ldy, b->added + (size_t)i * COLS_MAX, ROWS, g);
	}
	run_gate(b, model, mode, f, g);
	expect(b, b->y, want, n, what);
	free(want);
}

/* Every gate with every format and mode; bias and activation by turns. */
static void check_gates(struct bench *b, const struct model *model, uint32_t format)
{
	for (uint32_t mode = VB_MODE_F32; mode < VB_MODE_COUNT; mode++)
		for (uint32_t op = 0; op < VB_UNARY_COUNT; op++) {
			uint32_t turn = op + mode + format;
			struct finish f = { turn % 2, turn % VB_UNARY_COUNT, NONE };
			struct vgpu_gate g = { (enum vgpu_unary)op, 0.5f, 0.5f };

			check_gate(b, model, weights_formats[format].name, mode, f, &g);
		}
}

/* ------------------------------------------------------------------------
 * MATMUL_ID and GATHER
 */

static void check_matmul_id(struct bench *b, const struct model *model, const char *name,
			    uint32_t mode, bool each)
{
	struct vb_cmd_matmul_id c = { .h = { VB_CMD_MATMUL_ID, 0, sizeof(c) }, .mode = mode };
	float *want = xalloc(M * TOP * ROWS * 4);
	struct xstream s;

	xstream_begin(&s);
	c.x = apart(xmatrix(&s, b->x, VB_ACCESS_READ, 0, VB_FORMAT_F32, M, model->k), COLS_MAX);
	if (each) {
		c.x = xcube(&s, b->x, VB_ACCESS_READ, 0, VB_FORMAT_F32, M, TOP, model->k);
		c.x.stride[0] = TOP * COLS_MAX * 4;
		c.x.stride[1] = COLS_MAX * 4;
	}
	c.w = xcube(&s, model->bo, VB_ACCESS_READ, 0, (uint16_t)model->format, STACK, ROWS, model->k);
	if (model->split_bytes)
		c.scales = xcube(&s, model->bo, VB_ACCESS_READ, STACK * model->bytes, VB_FORMAT_U8,
				 STACK, ROWS, model->k / 32);
	c.ids = xmatrix(&s, b->ids, VB_ACCESS_READ, 0, VB_FORMAT_I32, M, TOP);
	c.y = xcube(&s, b->y, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, M, TOP, ROWS);
	if (each)
		c.bias = xmatrix(&s, b->bias, VB_ACCESS_READ, 0, VB_FORMAT_F32, STACK, ROWS);
	xstream_add(&s, &c, sizeof(c));
	for (uint32_t i = 0; i < M * TOP; i++) {
		uint32_t matrix = (uint32_t)b->id[i];

		product(model, matrix, (enum vgpu_mode)mode, 1,
			b->values + (size_t)(each ? i : i / TOP) * COLS_MAX, COLS_MAX, want + i * ROWS,
			ROWS);
		row_finish(want + i * ROWS, each ? b->added + matrix * ROWS : NULL, VGPU_UNARY_COPY, NULL);
	}
	xrig_must_run(&b->rig, &s);
	expect(b, b->y, want, M * TOP * ROWS, name);
	free(want);
}

static void check_gather(struct bench *b, const struct model *model, const char *name)
{
	struct vb_cmd_gather c = { .h = { VB_CMD_GATHER, 0, sizeof(c) } };
	struct vgpu_panel w = { model->format, ROWS, model->k, model->data, NULL };
	float *want = xalloc(M * TOP * model->k * 4), *all = xalloc(ROWS * model->k * 4);
	struct xstream s;

	xstream_begin(&s);
	c.table = xmatrix(&s, model->bo, VB_ACCESS_READ, 0, (uint16_t)model->format, ROWS, model->k);
	c.ids = xvector(&s, b->ids, VB_ACCESS_READ, 0, VB_FORMAT_I32, M * TOP);
	c.y = xmatrix(&s, b->y, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, M * TOP, model->k);
	xstream_add(&s, &c, sizeof(c));
	vgpu_kernels_best()->weight_decode(&w, all, model->k);
	for (uint32_t i = 0; i < M * TOP; i++)
		memcpy(want + i * model->k, all + b->id[i] * model->k, model->k * 4);
	xrig_must_run(&b->rig, &s);
	expect(b, b->y, want, M * TOP * model->k, name);
	free(all);
	free(want);
}

/* ------------------------------------------------------------------------
 */

static void each_format(uint32_t threads, void (*check)(struct bench *, const struct model *, uint32_t))
{
	struct bench b;

	bench_start(&b, threads);
	for (uint32_t f = 0; f < weights_format_count; f++) {
		struct model model;

		model_make(&model, &weights_formats[f]);
		model_open(&model, &b);
		check(&b, &model, f);
		model_close(&model, &b);
		free(model.data);
	}
	bench_close(&b);
}

static void check_indexed(struct bench *b, const struct model *model, uint32_t format)
{
	const char *name = weights_formats[format].name;

	for (uint32_t mode = VB_MODE_F32; mode < VB_MODE_COUNT; mode++) {
		check_matmul_id(b, model, name, mode, false);
		check_matmul_id(b, model, name, mode, true);
	}
	if (!model->split_bytes)
		check_gather(b, model, name);
}

static void product_and_what_is_added_are_the_tables(void **state)
{
	check_table(state);
	each_format(1, check_finishes);
}

static void product_and_what_is_added_do_not_depend_on_threads(void **state)
{
	check_table(state);
	each_format(3, check_finishes);
}

static void gated_products_are_the_tables(void **state)
{
	check_table(state);
	each_format(1, check_gates);
}

static void gated_products_do_not_depend_on_threads(void **state)
{
	check_table(state);
	each_format(3, check_gates);
}

static void products_by_index_and_rows_are_the_tables(void **state)
{
	check_table(state);
	each_format(3, check_indexed);
}

/* One level, which VBLACKWELL_ISA then names; the status is that of its tests. */
static int run_level(enum vgpu_isa isa)
{
	static const char *const names[] = { "product_and_what_is_added_are_the_tables_%s",
					     "product_and_what_is_added_do_not_depend_on_threads_%s",
					     "gated_products_are_the_tables_%s",
					     "gated_products_do_not_depend_on_threads_%s",
					     "products_by_index_and_rows_are_the_tables_%s" };
	struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(product_and_what_is_added_are_the_tables, NULL),
		cmocka_unit_test_prestate(product_and_what_is_added_do_not_depend_on_threads, NULL),
		cmocka_unit_test_prestate(gated_products_are_the_tables, NULL),
		cmocka_unit_test_prestate(gated_products_do_not_depend_on_threads, NULL),
		cmocka_unit_test_prestate(products_by_index_and_rows_are_the_tables, NULL),
	};
	char name[5][80];

	for (int i = 0; i < 5; i++) {
		snprintf(name[i], sizeof(name[i]), names[i], vgpu_isa_name(isa));
		tests[i].name = name[i];
		tests[i].initial_state = (void *)(uintptr_t)isa;
	}
	return cmocka_run_group_tests_name("exec_epilogue", tests, NULL, NULL);
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
