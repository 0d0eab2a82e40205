// SPDX-License-Identifier: MIT
/* The arena file: never somebody else's bytes, never two owners, space known in advance. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "exec/nvme.h"

#define SLOT	65536u

static char dir[] = "/tmp/vgpu-nvme-XXXXXX";
static char path[64];
static char why[VGPU_NVME_WHY_BYTES];

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/arena", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static void write_file(const char *text)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static struct stat stat_file(void)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st;
}

static void nvme_allocates_every_slot_at_open(void **state)
{
	struct vgpu_nvme *nvme;
	struct stat st;

	(void)state;
	assert_int_equal(vgpu_nvme_open(path, 64, SLOT, why, &nvme), 0);
	st = stat_file();
	assert_int_equal(st.st_size, vgpu_nvme_bytes(nvme));
	assert_true((uint64_t)st.st_blocks * 512 >= 64 * SLOT);
	assert_int_equal(st.st_mode & 0777, 0600);
	vgpu_nvme_close(nvme);
}

static void nvme_slots_are_disjoint_and_inside_the_file(void **state)
{
	struct vgpu_nvme *nvme;
	uint64_t i;

	(void)state;
	assert_int_equal(vgpu_nvme_open(path, 16, 4096, why, &nvme), 0);
	for (i = 0; i < 16; i++) {
		assert_int_equal(vgpu_nvme_offset(nvme, i) % 4096, 0);
		if (i)
			assert_int_equal(vgpu_nvme_offset(nvme, i) - vgpu_nvme_offset(nvme, i - 1), 4096);
	}
	assert_true(vgpu_nvme_offset(nvme, 0) >= 4096);
	assert_int_equal(vgpu_nvme_offset(nvme, 15) + 4096, vgpu_nvme_bytes(nvme));
	assert_true(vgpu_nvme_offset(nvme, 16) == UINT64_MAX);
	vgpu_nvme_close(nvme);
}

static void nvme_removes_the_file_it_created(void **state)
{
	struct vgpu_nvme *nvme;

	(void)state;
	assert_int_equal(vgpu_nvme_open(path, 1, SLOT, why, &nvme), 0);
	assert_int_equal(access(path, F_OK), 0);
	vgpu_nvme_close(nvme);
	assert_int_equal(access(path, F_OK), -1);
}

static void nvme_refuses_foreign_content_and_leaves_it_alone(void **state)
{
	static const char text[] = "the only copy of a thesis";
	char back[sizeof(text)] = "";
	struct vgpu_nvme *nvme;
	int fd;

	(void)state;
	write_file(text);
	assert_int_equal(vgpu_nvme_open(path, 4, SLOT, why, &nvme), -EEXIST);
	assert_non_null(strstr(why, path));
	fd = open(path, O_RDONLY);
	assert_int_equal(read(fd, back, sizeof(back)), sizeof(text) - 1);
	close(fd);
	assert_string_equal(back, text);
	assert_int_equal(stat_file().st_mode & 0777, 0644);
	unlink(path);
}

static void nvme_takes_an_empty_file_and_gives_its_space_back(void **state)
{
	struct vgpu_nvme *nvme;

	(void)state;
	write_file("");
	assert_int_equal(vgpu_nvme_open(path, 32, SLOT, why, &nvme), 0);
	assert_int_equal(stat_file().st_mode & 0777, 0600);
	vgpu_nvme_close(nvme);
	assert_true(stat_file().st_size <= 65536);
	/* What is left carries our mark, so it can be taken again. */
	assert_int_equal(vgpu_nvme_open(path, 32, SLOT, why, &nvme), 0);
	vgpu_nvme_close(nvme);
	unlink(path);
}

/* As an executor that was killed leaves it, and as its successor finds it. */
static void nvme_is_adopted_with_its_content_by_its_identity_alone(void **state)
{
	uint64_t identity[2], other[2], again[2];
	struct vgpu_nvme *nvme;
	uint32_t word = 0xfeed, got = 0;
	off_t at;

	(void)state;
	assert_int_equal(vgpu_nvme_open(path, 32, SLOT, why, &nvme), 0);
	vgpu_nvme_identity(nvme, identity);
	at = (off_t)vgpu_nvme_offset(nvme, 7);
	assert_int_equal(pwrite(vgpu_nvme_fd(nvme), &word, 4, at), 4);
	vgpu_nvme_leave(nvme);
	other[0] = identity[0];
	other[1] = identity[1] ^ 1;
	assert_int_equal(vgpu_nvme_adopt(path, other, 32, SLOT, why, &nvme), -ESTALE);
	assert_int_equal(vgpu_nvme_adopt(path, identity, 31, SLOT, why, &nvme), -ESTALE);
	assert_int_equal(vgpu_nvme_adopt(path, identity, 32, SLOT, why, &nvme), 0);
	assert_int_equal(pread(vgpu_nvme_fd(nvme), &got, 4, at), 4);
	assert_int_equal(got, word);
	vgpu_nvme_leave(nvme);
	/* Whoever opens it without knowing makes another one of it. */
	assert_int_equal(vgpu_nvme_open(path, 32, SLOT, why, &nvme), 0);
	vgpu_nvme_identity(nvme, again);
	assert_memory_not_equal(again, identity, sizeof(identity));
	vgpu_nvme_leave(nvme);
	assert_int_equal(vgpu_nvme_adopt(path, identity, 32, SLOT, why, &nvme), -ESTALE);
	unlink(path);
	/* Where there is none, none is made; who has it last removes what the first made. */
	assert_int_equal(vgpu_nvme_adopt(path, identity, 32, SLOT, why, &nvme), -ESTALE);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(vgpu_nvme_open(path, 32, SLOT, why, &nvme), 0);
	vgpu_nvme_identity(nvme, identity);
	vgpu_nvme_leave(nvme);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(vgpu_nvme_adopt(path, identity, 32, SLOT, why, &nvme), 0);
	vgpu_nvme_close(nvme);
	assert_int_equal(access(path, F_OK), -1);
}

