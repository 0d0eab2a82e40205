/* SPDX-License-Identifier: MIT */
/*
 * May a command buffer be run again from its beginning, after a run that ended anywhere?
 *
 * It may when nothing that it reads from before its beginning is overwritten by it: then
 * the second run finds what the first one found.  Followed while it is recorded, in bytes
 * of objects; whatever is not understood counts as overwritten.
 */
#ifndef VGPU_RERUN_H
#define VGPU_RERUN_H

#include <stdbool.h>
#include <stdint.h>

#define VGPU_RERUN_SPANS	512u	/* beyond these a buffer is held not to be repeatable */
#define VGPU_RERUN_LISTS	64u
#define VGPU_RERUN_NONE		UINT16_MAX

/**
 * struct vgpu_rerun_span - bytes of an object
 * @from: first byte
 * @end: one past the last
 * @bo: index of the object
 * @next: in its list, or VGPU_RERUN_NONE
 * @made: all of them are made by the buffer; else: read as they were before it
 */
struct vgpu_rerun_span {
	uint64_t from, end;
	uint32_t bo;
	uint16_t next;
	bool made;
};

/**
 * struct vgpu_rerun - what a buffer has read and made so far
 * @spans: of which @used were in use; at most one that is made and one that is not at any byte
 * @first: lists of them, by object
 * @spare: list of those that became one with others
 * @used: how many have been in a list
 * @full: there were too many
 */
struct vgpu_rerun {
	struct vgpu_rerun_span spans[VGPU_RERUN_SPANS];
	uint16_t first[VGPU_RERUN_LISTS], spare, used;
	bool full;
};

void vgpu_rerun_reset(struct vgpu_rerun *r);

/**
 * vgpu_rerun_read() - a command reads bytes of an object that may be written
 * @r: buffer
 * @bo: index of the object
 * @from: first byte
 * @end: one past the last
 */
void vgpu_rerun_read(struct vgpu_rerun *r, uint32_t bo, uint64_t from, uint64_t end);

/**
 * vgpu_rerun_write() - a command writes bytes of an object
 * @r: buffer
 * @bo: index of the object
 * @from: first byte
 * @end: one past the last
 * @all: each of them, whatever happens
 *
 * Return: may the buffer be run again, as far as this object goes?
 */
bool vgpu_rerun_write(struct vgpu_rerun *r, uint32_t bo, uint64_t from, uint64_t end, bool all);

#endif
