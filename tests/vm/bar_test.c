// SPDX-License-Identifier: MIT
/*
 * A device arena whose memory clients can map: the BAR of QEMU's ivshmem-plain device,
 * which the module's PCI driver is told to take.  The test is the executor.
 */
#include "selftests/hands.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "vm/machine.h"

#define SLOTS	4u

enum { H = VB_TIER_HOST, D = VB_TIER_DEVICE, N = VB_TIER_NVME, Z = VB_TIER_ZERO };

static uint8_t *bar;		/* as the executor maps it */

/* ---- the device ---- */

static bool file_says(const char *directory, const char *file, const char *what)
{
	char path[320], text[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", directory, file);
	f = fopen(path, "r");
	if (!f)
		return false;
	if (!fgets(text, sizeof(text), f))
		text[0] = 0;
	fclose(f);
	return !strncmp(text, what, strlen(what));
}

static uint64_t bar_bytes(const char *directory)
{
	unsigned long long from, last;
	uint64_t bytes = 0;
	char path[320];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource", directory);
	f = fopen(path, "r");
	for (int i = 0; f && fscanf(f, "%llx %llx %*x", &from, &last) == 2; i++)
		if (i == 2)
			bytes = last - from + 1;
	if (f)
		fclose(f);
	return bytes;
}

/* Bytes of BAR 2 of the ivshmem device; 0: there is none. */
static uint64_t ivshmem(void)
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	uint64_t bytes = 0;
	struct dirent *e;

	while (dir && !bytes && (e = readdir(dir)))
		if (file_says(e->d_name, "vendor", "0x1af4") &&
		    file_says(e->d_name, "device", "0x1110"))
			bytes = bar_bytes(e->d_name);
	if (dir)
		closedir(dir);
	return bytes;
}

static void bind_bar(void)
{
	int fd = open("/sys/bus/pci/drivers/vblackwell/new_id", O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	/* -EEXIST: an earlier test has said so. */
	if (write(fd, "1af4 1110\n", 10) != 10)
		assert_int_equal(errno, EEXIST);
	close(fd);
}

static int arena(uint32_t memory, uint32_t tier, uint64_t slots, struct vb_ioc_arena_create *out)
{
	*out = (struct vb_ioc_arena_create){
		.size = sizeof(*out), .tier = tier, .numa_node = -1, .slots = (uint32_t)slots,
		.memory = memory,
	};
	return vgpu_uapi_call(x.node, VB_IOC_ARENA_CREATE, out);
}

/* The arena of the executor's moves is one over the BAR. */
static void use_bar(void)
{
	struct vb_ioc_arena_create cmd;
	int rc = -EBUSY;

	bind_bar();
	/* What the test before has lent may still be on its way back. */
	for (int i = 0; rc == -EBUSY && i < 60000; i++) {
		rc = arena(VB_ARENA_BAR, D, SLOTS, &cmd);
		if (rc == -EBUSY)
			usleep(1000);
	}
	assert_rc(rc, 0);
	assert_int_equal(cmd.out_cpu_path, VB_CPU_MAP);
	assert_int_equal(cmd.out_cpu_reason, 0);
	x.device = cmd.out_arena;
	assert_rc(x.node->ops->map(x.node, cmd.out_mmap_offset, chunks(SLOTS), true,
				   (void **)&bar), 0);
}

static int setup(void **state)
{
	bar = NULL;
	return hands_open(state, SLOTS);
}

static void close_exec(void)
{
	if (bar)
		munmap(bar, chunks(SLOTS));
	bar = NULL;
	rig_exec_close(&x);
}

static int teardown(void **state)
{
	close_exec();
	return selftest_teardown(state);
}

#define needs_bar() do {								\
	if (!ivshmem()) {								\
		fprintf(stderr, "SKIP: %s: no ivshmem device\n", __func__);		\
		skip();									\
	}										\
} while (0)

/* ---- objects in it ---- */

static uint8_t *move(uint32_t object, uint8_t from, uint8_t to)
{
	struct vb_move mv = {
		.object = object, .op = VB_MOVE_BEGIN, .from = from, .to = to,
		.arena = to == D ? x.device : x.host, .slot = VB_SLOT_ANY,
	};

	assert_rc(rig_move(&x, &mv), 0);
	return (to == D ? bar : (uint8_t *)x.memory) + chunks(mv.slot);
}

static void commit(uint32_t object, uint8_t from, uint8_t to)
{
	assert_rc(rig_step(&x, object, 0, VB_MOVE_COMMIT, from, to), 0);
}

/* A chunk on the device, with a pattern that the executor wrote; where the BAR has it. */
static uint8_t *on_device(uint32_t *out_bo, uint32_t *out_object)
{
	uint8_t *p;

	*out_object = new_object(1, out_bo);
	p = move(*out_object, Z, D);
	for (uint64_t i = 0; i < chunks(1); i++)
		p[i] = rig_pattern(i);
	commit(*out_object, Z, D);
	assert_rc(rig_step(&x, *out_object, 0, VB_MOVE_WRITE, D, D), 0);
	return p;
}

