// SPDX-License-Identifier: MIT
/* Buffer objects: creation, content, mapping, sealing, advice, limits. */
#include "selftests/selftest.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define HOST_SLOTS	40u
#define NVME_SLOTS	24u

static uint8_t *pattern_bytes(uint64_t bytes, uint32_t seed)
{
	uint8_t *p = malloc(bytes);

	assert_non_null(p);
	for (uint64_t i = 0; i < bytes; i++)
		p[i] = (uint8_t)(rig_pattern(i) + seed * 13);
	return p;
}

static void expect_file_bytes(const uint8_t *got, uint64_t offset, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes; i++)
		if (got[i] != rig_pattern(offset + i))
			fail_msg("byte %llu of the file is 0x%02x", (unsigned long long)(offset + i), got[i]);
}

/* ---- creation ---- */

static int create(const struct vb_ioc_bo_create *from, struct vb_ioc_bo_create *cmd)
{
	*cmd = *from;
	cmd->size = sizeof(*cmd);
	return vgpu_uapi_call(rig.client, VB_IOC_BO_CREATE, cmd);
}

static void fields_that_do_not_fit_are_einval(void **state)
{
	const struct vb_ioc_bo_create wrong[] = {
		{ .kind = 0, .fd = -1, .bytes = 1 },
		{ .kind = VB_BO_IMPORTED, .fd = -1, .bytes = 1 },
		{ .kind = 5, .fd = -1, .bytes = 1 },
		{ .kind = VB_BO_ANONYMOUS, .fd = -1, .bytes = 0 },
		{ .kind = VB_BO_ANONYMOUS, .fd = -1, .bytes = VB_OBJECT_BYTES_MAX + 1 },
		{ .kind = VB_BO_ANONYMOUS, .fd = -1, .bytes = 1, .life = 3 },
		{ .kind = VB_BO_ANONYMOUS, .fd = 0, .bytes = 1 },
		{ .kind = VB_BO_ANONYMOUS, .fd = -1, .bytes = 1, .file_offset = 1 },
		{ .kind = VB_BO_ANONYMOUS, .fd = -1, .bytes = 1, .transform = { .kind = 1 } },
		{ .kind = VB_BO_FILE, .fd = 0, .bytes = 1, .life = VB_LIFE_DURABLE },
		{ .kind = VB_BO_FILE, .fd = 0, .bytes = 1, .file_bytes = 1 },
		{ .kind = VB_BO_FILE, .fd = 0, .bytes = 1, .transform = { .rows = 1 } },
	};
	struct vb_ioc_bo_create cmd;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (create(&wrong[i], &cmd) != -EINVAL)
			fail_msg("case %zu", i);
}

static void file_errors_are_told_apart(void **state)
{
	int fd = rig_file(&rig, 10000), pipes[2];
	char path[64];
	uint32_t id;

	(void)state;
	assert_rc(rig_bo_file(rig.client, -1, 0, 1, &id), -EBADF);
	assert_rc(rig_bo_file(rig.client, fd, 0, 10000, &id), 0);
	assert_rc(rig_bo_file(rig.client, fd, 0, 10001, &id), -ERANGE);
	assert_rc(rig_bo_file(rig.client, fd, 10000, 1, &id), -ERANGE);
	assert_rc(rig_bo_file(rig.client, fd, ~0ull, 2, &id), -EOVERFLOW);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int wronly = open(path, O_WRONLY);
	assert_rc(rig_bo_file(rig.client, wronly, 0, 1, &id), -EACCES);
	assert_int_equal(pipe(pipes), 0);
	assert_rc(rig_bo_file(rig.client, pipes[0], 0, 1, &id), -EINVAL);
	close(pipes[0]);
	close(pipes[1]);
	close(wronly);
	close(fd);
}

static struct vb_ioc_bo_create packed(int fd)
{
	return (struct vb_ioc_bo_create){
		.kind = VB_BO_DERIVED, .fd = fd,
		.transform = { .kind = VB_TRANSFORM_PACK, .src_format = VB_FORMAT_F32,
			       .dst_format = VB_FORMAT_INT8_G16, .rows = 16, .cols = 32, .stack = 1 },
		.file_bytes = 16 * 32 * 4,
	};
}

static void derived_objects_must_fit_their_transform(void **state)
{
	int fd = rig_file(&rig, 1 << 16);
	struct vb_ioc_bo_create good = packed(fd), cmd, wrong;
	uint64_t bytes = 1;

	(void)state;
	/* The one length that the transform yields is found by trying. */
	for (good.bytes = 1; bytes < 4096 && create(&good, &cmd) == -EINVAL; bytes++)
		good.bytes = bytes;
	assert_rc(create(&good, &cmd), 0);
	wrong = good, wrong.bytes++;
	assert_rc(create(&wrong, &cmd), -EINVAL);
	wrong = good, wrong.file_bytes--;
	assert_rc(create(&wrong, &cmd), -EINVAL);
	wrong = good, wrong.transform.rows = 0;
	assert_rc(create(&wrong, &cmd), -EINVAL);
	wrong = good, wrong.transform.stack = 0;
	assert_rc(create(&wrong, &cmd), -EINVAL);
	wrong = good, wrong.transform.scale_format = VB_FORMAT_F32;	/* not of FP8 */
	assert_rc(create(&wrong, &cmd), -EINVAL);
	wrong = good, wrong.transform.scale_rows = 1;
	assert_rc(create(&wrong, &cmd), -EINVAL);
	wrong = good, wrong.transform.scale_cols = 1;
	assert_rc(create(&wrong, &cmd), -EINVAL);
	wrong = good, wrong.transform.scales_offset = 4;
	assert_rc(create(&wrong, &cmd), -EINVAL);
	wrong = good, wrong.transform.dst_format = VB_FORMAT_BF16;
	assert_rc(create(&wrong, &cmd), -EINVAL);
	wrong = good, wrong.transform.src_format = VB_FORMAT_MXFP4;	/* rounded again */
	assert_rc(create(&wrong, &cmd), -EINVAL);
	wrong = good, wrong.file_offset = (1 << 16) - 100;
	assert_rc(create(&wrong, &cmd), -ERANGE);
	close(fd);
}

