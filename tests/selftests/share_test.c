// SPDX-License-Identifier: MIT
/*
 * Shares of executor time, between queues, between clients, between submissions and
 * requests.  Measures time.
 */
#include "selftests/hands.h"

/* Busy time is clamped to the wall, so time really has to pass. */
static void queues_share_time_by_weight(void **state)
{
	uint32_t q[2], light = 0, heavy = 0;

	(void)state;
	assert_rc(rig_queue(u, 100, &q[0]), 0);
	assert_rc(rig_queue(u, 300, &q[1]), 0);
	for (int i = 0; i < 400; i++) {
		submit_nop(q[0]);
		submit_nop(q[1]);
	}
	for (int i = 0; i < 200; i++) {
		struct vb_ioc_fetch req;
		struct vb_ioc_commit c = { .size = sizeof(c), .generation = x.generation,
					   .busy_ns = 10000000 };
		uint64_t until;

		assert_rc(rig_fetch(&x, &req), 0);
		light += req.out_weight == 100;
		heavy += req.out_weight == 300;
		until = rig_now() + 250000;
		while (rig_now() < until)
			;
		c.tag = req.out_tag;
		c.busy_ns = 250000;
		assert_rc(vgpu_uapi_call(x.node, VB_IOC_COMMIT, &c), 0);
	}
	/* 50 to 150, and some slack for a clock that others use too. */
	assert_in_range(light, 42, 58);
	assert_in_range(heavy, 142, 158);
}

/* ---- of clients: which jobs are fetched, counted ---- */

#define SHARERS	16u

/* A client with so many queues, each with so many submissions; its number for the executor. */
static struct vgpu_uapi *client_with_queues(uint32_t queues, uint32_t each)
{
	struct vgpu_uapi *c = rig_client(&rig);

	assert_non_null(c);
	for (uint32_t i = 0; i < queues; i++) {
		uint32_t q;

		assert_rc(rig_queue(c, 0, &q), 0);
		for (uint32_t k = 0; k < each; k++)
			submit_nop_of(c, q);
	}
	return c;
}

/* Fetch and commit, @at_once in the executor's hands; counts the jobs of each client. */
static void run_jobs(uint32_t jobs, uint32_t at_once, uint32_t *of_client, uint32_t clients)
{
	struct vb_ioc_fetch req[SHARERS];

	memset(of_client, 0, clients * sizeof(*of_client));
	for (uint32_t done = 0; done < jobs; done += at_once) {
		for (uint32_t i = 0; i < at_once; i++) {
			assert_rc(rig_fetch(&x, &req[i]), 0);
			of_client[req[i].out_client % clients]++;
		}
		for (uint32_t i = 0; i < at_once; i++)
			assert_rc(rig_commit(&x, req[i].out_tag, 0), 0);
	}
}

/* Two clients that follow each other: their numbers differ by one. */
static void many_queues_are_no_larger_share(void **state)
{
	struct vgpu_uapi *greedy = client_with_queues(64, 4), *polite = client_with_queues(1, 64);
	uint32_t jobs[2];

	(void)state;
	run_jobs(100, 1, jobs, 2);
	assert_in_range(jobs[0], 45, 55);
	assert_in_range(jobs[1], 45, 55);
	rig_client_close(greedy);
	rig_client_close(polite);
}

static void clients_share_time_by_their_weights(void **state)
{
	struct vgpu_uapi *light = client_with_queues(8, 40), *heavy = client_with_queues(2, 160);
	uint32_t jobs[2];

	(void)state;
	assert_rc(rig_limit(heavy, VB_LIMIT_WEIGHT, 1001), -EINVAL);
	assert_rc(rig_limit(heavy, VB_LIMIT_WEIGHT, 0), -EINVAL);
	assert_rc(rig_limit(heavy, VB_LIMIT_WEIGHT, 300), 0);
	run_jobs(200, 1, jobs, 2);
	assert_in_range(jobs[0] < jobs[1] ? jobs[0] : jobs[1], 45, 55);
	rig_client_close(light);
	rig_client_close(heavy);
}

/* An executor that takes sixteen before it ends one does not get them from one client. */
static void jobs_in_hand_are_shared_too(void **state)
{
	struct vgpu_uapi *greedy = client_with_queues(64, 4), *polite = client_with_queues(8, 16);
	uint32_t jobs[2];

	(void)state;
	run_jobs(16, SHARERS, jobs, 2);
	assert_in_range(jobs[0], 7, 9);
	assert_in_range(jobs[1], 7, 9);
	rig_client_close(greedy);
	rig_client_close(polite);
}