static void assert_pattern(const uint8_t *p)
{
	for (uint64_t i = 0; i < chunks(1); i++)
		if (p[i] != rig_pattern(i))
			fail_msg("byte %llu: %u", (unsigned long long)i, p[i]);
}

static void assert_nobody_asks(void)
{
	struct vb_ioc_fetch req;

	assert_rc(rig_fetch(&x, &req), -EAGAIN);
}

/* ---- tests ---- */

static void bar_is_bound_free_and_large_enough_or_refused(void **state)
{
	uint64_t fit = ivshmem() / rig.chunk_bytes;
	struct vb_ioc_arena_create cmd;

	(void)state;
	needs_bar();
	/* Only the first test of a loaded module finds it unbound. */
	assert_rc(arena(VB_ARENA_BAR, D, 1, &cmd), -ENOENT);
	bind_bar();
	assert_rc(arena(VB_ARENA_BAR, D, fit + 1, &cmd), -ENOSPC);
	assert_rc(arena(VB_ARENA_BAR, H, 1, &cmd), -EINVAL);
	assert_rc(arena(VB_ARENA_BAR, N, 1, &cmd), -EINVAL);
	assert_rc(arena(VB_ARENA_BAR + 1, D, 1, &cmd), -EINVAL);
	assert_rc(arena(VB_ARENA_BAR, D, fit, &cmd), 0);
	assert_rc(arena(VB_ARENA_BAR, D, 1, &cmd), -EBUSY);
}

static void tiers_tell_how_the_cpu_reaches_them(void **state)
{
	struct vb_ioc_query_tier q = { .size = sizeof(q) };
	int mapped = 0, kept = 0;

	(void)state;
	needs_bar();
	use_bar();
	for (; !vgpu_uapi_call(u, VB_IOC_QUERY_TIER, &q); q.index++) {
		if (q.out_tier != D) {
			assert_int_equal(q.out_cpu_path, VB_CPU_MIGRATE);
			assert_int_equal(q.out_cpu_reason, 0);
		} else if (q.out_arena == x.device) {
			assert_int_equal(q.out_cpu_path, VB_CPU_MAP);
			assert_int_equal(q.out_cpu_reason, 0);
			mapped++;
		} else {
			assert_int_equal(q.out_cpu_path, VB_CPU_MIGRATE);
			assert_int_equal(q.out_cpu_reason, -EOPNOTSUPP);
			kept++;
		}
	}
	assert_int_equal(mapped, 1);
	assert_int_equal(kept, 1);
}

static void clients_map_the_memory_of_the_device(void **state)
{
	uint8_t *device, *p, byte;
	uint32_t bo, object;

	(void)state;
	needs_bar();
	use_bar();
	device = on_device(&bo, &object);
	p = machine_map(u, bo, chunks(1), true);
	assert_pattern(p);
	p[7] = 99;
	assert_int_equal(device[7], 99);
	device[8] = 98;
	assert_int_equal(p[8], 98);
	assert_rc(rig_read(u, bo, 8, &byte, 1), 0);
	assert_int_equal(byte, 98);
	byte = 97;
	assert_rc(rig_write(u, bo, chunks(1) - 1, &byte, 1), 0);
	assert_int_equal(device[chunks(1) - 1], 97);
	assert_int_equal(rig_residency(u, bo, 0) & 7, 1u << D);
	assert_nobody_asks();
	munmap(p, chunks(1));
	assert_rc(rig_bo_destroy(u, bo), 0);
}

static void mapping_follows_the_chunk_to_host_and_back(void **state)
{
	uint8_t *device, *host, *p;
	uint32_t bo, object;

	(void)state;
	needs_bar();
	use_bar();
	device = on_device(&bo, &object);
	p = machine_map(u, bo, chunks(1), true);
	p[0] = 1;
	host = move(object, D, H);
	memcpy(host, device, chunks(1));
	commit(object, D, H);
	memset(device, 0xee, chunks(1));
	/* Both copies are valid: it is the host's that is mapped. */
	assert_int_equal(p[0], 1);
	assert_int_equal(p[5], rig_pattern(5));
	p[1] = 2;
	assert_int_equal(host[1], 2);
	/* And to be written makes it the only one. */
	assert_int_equal(rig_residency(u, bo, 0) & 7, 1u << H);
	device = move(object, H, D);
	memcpy(device, host, chunks(1));
	commit(object, H, D);
	assert_rc(rig_step(&x, object, 0, VB_MOVE_DROP, H, 0), 0);
	memset(host, 0xee, chunks(1));
	assert_int_equal(p[1], 2);
	assert_int_equal(p[5], rig_pattern(5));
	assert_nobody_asks();
	munmap(p, chunks(1));
	assert_rc(rig_bo_destroy(u, bo), 0);
}

