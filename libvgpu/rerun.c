// SPDX-License-Identifier: MIT
#include "rerun.h"

#include <string.h>

void vgpu_rerun_reset(struct vgpu_rerun *r)
{
	memset(r->first, 0xff, sizeof(r->first));
	r->spare = VGPU_RERUN_NONE;
	r->used = 0;
	r->full = false;
}

static uint16_t *list_of(struct vgpu_rerun *r, uint32_t bo)
{
	return &r->first[bo % VGPU_RERUN_LISTS];
}

static bool meet(const struct vgpu_rerun_span *s, uint32_t bo, uint64_t from, uint64_t end)
{
	return s->bo == bo && s->from < end && from < s->end;
}

static bool touch(const struct vgpu_rerun_span *s, const struct vgpu_rerun_span *t)
{
	return s->bo == t->bo && s->made == t->made && s->from <= t->end && t->from <= s->end;
}

/* A span that is in no list; VGPU_RERUN_NONE: all are. */
static uint16_t span_take(struct vgpu_rerun *r)
{
	uint16_t i = r->spare;

	if (i != VGPU_RERUN_NONE)
		r->spare = r->spans[i].next;
	else if (r->used < VGPU_RERUN_SPANS)
		i = r->used++;
	return i;
}

/* With what it touches it becomes one. */
static void span_add(struct vgpu_rerun *r, struct vgpu_rerun_span new)
{
	uint16_t *list = list_of(r, new.bo), *at = list, i;

	while ((i = *at) != VGPU_RERUN_NONE) {
		struct vgpu_rerun_span *s = &r->spans[i];

		if (!touch(s, &new)) {
			at = &s->next;
			continue;
		}
		new.from = s->from < new.from ? s->from : new.from;
		new.end = s->end > new.end ? s->end : new.end;
		*at = s->next;
		s->next = r->spare;
		r->spare = i;
	}
	i = span_take(r);
	r->full = i == VGPU_RERUN_NONE;
	if (r->full)
		return;
	new.next = *list;
	r->spans[i] = new;
	*list = i;
}

/* Spans of what is made touch nowhere, so one of them has all of it or none has. */
static bool is_made(struct vgpu_rerun *r, uint32_t bo, uint64_t from, uint64_t end)
{
	for (uint16_t i = *list_of(r, bo); i != VGPU_RERUN_NONE; i = r->spans[i].next) {
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
	for (uint16_t i = *list_of(r, bo); i != VGPU_RERUN_NONE; i = r->spans[i].next)
		if (!r->spans[i].made && meet(&r->spans[i], bo, from, end))
			return false;
	/* Intermediates are made by one command after the other. */
	if (!r->full && all && !is_made(r, bo, from, end))
		span_add(r, (struct vgpu_rerun_span){ .from = from, .end = end, .bo = bo,
						      .made = true });
	return !r->full;
}
