// SPDX-License-Identifier: MIT
#include "common/layer_draw.h"

#include "common/guarded.h"
#include "common/weights_draw.h"
#include "kernels/check.h"

#define VALUES_MAX	8192u
#define OPERANDS	4	/* x, then gamma or b or a mask, beta, out */
#define CANARY		0xc5u

enum op { LAYERNORM, RMSNORM, SOFTMAX, UNARY, BINARY, SCALE, ROPE, TOPK, GATE, OPS };
static const char *const op_names[] = { "layernorm", "rmsnorm", "softmax", "unary", "binary",
					"scale", "rope", "topk", "gate" };

/**
 * struct drawn - one call
 * @n: elements of x; @nb: of the other operand
 * @kind: of UNARY, BINARY, ROPE, GATE
 * @has: which optional operands are given, bit by bit
 * @in_place: out is x
 * @factor: eps, scale, position, or of the angle
 * @heads, @dim, @rot: of ROPE
 * @out: behind the call: where it is
 */
struct drawn {
	uint64_t rng;
	enum op op;
	int exponent, kind;
	uint32_t n, nb, has, heads, dim, rot, top;
	bool special, in_place, at_end;
	float factor, add, base;
};

/* What x and the others were before a call, and results: of the reference, of a level. */
static struct guarded room[OPERANDS], room_index;
static float *drawn_values[3], *want;
static int32_t *want_index;
static char said[300], problem[600];

static void open_once(void)
{
	if (want)
		return;
	for (int i = 0; i < OPERANDS; i++)
		if (guarded_open(&room[i], VALUES_MAX * 4))
			abort();
	if (guarded_open(&room_index, VALUES_MAX * 4))
		abort();
	for (int i = 0; i < 3; i++)
		drawn_values[i] = check_alloc(VALUES_MAX * 4);
	want = check_alloc(VALUES_MAX * 4);
	want_index = check_alloc(VALUES_MAX * 4);
}

/* ------------------------------------------------------------------------
 * What is drawn
 */

static uint32_t draw_length(struct drawn *d, uint32_t most)
{
	return 1 + rng_below(&d->rng, draw_one_in(&d->rng, 2) ? 70 : most);
}

/* Ordinary numbers of one size, with some that are not; logits of levels are F32. */
static void draw_values(struct drawn *d, float *x, uint32_t n, double size)
{
	static const float specials[] = { 0.0f, -0.0f, 0x1p-149f, -0x1p-140f, NAN, INFINITY,
					  -INFINITY, 0x1.fffffep127f };

	for (uint32_t i = 0; i < n; i++)
		x[i] = d->special && draw_one_in(&d->rng, n + 3) ?
		       specials[rng_below(&d->rng, d->op == SOFTMAX ? 7 : 8)] : draw_finite(size * rng_gauss(&d->rng));
}

static void draw_rope(struct drawn *d)
{
	d->kind = (int)rng_below(&d->rng, 2);
	d->dim = 2 * (1 + rng_below(&d->rng, 160));
	d->rot = 2 * (1 + rng_below(&d->rng, d->dim / 2));
	d->heads = 1 + rng_below(&d->rng, 9);
	d->n = d->heads * d->dim;
	d->factor = (float)rng_below(&d->rng, draw_one_in(&d->rng, 8) ? 1u << 30 : 1u << 17);
	d->base = draw_one_in(&d->rng, 2) ? 1e4f : 1e6f;
	d->add = draw_one_in(&d->rng, 2) ? 1 : 0.25f;
	d->special = false;
}

