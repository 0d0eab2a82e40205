// SPDX-License-Identifier: MIT
#include "agreement.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int agreement_open(struct agreement *a, uint32_t tokens)
{
	*a = (struct agreement){ .room = tokens };
	a->kl = calloc(tokens, sizeof(*a->kl));
	return a->kl ? 0 : -ENOMEM;
}

void agreement_close(struct agreement *a)
{
	free(a->kl);
	memset(a, 0, sizeof(*a));
}

static uint32_t largest(const float *x, uint32_t count)
{
	uint32_t top = 0;

	for (uint32_t i = 1; i < count; i++)
		if (x[i] > x[top])
			top = i;
	return top;
}

/* log of the sum of e^x; @p, unless NULL, receives e^x over that sum. */
static double log_sum(const float *x, uint32_t count, uint32_t top, double *p)
{
	double max = x[top], sum = 0, e;

	for (uint32_t i = 0; i < count; i++) {
		e = exp(x[i] - max);
		sum += e;
		if (p)
			p[i] = e;
	}
	for (uint32_t i = 0; p && i < count; i++)
		p[i] /= sum;
	return max + log(sum);
}

void agreement_row(const float *logits, uint32_t count, int32_t next, double *p,
		   struct agreement_row *row)
{
	*row = (struct agreement_row){ .logits = logits, .p = p, .count = count, .next = next };
	row->top = largest(logits, count);
	row->log_sum = log_sum(logits, count, row->top, p);
	row->surprise = row->log_sum - logits[next];
}

void agreement_add(struct agreement *a, const struct agreement_row *other, const float *logits)
{
	uint32_t top = largest(logits, other->count);
	double sum = log_sum(logits, other->count, top, NULL), kl = 0, difference, excess, surprise;

	for (uint32_t i = 0; i < other->count; i++) {
		difference = (double)other->logits[i] - logits[i];
		kl += other->p[i] * difference;
		a->error += difference * difference;
		a->size += (double)other->logits[i] * other->logits[i];
	}
	/* Sum of p (log p - log q). Never below 0 but for its own rounding. */
	a->kl[a->tokens++] = fmax(kl - (other->log_sum - sum), 0);
	surprise = sum - logits[other->next];
	excess = surprise - other->surprise;
	a->surprise += surprise;
	a->surprise_squares += surprise * surprise;
	a->excess += excess;
	a->excess_squares += excess * excess;
	a->same_top += top == other->top;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Standard error of a mean; 0 of a single value. */
static double mean_error(double sum, double squares, uint32_t n)
{
	double spread = squares - sum * sum / n;

	return n > 1 && spread > 0 ? sqrt(spread / (n - 1) / n) : 0;
}

struct agreement_figures agreement_figures(struct agreement *a)
{
	uint32_t n = a->tokens;
	struct agreement_figures f = {
		.perplexity = exp(a->surprise / n),
		.ratio = exp(a->excess / n),
		.same_top = (double)a->same_top / n,
		.nmse = a->size > 0 ? a->error / a->size : 0,
	};

	/* To first order the relative error of e^x is the error of x. */
	f.perplexity_error = f.perplexity * mean_error(a->surprise, a->surprise_squares, n);
	f.ratio_error = f.ratio * mean_error(a->excess, a->excess_squares, n);
	for (uint32_t i = 0; i < n; i++)
		f.kl += a->kl[i] / n;
	qsort(a->kl, n, sizeof(*a->kl), by_value);
	f.kl_p99 = a->kl[(uint32_t)ceil(0.99 * n) - 1];
	return f;
}
