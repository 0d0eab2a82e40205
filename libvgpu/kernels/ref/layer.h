/* SPDX-License-Identifier: MIT */
/*
 * The layer operations of the reference level, by name, for the levels above:
 * they hand an input over when it leaves the range in which f32 sums are sharp.
 */
#ifndef VGPU_KERNELS_REF_LAYER_H
#define VGPU_KERNELS_REF_LAYER_H

#include "kernels/kernels.h"

/**
 * vgpu_layernorm_f32_ref() - normalise one row to mean 0 and variance 1
 * @out: f32 [n]; may be @x
 * @x: f32 [n]
 * @gamma: f32 [n], or NULL for 1
 * @beta: f32 [n], or NULL for 0
 * @n: columns
 * @eps: added to the variance
 *
 * Two passes in double: the mean first, then the squares of what is left.
 * A row with a NaN or an infinity becomes NaN.
 *
 * Source: Ba, Kiros, Hinton, Layer Normalization, equations 1 to 4; the variance
 * divides by n.
 *
 * Context: Any thread. Allocates nothing, takes no lock.
 */
void vgpu_layernorm_f32_ref(float *out, const float *x, const float *gamma,
			    const float *beta, uint32_t n, float eps);

/**
 * vgpu_rmsnorm_f32_ref() - divide one row by its root mean square
 * @out: f32 [n]; may be @x
 * @x: f32 [n]
 * @gamma: f32 [n], or NULL for 1 - @add
 * @n: columns
 * @eps: added to the mean of the squares
 * @add: added to every gamma: 1 for models that store gamma - 1 (Gemma), else 0
 *
 * Source: Zhang, Sennrich, Root Mean Square Layer Normalization, equation 4.
 *
 * Context: Any thread. Allocates nothing, takes no lock.
 */
void vgpu_rmsnorm_f32_ref(float *out, const float *x, const float *gamma,
			  uint32_t n, float eps, float add);

/**
 * vgpu_softmax_f32_ref() - x = softmax(scale * x + mask), one row in place
 * @x: f32 [n], overwritten
 * @mask: f32 [n] added to the scaled values, -INFINITY where nothing may be seen;
 *	or NULL
 * @n: columns
 * @scale: of @x, not of @mask
 *
 * The largest value is subtracted first, so finite input never overflows. A row
 * that is -INFINITY everywhere has no distribution and becomes all zero, which is
 * what a caller that sums values by it wants. A NaN or +INFINITY in the row makes
 * the row NaN. Other levels may give 0 for a probability below 2^-126.
 *
 * Context: Any thread. Allocates nothing, takes no lock.
 */
void vgpu_softmax_f32_ref(float *x, const float *mask, uint32_t n, float scale);

/**
 * vgpu_unary_f32_ref() - out[i] = op(a[i])
 * @op: enum vgpu_unary
 * @out: f32 [n]; may be @a
 * @a: f32 [n]
 * @n: elements
 *
 * Every function is computed in double and rounded once; other levels may give 0
 * for a sigmoid or SiLU below 3e-37, where exp(-x) overflows. x * f(x) of -INFINITY is
 * NaN for GELU and SiLU, as the product -inf * 0 is; NaN stays NaN in all of them.
 *
 * Source: Hendrycks, Gimpel, Gaussian Error Linear Units, section 2 (both forms);
 * SiLU is x * sigmoid(x).
 *
 * Context: Any thread. Allocates nothing, takes no lock.
 */
void vgpu_unary_f32_ref(enum vgpu_unary op, float *out, const float *a, size_t n);

/**
 * vgpu_binary_f32_ref() - out[i] = op(a[i], b[i mod nb])
 * @op: enum vgpu_binary
 * @out: f32 [n]; may be @a, or @b when @nb is @n
 * @a: f32 [n]
 * @b: f32 [nb]
 * @n: elements
 * @nb: elements of @b; divides @n, at least 1
 *
 * Context: Any thread. Allocates nothing, takes no lock.
 */
void vgpu_binary_f32_ref(enum vgpu_binary op, float *out, const float *a,
			 const float *b, size_t n, size_t nb);

/**
 * vgpu_scale_f32_ref() - out[i] = a[i] * s
 * @out: f32 [n]; may be @a
 * @a: f32 [n]
 * @s: factor
 * @n: elements
 *
 * Context: Any thread. Allocates nothing, takes no lock.
 */
void vgpu_scale_f32_ref(float *out, const float *a, float s, size_t n);

/**
 * vgpu_rope_f32_ref() - rotate the heads of one token by its position, in place
 * @kind: which columns form a pair: NEOX (i, i + rot/2), NORM (2i, 2i + 1)
 * @x: f32 [heads][dim]
 * @heads: heads of the token
 * @dim: columns of a head
 * @rot: leading columns of a head that rotate; even, at most @dim; the others
 *	stay as they are
 * @pos: position of the token
 * @base: of the geometric sequence of frequencies, usually 10000
 * @freq_scale: of every angle (linear context scaling), usually 1
 *
 * Pair i turns by theta_i = pos * freq_scale * base^(-2i/rot), in double: at
 * position 2^20 the angle is still good to 1e-9.
 *
 * Source: Su et al., RoFormer, equation 15 (NORM); the half-split order is that
 * of GPT-NeoX.
 *
 * Context: Any thread. Allocates nothing, takes no lock.
 */
