// SPDX-License-Identifier: MIT
/*
 * Objects of one file are one store, whoever made them: its chunks are there once, are
 * charged once, and nobody who shares it can take them from the others.
 */
#include "selftests/client.h"
#include "kernels/kernels.h"
#include "vm/machine.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOST_SLOTS	16u	/* one of them is staging */
#define NVME_SLOTS	4u
#define CHUNKS		6u	/* of a store */
#define PINNED		(1u << 5)
#define H		VB_TIER_HOST

static struct vgpu_uapi *other;
static int file;

static int setup(void **state)
{
	int rc = client_setup(state);

	other = rig_client(&rig);
	file = rig_file(&rig, chunks(CHUNKS + 1));
	return rc || !other || file < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	close(file);
	if (other)
		rig_client_close(other);
	return selftest_teardown(state);
}

/* ---- what there is ---- */

static uint64_t used_bytes(void)
{
	struct vb_ioc_query_tier q;

	assert_rc(rig_tier(u, H, &q), 0);
	return q.out_used_bytes;
}

/* Of the host tier, against its maximum. */
static uint64_t charged(struct vgpu_uapi *of)
{
	struct vb_ioc_limit cmd = { .size = sizeof(cmd), .limit = VB_LIMIT_HOST_MAX };

	assert_rc(vgpu_uapi_call(of, VB_IOC_LIMIT, &cmd), 0);
	return cmd.out_used;
}

static uint64_t fdinfo(struct vgpu_uapi *of, const char *key)
{
	return machine_fdinfo_kib(of->ops->fd(of), key) << 10;
}

static uint32_t store(struct vgpu_uapi *of, uint64_t offset)
{
	uint32_t id;

	assert_rc(rig_bo_file(of, file, offset, chunks(CHUNKS), &id), 0);
	return id;
}

static void check(struct vgpu_uapi *of, uint32_t id, uint64_t offset)
{
	uint8_t *p = malloc(chunks(CHUNKS));

	assert_rc(rig_read(of, id, 0, p, chunks(CHUNKS)), 0);
	for (uint64_t i = 0; i < chunks(CHUNKS); i++)
		if (p[i] != rig_pattern(offset + i))
			fail_msg("byte %llu is %u", (unsigned long long)i, p[i]);
	free(p);
}

/* ---- tests ---- */

static void same_bytes_of_a_file_are_there_once(void **state)
{
	uint32_t a = store(u, 0), b;

	(void)state;
	check(u, a, 0);
	assert_int_equal(used_bytes(), chunks(CHUNKS));
	assert_int_equal(fdinfo(u, "drm-shared-host"), 0);
	b = store(other, 0);
	assert_int_equal(rig_residency(other, b, 3) & 7, 1u << H);
	check(other, b, 0);
	assert_int_equal(used_bytes(), chunks(CHUNKS));
	/* Each has them, one is charged for them. */
	assert_int_equal(fdinfo(u, "drm-resident-host"), chunks(CHUNKS));
	assert_int_equal(fdinfo(other, "drm-resident-host"), chunks(CHUNKS));
	assert_int_equal(fdinfo(u, "drm-shared-host"), chunks(CHUNKS));
	assert_int_equal(fdinfo(other, "drm-shared-host"), chunks(CHUNKS));
	assert_int_equal(fdinfo(u, "vblackwell-charged-host"), chunks(CHUNKS));
	assert_int_equal(fdinfo(other, "vblackwell-charged-host"), 0);
	assert_int_equal(charged(u), chunks(CHUNKS));
	assert_int_equal(charged(other), 0);
}

static void other_bytes_are_another_store(void **state)
{
	uint32_t a = store(u, 0), b = store(other, 4096);

	(void)state;
	check(u, a, 0);
	check(other, b, 4096);
	assert_int_equal(used_bytes(), chunks(2 * CHUNKS));
	assert_int_equal(charged(u), chunks(CHUNKS));
	assert_int_equal(charged(other), chunks(CHUNKS));
}

static void a_file_that_changed_is_another_store(void **state)
{
	uint32_t a = store(u, 0), b;
	uint8_t byte = (uint8_t)~rig_pattern(5), got;

	(void)state;
	check(u, a, 0);
	usleep(50000);		/* change times have a grain */
	assert_int_equal(pwrite(file, &byte, 1, 5), 1);
	b = store(other, 0);
	assert_rc(rig_read(other, b, 5, &got, 1), 0);
	assert_int_equal(got, byte);
	assert_int_equal(charged(other), chunks(1));
	assert_int_equal(fdinfo(other, "drm-shared-host"), 0);
}

