// SPDX-License-Identifier: MIT
#include "packed_part.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "error.h"

/* Writing to storage begins early, so that the end does not wait for all of it. */
#define SYNC_BYTES	((uint64_t)32 << 20)
#define PART_TRIES	1000u

static int fail_path(const char *path)
{
	return vgpu_fail(-errno, "%.300s: %s", path, strerror(errno));
}

/* ---- parts of the dead ---- */

/* "BASE.PID.part" or "BASE.PID.N.part": nothing else is ours to remove. */
static bool is_part_of(const char *name, const char *base)
{
	size_t n = strlen(base);

	if (strncmp(name, base, n) || name[n] != '.')
		return false;
	name += n + 1;
	n = strspn(name, "0123456789");
	if (!n || name[n] != '.')
		return false;
	name += n + 1;
	n = strspn(name, "0123456789");
	if (n && name[n] == '.')
		name += n + 1;
	return !strcmp(name, "part");
}

static void remove_if_dead(int folder, const char *name)
{
	int fd = openat(folder, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return;
	/* One without a name was removed by another: the name may be a new part's now. */
	if (!flock(fd, LOCK_EX | LOCK_NB) && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_nlink)
		unlinkat(folder, name, 0);
	close(fd);
}

static void remove_dead_parts(const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX];
	struct dirent *e;
	DIR *d;

	if (slash)
		snprintf(folder, sizeof(folder), "%.*s/", (int)(slash - path), path);
	d = opendir(slash ? folder : ".");
	if (!d)
		return;
	while ((e = readdir(d)) != NULL)
		if (is_part_of(e->d_name, slash ? slash + 1 : path))
			remove_if_dead(dirfd(d), e->d_name);
	closedir(d);
}

/* ---- creation ---- */

/* Another builder may have taken a part that was not locked yet for a dead one's. */
static bool lock_new(int fd)
{
	struct stat st;

	if (flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
		return false;
	return !fstat(fd, &st) && st.st_nlink > 0;
}

static int open_new(struct packed_part *p, mode_t mode)
{
	for (unsigned int i = 0; i < PART_TRIES; i++) {
		int n = i ? snprintf(p->part, sizeof(p->part), "%s.%d.%u.part", p->path,
				     (int)getpid(), i) :
			    snprintf(p->part, sizeof(p->part), "%s.%d.part", p->path, (int)getpid());

		if (n >= (int)sizeof(p->part))
			return vgpu_fail(-ENAMETOOLONG, "the path has %zu bytes, too many for a part",
					 strlen(p->path));
		p->fd = open(p->part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
		if (p->fd >= 0 && lock_new(p->fd))
			return 0;
		if (p->fd < 0 && errno != EEXIST)
			return fail_path(p->part);
		if (p->fd >= 0)
			close(p->fd);
		p->fd = -1;
	}
	return vgpu_fail(-EEXIST, "%.300s: %u parts of this process are there already", p->path,
			 PART_TRIES);
}

static int fail_space(const struct packed_part *p)
{
	struct statvfs fs = { 0 };

	fstatvfs(p->fd, &fs);
	return vgpu_fail(-ENOSPC, "%.300s: needs %" PRIu64 " bytes, the file system has %" PRIu64
			 " free", p->path, p->bytes, (uint64_t)fs.f_bavail * fs.f_frsize);
}

/* File systems without fallocate() promise nothing; what they say is all there is. */
static int take_space_unsure(struct packed_part *p)
{
	struct statvfs fs;

	if (!fstatvfs(p->fd, &fs) && (uint64_t)fs.f_bavail * fs.f_frsize < p->bytes)
		return fail_space(p);
	return ftruncate(p->fd, (off_t)p->bytes) ? fail_path(p->part) : 0;
}

static int take_space(struct packed_part *p)
{
	struct rlimit limit;

	/* Asked first: going beyond it costs a signal that ends most programs. */
	if (!getrlimit(RLIMIT_FSIZE, &limit) && limit.rlim_cur < p->bytes)
		return vgpu_fail(-EFBIG, "%.300s: needs %" PRIu64 " bytes, RLIMIT_FSIZE allows %"
				 PRIu64, p->path, p->bytes, (uint64_t)limit.rlim_cur);
	if (!fallocate(p->fd, 0, 0, (off_t)p->bytes))
		return 0;
	if (errno == ENOSPC)
		return fail_space(p);
	if (errno == EOPNOTSUPP || errno == ENOSYS)
		return take_space_unsure(p);
	return fail_path(p->part);
}

int vgpu_packed_part_create(const char *path, uint64_t bytes, mode_t mode,
			    struct packed_part *p)
{
	int n, rc;

	p->fd = -1;
	p->bytes = bytes;
	p->synced = 0;
	n = snprintf(p->path, sizeof(p->path), "%s", path);
	if (n >= (int)sizeof(p->path))
		return vgpu_fail(-ENAMETOOLONG, "the path has %d bytes, the limit is %zu", n,
				 sizeof(p->path) - 1);
	remove_dead_parts(path);
	rc = open_new(p, mode);
	return rc ? rc : take_space(p);
}

/* ---- content ---- */

int vgpu_packed_part_write(struct packed_part *p, uint64_t offset, const void *from,
			   uint64_t bytes)
{
	uint64_t done = 0;

	while (done < bytes) {
		ssize_t n = pwrite(p->fd, (const char *)from + done, bytes - done,
				   (off_t)(offset + done));

		if (n < 0 && errno == ENOSPC)
			return fail_space(p);
		if (n < 0 && errno != EINTR)
			return fail_path(p->part);
		done += n > 0 ? (uint64_t)n : 0;
	}
	if (offset + bytes >= p->synced + SYNC_BYTES) {
		sync_file_range(p->fd, (off_t)p->synced, (off_t)(offset + bytes - p->synced),
				SYNC_FILE_RANGE_WRITE);
		p->synced = offset + bytes;
	}
	return 0;
}

int vgpu_packed_part_sync(struct packed_part *p)
{
	return fdatasync(p->fd) ? fail_path(p->part) : 0;
}

static void placed(struct packed_part *p)
{
	close(p->fd);
	p->fd = -1;
}

int vgpu_packed_part_place(struct packed_part *p)
{
	int rc = renameat2(AT_FDCWD, p->part, AT_FDCWD, p->path, RENAME_NOREPLACE) ? -errno : 0;

	/* Not every file system knows how: then what comes between the two calls is replaced. */
	if (rc == -EINVAL || rc == -ENOSYS)
		rc = !access(p->path, F_OK) ? -EEXIST : rename(p->part, p->path) ? -errno : 0;
	if (!rc)
		placed(p);
	return rc;
}

int vgpu_packed_part_commit(struct packed_part *p)
{
	if (rename(p->part, p->path))
		return fail_path(p->part);
	placed(p);
	return 0;
}

void vgpu_packed_part_discard(struct packed_part *p)
{
	if (p->fd < 0)
		return;
	unlink(p->part);
	close(p->fd);
	p->fd = -1;
}
