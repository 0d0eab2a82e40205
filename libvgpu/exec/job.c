// SPDX-License-Identifier: MIT
#include "job.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "hold.h"
#include "steps.h"

/* How often a running command asks whether it is still wanted. */
#define CANCEL_CHECK_NS	(1000u * 1000)
/* Objects whose description needs no allocation, and chunks of a panel. */
#define FEW_BOS		16u
#define FEW_CHUNKS	32u

int vgpu_job_fail(struct vgpu_job *job, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(job->text, sizeof(job->text), format, args);
	va_end(args);
	return error;
}

/* A sentence about a chunk that did not come; false when none failed like this. */
static bool job_blame_chunk(struct vgpu_job_env *env, struct vgpu_job *job, int rc)
{
	struct vgpu_resid *r = env->resid;
	uint32_t chunk = vgpu_policy_key_chunk(r->fault_key);
	const char *why = rc == -EDOM ? "its source holds NaN or infinity, which the format cannot" :
			  rc == -ESTALE ? "its file changed since it was opened" :
			  rc == -ETIMEDOUT ? "storage does not answer" : strerror(-rc);
	struct vgpu_object *o;

	o = vgpu_store_find(env->store, vgpu_policy_key_object(r->fault_key));
	if (!o || r->fault_error != rc)
		return false;
	vgpu_job_fail(job, rc, "command %u (%s): chunk %u of %u of object %u (from byte %llu of its %s): %s",
		      job->number, vb_cmd_name(job->cmd->opcode), chunk, o->chunks, o->id,
		      (unsigned long long)(chunk * (uint64_t)r->chunk_bytes),
		      o->kind == VB_BO_FILE ? "range" : "content", why);
	return true;
}

/* ------------------------------------------------------------------------
 * Room
 */

static int job_check_cancel_at(struct vgpu_job_env *env, struct vgpu_job *job, uint64_t now)
{
	struct vb_ioc_poll_cancel poll = { .size = sizeof(poll), .tag = job->req.out_tag };

	if (job->req.out_deadline_ns && now > job->req.out_deadline_ns)
		return vgpu_job_fail(job, -ETIME, "command %u: the deadline passed", job->number);
	if (now - job->checked_at < CANCEL_CHECK_NS)
		return 0;
	job->checked_at = now;
	vgpu_uapi_call(env->node, VB_IOC_POLL_CANCEL, &poll);
	if (poll.out_cancel == VB_CANCEL_DEADLINE)
		return -ETIME;
	return poll.out_cancel == VB_CANCEL_CLIENT ? -ECANCELED : 0;
}

int vgpu_job_check_cancel(struct vgpu_job_env *env, struct vgpu_job *job)
{
	return job_check_cancel_at(env, job, vgpu_now_ns());
}

int vgpu_job_go_on(struct vgpu_job_env *env, struct vgpu_job *job)
{
	uint64_t checked_at = job->checked_at;
	int rc = vgpu_job_check_cancel(env, job);

	if (!rc && job->checked_at != checked_at)
		env->take_in(env->serve_arg);
	return rc;
}

/* Bytes of so many slots, for a sentence. */
static unsigned long long slot_bytes(const struct vgpu_job_env *env, uint64_t slots)
{
	return slots * env->resid->chunk_bytes;
}

static uint32_t clients_hold_slots(const struct vgpu_resid *r)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < r->slots; i++) {
		struct vb_table_entry e;

		if (r->slot[i].state != VGPU_SLOT_READY)
			continue;
		e = vgpu_object_entry(r->slot[i].object, r->slot[i].chunk);
		n += e.maps || e.pins;
	}
	return n;
}

