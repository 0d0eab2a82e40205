/* SPDX-License-Identifier: MIT */
/*
 * A submission on its way through the executor: fetched, run, committed.
 *
 * It runs command by command; between two commands the executor may turn to other
 * work.  A command holds its operands whole and streams its weight in panels; while
 * one panel is computed, the reads of the next ones are under way: "ahead" walks
 * the same commands before the job does, as far as staging slots allow.
 */
#ifndef VGPU_EXEC_JOB_H
#define VGPU_EXEC_JOB_H

#include "backend.h"
#include "core/share.h"
#include "failure.h"
#include "late.h"
#include "resid.h"
#include "room.h"
#include "walk.h"

#define VGPU_JOB_TEXT	VGPU_FAILURE_TEXT

/**
 * struct vgpu_panel_cursor - how far a stream was walked
 * @index: into the list of matrices
 * @panel: in that matrix
 * @part: weight or scales
 * @chunk: how many chunks of the span
 * @down: from its end
 */
struct vgpu_panel_cursor {
	uint32_t index, panel, part, chunk;
	bool down;
};

/**
 * struct vgpu_ahead - the walk before the job
 * @cmd: next command to announce, NULL at the end
 * @number: its index
 * @held: chunks of its held operands that were announced
 * @cursor: in its stream, once all held ones are
 */
struct vgpu_ahead {
	const struct vb_cmd_header *cmd;
	uint32_t number, held;
	struct vgpu_panel_cursor cursor;
};

/**
 * struct vgpu_job - a submission; used under the run lock only
 * @req: as fetched
 * @cmd: next command, NULL when done
 * @number: its index
 * @status: 0 or -errno once something failed
 * @bad_command: index of the command to blame, or ~0
 * @busy_ns: time spent on it
 * @checked_at: when cancellation was last looked for
 * @share: of the executor's time; turn.h
 * @room: the command, or its next panel, waits for it
 * @attempt: to have what the command holds; @part: its next panel, or row
 * @again: the command cannot go on now, and is to be tried once more
 * @slow: because a file keeps it waiting (@late): nobody tries before that is worth it
 * @resume: where it goes on: the panel, or the row of a gather (index)
 * @announced: of a product whose matrices are chosen at run time: how far
 * @scratch: slots of its scratch objects, which go nowhere while it runs
 * @need: what vgpu_job_need() found; 0: nobody asked
 * @started: commands may run: its scratch is kept from then on
 * @carry: slots of the last panel, pinned until the next one is; VB_SLOT_ANY none
 * @text: a sentence about the failure
 * @bos: objects of its BO list
 */
struct vgpu_job {
	struct vb_ioc_fetch req;
	const struct vb_cmd_header *cmd;
	uint32_t number;
	int32_t status;
	uint32_t bad_command;
	uint64_t busy_ns, checked_at;
	struct vb_share_queue share;
	struct vgpu_room room;
	struct vgpu_attempt attempt, part;
	bool again, started, slow;
	struct vgpu_late late;
	struct vgpu_panel_cursor resume, announced;
	uint64_t scratch;
	uint32_t need;
	struct vgpu_ahead ahead;
	uint32_t carry[2];
	char text[VGPU_JOB_TEXT];
	struct vgpu_job *next;
	struct vgpu_object *bos[];
};

/**
 * struct vgpu_job_env - what a job needs to run
 * @panel_bytes: most bytes of a panel
 * @stepped_at: when the last step ended, CLOCK_MONOTONIC
 * @serve_others: called in the middle of a command that waits for room: what can be
 *	done without running commands.  Return: false when the executor stops
 * @take_in: called now and then while a command computes: takes in what storage has brought,
 *	for whomever
 * @serve_arg: handed to both
 */
struct vgpu_job_env {
	struct vgpu_uapi *node;
	struct vgpu_resid *resid;
	struct vgpu_store *store;
	const struct vgpu_backend_ops *backend;
	void *be;
	uint64_t panel_bytes, stepped_at;
	bool (*serve_others)(void *arg);
	void (*take_in)(void *arg);
	void *serve_arg;
};

/**
 * vgpu_job_create() - take a fetched submission over
 *
 * The stream is checked here.  A job with @status set is done and only wants to
 * be committed.  Return: 0 or -ENOMEM.
 */
int vgpu_job_create(struct vgpu_job_env *env, const struct vb_ioc_fetch *req,
		    struct vgpu_job **out);
/* Most slots that one of its commands, from the next one on, needs at once. */
uint32_t vgpu_job_need(const struct vgpu_job_env *env, struct vgpu_job *job);
/* Its turn to run has come; once. */
void vgpu_job_start(struct vgpu_job *job);
/*
 * Run one command of a job that was started; true when the job is done.  False with
 * vgpu_job.slow set: it waits for storage, see vgpu_job_may_go_on().
 */
bool vgpu_job_step(struct vgpu_job_env *env, struct vgpu_job *job);
/* Is it worth a try?  Clears vgpu_job.slow. */
bool vgpu_job_may_go_on(const struct vgpu_job_env *env, struct vgpu_job *job);
/* Others run now: it keeps nothing pinned meanwhile. */
void vgpu_job_yield(struct vgpu_job_env *env, struct vgpu_job *job);
/* Free; the caller commits it. */
void vgpu_job_destroy(struct vgpu_job_env *env, struct vgpu_job *job);

#endif
