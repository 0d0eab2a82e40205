// SPDX-License-Identifier: MIT
/* Parts of the in-process device that its requests do not show: ids, rules, the hook. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/rig.h"
#include "uapi_loop.h"
#include "uapi_rule.h"

/* ---- ids ---- */

static void ids_name_what_was_added(void **state)
{
	struct loop_ids ids = { 0 };
	static int things[1000];
	u32 id[1000], index = 0, seen = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(vgpu_loop_ids_add(&ids, &things[i], &id[i]), 0);
		assert_int_not_equal(id[i], 0);
	}
	for (int i = 0; i < 1000; i++)
		assert_ptr_equal(vgpu_loop_ids_find(&ids, id[i]), &things[i]);
	for (int i = 0; i < 1000; i += 2)
		assert_ptr_equal(vgpu_loop_ids_remove(&ids, id[i]), &things[i]);
	for (int i = 0; i < 1000; i++)
		assert_ptr_equal(vgpu_loop_ids_find(&ids, id[i]), i % 2 ? &things[i] : NULL);
	assert_null(vgpu_loop_ids_remove(&ids, id[0]));
	while (vgpu_loop_ids_next(&ids, &index))
		seen++;
	assert_int_equal(seen, 500);
	assert_int_equal(ids.count, 500);
	vgpu_loop_ids_free(&ids);
}

static void ids_that_never_were_name_nothing(void **state)
{
	struct loop_ids ids = { 0 };
	int thing;
	u32 id;

	(void)state;
	assert_null(vgpu_loop_ids_find(&ids, 0));
	assert_null(vgpu_loop_ids_find(&ids, 1));
	assert_int_equal(vgpu_loop_ids_add(&ids, &thing, &id), 0);
	for (u32 i = 0; i < 100000; i++)
		if (i != id)
			assert_null(vgpu_loop_ids_find(&ids, i * 41));
	assert_null(vgpu_loop_ids_find(&ids, ~0u));
	vgpu_loop_ids_free(&ids);
}

/* Worst case: one slot is used again and again. */
static void ids_come_back_after_4096_uses_at_the_earliest(void **state)
{
	struct loop_ids ids = { 0 };
	int thing;
	u32 first, id;

	(void)state;
	assert_int_equal(vgpu_loop_ids_add(&ids, &thing, &first), 0);
	assert_ptr_equal(vgpu_loop_ids_remove(&ids, first), &thing);
	for (int i = 1; i < 4096; i++) {
		assert_int_equal(vgpu_loop_ids_add(&ids, &thing, &id), 0);
		assert_int_not_equal(id, first);
		assert_null(vgpu_loop_ids_find(&ids, first));
		assert_ptr_equal(vgpu_loop_ids_remove(&ids, id), &thing);
	}
	vgpu_loop_ids_free(&ids);
}

static void ids_run_out_with_edquot(void **state)
{
	struct loop_ids ids = { 0 };
	int thing, rc;
	u32 id, n = 0;

	(void)state;
	while (!(rc = vgpu_loop_ids_add(&ids, &thing, &id)))
		n++;
	assert_int_equal(rc, -EDQUOT);
	assert_int_equal(n, (1u << 20) - 1);
	vgpu_loop_ids_free(&ids);
}

/* ---- rules ---- */

struct sample {
	uint32_t size, flags, value, __reserved;
};

static const struct vgpu_rule rule = {
	.bytes = sizeof(struct sample),
	.flags_offset = offsetof(struct sample, flags),
	.flags = 5,
	.reserved = VGPU_RULE_FIELD(sample, __reserved),
};

static void rule_takes_what_fits_and_refuses_the_rest(void **state)
{
	static const struct {
		struct sample s;
		int rc;
	} cases[] = {
		{ { 16, 0, 7, 0 }, 0 }, { { 16, 5, 7, 0 }, 0 }, { { 16, 2, 7, 0 }, -EINVAL },
		{ { 16, 0, 7, 1 }, -EINVAL }, { { 0, 0, 0, 0 }, -EINVAL }, { { 3, 0, 0, 0 }, -EINVAL },
		{ { 12, 0, 7, 1 }, 0 }, { { 4, 2, 7, 1 }, 0 }, { { 4097, 0, 0, 0 }, -E2BIG },
	};
	uint64_t local[VGPU_RULE_BYTES_MAX / 8];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(vgpu_rule_copy_in(&rule, &cases[i].s, local), cases[i].rc);
	assert_int_equal(vgpu_rule_copy_in(&rule, NULL, local), -EFAULT);
}

