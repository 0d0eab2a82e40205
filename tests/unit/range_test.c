// SPDX-License-Identifier: MIT
/* Chunk ranges against 128-bit arithmetic, and against a walk over every byte. */
#include <core/range.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

typedef unsigned __int128 u128;

#define TABLE_MAX	0xfffffffeull

static int model_count(u64 object, u32 head, u32 shift, u64 *out)
{
	u128 chunk, chunks;

	if (shift >= 64)
		return -EINVAL;
	chunk = (u128)1 << shift;
	chunks = object ? ((u128)head + object + chunk - 1) / chunk : 0;
	/* The last byte must have a 64-bit position on the chunk grid. */
	if (chunks > TABLE_MAX || (object && (u128)head + object - 1 > ~0ull))
		return -EINVAL;
	*out = (u64)chunks;
	return 0;
}

static int model_chunks(u64 object, u32 head, u32 shift, u64 offset, u64 bytes,
			u64 *first, u64 *end)
{
	u128 chunk, from = (u128)head + offset, to = from + bytes;
	u64 count;

	if (shift >= 64)
		return -EINVAL;
	if ((u128)offset + bytes > ~0ull)
		return -EOVERFLOW;
	if (offset + bytes > object)
		return -ERANGE;
	if (model_count(object, head, shift, &count) || from > ~0ull)
		return -EOVERFLOW;
	chunk = (u128)1 << shift;
	*first = (u64)(from / chunk);
	*end = bytes ? (u64)((to + chunk - 1) / chunk) : *first;
	return 0;
}

static void compare(u64 object, u32 head, u32 shift, u64 offset, u64 bytes)
{
	struct vb_chunk_range r = { 1, 2 };
	u64 first = 1, end = 2, count = 3;
	u32 got = 3;
	int rc = model_chunks(object, head, shift, offset, bytes, &first, &end);

	assert_int_equal(vb_range_chunks(object, head, shift, offset, bytes, &r), rc);
	assert_int_equal(r.first, first);
	assert_int_equal(r.end, end);
	rc = model_count(object, head, shift, &count);
	assert_int_equal(vb_range_count(object, head, shift, &got), rc);
	assert_int_equal(got, count);
	/* An empty object has no chunk that its (empty) range could lie in. */
	if (!rc && object && r.first != 1)
		assert_true(r.end <= got && r.first <= got);
}

/* Values around every power of two and around the ends of 32 and 64 bits. */
static void range_edges_agree_with_wide_arithmetic(void **state)
{
	static const u64 edge[] = {
		0, 1, 2, 63, 64, 65, 4095, 4096, 4097, 65535, 65536, 65537,
		(2u << 20) - 1, 2u << 20, 0xfffffffeull, 0xffffffffull, 0x100000000ull,
		(1ull << 46) - 1, 1ull << 46, (1ull << 46) + 1, 1ull << 47, 1ull << 48,
		(1ull << 53) - 1, 1ull << 53, 1ull << 63, ~0ull - 4096, ~0ull - 1, ~0ull
	};
	static const u32 heads[] = { 0, 1, 511, 4095, 65535, 0xffffffffu };
	static const u32 shifts[] = { 0, 1, 12, 16, 21, 32, 63, 64, 0xffffffffu };
	const size_t n = sizeof(edge) / sizeof(edge[0]);
	size_t o, h, s, f, b;

	(void)state;
	for (o = 0; o < n; o++)
		for (h = 0; h < sizeof(heads) / sizeof(heads[0]); h++)
			for (s = 0; s < sizeof(shifts) / sizeof(shifts[0]); s++)
				for (f = 0; f < n; f++)
					for (b = 0; b < n; b++)
						compare(edge[o], heads[h], shifts[s],
							edge[f], edge[b]);
}

/* Small objects: a chunk is in the range exactly when a byte of it is. */
static void range_covers_exactly_the_bytes(void **state)
{
	struct vb_chunk_range r;
	u64 object, offset, bytes, i;
	u32 head, shift, chunk;
	bool touched;

	(void)state;
	for (shift = 0; shift < 4; shift++)
		for (head = 0; head < 9; head++)
			for (object = 0; object < 12; object++)
				for (offset = 0; offset <= object; offset++)
					for (bytes = 0; bytes <= object - offset; bytes++) {
						assert_int_equal(vb_range_chunks(object, head, shift,
										 offset, bytes, &r), 0);
						for (chunk = 0; chunk < 24; chunk++) {
							touched = false;
							for (i = offset; i < offset + bytes; i++)
								touched |= (head + i) >> shift == chunk;
							assert_int_equal(touched, chunk >= r.first &&
									 chunk < r.end);
						}
					}
}

static void range_random_agrees_with_wide_arithmetic(void **state)
{
	u64 seed = 99, v[3];
	u32 i, j;

	(void)state;
	for (i = 0; i < 300000; i++) {
		for (j = 0; j < 3; j++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			v[j] = (seed ^ seed >> 29) >> (seed >> 58);
		}
		compare(v[0], (u32)(v[1] ^ v[2]) & 0xffff, 16 + i % 6, v[1] % (v[0] | 1),
			v[2] % (v[0] | 1));
		compare(v[0], (u32)v[2], i % 66, v[1], v[2]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(range_edges_agree_with_wide_arithmetic),
		cmocka_unit_test(range_covers_exactly_the_bytes),
		cmocka_unit_test(range_random_agrees_with_wide_arithmetic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
