/* SPDX-License-Identifier: MIT */
/*
 * Attention on vectors; the contract is that of vgpu_attention_f32_ref(). Include
 * the level's vec.h first.
 *
 * A row is one query of one head. Rows that share a key/value head are taken a tile
 * at a time; a tile passes over the keys once, in blocks of VGPU_ATTENTION_KEYS, and
 * keeps a running maximum, sum and output per row. Two ways through a block:
 *
 *	packed	many queries: the block's keys are transposed and its values copied
 *		once a tile, then register tiles of VEC_ROWS rows by two vectors
 *		compute scores and outputs at the speed of the multipliers;
 *	direct	few queries (decoding): every row reads keys and values where they
 *		lie, once, at the speed of memory.
 *
 * The same bits whatever the cut: which way is taken depends on a->m; blocks start
 * at multiples of VGPU_ATTENTION_KEYS; a row's sums run in the order of its keys, and
 * keys outside a row's span add exactly 0 (their probability is 0 and V is finite),
 * so it does not matter which keys a row's neighbours make it pass over.
 */
#ifndef VGPU_KERNELS_SIMD_ATTENTION_H
#define VGPU_KERNELS_SIMD_ATTENTION_H

#include <math.h>

#include "kernels/attention.h"
#include "kernels/simd/math.h"

#define KEYS	VGPU_ATTENTION_KEYS
/* Keys whose scores one register tile computes. */
#define STRIP	(2 * VL)
/* From this many queries on, packing a block pays. */
#define PACK_QUERIES	8u
/* Sums that hide the latency of a multiply-add. */
#define CHAINS	8

struct tile {
	const struct vgpu_attention *a;
	const float *k, *v;	/* of the tile's key/value head */
	size_t pad;		/* columns of values and outs */
	uint32_t count;		/* rows */
	float *keys;		/* [KEYS / STRIP][head_dim][STRIP] */
	float *values;		/* [KEYS][pad] */
	float *outs;		/* [count][pad], not yet divided by the sums */
	float *scores;		/* [VEC_ROWS][KEYS] */
	struct vgpu_attention_row *rows;
};

VEC_INLINE uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

VEC_INLINE float exp_one(float x)
{
	float lanes[VL];

	vf_store(lanes, vf_exp(vf_set(x)));
	return lanes[0];
}

/* --- one row's softmax over a block --- */

VEC_INLINE vf soft_capped(vf s, float cap)
{
	return vf_mul(vf_set(cap), vf_tanh(vf_div(s, vf_set(cap))));
}

/*
 * Turns the products s[0..n) of keys block.. into logits, in place; returns the
 * largest. Lanes past n, up to a whole vector, are written too, as -INFINITY.
 */
VEC_INLINE float row_logits(const struct vgpu_attention *a,
			    const struct vgpu_attention_row *row, float *s,
			    uint32_t block, uint32_t n)
{
	const float *mask = row->mask ? row->mask + block : NULL;
	int64_t first = (int64_t)row->span.first - block;
	int64_t end = least(row->span.end, block + n) - (int64_t)block;
	vf max = vf_set(-INFINITY);

	for (uint32_t i = 0; i < n; i += VL) {
		vf t = vf_mul(vf_load(s + i), vf_set(a->scale));

		if (a->softcap != 0)
			t = soft_capped(t, a->softcap);
		if (mask)
			t = vf_add(t, vf_load_n(mask + i, n - i));
		if (first > i || end < (int64_t)(i + VL))
			t = vf_select(vmask_between(first - i, end - i), t,
				      vf_set(-INFINITY));
		vf_store(s + i, t);
		max = vf_max(max, t);
	}
	return vf_hmax(max);
}

/*
 * Turns logits into exp(logit - max) and brings the row's maximum and sum up to
 * date. Returns the factor for what the row has gathered so far.
 */
VEC_INLINE float row_softmax(struct vgpu_attention_row *row, float *s, uint32_t n,
			     float block_max)
{
	float max = row->max > block_max ? row->max : block_max;
	/* Nothing seen yet: any finite base gives exp(-inf) = 0. */
	float base = max == -INFINITY ? 0 : max;
	float old = row->max == max ? 1 : exp_one(row->max - base);
	vf sum = vf_zero(), vbase = vf_set(base);

	for (uint32_t i = 0; i < n; i += VL) {
		vf p = vf_exp(vf_sub(vf_load(s + i), vbase));

		vf_store(s + i, p);
		sum = vf_add(sum, p);
	}
	row->max = max;
	row->sum = row->sum * old + vf_hsum(sum);
	return old;
}

