/* SPDX-License-Identifier: MIT */
/* The device a run uses: its options, its counters, waiting for it. */
#ifndef VBRUN_DEVICE_H
#define VBRUN_DEVICE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <json-c/json.h>

#include "common/cli.h"
#include "common/part.h"
#include "common/progress.h"
#include "vgpu.h"

#define DEVICE_NVME_BYTES ((uint64_t)256 << 20)

/**
 * struct device_options - what the command line says of the device
 * @host_bytes: host tier; 0: the library's default
 * @chunk_bytes: 0: the command's default
 * @nvme_path: file of the anonymous arena, or NULL
 * @nvme_bytes: its size; 0: the default
 * @staging_bytes: 0: the library's default
 * @policy: index into device_policies
 * @engine: index into device_engines
 * @threads: 0: all
 * @trace: file that records residency events, or NULL
 */
struct device_options {
	uint64_t host_bytes, chunk_bytes, nvme_bytes, staging_bytes;
	const char *nvme_path, *trace;
	uint32_t policy, engine, backend, threads;
};

extern const char *const device_policies[];
extern const char *const device_engines[];
extern const char *const device_backends[];

/* Rows of a struct cli_option table; @o is a struct device_options. */
#define DEVICE_OPTIONS(o) \
	{ "host", CLI_SIZE, &(o).host_bytes, "SIZE", "host tier, staging included", \
	  NULL, 1, (uint64_t)1 << 46 }, \
	{ "chunk", CLI_SIZE, &(o).chunk_bytes, "SIZE", "64K to 2M, a power of two", \
	  NULL, 64 << 10, 2 << 20 }, \
	{ "staging", CLI_SIZE, &(o).staging_bytes, "SIZE", \
	  "part of --host kept for transfers (default 5 %)", NULL, 1, (uint64_t)1 << 46 }, \
	{ "nvme", CLI_TEXT, &(o).nvme_path, "FILE", "arena for intermediates that find no room", \
	  NULL, 0, 0 }, \
	{ "nvme-size", CLI_SIZE, &(o).nvme_bytes, "SIZE", "its size (default 256M)", \
	  NULL, 1 << 20, (uint64_t)1 << 46 }, \
	{ "policy", CLI_CHOICE, &(o).policy, "P", "replay (default), schedule, freq or lru", \
	  device_policies, 0, 0 }, \
	{ "engine", CLI_CHOICE, &(o).engine, "E", "of I/O: auto (default), uring, threads or buffered", \
	  device_engines, 0, 0 }, \
	{ "backend", CLI_CHOICE, &(o).backend, "B", \
	  "cpu (default), or null: everything but arithmetic", device_backends, 0, 0 }, \
	{ "threads", CLI_NUMBER, &(o).threads, "N", \
	  "threads that compute (default: VBLACKWELL_THREADS, or all CPUs)", NULL, 1, 1024 }, \
	{ "trace", CLI_TEXT, &(o).trace, "FILE", "record what the tier does, for vbctl replay", \
	  NULL, 0, 0 }

/* Set the defaults that are not zero. */
void device_defaults(struct device_options *o, uint64_t chunk_bytes);

/**
 * device_check() - do the options go together?
 *
 * Return: CLI_RUN; CLI_USAGE, said on stderr: a chunk that is no power of two, the size of
 * an arena that there is none of.
 */
int device_check(const struct device_options *o);

/* Bytes of the NVMe arena, 0 when there is none. */
uint64_t device_nvme_bytes(const struct device_options *o);

/**
 * device_forced() - the node that VBLACKWELL_DEVICE names
 *
 * Return: NULL where it names none, or the device in the process.
 */
const char *device_forced(void);

/**
 * device_open() - make the in-process device of these options
 *
 * Prints the reason on stderr when it cannot; also that VBLACKWELL_DEVICE forces another one.
 * Return: CLI_OK, CLI_FAILED.
 */
int device_open(const struct device_options *o, struct vgpu **out);

/**
 * device_ask() - take the budgets of a device that another process serves
 * @node: path of it
 * @o: gets its chunk, and half of its host tier: others are there too
 *
 * Prints the reason on stderr when it cannot.
 * Return: CLI_OK, CLI_FAILED.
 */
int device_ask(const char *node, struct device_options *o);

/**
 * device_meet_files() - have the executor open file objects now
 *
 * It would do so at the first use, and may measure engines for the first to choose one:
 * that belongs to no pass. Withdraws what was declared before.
 * Return: 0; what the device said.
 */
int device_meet_files(struct vgpu *v, struct vgpu_bo *const *files, size_t count);

/* Counters of a client, read at one moment. */
struct counters {
	uint64_t c[VGPU_COUNTERS];
};

void counters_read(struct vgpu *v, struct counters *out);
/* What was counted since @before. */
struct counters counters_since(struct vgpu *v, const struct counters *before);
/* Add them to a summary, one field each. */
void counters_summary(struct json_object *o, const struct counters *c);
/* Part of busy time that went into waiting for bytes, 0 .. 1. */
double counters_stall(const struct counters *c);

/**
 * device_run() - submit and wait, with progress and an ear for signals
 * @progress: NULL, or updated with @done_bytes plus the weight bytes used so far
 * @done_bytes: before this submission
 *
 * Return: 0; -EINTR after a signal, the submission may still run then; how the
 * submission ended.
 */
int device_run(struct vgpu *v, struct vgpu_queue *q, struct vgpu_cmdbuf *cb,
	       struct progress *progress, uint64_t done_bytes);

/**
 * device_check_outputs() - can these files be made?
 * @paths: @count names, NULL where none was asked for
 *
 * Before anything runs: what cannot be written at the end shall not take minutes to say so.
 * Return: CLI_RUN; CLI_FAILED, said on stderr.
 */
int device_check_outputs(const char *const *paths, size_t count);

/**
 * device_trace_end() - give a trace its name, or remove it
 * @trace: name asked for; NULL: none was recorded. Its device is closed
 * @rc: exit status of the command so far
 *
 * Return: @rc; CLI_FAILED when it is not whole or cannot have its name, said on stderr.
 */
int device_trace_end(const char *trace, int rc);

/* Threads that compute, from what the device says of itself; 0 when it does not. */
uint32_t device_threads(struct vgpu *v);

/* One line "key: text" a key of vgpu_describe(), and the same into a summary. */
void device_print(struct vgpu *v, FILE *to);
void device_summary(struct vgpu *v, struct json_object *o);

/** device_print_staging() - what vgpu_describe() says of "staging", in units for people */
void device_print_staging(const char *text, int width);

#endif
