// SPDX-License-Identifier: MIT
/*
 * The kernels of the CPU at every level, against the reference.  An input is a number of up to
 * 64 bits, little-endian, and says all that is drawn (tests/common/product_draw.h and others):
 * of each eight four are products, one is a product from the left, one attention, one a layer
 * operation, and one is packed.
 *
 * Bits of a number are like no others, so nothing is gained from changing those of one that
 * was good: inputs are one number after the other, from VB_SEED on (0), and the same each time.
 * Kernels and draws are gcc's, without instrumentation: what they read or write beyond their
 * operands meets a page without access.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/attention_draw.h"
#include "common/layer_draw.h"
#include "common/pack_draw.h"
#include "common/product_draw.h"
#include "common/transposed_draw.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __asan_on_error(void);

static uint64_t next;

/* What numbers draw, by turns. */
static const struct turn {
	const char *(*draw)(uint64_t number);
	const char *(*said)(void);
} turns[8] = {
	[0 ... 3] = { product_draw, product_draw_said },
	[4] = { transposed_draw, transposed_draw_said },
	[5] = { attention_draw, attention_draw_said },
	[6] = { layer_draw, layer_draw_said },
	[7] = { pack_draw, pack_draw_said },
}, *now = turns;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *seed = getenv("VB_SEED");

	(void)argc;
	(void)argv;
	next = seed ? strtoull(seed, NULL, 0) : 0;
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	(void)size;
	(void)seed;
	if (max_size < sizeof(next))
		return 0;
	memcpy(data, &next, sizeof(next));
	next++;
	return sizeof(next);
}

/* A fault says no more than where it was. */
void __asan_on_error(void)
{
	fprintf(stderr, "%s\n", now->said());
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t number = 0;
	const char *problem;

	memcpy(&number, data, size < sizeof(number) ? size : sizeof(number));
	now = &turns[number % 8];
	problem = now->draw(number);
	if (!problem)
		return 0;
	fprintf(stderr, "%llu: %s\n", (unsigned long long)number, problem);
	abort();
}