VEC_INLINE float row_step(const struct tile *t, struct vgpu_attention_row *row, float *s,
			  uint32_t block, uint32_t n)
{
	return row_softmax(row, s, n, row_logits(t->a, row, s, block, n));
}

/* --- the packed way --- */

/* VL keys by VL columns, transposed into their place in the strip. */
VEC_INLINE void pack_square(float *dst, const float *k, size_t ld, size_t keys, size_t cols)
{
	vf v[VL];

	for (uint32_t j = 0; j < VL; j++)
		v[j] = j < keys ? vf_load_n(k + j * ld, cols) : vf_zero();
	vf_transpose(v);
	for (uint32_t c = 0; c < VL && c < cols; c++)
		vf_store(dst + c * STRIP, v[c]);
}

static void pack_keys(const struct tile *t, uint32_t block, uint32_t n)
{
	uint32_t dim = t->a->head_dim;

	for (uint32_t j = 0; j < n; j += STRIP) {
		float *strip = t->keys + (size_t)j * dim;

		for (uint32_t half = 0; half < STRIP; half += VL) {
			const float *k = t->k + (block + j + half) * t->a->ldk;
			size_t keys = n > j + half ? n - j - half : 0;

			for (uint32_t c = 0; c < dim; c += VL)
				pack_square(strip + c * STRIP + half, k + c, t->a->ldk,
					    keys, dim - c);
		}
	}
}

static void pack_values(const struct tile *t, uint32_t block, uint32_t n)
{
	uint32_t dim = t->a->head_dim;

	for (uint32_t j = 0; j < n; j++) {
		const float *v = t->v + (block + j) * t->a->ldv;
		float *dst = t->values + j * t->pad;

		for (uint32_t c = 0; c < t->pad; c += VL)
			vf_store(dst + c, c < dim ? vf_load_n(v + c, dim - c) : vf_zero());
	}
}

/* scores[r][j] = q_r . k_j for R rows and the keys of one strip */
VEC_INLINE void strip_scores(const struct vgpu_attention_row *rows, const int R,
			     const float *strip, uint32_t dim, float *scores)
{
	vf s0[VEC_ROWS], s1[VEC_ROWS];

	for (int r = 0; r < R; r++)
		s0[r] = s1[r] = vf_zero();
	for (uint32_t c = 0; c < dim; c++, strip += STRIP) {
		vf k0 = vf_load(strip), k1 = vf_load(strip + VL);

		for (int r = 0; r < R; r++) {
			vf q = vf_set(rows[r].q[c]);

			s0[r] = vf_fma(q, k0, s0[r]);
			s1[r] = vf_fma(q, k1, s1[r]);
		}
	}
	for (int r = 0; r < R; r++) {
		vf_store(scores + r * KEYS, s0[r]);
		vf_store(scores + r * KEYS + VL, s1[r]);
	}
}

/* outs[r] = outs[r] * old[r] + sum_j p[r][j] v_j for R rows and two vectors of columns */
VEC_INLINE void column_outs(float *outs, size_t pad, const int R, const float *p,
			    const float *v, uint32_t n, const float *old)
{
	vf o0[VEC_ROWS], o1[VEC_ROWS];

	for (int r = 0; r < R; r++)
		o0[r] = o1[r] = vf_zero();
	for (uint32_t j = 0; j < n; j++, v += pad) {
		vf v0 = vf_load(v), v1 = vf_load(v + VL);

		for (int r = 0; r < R; r++) {
			vf w = vf_set(p[r * KEYS + j]);

			o0[r] = vf_fma(w, v0, o0[r]);
			o1[r] = vf_fma(w, v1, o1[r]);
		}
	}
	for (int r = 0; r < R; r++) {
		float *out = outs + r * pad;
		vf f = vf_set(old[r]);

		vf_store(out, vf_fma(vf_load(out), f, o0[r]));
		vf_store(out + VL, vf_fma(vf_load(out + VL), f, o1[r]));
	}
}

/* Keys that any of R rows sees. */
VEC_INLINE struct vgpu_attention_span rows_span(const struct vgpu_attention_row *rows,
						uint32_t count)
{
	struct vgpu_attention_span all = { UINT32_MAX, 0 };

	for (uint32_t r = 0; r < count; r++) {
		if (rows[r].span.first == rows[r].span.end)
			continue;
		all.first = least(all.first, rows[r].span.first);
		all.end = all.end > rows[r].span.end ? all.end : rows[r].span.end;
	}
	return all;
}

