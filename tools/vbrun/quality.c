// SPDX-License-Identifier: MIT
/*
 * vbrun quality: what rounding costs a decoder. Variants of one model see the same text at the
 * same time, and each is compared, token by token, with the values of the file in F32. All their
 * weights are in memory: a tier does not change a bit of the result.
 */
#include "quality.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/size.h"

#define TOKENS 20000u
#define CONTEXT 512u
/* Logits that are held together, of each variant. */
#define ROWS 32u
#define CHUNK_BYTES (256u << 10)

static const struct {
	enum quality_weights weights;
	enum vgpu_mode mode;
} variants[QUALITY_VARIANTS] = {
	{ QUALITY_F32, VGPU_MODE_F32 },
	{ QUALITY_FILE, VGPU_MODE_F32 }, { QUALITY_FILE, VGPU_MODE_A16 }, { QUALITY_FILE, VGPU_MODE_A8 },
	{ QUALITY_INT8, VGPU_MODE_A16 }, { QUALITY_INT8, VGPU_MODE_A8 },
	{ QUALITY_MXFP4, VGPU_MODE_A16 }, { QUALITY_MXFP4, VGPU_MODE_A8 },
};

/* --- models and text ---------------------------------------------------- */

/* Blocks of MXFP4 and Q8_0 are regrouped, never rounded. */
static bool is_only_regrouped(enum vgpu_format format)
{
	return format == VGPU_FORMAT_MXFP4 || format == VGPU_FORMAT_MXFP4_SPLIT ||
	       format == VGPU_FORMAT_Q8_0;
}

/* What a matrix becomes. */
static enum vgpu_format format_of(const struct weight *w, enum quality_weights weights)
{
	enum vgpu_format format = weights == QUALITY_MXFP4 ? VGPU_FORMAT_MXFP4_G16 :
							     VGPU_FORMAT_INT8_G16;

	if (weights == QUALITY_F32)
		return VGPU_FORMAT_F32;
	if (weights == QUALITY_FILE ||
	    (is_only_regrouped(w->format) && !vgpu_pack_is_exact(w->format, format)))
		return w->used;
	return format;
}

static int use_weights(struct weights *all, enum quality_weights weights)
{
	int rc = 0;

	all->used_bytes = 0;
	for (size_t i = 0; i < all->count && !rc; i++) {
		rc = weights_use(&all->list[i], format_of(&all->list[i], weights));
		all->used_bytes += all->list[i].used_bytes;
	}
	return rc;
}

/* Does a matrix hold the file's values when it is used so? */
static bool has_values(const struct weight *w, enum vgpu_format format)
{
	return format == w->format || vgpu_pack_is_exact(w->format, format);
}

/* Would every matrix hold the values that it has as it is used? */
static bool is_same(const struct weights *all, enum quality_weights weights)
{
	bool same = weights != QUALITY_F32 && weights != QUALITY_FILE;

	for (size_t i = 0; i < all->count && same; i++) {
		const struct weight *w = &all->list[i];
		enum vgpu_format format = format_of(w, weights);

		same = format == w->used || (has_values(w, format) && has_values(w, w->used));
	}
	return same;
}

static int open_variant(struct quality *q, enum quality_weights weights, enum vgpu_mode mode)
{
	struct quality_variant *a = &q->variant[q->variants];
	struct vgpu_error error;
	int rc;

	a->weights = weights;
	a->mode = mode;
	if (gemma_model_open(q->o.path, &a->model, &error))
		return cli_fail("%s", error.text);
	if (is_same(&a->model.weights, weights)) {
		gemma_model_close(&a->model);
		return CLI_OK;
	}
	q->variants++;
	rc = use_weights(&a->model.weights, a->weights);
	if (!rc)
		rc = agreement_open(&a->sums, q->o.tokens);
	return rc ? cli_fail("quality: %s", strerror(-rc)) : CLI_OK;
}

/* A whole file as text; NULL: said why not. */
static char *read_text(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t room = 0;
	ssize_t bytes;

	if (!file) {
		cli_fail("%s: %s", path, strerror(errno));
		return NULL;
	}
	/* All up to a NUL, which no text has. */
	bytes = getdelim(&text, &room, '\0', file);
	if (bytes < 1 || ferror(file) || !feof(file)) {
		cli_fail("%s: %s", path, ferror(file) ? strerror(errno) : "is no text");
		free(text);
		text = NULL;
	}
	fclose(file);
	return text;
}