static void rule_copies_as_much_as_both_know(void **state)
{
	struct { struct sample s; uint32_t more; } longer = { { 20, 1, 2, 0 }, 0 };
	uint64_t local[VGPU_RULE_BYTES_MAX / 8];
	struct sample *known = (struct sample *)local, cut = { 8, 1, 99, 99 };

	(void)state;
	assert_int_equal(vgpu_rule_copy_in(&rule, &longer, local), 0);
	known->value = 42;
	vgpu_rule_copy_out(&rule, &longer, local);
	assert_int_equal(longer.s.value, 42);
	assert_int_equal(longer.more, 0);
	assert_int_equal(vgpu_rule_copy_in(&rule, &cut, local), 0);
	assert_int_equal(known->value, 0);
	known->value = 42;
	vgpu_rule_copy_out(&rule, &cut, local);
	assert_int_equal(cut.value, 99);
}

/* ---- the device ---- */

static void chunk_size_is_a_power_of_two_between_its_ends(void **state)
{
	static const uint32_t wrong[] = { 0, 1, 4096, 32768, 65537, 3 * 65536, 4 << 20, ~0u };
	struct vgpu_loop *loop;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(vgpu_loop_create(wrong[i], &loop), -EINVAL);
	for (uint32_t bytes = VB_CHUNK_BYTES_MIN; bytes <= VB_CHUNK_BYTES_MAX; bytes *= 2) {
		assert_int_equal(vgpu_loop_create(bytes, &loop), 0);
		vgpu_loop_put(loop);
	}
	vgpu_loop_put(NULL);
}

/* References may be dropped in any order. */
static void device_lives_as_long_as_its_last_node(void **state)
{
	struct vb_ioc_query_device q = { .size = sizeof(q) };
	struct vgpu_uapi *client, *node;
	struct vgpu_loop *loop;

	(void)state;
	assert_int_equal(vgpu_loop_create(VB_CHUNK_BYTES_MIN, &loop), 0);
	assert_int_equal(vgpu_loop_open_client(loop, &client), 0);
	assert_int_equal(vgpu_loop_open_exec(loop, &node), 0);
	vgpu_loop_put(loop);
	node->ops->close(node);
	assert_int_equal(vgpu_uapi_call(client, VB_IOC_QUERY_DEVICE, &q), 0);
	assert_int_equal(q.out_exec_state, VB_EXEC_NONE);
	client->ops->close(client);
}

/* ---- the server hook ---- */

static struct rig rig;
static struct rig_exec hands;
static int served;

static int hook_setup(void **state)
{
	const struct rig_params p = { VB_CHUNK_BYTES_MIN, RIG_NONE, 0, 0 };

	(void)state;
	served = 0;
	return rig_open(&rig, &p) || rig_exec_open(&rig, &hands, 8) ? -1 : 0;
}

static int hook_teardown(void **state)
{
	(void)state;
	vgpu_loop_set_server(rig.loop, NULL, NULL);
	rig_exec_close(&hands);
	rig_close(&rig);
	return 0;
}

/* An executor on the thread that asks: a NOP is run by doing nothing. */
static bool serve(void *arg)
{
	struct vb_ioc_fetch req;

	(void)arg;
	served++;
	if (rig_fetch(&hands, &req))
		return false;
	rig_commit(&hands, req.out_tag, 0);
	return true;
}

static void submit(uint32_t queue, uint32_t flags)
{
	struct rig_stream s;

	rig_stream(&s);
	rig_add_nop(&s);
	s.flags = flags;
	assert_int_equal(rig_submit(rig.client, queue, &s, NULL), 0);
}

static void hook_runs_a_submission_on_the_thread_that_makes_it(void **state)
{
	uint32_t q;

	(void)state;
	assert_int_equal(rig_queue(rig.client, 0, &q), 0);
	vgpu_loop_set_server(rig.loop, serve, NULL);
	submit(q, 0);
	assert_int_equal(rig_wait(rig.client, q, 1, 0), 0);
	assert_int_equal(served, 1);
}

