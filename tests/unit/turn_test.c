// SPDX-License-Identifier: MIT
/* Which of the jobs that the executor has in hand runs its next command. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "exec/turn.h"

static struct vgpu_turns turns;
static struct vgpu_job job[VGPU_TURN_JOBS_MAX];

static int setup(void **state)
{
	(void)state;
	memset(&turns, 0, sizeof(turns));
	memset(job, 0, sizeof(job));
	return 0;
}

static void come(uint32_t j, uint32_t client, uint32_t weight)
{
	job[j].req.out_client = client;
	job[j].req.out_weight = weight;
	vgpu_turn_join(&turns, &job[j]);
	vgpu_turn_ready(&turns, &job[j]);
}

/* So many commands of a length; counts those of a client. */
static uint32_t commands_of(uint32_t client, uint32_t commands, uint64_t ns)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < commands; i++) {
		struct vgpu_job *j = vgpu_turn_take(&turns);

		assert_non_null(j);
		n += j->req.out_client == client;
		vgpu_turn_end(&turns, j, ns);
		vgpu_turn_ready(&turns, j);
	}
	return n;
}

static void nobody_is_next_without_jobs(void **state)
{
	(void)state;
	assert_null(vgpu_turn_take(&turns));
	come(0, 1, 100);
	vgpu_turn_leave(&turns, &job[0]);
	assert_null(vgpu_turn_take(&turns));
}

static void many_jobs_are_no_larger_share(void **state)
{
	(void)state;
	for (uint32_t j = 0; j < VGPU_TURN_JOBS_MAX - 1; j++)
		come(j, 7, 100);
	come(VGPU_TURN_JOBS_MAX - 1, 8, 100);
	assert_in_range(commands_of(8, 200, 1000000), 99, 101);
}

static void jobs_of_one_client_share_by_weight(void **state)
{
	uint32_t heavy = 0;

	(void)state;
	come(0, 3, 100);
	come(1, 3, 300);
	for (uint32_t i = 0; i < 400; i++) {
		struct vgpu_job *j = vgpu_turn_take(&turns);

		heavy += j == &job[1];
		vgpu_turn_end(&turns, j, 50000);
		vgpu_turn_ready(&turns, j);
	}
	assert_in_range(heavy, 298, 302);
}

/* Jobs come and go all the time: an entry is free again with the last one of its client. */
static void clients_without_jobs_take_no_room(void **state)
{
	(void)state;
	for (uint32_t client = 1; client < 1000; client++) {
		come(client % VGPU_TURN_JOBS_MAX, client, 100);
		assert_int_equal(commands_of(client, 3, 1000), 3);
		vgpu_turn_leave(&turns, &job[client % VGPU_TURN_JOBS_MAX]);
	}
}

/* Page-ins and the like; and those of who has no jobs concern nobody. */
static void requests_of_a_client_hold_its_jobs_back(void **state)
{
	uint32_t asking = 0;

	(void)state;
	for (uint32_t j = 0; j < 8; j++)
		come(j, 1, 100);
	come(8, 2, 100);
	for (uint32_t i = 0; i < 300; i++) {
		asking += commands_of(1, 1, 40000);
		vgpu_turn_charge(&turns, 1, 20000);
		vgpu_turn_charge(&turns, 3, 1000000);
	}
	/* Half of 300 x 60 us, of which 300 x 20 went to requests. */
	assert_in_range(asking, 73, 77);
}

/* Who has had more waits with what it asks for, as long as a job of another one can run. */
static void who_asks_for_much_waits_for_commands_of_others(void **state)
{
	uint32_t asked = 0, theirs = 0;

	(void)state;
	come(0, 2, 100);
	assert_true(vgpu_turn_may_ask(&turns, 1));
	for (uint32_t i = 0; i < 300; i++) {
		for (; vgpu_turn_may_ask(&turns, 1); asked++)
			vgpu_turn_charge(&turns, 1, 100000);
		theirs += commands_of(2, 1, 50000);
	}
	assert_int_equal(theirs, 300);
	assert_in_range(asked, 148, 152);
	vgpu_turn_leave(&turns, &job[0]);
	vgpu_turn_charge(&turns, 1, 1000000000);
	assert_true(vgpu_turn_may_ask(&turns, 1));
}

