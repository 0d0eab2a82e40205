// SPDX-License-Identifier: MIT
#include "common/weight_scales.h"

#include <math.h>
#include <stdio.h>

#include "common/sibling.h"

/* Ending of the weights' name, and what stands in its place for the scales. */
static const char *const endings[][2] = {
	{ "", "_scale_inv" },
	{ "", "_scale" },
	{ ".weight", ".scale_weight" },
	{ ".weight", ".scale" },
};

#define ENDINGS (sizeof(endings) / sizeof(endings[0]))

/* Floats have none: what is called so beside them is something else. */
static bool is_quantised(const struct vgpu_tensor *t)
{
	const struct vgpu_dtype_info *info = vgpu_dtype_info(t->dtype);

	return info && (info->block_elements > 1 || info->block_bytes == 1);
}

const struct vgpu_tensor *weight_scales_of(const struct vgpu_checkpoint *ck,
					   const struct vgpu_tensor *t)
{
	const struct vgpu_tensor *scales = NULL;

	for (size_t i = 0; i < ENDINGS && !scales && is_quantised(t); i++)
		scales = sibling_find(ck, t->name, endings[i][0], endings[i][1]);
	return scales;
}

const struct vgpu_tensor *weight_scales_owner(const struct vgpu_checkpoint *ck,
					      const struct vgpu_tensor *t)
{
	const struct vgpu_tensor *owner = NULL;

	for (size_t i = 0; i < ENDINGS && !owner; i++) {
		owner = sibling_find(ck, t->name, endings[i][1], endings[i][0]);
		if (owner && !is_quantised(owner))
			owner = NULL;
	}
	return owner;
}

static uint64_t pieces(uint64_t n, uint64_t of)
{
	return (n + of - 1) / of;
}

/* Values of a dimension that share a scale; 0: all; -1: the numbers do not fit together. */
static int64_t shared(uint64_t values, uint64_t scales)
{
	static const uint64_t usual[] = { 128, 64, 32, 16, 256, 512, 1024 };

	if (scales == 1)
		return 0;
	if (scales == values)
		return 1;
	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
		if (pieces(values, usual[i]) == scales)
			return (int64_t)usual[i];
	return -1;
}

/* Shape of the scales of one matrix; @lead dimensions before it are those of the weights. */
static bool cut(const struct vgpu_tensor *t, const struct vgpu_tensor *s, uint32_t lead,
		struct vgpu_pack_scales *out)
{
	uint64_t down = s->rank > lead ? s->shape[lead] : 1;
	uint64_t across = s->rank > lead + 1 ? s->shape[lead + 1] : 1;
	int64_t rows = shared(t->shape[lead], down), cols = shared(t->shape[lead + 1], across);

	/* Blocks are a grid: three scales for q, k and v in one are of no equal parts. */
	if (s->rank > lead + 2 || rows < 0 || cols < 0 || (s->rank == lead + 1 && rows > 1))
		return false;
	out->rows = (uint32_t)rows;
	out->cols = (uint32_t)cols;
	return true;
}

static bool shapes_fit(const struct vgpu_tensor *t, const struct vgpu_tensor *s,
		       struct vgpu_pack_scales *out)
{
	uint32_t lead = t->rank - 2;

	if (lead && t->shape[0] > 1 && (!s->rank || s->shape[0] != t->shape[0]))
		return false;
	/* A stack of one has its leading 1, or it has not. */
	if (lead && t->shape[0] == 1 && (!s->rank || s->rank < 3 || s->shape[0] != 1)) {
		struct vgpu_tensor one = *t;

		one.rank = 2;
		one.shape[0] = t->shape[1];
		one.shape[1] = t->shape[2];
		return cut(&one, s, 0, out);
	}
	return cut(t, s, lead, out);
}

static enum vgpu_format scale_format(const struct vgpu_tensor *s)
{
	const struct vgpu_dtype_info *info = vgpu_dtype_info(s->dtype);
	enum vgpu_format format = info ? info->format : VGPU_FORMAT_NONE;

	/* Powers of two; who has no such type calls them bytes. */
	if (s->dtype == VGPU_DTYPE_F8_E8M0 || format == VGPU_FORMAT_U8)
		return VGPU_FORMAT_U8;
	return format == VGPU_FORMAT_F32 || format == VGPU_FORMAT_F16 ||
	       format == VGPU_FORMAT_BF16 ? format : VGPU_FORMAT_NONE;
}

static bool refuse(const struct vgpu_tensor *s, const char *what, char *why, size_t len)
{
	snprintf(why, len, "its scales '%.80s' %s", s->name, what);
	return false;
}

int weight_scales_decode(const struct vgpu_pack_scales *s, uint32_t count, const uint8_t *data,
			 float *out)
{
	if (s->format != VGPU_FORMAT_U8)
		return vgpu_matrix_decode(s->format, 1, count, data, out);
	for (uint32_t i = 0; i < count; i++)
		out[i] = data[i] == 255 ? NAN : ldexpf(1, data[i] - 127);
	return 0;
}

bool weight_scales_apply(const struct vgpu_tensor *t, const struct vgpu_tensor *scales,
			 struct vgpu_pack_scales *out, char *why, size_t len)
{
	char text[80];

	*out = (struct vgpu_pack_scales){ .format = scale_format(scales),
					  .offset = scales->offset };
	if (t->dtype != VGPU_DTYPE_F8_E4M3 && t->dtype != VGPU_DTYPE_F8_E5M2) {
		snprintf(text, sizeof(text), t->dtype == VGPU_DTYPE_F4_E2M1 ?
			 "are not E8M0, one for each 32 values of a row, as %.24s takes them" :
			 "are applied to FP8 only, not to %.24s", t->dtype_name);
		return refuse(scales, text, why, len);
	}
	if (!out->format) {
		snprintf(text, sizeof(text), "are of type %.24s, not of F32, F16, BF16 or E8M0",
			 scales->dtype_name);
		return refuse(scales, text, why, len);
	}
	if (scales->file != t->file)
		return refuse(scales, "lie in another file", why, len);
	if (!shapes_fit(t, scales, out))
		return refuse(scales, "have a shape that does not fit its own", why, len);
	return true;
}