/* @need: slots that @what needs at once */
static int job_fail_room(const struct vgpu_job_env *env, struct vgpu_job *job, int rc,
			 const char *what, uint32_t need)
{
	return vgpu_job_fail(job, rc, "command %u (%s) waited %llu ms for room: %s needs %llu bytes at once, clients keep %llu of the host tier's %llu mapped or pinned",
			     job->number, vb_cmd_name(job->cmd->opcode),
			     (unsigned long long)(env->resid->room_wait_ns / 1000000u), what,
			     slot_bytes(env, need), slot_bytes(env, clients_hold_slots(env->resid)),
			     slot_bytes(env, env->resid->slots));
}

static void room_pause(void)
{
	const struct timespec pause = { .tv_nsec = VGPU_ROOM_PAUSE_NS };

	nanosleep(&pause, NULL);
}

/*
 * Slow files keep the room, or commands that wait for them.  As long as anything comes there
 * will be some, but where only what storage keeps for good is in the way.
 */
static int job_leave_room_to_others(const struct vgpu_job_env *env, struct vgpu_job *job)
{
	const struct vgpu_resid *r = env->resid;

	if (job->late.arrived != r->arrived && (r->awaited || r->slow > r->overdue))
		job->late.since = 0;
	return -EAGAIN;
}

int vgpu_job_wait_for_room(struct vgpu_job_env *env, struct vgpu_job *job, int rc,
			   const char *what, uint32_t need)
{
	if (rc == -EAGAIN)
		return rc;
	/* Commands that wait for a file keep what comes for them until they run: not in here. */
	if (rc == -ENOSPC && env->resid->blocks & VGPU_BLOCK_SLOW)
		return job_leave_room_to_others(env, job);
	if (!vgpu_room_waits(&job->room, env->resid, rc, vgpu_now_ns()))
		return job->room.since && env->resid->blocks ?
			job_fail_room(env, job, rc, what, need) : rc;
	env->resid->blocks = 0;
	room_pause();
	if (!env->serve_others(env->serve_arg))
		return -ECANCELED;
	return vgpu_job_check_cancel(env, job);
}

/*
 * A file keeps the command waiting: others run meanwhile.  Return: 0, it goes on where it
 * was; -ETIMEDOUT it has waited enough.
 */
static int job_wait_for_storage(struct vgpu_job_env *env, struct vgpu_job *job)
{
	int rc = vgpu_late_wait(env->resid, &job->late);

	if (rc)
		return vgpu_job_fail(job, rc, "command %u (%s): storage does not answer",
				     job->number, vb_cmd_name(job->cmd->opcode));
	job->again = job->slow = true;
	return 0;
}

void vgpu_job_went_on(struct vgpu_job *job)
{
	job->late.since = 0;
	job->part = (struct vgpu_attempt){ 0 };
}

bool vgpu_job_may_go_on(const struct vgpu_job_env *env, struct vgpu_job *job)
{
	if (job->slow && !vgpu_late_may_try(env->resid, &job->late, job->req.out_deadline_ns))
		return false;
	job->slow = false;
	return true;
}

static int job_take_holds(struct vgpu_job_env *env, struct vgpu_job *job, struct vgpu_held *held)
{
	struct vgpu_resid *r = env->resid;
	uint32_t need;
	int rc;

	held->count = vgpu_walk_holds(job->cmd, job->bos, r->chunk_bytes, held->hold);
	need = vgpu_held_slots_needed(held);
	if (need > r->slots)
		return vgpu_job_fail(job, -ENOSPC, "command %u (%s) holds %llu bytes at once; the host tier has %llu",
				     job->number, vb_cmd_name(job->cmd->opcode),
				     slot_bytes(env, need), slot_bytes(env, r->slots));
	if (vgpu_held_beside(held) > VGPU_BESIDE_BYTES)
		return vgpu_job_fail(job, -ENOSPC, "command %u (%s) reads %llu bytes of files that lie across chunks, or at odd offsets; together they can be at most %llu",
				     job->number, vb_cmd_name(job->cmd->opcode),
				     (unsigned long long)vgpu_held_beside(held), VGPU_BESIDE_BYTES);
	vgpu_resid_try(r, &job->attempt);
	rc = vgpu_held_take(r, held, false);
	if (rc == -ENOSPC) {
		vgpu_job_yield(env, job);
		r->blocks = 0;
		vgpu_resid_try(r, &job->attempt);
		rc = vgpu_held_take(r, held, true);
	}
	vgpu_resid_tried(r);
	/* That clients hold nothing of it makes it storage's to be waited for. */
	if (rc == -ENOSPC && r->blocks == VGPU_BLOCK_SLOW)
		return job_leave_room_to_others(env, job);
	job->again = rc && vgpu_room_waits(&job->room, r, rc, vgpu_now_ns());
	if (!rc || rc == -EAGAIN || job->again)
		return rc;
	if (job->room.since && r->blocks)
		job_fail_room(env, job, rc, "it", need);
	else if (rc == -ENOSPC)
		vgpu_job_fail(job, rc, "command %u (%s) holds %llu bytes at once, and no room can be made in the host tier of %llu",
			      job->number, vb_cmd_name(job->cmd->opcode), slot_bytes(env, need),
			      slot_bytes(env, r->slots));
	return rc;
}

