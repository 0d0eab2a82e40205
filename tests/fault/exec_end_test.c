// SPDX-License-Identifier: MIT
/*
 * Deadlines, and queues, clients and executors that end in the middle of commands: nobody
 * hangs, and nothing is left behind.
 */
#include "fault/exec_model.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

static void slow(struct model *m)
{
	inject(m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY, .delay_ns = 5000000 });
}

static void fault_deadline_in_the_middle_of_a_command(void **state)
{
	struct vgpu_exec_params p = params(12);
	struct model m;

	(void)state;
	model_open(&m, &p);
	slow(&m);
	for (uint32_t ms = 1; ms < 40; ms += 7) {
		m.s.deadline_ns = xrig_now() + ms * 1000000ull;
		assert_int_equal(xrun(&m.r, &m.s), -ETIME);
		xrig_assert_sound(&m.r);
	}
	calm(&m);
	m.s.deadline_ns = 0;
	xrig_must_run(&m.r, &m.s);
	model_expect_right(&m);
	model_close(&m);
}

static void fault_queue_destroyed_in_the_middle_of_a_command(void **state)
{
	struct vgpu_exec_params p = params(12);
	struct model m;

	(void)state;
	model_open(&m, &p);
	slow(&m);
	m.s.flags = VB_SUBMIT_ASYNC;
	for (uint32_t ms = 0; ms < 20; ms += 4) {
		struct vb_ioc_queue_destroy d = { .size = sizeof(d) };
		uint64_t seqno;

		d.queue_id = xrig_queue(m.r.client, 0);
		assert_int_equal(xsubmit(m.r.client, d.queue_id, &m.s, &seqno), 0);
		usleep(ms * 1000);
		assert_int_equal(vgpu_uapi_call(m.r.client, VB_IOC_QUEUE_DESTROY, &d), 0);
		xrig_assert_sound(&m.r);
	}
	calm(&m);
	xrig_must_run(&m.r, &m.s);
	model_expect_right(&m);
	model_close(&m);
}

static void fault_client_closed_in_the_middle_of_a_command(void **state)
{
	struct vgpu_exec_params p = params(12);

	(void)state;
	for (uint32_t ms = 0; ms < 20; ms += 4) {
		struct vb_ioc_query_tier tier = { .size = sizeof(tier) };
		struct vgpu_uapi *other;
		uint64_t seqno;
		struct model m;

		model_open(&m, &p);
		slow(&m);
		m.s.flags = VB_SUBMIT_ASYNC;
		assert_int_equal(xsubmit(m.r.client, m.r.queue, &m.s, &seqno), 0);
		usleep(ms * 1000);
		other = xrig_client(&m.r);
		m.r.client->ops->close(m.r.client);
		m.r.client = other;
		/* Everything it had comes back. */
		for (uint32_t i = 0; i < 60000; i++) {
			assert_int_equal(vgpu_uapi_call(other, VB_IOC_QUERY_TIER, &tier), 0);
			if (!tier.out_used_bytes)
				break;
			usleep(1000);
		}
		assert_int_equal(tier.out_used_bytes, 0);
		model_close(&m);
	}
}

/* The executor leaves first: what was running ends, and nobody waits for ever. */
static void fault_executor_closed_in_the_middle_of_a_command(void **state)
{
	struct vgpu_exec_params p = params(12);

	(void)state;
	for (uint32_t ms = 0; ms < 20; ms += 4) {
		uint64_t seqno;
		struct model m;
		int rc;

		model_open(&m, &p);
		slow(&m);
		m.s.flags = VB_SUBMIT_ASYNC;
		assert_int_equal(xsubmit(m.r.client, m.r.queue, &m.s, &seqno), 0);
		usleep(ms * 1000);
		vgpu_loop_set_server(m.r.loop, NULL, NULL);
		vgpu_loop_shutdown(m.r.loop);
		vgpu_exec_close(m.r.exec);
		rc = xwait(m.r.client, m.r.queue, seqno, NULL);
		assert_true(rc == -ENODEV || rc == -ECANCELED || !rc);
		m.r.client->ops->close(m.r.client);
		vgpu_loop_put(m.r.loop);
		close(m.fd);
		free(m.w);
		free(m.x);
	}
}

