/* SPDX-License-Identifier: MIT */
/*
 * The file system of tests/fault/fuse_faulty.c, mounted under /tmp by a child.
 */
#ifndef TESTS_FUSE_MOUNT_H
#define TESTS_FUSE_MOUNT_H

#include <stddef.h>
#include <sys/types.h>

/**
 * struct fuse_mount - a place to mount at, and what is mounted there
 * @pid: of the file system; 0: none is mounted
 * @dir: temporary folder, holds all the others
 * @backing: file with the content
 * @file: the same content, with faults, while mounted
 * @program: fuse_faulty, beside the running program
 * @why_not: why nothing can be mounted here, or NULL
 */
struct fuse_mount {
	pid_t pid;
	char dir[32], backing[64], mountpoint[64], file[80], program[4096];
	const char *why_not;
};

#define FUSE_RULES(...)	((const char *const[]){ __VA_ARGS__, NULL })
#define FUSE_NO_RULES	((const char *const[]){ NULL })

/* Make the folder and try a mount; 0 with @why_not set or not, -1 no folder to be had. */
int fuse_mount_init(struct fuse_mount *m);

/* Fill the backing file; 0 or -1. */
int fuse_mount_fill(const struct fuse_mount *m, const void *content, size_t bytes);

/* Mount with up to 16 rules, ended by NULL; 0 or -1. */
int fuse_mount_start(struct fuse_mount *m, const char *const *rules);

/* Kill the file system, unmount; 0, or -1 when a dead mount is left.  Fine when none is mounted. */
int fuse_mount_end(struct fuse_mount *m);

/* Remove the folder; 0 or -1. */
int fuse_mount_remove(struct fuse_mount *m);

#endif
