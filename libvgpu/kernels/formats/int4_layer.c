// SPDX-License-Identifier: MIT
#include "kernels/formats/int4_layer.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "kernels/formats/error.h"

/* The packed formats have scales of 32, 64 and 128 columns. */
#define COLS_LEAST	32u
#define COLS_MOST	128u

static int check_settings(const struct vgpu_int4_source *src, struct vgpu_error *err)
{
	const char *name = src->qweight.tensor->name;

	if (src->scheme != VGPU_INT4_AWQ && src->scheme != VGPU_INT4_GPTQ &&
	    src->scheme != VGPU_INT4_GPTQ_V2)
		return vgpu_error_set(err, -EINVAL, "tensor '%.80s': scheme %u is not known", name,
				      (unsigned int)src->scheme);
	if (src->bits != 4)
		return vgpu_error_set(err, -EOPNOTSUPP, "tensor '%.80s': bits is %" PRId64
				      ", taken is 4", name, src->bits);
	if (src->group != 32 && src->group != 64 && src->group != 128 && src->group != -1)
		return vgpu_error_set(err, -EOPNOTSUPP, "tensor '%.80s': group size is %" PRId64
				      ", taken are 32, 64, 128, and -1 for all inputs", name,
				      src->group);
	return 0;
}

/* --- each tensor by itself --- */

static int check_dimensions(const struct vgpu_tensor *t, uint64_t *out_elements,
			    struct vgpu_error *err)
{
	*out_elements = 1;
	for (uint32_t i = 0; i < t->rank; i++) {
		if (!t->shape[i])
			return vgpu_error_set(err, -EINVAL, "tensor '%.80s': dimension %u is 0",
					      t->name, i);
		if (t->shape[i] > VGPU_INT4_MAX_WIDTH)
			return vgpu_error_set(err, -E2BIG, "tensor '%.80s': dimension %u is %" PRIu64
					      ", above the limit %u", t->name, i, t->shape[i],
					      VGPU_INT4_MAX_WIDTH);
		*out_elements *= t->shape[i];
	}
	return 0;
}

/* @rank: 1 or 2, so that a product of dimensions within the limit fits 64 bits. */
static int check_part(const struct vgpu_int4_part *part, const char *what, enum vgpu_dtype dtype,
		      uint32_t rank, struct vgpu_error *err)
{
	const struct vgpu_dtype_info *info = vgpu_dtype_info(dtype);
	const struct vgpu_tensor *t = part->tensor;
	uint64_t elements;
	int rc;

	if (!t || !part->data)
		return vgpu_error_set(err, -EINVAL, "the layer has no %s", what);
	if (t->dtype != dtype)
		return vgpu_error_set(err, -EINVAL, "tensor '%.80s': type %.16s, a layer's %s is %s",
				      t->name, t->dtype_name, what, info->name);
	if (t->rank != rank)
		return vgpu_error_set(err, -EINVAL, "tensor '%.80s': rank %u, a layer's %s has %u",
				      t->name, t->rank, what, rank);
	rc = check_dimensions(t, &elements, err);
	if (rc)
		return rc;
	if (t->bytes != elements * info->block_bytes)
		return vgpu_error_set(err, -EINVAL, "tensor '%.80s': %" PRIu64
				      " bytes, its shape asks for %" PRIu64, t->name, t->bytes,
				      elements * info->block_bytes);
	return 0;
}

static int check_parts(const struct vgpu_int4_source *src, struct vgpu_error *err)
{
	int rc = check_part(&src->qweight, "qweight", VGPU_DTYPE_I32, 2, err);

	if (!rc)
		rc = check_settings(src, err);
	if (!rc)
		rc = check_part(&src->qzeros, "qzeros", VGPU_DTYPE_I32, 2, err);
	if (!rc)
		rc = check_part(&src->scales, "scales", VGPU_DTYPE_F16, 2, err);
	if (rc || !src->g_idx.tensor)
		return rc;
	if (src->scheme == VGPU_INT4_AWQ)
		return vgpu_error_set(err, -EINVAL, "tensor '%.80s': AWQ has no g_idx",
				      src->g_idx.tensor->name);
	return check_part(&src->g_idx, "g_idx", VGPU_DTYPE_I32, 1, err);
}

/* --- their shapes together --- */

static int check_side(const struct vgpu_tensor *t, const char *side, uint64_t size,
		      uint32_t multiple, struct vgpu_error *err)
{
	if (size > VGPU_INT4_MAX_WIDTH)
		return vgpu_error_set(err, -E2BIG, "tensor '%.80s': %" PRIu64 " %s, above the limit %u",
				      t->name, size, side, VGPU_INT4_MAX_WIDTH);
	if (size % multiple)
		return vgpu_error_set(err, -EINVAL, "tensor '%.80s': %" PRIu64
				      " %s are no multiple of %u", t->name, size, side, multiple);
	return 0;
}

/* What qweight and the settings say of the shape. */
static int measure(struct vgpu_int4_layer *l, const struct vgpu_int4_source *src,
		   struct vgpu_error *err)
{
	const struct vgpu_tensor *t = src->qweight.tensor;
	bool awq = src->scheme == VGPU_INT4_AWQ;
	uint64_t k = awq ? t->shape[0] : t->shape[0] * VGPU_INT4_WORD_CODES;
	uint64_t n = awq ? t->shape[1] * VGPU_INT4_WORD_CODES : t->shape[1];
	int rc = check_side(t, "inputs", k, COLS_LEAST, err);

