// SPDX-License-Identifier: MIT
/* A recorded run through the public header: its misses, and those of other policies. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "vgpu.h"

#define CHUNK	(64u << 10)
#define CHUNKS	64u
#define PASSES	4u

/* Read a file of 64 chunks in a cycle through a tier of 20 slots, 8 of them staging. */
static void record(const char *trace)
{
	struct vgpu_config c = { .size = sizeof(c), .chunk_bytes = CHUNK,
				 .host_bytes = 20 * CHUNK, .staging_bytes = 8 * CHUNK,
				 .threads = 1, .policy = "schedule", .trace_path = trace };
	struct vgpu_bo *bo, *x, *y;
	struct vgpu_cmdbuf *cb;
	struct vgpu_queue *q;
	struct vgpu_use use;
	struct vgpu *v;
	char path[] = "/var/tmp/vgpu-recording-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, CHUNKS * CHUNK), 0);
	assert_int_equal(vgpu_open_embedded(&c, &v), 0);
	assert_int_equal(vgpu_bo_create_file(v, fd, 0, 0, &bo), 0);
	assert_int_equal(vgpu_bo_create(v, 1024, VGPU_LIFE_VOLATILE, &x), 0);
	assert_int_equal(vgpu_bo_create(v, CHUNKS * 64 * 4, VGPU_LIFE_VOLATILE, &y), 0);
	use = (struct vgpu_use){ bo, 0, CHUNKS * CHUNK };
	assert_int_equal(vgpu_schedule(v, &use, 1, true), 0);
	assert_int_equal(vgpu_queue_create(v, 0, &q), 0);
	assert_int_equal(vgpu_cmdbuf_create(v, &cb), 0);
	assert_int_equal(vgpu_cmd_matmul(cb, &(struct vgpu_matmul){
		.x = vgpu_matrix(x, 0, VGPU_FORMAT_F32, 1, 256),
		.w = vgpu_matrix(bo, 0, VGPU_FORMAT_F32, CHUNKS * 64, 256),
		.y = vgpu_matrix(y, 0, VGPU_FORMAT_F32, 1, CHUNKS * 64) }), 0);
	for (uint32_t i = 0; i < PASSES; i++)
		assert_int_equal(vgpu_finish(q, cb), 0);
	vgpu_cmdbuf_destroy(cb);
	vgpu_queue_destroy(q);
	vgpu_bo_destroy(y);
	vgpu_bo_destroy(x);
	vgpu_bo_destroy(bo);
	vgpu_close(v);
	close(fd);
	unlink(path);
}

static void recording_compares_the_run_with_the_optimum(void **state)
{
	char trace[] = "/var/tmp/vgpu-trace-XXXXXX";
	struct vgpu_recording_info info;
	struct vgpu_replay ours, best, lru, more;
	struct vgpu_recording *r;

	(void)state;
	close(mkstemp(trace));
	record(trace);
	assert_int_equal(vgpu_recording_open(trace, &r), 0);
	vgpu_recording_info(r, &info);
	assert_int_equal(info.chunk_bytes, CHUNK);
	assert_int_equal(info.capacity, 12);
	assert_int_equal(info.staging, 8);
	assert_string_equal(info.policy, "schedule");
	assert_true(info.uses >= PASSES * CHUNKS);
	assert_int_equal(vgpu_recording_replay(r, NULL, 0, 0, &ours), 0);
	assert_int_equal(vgpu_recording_replay(r, "optimum", 0, 0, &best), 0);
	assert_int_equal(vgpu_recording_replay(r, "lru", 0, 0, &lru), 0);
	assert_int_equal(vgpu_recording_replay(r, "lru", 200, 0, &more), 0);
	/* The declared cycle is the optimum but for the activations, LRU hits nothing. */
	assert_in_range(ours.misses, best.misses, best.misses + best.misses / 50);
	assert_true(lru.misses >= PASSES * CHUNKS);
	assert_in_range(more.misses, CHUNKS, CHUNKS + 8);
	assert_int_equal(vgpu_recording_replay(r, NULL, 0, info.uses, &ours), 0);
	assert_int_equal(ours.later_misses, 0);
	assert_int_equal(vgpu_recording_replay(r, "none", 0, 0, &ours), -ENOENT);
	assert_string_equal(vgpu_error_text(), "policy \"none\" is not known");
	assert_int_equal(vgpu_recording_replay(r, "lru", 0, info.uses + 1, &ours), -ERANGE);
	vgpu_recording_close(r);
	unlink(trace);
}

static void recording_refuses_what_is_no_trace(void **state)
{
	struct vgpu_recording *r;

	(void)state;
	assert_int_equal(vgpu_recording_open("/proc/version", &r), -EBADMSG);
	assert_int_equal(vgpu_recording_open("/var/tmp/does/not/exist", &r), -ENOENT);
	assert_non_null(strstr(vgpu_error_text(), "/var/tmp/does/not/exist"));
}

static void probe_measures_or_says_why_not(void **state)
{
	struct vgpu_probe p;
	char path[] = "/var/tmp/vgpu-probe-XXXXXX";
	int fd = mkstemp(path);
	uint8_t *block = calloc(1, 1 << 20);

	(void)state;
	assert_int_equal(vgpu_probe(fd, CHUNK, 1 << 20, &p), -ENODATA);
	for (uint32_t i = 0; i < 16; i++)
		assert_int_equal(pwrite(fd, block, 1 << 20, (off_t)i << 20), 1 << 20);
	fsync(fd);
	assert_int_equal(vgpu_probe(fd, CHUNK, 16 << 20, &p), 0);
	assert_in_range(p.count, 1, VGPU_PROBE_ROWS);
	assert_true(p.best < p.count);
	for (uint32_t i = 0; i < p.count; i++)
		assert_true(p.row[i].bytes_per_second <= p.row[p.best].bytes_per_second);
	assert_true(strlen(p.reason) > 0);
	free(block);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recording_compares_the_run_with_the_optimum),
		cmocka_unit_test(recording_refuses_what_is_no_trace),
		cmocka_unit_test(probe_measures_or_says_why_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
