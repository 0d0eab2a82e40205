// SPDX-License-Identifier: MIT
/*
 * What the executor knows of objects: found however many there are, gone when forgotten, and
 * no more of them, nor of their files, than there is room for.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "exec/object.h"
#include "exec/object_file.h"

#define OBJECTS	100000u

static uint32_t opened;

/* A device that has every object but those whose id is a multiple of 7. */
static int open_object(struct vgpu_uapi *u, unsigned long request, void *arg)
{
	static struct vb_table_entry table;
	struct vb_ioc_object_open *o = arg;

	(void)u;
	assert_int_equal(request, VB_IOC_OBJECT_OPEN);
	if (o->object % 7 == 0)
		return -ENOENT;
	opened++;
	o->out_kind = VB_BO_ANONYMOUS;
	o->out_fd = -1;
	o->out_chunks = 1;
	o->out_bytes = o->object;
	o->out_table_address = (uintptr_t)&table;
	return 0;
}

static const struct vgpu_uapi_ops ops = { .call = open_object };

/* The longest way to an object. */
static uint32_t longest(const struct vgpu_store *s)
{
	uint32_t most = 0;

	for (uint32_t i = 0; i < s->buckets; i++) {
		uint32_t n = 0;

		for (const struct vgpu_object *o = s->bucket[i]; o; o = o->next)
			n++;
		most = n > most ? n : most;
	}
	return most;
}

static void object_is_found_at_once_among_many(void **state)
{
	struct vgpu_uapi node = { &ops };
	struct vgpu_store s = { 0 };
	struct vgpu_object *o;

	(void)state;
	opened = 0;
	assert_int_equal(vgpu_store_init(&s, &node, NULL), 0);
	for (uint32_t id = 1; id <= OBJECTS; id++)
		assert_int_equal(vgpu_store_get(&s, id, &o), id % 7 ? 0 : -ENOENT);
	assert_int_equal(s.count, OBJECTS - OBJECTS / 7);
	assert_in_range(longest(&s), 1, 8);
	for (uint32_t id = 1; id <= OBJECTS; id++) {
		o = vgpu_store_find(&s, id);
		assert_int_equal(o != NULL, id % 7 != 0);
		assert_true(!o || (o->id == id && o->bytes == id));
	}
	/* None was opened twice. */
	assert_int_equal(opened, s.count);
	for (uint32_t id = 1; id <= OBJECTS; id += 2)
		vgpu_store_forget(&s, id);
	for (uint32_t id = 1; id <= OBJECTS; id++)
		assert_int_equal(vgpu_store_find(&s, id) != NULL, id % 2 == 0 && id % 7);
	vgpu_store_destroy(&s);
}

/* ---- a device that shows so many tables at once ---- */

#define TABLES	100u

static struct vgpu_store *shown;

static int show_table(struct vgpu_uapi *u, uint64_t offset, size_t bytes, bool write, void **out)
{
	(void)u;
	(void)offset;
	(void)write;
	if (shown->count >= TABLES)
		return -ENOMEM;
	*out = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return *out == MAP_FAILED ? -errno : 0;
}

static const struct vgpu_uapi_ops few_tables = { .call = open_object, .map = show_table };

static void object_that_nobody_has_makes_room_for_another(void **state)
{
	struct vgpu_uapi node = { &few_tables };
	struct vgpu_store s = { 0 };
	struct vgpu_object *o, *kept;

	(void)state;
	shown = &s;
	assert_int_equal(vgpu_store_init(&s, &node, NULL), 0);
	assert_int_equal(vgpu_store_get(&s, 1, &kept), 0);
	vgpu_object_hold(&s, kept);
	for (uint32_t id = 2; id <= 20 * TABLES; id++)
		assert_int_equal(vgpu_store_get(&s, id, &o), id % 7 ? 0 : -ENOENT);
	assert_int_equal(s.count, TABLES);
	assert_ptr_equal(vgpu_store_find(&s, 1), kept);
	/* The oldest went. */
	assert_non_null(vgpu_store_find(&s, 20 * TABLES));
	assert_null(vgpu_store_find(&s, 2));
	/* Who lets go of one makes it the youngest of those that may go. */
	vgpu_object_release(&s, kept);
	for (uint32_t id = 3; id <= TABLES; id++)
		vgpu_store_get(&s, id, &o);
	assert_non_null(vgpu_store_find(&s, 1));
	vgpu_store_destroy(&s);
}

