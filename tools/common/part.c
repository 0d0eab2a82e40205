// SPDX-License-Identifier: MIT
#include "common/part.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(PART_PATH_BYTES >= PATH_MAX, "realpath() fills as much");

/* rename() puts a file in the place of anything but a folder: of /dev/null, too. */
static int find_place(const char *path, char *to)
{
	struct stat st;

	if (!*path)
		return -ENOENT;
	if (!stat(path, &st)) {
		if (S_ISDIR(st.st_mode))
			return -EISDIR;
		if (!S_ISREG(st.st_mode))
			return -EMEDIUMTYPE;
		return realpath(path, to) ? 0 : -errno;
	}
	if (errno != ENOENT)
		return -errno;
	if (!lstat(path, &st))
		return -ELOOP;
	return snprintf(to, PART_PATH_BYTES, "%s", path) < PART_PATH_BYTES ? 0 : -ENAMETOOLONG;
}

int part_find(const char *path, struct part *out)
{
	int rc = find_place(path, out->to);

	if (!rc && snprintf(out->at, sizeof(out->at), "%s.part", out->to) >= (int)sizeof(out->at))
		rc = -ENAMETOOLONG;
	return rc;
}

int part_check(const char *path)
{
	struct part p;
	int rc = path ? part_find(path, &p) : 0;

	if (rc || !path)
		return rc;
	return access(dirname(p.at), W_OK) ? -errno : 0;
}

int part_place(const struct part *p)
{
	int rc = rename(p->at, p->to) ? -errno : 0;

	if (rc)
		unlink(p->at);
	return rc;
}

const char *part_why(int rc)
{
	switch (rc) {
	case -EMEDIUMTYPE:
		return "what is there is no file, and stays";
	case -ELOOP:
		return "what is there is a link that leads nowhere";
	default:
		return strerror(-rc);
	}
}
