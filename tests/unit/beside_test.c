// SPDX-License-Identifier: MIT
/* Memory beside the tier: counted, aligned, and given back when it is freed. */
#include "exec/beside.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define BLOCKS		8u
#define BLOCK_BYTES	((uint64_t)2 << 20)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED	1	/* shadow memory is resident too, and stays */
#else
#define SANITIZED	0
#endif

static uint64_t resident_bytes(void)
{
	unsigned long all, pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu", &all, &pages), 2);
	fclose(f);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Blocks come and go while small things between them stay, as in an executor. */
static void what_is_freed_is_the_kernels_again(void **state)
{
	struct vgpu_beside b = { 0 };
	void *block[BLOCKS], *small[BLOCKS], *volatile large = malloc(4 * BLOCK_BYTES);
	uint64_t before;

	(void)state;
	/* From now on malloc() would take blocks of this size from its heap. */
	free(large);
	before = resident_bytes();
	for (uint32_t i = 0; i < BLOCKS; i++) {
		block[i] = vgpu_beside_alloc(&b, 4096, BLOCK_BYTES);
		assert_non_null(block[i]);
		memset(block[i], 1, BLOCK_BYTES);
		small[i] = malloc(10000);
	}
	assert_int_equal(b.bytes, BLOCKS * BLOCK_BYTES);
	assert_true(resident_bytes() >= before + BLOCKS * BLOCK_BYTES);
	for (uint32_t i = 0; i < BLOCKS; i++)
		vgpu_beside_free(&b, block[i], BLOCK_BYTES);
	assert_int_equal(b.bytes, 0);
	assert_int_equal(b.most, BLOCKS * BLOCK_BYTES);
	assert_true(SANITIZED || resident_bytes() < before + BLOCK_BYTES);
	for (uint32_t i = 0; i < BLOCKS; i++)
		free(small[i]);
}

static void blocks_are_aligned_and_their_own(void **state)
{
	static const size_t aligns[] = { 64, 512, 4096, 65536 };
	static const uint64_t sizes[] = { 1, 2, 3, 50 };	/* in units of 65536 */
	struct vgpu_beside b = { 0 };

	(void)state;
	for (size_t a = 0; a < 4; a++) {
		uint8_t *p[4];

		for (size_t i = 0; i < 4; i++) {
			p[i] = vgpu_beside_alloc(&b, aligns[a], sizes[i] * 65536);
			assert_non_null(p[i]);
			assert_int_equal((uintptr_t)p[i] % aligns[a], 0);
			memset(p[i], (int)i + 1, sizes[i] * 65536);
		}
		for (size_t i = 0; i < 4; i++) {
			for (uint64_t j = 0; j < sizes[i] * 65536; j += 4095)
				assert_int_equal(p[i][j], i + 1);
			vgpu_beside_free(&b, p[i], sizes[i] * 65536);
		}
		assert_int_equal(b.bytes, 0);
	}
	vgpu_beside_free(&b, NULL, 5);
	assert_int_equal(b.bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_freed_is_the_kernels_again),
		cmocka_unit_test(blocks_are_aligned_and_their_own),
	};

	return cmocka_run_group_tests_name("beside", tests, NULL, NULL);
}
