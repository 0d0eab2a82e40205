// SPDX-License-Identifier: MIT
/* Recording: what gets into the stream, what is refused, and that a refusal changes nothing. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmdbuf.h"

#define CHUNK	65536u
#define BYTES	(1u << 20)

static struct vgpu *v;
static struct vgpu_queue *q;
static struct vgpu_cmdbuf *cb;
static struct vgpu_bo *a, *b, *c;

static int setup(void **state)
{
	const struct vgpu_config config = {
		.size = sizeof(config), .chunk_bytes = CHUNK, .host_bytes = 256 * CHUNK, .threads = 1,
	};

	(void)state;
	return vgpu_open_embedded(&config, &v) || vgpu_queue_create(v, 0, &q) ||
	       vgpu_cmdbuf_create(v, &cb) || vgpu_bo_create(v, BYTES, VGPU_LIFE_VOLATILE, &a) ||
	       vgpu_bo_create(v, BYTES, VGPU_LIFE_VOLATILE, &b) ||
	       vgpu_bo_create(v, BYTES, VGPU_LIFE_VOLATILE, &c) ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	vgpu_bo_destroy(a);
	vgpu_bo_destroy(b);
	vgpu_bo_destroy(c);
	vgpu_cmdbuf_destroy(cb);
	vgpu_queue_destroy(q);
	vgpu_close(v);
	return 0;
}

static struct vgpu_array f32(struct vgpu_bo *bo, uint64_t offset, uint32_t rows, uint32_t cols)
{
	return vgpu_matrix(bo, offset, VGPU_FORMAT_F32, rows, cols);
}

/* ---- every command ---- */

static int record_matmul(void)
{
	struct vgpu_matmul m = {
		.mode = VGPU_MODE_F32, .act = VGPU_UNARY_RELU,
		.x = f32(a, 0, 4, 32), .w = f32(b, 0, 8, 32), .y = f32(c, 0, 4, 8),
		.bias = vgpu_vector(b, 4096, VGPU_FORMAT_F32, 8), .residual = f32(c, 0, 4, 8),
	};

	return vgpu_cmd_matmul(cb, &m);
}

static int record_matmul_transposed(void)
{
	struct vgpu_matmul_transposed m = {
		.x = f32(a, 0, 4, 8), .w = f32(b, 0, 8, 32), .y = f32(c, 0, 4, 32),
	};

	return vgpu_cmd_matmul_transposed(cb, &m);
}

static int record_matmul_gate(void)
{
	struct vgpu_matmul_gate m = {
		.mode = VGPU_MODE_F32, .gate = VGPU_UNARY_SIGMOID, .mul = 4, .add = -1,
		.x = f32(a, 0, 4, 32), .w = f32(b, 0, 8, 32), .y = f32(c, 0, 4, 8),
		.u = f32(a, 4096, 4, 8),
	};

	return vgpu_cmd_matmul_gate(cb, &m);
}

static int record_matmul_id(void)
{
	struct vgpu_matmul_id m = {
		.mode = VGPU_MODE_F32,
		.x = f32(a, 0, 4, 32), .w = vgpu_cube(b, 0, VGPU_FORMAT_F32, 3, 8, 32),
		.ids = vgpu_matrix(a, 8192, VGPU_FORMAT_I32, 4, 2),
		.y = vgpu_cube(c, 0, VGPU_FORMAT_F32, 4, 2, 8),
	};

	return vgpu_cmd_matmul_id(cb, &m);
}

static int record_attention(void)
{
	struct vgpu_attention_cmd m = {
		.causal = true, .scale = 0.25f,
		.q = vgpu_cube(a, 0, VGPU_FORMAT_F32, 4, 4, 16),
		.k = vgpu_cube(b, 0, VGPU_FORMAT_F32, 6, 2, 16),
		.v = vgpu_cube(b, 65536, VGPU_FORMAT_F32, 6, 2, 16),
		.out = vgpu_cube(c, 0, VGPU_FORMAT_F32, 4, 4, 16),
	};

	return vgpu_cmd_attention(cb, &m);
}

