// SPDX-License-Identifier: MIT
#include "kernels/attention.h"

/* Rows (query, head) that share what is loaded: at best, and at least; items a thread then. */
#define ROWS_MOST	256u
#define ROWS_LEAST	64u
#define ROWS_ITEMS	4u
/* Many rows share what is loaded, but only a small part of the time: others wait meanwhile. */
#define ROWS_SHORT	8u
/* Queries of an item where that leaves too few. */
#define QUERY_BLOCK	16u

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
	/* Packed queries, running outputs, maxima and sums, keys and values, scores of a band. */
	size_t floats = 2 * rows * (pad + 1) + 2 * VGPU_ATTENTION_KEYS * pad +
			VGPU_ATTENTION_ROWS * VGPU_ATTENTION_KEYS;

	/* Keys and values of a block as f32. */
	if (!vgpu_attention_kv_is_f32(a))
		floats += 2 * VGPU_ATTENTION_KEYS * pad;
	return floats * sizeof(float) + rows * sizeof(struct vgpu_attention_row);
}

uint64_t vgpu_attention_cost_ns(const struct vgpu_attention *a)
{
	/* A short head takes as long as a vector. */
	return (uint64_t)a->m * a->kv * a->heads * ((a->head_dim + 15) / 16 * 2);
}

static struct vgpu_attention_cut cut_of(const struct vgpu_attention *a, uint32_t heads,
					uint32_t queries)
{
	return (struct vgpu_attention_cut){ heads, queries, (a->m + queries - 1) / queries };
}

static bool cut_is_short(const struct vgpu_attention *a, struct vgpu_attention_cut cut,
			 uint64_t item_ns_max)
{
	return vgpu_attention_cost_ns(a) / vgpu_attention_items(a, cut) <= item_ns_max;
}

/*
 * The heads of a group, and some queries, share what is loaded: as many as leave work enough
 * for all threads; fewer where they take long.  Of a decoder's one query the heads of a group go
 * apart rather than that threads have none.
 */
struct vgpu_attention_cut vgpu_attention_divide(const struct vgpu_attention *a, uint32_t threads,
						uint64_t item_ns_max)
{
	uint32_t group = a->heads / a->kv_heads;
	struct vgpu_attention_cut cut;

	for (uint32_t rows = ROWS_MOST; rows >= ROWS_LEAST; rows /= 2) {
		if (rows / group <= QUERY_BLOCK)
			break;
		cut = cut_of(a, group, rows / group);
		if (cut_is_short(a, cut, item_ns_max / ROWS_SHORT) &&
		    vgpu_attention_items(a, cut) >= ROWS_ITEMS * threads)
			return cut;
	}
	cut = cut_of(a, group, QUERY_BLOCK);
	while (vgpu_attention_items(a, cut) < threads && cut.heads % 2 == 0)
		cut.heads /= 2;
	if (!cut_is_short(a, cut, item_ns_max))
		cut = cut_of(a, 1, QUERY_BLOCK);
	return cut_is_short(a, cut, item_ns_max) ? cut : cut_of(a, 1, 1);
}

void vgpu_attention_item(const struct vgpu_kernels *t, const struct vgpu_attention *a,
			 struct vgpu_attention_cut cut, size_t item, void *scratch)
{
	uint32_t head = (uint32_t)(item / cut.blocks) * cut.heads;
	uint32_t first = (uint32_t)(item % cut.blocks) * cut.queries;
	uint32_t end = cut.queries < a->m - first ? first + cut.queries : a->m;

	t->attention(a, head, head + cut.heads, first, end, scratch);
}
