// SPDX-License-Identifier: MIT
/* The walk before a job: what its commands need is on its way when they run. */
#include "steps.h"

/* Chunks of the declared future that are looked at when a job has none left. */
#define HINT_CHUNKS	64u

/*
 * Announce the chunks of one panel from the cursor on; false: no room now.  Where there is
 * more than reading ahead takes, nothing leaves, and the last comes first: slots are taken from the
 * top, so that the panel's lie in their order, adjacent where nobody else takes some.
 */
static bool ahead_panel(struct vgpu_resid *r, const struct vgpu_stream *s, uint32_t matrix,
			struct vgpu_panel_cursor *c)
{
	for (; c->part < s->parts; c->part++, c->chunk = 0) {
		struct vgpu_object *o = s->part[c->part].object;
		struct vgpu_span span = vgpu_stream_span(s, c->part, matrix, c->panel);
		uint32_t first, end;

		vgpu_object_chunks(o, r->chunk_bytes, span.offset, span.bytes, &first, &end);
		if (!c->chunk)
			c->down = r->free > r->staging + (end - first);
		for (; c->chunk < end - first; c->chunk++) {
			if (vgpu_resid_want(r, o, c->down ? end - 1 - c->chunk : first + c->chunk))
				return false;
		}
	}
	c->part = 0;
	return true;
}

bool vgpu_ahead_stream(struct vgpu_resid *r, const struct vgpu_stream *s, const uint32_t *list,
		       uint32_t count, struct vgpu_panel_cursor *c)
{
	for (; c->index < count; c->index++, c->panel = 0) {
		for (; c->panel < s->panels; c->panel++) {
			if (!ahead_panel(r, s, list ? list[c->index] : 0, c))
				return false;
		}
	}
	return true;
}

static bool ahead_holds(struct vgpu_job_env *env, struct vgpu_job *job)
{
	struct vgpu_ahead *a = &job->ahead;
	struct vgpu_hold holds[VGPU_HOLDS_MAX];
	uint32_t n = vgpu_walk_holds(a->cmd, job->bos, env->resid->chunk_bytes, holds), seen = 0;

	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t c = holds[i].first; c < holds[i].end; c++) {
			if (seen++ < a->held)
				continue;
			if (vgpu_resid_want(env->resid, holds[i].object, c))
				return false;
			a->held++;
		}
	}
	return true;
}

static void ahead_next_command(struct vgpu_job *job)
{
	struct vgpu_ahead *a = &job->ahead;

	a->cmd = vb_stream_next((const void *)(uintptr_t)job->req.out_stream_address, a->cmd);
	a->number++;
	a->held = 0;
	a->cursor = (struct vgpu_panel_cursor){ 0 };
}

/* What is declared to come after all that is queued. */
static void ahead_hint(struct vgpu_job_env *env)
{
	struct vgpu_resid *r = env->resid;
	uint64_t keys[HINT_CHUNKS];
	size_t n = r->policy->upcoming(r->policy_state, keys, HINT_CHUNKS);

	for (size_t i = 0; i < n; i++) {
		struct vgpu_object *o = vgpu_store_find(env->store, vgpu_policy_key_object(keys[i]));

		if (!o || o->gone || vgpu_policy_key_chunk(keys[i]) >= o->chunks)
			continue;
		if (!vgpu_resid_hint(r, o, vgpu_policy_key_chunk(keys[i])))
			return;
	}
}

void vgpu_ahead_walk(struct vgpu_job_env *env, struct vgpu_job *job)
{
	struct vgpu_ahead *a = &job->ahead;
	struct vgpu_stream s;

	while (a->cmd) {
		if (!ahead_holds(env, job))
			return;
		if (a->cmd->opcode != VB_CMD_MATMUL_ID &&
		    vgpu_walk_stream(a->cmd, job->bos, env->panel_bytes, &s) &&
		    !vgpu_ahead_stream(env->resid, &s, NULL, 1, &a->cursor))
			return;
		ahead_next_command(job);
	}
	ahead_hint(env);
}

void vgpu_ahead_pass_holds(struct vgpu_job *job)
{
	struct vgpu_ahead *a = &job->ahead;

	if (!a->cmd || a->number > job->number)
		return;
	while (a->cmd && a->number < job->number)
		ahead_next_command(job);
	a->held = UINT32_MAX;
}

void vgpu_ahead_pass_panel(struct vgpu_job *job, uint32_t panel)
{
	struct vgpu_ahead *a = &job->ahead;

	if (a->cmd && a->number == job->number && a->cursor.panel <= panel)
		a->cursor = (struct vgpu_panel_cursor){ .panel = panel + 1 };
}

void vgpu_ahead_pass_command(struct vgpu_job *job)
{
	struct vgpu_ahead *a = &job->ahead;

	if (a->cmd && a->number == job->number)
		ahead_next_command(job);
}
