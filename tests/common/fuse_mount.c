// SPDX-License-Identifier: MIT
#include "common/fuse_mount.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static bool mounted(const struct fuse_mount *m)
{
	struct stat inside, outside;

	return !stat(m->mountpoint, &inside) && !stat(m->dir, &outside) &&
	       inside.st_dev != outside.st_dev;
}

static void mount_child(const struct fuse_mount *m, const char *const *rules)
{
	const char *argv[24] = { m->program, m->backing, m->mountpoint };
	int i, null = open("/dev/null", O_WRONLY);

	/* A thread of ours that waits for its answer cannot be killed while it lives. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (i = 0; rules[i]; i++)
		argv[3 + i] = rules[i];
	dup2(null, STDERR_FILENO);
	execv(m->program, (char *const *)argv);
	_exit(127);
}

int fuse_mount_start(struct fuse_mount *m, const char *const *rules)
{
	const struct timespec pause = { 0, 10 * 1000000 };
	pid_t pid = fork();
	int i;

	if (!pid)
		mount_child(m, rules);
	if (pid < 0)
		return -1;
	for (i = 0; i < 6000 && !mounted(m); i++) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return -1;
		nanosleep(&pause, NULL);
	}
	m->pid = pid;
	return 0;
}

int fuse_mount_end(struct fuse_mount *m)
{
	char command[128];

	if (!m->pid)
		return 0;
	kill(m->pid, SIGKILL);
	waitpid(m->pid, NULL, 0);
	m->pid = 0;
	if (!umount2(m->mountpoint, MNT_DETACH))
		return 0;
	snprintf(command, sizeof(command), "fusermount3 -u -z %s 2>/dev/null", m->mountpoint);
	return system(command) ? -1 : 0;
}

int fuse_mount_fill(const struct fuse_mount *m, const void *content, size_t bytes)
{
	int fd = open(m->backing, O_RDWR | O_CREAT | O_TRUNC, 0600);
	ssize_t n = fd < 0 ? -1 : write(fd, content, bytes);

	if (fd >= 0)
		close(fd);
	return n == (ssize_t)bytes ? 0 : -1;
}

/* The file system lies beside this program. */
static const char *find_program(struct fuse_mount *m)
{
	ssize_t n = readlink("/proc/self/exe", m->program, sizeof(m->program) - 32);
	char *slash;

	m->program[n > 0 ? n : 0] = 0;
	slash = strrchr(m->program, '/');
	if (slash)
		strcpy(slash, "/fuse_faulty");
	if (access(m->program, X_OK))
		return "fuse_faulty is not built";
	if (access("/dev/fuse", R_OK | W_OK))
		return "/dev/fuse is not to be had";
	return NULL;
}

static const char *try_mount(struct fuse_mount *m)
{
	if (fuse_mount_fill(m, "", 1) || fuse_mount_start(m, FUSE_NO_RULES))
		return "FUSE cannot be mounted here";
	return fuse_mount_end(m) ? "a dead mount is left" : NULL;
}

int fuse_mount_init(struct fuse_mount *m)
{
	*m = (struct fuse_mount){ .dir = "/tmp/vgpu-fuse-XXXXXX" };
	if (!mkdtemp(m->dir))
		return -1;
	snprintf(m->backing, sizeof(m->backing), "%s/backing", m->dir);
	snprintf(m->mountpoint, sizeof(m->mountpoint), "%s/mnt", m->dir);
	snprintf(m->file, sizeof(m->file), "%s/file", m->mountpoint);
	if (mkdir(m->mountpoint, 0700))
		return -1;
	m->why_not = find_program(m);
	if (!m->why_not)
		m->why_not = try_mount(m);
	return 0;
}

int fuse_mount_remove(struct fuse_mount *m)
{
	unlink(m->backing);
	return rmdir(m->mountpoint) || rmdir(m->dir) ? -1 : 0;
}
