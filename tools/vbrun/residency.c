// SPDX-License-Identifier: MIT
#include "residency.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "common/summary.h"

#define BAR_CELLS 48u

static const char *const kind_names[] = { "?", "anonymous", "file", "derived", "imported" };

static const char *kind_name(uint32_t kind)
{
	return kind_names[kind < 5 ? kind : 0];
}

/* One letter for the chunks of a cell: the fastest tier that holds all, or some. */
static char cell_letter(const uint8_t *states, uint32_t count, uint32_t kind)
{
	uint32_t host = 0, device = 0, nvme = 0, lost = 0;

	for (uint32_t i = 0; i < count; i++) {
		host += states[i] >> VGPU_TIER_HOST & 1;
		device += states[i] >> VGPU_TIER_DEVICE & 1;
		nvme += states[i] >> VGPU_TIER_NVME & 1;
		lost += states[i] >> 6 & 1;
	}
	if (lost)
		return '!';
	if (device)
		return device == count ? 'D' : 'd';
	if (host)
		return host == count ? '#' : '+';
	if (nvme)
		return 'n';
	return kind == 1 ? '0' : '.';
}

static void draw(char bar[BAR_CELLS + 1], const uint8_t *states, uint32_t chunks, uint32_t kind)
{
	uint32_t cells = chunks < BAR_CELLS ? chunks : BAR_CELLS, c;

	for (c = 0; c < cells; c++) {
		uint32_t first = (uint32_t)((uint64_t)c * chunks / cells);
		uint32_t end = (uint32_t)((uint64_t)(c + 1) * chunks / cells);

		bar[c] = cell_letter(states + first, end - first, kind);
	}
	bar[c] = 0;
}

/**
 * struct row_state - the objects of a row together
 * @kind: of the first
 * @chunks: of all
 * @bytes, @tier_bytes: sums
 * @bar: drawn
 */
struct row_state {
	uint32_t kind, chunks;
	uint64_t bytes, tier_bytes[VGPU_TIERS];
	char bar[BAR_CELLS + 1];
};

static void add_object(struct row_state *row, const struct vgpu_bo_info *info)
{
	if (!row->chunks)
		row->kind = info->kind;
	row->chunks += info->chunks;
	row->bytes += info->bytes;
	for (uint32_t t = 0; t < VGPU_TIERS; t++)
		row->tier_bytes[t] += info->tier_bytes[t];
}

/* The objects of a row, one after the other from *@at = 0 on; NULL at the end. */
static struct vgpu_bo *next_object(const struct residency_row *r, size_t *at)
{
	if (*at < RESIDENCY_ROW_OBJECTS && !r->bo[*at])
		*at = RESIDENCY_ROW_OBJECTS;
	if (*at < RESIDENCY_ROW_OBJECTS)
		return r->bo[(*at)++];
	for (; *at - RESIDENCY_ROW_OBJECTS < r->more_count; ++*at)
		if (r->more[*at - RESIDENCY_ROW_OBJECTS])
			return r->more[(*at)++ - RESIDENCY_ROW_OBJECTS];
	return NULL;
}

/* The chunks of all objects of a row, one behind the other. */
static void take_bar(const struct residency_row *r, struct row_state *row)
{
	uint8_t *states = calloc(row->chunks + 1, 1);
	struct vgpu_bo *bo;
	uint32_t at = 0;
	size_t i = 0;
	int n;

	while (states && (bo = next_object(r, &i)) != NULL) {
		n = vgpu_bo_residency(bo, 0, row->chunks - at, states + at);
		if (n > 0)
			at += (uint32_t)n;
	}
	if (states)
		draw(row->bar, states, at, row->kind);
	free(states);
}

static bool take_row(const struct residency_row *r, struct row_state *row)
{
	struct vgpu_bo *bo;
	size_t i = 0;

	memset(row, 0, sizeof(*row));
	while ((bo = next_object(r, &i)) != NULL) {
		struct vgpu_bo_info info = { .size = sizeof(info) };

		if (!vgpu_bo_info(bo, &info))
			add_object(row, &info);
	}
	if (row->chunks)
		take_bar(r, row);
	return row->chunks;
}

const char residency_key[] = "Where every object lives: # host, + partly host, n NVMe arena, "
			     ". in its file only, 0 untouched";

void residency_print(const struct residency_row *rows, uint32_t count, FILE *to)
{
	struct row_state row;

	fprintf(to, "%s\n", residency_key);
	for (uint32_t i = 0; i < count; i++)
		if (take_row(&rows[i], &row))
			fprintf(to, "  %-22.22s %-9s %9s  host %9s  [%s]\n", rows[i].name,
				kind_name(row.kind), size_text(row.bytes).s,
				size_text(row.tier_bytes[VGPU_TIER_HOST]).s, row.bar);
}

char *residency_text(const struct residency_row *rows, uint32_t count)
{
	char *text = NULL;
	size_t bytes;
	FILE *to = open_memstream(&text, &bytes);

	if (!to)
		return NULL;
	residency_print(rows, count, to);
	fclose(to);
	return text;
}

void residency_summary(const struct residency_row *rows, uint32_t count, struct json_object *o)
{
	struct json_object *list = summary_list(o, "objects"), *item;
	struct row_state row;

	for (uint32_t i = 0; i < count; i++) {
		if (!take_row(&rows[i], &row))
			continue;
		item = summary_item(list);
		summary_text(item, "name", rows[i].name);
		summary_text(item, "kind", kind_name(row.kind));
		summary_bytes(item, "bytes", row.bytes);
		summary_bytes(item, "chunks", row.chunks);
		summary_bytes(item, "host_bytes", row.tier_bytes[VGPU_TIER_HOST]);
		summary_bytes(item, "device_bytes", row.tier_bytes[VGPU_TIER_DEVICE]);
		summary_bytes(item, "nvme_bytes", row.tier_bytes[VGPU_TIER_NVME]);
		summary_text(item, "bar", row.bar);
	}
}
