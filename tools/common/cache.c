// SPDX-License-Identifier: MIT
#include "common/cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cli.h"

int cache_path(char *out, size_t len, const char *folder, const char *name)
{
	const char *cache = getenv("VBLACKWELL_CACHE"), *home = getenv("HOME");
	int n;

	if (cache && *cache)
		n = snprintf(out, len, "%s/%s/%s", cache, folder, name);
	else if (home && *home)
		n = snprintf(out, len, "%s/.cache/vblackwell/%s/%s", home, folder, name);
	else
		return cli_fail("neither VBLACKWELL_CACHE nor HOME says where the cache is");
	return n < (int)len ? CLI_OK : cli_fail("the path of the cache is too long");
}

void cache_make_parents(const char *path)
{
	char part[4096];

	for (const char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(at - path), path);
		mkdir(part, 0777);
	}
}
