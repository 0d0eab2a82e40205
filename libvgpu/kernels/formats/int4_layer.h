/* SPDX-License-Identifier: MIT */
/*
 * One linear layer of an AWQ or a GPTQ checkpoint as a file has it, checked.  How it lies there,
 * and what is read from it: pack/int4_layer.h.
 *
 * Only the settings in the model's config.json tell the schemes apart: it is the caller who reads
 * them.  Layouts of other readers (AWQ's "gemv", Marlin) show in the shapes.  A g_idx in any other
 * order than group after group (act-order, desc_act) is refused: in a packed format neighbours
 * share a scale.
 */
#ifndef VGPU_FORMATS_INT4_LAYER_H
#define VGPU_FORMATS_INT4_LAYER_H

#include "kernels/formats/checkpoint.h"
#include "kernels/pack/int4_layer.h"

/* Most inputs, and most outputs: above any real layer. They bound what a hostile file costs. */
#define VGPU_INT4_MAX_WIDTH	(1u << 20)

/**
 * struct vgpu_int4_part - one tensor of a layer
 * @tensor: what the file says of it; NULL: there is none
 * @data: @tensor->bytes bytes, any alignment
 */
struct vgpu_int4_part {
	const struct vgpu_tensor *tensor;
	const void *data;
};

/**
 * struct vgpu_int4_source - the tensors of a layer and its settings
 * @scheme: how it lies there
 * @bits: of a code; 4 is taken
 * @group: inputs that share a scale: 32, 64, 128, or -1 for all
 * @desc_act: inputs were packed in another order, which g_idx alone tells
 * @g_idx: of GPTQ, and even there it may be missing, unless @desc_act
 */
struct vgpu_int4_source {
	enum vgpu_int4_scheme scheme;
	int64_t bits, group;
	bool desc_act;
	struct vgpu_int4_part qweight, qzeros, scales, g_idx;
};

/**
 * vgpu_int4_layer_init() - check a layer and choose its packed format
 * @out: filled; the data must live as long
 * @src: the layer; all but its qweight is read here
 * @err: reason, with the tensor and the field or index, or NULL
 *
 * Scales of all inputs, and those of GPTQ where the last group is short, become scales of as many
 * columns as divide both.  A layer whose zero points are all 8 gets a format without.
 *
 * Context: Any thread. Allocates nothing.
 * Return: 0; -EINVAL a tensor is missing, or of another type or shape, or an entry of g_idx is no
 * group; -E2BIG a side is above VGPU_INT4_MAX_WIDTH; -EOPNOTSUPP bits, group or the order of g_idx
 * are not taken; -EDOM a scale is NaN or infinite.
 */
int vgpu_int4_layer_init(struct vgpu_int4_layer *out, const struct vgpu_int4_source *src,
			 struct vgpu_error *err);

#endif