/* A job at a time, the next one at once: what the last one took is not forgotten. */
static void client_of_short_jobs_gets_its_share_and_no_more(void **state)
{
	uint32_t theirs = 0;

	(void)state;
	for (uint32_t j = 1; j < 9; j++)
		come(j, 1, 100);
	for (uint32_t i = 0; i < 400; i++) {
		struct vgpu_job *next;

		if (!job[0].share.client)
			come(0, 2, 100);
		next = vgpu_turn_take(&turns);
		vgpu_turn_end(&turns, next, 50000);
		if (next != &job[0]) {
			vgpu_turn_ready(&turns, next);
			continue;
		}
		theirs++;
		vgpu_turn_leave(&turns, next);
		memset(next, 0, sizeof(*next));
	}
	assert_in_range(theirs, 198, 202);
}

/* ---- page-ins ---- */

/* As the executor does: it is tried, which takes time. */
static uint64_t ask(uint32_t client, uint64_t first)
{
	uint64_t round = vgpu_turn_round(&turns, client, first);

	vgpu_turn_charge(&turns, client, 1000);
	return round;
}

/* Many of a client that wait stand one a round, and so does what comes of others. */
static void each_client_has_one_place_in_a_round(void **state)
{
	uint64_t first = ask(1, UINT64_MAX);

	(void)state;
	for (uint64_t i = 1; i < 100; i++)
		assert_int_equal(ask(1, first), first + i);
	assert_int_equal(ask(2, first), first);
	assert_int_equal(ask(2, first), first + 1);
	/* 40 were served. */
	assert_int_equal(ask(3, first + 40), first + 40);
	assert_int_equal(ask(2, first + 40), first + 40);
	/* Who asks again and again passes nobody who waits. */
	for (uint64_t i = 41; i < 60; i++)
		assert_int_equal(ask(3, first + 40), first + i);
	/* All were. */
	assert_int_equal(ask(4, UINT64_MAX), first + 99);
}

static void a_client_finds_no_room_only_so_often_in_a_pass(void **state)
{
	(void)state;
	for (uint32_t pass = 1; pass < 3 * VGPU_TURN_PASSES; pass++) {
		vgpu_turn_begin_pass(&turns);
		for (uint32_t i = 0; i < VGPU_TURN_FAILED_MAX; i++) {
			assert_true(vgpu_turn_may_fail(&turns, 1));
			vgpu_turn_charge(&turns, 1, 1000);
			vgpu_turn_failed(&turns, 1);
		}
		assert_int_equal(vgpu_turn_may_fail(&turns, 1), pass % VGPU_TURN_PASSES == 0);
		assert_true(vgpu_turn_may_fail(&turns, 2));
	}
}

/* All of it once, also what was tried in vain, or done after an answer. */
static void what_a_client_was_served_is_told_once(void **state)
{
	(void)state;
	assert_int_equal(vgpu_turn_owed(&turns, 1), 0);
	vgpu_turn_charge(&turns, 1, 1000);
	vgpu_turn_charge(&turns, 2, 70);
	vgpu_turn_charge(&turns, 1, 500);
	assert_int_equal(vgpu_turn_owed(&turns, 1), 1500);
	assert_int_equal(vgpu_turn_owed(&turns, 1), 0);
	assert_int_equal(vgpu_turn_owed(&turns, 2), 70);
	vgpu_turn_charge(&turns, 1, 3);
	assert_int_equal(vgpu_turn_owed(&turns, 1), 3);
}

#define TURN(name)	cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TURN(nobody_is_next_without_jobs),
		TURN(many_jobs_are_no_larger_share),
		TURN(jobs_of_one_client_share_by_weight),
		TURN(clients_without_jobs_take_no_room),
		TURN(requests_of_a_client_hold_its_jobs_back),
		TURN(who_asks_for_much_waits_for_commands_of_others),
		TURN(client_of_short_jobs_gets_its_share_and_no_more),
		TURN(each_client_has_one_place_in_a_round),
		TURN(a_client_finds_no_room_only_so_often_in_a_pass),
		TURN(what_a_client_was_served_is_told_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
