// SPDX-License-Identifier: MIT
/* What goes wrong with a transfer, injected into every I/O engine. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/io_rig.h"
#include "exec/crc32c.h"

static void io_error_reaches_the_request_that_hit_it_and_no_other(void **state)
{
	struct irig_bench b = irig_bench_open((struct vgpu_io_params){ .inner = *state });
	struct vgpu_io_req *done;
	int i;

	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -EIO,
					   .first = 5 << 16, .last = (5 << 16) + 4095 });
	irig_bench_submit(&b, 16);
	assert_int_equal(vgpu_io_reap(b.io, 16, 16, 20 * SECOND_NS, &done), 16);
	for (i = 0; i < 16; i++) {
		assert_int_equal(b.reqs[i].result, i == 5 ? -EIO : 0);
		assert_int_equal(b.reqs[i].done_bytes, i == 5 ? 0 : 1 << 16);
	}
	assert_int_equal(irig_stats(b.io).errors, 1);
	assert_int_equal(vgpu_io_test_hits(b.io), 1);
	irig_bench_close(&b);
}

static void io_error_in_the_middle_tells_how_far_it_came(void **state)
{
	struct irig_bench b = irig_bench_open((struct vgpu_io_params){ .inner = *state });

	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_SHORT, .bytes = 8192, .count = 1 });
	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -EIO });
	assert_int_equal(irig_run(b.io, &b.reqs[0]), -EIO);
	assert_int_equal(b.reqs[0].done_bytes, 8192);
	assert_memory_equal(b.buf, b.copy, 8192);
	irig_bench_close(&b);
}

static void io_full_disk_is_enospc(void **state)
{
	struct irig_bench b = irig_bench_open((struct vgpu_io_params){ .inner = *state });

	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -ENOSPC,
					   .writes = true });
	b.reqs[0].flags = VGPU_IO_WRITE;
	assert_int_equal(irig_run(b.io, &b.reqs[0]), -ENOSPC);
	assert_int_equal(b.reqs[0].done_bytes, 0);
	assert_int_equal(irig_run(b.io, &b.reqs[1]), 0);
	irig_bench_close(&b);
}

static void io_short_transfers_are_continued(void **state)
{
	struct irig_bench b = irig_bench_open((struct vgpu_io_params){ .inner = *state, .seed = 3 });
	struct vgpu_io_req *done;
	int i;

	/* 5000 bytes: not a multiple of anything that O_DIRECT likes. */
	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_SHORT, .bytes = 5000, .one_in = 2 });
	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_SHORT, .bytes = 20480,
					   .one_in = 2, .writes = true });
	for (i = 8; i < 16; i++) {
		b.reqs[i].flags = VGPU_IO_WRITE;
		memcpy(b.reqs[i].buf, b.copy + (i << 16), 1 << 16);
	}
	irig_bench_submit(&b, 16);
	assert_int_equal(vgpu_io_reap(b.io, 16, 16, 20 * SECOND_NS, &done), 16);
	for (; done; done = done->next) {
		assert_int_equal(done->result, 0);
		assert_int_equal(done->done_bytes, 1 << 16);
	}
	assert_memory_equal(b.buf, b.copy, 1 << 20);
	assert_true(irig_stats(b.io).short_transfers > 8);
	vgpu_io_test_clear(b.io);
	memset(b.buf, 0, 1 << 20);
	for (i = 0; i < 16; i++)
		b.reqs[i].flags = 0;
	irig_bench_submit(&b, 16);
	assert_int_equal(vgpu_io_reap(b.io, 16, 16, 20 * SECOND_NS, &done), 16);
	assert_memory_equal(b.buf, b.copy, 1 << 20);
	irig_bench_close(&b);
}

static void io_device_that_moves_nothing_is_eio_not_a_loop(void **state)
{
	struct irig_bench b = irig_bench_open((struct vgpu_io_params){ .inner = *state });

	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_SHORT, .bytes = 0, .writes = true });
	b.reqs[0].flags = VGPU_IO_WRITE;
	assert_int_equal(irig_run(b.io, &b.reqs[0]), -EIO);
	irig_bench_close(&b);
}

static void io_file_that_ends_early_says_where(void **state)
{
	struct irig_bench b = irig_bench_open((struct vgpu_io_params){ .inner = *state });

	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_SHORT, .bytes = 12288, .count = 1 });
	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_SHORT, .bytes = 0 });
	assert_int_equal(irig_run(b.io, &b.reqs[0]), 0);
	assert_int_equal(b.reqs[0].done_bytes, 12288);
	irig_bench_close(&b);
}

/* What a file behind FUSE may answer while the answer to another read is short. */
static void io_read_that_returns_nothing_once_goes_on(void **state)
{
	struct irig_bench b = irig_bench_open((struct vgpu_io_params){ .inner = *state });

	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_SHORT, .bytes = 12288, .count = 1 });
	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_SHORT, .bytes = 0, .count = 3 });
	assert_int_equal(irig_run(b.io, &b.reqs[0]), 0);
	assert_int_equal(b.reqs[0].done_bytes, b.reqs[0].bytes);
	assert_memory_equal(b.buf, b.copy, b.reqs[0].bytes);
	irig_bench_close(&b);
}

