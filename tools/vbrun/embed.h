/* SPDX-License-Identifier: MIT */
/* vbrun embed: the parts of the command. */
#ifndef VBRUN_EMBED_H
#define VBRUN_EMBED_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "bert.h"
#include "device.h"

/* Most tokens of a batch: its command buffer stays well below 1 MiB. */
#define EMBED_TOKENS_MAX 2048u
/* A host tier that holds MiniLM, its checkpoint and a large batch. */
#define EMBED_IN_MEMORY ((uint64_t)1 << 30)

/**
 * struct embed_options - what was asked for
 * @device: budgets and engines; of those of @node, only what it says of itself
 * @node: device of another process, or NULL: one of our own
 * @vectors: file that gets the embeddings as raw float32, or NULL
 * @passes: later passes at most
 * @folder: of the model, NULL: the cached one or a generated one
 * @format: index into embed_formats
 * @mode: enum vgpu_mode
 * @packed: index into embed_packed: how packed weights come to be
 * @layers_int8: "0,3-5" or NULL
 * @json, @bench: how to report
 * @save: file that gets the JSON too, or NULL
 * @accuracy: over the built-in sentences, and of MXFP4 layer by layer
 * @goal: Spearman that INT8 layers are to restore
 * @sentences: how many of the built-in ones
 * @compare: ask for the other runs, which is the default
 * @no_compare: only the run that was asked for
 */
struct embed_options {
	struct device_options device;
	const char *node, *vectors, *folder, *layers_int8, *save;
	uint32_t format, mode, packed, sentences, passes;
	double goal;
	bool json, bench, accuracy, compare, no_compare;
};

/**
 * struct embed_texts - texts and their tokens
 * @text: as given
 * @token: [@count]
 * @count: how many
 * @longest: most tokens of one
 * @tokens: of all
 */
struct embed_texts {
	const char *const *text;
	struct bert_text *token;
	uint32_t count, longest, tokens;
};

/**
 * struct embed_run - one way to run the model, and what came of it
 * @label: for people
 * @formats: of the layers
 * @mode: of activations before packed weights
 * @host_bytes: host tier
 * @arena: with the arena of the options; one device at a time has it
 * @trace: recorded in the file of the options
 * @refused: why it could not run, "" when it did
 * @cold: seconds of the first pass over the texts
 * @steady: seconds of a later pass, median
 * @passes: later passes
 * @c: counters of the later passes
 * @weight_bytes: of the matrices
 * @staging_bytes: of the tier
 * @idle_bytes: most that was resident of the process before the first pass: what a run
 *	that makes no pass would have
 * @peak_bytes: and until the last
 * @load: seconds to make the objects, and the packed file when it was not there
 * @packed_path: file with the packed matrices, or ""
 * @out: f32 [count][hidden]
 */
struct embed_run {
	char label[48];
	enum vgpu_format formats[BERT_LAYERS_MAX];
	enum vgpu_mode mode;
	uint64_t host_bytes;
	bool arena, trace;
	char refused[256];
	double load, cold, steady;
	char packed_path[4096];
	uint32_t passes;
	struct counters c;
	uint64_t weight_bytes, staging_bytes, idle_bytes, peak_bytes;
	float *out;
};

/* Set all layers of a run to one format. */
void embed_run_formats(struct embed_run *r, enum vgpu_format format);
/* Bytes of the matrices in the formats of a run. */
uint64_t embed_run_bytes(const struct bert_model *model, const struct embed_run *r);

/* Tokens of a batch in a tier of this size: the longest text, or more when there is room. */
uint32_t embed_batch_tokens(const struct bert_model *model, const struct embed_texts *texts,
			    uint64_t host_bytes);

/**
 * embed_texts_take() - tokenize
 * Return: 0, -ENOMEM.
 */
int embed_texts_take(const struct bert_model *model, const char *const *text, uint32_t count,
		     struct embed_texts *out);
void embed_texts_free(struct embed_texts *t);

/**
 * embed_measure() - run, on a device of its own or that of @o->node
 * @b: stays loaded on @v when both are given, for a look at where objects lie; else NULL
 * @passes_max: later passes at most
 *
 * A device that refuses (tier too small) is not an error: @r->refused says why.
 * Return: 0; -EINTR; -ENOMEM; what the device said while it ran.
 */
int embed_measure(const struct embed_options *o, const struct bert_model *model,
		  const struct embed_texts *texts, struct embed_run *r, uint32_t passes_max,
		  struct vgpu **v, struct bert *b);

/**
 * embed_accuracy() - the model over the built-in sentences, against F32 and float64
 * @o: @o->goal is what MXFP4 layers turn to INT8 for, the worst first, until it is reached
 * @asked: formats and mode of the run that was asked for
 * @json: figures go there; as text too unless @o->json
 *
 * Return: exit status.
 */
int embed_accuracy(const struct embed_options *o, const struct bert_model *model,
		   const struct embed_run *asked, struct json_object *json);

/* The ways to run. */
enum { EMBED_RUN_ASKED, EMBED_RUN_MEMORY, EMBED_RUN_F32_TIER, EMBED_RUN_F32_MEMORY, EMBED_RUNS };

/**
 * struct embed - one invocation
 * @o: options
 * @model: on disk
 * @texts: to embed
 * @runs: EMBED_RUN_*; a run that was not made has no @out
 * @v: device of EMBED_RUN_ASKED, kept for a look at it
 * @b: the model on it
 */
struct embed {
	struct embed_options o;
	struct bert_model model;
	struct embed_texts texts;
	struct embed_run runs[EMBED_RUNS];
	struct vgpu *v;
	struct bert b;
};

/**
 * embed_report() - say what came of the runs, as the options want it
 * @e: all runs made; the first one's device is still open
 *
 * Return: exit status.
 */
int embed_report(struct embed *e);

extern const char *const embed_formats[];
extern const char *const embed_modes[];

/** vbrun_embed() - the command; returns its exit status */
int vbrun_embed(int argc, char **argv);

#endif
