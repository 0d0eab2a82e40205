// SPDX-License-Identifier: MIT
/*
 * vbrun generate: a text goes on, by a decoder whose weights lie in a host tier that is
 * smaller than they are. The text is on stdout as it appears, everything else on stderr.
 */
#include "generate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "process.h"

#define TOKENS 64u
#define SEED 1u
/* Candidates that Gemma's authors sample from. */
#define TOP 64u
/* Without --host: so much of the weights, and so much of the tier for intermediates. */
#define HOST_PARTS 4u
#define BATCH_PARTS 4u
/* What ends of objects may leave empty of their last chunks, of all weights. */
#define EMPTY_PARTS 8u
#define CHUNK_LEAST (64u << 10)

static const char *const modes[] = { "f32", "a16", "a8", "a8-256", NULL };
static const char *const kv_names[] = { "f32", "f16", "bf16", "int8", NULL };
static const enum vgpu_format kv_formats[] = { VGPU_FORMAT_F32, VGPU_FORMAT_F16, VGPU_FORMAT_BF16,
					       VGPU_FORMAT_Q8_0 };

/* --- how large ---------------------------------------------------------- */

static uint64_t host_bytes(const struct generation *g, uint32_t batch)
{
	struct gemma_size size = g->size;

	size.batch = batch;
	return gemma_host_bytes(&g->model, &size, g->o.device.chunk_bytes);
}

/* As many tokens of the prompt together as a part of the tier holds. */
static uint32_t choose_batch(const struct generation *g)
{
	uint64_t host = g->o.device.host_bytes, each = gemma_token_bytes(&g->model);
	uint32_t n = g->prompt_count < GEMMA_BATCH_MAX ? g->prompt_count : GEMMA_BATCH_MAX;

	while (n > 1 && (n * each > host / BATCH_PARTS || host_bytes(g, n) > host))
		n = (n + 1) / 2;
	return n;
}

/* An arena may take what finds no room, and who sets the reserve knows what else is left. */
static int check_host(const struct generation *g)
{
	const struct device_options *d = &g->o.device;
	struct kv_shape shape = gemma_kv_shape(&g->model, &g->size);
	uint64_t need = host_bytes(g, 1);

	if (d->nvme_path || d->staging_bytes || d->host_bytes >= need)
		return CLI_OK;
	return cli_fail("generate: --host %s is below the %s (%" PRIu64 " bytes) that two panels, "
			"intermediates and %s of keys and values of %u tokens need at chunks of %s",
			size_text(d->host_bytes).s, size_text(need).s, need,
			size_text(shape.layers * kv_cache_layer_bytes(&shape)).s, g->size.tokens,
			size_text(d->chunk_bytes).s);
}

/* Do all weights stay where they once are? */
static bool all_fit(const struct generation *g)
{
	const struct device_options *d = &g->o.device;

	return host_bytes(g, g->size.batch) + d->staging_bytes +
	       weights_resident(&g->model.weights, d->chunk_bytes) <= d->host_bytes;
}

/* Each matrix that is packed is an object, and its last chunk is partly empty. */
static uint64_t choose_chunk(const struct weights *w, uint64_t host)
{
	uint64_t chunk = vgpu_chunk_bytes(host);

	while (chunk > CHUNK_LEAST &&
	       weights_resident(w, chunk) - w->used_bytes > w->used_bytes / EMPTY_PARTS)
		chunk /= 2;
	return chunk;
}

static int choose_tier(struct generation *g)
{
	struct device_options *d = &g->o.device;
	uint64_t part = g->model.weights.used_bytes / HOST_PARTS, need;
	int rc;

	if (!d->chunk_bytes)
		d->chunk_bytes = choose_chunk(&g->model.weights,
					      d->host_bytes ? d->host_bytes : part);
	if (!d->host_bytes) {
		need = host_bytes(g, 1);
		d->host_bytes = need > part ? need : part;
		if (need > part && !g->o.json)
			fprintf(stderr, "host tier    %s, not a quarter of the weights: %u tokens need that\n",
				size_text(need).s, g->size.tokens);
	}
	rc = check_host(g);
	if (rc)
		return rc;
	g->size.batch = choose_batch(g);
	if (!d->staging_bytes)
		d->staging_bytes = weights_default_staging(&g->model.weights, d->host_bytes,
							   d->chunk_bytes);
	if (all_fit(g) && weights_group(&g->model.weights))
		return cli_fail("generate: a matrix is too large");
	return CLI_OK;
}

