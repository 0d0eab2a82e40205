/* SPDX-License-Identifier: MIT */
/*
 * Which I/O engine a device uses: the one asked for, or the one that reads the first
 * large file fastest.
 */
#ifndef VGPU_EXEC_ENGINE_H
#define VGPU_EXEC_ENGINE_H

#include <pthread.h>
#include <stddef.h>

#include "io.h"
#include "object.h"

struct vgpu_resid;

/**
 * struct vgpu_engine - the choice and its reason
 * @lock: protects @io and @probe against who describes them; they change under the run
 *	lock, under which everybody else uses them
 * @io: the engine; struct vgpu_resid and struct vgpu_store point to it too
 * @resid: whose requests it serves; set after vgpu_resid_init()
 * @chunk_bytes: size of the transfers
 * @timeout_ms: deadline of a request; 0: the engine's own
 * @measure: vgpu_io_probe(), or what a test pretends
 * @fixed: asked for by name: no probe
 * @probed: the probe was made
 * @probe: what it found, "" before
 */
struct vgpu_engine {
	pthread_mutex_t lock;
	struct vgpu_io *io;
	struct vgpu_resid *resid;
	uint32_t chunk_bytes, timeout_ms;
	vgpu_io_measure_fn measure;
	bool fixed, probed;
	char probe[VGPU_IO_REASON_BYTES];
};

void vgpu_engine_init(struct vgpu_engine *e);
/* After vgpu_io_close(). */
void vgpu_engine_fini(struct vgpu_engine *e);

/**
 * vgpu_engine_open() - open the engine to begin with
 * @name: "auto" or NULL: probe the first large file; else exactly that one
 */
int vgpu_engine_open(struct vgpu_engine *e, const char *name, uint32_t chunk_bytes);

/**
 * vgpu_engine_describe() - what it is, for people
 * @key: "io.engine": its name; "io.reason": a line: why this one, and what it does without
 *
 * Asked for when it is wanted: buffers may be refused long after the engine was opened.
 * Context: any thread; does not wait for transfers.
 * Return: as snprintf(); -ENOENT for another key.
 */
int vgpu_engine_describe(struct vgpu_engine *e, const char *key, char *text, size_t len);

/**
 * vgpu_engine_change() - read and write with another engine from now on
 *
 * Waits for what is in flight.  Return: 0; -EBUSY storage does not answer; what
 * vgpu_io_open() or the files said.  On failure the old engine stays.
 */
int vgpu_engine_change(struct vgpu_engine *e, const char *name);

/**
 * vgpu_engine_wants() - a file is about to be opened: measure the engines on it?
 * @arg: struct vgpu_engine; signature of struct vgpu_store.wants
 * @bytes: of it that will be used; short files are not worth a probe
 *
 * Reads at most 64 MiB of the file, or 96 chunks where that is more.
 * Return: how; all 0: no.
 */
struct vgpu_measure vgpu_engine_wants(void *arg, uint64_t bytes);

/**
 * vgpu_engine_chose() - change to what was found to be fastest, if it pays
 * @arg: struct vgpu_engine; signature of struct vgpu_store.chose
 *
 * Waits for what is in flight if it changes.
 */
void vgpu_engine_chose(void *arg, const struct vgpu_io_probe_result *found);

#endif
