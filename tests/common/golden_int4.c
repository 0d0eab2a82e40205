// SPDX-License-Identifier: MIT
#include "common/golden_int4.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "kernels/formats/int4_layer.h"

#define CASES_OF(prefix, scheme) \
	{ prefix "_32", scheme, 32, 32, true }, \
	{ prefix "_64", scheme, 64, 64, true }, \
	{ prefix "_128", scheme, 128, 128, true }, \
	{ prefix "_all", scheme, -1, 32, true },	/* 160 inputs */ \
	{ prefix "_even_32", scheme, 32, 32, false }, \
	{ prefix "_even_64", scheme, 64, 64, false }, \
	{ prefix "_even_128", scheme, 128, 128, false }, \
	{ prefix "_even_all", scheme, -1, 128, false }, \
	{ prefix "_least", scheme, 32, 32, true }

const struct golden_int4_case golden_int4_cases[GOLDEN_INT4_CASES] = {
	CASES_OF("awq", VGPU_INT4_AWQ),
	CASES_OF("gptq", VGPU_INT4_GPTQ),
	CASES_OF("gptq_v2", VGPU_INT4_GPTQ_V2),
	{ "gptq_short", VGPU_INT4_GPTQ, 128, 64, true },	/* 320 inputs */
	{ "gptq_v2_short", VGPU_INT4_GPTQ_V2, 128, 64, true },
};

/* At an odd address, and with nothing behind it. */
static const struct vgpu_tensor *read_part(const struct vgpu_checkpoint *ck, const char *layer,
					   const char *part, void **out_memory)
{
	const struct vgpu_tensor *t;
	char name[32];

	snprintf(name, sizeof(name), "%s.%s", layer, part);
	t = vgpu_checkpoint_find(ck, name);
	*out_memory = t ? malloc(t->bytes + 1) : NULL;
	if (!t)
		return NULL;
	assert_non_null(*out_memory);
	assert_int_equal(pread(vgpu_checkpoint_file_fd(ck, t->file), (uint8_t *)*out_memory + 1,
			       t->bytes, (off_t)t->offset), t->bytes);
	return t;
}

static void read_values(const struct vgpu_checkpoint *ck, const char *layer, struct golden_int4 *g)
{
	const struct vgpu_tensor *t;
	char name[32];

	snprintf(name, sizeof(name), "%s.values", layer);
	t = vgpu_checkpoint_find(ck, name);
	assert_non_null(t);
	assert_int_equal(t->shape[0], g->layer.n);
	assert_int_equal(t->shape[1], g->layer.k);
	g->values = malloc(t->bytes);
	assert_non_null(g->values);
	assert_int_equal(pread(vgpu_checkpoint_file_fd(ck, t->file), g->values, t->bytes,
			       (off_t)t->offset), t->bytes);
}

void golden_int4_open(struct golden_int4 *g, const struct golden_int4_case *c)
{
	static const char *const names[4] = { "qweight", "qzeros", "scales", "g_idx" };
	struct vgpu_int4_source src = { .scheme = c->scheme, .bits = 4, .group = c->group };
	struct vgpu_int4_part *parts[4] = { &src.qweight, &src.qzeros, &src.scales, &src.g_idx };
	struct vgpu_checkpoint *ck;
	struct vgpu_error err;

	assert_int_equal(vgpu_checkpoint_open(TEST_DATA "/int4_layers.safetensors", &ck, NULL), 0);
	for (uint32_t i = 0; i < 4; i++) {
		parts[i]->tensor = read_part(ck, c->name, names[i], &g->parts[i]);
		parts[i]->data = g->parts[i] ? (uint8_t *)g->parts[i] + 1 : NULL;
	}
	if (vgpu_int4_layer_init(&g->layer, &src, &err))
		fail_msg("%s", err.text);
	read_values(ck, c->name, g);
	vgpu_checkpoint_close(ck);
}

void golden_int4_close(struct golden_int4 *g)
{
	for (uint32_t i = 0; i < 4; i++)
		free(g->parts[i]);
	free(g->values);
}
