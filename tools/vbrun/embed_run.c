// SPDX-License-Identifier: MIT
#include "embed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "process.h"

/* Later passes go on until both are reached, or the most passes. */
#define STEADY_SECONDS 1.0
#define STEADY_PASSES 3u
#define PASSES_ROOM 64u

void embed_run_formats(struct embed_run *r, enum vgpu_format format)
{
	for (uint32_t i = 0; i < BERT_LAYERS_MAX; i++)
		r->formats[i] = format;
}

uint64_t embed_run_bytes(const struct bert_model *model, const struct embed_run *r)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < model->layers; i++)
		sum += bert_layer_bytes(model, r->formats[i]);
	return sum;
}

/* A quarter of the tier for intermediates, the rest for weights. */
uint32_t embed_batch_tokens(const struct bert_model *model, const struct embed_texts *texts,
			    uint64_t host_bytes)
{
	uint64_t tokens = host_bytes / 4 / bert_token_bytes(model);

	if (tokens > EMBED_TOKENS_MAX)
		tokens = EMBED_TOKENS_MAX;
	if (tokens > texts->tokens)
		tokens = texts->tokens;
	return tokens > texts->longest ? (uint32_t)tokens : texts->longest;
}

int embed_texts_take(const struct bert_model *model, const char *const *text, uint32_t count,
		     struct embed_texts *out)
{
	memset(out, 0, sizeof(*out));
	out->token = calloc(count, sizeof(*out->token));
	if (!out->token)
		return -ENOMEM;
	out->text = text;
	out->count = count;
	for (uint32_t i = 0; i < count; i++) {
		struct bert_text *t = &out->token[i];
		int n = wordpiece_encode(model->words, text[i], t->ids, WORDPIECE_MAX_IDS);

		if (n < 0)
			return n;
		t->count = (uint32_t)n;
		out->tokens += t->count;
		if (t->count > out->longest)
			out->longest = t->count;
	}
	return 0;
}

void embed_texts_free(struct embed_texts *t)
{
	free(t->token);
	memset(t, 0, sizeof(*t));
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Passes that are still to come after @r->passes of them took @seconds. */
static uint64_t passes_left(const struct embed_run *r, double seconds, uint32_t passes_max)
{
	double each = r->passes ? seconds / r->passes : r->cold;
	uint64_t by_time = seconds < STEADY_SECONDS ?
			   (uint64_t)((STEADY_SECONDS - seconds) / each) + 1 : 0;
	uint64_t by_count = r->passes < STEADY_PASSES ? STEADY_PASSES - r->passes : 0;
	uint64_t left = by_time > by_count ? by_time : by_count;

	return left < passes_max - r->passes ? left : passes_max - r->passes;
}

static int later_passes(struct bert *b, const struct embed_texts *texts, struct embed_run *r,
			uint32_t passes_max)
{
	double seconds[PASSES_ROOM], start, total = 0;
	uint64_t pass_bytes = b->used_bytes, left;
	struct counters before;
	int rc = 0;

	counters_read(b->v, &before);
	if (passes_max > PASSES_ROOM)
		passes_max = PASSES_ROOM;
	while (!rc && (left = passes_left(r, total, passes_max))) {
		b->progress->total = b->used_bytes + left * pass_bytes;
		start = size_now();
		rc = bert_embed(b, texts->token, texts->count, r->out);
		seconds[r->passes] = size_now() - start;
		total += seconds[r->passes++];
	}
	r->c = counters_since(b->v, &before);
	r->steady = r->cold;
	if (r->passes) {
		qsort(seconds, r->passes, sizeof(seconds[0]), by_value);
		r->steady = seconds[r->passes / 2];
	}
	return rc;
}

static int passes(struct bert *b, const struct embed_texts *texts, struct embed_run *r,
		  uint32_t passes_max)
{
	double start = size_now();
	struct progress progress;
	int rc;

	progress_begin(&progress, *r->label ? r->label : "embedding", 0);
	b->progress = &progress;
	rc = bert_embed(b, texts->token, texts->count, r->out);
	r->cold = size_now() - start;
	if (!rc)
		rc = later_passes(b, texts, r, passes_max);
	b->progress = NULL;
	progress_end(&progress);
	return rc;
}

static int run_on(struct bert *b, const struct bert_model *model, struct vgpu *v,
		  const struct embed_texts *texts, struct embed_run *r, uint32_t passes_max)
{
	struct vgpu_device_info info = { .size = sizeof(info) };
	double start;
	int rc;

	if (!vgpu_device_info(v, &info))
		r->staging_bytes = info.staging_bytes;
	start = size_now();
	rc = bert_load(b, model, v, r->formats, r->mode,
		       embed_batch_tokens(model, texts, r->host_bytes),
		       *r->packed_path ? r->packed_path : NULL);
	r->weight_bytes = b->weight_bytes;
	r->load = size_now() - start;
	r->idle_bytes = process_peak_bytes();
	if (!rc)
		rc = passes(b, texts, r, passes_max);
	r->peak_bytes = process_peak_bytes();
	return rc;
}

static int refuse(struct embed_run *r, int rc)
{
	snprintf(r->refused, sizeof(r->refused), "%s",
		 *vgpu_error_text() ? vgpu_error_text() : strerror(-rc));
	/* The tier's size is a choice; everything else is a failure. */
	return rc == -ENOSPC || rc == -EINVAL || rc == -ENOMEM ? 0 : rc;
}

static int open_device(const struct embed_options *o, const struct embed_run *r,
		       struct vgpu **out)
{
	bool traced = r->trace && o->device.trace;
	struct part part;
	struct vgpu_config config = {
		.size = sizeof(config),
		.chunk_bytes = (uint32_t)o->device.chunk_bytes,
		.host_bytes = r->host_bytes,
		.nvme_bytes = r->arena ? device_nvme_bytes(&o->device) : 0,
		.nvme_path = r->arena ? o->device.nvme_path : NULL,
		.policy = device_policies[o->device.policy],
		.io_engine = device_engines[o->device.engine],
		.backend = device_backends[o->device.backend],
		.threads = o->device.threads,
		.staging_bytes = o->device.staging_bytes,
		.trace_path = traced ? part.at : NULL,
	};

	int rc = traced ? part_find(o->device.trace, &part) : 0;

	if (rc)
		return rc;
	return o->node ? vgpu_open(o->node, out) : vgpu_open_embedded(&config, out);
}

int embed_measure(const struct embed_options *o, const struct bert_model *model,
		  const struct embed_texts *texts, struct embed_run *r, uint32_t passes_max,
		  struct vgpu **out_v, struct bert *out_b)
{
	struct vgpu *v;
	struct bert b;
	int rc;

	r->out = calloc((size_t)texts->count * model->hidden, sizeof(*r->out));
	if (!r->out)
		return -ENOMEM;
	process_peak_reset();
	rc = open_device(o, r, &v);
	if (rc)
		return refuse(r, rc);
	rc = run_on(&b, model, v, texts, r, passes_max);
	if (rc && rc != -EINTR)
		rc = refuse(r, rc);
	if (!rc && !*r->refused && out_v) {
		*out_v = v;
		*out_b = b;
		return 0;
	}
	bert_unload(&b);
	vgpu_close(v);
	return rc;
}