static int take_prompt(struct generation *g)
{
	int64_t n;

	if (!*g->o.prompt)
		return cli_fail("generate: the prompt is empty");
	n = spm_encode(g->model.words, g->o.prompt, &g->prompt);
	if (n < 0)
		return cli_fail("generate: the prompt: %s", strerror((int)-n));
	if ((uint64_t)n + g->o.tokens > g->model.context)
		return cli_fail("generate: %lld tokens of the prompt and --tokens %u are more than the "
				"%u of the model's context", (long long)n, g->o.tokens, g->model.context);
	g->prompt_count = (uint32_t)n;
	g->size.tokens = g->prompt_count + g->o.tokens;
	g->size.kv = kv_formats[g->o.kv];
	g->size.choices = g->o.temperature > 0 ? g->o.top : 1;
	if (g->size.choices > g->model.embedding->n)
		g->size.choices = g->model.embedding->n;
	return CLI_OK;
}

/* --- the run ------------------------------------------------------------ */

/* The next token, and whether it ends the text. */
static int choose(struct generation *g, int32_t *out)
{
	float logits[GEMMA_CHOICES_MAX];
	int32_t ids[GEMMA_CHOICES_MAX];
	int rc = gemma_choices(&g->g, logits, ids);

	if (!rc)
		*out = ids[sampler_pick(&g->sampler, logits, g->size.choices)];
	return rc;
}

static int say(struct generation *g, int32_t id)
{
	char bytes[SPM_PIECE_BYTES];

	g->made[g->made_count++] = id;
	g->ended = spm_is_end(g->model.words, id);
	return text_stream_add(&g->text, bytes, spm_decode(g->model.words, id, bytes));
}

/* Feed tokens and count what that took. */
static int feed(struct generation *g, const int32_t *ids, uint32_t count,
		struct generate_part *part)
{
	double start = size_now();
	int rc = gemma_feed(&g->g, ids, count);

	part->seconds += size_now() - start;
	part->tokens += count;
	return rc;
}

static int see_prompt(struct generation *g)
{
	struct progress progress;
	struct counters before;
	int rc;

	progress_begin(&progress, "prompt", 0);
	counters_read(g->v, &before);
	g->g.progress = &progress;
	rc = feed(g, g->prompt, g->prompt_count, &g->seen);
	g->g.progress = NULL;
	g->seen.c = counters_since(g->v, &before);
	progress_end(&progress);
	return rc;
}

static int decode(struct generation *g)
{
	struct counters before;
	int32_t id = 0;
	int rc;

	counters_read(g->v, &before);
	rc = choose(g, &id);
	if (!rc)
		rc = say(g, id);
	/* A text that nobody gets any more is not gone on with; cli_end() says why. */
	while (!rc && !g->ended && g->made_count < g->o.tokens &&
	       !(g->text.to && ferror(g->text.to))) {
		rc = feed(g, &id, 1, &g->decoded);
		if (!rc)
			rc = choose(g, &id);
		if (!rc)
			rc = say(g, id);
	}
	g->decoded.c = counters_since(g->v, &before);
	return rc;
}

static int run(struct generation *g)
{
	int rc = gemma_load(&g->g, &g->model, g->v, (enum vgpu_mode)g->o.mode, &g->size);

	if (!rc)
		rc = see_prompt(g);
	if (!rc)
		rc = decode(g);
	text_stream_end(&g->text);
	if (g->text.to && g->text.bytes && g->text.text[g->text.bytes - 1] != '\n')
		fputc('\n', g->text.to);
	g->peak = process_peak_bytes();
	if (rc == -EINTR)
		return CLI_INTERRUPTED;
	return rc ? cli_fail_vgpu(rc, "generate") : CLI_OK;
}

