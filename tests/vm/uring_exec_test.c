// SPDX-License-Identifier: MIT
/*
 * Commands of the executor by io_uring: what they fetch, what they commit, what is
 * refused.  Runs in the machine of tests/vm/run.sh.
 */
#include "vm/uring_rig.h"

#include "core/share.h"

#define STARTED_MAX	VB_SHARE_STARTED_MAX	/* of one client, in the executor's hands */

/* ---- fetch, commit ---- */

static void fetch_waits_for_work_and_commit_fetches_again_on_every_kind_of_ring(void **state)
{
	struct ring of;

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		assert_rc(ring_open(&of, x.node, 8, kinds[i]), 0);
		fetch_and_commit_on(&of);
		ring_close(&of);
	}
}

static void fetch_takes_all_there_is_into_its_slots(void **state)
{
	uint32_t q[STARTED_MAX];
	uint64_t tags[STARTED_MAX];

	(void)state;
	for (uint32_t i = 0; i < STARTED_MAX; i++) {
		q[i] = new_queue();
		submit_nop(q[i]);
		submit_nop(q[i]);	/* a queue has one in the executor's hands at a time */
	}
	ring_add_fetch(&r, 0, 100, VB_URING_SLOTS - 100, 1);
	expect(&r, 1, STARTED_MAX);
	for (uint32_t i = 0; i < STARTED_MAX; i++) {
		tags[i] = ring_slot(slots, 100 + i)->out_tag;
		assert_int_equal(ring_slot(slots, 100 + i)->size, sizeof(struct vb_ioc_fetch));
		for (uint32_t j = 0; j < i; j++)
			assert_int_not_equal(tags[i], tags[j]);
		ring_add_commit(&r, x.generation, tags[i], 0, i, 1, 2 + i);
	}
	/* One call commits all; each makes one more ready, which one fetch or another takes. */
	for (uint32_t i = 0; i < STARTED_MAX; i++) {
		struct ring_answer a;

		assert_rc(ring_next(&r, 5000, &a), 0);
		assert_int_equal(a.res, 1);
		assert_rc(rig_wait(u, q[i], 1, 1000), 0);
	}
	for (uint32_t i = 0; i < STARTED_MAX; i++)
		assert_rc(rig_commit(&x, ring_slot(slots, i)->out_tag, 0), 0);
}

static void fetch_with_nowait_says_that_there_is_nothing(void **state)
{
	uint32_t q = new_queue();

	(void)state;
	ring_add_fetch(&r, VB_FETCH_F_NOWAIT, 0, 1, 1);
	expect(&r, 1, 0);
	submit_nop(q);
	ring_add_fetch(&r, VB_FETCH_F_NOWAIT, 0, 1, 2);
	expect(&r, 2, 1);
	ring_add_fetch(&r, VB_FETCH_F_NOWAIT, 1, 1, 3);
	expect(&r, 3, 0);
}

static void disarmed_fetches_end_and_the_others_wait_on(void **state)
{
	struct vb_uring_fetch f = { .first = 4, .count = 4 };

	(void)state;
	for (uint32_t i = 0; i < 16; i++)
		ring_add_fetch(&r, 0, i, 1, i);
	expect_nothing(&r);
	ring_add(&r, VB_URING_DISARM, &f, sizeof(f), 100);
	expect(&r, 100, 4);
	for (int i = 0; i < 4; i++) {
		struct ring_answer a;

		assert_rc(ring_next(&r, 1000, &a), 0);
		assert_int_equal(a.res, -ECANCELED);
		assert_in_range(a.id, 4, 7);
	}
	expect_nothing(&r);
	submit_nop(new_queue());
	expect(&r, 0, 1);
	f.flags = VB_FETCH_F_URGENT;
	assert_rc(ring_call(&r, VB_URING_DISARM, &f, sizeof(f)), -EINVAL);
	f = (struct vb_uring_fetch){ .first = VB_URING_SLOTS - 1, .count = 2 };
	assert_rc(ring_call(&r, VB_URING_DISARM, &f, sizeof(f)), -EINVAL);
	f = (struct vb_uring_fetch){ .count = VB_URING_SLOTS };
	ring_add(&r, VB_URING_DISARM, &f, sizeof(f), 101);
	expect(&r, 101, 11);
}

