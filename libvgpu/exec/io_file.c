// SPDX-License-Identifier: MIT
/*
 * How a file of the caller is reached: O_DIRECT where the file system takes it, through the page
 * cache where not. The caller's descriptor is never changed: O_DIRECT is a flag of the open file
 * description, which the caller may share with others, so the file is opened again.
 * And the files of an engine, by number.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "exec/io_engine.h"

/* What every local file system takes where the kernel cannot say (before 6.1, or FUSE). */
#define ALIGN_DEFAULT	4096u
/* Largest piece of a file that the page cache keeps or drops as one, where pages have 4 KiB. */
#define FOLIO_BYTES_MAX	(2u << 20)

int vgpu_io_file_look(int fd, struct statx *out)
{
	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, out) ?
	       -errno : 0;
}

static int reopen(int fd, int flags)
{
	char path[32];
	int rc;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	rc = open(path, flags | O_CLOEXEC | O_NOCTTY);
	return rc < 0 ? -errno : rc;
}

static int duplicate(int fd)
{
	int rc = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return rc < 0 ? -errno : rc;
}

static uint32_t direct_align(int fd, bool block)
{
	struct statx stx;
	uint32_t align = 0;
	int sector;

#ifdef STATX_DIOALIGN
	if (!statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_DIOALIGN, &stx) &&
	    (stx.stx_mask & STATX_DIOALIGN))
		align = stx.stx_dio_offset_align > stx.stx_dio_mem_align ?
			stx.stx_dio_offset_align : stx.stx_dio_mem_align;
#endif
	if (!align && block && !ioctl(fd, BLKSSZGET, &sector) && sector > 0)
		align = (uint32_t)sector;
	if (!align || (align & (align - 1)))
		align = ALIGN_DEFAULT;
	return align;
}

/* BLKSECTGET: in units of 512 bytes, whatever its sectors are; we: whole ones of @align. */
static uint32_t block_command_bytes(int fd, uint32_t align)
{
	unsigned short sectors;

	return ioctl(fd, BLKSECTGET, &sectors) ? 0 : sectors * 512u / align * align;
}

static int file_check(struct vgpu_io_file *file, int fd, int status)
{
	struct statx st;
	int rc = vgpu_io_file_look(fd, &st);

	if (rc)
		return rc;
	if (S_ISDIR(st.stx_mode))
		return -EISDIR;
	if (!S_ISREG(st.stx_mode) && !S_ISBLK(st.stx_mode))
		return -ESPIPE;
	if (status & O_PATH)
		return -EBADF;

	file->access = status & O_ACCMODE;
	file->block = S_ISBLK(st.stx_mode);
	/* FUSE and network file systems; and some that are not, to which it does no harm. */
	file->remote = !file->block && !st.stx_dev_major;
	return 0;
}

static int file_open_direct(struct vgpu_io_file *file, int fd, int status)
{
	char why[64];
	int rc;

	rc = status & O_DIRECT ? duplicate(fd) : reopen(fd, file->access | O_DIRECT);
	if (rc < 0) {
		snprintf(file->reason, sizeof(file->reason), "buffered: O_DIRECT refused: %s",
			 strerror_r(-rc, why, sizeof(why)));
		return rc;
	}
	file->direct_fd = rc;
	file->direct = true;
	file->align = direct_align(rc, file->block);
	file->command_bytes = file->block ? block_command_bytes(rc, file->align) : 0;
	snprintf(file->reason, sizeof(file->reason), "O_DIRECT, aligned to %u bytes", file->align);
	return 0;
}

void vgpu_io_file_buffer(struct vgpu_io_file *file)
{
	file->direct = false;
	file->align = 1;
	snprintf(file->reason, sizeof(file->reason), "buffered: as asked");
}

int vgpu_io_file_open(struct vgpu_io_file *file, int fd, bool buffered)
{
	int status = fcntl(fd, F_GETFL);
	int rc;

	if (status < 0)
		return -errno;
	*file = (struct vgpu_io_file){ .fd = -1, .direct_fd = -1, .align = 1 };
	rc = file_check(file, fd, status);
	if (rc)
		return rc;

	file->fd = status & O_DIRECT ? reopen(fd, file->access) : duplicate(fd);
	if (file->fd < 0 && !(status & O_DIRECT))
		return file->fd;

	if (!buffered)
		rc = file_open_direct(file, fd, status);
	else
		vgpu_io_file_buffer(file);
	if (file->direct || file->fd >= 0)
		return 0;
	return rc ? rc : -EBADF;
}

int vgpu_io_file_prepare(int fd, struct vgpu_io_file **out)
{
	struct vgpu_io_file *file = malloc(sizeof(*file));
	int rc;

	if (!file)
		return -ENOMEM;
	rc = vgpu_io_file_open(file, fd, false);
	if (rc)
		free(file);
	else
		*out = file;
	return rc;
}

void vgpu_io_file_release(struct vgpu_io_file *file)
{
	vgpu_io_file_close(file);
	free(file);
}

void vgpu_io_file_drop(const struct vgpu_io_file *file)
{
	if (file->fd >= 0 && !file->direct)
		posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED);
}

