// SPDX-License-Identifier: MIT
/* What a program learns of a submission that failed: the command, the value, the limit. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "device.h"

#define CHUNK	(64u << 10)

struct setup {
	struct vgpu *v;
	struct vgpu_queue *q;
	struct vgpu_cmdbuf *cb;
	struct vgpu_bo *table, *ids, *x, *y;
};

static void setup_open(struct setup *s, int32_t id)
{
	struct vgpu_config c = { .size = sizeof(c), .chunk_bytes = CHUNK,
				 .host_bytes = 32 * CHUNK, .threads = 1 };

	assert_int_equal(vgpu_open_embedded(&c, &s->v), 0);
	assert_int_equal(vgpu_queue_create(s->v, 0, &s->q), 0);
	assert_int_equal(vgpu_cmdbuf_create(s->v, &s->cb), 0);
	assert_int_equal(vgpu_bo_create(s->v, 4 * 8 * 8 * 4, VGPU_LIFE_VOLATILE, &s->table), 0);
	assert_int_equal(vgpu_bo_create(s->v, 8, VGPU_LIFE_VOLATILE, &s->ids), 0);
	assert_int_equal(vgpu_bo_create(s->v, 64 * 4, VGPU_LIFE_VOLATILE, &s->x), 0);
	assert_int_equal(vgpu_bo_create(s->v, 64 * 4, VGPU_LIFE_VOLATILE, &s->y), 0);
	assert_int_equal(vgpu_bo_write(s->ids, 4, &id, 4), 0);
	assert_int_equal(vgpu_cmd_nop(s->cb), 0);
}

static void setup_close(struct setup *s)
{
	vgpu_bo_destroy(s->table);
	vgpu_bo_destroy(s->ids);
	vgpu_bo_destroy(s->x);
	vgpu_bo_destroy(s->y);
	vgpu_cmdbuf_destroy(s->cb);
	vgpu_queue_destroy(s->q);
	vgpu_close(s->v);
}

static void failure_of_a_gather_names_index_value_and_limit(void **state)
{
	struct setup s;

	(void)state;
	setup_open(&s, 77);
	assert_int_equal(vgpu_cmd_gather(s.cb, vgpu_matrix(s.table, 0, VGPU_FORMAT_F32, 32, 8),
					 vgpu_vector(s.ids, 0, VGPU_FORMAT_I32, 2),
					 vgpu_matrix(s.y, 0, VGPU_FORMAT_F32, 2, 8)), 0);
	assert_int_equal(vgpu_finish(s.q, s.cb), -EINVAL);
	assert_string_equal(vgpu_error_text(), "submission 1: command 1 (gather): "
			    "ids[1] is 77; the table has 32 rows");
	setup_close(&s);
}

static void failure_of_a_product_names_the_experts_there_are(void **state)
{
	struct setup s;
	struct vgpu_matmul_id c;

	(void)state;
	setup_open(&s, 4);
	c = (struct vgpu_matmul_id){
		.x = vgpu_matrix(s.x, 0, VGPU_FORMAT_F32, 1, 8),
		.w = vgpu_cube(s.table, 0, VGPU_FORMAT_F32, 4, 8, 8),
		.ids = vgpu_matrix(s.ids, 0, VGPU_FORMAT_I32, 1, 2),
		.y = vgpu_cube(s.y, 0, VGPU_FORMAT_F32, 1, 2, 8),
	};
	assert_int_equal(vgpu_cmd_matmul_id(s.cb, &c), 0);
	assert_int_equal(vgpu_finish(s.q, s.cb), -EINVAL);
	assert_string_equal(vgpu_error_text(), "submission 1: command 1 (matmul_id): "
			    "ids[0][1] is 4; w has 4 matrices");
	setup_close(&s);
}

static void failure_of_a_deadline_names_the_command(void **state)
{
	struct vgpu_submit_info past = { .size = sizeof(past), .deadline_ns = 1 };
	struct vgpu_fence fence;
	struct setup s;

	(void)state;
	setup_open(&s, 0);
	assert_int_equal(vgpu_submit(s.q, s.cb, &past, &fence), 0);
	assert_int_equal(vgpu_wait(fence, 1000000000), -ETIME);
	assert_non_null(strstr(vgpu_error_text(), "submission 1"));
	setup_close(&s);
}

/* Both first submissions of their queues, and failed by the same command. */
static void failure_of_another_queue_is_not_told(void **state)
{
	struct vgpu_queue *other;
	struct vgpu_fence fence[2];
	struct setup s;
	int32_t id = 55;

	(void)state;
	setup_open(&s, 77);
	assert_int_equal(vgpu_queue_create(s.v, 0, &other), 0);
	assert_int_equal(vgpu_cmd_gather(s.cb, vgpu_matrix(s.table, 0, VGPU_FORMAT_F32, 32, 8),
					 vgpu_vector(s.ids, 0, VGPU_FORMAT_I32, 2),
					 vgpu_matrix(s.y, 0, VGPU_FORMAT_F32, 2, 8)), 0);
	assert_int_equal(vgpu_submit(s.q, s.cb, NULL, &fence[0]), 0);
	assert_int_equal(vgpu_wait(fence[0], -1), -EINVAL);
	assert_int_equal(vgpu_bo_write(s.ids, 4, &id, 4), 0);
	assert_int_equal(vgpu_submit(other, s.cb, NULL, &fence[1]), 0);
	assert_int_equal(vgpu_wait(fence[1], -1), -EINVAL);
	assert_non_null(strstr(vgpu_error_text(), "ids[1] is 55"));
	assert_int_equal(vgpu_wait(fence[0], -1), -EINVAL);
	assert_non_null(strstr(vgpu_error_text(), "ids[1] is 77"));
	vgpu_queue_destroy(other);
	setup_close(&s);
}

