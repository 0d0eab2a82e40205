// SPDX-License-Identifier: MIT
/* The rooms of vbd that need no module: rights, filter, notifications, errors. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "vbd/filter.h"
#include "vbd/log.h"
#include "vbd/notify.h"
#include "vbd/rights.h"
#include "vgpu.h"

#define CHUNK	65536u
#define NOBODY	65534u

/* Run @fn in a child: what it returns, which is the line of a check that failed, or 0. */
static int in_child(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(fn());
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#define CHECK(condition) do { if (!(condition)) return __LINE__ & 0xff; } while (0)

/* ---- the filter ---- */

static int refused_calls(void)
{
	struct io_uring_params params = { 0 };
	struct winsize size;
	int fds[2];

	CHECK(!pipe(fds));
	CHECK(!vbd_filter_install());
	CHECK(open("/dev/null", O_RDONLY) < 0 && errno == EPERM);
	CHECK(socket(AF_UNIX, SOCK_STREAM, 0) < 0 && errno == EPERM);
	CHECK(unlink("/nothing-there") < 0 && errno == EPERM);
	CHECK(execl("/bin/true", "true", (char *)NULL) < 0 && errno == EPERM);
	CHECK(kill(1, 0) < 0 && errno == EPERM);
	CHECK(ioctl(fds[0], TIOCGWINSZ, &size) < 0 && errno == EPERM);
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
	      MAP_FAILED && errno == EPERM);
	CHECK(syscall(SYS_io_uring_setup, 4, &params) < 0 && errno == EPERM);
	CHECK(write(fds[1], "x", 1) == 1);
	return 0;
}

static void filter_refuses_paths_sockets_programs_and_code(void **state)
{
	(void)state;
	assert_int_equal(in_child(refused_calls), 0);
}

static volatile int filtered, thread_opened;

static void *open_when_filtered(void *arg)
{
	(void)arg;
	while (!filtered)
		usleep(1000);
	thread_opened = open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0;
	return NULL;
}

static int refused_in_threads(void)
{
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, open_when_filtered, NULL));
	CHECK(!vbd_filter_install());
	filtered = 1;
	CHECK(!pthread_join(thread, NULL));
	CHECK(!thread_opened);
	return 0;
}

static void filter_holds_in_threads_that_were_there(void **state)
{
	(void)state;
#ifdef __SANITIZE_THREAD__
	print_message("SKIP: TSan starts no threads in a child\n");
	skip();
#endif
	assert_int_equal(in_child(refused_in_threads), 0);
}

/* A file that does not fit the tier, and arithmetic, with threads that were there. */
static int work_filtered(void)
{
	const struct vgpu_config config = {
		.size = sizeof(config), .chunk_bytes = CHUNK, .host_bytes = 24 * CHUNK, .threads = 2,
	};
	static uint8_t bytes[40 * CHUNK], back[sizeof(bytes)];
	char path[] = "/tmp/vgpu-vbd-XXXXXX";
	int fd = mkstemp(path);
	struct vgpu_bo *bo;
	struct vgpu *v;

	for (uint32_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 5 + (i >> 10));
	CHECK(fd >= 0 && !unlink(path) && write(fd, bytes, sizeof(bytes)) == sizeof(bytes));
	CHECK(!vgpu_open_embedded(&config, &v));
	CHECK(!vbd_filter_install());
	CHECK(!vgpu_bo_create_file(v, fd, 0, 0, &bo));
	CHECK(!vgpu_bo_read(bo, 0, back, sizeof(back)));
	CHECK(!memcmp(bytes, back, sizeof(bytes)));
	vgpu_bo_destroy(bo);
	vgpu_close(v);
	return 0;
}

static void filter_lets_an_executor_serve_and_close(void **state)
{
	(void)state;
#ifdef __SANITIZE_THREAD__
	print_message("SKIP: TSan starts no threads in a child\n");
	skip();
#endif
	assert_int_equal(in_child(work_filtered), 0);
}

/* ---- rights ---- */

static void user_is_a_name_or_numbers_but_not_root(void **state)
{
	struct vbd_user u;

	(void)state;
	assert_int_equal(vbd_user_find("65534", &u), 0);
	assert_int_equal(u.uid, NOBODY);
	assert_int_equal(vbd_user_find("nobody", &u), 0);
	assert_int_equal(u.uid, NOBODY);
	assert_int_equal(vbd_user_find("4000111", &u), 0);
	assert_int_equal(u.gid, 4000111);
	assert_int_equal(vbd_user_find("12:34", &u), 0);
	assert_int_equal(u.uid, 12);
	assert_int_equal(u.gid, 34);
	assert_int_equal(vbd_user_find("root", &u), -EINVAL);
	assert_int_equal(vbd_user_find("0", &u), -EINVAL);
	assert_int_equal(vbd_user_find("12:0", &u), -EINVAL);
	assert_int_equal(vbd_user_find("12:", &u), -ENOENT);
	assert_int_equal(vbd_user_find("12x", &u), -ENOENT);
	assert_int_equal(vbd_user_find("4294967295", &u), -ENOENT);
	assert_int_equal(vbd_user_find("nobody-of-this-name", &u), -ENOENT);
}