void vgpu_io_file_close(struct vgpu_io_file *file)
{
	vgpu_io_file_drop(file);
	if (file->fd >= 0)
		close(file->fd);
	if (file->direct_fd >= 0)
		close(file->direct_fd);
}

bool vgpu_io_file_demote(struct vgpu_io_file *file)
{
	if (!file->direct || file->fd < 0)
		return false;
	/* direct_fd stays open: attempts in flight use it. */
	file->direct = false;
	snprintf(file->reason, sizeof(file->reason),
		 "buffered: the file system opens O_DIRECT but refuses aligned transfers");
	return true;
}

void vgpu_io_drop_behind(const struct vgpu_io_attempt *attempt)
{
	uint64_t before = attempt->offset & ~(uint64_t)(FOLIO_BYTES_MAX - 1);

	/*
	 * Dirty pages cannot be dropped. Start writing them; they go when the range is next
	 * transferred. Waiting here would make every write synchronous.
	 */
	if (attempt->write)
		sync_file_range(attempt->fd, (off_t)attempt->offset, attempt->bytes,
				SYNC_FILE_RANGE_WRITE);
	posix_fadvise(attempt->fd, (off_t)attempt->offset, attempt->bytes, POSIX_FADV_DONTNEED);
	/*
	 * Readahead makes folios larger than a small attempt, and a part of one cannot be
	 * dropped. The last that is surely behind goes now, as a whole.
	 */
	if (!attempt->write && attempt->bytes < FOLIO_BYTES_MAX && before)
		posix_fadvise(attempt->fd, (off_t)(before - FOLIO_BYTES_MAX), FOLIO_BYTES_MAX,
			      POSIX_FADV_DONTNEED);
}

/* The files of an engine ----------------------------------------------------------------- */

struct vgpu_io_file *vgpu_io_file_find(const struct vgpu_io *io, uint32_t file)
{
	return file < VGPU_IO_FILES_MAX ? io->files[file] : NULL;
}

/* @file is the engine's from here on, unless this fails. */
static int file_enter(struct vgpu_io *io, struct vgpu_io_file *file, uint32_t *out_file)
{
	uint32_t i = 0;
	int rc;

	while (i < VGPU_IO_FILES_MAX && io->files[i])
		i++;
	if (i == VGPU_IO_FILES_MAX)
		return -ENOSPC;
	io->files[i] = file;
	rc = io->ops->file_add ? io->ops->file_add(io, i) : 0;
	if (rc)
		io->files[i] = NULL;
	else
		*out_file = i;
	return rc;
}

int vgpu_io_file_add(struct vgpu_io *io, int fd, uint32_t flags, uint32_t *out_file)
{
	struct vgpu_io_file *file;
	int rc;

	if (flags & ~VGPU_IO_FILE_BUFFERED)
		return -EINVAL;
	file = malloc(sizeof(*file));
	if (!file)
		return -ENOMEM;
	rc = vgpu_io_file_open(file, fd, io->ops->buffered || (flags & VGPU_IO_FILE_BUFFERED));
	if (rc)
		goto err_free;
	rc = file_enter(io, file, out_file);
	if (rc)
		goto err_close;
	return 0;

err_close:
	vgpu_io_file_close(file);
err_free:
	free(file);
	return rc;
}

int vgpu_io_file_lend(struct vgpu_io *io, const struct vgpu_io_file *file, uint32_t *out_file)
{
	struct vgpu_io_file *lent;
	int rc;

	if (io->ops->buffered && file->fd < 0)
		return -EBADF;
	lent = malloc(sizeof(*lent));
	if (!lent)
		return -ENOMEM;
	*lent = *file;
	lent->lent = true;
	if (io->ops->buffered)
		vgpu_io_file_buffer(lent);
	rc = file_enter(io, lent, out_file);
	if (rc)
		free(lent);
	return rc;
}

void vgpu_io_file_forget(struct vgpu_io *io, uint32_t file)
{
	if (io->ops->file_remove)
		io->ops->file_remove(io, file);
	if (io->files[file]->lent)
		vgpu_io_file_drop(io->files[file]);
	else
		vgpu_io_file_close(io->files[file]);
	free(io->files[file]);
	io->files[file] = NULL;
}

int vgpu_io_file_remove(struct vgpu_io *io, uint32_t file)
{
	const struct vgpu_io_file *f = vgpu_io_file_find(io, file);

	if (!f)
		return -EINVAL;
	if (f->users)
		return -EBUSY;
	vgpu_io_file_forget(io, file);
	return 0;
}

uint32_t vgpu_io_file_align(const struct vgpu_io *io, uint32_t file)
{
	const struct vgpu_io_file *f = vgpu_io_file_find(io, file);

	return f ? f->align : 0;
}

int vgpu_io_file_get(const struct vgpu_io *io, uint32_t file, struct vgpu_io_file_info *out)
{
	const struct vgpu_io_file *f = vgpu_io_file_find(io, file);

	if (!f)
		return -EINVAL;
	out->direct = f->direct;
	out->align = f->align;
	memcpy(out->reason, f->reason, sizeof(out->reason));
	return 0;
}