static int record_norm(void)
{
	struct vgpu_norm_cmd m = {
		.kind = VGPU_NORM_LAYER, .eps = 1e-5f, .x = f32(a, 0, 4, 32),
		.gamma = vgpu_vector(b, 0, VGPU_FORMAT_F32, 32),
		.beta = vgpu_vector(b, 128, VGPU_FORMAT_F32, 32), .y = f32(c, 0, 4, 32),
	};

	return vgpu_cmd_norm(cb, &m);
}

static int record_rope(void)
{
	struct vgpu_rope_cmd m = {
		.kind = VGPU_ROPE_NEOX, .rot = 16, .base = 10000.0f, .freq_scale = 1.0f,
		.x = vgpu_cube(a, 0, VGPU_FORMAT_F32, 4, 2, 16),
		.positions = vgpu_vector(b, 0, VGPU_FORMAT_I32, 4),
		.y = vgpu_cube(c, 0, VGPU_FORMAT_F32, 4, 2, 16),
	};

	return vgpu_cmd_rope(cb, &m);
}

static int record_unary(void)
{
	return vgpu_cmd_unary(cb, VGPU_UNARY_SILU, f32(a, 0, 4, 8), f32(c, 0, 4, 8));
}

static int record_binary(void)
{
	return vgpu_cmd_binary(cb, VGPU_BINARY_SWIGLU, f32(a, 0, 4, 8), f32(b, 0, 4, 8),
			       f32(c, 0, 4, 8));
}

static int record_scale(void)
{
	return vgpu_cmd_scale(cb, 0.5f, f32(a, 0, 4, 8), f32(c, 0, 4, 8));
}

static int record_softmax(void)
{
	return vgpu_cmd_softmax(cb, 1.0f, f32(a, 0, 4, 8), (struct vgpu_array){ 0 }, f32(c, 0, 4, 8));
}

static int record_topk(void)
{
	return vgpu_cmd_topk(cb, f32(a, 0, 4, 8), f32(c, 0, 4, 2),
			     vgpu_matrix(c, 4096, VGPU_FORMAT_I32, 4, 2));
}

static int record_gather(void)
{
	return vgpu_cmd_gather(cb, f32(a, 0, 16, 8), vgpu_vector(b, 0, VGPU_FORMAT_I32, 4),
			       f32(c, 0, 4, 8));
}

static int record_copy(void)
{
	return vgpu_cmd_copy(cb, f32(a, 0, 4, 8), f32(c, 0, 4, 8));
}

static int record_fill(void)
{
	return vgpu_cmd_fill(cb, 1.5f, f32(c, 0, 4, 8));
}

static int record_combine(void)
{
	return vgpu_cmd_combine(cb, vgpu_cube(a, 0, VGPU_FORMAT_F32, 4, 2, 8), f32(b, 0, 4, 2),
				f32(c, 0, 4, 8));
}

static int record_nop(void)
{
	return vgpu_cmd_nop(cb);
}

static int (*const record[])(void) = {
	record_matmul, record_matmul_transposed, record_matmul_gate, record_matmul_id, record_attention,
	record_norm, record_rope, record_unary, record_binary, record_scale, record_softmax, record_topk, record_gather, record_copy,
	record_fill, record_combine, record_nop,
};
#define RECORDS	(sizeof(record) / sizeof(record[0]))

static void every_command_is_recorded_as_the_core_wants_it(void **state)
{
	struct vb_cmd_error error;
	struct vb_cmd_bo bos[3];
	uint32_t seen = 0;

	(void)state;
	for (size_t i = 0; i < RECORDS; i++)
		if (record[i]())
			fail_msg("command %zu: %s", i, vgpu_error_text());
	assert_int_equal(vgpu_cmdbuf_commands(cb), RECORDS);
	assert_int_equal(cb->bo_count, 3);
	/* With no more access than was derived from the commands. */
	memcpy(bos, cb->bos, sizeof(bos));
	for (int i = 0; i < 3; i++)
		bos[i].access = cb->refs[i].access;
	if (vb_stream_check(cb->stream, cb->stream_bytes, bos, 3, &error))
		fail_msg("command %u, operand %s", error.command, error.operand);
	for (const struct vb_cmd_header *h = NULL; (h = vb_stream_next(cb->stream, h));)
		seen |= 1u << h->opcode;
	assert_int_equal(seen, (1u << VB_CMD_COUNT) - 1);
}

