// SPDX-License-Identifier: MIT
/* CRC32C: the vectors of RFC 3720, and every level against the reference. */
#include <pthread.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exec/crc32c.h"

#define BIG_BYTES	((1u << 20) + 77)
#define STACK_BYTES	(48u << 10)

static void fill(uint8_t *p, size_t bytes, uint64_t seed)
{
	size_t i;

	for (i = 0; i < bytes; i++) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		p[i] = (uint8_t)(seed >> 56);
	}
}

static void each_level_gives(uint32_t crc, const void *buf, size_t bytes)
{
	enum vgpu_crc32c_level level;

	for (level = VGPU_CRC32C_REF; level <= vgpu_crc32c_level(); level++)
		assert_int_equal(vgpu_crc32c_at(level, 0, buf, bytes), crc);
	assert_int_equal(vgpu_crc32c(0, buf, bytes), crc);
}

/* RFC 3720, B.4 prints the bytes as sent, least significant first. */
static void crc32c_matches_rfc3720(void **state)
{
	static const uint8_t read10[48] = {
		0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0x14, 0, 0, 0, 0, 0, 0x04, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18,
		0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0,
	};
	uint8_t buf[32];
	uint8_t i;

	(void)state;
	memset(buf, 0, sizeof(buf));
	each_level_gives(0x8a9136aa, buf, sizeof(buf));
	memset(buf, 0xff, sizeof(buf));
	each_level_gives(0x62a8ab43, buf, sizeof(buf));
	for (i = 0; i < 32; i++)
		buf[i] = i;
	each_level_gives(0x46dd794e, buf, sizeof(buf));
	for (i = 0; i < 32; i++)
		buf[i] = 31 - i;
	each_level_gives(0x113fdb5c, buf, sizeof(buf));
	each_level_gives(0xd9963a56, read10, sizeof(read10));
	each_level_gives(0xe3069283, "123456789", 9);
	each_level_gives(0, NULL, 0);
}

static void crc32c_levels_agree_at_every_length_and_offset(void **state)
{
	uint8_t *buf = malloc(16384 + 300 + 8);
	enum vgpu_crc32c_level level;
	size_t length, offset, base;
	uint32_t expected;

	(void)state;
	assert_non_null(buf);
	fill(buf, 16384 + 300 + 8, 1);
	/* 0: the serial loops; 6144: one round of streams; 16384: several of everything. */
	for (base = 0; base <= 16384; base += base ? 10240 : 6144)
		for (length = base; length <= base + 300; length++)
			for (offset = 0; offset < 8; offset++) {
				expected = vgpu_crc32c_at(VGPU_CRC32C_REF, 7, buf + offset, length);
				for (level = 1; level <= vgpu_crc32c_level(); level++)
					assert_int_equal(vgpu_crc32c_at(level, 7, buf + offset,
									length), expected);
			}
	free(buf);
}

static void crc32c_levels_agree_on_a_megabyte(void **state)
{
	uint8_t *buf = malloc(BIG_BYTES);
	enum vgpu_crc32c_level level;
	uint32_t expected;

	(void)state;
	assert_non_null(buf);
	fill(buf, BIG_BYTES, 2);
	expected = vgpu_crc32c_at(VGPU_CRC32C_REF, 0, buf, BIG_BYTES);
	for (level = 1; level <= vgpu_crc32c_level(); level++)
		assert_int_equal(vgpu_crc32c_at(level, 0, buf, BIG_BYTES), expected);
	free(buf);
}

/* 168,800: what is done by words; whole words and not, and less than a turn of their ring. */
static void crc32c_levels_agree_where_words_begin(void **state)
{
	static const int lengths[] = { 168790, 168799, 168800, 168801, 168807, 168808, 174936, 174937,
				       234336, 250000 };
	uint8_t *buf = malloc(250000 + 8);
	enum vgpu_crc32c_level level;

	(void)state;
	assert_non_null(buf);
	fill(buf, 250000 + 8, 5);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		const uint8_t *p = buf + i % 8;
		uint32_t expected = vgpu_crc32c_at(VGPU_CRC32C_REF, 7, p, (size_t)lengths[i]);

		for (level = 1; level <= vgpu_crc32c_level(); level++)
			assert_int_equal(vgpu_crc32c_at(level, 7, p, (size_t)lengths[i]), expected);
		assert_int_equal(vgpu_crc32c(7, p, (size_t)lengths[i]), expected);
	}
	free(buf);
}

static void *all_levels(void *arg)
{
	static uint32_t crc[8];

	for (enum vgpu_crc32c_level level = 0; level <= vgpu_crc32c_level(); level++)
		crc[level] = vgpu_crc32c_at(level, 0, arg, BIG_BYTES);
	return crc;
}

/* I/O threads have small stacks, and programs may have smaller ones. */
static void crc32c_needs_little_stack(void **state)
{
	uint32_t *crc, expected;
	uint8_t *buf = malloc(BIG_BYTES);
	pthread_attr_t attr;
	pthread_t thread;

	(void)state;
	assert_non_null(buf);
	fill(buf, BIG_BYTES, 6);
	expected = vgpu_crc32c_at(VGPU_CRC32C_REF, 0, buf, BIG_BYTES);
	assert_int_equal(pthread_attr_init(&attr), 0);
	assert_int_equal(pthread_attr_setstacksize(&attr, STACK_BYTES), 0);
	assert_int_equal(pthread_create(&thread, &attr, all_levels, buf), 0);
	assert_int_equal(pthread_join(thread, (void **)&crc), 0);
	for (enum vgpu_crc32c_level level = 0; level <= vgpu_crc32c_level(); level++)
		assert_int_equal(crc[level], expected);
	pthread_attr_destroy(&attr);
	free(buf);
}

static void crc32c_may_be_split_and_combined_anywhere(void **state)
{
	uint32_t whole, first, second;
	uint8_t buf[5000];
	size_t cut;

	(void)state;
	fill(buf, sizeof(buf), 3);
	whole = vgpu_crc32c(0, buf, sizeof(buf));
	for (cut = 0; cut <= sizeof(buf); cut += 113) {
		first = vgpu_crc32c(0, buf, cut);
		second = vgpu_crc32c(0, buf + cut, sizeof(buf) - cut);
		assert_int_equal(vgpu_crc32c(first, buf + cut, sizeof(buf) - cut), whole);
		assert_int_equal(vgpu_crc32c_combine(first, second, sizeof(buf) - cut), whole);
	}
}

static void crc32c_sees_every_flipped_bit(void **state)
{
	uint32_t whole;
	uint8_t buf[600];
	size_t bit;

	(void)state;
	fill(buf, sizeof(buf), 4);
	whole = vgpu_crc32c(0, buf, sizeof(buf));
	for (bit = 0; bit < 8 * sizeof(buf); bit++) {
		buf[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		assert_int_not_equal(vgpu_crc32c(0, buf, sizeof(buf)), whole);
		buf[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crc32c_matches_rfc3720),
		cmocka_unit_test(crc32c_levels_agree_at_every_length_and_offset),
		cmocka_unit_test(crc32c_levels_agree_on_a_megabyte),
		cmocka_unit_test(crc32c_levels_agree_where_words_begin),
		cmocka_unit_test(crc32c_needs_little_stack),
		cmocka_unit_test(crc32c_may_be_split_and_combined_anywhere),
		cmocka_unit_test(crc32c_sees_every_flipped_bit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
