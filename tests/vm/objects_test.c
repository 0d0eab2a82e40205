// SPDX-License-Identifier: MIT
/*
 * Nothing costs more because there are many objects: making one, and what is done with one.
 */
#include "selftests/selftest.h"

#include <sys/mman.h>

#define OBJECTS		32768u
#define OTHERS		16384u		/* among which one lives */
#define GROUPS		16u		/* looked at, at either end */
#define GROUP_OBJECTS	128u
#define TURNS		4u
#define SLOWER		4		/* the last ones may take so many times as long */

static double ms_since(uint64_t begin)
{
	return (double)(rig_now() - begin) / 1e6;
}

static double make_group(int fd, uint32_t first, void (*make)(int fd, uint32_t i))
{
	uint64_t begin = rig_now();

	for (uint32_t i = first; i < first + GROUP_OBJECTS; i++)
		make(fd, i);
	return ms_since(begin);
}

/* Whose objects they are: with it they go. */
static struct vgpu_uapi *owner;

/* Make them all; the groups that took least, of the first ones and of the last. */
static void make_all(int fd, void (*make)(int fd, uint32_t i), double *first, double *last)
{
	const uint32_t groups = OBJECTS / GROUP_OBJECTS;
	double ms;

	owner = rig_client(&rig);
	assert_non_null(owner);
	for (uint32_t g = 0; g < groups; g++) {
		ms = make_group(fd, g * GROUP_OBJECTS, make);
		if (g < GROUPS && ms < *first)
			*first = ms;
		if (g >= groups - GROUPS && ms < *last)
			*last = ms;
	}
	rig_client_close(owner);
}

/* Several times, if it takes that: what else the machine does for some seconds is left out. */
static void expect_even_cost(int fd, void (*make)(int fd, uint32_t i))
{
	double first = 1e9, last = 1e12;

	for (uint32_t turn = 0; turn < TURNS && last >= first * SLOWER; turn++) {
		make_all(fd, make, &first, &last);
		printf("# of %u objects %u took %.2f ms at first, %.2f ms at last\n", OBJECTS,
		       GROUP_OBJECTS, first, last);
	}
	assert_true(last < first * SLOWER);
}

/* Each another range: lengths differ by 4 GiB, beginnings by less than a block. */
static void make_range(int fd, uint32_t i)
{
	uint32_t id;

	assert_rc(rig_bo_file(owner, fd, i % 4096, 1 + ((uint64_t)(i / 4096) << 32), &id), 0);
}

/* Each the same range, of a file that looks different. */
static void make_change(int fd, uint32_t i)
{
	uint32_t id;

	assert_int_equal(ftruncate(fd, 4096 + i), 0);
	assert_rc(rig_bo_file(owner, fd, 0, 1, &id), 0);
}

static void objects_of_one_file_cost_the_same_however_many_there_are(void **state)
{
	int fd = memfd_create("many", MFD_CLOEXEC);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1ll << 40), 0);
	expect_even_cost(fd, make_range);
	close(fd);
}

static void objects_of_a_file_that_changes_cost_the_same_however_many_there_are(void **state)
{
	int fd = memfd_create("changes", MFD_CLOEXEC);

	(void)state;
	assert_true(fd >= 0);
	expect_even_cost(fd, make_change);
	close(fd);
}

/* An object comes, is written, named by a submission, looked at and goes. */
static void live_and_die(int queue, uint32_t i)
{
	static uint64_t seqno;
	struct vb_ioc_bo_info info;
	struct rig_stream s;
	uint32_t id;

	assert_rc(rig_bo(rig.client, 1, VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_write(rig.client, id, 0, &i, 1), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	rig_add_bo(&s, id, VB_ACCESS_READ);
	assert_rc(rig_submit(rig.client, (uint32_t)queue, &s, &seqno), 0);
	assert_rc(rig_wait(rig.client, (uint32_t)queue, seqno, 20000), 0);
	assert_rc(rig_info(rig.client, id, &info), 0);
	assert_rc(rig_bo_destroy(rig.client, id), 0);
}

static double least(int queue)
{
	double ms, best = 1e9;

	for (uint32_t g = 0; g < GROUPS; g++) {
		ms = make_group(queue, 0, live_and_die);
		best = ms < best ? ms : best;
	}
	return best;
}

/* While another client has many. */
static double least_among(int queue, int fd)
{
	double ms;

	owner = rig_client(&rig);
	assert_non_null(owner);
	for (uint32_t i = 0; i < OTHERS; i++)
		make_range(fd, i);
	ms = least(queue);
	rig_client_close(owner);
	return ms;
}

/* By turns, as often as it takes: what else the machine does for some seconds is left out. */
static void work_costs_the_same_however_many_objects_there_are(void **state)
{
	int fd = memfd_create("many", MFD_CLOEXEC);
	double alone = 1e9, among = 1e12, ms;
	uint32_t queue;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1ll << 40), 0);
	assert_rc(rig_queue(rig.client, 0, &queue), 0);
	for (uint32_t turn = 0; turn < TURNS && among >= alone * SLOWER; turn++) {
		ms = least((int)queue);
		alone = ms < alone ? ms : alone;
		ms = least_among((int)queue, fd);
		among = ms < among ? ms : among;
		printf("# %u lives of an object took %.2f ms alone, %.2f ms among %u others\n",
		       GROUP_OBJECTS, alone, among, OTHERS);
	}
	assert_true(among < alone * SLOWER);
	close(fd);
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, selftest_setup, selftest_teardown)

int main(void)
{
	const struct CMUnitTest by_hand[] = {
		CASE(objects_of_one_file_cost_the_same_however_many_there_are),
		CASE(objects_of_a_file_that_changes_cost_the_same_however_many_there_are),
	};
	const struct CMUnitTest served[] = {
		CASE(work_costs_the_same_however_many_objects_there_are),
	};
	int failed = 0;

	if (!selftest_has_module("objects"))
		return 0;
	failed += SELFTEST_RUN("objects, executor by hand", by_hand, RIG_NONE, 0, 0);
	failed += SELFTEST_RUN("objects", served, RIG_FAKE, 16, 32);
	return failed ? 1 : 0;
}
