// SPDX-License-Identifier: MIT
#include "vm/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#define BO_SPACE_SHIFT	46	/* where an object begins in mmap() of the client node */

void *machine_map(struct vgpu_uapi *of, uint32_t id, uint64_t bytes, bool write)
{
	void *p = NULL;

	assert_int_equal(of->ops->map(of, (uint64_t)id << BO_SPACE_SHIFT, bytes, write, &p), 0);
	return p;
}

static sigjmp_buf bus;

static void on_bus(int sig)
{
	(void)sig;
	siglongjmp(bus, 1);
}

int machine_peek(const volatile void *p)
{
	struct sigaction act = { .sa_handler = on_bus }, old;
	volatile int byte = -1;

	sigaction(SIGBUS, &act, &old);
	if (!sigsetjmp(bus, 1))
		byte = *(const volatile uint8_t *)p;
	sigaction(SIGBUS, &old, NULL);
	return byte;
}

struct machine_mapped machine_mapped(const void *p)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	struct machine_mapped m = { 0 };
	unsigned long from, end, kb;
	bool ours = false;
	char line[256];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &end) == 2)
			ours = from == (uintptr_t)p;
		if (ours && sscanf(line, "Rss: %lu kB", &kb) == 1)
			m.all = (uint64_t)kb << 10;
		if (ours && sscanf(line, "FilePmdMapped: %lu kB", &kb) == 1)
			m.huge = (uint64_t)kb << 10;
	}
	fclose(f);
	return m;
}

void machine_pipe_lend(int fds[2], void *p)
{
	struct iovec iov = { .iov_base = p, .iov_len = MACHINE_PAGE };

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(vmsplice(fds[1], &iov, 1, 0), MACHINE_PAGE);
}

void machine_pipe_take(int fds[2], uint8_t to[MACHINE_PAGE])
{
	assert_int_equal(read(fds[0], to, MACHINE_PAGE), MACHINE_PAGE);
	close(fds[0]);
	close(fds[1]);
}

void machine_set_ms(const char *parameter, unsigned int ms)
{
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/module/vblackwell/parameters/%s", parameter);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "%u\n", ms);
	assert_int_equal(fclose(f), 0);
}

uint64_t machine_fdinfo_kib(int fd, const char *key)
{
	uint64_t value = UINT64_MAX;
	char path[64], line[128];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)) && line[strlen(key)] == ':')
			value = strtoull(line + strlen(key) + 1, NULL, 10);
	fclose(f);
	assert_int_not_equal(value, UINT64_MAX);
	return value;
}

uint32_t machine_exec_state(struct vgpu_uapi *of)
{
	struct vb_ioc_query_device q = { .size = sizeof(q) };

	assert_int_equal(vgpu_uapi_call(of, VB_IOC_QUERY_DEVICE, &q), 0);
	return q.out_exec_state;
}

static int put(const char *folder, const char *name, const char *text)
{
	char path[128];
	int fd, rc;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

const char *machine_cgroup_make(const char *path, uint64_t bytes)
{
	if (put("/sys/fs/cgroup", "cgroup.subtree_control", "+memory"))
		return "no memory cgroups";
	if (mkdir(path, 0700) && errno != EEXIST)
		return strerror(errno);
	return machine_cgroup_limit(path, bytes) ? "memory.max cannot be set" : NULL;
}

int machine_cgroup_limit(const char *path, uint64_t bytes)
{
	char text[32] = "max";

	if (bytes != UINT64_MAX)
		snprintf(text, sizeof(text), "%llu", (unsigned long long)bytes);
	return put(path, "memory.max", text);
}

int machine_cgroup_enter(const char *path)
{
	return put(path, "cgroup.procs", "0");
}

int machine_disk_slow(const char *path, const char *disk, uint64_t bytes_a_second)
{
	char text[64], rate[32] = "max";
	struct stat st;
	int rc;

	if (stat(disk, &st))
		return -errno;
	rc = put("/sys/fs/cgroup", "cgroup.subtree_control", "+io");
	if (rc)
		return rc;
	if (mkdir(path, 0755) && errno != EEXIST)
		return -errno;
	if (bytes_a_second != UINT64_MAX)
		snprintf(rate, sizeof(rate), "%llu", (unsigned long long)bytes_a_second);
	snprintf(text, sizeof(text), "%u:%u rbps=%s", major(st.st_rdev), minor(st.st_rdev), rate);
	return put(path, "io.max", text);
}

uint64_t machine_cgroup_get(const char *path, const char *name)
{
	unsigned long long n = 0;
	char file[128];
	FILE *f;

	snprintf(file, sizeof(file), "%s/%s", path, name);
	f = fopen(file, "r");
	if (f && fscanf(f, "%llu", &n) != 1)
		n = 0;
	if (f)
		fclose(f);
	return n;
}
