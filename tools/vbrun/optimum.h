/* SPDX-License-Identifier: MIT */
/*
 * What the best possible policy would have read, from the recorded trace of a run.
 */
#ifndef VBRUN_OPTIMUM_H
#define VBRUN_OPTIMUM_H

#include <stdint.h>

/**
 * struct optimum_row - chunks that had to be read
 * @all: in the whole trace
 * @later: without the first part (the first pass, which reads everything)
 */
struct optimum_row {
	uint64_t all, later;
};

/**
 * struct optimum - a run beside what was possible
 * @chunk_bytes: of the tier
 * @capacity: chunks that it may retain, its staging reserve taken off
 * @staging: chunks of the reserve
 * @uses: chunk uses recorded
 * @ours: misses of the run
 * @best: misses of Belady's rule with bypass at the same capacity
 * @lru: misses of least recently used
 */
struct optimum {
	uint64_t chunk_bytes;
	uint32_t capacity, staging;
	uint64_t uses;
	struct optimum_row ours, best, lru;
};

/**
 * optimum_of_trace() - simulate a recorded run
 * @path: trace, complete: the device that wrote it is closed
 * @parts: equal parts of the run, the first of which is told apart; at least 1
 * @out: result
 *
 * Return: 0; -ENODATA no use recorded; errors of open() and of the trace reader.
 */
int optimum_of_trace(const char *path, uint32_t parts, struct optimum *out);

/* Why fewer bytes than the optimum's may be read, for people. */
extern const char optimum_below_one[];

#endif