/* Copies of a few elements of each chunk: a command waits for one read, others are under way. */
static void add_touches(struct model *m, struct xstream *s, uint32_t file, uint64_t at, uint64_t end)
{
	for (; at < end; at += XCHUNK) {
		struct vb_cmd_copy c = {
			.h = { VB_CMD_COPY, 0, sizeof(c) },
			.x = xvector(s, file, VB_ACCESS_READ, at, VB_FORMAT_F32, 16),
			.y = xvector(s, m->by, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 16),
		};

		xstream_add(s, &c, sizeof(c));
	}
}

/*
 * A submission that failed has announced chunks that it will never use.  They make room
 * for what another one reads ahead, at once and not when both have ended.
 */
static void fault_failed_submission_takes_its_announcements_back(void **state)
{
	enum { PASSES = 6 };
	const uint64_t far = 256 * XCHUNK, bytes = 40 * XCHUNK;
	struct vgpu_exec_params p = params(12);
	uint64_t seqno[2], before[VB_COUNT_COUNT], after[VB_COUNT_COUNT];
	int fd = xfile("", 1, far + bytes - 1);
	struct xstream fails;
	uint32_t other, queue;
	struct model m;

	(void)state;
	p.policy = "lru";
	model_open(&m, &p);
	other = xrig_file(&m.r, fd, far, bytes);
	queue = xrig_queue(m.r.client, 0);
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY, .delay_ns = 50000000,
					   .first = far, .last = far + XCHUNK - 1 });
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -EIO,
					   .first = far + XCHUNK, .last = far + 2 * XCHUNK - 1 });
	inject(&m, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY, .delay_ns = 1000000 });
	xstream_begin(&fails);
	add_touches(&m, &fails, other, 0, bytes);
	fails.flags = VB_SUBMIT_ASYNC;
	xstream_begin(&m.s);
	for (uint32_t i = 0; i < PASSES; i++)
		add_touches(&m, &m.s, m.file, 0, BYTES);
	m.s.flags = VB_SUBMIT_ASYNC;
	xrig_counters(&m.r, before);
	assert_int_equal(xsubmit(m.r.client, queue, &fails, &seqno[0]), 0);
	usleep(10000);
	assert_int_equal(xsubmit(m.r.client, m.r.queue, &m.s, &seqno[1]), 0);
	assert_int_equal(xwait(m.r.client, queue, seqno[0], NULL), -EIO);
	assert_int_equal(xwait(m.r.client, m.r.queue, seqno[1], NULL), 0);
	xrig_counters(&m.r, after);
	/* Some were used while the first one had the room; most must have been after it. */
	if (after[VB_COUNT_PREFETCH_USED] - before[VB_COUNT_PREFETCH_USED] < BYTES / XCHUNK)
		fail_msg("%llu chunks were read ahead",
			 (unsigned long long)(after[VB_COUNT_PREFETCH_USED] -
					      before[VB_COUNT_PREFETCH_USED]));
	model_close(&m);
	close(fd);
}

/*
 * Client and device are closed while page-ins run for a submission that nobody ends:
 * its objects go with the executor, and so do their moves (LeakSanitizer looks).
 */
static void fault_device_closed_with_page_ins_under_way(void **state)
{
	struct vgpu_exec_params p = params(12);

	(void)state;
	for (uint32_t i = 0; i < 4; i++) {
		uint64_t seqno;
		struct model m;

		model_open(&m, &p);
		slow(&m);
		xstream_begin(&m.s);
		add_touches(&m, &m.s, m.file, 0, BYTES);
		m.s.flags = VB_SUBMIT_ASYNC;
		assert_int_equal(xsubmit(m.r.client, m.r.queue, &m.s, &seqno), 0);
		usleep(12000);
		xrig_free(&m.r);
		close(m.fd);
		free(m.w);
		free(m.x);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fault_deadline_in_the_middle_of_a_command),
		cmocka_unit_test(fault_queue_destroyed_in_the_middle_of_a_command),
		cmocka_unit_test(fault_client_closed_in_the_middle_of_a_command),
		cmocka_unit_test(fault_executor_closed_in_the_middle_of_a_command),
		cmocka_unit_test(fault_device_closed_with_page_ins_under_way),
		cmocka_unit_test(fault_failed_submission_takes_its_announcements_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
