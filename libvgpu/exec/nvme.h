/* SPDX-License-Identifier: MIT */
#ifndef VGPU_EXEC_NVME_H
#define VGPU_EXEC_NVME_H

#include <stdint.h>

/*
 * The arena of the NVMe tier: a preallocated file, or a block device, cut into slots of one chunk.
 * Who uses which slot is the device's business; bytes move through io.h, which reopens the file
 * O_DIRECT where it can.
 *
 * Nothing is ever fsync()ed: the arena holds evicted memory, and means nothing once the device
 * that knows what is in it is gone. What guards its content while it lives is a CRC32C a chunk.
 * An executor that dies leaves it as it is, and the next one knows it by its identity.
 */

struct vgpu_nvme;

#define VGPU_NVME_WHY_BYTES	256

/**
 * vgpu_nvme_open() - create or take over an arena
 * @path: a name that does not exist yet, an empty file, an arena left by a process that died, or
 *	a block device that is blank or was an arena
 * @slots: at least 1
 * @slot_bytes: bytes of a chunk, power of two, 4 KiB to 1 GiB
 * @why: NULL, or VGPU_NVME_WHY_BYTES for one line about a failure, with the numbers
 * @out: the arena
 *
 * All bytes are allocated here, so that no eviction fails for lack of space. The file becomes
 * mode 0600 and is locked with flock(2): one process has it. A file with any other content is
 * refused and not touched.
 *
 * Return: 0; -EINVAL; -EEXIST the file has content that is not ours; -EBUSY another process has
 * it, or the device is mounted; -ENOSPC; -EFBIG RLIMIT_FSIZE; -EOPNOTSUPP the file system cannot
 * allocate ahead; -ENOMEM; or what open(2) said.
 */
int vgpu_nvme_open(const char *path, uint64_t slots, uint64_t slot_bytes, char *why,
		   struct vgpu_nvme **out);

/**
 * vgpu_nvme_close() - give the arena up
 * @nvme: NULL is fine; no I/O may be in flight
 *
 * Removes the file if vgpu_nvme_open() created it, else cuts it down to its header. A block device
 * keeps what was written to it.
 */
void vgpu_nvme_close(struct vgpu_nvme *nvme);

/**
 * vgpu_nvme_adopt() - take over an arena with its content
 * @path: where it was
 * @identity: two words, as the device knows them
 * @slots: as it was opened with
 * @slot_bytes: as it was opened with
 * @why: NULL, or VGPU_NVME_WHY_BYTES
 * @out: the arena
 *
 * Return: 0; -ESTALE it is another one, or none: nothing was changed; else as vgpu_nvme_open().
 */
int vgpu_nvme_adopt(const char *path, const uint64_t *identity, uint64_t slots,
		    uint64_t slot_bytes, char *why, struct vgpu_nvme **out);

/** vgpu_nvme_leave() - close it as it is, for another executor; NULL is fine */
void vgpu_nvme_leave(struct vgpu_nvme *nvme);

/** vgpu_nvme_identity() - two words that no other content has */
void vgpu_nvme_identity(const struct vgpu_nvme *nvme, uint64_t *out);

/** vgpu_nvme_fd() - descriptor for vgpu_io_file_add(), open for reading and writing */
int vgpu_nvme_fd(const struct vgpu_nvme *nvme);

/** vgpu_nvme_offset() - where @slot begins in the file, in bytes, or UINT64_MAX beyond the end */
uint64_t vgpu_nvme_offset(const struct vgpu_nvme *nvme, uint64_t slot);

/** vgpu_nvme_bytes() - size on disk, header and all */
uint64_t vgpu_nvme_bytes(const struct vgpu_nvme *nvme);

#endif