/* R rows from @first on, through n packed keys */
VEC_INLINE void group_packed(const struct tile *t, uint32_t first, const int R,
			     uint32_t block, uint32_t n)
{
	struct vgpu_attention_row *rows = t->rows + first;
	struct vgpu_attention_span span = rows_span(rows, (uint32_t)R);
	uint32_t dim = t->a->head_dim;
	float old[VEC_ROWS];

	if (span.first >= block + n || span.end <= block)
		return;
	n = least(n, span.end - block);
	for (uint32_t j = 0; j < n; j += STRIP)
		strip_scores(rows, R, t->keys + (size_t)j * dim, dim, t->scores + j);
	for (int r = 0; r < R; r++)
		old[r] = row_step(t, rows + r, t->scores + r * KEYS, block, n);
	for (uint32_t c = 0; c < t->pad; c += STRIP)
		column_outs(t->outs + first * t->pad + c, t->pad, R, t->scores,
			    t->values + c, n, old);
}

static void block_packed(const struct tile *t, uint32_t block, uint32_t n)
{
	uint32_t r = 0;

	pack_keys(t, block, n);
	pack_values(t, block, n);
	for (; r + VEC_ROWS <= t->count; r += VEC_ROWS)
		group_packed(t, r, VEC_ROWS, block, n);
	for (; r + 2 <= t->count; r += 2)
		group_packed(t, r, 2, block, n);
	if (r < t->count)
		group_packed(t, r, 1, block, n);
}

/* --- the direct way --- */

/* scores[j] = q . k_j for VL keys; those from @keys on repeat the last one */
VEC_INLINE vf direct_scores(const float *q, const float *k, size_t ld, uint32_t keys,
			    uint32_t dim)
{
	const float *key[VL];
	vf s[VL];
	uint32_t c = 0;

	for (uint32_t j = 0; j < VL; j++) {
		key[j] = k + least(j, keys - 1) * ld;
		s[j] = vf_zero();
	}
	for (; c + VL <= dim; c += VL) {
		vf vq = vf_load(q + c);

		for (uint32_t j = 0; j < VL; j++)
			s[j] = vf_fma(vq, vf_load(key[j] + c), s[j]);
	}
	if (c < dim) {
		vf vq = vf_load_n(q + c, dim - c);

		for (uint32_t j = 0; j < VL; j++)
			s[j] = vf_fma(vq, vf_load_n(key[j] + c, dim - c), s[j]);
	}
	return vf_sums(s);
}

/*
 * out = out * old + sum_j p[j] v_j for NV vectors of columns, of which the last may
 * hold @cols columns only. Keys are dealt to CHAINS / NV sums.
 */
VEC_INLINE void direct_outs(float *out, const int NV, const float *p, const float *v,
			    size_t ld, uint32_t n, float old, size_t cols)
{
	const int U = CHAINS / NV;
	vf o[CHAINS];
	uint32_t j = 0;

	for (int i = 0; i < U * NV; i++)
		o[i] = vf_zero();
	for (; j + (uint32_t)U <= n; j += (uint32_t)U) {
		for (int u = 0; u < U; u++) {
			vf w = vf_set(p[j + (uint32_t)u]);
			const float *row = v + (j + (size_t)u) * ld;

			for (int i = 0; i < NV; i++) {
				vf x = cols < VL ? vf_load_n(row, cols) :
						   vf_load(row + i * (int)VL);

				o[u * NV + i] = vf_fma(w, x, o[u * NV + i]);
			}
		}
	}
	for (; j < n; j++) {
		vf w = vf_set(p[j]);

		for (int i = 0; i < NV; i++) {
			vf x = cols < VL ? vf_load_n(v + j * ld, cols) :
					   vf_load(v + j * ld + i * (int)VL);

			o[i] = vf_fma(w, x, o[i]);
		}
	}
	for (int u = U / 2; u > 0; u /= 2)
		for (int i = 0; i < u * NV; i++)
			o[i] = vf_add(o[i], o[i + u * NV]);
	for (int i = 0; i < NV; i++) {
		float *at = out + i * (int)VL;

		vf_store(at, vf_fma(vf_load(at), vf_set(old), o[i]));
	}
}

VEC_INLINE void direct_columns(float *out, const float *p, const float *v, size_t ld,
			       uint32_t n, float old, uint32_t dim)
{
	uint32_t c = 0;

	for (; c + 8 * VL <= dim; c += 8 * VL)
		direct_outs(out + c, 8, p, v + c, ld, n, old, VL);
	for (; c + 4 * VL <= dim; c += 4 * VL)
		direct_outs(out + c, 4, p, v + c, ld, n, old, VL);
	for (; c + 2 * VL <= dim; c += 2 * VL)
		direct_outs(out + c, 2, p, v + c, ld, n, old, VL);
	for (; c < dim; c += VL)
		direct_outs(out + c, 1, p, v + c, ld, n, old,
			    dim - c < VL ? dim - c : VL);
}

