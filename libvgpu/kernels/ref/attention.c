// SPDX-License-Identifier: MIT
#include "kernels/attention.h"
#include "kernels/pack/half.h"
#include "kernels/ref/layer.h"

#include <math.h>
#include <string.h>

/* The running state of one query; acc is [head_dim] in scratch. */
struct stream {
	double max, sum;
	double *acc;
};

/* Column c of a key or value that begins at p. */
static double kv_column(const struct vgpu_attention *a, const void *p, uint32_t c)
{
	const uint8_t *block = (const uint8_t *)p + (size_t)c / 32 * VGPU_KV_Q8_0_BYTES;
	uint16_t d;

	if (vgpu_attention_kv_is_f32(a))
		return ((const float *)p)[c];
	if (a->kv_format == VGPU_W_F16)
		return vgpu_f16_to_f32(((const uint16_t *)p)[c]);
	if (a->kv_format == VGPU_W_BF16)
		return vgpu_bf16_to_f32(((const uint16_t *)p)[c]);
	if (a->kv_format != VGPU_W_Q8_0)
		return NAN;
	memcpy(&d, block, sizeof(d));
	return (double)vgpu_f16_to_f32(d) * (int8_t)block[2 + c % 32];
}

static double score(const struct vgpu_attention *a, const float *q, const void *k,
		    const float *mask)
{
	double s = 0;

	for (uint32_t c = 0; c < a->head_dim; c++)
		s += (double)q[c] * kv_column(a, k, c);
	s *= a->scale;
	if (a->softcap != 0)
		s = a->softcap * tanh(s / a->softcap);
	return mask ? s + *mask : s;
}

static void stream_add(struct stream *st, double s, const struct vgpu_attention *a,
		       const void *v)
{
	double p, old = 1;

	if (s == -INFINITY)
		return;
	if (s > st->max) {
		old = exp(st->max - s);
		st->max = s;
	}
	p = exp(s - st->max);
	st->sum = st->sum * old + p;
	for (uint32_t c = 0; c < a->head_dim; c++)
		st->acc[c] = st->acc[c] * old + p * kv_column(a, v, c);
}

static void query(const struct vgpu_attention *a, uint32_t head, uint32_t i, double *acc)
{
	struct vgpu_attention_span span = vgpu_attention_span(a, i);
	size_t kv_head = head / (a->heads / a->kv_heads);
	const float *q = a->q + i * a->ldq + (size_t)head * a->head_dim;
	float *out = a->out + i * a->ldo + (size_t)head * a->head_dim;
	struct stream st = { .max = -INFINITY, .acc = acc };

	for (uint32_t c = 0; c < a->head_dim; c++)
		acc[c] = 0;
	for (uint32_t j = span.first; j < span.end; j++) {
		const void *k = vgpu_attention_kv_at(a, a->k, j * a->ldk + kv_head * a->head_dim);
		const void *v = vgpu_attention_kv_at(a, a->v, j * a->ldv + kv_head * a->head_dim);
		const float *mask = a->mask ? a->mask + i * a->ldmask + j : NULL;

		stream_add(&st, score(a, q, k, mask), a, v);
	}
	for (uint32_t c = 0; c < a->head_dim; c++)
		out[c] = st.sum == 0 ? 0 : (float)(acc[c] / st.sum);
}

void vgpu_attention_f32_ref(const struct vgpu_attention *a, uint32_t head_first,
			    uint32_t head_end, uint32_t q_first, uint32_t q_end,
			    void *scratch)
{
	for (uint32_t h = head_first; h < head_end; h++)
		for (uint32_t i = q_first; i < q_end; i++)
			query(a, h, i, scratch);
}
