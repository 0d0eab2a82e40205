// SPDX-License-Identifier: MIT
#include "placement.h"

#include <inttypes.h>
#include <string.h>

#include "common/size.h"
#include "common/summary.h"

static const char *const tier_names[] = { "host", "device", "nvme" };

/* Why no other figure can stand there. */
static const char *backend_note(const char *backend)
{
	if (!strcmp(backend, "cpu"))
		return ": the device is this machine's CPU, no GPU or NPU backend is there yet to "
		       "lack an op";
	return strcmp(backend, "null") ? "" : ": computes nothing";
}

void placement_print(struct vgpu *v, const struct counters *c, FILE *to)
{
	uint64_t commands = c->c[VGPU_COUNT_COMMANDS], fallbacks = c->c[VGPU_COUNT_FALLBACKS];
	char backend[64] = "";

	if (vgpu_describe(v, "backend", backend, sizeof(backend)) <= 0)
		snprintf(backend, sizeof(backend), "of another process");
	fprintf(to, "ops on device        %" PRIu64 " of %" PRIu64 " (backend %s%s)",
		commands - fallbacks, commands, backend, backend_note(backend));
	if (fallbacks)
		fprintf(to, ", %" PRIu64 " on the CPU: the backend lacks them", fallbacks);
	fprintf(to, "\n");
}

static void print_tier(const struct vgpu_device_info *info, const struct vgpu_tier_info *tier,
		       FILE *to)
{
	fprintf(to, "tier %-15s %s of %s used, %" PRIu64 " chunks of %s, staging %s\n",
		tier_names[tier->tier % 3], size_text(tier->used_bytes).s, size_text(tier->bytes).s,
		tier->used_bytes / info->chunk_bytes, size_text(info->chunk_bytes).s,
		tier->tier == VGPU_TIER_HOST ? size_text(info->staging_bytes).s : "none");
}

static void summarise_tier(const struct vgpu_device_info *info, const struct vgpu_tier_info *tier,
			   struct json_object *list)
{
	struct json_object *item = summary_item(list);

	summary_text(item, "tier", tier_names[tier->tier % 3]);
	summary_bytes(item, "tier_bytes", tier->bytes);
	summary_bytes(item, "used_bytes", tier->used_bytes);
	summary_bytes(item, "used_chunks", tier->used_bytes / info->chunk_bytes);
}

/* Each tier as text, or into @list. */
static void show_tiers(struct vgpu *v, struct json_object *list, FILE *to)
{
	struct vgpu_device_info info = { .size = sizeof(info) };
	struct vgpu_tier_info tier = { .size = sizeof(tier) };

	if (vgpu_device_info(v, &info))
		return;
	for (uint32_t i = 0; i < info.tier_count; i++) {
		if (vgpu_tier_info(v, i, &tier))
			continue;
		if (list)
			summarise_tier(&info, &tier, list);
		else
			print_tier(&info, &tier, to);
	}
}

void placement_print_tiers(struct vgpu *v, FILE *to)
{
	show_tiers(v, NULL, to);
}

void placement_summary_tiers(struct vgpu *v, struct json_object *o)
{
	struct json_object *list = summary_list(o, "tiers");

	if (list)
		show_tiers(v, list, NULL);
}
