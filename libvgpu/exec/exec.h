/* SPDX-License-Identifier: MIT */
/*
 * The executor: policy, I/O, copies and arithmetic behind one device.
 *
 * It holds the executor node of a device (module or loopback), owns the host and
 * NVMe arenas, and serves what it fetches: submissions command by command and
 * panel by panel, page-ins, evictions.  One thread at a time runs it: its own, or
 * a client's thread that would otherwise only wait (vgpu_exec_serve).
 *
 *	exec.c   the loop: who runs, what is served, counters
 *	life.c   how it begins and ends;  describe.c what it says of itself
 *	fetch.c  what goes between it and the device
 *	turn.c   whose job runs next
 *	job.c    a submission on its way: commands, panels, cancellation
 *	gather.c rows of a table that indices select
 *	ahead.c  the walk before a job: what it needs is on its way
 *	walk.c   which bytes a command needs, panel by panel
 *	hold.c   operands that a command holds whole
 *	page_in.c content that clients wait for
 *	room.h   who waits when clients hold the slots;  late.h  ... or a file is slow
 *	resid.c  slots: what is in host memory, who uses it
 *	room.c   how a slot is given up, and what goes when there is none
 *	slot.c   lists of slots, so that nobody looks at all of them
 *	run.c    chunks in adjacent slots
 *	fill.c   how a chunk gets into its slot, and out to NVMe
 *	source.c what a derived chunk is made from, piece by piece
 *	beside.h memory that is not of the tier
 *	object.c what the executor knows of an object
 *	object_file.c the file it comes from
 *	schedule.c what clients say they will use
 *	policy*  which chunks stay;  io*  how bytes move;  backend_*  arithmetic
 */
#ifndef VGPU_EXEC_H
#define VGPU_EXEC_H

#include "../uapi.h"
#include "io.h"

struct vgpu_exec;

/**
 * struct vgpu_exec_params - how to set an executor up
 * @chunk_bytes: of the device
 * @host_bytes: host tier, staging included
 * @staging_bytes: part of it kept for transfers, at least two chunks; 0:
 *	vgpu_staging_bytes()
 * @nvme_bytes: anonymous arena on storage; 0: none
 * @nvme_path: file or block device for it
 * @policy, @io_engine, @backend: names, NULL for the defaults
 * @io_measure: how fast the engines read a file; NULL: vgpu_io_probe()
 * @io_timeout_ms: deadline of a transfer; 0: that of the engine
 * @room_wait_ms: how long clients may keep slots that somebody waits for; 0: ten seconds
 * @spin_us: how long to look for work, awake, before sleeping, as long as it comes as soon as
 *	that; module, at most 1 s
 * @threads: of the CPU backend; 0: as many as the process may use
 * @trace_path: record residency events there, or NULL
 */
struct vgpu_exec_params {
	uint32_t chunk_bytes;
	uint32_t threads;
	uint32_t io_timeout_ms;
	uint32_t room_wait_ms;
	uint32_t spin_us;
	uint64_t host_bytes;
	uint64_t staging_bytes;
	uint64_t nvme_bytes;
	const char *nvme_path;
	const char *policy;
	const char *io_engine;
	vgpu_io_measure_fn io_measure;
	const char *backend;
	const char *trace_path;
};

/**
 * vgpu_exec_open() - attach to a device and start serving it
 * @node: executor node; the executor's from here on, also when this fails
 * @params: all of it is copied
 * @text: receives a sentence when it fails, and may be NULL
 *
 * Return: 0; -EINVAL an unknown name, or a host tier below two panels; -ENOMEM;
 * what the arena file or the I/O engine said.
 */
int vgpu_exec_open(struct vgpu_uapi *node, const struct vgpu_exec_params *params,
		   char *text, size_t text_len, struct vgpu_exec **out);

/**
 * vgpu_exec_prepare() - vgpu_exec_open() in two steps: everything but serving
 *
 * Between the two a program gives up the rights that only opening needs.  What it
 * does to its threads must reach those that are there: of the backend, of the I/O.
 */
int vgpu_exec_prepare(struct vgpu_uapi *node, const struct vgpu_exec_params *params,
		      char *text, size_t text_len, struct vgpu_exec **out);
/* The second one.  Return: 0, or what pthread_create() said: close it then. */
int vgpu_exec_start(struct vgpu_exec *x);

/**
 * vgpu_exec_tend_memory() - take memory back that was given to the kernel, when it is time
 *
 * A region of the host tier a time, after some seconds in which no other was asked for.
 * Where memory is taken again soon after it came back, these become minutes.
 *
 * Context: any thread; never waits.  To be called every second or so.
 */
void vgpu_exec_tend_memory(struct vgpu_exec *x);

/* 0 as long as it serves; else what FETCH said when it gave up: -ESHUTDOWN, -ESTALE. */
int vgpu_exec_ended(struct vgpu_exec *x);

/**
 * vgpu_exec_drain() - finish what was taken, take nothing more; module only
 *
 * Returns when no submission is under way; vgpu_exec_close() follows.
 */
void vgpu_exec_drain(struct vgpu_exec *x);

/**
 * vgpu_exec_close() - stop and free; with a loopback call vgpu_loop_shutdown() first
 *
 * Waits for the executor's threads.
 */
void vgpu_exec_close(struct vgpu_exec *x);

/**
 * vgpu_exec_serve() - be the executor for a moment, if nobody is
 *
 * Takes at most one request and serves it on this thread.
 * Return: true when a request was served.
 */
bool vgpu_exec_serve(struct vgpu_exec *x);

/**
 * vgpu_exec_check() - do the books agree: slots, policy, map, and the device's table
 * @text: receives the first thing that does not
 *
 * For tests; slow.  When no submission is under way nothing may be pinned or wanted.
 * Return: 0 or -EUCLEAN.
 */
int vgpu_exec_check(struct vgpu_exec *x, char *text, size_t len);

struct vgpu_io;
/* Call @fn with the I/O engine while nothing else uses it: to inject faults. */
void vgpu_exec_with_io(struct vgpu_exec *x, void (*fn)(void *arg, struct vgpu_io *io), void *arg);

/* vgpu_engine_change() between two requests. */
int vgpu_exec_change_engine(struct vgpu_exec *x, const char *name);

/* As vgpu_describe(); -ENOENT for an unknown key. */
int vgpu_exec_describe(struct vgpu_exec *x, const char *key, char *text, size_t len);

#endif