static void nvme_takes_over_from_a_process_that_died(void **state)
{
	struct vgpu_nvme *nvme;
	uint64_t zero = 1;
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	if (!pid) {
		if (vgpu_nvme_open(path, 8, SLOT, NULL, &nvme))
			_exit(1);
		if (pwrite(vgpu_nvme_fd(nvme), "secret", 6, (off_t)vgpu_nvme_offset(nvme, 3)) != 6)
			_exit(2);
		_exit(0);	/* without closing */
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(stat_file().st_size, 65536 + 8 * SLOT);

	assert_int_equal(vgpu_nvme_open(path, 4, SLOT, why, &nvme), 0);
	assert_int_equal(stat_file().st_size, 65536 + 4 * SLOT);
	assert_int_equal(pread(vgpu_nvme_fd(nvme), &zero, 6, (off_t)vgpu_nvme_offset(nvme, 3)), 6);
	assert_int_equal(zero & 0xffffffffffff, 0);
	vgpu_nvme_close(nvme);
	unlink(path);
}

static void nvme_has_one_owner(void **state)
{
	struct vgpu_nvme *first, *second;

	(void)state;
	assert_int_equal(vgpu_nvme_open(path, 4, SLOT, why, &first), 0);
	assert_int_equal(vgpu_nvme_open(path, 4, SLOT, why, &second), -EBUSY);
	assert_non_null(strstr(why, "another process"));
	assert_int_equal(stat_file().st_size, vgpu_nvme_bytes(first));
	vgpu_nvme_close(first);
	assert_int_equal(vgpu_nvme_open(path, 4, SLOT, why, &second), 0);
	vgpu_nvme_close(second);
}

static void nvme_too_large_is_refused_with_needed_and_free_bytes(void **state)
{
	struct vgpu_nvme *nvme;
	struct statvfs before, after;
	uint64_t slots, needed, available;
	const char *at;

	(void)state;
	assert_int_equal(statvfs(dir, &before), 0);
	slots = (uint64_t)before.f_blocks * before.f_frsize / SLOT + 1;
	assert_int_equal(vgpu_nvme_open(path, slots, SLOT, why, &nvme), -ENOSPC);
	at = strstr(why, "need ");
	assert_non_null(at);
	assert_int_equal(sscanf(at, "need %lu bytes, %lu are free", &needed, &available), 2);
	assert_int_equal(needed, 65536 + slots * SLOT);
	assert_true(available < needed);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(statvfs(dir, &after), 0);
	/* Others write here too; filling the disk would show as far more than this. */
	assert_true(after.f_bavail > before.f_bavail / 2);
}

static void nvme_respects_the_file_size_limit_without_a_signal(void **state)
{
	struct vgpu_nvme *nvme;
	struct rlimit lim = { 1 << 20, 1 << 20 };
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	if (!pid) {
		signal(SIGXFSZ, SIG_DFL);
		setrlimit(RLIMIT_FSIZE, &lim);
		_exit(vgpu_nvme_open(path, 64, SLOT, NULL, &nvme) == -EFBIG ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(access(path, F_OK), -1);
}

static void nvme_refuses_sizes_that_make_no_sense(void **state)
{
	struct vgpu_nvme *nvme;

	(void)state;
	assert_int_equal(vgpu_nvme_open(path, 0, SLOT, why, &nvme), -EINVAL);
	assert_non_null(strstr(why, "slots is 0"));
	assert_int_equal(vgpu_nvme_open(path, 1, 65537, why, &nvme), -EINVAL);
	assert_non_null(strstr(why, "slot_bytes is 65537"));
	assert_int_equal(vgpu_nvme_open(path, UINT64_MAX / 2, SLOT, NULL, &nvme), -EINVAL);
	assert_int_equal(vgpu_nvme_open(dir, 1, SLOT, why, &nvme), -EISDIR);
	assert_int_equal(vgpu_nvme_open("/dev/null", 1, SLOT, why, &nvme), -EINVAL);
	assert_int_equal(vgpu_nvme_open("/nowhere/arena", 1, SLOT, why, &nvme), -ENOENT);
	assert_non_null(strstr(why, "/nowhere/arena"));
	vgpu_nvme_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nvme_allocates_every_slot_at_open),
		cmocka_unit_test(nvme_slots_are_disjoint_and_inside_the_file),
		cmocka_unit_test(nvme_removes_the_file_it_created),
		cmocka_unit_test(nvme_refuses_foreign_content_and_leaves_it_alone),
		cmocka_unit_test(nvme_takes_an_empty_file_and_gives_its_space_back),
		cmocka_unit_test(nvme_is_adopted_with_its_content_by_its_identity_alone),
		cmocka_unit_test(nvme_takes_over_from_a_process_that_died),
		cmocka_unit_test(nvme_has_one_owner),
		cmocka_unit_test(nvme_too_large_is_refused_with_needed_and_free_bytes),
		cmocka_unit_test(nvme_respects_the_file_size_limit_without_a_signal),
		cmocka_unit_test(nvme_refuses_sizes_that_make_no_sense),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