static void who_cannot_read_the_file_gets_nothing(void **state)
{
	uint32_t a = store(u, 0), id;
	char path[64];
	int fd;

	(void)state;
	check(u, a, 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_rc(rig_bo_file(other, fd, 0, chunks(CHUNKS), &id), -EACCES);
	close(fd);
	fd = open(path, O_PATH | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_rc(rig_bo_file(other, fd, 0, chunks(CHUNKS), &id), -EBADF);
	close(fd);
	/* A handle is its client's. */
	assert_rc(rig_read(other, a, 0, path, 1), -ENOENT);
	assert_int_equal(fdinfo(other, "drm-resident-host"), 0);
}

static void who_pays_leaves_and_another_one_pays(void **state)
{
	uint32_t a, b = store(other, 0);

	(void)state;
	check(other, b, 0);
	a = store(u, 0);
	assert_int_equal(charged(other), chunks(CHUNKS));
	rig_client_close(other);
	other = NULL;
	assert_int_equal(used_bytes(), chunks(CHUNKS));
	assert_int_equal(charged(u), chunks(CHUNKS));
	assert_int_equal(fdinfo(u, "drm-resident-host"), chunks(CHUNKS));
	assert_int_equal(fdinfo(u, "drm-purgeable-host"), chunks(CHUNKS));
	check(u, a, 0);
	assert_rc(rig_bo_destroy(u, a), 0);
	for (int i = 0; used_bytes() && i < 60000; i++)
		usleep(1000);
	assert_int_equal(used_bytes(), 0);
	assert_int_equal(charged(u), 0);
}

static void one_at_its_maximum_keeps_nobody_from_its_content(void **state)
{
	uint32_t a, b;

	(void)state;
	assert_rc(rig_limit(u, VB_LIMIT_HOST_MAX, chunks(2)), 0);
	a = store(u, 0);
	b = store(other, 0);
	check(other, b, 0);
	assert_true(charged(u) <= chunks(2));
	assert_int_equal(charged(other), chunks(CHUNKS));
	check(u, a, 0);
	assert_int_equal(used_bytes(), chunks(CHUNKS));
}

static void nobody_evicts_what_another_one_uses(void **state)
{
	uint32_t a = store(u, 0), b = store(other, 0);

	(void)state;
	check(u, a, 0);
	assert_rc(rig_advise(other, b, VB_ADVISE_EVICT, 0, chunks(CHUNKS)), -EBUSY);
	assert_int_equal(used_bytes(), chunks(CHUNKS));
	assert_rc(rig_bo_destroy(other, b), 0);
	assert_rc(rig_advise(u, a, VB_ADVISE_EVICT, 0, chunks(CHUNKS)), 0);
	assert_int_equal(used_bytes(), 0);
}

static void pins_are_of_whom_they_are(void **state)
{
	uint32_t a = store(u, 0), b = store(other, 0), again = store(u, 0);

	(void)state;
	assert_rc(rig_advise(u, a, VB_ADVISE_PIN, 0, chunks(2)), 0);
	assert_rc(rig_advise(other, b, VB_ADVISE_UNPIN, 0, chunks(1)), -EINVAL);
	assert_rc(rig_advise(other, b, VB_ADVISE_PIN, 0, chunks(1)), 0);
	assert_rc(rig_advise(other, b, VB_ADVISE_UNPIN, 0, chunks(2)), -EINVAL);
	assert_int_equal(fdinfo(u, "vblackwell-pinned"), chunks(2));
	assert_int_equal(fdinfo(other, "vblackwell-pinned"), chunks(1));
	assert_rc(rig_advise(u, again, VB_ADVISE_UNPIN, 0, chunks(1)), 0);
	assert_true(rig_residency(u, a, 0) & PINNED);
	assert_rc(rig_bo_destroy(u, again), 0);
	assert_true(rig_residency(u, a, 1) & PINNED);
	assert_rc(rig_bo_destroy(u, a), 0);
	assert_false(rig_residency(other, b, 1) & PINNED);
	assert_true(rig_residency(other, b, 0) & PINNED);
	assert_int_equal(fdinfo(u, "vblackwell-pinned"), 0);
	assert_rc(rig_advise(other, b, VB_ADVISE_UNPIN, 0, chunks(1)), 0);
	assert_false(rig_residency(other, b, 0) & PINNED);
}

/* Also its mappings are its own, and outlive a handle. */
static void mappings_are_held_by_whoever_made_them(void **state)
{
	uint32_t a = store(u, 0), b = store(other, 0);
	uint8_t *p, *q;

	(void)state;
	assert_rc(rig_map(u, a, 0, chunks(1), VB_MAP_READ, (void **)&p), 0);
	assert_rc(rig_map(other, b, 0, chunks(1), VB_MAP_READ, (void **)&q), 0);
	assert_int_equal(p[9], rig_pattern(9));
	assert_int_equal(q[9], rig_pattern(9));
	assert_rc(rig_unmap(u, a, 0, chunks(1), VB_MAP_READ), 0);
	assert_rc(rig_unmap(u, a, 0, chunks(1), VB_MAP_READ), -EINVAL);
	assert_true(rig_residency(u, a, 0) & PINNED);
	assert_int_equal(q[10], rig_pattern(10));
	assert_rc(rig_unmap(other, b, 0, chunks(1), VB_MAP_READ), 0);
	assert_false(rig_residency(u, a, 0) & PINNED);
}

static void several_handles_may_stand_in_one_submission(void **state)
{
	uint32_t a = store(u, 0), again = store(u, 0), queue, anonymous;
	struct rig_stream s;
	uint64_t seqno;

	(void)state;
	assert_int_not_equal(a, again);
	assert_rc(rig_queue(u, 0, &queue), 0);
	rig_stream(&s);
	rig_add_bo(&s, a, VB_ACCESS_READ);
	rig_add_bo(&s, again, VB_ACCESS_READ);
	rig_add_nop(&s);
	assert_rc(rig_submit(u, queue, &s, &seqno), 0);
	assert_rc(rig_wait(u, queue, seqno, 10000), 0);
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &anonymous), 0);
	rig_stream(&s);
	rig_add_bo(&s, anonymous, VB_ACCESS_READ);
	rig_add_bo(&s, anonymous, VB_ACCESS_READ);
	rig_add_nop(&s);
	assert_rc(rig_submit(u, queue, &s, NULL), -EINVAL);
	rig_stream(&s);
	rig_add_bo(&s, a, VB_ACCESS_READ | VB_ACCESS_WRITE);
	rig_add_nop(&s);
	assert_rc(rig_submit(u, queue, &s, NULL), -EROFS);
}

