// SPDX-License-Identifier: MIT
#include "sampler.h"

/* The largest logit has weight 1, so that no exponential overflows. */
static double weight(const struct sampler *s, const float *logits, uint32_t i)
{
	return exp(((double)logits[i] - (double)logits[0]) / s->temperature);
}

uint32_t sampler_pick(struct sampler *s, const float *logits, uint32_t count)
{
	double sum = 0, left;

	if (!(s->temperature > 0))
		return 0;
	for (uint32_t i = 0; i < count; i++)
		sum += weight(s, logits, i);
	left = random_open(&s->random) * sum;
	for (uint32_t i = 0; i < count; i++) {
		left -= weight(s, logits, i);
		if (left <= 0)
			return i;
	}
	return 0;	/* only by rounding */
}
