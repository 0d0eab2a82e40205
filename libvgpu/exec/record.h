/* SPDX-License-Identifier: MIT */
/*
 * Checksums that nobody waits for.
 *
 * A chunk of a file that comes for the first time has nothing to be compared with, and who
 * touched it waits for its content alone.  It is remembered here by its name; its CRC32C is
 * computed when there is nothing else to do, piece by piece, or when it goes.
 */
#ifndef VGPU_EXEC_RECORD_H
#define VGPU_EXEC_RECORD_H

#include <stdbool.h>
#include <stdint.h>

struct vgpu_resid;

#define VGPU_RECORDS_MAX	64u

/**
 * struct vgpu_records - chunks in host slots whose checksum is not recorded yet
 * @key: their names, for the policy and here; the oldest first
 * @count: how many
 * @crc: of the first @bytes of the oldest
 */
struct vgpu_records {
	uint64_t key[VGPU_RECORDS_MAX];
	uint32_t count, crc, bytes;
};

static inline bool vgpu_record_has_room(const struct vgpu_records *l)
{
	return l->count < VGPU_RECORDS_MAX;
}

/* Remember the chunk in a slot; there is room. */
void vgpu_record_later(struct vgpu_resid *r, uint32_t slot);
/* A piece of the oldest.  Return: true while something is left to do. */
bool vgpu_record_some(struct vgpu_resid *r);
/* So much that one more can be remembered; or all of them. */
void vgpu_record_make_room(struct vgpu_resid *r);
void vgpu_record_all(struct vgpu_resid *r);
/* The chunk in a slot is going: now, if it was left for later. */
void vgpu_record_slot(struct vgpu_resid *r, uint32_t slot);
/* It has gone, whatever was left to do. */
void vgpu_record_forget(struct vgpu_resid *r, uint64_t key);

#endif