static int take_begin(struct quality *q)
{
	int32_t *ids = NULL;
	int64_t n = spm_encode(q->variant[0].model.words, "", &ids);

	if (n == 1)
		q->begin = ids[0];
	free(ids);
	return n == 1 ? CLI_OK : cli_fail("quality: %s has no token that begins a text", q->o.path);
}

static int take_text(struct quality *q)
{
	char *text = read_text(q->o.text);
	int64_t n;
	int rc;

	if (!text)
		return CLI_FAILED;
	n = spm_encode(q->variant[0].model.words, text, &q->ids);
	free(text);
	if (n < 0)
		return cli_fail("quality: %s: %s", q->o.text, strerror((int)-n));
	rc = take_begin(q);
	if (rc)
		return rc;
	/* The first is the one that begins it. */
	if (n - 1 < q->o.tokens)
		return cli_fail("quality: %s has %lld tokens, --tokens %u are wanted", q->o.text,
				(long long)(n - 1), q->o.tokens);
	q->count = (uint32_t)n - 1;
	memmove(q->ids, q->ids + 1, q->count * sizeof(*q->ids));
	return CLI_OK;
}

int quality_open(struct quality *q)
{
	uint32_t context;
	int rc = CLI_OK;

	for (uint32_t i = 0; i < QUALITY_VARIANTS && !rc; i++)
		rc = open_variant(q, variants[i].weights, variants[i].mode);
	if (rc)
		return rc;
	context = q->variant[0].model.context;
	if (q->o.context > context)
		return cli_fail("quality: --context %u is more than the %u of the model", q->o.context,
				context);
	return take_text(q);
}

void quality_close(struct quality *q)
{
	for (uint32_t i = 0; i < q->variants; i++) {
		agreement_close(&q->variant[i].sums);
		gemma_model_close(&q->variant[i].model);
	}
	for (uint32_t i = 0; i < 2; i++)
		free(q->logits[i]);
	free(q->p);
	free(q->ids);
	q->p = NULL;
	q->ids = NULL;
	q->logits[0] = q->logits[1] = NULL;
}

/* --- the run ------------------------------------------------------------ */

static struct gemma_size size_of(const struct quality *q)
{
	uint32_t context = q->o.context;

	return (struct gemma_size){
		.tokens = context, .batch = context < GEMMA_BATCH_MAX ? context : GEMMA_BATCH_MAX,
		.choices = 1, .rows = ROWS, .kv = VGPU_FORMAT_F32,
	};
}

/* Everything of all variants, each object in whole chunks, and what is kept for transfers. */
static uint64_t host_bytes(const struct quality *q)
{
	struct gemma_size size = size_of(q);
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < q->variants; i++) {
		const struct gemma_model *m = &q->variant[i].model;

		bytes += gemma_host_bytes(m, &size, CHUNK_BYTES) + m->weights.used_bytes +
			 m->weights.count * (uint64_t)CHUNK_BYTES;
	}
	return bytes + bytes / 8;
}

static int load(struct quality *q)
{
	struct gemma_size size = size_of(q);
	uint64_t values = (uint64_t)ROWS * q->variant[0].model.embedding->n;
	int rc = 0;

	for (uint32_t i = 0; i < q->variants && !rc; i++)
		rc = gemma_load(&q->variant[i].g, &q->variant[i].model, q->v, q->variant[i].mode, &size);
	for (uint32_t i = 0; i < 2; i++)
		q->logits[i] = calloc(values, sizeof(*q->logits[i]));
	q->p = calloc(values, sizeof(*q->p));
	return rc ? rc : q->logits[0] && q->logits[1] && q->p ? 0 : -ENOMEM;
}

/* Compare what follows each of some tokens of the last batch; @next: what does in the text. */
static int compare_rows(struct quality *q, uint32_t first, uint32_t count, const int32_t *next)
{
	uint32_t words = q->variant[0].model.embedding->n;
	struct agreement_row row[ROWS];
	int rc = gemma_row_logits(&q->variant[0].g, first, count, q->logits[0]);

	for (uint32_t r = 0; r < count && !rc; r++)
		agreement_row(q->logits[0] + (size_t)r * words, words, next[r], q->p + (size_t)r * words,
			      &row[r]);
	for (uint32_t i = 0; i < q->variants && !rc; i++) {
		struct quality_variant *a = &q->variant[i];
		const float *logits = q->logits[i > 0];

		if (i)
			rc = gemma_row_logits(&a->g, first, count, q->logits[1]);
		for (uint32_t r = 0; r < count && !rc; r++)
			agreement_add(&a->sums, &row[r], logits + (size_t)r * words);
	}
	return rc;
}

