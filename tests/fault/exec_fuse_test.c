// SPDX-License-Identifier: MIT
/*
 * The whole library on a file system that fails: weights behind tests/fault/fuse_faulty.c,
 * streamed by matrix products through a tier half their size. An error that says so, or
 * right numbers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/each_engine.h"
#include "common/fuse_mount.h"
#include "vgpu.h"

#define CHUNK		65536u
#define SLOTS		32u
/* Matrices [N][K] of F32 behind each other: 16 chunks each. */
#define LAYERS		4u
#define N		256u
#define K		1024u
#define LAYER_BYTES	((uint64_t)N * K * 4)
#define FILE_BYTES	(LAYERS * LAYER_BYTES)

static struct fuse_mount mount_point;
static float weights[LAYERS * N * K], activations[K];
static double want[LAYERS * N];

/**
 * struct site - a device and its objects
 * @faulty: all of the mounted file
 * @sound: all of the backing file, by a way without faults
 * @x: activations
 * @y: F32 [LAYERS][N]
 */
struct site {
	struct vgpu *v;
	struct vgpu_bo *faulty, *sound, *x, *y;
	struct vgpu_queue *q;
	struct vgpu_cmdbuf *cb;
};

static struct site site;

static struct vgpu_bo *file_object(const char *path)
{
	int fd = open(path, O_RDONLY);
	struct vgpu_bo *bo;

	assert_true(fd >= 0);
	assert_int_equal(vgpu_bo_create_file(site.v, fd, 0, FILE_BYTES, &bo), 0);
	close(fd);
	return bo;
}

static void device_start(const char *engine)
{
	const struct vgpu_config config = {
		.size = sizeof(config), .chunk_bytes = CHUNK, .host_bytes = SLOTS * CHUNK,
		.io_engine = engine, .threads = 2,
	};
	int rc = vgpu_open_embedded(&config, &site.v);

	if (rc && !strcmp(engine, "uring")) {
		print_message("SKIP: engine uring is not to be had here\n");
		skip();
	}
	assert_int_equal(rc, 0);
}

/* Mount with @rules (up to NULL); @bytes: what the backing file really holds. */
static void site_open(void **state, const char *const *rules, size_t bytes)
{
	if (mount_point.why_not) {
		print_message("SKIP: %s\n", mount_point.why_not);
		skip();
	}
	assert_int_equal(fuse_mount_fill(&mount_point, weights, bytes), 0);
	assert_int_equal(fuse_mount_start(&mount_point, rules), 0);
	device_start(*state);
	site.faulty = file_object(mount_point.file);
	assert_int_equal(vgpu_bo_create(site.v, sizeof(activations), VGPU_LIFE_VOLATILE, &site.x), 0);
	assert_int_equal(vgpu_bo_create(site.v, LAYERS * N * 4, VGPU_LIFE_VOLATILE, &site.y), 0);
	assert_int_equal(vgpu_bo_write(site.x, 0, activations, sizeof(activations)), 0);
	assert_int_equal(vgpu_queue_create(site.v, 0, &site.q), 0);
	assert_int_equal(vgpu_cmdbuf_create(site.v, &site.cb), 0);
}

/* After every test, failed or not. */
static int site_close(void **state)
{
	(void)state;
	vgpu_cmdbuf_destroy(site.cb);
	vgpu_queue_destroy(site.q);
	vgpu_bo_destroy(site.faulty);
	vgpu_bo_destroy(site.sound);
	vgpu_bo_destroy(site.x);
	vgpu_bo_destroy(site.y);
	vgpu_close(site.v);
	site = (struct site){ 0 };
	return fuse_mount_end(&mount_point);
}

/* y = NaN, then the products of layers @first to @last. */
static void record(struct vgpu_bo *w, uint32_t first, uint32_t last)
{
	vgpu_cmdbuf_reset(site.cb);
	assert_int_equal(vgpu_cmd_fill(site.cb, NAN, vgpu_vector(site.y, 0, VGPU_FORMAT_F32,
								  LAYERS * N)), 0);
	for (uint32_t l = first; l <= last; l++) {
		const struct vgpu_matmul c = {
			.mode = VGPU_MODE_F32,
			.x = vgpu_matrix(site.x, 0, VGPU_FORMAT_F32, 1, K),
			.w = vgpu_matrix(w, l * LAYER_BYTES, VGPU_FORMAT_F32, N, K),
			.y = vgpu_matrix(site.y, (uint64_t)l * N * 4, VGPU_FORMAT_F32, 1, N),
		};

		assert_int_equal(vgpu_cmd_matmul(site.cb, &c), 0);
	}
}