void vgpu_rope_f32_ref(enum vgpu_rope kind, float *x, uint32_t heads, uint32_t dim,
		       uint32_t rot, float pos, float base, float freq_scale);

/**
 * vgpu_topk_f32_ref() - the largest values of a row, in descending order
 * @x: f32 [n]
 * @n: values
 * @top: how many are wanted, at most @n
 * @out_value: f32 [top]
 * @out_index: s32 [top], positions in @x
 *
 * Equal values (+0 and -0 are equal) come in ascending order of their index. NaN
 * ranks below -INFINITY, and NaNs among themselves by index: a broken router
 * weight is chosen only when nothing else is left.
 *
 * Context: Any thread. Allocates nothing, takes no lock.
 */
void vgpu_topk_f32_ref(const float *x, uint32_t n, uint32_t top, float *out_value,
		       int32_t *out_index);

/**
 * vgpu_topk_insert() - offer one value to a list that is kept sorted
 * @value: the list, descending; entries [0, *@count) are set
 * @index: the positions that belong to @value
 * @count: entries set; grows up to @top
 * @top: room of the list, at least 1
 * @v: the value offered
 * @i: its position, above every position offered before
 *
 * Context: Any thread.
 */
void vgpu_topk_insert(float *value, int32_t *index, uint32_t *count, uint32_t top,
		      float v, int32_t i);

/**
 * vgpu_attention_f32_ref() - softmax(scale * Q K^T + mask) V, by streaming
 * @a: shapes, operands and options
 * @head_first: first head to compute
 * @head_end: one past the last head
 * @q_first: first query to compute
 * @q_end: one past the last query
 * @scratch: vgpu_attention_scratch_bytes(), 64-byte aligned, one a thread
 *
 * Head h reads key and value head h / (heads / kv_heads); kv_heads divides heads.
 * Query i stands at position i + kv - m. With @a->causal it sees the keys up to its
 * position; with a window w it sees no key before position - w + 1 (a non-causal
 * window has no upper limit). The mask is added after scale and softcap.
 *
 * A query that sees no key, or only keys whose mask is -INFINITY, gets zeros. K, V
 * and Q are finite; a NaN or +INFINITY score makes the output of its query NaN.
 *
 * The keys pass once, in ascending order, with a running maximum and a running sum
 * in double; no row of scores is stored. Other levels stay within the bounds of
 * tests/kernels/attention_test.c and give the same bits for a query however heads
 * and queries are cut into calls.
 *
 * Source: Vaswani et al., Attention Is All You Need, equation 1; Milakov,
 * Gimelshein, Online normalizer calculation for softmax, algorithm 3.
 *
 * Context: Any thread. Allocates nothing, takes no lock.
 */
void vgpu_attention_f32_ref(const struct vgpu_attention *a, uint32_t head_first,
			    uint32_t head_end, uint32_t q_first, uint32_t q_end,
			    void *scratch);

/**
 * vgpu_gate_value() - g(phi) of two rows
 * @g: the gate
 * @uu: u . u
 * @dd: du . du
 * @ud: u . du
 *
 * cos phi = u . du / (|u| |du|), no more than 1 and no less than -1; 0 where one of the
 * rows has no length, since it has no direction.
 *
 * Return: op(add + mul cos phi); NaN where a square is infinite or NaN.
 */
float vgpu_gate_value(const struct vgpu_gate *g, double uu, double dd, double ud);

/**
 * vgpu_gate_f32_ref() - a row that is added as far as a gate lets it through
 * @y: f32 [n]: du; becomes u + g(phi) du, each element rounded once
 * @u: f32 [n]; does not overlap @y
 * @n: columns
 * @g: the gate
 *
 * phi is the angle between the rows u and du.  The three sums are in double.  A row
 * becomes NaN as a whole when an element of u or du is NaN or infinite.
 *
 * Context: Any thread. Allocates nothing, takes no lock.
 */
void vgpu_gate_f32_ref(float *y, const float *u, uint32_t n, const struct vgpu_gate *g);

/**
 * vgpu_q8_0_encode_ref() - values as blocks of Q8_0
 * @dst: n / 32 blocks of 34 bytes: an f16 scale d, 32 codes q; any alignment
 * @src: f32 [n]
 * @n: a multiple of 32
 *
 * d = max|x| / 127, computed in f32 and rounded to f16; q = x / d rounded to nearest
 * even and clamped to -127 .. 127, as the codes of INT8_G16.  A value is then off by at
 * most d / 2 and, where d was rounded down, by 2^-11 of itself (more where d is below
 * 2^-14); a block whose max|x| is at most 127 * 2^-25 becomes zeros.  One with a NaN, or with
 * a magnitude of 127 * 65520 or more, is NaN as a whole: d is, and all codes are 0.
 *
 * Context: Any thread. Allocates nothing, takes no lock.
 */
void vgpu_q8_0_encode_ref(void *dst, const float *src, size_t n);

#endif
