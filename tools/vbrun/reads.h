/* SPDX-License-Identifier: MIT */
/*
 * What this process read from storage, and what for: the device's own count of content
 * beside the kernel's count of everything (read_bytes in /proc/self/io).
 */
#ifndef VBRUN_READS_H
#define VBRUN_READS_H

#include <json-c/json.h>
#include <stdint.h>

enum reads_part {
	READS_PROGRAM,	/* before the command began: its pages and those of its libraries */
	READS_HEADER,	/* opening the checkpoint, and of layers of AWQ and GPTQ all but codes */
	READS_LAYERS,	/* packing these, when that was not done before */
	READS_ENGINE,	/* opening the device, which may measure engines to choose one */
	READS_CONTENT,	/* passes or tokens */
	READS_PROBE,	/* bandwidth probes */
	READS_COMPARE,	/* weights compared with what they are packed to */
	READS_COMPUTE,	/* the run that has all in memory */
	READS_PARTS
};

/**
 * struct reads - bytes so far
 * @seen: of the process, when a part was taken last
 * @part: of the process, for each part
 * @content: asked for by the device that was measured, as it counts them; set by the caller
 */
struct reads {
	uint64_t seen;
	uint64_t part[READS_PARTS];
	uint64_t content;
};

/**
 * reads_take() - what was read since the last call belongs to @part
 * @r: all zero before the first call
 *
 * Waits, a few milliseconds, until what was asked for has begun: requests reach the kernel
 * from other threads.
 * Return: the bytes. 0 where the kernel does not count: files in memory, or no /proc.
 */
uint64_t reads_take(struct reads *r, enum reads_part part);

/**
 * reads_opened() - the device is open and has met its files: what was read since the last
 *	call is the choice of an engine, and content that was read ahead meanwhile
 * @content: bytes of content that the device counts so far
 */
void reads_opened(struct reads *r, uint64_t content);

/* A line for each part that is not 0. */
void reads_print(const struct reads *r);
/* The same as object "storage" of @o. */
void reads_summary(const struct reads *r, struct json_object *o);

#endif
