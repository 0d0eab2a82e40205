// SPDX-License-Identifier: MIT
#include "common/conversions.h"

#include <stdio.h>
#include <string.h>

#include "common/summary.h"

static bool same_kind(const struct conversion *c, const struct weight *w)
{
	return c->from == w->format && c->to == w->used && !strcmp(c->type, w->type);
}

struct conversion *conversions_of(struct conversions *c, const struct weight *w)
{
	for (uint32_t i = 0; i < c->count && w->used != w->format; i++)
		if (same_kind(&c->list[i], w))
			return &c->list[i];
	return NULL;
}

void conversions_list(const struct weights *w, struct conversions *out)
{
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < w->count; i++) {
		const struct weight *one = &w->list[i];
		struct conversion *c = conversions_of(out, one);

		if (one->used == one->format)
			continue;
		if (!c && out->count < CONVERSIONS_MAX) {
			c = &out->list[out->count++];
			*c = (struct conversion){ .type = one->type, .from = one->format,
						  .to = one->used };
		}
		if (!c)
			continue;
		c->tensors++;
		c->source_bytes += one->bytes + one->scales_bytes;
		c->bytes += one->used_bytes;
		c->values += (uint64_t)(one->experts ? one->experts : 1) * one->n * one->k;
	}
}

/* Codes and scales of layers are moved, too; they have no format of their own. */
static bool is_exact(const struct conversion *c)
{
	return c->from == VGPU_FORMAT_NONE || vgpu_pack_is_exact(c->from, c->to);
}

/* Floats are packed for the first time, blocks a second time. */
static const char *how(const struct conversion *c)
{
	if (is_exact(c))
		return "exact";
	return weights_used(c->from, WEIGHTS_KEEP) == c->from || c->from == VGPU_FORMAT_F64 ?
		"packed" : "requantised";
}

void conversions_print(const struct conversions *list, FILE *to)
{
	for (uint32_t i = 0; i < list->count; i++) {
		const struct conversion *c = &list->list[i];

		fprintf(to, "%-12s %u tensors %s -> %s", how(c), c->tensors, c->type,
			vgpu_format_name(c->to));
		if (is_exact(c))
			fprintf(to, ", the same values");
		if (c->compared)
			fprintf(to, ", NMSE of the weights %.3g", c->size > 0 ? c->error / c->size : 0);
		if (c->compared && c->compared < c->values)
			fprintf(to, " (of %.1f %% of them)", 100 * (double)c->compared / (double)c->values);
		fprintf(to, "\n");
	}
}

void conversions_summary(const struct conversions *list, struct json_object *o)
{
	struct json_object *to = summary_list(o, "conversions"), *item;

	for (uint32_t i = 0; i < list->count; i++) {
		const struct conversion *c = &list->list[i];

		item = summary_item(to);
		summary_text(item, "how", how(c));
		summary_text(item, "from", c->type);
		summary_text(item, "to", vgpu_format_name(c->to));
		summary_bytes(item, "tensors", c->tensors);
		summary_bytes(item, "source_bytes", c->source_bytes);
		summary_bytes(item, "bytes", c->bytes);
		summary_bytes(item, "values", c->values);
		if (!c->compared)
			continue;
		summary_bytes(item, "compared_values", c->compared);
		summary_real(item, "nmse", c->size > 0 ? c->error / c->size : 0);
	}
}