struct joiner {
	pthread_t thread;
	int rc;
};

static void *join_and_leave(void *arg)
{
	struct vgpu_uapi *own = rig_client(&rig);
	struct joiner *j = arg;
	uint8_t got;
	uint32_t id;

	j->rc = own ? 0 : -ENODEV;
	for (uint32_t i = 0; !j->rc && i < 200; i++) {
		j->rc = rig_bo_file(own, file, 0, chunks(CHUNKS), &id);
		if (!j->rc && !(i % 8))
			j->rc = rig_read(own, id, i * 7, &got, 1);
		if (!j->rc && !(i % 8) && got != rig_pattern(i * 7))
			j->rc = -EILSEQ;
		if (!j->rc)
			j->rc = rig_bo_destroy(own, id);
	}
	if (own)
		rig_client_close(own);
	return NULL;
}

static void who_comes_while_others_leave_finds_the_store_or_makes_it(void **state)
{
	struct joiner j[6];

	(void)state;
	for (int i = 0; i < 6; i++)
		assert_int_equal(pthread_create(&j[i].thread, NULL, join_and_leave, &j[i]), 0);
	for (int i = 0; i < 6; i++) {
		pthread_join(j[i].thread, NULL);
		assert_rc(j[i].rc, 0);
	}
	for (int i = 0; used_bytes() && i < 5000; i++)
		usleep(1000);
	assert_int_equal(used_bytes(), 0);
	assert_int_equal(charged(u) + charged(other), 0);
}

/* ---- the test is the executor ---- */

static int open_object(struct rig_exec *x, uint32_t bo)
{
	struct vb_ioc_object_open o = { .size = sizeof(o) };
	struct vb_ioc_fetch req;

	assert_rc(rig_advise(u, bo, VB_ADVISE_PREFETCH, 0, 1), 0);
	assert_rc(rig_fetch(x, &req), 0);
	o.object = req.out_object;
	assert_rc(rig_commit(x, req.out_tag, 0), 0);
	assert_rc(vgpu_uapi_call(x->node, VB_IOC_OBJECT_OPEN, &o), 0);
	return o.out_fd;
}

