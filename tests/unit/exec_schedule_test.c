// SPDX-License-Identifier: MIT
/*
 * What clients declare: the policy is told of each apart, and follows all of them.
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
 * What the policy is told
 */

/**
 * struct teller - schedules on a device that has nothing but objects 1 .. 3, and a policy
 * that writes down what it hears
 * @chunks: of each
 * @asked: how often the device was asked for an object
 * @heard: "client: object:chunk ...", the latest; "-" when it was told nothing
 * @answer: of the policy
 */
struct teller {
	struct vgpu_uapi node;		/* first: a request leads back here */
	uint32_t chunks, asked;
	char heard[512];
	int answer;
	struct vgpu_store store;
	struct vgpu_schedules s;
};

static int open_object(struct vgpu_uapi *u, unsigned long request, void *arg)
{
	static struct vb_table_entry table;
	struct vb_ioc_object_open *o = arg;

	assert_int_equal(request, VB_IOC_OBJECT_OPEN);
	((struct teller *)u)->asked++;
	if (o->object < 1 || o->object > 3)
		return -ENOENT;
	o->out_kind = VB_BO_ANONYMOUS;
	o->out_fd = -1;
	o->out_chunks = ((struct teller *)u)->chunks;
	o->out_bytes = (uint64_t)o->out_chunks * XCHUNK;
	o->out_table_address = (uintptr_t)&table;
	return 0;
}

static int hear(void *policy, uint32_t client, const uint64_t *keys, size_t n, bool cyclic)
{
	struct teller *t = policy;
	char *at = t->heard, *end = at + sizeof(t->heard);

	at += snprintf(at, (size_t)(end - at), "%u%s:", client, cyclic ? " cycle" : "");
	for (size_t i = 0; i < n && at < end; i++)
		at += snprintf(at, (size_t)(end - at), " %u:%u", vgpu_policy_key_object(keys[i]),
			       vgpu_policy_key_chunk(keys[i]));
	return t->answer;
}

static const struct vgpu_uapi_ops objects_only = { .call = open_object };
static const struct vgpu_policy_ops listener = { .name = "listener", .future = hear };

static void teller_open(struct teller *t, uint32_t chunks)
{
	*t = (struct teller){ .node = { &objects_only }, .chunks = chunks, .heard = "-" };
	assert_int_equal(vgpu_store_init(&t->store, &t->node, NULL), 0);
	t->s = (struct vgpu_schedules){
		.store = &t->store, .chunk_bytes = XCHUNK,
		.policy = &listener, .policy_state = t,
	};
}

static void teller_close(struct teller *t)
{
	vgpu_schedules_fini(&t->s);
	vgpu_store_destroy(&t->store);
}

/* The device is going to forget it. */
static void teller_lose(struct teller *t, uint32_t object)
{
	vgpu_store_find(&t->store, object)->gone = true;
}

static struct vb_range chunks_of(uint32_t object, uint32_t first, uint32_t count)
{
	return (struct vb_range){ .bo_id = object, .offset = (uint64_t)first * XCHUNK,
				  .bytes = (uint64_t)count * XCHUNK };
}

static void schedule_of_each_client_is_told_as_declared(void **state)
{
	struct vb_range r[] = { chunks_of(1, 0, 2), chunks_of(2, 3, 1), chunks_of(1, 0, 1) };
	struct teller t;

	(void)state;
	teller_open(&t, 8);
	assert_int_equal(vgpu_schedules_set(&t.s, 7, r, 3, false), 0);
	assert_string_equal(t.heard, "7: 1:0 1:1 2:3 1:0");
	assert_int_equal(vgpu_schedules_set(&t.s, 9, r + 1, 2, true), 0);
	assert_string_equal(t.heard, "9 cycle: 2:3 1:0");
	assert_int_equal(t.s.keys, 6);
	assert_int_equal(vgpu_schedules_set(&t.s, 7, r, 1, true), 0);
	assert_string_equal(t.heard, "7 cycle: 1:0 1:1");
	assert_int_equal(vgpu_schedules_set(&t.s, 7, NULL, 0, false), 0);
	assert_string_equal(t.heard, "7:");
	assert_int_equal(t.s.keys, 2);
	teller_close(&t);
}

static void schedule_leaves_out_objects_that_are_gone_or_shorter(void **state)
{
	struct vb_range r[] = { chunks_of(1, 0, 2), chunks_of(77, 0, 2), chunks_of(2, 6, 9) };
	struct teller t;

	(void)state;
	teller_open(&t, 8);
	assert_int_equal(vgpu_schedules_set(&t.s, 7, r, 3, true), 0);
	assert_string_equal(t.heard, "7 cycle: 1:0 1:1 2:6 2:7");
	/* Each range once: to list them what is not there is not asked for again. */
	assert_int_equal(t.asked, 3);
	teller_lose(&t, 1);
	assert_int_equal(vgpu_schedules_set(&t.s, 7, r, 3, true), 0);
	assert_string_equal(t.heard, "7 cycle: 2:6 2:7");
	assert_int_equal(vgpu_schedules_set(&t.s, 7, r + 1, 1, true), 0);
	assert_string_equal(t.heard, "7 cycle:");
	teller_close(&t);
}