/* ---- limits: a device that refuses, and says so much of those that can be asked for ---- */

static struct {
	struct vgpu_uapi uapi, *real;
	uint64_t used, user_used;
} full;

static int full_call(struct vgpu_uapi *u, unsigned long request, void *arg)
{
	struct vb_ioc_limit *limit = arg;

	(void)u;
	if (request == VB_IOC_SUBMIT)
		return -EDQUOT;
	if (request != VB_IOC_LIMIT)
		return vgpu_uapi_call(full.real, request, arg);
	assert_int_equal(limit->limit, VB_LIMIT_SUBMISSIONS);
	limit->out_value = limit->flags & VB_LIMIT_USER ? 12 : 5;
	limit->out_used = limit->flags & VB_LIMIT_USER ? full.user_used : full.used;
	return 0;
}

static const char *text_when_full(uint64_t used, uint64_t user_used)
{
	static const struct vgpu_uapi_ops ops = { .name = "full", .call = full_call };
	struct setup s;

	setup_open(&s, 0);
	full.uapi.ops = &ops;
	full.real = s.v->uapi;
	full.used = used;
	full.user_used = user_used;
	s.v->uapi = &full.uapi;
	assert_int_equal(vgpu_submit(s.q, s.cb, NULL, NULL), -EDQUOT);
	s.v->uapi = full.real;
	setup_close(&s);
	return vgpu_error_text();
}

static void limit_that_was_met_is_named(void **state)
{
	const char *text;

	(void)state;
	assert_string_equal(text_when_full(5, 5), "5 submissions of this client are in flight, "
			    "the most it may have");
	assert_string_equal(text_when_full(4, 12), "12 submissions of this user's clients are in "
			    "flight, the most they may have together");
	text = text_when_full(4, 11);
	assert_non_null(strstr(text, "bytes of command buffers"));
	assert_non_null(strstr(text, "/sys/class/misc/vblackwell/limits"));
}

static void description_is_cut_to_its_room(void **state)
{
	char text[8];
	struct setup s;

	(void)state;
	setup_open(&s, 0);
	assert_int_equal(vgpu_describe(s.v, "threads", text, sizeof(text)), sizeof(text) - 1);
	assert_string_equal(text, "1 threa");
	assert_int_equal(vgpu_describe(s.v, "policy", text, sizeof(text)), 6);
	assert_string_equal(text, "replay");
	setup_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failure_of_a_gather_names_index_value_and_limit),
		cmocka_unit_test(failure_of_a_product_names_the_experts_there_are),
		cmocka_unit_test(failure_of_a_deadline_names_the_command),
		cmocka_unit_test(failure_of_another_queue_is_not_told),
		cmocka_unit_test(limit_that_was_met_is_named),
		cmocka_unit_test(description_is_cut_to_its_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
