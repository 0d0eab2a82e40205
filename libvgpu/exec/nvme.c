// SPDX-License-Identifier: MIT
/*
 * The arena file. It begins with a header of 64 KiB, of which one sector is used; then the slots.
 *
 * The header is written before the file grows, so a file that is neither empty nor carries it has
 * never been ours. The lock is taken before anything is looked at, and after it the name is
 * checked again: the previous owner may have removed the file in between.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "exec/crc32c.h"
#include "exec/nvme.h"

#define HEADER_BYTES	(64u << 10)
#define SLOT_BYTES_MIN	(4u << 10)
#define SLOT_BYTES_MAX	(1u << 30)
#define OPEN_TRIES	8
/* Where partition tables, file systems, RAID and swap keep their marks, at either end. */
#define BLANK_BYTES	(1u << 20)

static const char magic[16] = "VBLACKWELL ARENA";

/* On disk, little endian as everywhere on the machines that we run on. */
struct header {
	char magic[16];
	uint64_t slots;
	uint64_t slot_bytes;
	uint64_t identity[2];
	uint32_t created;	/* by us: who has it last removes it */
	uint8_t reserved[456];
	uint32_t crc;		/* CRC32C of all before */
};

_Static_assert(sizeof(struct header) == 512, "one sector");

/**
 * struct vgpu_nvme - an open arena
 * @fd: locked
 * @created: by us, so removed by us
 * @ours: the header is in place
 * @block: block device
 * @slots: how many
 * @slot_bytes: size of each
 * @identity: random, new with every content
 * @path: as given
 */
struct vgpu_nvme {
	int fd;
	bool created;
	bool ours;
	bool block;
	uint64_t slots;
	uint64_t slot_bytes;
	uint64_t identity[2];
	char *path;
};

/* Where a failure is described; text may be NULL. */
struct why {
	char *text;
};

__attribute__((format(printf, 3, 4)))
static int fail(struct why *why, int rc, const char *format, ...)
{
	va_list args;

	if (!why->text)
		return rc;
	va_start(args, format);
	vsnprintf(why->text, VGPU_NVME_WHY_BYTES, format, args);
	va_end(args);
	return rc;
}

static int fail_errno(struct why *why, const struct vgpu_nvme *nvme, const char *what)
{
	int err = errno;
	char text[64];

	return fail(why, -err, "%.150s: %s: %s", nvme->path, what,
		    strerror_r(err, text, sizeof(text)));
}

/* Open and lock ------------------------------------------------------------------------ */

