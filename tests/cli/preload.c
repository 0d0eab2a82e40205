// SPDX-License-Identifier: MIT
/*
 * Another machine for a program that is loaded behind this library: /dev/vblackwell*,
 * /proc/self/cgroup and what is below /proc/sys, /sys/fs/cgroup and /sys/kernel/mm lie under
 * $FAKE_ROOT.
 *
 * $FAKE_ERRNO: what opening the device ends with.  $FAKE_ANSWER: what QUERY_DEVICE of it ends
 * with; 0: it answers as a device does.  $FAKE_NO_TMPFILE: file systems make no files without
 * a name.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/vblackwell.h>

static int device_fd = -1;

static int is_device(const char *path)
{
	return !strncmp(path, "/dev/vblackwell", 15);
}

static const char *moved(const char *path, char *to, size_t bytes)
{
	const char *root = getenv("FAKE_ROOT");

	if (!root || (!is_device(path) && strncmp(path, "/proc/sys/", 10) &&
		      strncmp(path, "/sys/fs/cgroup", 14) && strncmp(path, "/sys/kernel/mm", 14) &&
		      strcmp(path, "/proc/self/cgroup")))
		return path;
	snprintf(to, bytes, "%s%s", root, path);
	return to;
}

int open(const char *path, int flags, ...)
{
	int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
	const char *fail = getenv("FAKE_ERRNO");
	char to[4096];
	va_list list;
	int mode, fd;

	va_start(list, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, int) : 0;
	va_end(list);
	if (is_device(path) && fail) {
		errno = atoi(fail);
		return -1;
	}
	if ((flags & O_TMPFILE) == O_TMPFILE && getenv("FAKE_NO_TMPFILE")) {
		errno = EOPNOTSUPP;
		return -1;
	}
	fd = real(moved(path, to, sizeof(to)), flags, mode);
	if (is_device(path))
		device_fd = fd;
	return fd;
}

FILE *fopen(const char *path, const char *mode)
{
	FILE *(*real)(const char *, const char *) =
		(FILE *(*)(const char *, const char *))dlsym(RTLD_NEXT, "fopen");
	char to[4096];

	return real(moved(path, to, sizeof(to)), mode);
}

int access(const char *path, int mode)
{
	char to[4096];

	return faccessat(AT_FDCWD, moved(path, to, sizeof(to)), mode, 0);
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*real)(int, unsigned long, void *) =
		(int (*)(int, unsigned long, void *))dlsym(RTLD_NEXT, "ioctl");
	const char *answer = getenv("FAKE_ANSWER");
	va_list list;
	void *arg;

	va_start(list, request);
	arg = va_arg(list, void *);
	va_end(list);
	if (fd != device_fd || request != VB_IOC_QUERY_DEVICE || !answer)
		return real(fd, request, arg);
	if (atoi(answer)) {
		errno = atoi(answer);
		return -1;
	}
	((struct vb_ioc_query_device *)arg)->out_chunk_bytes = VB_CHUNK_BYTES_MIN;
	return 0;
}
