/* SPDX-License-Identifier: MIT */
/* The objects that the weights of a checkpoint are operands of: its files, and packed ones. */
#ifndef VBRUN_OPERANDS_H
#define VBRUN_OPERANDS_H

#include <stddef.h>
#include <stdint.h>

#include "common/weights.h"
#include "vgpu.h"

/**
 * struct operands - objects of a model
 * @w: its weights
 * @files: a file object for each file of the checkpoint
 * @file_count: of @files
 * @packed: for each weight: the object it is packed to, or decoded to F32, or its part of the file
 *	that layers are packed to; NULL: used as it lies in the checkpoint
 */
struct operands {
	const struct weights *w;
	struct vgpu_bo **files, **packed;
	size_t file_count;
};

/**
 * operands_open() - make the objects; nothing is read yet but to choose an engine
 * @w: of @ck, packed_layers_open() was called; stays as long as @o
 * @o: operands_close() it also after an error
 *
 * Return: 0, or what the device said.
 */
int operands_open(struct operands *o, struct vgpu *v, const struct vgpu_checkpoint *ck,
		  const struct weights *w);
void operands_close(struct operands *o);

/* The object that holds a weight of @o->w, and where row @row of matrix @expert is in it. */
struct vgpu_bo *operands_bo(const struct operands *o, const struct weight *w);
uint64_t operands_at(const struct weight *w, uint32_t expert, uint32_t row);
/* Bytes of so many rows from the first row of a unit on. */
uint64_t operands_bytes(const struct weight *w, uint32_t rows);

#endif
