/* SPDX-License-Identifier: MIT */
/*
 * What a checkpoint says of its layers of AWQ or GPTQ, which their tensors do not show.  Looked
 * for beside its first file, in this order:
 *
 *	config.json			its quantization_config (transformers)
 *	quantize_config.json		GPTQ (AutoGPTQ, GPTQModel), unless it names another method
 *	quant_config.json		AWQ (AutoAWQ), likewise
 *	metadata of safetensors		gptq_bits, gptq_group_size, gptq_desc_act (AutoGPTQ)
 *
 * The first that is there is the one: it is not completed from the others.
 */
#ifndef TOOLS_INT4_SETTINGS_H
#define TOOLS_INT4_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vgpu.h"

/**
 * struct int4_settings - of all layers
 * @scheme: how they lie there
 * @bits: of a code; whoever reads a layer says which are taken
 * @group: inputs that share a scale, -1 for all; likewise
 * @desc_act: GPTQ: inputs were packed in an order of their own (act-order)
 */
struct int4_settings {
	enum vgpu_pack_scheme scheme;
	int64_t bits, group;
	bool desc_act;
};

/**
 * int4_settings_read() - find them
 * @why: receives the reason, a line with file and field
 * @len: at least 160
 *
 * Return: 0; -ENOENT there are none; -EINVAL a field is missing or no such value; -EOPNOTSUPP
 * a method or layout that is not taken; -EIO, -EACCES and so on: the file cannot be read.
 */
int int4_settings_read(const struct vgpu_checkpoint *ck, struct int4_settings *out, char *why,
		       size_t len);

#endif