static void job_point_at_operands(struct vgpu_job_env *env, struct vgpu_job *job,
				  struct vgpu_held *held, struct vgpu_work *work)
{
	struct vgpu_resid *r = env->resid;

	work->cmd = job->cmd;
	for (uint32_t i = 0; i < vgpu_cmd_operand_count(job->cmd); i++) {
		const struct vb_operand *op = vgpu_cmd_operand(job->cmd, i);
		struct vgpu_hold *h = op->format == VB_FORMAT_NONE ? NULL :
			vgpu_walk_find(held->hold, held->count, op, job->bos, r->chunk_bytes);

		work->ptr[i] = h ? vgpu_hold_pointer(r, h, op) : NULL;
	}
}

/* ------------------------------------------------------------------------
 * Panels
 */

/* The slots of one panel. */
struct panel {
	uint32_t *slot;
	struct vgpu_piece *piece;
	uint32_t slots[2];
};

static void job_drop_carry(struct vgpu_job_env *env, struct vgpu_job *job)
{
	for (uint32_t part = 0; part < 2; part++) {
		if (job->carry[part] != VB_SLOT_ANY)
			vgpu_resid_unpin(env->resid, job->carry[part]);
		job->carry[part] = VB_SLOT_ANY;
	}
}

static bool job_has_carry(const struct vgpu_job *job)
{
	return job->carry[0] != VB_SLOT_ANY || job->carry[1] != VB_SLOT_ANY;
}

static int panel_pin_part(struct vgpu_resid *r, const struct vgpu_stream *s, uint32_t part,
			  struct vgpu_span span, uint32_t *slot, uint32_t *out_slots)
{
	struct vgpu_object *o = s->part[part].object;
	uint32_t first, end, n = 0;
	int rc = 0;

	vgpu_object_chunks(o, r->chunk_bytes, span.offset, span.bytes, &first, &end);
	vgpu_resid_near(r, o, first, end);
	for (uint32_t c = first; c < end && !rc; c++) {
		rc = vgpu_resid_use(r, o, c, VGPU_USE_PART(part), &slot[n]);
		n += !rc;
	}
	*out_slots = n;
	return rc;
}

/* Bytes of the span, slot by slot; slots that lie together make one piece. */
static uint32_t panel_pieces(const struct vgpu_resid *r, const struct vgpu_object *o,
			     struct vgpu_span span, const uint32_t *slot, uint32_t slots,
			     struct vgpu_piece *out)
{
	uint64_t skip = (o->head + span.offset) % r->chunk_bytes, left = span.bytes;
	uint32_t n = 0;

	for (uint32_t i = 0; i < slots; i++, skip = 0) {
		const uint8_t *data = (const uint8_t *)vgpu_resid_ptr(r, slot[i]) + skip;
		uint64_t bytes = r->chunk_bytes - skip < left ? r->chunk_bytes - skip : left;

		if (n && out[n - 1].data + out[n - 1].bytes == data)
			out[n - 1].bytes += bytes;
		else
			out[n++] = (struct vgpu_piece){ data, bytes };
		left -= bytes;
	}
	return n;
}

