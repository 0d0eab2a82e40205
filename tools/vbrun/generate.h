/* SPDX-License-Identifier: MIT */
#ifndef VBRUN_GENERATE_H
#define VBRUN_GENERATE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/conversions.h"
#include "device.h"
#include "gemma.h"
#include "sampler.h"
#include "text_stream.h"
#include "vgpu.h"

/**
 * struct generate_options - what `vbrun generate` was asked for
 * @device: budgets and engines
 * @path: model
 * @prompt: text to go on from
 * @save: file that gets the JSON too, or NULL
 * @temperature: 0: always the likeliest token
 * @tokens: to make, at most
 * @top: candidates, where a temperature is given
 * @seed: of the choices
 * @mode: index of enum vgpu_mode
 * @kv: which of the formats that keys and values may have
 * @json: summary instead of text
 */
struct generate_options {
	struct device_options device;
	const char *path, *prompt, *save;
	double temperature;
	uint32_t tokens, top, seed, mode, kv;
	bool json;
};

/**
 * struct generate_part - the prompt, or what was made from it
 * @tokens: that the model saw
 * @seconds: wall time
 * @c: counters
 */
struct generate_part {
	uint32_t tokens;
	double seconds;
	struct counters c;
};

/**
 * struct generation - one invocation
 * @o: options
 * @model: on disk
 * @v: device
 * @g: the model on it
 * @sampler: chooses
 * @size: of the run
 * @prompt: ids, @prompt_count of them
 * @made: ids of the tokens that were made, @made_count of them
 * @ended: the model ended the text
 * @text: of @made
 * @seen: the prompt
 * @decoded: all tokens after it but the last, one at a time
 * @peak: most resident bytes of the process
 */
struct generation {
	struct generate_options o;
	struct gemma_model model;
	struct vgpu *v;
	struct gemma g;
	struct sampler sampler;
	struct gemma_size size;
	int32_t *prompt, *made;
	uint32_t prompt_count, made_count;
	bool ended;
	struct text_stream text;
	struct generate_part seen, decoded;
	uint64_t peak;
};

/** generate_print_model() - what runs and how its weights are used, on stderr */
void generate_print_model(const struct generation *g);

/**
 * generate_report() - the summary: text on stderr, JSON as the options say
 *
 * Return: exit status.
 */
int generate_report(const struct generation *g);

/** vbrun_generate() - the command; returns its exit status */
int vbrun_generate(int argc, char **argv);

#endif