/* Also where the file system knows no direct I/O. */
static void executor_reads_a_file_of_its_own(void **state)
{
	char folder[] = "/tmp/storeXXXXXX", path[64], byte = 0;
	struct rig_exec x;
	int theirs, ours, flags;
	uint32_t bo;

	(void)state;
	assert_int_equal(rig_exec_open(&rig, &x, 4), 0);
	assert_non_null(mkdtemp(folder));
	assert_int_equal(mount("none", folder, "ramfs", 0, NULL), 0);
	snprintf(path, sizeof(path), "%s/file", folder);
	theirs = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(pwrite(theirs, "x", 1, (off_t)rig.chunk_bytes - 1), 1);
	assert_rc(rig_bo_file(u, theirs, 0, rig.chunk_bytes, &bo), 0);
	ours = open_object(&x, bo);
	assert_int_equal(fcntl(theirs, F_SETFL, O_NONBLOCK | O_APPEND), 0);
	flags = fcntl(ours, F_GETFL);
	assert_int_equal(flags & (O_ACCMODE | O_NONBLOCK | O_APPEND), O_RDONLY);
	assert_int_equal(pread(ours, &byte, 1, (off_t)rig.chunk_bytes - 1), 1);
	assert_int_equal(byte, 'x');
	close(ours);
	close(theirs);
	assert_rc(rig_bo_destroy(u, bo), 0);
	rig_exec_close(&x);
	/* Its file system may go when the object has. */
	assert_int_equal(umount2(folder, MNT_DETACH), 0);
	rmdir(folder);
}

/* ---- derived objects ---- */

#define COLS	256u	/* of a matrix of float32 */
#define GROUP	16u	/* rows that are packed together */

static float *new_matrix(uint32_t rows)
{
	float *values = malloc((size_t)rows * COLS * 4);
	uint32_t seed = 1;

	assert_non_null(values);
	for (size_t i = 0; i < (size_t)rows * COLS; i++) {
		seed = seed * 1664525 + 1013904223;
		values[i] = (float)(int32_t)seed * 0x1p-31f;
	}
	return values;
}

/* What a derived object of the matrix must hold. */
static uint8_t *new_packed(const float *values, uint32_t rows, size_t unit)
{
	uint8_t *p = aligned_alloc(64, rows / GROUP * unit);

	assert_non_null(p);
	for (uint32_t g = 0; g < rows / GROUP; g++)
		assert_int_equal(vgpu_kernels_best()->pack_int8(p + g * unit,
				values + (size_t)g * GROUP * COLS, VGPU_W_F32, COLS, GROUP, COLS), 0);
	return p;
}

static uint32_t derived(int fd, uint32_t rows, size_t unit)
{
	struct vb_ioc_bo_create cmd = {
		.size = sizeof(cmd), .kind = VB_BO_DERIVED, .fd = fd, .bytes = rows / GROUP * unit,
		.file_bytes = (uint64_t)rows * COLS * 4,
		.transform = { .kind = VB_TRANSFORM_PACK, .src_format = VB_FORMAT_F32,
			       .dst_format = VB_FORMAT_INT8_G16, .rows = rows, .cols = COLS,
			       .stack = 1 },
	};

	assert_rc(vgpu_uapi_call(u, VB_IOC_BO_CREATE, &cmd), 0);
	return cmd.out_bo_id;
}

/**
 * struct packed - a derived object of two chunks and a half
 * @id: handle
 * @bytes: its length
 * @wanted: its content, by a packer of our own
 */
struct packed {
	uint32_t id;
	uint64_t bytes;
	uint8_t *wanted;
};

static struct packed packed_open(void)
{
	const size_t unit = vgpu_weight_unit_bytes(VGPU_W_INT8_G16, COLS);
	const uint32_t rows = GROUP * (uint32_t)(5 * rig.chunk_bytes / 2 / unit);
	float *values = new_matrix(rows);
	struct packed p = {
		.bytes = rows / GROUP * unit, .wanted = new_packed(values, rows, unit),
	};

	close(file);
	file = rig_file(&rig, 0);
	assert_int_equal(write(file, values, (size_t)rows * COLS * 4), (size_t)rows * COLS * 4);
	p.id = derived(file, rows, unit);
	free(values);
	return p;
}

static void packed_close(struct packed *p)
{
	assert_rc(rig_bo_destroy(u, p->id), 0);
	free(p->wanted);
}

static uint32_t resident(const struct packed *p)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < 3; i++)
		n += rig_residency(u, p->id, i) >> H & 1;
	return n;
}

