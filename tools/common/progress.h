/* SPDX-License-Identifier: MIT */
/*
 * A line of progress, and the wish to stop.
 *
 * The line appears on stderr when that is a terminal and the program has worked for more
 * than a second. The terminal is never put into another mode, so there is nothing to restore
 * but the line itself.
 */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct progress - one piece of work that may take long
 * @what: for people
 * @total: bytes in all, 0 when not known; may be set later
 * @start: when it began, size_now()
 * @shown_at: when the line was last written
 * @enabled: stderr is a terminal
 * @shown: the line stands on the terminal
 */
struct progress {
	const char *what;
	uint64_t total;
	double start, shown_at;
	bool enabled, shown;
};

void progress_begin(struct progress *p, const char *what, uint64_t total_bytes);
/* Bytes, rate and time left; cheap enough to be called every few milliseconds. */
void progress_update(struct progress *p, uint64_t done_bytes);
/* Take the line away. Also after an error; twice is fine. */
void progress_end(struct progress *p);

/**
 * progress_tell() - progress_update() and progress_interrupted() in the form of a callback
 * @progress: struct progress
 * @done: bytes so far
 * @total: bytes in all
 *
 * Return: 0, -EINTR after a signal.
 */
int progress_tell(void *progress, uint64_t done, uint64_t total);

/* From now on the first SIGINT, SIGTERM or SIGHUP is noted, the second kills as usual. */
void progress_catch_signals(void);
/* A signal came: give up at the next good place, remove what is half-written. */
bool progress_interrupted(void);

#endif
