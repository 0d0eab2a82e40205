/* SPDX-License-Identifier: MIT */
/* Which of the likeliest tokens comes next. */
#ifndef VBRUN_SAMPLER_H
#define VBRUN_SAMPLER_H

#include <stdint.h>

#include "random.h"

/**
 * struct sampler - how to choose
 * @temperature: logits are divided by it; 0: always the likeliest
 * @random: a draw is taken from it for each token, but not at temperature 0
 */
struct sampler {
	double temperature;
	struct random random;
};

/**
 * sampler_pick() - choose one
 * @logits: descending, @count of them, at least 1; finite
 *
 * The same seed and logits give the same choices.
 * Return: index into @logits.
 */
uint32_t sampler_pick(struct sampler *s, const float *logits, uint32_t count);

#endif