static void row_direct(const struct tile *t, uint32_t r, uint32_t block, uint32_t n)
{
	struct vgpu_attention_row *row = t->rows + r;
	uint32_t from = row->span.first > block ? row->span.first : block;
	uint32_t end = least(row->span.end, block + n);
	const float *k = t->k + from * t->a->ldk;
	float old;

	if (from >= end)
		return;
	n = end - from;
	for (uint32_t j = 0; j < n; j += VL)
		vf_store(t->scores + j, direct_scores(row->q, k + j * t->a->ldk, t->a->ldk,
						      n - j, t->a->head_dim));
	old = row_step(t, row, t->scores, from, n);
	direct_columns(t->outs + r * t->pad, t->scores, t->v + from * t->a->ldv, t->a->ldv,
		       n, old, t->a->head_dim);
}

static void block_direct(const struct tile *t, uint32_t block, uint32_t n)
{
	for (uint32_t r = 0; r < t->count; r++)
		row_direct(t, r, block, n);
}

/* --- tiles --- */

static void tile_run(const struct tile *t)
{
	struct vgpu_attention_span span = rows_span(t->rows, t->count);

	for (uint32_t b = span.first & ~(KEYS - 1); b < span.end; b += KEYS) {
		uint32_t n = least(KEYS, span.end - b);

		if (t->a->m >= PACK_QUERIES)
			block_packed(t, b, n);
		else
			block_direct(t, b, n);
	}
}

static void row_finish(const struct tile *t, uint32_t r)
{
	const struct vgpu_attention_row *row = t->rows + r;
	const float *acc = t->outs + r * t->pad;
	uint32_t dim = t->a->head_dim;
	vf sum = vf_set(row->sum == 0 ? 1 : row->sum);

	for (uint32_t c = 0; c < dim; c += VL) {
		/* + 0: a sum that underflowed to -0 depends on the cut, +0 does not. */
		vf o = vf_add(vf_div(vf_load(acc + c), sum), vf_zero());

		vf_store_n(row->out + c, o, dim - c);
	}
}

static void row_start(const struct tile *t, uint32_t r, uint32_t head, uint32_t query)
{
	const struct vgpu_attention *a = t->a;
	float *acc = t->outs + r * t->pad;

	t->rows[r] = (struct vgpu_attention_row){
		.q = a->q + query * a->ldq + (size_t)head * a->head_dim,
		.mask = a->mask ? a->mask + query * a->ldmask : NULL,
		.out = a->out + query * a->ldo + (size_t)head * a->head_dim,
		.span = vgpu_attention_span(a, query),
		.max = -INFINITY,
	};
	for (uint32_t c = 0; c < t->pad; c += VL)
		vf_store(acc + c, vf_zero());
}

static void tile_init(struct tile *t, const struct vgpu_attention *a, float *scratch)
{
	size_t rows = vgpu_attention_tile_rows(a->head_dim);

	t->a = a;
	t->pad = vgpu_attention_dim_pad(a->head_dim);
	t->keys = scratch;
	t->values = t->keys + KEYS * t->pad;
	t->outs = t->values + KEYS * t->pad;
	t->scores = t->outs + rows * t->pad;
	t->rows = (void *)(t->scores + VGPU_ATTENTION_ROWS * KEYS);
}

/* Heads [first, end) share one key/value head; rows go head by head. */
static void heads_run(struct tile *t, uint32_t first, uint32_t end, uint32_t q_first,
		      uint32_t q_end)
{
	uint64_t queries = q_end - q_first, rows = (end - first) * queries;
	uint32_t most = vgpu_attention_tile_rows(t->a->head_dim);

	for (uint64_t base = 0; base < rows; base += most) {
		t->count = rows - base < most ? (uint32_t)(rows - base) : most;
		for (uint32_t r = 0; r < t->count; r++)
			row_start(t, r, first + (uint32_t)((base + r) / queries),
				  q_first + (uint32_t)((base + r) % queries));
		tile_run(t);
		for (uint32_t r = 0; r < t->count; r++)
			row_finish(t, r);
	}
}

static void attention(const struct vgpu_attention *a, uint32_t head_first,
		      uint32_t head_end, uint32_t q_first, uint32_t q_end, void *scratch)
{
	uint32_t group = a->heads / a->kv_heads;
	struct tile t;

	tile_init(&t, a, scratch);
	while (head_first < head_end && q_first < q_end) {
		uint32_t kv_head = head_first / group;
		uint32_t end = least(head_end, (kv_head + 1) * group);

		t.k = a->k + (size_t)kv_head * a->head_dim;
		t.v = a->v + (size_t)kv_head * a->head_dim;
		heads_run(&t, head_first, end, q_first, q_end);
		head_first = end;
	}
}

#endif