static int create_blocks(int fd, uint16_t src, uint64_t from, uint16_t dst, uint64_t to)
{
	struct vb_ioc_bo_create cmd = {
		.kind = VB_BO_DERIVED, .fd = fd, .file_bytes = from, .bytes = to,
		.transform = { .kind = VB_TRANSFORM_PACK, .src_format = src, .dst_format = dst,
			       .rows = 16, .cols = 256, .stack = 1 },
	}, made;

	return create(&cmd, &made);
}

/* 16 rows of 256: bytes in the file, and those of Documentation/kernels.md. */
static void blocks_are_packed_to_the_format_of_their_name(void **state)
{
	static const struct {
		uint16_t src, from, dst, to;
	} pairs[] = {
		{ VB_FORMAT_Q4_0, 2304, VB_FORMAT_Q4_0_G16, 2304 },
		{ VB_FORMAT_Q4_1, 2560, VB_FORMAT_Q4_1_G16, 2560 },
		{ VB_FORMAT_Q5_0, 2816, VB_FORMAT_Q5_0_G16, 2816 },
		{ VB_FORMAT_Q5_1, 3072, VB_FORMAT_Q5_1_G16, 3072 },
		{ VB_FORMAT_Q4_K, 2304, VB_FORMAT_Q4_K_G16, 2304 },
		{ VB_FORMAT_Q5_K, 2816, VB_FORMAT_Q5_K_G16, 2816 },
		{ VB_FORMAT_Q6_K, 3360, VB_FORMAT_Q6_K_G16, 3392 },
		{ VB_FORMAT_NVFP4, 2304, VB_FORMAT_NVFP4_G16, 2304 },
	};
	int fd = rig_file(&rig, 1 << 16);

	(void)state;
	for (size_t i = 0; i < 8; i++)
		for (size_t j = 0; j < 8; j++)
			assert_rc(create_blocks(fd, pairs[i].src, pairs[i].from, pairs[j].dst,
						pairs[j].to), i == j ? 0 : -EINVAL);
	assert_rc(create_blocks(fd, VB_FORMAT_Q4_K, 2304, VB_FORMAT_Q4_K_G16, 2303), -EINVAL);
	assert_rc(create_blocks(fd, VB_FORMAT_Q4_K, 2303, VB_FORMAT_Q4_K_G16, 2304), -EINVAL);
	/* Rounded as before; what has no quantiser or no blocks of that name is none. */
	assert_rc(create_blocks(fd, VB_FORMAT_Q4_K, 2304, VB_FORMAT_INT8_G16, 4352), 0);
	assert_rc(create_blocks(fd, VB_FORMAT_F32, 16384, VB_FORMAT_Q4_0_G16, 2304), -EINVAL);
	assert_rc(create_blocks(fd, VB_FORMAT_Q4_0, 2304, VB_FORMAT_INT4_64_G16, 2176), -EINVAL);
	close(fd);
}

static void head_follows_the_files_blocks(void **state)
{
	static const uint64_t offsets[] = { 0, 1, 4095, 4096, 5000 };
	int fd = rig_file(&rig, 3 * 65536);
	uint8_t got[100];

	(void)state;
	for (int i = 0; i < 5; i++) {
		struct vb_ioc_bo_create cmd = { .size = sizeof(cmd), .kind = VB_BO_FILE, .fd = fd,
						.bytes = 2 * 65536, .file_offset = offsets[i] };

		assert_rc(vgpu_uapi_call(rig.client, VB_IOC_BO_CREATE, &cmd), 0);
		assert_int_equal(cmd.out_head_bytes, offsets[i] % 4096);
		assert_rc(rig_read(rig.client, cmd.out_bo_id, 2 * 65536 - 100, got, 100), 0);
		expect_file_bytes(got, offsets[i] + 2 * 65536 - 100, 100);
	}
	close(fd);
}

static void file_may_be_closed_after_creation(void **state)
{
	uint64_t bytes = rig.chunk_bytes + 5000;
	int fd = rig_file(&rig, bytes);
	uint8_t *got = malloc(bytes);
	uint32_t id;

	(void)state;
	assert_rc(rig_bo_file(rig.client, fd, 0, bytes, &id), 0);
	close(fd);
	assert_rc(rig_read(rig.client, id, 0, got, bytes), 0);
	expect_file_bytes(got, 0, bytes);
	free(got);
}

static int open_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void many_objects_of_one_file_share_a_descriptor(void **state)
{
	int fd, before;
	uint32_t id[200];

	(void)state;
	needs_loopback("the module keeps files, not descriptors");
	fd = rig_file(&rig, 100000);
	before = open_descriptors();
	for (int i = 0; i < 200; i++)
		assert_rc(rig_bo_file(rig.client, fd, (uint64_t)i * 100, 100, &id[i]), 0);
	assert_int_equal(open_descriptors(), before + 1);
	for (int i = 0; i < 200; i++)
		assert_rc(rig_bo_destroy(rig.client, id[i]), 0);
	assert_int_equal(open_descriptors(), before);
	close(fd);
}

/* ---- space ---- */

