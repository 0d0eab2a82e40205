// SPDX-License-Identifier: MIT
/*
 * MATMUL_ID on the CPU backend: whatever rows choose an expert together, on however many
 * threads, each result is bit for bit the product of its one row with that one matrix.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/format.h"
#include "exec/backend.h"
#include "exec/cpu.h"
#include "kernels/pool.h"
#include "weight_model.h"

#define EXPERTS	12u
#define N	40u		/* two groups, and one of 8 rows */
#define K	512u		/* whole tiles of every format */
#define USED	3u
#define MOST	300u		/* rows of activations */
#define POOLS	4u

static const uint32_t pool_threads[POOLS] = { 1, 2, 3, 7 };

/* The backend on so many threads, each way. */
struct rig {
	struct vgpu_pool *pool[POOLS];
	void *be[POOLS];
};

static void rig_open(struct rig *r, const struct vgpu_kernels *t)
{
	for (uint32_t i = 0; i < POOLS; i++) {
		const struct vgpu_pool_params p = { .threads = pool_threads[i] };

		assert_int_equal(vgpu_pool_open(&p, &r->pool[i]), 0);
		assert_int_equal(vgpu_backend_cpu.open(r->pool[i], &r->be[i]), 0);
		((struct vgpu_cpu *)r->be[i])->k = t;
	}
}

static void rig_close(struct rig *r)
{
	for (uint32_t i = 0; i < POOLS; i++) {
		vgpu_backend_cpu.close(r->be[i]);
		vgpu_pool_close(r->pool[i]);
	}
}

/* ---- a command, its panels brought as an executor does ---- */

/* The rows of one panel; its second unit lies in two pieces. */
struct panel {
	struct vgpu_panel_work w;
	struct vgpu_piece piece[3], scale;
	uint8_t *copy;
};

static void panel_make(struct panel *p, const struct weight_model *m, uint32_t matrix, uint32_t row,
		       uint32_t rows)
{
	uint32_t unit_rows = vgpu_weight_unit_rows(m->format);
	size_t unit = vgpu_weight_unit_bytes(m->format, m->k), at = row / unit_rows * unit;
	size_t bytes = (rows + unit_rows - 1) / unit_rows * unit;
	size_t cut = bytes > unit ? unit + unit / 2 / 64 * 64 : bytes;
	const uint8_t *data = m->data + matrix * m->bytes + at;
	size_t gap = ((cut + 63) & ~63ul) + 64;

	p->copy = check_alloc(gap + bytes);
	memcpy(p->copy, data, cut);
	memcpy(p->copy + gap + cut % 64, data + cut, bytes - cut);
	p->piece[0] = (struct vgpu_piece){ p->copy, cut };
	p->piece[1] = (struct vgpu_piece){ p->copy + gap + cut % 64, bytes - cut };
	p->w = (struct vgpu_panel_work){
		.matrix = matrix, .row = row, .rows = rows, .unit_rows = unit_rows,
		.unit_bytes = { unit, m->k / 32 }, .piece = { p->piece, NULL },
		.pieces = { bytes > cut ? 2 : 1, 0 },
	};
	if (!m->scales)
		return;
	p->scale = (struct vgpu_piece){ m->scales + ((size_t)matrix * m->rows + row) * (m->k / 32),
					(uint64_t)rows * (m->k / 32) };
	p->w.piece[1] = &p->scale;
	p->w.pieces[1] = 1;
}

static void run_panel(void *be, const struct vgpu_work *w, const struct weight_model *m,
		      uint32_t matrix, uint32_t row, uint32_t rows)
{
	struct panel p;

	panel_make(&p, m, matrix, row, rows);
	assert_int_equal(vgpu_backend_cpu.panel(be, w, &p.w), 0);
	free(p.copy);
}

static void run(void *be, const struct vgpu_work *w, const struct weight_model *m)
{
	uint32_t matrices[EXPERTS], count = 0;
	struct vgpu_wrong_id wrong;

	assert_int_equal(vgpu_backend_cpu.begin(be, w), 0);
	assert_int_equal(vgpu_backend_cpu.select(be, w, matrices, &count, &wrong), 0);
	for (uint32_t i = 0; i < count; i++) {
		run_panel(be, w, m, matrices[i], 0, 16);
		run_panel(be, w, m, matrices[i], 16, N - 16);
	}
	vgpu_backend_cpu.end(be, w);
}