static void urgent_fetch_leaves_submissions_to_others(void **state)
{
	uint32_t q = new_queue(), bo;

	(void)state;
	ring_add_fetch(&r, VB_FETCH_F_URGENT, 0, 4, 1);
	ring_submit(&r);
	submit_nop(q);
	expect_nothing(&r);
	ring_add_fetch(&r, 0, 4, 4, 2);
	expect(&r, 2, 1);
	assert_int_equal(ring_slot(slots, 4)->out_type, VB_FETCH_SUBMIT);
	assert_rc(rig_bo(u, rig.chunk_bytes, VB_LIFE_VOLATILE, &bo), 0);
	assert_rc(rig_advise(u, bo, VB_ADVISE_PREFETCH, 0, 1), 0);
	expect(&r, 1, 1);
	assert_int_equal(ring_slot(slots, 0)->out_type, VB_FETCH_PAGE_IN);
}

static void *advise_pin(void *arg)
{
	return (void *)(intptr_t)rig_advise(u, *(uint32_t *)arg, VB_ADVISE_PIN, 0, 1);
}

/* Its waiter is answered before the commit is; that takes a worker, who may sleep. */
static void commit_of_a_page_in_answers_its_waiter(void **state)
{
	const struct vb_ioc_fetch *req = ring_slot(slots, 0);
	pthread_t thread;
	uint32_t bo;
	void *rc;

	(void)state;
	assert_rc(rig_bo(u, rig.chunk_bytes, VB_LIFE_VOLATILE, &bo), 0);
	ring_add_fetch(&r, 0, 0, 1, 1);
	ring_submit(&r);
	assert_int_equal(pthread_create(&thread, NULL, advise_pin, &bo), 0);
	expect(&r, 1, 1);
	assert_int_equal(req->out_type, VB_FETCH_PAGE_IN);
	assert_rc(rig_step(&x, req->out_object, 0, VB_MOVE_BEGIN, VB_TIER_ZERO, VB_TIER_HOST), 0);
	memset(x.memory, 0, rig.chunk_bytes);
	assert_rc(rig_step(&x, req->out_object, 0, VB_MOVE_COMMIT, VB_TIER_ZERO, VB_TIER_HOST), 0);
	ring_add_commit(&r, x.generation, req->out_tag, 0, 1, 1, 2);
	expect(&r, 2, -EINVAL);
	ring_add_commit(&r, x.generation, req->out_tag, 0, 1, 1, 2)->flags |= IOSQE_ASYNC;
	ring_submit(&r);
	pthread_join(thread, &rc);
	assert_int_equal((intptr_t)rc, 0);
	/* The fetch behind the commit waits on, and works. */
	submit_nop(new_queue());
	expect(&r, 2, 1);
	assert_int_equal(ring_slot(slots, 1)->out_type, VB_FETCH_SUBMIT);
}

/* Who waits is told when its ring enters the kernel to wait, and no sooner. */
static void open_deferred(struct ring *of)
{
	assert_rc(ring_open(of, x.node, 8, kinds[2]), 0);
}

static void ask_ahead(void)
{
	uint32_t bo;

	assert_rc(rig_bo(u, rig.chunk_bytes, VB_LIFE_VOLATILE, &bo), 0);
	assert_rc(rig_advise(u, bo, VB_ADVISE_PREFETCH, 0, 1), 0);
}

/* The first is woken for the submission and takes the request that came after it. */
static void what_a_woken_fetch_did_not_take_wakes_another(void **state)
{
	struct ring first, urgent;

	(void)state;
	open_deferred(&first);
	open_deferred(&urgent);
	ring_add_fetch(&first, 0, 0, 1, 1);
	expect_nothing(&first);
	ring_add_fetch(&urgent, VB_FETCH_F_URGENT, 1, 1, 2);
	expect_nothing(&urgent);
	ring_add_fetch(&r, 0, 2, 1, 3);
	expect_nothing(&r);
	submit_nop(new_queue());
	ask_ahead();
	expect(&first, 1, 1);
	assert_int_equal(ring_slot(slots, 0)->out_type, VB_FETCH_PAGE_IN);
	expect_nothing(&urgent);
	expect(&r, 3, 1);
	assert_int_equal(ring_slot(slots, 2)->out_type, VB_FETCH_SUBMIT);
	ring_close(&first);
	assert_rc(ring_disarm(&urgent, 1, 1), 0);
	ring_close(&urgent);
}

