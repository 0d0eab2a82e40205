// SPDX-License-Identifier: MIT
/* Requests that do not come back in time, or not at all. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "common/io_rig.h"

/* Nothing comes by itself so late: time passes when a test says so. */
#define TIMEOUT_S	60

static struct irig_bench open_slow(const char *inner, uint32_t depth)
{
	return irig_bench_open((struct vgpu_io_params){ .inner = inner, .depth = depth,
							.timeout_ms = TIMEOUT_S * 1000 });
}

static void let_pass(struct irig_bench *b, int64_t seconds)
{
	assert_int_equal(vgpu_io_test_advance(b->io, (uint64_t)(seconds * SECOND_NS)), 0);
}

static void io_delayed_request_comes_late_and_says_so(void **state)
{
	struct irig_bench b = open_slow(*state, 0);
	struct vgpu_io_req *done, *overdue = NULL;

	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_NEVER });
	irig_bench_submit(&b, 1);
	let_pass(&b, TIMEOUT_S - 1 - 20);
	assert_int_equal(vgpu_io_overdue(b.io, &overdue, 1), 0);
	let_pass(&b, 1 + 20);
	assert_int_equal(vgpu_io_reap(b.io, 1, 1, 0, &done), 0);
	assert_int_equal(vgpu_io_overdue(b.io, &overdue, 1), 1);
	assert_ptr_equal(overdue, &b.reqs[0]);
	assert_int_equal(vgpu_io_test_release(b.io), 0);
	assert_int_equal(vgpu_io_reap(b.io, 1, 1, 20 * SECOND_NS, &done), 1);
	assert_true(done->late);
	assert_int_equal(done->result, 0);
	assert_int_equal(vgpu_io_overdue(b.io, &overdue, 1), 0);
	assert_int_equal(irig_stats(b.io).timeouts, 1);
	irig_bench_close(&b);
}

static void io_request_is_not_handed_back_while_its_buffer_may_be_written(void **state)
{
	struct irig_bench b = open_slow(*state, 0);
	struct vgpu_io_req *done, *overdue;

	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_NEVER, .count = 1 });
	irig_bench_submit(&b, 2);
	assert_int_equal(vgpu_io_reap(b.io, 1, 2, 20 * SECOND_NS, &done), 1);
	assert_ptr_equal(done, &b.reqs[1]);
	assert_false(done->late);
	let_pass(&b, TIMEOUT_S);
	assert_int_equal(vgpu_io_reap(b.io, 1, 1, 0, &done), 0);
	vgpu_io_cancel(b.io, &b.reqs[0]);
	assert_int_equal(vgpu_io_reap(b.io, 1, 1, 20 * MS_NS, &done), 0);
	assert_int_equal(vgpu_io_overdue(b.io, &overdue, 1), 1);
	assert_int_equal(vgpu_io_file_remove(b.io, b.file), -EBUSY);

	/* The device wakes up: the transfer really happens, and only then is the buffer ours. */
	assert_int_equal(vgpu_io_test_release(b.io), 0);
	assert_int_equal(vgpu_io_reap(b.io, 1, 1, 20 * SECOND_NS, &done), 1);
	assert_ptr_equal(done, &b.reqs[0]);
	assert_true(done->late);
	assert_memory_equal(b.buf, b.copy, 1 << 16);
	assert_int_equal(vgpu_io_file_remove(b.io, b.file), 0);
	irig_bench_close(&b);
}

/* Of nine, one after the other, somebody waits for two: they come before all but the first. */
static void io_request_in_a_hurry_is_the_next_to_start(void **state)
{
	static const int order[] = { 0, 6, 3, 1, 2, 4, 5, 7, 8 };
	struct irig_bench b = open_slow(*state, 1);
	struct vgpu_io_req *done;

	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_NEVER, .count = 1 });
	irig_bench_submit(&b, 9);
	vgpu_io_hurry(b.io, &b.reqs[6]);
	vgpu_io_hurry(b.io, &b.reqs[3]);
	/* Once is enough, and who has started cannot hurry. */
	vgpu_io_hurry(b.io, &b.reqs[6]);
	vgpu_io_hurry(b.io, &b.reqs[0]);
	assert_int_equal(irig_stats(b.io).queued, 8);
	assert_int_equal(vgpu_io_test_release(b.io), 0);
	for (int i = 0; i < 9; i++) {
		assert_int_equal(vgpu_io_reap(b.io, 1, 1, 20 * SECOND_NS, &done), 1);
		assert_ptr_equal(done, &b.reqs[order[i]]);
		assert_int_equal(done->result, 0);
	}
	irig_bench_close(&b);
}

/* It waits no longer for that than those that it overtook. */
static void io_request_in_a_hurry_expires_with_the_others(void **state)
{
	struct irig_bench b = open_slow(*state, 1);
	struct vgpu_io_req *done;

	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_NEVER });
	irig_bench_submit(&b, 2);
	let_pass(&b, TIMEOUT_S / 2);
	vgpu_io_submit(b.io, &b.reqs[2]);
	vgpu_io_hurry(b.io, &b.reqs[2]);
	let_pass(&b, TIMEOUT_S / 2);
	assert_int_equal(vgpu_io_reap(b.io, 2, 2, 0, &done), 2);
	assert_ptr_equal(done, &b.reqs[2]);
	assert_int_equal(done->result, -ETIMEDOUT);
	assert_ptr_equal(done->next, &b.reqs[1]);
	assert_int_equal(vgpu_io_test_release(b.io), 0);
	assert_int_equal(vgpu_io_reap(b.io, 1, 1, 20 * SECOND_NS, &done), 1);
	irig_bench_close(&b);
}

