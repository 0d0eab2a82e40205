/* SPDX-License-Identifier: MIT */
#ifndef VBRUN_QUALITY_H
#define VBRUN_QUALITY_H

#include <stdbool.h>
#include <stdint.h>

#include "agreement.h"
#include "device.h"
#include "gemma.h"
#include "vgpu.h"

/* What the matrices of a variant are. */
enum quality_weights {
	QUALITY_F32,	/* the file's values, decoded */
	QUALITY_FILE,	/* as vbrun generate uses them */
	QUALITY_INT8,	/* packed wherever the file's type can be; else as it is used */
	QUALITY_MXFP4,
};

/* Most variants; the first one is what the others are compared with. */
#define QUALITY_VARIANTS 8u

/**
 * struct quality_variant - a model of the text
 * @weights: what its matrices are
 * @mode: of activations
 * @model: on disk
 * @g: on the device
 * @sums: beside the first variant
 * @figures: of them, at the end
 */
struct quality_variant {
	enum quality_weights weights;
	enum vgpu_mode mode;
	struct gemma_model model;
	struct gemma g;
	struct agreement sums;
	struct agreement_figures figures;
};

/**
 * struct quality_options - what `vbrun quality` was asked for
 * @device: threads alone are the user's
 * @path: model
 * @text: file
 * @tokens: of the text that are foretold
 * @context: tokens that are seen together, each stretch from the one that begins a text on
 * @json: a summary instead of a table; @bench: lines for bench.jsonl
 */
struct quality_options {
	struct device_options device;
	const char *path, *text;
	uint32_t tokens, context;
	bool json, bench;
};

/**
 * struct quality - one invocation
 * @o: options
 * @variant: @variants of them. INT8 is left out where its values are those of the file
 * @v: device
 * @ids: of the text, @count of them
 * @begin: the token that begins a text
 * @logits: f32 [rows][vocabulary]: of the first variant, and of another one
 * @p: f64 [rows][vocabulary]: of the first variant
 * @seconds: wall time of all models together
 */
struct quality {
	struct quality_options o;
	struct quality_variant variant[QUALITY_VARIANTS];
	struct vgpu *v;
	int32_t *ids, begin;
	uint32_t variants, count;
	float *logits[2];
	double *p, seconds;
};

/* Texts for people and for lines: "int8", "a16". */
const char *quality_weights_name(enum quality_weights weights);
const char *quality_mode_name(enum vgpu_mode mode);

/**
 * quality_open() - open the model once for each variant, and take the text
 * @q: with options; quality_close() it, also after an error
 *
 * Return: CLI_OK; CLI_FAILED, said on stderr.
 */
int quality_open(struct quality *q);
void quality_close(struct quality *q);

/**
 * quality_run() - all figures
 *
 * Return: CLI_OK; CLI_FAILED, said on stderr; CLI_INTERRUPTED.
 */
int quality_run(struct quality *q);

/* The table, the summary or the lines.  Return: CLI_OK; CLI_FAILED, said on stderr. */
int quality_report(const struct quality *q);

/** vbrun_quality() - the command; returns its exit status */
int vbrun_quality(int argc, char **argv);

#endif
