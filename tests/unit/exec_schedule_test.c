// SPDX-License-Identifier: MIT
/*
 * What clients declare: woven into one order, kept apart when one takes its own back.
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
#include "exec/policy.h"
#include "exec/schedule.h"

/* ------------------------------------------------------------------------
 * Weaving
 */

/**
 * struct weaver - schedules on a device that has nothing but objects 1 .. 3
 * @chunks: of each
 * @asked: how often the device was asked for an object
 */
struct weaver {
	struct vgpu_uapi node;		/* first: a request leads back here */
	uint32_t chunks, asked;
	struct vgpu_store store;
	struct vgpu_schedules s;
};

static int open_object(struct vgpu_uapi *u, unsigned long request, void *arg)
{
	static struct vb_table_entry table;
	struct vb_ioc_object_open *o = arg;

	assert_int_equal(request, VB_IOC_OBJECT_OPEN);
	((struct weaver *)u)->asked++;
	if (o->object < 1 || o->object > 3)
		return -ENOENT;
	o->out_kind = VB_BO_ANONYMOUS;
	o->out_fd = -1;
	o->out_chunks = ((struct weaver *)u)->chunks;
	o->out_bytes = (uint64_t)o->out_chunks * XCHUNK;
	o->out_table_address = (uintptr_t)&table;
	return 0;
}

static const struct vgpu_uapi_ops objects_only = { .call = open_object };

static void weaver_open(struct weaver *w, uint32_t chunks)
{
	*w = (struct weaver){ .node = { &objects_only }, .chunks = chunks };
	assert_int_equal(vgpu_store_init(&w->store, &w->node, NULL), 0);
	w->s = (struct vgpu_schedules){ .store = &w->store, .chunk_bytes = XCHUNK };
}

static void weaver_close(struct weaver *w)
{
	vgpu_schedules_fini(&w->s);
	vgpu_store_destroy(&w->store);
}

/* The device is going to forget it. */
static void weaver_lose(struct weaver *w, uint32_t object)
{
	vgpu_store_find(&w->store, object)->gone = true;
}

static struct vb_range chunks_of(uint32_t object, uint32_t first, uint32_t count)
{
	return (struct vb_range){ .bo_id = object, .offset = (uint64_t)first * XCHUNK,
				  .bytes = (uint64_t)count * XCHUNK };
}

/* "1:0 1:1 2:0": object and chunk of each use. */
static void expect_woven(struct weaver *w, const char *expected, bool cyclic)
{
	char text[512] = "";
	uint64_t *keys;
	bool cycle;
	size_t n;

	assert_int_equal(vgpu_schedules_weave(&w->s, &keys, &n, &cycle), 0);
	for (size_t i = 0; i < n; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%u:%u", i ? " " : "",
			 vgpu_policy_key_object(keys[i]), vgpu_policy_key_chunk(keys[i]));
	free(keys);
	assert_string_equal(text, expected);
	assert_int_equal(cycle, cyclic);
}

static void schedule_of_one_client_is_woven_as_declared(void **state)
{
	struct vb_range r[] = { chunks_of(1, 0, 2), chunks_of(2, 3, 1), chunks_of(1, 0, 1) };
	struct weaver w;

	(void)state;
	weaver_open(&w, 8);
	expect_woven(&w, "", false);
	assert_int_equal(vgpu_schedules_set(&w.s, 7, r, 3, false), 0);
	expect_woven(&w, "1:0 1:1 2:3 1:0", false);
	assert_int_equal(vgpu_schedules_set(&w.s, 7, r, 2, true), 0);
	expect_woven(&w, "1:0 1:1 2:3", true);
	assert_int_equal(vgpu_schedules_set(&w.s, 7, NULL, 0, false), 0);
	expect_woven(&w, "", false);
	weaver_close(&w);
}

