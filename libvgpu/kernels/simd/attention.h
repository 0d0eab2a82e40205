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
 *		once a tile; then bands of rows, whose scores fit the first-level
 *		cache, meet strips of keys and of value columns that do too, in
 *		register tiles of VEC_ROWS rows by two vectors;
 *	direct	few queries (decoding): keys and values are read where they lie, once
 *		for the rows that share them, at the speed of memory.
 *
 * Keys and values that are not f32 become f32 a block at a time, for either way.
 *
 * The same bits whatever the cut: which way is taken depends on a->m; blocks start
 * at multiples of VGPU_ATTENTION_KEYS; a row's sums run in the order of its keys, and
 * keys outside a row's span add exactly 0 (their probability is 0 and V is finite),
 * so it does not matter which keys a row's neighbours make it pass over.
 */
#ifndef VGPU_KERNELS_SIMD_ATTENTION_H
#define VGPU_KERNELS_SIMD_ATTENTION_H

#include <float.h>
#include <math.h>

#include "kernels/attention.h"
#include "kernels/simd/kv.h"
#include "kernels/simd/math.h"

#define KEYS	VGPU_ATTENTION_KEYS
#define BAND	VGPU_ATTENTION_ROWS
/* Keys, or columns of values, that one register tile computes. */
#define STRIP	(2 * VL)
/* From this many queries on, packing a block pays. */
#define PACK_QUERIES	8u

struct tile {
	const struct vgpu_attention *a;
	size_t head;		/* first column of the tile's key/value head */
	const float *k, *v;	/* first row of the present block */
	size_t ldk, ldv;
	size_t pad;		/* columns of values and outs */
	uint32_t count;		/* rows */
	float *queries;		/* [count / VL][head_dim][VL], times scale */
	float *keys;		/* [KEYS / STRIP][head_dim][STRIP] */
	float *values;		/* [pad / STRIP][KEYS][STRIP] */
	float *outs;		/* [count][pad], not yet divided by the sums */
	float *scores;		/* [BAND][KEYS] */
	float *plain;		/* keys [KEYS][pad], values [KEYS][pad], where they are not f32 */
	struct vgpu_attention_row *rows;
	float *max;		/* [count]: of a row's logits so far; -INFINITY before the first */
	float *sum;		/* [count]: of exp(logit - max) so far */
};

VEC_INLINE uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* --- softmax over a block --- */

VEC_INLINE vf soft_capped(vf s, float cap)
{
	return vf_mul(vf_set(cap), vf_tanh(vf_div(s, vf_set(cap))));
}

/* Softcap, mask and limits of the row, in place; lanes past n become -INFINITY. */
VEC_INLINE void row_restrict(const struct vgpu_attention *a,
			     const struct vgpu_attention_row *row, float *s,
			     uint32_t block, uint32_t n)
{
	const float *mask = row->mask ? row->mask + block : NULL;
	int64_t first = (int64_t)row->span.first - block;
	int64_t end = least(row->span.end, block + n) - (int64_t)block;

	for (uint32_t i = 0; i < n; i += VL) {
		vf t = vf_load(s + i);

		if (a->softcap != 0)
			t = soft_capped(t, a->softcap);
		if (mask)
			t = vf_add(t, vf_load_n(mask + i, n - i));
		t = vf_select(vmask_between(first - i, end - i), t, vf_set(-INFINITY));
		vf_store(s + i, t);
	}
}

/* Turns the scaled products s[0..n) of keys block.. into logits. Whole vectors are written. */
VEC_INLINE void row_logits(const struct vgpu_attention *a, const struct vgpu_attention_row *row,
			   float *s, uint32_t block, uint32_t n)
{
	bool sees_all = row->span.first <= block && row->span.end >= block + n && n % VL == 0;

	if (!sees_all || row->mask || a->softcap != 0)
		row_restrict(a, row, s, block, n);
}

/* Lane l is the largest of s[l][0..n), for rows of them. */
VEC_INLINE vf rows_max(const float *s, uint32_t rows, uint32_t n)
{
	vf max[VL];

	for (uint32_t r = 0; r < VL; r++) {
		max[r] = vf_set(-INFINITY);
		for (uint32_t i = 0; r < rows && i < n; i += VL)
			max[r] = vf_max(max[r], vf_load(s + r * KEYS + i));
	}
	vf_transpose(max);
	for (uint32_t half = VL / 2; half; half /= 2)
		for (uint32_t r = 0; r < half; r++)
			max[r] = vf_max(max[r], max[r + half]);
	return max[0];
}

