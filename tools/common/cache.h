/* SPDX-License-Identifier: MIT */
/* Where models and packed weights are kept: $VBLACKWELL_CACHE, else ~/.cache/vblackwell. */
#ifndef TOOLS_CACHE_H
#define TOOLS_CACHE_H

#include <stddef.h>

/**
 * cache_path() - where something is, or will be
 * @out: receives the path
 * @folder: in the cache
 * @name: in that folder
 *
 * Return: CLI_OK; CLI_FAILED, said on stderr.
 */
int cache_path(char *out, size_t len, const char *folder, const char *name);

/** cache_make_parents() - mkdir -p of the folder of @path; who opens that sees why not */
void cache_make_parents(const char *path);

#endif
