/* SPDX-License-Identifier: MIT */
/*
 * A layer of AWQ or GPTQ is one matrix in up to four tensors, name.qweight, .qzeros, .scales and
 * .g_idx.  How they lie: Documentation/kernels.md.
 */
#ifndef TOOLS_WEIGHT_INT4_H
#define TOOLS_WEIGHT_INT4_H

#include <stdbool.h>
#include <stddef.h>

#include "common/int4_settings.h"
#include "common/weights.h"

/** weight_int4_codes() - the codes of the layer that a tensor is a part of, or NULL */
const struct vgpu_tensor *weight_int4_codes(const struct vgpu_checkpoint *ck,
					    const struct vgpu_tensor *t);

/**
 * weight_int4_take() - a layer as a matrix
 * @codes: its qweight
 * @settings: of the checkpoint
 * @out: all but what weights_use() fills; @used says what it is packed to
 * @why: receives the reason, at least 200 bytes: of @codes, or "tensor 'NAME': .." of another
 *
 * Reads all but the codes: whether there are zero points decides on the format, and the order of
 * inputs on whether it is taken.
 * Return: false: it is not taken, @why says so.
 */
bool weight_int4_take(const struct vgpu_checkpoint *ck, const struct vgpu_tensor *codes,
		      const struct int4_settings *settings, struct weight *out, char *why,
		      size_t len);

#endif
