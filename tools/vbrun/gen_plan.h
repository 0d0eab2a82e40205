/* SPDX-License-Identifier: MIT */
#ifndef VBRUN_GEN_PLAN_H
#define VBRUN_GEN_PLAN_H

#include "gen.h"
#include "gen_values.h"

/**
 * struct gen_tensor - one tensor to write
 * @name: in the file
 * @rank: dimensions
 * @shape: outermost first
 * @parts: how often @matrix is written, each time with a stream of its own (experts)
 * @matrix: one part
 */
struct gen_tensor {
	char name[96];
	uint32_t rank;
	uint64_t shape[4];
	uint32_t parts;
	struct gen_matrix matrix;
};

/**
 * struct gen_plan - the tensors of a file, in its order
 * @seed: of all streams
 * @tensors: owned
 * @count: how many
 * @room: how many fit
 * @failed: an addition found no memory; gen_plan_write() reports it
 */
struct gen_plan {
	uint64_t seed;
	struct gen_tensor *tensors;
	size_t count;
	size_t room;
	bool failed;
};

/**
 * gen_plan_add() - append a tensor
 * @plan: zeroed but for the seed at first
 * @rank: number of dimensions after it, at most 4
 * @shape: dimensions
 * @parts: at least 1
 * @matrix: one part; its stream is replaced by one for this tensor
 * @format: printf format of the name
 *
 * Return: the stream, for a second tensor drawn from the same numbers.
 */
uint64_t gen_plan_add(struct gen_plan *plan, uint32_t rank, const uint64_t *shape,
		      uint32_t parts, const struct gen_matrix *matrix, const char *format,
		      ...) __attribute__((format(printf, 6, 7)));

/**
 * gen_plan_write() - write the plan as a safetensors file
 * @plan: complete; freed whatever happens
 * @path: file, complete or not there
 * @progress: or NULL
 * @arg: for @progress
 * @err: or NULL
 *
 * Return: as vbrun_gen().
 */
int gen_plan_write(struct gen_plan *plan, const char *path, vbrun_gen_progress progress,
		   void *arg, struct vgpu_error *err);

#endif