/* A load from the mapping has the executor read and pack; after an eviction it does so again. */
static void derived_chunks_come_by_a_fault(void **state)
{
	struct packed k = packed_open();
	const uint8_t *p;

	(void)state;
	p = machine_map(u, k.id, chunks(3), false);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(resident(&k), 0);
		for (uint32_t i = 3; i--;) {
			uint64_t n = k.bytes - chunks(i) < chunks(1) ? k.bytes - chunks(i) : chunks(1);

			assert_int_equal(machine_peek(p + chunks(i)), k.wanted[chunks(i)]);
			assert_int_equal(rig_residency(u, k.id, i) & 1u << H, 1u << H);
			assert_memory_equal(p + chunks(i), k.wanted + chunks(i), n);
		}
		assert_rc(rig_advise(u, k.id, VB_ADVISE_EVICT, 0, k.bytes), 0);
	}
	munmap((void *)p, chunks(3));
	packed_close(&k);
}

/* Nobody waits for them, and they come. */
static void derived_chunks_come_by_a_prefetch(void **state)
{
	struct packed k = packed_open();
	uint8_t *got = malloc(k.bytes);

	(void)state;
	for (int round = 0; round < 2; round++) {
		assert_int_equal(resident(&k), 0);
		assert_rc(rig_advise(u, k.id, VB_ADVISE_PREFETCH, 0, k.bytes), 0);
		for (int ms = 0; resident(&k) < 3 && ms < 20000; ms++)
			usleep(1000);
		assert_int_equal(resident(&k), 3);
		assert_rc(rig_read(u, k.id, 0, got, k.bytes), 0);
		assert_memory_equal(got, k.wanted, k.bytes);
		assert_rc(rig_advise(u, k.id, VB_ADVISE_EVICT, 0, k.bytes), 0);
	}
	free(got);
	packed_close(&k);
}

static void derived_chunks_come_by_a_command(void **state)
{
	struct packed k = packed_open();
	uint8_t *got = malloc(k.bytes);
	uint32_t to, queue;
	struct rig_stream s;

	(void)state;
	assert_rc(rig_bo(u, k.bytes, VB_LIFE_VOLATILE, &to), 0);
	assert_rc(rig_queue(u, 0, &queue), 0);
	assert_int_equal(resident(&k), 0);
	rig_stream(&s);
	rig_add_bo(&s, k.id, VB_ACCESS_READ);
	rig_add_bo(&s, to, VB_ACCESS_WRITE);
	rig_add_copy(&s, 0, 1, (uint32_t)(k.bytes / 4));
	assert_rc(rig_submit(u, queue, &s, NULL), 0);
	assert_rc(rig_wait(u, queue, 1, 20000), 0);
	assert_rc(rig_read(u, to, 0, got, k.bytes), 0);
	assert_memory_equal(got, k.wanted, k.bytes);
	assert_rc(rig_queue_destroy(u, queue), 0);
	assert_rc(rig_bo_destroy(u, to), 0);
	free(got);
	packed_close(&k);
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(same_bytes_of_a_file_are_there_once),
		CASE(other_bytes_are_another_store),
		CASE(a_file_that_changed_is_another_store),
		CASE(who_cannot_read_the_file_gets_nothing),
		CASE(who_pays_leaves_and_another_one_pays),
		CASE(one_at_its_maximum_keeps_nobody_from_its_content),
		CASE(nobody_evicts_what_another_one_uses),
		CASE(pins_are_of_whom_they_are),
		CASE(mappings_are_held_by_whoever_made_them),
		CASE(several_handles_may_stand_in_one_submission),
		CASE(who_comes_while_others_leave_finds_the_store_or_makes_it),
	};
	const struct CMUnitTest by_hand[] = { CASE(executor_reads_a_file_of_its_own) };
	const struct CMUnitTest real[] = {
		CASE(derived_chunks_come_by_a_fault),
		CASE(derived_chunks_come_by_a_prefetch),
		CASE(derived_chunks_come_by_a_command),
	};
	int failed = 0;

	if (!selftest_has_module("stores"))
		return 0;
	failed += SELFTEST_RUN("stores", tests, RIG_FAKE, HOST_SLOTS, NVME_SLOTS);
	failed += SELFTEST_RUN("stores, executor by hand", by_hand, RIG_NONE, 0, 0);
	failed += SELFTEST_RUN("stores, executor", real, RIG_REAL, 4 * HOST_SLOTS, NVME_SLOTS);
	return failed ? 1 : 0;
}
