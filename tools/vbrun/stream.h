/* SPDX-License-Identifier: MIT */
#ifndef VBRUN_STREAM_H
#define VBRUN_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "arithmetic.h"
#include "common/conversions.h"
#include "common/probe.h"
#include "common/weights.h"
#include "device.h"
#include "optimum.h"
#include "reads.h"
#include "vgpu.h"

/* --route without --host: room for one byte of experts in so many. */
#define STREAM_ROUTE_PARTS 4u

/**
 * struct stream_options - what `vbrun stream` was asked for
 * @device: budgets and engines
 * @path: checkpoint
 * @m: rows of activations
 * @passes: over all weights
 * @mode: index of enum vgpu_mode
 * @tokens: of --route
 * @seed: of --route: popularity and choices
 * @route: 1: zipf
 * @pack: enum weights_pack
 * @json: summary instead of text
 * @save: file that gets the JSON too, or NULL
 * @bench: one line for bench.jsonl
 * @no_compare: leave out probe, compute-only run and optimum
 */
struct stream_options {
	struct device_options device;
	const char *path, *save;
	uint32_t m, passes, mode, tokens, route, pack, seed;
	bool json, bench, no_compare;
};

/**
 * struct stream_pass - one pass
 * @seconds: wall time
 * @process_read: bytes that the process read from storage meanwhile
 * @c: counters of the pass
 */
struct stream_pass {
	double seconds;
	uint64_t process_read;
	struct counters c;
};

/**
 * struct stream_result - all that is reported
 * @passes: one entry each
 * @count: passes that ran
 * @weight_bytes: of one pass
 * @digest: of the outputs of the last pass
 * @conversions: of weights that are packed
 * @optimum: from the trace; uses is 0 when it was not made
 * @arithmetic: of a pass by itself; no passes: not measured
 * @rounds: of the probe, between the passes; NULL: not measured
 * @probe: bytes_per_second is 0 when not measured
 * @reads: by reason
 * @peak: most resident bytes of the process during the passes
 * @threads: that compute
 * @staging: what was used for transfers, as the executor says it
 * @bar: where every object was at the end, as text
 */
struct stream_result {
	struct stream_pass *passes;
	uint32_t count;
	uint64_t weight_bytes, digest;
	const struct conversions *conversions;
	struct optimum optimum;
	struct arithmetic arithmetic;
	struct probe_rounds *rounds;
	struct probe probe;
	struct reads reads;
	uint64_t host_bytes, staging_bytes, peak;
	uint32_t threads;
	char staging[128];
	char *bar;
	struct json_object *json;
};

/**
 * stream_report() - print the result as the options say
 * @w: what ran and what was left out
 *
 * Return: exit status.
 */
int stream_report(const struct stream_options *o, const struct weights *w,
		  struct stream_result *r);

/** vbrun_stream() - the command; returns its exit status */
int vbrun_stream(int argc, char **argv);

/**
 * stream_route() - the run with experts chosen at run time
 * @reads: so far
 *
 * Return: exit status.
 */
int stream_route(const struct stream_options *o, const struct vgpu_checkpoint *ck,
		 const struct weights *w, const struct reads *reads);

/**
 * stream_route_room() - room for content in the tier that --route has by default
 * @out: bytes, whole chunks: a quarter of the experts, and all intermediates
 *
 * Return: exit status; CLI_FAILED, said on stderr: no experts that fit together.
 */
int stream_route_room(const struct weights *w, uint64_t chunk_bytes, uint64_t *out);

/**
 * stream_trace() - the trace to record: the part of the one asked for, or a temporary file
 * @path: receives a name that can be opened while @out_fd is open, "" when none is needed; after
 *	a failure, one to print
 * @len: PART_PATH_BYTES
 * @out_fd: the temporary file, to be closed; -1: none
 *
 * Return: 0, or -errno of part_find() or mkostemp().
 */
int stream_trace(const struct stream_options *o, char *path, size_t len, int *out_fd);

/** stream_trace_none() - say why there is none. Return: CLI_FAILED. */
int stream_trace_none(const struct stream_options *o, const char *path, int rc);

/** stream_trace_fail() - say why that trace cannot be read. Return: CLI_FAILED. */
int stream_trace_fail(const struct stream_options *o, int rc);

/* Save and print the summary as the options say; returns the exit status. */
int stream_save(const struct stream_options *o, struct json_object *json);

/* One line: what of the host tier is kept for transfers, and why where it is over 5 %. */
void stream_print_reserve(const struct stream_options *o, uint64_t staging_bytes);

extern const char *const stream_modes[];

#endif
