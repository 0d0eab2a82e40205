/* SPDX-License-Identifier: MIT */
/*
 * How fast this machine reads a file.
 *
 * Uses the library's probe of its I/O engines, which the public header does not
 * offer: the figure must come from the same engines that it is compared with.
 */
#ifndef TOOLS_PROBE_H
#define TOOLS_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#define PROBE_ROUNDS 5u

/**
 * struct probe - bandwidth of a file
 * @bytes_per_second: of the best combination, median of the rounds
 * @engine: its engine
 * @direct: it read past the page cache
 * @depth: its transfers in flight
 * @reason: the best beside the best of the other engines
 */
struct probe {
	double bytes_per_second;
	const char *engine;
	bool direct;
	uint32_t depth;
	char reason[256];
};

/**
 * probe_file() - measure all engines in turns
 * @fd: readable file
 * @chunk_bytes: size of a transfer
 * @bytes: most bytes to read in each of PROBE_ROUNDS rounds
 *
 * Return: 0; -ENODATA the file is too short; an I/O error.
 */
int probe_file(int fd, uint32_t chunk_bytes, uint64_t bytes, struct probe *out);

#endif
