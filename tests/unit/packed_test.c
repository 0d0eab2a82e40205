// SPDX-License-Identifier: MIT
/* Packed cache files: their bytes, what makes them stale, and what a failure leaves. */
#include "vgpu.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define HOST_BYTES ((uint64_t)8 << 20)

/* What the tests pack: floats to both formats, blocks to theirs, stacks, tails, large ones. */
static const struct shape {
	const char *name;
	struct vgpu_pack pack;
} shapes[] = {
	{ "plain", { VGPU_FORMAT_F32, VGPU_FORMAT_MXFP4_G16, 64, 256, 0, { 0 } } },
	{ "tails", { VGPU_FORMAT_F32, VGPU_FORMAT_MXFP4_G16, 37, 100, 1, { 0 } } },
	{ "f16", { VGPU_FORMAT_F16, VGPU_FORMAT_INT8_G16, 48, 96, 1, { 0 } } },
	{ "f16.mx", { VGPU_FORMAT_F16, VGPU_FORMAT_MXFP4_G16, 33, 130, 1, { 0 } } },
	{ "bf16", { VGPU_FORMAT_BF16, VGPU_FORMAT_MXFP4_G16, 17, 33, 3, { 0 } } },
	{ "bf16.i8", { VGPU_FORMAT_BF16, VGPU_FORMAT_INT8_G16, 5, 65, 2, { 0 } } },
	{ "a \"name\"/\303\274", { VGPU_FORMAT_F32, VGPU_FORMAT_INT8_G16, 40, 64, 2, { 0 } } },
	{ "large", { VGPU_FORMAT_F32, VGPU_FORMAT_MXFP4_G16, 1024, 2200, 1, { 0 } } },
	{ "small", { VGPU_FORMAT_F32, VGPU_FORMAT_INT8_G16, 1, 1, 1, { 0 } } },
	{ "large.i8", { VGPU_FORMAT_F32, VGPU_FORMAT_INT8_G16, 500, 2300, 1, { 0 } } },
	{ "q4_0", { VGPU_FORMAT_Q4_0, VGPU_FORMAT_Q4_0_G16, 37, 96, 2, { 0 } } },
	{ "q5_1", { VGPU_FORMAT_Q5_1, VGPU_FORMAT_Q5_1_G16, 17, 160, 1, { 0 } } },
	{ "large.q4_k", { VGPU_FORMAT_Q4_K, VGPU_FORMAT_Q4_K_G16, 1000, 2304, 1, { 0 } } },
	{ "q6_k", { VGPU_FORMAT_Q6_K, VGPU_FORMAT_Q6_K_G16, 19, 512, 3, { 0 } } },
};
#define ITEMS (sizeof(shapes) / sizeof(shapes[0]))

/* A folder with a source, its items, and a device unless a test opens its own. */
struct rig {
	char folder[80], source[96], cache[96];
	int fd;
	struct vgpu_pack_item items[ITEMS];
	struct vgpu *v;
};

static struct vgpu *open_device(void)
{
	struct vgpu_config config = {
		.size = sizeof(config), .chunk_bytes = 64 << 10, .host_bytes = HOST_BYTES,
		.threads = 2,
	};
	struct vgpu *v = NULL;

	assert_int_equal(vgpu_open_embedded(&config, &v), 0);
	return v;
}

/*
 * A finite number of the format, positive or negative, of any size between 2^-6 and 2^6.  Blocks
 * are made of halves, whatever they are for: their scales are such, then.
 */
static void put_value(uint8_t *at, enum vgpu_format format, uint32_t random)
{
	uint32_t f32 = (random & 0x80000000u) | (121u + random % 12u) << 23 | (random >> 8 & 0x7fffff);
	uint32_t half = (random & 0x8000u) | (9u + random % 12u) << 10 | (random >> 20 & 0x3ff);

	if (format == VGPU_FORMAT_F32)
		memcpy(at, &f32, 4);
	else if (format == VGPU_FORMAT_BF16)
		memcpy(at, (uint8_t *)&f32 + 2, 2);
	else
		memcpy(at, &half, 2);
}

static uint64_t source_bytes(const struct vgpu_pack *p)
{
	uint64_t one;

	assert_int_equal(vgpu_matrix_bytes(p->source_format, p->rows, p->cols, &one), 0);
	return one * (p->stack ? p->stack : 1);
}