/* Refused, and what was declared before stays. */
static void schedule_of_too_many_uses_is_refused(void **state)
{
	enum { COUNT = 1025 };
	struct vb_range *r = xalloc(COUNT * sizeof(*r)), few = chunks_of(2, 1, 1);
	struct teller t;

	(void)state;
	teller_open(&t, VGPU_SCHEDULE_KEYS_MAX / 1024);
	for (uint32_t i = 0; i < COUNT; i++)
		r[i] = chunks_of(1, 0, VGPU_SCHEDULE_KEYS_MAX / 1024);
	assert_int_equal(vgpu_schedules_set(&t.s, 7, &few, 1, false), 0);
	assert_int_equal(vgpu_schedules_set(&t.s, 7, r, COUNT, false), -EINVAL);
	assert_string_equal(t.heard, "7: 2:1");
	/* Beside what another one declared: what it replaces does not count. */
	assert_int_equal(vgpu_schedules_set(&t.s, 9, r, COUNT - 1, false), -ENOSPC);
	assert_string_equal(t.heard, "7: 2:1");
	assert_int_equal(vgpu_schedules_set(&t.s, 7, r, COUNT - 1, false), 0);
	assert_int_equal(vgpu_schedules_set(&t.s, 9, &few, 1, false), -ENOSPC);
	assert_int_equal(vgpu_schedules_set(&t.s, 7, NULL, 0, false), 0);
	assert_int_equal(vgpu_schedules_set(&t.s, 9, &few, 1, false), 0);
	free(r);
	teller_close(&t);
}

static void schedule_that_the_policy_refused_does_not_count(void **state)
{
	struct vb_range r = chunks_of(1, 0, 2);
	struct teller t;

	(void)state;
	teller_open(&t, 8);
	t.answer = -ENOMEM;
	assert_int_equal(vgpu_schedules_set(&t.s, 7, &r, 1, true), -ENOMEM);
	assert_int_equal(t.s.keys, 0);
	assert_null(t.s.first);
	/* One that knows no future decides without. */
	t.answer = -EOPNOTSUPP;
	assert_int_equal(vgpu_schedules_set(&t.s, 7, &r, 1, true), 0);
	teller_close(&t);
}

/* ------------------------------------------------------------------------
 * Two clients of one tier
 */

enum { BLOCKS = 4, BLOCK = 40, LAPS = 4, USES = LAPS * BLOCKS * 2 * BLOCK };

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
static void user_take_turn(struct user *u, uint32_t first, uint32_t uses)
{
	struct xstream s;
	uint64_t seqno;

	xstream_begin(&s);
	for (uint32_t use = first; use < first + uses; use++) {
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

/* What is read ahead of a turn that is not taken is lost, a few chunks at each change. */
static void expect_both_followed(uint32_t turn, uint32_t percent)
{
	int fd[2] = { model_file(1), model_file(2) };
	struct user a, b;
	struct xrig r;

	tier_open(&r, 2);
	user_open(&r, &a, fd[0], true);
	user_open(&r, &b, fd[1], false);
	user_declare(&a);
	user_declare(&b);
	for (uint32_t i = 0; i < USES; i += turn) {
		user_take_turn(&a, i, turn);
		user_take_turn(&b, i, turn);
	}
	expect_reads(&a, 0, percent);
	expect_reads(&b, 0, percent);
	b.client->ops->close(b.client);
	xrig_close(&r);
	close(fd[0]);
	close(fd[1]);
}

/* With one order and one cursor for both of them it was 130 percent at 8 uses, 160 at 40. */
static void schedules_of_two_clients_are_both_followed_in_short_turns(void **state)
{
	(void)state;
	expect_both_followed(8, 110);
}

static void schedules_of_two_clients_are_both_followed_in_long_turns(void **state)
{
	(void)state;
	expect_both_followed(40, 110);
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
	for (uint32_t i = 0; i < USES; i += 8)
		user_take_turn(&a, i, 8);
	expect_reads(&a, before, 105);
	xrig_close(&r);
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(schedule_of_each_client_is_told_as_declared),
		cmocka_unit_test(schedule_leaves_out_objects_that_are_gone_or_shorter),
		cmocka_unit_test(schedule_of_too_many_uses_is_refused),
		cmocka_unit_test(schedule_that_the_policy_refused_does_not_count),
		cmocka_unit_test(schedules_of_two_clients_are_both_followed_in_short_turns),
		cmocka_unit_test(schedules_of_two_clients_are_both_followed_in_long_turns),
		cmocka_unit_test(schedule_of_a_client_is_followed_after_another_one_left),
	};

	return cmocka_run_group_tests_name("exec_schedule", tests, NULL, NULL);
}