static void draw(struct drawn *d, uint64_t number)
{
	static const float eps[] = { 1e-5f, 1e-6f, 1e-12f };

	*d = (struct drawn){ .rng = draw_seed(number) };
	d->op = rng_below(&d->rng, OPS);
	d->n = draw_length(d, 5000);
	d->nb = d->n;
	d->exponent = draw_one_in(&d->rng, 3) ? (int)rng_below(&d->rng, 60) - 30 : 0;
	d->special = draw_one_in(&d->rng, 3);
	d->in_place = draw_one_in(&d->rng, 2);
	d->at_end = draw_one_in(&d->rng, 2);
	d->has = rng_below(&d->rng, 4);
	d->factor = eps[rng_below(&d->rng, 3)];
	switch (d->op) {
	case RMSNORM: d->add = draw_one_in(&d->rng, 2); break;
	case SOFTMAX: d->factor = (float)rng_unit(&d->rng) * 4; break;
	case UNARY: d->kind = (int)rng_below(&d->rng, VGPU_UNARY_TANH + 1); break;
	case BINARY:
		d->kind = (int)rng_below(&d->rng, VGPU_BINARY_GEGLU + 1);
		d->nb = draw_length(d, 500);
		d->n = d->nb * (1 + rng_below(&d->rng, 8));
		break;
	case SCALE: d->factor = (float)rng_gauss(&d->rng); break;
	case ROPE: draw_rope(d); break;
	case GATE:
		d->kind = (int)rng_below(&d->rng, VGPU_UNARY_TANH + 1);
		d->factor = (float)rng_gauss(&d->rng);
		d->add = (float)rng_gauss(&d->rng);
		break;
	case TOPK: d->top = rng_below(&d->rng, (d->n < 60 ? d->n : 60) + 1); break;
	default: break;
	}
	draw_values(d, drawn_values[0], d->n, ldexp(1, d->exponent));
	draw_values(d, drawn_values[1], d->nb, 1);
	draw_values(d, drawn_values[2], d->nb, 1);
	for (uint32_t i = 0; i < d->nb && d->op == SOFTMAX; i++)
		if (draw_one_in(&d->rng, 3))
			drawn_values[1][i] = -INFINITY;
	snprintf(said, sizeof(said), "%s %d: n %u, nb %u, 2^%d%s%s, has %u, factor %g, %u heads of %u, "
		 "%u turn, top %u, %s a guard", op_names[d->op], d->kind, d->n, d->nb, d->exponent,
		 d->special ? ", special ones" : "", d->in_place ? ", in place" : "", d->has, d->factor,
		 d->heads, d->dim, d->rot, d->top, d->at_end ? "ends at" : "begins at");
}

/* ------------------------------------------------------------------------
 * A call
 */

static float *placed(const struct drawn *d, int which, uint32_t n)
{
	return memcpy(guarded_part(&room[which], n * 4, d->at_end), drawn_values[which], n * 4);
}

/* Operands lie anew between pages without access; @result gets what becomes of it. */
static void call(const struct drawn *d, const struct vgpu_kernels *t, float *result, int32_t *result_index)
{
	uint32_t outs = d->op == TOPK ? d->top : d->n;
	float *x = placed(d, 0, d->n), *b = placed(d, 1, d->nb), *c = placed(d, 2, d->nb);
	struct vgpu_gate gate = { (enum vgpu_unary)d->kind, d->factor, d->add };
	bool over_x = d->op == SOFTMAX || d->op == ROPE || d->op == GATE || (d->in_place && d->op != TOPK);
	float *out = over_x ? x : guarded_part(&room[3], outs * 4, d->at_end);
	int32_t *index = guarded_part(&room_index, d->top * 4, d->at_end);

	if (!over_x)
		memset(out, CANARY, outs * 4);
	memset(index, CANARY, d->top * 4);
	switch (d->op) {
	case LAYERNORM:
		t->layernorm(out, x, d->has & 1 ? b : NULL, d->has & 2 ? c : NULL, d->n, d->factor);
		break;
	case RMSNORM: t->rmsnorm(out, x, d->has & 1 ? b : NULL, d->n, d->factor, d->add); break;
	case SOFTMAX: t->softmax(x, d->has & 1 ? b : NULL, d->n, d->factor); break;
	case UNARY: t->unary((enum vgpu_unary)d->kind, out, x, d->n); break;
	case BINARY: t->binary((enum vgpu_binary)d->kind, out, x, b, d->n, d->nb); break;
	case SCALE: t->scale(out, x, d->factor, d->n); break;
	case ROPE:
		t->rope((enum vgpu_rope)d->kind, x, d->heads, d->dim, d->rot, d->factor, d->base,
			d->add);
		break;
	case GATE: t->gate(x, b, d->n, &gate); break;
	default: t->topk(x, d->n, d->top, out, index); break;
	}
	memcpy(result, out, outs * 4);
	memcpy(result_index, index, d->top * 4);
}

/* ------------------------------------------------------------------------
 * What it may be
 */

/* 1 / the deviation of x, as LAYERNORM has it. */
static double row_scale(const struct drawn *d)
{
	const float *x = drawn_values[0];
	double mean = 0, var = 0;

	for (uint32_t i = 0; i < d->n; i++)
		mean += x[i] / (double)d->n;
	for (uint32_t i = 0; i < d->n; i++)
		var += (x[i] - mean) * (x[i] - mean) / d->n;
	return 1 / sqrt(var + d->factor);
}

static double largest_logit(const struct drawn *d)
{
	double largest = 0;

	for (uint32_t i = 0; i < d->n; i++) {
		double logit = (double)drawn_values[0][i] * d->factor +
			       (d->has & 1 ? drawn_values[1][i] : 0);

		if (isfinite(logit))
			largest = fmax(largest, fabs(logit));
	}
	return largest;
}