static struct vb_cmd_matmul_id command(const struct weight_model *m, enum vgpu_mode mode,
				       uint32_t tokens)
{
	return (struct vb_cmd_matmul_id){
		.h = { VB_CMD_MATMUL_ID, 0, sizeof(struct vb_cmd_matmul_id) }, .mode = mode,
		.x = { .format = VB_FORMAT_F32, .rank = 2, .shape = { tokens, K } },
		.w = { .format = (uint16_t)m->format, .rank = 3, .shape = { EXPERTS, N, K } },
		.ids = { .format = VB_FORMAT_I32, .rank = 2, .shape = { tokens, USED } },
		.y = { .format = VB_FORMAT_F32, .rank = 3, .shape = { tokens, USED, N } },
	};
}

/* ---- what is right ---- */

/* Some often, twice by one row as well; 3 and 7 never. */
static void choose(int32_t *ids, uint32_t tokens, uint64_t *seed)
{
	for (uint32_t i = 0; i < tokens * USED; i++) {
		uint32_t a = (uint32_t)(xrandom(seed) >> 33) % EXPERTS;
		uint32_t b = (uint32_t)(xrandom(seed) >> 33) % EXPERTS;

		ids[i] = (int32_t)(a < b ? a : b);
		ids[i] += ids[i] == 3 || ids[i] == 7;
	}
}

/* [EXPERTS][rows][N]: every row by every expert, one row at a time. */
static float *singles(const struct weight_model *m, const struct vgpu_kernels *t,
		      enum vgpu_mode mode, const float *x, uint32_t rows)
{
	float *want = xalloc((size_t)EXPERTS * rows * N * 4);

	for (uint32_t e = 0; e < EXPERTS; e++)
		for (uint32_t i = 0; i < rows; i++)
			weight_product(m, t, e, mode, 1, x + (size_t)i * K,
				       want + ((size_t)e * rows + i) * N);
	return want;
}

static void check_tokens(const struct rig *r, const struct weight_model *m, enum vgpu_mode mode,
			 const float *x, const float *want, uint32_t rows, uint32_t tokens)
{
	struct vb_cmd_matmul_id c = command(m, mode, tokens);
	int32_t *ids = xalloc(tokens * USED * 4);
	float *y = xalloc((size_t)tokens * USED * N * 4);
	struct vgpu_work w = { .cmd = &c.h, .ptr = { (void *)x, NULL, NULL, ids, y } };
	uint64_t seed = tokens;

	choose(ids, tokens, &seed);
	for (uint32_t p = 0; p < POOLS; p++) {
		memset(y, 0xff, (size_t)tokens * USED * N * 4);
		run(r->be[p], &w, m);
		for (uint32_t i = 0; i < tokens * USED; i++)
			if (memcmp(y + (size_t)i * N,
				   want + ((size_t)ids[i] * rows + i / USED) * N, N * 4))
				fail_msg("format %u mode %u, %u threads, %u rows: row %u by expert %d differs",
					 m->format, mode, pool_threads[p], tokens, i / USED, ids[i]);
	}
	free(ids);
	free(y);
}

static void check_format(const struct vgpu_kernels *t, const struct rig *r, enum vgpu_wformat format,
			 const uint32_t *tokens, uint32_t most)
{
	struct weight_model m = { .format = format, .stack = EXPERTS, .rows = N, .k = K };
	float *x = xvalues((size_t)most * K, 8);

	weight_make(&m);
	for (uint32_t mode = VGPU_MODE_F32; mode < VGPU_MODES; mode++) {
		float *want = singles(&m, t, mode, x, most);

		for (uint32_t i = 0; tokens[i] && tokens[i] <= most; i++)
			check_tokens(r, &m, mode, x, want, most, tokens[i]);
		free(want);
	}
	weight_drop(&m);
	free(x);
}

static void experts_are_the_products_of_single_rows(void **state)
{
	static const uint32_t tokens[] = { 1, 2, 3, 8, 17, 47, 131, MOST, 0 };
	const struct vgpu_kernels *t = check_table(state);
	uint32_t tried = 0, most = t->isa == VGPU_ISA_REF ? 8 : XSANITIZED ? 47 : MOST;
	struct rig r;

	rig_open(&r, t);
	for (uint32_t format = 0; format < 64; format++) {
		if (!vb_format_is_weight(format))
			continue;
		/* Instrumented that takes minutes: each level has some, together they have all. */
		if (!XSANITIZED || tried % 3 == t->isa % 3)
			check_format(t, &r, (enum vgpu_wformat)format, tokens, most);
		tried++;
	}
	assert_int_equal(tried, 3 + 11 + 15);
	rig_close(&r);
}