static int panel_run(struct vgpu_job_env *env, struct vgpu_job *job, const struct vgpu_work *work,
		     const struct vgpu_stream *s, uint32_t matrix, uint32_t index,
		     struct panel *p)
{
	struct vgpu_panel_work pw = {
		.matrix = matrix, .row = index * s->panel_rows,
		.rows = vgpu_stream_panel_rows(s, index), .unit_rows = s->unit_rows,
	};
	struct vgpu_piece *piece = p->piece;
	uint32_t *slot = p->slot;

	for (uint32_t part = 0; part < s->parts; part++) {
		struct vgpu_span span = vgpu_stream_span(s, part, matrix, index);

		for (uint32_t i = 0; i < p->slots[part]; i++) {
			int rc = vgpu_resid_wait(env->resid, slot[i]);

			if (rc)
				return rc;
		}
		pw.piece[part] = piece;
		pw.unit_bytes[part] = s->part[part].unit_bytes;
		pw.pieces[part] = panel_pieces(env->resid, s->part[part].object, span, slot,
					       p->slots[part], piece);
		piece += p->slots[part];
		slot += p->slots[part];
	}
	/* More reads can be on their way while this one computes. */
	vgpu_resid_pump(env->resid, 0);
	vgpu_ahead_walk(env, job);
	return env->backend->panel(env->be, work, &pw);
}

/* Let the panel go, but for its last chunks: the next panel often begins there. */
static void panel_unpin(struct vgpu_job_env *env, struct vgpu_job *job,
			const struct vgpu_stream *s, struct panel *p, bool carry)
{
	uint32_t *slot = p->slot;

	job_drop_carry(env, job);
	for (uint32_t part = 0; part < s->parts; part++) {
		uint32_t n = p->slots[part];

		for (uint32_t i = 0; i < n; i++) {
			if (carry && i + 1 == n)
				job->carry[part] = slot[i];
			else
				vgpu_resid_unpin(env->resid, slot[i]);
		}
		slot += n;
	}
}

static int panel_pin_once(struct vgpu_job_env *env, struct vgpu_job *job,
			  const struct vgpu_stream *s, uint32_t matrix, uint32_t index,
			  struct panel *p)
{
	uint32_t done = 0;
	int rc = 0;

	p->slots[0] = p->slots[1] = 0;
	for (uint32_t part = 0; part < s->parts && !rc; part++) {
		rc = panel_pin_part(env->resid, s, part, vgpu_stream_span(s, part, matrix, index),
				    p->slot + done, &p->slots[part]);
		done += p->slots[part];
	}
	if (rc)
		panel_unpin(env, job, s, p, false);
	return rc;
}

/* Have the chunks of a panel in slots; clients may hold what it needs for a moment. */
static int panel_pin(struct vgpu_job_env *env, struct vgpu_job *job, const struct vgpu_stream *s,
		     uint32_t matrix, uint32_t index, struct panel *p)
{
	int rc = vgpu_job_go_on(env, job);

	env->resid->blocks = 0;
	while (!rc) {
		bool carried = job_has_carry(job);

		vgpu_resid_try(env->resid, &job->part);
		rc = panel_pin_once(env, job, s, matrix, index, p);
		vgpu_resid_tried(env->resid);
		if (!rc)
			break;
		/* The last panel's chunks were in its way, and are not any more. */
		if (rc == -ENOSPC && carried) {
			rc = 0;
			continue;
		}
		rc = vgpu_job_wait_for_room(env, job, rc, "its next panel",
					    vgpu_stream_panel_chunks(s, env->resid->chunk_bytes));
	}
	job->room.since = 0;
	return rc;
}

