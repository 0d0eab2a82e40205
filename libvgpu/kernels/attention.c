// SPDX-License-Identifier: MIT
#include "kernels/attention.h"

struct vgpu_attention_span vgpu_attention_span(const struct vgpu_attention *a,
					       uint32_t query)
{
	/* The query's position; negative when it comes before the first key. */
	int64_t pos = (int64_t)query + a->kv - a->m;
	int64_t end = a->causal ? pos + 1 : a->kv;
	int64_t first = a->window ? pos + 1 - a->window : 0;

	if (first < 0)
		first = 0;
	if (end < first)
		end = first;
	return (struct vgpu_attention_span){ (uint32_t)first, (uint32_t)end };
}

uint32_t vgpu_attention_tile_rows(uint32_t head_dim)
{
	size_t rows = 32768 / vgpu_attention_dim_pad(head_dim);

	rows &= ~(size_t)(VGPU_ATTENTION_ROWS - 1);
	if (rows > 256)
		return 256;
	return rows < VGPU_ATTENTION_ROWS ? VGPU_ATTENTION_ROWS : (uint32_t)rows;
}

size_t vgpu_attention_scratch_bytes(const struct vgpu_attention *a)
{
	size_t pad = vgpu_attention_dim_pad(a->head_dim);
	size_t rows = vgpu_attention_tile_rows(a->head_dim);
	/* Packed queries and running outputs, keys and values, scores of a band. */
	size_t floats = 2 * rows * pad + 2 * VGPU_ATTENTION_KEYS * pad +
			VGPU_ATTENTION_ROWS * VGPU_ATTENTION_KEYS;

	/* Keys and values of a block as f32. */
	if (!vgpu_attention_kv_is_f32(a))
		floats += 2 * VGPU_ATTENTION_KEYS * pad;
	return floats * sizeof(float) + rows * sizeof(struct vgpu_attention_row);
}