static void object_finds_no_room_while_all_are_in_use(void **state)
{
	struct vgpu_uapi node = { &few_tables };
	struct vgpu_store s = { 0 };
	struct vgpu_object *o;
	uint32_t id = 1;

	(void)state;
	shown = &s;
	assert_int_equal(vgpu_store_init(&s, &node, NULL), 0);
	for (; s.count < TABLES; id++) {
		if (!vgpu_store_get(&s, id, &o))
			vgpu_object_hold(&s, o);
	}
	id += id % 7 == 0;
	assert_int_equal(vgpu_store_get(&s, id, &o), -ENOMEM);
	assert_int_equal(s.count, TABLES);
	vgpu_store_destroy(&s);
}

/* ---- a device whose objects have a file each ---- */

#define FILE_BYTES	65536u

static int (*make_file)(void);

static int open_file_object(struct vgpu_uapi *u, unsigned long request, void *arg)
{
	struct vb_ioc_object_open *o = arg;
	int rc = open_object(u, request, arg);

	if (rc)
		return rc;
	o->out_kind = VB_BO_FILE;
	o->out_client = 1;
	o->out_bytes = FILE_BYTES;
	o->out_fd = make_file();
	return o->out_fd < 0 ? -EMFILE : 0;
}

static const struct vgpu_uapi_ops with_file = { .call = open_file_object };

static int make_memory(void)
{
	int fd = memfd_create("object", MFD_CLOEXEC);

	if (fd >= 0)
		assert_int_equal(ftruncate(fd, FILE_BYTES), 0);
	return fd;
}

static struct vgpu_io *engine(void)
{
	struct vgpu_io *io;

	assert_int_equal(vgpu_io_open(&(struct vgpu_io_params){ .engine = "threads" }, &io), 0);
	return io;
}

static uint32_t threads(void)
{
	DIR *d = opendir("/proc/self/task");
	uint32_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static uint32_t threads_of_main;

static void *nothing(void *arg)
{
	return arg;
}

/* A sanitizer begins one of its own with the first; who was joined takes a moment to vanish. */
static void count_threads_of_main(void)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, nothing, NULL), 0);
	pthread_join(thread, NULL);
	threads_of_main = threads();
	for (uint32_t i = 0; i < 50; i++) {
		usleep(1000);
		threads_of_main = threads() < threads_of_main ? threads() : threads_of_main;
	}
}

/* Who closes the last files of the test before ends in its own time. */
static void await_closers(void)
{
	uint64_t end = vgpu_now_ns() + 20000000000ull;

	while (threads() > threads_of_main && vgpu_now_ns() < end)
		usleep(1000);
}

static void store_open(struct vgpu_store *s, struct vgpu_uapi *node, int (*make)(void))
{
	await_closers();
	make_file = make;
	node->ops = &with_file;
	*s = (struct vgpu_store){ 0 };
	assert_int_equal(vgpu_store_init(s, node, engine()), 0);
}

static void store_close(struct vgpu_store *s)
{
	struct vgpu_io *io = s->io;

	s->io = NULL;
	assert_int_equal(vgpu_io_close(io), 0);
	vgpu_store_destroy(s);
}

/* The executor comes back until it is open. */
static int file_ready(struct vgpu_store *s, struct vgpu_object *o)
{
	uint64_t end = vgpu_now_ns() + 20ull * 1000000000u;
	int rc;

	while ((rc = vgpu_store_file_ready(s, o->file)) == -EAGAIN && vgpu_now_ns() < end)
		usleep(100);
	return rc;
}