static void panel_expect(struct vgpu_job_env *env, const struct vgpu_stream *s, uint32_t matrix,
			 uint32_t index)
{
	for (uint32_t part = 0; part < s->parts; part++) {
		struct vgpu_span span = vgpu_stream_span(s, part, matrix, index);
		uint32_t first, end;

		vgpu_object_chunks(s->part[part].object, env->resid->chunk_bytes, span.offset,
				   span.bytes, &first, &end);
		vgpu_resid_expect(env->resid, s->part[part].object, first, end);
	}
}

static int panel_do(struct vgpu_job_env *env, struct vgpu_job *job, const struct vgpu_work *work,
		    const struct vgpu_stream *s, uint32_t matrix, uint32_t index, struct panel *p)
{
	int rc = panel_pin(env, job, s, matrix, index, p);

	if (rc)
		return rc;
	rc = panel_run(env, job, work, s, matrix, index, p);
	if (rc == -EAGAIN)
		panel_expect(env, s, matrix, index);
	panel_unpin(env, job, s, p, !rc);
	return rc;
}

static int panels_run(struct vgpu_job_env *env, struct vgpu_job *job,
		      const struct vgpu_work *work, const struct vgpu_stream *s,
		      const uint32_t *list, uint32_t count, struct panel *p)
{
	struct vgpu_panel_cursor *own = &job->announced, *at = &job->resume;
	bool listed = job->cmd->opcode == VB_CMD_MATMUL_ID;

	for (; at->index < count; at->index++, at->panel = 0) {
		for (; at->panel < s->panels; at->panel++) {
			uint32_t i = at->index, index = at->panel;
			int rc;

			if (listed) {
				/* Half announced, it is announced on, not anew. */
				if (own->index < i || (own->index == i && own->panel < index))
					*own = (struct vgpu_panel_cursor){ .index = i,
									   .panel = index };
				vgpu_ahead_stream(env->resid, s, list, count, own);
			} else {
				vgpu_ahead_walk(env, job);
				vgpu_ahead_pass_panel(job, index);
			}
			rc = panel_do(env, job, work, s, list[i], index, p);
			if (rc)
				return rc;
			vgpu_job_went_on(job);
		}
	}
	return 0;
}

static int stream_check_room(struct vgpu_job_env *env, struct vgpu_job *job,
			     const struct vgpu_stream *s, uint32_t held)
{
	uint32_t need = vgpu_stream_chunks_needed(s, env->resid->chunk_bytes);
	uint64_t bytes = env->resid->chunk_bytes;

	if (need + (uint64_t)held <= env->resid->slots)
		return 0;
	return vgpu_job_fail(job, -ENOSPC,
			     "command %u (%s): two panels need %llu bytes and its other operands %llu; the host tier has %llu",
			     job->number, vb_cmd_name(job->cmd->opcode),
			     (unsigned long long)(need * bytes), (unsigned long long)(held * bytes),
			     (unsigned long long)(env->resid->slots * bytes));
}

/* What the backend would take beside the tier. */
static int stream_check_memory(struct vgpu_job *job, const struct vgpu_stream *s)
{
	bool by_id = job->cmd->opcode == VB_CMD_MATMUL_ID;
	const struct vb_operand *w = vgpu_cmd_operand(job->cmd, VGPU_PRODUCT_W);
	uint64_t row = 4ull * w->shape[w->rank - 1], unit = s->part[0].unit_bytes;
	uint64_t ids = by_id ? vgpu_backend_ids(job->cmd) : 0;

	if (ids > VGPU_WORK_IDS)
		return vgpu_job_fail(job, -ENOSPC, "command %u (%s) has %llu indices; at most %u",
				     job->number, vb_cmd_name(job->cmd->opcode),
				     (unsigned long long)ids, VGPU_WORK_IDS);
	row = unit > row ? unit : row;
	if (row > VGPU_WORK_ROW_BYTES)
		return vgpu_job_fail(job, -ENOSPC, "command %u (%s): %u columns take %llu bytes of a row that is computed; at most %u",
				     job->number, vb_cmd_name(job->cmd->opcode),
				     w->shape[w->rank - 1], (unsigned long long)row,
				     VGPU_WORK_ROW_BYTES);
	return 0;
}