/* ---- other shapes of operands ---- */

/* Rows of x for each choice, biases, and rows of x and y with room between them. */
static void experts_take_rows_of_their_own_biases_and_strides(void **state)
{
	enum { TOKENS = 29, ROWS = TOKENS * USED, LDX = K + 8, LDY = N + 3 };
	const struct vgpu_kernels *t = check_table(state);
	struct weight_model m = { .format = VGPU_W_MXFP4_G16, .stack = EXPERTS, .rows = N, .k = K };
	struct vb_cmd_matmul_id c = command(&m, VGPU_MODE_A8, TOKENS);
	float *x = xvalues(ROWS * LDX, 8), *bias = xvalues(EXPERTS * N, 9);
	float *y = xalloc(ROWS * LDY * 4), want[N];
	int32_t ids[ROWS];
	struct vgpu_work w = { .cmd = &c.h, .ptr = { x, NULL, NULL, ids, y, bias } };
	uint64_t seed = 5;
	struct rig r;

	c.x = (struct vb_operand){ .format = VB_FORMAT_F32, .rank = 3, .shape = { TOKENS, USED, K },
				   .stride = { USED * LDX * 4, LDX * 4, 4 } };
	memcpy(c.y.stride, (uint64_t[]){ USED * LDY * 4, LDY * 4, 4 }, 24);
	c.bias = (struct vb_operand){ .format = VB_FORMAT_F32, .rank = 2, .shape = { EXPERTS, N } };
	weight_make(&m);
	choose(ids, TOKENS, &seed);
	rig_open(&r, t);
	for (uint32_t p = 0; p < POOLS; p++) {
		memset(y, 0x55, ROWS * LDY * 4);
		run(r.be[p], &w, &m);
		for (uint32_t i = 0; i < ROWS; i++) {
			weight_product(&m, t, (uint32_t)ids[i], VGPU_MODE_A8, 1, x + i * LDX, want);
			for (uint32_t j = 0; j < N; j++)
				want[j] += bias[(uint32_t)ids[i] * N + j];
			assert_memory_equal(y + i * LDY, want, sizeof(want));
			for (uint32_t j = N; j < LDY; j++)
				assert_memory_equal(y + i * LDY + j, "\x55\x55\x55\x55", 4);
		}
	}
	rig_close(&r);
	weight_drop(&m);
	free(x);
	free(bias);
	free(y);
}

/* All rows choose one: its segment is all of them, and no other is read. */
static void experts_may_be_one_alone(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	struct weight_model m = { .format = VGPU_W_MXFP4_G16, .stack = EXPERTS, .rows = N, .k = K };
	struct vb_cmd_matmul_id c = command(&m, VGPU_MODE_A16, 40);
	float *x = xvalues(40 * K, 8), *y = xalloc(40 * USED * N * 4), *want = xalloc(40 * N * 4);
	int32_t ids[40 * USED];
	struct vgpu_work w = { .cmd = &c.h, .ptr = { x, NULL, NULL, ids, y } };
	uint32_t matrices[EXPERTS], count = 0;
	struct vgpu_wrong_id wrong;
	struct rig r;

	weight_make(&m);
	for (uint32_t i = 0; i < 40 * USED; i++)
		ids[i] = EXPERTS - 1;
	weight_product(&m, t, EXPERTS - 1, VGPU_MODE_A16, 40, x, want);
	rig_open(&r, t);
	for (uint32_t p = 0; p < POOLS; p++) {
		assert_int_equal(vgpu_backend_cpu.select(r.be[p], &w, matrices, &count, &wrong), 0);
		assert_int_equal(count, 1);
		assert_int_equal(matrices[0], EXPERTS - 1);
		run(r.be[p], &w, &m);
		for (uint32_t i = 0; i < 40 * USED; i++)
			assert_memory_equal(y + i * N, want + i / USED * N, N * 4);
	}
	rig_close(&r);
	weight_drop(&m);
	free(x);
	free(y);
	free(want);
}

#define EXPERT_LEVELS(test)	CHECK_LEVELS(test), CHECK_LEVEL(test, AMX)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EXPERT_LEVELS(experts_are_the_products_of_single_rows),
		EXPERT_LEVELS(experts_take_rows_of_their_own_biases_and_strides),
		EXPERT_LEVELS(experts_may_be_one_alone),
	};

	return cmocka_run_group_tests_name("exec_experts", tests, NULL, NULL);
}
