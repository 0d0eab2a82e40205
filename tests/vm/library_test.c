// SPDX-License-Identifier: MIT
/*
 * The public library on the module: what a program does with /dev/vblackwell.  The
 * executor is libvgpu's, in this process; tests/vm/served.sh has it in another one.
 */
#include "selftests/selftest.h"

#include <signal.h>
#include <sys/time.h>

#include "vgpu.h"

#define HOST_SLOTS	48u
#define NVME_SLOTS	32u

static struct vgpu *v;

static int setup(void **state)
{
	int rc = selftest_setup(state);

	return rc ? rc : vgpu_open(getenv("VBLACKWELL_SELFTEST_NODE"), &v);
}

static int teardown(void **state)
{
	vgpu_close(v);
	return selftest_teardown(state);
}

static uint64_t chunks(uint64_t n)
{
	return n * rig.chunk_bytes;
}

static struct vgpu_bo *bo_of(uint64_t bytes)
{
	struct vgpu_bo *bo;

	assert_rc(vgpu_bo_create(v, bytes, VGPU_LIFE_VOLATILE, &bo), 0);
	return bo;
}

static void device_says_it_is_not_ours(void **state)
{
	struct vgpu_device_info info = { .size = sizeof(info) };
	char text[64];

	(void)state;
	assert_rc(vgpu_device_info(v, &info), 0);
	assert_false(info.embedded);
	assert_int_equal(info.chunk_bytes, rig.chunk_bytes);
	assert_true(vgpu_describe(v, "device", text, sizeof(text)) > 0);
	assert_string_equal(text, getenv("VBLACKWELL_SELFTEST_NODE"));
	assert_rc(vgpu_describe(v, "backend", text, sizeof(text)), -ENOENT);
}

static void mapped_bytes_are_those_of_the_object(void **state)
{
	const uint64_t at = chunks(1) - 3, bytes = chunks(1) + 6;
	struct vgpu_bo *bo = bo_of(chunks(3));
	uint8_t *p, *back = malloc(bytes);

	(void)state;
	assert_rc(vgpu_bo_map(bo, at, bytes, VGPU_MAP_READ | VGPU_MAP_WRITE, (void **)&p), 0);
	for (uint64_t i = 0; i < bytes; i++) {
		assert_int_equal(p[i], 0);
		p[i] = rig_pattern(i);
	}
	assert_rc(vgpu_bo_unmap(bo, at, bytes, VGPU_MAP_READ | VGPU_MAP_WRITE), 0);
	assert_rc(vgpu_bo_advise(bo, VGPU_ADVISE_EVICT, 0, 0, NULL), 0);
	assert_rc(vgpu_bo_read(bo, at, back, bytes), 0);
	for (uint64_t i = 0; i < bytes; i++)
		assert_int_equal(back[i], rig_pattern(i));
	assert_rc(vgpu_bo_map(bo, at + 5, 100, VGPU_MAP_READ, (void **)&p), 0);
	assert_memory_equal(p, back + 5, 100);
	assert_rc(vgpu_bo_unmap(bo, at + 5, 100, VGPU_MAP_READ), 0);
	assert_rc(vgpu_bo_unmap(bo, at + 5, 100, VGPU_MAP_READ), -EINVAL);
	vgpu_bo_destroy(bo);
	free(back);
}

static void mapped_files_are_read_only(void **state)
{
	uint64_t bytes = chunks(2) - 5000;
	int fd = rig_file(&rig, bytes);
	struct vgpu_bo *bo;
	uint8_t *p;

	(void)state;
	assert_rc(vgpu_bo_create_file(v, fd, 4097, 0, &bo), 0);
	assert_rc(vgpu_bo_map(bo, 0, 0, VGPU_MAP_READ, (void **)&p), 0);
	for (uint64_t i = 0; i < bytes - 4097; i++)
		assert_int_equal(p[i], rig_pattern(4097 + i));
	assert_rc(vgpu_bo_map(bo, 0, 0, VGPU_MAP_WRITE, (void **)&p), -EROFS);
	assert_rc(vgpu_bo_unmap(bo, 0, 0, VGPU_MAP_READ), 0);
	vgpu_bo_destroy(bo);
	close(fd);
}

/* Bytes of host memory, on whatever node, that are used or promised. */
static uint64_t host_bytes(void)
{
	struct vgpu_tier_info tier = { .size = sizeof(tier) };
	uint64_t bytes = 0;

	for (uint32_t i = 0; !vgpu_tier_info(v, i, &tier); i++)
		if (tier.tier == VGPU_TIER_HOST)
			bytes += tier.used_bytes + tier.reserved_bytes;
	return bytes;
}

/* A client that is told to close does, whatever it has left mapped. */
static void what_is_left_mapped_ends_with_the_client(void **state)
{
	struct vgpu *other;
	struct vgpu_bo *bo;
	uint8_t *p;
	int tries = 0;

	(void)state;
	assert_rc(vgpu_open_peer(v, &other), 0);
	assert_rc(vgpu_bo_create(other, chunks(2), VGPU_LIFE_VOLATILE, &bo), 0);
	assert_rc(vgpu_bo_map(bo, 0, 0, VGPU_MAP_WRITE, (void **)&p), 0);
	p[chunks(1)] = 1;
	vgpu_bo_destroy(bo);
	assert_int_equal(p[chunks(1)], 1);
	vgpu_close(other);
	while (host_bytes() && tries++ < 500)
		usleep(10000);
	assert_int_equal(host_bytes(), 0);
}

static volatile sig_atomic_t alarms;

static void count_alarm(int sig)
{
	(void)sig;
	alarms++;
}

/* Handlers without SA_RESTART, as often as may be: the library goes on where it was. */
static void signals_interrupt_nothing(void **state)
{
	const struct itimerval often = { { 0, 5000 }, { 0, 5000 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction act = { .sa_handler = count_alarm };
	uint64_t bytes = chunks(HOST_SLOTS + 8);
	uint64_t *out = malloc(bytes), *back = calloc(1, bytes);
	struct vgpu_bo *bo = bo_of(bytes);

	(void)state;
	for (uint64_t i = 0; i < bytes / 8; i++)
		out[i] = i * 0x9e3779b97f4a7c15ull;
	sigaction(SIGALRM, &act, NULL);
	alarms = 0;
	setitimer(ITIMER_REAL, &often, NULL);
	for (int round = 0; round < 50 && (round < 2 || alarms < 20); round++) {
		assert_rc(vgpu_bo_write(bo, 0, out, bytes), 0);
		assert_rc(vgpu_bo_read(bo, 0, back, bytes), 0);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	assert_true(alarms >= 20);
	assert_memory_equal(out, back, bytes);
	vgpu_bo_destroy(bo);
	free(out);
	free(back);
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(device_says_it_is_not_ours),
		CASE(mapped_bytes_are_those_of_the_object),
		CASE(mapped_files_are_read_only),
		CASE(what_is_left_mapped_ends_with_the_client),
		CASE(signals_interrupt_nothing),
	};

	if (!selftest_has_module("library"))
		return 0;
	return SELFTEST_RUN("library", tests, RIG_REAL, HOST_SLOTS, NVME_SLOTS) ? 1 : 0;
}
