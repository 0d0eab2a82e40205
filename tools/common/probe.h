/* SPDX-License-Identifier: MIT */
/*
 * How fast this machine reads a file.
 *
 * Rounds of vgpu_probe(): the figure must come from the same engines that it is
 * compared with.
 */
#ifndef TOOLS_PROBE_H
#define TOOLS_PROBE_H

#include <stdint.h>

#define PROBE_ROUNDS 5u
#define PROBE_ROUNDS_MAX 15u

/**
 * struct probe - bandwidth of a file
 * @bytes_per_second: of the best engine and depth, median of the rounds
 * @rounds: how many
 * @reason: which, for people
 */
struct probe {
	double bytes_per_second;
	uint32_t rounds;
	char reason[256];
};

/* Rounds of measurements of one file, so that they can stand between other work. */
struct probe_rounds;

/**
 * probe_begin() - prepare to measure
 * @fd: readable file, open until probe_end()
 * @chunk_bytes: size of a transfer
 * @bytes: most bytes to read in a round
 *
 * Return: NULL when out of memory.
 */
struct probe_rounds *probe_begin(int fd, uint32_t chunk_bytes, uint64_t bytes);

/**
 * probe_round() - measure all engines in turns, once
 *
 * Return: 0; -ENODATA the file is too short; an I/O error.
 */
int probe_round(struct probe_rounds *p);

/**
 * probe_end() - the median of the rounds, and free them
 * @p: NULL is fine
 * @out: bytes_per_second is 0 without a round
 */
void probe_end(struct probe_rounds *p, struct probe *out);

/**
 * probe_file() - PROBE_ROUNDS rounds one after the other
 *
 * Return: as probe_round(), -ENOMEM, -EINTR after a signal.
 */
int probe_file(int fd, uint32_t chunk_bytes, uint64_t bytes, struct probe *out);

#endif