static int open_once(struct vgpu_nvme *nvme, struct why *why)
{
	struct stat st;

	nvme->created = false;
	/* O_EXCL without O_CREAT: a block device that is mounted answers EBUSY. */
	if (!stat(nvme->path, &st) && S_ISBLK(st.st_mode)) {
		nvme->fd = open(nvme->path, O_RDWR | O_EXCL | O_CLOEXEC);
	} else {
		nvme->fd = open(nvme->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		nvme->created = nvme->fd >= 0;
		if (nvme->fd < 0 && errno == EEXIST)
			nvme->fd = open(nvme->path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	}
	if (nvme->fd < 0)
		return fail_errno(why, nvme, "open");
	return 0;
}

/* 1 when the lock is ours but the name no longer leads to this file. */
static int lock(struct vgpu_nvme *nvme, struct why *why)
{
	struct stat ours, named;

	if (flock(nvme->fd, LOCK_EX | LOCK_NB)) {
		if (errno == EWOULDBLOCK)
			return fail(why, -EBUSY, "%.150s: another process uses this arena", nvme->path);
		return fail_errno(why, nvme, "flock");
	}
	if (fstat(nvme->fd, &ours))
		return fail_errno(why, nvme, "fstat");
	if (stat(nvme->path, &named) || ours.st_ino != named.st_ino || ours.st_dev != named.st_dev)
		return 1;
	nvme->block = S_ISBLK(ours.st_mode);
	if (!nvme->block && !S_ISREG(ours.st_mode))
		return fail(why, -EINVAL, "%.150s: neither a file nor a block device", nvme->path);
	return 0;
}

static int open_locked(struct vgpu_nvme *nvme, struct why *why)
{
	int tries, rc;

	for (tries = 0; tries < OPEN_TRIES; tries++) {
		rc = open_once(nvme, why);
		if (rc && rc != -ENOENT)
			return rc;
		if (rc)
			continue;
		rc = lock(nvme, why);
		if (!rc)
			return 0;
		close(nvme->fd);
		nvme->fd = -1;
		nvme->created = false;
		if (rc < 0)
			return rc;
	}
	return rc < 0 ? rc : fail(why, -EBUSY, "%.150s: removed and created again by others",
				  nvme->path);
}

/* Whose content is it? ----------------------------------------------------------------- */

static uint32_t header_crc(const struct header *h)
{
	return vgpu_crc32c(0, h, offsetof(struct header, crc));
}

static bool header_read(int fd, struct header *h)
{
	return pread(fd, h, sizeof(*h), 0) == sizeof(*h) &&
	       !memcmp(h->magic, magic, sizeof(magic)) && h->crc == header_crc(h);
}

static bool header_present(int fd)
{
	struct header h;

	return header_read(fd, &h);
}

static bool range_blank(int fd, uint64_t offset, uint64_t bytes)
{
	static const uint8_t zeros[4096];
	uint8_t buf[sizeof(zeros)];
	ssize_t n;

	while (bytes) {
		n = pread(fd, buf, bytes < sizeof(buf) ? bytes : sizeof(buf), (off_t)offset);
		if (n <= 0 || memcmp(buf, zeros, (size_t)n))
			return false;
		offset += (uint64_t)n;
		bytes -= (uint64_t)n;
	}
	return true;
}

static int file_bytes(const struct vgpu_nvme *nvme, uint64_t *out)
{
	struct stat st;

	if (nvme->block)
		return ioctl(nvme->fd, BLKGETSIZE64, out);
	if (fstat(nvme->fd, &st))
		return -1;
	*out = (uint64_t)st.st_size;
	return 0;
}

static bool blank(const struct vgpu_nvme *nvme, uint64_t bytes)
{
	uint64_t end = bytes < BLANK_BYTES ? bytes : BLANK_BYTES;

	if (!nvme->block)
		return !bytes;
	return range_blank(nvme->fd, 0, end) && range_blank(nvme->fd, bytes - end, end);
}

static int check_owner(const struct vgpu_nvme *nvme, struct why *why)
{
	uint64_t bytes;

	if (file_bytes(nvme, &bytes))
		return fail_errno(why, nvme, "size");
	if (header_present(nvme->fd) || blank(nvme, bytes))
		return 0;
	return fail(why, -EEXIST,
		    "%.150s: has content that is not an arena; not touched (%llu bytes)",
		    nvme->path, (unsigned long long)bytes);
}

/* Space -------------------------------------------------------------------------------- */

static int header_write(const struct vgpu_nvme *nvme, struct why *why)
{
	struct header h = { .slots = nvme->slots, .slot_bytes = nvme->slot_bytes,
			    .created = nvme->created };
	ssize_t n;

	memcpy(h.magic, magic, sizeof(magic));
	memcpy(h.identity, nvme->identity, sizeof(h.identity));
	h.crc = header_crc(&h);
	n = pwrite(nvme->fd, &h, sizeof(h), 0);
	if (n == sizeof(h))
		return 0;
	if (n >= 0)
		errno = ENOSPC;
	return fail_errno(why, nvme, "writing the header");
}

static int fail_space(struct why *why, const struct vgpu_nvme *nvme, uint64_t available)
{
	return fail(why, -ENOSPC, "%.100s: %llu slots of %llu bytes need %llu bytes, %llu are free",
		    nvme->path, (unsigned long long)nvme->slots,
		    (unsigned long long)nvme->slot_bytes,
		    (unsigned long long)vgpu_nvme_bytes(nvme), (unsigned long long)available);
}

/* Free bytes of the file system, with those that the file has already. */
static int available_bytes(const struct vgpu_nvme *nvme, uint64_t *out)
{
	struct statvfs fs;
	struct stat st;

	if (fstatvfs(nvme->fd, &fs) || fstat(nvme->fd, &st))
		return -1;
	*out = (uint64_t)fs.f_bavail * fs.f_frsize + (uint64_t)st.st_blocks * 512;
	return 0;
}

/* tmpfs of older kernels lets a signal, or work that an io_uring has for us, end it. */
static int allocate(int fd, uint64_t bytes)
{
	int rc;

	do {
		rc = fallocate(fd, 0, 0, (off_t)bytes);
	} while (rc && errno == EINTR);
	return rc;
}

/* Asking first keeps us from filling a disk only to find that it is too small. */
static int allocate_file(const struct vgpu_nvme *nvme, struct why *why)
{
	uint64_t bytes = vgpu_nvme_bytes(nvme);
	uint64_t available;
	struct rlimit lim;

	if (available_bytes(nvme, &available))
		return fail_errno(why, nvme, "statvfs");
	if (bytes > available)
		return fail_space(why, nvme, available);
	/* Beyond this limit the kernel would send SIGXFSZ. */
	if (!getrlimit(RLIMIT_FSIZE, &lim) && bytes > lim.rlim_cur)
		return fail(why, -EFBIG, "%.100s: needs %llu bytes, RLIMIT_FSIZE is %llu",
			    nvme->path, (unsigned long long)bytes,
			    (unsigned long long)lim.rlim_cur);

	if (ftruncate(nvme->fd, HEADER_BYTES))
		return fail_errno(why, nvme, "ftruncate");
	if (!allocate(nvme->fd, bytes))
		return 0;
	if (errno == ENOSPC)
		return fail_space(why, nvme, available);
	return fail_errno(why, nvme, "fallocate");
}

static int check_device(const struct vgpu_nvme *nvme, struct why *why)
{
	uint64_t bytes;

	if (file_bytes(nvme, &bytes))
		return fail_errno(why, nvme, "size");
	return bytes < vgpu_nvme_bytes(nvme) ? fail_space(why, nvme, bytes) : 0;
}

static int prepare(struct vgpu_nvme *nvme, struct why *why)
{
	int rc;

	rc = check_owner(nvme, why);
	if (rc)
		return rc;
	if (getrandom(nvme->identity, sizeof(nvme->identity), 0) != sizeof(nvme->identity))
		return fail_errno(why, nvme, "getrandom");
	if (nvme->block) {
		rc = check_device(nvme, why);
		return rc ? rc : header_write(nvme, why);
	}
	if (fchmod(nvme->fd, 0600))
		return fail_errno(why, nvme, "fchmod");
	rc = header_write(nvme, why);
	if (rc)
		return rc;
	nvme->ours = true;
	return allocate_file(nvme, why);
}

/* As it is, for who knows what is in its slots. */
static int take_over(struct vgpu_nvme *nvme, const uint64_t *identity, struct why *why)
{
	struct header h;
	uint64_t bytes;

	if (file_bytes(nvme, &bytes))
		return fail_errno(why, nvme, "size");
	if (!header_read(nvme->fd, &h) || memcmp(h.identity, identity, sizeof(h.identity)) ||
	    h.slots != nvme->slots || h.slot_bytes != nvme->slot_bytes ||
	    bytes < vgpu_nvme_bytes(nvme))
		return fail(why, -ESTALE, "%.150s: not the arena that the device knows", nvme->path);
	memcpy(nvme->identity, h.identity, sizeof(h.identity));
	nvme->created = h.created;
	nvme->ours = true;
	return 0;
}

/* Open, close, look -------------------------------------------------------------------- */

static int check_size(uint64_t slots, uint64_t slot_bytes, struct why *why)
{
	if (slot_bytes < SLOT_BYTES_MIN || slot_bytes > SLOT_BYTES_MAX ||
	    (slot_bytes & (slot_bytes - 1)))
		return fail(why, -EINVAL, "slot_bytes is %llu, must be a power of two from %u to %u",
			    (unsigned long long)slot_bytes, SLOT_BYTES_MIN, SLOT_BYTES_MAX);
	if (!slots || slots > (INT64_MAX - HEADER_BYTES) / slot_bytes)
		return fail(why, -EINVAL, "slots is %llu, must be from 1 to %llu",
			    (unsigned long long)slots,
			    (unsigned long long)((INT64_MAX - HEADER_BYTES) / slot_bytes));
	return 0;
}

static int nvme_open(const char *path, const uint64_t *identity, uint64_t slots,
		     uint64_t slot_bytes, char *why_text, struct vgpu_nvme **out)
{
	struct why why = { why_text };
	struct vgpu_nvme *nvme;
	int rc;

	rc = check_size(slots, slot_bytes, &why);
	if (rc)
		return rc;
	nvme = malloc(sizeof(*nvme));
	if (!nvme)
		return -ENOMEM;
	*nvme = (struct vgpu_nvme){ .fd = -1, .slots = slots, .slot_bytes = slot_bytes };
	nvme->path = strdup(path);
	if (!nvme->path) {
		rc = -ENOMEM;
		goto err_free;
	}
	rc = open_locked(nvme, &why);
	if (!rc)
		rc = identity ? take_over(nvme, identity, &why) : prepare(nvme, &why);
	if (rc)
		goto err_free;
	*out = nvme;
	return 0;

err_free:
	vgpu_nvme_close(nvme);
	return rc;
}

int vgpu_nvme_open(const char *path, uint64_t slots, uint64_t slot_bytes, char *why,
		   struct vgpu_nvme **out)
{
	return nvme_open(path, NULL, slots, slot_bytes, why, out);
}

int vgpu_nvme_adopt(const char *path, const uint64_t *identity, uint64_t slots,
		    uint64_t slot_bytes, char *why, struct vgpu_nvme **out)
{
	return nvme_open(path, identity, slots, slot_bytes, why, out);
}

void vgpu_nvme_leave(struct vgpu_nvme *nvme)
{
	if (nvme)
		nvme->created = nvme->ours = false;
	vgpu_nvme_close(nvme);
}

/* If it cannot be cut, the space stays taken until the next open. */
static void give_space_back(const struct vgpu_nvme *nvme)
{
	(void)!ftruncate(nvme->fd, HEADER_BYTES);
}

void vgpu_nvme_close(struct vgpu_nvme *nvme)
{
	if (!nvme)
		return;
	/* Still locked, so nobody has taken it over. */
	if (nvme->created)
		unlink(nvme->path);
	else if (nvme->ours && !nvme->block)
		give_space_back(nvme);
	if (nvme->fd >= 0)
		close(nvme->fd);
	free(nvme->path);
	free(nvme);
}

void vgpu_nvme_identity(const struct vgpu_nvme *nvme, uint64_t *out)
{
	memcpy(out, nvme->identity, sizeof(nvme->identity));
}

int vgpu_nvme_fd(const struct vgpu_nvme *nvme)
{
	return nvme->fd;
}

uint64_t vgpu_nvme_offset(const struct vgpu_nvme *nvme, uint64_t slot)
{
	return slot < nvme->slots ? HEADER_BYTES + slot * nvme->slot_bytes : UINT64_MAX;
}

uint64_t vgpu_nvme_bytes(const struct vgpu_nvme *nvme)
{
	return HEADER_BYTES + nvme->slots * nvme->slot_bytes;
}