/* Items lie at odd places, as tensors of old checkpoints may. */
static void write_source(struct rig *r)
{
	uint64_t at = 13, bytes;
	uint32_t random = 12345;

	for (size_t i = 0; i < ITEMS; i++) {
		const struct vgpu_pack *p = &shapes[i].pack;
		uint64_t width = p->source_format == VGPU_FORMAT_F32 ? 4 : 2;
		uint8_t *values;

		bytes = source_bytes(p);
		values = malloc(bytes);
		assert_non_null(values);
		for (uint64_t j = 0; j < bytes; j += width) {
			random = random * 1664525u + 1013904223u;
			put_value(values + j, p->source_format, random ^ random >> 15);
		}
		assert_int_equal(pwrite(r->fd, values, bytes, (off_t)at), (ssize_t)bytes);
		free(values);
		r->items[i] = (struct vgpu_pack_item){ .name = shapes[i].name, .fd = r->fd,
							.offset = at, .pack = *p };
		at += bytes + 3;
	}
	/* Where no item lies, so that a test may change it. */
	assert_int_equal(ftruncate(r->fd, (off_t)(at + (1 << 20))), 0);
}

static int setup_files(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	strcpy(r->folder, "/tmp/vgpu-packed-XXXXXX");
	assert_non_null(mkdtemp(r->folder));
	snprintf(r->source, sizeof(r->source), "%s/source", r->folder);
	snprintf(r->cache, sizeof(r->cache), "%s/cache", r->folder);
	r->fd = open(r->source, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	assert_true(r->fd >= 0);
	write_source(r);
	*state = r;
	return 0;
}

static int setup(void **state)
{
	setup_files(state);
	((struct rig *)*state)->v = open_device();
	return 0;
}

/* Entries of the folder, "." and ".." not counted. */
static unsigned int entries(const struct rig *r)
{
	DIR *d = opendir(r->folder);
	unsigned int n = 0;

	assert_non_null(d);
	for (struct dirent *e = readdir(d); e; e = readdir(d))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static int teardown(void **state)
{
	struct rig *r = *state;
	DIR *d = opendir(r->folder);

	vgpu_close(r->v);
	close(r->fd);
	for (struct dirent *e = readdir(d); e; e = readdir(d))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			unlinkat(dirfd(d), e->d_name, e->d_type == DT_DIR ? AT_REMOVEDIR : 0);
	closedir(d);
	rmdir(r->folder);
	free(r);
	return 0;
}

static void assert_ok(int rc)
{
	if (rc)
		fail_msg("%s: %s", strerror(-rc), vgpu_error_text());
}

static void build(struct rig *r)
{
	assert_ok(vgpu_packed_build(r->v, r->cache, r->items, ITEMS, NULL, NULL));
	assert_ok(vgpu_packed_check(r->cache, r->items, ITEMS));
}

static void assert_says(const char *part)
{
	if (!strstr(vgpu_error_text(), part))
		fail_msg("\"%s\" does not say \"%s\"", vgpu_error_text(), part);
}

/* ---- bytes ---- */

/* A packed file, open as any checkpoint is. */
struct opened {
	struct vgpu_checkpoint *ck;
	struct vgpu_bo *bo;
};

static struct opened open_cache(const struct rig *r)
{
	struct opened o;
	struct vgpu_error error;

	if (vgpu_checkpoint_open(r->cache, &o.ck, &error))
		fail_msg("%s", error.text);
	assert_ok(vgpu_bo_create_file(r->v, vgpu_checkpoint_file_fd(o.ck, 0), 0, 0, &o.bo));
	return o;
}

static void close_cache(struct opened *o)
{
	vgpu_bo_destroy(o->bo);
	vgpu_checkpoint_close(o->ck);
}

static void assert_same_bytes(struct rig *r, const struct opened *o,
			      const struct vgpu_pack_item *item)
{
	uint32_t stack = item->pack.stack ? item->pack.stack : 1;
	struct vgpu_bo *derived;
	struct vgpu_array a;
	uint64_t bytes;
	uint8_t *want, *have;

	assert_ok(vgpu_packed_array(o->ck, item->name, o->bo, &a));
	assert_int_equal(a.format, item->pack.packed_format);
	assert_int_equal(a.rank, stack > 1 ? 3 : 2);
	assert_int_equal(a.shape[0], stack > 1 ? stack : item->pack.rows);
	assert_int_equal(a.shape[a.rank - 2], item->pack.rows);
	assert_int_equal(a.shape[a.rank - 1], item->pack.cols);
	assert_ok(vgpu_bo_create_packed(r->v, item->fd, item->offset, &item->pack, &derived));
	bytes = vgpu_bo_bytes(derived);
	assert_int_equal(a.offset % (bytes < 1 << 20 ? 64 : 4096), 0);
	want = malloc(bytes);
	have = malloc(bytes);
	assert_non_null(want);
	assert_non_null(have);
	assert_ok(vgpu_bo_read(derived, 0, want, bytes));
	assert_ok(vgpu_bo_read(a.bo, a.offset, have, bytes));
	assert_memory_equal(have, want, bytes);
	free(want);
	free(have);
	vgpu_bo_destroy(derived);
}

static void packed_bytes_equal_those_of_derived_objects(void **state)
{
	struct rig *r = *state;
	struct opened o;

	build(r);
	assert_int_equal(entries(r), 2);
	o = open_cache(r);
	assert_int_equal(vgpu_checkpoint_tensor_count(o.ck), ITEMS);
	for (size_t i = 0; i < ITEMS; i++)
		assert_same_bytes(r, &o, &r->items[i]);
	close_cache(&o);
}

static void multiply(struct rig *r, struct vgpu_array w, uint32_t n, uint32_t k, float *out)
{
	struct vgpu_bo *x, *y;
	struct vgpu_queue *q;
	struct vgpu_cmdbuf *cb;
	struct vgpu_matmul c = { .mode = VGPU_MODE_A16, .w = w };

	assert_ok(vgpu_bo_create(r->v, k * 4, VGPU_LIFE_VOLATILE, &x));
	assert_ok(vgpu_bo_create(r->v, n * 4, VGPU_LIFE_VOLATILE, &y));
	assert_ok(vgpu_queue_create(r->v, 0, &q));
	assert_ok(vgpu_cmdbuf_create(r->v, &cb));
	c.x = vgpu_matrix(x, 0, VGPU_FORMAT_F32, 1, k);
	c.y = vgpu_matrix(y, 0, VGPU_FORMAT_F32, 1, n);
	assert_ok(vgpu_cmd_fill(cb, 1.0f, c.x));
	assert_ok(vgpu_cmd_matmul(cb, &c));
	assert_ok(vgpu_finish(q, cb));
	assert_ok(vgpu_bo_read(y, 0, out, n * 4));
	vgpu_cmdbuf_destroy(cb);
	vgpu_queue_destroy(q);
	vgpu_bo_destroy(x);
	vgpu_bo_destroy(y);
}

static void packed_arrays_are_operands(void **state)
{
	struct rig *r = *state;
	const struct vgpu_pack *p = &r->items[1].pack;
	float *have = calloc(p->rows, sizeof(*have)), *want = calloc(p->rows, sizeof(*want));
	struct vgpu_array from_file;
	struct vgpu_bo *derived;
	struct opened o;

	assert_non_null(have);
	assert_non_null(want);
	build(r);
	o = open_cache(r);
	assert_ok(vgpu_packed_array(o.ck, r->items[1].name, o.bo, &from_file));
	assert_ok(vgpu_bo_create_packed(r->v, r->fd, r->items[1].offset, p, &derived));
	multiply(r, from_file, p->rows, p->cols, have);
	multiply(r, vgpu_matrix(derived, 0, p->packed_format, p->rows, p->cols), p->rows, p->cols,
		 want);
	assert_memory_equal(have, want, p->rows * sizeof(*have));
	assert_true(have[0] != 0.0f);
	vgpu_bo_destroy(derived);
	close_cache(&o);
	free(have);
	free(want);
}

/* ---- fitting ---- */

static void packed_file_that_fits_is_left_alone(void **state)
{
	struct rig *r = *state;
	struct stat before, after;

	build(r);
	assert_int_equal(stat(r->cache, &before), 0);
	build(r);
	assert_int_equal(stat(r->cache, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	/* Neither a new ctime of the source nor fewer items make another file. */
	assert_int_equal(fchmod(r->fd, 0600), 0);
	assert_ok(vgpu_packed_check(r->cache, r->items, ITEMS));
	assert_ok(vgpu_packed_check(r->cache, r->items, 3));
}

static void packed_absent_file_is_enoent(void **state)
{
	struct rig *r = *state;

	assert_int_equal(vgpu_packed_check(r->cache, r->items, ITEMS), -ENOENT);
	assert_says(r->cache);
}

static void packed_item_that_differs_is_stale(void **state)
{
	struct rig *r = *state;
	struct vgpu_pack_item item = r->items[0];

	build(r);
	item.offset++;
	assert_int_equal(vgpu_packed_check(r->cache, &item, 1), -ESTALE);
	assert_says("offset=");
	item = r->items[0];
	item.pack.rows--;
	assert_int_equal(vgpu_packed_check(r->cache, &item, 1), -ESTALE);
	assert_says("rows=63");
	item = r->items[0];
	item.pack.packed_format = VGPU_FORMAT_INT8_G16;
	assert_int_equal(vgpu_packed_check(r->cache, &item, 1), -ESTALE);
	assert_says("int8-g16");
	item = r->items[0];
	item.name = "other";
	assert_int_equal(vgpu_packed_check(r->cache, &item, 1), -ESTALE);
	assert_says("tensor:other");
}

static void set_mtime(const struct rig *r, struct timespec mtime)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, mtime };

	assert_int_equal(futimens(r->fd, times), 0);
}

static struct timespec mtime_of(const struct rig *r)
{
	struct stat st;

	assert_int_equal(fstat(r->fd, &st), 0);
	return st.st_mtim;
}

/* The cache is stale, for this reason, and building mends it. */
static void assert_stale(struct rig *r, const char *reason)
{
	assert_int_equal(vgpu_packed_check(r->cache, r->items, ITEMS), -ESTALE);
	assert_says(reason);
	build(r);
	assert_int_equal(entries(r), 2);
}

static void packed_source_of_another_size_is_stale(void **state)
{
	struct rig *r = *state;
	struct timespec mtime = mtime_of(r);

	build(r);
	assert_int_equal(ftruncate(r->fd, lseek(r->fd, 0, SEEK_END) + 1), 0);
	set_mtime(r, mtime);
	assert_stale(r, "source:0 was \"bytes=");
}

static void packed_source_of_another_time_is_stale(void **state)
{
	struct rig *r = *state;
	struct timespec mtime = mtime_of(r);

	build(r);
	mtime.tv_nsec ^= 1;
	set_mtime(r, mtime);
	assert_stale(r, "mtime_ns=");
}

static void change_byte(struct rig *r, off_t at)
{
	struct timespec mtime = mtime_of(r);

	assert_int_equal(pwrite(r->fd, "!", 1, at), 1);
	set_mtime(r, mtime);
}

static void packed_source_with_other_ends_is_stale(void **state)
{
	struct rig *r = *state;

	build(r);
	change_byte(r, 3);
	assert_stale(r, "crc32c=");
	change_byte(r, lseek(r->fd, 0, SEEK_END) - 1);
	assert_stale(r, "crc32c=");
}

static void packed_source_that_was_replaced_is_stale(void **state)
{
	struct rig *r = *state;
	struct timespec mtime = mtime_of(r);
	off_t bytes = lseek(r->fd, 0, SEEK_END);
	char *all = malloc((size_t)bytes);

	assert_non_null(all);
	build(r);
	assert_int_equal(pread(r->fd, all, (size_t)bytes, 0), bytes);
	/* The old file keeps its inode as long as it is open. */
	assert_int_equal(unlink(r->source), 0);
	r->items[0].fd = open(r->source, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	assert_int_equal(write(r->items[0].fd, all, (size_t)bytes), bytes);
	close(r->fd);
	r->fd = r->items[0].fd;
	for (size_t i = 0; i < ITEMS; i++)
		r->items[i].fd = r->fd;
	set_mtime(r, mtime);
	free(all);
	assert_stale(r, "ino=");
}

static void packed_file_that_was_cut_is_replaced(void **state)
{
	struct rig *r = *state;
	struct stat st;

	build(r);
	assert_int_equal(stat(r->cache, &st), 0);
	assert_int_equal(truncate(r->cache, st.st_size - 1), 0);
	assert_stale(r, "is damaged");
	assert_int_equal(truncate(r->cache, 100), 0);
	assert_stale(r, "is damaged");
}

/* ---- what is not ours ---- */

static void assert_foreign(struct rig *r)
{
	assert_int_equal(vgpu_packed_check(r->cache, r->items, ITEMS), -EEXIST);
	assert_int_equal(vgpu_packed_build(r->v, r->cache, r->items, ITEMS, NULL, NULL), -EEXIST);
	assert_says("no packed file");
	assert_int_equal(entries(r), 2);
}

static void packed_foreign_file_is_left_alone(void **state)
{
	static const char json[] = "\x60\0\0\0\0\0\0\0{\"__metadata__\":{\"format\":\"pt\"},\"t\":"
				   "{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}"
				   "                      ";
	struct rig *r = *state;
	char after[sizeof(json)] = "";
	int fd = open(r->cache, O_RDWR | O_CREAT | O_EXCL, 0644);

	assert_foreign(r);
	assert_int_equal(write(fd, json, sizeof(json)), sizeof(json));
	assert_foreign(r);
	assert_int_equal(pread(fd, after, sizeof(after), 0), sizeof(json));
	assert_memory_equal(after, json, sizeof(json));
	close(fd);
	unlink(r->cache);
	assert_int_equal(mkfifo(r->cache, 0644), 0);
	assert_foreign(r);
	unlink(r->cache);
	assert_int_equal(mkdir(r->cache, 0755), 0);
	assert_foreign(r);
}

static int take_lock(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	return fd;
}

static void packed_parts_are_removed_when_their_builder_is_dead(void **state)
{
	static const char *const names[] = { "1.part", "1.2.part", "notes.part", "1.part.old" };
	struct rig *r = *state;
	char path[4][128];
	int fd[4];

	for (int i = 0; i < 4; i++) {
		snprintf(path[i], sizeof(path[i]), "%s.%s", r->cache, names[i]);
		fd[i] = take_lock(path[i]);
	}
	build(r);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(access(path[i], F_OK), 0);
		close(fd[i]);
	}
	unlink(r->cache);
	build(r);
	assert_int_equal(access(path[0], F_OK), -1);
	assert_int_equal(access(path[1], F_OK), -1);
	assert_int_equal(access(path[2], F_OK), 0);
	assert_int_equal(access(path[3], F_OK), 0);
}

/* ---- what a failure leaves ---- */

/* Progress that stops, or spoils the source, after so many bytes. */
struct meddler {
	struct rig *r;
	uint64_t after, last, total;
	bool spoil;
};

static int meddle(void *arg, uint64_t done, uint64_t total)
{
	struct meddler *m = arg;

	assert_true(done > m->last);
	assert_true(done <= total);
	m->last = done;
	m->total = total;
	if (done < m->after)
		return 0;
	if (!m->spoil)
		return -EINTR;
	set_mtime(m->r, (struct timespec){ .tv_sec = 1 });
	m->after = UINT64_MAX;
	return 0;
}

static void packed_interrupt_leaves_nothing(void **state)
{
	struct rig *r = *state;
	struct meddler m = { .r = r, .after = 100000 };
	struct stat before, after;

	assert_int_equal(vgpu_packed_build(r->v, r->cache, r->items, ITEMS, meddle, &m), -EINTR);
	assert_says("stopped after");
	assert_int_equal(entries(r), 1);
	m = (struct meddler){ .r = r, .after = UINT64_MAX };
	assert_ok(vgpu_packed_build(r->v, r->cache, r->items, ITEMS, meddle, &m));
	assert_int_equal(m.last, m.total);
	/* A stale file stays until there is a new one. */
	assert_int_equal(stat(r->cache, &before), 0);
	set_mtime(r, (struct timespec){ .tv_sec = 2 });
	m = (struct meddler){ .r = r };
	assert_int_equal(vgpu_packed_build(r->v, r->cache, r->items, ITEMS, meddle, &m), -EINTR);
	assert_int_equal(stat(r->cache, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(entries(r), 2);
}

static void packed_source_that_changes_meanwhile_leaves_nothing(void **state)
{
	struct rig *r = *state;
	struct meddler m = { .r = r, .after = 100000, .spoil = true };

	assert_int_equal(vgpu_packed_build(r->v, r->cache, r->items, ITEMS, meddle, &m), -ESTALE);
	assert_int_equal(entries(r), 1);
}

static void packed_nan_leaves_nothing(void **state)
{
	struct rig *r = *state;
	uint32_t nan = 0x7fc00000;

	assert_int_equal(pwrite(r->fd, &nan, 4, (off_t)r->items[1].offset + 400), 4);
	assert_int_equal(vgpu_packed_build(r->v, r->cache, r->items, ITEMS, NULL, NULL), -EDOM);
	assert_says("tails");
	assert_int_equal(entries(r), 1);
}

static void packed_file_above_the_size_limit_is_refused(void **state)
{
	struct rig *r = *state;
	struct rlimit old, small = { .rlim_cur = 1 << 20 };

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(vgpu_packed_build(r->v, r->cache, r->items, ITEMS, NULL, NULL), -EFBIG);
	assert_says("RLIMIT_FSIZE allows 1048576");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(entries(r), 1);
}

/* In a mount namespace of its own. Answers 0, or 77 when there is none to be had. */
static int build_on_a_full_disk(struct rig *r)
{
	strcat(r->folder, "/disk");
	snprintf(r->cache, sizeof(r->cache), "%s/cache", r->folder);
	if (mkdir(r->folder, 0755) || unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", r->folder, "tmpfs", 0, "size=1048576"))
		return 77;
	r->v = open_device();
	if (vgpu_packed_build(r->v, r->cache, r->items, ITEMS, NULL, NULL) != -ENOSPC)
		return 1;
	if (!strstr(vgpu_error_text(), "the file system has 1048576 free"))
		return 2;
	vgpu_close(r->v);
	return entries(r) ? 3 : 0;
}

static int wait_for(pid_t child)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void packed_file_that_does_not_fit_the_disk_is_refused(void **state)
{
	struct rig *r = *state;
	pid_t child = fork();
	int rc;

	if (!child)
		_exit(build_on_a_full_disk(r));
	rc = wait_for(child);
	if (rc == 77) {
		print_message("# SKIP a tmpfs cannot be mounted here\n");
		skip();
	}
	assert_int_equal(rc, 0);
}

/* ---- many at once ---- */

#define BUILDERS 3
#define ROUNDS 4

/* Remove what is there and build it, against others who do the same. */
static int build_again_and_again(struct rig *r)
{
	int rc = 0;

	r->v = open_device();
	for (int i = 0; i < ROUNDS && !rc; i++) {
		unlink(r->cache);
		rc = vgpu_packed_build(r->v, r->cache, r->items, ITEMS, NULL, NULL);
	}
	if (rc)
		print_error("%s\n", vgpu_error_text());
	vgpu_close(r->v);
	return rc ? 1 : 0;
}

static void packed_builders_do_not_harm_each_other(void **state)
{
	struct rig *r = *state;
	pid_t child[BUILDERS];

	for (int i = 0; i < BUILDERS; i++) {
		child[i] = fork();
		if (!child[i])
			_exit(build_again_and_again(r));
	}
	for (int i = 0; i < BUILDERS; i++)
		assert_int_equal(wait_for(child[i]), 0);
	assert_ok(vgpu_packed_check(r->cache, r->items, ITEMS));
	assert_int_equal(entries(r), 2);
}

/**
 * struct rival - one who builds the same file while we are at it
 * @r: where
 * @v: its own device; NULL until it began
 * @file: what it opened when it was done
 */
struct rival {
	struct rig *r;
	struct vgpu *v;
	int file;
};

static int let_it_finish(void *arg, uint64_t done, uint64_t total)
{
	struct rival *a = arg;

	(void)done;
	(void)total;
	if (a->v)
		return 0;
	a->v = open_device();
	assert_ok(vgpu_packed_build(a->v, a->r->cache, a->r->items, ITEMS, NULL, NULL));
	a->file = open(a->r->cache, O_RDONLY | O_CLOEXEC);
	assert_true(a->file >= 0);
	return 0;
}

static void packed_file_that_another_one_finished_stays(void **state)
{
	struct rival a = { .r = *state };
	struct stat theirs, there;

	assert_ok(vgpu_packed_build(a.r->v, a.r->cache, a.r->items, ITEMS, let_it_finish, &a));
	assert_non_null(a.v);
	assert_int_equal(fstat(a.file, &theirs), 0);
	assert_int_equal(stat(a.r->cache, &there), 0);
	assert_int_equal(there.st_ino, theirs.st_ino);
	assert_int_equal(theirs.st_nlink, 1);
	assert_int_equal(entries(a.r), 2);
	close(a.file);
	vgpu_close(a.v);
}

/* ---- input ---- */

static void refuse_item(struct rig *r, struct vgpu_pack_item item, int code, const char *says)
{
	assert_int_equal(vgpu_packed_build(r->v, r->cache, &item, 1, NULL, NULL), code);
	assert_says(says);
	assert_int_equal(vgpu_packed_check(r->cache, &item, 1), code);
	assert_int_equal(entries(r), 1);
}

static void packed_bad_items_are_refused(void **state)
{
	struct rig *r = *state;
	struct vgpu_pack_item good = r->items[0], bad = good;
	char long_name[1002];
	int pipes[2];

	memset(long_name, 'n', sizeof(long_name));
	long_name[1001] = 0;
	bad.name = "";
	refuse_item(r, bad, -EINVAL, "no name");
	bad.name = long_name;
	refuse_item(r, bad, -E2BIG, "1001 bytes");
	bad.name = "__metadata__";
	refuse_item(r, bad, -EINVAL, "__metadata__");
	bad = good;
	bad.pack.packed_format = VGPU_FORMAT_Q8_0;
	refuse_item(r, bad, -EINVAL, "no packed format");
	bad = good;
	bad.pack.scales.format = VGPU_FORMAT_F32;
	refuse_item(r, bad, -EINVAL, "scales that lie apart");
	bad = good;
	bad.pack.rows = 0;
	refuse_item(r, bad, -EINVAL, "0 x 256");
	bad = good;
	bad.offset = 1ull << 40;
	refuse_item(r, bad, -ERANGE, "end behind the source");
	bad = good;
	bad.offset = UINT64_MAX - 5;
	refuse_item(r, bad, -ERANGE, "end behind the source");
	assert_int_equal(pipe(pipes), 0);
	bad = good;
	bad.fd = pipes[0];
	refuse_item(r, bad, -EINVAL, "no regular file");
	close(pipes[0]);
	close(pipes[1]);
	r->items[1].name = r->items[0].name;
	assert_int_equal(vgpu_packed_check(r->cache, r->items, 2), -EINVAL);
	assert_says("twice");
	assert_int_equal(vgpu_packed_check(r->cache, r->items, 0), -EINVAL);
	assert_int_equal(vgpu_packed_check(r->cache, r->items, 60001), -E2BIG);
}

static void packed_file_grants_what_its_source_grants(void **state)
{
	struct rig *r = *state;
	struct stat st;

	assert_int_equal(fchmod(r->fd, 0600), 0);
	build(r);
	assert_int_equal(stat(r->cache, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

/* One tensor "t" of 8704 bytes, with this metadata. */
static void write_cache(struct rig *r, const char *layout, const char *text)
{
	char header[512];
	int n = snprintf(header + 8, sizeof(header) - 8, "{\"__metadata__\":{\"format\":"
			 "\"vblackwell-packed\",\"layout\":\"%s\",\"tensor:t\":\"%s\"},\"t\":"
			 "{\"dtype\":\"U8\",\"shape\":[8704],\"data_offsets\":[0,8704]}}", layout, text);
	int fd = open(r->cache, O_RDWR | O_CREAT | O_TRUNC, 0644);

	while ((n + 8) % 64)
		header[8 + n++] = ' ';
	memset(header, 0, 8);
	header[0] = (char)(n & 255);
	header[1] = (char)(n >> 8);
	assert_int_equal(write(fd, header, (size_t)n + 8), n + 8);
	assert_int_equal(ftruncate(fd, n + 8 + 8704), 0);
	close(fd);
}

static int take_array(struct rig *r, const char *layout, const char *text, const char *name)
{
	struct vgpu_array a;
	struct opened o;
	int rc;

	write_cache(r, layout, text);
	o = open_cache(r);
	rc = vgpu_packed_array(o.ck, name, o.bo, &a);
	close_cache(&o);
	return rc;
}

static void packed_array_believes_no_header(void **state)
{
	struct rig *r = *state;
	struct vgpu_array a;
	struct opened o;

	assert_ok(take_array(r, "1", "mxfp4-g16 rows=64 cols=128 stack=2 from=f32", "t"));
	assert_ok(take_array(r, "1", "q4-0-g16 rows=16 cols=928 stack=1 from=q4-0", "t"));
	assert_int_equal(take_array(r, "1", "q4-0 rows=16 cols=928 stack=1 ", "t"), -EINVAL);
	assert_int_equal(take_array(r, "1", "q4-0-g16 rows=16 cols=929 stack=1 ", "t"), -EINVAL);
	assert_int_equal(take_array(r, "1", "mxfp4-g16 rows=1 cols=1 stack=1 ", "t"), -EINVAL);
	assert_int_equal(take_array(r, "1", "mxfp4-g16 rows=64 cols=128 stack=2 ", "u"), -ENOENT);
	assert_int_equal(take_array(r, "2", "mxfp4-g16 rows=64 cols=128 stack=2 ", "t"), -ESTALE);
	assert_int_equal(take_array(r, "1", "mxfp4-g16 rows=64 cols=128 stack=4 ", "t"), -EINVAL);
	assert_int_equal(take_array(r, "1", "mxfp4-g16 rows=64 cols=128 stack=0 ", "t"), -EINVAL);
	assert_int_equal(take_array(r, "1", "mxfp4-g16 rows=0 cols=128 stack=2 ", "t"), -EINVAL);
	assert_int_equal(take_array(r, "1", "int8-g16 rows=128 cols=128 stack=2 ", "t"), -EINVAL);
	assert_int_equal(take_array(r, "1", "f32 rows=64 cols=34 stack=1 ", "t"), -EINVAL);
	assert_int_equal(take_array(r, "1", "mxfp4-g16 rows=4294967295 cols=4294967295 "
				    "stack=4294967295 ", "t"), -EINVAL);
	assert_int_equal(take_array(r, "1", "mxfp4-g16", "t"), -EINVAL);
	assert_says("8704 bytes");
	build(r);
	o = open_cache(r);
	vgpu_bo_destroy(o.bo);
	assert_ok(vgpu_bo_create_file(r->v, vgpu_checkpoint_file_fd(o.ck, 0), 0, 5000, &o.bo));
	assert_int_equal(vgpu_packed_array(o.ck, "large", o.bo, &a), -EINVAL);
	assert_says("the object at 5000");
	close_cache(&o);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
/* These fork, which is for programs without a device. */
#define TEST_FORK(f) cmocka_unit_test_setup_teardown(f, setup_files, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(packed_bytes_equal_those_of_derived_objects),
		TEST(packed_arrays_are_operands),
		TEST(packed_file_that_fits_is_left_alone),
		TEST(packed_absent_file_is_enoent),
		TEST(packed_item_that_differs_is_stale),
		TEST(packed_source_of_another_size_is_stale),
		TEST(packed_source_of_another_time_is_stale),
		TEST(packed_source_with_other_ends_is_stale),
		TEST(packed_source_that_was_replaced_is_stale),
		TEST(packed_file_that_was_cut_is_replaced),
		TEST(packed_foreign_file_is_left_alone),
		TEST(packed_parts_are_removed_when_their_builder_is_dead),
		TEST(packed_interrupt_leaves_nothing),
		TEST(packed_source_that_changes_meanwhile_leaves_nothing),
		TEST(packed_nan_leaves_nothing),
		TEST(packed_file_above_the_size_limit_is_refused),
		TEST_FORK(packed_file_that_does_not_fit_the_disk_is_refused),
		TEST_FORK(packed_builders_do_not_harm_each_other),
		TEST(packed_file_that_another_one_finished_stays),
		TEST(packed_bad_items_are_refused),
		TEST(packed_file_grants_what_its_source_grants),
		TEST(packed_array_believes_no_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