static int priority_taken(void)
{
	struct vbd_rights r;

	CHECK(!setpriority(PRIO_PROCESS, 0, 0));
	vbd_rights_take(&r);
	CHECK(r.nice < 0 && getpriority(PRIO_PROCESS, 0) == r.nice);
	return 0;
}

static int priority_chosen(void)
{
	struct vbd_rights r;

	CHECK(!setpriority(PRIO_PROCESS, 0, 19));
	vbd_rights_take(&r);
	CHECK(r.nice == 19 && getpriority(PRIO_PROCESS, 0) == 19);
	return 0;
}

static void it_goes_before_clients_unless_somebody_chose(void **state)
{
	(void)state;
	assert_int_equal(in_child(priority_chosen), 0);
	if (geteuid()) {
		print_message("SKIP: only root goes before others\n");
		skip();
	}
	assert_int_equal(in_child(priority_taken), 0);
}

static int drop_for_good(void)
{
	const struct vbd_user nobody = { NOBODY, NOBODY };

	CHECK(!vbd_rights_drop(&nobody));
	CHECK(getuid() == NOBODY && geteuid() == NOBODY && getgid() == NOBODY);
	CHECK(!getgroups(0, NULL));
	CHECK(setuid(0) < 0 && setgid(0) < 0);
	CHECK(mknod("/tmp/vgpu-vbd-node", S_IFCHR, 0x103) < 0 && errno == EPERM);
	return 0;
}

static void dropped_rights_do_not_come_back(void **state)
{
	(void)state;
	if (geteuid()) {
		print_message("SKIP: only root has rights to drop\n");
		skip();
	}
	assert_int_equal(in_child(drop_for_good), 0);
}

/* ---- notifications ---- */

static int listen_at(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(at.sun_path, path, strlen(path));
	if (*path == '@')
		at.sun_path[0] = 0;
	assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
	return fd;
}

static void manager_hears_what_is_said(const char *path)
{
	int manager = listen_at(path), fd;
	char heard[64] = "";

	setenv("NOTIFY_SOCKET", path, 1);
	fd = vbd_notify_connect();
	assert_true(fd >= 0);
	assert_null(getenv("NOTIFY_SOCKET"));
	vbd_notify(fd, "READY=1");
	assert_int_equal(recv(manager, heard, sizeof(heard) - 1, 0), 7);
	assert_string_equal(heard, "READY=1");
	close(manager);
	/* Nobody listens any more: nothing happens. */
	vbd_notify(fd, "STOPPING=1");
	close(fd);
}

static void service_manager_is_told_by_path_and_by_name(void **state)
{
	char dir[] = "/tmp/vgpu-vbd-XXXXXX", path[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/notify", dir);
	manager_hears_what_is_said(path);
	unlink(path);
	rmdir(dir);
	snprintf(path, sizeof(path), "@vgpu-vbd-test-%d", (int)getpid());
	manager_hears_what_is_said(path);
}

static void no_service_manager_is_no_error_a_wrong_one_is(void **state)
{
	(void)state;
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(vbd_notify_connect(), -1);
	vbd_notify(-1, "READY=1");
	setenv("NOTIFY_SOCKET", "relative", 1);
	assert_int_equal(vbd_notify_connect(), -EINVAL);
	setenv("NOTIFY_SOCKET", "/nowhere/at/all", 1);
	assert_int_equal(vbd_notify_connect(), -ENOENT);
}

/* ---- errors ---- */

static void errors_are_one_line_of_fields(void **state)
{
	char line[256] = "";
	int fds[2], kept = dup(STDERR_FILENO);

	(void)state;
	assert_int_equal(pipe(fds), 0);
	dup2(fds[1], STDERR_FILENO);
	assert_int_equal(vbd_error("open", -EBUSY, "the \"node\"\nis %s", "taken"), -EBUSY);
	vbd_error("fetch", 0, "nothing");
	dup2(kept, STDERR_FILENO);
	close(kept);
	assert_true(read(fds[0], line, sizeof(line) - 1) > 0);
	assert_string_equal(line, "vbd: level=error op=open errno=EBUSY text=\"the 'node' is taken\"\n"
				  "vbd: level=error op=fetch text=\"nothing\"\n");
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(filter_refuses_paths_sockets_programs_and_code),
		cmocka_unit_test(filter_holds_in_threads_that_were_there),
		cmocka_unit_test(filter_lets_an_executor_serve_and_close),
		cmocka_unit_test(user_is_a_name_or_numbers_but_not_root),
		cmocka_unit_test(it_goes_before_clients_unless_somebody_chose),
		cmocka_unit_test(dropped_rights_do_not_come_back),
		cmocka_unit_test(service_manager_is_told_by_path_and_by_name),
		cmocka_unit_test(no_service_manager_is_no_error_a_wrong_one_is),
		cmocka_unit_test(errors_are_one_line_of_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
