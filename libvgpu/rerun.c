// SPDX-License-Identifier: MIT
#include "rerun.h"

void vgpu_rerun_reset(struct vgpu_rerun *r)
{
	r->count = 0;
	r->full = false;
}

static bool meet(const struct vgpu_rerun_span *s, uint32_t bo, uint64_t from, uint64_t end)
{
	return s->bo == bo && s->from < end && from < s->end;
}

/* With what it touches it becomes one. */
static void span_add(struct vgpu_rerun *r, struct vgpu_rerun_span new)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < r->count; i++) {
		const struct vgpu_rerun_span s = r->spans[i];

		if (s.bo != new.bo || s.made != new.made || s.from > new.end || new.from > s.end) {
			r->spans[kept++] = s;
			continue;
		}
		new.from = s.from < new.from ? s.from : new.from;
		new.end = s.end > new.end ? s.end : new.end;
	}
	r->count = kept;
	r->full = r->full || kept == VGPU_RERUN_SPANS;
	if (!r->full)
		r->spans[r->count++] = new;
}

/* Spans of what is made touch nowhere, so one of them has all of it or none has. */
static bool is_made(const struct vgpu_rerun *r, uint32_t bo, uint64_t from, uint64_t end)
{
	for (uint32_t i = 0; i < r->count; i++) {
		const struct vgpu_rerun_span *s = &r->spans[i];

		if (s->made && s->bo == bo && s->from <= from && s->end >= end)
			return true;
	}
	return false;
}

void vgpu_rerun_read(struct vgpu_rerun *r, uint32_t bo, uint64_t from, uint64_t end)
{
	if (!r->full && !is_made(r, bo, from, end))
		span_add(r, (struct vgpu_rerun_span){ .from = from, .end = end, .bo = bo });
}

bool vgpu_rerun_write(struct vgpu_rerun *r, uint32_t bo, uint64_t from, uint64_t end, bool all)
{
	for (uint32_t i = 0; i < r->count; i++)
		if (!r->spans[i].made && meet(&r->spans[i], bo, from, end))
			return false;
	/* Intermediates are made by one command after the other. */
	if (!r->full && all && !is_made(r, bo, from, end))
		span_add(r, (struct vgpu_rerun_span){ .from = from, .end = end, .bo = bo,
						      .made = true });
	return !r->full;
}