static int multiply(struct vgpu_bo *w, uint32_t first, uint32_t last)
{
	record(w, first, last);
	return vgpu_finish(site.q, site.cb);
}

/* Sums of K products of numbers below 1. */
static void expect_right(uint32_t first, uint32_t last)
{
	float y[LAYERS * N];

	assert_int_equal(vgpu_bo_read(site.y, 0, y, sizeof(y)), 0);
	for (uint32_t i = first * N; i < (last + 1) * N; i++)
		if (!(fabs(y[i] - want[i]) <= 1e-3))
			fail_msg("y[%u] is %g, must be %g", i, (double)y[i], want[i]);
}

static void expect_all_right(struct vgpu_bo *w)
{
	int rc = multiply(w, 0, LAYERS - 1);

	if (rc)
		fail_msg("ended with %d (%s)", rc, vgpu_error_text());
	expect_right(0, LAYERS - 1);
}

static void expect_refused(int rc, int one, int other)
{
	if (rc != one && rc != other)
		fail_msg("ended with %d (%s), must be %d or %d", rc, vgpu_error_text(), one, other);
	assert_true(strlen(vgpu_error_text()) > 10);
}

/* Tests ---------------------------------------------------------------------------------- */

static void exec_fuse_weights_behind_fuse_give_right_numbers(void **state)
{
	uint64_t counters[VGPU_COUNTERS];

	site_open(state, FUSE_NO_RULES, FILE_BYTES);
	expect_all_right(site.faulty);
	expect_all_right(site.faulty);
	/* They did not fit, so the second time read too. */
	assert_int_equal(vgpu_stats(site.v, counters, VGPU_COUNTERS), 0);
	assert_true(counters[VGPU_COUNT_READ_BYTES] >= FILE_BYTES + FILE_BYTES / 2);
}

static void exec_fuse_eio_is_told_and_the_device_serves_on(void **state)
{
	/* In layer 2. */
	site_open(state, FUSE_RULES("eio@2500000"), FILE_BYTES);
	site.sound = file_object(mount_point.backing);
	for (int i = 0; i < 3; i++) {
		expect_refused(multiply(site.faulty, 0, LAYERS - 1), -EIO, -EIO);
		expect_all_right(site.sound);
	}
	assert_int_equal(multiply(site.faulty, 0, 1), 0);
	expect_right(0, 1);
	expect_refused(multiply(site.faulty, 2, 2), -EIO, -EIO);
	assert_int_equal(multiply(site.faulty, 3, 3), 0);
	expect_right(3, 3);
}

static void exec_fuse_short_and_late_answers_give_right_numbers(void **state)
{
	site_open(state, FUSE_RULES("short@0:100", "short@65536:5000", "short@131072:4096",
				    "short@1200000:61440", "delay@300000:200",
				    "delay@2000000:300", "delay@4000000:100"), FILE_BYTES);
	expect_all_right(site.faulty);
	expect_all_right(site.faulty);
}

/* What the tier still holds may serve; what it must read again cannot. */
static void exec_fuse_file_cut_between_submissions_never_gives_wrong_numbers(void **state)
{
	int refused = 0;

	site_open(state, FUSE_NO_RULES, FILE_BYTES);
	expect_all_right(site.faulty);
	assert_int_equal(truncate(mount_point.backing, LAYER_BYTES / 2 + 77), 0);
	expect_refused(multiply(site.faulty, 0, LAYERS - 1), -ESTALE, -EIO);
	for (uint32_t l = 0; l < LAYERS; l++) {
		int rc = multiply(site.faulty, l, l);

		if (!rc) {
			expect_right(l, l);
			continue;
		}
		expect_refused(rc, -ESTALE, -EIO);
		refused++;
	}
	assert_true(refused > 0);
}