static void access_is_what_the_commands_do(void **state)
{
	(void)state;
	assert_int_equal(record_copy(), 0);
	assert_int_equal(cb->refs[0].bo_id, a->id);
	assert_int_equal(cb->refs[0].access, VB_ACCESS_READ);
	assert_int_equal(cb->refs[1].bo_id, c->id);
	assert_int_equal(cb->refs[1].access, VB_ACCESS_WRITE | VB_ACCESS_DISCARD);
	assert_int_equal(vgpu_cmd_copy(cb, f32(c, 0, 4, 8), f32(b, 0, 4, 8)), 0);
	assert_int_equal(cb->refs[1].access, VB_ACCESS_READ | VB_ACCESS_WRITE | VB_ACCESS_DISCARD);
}

/* ---- refusals ---- */

static void expect_refusal(int got, int wanted, const char *text)
{
	if (got != wanted || !strstr(vgpu_error_text(), text))
		fail_msg("%d \"%s\", expected %d \"%s\"", got, vgpu_error_text(), wanted, text);
}

static void refusals_name_operand_value_and_limit(void **state)
{
	struct vgpu_array deep = f32(a, 0, 4, 8);

	(void)state;
	deep.rank = 5;
	expect_refusal(vgpu_cmd_copy(cb, deep, f32(c, 0, 4, 8)), -EINVAL, "operand x: rank is 5");
	expect_refusal(vgpu_cmd_copy(cb, f32(a, 0, 4, 8), f32(c, 0, 4, 9)), -EINVAL, "9");
	expect_refusal(vgpu_cmd_copy(cb, f32(a, BYTES, 4, 8), f32(c, 0, 4, 8)), -ERANGE, "x");
	expect_refusal(vgpu_cmd_copy(cb, (struct vgpu_array){ 0 }, f32(c, 0, 4, 8)), -EINVAL, "x");
	expect_refusal(vgpu_cmd_unary(cb, (enum vgpu_unary)99, f32(a, 0, 4, 8), f32(c, 0, 4, 8)),
		       -EINVAL, "99");
	assert_int_equal(vgpu_cmdbuf_commands(cb), 0);
	assert_int_equal(cb->bo_count, 0);
}

/* The stream has 16 bits for a format: what does not fit must not become another one. */
static void formats_beyond_the_stream_are_refused(void **state)
{
	struct vgpu_array x = f32(a, 0, 4, 8), y = f32(c, 0, 4, 8), mask = f32(b, 0, 4, 8);

	(void)state;
	x.format = (enum vgpu_format)(VGPU_FORMAT_F32 + (1 << 16));
	expect_refusal(vgpu_cmd_copy(cb, x, y), -EINVAL, "operand x: format is 65537");
	mask.format = (enum vgpu_format)(1 << 16);
	expect_refusal(vgpu_cmd_softmax(cb, 1.0f, f32(a, 0, 4, 8), mask, y), -EINVAL,
		       "operand mask: format is 65536");
	mask.format = VGPU_FORMAT_NONE;
	expect_refusal(vgpu_cmd_softmax(cb, 1.0f, f32(a, 0, 4, 8), mask, y), -EINVAL, "mask");
	assert_int_equal(vgpu_cmdbuf_commands(cb), 0);
}