static int job_select(struct vgpu_job_env *env, struct vgpu_job *job,
		      const struct vgpu_work *work, uint32_t experts, uint32_t *list,
		      uint32_t *count)
{
	struct vgpu_wrong_id wrong;
	int rc = env->backend->select(env->be, work, list, count, &wrong);

	if (rc == -EINVAL)
		vgpu_job_fail(job, rc, "command %u (%s): ids[%u][%u] is %d; w has %u matrices",
			      job->number, vb_cmd_name(job->cmd->opcode), wrong.row, wrong.choice,
			      wrong.id, experts);
	return rc;
}

/* As many as the ids can select: what the client says there are is not believed. */
static uint64_t matrices_at_most(const struct vb_cmd_header *cmd, const struct vgpu_stream *s)
{
	uint64_t n = vgpu_backend_ids(cmd);

	return n < s->matrices ? n : s->matrices;
}

static int job_run_stream(struct vgpu_job_env *env, struct vgpu_job *job,
			  const struct vgpu_work *work, uint32_t held)
{
	struct vgpu_stream s;
	uint32_t chunks, count = 1, first = 0, *list = &first;
	uint32_t few_slots[FEW_CHUNKS];
	struct vgpu_piece few_pieces[FEW_CHUNKS];
	struct panel p = { few_slots, few_pieces, { 0 } };
	int rc;

	if (!vgpu_walk_stream(job->cmd, job->bos, env->panel_bytes, &s))
		return -EINVAL;
	rc = stream_check_memory(job, &s);
	if (!rc)
		rc = stream_check_room(env, job, &s, held);
	if (rc)
		return rc;
	chunks = vgpu_stream_panel_chunks(&s, env->resid->chunk_bytes);
	if (chunks > FEW_CHUNKS) {
		p.slot = malloc(chunks * sizeof(*p.slot));
		p.piece = malloc(chunks * sizeof(*p.piece));
	}
	if (job->cmd->opcode == VB_CMD_MATMUL_ID)
		list = malloc(matrices_at_most(job->cmd, &s) * sizeof(*list));
	rc = p.slot && p.piece && list ? env->backend->begin(env->be, work) : -ENOMEM;
	if (!rc && list != &first)
		rc = job_select(env, job, work, s.matrices, list, &count);
	if (!rc)
		rc = panels_run(env, job, work, &s, list, count, &p);
	if (p.slot && p.piece && list)
		env->backend->end(env->be, work);
	if (list != &first)
		free(list);
	if (chunks > FEW_CHUNKS) {
		free(p.slot);
		free(p.piece);
	}
	return rc;
}

/* ------------------------------------------------------------------------
 * Commands
 */

static int job_dispatch(struct vgpu_job_env *env, struct vgpu_job *job,
			const struct vgpu_work *work, uint32_t held)
{
	switch (job->cmd->opcode) {
	case VB_CMD_NOP:
		return 0;
	case VB_CMD_MATMUL:
	case VB_CMD_MATMUL_ID:
	case VB_CMD_MATMUL_GATE:
	case VB_CMD_MATMUL_TRANSPOSED:
		return job_run_stream(env, job, work, held);
	case VB_CMD_GATHER:
		return vgpu_job_run_gather(env, job, work);
	default:
		return env->backend->run(env->be, work);
	}
}

/* struct vgpu_work: a command asks, in the middle of what takes long. */
struct asking {
	struct vgpu_job_env *env;
	struct vgpu_job *job;
};

static int job_go_on(void *arg)
{
	struct asking *a = arg;

	return vgpu_job_go_on(a->env, a->job);
}