/* More files than the engine takes, every one in use by somebody. */
static void file_is_read_however_many_there_are(void **state)
{
	enum { FILES = VGPU_IO_FILES_MAX + 50 };
	static struct vgpu_object *o[FILES];
	struct rlimit many;
	struct vgpu_uapi node;
	struct vgpu_store s;
	uint32_t id = 1;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &many), 0);
	many.rlim_cur = many.rlim_max;
	if (many.rlim_max < 4 * FILES) {
		print_message("SKIP: %u descriptors are not to be had\n", 4 * FILES);
		skip();
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &many), 0);
	store_open(&s, &node, make_memory);
	for (uint32_t i = 0; i < FILES; i++, id++) {
		id += id % 7 == 0;
		assert_int_equal(vgpu_store_get(&s, id, &o[i]), 0);
		vgpu_object_hold(&s, o[i]);
		assert_int_equal(file_ready(&s, o[i]), 0);
	}
	for (uint32_t i = 0; i < FILES; i++) {
		struct vgpu_io_req *done, req = { .bytes = FILE_BYTES, .buf_index = -1 };

		assert_int_equal(file_ready(&s, o[i]), 0);
		req.file = o[i]->file->index;
		req.buf = aligned_alloc(4096, FILE_BYTES);
		vgpu_io_submit(s.io, &req);
		assert_int_equal(vgpu_io_reap(s.io, 1, 1, 20000000000ll, &done), 1);
		assert_int_equal(req.result, 0);
		free(req.buf);
	}
	store_close(&s);
}

/* ---- the engine is another one from the first file on ---- */

static int measure_nothing(int fd, uint32_t chunk_bytes, uint64_t bytes,
			   struct vgpu_io_probe_result *out)
{
	(void)fd;
	(void)chunk_bytes;
	(void)bytes;
	(void)out;
	return 0;
}

static struct vgpu_measure wants_nothing(void *arg, uint64_t bytes)
{
	(void)arg;
	(void)bytes;
	return (struct vgpu_measure){ .fn = measure_nothing };
}

static void chose_another(void *arg, const struct vgpu_io_probe_result *found)
{
	struct vgpu_store *s = arg;
	struct vgpu_io *old = s->io;

	(void)found;
	assert_int_equal(vgpu_store_move(s, engine()), 0);
	assert_int_equal(vgpu_io_close(old), 0);
}

static void file_is_known_once_to_the_engine_that_it_chose(void **state)
{
	struct vgpu_io_file_info info;
	struct vgpu_object *o;
	struct vgpu_uapi node;
	struct vgpu_store s;

	(void)state;
	store_open(&s, &node, make_memory);
	s.wants = wants_nothing;
	s.chose = chose_another;
	s.choose_arg = &s;
	for (uint32_t id = 1; id <= 3; id++) {
		assert_int_equal(vgpu_store_get(&s, id, &o), 0);
		assert_int_equal(file_ready(&s, o), 0);
		assert_int_equal(vgpu_io_file_get(s.io, o->file->index, &info), 0);
	}
	for (uint32_t i = 3; i < VGPU_IO_FILES_MAX; i++)
		assert_int_equal(vgpu_io_file_get(s.io, i, &info), -EINVAL);
	store_close(&s);
}

/* ---- files that take their time ---- */

static int measure_for_50_ms(int fd, uint32_t chunk_bytes, uint64_t bytes,
			     struct vgpu_io_probe_result *out)
{
	usleep(50000);
	return measure_nothing(fd, chunk_bytes, bytes, out);
}

static struct vgpu_measure wants_50_ms(void *arg, uint64_t bytes)
{
	(void)arg;
	(void)bytes;
	return (struct vgpu_measure){ .fn = measure_for_50_ms };
}

static void chose_nothing(void *arg, const struct vgpu_io_probe_result *found)
{
	(void)arg;
	(void)found;
}