/* Whoever is left may take requests alone, and it is one that was left to him. */
static void what_a_closed_ring_was_woken_for_wakes_another(void **state)
{
	struct ring first;

	(void)state;
	needs_deferred_close();
	open_deferred(&first);
	ring_add_fetch(&first, 0, 0, 1, 1);
	expect_nothing(&first);
	ring_add_fetch(&r, VB_FETCH_F_URGENT, 1, 1, 2);
	expect_nothing(&r);
	ask_ahead();
	ring_close(&first);
	expect(&r, 2, 1);
	assert_int_equal(ring_slot(slots, 1)->out_type, VB_FETCH_PAGE_IN);
}

static int fetch_raw(struct ring *of, uint32_t flags, uint32_t first, uint32_t count,
		     uint32_t reserved)
{
	struct vb_uring_fetch f = { flags, first, count, reserved };

	return ring_call(of, VB_URING_FETCH, &f, sizeof(f));
}

static void fetches_are_checked(void **state)
{
	struct vb_uring_wait w = { .queue_id = new_queue(), .seqno = 1 };

	(void)state;
	assert_rc(fetch_raw(&r, VB_FETCH_F_NOWAIT, 0, VB_URING_SLOTS, 0), 0);
	assert_rc(fetch_raw(&r, VB_FETCH_F_NOWAIT, VB_URING_SLOTS - 1, 1, 0), 0);
	assert_rc(fetch_raw(&r, VB_FETCH_F_NOWAIT, 0, 0, 0), -EINVAL);
	assert_rc(fetch_raw(&r, VB_FETCH_F_NOWAIT, VB_URING_SLOTS, 1, 0), -EINVAL);
	assert_rc(fetch_raw(&r, VB_FETCH_F_NOWAIT, 1, VB_URING_SLOTS, 0), -EINVAL);
	assert_rc(fetch_raw(&r, VB_FETCH_F_NOWAIT, ~0u, 2, 0), -EINVAL);
	assert_rc(fetch_raw(&r, VB_FETCH_F_NOWAIT | VB_FETCH_F_ASYNC, 0, 1, 0), -EINVAL);
	assert_rc(fetch_raw(&r, VB_FETCH_F_NOWAIT, 0, 1, 1), -EINVAL);
	assert_rc(ring_call(&r, VB_URING_WAIT, &w, sizeof(w)), -ENOTTY);
	assert_rc(ring_call(&r, VB_IOC_FETCH, &w, sizeof(w)), -ENOTTY);
}

static int commit_raw(struct ring *of, uint64_t tag, struct vb_uring_commit commit)
{
	commit.tag = tag;
	return ring_call(of, VB_URING_COMMIT, &commit, sizeof(commit));
}

/* What is refused has done nothing: neither committed nor fetched. */
static void commits_are_checked_as_a_whole(void **state)
{
	struct vb_uring_commit good = { .generation = x.generation }, bad;
	uint32_t q = new_queue();
	uint64_t tag;

	(void)state;
	submit_nop(q);
	submit_nop(q);
	assert_rc(fetch_raw(&r, 0, 0, 1, 0), 1);
	tag = ring_slot(slots, 0)->out_tag;
	bad = good;
	bad.status = 1;
	assert_rc(commit_raw(&r, tag, bad), -EINVAL);
	bad = good;
	bad.__reserved = 1;
	assert_rc(commit_raw(&r, tag, bad), -EINVAL);
	bad = good;
	bad.fetch.first = 1;
	assert_rc(commit_raw(&r, tag, bad), -EINVAL);
	bad = good;
	bad.fetch.count = VB_URING_SLOTS + 1;
	assert_rc(commit_raw(&r, tag, bad), -EINVAL);
	bad = good;
	bad.generation--;
	bad.fetch.count = 1;
	assert_rc(commit_raw(&r, tag, bad), -ESTALE);
	assert_rc(commit_raw(&r, tag + 1000, good), -ENOENT);
	assert_rc(rig_wait(u, q, 1, 0), -ETIME);
	good.fetch.count = 1;
	assert_rc(commit_raw(&r, tag, good), 1);
	assert_rc(rig_wait(u, q, 1, 0), 0);
	good.fetch.count = 0;
	assert_rc(commit_raw(&r, tag, good), -ENOENT);
}

