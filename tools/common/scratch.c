// SPDX-License-Identifier: MIT
#include "common/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int open_named(const char *folder, int flags)
{
	char *path;
	int fd;

	if (asprintf(&path, "%s/.vblackwell-XXXXXX", folder) < 0)
		return -1;
	fd = mkostemp(path, O_CLOEXEC | flags);
	if (fd >= 0)
		unlink(path);
	free(path);
	return fd;
}

int scratch_open(const char *folder, int flags)
{
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600), why = errno;

	if (fd < 0 && (why == EOPNOTSUPP || why == EISDIR))
		fd = open_named(folder, flags);
	return fd < 0 ? -why : fd;
}