/* Turns logits into exp(logit - base) and returns the row's sum, lane by lane. */
VEC_INLINE vf row_exp(float *s, uint32_t n, float base)
{
	vf sum = vf_zero(), b = vf_set(base);

	for (uint32_t i = 0; i < n; i += VL) {
		vf p = vf_exp_small(vf_sub(vf_load(s + i), b));

		vf_store(s + i, p);
		sum = vf_add(sum, p);
	}
	return sum;
}

/*
 * Turns up to VL rows of logits into exp(logit - max) and brings their maxima and sums up to
 * date, side by side: a row at a time the processor would wait for one result after the
 * other. old: the factors for what the rows have gathered so far.
 */
VEC_INLINE void rows_softmax(float *max, float *sum, float *s, uint32_t rows, uint32_t n,
			     float *old)
{
	vf before = vf_load(max), now = vf_max(before, rows_max(s, rows, n));
	vf base, factor, sums[VL];
	float bases[VL];

	/* Nothing seen yet: any finite base gives exp(-inf) = 0. */
	base = vf_select(vf_lt(now, vf_set(-FLT_MAX)), vf_zero(), now);
	factor = vf_exp_small(vf_sub(before, base));
	vf_store(bases, base);
	for (uint32_t r = 0; r < VL; r++)
		sums[r] = r < rows ? row_exp(s + r * KEYS, n, bases[r]) : vf_zero();
	vf_store(sum, vf_fma(vf_load(sum), factor, vf_sums(sums)));
	vf_store(max, now);
	vf_store(old, factor);
}

/* Rows first .. first + count - 1, at most a band, through the products of a block. */
static void band_softmax(const struct tile *t, uint32_t first, uint32_t count, uint32_t block,
			 uint32_t n, float old[BAND])
{
	for (uint32_t r = 0; r < count; r++)
		row_logits(t->a, t->rows + first + r, t->scores + r * KEYS, block, n);
	for (uint32_t r = 0; r < count; r += VL)
		rows_softmax(t->max + first + r, t->sum + first + r, t->scores + r * KEYS,
			     least(VL, count - r), n, old + r);
}

/* --- the packed way --- */

/* VL rows of up to VL columns; column c goes to dst + c * ld. */
VEC_INLINE void store_transposed(float *dst, size_t ld, vf *v, size_t cols)
{
	vf_transpose(v);
	if (cols >= VL) {
		for (uint32_t c = 0; c < VL; c++)
			vf_store(dst + c * ld, v[c]);
		return;
	}
	for (uint32_t c = 0; c < cols; c++)
		vf_store(dst + c * ld, v[c]);
}

/* VL keys by VL columns, transposed into their place in the strip. */
VEC_INLINE void pack_square(float *dst, const float *k, size_t ld, size_t keys, size_t cols)
{
	vf v[VL];

	for (uint32_t j = 0; j < VL; j++)
		v[j] = j < keys ? vf_load_n(k + j * ld, cols) : vf_zero();
	store_transposed(dst, STRIP, v, cols);
}

static void pack_keys(const struct tile *t, uint32_t n)
{
	uint32_t dim = t->a->head_dim;

	for (uint32_t j = 0; j < n; j += STRIP) {
		float *strip = t->keys + (size_t)j * dim;

		for (uint32_t half = 0; half < STRIP; half += VL) {
			const float *k = t->k + (j + half) * t->ldk;
			size_t keys = n > j + half ? n - j - half : 0;

			for (uint32_t c = 0; c < dim; c += VL)
				pack_square(strip + c * STRIP + half, k + c, t->ldk,
					    keys, dim - c);
		}
	}
}

static void pack_values(const struct tile *t, uint32_t n)
{
	uint32_t dim = t->a->head_dim;

	for (uint32_t j = 0; j < n; j++) {
		const float *v = t->v + j * t->ldv;
		float *dst = t->values + j * STRIP;

		for (uint32_t c = 0; c < t->pad; c += VL)
			vf_store(dst + c / STRIP * STRIP * KEYS + c % STRIP,
				 c < dim ? vf_load_n(v + c, dim - c) : vf_zero());
	}
}