static void schedule_chunk_in_which_ranges_meet_is_one_use(void **state)
{
	struct vb_range r[] = {
		{ .bo_id = 1, .offset = 0, .bytes = XCHUNK + 1 },
		{ .bo_id = 1, .offset = XCHUNK + 1, .bytes = XCHUNK },
	};
	struct weaver w;

	(void)state;
	weaver_open(&w, 8);
	assert_int_equal(vgpu_schedules_set(&w.s, 7, r, 2, true), 0);
	expect_woven(&w, "1:0 1:1 1:2", true);
	weaver_close(&w);
}

static void schedule_of_two_clients_takes_turns_and_repeats_the_shorter_cycle(void **state)
{
	struct vb_range a = chunks_of(1, 0, 5), b = chunks_of(2, 0, 2), c = chunks_of(3, 0, 1);
	struct weaver w;

	(void)state;
	weaver_open(&w, 8);
	assert_int_equal(vgpu_schedules_set(&w.s, 7, &a, 1, true), 0);
	assert_int_equal(vgpu_schedules_set(&w.s, 9, &b, 1, true), 0);
	expect_woven(&w, "1:0 1:1 1:2 1:3 2:0 2:1 2:0 2:1 1:4", true);
	assert_int_equal(vgpu_schedules_set(&w.s, 4, &c, 1, false), 0);
	expect_woven(&w, "1:0 1:1 1:2 1:3 2:0 2:1 2:0 2:1 3:0 1:4", true);
	weaver_close(&w);
}

static void schedule_of_one_client_is_replaced_and_withdrawn_by_it_alone(void **state)
{
	struct vb_range a = chunks_of(1, 0, 2), b = chunks_of(2, 0, 2), c = chunks_of(3, 0, 2);
	struct weaver w;

	(void)state;
	weaver_open(&w, 8);
	assert_int_equal(vgpu_schedules_set(&w.s, 7, &a, 1, true), 0);
	assert_int_equal(vgpu_schedules_set(&w.s, 9, &b, 1, true), 0);
	assert_int_equal(vgpu_schedules_set(&w.s, 7, &c, 1, true), 0);
	expect_woven(&w, "3:0 3:1 3:0 3:1 2:0 2:1", true);
	assert_int_equal(vgpu_schedules_set(&w.s, 8, NULL, 0, false), 0);
	expect_woven(&w, "3:0 3:1 3:0 3:1 2:0 2:1", true);
	assert_int_equal(vgpu_schedules_set(&w.s, 7, NULL, 0, false), 0);
	expect_woven(&w, "2:0 2:1", true);
	weaver_close(&w);
}

static void schedule_leaves_out_objects_that_are_gone_or_shorter(void **state)
{
	struct vb_range r[] = { chunks_of(1, 0, 2), chunks_of(77, 0, 2), chunks_of(2, 6, 9) };
	struct vb_range gone = chunks_of(77, 0, 3);
	struct weaver w;

	(void)state;
	weaver_open(&w, 8);
	assert_int_equal(vgpu_schedules_set(&w.s, 7, r, 3, true), 0);
	assert_int_equal(vgpu_schedules_set(&w.s, 9, &gone, 1, true), 0);
	expect_woven(&w, "1:0 1:1 2:6 2:7", true);
	weaver_lose(&w, 1);
	expect_woven(&w, "2:6 2:7", true);
	weaver_lose(&w, 2);
	expect_woven(&w, "", true);
	/* Each range once, when it was declared: 1 and 2 are known from then on, 77 is not. */
	assert_int_equal(w.asked, 4);
	weaver_close(&w);
}

/* Refused, and what was declared before stays. */
static void schedule_of_too_many_uses_is_refused(void **state)
{
	enum { COUNT = 1025 };
	struct vb_range *r = xalloc(COUNT * sizeof(*r)), few = chunks_of(2, 1, 1);
	struct weaver w;

	(void)state;
	weaver_open(&w, VGPU_SCHEDULE_KEYS_MAX / 1024);
	for (uint32_t i = 0; i < COUNT; i++)
		r[i] = chunks_of(1, 0, VGPU_SCHEDULE_KEYS_MAX / 1024);
	assert_int_equal(vgpu_schedules_set(&w.s, 7, &few, 1, false), 0);
	assert_int_equal(vgpu_schedules_set(&w.s, 7, r, COUNT, false), -EINVAL);
	expect_woven(&w, "2:1", false);
	assert_int_equal(vgpu_schedules_set(&w.s, 7, r, COUNT - 1, false), 0);
	free(r);
	weaver_close(&w);
}

