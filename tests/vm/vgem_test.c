// SPDX-License-Identifier: MIT
/*
 * Memory of another driver's, vgem's, as an object: clients read, write and map it, and wait
 * for what that driver still does with it.
 */
#include "selftests/client.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "vm/machine.h"

#define PAGES		24u
#define BYTES		(PAGES * MACHINE_PAGE)

/* ---- of drm.h, drm_mode.h and vgem_drm.h, which not every machine has ---- */

struct create_dumb {
	uint32_t height, width, bpp, flags, handle, pitch;
	uint64_t size;
};
struct map_dumb {
	uint32_t handle, pad;
	uint64_t offset;
};
struct prime_handle {
	uint32_t handle, flags;
	int32_t fd;
};
struct fence_attach {
	uint32_t handle, flags, out_fence, pad;
};
struct fence_signal {
	uint32_t fence, flags;
};
#define MODE_CREATE_DUMB	_IOWR('d', 0xb2, struct create_dumb)
#define MODE_MAP_DUMB		_IOWR('d', 0xb3, struct map_dumb)
#define PRIME_HANDLE_TO_FD	_IOWR('d', 0x2d, struct prime_handle)
#define VGEM_FENCE_ATTACH	_IOWR('d', 0x41, struct fence_attach)
#define VGEM_FENCE_SIGNAL	_IOW('d', 0x42, struct fence_signal)
#define VGEM_FENCE_WRITE	1u

/* ---- the other driver ---- */

static int card = -1;
static uint32_t gem;
static uint8_t *theirs;		/* its mapping of the memory */
static uint32_t bo;		/* ours */

static int setup(void **state)
{
	struct create_dumb dumb = { .height = PAGES, .width = MACHINE_PAGE / 4, .bpp = 32 };
	struct map_dumb map = { 0 };

	card = open("/dev/dri/card0", O_RDWR | O_CLOEXEC);
	if (card >= 0) {
		assert_int_equal(ioctl(card, MODE_CREATE_DUMB, &dumb), 0);
		assert_int_equal(dumb.size, BYTES);
		gem = map.handle = dumb.handle;
		assert_int_equal(ioctl(card, MODE_MAP_DUMB, &map), 0);
		theirs = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, card,
			      (off_t)map.offset);
		assert_true(theirs != MAP_FAILED);
	}
	return client_setup(state);
}

static int teardown(void **state)
{
	if (card >= 0) {
		munmap(theirs, BYTES);
		close(card);
	}
	return selftest_teardown(state);
}

static void import_it(void)
{
	struct prime_handle prime = { .handle = gem, .flags = O_CLOEXEC | O_RDWR };
	struct vb_ioc_bo_import cmd = { .size = sizeof(cmd) };

	assert_int_equal(ioctl(card, PRIME_HANDLE_TO_FD, &prime), 0);
	cmd.fd = prime.fd;
	assert_rc(vgpu_uapi_call(u, VB_IOC_BO_IMPORT, &cmd), 0);
	assert_int_equal(cmd.out_bytes, BYTES);
	bo = cmd.out_bo_id;
	close(prime.fd);
}

#define needs_vgem() do {								\
	if (card < 0) {									\
		fprintf(stderr, "SKIP: %s: this kernel has no vgem\n", __func__);	\
		skip();									\
	}										\
	import_it();									\
} while (0)

static void fill(uint8_t *p, uint64_t from)
{
	for (uint64_t i = 0; i < BYTES; i++)
		p[i] = rig_pattern(from + i);
}

static void assert_pattern(const uint8_t *p, uint64_t from)
{
	for (uint64_t i = 0; i < BYTES; i++)
		if (p[i] != rig_pattern(from + i))
			fail_msg("byte %llu: %u", (unsigned long long)i, p[i]);
}

/* ---- tests ---- */

static void both_sides_see_the_same(void **state)
{
	static uint8_t data[BYTES];
	struct vb_ioc_bo_info info;
	uint8_t *ours;

	(void)state;
	needs_vgem();
	assert_rc(rig_info(u, bo, &info), 0);
	assert_int_equal(info.out_kind, VB_BO_IMPORTED);
	fill(theirs, 1);
	assert_rc(rig_read(u, bo, 0, data, BYTES), 0);
	assert_pattern(data, 1);
	ours = machine_map(u, bo, BYTES, true);
	assert_pattern(ours, 1);
	fill(ours, 2);
	assert_pattern(theirs, 2);
	fill(data, 3);
	assert_rc(rig_write(u, bo, 0, data, BYTES), 0);
	assert_pattern(theirs, 3);
	/* Neither handle keeps the memory from the other. */
	assert_rc(rig_bo_destroy(u, bo), 0);
	assert_pattern(ours, 3);
	munmap(ours, BYTES);
}

static uint32_t fence_attach(void)
{
	struct fence_attach fence = { .handle = gem, .flags = VGEM_FENCE_WRITE };

	assert_int_equal(ioctl(card, VGEM_FENCE_ATTACH, &fence), 0);
	return fence.out_fence;
}

static void fence_signal(uint32_t id)
{
	struct fence_signal fence = { .fence = id };

	assert_int_equal(ioctl(card, VGEM_FENCE_SIGNAL, &fence), 0);
}

/* The fence ends by itself in ten seconds: sooner it is ours to end. */
static void who_reads_waits_for_its_fence_and_can_be_killed(void **state)
{
	uint32_t fence;
	uint64_t killed;
	uint8_t byte;
	int status;
	pid_t pid;

	(void)state;
	needs_vgem();
	theirs[5] = 77;
	fence = fence_attach();
	pid = fork();
	if (!pid)
		_exit(rig_read(u, bo, 5, &byte, 1) ? 1 : 0);
	usleep(300000);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	killed = rig_now();
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_true(rig_now() - killed < 1000000000ull);
	pid = fork();
	if (!pid)
		_exit(rig_read(u, bo, 5, &byte, 1) || byte != 77 ? 1 : 0);
	usleep(100000);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	fence_signal(fence);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_rc(rig_bo_destroy(u, bo), 0);
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(both_sides_see_the_same),
		CASE(who_reads_waits_for_its_fence_and_can_be_killed),
	};

	if (!selftest_has_module("vgem"))
		return 0;
	return SELFTEST_RUN("vgem", tests, RIG_FAKE, 4, 4) ? 1 : 0;
}
