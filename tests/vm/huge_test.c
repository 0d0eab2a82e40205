// SPDX-License-Identifier: MIT
/*
 * Large chunks are mapped by huge pages: as soon as they are touched, whatever their slots'
 * memory was before, and however often a slot had another chunk.
 */
#include "selftests/client.h"

#include <sys/mman.h>

#include "vm/machine.h"

#define HOST_SLOTS	48u
#define NVME_SLOTS	96u
#define TOUCHED		36u	/* of these at a time: some are staging */
#define ROUNDS		5u
#define FILES		96u	/* twice the memory of the slots */

static void large_chunks_are_mapped_by_huge_pages(void **state)
{
	uint32_t id;
	uint8_t *p;

	(void)state;
	assert_rc(rig_bo(u, chunks(3), VB_LIFE_VOLATILE, &id), 0);
	p = machine_map(u, id, chunks(3), true);
	for (uint64_t i = 0; i < 3; i++)
		p[chunks(i)] = 1;
	assert_int_equal((uintptr_t)p % chunks(1), 0);
	assert_int_equal(machine_mapped(p).huge, chunks(3));
	munmap(p, chunks(3));
}

/* ---- memory that was something else ---- */

/* The last pages of the largest file there is that mmap() gives. */
static int end_of_a_file(void)
{
	const off_t at = INT64_MAX - LARGE_CHUNK - 4095;
	int fd = memfd_create("end", MFD_CLOEXEC);
	uint8_t *p;

	if (fd < 0 || ftruncate(fd, INT64_MAX))
		return -1;
	p = mmap(NULL, LARGE_CHUNK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);
	if (p == MAP_FAILED)
		return -1;
	for (uint32_t i = 0; i < LARGE_CHUNK; i += MACHINE_PAGE)
		p[i] = 1;
	munmap(p, LARGE_CHUNK);
	return fd;
}

/*
 * A page keeps its index when it is freed.  With one from the end of a file it looks as if a
 * chunk in this memory went beyond the end of the object's file.
 */
static int used_memory_setup(void **state)
{
	int fds[FILES], rc = 0;

	for (uint32_t i = 0; i < FILES; i++) {
		fds[i] = end_of_a_file();
		rc |= fds[i];
	}
	for (uint32_t i = 0; i < FILES; i++)
		close(fds[i]);
	if (rc < 0)
		fprintf(stderr, "files of the largest size: %s\n", strerror(errno));
	return rc < 0 ? -1 : client_setup(state);
}

/*
 * Other chunks of another object in the same slots; half of them are read first.  Some are taken
 * away again meanwhile, for others: what is mapped at any moment is mapped whole.  The most.
 */
static uint64_t touch_and_go(uint32_t first)
{
	uint64_t bytes = chunks(first + TOUCHED), most = 0;
	struct machine_mapped m;
	uint32_t id;
	uint8_t *p;

	assert_rc(rig_bo(u, bytes, VB_LIFE_VOLATILE, &id), 0);
	p = machine_map(u, id, bytes, true);
	for (uint32_t i = first; i < first + TOUCHED; i++) {
		volatile uint8_t *at = p + chunks(i) + i * MACHINE_PAGE;

		if (i % 2)
			assert_int_equal(*at, 0);
		*at = (uint8_t)i;
		m = machine_mapped(p);
		assert_int_equal(m.all, m.huge);
		most = m.huge > most ? m.huge : most;
	}
	munmap(p, bytes);
	assert_rc(rig_bo_destroy(u, id), 0);
	return most;
}

static void slots_forget_what_their_memory_was(void **state)
{
	(void)state;
	for (uint32_t round = 0; round < ROUNDS; round++)
		assert_true(touch_and_go(round * 7) >= chunks(1));
}

static int run(const char *label, enum rig_executor who)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(slots_forget_what_their_memory_was,
						used_memory_setup, selftest_teardown),
		AS_CLIENT(large_chunks_are_mapped_by_huge_pages),
	};

	rig_params = (struct rig_params){ LARGE_CHUNK, who, HOST_SLOTS, NVME_SLOTS };
	return selftest_group(label, tests, sizeof(tests) / sizeof(tests[0]));
}

int main(void)
{
	int failed = 0;

	if (!selftest_has_module("huge pages"))
		return 0;
	failed += run("huge pages", RIG_FAKE);
	failed += run("huge pages, executor", RIG_REAL);
	return failed ? 1 : 0;
}
