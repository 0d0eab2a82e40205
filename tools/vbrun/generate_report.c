// SPDX-License-Identifier: MIT
#include "generate.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/fnv.h"
#include "common/size.h"
#include "common/summary.h"
#include "common/text.h"
#include "placement.h"
#include "residency.h"

void generate_print_model(const struct generation *g)
{
	const struct weights *w = &g->model.weights;
	struct conversions conversions;

	fprintf(stderr, "model        ");
	text_print(stderr, g->model.name, 60, false);
	fprintf(stderr, ": gemma3, %s in %zu matrices, used as %s\n", size_text(w->bytes).s, w->count,
		size_text(w->used_bytes).s);
	conversions_list(w, &conversions);
	conversions_print(&conversions, stderr);
}

static double rate(const struct generate_part *p)
{
	return p->seconds > 0 ? p->tokens / p->seconds : 0;
}

static uint64_t read_a_token(const struct generate_part *p)
{
	return p->tokens ? p->c.c[VGPU_COUNT_READ_BYTES] / p->tokens : 0;
}

static double hits(const struct generate_part *p)
{
	uint64_t uses = p->c.c[VGPU_COUNT_ACCESSES];

	return uses ? (double)p->c.c[VGPU_COUNT_HITS] / (double)uses : 1;
}

static void print_part(const char *name, const struct generate_part *p)
{
	fprintf(stderr, "%-12s %u tokens in %s: %.1f tokens/s; read a token %s, hits %.1f%%, "
		"stall %.1f%%\n", name, p->tokens, size_seconds(p->seconds).s, rate(p),
		size_text(read_a_token(p)).s, 100 * hits(p), 100 * counters_stall(&p->c));
}

static uint64_t kv_bytes(const struct generation *g)
{
	return g->model.layers * kv_cache_layer_bytes(&g->g.cache.shape);
}

/* Both parts together. */
static struct counters all_counters(const struct generation *g)
{
	struct counters c = g->seen.c;

	for (uint32_t i = 0; i < VGPU_COUNTERS; i++)
		c.c[i] += g->decoded.c.c[i];
	return c;
}

static void show_objects(const struct generation *g, struct json_object *json)
{
	struct residency_row *rows = calloc(GEMMA_ROWS_MAX, sizeof(*rows));
	char (*names)[32] = calloc(GEMMA_LAYERS_MAX, sizeof(*names));
	uint32_t n;

	if (rows && names) {
		n = gemma_residency(&g->g, rows, names);
		if (json)
			residency_summary(rows, n, json);
		else
			residency_print(rows, n, stderr);
	}
	free(rows);
	free(names);
}

static void print_summary(const struct generation *g)
{
	struct counters c = all_counters(g);

	fprintf(stderr, "\n");
	device_print(g->v, stderr);
	print_part("prompt", &g->seen);
	if (g->decoded.tokens)
		print_part("decode", &g->decoded);
	fprintf(stderr, "made         %u tokens, %s\n", g->made_count,
		g->ended ? "and the model ended the text" : "as many as were asked for");
	fprintf(stderr, "keys, values %s for %u tokens, %s; memory (VmHWM) %s\n",
		size_text(kv_bytes(g)).s, g->size.tokens, vgpu_format_name(g->size.kv),
		size_text(g->peak).s);
	placement_print(g->v, &c, stderr);
	placement_print_tiers(g->v, stderr);
	show_objects(g, NULL);
}

static void add_ids(struct json_object *o, const char *key, const int32_t *ids, uint32_t count)
{
	struct json_object *list = summary_list(o, key);

	for (uint32_t i = 0; list && i < count; i++)
		json_object_array_add(list, json_object_new_int(ids[i]));
}

static void add_text(struct json_object *o, const char *key, const char *text)
{
	char *copy = text_utf8(text ? text : "");

	if (copy)
		summary_text(o, key, copy);
	free(copy);
}

static void add_part(struct json_object *o, const char *key, const struct generate_part *p)
{
	struct json_object *part = summary_object(o, key);

	summary_bytes(part, "tokens", p->tokens);
	summary_bytes(part, "ns", (uint64_t)(p->seconds * 1e9));
	summary_real(part, "tokens_per_second", rate(p));
	summary_bytes(part, "token_read_bytes", read_a_token(p));
	summary_real(part, "stall", counters_stall(&p->c));
	counters_summary(part, &p->c);
}

static void summarise(const struct generation *g, struct json_object *o)
{
	struct conversions conversions;

	add_text(o, "model", g->model.name);
	summary_text(o, "file", g->o.path);
	summary_text(o, "architecture", "gemma3");
	add_text(o, "prompt", g->o.prompt);
	add_text(o, "text", g->text.text);
	add_ids(o, "prompt_ids", g->prompt, g->prompt_count);
	add_ids(o, "ids", g->made, g->made_count);
	/* Two texts are the same when it is. */
	summary_digest(o, fnv64(FNV64_START, g->made, g->made_count * sizeof(*g->made)));
	summary_text(o, "ended", g->ended ? "model" : "tokens");
	summary_real(o, "temperature", g->o.temperature);
	summary_bytes(o, "seed", g->o.seed);
	summary_bytes(o, "host_bytes", g->o.device.host_bytes);
	summary_bytes(o, "source_bytes", g->model.weights.bytes);
	summary_bytes(o, "weight_bytes", g->model.weights.used_bytes);
	summary_bytes(o, "kv_bytes", kv_bytes(g));
	summary_text(o, "kv_format", vgpu_format_name(g->size.kv));
	summary_bytes(o, "batch_tokens", g->size.batch);
	summary_bytes(o, "vm_hwm_bytes", g->peak);
	conversions_list(&g->model.weights, &conversions);
	conversions_summary(&conversions, o);
	add_part(o, "seen", &g->seen);
	add_part(o, "decoded", &g->decoded);
	placement_summary_tiers(g->v, o);
	device_summary(g->v, o);
	show_objects(g, o);
}

int generate_report(const struct generation *g)
{
	struct json_object *json = summary_new("generate");
	int rc;

	if (!json)
		return cli_fail("out of memory");
	summarise(g, json);
	rc = g->o.save ? summary_save(json, g->o.save) : 0;
	if (!g->o.json)
		print_summary(g);
	else
		summary_print(json_object_get(json));
	json_object_put(json);
	return rc ? cli_fail("%s: %s", g->o.save, part_why(rc)) : CLI_OK;
}
