// SPDX-License-Identifier: MIT
/* Machines that forbid things: io_uring, locked memory, opening a file again. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/io_rig.h"
#include "common/rights.h"

/* How a child ended that runs @child beside a file of so many bytes; 128: by a signal. */
static int status_of(int (*child)(const char *engine), const char *engine, size_t bytes)
{
	uint8_t *copy = irig_memory(bytes);
	int status;
	pid_t pid;

	close(irig_file(copy, bytes));
	munmap(copy, bytes);
	pid = fork();
	if (!pid)
		_exit(child(engine));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static int read_works(struct vgpu_io *io, void *buf, int32_t region)
{
	struct vgpu_io_req req = { .offset = 0, .buf = buf, .bytes = BLOCK, .buf_index = region };
	struct vgpu_io_req *done;
	int fd = open(irig_path, O_RDONLY);

	if (fd < 0 || vgpu_io_file_add(io, fd, 0, &req.file))
		return 0;
	close(fd);
	vgpu_io_submit(io, &req);
	return vgpu_io_reap(io, 1, 1, 20 * SECOND_NS, &done) == 1 && !req.result &&
	       req.done_bytes == BLOCK;
}

static int forbidden_child(const char *engine)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	struct vgpu_io_params params = { .engine = engine };
	struct vgpu_io *io;

	if (!filter || seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(io_uring_setup), 0) ||
	    seccomp_load(filter))
		return 77;
	seccomp_release(filter);
	if (vgpu_io_open(&params, &io) != -EPERM)
		return 1;
	if (vgpu_io_open(NULL, &io))
		return 2;
	if (strcmp(vgpu_io_engine_name(io), "threads"))
		return 3;
	if (!irig_reason_says(io, "seccomp") || !irig_reason_says(io, "Operation not permitted"))
		return 4;
	if (!read_works(io, irig_memory(BLOCK), -1))
		return 5;
	return vgpu_io_close(io) ? 6 : 0;
}

static void io_forbidden_io_uring_falls_back_to_threads_and_says_why(void **state)
{
	int status = status_of(forbidden_child, "uring", BLOCK);

	(void)state;
	if (status == 77) {
		print_message("SKIP: no seccomp filter can be loaded here\n");
		skip();
	}
	assert_int_equal(status, 0);
}

static int memlock_child(const char *engine)
{
	struct vgpu_io_params params = { .engine = engine };
	struct rlimit lim = { 65536, 65536 };
	uint8_t *buf = irig_memory(1 << 20);
	struct vgpu_io *io;
	int32_t region;
	int tries;

	if (rights_drop_ipc_lock() || setrlimit(RLIMIT_MEMLOCK, &lim))
		return 77;
	/* Charged to the user: rings of others, also just closed ones, count too. */
	for (tries = 0; vgpu_io_open(&params, &io); tries++) {
		if (tries == 100)
			return 78;
		usleep(20000);
	}
	if (vgpu_io_region_add(io, buf, 1 << 20, &region))
		return 1;
	if (!irig_reason_says(io, "RLIMIT_MEMLOCK must allow 1048576 bytes, soft limit 65536, hard 65536"))
		return 2;
	if (!read_works(io, buf, region))
		return 3;
	if (vgpu_io_region_remove(io, region))
		return 4;
	return vgpu_io_close(io) ? 5 : 0;
}

static void io_memlock_limit_degrades_to_unregistered_buffers_with_numbers(void **state)
{
	int status = status_of(memlock_child, "uring", BLOCK);

	(void)state;
	if (status == 77 || status == 78) {
		print_message("SKIP: %s\n", status == 77 ? "CAP_IPC_LOCK cannot be dropped here" :
			      "no io_uring here within 64 KiB of locked memory");
		skip();
	}
	assert_int_equal(status, 0);
}

/* Nobody's rights: neither descriptor can be opened again the other way. */
static int reopen_child(const char *engine)
{
	int plain = open(irig_path, O_RDONLY), direct = open(irig_path, O_RDONLY | O_DIRECT);
	struct vgpu_io_params params = { .engine = engine, .bounce_buffers = 1 };
	uint8_t *buf = irig_memory(1 << 16), *copy = irig_memory(1 << 16);
	struct vgpu_io_file_info info;
	struct vgpu_io_req req;
	struct vgpu_io *io;
	uint32_t file;

	/* To root's eyes all files are open: somebody else then. */
	if (direct < 0 || pread(plain, copy, 1 << 16, 0) != 50001 || fchmod(plain, 0) ||
	    (!geteuid() && setresuid(65534, 65534, 65534)))
		return 77;
	if (vgpu_io_open(&params, &io) || vgpu_io_file_add(io, plain, 0, &file))
		return 1;
	if (vgpu_io_file_get(io, file, &info) || info.direct || !strstr(info.reason, "refused"))
		return 2;
	if (vgpu_io_file_add(io, direct, 0, &file))
		return 3;
	req = irig_req(file, 0, buf, 1 << 16);
	if (irig_run(io, &req) || req.done_bytes != 50001 || memcmp(buf, copy, 50001))
		return 4;
	req = irig_req(file, 49000, buf + 1, 5000);
	if (irig_run(io, &req) || req.done_bytes != 1001 || memcmp(buf + 1, copy + 49000, 1001))
		return 5;
	return vgpu_io_close(io) ? 6 : 0;
}

static void io_file_that_cannot_be_reopened_is_read_to_its_end(void **state)
{
	static const char *const each[] = { "auto", "threads" };

	(void)state;
	for (int i = 0; i < 2; i++) {
		int status = status_of(reopen_child, each[i], 50001);

		if (status == 77) {
			print_message("SKIP: no O_DIRECT under /tmp, or the user cannot be changed\n");
			skip();
		}
		assert_int_equal(status, 0);
		unlink(irig_path);
	}
}

static void io_open_refuses_what_it_does_not_know(void **state)
{
	struct vgpu_io_params params = { .engine = "spdk" };
	char reason[VGPU_IO_REASON_BYTES];
	struct vgpu_io *io;

	(void)state;
	assert_int_equal(vgpu_io_open(&params, &io), -EINVAL);
	params = (struct vgpu_io_params){ .depth = VGPU_IO_DEPTH_MAX + 1 };
	assert_int_equal(vgpu_io_open(&params, &io), -EINVAL);
	params = (struct vgpu_io_params){ .engine = "test", .inner = "test" };
	assert_int_equal(vgpu_io_open(&params, &io), -EINVAL);
	assert_int_equal(vgpu_io_open(NULL, &io), 0);
	assert_int_equal(vgpu_io_test_clear(io), -EINVAL);
	assert_true(vgpu_io_engine_reason(io, reason, sizeof(reason)) > 0);
	assert_int_equal(vgpu_io_close(io), 0);
	assert_int_equal(vgpu_io_close(NULL), 0);
}

static const struct engine_test tests[] = {
	ENGINE_TEST(io_forbidden_io_uring_falls_back_to_threads_and_says_why),
	ENGINE_TEST(io_memlock_limit_degrades_to_unregistered_buffers_with_numbers),
	ENGINE_TEST(io_file_that_cannot_be_reopened_is_read_to_its_end),
	ENGINE_TEST(io_open_refuses_what_it_does_not_know),
};

int main(void)
{
	/* In children, before any engine has made a thread, which a sanitizer would mind. */
	return IRIG_MAIN("io_open", tests, NULL);
}
