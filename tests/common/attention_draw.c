// SPDX-License-Identifier: MIT
#include "common/attention_draw.h"

#include "common/guarded.h"
#include "common/kv_draw.h"
#include "common/weights_draw.h"
#include "kernels/attention.h"
#include "kernels/random_blocks.h"

#define ROOM_BYTES	(8u << 20)
#define CANARY		0xc5u

enum operand { Q, K, V, MASK, OUT, SCRATCH, OPERANDS };

/**
 * struct drawn - one call
 * @a: as the kernels get it
 * @largest: of the values' magnitudes
 */
struct drawn {
	uint64_t rng;
	struct vgpu_attention a;
	float largest;
	uint32_t ends;
};

static struct guarded room[OPERANDS];
static float *want, *whole, *part;
static char said[300], problem[500];

static void open_once(void)
{
	if (want)
		return;
	for (int i = 0; i < OPERANDS; i++)
		if (guarded_open(&room[i], ROOM_BYTES))
			abort();
	want = check_alloc(ROOM_BYTES);
	whole = check_alloc(ROOM_BYTES);
	part = check_alloc(ROOM_BYTES);
}

static void *placed(const struct drawn *d, enum operand which, size_t bytes)
{
	return guarded_part(&room[which], bytes, d->ends >> which & 1);
}

/* ------------------------------------------------------------------------
 * What is drawn
 */

static uint32_t few(struct drawn *d, uint32_t most)
{
	return 1 + rng_below(&d->rng, draw_one_in(&d->rng, 2) && most > 4 ? 4 : most);
}

/* Elements from row to row; of Q8_0 whole blocks. */
static size_t stride(struct drawn *d, uint32_t row, bool blocks)
{
	uint32_t more = draw_one_in(&d->rng, 2) ? 0 : rng_below(&d->rng, 40);

	return row + (blocks ? more / 32 * 32 : more);
}

static void draw_shape(struct drawn *d)
{
	static const enum vgpu_wformat formats[] = { 0, VGPU_W_F32, VGPU_W_F16, VGPU_W_BF16, VGPU_W_Q8_0 };
	struct vgpu_attention *a = &d->a;
	bool blocks;

	a->kv_format = formats[rng_below(&d->rng, 5)];
	blocks = a->kv_format == VGPU_W_Q8_0;
	a->m = few(d, 40);
	a->kv = draw_one_in(&d->rng, 4) ? few(d, 8) : 1 + rng_below(&d->rng, 420);
	a->kv_heads = few(d, 3);
	a->heads = a->kv_heads * few(d, 6);
	a->head_dim = blocks ? 32 * few(d, 8) : 1 + rng_below(&d->rng, draw_one_in(&d->rng, 4) ? 300 : 90);
	a->window = draw_one_in(&d->rng, 3) ? 1 + rng_below(&d->rng, a->kv + 10) : 0;
	a->causal = rng_below(&d->rng, 2);
	a->scale = 1 / sqrtf((float)a->head_dim);
	a->softcap = draw_one_in(&d->rng, 4) ? 3 : 0;
	a->ldq = stride(d, a->heads * a->head_dim, false);
	a->ldk = stride(d, a->kv_heads * a->head_dim, blocks);
	a->ldv = stride(d, a->kv_heads * a->head_dim, blocks);
	a->ldo = stride(d, a->heads * a->head_dim, false);
	a->ldmask = draw_one_in(&d->rng, 4) ? 0 : stride(d, a->kv, false);
}

/* Rows of floats; what lies between them is no number. */
static float *draw_floats(struct drawn *d, enum operand which, uint32_t rows, uint32_t cols, size_t ld,
			  double size)
{
	size_t n = (rows - 1) * ld + cols;
	float *x = placed(d, which, n * 4);

	memset(x, 0xff, n * 4);
	for (uint32_t r = 0; r < rows; r++)
		for (uint32_t c = 0; c < cols; c++)
			x[r * ld + c] = (float)(size * rng_gauss(&d->rng));
	return x;
}

/* One element or block; returns how large it may be. */
static float draw_coded(struct drawn *d, uint8_t *at, double size)
{
	float x = (float)(size * rng_gauss(&d->rng));

	if (d->a.kv_format == VGPU_W_F16) {
		put_half(at, x);
	} else if (d->a.kv_format == VGPU_W_BF16) {
		memcpy(at, (uint8_t *)&x + 2, 2);
	} else {
		put_half(at, x / 64);
		for (int i = 0; i < 32; i++)
			at[2 + i] = (uint8_t)rng_next(&d->rng);
		return 2 * fabsf(x);
	}
	return fabsf(x);
}

/* Keys or values, [kv][kv_heads][head_dim]. */
static const void *draw_rows(struct drawn *d, enum operand which, size_t ld, double size)
{
	struct vgpu_attention *a = &d->a;
	uint32_t cols = a->kv_heads * a->head_dim, step = a->kv_format == VGPU_W_Q8_0 ? 32 : 1;
	size_t n = (a->kv - 1) * ld + cols;
	uint8_t *rows;

	d->largest = 0;
	if (vgpu_attention_kv_is_f32(a)) {
		float *x = draw_floats(d, which, a->kv, cols, ld, size);

		for (size_t i = 0; i < n; i++)
			d->largest = fmaxf(d->largest, fabsf(x[i]));
		return x;
	}
	rows = placed(d, which, (uintptr_t)vgpu_attention_kv_at(a, NULL, n));
	memset(rows, 0xff, (uintptr_t)vgpu_attention_kv_at(a, NULL, n));
	for (uint32_t r = 0; r < a->kv; r++)
		for (uint32_t c = 0; c < cols; c += step) {
			float x = draw_coded(d, (uint8_t *)(uintptr_t)vgpu_attention_kv_at(a, rows, r * ld + c), size);

			d->largest = fmaxf(d->largest, x);
		}
	return rows;
}