static void schedules_of_all_clients_keep_a_bounded_number_of_ranges(void **state)
{
	struct vb_range *r = xalloc(VB_SCHEDULE_MAX * sizeof(*r));
	struct weaver w;

	(void)state;
	weaver_open(&w, 8);
	for (uint32_t i = 0; i < VB_SCHEDULE_MAX; i++)
		r[i] = chunks_of(1, i % 8, 1);
	assert_int_equal(vgpu_schedules_set(&w.s, 7, r, VB_SCHEDULE_MAX, true), 0);
	assert_int_equal(vgpu_schedules_set(&w.s, 9, r, 1, true), -ENOSPC);
	/* What it replaces does not count. */
	assert_int_equal(vgpu_schedules_set(&w.s, 7, r, VB_SCHEDULE_MAX - 1, true), 0);
	assert_int_equal(vgpu_schedules_set(&w.s, 9, r, 1, true), 0);
	assert_int_equal(vgpu_schedules_set(&w.s, 9, NULL, 0, false), 0);
	assert_int_equal(vgpu_schedules_set(&w.s, 7, r, VB_SCHEDULE_MAX, true), 0);
	free(r);
	weaver_close(&w);
}

/* ------------------------------------------------------------------------
 * Two clients of one tier
 */

enum { BLOCKS = 4, BLOCK = 40, TURN = 8, LAPS = 4, TURNS = LAPS * BLOCKS * 2 * BLOCK / TURN };

/**
 * struct user - a client whose lap uses each block of its file twice, block by block
 *
 * All chunks are used equally often: only their order tells which one to keep.
 */
struct user {
	struct vgpu_uapi *client;
	uint32_t queue, file, out;
};

static void user_open(struct xrig *r, struct user *u, int fd, bool first)
{
	struct xrig own = *r;

	u->client = first ? r->client : xrig_client(r);
	u->queue = first ? r->queue : xrig_queue(u->client, 0);
	own.client = u->client;
	u->file = xrig_file(&own, fd, 0, (uint64_t)BLOCKS * BLOCK * XCHUNK);
	u->out = xrig_anonymous(&own, 4096);
}

static void user_declare(const struct user *u)
{
	struct vb_range range[2 * BLOCKS];
	struct vb_ioc_schedule s = { .size = sizeof(s), .flags = VB_SCHEDULE_CYCLE,
				     .count = 2 * BLOCKS, .ranges_address = (uintptr_t)range };

	for (uint32_t i = 0; i < 2 * BLOCKS; i++)
		range[i] = chunks_of(u->file, i / 2 * BLOCK, BLOCK);
	assert_int_equal(vgpu_uapi_call(u->client, VB_IOC_SCHEDULE, &s), 0);
}

/* The next few uses: what is announced by a submission does not tell of the other pass. */
static void user_take_turn(struct user *u, uint32_t turn)
{
	struct xstream s;
	uint64_t seqno;

	xstream_begin(&s);
	for (uint32_t i = 0; i < TURN; i++) {
		uint32_t use = turn * TURN + i;
		uint64_t chunk = use / (2 * BLOCK) % BLOCKS * BLOCK + use % BLOCK;
		struct vb_cmd_copy c = {
			.h = { VB_CMD_COPY, 0, sizeof(c) },
			.x = xvector(&s, u->file, VB_ACCESS_READ, chunk * XCHUNK, VB_FORMAT_F32, 16),
			.y = xvector(&s, u->out, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 16),
		};

		xstream_add(&s, &c, sizeof(c));
	}
	assert_int_equal(xsubmit(u->client, u->queue, &s, &seqno), 0);
	assert_int_equal(xwait(u->client, u->queue, seqno, NULL), 0);
}

