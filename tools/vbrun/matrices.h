/* SPDX-License-Identifier: MIT */
/*
 * Every weight matrix of a checkpoint as work for the device: objects for the
 * files and for what is packed, one product a matrix, recorded once and submitted pass after pass.
 */
#ifndef VBRUN_MATRICES_H
#define VBRUN_MATRICES_H

#include <stddef.h>
#include <stdint.h>

#include "common/progress.h"
#include "common/weights.h"
#include "device.h"
#include "operands.h"
#include "vgpu.h"

/**
 * struct matrices - the recorded work
 * @v: device
 * @ck: checkpoint
 * @m: rows of activations
 * @mode: what happens to them
 * @q: queue of all submissions
 * @ops: objects that hold the weights
 * @x: activations, f32, as many columns as the widest matrix; the same for all
 * @y: products, overwritten by each
 * @digest: first outputs of the first row of every product, f32
 * @cbs: command buffers, in order
 * @uses: weight ranges in order of use
 * @slices: products
 * @bytes: weight bytes that one pass uses, as operands
 */
struct matrices {
	struct vgpu *v;
	const struct vgpu_checkpoint *ck;
	uint32_t m;
	enum vgpu_mode mode;
	struct vgpu_queue *q;
	struct operands ops;
	struct vgpu_bo *x, *y, *digest;
	struct vgpu_cmdbuf **cbs;
	uint32_t cb_count;
	struct vgpu_use *uses;
	uint32_t use_count;
	struct matrix_slice *slices;
	uint32_t slice_count;
	uint64_t bytes;
};

/**
 * matrices_open() - make objects and record the products
 * @ck: stays open as long as @out
 * @w: its matrices
 * @bytes_max: a sample of at most so many bytes, evenly over the files; 0: all
 * @out: m, mode, v are set by the caller, the rest is zero; matrices_close() it
 *	also after an error
 *
 * Return: 0; -ENODATA no matrix at all; what the device said.
 */
int matrices_open(struct matrices *out, const struct vgpu_checkpoint *ck, const struct weights *w,
		  uint64_t bytes_max);
void matrices_close(struct matrices *ms);

/** matrices_declare() - tell the device the order of use, again and again */
int matrices_declare(struct matrices *ms);

/** matrices_pass() - run every product once; -EINTR after a signal */
int matrices_pass(struct matrices *ms, struct progress *progress, uint64_t done_bytes);

/** matrices_digest() - a number that changes when any digested output does */
int matrices_digest(struct matrices *ms, uint64_t *out);

#endif