static void lent_pages_of_the_device_stay_where_they_are(void **state)
{
	struct vb_move mv = { .op = VB_MOVE_BEGIN, .from = D, .to = H, .slot = VB_SLOT_ANY };
	uint8_t *p, byte[MACHINE_PAGE];
	uint32_t bo, object;
	int fds[2];

	(void)state;
	needs_bar();
	use_bar();
	on_device(&bo, &object);
	p = machine_map(u, bo, chunks(1), true);
	p[0] = 1;
	machine_pipe_lend(fds, p);
	mv.object = object;
	mv.arena = x.host;
	assert_rc(rig_move(&x, &mv), -EBUSY);
	machine_pipe_take(fds, byte);
	assert_int_equal(byte[5], rig_pattern(5));
	assert_rc(rig_move(&x, &mv), 0);
	assert_rc(rig_step(&x, object, 0, VB_MOVE_ABORT, D, H), 0);
	munmap(p, chunks(1));
	assert_rc(rig_bo_destroy(u, bo), 0);
}

static void direct_io_reads_into_the_device(void **state)
{
	int disk = open("/dev/nvme0n1", O_RDWR | O_DIRECT | O_CLOEXEC);
	uint32_t bo, object;
	uint8_t *p, *device;

	(void)state;
	needs_bar();
	if (disk < 0) {
		fprintf(stderr, "SKIP: %s: no NVMe disk\n", __func__);
		skip();
	}
	use_bar();
	device = on_device(&bo, &object);
	p = machine_map(u, bo, chunks(1), true);
	assert_int_equal(pwrite(disk, p, chunks(1), 0), chunks(1));
	memset(device, 0, chunks(1));
	assert_int_equal(pread(disk, p, chunks(1), 0), chunks(1));
	assert_pattern(device);
	munmap(p, chunks(1));
	assert_rc(rig_bo_destroy(u, bo), 0);
	close(disk);
}

/* A page in a pipe outlives object and executor: the BAR is nobody's until it is back. */
static void bar_is_not_used_anew_while_a_page_is_lent(void **state)
{
	struct vb_ioc_arena_create cmd;
	uint32_t bo, object;
	uint8_t *p, byte[MACHINE_PAGE];
	int fds[2];

	(void)state;
	needs_bar();
	use_bar();
	on_device(&bo, &object);
	p = machine_map(u, bo, chunks(1), true);
	assert_int_equal(p[3], rig_pattern(3));
	machine_pipe_lend(fds, p);
	close_exec();
	assert_int_equal(machine_peek(p), -1);
	munmap(p, chunks(1));
	assert_int_equal(rig_exec_open(&rig, &x, SLOTS), 0);
	assert_rc(arena(VB_ARENA_BAR, D, SLOTS, &cmd), -EBUSY);
	machine_pipe_take(fds, byte);
	assert_int_equal(byte[3], rig_pattern(3));
	assert_rc(arena(VB_ARENA_BAR, D, SLOTS, &cmd), 0);
}

/* What only the device had is lost with its executor; nobody has the BAR in between. */
static void successor_has_the_bar_and_its_number_again(void **state)
{
	uint32_t bo, object, number, another;
	uint8_t *p;

	(void)state;
	needs_bar();
	use_bar();
	on_device(&bo, &object);
	p = machine_map(u, bo, chunks(1), true);
	assert_int_equal(p[3], rig_pattern(3));
	number = x.device;
	machine_set_ms("recovery_ms", 20000);
	close_exec();
	assert_int_equal(machine_peek(p), -1);
	assert_int_equal(rig_exec_open(&rig, &x, SLOTS), 0);
	use_bar();
	assert_int_equal(x.device, number);
	assert_rc(rig_recover(&x, 0), 0);
	machine_set_ms("recovery_ms", 0);
	assert_int_equal(rig_residency(u, bo, 0), 1u << 6);
	assert_int_equal(machine_peek(p), -1);
	munmap(p, chunks(1));
	on_device(&another, &object);
	p = machine_map(u, another, chunks(1), true);
	assert_pattern(p);
	munmap(p, chunks(1));
	assert_rc(rig_bo_destroy(u, another), 0);
	assert_rc(rig_bo_destroy(u, bo), 0);
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(bar_is_bound_free_and_large_enough_or_refused),
		CASE(tiers_tell_how_the_cpu_reaches_them),
		CASE(clients_map_the_memory_of_the_device),
		CASE(mapping_follows_the_chunk_to_host_and_back),
		CASE(lent_pages_of_the_device_stay_where_they_are),
		CASE(direct_io_reads_into_the_device),
		CASE(bar_is_not_used_anew_while_a_page_is_lent),
		CASE(successor_has_the_bar_and_its_number_again),
	};

	if (!selftest_has_module("bar"))
		return 0;
	return SELFTEST_RUN("bar", tests, RIG_NONE, 0, 0) ? 1 : 0;
}