/* None of them is slow by itself. */
static void files_that_open_one_after_the_other_keep_nobody_waiting(void **state)
{
	struct vgpu_object *o;
	struct vgpu_uapi node;
	struct vgpu_store s;
	uint64_t ns = 0;

	(void)state;
	store_open(&s, &node, make_memory);
	s.wants = wants_50_ms;
	s.chose = chose_nothing;
	for (uint32_t id = 1, n = 0; n < 40; id++) {
		uint64_t start = vgpu_now_ns();

		if (vgpu_store_get(&s, id, &o))
			continue;
		ns += vgpu_now_ns() - start;
		n++;
		/* Before the next one it is open, so that its client has none that is slow. */
		assert_int_equal(file_ready(&s, o), 0);
	}
	/* 40 of them took two seconds, of which a tenth may be waited, and what may be at once. */
	assert_in_range(ns, 0, 1000000000);
	store_close(&s);
}

/* ---- too few descriptors ---- */

static atomic_bool taken;

/* The file is not opened before. */
static int measure_until_taken(int fd, uint32_t chunk_bytes, uint64_t bytes,
			       struct vgpu_io_probe_result *out)
{
	while (!atomic_load(&taken))
		usleep(1000);
	return measure_nothing(fd, chunk_bytes, bytes, out);
}

static struct vgpu_measure wants_until_taken(void *arg, uint64_t bytes)
{
	(void)arg;
	(void)bytes;
	return (struct vgpu_measure){ .fn = measure_until_taken };
}