/* Rows side by side, so that those of a register tile share a cache line. */
static void pack_queries(const struct tile *t)
{
	uint32_t dim = t->a->head_dim;
	vf v[VL], f = vf_set(t->a->scale);

	for (uint32_t r = 0; r < t->count; r += VL) {
		for (uint32_t c = 0; c < dim; c += VL) {
			for (uint32_t j = 0; j < VL; j++)
				v[j] = r + j < t->count ?
				       vf_mul(vf_load_n(t->rows[r + j].q + c, dim - c), f) :
				       vf_zero();
			store_transposed(t->queries + (size_t)r * dim + c * VL, VL, v,
					 dim - c);
		}
	}
}

/* scores[r][j] = q_r . k_j for R packed rows and the keys of one strip */
VEC_INLINE void strip_scores(const float *queries, const int R, const float *strip,
			     uint32_t dim, float *scores)
{
	vf s0[VEC_ROWS], s1[VEC_ROWS];

	for (int r = 0; r < R; r++)
		s0[r] = s1[r] = vf_zero();
	for (uint32_t c = 0; c < dim; c++, strip += STRIP, queries += VL) {
		vf k0 = vf_load(strip), k1 = vf_load(strip + VL);

		for (int r = 0; r < R; r++) {
			vf q = vf_set(queries[r]);

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
	for (uint32_t j = 0; j < n; j++, v += STRIP) {
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

/* The largest register tile for what is left of a band. */
VEC_INLINE uint32_t tile_rows(uint32_t left)
{
	return left >= VEC_ROWS ? VEC_ROWS : left >= 2 ? 2 : 1;
}

static void band_scores(const struct tile *t, uint32_t first, uint32_t count,
			const float *strip, float *scores)
{
	uint32_t dim = t->a->head_dim;

	for (uint32_t r = 0, step; r < count; r += step) {
		const float *q = t->queries + (first + r) / VL * VL * (size_t)dim +
				 (first + r) % VL;

		step = tile_rows(count - r);
		if (step == VEC_ROWS)
			strip_scores(q, VEC_ROWS, strip, dim, scores + r * KEYS);
		else if (step == 2)
			strip_scores(q, 2, strip, dim, scores + r * KEYS);
		else
			strip_scores(q, 1, strip, dim, scores + r * KEYS);
	}
}

static void band_outs(const struct tile *t, uint32_t first, uint32_t count, uint32_t column,
		      uint32_t n, const float *old)
{
	const float *v = t->values + (size_t)column * KEYS;

	for (uint32_t r = 0, step; r < count; r += step) {
		float *outs = t->outs + (first + r) * t->pad + column;
		const float *p = t->scores + r * KEYS;

		step = tile_rows(count - r);
		if (step == VEC_ROWS)
			column_outs(outs, t->pad, VEC_ROWS, p, v, n, old + r);
		else if (step == 2)
			column_outs(outs, t->pad, 2, p, v, n, old + r);
		else
			column_outs(outs, t->pad, 1, p, v, n, old + r);
	}
}

/* Cuts n down to the keys of the block that the rows see; false when they see none. */
static bool band_sees(const struct tile *t, uint32_t first, uint32_t count, uint32_t block,
		      uint32_t *n)
{
	struct vgpu_attention_span span = rows_span(t->rows + first, count);

	if (span.first >= block + *n || span.end <= block)
		return false;
	*n = least(*n, span.end - block);
	return true;
}

/* Rows [first, first + count) through n packed keys */
static void band_packed(const struct tile *t, uint32_t first, uint32_t count, uint32_t block,
			uint32_t n)
{
	float old[BAND];

	if (!band_sees(t, first, count, block, &n))
		return;
	for (uint32_t j = 0; j < n; j += STRIP)
		band_scores(t, first, count, t->keys + (size_t)j * t->a->head_dim,
			    t->scores + j);
	band_softmax(t, first, count, block, n, old);
	for (uint32_t c = 0; c < t->pad; c += STRIP)
		band_outs(t, first, count, c, n, old);
}

static void block_packed(const struct tile *t, uint32_t block, uint32_t n)
{
	pack_keys(t, n);
	pack_values(t, n);
	for (uint32_t r = 0; r < t->count; r += BAND)
		band_packed(t, r, least(BAND, t->count - r), block, n);
}

/* --- the direct way --- */

/*
 * Sums of dim products of VL pairs of rows: lane l is q[l] . k[l]. Keys so many floats ahead, if
 * any, are asked for.
 */
VEC_INLINE vf direct_dots(const float *const *q, const int R, const float *const *k,
			  const int K, uint32_t dim, size_t ahead)
{
	vf s[VL];
	uint32_t c = 0;

	for (uint32_t i = 0; i < VL; i++)
		s[i] = vf_zero();
	for (; c + VL <= dim; c += VL) {
		for (int j = 0; ahead && j < K; j++)
			__builtin_prefetch(k[j] + c + ahead);
		for (int r = 0; r < R; r++) {
			vf vq = vf_load(q[r] + c);

			for (int j = 0; j < K; j++)
				s[r * K + j] = vf_fma(vq, vf_load(k[j] + c), s[r * K + j]);
		}
	}
	for (int r = 0; c < dim && r < R; r++) {
		vf vq = vf_load_n(q[r] + c, dim - c);

		for (int j = 0; j < K; j++)
			s[r * K + j] = vf_fma(vq, vf_load_n(k[j] + c, dim - c), s[r * K + j]);
	}
	return vf_sums(s);
}

/*
 * scores[r][j] = scale * q_r . k_j for up to R rows and up to K keys, R K = VL. What
 * is missing of either repeats the last one, and goes nowhere or past the end.
 */
VEC_INLINE void direct_scores(const struct tile *t, uint32_t first, uint32_t count,
			      const int R, const float *k, uint32_t keys, const int K,
			      float *scores, size_t ahead)
{
	const float *qs[VL], *ks[VL];
	float lanes[VL];

	for (int r = 0; r < R; r++)
		qs[r] = t->rows[first + least((uint32_t)r, count - 1)].q;
	for (int j = 0; j < K; j++)
		ks[j] = k + least((uint32_t)j, keys - 1) * t->ldk;
	vf_store(lanes, vf_mul(direct_dots(qs, R, ks, K, t->a->head_dim, ahead),
			       vf_set(t->a->scale)));
	for (int r = 0; r < R && (uint32_t)r < count; r++)
		memcpy(scores + r * (int)KEYS, lanes + r * K, (size_t)K * sizeof(float));
}

/* Rows that read keys and values together. */
#define TEAM	((int)VL / 4)

/* Columns ahead at which keys are asked for: with few rows memory is what is waited for. */
#define HINT_COLS	2048u

/* Keys outside, rows inside: a key comes from memory once. */
static void team_scores(const struct tile *t, uint32_t first, uint32_t count, uint32_t n)
{
	size_t ahead = HINT_COLS / t->a->head_dim * t->ldk;

	if (count == 1) {
		for (uint32_t j = 0; j < n; j += VL)
			direct_scores(t, first, 1, 1, t->k + j * t->ldk, n - j, VL,
				      t->scores + j, ahead);
		return;
	}
	for (uint32_t j = 0; j < n; j += 4)
		for (uint32_t r = 0; r < count; r += (uint32_t)TEAM)
			direct_scores(t, first + r, count - r, TEAM, t->k + j * t->ldk, n - j,
				      4, t->scores + r * KEYS + j, r ? 0 : ahead);
}

/*
 * outs[r] = outs[r] * old[r] + sum_j p[r][j] v_j for R rows and NV vectors of columns;
 * the last vector may hold @cols columns only.
 */
VEC_INLINE void direct_outs(const struct tile *t, float *outs, const int R, const int NV,
			    const float *p, const float *v, uint32_t n, const float *old,
			    size_t cols)
{
	vf o[16];

	for (int i = 0; i < R * NV; i++)
		o[i] = vf_zero();
	for (uint32_t j = 0; j < n; j++, v += t->ldv) {
		vf x[8];

		for (int i = 0; i < NV; i++)
			x[i] = cols < VL ? vf_load_n(v, cols) : vf_load(v + i * (int)VL);
		for (int r = 0; r < R; r++) {
			vf w = vf_set(p[r * (int)KEYS + (int)j]);

			for (int i = 0; i < NV; i++)
				o[r * NV + i] = vf_fma(w, x[i], o[r * NV + i]);
		}
	}
	for (int r = 0; r < R; r++) {
		for (int i = 0; i < NV; i++) {
			float *at = outs + (size_t)r * t->pad + i * (int)VL;

			vf_store(at, vf_fma(vf_load(at), vf_set(old[r]), o[r * NV + i]));
		}
	}
}

/* The next columns for R rows: as many vectors as the registers hold, or the rest. */
VEC_INLINE uint32_t direct_step(const struct tile *t, uint32_t row, const int R,
				uint32_t column, const float *p, const float *v, uint32_t n,
				const float *old)
{
	float *outs = t->outs + row * t->pad + column;
	uint32_t left = t->a->head_dim - column;

	v += column;
	if (R == 1 && left >= 8 * VL) {
		direct_outs(t, outs, R, 8, p, v, n, old, VL);
		return 8 * VL;
	}
	if (left >= 4 * VL) {
		direct_outs(t, outs, R, 4, p, v, n, old, VL);
		return 4 * VL;
	}
	if (left >= 2 * VL) {
		direct_outs(t, outs, R, 2, p, v, n, old, VL);
		return 2 * VL;
	}
	direct_outs(t, outs, R, 1, p, v, n, old, left < VL ? left : VL);
	return VL;
}

static void team_outs(const struct tile *t, uint32_t first, uint32_t count, uint32_t n,
		      const float *old)
{
	uint32_t r = 0;

	for (; r + (uint32_t)TEAM <= count; r += (uint32_t)TEAM)
		for (uint32_t c = 0; c < t->a->head_dim;)
			c += direct_step(t, first + r, TEAM, c, t->scores + r * KEYS, t->v,
					 n, old + r);
	for (; r < count; r++)
		for (uint32_t c = 0; c < t->a->head_dim;)
			c += direct_step(t, first + r, 1, c, t->scores + r * KEYS, t->v, n,
					 old + r);
}

/* Rows [first, first + count) through n keys where they lie */
static void band_direct(const struct tile *t, uint32_t first, uint32_t count, uint32_t block,
			uint32_t n)
{
	float old[BAND];

	if (!band_sees(t, first, count, block, &n))
		return;
	team_scores(t, first, count, n);
	band_softmax(t, first, count, block, n, old);
	team_outs(t, first, count, n, old);
}

static void block_direct(const struct tile *t, uint32_t block, uint32_t n)
{
	for (uint32_t r = 0; r < t->count; r += BAND)
		band_direct(t, r, least(BAND, t->count - r), block, n);
}

/* --- tiles --- */

/* n rows from @block on; rows of f32 stay where they are. */
static const float *block_rows(const struct tile *t, uint32_t block, uint32_t n, const void *base,
			       size_t ld, float *plain)
{
	const struct vgpu_attention *a = t->a;

	if (vgpu_attention_kv_is_f32(a))
		return vgpu_attention_kv_at(a, base, block * ld + t->head);
	for (uint32_t j = 0; j < n; j++)
		kv_row(plain + j * t->pad,
		       vgpu_attention_kv_at(a, base, (block + (size_t)j) * ld + t->head),
		       a->kv_format, a->head_dim);
	return plain;
}

static void block_start(struct tile *t, uint32_t block, uint32_t n)
{
	bool plain = vgpu_attention_kv_is_f32(t->a);

	t->k = block_rows(t, block, n, t->a->k, t->a->ldk, t->plain);
	t->v = block_rows(t, block, n, t->a->v, t->a->ldv, t->plain + KEYS * t->pad);
	t->ldk = plain ? t->a->ldk : t->pad;
	t->ldv = plain ? t->a->ldv : t->pad;
}

static void tile_run(struct tile *t)
{
	struct vgpu_attention_span span = rows_span(t->rows, t->count);
	bool packed = t->a->m >= PACK_QUERIES;

	if (packed)
		pack_queries(t);
	for (uint32_t b = span.first & ~(KEYS - 1); b < span.end; b += KEYS) {
		uint32_t n = least(KEYS, span.end - b);

		block_start(t, b, n);
		if (packed)
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
	vf sum = vf_set(t->sum[r] == 0 ? 1 : t->sum[r]);

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
	};
	t->max[r] = -INFINITY;
	t->sum[r] = 0;
	for (uint32_t c = 0; c < t->pad; c += VL)
		vf_store(acc + c, vf_zero());
}

static void tile_init(struct tile *t, const struct vgpu_attention *a, float *scratch)
{
	size_t rows = vgpu_attention_tile_rows(a->head_dim);

	t->a = a;
	t->pad = vgpu_attention_dim_pad(a->head_dim);
	t->queries = scratch;
	t->keys = t->queries + rows * t->pad;
	t->values = t->keys + KEYS * t->pad;
	t->outs = t->values + KEYS * t->pad;
	t->scores = t->outs + rows * t->pad;
	t->max = t->scores + BAND * KEYS;
	t->sum = t->max + rows;
	t->rows = (void *)(t->sum + rows);
	t->plain = (float *)(t->rows + rows);
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

		t.head = (size_t)kv_head * a->head_dim;
		heads_run(&t, head_first, end, q_first, q_end);
		head_first = end;
	}
}

#endif