static void commit_needs_a_ring_with_large_entries(void **state)
{
	struct io_uring small;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;

	(void)state;
	assert_rc(io_uring_queue_init(4, &small, 0), 0);
	sqe = io_uring_get_sqe(&small);
	assert_non_null(sqe);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = r.fd;
	sqe->cmd_op = VB_URING_COMMIT;
	assert_int_equal(io_uring_submit_and_wait(&small, 1), 1);
	assert_int_equal(io_uring_peek_cqe(&small, &cqe), 0);
	assert_int_equal(cqe->res, -EINVAL);
	io_uring_queue_exit(&small);
}

static void without_attach_or_submit_region_nothing_is_fetched(void **state)
{
	struct vb_ioc_exec_attach attach = { .size = sizeof(attach) };
	struct vgpu_uapi *node;
	struct ring of;

	(void)state;
	exec_end();
	assert_rc(rig_exec_node(&rig, &node), 0);
	assert_rc(ring_open(&of, node, 4, 0), 0);
	assert_rc(fetch_raw(&of, VB_FETCH_F_NOWAIT, 0, 1, 0), -EPERM);
	assert_rc(vgpu_uapi_call(node, VB_IOC_EXEC_ATTACH, &attach), 0);
	assert_rc(fetch_raw(&of, VB_FETCH_F_NOWAIT, 0, 1, 0), -EINVAL);
	ring_close(&of);
	node->ops->close(node);
}

static void slots_are_not_to_be_written(void **state)
{
	void *p;

	(void)state;
	assert_rc(x.node->ops->map(x.node, VB_MMAP_FETCH, VB_MMAP_FETCH_BYTES, true, &p), -EPERM);
	assert_rc(x.node->ops->map(x.node, VB_MMAP_FETCH, 4096, false, &p), -EINVAL);
	assert_int_equal(mprotect(slots, VB_MMAP_FETCH_BYTES, PROT_READ | PROT_WRITE), -1);
}

/* ---- many threads ---- */

/* Each submission is handed to one worker, none to nobody. */
static void many_workers_and_many_queues_lose_nothing(void **state)
{
	struct worker w[5] = {
		{ .first = 0, .count = 1, .kind = kinds[2] },
		{ .first = 10, .count = 8, .kind = kinds[2] },
		{ .first = 20, .count = 8, .kind = kinds[0] },
		{ .first = 30, .count = 64, .kind = kinds[1] },
		{ .count = 0 },
	};
	uint32_t q[QUEUES];
	uint64_t n = 0, done = 0;
	pthread_t thread[5];

	(void)state;
	stop = false;
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, serve, &w[i]), 0);
	for (uint32_t i = 0; i < QUEUES; i++)
		q[i] = new_queue();
	for (int round = 0; round < 40; round++)
		for (uint32_t i = 0; i < QUEUES; i++, n++)
			submit_nop(q[i]);
	for (uint32_t i = 0; i < QUEUES; i++)
		assert_rc(rig_wait(u, q[i], 40, 20000), 0);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (uint32_t i = 0; i < 5; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(w[i].errors, 0);
		done += w[i].done;
	}
	assert_int_equal(done, n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EXECUTOR(fetch_waits_for_work_and_commit_fetches_again_on_every_kind_of_ring),
		EXECUTOR(fetch_takes_all_there_is_into_its_slots),
		EXECUTOR(fetch_with_nowait_says_that_there_is_nothing),
		EXECUTOR(urgent_fetch_leaves_submissions_to_others),
		EXECUTOR(what_a_woken_fetch_did_not_take_wakes_another),
		EXECUTOR(what_a_closed_ring_was_woken_for_wakes_another),
		EXECUTOR(disarmed_fetches_end_and_the_others_wait_on),
		EXECUTOR(commit_of_a_page_in_answers_its_waiter),
		EXECUTOR(fetches_are_checked),
		EXECUTOR(commits_are_checked_as_a_whole),
		EXECUTOR(commit_needs_a_ring_with_large_entries),
		EXECUTOR(without_attach_or_submit_region_nothing_is_fetched),
		EXECUTOR(slots_are_not_to_be_written),
		EXECUTOR(many_workers_and_many_queues_lose_nothing),
	};

	if (!selftest_has_module("uring, executor"))
		return 0;
	return SELFTEST_RUN("uring, executor", tests, RIG_NONE, 0, 0) ? 1 : 0;
}