static void a_refused_command_leaves_the_buffer_as_it_was(void **state)
{
	uint32_t bytes, count, access;
	struct vgpu_bo *fresh;

	(void)state;
	assert_int_equal(record_copy(), 0);
	bytes = cb->stream_bytes;
	count = cb->bo_count;
	access = cb->refs[0].access;
	assert_int_equal(vgpu_bo_create(v, BYTES, VGPU_LIFE_VOLATILE, &fresh), 0);
	/* Names a new BO and writes an old one, then fails. */
	assert_true(vgpu_cmd_copy(cb, f32(fresh, 0, 4, 8), f32(a, 0, 4, 9)) < 0);
	assert_int_equal(cb->stream_bytes, bytes);
	assert_int_equal(cb->bo_count, count);
	assert_int_equal(cb->refs[0].access, access);
	assert_int_equal(vgpu_cmdbuf_commands(cb), 1);
	assert_int_equal(vgpu_finish(q, cb), 0);
	/* And the new BO can be named afterwards. */
	assert_int_equal(vgpu_cmd_copy(cb, f32(fresh, 0, 4, 8), f32(c, 0, 4, 8)), 0);
	assert_int_equal(cb->refs[2].bo_id, fresh->id);
	assert_int_equal(vgpu_finish(q, cb), 0);
	vgpu_bo_destroy(fresh);
}

static void sealed_buffers_are_not_written(void **state)
{
	(void)state;
	assert_int_equal(record_copy(), 0);
	assert_int_equal(vgpu_bo_seal(c), 0);
	expect_refusal(record_copy(), -EROFS, "y");
	expect_refusal(vgpu_finish(q, cb), -EROFS, "sealed");	/* recorded before the seal */
}