static int job_run_command(struct vgpu_job_env *env, struct vgpu_job *job, uint64_t now)
{
	struct asking asking = { env, job };
	struct vgpu_work work = { .go_on = job_go_on, .arg = &asking };
	struct vgpu_held held;
	int rc = job_check_cancel_at(env, job, now);

	if (rc)
		return rc;
	if (!env->backend->supports(env->be, job->cmd))
		return vgpu_job_fail(job, -EOPNOTSUPP, "command %u (%s): backend %s cannot run it",
				     job->number, vb_cmd_name(job->cmd->opcode), env->backend->name);
	vgpu_ahead_walk(env, job);
	vgpu_ahead_pass_holds(job);
	env->resid->blocks = 0;
	rc = job_take_holds(env, job, &held);
	if (rc)
		return rc;
	job->room.since = 0;
	job_point_at_operands(env, job, &held, &work);
	rc = job_dispatch(env, job, &work, vgpu_held_slots(&held));
	vgpu_held_release(env->resid, &held);
	return rc;
}

static void job_step_end(struct vgpu_job_env *env, struct vgpu_job *job, uint64_t start)
{
	env->stepped_at = vgpu_now_ns();
	job->busy_ns += env->stepped_at - start;
}

bool vgpu_job_step(struct vgpu_job_env *env, struct vgpu_job *job)
{
	uint64_t start = vgpu_now_ns();
	uint32_t awaited;
	int rc;

	if (job->status || !job->cmd)
		return true;
	awaited = vgpu_late_begin(env->resid, &job->late);
	env->resid->fault_error = 0;
	rc = job_run_command(env, job, start);
	if (rc == -EAGAIN)
		rc = job_wait_for_storage(env, job);
	vgpu_late_end(env->resid, awaited);
	if (job->again) {
		/* Between two steps others are served. */
		job->again = false;
		if (!job->slow)
			room_pause();
		job_step_end(env, job, start);
		return false;
	}
	env->resid->count[VB_COUNT_COMMANDS]++;
	job->attempt = (struct vgpu_attempt){ 0 };
	job->resume = job->announced = (struct vgpu_panel_cursor){ 0 };
	vgpu_job_went_on(job);
	if (rc) {
		job->status = rc;
		job->bad_command = job->number;
		if (!job->text[0] && !job_blame_chunk(env, job, rc))
			vgpu_job_fail(job, rc, "command %u (%s): %s", job->number,
				      vb_cmd_name(job->cmd->opcode), strerror(-rc));
		vgpu_resid_unwant_all(env->resid);
		job->ahead.cmd = NULL;
	}
	vgpu_ahead_pass_command(job);
	job->cmd = vb_stream_next((const void *)(uintptr_t)job->req.out_stream_address, job->cmd);
	job->number++;
	job_step_end(env, job, start);
	return job->status || !job->cmd;
}

/* ------------------------------------------------------------------------
 * Life
 */

static int job_open_objects(struct vgpu_job_env *env, struct vgpu_job *job, struct vb_cmd_bo *check)
{
	const struct vb_exec_bo *refs = (const void *)(uintptr_t)job->req.out_bos_address;

	for (uint32_t i = 0; i < job->req.out_bo_count; i++) {
		int rc = vgpu_store_get(env->store, refs[i].object, &job->bos[i]);

		if (rc) {
			job->bos[i] = NULL;
			return rc;
		}
		vgpu_object_hold(env->store, job->bos[i]);
		vgpu_resid_beat(env->resid);
		check[i] = (struct vb_cmd_bo){
			.bytes = job->bos[i]->bytes, .object = refs[i].object,
			.access = refs[i].access, .sealed = job->bos[i]->sealed,
		};
	}
	return 0;
}