static int run_batch(struct quality *q, const int32_t *ids, uint32_t n, const int32_t *next)
{
	int rc = 0;

	for (uint32_t i = 0; i < q->variants && !rc; i++)
		rc = gemma_feed(&q->variant[i].g, ids, n);
	for (uint32_t first = 0; first < n && !rc; first += ROWS)
		rc = progress_interrupted() ? -EINTR :
		     compare_rows(q, first, n - first < ROWS ? n - first : ROWS, next + first);
	return rc;
}

/* Foretell @n tokens from the one that begins a text and those before them in the stretch. */
static int run_stretch(struct quality *q, const int32_t *next, uint32_t n)
{
	uint32_t batch = size_of(q).batch, count;
	int32_t ids[GEMMA_BATCH_MAX];
	int rc = 0;

	for (uint32_t i = 0; i < q->variants; i++)
		gemma_forget(&q->variant[i].g);
	for (uint32_t done = 0; done < n && !rc; done += count) {
		count = n - done < batch ? n - done : batch;
		ids[0] = done ? next[done - 1] : q->begin;
		memcpy(ids + 1, next + done, (count - 1) * sizeof(*ids));
		rc = run_batch(q, ids, count, next + done);
	}
	return rc;
}

/* How far it is, on a terminal: a run takes minutes. */
static void tell(const struct quality *q, uint32_t done)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%u of %u tokens%s", done, q->o.tokens, done < q->o.tokens ? "" : "\n");
}

static int run_text(struct quality *q)
{
	double start = size_now();
	int rc = load(q);

	for (uint32_t done = 0, n; done < q->o.tokens && !rc; done += n) {
		n = q->o.tokens - done < q->o.context ? q->o.tokens - done : q->o.context;
		rc = run_stretch(q, q->ids + done, n);
		tell(q, done + n);
	}
	for (uint32_t i = 0; i < q->variants; i++) {
		gemma_unload(&q->variant[i].g);
		if (!rc)
			q->variant[i].figures = agreement_figures(&q->variant[i].sums);
	}
	q->seconds = size_now() - start;
	return rc;
}

int quality_run(struct quality *q)
{
	int rc;

	q->o.device.chunk_bytes = CHUNK_BYTES;
	q->o.device.host_bytes = host_bytes(q);
	rc = device_open(&q->o.device, &q->v);
	if (rc)
		return rc;
	rc = run_text(q);
	if (rc && rc != -EINTR)
		rc = cli_fail_vgpu(rc, "quality");
	vgpu_close(q->v);
	return rc == -EINTR ? CLI_INTERRUPTED : rc;
}

int vbrun_quality(int argc, char **argv)
{
	struct quality q = { .o = { .tokens = TOKENS, .context = CONTEXT } };
	const struct cli_option options[] = {
		{ "text", CLI_TEXT, &q.o.text, "FILE", "UTF-8 to foretell", NULL, 0, 0 },
		{ "tokens", CLI_NUMBER, &q.o.tokens, "N", "of it (default 20000)", NULL, 1, 1 << 24 },
		{ "context", CLI_NUMBER, &q.o.context, "N",
		  "tokens that are seen together (default 512)", NULL, 1, 1 << 24 },
		{ "threads", CLI_NUMBER, &q.o.device.threads, "N",
		  "threads that compute (default: VBLACKWELL_THREADS, or all CPUs)", NULL, 1, 1024 },
		{ "json", CLI_FLAG, &q.o.json, NULL, "summary as JSON", NULL, 0, 0 },
		{ "bench", CLI_FLAG, &q.o.bench, NULL, "lines for bench.jsonl", NULL, 0, 0 },
		{ 0 }
	};
	const struct cli_command command = {
		"vbrun quality", "MODEL", "What rounding costs a decoder, on a text.", options, 1, 1,
		"MODEL is a .gguf file of architecture gemma3. Perplexity, KL divergence and top-1 agreement\n"
		"of the weights as generate uses them, as INT8 and as MXFP4, with activations of modes A16\n"
		"and A8, each beside the file's own values in F32. All of them are in memory together: 13\n"
		"times the file.\n"
	};
	unsigned int count;
	int rc;

	device_defaults(&q.o.device, CHUNK_BYTES);
	rc = cli_parse(&command, argc, argv, &count);
	if (rc == CLI_RUN && !q.o.text)
		rc = cli_usage("quality: --text FILE is missing");
	if (rc != CLI_RUN)
		return rc;
	q.o.path = argv[1];
	rc = quality_open(&q);
	if (!rc)
		rc = quality_run(&q);
	if (!rc)
		rc = quality_report(&q);
	quality_close(&q);
	return rc;
}