static uint64_t capacity(void)
{
	struct vb_ioc_query_device device = { .size = sizeof(device) };
	struct vb_ioc_query_tier host, nvme;

	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_QUERY_DEVICE, &device), 0);
	assert_rc(rig_tier(rig.client, VB_TIER_HOST, &host), 0);
	assert_rc(rig_tier(rig.client, VB_TIER_NVME, &nvme), 0);
	return host.out_bytes - device.out_host_staging_bytes + nvme.out_bytes;
}

static void space_runs_out_at_creation(void **state)
{
	struct vb_ioc_query_tier host;
	uint32_t id, more;

	(void)state;
	assert_rc(rig_bo(rig.client, capacity() + 1, VB_LIFE_VOLATILE, &id), -ENOSPC);
	assert_rc(rig_bo(rig.client, capacity(), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_tier(rig.client, VB_TIER_HOST, &host), 0);
	assert_int_equal(host.out_reserved_bytes, capacity());
	assert_int_equal(host.out_used_bytes, 0);
	assert_rc(rig_bo(rig.client, 1, VB_LIFE_VOLATILE, &more), -ENOSPC);
	assert_rc(rig_bo_destroy(rig.client, id), 0);
	assert_rc(rig_bo(rig.client, 1, VB_LIFE_VOLATILE, &more), 0);
}

static void space_never_runs_out_after_creation(void **state)
{
	uint64_t bytes = capacity(), step = rig.chunk_bytes;
	uint8_t *data = pattern_bytes(step, 0), *got = malloc(step);
	uint32_t id;

	(void)state;
	assert_rc(rig_bo(rig.client, bytes, VB_LIFE_VOLATILE, &id), 0);
	for (int pass = 0; pass < 2; pass++)
		for (uint64_t at = 0; at < bytes; at += step) {
			data[0] = (uint8_t)(at / step + (uint64_t)pass);
			assert_rc(rig_write(rig.client, id, at, data, step), 0);
		}
	for (uint64_t at = 0; at < bytes; at += step) {
		data[0] = (uint8_t)(at / step + 1);
		assert_rc(rig_read(rig.client, id, at, got, step), 0);
		assert_memory_equal(got, data, step);
	}
	free(data);
	free(got);
}

static void bytes_are_limited_a_client(void **state)
{
	struct vb_ioc_limit limit = { .size = sizeof(limit), .limit = VB_LIMIT_BYTES_MAX };
	struct vgpu_uapi *other = rig_client(&rig);
	uint32_t id;

	(void)state;
	assert_rc(rig_limit(rig.client, VB_LIMIT_BYTES_MAX, 3 * rig.chunk_bytes), 0);
	assert_rc(rig_bo(rig.client, 2 * rig.chunk_bytes, VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_bo(rig.client, 2 * rig.chunk_bytes, VB_LIFE_VOLATILE, &id), -EDQUOT);
	assert_rc(rig_bo(rig.client, 1, VB_LIFE_VOLATILE, &id), 0);
	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_LIMIT, &limit), 0);
	assert_int_equal(limit.out_value, 3 * rig.chunk_bytes);
	assert_int_equal(limit.out_used, 3 * rig.chunk_bytes);
	assert_rc(rig_bo(other, 4 * rig.chunk_bytes, VB_LIFE_VOLATILE, &id), 0);
	rig_client_close(other);
}

static void limits_that_are_none_are_einval(void **state)
{
	struct vb_ioc_limit limit = { .size = sizeof(limit) };

	(void)state;
	assert_rc(rig_limit(rig.client, 0, 1), -EINVAL);
	assert_rc(rig_limit(rig.client, VB_LIMIT_WEIGHT + 1, 1), -EINVAL);
	assert_rc(rig_limit(rig.client, VB_LIMIT_HOST_MIN, 1ull << 50), -ENOSPC);
	limit.limit = VB_LIMIT_BYTES_MAX;
	limit.value = 5;	/* a value without VB_LIMIT_SET is a mistake */
	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_LIMIT, &limit), -EINVAL);
}

static void share_below_two_panels_is_enospc_at_submit(void **state)
{
	struct vb_ioc_query_device device = { .size = sizeof(device) };
	struct rig_stream s;
	uint32_t q, bo;

	(void)state;
	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_QUERY_DEVICE, &device), 0);
	assert_rc(rig_queue(rig.client, 0, &q), 0);
	assert_rc(rig_bo(rig.client, 1, VB_LIFE_VOLATILE, &bo), 0);
	rig_stream(&s);
	rig_add_bo(&s, bo, VB_ACCESS_READ);
	assert_rc(rig_limit(rig.client, VB_LIMIT_HOST_MAX, 2 * device.out_panel_bytes - 1), 0);
	assert_rc(rig_submit(rig.client, q, &s, NULL), -ENOSPC);
	assert_rc(rig_limit(rig.client, VB_LIMIT_HOST_MAX, 2 * device.out_panel_bytes), 0);
	assert_rc(rig_submit(rig.client, q, &s, NULL), 0);
}

/* 64 GiB, of which nothing is there: only what is touched costs memory. */
static void huge_sparse_file_costs_32_bytes_a_chunk(void **state)
{
	uint64_t bytes = 64ull << 30;
	char path[64];
	struct vb_ioc_bo_info info;
	uint64_t begin;
	uint32_t id;
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/sparse", rig.directory);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	unlink(path);
	if (fd < 0 || ftruncate(fd, (off_t)bytes)) {
		print_message("SKIP: no sparse files of 64 GiB in %s\n", rig.directory);
		skip();
	}
	begin = rig_now();
	assert_rc(rig_bo_file(rig.client, fd, 0, bytes, &id), 0);
	assert_rc(rig_info(rig.client, id, &info), 0);
	print_message("# created and queried in %llu us\n",
		      (unsigned long long)(rig_now() - begin) / 1000);
	assert_int_equal(info.out_chunks, bytes / rig.chunk_bytes);
	assert_int_equal(info.out_bytes, bytes);
	assert_int_equal(sizeof(struct vb_table_entry), 32);
	for (int tier = 0; tier < VB_TIER_COUNT; tier++)
		assert_int_equal(info.out_tier_bytes[tier], 0);
	assert_int_equal(rig_residency(rig.client, id, info.out_chunks - 1), 0);
	assert_rc(rig_bo_destroy(rig.client, id), 0);
	close(fd);
}