static void *sleep_for_work(void *arg)
{
	struct vb_ioc_fetch *req = arg;

	*req = (struct vb_ioc_fetch){ .size = sizeof(*req) };
	return (void *)(intptr_t)vgpu_uapi_call(x.node, VB_IOC_FETCH, req);
}

/* Whoever comes later finds room, and who sleeps for work gets more when one has ended. */
static void no_client_has_all_of_the_executors_hands(void **state)
{
	struct vgpu_uapi *greedy = client_with_queues(64, 1), *polite;
	struct vb_ioc_fetch req[SHARERS], next, more;
	pthread_t sleeper;
	uint32_t n = 0;
	void *rc;

	(void)state;
	while (n < SHARERS && !rig_fetch(&x, &req[n]))
		n++;
	assert_int_equal(n, SHARERS);
	assert_rc(rig_fetch(&x, &next), -EAGAIN);
	polite = client_with_queues(1, 1);
	assert_rc(rig_fetch(&x, &next), 0);
	assert_int_not_equal(next.out_client, req[0].out_client);
	assert_rc(rig_commit(&x, next.out_tag, 0), 0);
	assert_rc(rig_fetch(&x, &next), -EAGAIN);
	assert_int_equal(pthread_create(&sleeper, NULL, sleep_for_work, &more), 0);
	usleep(50000);
	assert_rc(rig_commit(&x, req[0].out_tag, 0), 0);
	assert_int_equal(pthread_join(sleeper, &rc), 0);
	assert_rc((int)(intptr_t)rc, 0);
	assert_int_equal(more.out_client, req[0].out_client);
	assert_rc(rig_fetch(&x, &next), -EAGAIN);
	rig_client_close(greedy);
	rig_client_close(polite);
}

static void no_client_of_sixteen_gets_less_than_half_its_share(void **state)
{
	struct vgpu_uapi *c[SHARERS];
	uint32_t jobs[SHARERS];

	(void)state;
	for (uint32_t i = 0; i < SHARERS; i++)
		c[i] = client_with_queues(1 + i, 40 / (1 + i) + 1);
	run_jobs(20 * SHARERS, 1, jobs, SHARERS);
	for (uint32_t i = 0; i < SHARERS; i++)
		assert_in_range(jobs[i], 10, 40);
	for (uint32_t i = 0; i < SHARERS; i++)
		rig_client_close(c[i]);
}

/* ---- of submissions ---- */

static void busy_time_is_clamped_to_the_wall(void **state)
{
	struct vb_ioc_wait w = { .size = sizeof(w), .seqno = 1 };
	struct vb_ioc_commit c = { .size = sizeof(c), .generation = x.generation,
				   .busy_ns = ~0ull };
	uint64_t counters[VB_COUNT_COUNT], before = rig_now();
	struct vb_ioc_stats stats = { .size = sizeof(stats), .count = VB_COUNT_COUNT,
				      .address = (uintptr_t)counters };

	(void)state;
	assert_rc(rig_queue(u, 0, &w.queue_id), 0);
	submit_nop(w.queue_id);
	c.tag = fetch_submission(NULL);
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_COMMIT, &c), 0);
	assert_rc(vgpu_uapi_call(u, VB_IOC_WAIT, &w), 0);
	assert_in_range(w.out_busy_ns, 1, rig_now() - before);
	assert_rc(vgpu_uapi_call(u, VB_IOC_STATS, &stats), 0);
	assert_int_equal(counters[VB_COUNT_BUSY_NS], w.out_busy_ns);
	assert_int_equal(counters[VB_COUNT_SUBMITS], 1);
}

static void page_ins_do_not_starve_submissions(void **state)
{
	struct vb_ioc_fetch req;
	uint32_t q, bo, seen = 0;

	(void)state;
	assert_rc(rig_queue(u, 0, &q), 0);
	assert_rc(rig_bo(u, 1, VB_LIFE_VOLATILE, &bo), 0);
	for (int i = 0; i < 100; i++)
		assert_rc(rig_advise(u, bo, VB_ADVISE_PREFETCH, 0, 1), 0);
	submit_nop(q);
	for (int i = 0; i < 20; i++) {
		assert_rc(rig_fetch(&x, &req), 0);
		seen += req.out_type == VB_FETCH_SUBMIT;
		assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	}
	assert_int_equal(seen, 1);
}

