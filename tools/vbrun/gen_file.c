// SPDX-License-Identifier: MIT
#include "gen_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fail.h"

#define BUFFER_BYTES ((size_t)1 << 20)
/* Writing to the disk begins early, so that the end does not wait for all of it. */
#define SYNC_BYTES ((uint64_t)64 << 20)

static int fail_space(struct gen_file *f)
{
	struct statvfs fs = { 0 };

	fstatvfs(f->fd, &fs);
	return vbrun_fail(f->err, -ENOSPC,
		"%.160s: needs %" PRIu64 " bytes, the filesystem has %" PRIu64 " free", f->path,
		f->total, (uint64_t)fs.f_bavail * fs.f_frsize);
}

static int fail(struct gen_file *f, int rc)
{
	return vbrun_fail(f->err, rc, "%.160s: %s", f->path, part_why(rc));
}

static int take_space(struct gen_file *f)
{
	if (!fallocate(f->fd, 0, 0, (off_t)f->total))
		return 0;
	if (errno == ENOSPC)
		return fail_space(f);
	/* Filesystems without the call find out while writing. */
	return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : fail(f, -errno);
}

/*
 * The part, and nobody else has it. Another one may have finished between our open() and the
 * lock: then what we have is its file, under its name.
 */
static int take_part(struct gen_file *f)
{
	struct stat ours, there;
	bool theirs;

	f->fd = open(f->part.at, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	if (f->fd < 0)
		return fail(f, -errno);
	/* File systems without locks have none of others either. */
	theirs = flock(f->fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
	if (theirs || fstat(f->fd, &ours) || stat(f->part.at, &there) ||
	    ours.st_ino != there.st_ino || ours.st_dev != there.st_dev) {
		close(f->fd);
		f->fd = -1;
		return vbrun_fail(f->err, -EBUSY, "%.160s: another one is writing it", f->path);
	}
	return ftruncate(f->fd, 0) ? fail(f, -errno) : 0;
}

int gen_file_create(struct gen_file *f, const char *path, uint64_t total,
		    vbrun_gen_progress progress, void *arg, struct vgpu_error *err)
{
	int rc;

	*f = (struct gen_file){
		.fd = -1, .total = total, .progress = progress, .arg = arg, .err = err,
	};
	f->path = strdup(path);
	f->buffer = malloc(BUFFER_BYTES);
	if (!f->path || !f->buffer)
		return vbrun_fail(err, -ENOMEM, "%.160s: out of memory", path);
	rc = part_find(path, &f->part);
	if (rc)
		return fail(f, rc);
	rc = take_part(f);
	return rc ? rc : take_space(f);
}

/* Asked after every buffer and every interrupted write. */
static int ask(struct gen_file *f)
{
	int rc = f->progress ? f->progress(f->arg, f->done, f->total) : 0;

	return rc ? vbrun_fail(f->err, rc, "%.160s: stopped after %" PRIu64 " of %" PRIu64 " bytes",
			       f->path, f->done, f->total) : 0;
}

static int flush(struct gen_file *f)
{
	size_t at = 0;
	int rc;

	while (at < f->used) {
		ssize_t n = write(f->fd, f->buffer + at, f->used - at);

		if (n < 0 && errno == ENOSPC)
			return fail_space(f);
		if (n < 0 && errno != EINTR)
			return fail(f, -errno);
		if (n > 0) {
			at += (size_t)n;
			f->done += (size_t)n;
		}
		rc = ask(f);
		if (rc)
			return rc;
	}
	f->used = 0;
	if (f->done - f->synced >= SYNC_BYTES) {
		sync_file_range(f->fd, (off_t)f->synced, (off_t)(f->done - f->synced),
				SYNC_FILE_RANGE_WRITE);
		f->synced = f->done;
	}
	return 0;
}

int gen_file_room(struct gen_file *f, size_t bytes, void **out)
{
	int rc;

	if (f->used + bytes > BUFFER_BYTES) {
		rc = flush(f);
		if (rc)
			return rc;
	}
	*out = f->buffer + f->used;
	f->used += bytes;
	return 0;
}

int gen_file_commit(struct gen_file *f)
{
	int rc = flush(f);

	if (rc)
		return rc;
	/* Later readers measure the disk: they should not share it with these writes. */
	if (fdatasync(f->fd))
		return fail(f, -errno);
	rc = part_place(&f->part);
	if (rc)
		return fail(f, rc);
	close(f->fd);
	f->fd = -1;
	return 0;
}

void gen_file_discard(struct gen_file *f)
{
	if (f->fd >= 0) {
		unlink(f->part.at);
		close(f->fd);
	}
	free(f->buffer);
	free(f->path);
	*f = (struct gen_file){ .fd = -1 };
}
