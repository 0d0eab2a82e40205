// SPDX-License-Identifier: MIT
/*
 * Submissions whose executor dies: which of them are run again by the next one, how often,
 * and that only who has one now may end it.
 */
#include "vm/recover_rig.h"

static void run_next(void)
{
	assert_rc(rig_commit(&x, fetch_submission(NULL), 0), 0);
}

static void what_was_fetched_is_run_again_where_that_is_safe(void **state)
{
	uint32_t bo, id = listed_object(1, &bo), reads, discards, writes;
	struct vb_ioc_fetch req;

	(void)state;
	copy(id, 0, Z, H);
	reads = interrupted(bo, VB_ACCESS_READ);
	discards = interrupted(bo, VB_ACCESS_READ | VB_ACCESS_WRITE | VB_ACCESS_DISCARD);
	writes = interrupted(bo, VB_ACCESS_WRITE);
	submit_nop(writes);
	die(&x);
	assert_rc(rig_wait(u, writes, 1, 0), -EIO);
	assert_rc(rig_wait(u, reads, 1, 0), -ETIME);
	assert_rc(rig_wait(u, discards, 1, 0), -ETIME);
	succeed(&x);
	assert_rc(rig_recover(&x, 0), 0);
	for (int i = 0; i < 3; i++)
		run_next();
	assert_rc(rig_fetch(&x, &req), -EAGAIN);
	assert_rc(rig_wait(u, reads, 1, 0), 0);
	assert_rc(rig_wait(u, discards, 1, 0), 0);
	assert_rc(rig_wait(u, writes, 2, 0), 0);
}

static void what_was_queued_waits_and_new_work_is_taken(void **state)
{
	uint32_t queue = new_queue();

	(void)state;
	submit_nop(queue);
	die(&x);
	submit_nop(queue);
	assert_rc(rig_wait(u, queue, 1, 100), -ETIME);
	succeed(&x);
	submit_nop(queue);
	assert_rc(rig_wait(u, queue, 1, 100), -ETIME);
	assert_rc(rig_recover(&x, 0), 0);
	for (int i = 0; i < 3; i++)
		run_next();
	assert_rc(rig_wait(u, queue, 3, 0), 0);
}

static void a_submission_that_kills_every_executor_ends(void **state)
{
	uint32_t queue = interrupted(0, 0);
	struct vb_ioc_fetch req;
	int deaths = 1;

	(void)state;
	for (die_and_succeed(&x); !rig_fetch(&x, &req) && deaths < 100; die_and_succeed(&x))
		deaths++;
	assert_int_equal(deaths, 16);
	assert_rc(rig_wait(u, queue, 1, 0), -EIO);
}

static void old_generations_are_estale(void **state)
{
	uint32_t queue = new_queue(), bo, id = listed_object(1, &bo);
	struct vb_ioc_fetch req, again;
	struct rig_exec old;

	(void)state;
	submit_nop(queue);
	assert_rc(rig_fetch(&x, &req), 0);
	die(&x);
	old = x;
	succeed(&x);
	old.node = x.node;
	assert_rc(rig_recover(&old, 0), -ESTALE);
	assert_rc(rig_recover(&x, 0), 0);
	assert_rc(rig_fetch(&x, &again), 0);
	assert_int_equal(again.out_seqno, req.out_seqno);
	assert_rc(rig_commit(&old, again.out_tag, 0), -ESTALE);
	assert_rc(rig_commit(&x, req.out_tag, 0), -ESTALE);
	assert_rc(rig_step(&old, id, 0, VB_MOVE_BEGIN, Z, H), -ESTALE);
	assert_rc(rig_wait(u, queue, 1, 0), -ETIME);
	assert_rc(rig_commit(&x, again.out_tag, 0), 0);
	assert_rc(rig_wait(u, queue, 1, 1000), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(what_was_fetched_is_run_again_where_that_is_safe),
		CASE(what_was_queued_waits_and_new_work_is_taken),
		CASE(a_submission_that_kills_every_executor_ends),
		CASE(old_generations_are_estale),
	};

	if (!selftest_has_module("rerun"))
		return 0;
	return SELFTEST_RUN("rerun", tests, RIG_NONE, 0, 0) ? 1 : 0;
}
