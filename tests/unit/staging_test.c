// SPDX-License-Identifier: MIT
/* What a tier keeps for transfers, and the size of its chunks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "staging.h"
#include "vgpu.h"

#define KIB	((uint64_t)1 << 10)
#define MIB	((uint64_t)1 << 20)

/* Up by a part that is no round number, so that no size is special. */
static uint64_t next_size(uint64_t bytes)
{
	return bytes + bytes / 613 + 1;
}

static void reserve_is_at_most_5_percent_from_120_small_chunks_on(void **state)
{
	(void)state;
	for (uint64_t host = 120 * 64 * KIB; host < MIB << 20; host = next_size(host)) {
		uint64_t reserve = vgpu_staging_bytes(host, 0);

		if (reserve > host / 20)
			fail_msg("%lu of %lu bytes", (unsigned long)reserve, (unsigned long)host);
		assert_true(reserve >= 6 * vgpu_chunk_bytes(host));
	}
}

static void reserve_of_smaller_tiers_is_six_small_chunks(void **state)
{
	(void)state;
	for (uint64_t host = 1; host < 120 * 64 * KIB; host = next_size(host))
		assert_int_equal(vgpu_staging_bytes(host, 0), 6 * 64 * KIB);
	assert_int_equal(vgpu_staging_bytes(0, 0), 6 * 64 * KIB);
}

/* The rule by itself, whatever the chunks: six, or 5 % rounded down. */
static void reserve_of_given_chunks_is_six_or_5_percent(void **state)
{
	(void)state;
	for (uint64_t chunk = 64 * KIB; chunk <= 2 * MIB; chunk *= 2)
		for (uint64_t slots = 1; slots < 1000; slots++)
			assert_int_equal(vgpu_staging_bytes(slots * chunk, (uint32_t)chunk),
					 (slots < 120 ? 6 : slots * 5 / 100) * chunk);
}

static void chunks_are_the_largest_that_leave_120(void **state)
{
	(void)state;
	assert_int_equal(vgpu_chunk_bytes(1), 64 * KIB);
	assert_int_equal(vgpu_chunk_bytes(240 * MIB), 2 * MIB);
	assert_int_equal(vgpu_chunk_bytes(240 * MIB - 1), 1 * MIB);
	for (uint64_t host = 64 * KIB; host < MIB << 20; host = next_size(host)) {
		uint64_t chunk = vgpu_chunk_bytes(host);

		assert_int_equal(chunk & (chunk - 1), 0);
		assert_in_range(chunk, 64 * KIB, 2 * MIB);
		assert_true(chunk == 64 * KIB || host / chunk >= 120);
		assert_true(chunk == 2 * MIB || host / (2 * chunk) < 120);
	}
}

/* What a device really does with the tier that it gets. */
static void device_keeps_what_is_said(void **state)
{
	static const uint64_t hosts[] = { 1, 8, 16, 60, 250 };

	(void)state;
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		struct vgpu_config config = { .size = sizeof(config), .host_bytes = hosts[i] * MIB,
					      .threads = 1, .backend = "null" };
		struct vgpu_device_info info = { .size = sizeof(info) };
		struct vgpu *v;

		assert_int_equal(vgpu_open_embedded(&config, &v), 0);
		assert_int_equal(vgpu_device_info(v, &info), 0);
		assert_int_equal(info.chunk_bytes, vgpu_chunk_bytes(config.host_bytes));
		assert_int_equal(info.staging_bytes, vgpu_staging_bytes(config.host_bytes, 0));
		vgpu_close(v);
	}
}

static void device_keeps_what_it_is_told_and_two_chunks_at_least(void **state)
{
	static const struct {
		uint64_t told, kept;
	} cases[] = { { 1, 128 * KIB }, { 64 * KIB, 128 * KIB }, { 192 * KIB, 192 * KIB },
		      { 1 * MIB, 1 * MIB } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vgpu_config config = { .size = sizeof(config), .host_bytes = 4 * MIB,
					      .staging_bytes = cases[i].told, .threads = 1,
					      .backend = "null" };
		struct vgpu_device_info info = { .size = sizeof(info) };
		struct vgpu *v;

		assert_int_equal(vgpu_open_embedded(&config, &v), 0);
		assert_int_equal(vgpu_device_info(v, &info), 0);
		assert_int_equal(info.staging_bytes, cases[i].kept);
		vgpu_close(v);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reserve_is_at_most_5_percent_from_120_small_chunks_on),
		cmocka_unit_test(reserve_of_smaller_tiers_is_six_small_chunks),
		cmocka_unit_test(reserve_of_given_chunks_is_six_or_5_percent),
		cmocka_unit_test(chunks_are_the_largest_that_leave_120),
		cmocka_unit_test(device_keeps_what_is_said),
		cmocka_unit_test(device_keeps_what_it_is_told_and_two_chunks_at_least),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