static void hook_is_not_called_for_async_nor_for_a_look(void **state)
{
	uint32_t q;

	(void)state;
	assert_int_equal(rig_queue(rig.client, 0, &q), 0);
	vgpu_loop_set_server(rig.loop, serve, NULL);
	submit(q, VB_SUBMIT_ASYNC);
	assert_int_equal(rig_wait(rig.client, q, 1, 0), -ETIME);
	assert_int_equal(served, 0);
	assert_int_equal(rig_wait(rig.client, q, 1, RIG_FOREVER), 0);
	assert_int_equal(served, 1);
}

/* Nobody knows how long work takes: it could be run past the time that was given. */
static void hook_is_not_called_for_a_wait_with_a_bound(void **state)
{
	uint32_t q;

	(void)state;
	assert_int_equal(rig_queue(rig.client, 0, &q), 0);
	vgpu_loop_set_server(rig.loop, serve, NULL);
	submit(q, VB_SUBMIT_ASYNC);
	assert_int_equal(rig_wait(rig.client, q, 1, 20), -ETIME);
	assert_int_equal(served, 0);
	assert_int_equal(rig_wait(rig.client, q, 1, RIG_FOREVER), 0);
}

static void hook_runs_what_a_wait_needs_in_turn(void **state)
{
	uint32_t q;

	(void)state;
	assert_int_equal(rig_queue(rig.client, 0, &q), 0);
	for (int i = 0; i < 5; i++)
		submit(q, VB_SUBMIT_ASYNC);
	vgpu_loop_set_server(rig.loop, serve, NULL);
	assert_int_equal(rig_wait(rig.client, q, 3, RIG_FOREVER), 0);
	assert_int_equal(rig_wait(rig.client, q, 4, 0), -ETIME);
	assert_int_equal(served, 3);
}

static void hook_is_not_called_when_there_is_nothing_to_do(void **state)
{
	struct vb_ioc_fetch req;
	uint32_t q;

	(void)state;
	assert_int_equal(rig_queue(rig.client, 0, &q), 0);
	submit(q, 0);
	assert_int_equal(rig_fetch(&hands, &req), 0);
	vgpu_loop_set_server(rig.loop, serve, NULL);
	assert_int_equal(rig_wait(rig.client, q, 1, 5), -ETIME);
	assert_int_equal(served, 0);
}

static void hook_serves_page_ins_of_the_thread_that_waits(void **state)
{
	uint32_t bo;
	char byte = 1;

	(void)state;
	assert_int_equal(rig_bo(rig.client, 1, VB_LIFE_VOLATILE, &bo), 0);
	vgpu_loop_set_server(rig.loop, serve, NULL);
	/* It says "done" and did nothing: asked again, then given up. */
	assert_int_equal(rig_write(rig.client, bo, 0, &byte, 1), -EBUSY);
	assert_in_range(served, 2, 50);
}

#define HOOK(name)	cmocka_unit_test_setup_teardown(name, hook_setup, hook_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_name_what_was_added),
		cmocka_unit_test(ids_that_never_were_name_nothing),
		cmocka_unit_test(ids_come_back_after_4096_uses_at_the_earliest),
		cmocka_unit_test(ids_run_out_with_edquot),
		cmocka_unit_test(rule_takes_what_fits_and_refuses_the_rest),
		cmocka_unit_test(rule_copies_as_much_as_both_know),
		cmocka_unit_test(chunk_size_is_a_power_of_two_between_its_ends),
		cmocka_unit_test(device_lives_as_long_as_its_last_node),
		HOOK(hook_runs_a_submission_on_the_thread_that_makes_it),
		HOOK(hook_is_not_called_for_async_nor_for_a_look),
		HOOK(hook_is_not_called_for_a_wait_with_a_bound),
		HOOK(hook_runs_what_a_wait_needs_in_turn),
		HOOK(hook_is_not_called_when_there_is_nothing_to_do),
		HOOK(hook_serves_page_ins_of_the_thread_that_waits),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