static void draw(struct drawn *d, uint64_t number)
{
	struct vgpu_attention *a = &d->a;

	*d = (struct drawn){ .rng = draw_seed(number) };
	draw_shape(d);
	d->ends = (uint32_t)rng_next(&d->rng);
	snprintf(said, sizeof(said), "attention of format %d: m %u, kv %u, heads %u / %u of %u, window %u%s%s, "
		 "softcap %g, strides %zu %zu %zu %zu %zu, ends %x", a->kv_format, a->m, a->kv, a->heads,
		 a->kv_heads, a->head_dim, a->window, a->causal ? ", causal" : "",
		 a->ldmask ? ", masked" : "", a->softcap, a->ldq, a->ldk, a->ldv, a->ldo, a->ldmask,
		 d->ends & 63);
	a->q = draw_floats(d, Q, a->m, a->heads * a->head_dim, a->ldq, 1);
	a->k = draw_rows(d, K, a->ldk, 1.5);
	a->v = draw_rows(d, V, a->ldv, 1);
	if (a->ldmask) {
		float *mask = draw_floats(d, MASK, a->m, a->kv, a->ldmask, 2);

		for (uint32_t i = 0; i < a->m; i++)
			for (uint32_t j = 0; j < a->kv; j++)
				if (draw_one_in(&d->rng, 3))
					mask[i * a->ldmask + j] = -INFINITY;
		a->mask = mask;
	}
}

/* ------------------------------------------------------------------------
 * What becomes of it
 */

static size_t out_floats(const struct vgpu_attention *a)
{
	return (a->m - 1) * a->ldo + (size_t)a->heads * a->head_dim;
}

static void call(struct drawn *d, const struct vgpu_kernels *t, uint32_t h, uint32_t h_end, uint32_t q,
		 uint32_t q_end, float *result)
{
	size_t bytes = out_floats(&d->a) * 4, scratch_bytes = vgpu_attention_scratch_bytes(&d->a);
	void *scratch = placed(d, SCRATCH, (scratch_bytes + 63) & ~63ul);

	d->a.out = placed(d, OUT, bytes);
	memset(d->a.out, CANARY, bytes);
	memset(scratch, 0xff, scratch_bytes);
	t->attention(&d->a, h, h_end, q, q_end, scratch);
	memcpy(result, d->a.out, bytes);
}

static const char *wrong(const struct vgpu_kernels *t, size_t i, float is, float should, const char *what)
{
	snprintf(problem, sizeof(problem), "%s, at %s: out[%zu] is %a, not %a: %s", said,
		 vgpu_isa_name(t->isa), i, is, should, what);
	return problem;
}

/* Documentation/layers.md: 1e-5 for values of size 1. */
static const char *compare(const struct drawn *d, const struct vgpu_kernels *t, const float *got)
{
	const struct vgpu_attention *a = &d->a;
	double most = 1e-5 * fmax(1, d->largest / 4);
	float canary;

	memset(&canary, CANARY, 4);
	for (size_t i = 0; i < out_floats(a); i++) {
		if (i % a->ldo >= a->heads * a->head_dim) {
			if (memcmp(&got[i], &canary, 4))
				return wrong(t, i, got[i], canary, "beside a row");
		} else if (!(fabs((double)got[i] - want[i]) <= most)) {
			return wrong(t, i, got[i], want[i], "the reference's");
		}
	}
	return NULL;
}

/* Some heads of some queries: the same bits, and no others. */
static const char *check_cut(struct drawn *d, const struct vgpu_kernels *t, const float *all)
{
	const struct vgpu_attention *a = &d->a;
	uint32_t h = rng_below(&d->rng, a->heads), h_end = h + 1 + rng_below(&d->rng, a->heads - h);
	uint32_t q = rng_below(&d->rng, a->m), q_end = q + 1 + rng_below(&d->rng, a->m - q);
	float canary;

	memset(&canary, CANARY, 4);
	call(d, t, h, h_end, q, q_end, part);
	for (size_t i = 0; i < out_floats(a); i++) {
		uint32_t row = (uint32_t)(i / a->ldo), head = (uint32_t)(i % a->ldo / a->head_dim);
		bool mine = row >= q && row < q_end && head >= h && head < h_end;

		if (memcmp(&part[i], mine ? &all[i] : &canary, 4))
			return wrong(t, i, part[i], mine ? all[i] : canary, "when cut");
	}
	return NULL;
}

const char *attention_draw_said(void)
{
	return said;
}

const char *attention_draw(uint64_t number)
{
	const char *e = NULL;
	struct drawn d;

	open_once();
	draw(&d, number);
	call(&d, vgpu_kernels_get(VGPU_ISA_REF), 0, d.a.heads, 0, d.a.m, want);
	for (int isa = VGPU_ISA_AVX2; isa <= VGPU_ISA_AVX512 && !e; isa++) {
		const struct vgpu_kernels *t = vgpu_kernels_get(isa);

		if (!t)
			continue;
		call(&d, t, 0, d.a.heads, 0, d.a.m, whole);
		e = compare(&d, t, whole);
		if (!e)
			e = check_cut(&d, t, whole);
	}
	/* What writes such keys and values. */
	if (!e && d.a.kv_format == VGPU_W_Q8_0)
		e = kv_draw(number);
	return e;
}
