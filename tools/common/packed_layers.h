/* SPDX-License-Identifier: MIT */
/*
 * Layers of AWQ and GPTQ packed once, into a file of the cache: a derived object has one source
 * range, and a layer is three.
 */
#ifndef TOOLS_PACKED_LAYERS_H
#define TOOLS_PACKED_LAYERS_H

#include "common/weights.h"

/**
 * packed_layers_open() - have the file of a checkpoint's layers, and open it
 * @ck: its weights are all taken
 * @w: of @ck; its @packed is set, if there are layers
 *
 * Made when it is not there, or stale: 32 MiB of codes at a time, disk for all.
 * Return: exit status; what failed was said on stderr.
 */
int packed_layers_open(const struct vgpu_checkpoint *ck, struct weights *w);

/**
 * packed_layers_bo() - a layer as an object
 * @w: opened
 * @one: a layer of it
 *
 * Return: 0; what vgpu_packed_array() or vgpu_bo_create_file() said.
 */
int packed_layers_bo(struct vgpu *v, const struct weights *w, const struct weight *one,
		     struct vgpu_bo **out);

/** packed_layers_bytes() - of disk that such a file takes for its tensors; 0: no layers */
uint64_t packed_layers_bytes(const struct weights *w);

#endif