	if (!rc)
		rc = check_side(t, "outputs", n, VGPU_INT4_WORD_CODES, err);
	if (rc)
		return rc;
	l->k = (uint32_t)k;
	l->n = (uint32_t)n;
	l->group = src->group < 0 ? l->k : (uint32_t)src->group;
	l->groups = (l->k + l->group - 1) / l->group;
	/* A short group at the end is GPTQ's alone. */
	return awq ? check_side(t, "inputs", k, l->group, err) : 0;
}

static int check_dimension(const struct vgpu_int4_part *part, uint32_t dimension, uint64_t want,
			   const char *why, struct vgpu_error *err)
{
	const struct vgpu_tensor *t = part->tensor;

	if (t->shape[dimension] == want)
		return 0;
	return vgpu_error_set(err, -EINVAL, "tensor '%.80s': dimension %u is %" PRIu64
			      ", %s %" PRIu64, t->name, dimension, t->shape[dimension], why, want);
}

static int check_shapes(const struct vgpu_int4_layer *l, const struct vgpu_int4_source *src,
			struct vgpu_error *err)
{
	static const char *const groups = "inputs and group size give";
	int rc = check_dimension(&src->qzeros, 0, l->groups, groups, err);

	if (!rc)
		rc = check_dimension(&src->qzeros, 1, l->n / VGPU_INT4_WORD_CODES,
				     "an eighth of the outputs is", err);
	if (!rc)
		rc = check_dimension(&src->scales, 0, l->groups, groups, err);
	if (!rc)
		rc = check_dimension(&src->scales, 1, l->n, "outputs are", err);
	if (!rc && src->g_idx.tensor)
		rc = check_dimension(&src->g_idx, 0, l->k, "inputs are", err);
	return rc;
}

/* --- what the data say --- */

static uint32_t word_at(const void *words, uint64_t index)
{
	uint32_t word;

	memcpy(&word, (const uint8_t *)words + 4 * index, sizeof(word));
	return le32toh(word);
}

/* Of a single group each order is the same. */
static int check_order(const struct vgpu_int4_layer *l, const struct vgpu_int4_source *src,
		       struct vgpu_error *err)
{
	const struct vgpu_int4_part *g_idx = &src->g_idx;

	if (src->desc_act && src->scheme != VGPU_INT4_AWQ && !g_idx->tensor && l->groups > 1)
		return vgpu_error_set(err, -EINVAL, "tensor '%.80s': the settings' desc_act is true, and "
				      "there is no g_idx, which says in which group an input is",
				      src->qweight.tensor->name);
	for (uint32_t c = 0; g_idx->tensor && c < l->k; c++) {
		uint32_t group = word_at(g_idx->data, c);

		if (group == c / l->group)
			continue;
		if (group >= l->groups)
			return vgpu_error_set(err, -EINVAL, "tensor '%.80s': input %u is in group %" PRId32
					      ", there are %u", g_idx->tensor->name, c, (int32_t)group,
					      l->groups);
		return vgpu_error_set(err, -EOPNOTSUPP, "tensor '%.80s': input %u is in group %u, not %u: "
				      "inputs out of order (act-order, desc_act) are not taken",
				      g_idx->tensor->name, c, group, c / l->group);
	}
	return 0;
}

static int check_scales(const struct vgpu_int4_layer *l, const struct vgpu_int4_part *scales,
			struct vgpu_error *err)
{
	for (uint64_t i = 0; i < (uint64_t)l->groups * l->n; i++) {
		uint16_t half;

		memcpy(&half, l->scales + 2 * i, sizeof(half));
		if ((le16toh(half) & 0x7c00) == 0x7c00)
			return vgpu_error_set(err, -EDOM, "tensor '%.80s': the scale of group %" PRIu64
					      ", output %" PRIu64 " is NaN or infinite",
					      scales->tensor->name, i / l->n, i % l->n);
	}
	return 0;
}

/* Is there another zero point than 8? */
static bool has_zeros(const struct vgpu_int4_layer *l)
{
	uint32_t eights = l->scheme == VGPU_INT4_GPTQ ? 0x77777777u : 0x88888888u;
	uint64_t words = (uint64_t)l->groups * (l->n / VGPU_INT4_WORD_CODES);

	for (uint64_t i = 0; i < words; i++)
		if (word_at(l->qzeros, i) != eights)
			return true;
	return false;
}

/* Both are multiples of 32, or the group is all inputs, which are. */
static uint32_t packed_cols(const struct vgpu_int4_layer *l)
{
	uint32_t cols = COLS_MOST;

	while (l->k % cols || l->group % cols)
		cols /= 2;
	return cols;
}

int vgpu_int4_layer_init(struct vgpu_int4_layer *out, const struct vgpu_int4_source *src,
			 struct vgpu_error *err)
{
	struct vgpu_int4_layer l = {
		.scheme = src->scheme, .qweight = src->qweight.data,
		.qzeros = src->qzeros.data, .scales = src->scales.data,
	};
	int rc = check_parts(src, err);

	if (!rc)
		rc = measure(&l, src, err);
	if (!rc)
		rc = check_shapes(&l, src, err);
	if (!rc)
		rc = check_order(&l, src, err);
	if (!rc)
		rc = check_scales(&l, &src->scales, err);
	if (rc)
		return rc;

	l.cols = packed_cols(&l);
	l.zeros = has_zeros(&l);
	*out = l;
	return 0;
}
