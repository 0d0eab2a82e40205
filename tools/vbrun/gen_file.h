/* SPDX-License-Identifier: MIT */
#ifndef VBRUN_GEN_FILE_H
#define VBRUN_GEN_FILE_H

#include "common/part.h"
#include "gen.h"

/* A file that exists under its own name only once it is complete. */

/**
 * struct gen_file - a file being written
 * @path: its final name
 * @part: where it is until then
 * @fd: of @part, or -1
 * @total: bytes it will have
 * @done: bytes written
 * @synced: bytes whose way to the disk was begun
 * @buffer: bytes that wait
 * @used: how many
 * @progress: from the caller
 * @arg: for @progress
 * @err: where failures are explained, or NULL
 */
struct gen_file {
	char *path;
	struct part part;
	int fd;
	uint64_t total;
	uint64_t done;
	uint64_t synced;
	unsigned char *buffer;
	size_t used;
	vbrun_gen_progress progress;
	void *arg;
	struct vgpu_error *err;
};

/**
 * gen_file_create() - begin, and take the space
 * @f: filled; gen_file_discard() it, also after a failure
 * @path: final name; an older file of this name stays until the end
 * @total: bytes the file will have
 * @progress: told what is written, may stop it; or NULL
 * @arg: for @progress
 * @err: or NULL
 *
 * Return: 0; -ENOSPC with the numbers; -EBUSY: another process is writing it; -ENOMEM; errors of
 * part_find() and open().
 */
int gen_file_create(struct gen_file *f, const char *path, uint64_t total,
		    vbrun_gen_progress progress, void *arg, struct vgpu_error *err);

/**
 * gen_file_room() - where the next bytes go
 * @f: open file
 * @bytes: how many; at most 1 MiB
 * @out: memory that the caller fills before its next call
 *
 * Return: 0; what @progress returned; errors of write().
 */
int gen_file_room(struct gen_file *f, size_t bytes, void **out);

/* Write what waits and rename. Return: as gen_file_room(), or errors of rename(). */
int gen_file_commit(struct gen_file *f);

/* Free everything; without a commit before, nothing of the file remains. */
void gen_file_discard(struct gen_file *f);

#endif
