// SPDX-License-Identifier: MIT
#include "common/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "vgpu.h"

const char *const golden_names[GOLDEN_NAMES] = {
	"Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL",
	"IQ4_XS", "NVFP4", "TQ1_0", "TQ2_0", "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S",
	"IQ3_XXS", "IQ3_S", "Q8_K", "Q1_0",
};

static void *read_tensor(const struct vgpu_checkpoint *ck, const struct vgpu_tensor *t)
{
	void *data = malloc(t->bytes);

	assert_non_null(data);
	assert_int_equal(pread(vgpu_checkpoint_file_fd(ck, t->file), data, t->bytes,
			       (off_t)t->offset), t->bytes);
	return data;
}

void golden_open(struct golden *g, const char *name)
{
	const struct vgpu_tensor *blocks, *values;
	const struct vgpu_dtype_info *info;
	struct vgpu_checkpoint *ck;
	char text[32];

	snprintf(text, sizeof(text), "%s.values", name);
	assert_int_equal(vgpu_checkpoint_open(TEST_DATA "/gguf_blocks.gguf", &ck, NULL), 0);
	blocks = vgpu_checkpoint_find(ck, name);
	values = vgpu_checkpoint_find(ck, text);
	assert_non_null(blocks);
	assert_non_null(values);
	assert_string_equal(blocks->dtype_name, name);
	info = vgpu_dtype_info(blocks->dtype);
	g->format = info->format;
	g->values_each = info->block_elements;
	g->bytes_each = info->block_bytes;
	g->count = (uint32_t)blocks->shape[0];
	assert_int_equal(blocks->shape[1], g->values_each);
	assert_int_equal(blocks->bytes, g->count * g->bytes_each);
	assert_int_equal(values->dtype, VGPU_DTYPE_F32);
	assert_int_equal(values->bytes, g->count * g->values_each * sizeof(float));
	g->blocks = read_tensor(ck, blocks);
	g->values = read_tensor(ck, values);
	vgpu_checkpoint_close(ck);
}

void golden_close(struct golden *g)
{
	free(g->blocks);
	free(g->values);
}