/* ---- read and write ---- */

static void untouched_memory_reads_as_zero(void **state)
{
	uint64_t bytes = 3 * rig.chunk_bytes;
	uint8_t *got = malloc(bytes);
	struct vb_ioc_bo_info info;
	uint32_t id;

	(void)state;
	memset(got, 0xff, bytes);
	assert_rc(rig_bo(rig.client, bytes, VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_read(rig.client, id, 0, got, bytes), 0);
	for (uint64_t i = 0; i < bytes; i++)
		assert_int_equal(got[i], 0);
	assert_rc(rig_info(rig.client, id, &info), 0);
	assert_int_equal(info.out_tier_bytes[VB_TIER_HOST], 0);
	free(got);
}

static void ranges_outside_the_object_are_erange(void **state)
{
	struct vb_ioc_bo_rw rw = { .size = sizeof(rw) };
	uint8_t byte[2];
	uint32_t id;
	void *p;

	(void)state;
	assert_rc(rig_bo(rig.client, 100, VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_read(rig.client, id, 99, byte, 1), 0);
	assert_rc(rig_read(rig.client, id, 99, byte, 2), -ERANGE);
	assert_rc(rig_write(rig.client, id, 100, byte, 1), -ERANGE);
	assert_rc(rig_read(rig.client, id, ~0ull, byte, 2), -EOVERFLOW);
	assert_rc(rig_read(rig.client, id, 100, byte, 0), 0);
	assert_rc(rig_map(rig.client, id, 50, 51, VB_MAP_READ, &p), -ERANGE);
	assert_rc(rig_map(rig.client, id, 1, ~0ull, VB_MAP_READ, &p), -EOVERFLOW);
	assert_rc(rig_map(rig.client, id, 1, 0, VB_MAP_READ, &p), -EINVAL);
	assert_rc(rig_map(rig.client, id, 0, 1, 0, &p), -EINVAL);
	assert_rc(rig_advise(rig.client, id, VB_ADVISE_PREFETCH, 0, 101), -ERANGE);
	assert_rc(rig_advise(rig.client, id, VB_ADVISE_PREFETCH, 0, 0), -EINVAL);
	assert_rc(rig_advise(rig.client, id, 0, 0, 1), -EINVAL);
	assert_rc(rig_advise(rig.client, id, 5, 0, 1), -EINVAL);
	rw.bo_id = id;
	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_BO_READ, &rw), 0);	/* nothing, nowhere */
}