static int run_on_device(struct generation *g)
{
	int rc;

	g->made = calloc(g->o.tokens, sizeof(*g->made));
	if (!g->made)
		return cli_fail("out of memory");
	if (!g->o.json)
		generate_print_model(g);
	rc = device_open(&g->o.device, &g->v);
	if (rc)
		return rc;
	g->text.to = g->o.json ? NULL : stdout;
	g->sampler = (struct sampler){ g->o.temperature, { g->o.seed } };
	process_peak_reset();
	rc = run(g);
	if (!rc)
		rc = generate_report(g);
	gemma_unload(&g->g);
	vgpu_close(g->v);
	return device_trace_end(g->o.device.trace, rc);
}

static int generate(struct generation *g)
{
	struct vgpu_error error;
	int rc = CLI_OK;

	if (gemma_model_open(g->o.path, &g->model, &error))
		return cli_fail("%s", error.text);
	rc = take_prompt(g);
	if (!rc)
		rc = choose_tier(g);
	if (!rc)
		rc = run_on_device(g);
	text_stream_free(&g->text);
	free(g->prompt);
	free(g->made);
	gemma_model_close(&g->model);
	return rc;
}

static int settle(struct generation *g)
{
	struct generate_options *o = &g->o;

	if (!o->prompt)
		return cli_usage("generate: --prompt TEXT is missing");
	if (o->temperature <= 0 && (o->seed || o->top))
		return cli_usage("generate: %s is for --temperature above 0, which is not given",
				 o->seed ? "--seed" : "--top");
	o->seed = o->seed ? o->seed : SEED;
	o->top = o->top ? o->top : TOP;
	o->tokens = o->tokens ? o->tokens : TOKENS;
	return device_check_outputs((const char *[]){ o->save, o->device.trace }, 2);
}

int vbrun_generate(int argc, char **argv)
{
	struct generation g = { .o = { .mode = VGPU_MODE_A16 } };
	const struct cli_option options[] = {
		{ "prompt", CLI_TEXT, &g.o.prompt, "TEXT", "to go on from", NULL, 0, 0 },
		{ "tokens", CLI_NUMBER, &g.o.tokens, "N", "to make, at most (default 64)", NULL, 1,
		  1 << 24 },
		{ "temperature", CLI_REAL, &g.o.temperature, "T",
		  "draw among the likeliest (default 0: the likeliest)", NULL, 0, 100 },
		{ "top", CLI_NUMBER, &g.o.top, "K", "how many of them (default 64)", NULL, 1,
		  GEMMA_CHOICES_MAX },
		{ "seed", CLI_NUMBER, &g.o.seed, "N", "of the draws (default 1)", NULL, 1, 0 },
		{ "mode", CLI_CHOICE, &g.o.mode, "MODE", "activations: f32, a16 (default), a8 or a8-256", modes,
		  0, 0 },
		{ "kv", CLI_CHOICE, &g.o.kv, "FORMAT", "keys and values: f32 (default), f16, bf16 or int8",
		  kv_names, 0, 0 },
		DEVICE_OPTIONS(g.o.device),
		{ "json", CLI_FLAG, &g.o.json, NULL, "summary as JSON", NULL, 0, 0 },
		{ "save", CLI_TEXT, &g.o.save, "FILE", "summary as JSON there, text here", NULL, 0, 0 },
		{ 0 }
	};
	const struct cli_command command = {
		"vbrun generate", "MODEL", "Let a text go on, by a decoder whose weights are tiered.",
		options, 1, 1,
		"MODEL is a .gguf file of architecture gemma3; tools/fetch-models.sh gemma gets one, under\n"
		"terms of its own. The text is on stdout as it appears, the summary on stderr. Blocks\n"
		"are packed when they are needed, with the same values, or to int8 where no product takes\n"
		"such. --host is a quarter of the weights unless given, or what the tokens need; --chunk\n"
		"is 2M, or less where the tier would have fewer than 120.\n"
	};
	unsigned int count;
	int rc;

	device_defaults(&g.o.device, 0);
	rc = cli_parse(&command, argc, argv, &count);
	if (rc == CLI_RUN)
		rc = device_check(&g.o.device);
	if (rc == CLI_RUN)
		rc = settle(&g);
	if (rc != CLI_RUN)
		return rc;
	g.o.path = argv[1];
	return generate(&g);
}