static void integers_are_filled_exactly(void **state)
{
	struct vgpu_array ints = vgpu_vector(c, 0, VGPU_FORMAT_I32, 4);
	int32_t got[4];

	(void)state;
	expect_refusal(vgpu_cmd_fill(cb, 1.5f, ints), -EINVAL, "1.5");
	expect_refusal(vgpu_cmd_fill(cb, 1e20f, ints), -EINVAL, "1e+20");
	expect_refusal(vgpu_cmd_fill(cb, __builtin_nanf(""), ints), -EINVAL, "nan");
	assert_int_equal(vgpu_cmd_fill(cb, -7.0f, ints), 0);
	assert_int_equal(vgpu_finish(q, cb), 0);
	assert_int_equal(vgpu_bo_read(c, 0, got, sizeof(got)), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(got[i], -7);
}

static void objects_of_another_client_are_refused(void **state)
{
	struct vgpu *other;
	struct vgpu_bo *foreign;
	struct vgpu_queue *theirs;
	struct vgpu_fence fence;
	struct vgpu_submit_info info = {
		.size = sizeof(info), .after = &fence, .after_count = 1,
	};
	struct vgpu_use use = { .bytes = 1 };

	(void)state;
	assert_int_equal(vgpu_open_peer(v, &other), 0);
	assert_int_equal(vgpu_bo_create(other, BYTES, VGPU_LIFE_VOLATILE, &foreign), 0);
	assert_int_equal(vgpu_queue_create(other, 0, &theirs), 0);
	expect_refusal(vgpu_cmd_copy(cb, f32(foreign, 0, 1, 1), f32(c, 0, 1, 1)), -EINVAL, "x");
	expect_refusal(vgpu_submit(theirs, cb, NULL, NULL), -EINVAL, "client");
	fence = (struct vgpu_fence){ theirs, 1 };
	expect_refusal(vgpu_submit(q, cb, &info, NULL), -EINVAL, "after[0]");
	use.bo = foreign;
	expect_refusal(vgpu_schedule(v, &use, 1, false), -EINVAL, "uses[0]");
	vgpu_queue_destroy(theirs);
	vgpu_bo_destroy(foreign);
	vgpu_close(other);
}

/* ---- limits ---- */

static void a_buffer_is_named_once_however_often_it_is_used(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(record_copy(), 0);
	assert_int_equal(cb->bo_count, 2);
	assert_int_equal(vgpu_finish(q, cb), 0);
}

static void stream_ends_at_one_mebibyte(void **state)
{
	uint32_t n = 0, bytes;
	int rc;

	(void)state;
	while (!(rc = record_matmul()))
		n++;
	expect_refusal(rc, -E2BIG, "1048576");
	bytes = cb->stream_bytes;
	assert_true(bytes <= VB_STREAM_BYTES_MAX);
	assert_true(bytes + sizeof(struct vb_cmd_matmul) > VB_STREAM_BYTES_MAX);
	assert_int_equal(vgpu_cmdbuf_commands(cb), n);
	assert_int_equal(vgpu_finish(q, cb), 0);
}

/* More objects than the host tier has chunks: references cost no memory. */
static void a_command_buffer_names_4096_objects_and_no_more(void **state)
{
	static struct vgpu_bo *many[VB_SUBMIT_BOS_MAX];
	FILE *f = tmpfile();
	uint32_t i;

	(void)state;
	assert_non_null(f);
	assert_int_equal(ftruncate(fileno(f), 4096), 0);
	for (i = 0; i < VB_SUBMIT_BOS_MAX; i++)
		assert_int_equal(vgpu_bo_create_file(v, fileno(f), 0, 4096, &many[i]), 0);
	for (i = 0; i < VB_SUBMIT_BOS_MAX - 1; i++)
		assert_int_equal(vgpu_cmd_copy(cb, f32(many[i], 0, 1, 1), f32(c, 0, 1, 1)), 0);
	expect_refusal(vgpu_cmd_copy(cb, f32(many[i], 0, 1, 1), f32(c, 0, 1, 1)), -E2BIG, "4096");
	assert_int_equal(vgpu_cmd_copy(cb, f32(many[0], 0, 1, 1), f32(c, 0, 1, 1)), 0);
	for (i = 0; i < cb->bo_count; i++)
		for (uint32_t j = i + 1; j < cb->bo_count && j < i + 20; j++)
			assert_int_not_equal(cb->refs[i].bo_id, cb->refs[j].bo_id);
	assert_int_equal(vgpu_finish(q, cb), 0);
	for (i = 0; i < VB_SUBMIT_BOS_MAX; i++)
		vgpu_bo_destroy(many[i]);
	fclose(f);
}

static uint32_t access_of(const struct vgpu_bo *bo)
{
	for (uint32_t i = 0; i < cb->bo_count; i++)
		if (cb->refs[i].bo_id == bo->id)
			return cb->refs[i].access;
	return 0;
}

/* What is made from what stays may be made again; what is made from itself may not. */
static void only_what_a_second_run_makes_alike_is_marked_so(void **state)
{
	const uint32_t read = VB_ACCESS_READ, write = VB_ACCESS_WRITE, again = VB_ACCESS_DISCARD;

	(void)state;
	assert_int_equal(vgpu_cmd_copy(cb, f32(a, 0, 4, 8), f32(b, 0, 4, 8)), 0);
	assert_int_equal(vgpu_cmd_copy(cb, f32(b, 0, 4, 8), f32(c, 0, 4, 8)), 0);
	assert_int_equal(vgpu_cmd_copy(cb, f32(c, 0, 4, 8), f32(b, 0, 4, 8)), 0);
	assert_int_equal(access_of(a), read);
	assert_int_equal(access_of(b), read | write | again);
	assert_int_equal(access_of(c), read | write | again);
	assert_int_equal(vgpu_cmd_copy(cb, f32(c, 64, 4, 8), f32(b, 0, 4, 8)), 0);
	assert_int_equal(access_of(c), read | write | again);
	assert_int_equal(vgpu_cmd_copy(cb, f32(b, 0, 4, 8), f32(c, 128, 4, 8)), 0);
	assert_int_equal(access_of(c), read | write);
	assert_int_equal(vgpu_cmd_copy(cb, f32(a, 0, 4, 8), f32(c, 0, 4, 8)), 0);
	assert_int_equal(access_of(c), read | write);
	assert_int_equal(access_of(b), read | write | again);
	assert_int_equal(vgpu_finish(q, cb), 0);
}

/* An object that is gone is not mistaken for one that has its address now. */
static void destroyed_objects_are_not_confused_with_new_ones(void **state)
{
	struct vgpu_bo *old, *new;
	int rc;

	(void)state;
	assert_int_equal(vgpu_bo_create(v, BYTES, VGPU_LIFE_VOLATILE, &old), 0);
	assert_int_equal(vgpu_cmd_fill(cb, 1.0f, f32(old, 0, 1, 1)), 0);
	vgpu_bo_destroy(old);
	assert_int_equal(vgpu_bo_create(v, BYTES, VGPU_LIFE_VOLATILE, &new), 0);
	assert_int_equal(vgpu_cmd_fill(cb, 2.0f, f32(new, 0, 1, 1)), 0);
	assert_int_equal(cb->bo_count, 2);
	rc = vgpu_finish(q, cb);
	expect_refusal(rc, -ENOENT, "destroyed");
	vgpu_bo_destroy(new);
}

/* ---- life ---- */

static void reset_empties_it_and_submissions_go_on(void **state)
{
	struct vgpu_submit_info info = { .size = sizeof(info), .async = true };
	struct vgpu_fence fence;
	float got;

	(void)state;
	assert_int_equal(vgpu_cmd_fill(cb, 3.0f, f32(c, 0, 1, 1)), 0);
	assert_int_equal(vgpu_submit(q, cb, &info, &fence), 0);
	vgpu_cmdbuf_reset(cb);
	assert_int_equal(vgpu_cmdbuf_commands(cb), 0);
	assert_int_equal(vgpu_cmd_fill(cb, 4.0f, f32(b, 0, 1, 1)), 0);
	assert_int_equal(vgpu_wait(fence, -1), 0);
	assert_int_equal(vgpu_bo_read(c, 0, &got, 4), 0);
	assert_true(got == 3.0f);
	assert_int_equal(vgpu_finish(q, cb), 0);
	assert_int_equal(vgpu_bo_read(b, 0, &got, 4), 0);
	assert_true(got == 4.0f);
}

static void a_failing_command_is_named_by_its_fence(void **state)
{
	int32_t id = 1000;

	(void)state;
	assert_int_equal(vgpu_bo_write(b, 0, &id, 4), 0);
	assert_int_equal(record_nop(), 0);
	assert_int_equal(vgpu_cmd_gather(cb, f32(a, 0, 16, 8), vgpu_vector(b, 0, VGPU_FORMAT_I32, 1),
					 f32(c, 0, 1, 8)), 0);
	expect_refusal(vgpu_finish(q, cb), -EINVAL, "submission 1: command 1 (gather): ids[0] is 1000");
}

/* Still running is not the same as ended by its own deadline. */
static void a_wait_that_times_out_is_no_deadline_that_passed(void **state)
{
	struct vgpu_submit_info later = { .size = sizeof(later), .async = true };
	struct vgpu_submit_info past = { .size = sizeof(past), .deadline_ns = 1 };
	struct vgpu_array all = vgpu_vector(a, 0, VGPU_FORMAT_F32, BYTES / 4);
	struct vgpu_queue *busy;
	struct vgpu_fence fence;

	(void)state;
	assert_int_equal(vgpu_queue_create(v, 0, &busy), 0);
	for (int i = 0; i < 4000; i++)
		assert_int_equal(vgpu_cmd_fill(cb, 1.0f, all), 0);
	assert_int_equal(vgpu_submit(busy, cb, &later, &fence), 0);
	expect_refusal(vgpu_wait(fence, 0), -EAGAIN, "still runs");
	expect_refusal(vgpu_wait(fence, 1000000), -EAGAIN, "still runs");
	vgpu_queue_destroy(busy);
	vgpu_cmdbuf_reset(cb);
	assert_int_equal(record_nop(), 0);
	assert_int_equal(vgpu_submit(q, cb, &past, &fence), 0);
	expect_refusal(vgpu_wait(fence, -1), -ETIME, "deadline");
}

static void waits_look_and_finish(void **state)
{
	struct vgpu_fence never = { q, 77 }, fence;

	(void)state;
	expect_refusal(vgpu_wait(never, 0), -EINVAL, "77");
	assert_int_equal(record_nop(), 0);
	assert_int_equal(vgpu_submit(q, cb, NULL, &fence), 0);
	assert_int_equal(vgpu_wait(fence, 1000000000), 0);
	assert_int_equal(vgpu_wait(fence, 0), 0);
	assert_int_equal(vgpu_wait(fence, -1), 0);
	expect_refusal(vgpu_fence_eventfd(fence, -1), -EBADF, "-1");
}

static void too_many_fences_are_refused(void **state)
{
	struct vgpu_fence after[VB_SUBMIT_FENCES_MAX + 1];
	struct vgpu_submit_info info = {
		.size = sizeof(info), .after = after, .after_count = VB_SUBMIT_FENCES_MAX + 1,
	};

	(void)state;
	assert_int_equal(record_nop(), 0);
	assert_int_equal(vgpu_submit(q, cb, NULL, &after[0]), 0);
	for (uint32_t i = 1; i <= VB_SUBMIT_FENCES_MAX; i++)
		after[i] = after[0];
	expect_refusal(vgpu_submit(q, cb, &info, NULL), -EINVAL, "65");
	info.after_count--;
	assert_int_equal(vgpu_submit(q, cb, &info, NULL), 0);
}

/* Programs that are older or newer than the library. */
static void submit_info_may_be_of_another_size(void **state)
{
	struct {
		struct vgpu_submit_info info;
		uint64_t later_field;
	} newer = { .info.deadline_ns = 1, .info.size = sizeof(newer) };
	/* It ends before @deadline_ns, which is therefore not looked at. */
	struct vgpu_submit_info older = {
		.size = offsetof(struct vgpu_submit_info, deadline_ns), .deadline_ns = 1,
	};
	struct vgpu_fence fence;

	(void)state;
	assert_int_equal(record_nop(), 0);
	assert_int_equal(vgpu_submit(q, cb, &older, &fence), 0);
	assert_int_equal(vgpu_wait(fence, -1), 0);
	assert_int_equal(vgpu_submit(q, cb, &newer.info, &fence), 0);
	expect_refusal(vgpu_wait(fence, -1), -ETIME, "deadline");
	newer.later_field = 1;
	expect_refusal(vgpu_submit(q, cb, &newer.info, &fence), -E2BIG, "info.size");
	older.size = 0;
	expect_refusal(vgpu_submit(q, cb, &older, &fence), -EINVAL, "info.size is 0");
	older.size = 3;
	expect_refusal(vgpu_submit(q, cb, &older, &fence), -EINVAL, "info.size is 3");
}

static void schedules_are_checked_by_name(void **state)
{
	struct vgpu_use uses[] = { { a, 0, CHUNK }, { b, CHUNK, CHUNK } };

	(void)state;
	assert_int_equal(vgpu_schedule(v, uses, 2, true), 0);
	assert_int_equal(vgpu_schedule(v, NULL, 0, false), 0);
	uses[1].offset = BYTES;
	expect_refusal(vgpu_schedule(v, uses, 2, true), -ERANGE, "uses[1]");
	uses[1] = (struct vgpu_use){ b, 0, 0 };
	expect_refusal(vgpu_schedule(v, uses, 2, true), -ERANGE, "uses[1]");
	expect_refusal(vgpu_schedule(v, uses, VB_SCHEDULE_MAX + 1, true), -EINVAL, "1048577");
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(every_command_is_recorded_as_the_core_wants_it),
		CASE(access_is_what_the_commands_do),
		CASE(refusals_name_operand_value_and_limit),
		CASE(formats_beyond_the_stream_are_refused),
		CASE(a_refused_command_leaves_the_buffer_as_it_was),
		CASE(sealed_buffers_are_not_written),
		CASE(integers_are_filled_exactly),
		CASE(objects_of_another_client_are_refused),
		CASE(a_buffer_is_named_once_however_often_it_is_used),
		CASE(stream_ends_at_one_mebibyte),
		CASE(a_command_buffer_names_4096_objects_and_no_more),
		CASE(only_what_a_second_run_makes_alike_is_marked_so),
		CASE(destroyed_objects_are_not_confused_with_new_ones),
		CASE(reset_empties_it_and_submissions_go_on),
		CASE(a_failing_command_is_named_by_its_fence),
		CASE(waits_look_and_finish),
		CASE(a_wait_that_times_out_is_no_deadline_that_passed),
		CASE(too_many_fences_are_refused),
		CASE(submit_info_may_be_of_another_size),
		CASE(schedules_are_checked_by_name),
	};

	return cmocka_run_group_tests_name("cmdbuf", tests, NULL, NULL);
}