static void io_interruptions_are_retried_but_not_for_ever(void **state)
{
	struct irig_bench b = irig_bench_open((struct vgpu_io_params){ .inner = *state });

	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -EINTR, .count = 3 });
	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -EAGAIN, .count = 3 });
	assert_int_equal(irig_run(b.io, &b.reqs[0]), 0);
	assert_memory_equal(b.buf, b.copy, 1 << 16);
	assert_int_equal(irig_stats(b.io).retries, 6);
	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -EAGAIN });
	assert_int_equal(irig_run(b.io, &b.reqs[1]), -EAGAIN);
	irig_bench_close(&b);
}

/* As at the limit of a memory cgroup, where io_uring gets no thread that could wait. */
static void io_cancelled_by_the_kernel_is_retried_and_then_eio(void **state)
{
	struct irig_bench b = irig_bench_open((struct vgpu_io_params){ .inner = *state });

	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -ECANCELED,
						.count = 3 });
	assert_int_equal(irig_run(b.io, &b.reqs[0]), 0);
	assert_memory_equal(b.buf, b.copy, 1 << 16);
	assert_int_equal(irig_stats(b.io).retries, 3);
	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -ECANCELED });
	assert_int_equal(irig_run(b.io, &b.reqs[1]), -EIO);
	irig_bench_close(&b);
}

static void io_flipped_bit_is_seen_by_the_checksum(void **state)
{
	struct irig_bench b = irig_bench_open((struct vgpu_io_params){ .inner = *state, .seed = 9 });
	uint32_t crc = vgpu_crc32c(0, b.copy, 1 << 16), bits = 0, i;

	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_FLIP, .count = 1 });
	assert_int_equal(irig_run(b.io, &b.reqs[0]), 0);
	assert_int_not_equal(vgpu_crc32c(0, b.buf, 1 << 16), crc);
	for (i = 0; i < 1 << 16; i++)
		bits += __builtin_popcount(b.buf[i] ^ b.copy[i]);
	assert_int_equal(bits, 1);
	assert_int_equal(irig_run(b.io, &b.reqs[0]), 0);
	assert_int_equal(vgpu_crc32c(0, b.buf, 1 << 16), crc);
	irig_bench_close(&b);
}

static void io_completions_may_be_reordered(void **state)
{
	struct irig_bench b = irig_bench_open((struct vgpu_io_params){ .inner = *state, .depth = 16, .seed = 5 });
	struct vgpu_io_req *done;
	uint64_t expected = 0;
	bool reordered = false;

	assert_int_equal(vgpu_io_test_reorder(b.io, 16), 0);
	irig_bench_submit(&b, 16);
	assert_int_equal(vgpu_io_reap(b.io, 16, 16, 20 * SECOND_NS, &done), 16);
	for (; done; done = done->next) {
		assert_int_equal(done->result, 0);
		reordered |= done->user != expected++;
	}
	assert_true(reordered);
	assert_memory_equal(b.buf, b.copy, 1 << 20);
	irig_bench_close(&b);
}

static uint64_t hits_with_seed(uint64_t seed, const char *inner)
{
	struct irig_bench b = irig_bench_open((struct vgpu_io_params){ .inner = inner, .seed = seed });
	struct vgpu_io_req *done;
	uint64_t pattern = 0;
	int i;

	irig_inject(&b, (struct vgpu_io_fault){ .kind = VGPU_IO_FAULT_ERROR, .error = -EIO, .one_in = 3 });
	irig_bench_submit(&b, 16);
	assert_int_equal(vgpu_io_reap(b.io, 16, 16, 20 * SECOND_NS, &done), 16);
	for (i = 0; i < 16; i++)
		pattern |= (uint64_t)(b.reqs[i].result != 0) << i;
	irig_bench_close(&b);
	return pattern;
}

static void io_same_seed_gives_the_same_faults(void **state)
{
	assert_int_equal(hits_with_seed(1, *state), hits_with_seed(1, *state));
	assert_int_not_equal(hits_with_seed(1, *state), hits_with_seed(12345, *state));
}

static const struct engine_test tests[] = {
	ENGINE_TEST(io_error_reaches_the_request_that_hit_it_and_no_other),
	ENGINE_TEST(io_error_in_the_middle_tells_how_far_it_came),
	ENGINE_TEST(io_full_disk_is_enospc),
	ENGINE_TEST(io_short_transfers_are_continued),
	ENGINE_TEST(io_device_that_moves_nothing_is_eio_not_a_loop),
	ENGINE_TEST(io_file_that_ends_early_says_where),
	ENGINE_TEST(io_read_that_returns_nothing_once_goes_on),
	ENGINE_TEST(io_interruptions_are_retried_but_not_for_ever),
	ENGINE_TEST(io_cancelled_by_the_kernel_is_retried_and_then_eio),
	ENGINE_TEST(io_flipped_bit_is_seen_by_the_checksum),
	ENGINE_TEST(io_completions_may_be_reordered),
	ENGINE_TEST(io_same_seed_gives_the_same_faults),
};

int main(void)
{
	return IRIG_MAIN("io_fault", tests, irig_inner_engines);
}