/* Beyond the reference's own rounding; the limits of tests/kernels/layer_test.c. */
static double limit(const struct drawn *d, uint32_t i, double row)
{
	static const struct { double relative, of_x; } unary[] = {
		[VGPU_UNARY_GELU_ERF] = { 1.2e-7, 2e-7 }, [VGPU_UNARY_GELU_TANH] = { 3e-7, 1e-7 },
		[VGPU_UNARY_SILU] = { 3e-7, 0 }, [VGPU_UNARY_SIGMOID] = { 3e-7, 0 },
		[VGPU_UNARY_TANH] = { 2.4e-7, 0 },
	};
	const float *x = drawn_values[0], *b = drawn_values[1], *c = drawn_values[2];
	double y = fabs(want[i]), g = d->has & 1 ? fabs(b[i % d->nb]) : 1, pair;

	switch (d->op) {
	case LAYERNORM:
		return 1.1e-6 * y + 2e-6 * (g + (d->has & 2 ? fabs(c[i]) : 0)) +
		       2e-7 * fabs(x[i] * row * g);
	case RMSNORM:	/* what is too small for F32 before gamma is multiplied */
		return 1.1e-6 * y + (d->has & 1 ? 2e-7 * (g + d->add) * fabs(x[i]) * row : 0) +
		       0x1p-148 * (1 + g);
	case SOFTMAX: return (2.1e-6 + 4e-7 * row) * y + 0x1p-125;
	case UNARY: return (unary[d->kind].relative + 6e-8) * y + unary[d->kind].of_x * fabs(x[i]) + 3e-37;
	case BINARY:
		if (d->kind < VGPU_BINARY_SWIGLU)
			return 0;
		return 5.6e-7 * y + 1e-7 * fabs((double)x[i] * b[i % d->nb]) + 3e-37 * (1 + fabs(b[i % d->nb]));
	case ROPE:
		pair = 0;
		for (uint32_t h = i / d->dim * d->dim; h < (i / d->dim + 1) * d->dim; h++)
			pair = fmax(pair, fabs(x[h]));
		return 2 * 3e-7 * pair;
	case GATE:
		return (1.2e-6 * fabs(d->factor) + 2.4e-7 * (1 + fabs(d->factor) + fabs(d->add))) * fabs(x[i]) +
		       2.4e-7 * y + 0x1p-149;
	default: return 0;
	}
}

/* @most: NaN where an operand is no number: then the reference's kind of it is all that is wanted */
static bool is_within(const struct drawn *d, float got, float wanted, double most)
{
	if (got == wanted || (isnan(got) && isnan(wanted)))
		return true;
	/* What is nearly 0, times infinity; and at the end of the range one may be beyond it. */
	if (!isfinite(got) || !isfinite(wanted))
		return (d->special && d->op != UNARY && d->op != SOFTMAX && !isfinite(got) &&
			!isfinite(wanted)) ||
		       (most > 0 && fabs(got) >= 0x1.fp127 && fabs(wanted) >= 0x1.fp127);
	return !(fabs((double)got - wanted) > most);
}

static const char *compare(const struct drawn *d, const struct vgpu_kernels *t, const float *got,
			   const int32_t *index)
{
	uint32_t outs = d->op == TOPK ? d->top : d->n;
	double row = d->op == SOFTMAX ? largest_logit(d) : row_scale(d);

	for (uint32_t i = 0; i < outs; i++) {
		double most = limit(d, i, row);

		if (is_within(d, got[i], want[i], most) && (d->op != TOPK || index[i] == want_index[i]))
			continue;
		snprintf(problem, sizeof(problem), "%s, at %s: [%u] of %a is %a, the reference has %a, limit %g",
			 said, vgpu_isa_name(t->isa), i, drawn_values[0][i], got[i], want[i], most);
		return problem;
	}
	return NULL;
}

const char *layer_draw_said(void)
{
	return said;
}

const char *layer_draw(uint64_t number)
{
	static float got[VALUES_MAX];
	static int32_t index[VALUES_MAX];
	const char *e = NULL;
	struct drawn d;

	open_once();
	draw(&d, number);
	call(&d, vgpu_kernels_get(VGPU_ISA_REF), want, want_index);
	for (int isa = VGPU_ISA_AVX2; isa <= VGPU_ISA_AVX512 && !e; isa++) {
		const struct vgpu_kernels *t = vgpu_kernels_get(isa);

		if (!t)
			continue;
		call(&d, t, got, index);
		e = compare(&d, t, got, index);
	}
	return e;
}
