// SPDX-License-Identifier: MIT
/* Rows of a table that indices select, chunk by chunk. */
#include "steps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Rows of a gather between two looks at the clock. */
#define GATHER_CANCEL_ROWS	64u
/* Rows of a gather whose order is that of the table. */
#define GATHER_ROWS	(1u << 19)

/* One row that is wanted, and where it goes. */
struct pick {
	uint32_t row, out;
};

/**
 * struct gather - a gather on its way
 * @slot: of @chunk, pinned; VB_SLOT_ANY before the first
 * @scratch: for a unit that lies across chunks
 */
struct gather {
	struct vgpu_job_env *env;
	struct vgpu_job *job;
	const struct vgpu_work *work;
	struct vgpu_object *table;
	struct vb_unit unit;
	uint64_t at;			/* of row 0, from chunk 0 on */
	uint32_t chunk, slot;
	uint8_t *scratch;
};

static int compare_picks(const void *a, const void *b)
{
	const struct pick *x = a, *y = b;

	if (x->row != y->row)
		return x->row < y->row ? -1 : 1;
	return x->out < y->out ? -1 : x->out > y->out;
}

static void gather_drop_chunk(struct gather *g)
{
	if (g->slot != VB_SLOT_ANY)
		vgpu_resid_unpin(g->env->resid, g->slot);
	g->slot = VB_SLOT_ANY;
}

/* The bytes of a chunk; it stays pinned until the next one is asked for. */
static int gather_chunk(struct gather *g, uint32_t chunk, const uint8_t **data)
{
	struct vgpu_resid *r = g->env->resid;
	int rc = 0;

	r->blocks = 0;
	while (!rc && (g->slot == VB_SLOT_ANY || g->chunk != chunk)) {
		gather_drop_chunk(g);
		vgpu_resid_try(r, &g->job->part);
		rc = vgpu_resid_use(r, g->table, chunk, 0, &g->slot);
		vgpu_resid_tried(r);
		g->chunk = chunk;
		if (!rc)
			break;
		g->slot = VB_SLOT_ANY;
		rc = vgpu_job_wait_for_room(g->env, g->job, rc, "its next row", 1);
	}
	g->job->room.since = 0;
	if (rc)
		return rc;
	*data = vgpu_resid_ptr(r, g->slot);
	rc = vgpu_resid_wait(r, g->slot);
	if (rc == -EAGAIN)
		vgpu_resid_expect(r, g->table, chunk, chunk + 1);
	else
		vgpu_job_went_on(g->job);
	return rc;
}

/* One unit of the table, together in memory: in its slot, or copied to scratch. */
static int gather_unit(struct gather *g, uint32_t row, const uint8_t **out)
{
	uint32_t chunk_bytes = g->env->resid->chunk_bytes;
	uint64_t at = g->at + (uint64_t)(row / g->unit.rows) * g->unit.bytes, done = 0;

	while (done < g->unit.bytes) {
		uint64_t skip = (at + done) % chunk_bytes, n = chunk_bytes - skip;
		const uint8_t *data;
		int rc = gather_chunk(g, (uint32_t)((at + done) / chunk_bytes), &data);

		if (rc)
			return rc;
		/* Packed units are decoded at multiples of 64 only. */
		if (n >= g->unit.bytes && !done &&
		    (g->unit.rows == 1 || (uintptr_t)(data + skip) % 64 == 0)) {
			*out = data + skip;
			return 0;
		}
		n = n < g->unit.bytes - done ? n : g->unit.bytes - done;
		memcpy(g->scratch + done, data + skip, n);
		done += n;
	}
	*out = g->scratch;
	return 0;
}

/*
 * Every index once, checked; then in the order of the table, so that each chunk is
 * used in one go.
 */