static void exec_fuse_file_cut_while_it_is_streamed_is_told(void **state)
{
	const struct timespec pause = { 0, 100 * 1000000 };
	const struct vgpu_submit_info info = { .size = sizeof(info), .async = true };
	struct vgpu_fence fence;

	/* Reads of layer 1 wait while the file is cut before it ends. */
	site_open(state, FUSE_RULES("delay@1100000:600"), FILE_BYTES);
	record(site.faulty, 0, LAYERS - 1);
	assert_int_equal(vgpu_submit(site.q, site.cb, &info, &fence), 0);
	nanosleep(&pause, NULL);
	assert_int_equal(truncate(mount_point.backing, 1100000), 0);
	expect_refused(vgpu_wait(fence, -1), -ESTALE, -EIO);
}

static void exec_fuse_file_shorter_than_it_says_is_told(void **state)
{
	site_open(state, FUSE_RULES("size@4194304"), FILE_BYTES - 5000);
	assert_int_equal(multiply(site.faulty, 0, LAYERS - 2), 0);
	expect_right(0, LAYERS - 2);
	expect_refused(multiply(site.faulty, LAYERS - 1, LAYERS - 1), -ESTALE, -EIO);
}

/* The client has it open; to open it for direct reads is never answered. */
static void exec_fuse_open_that_hangs_keeps_nobody_else_waiting(void **state)
{
	const struct vgpu_submit_info info = { .size = sizeof(info), .async = true };
	const struct timespec pause = { 0, 200 * 1000000 };
	struct vgpu_queue *hung, *sound;
	struct vgpu_fence fence;
	struct timespec from, to;

	site_open(state, FUSE_RULES("opens@1"), FILE_BYTES);
	site.sound = file_object(mount_point.backing);
	hung = site.q;
	record(site.faulty, 0, 0);
	assert_int_equal(vgpu_submit(hung, site.cb, &info, &fence), 0);
	nanosleep(&pause, NULL);
	assert_int_equal(vgpu_queue_create(site.v, 0, &sound), 0);
	site.q = sound;
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < 5; i++)
		expect_all_right(site.sound);
	clock_gettime(CLOCK_MONOTONIC, &to);
	assert_in_range(to.tv_sec - from.tv_sec, 0, 9);
	assert_int_equal(vgpu_wait(fence, 0), -EAGAIN);
	/* Its server dies: who waits for it hears of that. */
	assert_int_equal(fuse_mount_end(&mount_point), 0);
	assert_true(vgpu_wait(fence, 20ll * 1000000000) < 0);
	expect_all_right(site.sound);
	vgpu_queue_destroy(sound);
	site.q = hung;
}

/* -------------------------------------------------------------------------------------- */

static const struct engine_test list[] = {
	ENGINE_TEST(exec_fuse_weights_behind_fuse_give_right_numbers),
	ENGINE_TEST(exec_fuse_eio_is_told_and_the_device_serves_on),
	ENGINE_TEST(exec_fuse_short_and_late_answers_give_right_numbers),
	ENGINE_TEST(exec_fuse_file_cut_between_submissions_never_gives_wrong_numbers),
	ENGINE_TEST(exec_fuse_file_cut_while_it_is_streamed_is_told),
	ENGINE_TEST(exec_fuse_file_shorter_than_it_says_is_told),
	ENGINE_TEST(exec_fuse_open_that_hangs_keeps_nobody_else_waiting),
};

static float number(uint32_t i)
{
	return (float)(int32_t)(i * 2654435761u) / 2147483648.0f;
}

static int setup(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < K; i++)
		activations[i] = number(i * 7 + 3);
	for (uint32_t i = 0; i < LAYERS * N * K; i++) {
		weights[i] = number(i ^ i >> 9);
		want[i / K] += (double)weights[i] * activations[i % K];
	}
	return fuse_mount_init(&mount_point);
}

static int teardown(void **state)
{
	(void)state;
	return fuse_mount_remove(&mount_point);
}

int main(void)
{
	static const struct engine_tests t = {
		.group = "exec_fuse", .tests = list, .count = sizeof(list) / sizeof(list[0]),
		.engines = file_engines, .setup = setup, .teardown = teardown,
		.test_teardown = site_close,
	};

	return engine_tests_run(&t);
}