/* None is left; undo with descriptors_give_back(). */
static struct rlimit descriptors_take(void)
{
	struct rlimit was, none;
	int next = dup(0);

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	assert_true(next >= 0);
	close(next);
	none = (struct rlimit){ (rlim_t)next, was.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	atomic_store(&taken, true);
	return was;
}

static void descriptors_give_back(const struct rlimit *was)
{
	assert_int_equal(setrlimit(RLIMIT_NOFILE, was), 0);
	atomic_store(&taken, false);
}

/* Who asked hears of it; the file is not lost for those that ask later. */
static void file_that_found_no_descriptor_is_opened_when_there_are_some(void **state)
{
	struct vgpu_object *o;
	struct vgpu_uapi node;
	struct vgpu_store s;
	struct rlimit was;

	(void)state;
	store_open(&s, &node, make_memory);
	s.wants = wants_until_taken;
	s.chose = chose_nothing;
	assert_int_equal(vgpu_store_get(&s, 1, &o), 0);
	vgpu_object_hold(&s, o);
	assert_int_equal(vgpu_store_file_ready(&s, o->file), -EAGAIN);
	was = descriptors_take();
	assert_int_equal(file_ready(&s, o), -EMFILE);
	assert_int_equal(file_ready(&s, o), -EMFILE);
	descriptors_give_back(&was);
	assert_int_equal(file_ready(&s, o), 0);
	assert_int_equal(vgpu_store_file_ready(&s, o->file), 0);
	store_close(&s);
}

/* Those that nobody has are closed for one that somebody asks for again. */
static void file_that_found_no_descriptor_gets_one_that_nobody_uses(void **state)
{
	struct vgpu_object *idle, *o;
	struct vgpu_uapi node;
	struct vgpu_store s;
	struct rlimit was;
	uint64_t end;

	(void)state;
	store_open(&s, &node, make_memory);
	assert_int_equal(vgpu_store_get(&s, 1, &idle), 0);
	assert_int_equal(file_ready(&s, idle), 0);
	s.wants = wants_until_taken;
	s.chose = chose_nothing;
	assert_int_equal(vgpu_store_get(&s, 2, &o), 0);
	was = descriptors_take();
	assert_int_equal(file_ready(&s, o), -EMFILE);
	assert_int_equal(vgpu_store_get(&s, 2, &o), 0);
	assert_null(vgpu_store_find(&s, 1));
	for (end = vgpu_now_ns() + 20000000000ull; s.closing && vgpu_now_ns() < end; usleep(1000))
		vgpu_files_tend(&s);
	assert_int_equal(file_ready(&s, o), 0);
	descriptors_give_back(&was);
	store_close(&s);
}

#define STUCK	64u	/* files of a client that may be closing */

static int peer[STUCK + 1];
static uint32_t peers;

/* close(2) of it takes as long as its peer likes: it lingers. */
static int make_lingering(void)
{
	const struct linger linger = { 1, 600 };
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
	static char data[65536];

	assert_int_equal(bind(listener, (void *)&at, sizeof(at)), 0);
	assert_int_equal(getsockname(listener, (void *)&at, &length), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(connect(fd, (void *)&at, sizeof(at)), 0);
	peer[peers] = accept(listener, NULL, NULL);
	assert_true(peer[peers++] >= 0);
	close(listener);
	while (send(fd, data, sizeof(data), MSG_DONTWAIT) > 0)
		;
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	return fd;
}

/* It is no file, which is told at once, or when it is open: it is forgotten then. */
static int get_lingering(struct vgpu_store *s, uint32_t id)
{
	struct vgpu_object *o;
	int rc = vgpu_store_get(s, id, &o);

	if (rc)
		return rc;
	rc = file_ready(s, o);
	vgpu_store_forget(s, id);
	return rc;
}

static void files_that_do_not_close_keep_nobody_waiting(void **state)
{
	uint64_t start, ns = 0, end;
	uint32_t before;
	struct vgpu_uapi node;
	struct vgpu_store s;

	(void)state;
	store_open(&s, &node, make_lingering);
	peers = 0;
	before = threads();
	for (uint32_t id = 1; peers < STUCK; id++) {
		start = vgpu_now_ns();
		assert_int_equal(get_lingering(&s, id), id % 7 ? -ESPIPE : -ENOENT);
		ns += vgpu_now_ns() - start;
	}
	/* Nor does each of them have a thread that waits for it; who opened the last one ends. */
	for (end = vgpu_now_ns() + 20000000000ull;
	     threads() - before > VGPU_SLOW_MAX && vgpu_now_ns() < end; usleep(1000))
		;
	assert_in_range(threads() - before, 1, VGPU_SLOW_MAX);
	assert_in_range(ns, 0, 5000000000);
	assert_false(vgpu_files_are_stuck(&s, 1));
	assert_int_equal(get_lingering(&s, 1), -ESPIPE);
	assert_true(vgpu_files_are_stuck(&s, 1));
	assert_false(vgpu_files_are_stuck(&s, 2));
	/* Once they do, all are closed. */
	for (uint32_t i = 0; i < peers; i++)
		close(peer[i]);
	for (end = vgpu_now_ns() + 20000000000ull; s.closing && vgpu_now_ns() < end; usleep(1000))
		vgpu_files_tend(&s);
	assert_null(s.closing);
	store_close(&s);
}

static void store_with_files_that_do_not_close_ends(void **state)
{
	uint64_t start;
	struct vgpu_object *o;
	struct vgpu_uapi node;
	struct vgpu_store s;

	(void)state;
	store_open(&s, &node, make_lingering);
	peers = 0;
	for (uint32_t id = 1; peers < 3 * VGPU_SLOW_MAX; id++)
		vgpu_store_get(&s, id, &o);
	start = vgpu_now_ns();
	store_close(&s);
	assert_in_range(vgpu_now_ns() - start, 0, 20000000000ull);
	for (uint32_t i = 0; i < peers; i++)
		close(peer[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(object_is_found_at_once_among_many),
		cmocka_unit_test(object_that_nobody_has_makes_room_for_another),
		cmocka_unit_test(object_finds_no_room_while_all_are_in_use),
		cmocka_unit_test(file_is_read_however_many_there_are),
		cmocka_unit_test(file_is_known_once_to_the_engine_that_it_chose),
		cmocka_unit_test(files_that_open_one_after_the_other_keep_nobody_waiting),
		cmocka_unit_test(file_that_found_no_descriptor_is_opened_when_there_are_some),
		cmocka_unit_test(file_that_found_no_descriptor_gets_one_that_nobody_uses),
		cmocka_unit_test(files_that_do_not_close_keep_nobody_waiting),
		cmocka_unit_test(store_with_files_that_do_not_close_ends),
	};

	count_threads_of_main();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