static int gather_read_ids(struct vgpu_job *job, const struct vgpu_work *work, struct pick *picks,
			   uint32_t first, uint32_t rows)
{
	const struct vb_cmd_gather *c = (const void *)job->cmd;
	const volatile int32_t *ids = work->ptr[1];
	uint32_t limit = c->table.shape[0];

	for (uint32_t i = first; i < first + rows; i++) {
		/* Another thread may write it: load once, check what was loaded. */
		int32_t id = ids[i];

		if (id < 0 || (uint32_t)id >= limit)
			return vgpu_job_fail(job, -EINVAL,
					     "command %u (gather): ids[%u] is %d; the table has %u rows",
					     job->number, i, id, limit);
		picks[i - first] = (struct pick){ (uint32_t)id, i };
	}
	qsort(picks, rows, sizeof(*picks), compare_picks);
	return 0;
}

/* Of the rows from @first on, in the table's order; the job remembers how far it came. */
static int gather_rows(struct gather *g, const struct pick *picks, uint32_t first, uint32_t rows)
{
	uint32_t *at = &g->job->resume.index;
	const struct pick *pick;
	const uint8_t *unit;
	int rc = 0;

	for (; *at < first + rows; (*at)++) {
		pick = &picks[*at - first];
		if (*at % GATHER_CANCEL_ROWS == 0)
			rc = vgpu_job_go_on(g->env, g->job);
		if (!rc)
			rc = gather_unit(g, pick->row, &unit);
		if (!rc)
			rc = g->env->backend->row(g->env->be, g->work, pick->out, pick->row, unit);
		if (rc)
			break;
	}
	gather_drop_chunk(g);
	return rc;
}

/* Batch after batch, from the one on that it was in. */
static int gather_batches(struct gather *g, struct pick *picks)
{
	const struct vb_cmd_gather *c = (const void *)g->job->cmd;
	uint32_t first = g->job->resume.index / GATHER_ROWS * GATHER_ROWS;
	uint32_t rows = c->ids.shape[0], n;
	int rc = 0;

	for (; first < rows && !rc; first += n) {
		n = rows - first < GATHER_ROWS ? rows - first : GATHER_ROWS;
		rc = gather_read_ids(g->job, g->work, picks, first, n);
		if (!rc)
			rc = gather_rows(g, picks, first, n);
	}
	return rc;
}

static uint64_t align64(uint64_t bytes)
{
	return (bytes + 63) & ~63ull;
}

int vgpu_job_run_gather(struct vgpu_job_env *env, struct vgpu_job *job,
			const struct vgpu_work *work)
{
	const struct vb_cmd_gather *c = (const void *)job->cmd;
	struct gather g = { .env = env, .job = job, .work = work, .slot = VB_SLOT_ANY,
			    .table = job->bos[c->table.bo] };
	uint32_t rows = c->ids.shape[0] < GATHER_ROWS ? c->ids.shape[0] : GATHER_ROWS;
	uint64_t picks_bytes = align64(rows * sizeof(struct pick)), unit_bytes;
	void *picks, *scratch;
	int rc = vb_format_unit(c->table.format, c->table.shape[1], &g.unit);

	if (rc)
		return rc;
	unit_bytes = align64(g.unit.bytes);
	if (unit_bytes > VGPU_WORK_ROW_BYTES)
		return vgpu_job_fail(job, -ENOSPC, "command %u (gather): %u columns take %llu bytes of a row, or of 16; at most %u",
				     job->number, c->table.shape[1], (unsigned long long)unit_bytes,
				     VGPU_WORK_ROW_BYTES);
	g.at = g.table->head + c->table.offset;
	rc = vgpu_resid_alloc(env->resid, picks_bytes, &picks);
	if (rc)
		return rc;
	rc = vgpu_resid_alloc(env->resid, unit_bytes, &scratch);
	if (rc)
		goto out_free;
	g.scratch = scratch;
	rc = gather_batches(&g, picks);
	vgpu_beside_free(&env->resid->beside, scratch, unit_bytes);
out_free:
	vgpu_beside_free(&env->resid->beside, picks, picks_bytes);
	return rc;
}
