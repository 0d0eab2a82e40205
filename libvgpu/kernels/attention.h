/* SPDX-License-Identifier: MIT */
/*
 * What the levels of attention share: who sees which keys, and how scratch is cut.
 */
#ifndef VGPU_KERNELS_ATTENTION_H
#define VGPU_KERNELS_ATTENTION_H

#include "kernels/kernels.h"

/* Keys in one block of the streaming softmax; blocks start at multiples of it. */
#define VGPU_ATTENTION_KEYS	128u
/* Rows (query, head) whose scores are kept at a time; vectors divide it. */
#define VGPU_ATTENTION_ROWS	16u
/* Head columns are padded to two vectors of the widest level. */
#define VGPU_ATTENTION_PAD	32u

/* Of a block of Q8_0: an F16 scale and 32 columns. */
#define VGPU_KV_Q8_0_BYTES	34u

/* Keys and values need no conversion. */
static inline bool vgpu_attention_kv_is_f32(const struct vgpu_attention *a)
{
	return !a->kv_format || a->kv_format == VGPU_W_F32;
}

/**
 * vgpu_attention_kv_at() - where the columns of a key or value begin
 * @a: shapes and format
 * @base: @a->k or @a->v
 * @element: row * its leading dimension + head * head_dim
 *
 * Return: its first byte; for a format not known, @base.
 */
static inline const void *vgpu_attention_kv_at(const struct vgpu_attention *a, const void *base,
					       size_t element)
{
	const uint8_t *bytes = base;

	if (vgpu_attention_kv_is_f32(a))
		return bytes + element * sizeof(float);
	if (a->kv_format == VGPU_W_F16 || a->kv_format == VGPU_W_BF16)
		return bytes + element * sizeof(uint16_t);
	return a->kv_format == VGPU_W_Q8_0 ? bytes + element / 32 * VGPU_KV_Q8_0_BYTES : bytes;
}

/* Keys [first, end) that a query may see; none when end <= first. */
struct vgpu_attention_span {
	uint32_t first, end;
};

/**
 * vgpu_attention_span() - which keys a query sees before the additive mask
 * @a: shapes and options
 * @query: index of the query, below @a->m
 *
 * Context: Any thread.
 * Return: the span; first is at most end.
 */
struct vgpu_attention_span vgpu_attention_span(const struct vgpu_attention *a,
					       uint32_t query);

/**
 * vgpu_attention_dim_pad() - columns of a head in scratch, zero filled
 * @head_dim: columns of a head
 *
 * Return: @head_dim rounded up to VGPU_ATTENTION_PAD.
 */
static inline size_t vgpu_attention_dim_pad(uint32_t head_dim)
{
	return ((size_t)head_dim + VGPU_ATTENTION_PAD - 1) &
	       ~(size_t)(VGPU_ATTENTION_PAD - 1);
}

/**
 * vgpu_attention_tile_rows() - rows (query, head) that share a packed key block
 * @head_dim: columns of a head
 *
 * As many as keep their queries within 128 KiB, and their running outputs within as
 * much: with the packed keys and values they stay in the second-level cache.
 *
 * Return: a multiple of VGPU_ATTENTION_ROWS, at most 256.
 */
uint32_t vgpu_attention_tile_rows(uint32_t head_dim);

/**
 * struct vgpu_attention_cut - how the work goes to threads
 * @heads: of an item; divides the heads, and a group of them or is one
 * @queries: of an item; the last of a head's may have fewer
 * @blocks: items that @heads have
 */
struct vgpu_attention_cut {
	uint32_t heads, queries, blocks;
};

/**
 * vgpu_attention_divide() - which heads and queries to compute together
 * @a: shapes
 * @threads: that share the work
 * @item_ns_max: no item should take longer, and those of many rows an eighth of it
 *
 * Results do not depend on the cut.
 *
 * Return: the cut.
 */
struct vgpu_attention_cut vgpu_attention_divide(const struct vgpu_attention *a, uint32_t threads,
						uint64_t item_ns_max);

/* All items of a cut. */
static inline uint64_t vgpu_attention_items(const struct vgpu_attention *a,
					    struct vgpu_attention_cut cut)
{
	return (uint64_t)a->heads / cut.heads * cut.blocks;
}

/* Calls the kernel for one of them; scratch as it says. */
void vgpu_attention_item(const struct vgpu_kernels *t, const struct vgpu_attention *a,
			 struct vgpu_attention_cut cut, size_t item, void *scratch);

/* What all of it may take on one thread: a high guess. */
uint64_t vgpu_attention_cost_ns(const struct vgpu_attention *a);

/* One row of scores on its way through the key blocks. */
struct vgpu_attention_row {
	const float *q;		/* [head_dim] */
	const float *mask;	/* [kv], or NULL */
	float *out;		/* [head_dim] */
	struct vgpu_attention_span span;
};

#endif
