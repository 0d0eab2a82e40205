/* SPDX-License-Identifier: MIT */
/*
 * A file while it is written: PATH.PID.part beside PATH, locked by its builder, which
 * takes PATH's place at once or never. Parts whose builder died hold no lock and are
 * removed by the next one.
 */
#ifndef VGPU_PACKED_PART_H
#define VGPU_PACKED_PART_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

/**
 * struct packed_part - one thread's
 * @fd: -1: there is none
 * @path: what it will be called
 * @part: what it is called now
 * @bytes: length it will have
 * @synced: bytes that are on their way to storage
 */
struct packed_part {
	int fd;
	char path[PATH_MAX];
	char part[PATH_MAX];
	uint64_t bytes, synced;
};

/**
 * vgpu_packed_part_create() - make the part and take all of its space
 * @path: of the file; its folder exists
 * @bytes: length, read as zeros until written
 * @mode: permissions, less the umask
 * @p: vgpu_packed_part_discard() it, also after an error
 *
 * Return: 0; -ENOSPC, naming both sizes, before anything was written; -EFBIG above
 * RLIMIT_FSIZE; -ENAMETOOLONG; what open() said.
 */
int vgpu_packed_part_create(const char *path, uint64_t bytes, mode_t mode,
			    struct packed_part *p);
int vgpu_packed_part_write(struct packed_part *p, uint64_t offset, const void *from,
			   uint64_t bytes);
/* Everything is on storage when this returns 0. */
int vgpu_packed_part_sync(struct packed_part *p);
/* Take the path where nothing is. Return: 0; -EEXIST; what rename() said. */
int vgpu_packed_part_place(struct packed_part *p);
/* Take the place of whatever is at the path. */
int vgpu_packed_part_commit(struct packed_part *p);
/* Remove it, unless it was committed. */
void vgpu_packed_part_discard(struct packed_part *p);

#endif