static void io_queue_behind_a_dead_device_expires_untouched(void **state)
{
	struct irig_bench b = open_slow(*state, 2);
	struct vgpu_io_req *done;
	int i;

	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_NEVER });
	irig_bench_submit(&b, 16);
	let_pass(&b, TIMEOUT_S - 1 - 20);
	assert_int_equal(vgpu_io_reap(b.io, 0, 16, 0, &done), 0);
	let_pass(&b, 1 + 20);
	assert_int_equal(vgpu_io_reap(b.io, 14, 16, 20 * SECOND_NS, &done), 14);
	for (; done; done = done->next) {
		assert_int_equal(done->result, -ETIMEDOUT);
		assert_int_equal(done->done_bytes, 0);
		assert_true(done->late);
	}
	for (i = 2 << 16; i < 1 << 20; i++)
		assert_int_equal(b.buf[i], 0);
	assert_int_equal(irig_stats(b.io).overdue, 2);
	vgpu_io_test_release(b.io);
	assert_int_equal(vgpu_io_reap(b.io, 2, 2, 20 * SECOND_NS, &done), 2);
	irig_bench_close(&b);
}

/* Each takes most of a deadline, one after the other: far more in all than one has. */
static void io_long_queue_on_a_slow_device_does_not_expire(void **state)
{
	struct irig_bench b = open_slow(*state, 1);
	struct vgpu_io_req *done;

	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_NEVER });
	irig_bench_submit(&b, 16);
	for (int i = 0; i < 16; i++) {
		let_pass(&b, TIMEOUT_S / 2);
		assert_int_equal(vgpu_io_test_release(b.io), 0);
		assert_int_equal(vgpu_io_reap(b.io, 1, 16, 20 * SECOND_NS, &done), 1);
		assert_ptr_equal(done, &b.reqs[i]);
		assert_int_equal(done->result, 0);
		assert_false(done->late);
	}
	irig_bench_close(&b);
}

static void io_time_is_let_pass_for_a_test_engine_alone(void **state)
{
	struct vgpu_io *io = irig_open((struct vgpu_io_params){ .engine = *state });

	assert_int_equal(vgpu_io_test_advance(io, 1), -EINVAL);
	assert_int_equal(vgpu_io_close(io), 0);
}

static void io_cancelled_before_its_turn_is_ecanceled(void **state)
{
	struct irig_bench b = irig_bench_open((struct vgpu_io_params){ .inner = *state, .depth = 1 });
	struct vgpu_io_req *done;
	int i;

	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_DELAY, .delay_ns = 20 * MS_NS });
	irig_bench_submit(&b, 3);
	vgpu_io_cancel(b.io, &b.reqs[1]);
	assert_int_equal(vgpu_io_reap(b.io, 3, 3, 20 * SECOND_NS, &done), 3);
	for (i = 0; i < 3; i++)
		assert_int_equal(b.reqs[i].result, i == 1 ? -ECANCELED : 0);
	vgpu_io_cancel(b.io, &b.reqs[2]);
	irig_bench_close(&b);
}

static void io_close_counts_what_it_has_to_abandon(void **state)
{
	struct irig_bench b = irig_bench_open((struct vgpu_io_params){ .inner = *state, .depth = 16,
								       .timeout_ms = 20 });
	struct vgpu_io_req *done;

	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_NEVER, .count = 3 });
	irig_bench_submit(&b, 16);
	/* All others are back: closing waits its 20 ms for those that never come. */
	assert_int_equal(vgpu_io_reap(b.io, 13, 16, 20 * SECOND_NS, &done), 13);
	assert_int_equal(vgpu_io_close(b.io), 3);
	munmap(b.copy, 1 << 20);
	munmap(b.buf, 1 << 20);
}

static const struct engine_test tests[] = {
	ENGINE_TEST(io_delayed_request_comes_late_and_says_so),
	ENGINE_TEST(io_request_is_not_handed_back_while_its_buffer_may_be_written),
	ENGINE_TEST(io_request_in_a_hurry_is_the_next_to_start),
	ENGINE_TEST(io_request_in_a_hurry_expires_with_the_others),
	ENGINE_TEST(io_queue_behind_a_dead_device_expires_untouched),
	ENGINE_TEST(io_long_queue_on_a_slow_device_does_not_expire),
	ENGINE_TEST(io_time_is_let_pass_for_a_test_engine_alone),
	ENGINE_TEST(io_cancelled_before_its_turn_is_ecanceled),
	ENGINE_TEST(io_close_counts_what_it_has_to_abandon),
};

int main(void)
{
	return IRIG_MAIN("io_deadline", tests, irig_inner_engines);
}