/* Nothing of the client's is believed before this. */
static void job_check_stream(struct vgpu_job_env *env, struct vgpu_job *job)
{
	const void *stream = (const void *)(uintptr_t)job->req.out_stream_address;
	struct vb_cmd_bo few[FEW_BOS], *check = few;
	struct vb_cmd_error error;

	if (job->req.out_bo_count > FEW_BOS)
		check = malloc(job->req.out_bo_count * sizeof(*check));
	if (!check) {
		job->status = -ENOMEM;
		return;
	}
	job->status = job_open_objects(env, job, check);
	if (job->status) {
		vgpu_job_fail(job, 0, "an object of the submission cannot be opened: %s",
			      strerror(-job->status));
	} else if (vb_stream_check(stream, job->req.out_stream_bytes, check,
				   job->req.out_bo_count, &error)) {
		job->status = error.errno_value;
		job->bad_command = error.command;
		vb_cmd_error_format(&error, job->text, sizeof(job->text));
	}
	if (check != few)
		free(check);
}

/* Slots that a command needs at once: what it holds, and two panels or a row. */
static uint32_t command_slots(const struct vgpu_job_env *env, const struct vgpu_job *job,
			      const struct vb_cmd_header *cmd)
{
	uint32_t chunk_bytes = env->resid->chunk_bytes;
	struct vgpu_held held;
	struct vgpu_stream s;

	held.count = vgpu_walk_holds(cmd, job->bos, chunk_bytes, held.hold);
	if (cmd->opcode == VB_CMD_GATHER)
		return vgpu_held_slots_needed(&held) + 1;
	if (!vgpu_walk_stream(cmd, job->bos, env->panel_bytes, &s))
		return vgpu_held_slots_needed(&held);
	return vgpu_held_slots_needed(&held) + vgpu_stream_chunks_needed(&s, chunk_bytes);
}

uint32_t vgpu_job_need(const struct vgpu_job_env *env, struct vgpu_job *job)
{
	const void *stream = (const void *)(uintptr_t)job->req.out_stream_address;

	for (const struct vb_cmd_header *c = job->need ? NULL : job->cmd; c;
	     c = vb_stream_next(stream, c)) {
		uint32_t need = command_slots(env, job, c);

		job->need = need > job->need ? need : job->need;
	}
	return job->need;
}

static void job_count_scratch(struct vgpu_job *job)
{
	for (uint32_t i = 0; i < job->req.out_bo_count; i++)
		job->scratch += job->bos[i]->life == VB_LIFE_SCRATCH ? job->bos[i]->chunks : 0;
}

/* One piece, and by malloc(): what a thread freed last glibc does not give to calloc(). */
int vgpu_job_create(struct vgpu_job_env *env, const struct vb_ioc_fetch *req,
		    struct vgpu_job **out)
{
	size_t list_bytes = req->out_bo_count * sizeof(struct vgpu_object *);
	struct vgpu_job *job = malloc(sizeof(*job) + list_bytes);

	if (!job)
		return -ENOMEM;
	*job = (struct vgpu_job){
		.req = *req, .bad_command = UINT32_MAX, .checked_at = vgpu_now_ns(),
		.carry = { VB_SLOT_ANY, VB_SLOT_ANY }, .late.slot = VB_SLOT_ANY,
	};
	memset(job->bos, 0, list_bytes);
	job_check_stream(env, job);
	if (!job->status) {
		job->cmd = vb_stream_next((const void *)(uintptr_t)req->out_stream_address, NULL);
		job->ahead.cmd = job->cmd;
		job_count_scratch(job);
	}
	*out = job;
	return 0;
}

void vgpu_job_start(struct vgpu_job *job)
{
	job->started = true;
	for (uint32_t i = 0; i < job->req.out_bo_count && job->bos[i]; i++)
		job->bos[i]->jobs++;
}

void vgpu_job_yield(struct vgpu_job_env *env, struct vgpu_job *job)
{
	job_drop_carry(env, job);
	vgpu_resid_stream_end(env->resid);
}

void vgpu_job_destroy(struct vgpu_job_env *env, struct vgpu_job *job)
{
	vgpu_job_yield(env, job);
	vgpu_late_end(env->resid, job->late.slot);
	for (uint32_t i = 0; i < job->req.out_bo_count && job->bos[i]; i++) {
		job->bos[i]->jobs -= job->started;
		vgpu_object_release(env->store, job->bos[i]);
	}
	free(job);
}
