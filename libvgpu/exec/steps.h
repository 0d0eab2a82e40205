/* SPDX-License-Identifier: MIT */
/*
 * What the rooms of a job share and nobody else needs: job.c (commands and panels),
 * gather.c (rows of a table) and ahead.c (the walk before it).
 */
#ifndef VGPU_EXEC_STEPS_H
#define VGPU_EXEC_STEPS_H

#include "job.h"

/* --- job.c --- */

/* A sentence about how it ends; returns @error. */
int vgpu_job_fail(struct vgpu_job *job, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The client may be gone or out of time: -ECANCELED or -ETIME. */
int vgpu_job_check_cancel(struct vgpu_job_env *env, struct vgpu_job *job);
/* The same in the middle of what takes long, where what storage brings is taken in, too. */
int vgpu_job_go_on(struct vgpu_job_env *env, struct vgpu_job *job);

/**
 * vgpu_job_wait_for_room() - in the middle of a command there was none
 * @rc: how the attempt ended
 * @what: for a sentence: what found no room
 * @need: slots of it
 *
 * Waits a moment, with others served.
 * Return: 0 to try again; -EAGAIN when other commands have to run first; else how the
 * command ends.
 */
int vgpu_job_wait_for_room(struct vgpu_job_env *env, struct vgpu_job *job, int rc,
			   const char *what, uint32_t need);

/* A part of the command is done. */
void vgpu_job_went_on(struct vgpu_job *job);

/* --- gather.c --- */

/* A GATHER whose operands are in memory.  Return: 0; how it ends; -EAGAIN it goes on later. */
int vgpu_job_run_gather(struct vgpu_job_env *env, struct vgpu_job *job,
			const struct vgpu_work *work);

/* --- ahead.c --- */

/*
 * Walk on as far as there is room.  Products whose matrices are chosen at run time
 * announce them when they start; here they only announce what they hold.
 */
void vgpu_ahead_walk(struct vgpu_job_env *env, struct vgpu_job *job);

/* Announce the panels of the listed matrices (NULL: matrix 0) from @c on; false: no room. */
bool vgpu_ahead_stream(struct vgpu_resid *r, const struct vgpu_stream *s, const uint32_t *list,
		       uint32_t count, struct vgpu_panel_cursor *c);

/* The job arrived where the walk still is: what it uses now needs no announcement. */
void vgpu_ahead_pass_holds(struct vgpu_job *job);
void vgpu_ahead_pass_panel(struct vgpu_job *job, uint32_t panel);
void vgpu_ahead_pass_command(struct vgpu_job *job);

#endif
