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
	uint32_t cells = chunks < BAR_CELLS ? chunks : BAR_CELLS;
	uint32_t c;

	for (c = 0; c < cells; c++) {
		uint32_t first = (uint32_t)((uint64_t)c * chunks / cells);
		uint32_t end = (uint32_t)((uint64_t)(c + 1) * chunks / cells);

		bar[c] = cell_letter(states + first, end - first, kind);
	}
	bar[c] = 0;
}

static void print_row(const struct residency_row *row, FILE *to)
{
	struct vgpu_bo_info info = { .size = sizeof(info) };
	char bar[BAR_CELLS + 1] = "";
	uint8_t *states;
	int n = 0;

	if (vgpu_bo_info(row->bo, &info))
		return;
	states = calloc(info.chunks + 1, 1);
	if (states)
		n = vgpu_bo_residency(row->bo, 0, info.chunks, states);
	if (n > 0)
		draw(bar, states, (uint32_t)n, info.kind);
	free(states);
	fprintf(to, "  %-26.26s %-9s %9s  host %9s  [%s]\n", row->name, kind_name(info.kind),
		size_text(info.bytes).s, size_text(info.tier_bytes[VGPU_TIER_HOST]).s, bar);
}

void residency_print(const struct residency_row *rows, uint32_t count, FILE *to)
{
	fprintf(to, "Where every object lives: # host, + partly host, n NVMe arena, . in its file"
		" only, 0 untouched\n");
	for (uint32_t i = 0; i < count; i++)
		if (rows[i].bo)
			print_row(&rows[i], to);
}

void residency_summary(const struct residency_row *rows, uint32_t count, struct json_object *o)
{
	struct json_object *list = summary_list(o, "objects"), *item;

	for (uint32_t i = 0; i < count; i++) {
		struct vgpu_bo_info info = { .size = sizeof(info) };

		if (!rows[i].bo || vgpu_bo_info(rows[i].bo, &info))
			continue;
		item = summary_item(list);
		summary_text(item, "name", rows[i].name);
		summary_text(item, "kind", kind_name(info.kind));
		summary_bytes(item, "bytes", info.bytes);
		summary_bytes(item, "chunks", info.chunks);
		summary_bytes(item, "host_bytes", info.tier_bytes[VGPU_TIER_HOST]);
		summary_bytes(item, "device_bytes", info.tier_bytes[VGPU_TIER_DEVICE]);
		summary_bytes(item, "nvme_bytes", info.tier_bytes[VGPU_TIER_NVME]);
	}
}