static void objects_larger_than_the_host_tier_are_streamed(void **state)
{
	uint64_t bytes = (uint64_t)(HOST_SLOTS + 10) * rig.chunk_bytes;
	uint8_t *data = pattern_bytes(bytes, 1), *got = malloc(bytes);
	uint32_t id;

	(void)state;
	assert_rc(rig_bo(rig.client, bytes, VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_write(rig.client, id, 0, data, bytes), 0);
	assert_rc(rig_read(rig.client, id, 0, got, bytes), 0);
	assert_memory_equal(got, data, bytes);
	free(data);
	free(got);
}

static void files_larger_than_the_host_tier_are_streamed(void **state)
{
	uint64_t bytes = (uint64_t)(HOST_SLOTS + 5) * rig.chunk_bytes - 1234;
	int fd = rig_file(&rig, bytes);
	uint8_t *got = malloc(bytes);
	uint32_t id;

	(void)state;
	assert_rc(rig_bo_file(rig.client, fd, 100, bytes - 100, &id), 0);
	for (int pass = 0; pass < 2; pass++) {
		assert_rc(rig_read(rig.client, id, 0, got, bytes - 100), 0);
		expect_file_bytes(got, 100, bytes - 100);
	}
	free(got);
	close(fd);
}

static void unaligned_writes_keep_their_neighbours(void **state)
{
	uint64_t bytes = 2 * rig.chunk_bytes;
	uint8_t *model = calloc(1, bytes), *got = malloc(bytes);
	uint32_t id, seed = 1;

	(void)state;
	assert_rc(rig_bo(rig.client, bytes, VB_LIFE_VOLATILE, &id), 0);
	for (int i = 0; i < 200; i++) {
		uint64_t at, n;

		seed = seed * 1664525u + 1013904223u;
		at = seed % bytes;
		seed = seed * 1664525u + 1013904223u;
		n = seed % 5000 < bytes - at ? seed % 5000 : bytes - at;
		memset(model + at, i, n);
		assert_rc(rig_write(rig.client, id, at, model + at, n), 0);
	}
	assert_rc(rig_read(rig.client, id, 0, got, bytes), 0);
	assert_memory_equal(got, model, bytes);
	free(model);
	free(got);
}

/* ---- map ---- */

static void mapping_shows_what_was_written_and_keeps_what_is_stored(void **state)
{
	uint64_t bytes = 4 * rig.chunk_bytes;
	uint8_t *data = pattern_bytes(bytes, 2), *got = malloc(bytes), *p;
	uint32_t id;

	(void)state;
	assert_rc(rig_bo(rig.client, bytes, VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_write(rig.client, id, 0, data, bytes), 0);
	assert_rc(rig_map(rig.client, id, 1000, bytes - 2000, VB_MAP_READ | VB_MAP_WRITE, (void **)&p), 0);
	assert_memory_equal(p, data + 1000, bytes - 2000);
	memset(p, 0x77, bytes - 2000);
	memset(data + 1000, 0x77, bytes - 2000);
	assert_rc(rig_unmap(rig.client, id, 1000, bytes - 2000, VB_MAP_READ | VB_MAP_WRITE), 0);
	assert_rc(rig_read(rig.client, id, 0, got, bytes), 0);
	assert_memory_equal(got, data, bytes);
	free(data);
	free(got);
}

static void mapped_file_begins_at_its_first_byte(void **state)
{
	uint64_t bytes = 3 * rig.chunk_bytes;
	int fd = rig_file(&rig, bytes + 5000);
	uint32_t id;
	uint8_t *p;

	(void)state;
	assert_rc(rig_bo_file(rig.client, fd, 4999, bytes, &id), 0);
	assert_rc(rig_map(rig.client, id, 0, bytes, VB_MAP_READ, (void **)&p), 0);
	expect_file_bytes(p, 4999, bytes);
	assert_rc(rig_unmap(rig.client, id, 0, bytes, VB_MAP_READ), 0);
	assert_rc(rig_map(rig.client, id, 12345, 10, VB_MAP_READ, (void **)&p), 0);
	expect_file_bytes(p, 4999 + 12345, 10);
	close(fd);
}

/* Chunks that lie scattered are laid side by side for a mapping. */
static void mapping_is_contiguous_whatever_was_resident(void **state)
{
	uint64_t bytes = 8 * rig.chunk_bytes;
	uint8_t *data = pattern_bytes(bytes, 3), *p;
	uint32_t id, noise[8];

	(void)state;
	assert_rc(rig_bo(rig.client, bytes, VB_LIFE_VOLATILE, &id), 0);
	for (uint32_t i = 0; i < 8; i++) {
		uint64_t at = (uint64_t)(i * 5 % 8) * rig.chunk_bytes;

		assert_rc(rig_write(rig.client, id, at, data + at, rig.chunk_bytes), 0);
		assert_rc(rig_bo(rig.client, 1, VB_LIFE_VOLATILE, &noise[i]), 0);
		assert_rc(rig_write(rig.client, noise[i], 0, data, 1), 0);
	}
	for (uint32_t i = 0; i < 8; i += 2)
		assert_rc(rig_bo_destroy(rig.client, noise[i]), 0);
	assert_rc(rig_map(rig.client, id, 0, bytes, VB_MAP_READ, (void **)&p), 0);
	assert_memory_equal(p, data, bytes);
	assert_rc(rig_unmap(rig.client, id, 0, bytes, VB_MAP_READ), 0);
	free(data);
}

static void mappings_nest_and_end_one_by_one(void **state)
{
	uint32_t id;
	void *a, *b;

	(void)state;
	assert_rc(rig_bo(rig.client, 1000, VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_map(rig.client, id, 0, 1000, VB_MAP_READ, &a), 0);
	assert_rc(rig_map(rig.client, id, 0, 1000, VB_MAP_READ, &b), 0);
	/* Of the module each mmap() has its own address. */
	if (rig_is_ours(&rig))
		assert_ptr_equal(a, b);
	assert_int_equal(rig_residency(rig.client, id, 0) & 1u << 5, 1u << 5);
	assert_rc(rig_unmap(rig.client, id, 0, 1000, VB_MAP_WRITE), -EINVAL);
	assert_rc(rig_unmap(rig.client, id, 0, 999, VB_MAP_READ), -EINVAL);
	assert_rc(rig_unmap(rig.client, id, 0, 1000, VB_MAP_READ), 0);
	assert_int_equal(rig_residency(rig.client, id, 0) & 1u << 5, 1u << 5);
	assert_rc(rig_unmap(rig.client, id, 0, 1000, VB_MAP_READ), 0);
	assert_int_equal(rig_residency(rig.client, id, 0) & 1u << 5, 0);
	assert_rc(rig_unmap(rig.client, id, 0, 1000, VB_MAP_READ), -EINVAL);
}

static void mapping_larger_than_tier_or_share_is_refused(void **state)
{
	uint64_t bytes = (uint64_t)(HOST_SLOTS + 1) * rig.chunk_bytes;
	uint32_t id;
	void *p;

	(void)state;
	assert_rc(rig_bo(rig.client, bytes, VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_map(rig.client, id, 0, bytes, VB_MAP_READ, &p), -ENOSPC);
	assert_rc(rig_limit(rig.client, VB_LIMIT_HOST_MAX, 4 * rig.chunk_bytes), 0);
	assert_rc(rig_map(rig.client, id, 0, 5 * rig.chunk_bytes, VB_MAP_READ, &p), -EDQUOT);
	assert_rc(rig_map(rig.client, id, 0, 3 * rig.chunk_bytes, VB_MAP_READ, &p), 0);
}

static void mapping_outlives_its_handle(void **state)
{
	uint32_t id;
	char *p;

	(void)state;
	assert_rc(rig_bo(rig.client, 1000, VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_map(rig.client, id, 0, 1000, VB_MAP_WRITE, (void **)&p), 0);
	assert_rc(rig_bo_destroy(rig.client, id), 0);
	strcpy(p, "still mine");
	assert_string_equal(p, "still mine");
}

/* ---- seal ---- */

static void sealed_and_file_objects_are_never_written(void **state)
{
	int fd = rig_file(&rig, 1000);
	uint32_t sealed, file, q, id[2];
	struct rig_stream s;
	char byte = 1;
	void *p;

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &q), 0);
	assert_rc(rig_bo(rig.client, 1000, VB_LIFE_VOLATILE, &sealed), 0);
	assert_rc(rig_write(rig.client, sealed, 0, &byte, 1), 0);
	assert_rc(rig_seal(rig.client, sealed), 0);
	assert_rc(rig_seal(rig.client, sealed), 0);
	assert_rc(rig_bo_file(rig.client, fd, 0, 1000, &file), 0);
	assert_rc(rig_seal(rig.client, file), 0);
	id[0] = sealed;
	id[1] = file;
	for (int i = 0; i < 2; i++) {
		assert_rc(rig_write(rig.client, id[i], 0, &byte, 1), -EROFS);
		assert_rc(rig_map(rig.client, id[i], 0, 1, VB_MAP_WRITE, &p), -EROFS);
		rig_stream(&s);
		rig_add_fill(&s, rig_add_bo(&s, id[i], VB_ACCESS_WRITE), 0, 1, 1.0f);
		assert_rc(rig_submit(rig.client, q, &s, NULL), -EROFS);
		/* A stream that writes what it declared to read is the executor's to refuse. */
		s.bos[0].access = VB_ACCESS_READ;
		assert_rc(rig_submit(rig.client, q, &s, NULL), 0);
		assert_true(rig_wait(rig.client, q, (uint64_t)i + 1, 10000) < 0);
		assert_rc(rig_map(rig.client, id[i], 0, 1, VB_MAP_READ, &p), 0);
	}
	close(fd);
}

static void seal_is_refused_while_something_may_write(void **state)
{
	uint32_t id;
	void *p;

	(void)state;
	assert_rc(rig_bo(rig.client, 1000, VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_map(rig.client, id, 0, 1, VB_MAP_WRITE, &p), 0);
	assert_rc(rig_seal(rig.client, id), -EBUSY);
	assert_rc(rig_unmap(rig.client, id, 0, 1, VB_MAP_WRITE), 0);
	assert_rc(rig_map(rig.client, id, 0, 1, VB_MAP_READ, &p), 0);
	assert_rc(rig_advise(rig.client, id, VB_ADVISE_PIN, 0, 1), 0);
	assert_rc(rig_seal(rig.client, id), -EBUSY);
	assert_rc(rig_advise(rig.client, id, VB_ADVISE_UNPIN, 0, 1), 0);
	assert_rc(rig_seal(rig.client, id), 0);
}

/* ---- advice ---- */

static void evicted_content_comes_back(void **state)
{
	uint64_t bytes = 4 * rig.chunk_bytes;
	uint8_t *data = pattern_bytes(bytes, 4), *got = malloc(bytes);
	struct vb_ioc_bo_info info;
	uint32_t id;

	(void)state;
	assert_rc(rig_bo(rig.client, bytes, VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_write(rig.client, id, 0, data, bytes), 0);
	assert_rc(rig_info(rig.client, id, &info), 0);
	assert_int_equal(info.out_tier_bytes[VB_TIER_HOST], bytes);
	assert_int_equal(info.out_dirty_bytes, bytes);
	assert_rc(rig_advise(rig.client, id, VB_ADVISE_EVICT, 0, bytes), 0);
	assert_rc(rig_info(rig.client, id, &info), 0);
	assert_int_equal(info.out_tier_bytes[VB_TIER_HOST], 0);
	assert_int_equal(info.out_tier_bytes[VB_TIER_NVME], bytes);
	assert_int_equal(info.out_dirty_bytes, 0);
	assert_rc(rig_read(rig.client, id, 0, got, bytes), 0);
	assert_memory_equal(got, data, bytes);
	free(data);
	free(got);
}

static void eviction_goes_around_what_is_pinned_or_mapped(void **state)
{
	struct vb_ioc_bo_advise a = { .size = sizeof(a), .advice = VB_ADVISE_EVICT };
	uint64_t bytes = 4 * rig.chunk_bytes;
	uint8_t *data = pattern_bytes(bytes, 5);
	uint32_t id;
	void *p;

	(void)state;
	assert_rc(rig_bo(rig.client, bytes, VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_write(rig.client, id, 0, data, bytes), 0);
	assert_rc(rig_advise(rig.client, id, VB_ADVISE_PIN, rig.chunk_bytes, 1), 0);
	assert_rc(rig_map(rig.client, id, 2 * rig.chunk_bytes, 1, VB_MAP_READ, &p), 0);
	a.bo_id = id;
	a.bytes = bytes;
	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_BO_ADVISE, &a), -EBUSY);
	assert_int_equal(a.out_bytes, 2 * rig.chunk_bytes);
	assert_int_equal(rig_residency(rig.client, id, 0) & 7, 1u << VB_TIER_NVME);
	assert_int_equal(rig_residency(rig.client, id, 1) & 1, 1);
	assert_int_equal(rig_residency(rig.client, id, 2) & 1, 1);
	free(data);
}

static void prefetch_brings_in_what_room_allows(void **state)
{
	uint64_t bytes = 4 * rig.chunk_bytes;
	int fd = rig_file(&rig, bytes);
	struct vb_ioc_bo_info info;
	uint32_t id;

	(void)state;
	assert_rc(rig_bo_file(rig.client, fd, 0, bytes, &id), 0);
	assert_rc(rig_advise(rig.client, id, VB_ADVISE_PREFETCH, 0, bytes), 0);
	for (int i = 0; i < 60000; i++) {
		assert_rc(rig_info(rig.client, id, &info), 0);
		if (info.out_tier_bytes[VB_TIER_HOST] == bytes)
			break;
		usleep(1000);
	}
	assert_int_equal(info.out_tier_bytes[VB_TIER_HOST], bytes);
	close(fd);
}

static void pins_nest_and_stay_within_the_minimum(void **state)
{
	uint32_t id;

	(void)state;
	assert_rc(rig_bo(rig.client, 8 * rig.chunk_bytes, VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_limit(rig.client, VB_LIMIT_HOST_MIN, 3 * rig.chunk_bytes), 0);
	assert_rc(rig_advise(rig.client, id, VB_ADVISE_UNPIN, 0, 1), -EINVAL);
	assert_rc(rig_advise(rig.client, id, VB_ADVISE_PIN, 0, 2 * rig.chunk_bytes), 0);
	assert_rc(rig_advise(rig.client, id, VB_ADVISE_PIN, 0, 2 * rig.chunk_bytes), -EDQUOT);
	assert_rc(rig_advise(rig.client, id, VB_ADVISE_PIN, 0, 1), 0);
	assert_rc(rig_advise(rig.client, id, VB_ADVISE_UNPIN, 0, 1), 0);
	assert_int_equal(rig_residency(rig.client, id, 0) & 1u << 5, 1u << 5);
	assert_rc(rig_advise(rig.client, id, VB_ADVISE_UNPIN, 0, 3 * rig.chunk_bytes), -EINVAL);
	assert_rc(rig_advise(rig.client, id, VB_ADVISE_UNPIN, 0, 2 * rig.chunk_bytes), 0);
	assert_int_equal(rig_residency(rig.client, id, 0) & 1u << 5, 0);
	assert_rc(rig_advise(rig.client, id, VB_ADVISE_PIN, 0, 3 * rig.chunk_bytes), 0);
	assert_rc(rig_bo_destroy(rig.client, id), 0);
}

static atomic_int wrong;
static atomic_bool finished;

static void *reader_of_a_chunk(void *arg)
{
	uint32_t id = *(uint32_t *)arg;
	uint8_t *to = malloc(rig.chunk_bytes);

	for (int i = 0; i < 100; i++)
		if (rig_read(rig.client, id, 0, to, rig.chunk_bytes))
			atomic_fetch_add(&wrong, 1);
	free(to);
	atomic_store(&finished, true);
	return NULL;
}

/* What a read holds is no pin of the client's: to let go of it would tear its bytes away. */
static void unpin_finds_no_pin_of_a_read(void **state)
{
	struct vb_ioc_limit cmd = { .size = sizeof(cmd), .limit = VB_LIMIT_HOST_MIN };
	pthread_t thread;
	uint32_t id;

	(void)state;
	atomic_store(&wrong, 0);
	atomic_store(&finished, false);
	assert_rc(rig_bo(rig.client, rig.chunk_bytes, VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_write(rig.client, id, 0, "x", 1), 0);
	assert_int_equal(pthread_create(&thread, NULL, reader_of_a_chunk, &id), 0);
	while (!atomic_load(&finished))
		if (rig_advise(rig.client, id, VB_ADVISE_UNPIN, 0, 1) != -EINVAL)
			atomic_fetch_add(&wrong, 1);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&wrong), 0);
	assert_rc(vgpu_uapi_call(rig.client, VB_IOC_LIMIT, &cmd), 0);
	assert_int_equal(cmd.out_used, 0);
}

static void pins_of_a_destroyed_object_are_given_back(void **state)
{
	uint32_t id;

	(void)state;
	assert_rc(rig_limit(rig.client, VB_LIMIT_HOST_MIN, 2 * rig.chunk_bytes), 0);
	for (int i = 0; i < 5; i++) {
		assert_rc(rig_bo(rig.client, 2 * rig.chunk_bytes, VB_LIFE_VOLATILE, &id), 0);
		for (int t = 0; t < 60000; t++) {
			int rc = rig_advise(rig.client, id, VB_ADVISE_PIN, 0, 2 * rig.chunk_bytes);

			if (rc != -EDQUOT)
				break;
			usleep(1000);	/* the executor forgets in its own time */
		}
		assert_int_equal(rig_residency(rig.client, id, 1) & 1u << 5, 1u << 5);
		assert_rc(rig_bo_destroy(rig.client, id), 0);
	}
}

/* ---- files that change ---- */

static void changed_file_is_estale(void **state)
{
	int fd = rig_file(&rig, 4 * rig.chunk_bytes);
	struct vb_ioc_bo_info info;
	struct rig_stream s;
	uint32_t file, to, q;
	char byte = 'x';

	(void)state;
	assert_rc(rig_queue(rig.client, 0, &q), 0);
	assert_rc(rig_bo(rig.client, 4096, VB_LIFE_VOLATILE, &to), 0);
	assert_rc(rig_bo_file(rig.client, fd, 0, 4 * rig.chunk_bytes, &file), 0);
	rig_stream(&s);
	rig_add_copy(&s, rig_add_bo(&s, file, VB_ACCESS_READ), rig_add_bo(&s, to, VB_ACCESS_WRITE), 100);
	assert_rc(rig_submit(rig.client, q, &s, NULL), 0);
	assert_rc(rig_wait(rig.client, q, 1, 10000), 0);
	usleep(20000);	/* change times are as coarse as the kernel's tick */
	assert_int_equal(pwrite(fd, &byte, 1, 0), 1);
	assert_rc(rig_submit(rig.client, q, &s, NULL), -ESTALE);
	assert_rc(rig_info(rig.client, file, &info), 0);
	assert_int_equal(info.out_flags & VB_BO_STALE, VB_BO_STALE);
	close(fd);
}

static void truncated_file_is_estale_and_not_zeros(void **state)
{
	int fd = rig_file(&rig, 4 * rig.chunk_bytes);
	uint8_t byte;
	uint32_t file;

	(void)state;
	assert_rc(rig_bo_file(rig.client, fd, 0, 4 * rig.chunk_bytes, &file), 0);
	usleep(20000);
	assert_int_equal(ftruncate(fd, rig.chunk_bytes), 0);
	assert_rc(rig_read(rig.client, file, 3 * rig.chunk_bytes, &byte, 1), -ESTALE);
	close(fd);
}

/* ---- threads ---- */

static uint32_t shared_file;

static void *mapper(void *arg)
{
	uint32_t seed = (uint32_t)(uintptr_t)arg;
	uint64_t total = 8 * rig.chunk_bytes;
	uint8_t got[64];

	for (int i = 0; i < 60; i++) {
		uint64_t at, n = 64;
		uint8_t *p;
		int rc;

		seed = seed * 1664525u + 1013904223u;
		at = seed % (total - 64);
		rc = rig_map(rig.client, shared_file, at, n, VB_MAP_READ, (void **)&p);
		if (rc) {
			/* Scattered, and others hold the pieces: that is allowed to fail. */
			if (rc != -EBUSY && rc != -ENOSPC)
				atomic_fetch_add(&wrong, 1);
		} else {
			for (uint64_t j = 0; j < n; j++)
				if (p[j] != rig_pattern(at + j))
					atomic_fetch_add(&wrong, 1);
			if (rig_unmap(rig.client, shared_file, at, n, VB_MAP_READ))
				atomic_fetch_add(&wrong, 1);
		}
		if (rig_read(rig.client, shared_file, at, got, n) ||
		    got[0] != rig_pattern(at) || got[63] != rig_pattern(at + 63))
			atomic_fetch_add(&wrong, 1);
		if (i % 16 == 0)
			rig_advise(rig.client, shared_file, VB_ADVISE_EVICT, 0, total);
	}
	return NULL;
}

static void threads_map_read_and_evict_one_object(void **state)
{
	int fd = rig_file(&rig, 8 * rig.chunk_bytes);
	pthread_t thread[8];

	(void)state;
	atomic_store(&wrong, 0);
	assert_rc(rig_bo_file(rig.client, fd, 0, 8 * rig.chunk_bytes, &shared_file), 0);
	for (uintptr_t i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, mapper, (void *)(i + 1)), 0);
	for (int i = 0; i < 8; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(atomic_load(&wrong), 0);
	close(fd);
}

static void *creator(void *arg)
{
	uint32_t seed = (uint32_t)(uintptr_t)arg;

	for (int i = 0; i < 40; i++) {
		uint8_t byte = (uint8_t)seed, got;
		uint64_t bytes = 1 + seed % (2 * rig.chunk_bytes);
		uint32_t id;

		seed = seed * 1664525u + 1013904223u;
		if (rig_bo(rig.client, bytes, VB_LIFE_VOLATILE, &id) ||
		    rig_read(rig.client, id, bytes - 1, &got, 1) || got ||
		    rig_write(rig.client, id, bytes - 1, &byte, 1) ||
		    rig_read(rig.client, id, bytes - 1, &got, 1) || got != byte ||
		    rig_bo_destroy(rig.client, id))
			atomic_fetch_add(&wrong, 1);
	}
	return NULL;
}

static void threads_create_use_and_destroy(void **state)
{
	pthread_t thread[8];

	(void)state;
	atomic_store(&wrong, 0);
	for (uintptr_t i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, creator, (void *)(i + 1)), 0);
	for (int i = 0; i < 8; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(atomic_load(&wrong), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(fields_that_do_not_fit_are_einval),
		TEST(file_errors_are_told_apart),
		TEST(derived_objects_must_fit_their_transform),
		TEST(blocks_are_packed_to_the_format_of_their_name),
		TEST(head_follows_the_files_blocks),
		TEST(file_may_be_closed_after_creation),
		TEST(many_objects_of_one_file_share_a_descriptor),
		TEST(space_runs_out_at_creation),
		TEST(space_never_runs_out_after_creation),
		TEST(bytes_are_limited_a_client),
		TEST(limits_that_are_none_are_einval),
		TEST(share_below_two_panels_is_enospc_at_submit),
		TEST(huge_sparse_file_costs_32_bytes_a_chunk),
		TEST(untouched_memory_reads_as_zero),
		TEST(ranges_outside_the_object_are_erange),
		TEST(objects_larger_than_the_host_tier_are_streamed),
		TEST(files_larger_than_the_host_tier_are_streamed),
		TEST(unaligned_writes_keep_their_neighbours),
		TEST(mapping_shows_what_was_written_and_keeps_what_is_stored),
		TEST(mapped_file_begins_at_its_first_byte),
		TEST(mapping_is_contiguous_whatever_was_resident),
		TEST(mappings_nest_and_end_one_by_one),
		TEST(mapping_larger_than_tier_or_share_is_refused),
		TEST(mapping_outlives_its_handle),
		TEST(sealed_and_file_objects_are_never_written),
		TEST(seal_is_refused_while_something_may_write),
		TEST(evicted_content_comes_back),
		TEST(eviction_goes_around_what_is_pinned_or_mapped),
		TEST(prefetch_brings_in_what_room_allows),
		TEST(pins_nest_and_stay_within_the_minimum),
		TEST(unpin_finds_no_pin_of_a_read),
		TEST(pins_of_a_destroyed_object_are_given_back),
		TEST(changed_file_is_estale),
		TEST(truncated_file_is_estale_and_not_zeros),
		TEST(threads_map_read_and_evict_one_object),
		TEST(threads_create_use_and_destroy),
	};
	int failed = 0;

	failed += SELFTEST_RUN("bo, slow executor", tests, RIG_FAKE, HOST_SLOTS, NVME_SLOTS);
	failed += SELFTEST_RUN("bo, executor", tests, RIG_REAL, HOST_SLOTS, NVME_SLOTS);
	return failed ? 1 : 0;
}