/* Whoever asks for much has others served between two requests of his. */
static void clients_that_ask_for_page_ins_take_turns(void **state)
{
	struct vgpu_uapi *other = rig_client(&rig);
	struct vb_ioc_fetch req;
	uint32_t first = 0, last = 0, bo[2];

	(void)state;
	assert_rc(rig_bo(u, 1, VB_LIFE_VOLATILE, &bo[0]), 0);
	assert_rc(rig_bo(other, 1, VB_LIFE_VOLATILE, &bo[1]), 0);
	for (int i = 0; i < 30; i++)
		assert_rc(rig_advise(u, bo[0], VB_ADVISE_PREFETCH, 0, 1), 0);
	for (int i = 0; i < 5; i++)
		assert_rc(rig_advise(other, bo[1], VB_ADVISE_PREFETCH, 0, 1), 0);
	for (int i = 0; i < 35; i++) {
		assert_rc(rig_fetch(&x, &req), 0);
		assert_int_equal(req.out_type, VB_FETCH_PAGE_IN);
		first = i ? first : req.out_client;
		if (i < 10)
			assert_int_not_equal(req.out_client, last);
		else
			assert_int_equal(req.out_client, first);
		last = req.out_client;
		assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	}
	rig_client_close(other);
}

/* Executor time is executor time, whatever for. */
static void page_ins_of_who_had_more_wait_for_submissions(void **state)
{
	struct vgpu_uapi *other = rig_client(&rig);
	struct vb_ioc_commit c = { .size = sizeof(c), .generation = x.generation,
				   .busy_ns = 50000000 };
	struct vb_ioc_fetch req;
	uint32_t q, bo;

	(void)state;
	assert_rc(rig_queue(other, 0, &q), 0);
	assert_rc(rig_bo(u, 1, VB_LIFE_VOLATILE, &bo), 0);
	for (int i = 0; i < 2; i++)
		assert_rc(rig_advise(u, bo, VB_ADVISE_PREFETCH, 0, 1), 0);
	assert_rc(rig_fetch(&x, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_PAGE_IN);
	c.tag = req.out_tag;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_COMMIT, &c), 0);
	submit_nop_of(other, q);
	assert_rc(rig_fetch(&x, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_SUBMIT);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	assert_rc(rig_fetch(&x, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_PAGE_IN);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	rig_client_close(other);
}

static void urgent_fetch_gets_anything_but_submissions(void **state)
{
	struct vb_ioc_fetch req = { .size = sizeof(req) };
	uint32_t q, bo;

	(void)state;
	assert_rc(rig_queue(u, 0, &q), 0);
	assert_rc(rig_bo(u, 1, VB_LIFE_VOLATILE, &bo), 0);
	submit_nop(q);
	req.flags = VB_FETCH_F_NOWAIT | VB_FETCH_F_URGENT;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_FETCH, &req), -EAGAIN);
	assert_rc(rig_advise(u, bo, VB_ADVISE_PREFETCH, 0, 1), 0);
	req.flags = VB_FETCH_F_NOWAIT | VB_FETCH_F_URGENT;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_FETCH, &req), 0);
	assert_int_equal(req.out_type, VB_FETCH_PAGE_IN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BY_HAND(queues_share_time_by_weight),
		BY_HAND(many_queues_are_no_larger_share),
		BY_HAND(clients_share_time_by_their_weights),
		BY_HAND(jobs_in_hand_are_shared_too),
		BY_HAND(no_client_has_all_of_the_executors_hands),
		BY_HAND(no_client_of_sixteen_gets_less_than_half_its_share),
		BY_HAND(busy_time_is_clamped_to_the_wall),
		BY_HAND(page_ins_do_not_starve_submissions),
		BY_HAND(clients_that_ask_for_page_ins_take_turns),
		BY_HAND(page_ins_of_who_had_more_wait_for_submissions),
		BY_HAND(urgent_fetch_gets_anything_but_submissions),
	};

	return SELFTEST_RUN("share", tests, RIG_NONE, 0, 0) ? 1 : 0;
}
