// SPDX-License-Identifier: MIT
#include "sized.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "error.h"

static uint32_t size_of(const void *structure)
{
	uint32_t size;

	memcpy(&size, structure, sizeof(size));
	return size;
}

int vgpu_sized_check(const char *name, size_t bytes, const void *to)
{
	if (size_of(to) < sizeof(uint32_t))
		return vgpu_fail(-EINVAL, "%s.size is %u, must be sizeof() the structure: %zu", name,
				 size_of(to), bytes);
	return 0;
}

int vgpu_sized_take(const char *name, void *to, size_t bytes, const void *from)
{
	const unsigned char *tail = from;
	uint32_t size = size_of(from);
	int rc;

	rc = vgpu_sized_check(name, bytes, from);
	if (rc)
		return rc;
	for (size_t i = bytes; i < size; i++)
		if (tail[i])
			return vgpu_fail(-E2BIG, "%s.size is %u and byte %zu is set; this library knows "
					 "%zu bytes", name, size, i, bytes);
	memset(to, 0, bytes);
	memcpy(to, from, size < bytes ? size : bytes);
	return 0;
}

void vgpu_sized_answer(void *to, const void *from, size_t bytes)
{
	uint32_t size = size_of(to);

	memcpy((char *)to + sizeof(size), (const char *)from + sizeof(size),
	       (size < bytes ? size : bytes) - sizeof(size));
}