static uint64_t user_reads(const struct user *u)
{
	uint64_t count[VB_COUNT_COUNT];
	struct vb_ioc_stats s = { .size = sizeof(s), .count = VB_COUNT_COUNT,
				  .address = (uintptr_t)count };

	assert_int_equal(vgpu_uapi_call(u->client, VB_IOC_STATS, &s), 0);
	return count[VB_COUNT_READ_BYTES] / XCHUNK;
}

/* A tier with room for a block and the result of each of so many users, and no more. */
static void tier_open(struct xrig *r, uint32_t users)
{
	struct vgpu_exec_params p = xrig_params(users * (BLOCK + 1) + 6);

	p.policy = "schedule";
	xrig_start(r, &p);
}

/* Each block must be read once a lap: at most so much of that, in percent. */
static void expect_reads(const struct user *u, uint64_t before, uint32_t percent)
{
	uint64_t read = user_reads(u) - before, optimum = LAPS * BLOCKS * BLOCK;

	if (read * 100 > optimum * percent)
		fail_msg("%llu chunks read, %llu need to be", (unsigned long long)read,
			 (unsigned long long)optimum);
}

static int model_file(uint64_t seed)
{
	size_t n = (size_t)BLOCKS * BLOCK * XCHUNK / 4;
	float *v = xvalues(n, seed);
	int fd = xfile(v, n * 4, 0);

	free(v);
	return fd;
}

/*
 * Turns are not woven exactly as they come, and what is read ahead of a turn that is not
 * taken is lost.  Of two clients of whom one alone is followed the other reads each chunk
 * at every use, and half as many ahead for nothing: 290 percent.
 */
static void schedules_of_two_clients_are_both_followed(void **state)
{
	int fd[2] = { model_file(1), model_file(2) };
	struct user a, b;
	struct xrig r;

	(void)state;
	tier_open(&r, 2);
	user_open(&r, &a, fd[0], true);
	user_open(&r, &b, fd[1], false);
	user_declare(&a);
	user_declare(&b);
	for (uint32_t i = 0; i < TURNS; i++) {
		user_take_turn(&a, i);
		user_take_turn(&b, i);
	}
	expect_reads(&a, 0, 130);
	expect_reads(&b, 0, 130);
	b.client->ops->close(b.client);
	xrig_close(&r);
	close(fd[0]);
	close(fd[1]);
}

static void schedule_of_a_client_is_followed_after_another_one_left(void **state)
{
	int fd[2] = { model_file(1), model_file(2) };
	struct user a, b;
	struct xrig r;
	uint64_t before;

	(void)state;
	tier_open(&r, 1);
	user_open(&r, &a, fd[0], true);
	user_open(&r, &b, fd[1], false);
	user_declare(&a);
	user_declare(&b);
	b.client->ops->close(b.client);
	before = user_reads(&a);
	for (uint32_t i = 0; i < TURNS; i++)
		user_take_turn(&a, i);
	expect_reads(&a, before, 105);
	xrig_close(&r);
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(schedule_of_one_client_is_woven_as_declared),
		cmocka_unit_test(schedule_chunk_in_which_ranges_meet_is_one_use),
		cmocka_unit_test(schedule_of_two_clients_takes_turns_and_repeats_the_shorter_cycle),
		cmocka_unit_test(schedule_of_one_client_is_replaced_and_withdrawn_by_it_alone),
		cmocka_unit_test(schedule_leaves_out_objects_that_are_gone_or_shorter),
		cmocka_unit_test(schedule_of_too_many_uses_is_refused),
		cmocka_unit_test(schedules_of_all_clients_keep_a_bounded_number_of_ranges),
		cmocka_unit_test(schedules_of_two_clients_are_both_followed),
		cmocka_unit_test(schedule_of_a_client_is_followed_after_another_one_left),
	};

	return cmocka_run_group_tests_name("exec_schedule", tests, NULL, NULL);
}
