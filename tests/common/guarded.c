// SPDX-License-Identifier: MIT
#include "common/guarded.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int guarded_open(struct guarded *g, size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *map;

	bytes = (bytes + page - 1) / page * page;
	map = mmap(NULL, bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		   -1, 0);
	if (map == MAP_FAILED)
		return -errno;
	if (mprotect(map + page, bytes, PROT_READ | PROT_WRITE))
		return -errno;
	*g = (struct guarded){ map + page, bytes };
	return 0;
}

void *guarded_part(const struct guarded *g, size_t bytes, bool at_end)
{
	if (bytes > g->bytes)
		abort();
	return at_end ? g->at + g->bytes - bytes : g->at;
}

void guarded_forget(const struct guarded *g)
{
	madvise(g->at, g->bytes, MADV_DONTNEED);
}
