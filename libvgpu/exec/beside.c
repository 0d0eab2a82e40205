// SPDX-License-Identifier: MIT
#include "beside.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* What an allocator keeps when less than this is freed does not matter. */
#define MAPPED_BYTES	(128u << 10)

static uint64_t page_up(uint64_t bytes)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	return (bytes + page - 1) / page * page;
}

/* More is mapped than asked for, and what lies around the aligned part goes back. */
static void *map(size_t align, uint64_t bytes)
{
	uint64_t all = bytes + align, skip;
	uint8_t *p = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	skip = (align - ((uintptr_t)p & (align - 1))) & (align - 1);
	if (skip)
		munmap(p, skip);
	munmap(p + skip + bytes, all - skip - bytes);
	return p + skip;
}

void *vgpu_beside_alloc(struct vgpu_beside *b, size_t align, uint64_t bytes)
{
	void *p = bytes < MAPPED_BYTES ? aligned_alloc(align, bytes) :
					 map(page_up(align), page_up(bytes));

	if (!p)
		return NULL;
	b->bytes += bytes;
	vgpu_beside_note(b, 0);
	return p;
}

void vgpu_beside_free(struct vgpu_beside *b, void *p, uint64_t bytes)
{
	if (!p)
		return;
	if (bytes < MAPPED_BYTES)
		free(p);
	else
		munmap(p, page_up(bytes));
	b->bytes -= bytes;
}
