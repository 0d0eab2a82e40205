// SPDX-License-Identifier: MIT
/*
 * Attention at every level against the direct formula in double, which stores a whole
 * row of scores and knows nothing of blocks or streaming.
 */
#include <sys/mman.h>
#include <unistd.h>
#include "check.h"
#include "kernels/attention.h"
#include "kernels/pack/half.h"

/*
 * A problem with its operands; strides may be longer than the rows. k and v are what the
 * keys and values decode to, coded what the kernels get where that is not f32.
 */
struct problem {
	struct vgpu_attention a;
	float *q, *k, *v, *mask, *out;
	void *coded[2];
	void *scratch;
};

struct shape {
	uint32_t m, kv, heads, kv_heads, head_dim, window;
	bool causal, masked;
	float softcap;
	uint32_t slack;		/* floats between the end of a row and the next */
	enum vgpu_wformat format;	/* of keys and values; 0: f32 */
};

/* Ends where the last row ends and starts 4 bytes off alignment. */
static float *matrix_new(uint64_t *rng, size_t rows, size_t cols, size_t ld, double deviation)
{
	size_t n = rows ? (rows - 1) * ld + cols : 0;
	float *memory = malloc((n + 1) * sizeof(float));

	assert_non_null(memory);
	/* The room between rows must not count: it would turn everything NaN. */
	for (size_t i = 0; i <= n; i++)
		memory[i] = NAN;
	for (size_t r = 0; r < rows; r++)
		for (size_t c = 0; c < cols; c++)
			memory[1 + r * ld + c] = (float)(deviation * rng_gauss(rng));
	return memory + 1;
}

static void matrix_free(float *m)
{
	if (m)
		free(m - 1);
}

static void *coded_at(enum vgpu_wformat format, void *coded, size_t element)
{
	return (uint8_t *)coded + (format == VGPU_W_Q8_0 ? element / 32 * 34 : element * 2);
}

/* 32 columns as ggml rounds them; they become what they decode to. */
static void q8_0_encode(uint8_t *block, float *x)
{
	float largest = 0, scale;
	uint16_t d;

	for (int i = 0; i < 32; i++)
		largest = fmaxf(largest, fabsf(x[i]));
	d = vgpu_f32_to_f16(largest / 127);
	scale = vgpu_f16_to_f32(d);
	memcpy(block, &d, sizeof(d));
	for (int i = 0; i < 32; i++) {
		int code = scale > 0 ? (int)lrintf(x[i] / scale) : 0;

		code = code > 127 ? 127 : code < -127 ? -127 : code;
		block[2 + i] = (uint8_t)code;
		x[i] = scale * (float)code;
	}
}

static void half_encode(enum vgpu_wformat format, void *p, float *x)
{
	uint16_t h = format == VGPU_W_F16 ? vgpu_f32_to_f16(*x) : vgpu_f32_to_bf16(*x);

	memcpy(p, &h, sizeof(h));
	*x = format == VGPU_W_F16 ? vgpu_f16_to_f32(h) : vgpu_bf16_to_f32(h);
}

/*
 * The rows of a matrix in another format, whose values it then has. Ends where the last
 * row ends and begins as little aligned as the format allows; room between rows is NaN.
 */
static void *matrix_code(enum vgpu_wformat format, float *m, size_t rows, size_t cols, size_t ld)
{
	size_t elements = (rows - 1) * ld + cols;
	size_t bytes = (uintptr_t)coded_at(format, NULL, elements) + 2;
	uint8_t *coded = malloc(bytes);

	assert_non_null(coded);
	memset(coded, 0xff, bytes);
	for (size_t r = 0; r < rows; r++) {
		for (size_t c = 0; c < cols; c += format == VGPU_W_Q8_0 ? 32 : 1) {
			void *p = coded_at(format, coded + 2, r * ld + c);

			if (format == VGPU_W_Q8_0)
				q8_0_encode(p, m + r * ld + c);
			else
				half_encode(format, p, m + r * ld + c);
		}
	}
	return coded;
}

static void problem_code(struct problem *p, enum vgpu_wformat format)
{
	size_t cols = (size_t)p->a.kv_heads * p->a.head_dim;

	p->coded[0] = matrix_code(format, p->k, p->a.kv, cols, p->a.ldk);
	p->coded[1] = matrix_code(format, p->v, p->a.kv, cols, p->a.ldv);
	p->a.k = (uint8_t *)p->coded[0] + 2;
	p->a.v = (uint8_t *)p->coded[1] + 2;
}

static struct problem problem_new(const struct shape *s, uint64_t *rng)
{
	size_t cols = (size_t)s->heads * s->head_dim, kv_cols = (size_t)s->kv_heads * s->head_dim;
	struct problem p = {
		.a = { .m = s->m, .kv = s->kv, .heads = s->heads, .kv_heads = s->kv_heads,
		       .head_dim = s->head_dim, .window = s->window, .causal = s->causal,
		       .scale = 1 / sqrtf((float)s->head_dim), .softcap = s->softcap,
		       .ldq = cols + s->slack, .ldk = kv_cols + s->slack,
		       .ldv = kv_cols + 2 * s->slack, .ldo = cols + 3 * s->slack,
		       .ldmask = s->kv + s->slack },
	};

	p.q = matrix_new(rng, s->m, cols, p.a.ldq, 1);
	p.k = matrix_new(rng, s->kv, kv_cols, p.a.ldk, 1.5);
	p.v = matrix_new(rng, s->kv, kv_cols, p.a.ldv, 1);
	p.out = matrix_new(rng, s->m, cols, p.a.ldo, 0);
	if (s->masked) {
		p.mask = matrix_new(rng, s->m, s->kv, p.a.ldmask, 2);
		for (uint32_t i = 0; i < s->m; i++)
			for (uint32_t j = 0; j < s->kv; j++)
				if (rng_below(rng, 3) == 0)
					p.mask[i * p.a.ldmask + j] = -INFINITY;
	}
	p.a.q = p.q;
	p.a.k = p.k;
	p.a.v = p.v;
	p.a.mask = p.mask;
	p.a.out = p.out;
	p.a.kv_format = s->format;
	if (!vgpu_attention_kv_is_f32(&p.a))
		problem_code(&p, s->format);
	/* Starts as NaN, and later calls find what earlier ones left: none may show. */
	p.scratch = aligned_alloc(64, (vgpu_attention_scratch_bytes(&p.a) + 63) & ~63ul);
	assert_non_null(p.scratch);
	memset(p.scratch, 0xff, vgpu_attention_scratch_bytes(&p.a));
	return p;
}

static void problem_free(struct problem *p)
{
	matrix_free(p->q);
	matrix_free(p->k);
	matrix_free(p->v);
	matrix_free(p->mask);
	matrix_free(p->out);
	free(p->coded[0]);
	free(p->coded[1]);
	free(p->scratch);
}

static bool sees(const struct vgpu_attention *a, uint32_t i, uint32_t j)
{
	int64_t pos = (int64_t)i + a->kv - a->m;

	if (a->causal && (int64_t)j > pos)
		return false;
	return !a->window || (int64_t)j > pos - a->window;
}

/* One output row in double: probabilities first, then the sum over the values. */
static void direct_row(const struct problem *problem, uint32_t h, uint32_t i, double *p,
		       double *out)
{
	const struct vgpu_attention *a = &problem->a;
	const float *q = a->q + i * a->ldq + (size_t)h * a->head_dim;
	size_t kv_head = h / (a->heads / a->kv_heads);
	double max = -INFINITY, sum = 0;

	for (uint32_t j = 0; j < a->kv; j++) {
		const float *k = problem->k + j * a->ldk + kv_head * a->head_dim;
		double s = 0;

		for (uint32_t c = 0; c < a->head_dim; c++)
			s += (double)q[c] * k[c];
		s *= a->scale;
		if (a->softcap != 0)
			s = a->softcap * tanh(s / a->softcap);
		p[j] = sees(a, i, j) ? s + (a->mask ? a->mask[i * a->ldmask + j] : 0) :
				       -INFINITY;
		max = fmax(max, p[j]);
	}
	for (uint32_t j = 0; j < a->kv; j++) {
		p[j] = max == -INFINITY ? 0 : exp(p[j] - max);
		sum += p[j];
	}
	for (uint32_t c = 0; c < a->head_dim; c++) {
		out[c] = 0;
		for (uint32_t j = 0; j < a->kv; j++)
			out[c] += p[j] / (sum == 0 ? 1 : sum) *
				  problem->v[j * a->ldv + kv_head * a->head_dim + c];
	}
}

struct error {
	double squares, reference, largest;
};

static void error_add(struct error *e, float got, double want)
{
	double d = got - want;

	assert_false(isnan(got));
	e->squares += d * d;
	e->reference += want * want;
	e->largest = fmax(e->largest, fabs(d));
}

/* Values are of size 1: the bounds of Documentation/layers.md. */
#define NMSE_MAX	4e-12
#define ERROR_MAX	1e-5

static struct error error_of(const struct problem *p)
{
	const struct vgpu_attention *a = &p->a;
	double *probability = malloc(a->kv * sizeof(double));
	double *want = malloc(a->head_dim * sizeof(double));
	struct error e = { 0 };

	assert_true(probability && want);
	for (uint32_t h = 0; h < a->heads; h++) {
		for (uint32_t i = 0; i < a->m; i++) {
			direct_row(p, h, i, probability, want);
			for (uint32_t c = 0; c < a->head_dim; c++)
				error_add(&e, a->out[i * a->ldo + h * a->head_dim + c], want[c]);
		}
	}
	free(probability);
	free(want);
	return e;
}

static void assert_within_bound(const struct problem *p)
{
	struct error e = error_of(p);

	assert_true(e.largest <= ERROR_MAX);
	assert_true(e.squares <= NMSE_MAX * e.reference);
}

static void run_all(const struct vgpu_kernels *t, const struct problem *p)
{
	t->attention(&p->a, 0, p->a.heads, 0, p->a.m, p->scratch);
}

static void check_shape(const struct vgpu_kernels *t, const struct shape *s, uint64_t *rng)
{
	struct problem p = problem_new(s, rng);

	run_all(t, &p);
	assert_within_bound(&p);
	problem_free(&p);
}

static void every_query_count_is_within_bound(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 1;

	for (uint32_t m = 1; m <= 70; m++) {
		struct shape s = { .m = m, .kv = m, .heads = 2, .kv_heads = 2, .head_dim = 32 };

		check_shape(t, &s, &rng);
		s.kv = m + 61;
		s.causal = true;
		check_shape(t, &s, &rng);
	}
}

static void every_head_size_is_within_bound(void **state)
{
	static const uint32_t dims[] = { 1, 8, 15, 16, 17, 32, 40, 64, 72, 80, 96, 128, 160,
					 192, 256, 320 };
	static const uint32_t queries[] = { 1, 3, 9, 21 };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 2;

	for (int d = 0; d < 16; d++) {
		for (int m = 0; m < 4; m++) {
			struct shape s = { .m = queries[m], .kv = 150, .heads = 2,
					   .kv_heads = 1, .head_dim = dims[d], .slack = 5 };

			check_shape(t, &s, &rng);
		}
	}
}

static void every_key_count_is_within_bound(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 3;

	for (uint32_t kv = 1; kv < 300; kv += kv < 67 ? 1 : 13) {
		struct shape s = { .m = 1, .kv = kv, .heads = 2, .kv_heads = 1,
				   .head_dim = 40, .slack = 3 };

		check_shape(t, &s, &rng);
		s.m = 9;
		s.masked = true;
		check_shape(t, &s, &rng);
	}
}

static void every_group_ratio_is_within_bound(void **state)
{
	static const uint32_t groups[][2] = { { 1, 1 }, { 8, 8 }, { 8, 4 }, { 8, 1 }, { 9, 3 },
					      { 14, 2 }, { 71, 1 } };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 4;

	for (int g = 0; g < 7; g++) {
		struct shape s = { .m = 1, .kv = 140, .heads = groups[g][0],
				   .kv_heads = groups[g][1], .head_dim = 16, .causal = true };

		check_shape(t, &s, &rng);
		s.m = 13;
		check_shape(t, &s, &rng);
	}
}

static void options_combine_within_bound(void **state)
{
	static const uint32_t windows[] = { 0, 1, 5, 128, 1000 };
	static const uint32_t queries[] = { 1, 5, 17 };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 5;

	for (int w = 0; w < 5; w++) {
		for (int m = 0; m < 3; m++) {
			for (int bits = 0; bits < 8; bits++) {
				struct shape s = { .m = queries[m], .kv = 190, .heads = 2,
						   .kv_heads = 1, .head_dim = 24,
						   .window = windows[w], .causal = bits & 1,
						   .masked = bits & 2,
						   .softcap = bits & 4 ? 3 : 0, .slack = 7 };

				check_shape(t, &s, &rng);
			}
		}
	}
}

/* Fewer keys than queries: the first queries stand before the first key. */
static void queries_before_the_first_key_are_zero(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 6;

	for (uint32_t m = 2; m < 40; m += 9) {
		struct shape s = { .m = m, .kv = 2, .heads = 1, .kv_heads = 1, .head_dim = 8,
				   .causal = true };
		struct problem p = problem_new(&s, &rng);

		run_all(t, &p);
		assert_within_bound(&p);
		for (uint32_t i = 0; i + 2 < m; i++)
			for (uint32_t c = 0; c < 8; c++)
				assert_true(p.out[i * p.a.ldo + c] == 0);
		problem_free(&p);
	}
}

static void all_masked_rows_are_zero(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 7;

	for (uint32_t m = 1; m < 24; m += 11) {
		struct shape s = { .m = m, .kv = 200, .heads = 2, .kv_heads = 2,
				   .head_dim = 40, .masked = true };
		struct problem p = problem_new(&s, &rng);

		for (uint32_t i = 0; i < m; i += 2)
			for (uint32_t j = 0; j < 200; j++)
				p.mask[i * p.a.ldmask + j] = -INFINITY;
		run_all(t, &p);
		assert_within_bound(&p);
		for (uint32_t i = 0; i < m; i += 2)
			for (uint32_t c = 0; c < 80; c++)
				assert_true(p.out[i * p.a.ldo + c] == 0);
		problem_free(&p);
	}
}

/* One key far above the rest, at every place: its value is the answer. */
static void one_large_score_selects_its_value(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 8;

	for (uint32_t m = 1; m < 20; m += 9) {
		for (uint32_t where = 0; where < 260; where += 37) {
			struct shape s = { .m = m, .kv = 260, .heads = 1, .kv_heads = 1,
					   .head_dim = 16, .masked = true };
			struct problem p = problem_new(&s, &rng);

			for (uint32_t i = 0; i < m; i++)
				p.mask[i * p.a.ldmask + where] = 1e6f;
			run_all(t, &p);
			for (uint32_t i = 0; i < m; i++)
				assert_memory_equal(p.out + i * p.a.ldo,
						    p.v + where * p.a.ldv, 16 * sizeof(float));
			problem_free(&p);
		}
	}
}

/* Scores up to thousands, rising along the keys, so that every block rescales. */
static void rising_large_scores_do_not_overflow(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 9;

	for (uint32_t m = 1; m < 20; m += 9) {
		struct shape s = { .m = m, .kv = 700, .heads = 1, .kv_heads = 1,
				   .head_dim = 16, .masked = true };
		struct problem p = problem_new(&s, &rng);

		for (uint32_t i = 0; i < m; i++)
			for (uint32_t j = 0; j < 700; j++)
				p.mask[i * p.a.ldmask + j] = 8 * (float)j - 3000;
		/* Products vanish beside the mask, whose values are exact. */
		p.a.scale = 0;
		run_all(t, &p);
		assert_within_bound(&p);
		problem_free(&p);
	}
}

static void lowest_finite_mask_is_a_mask_like_any_other(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 10;

	for (uint32_t m = 1; m < 20; m += 9) {
		struct shape s = { .m = m, .kv = 50, .heads = 1, .kv_heads = 1,
				   .head_dim = 16, .masked = true };
		struct problem p = problem_new(&s, &rng);

		for (uint32_t i = 0; i < m; i++)
			for (uint32_t j = 0; j < 50; j++)
				p.mask[i * p.a.ldmask + j] = -3.4028234e38f;
		p.a.scale = 0;
		run_all(t, &p);
		assert_within_bound(&p);
		problem_free(&p);
	}
}

static void a_nan_score_spoils_its_query_only(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 11;

	for (uint32_t m = 2; m < 24; m += 11) {
		struct shape s = { .m = m, .kv = 300, .heads = 1, .kv_heads = 1,
				   .head_dim = 16, .masked = true };
		struct problem p = problem_new(&s, &rng);

		p.mask[1 * p.a.ldmask + 130] = NAN;
		run_all(t, &p);
		for (uint32_t i = 0; i < m; i++)
			for (uint32_t c = 0; c < 16; c++)
				assert_int_equal(isnan(p.out[i * p.a.ldo + c]) != 0, i == 1);
		problem_free(&p);
	}
}

/* Every element of the output is written, nothing between the rows. */
static void room_between_rows_is_left_alone(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 12;
	struct shape s = { .m = 11, .kv = 33, .heads = 3, .kv_heads = 3, .head_dim = 24,
			   .slack = 4 };
	struct problem p = problem_new(&s, &rng);

	run_all(t, &p);
	for (uint32_t i = 0; i + 1 < 11; i++)
		for (uint32_t c = 3 * 24; c < p.a.ldo; c++)
			assert_true(isnan(p.out[i * p.a.ldo + c]));
	problem_free(&p);
}

/* --- any cut gives the same bits --- */

static void check_cuts(const struct vgpu_kernels *t, const struct shape *s, uint64_t *rng)
{
	struct problem p = problem_new(s, rng);
	size_t bytes = ((s->m - 1) * p.a.ldo + (size_t)s->heads * s->head_dim) * sizeof(float);
	float *whole = malloc(bytes);

	assert_non_null(whole);
	run_all(t, &p);
	memcpy(whole, p.out, bytes);
	for (int round = 0; round < 3; round++) {
		/* The first round goes one head and one query at a time. */
		uint32_t h_most = round ? 1 + rng_below(rng, s->heads) : 1;
		uint32_t q_most = round ? 1 + rng_below(rng, s->m) : 1;

		for (uint32_t h = 0, h_end; h < s->heads; h = h_end) {
			h_end = h + 1 + rng_below(rng, h_most);
			h_end = h_end < s->heads ? h_end : s->heads;
			for (uint32_t q = 0, q_end; q < s->m; q = q_end) {
				q_end = q + 1 + rng_below(rng, q_most);
				q_end = q_end < s->m ? q_end : s->m;
				for (uint32_t i = q; i < q_end; i++)
					memset(p.out + i * p.a.ldo + h * s->head_dim, 0xee,
					       (h_end - h) * s->head_dim * sizeof(float));
				t->attention(&p.a, h, h_end, q, q_end, p.scratch);
			}
		}
		assert_memory_equal(whole, p.out, bytes);
	}
	free(whole);
	problem_free(&p);
}

static void any_cut_gives_the_same_bits(void **state)
{
	static const uint32_t dims[] = { 8, 40, 96 };
	static const uint32_t queries[] = { 3, 8, 37 };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 13;

	for (int d = 0; d < 3; d++) {
		for (int m = 0; m < 3; m++) {
			for (int bits = 0; bits < 4; bits++) {
				struct shape s = { .m = queries[m], .kv = 170, .heads = 4,
						   .kv_heads = 2, .head_dim = dims[d],
						   .causal = bits & 1, .masked = bits & 2,
						   .window = bits & 1 ? 60 : 0 };

				check_cuts(t, &s, &rng);
			}
		}
	}
}

/* More rows than one tile holds, and keys in many blocks. */
static void any_cut_of_a_long_prompt_gives_the_same_bits(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 14;
	struct shape s = { .m = 150, .kv = 300, .heads = 4, .kv_heads = 1, .head_dim = 64,
			   .causal = true };

	check_cuts(t, &s, &rng);
}

static void items_of_a_cut_have_the_bits_of_the_whole(void **state)
{
	static const struct { uint32_t threads, queries; uint64_t ns; } cuts[] = {
		{ 1, 0, UINT64_MAX }, { 2, 0, UINT64_MAX }, { 64, 0, UINT64_MAX }, { 1, 1, 0 },
	};
	const struct vgpu_kernels *t = check_table(state);
	struct shape s = { .m = 300, .kv = 330, .heads = 6, .kv_heads = 3, .head_dim = 24,
			   .causal = true };
	uint64_t rng = 17;
	struct problem p = problem_new(&s, &rng);
	size_t bytes = s.m * p.a.ldo * sizeof(float);
	float *whole = check_alloc(bytes);

	run_all(t, &p);
	memcpy(whole, p.out, bytes);
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		struct vgpu_attention_cut cut = vgpu_attention_divide(&p.a, cuts[i].threads,
								      cuts[i].ns);

		memset(p.out, 0xee, bytes);
		for (size_t item = 0; item < vgpu_attention_items(&p.a, cut); item++)
			vgpu_attention_item(t, &p.a, cut, item, p.scratch);
		assert_memory_equal(whole, p.out, bytes);
		assert_true(!cuts[i].queries || cut.queries == cuts[i].queries);
	}
	free(whole);
	problem_free(&p);
}

static void check_divided(const struct vgpu_attention *a, uint32_t threads, uint64_t ns,
			  uint32_t heads, uint32_t queries)
{
	struct vgpu_attention_cut cut = vgpu_attention_divide(a, threads, ns);

	assert_int_equal(cut.heads, heads);
	assert_int_equal(cut.queries, queries);
	assert_int_equal(cut.blocks, (a->m + queries - 1) / queries);
}

/* Rows share what is loaded; threads have a few items each, and none takes too long. */
static void work_is_divided_by_rows_threads_and_time(void **state)
{
	struct vgpu_attention a = { .m = 2048, .kv = 2048, .heads = 8, .kv_heads = 2,
				    .head_dim = 64 };
	uint64_t all = vgpu_attention_cost_ns(&a);

	(void)state;
	check_divided(&a, 2, UINT64_MAX, 4, 64);	/* 256 rows, 64 items */
	check_divided(&a, 16, UINT64_MAX, 4, 64);
	check_divided(&a, 17, UINT64_MAX, 4, 32);
	check_divided(&a, 64, UINT64_MAX, 4, 16);
	check_divided(&a, 2, all / 8, 4, 64);
	check_divided(&a, 2, all / 9, 4, 32);		/* an eighth of what may be */
	check_divided(&a, 2, all / 16, 4, 32);
	check_divided(&a, 2, all / 17, 4, 16);
	check_divided(&a, 2, all / 256, 4, 16);
	check_divided(&a, 2, all / 1024, 1, 16);
	check_divided(&a, 2, all / 1025, 1, 1);
	a.m = 1;
	check_divided(&a, 2, UINT64_MAX, 4, 16);
	check_divided(&a, 3, UINT64_MAX, 2, 16);	/* some for each thread */
	check_divided(&a, 8, UINT64_MAX, 1, 16);
	check_divided(&a, 9, UINT64_MAX, 1, 16);
}

static void a_long_context_is_within_bound(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 15;
	struct shape s = { .m = 1, .kv = 32768, .heads = 1, .kv_heads = 1, .head_dim = 40,
			   .causal = true };

	check_shape(t, &s, &rng);
}

/* --- keys and values that are not f32 --- */

static const enum vgpu_wformat formats[] = { VGPU_W_F32, VGPU_W_F16, VGPU_W_BF16, VGPU_W_Q8_0 };

static void every_format_is_within_bound(void **state)
{
	static const uint32_t dims[] = { 1, 17, 40, 64, 96, 256 };
	static const uint32_t blocks[] = { 32, 64, 96, 160, 192, 256 };
	static const uint32_t queries[] = { 1, 3, 9, 37 };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 16;

	for (int f = 0; f < 4; f++) {
		for (int d = 0; d < 6; d++) {
			for (int m = 0; m < 4; m++) {
				bool blocked = formats[f] == VGPU_W_Q8_0;
				struct shape s = { .m = queries[m], .kv = 141 + queries[m], .heads = 6,
						   .kv_heads = 2, .causal = m & 1,
						   .head_dim = blocked ? blocks[d] : dims[d],
						   .slack = blocked ? 32 : 5, .format = formats[f] };

				check_shape(t, &s, &rng);
			}
		}
	}
}

static void every_format_takes_all_options(void **state)
{
	static const uint32_t keys[] = { 1, 31, 190, 300 };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 17;

	for (int f = 1; f < 4; f++) {
		for (int n = 0; n < 4; n++) {
			for (int bits = 0; bits < 32; bits++) {
				struct shape s = { .m = bits & 16 ? 19 : 2, .kv = keys[n], .heads = 2,
						   .kv_heads = 1, .head_dim = 32,
						   .window = bits & 8 ? 60 : 0, .causal = bits & 1,
						   .masked = bits & 2, .softcap = bits & 4 ? 3 : 0,
						   .format = formats[f] };

				check_shape(t, &s, &rng);
			}
		}
	}
}

static void any_cut_of_every_format_gives_the_same_bits(void **state)
{
	static const uint32_t queries[] = { 3, 37 };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 18;

	for (int f = 1; f < 4; f++) {
		for (int m = 0; m < 2; m++) {
			struct shape s = { .m = queries[m], .kv = 170, .heads = 4, .kv_heads = 2,
					   .head_dim = 64, .causal = true, .window = 60,
					   .format = formats[f] };

			check_cuts(t, &s, &rng);
		}
	}
}

/* Every number that a half can be, as a value that alone is seen: nothing is lost. */
static void every_half_comes_out_as_it_is(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	struct vgpu_attention a = { .m = 1, .kv = 1, .heads = 1, .kv_heads = 1, .head_dim = 64,
				    .scale = 1, .ldq = 64, .ldk = 64, .ldv = 64, .ldo = 64 };
	float q[64] = { 0 }, out[64];
	uint16_t k[64] = { 0 }, v[64];
	void *scratch;

	a.q = q;
	a.k = k;
	a.v = v;
	a.out = out;
	a.kv_format = VGPU_W_F16;
	scratch = check_alloc(vgpu_attention_scratch_bytes(&a));
	for (int f = 1; f < 3; f++) {
		a.kv_format = formats[f];
		for (uint32_t h = 0; h < 0x10000; h += 64) {
			bool finite = true;

			for (uint32_t c = 0; c < 64; c++) {
				v[c] = (uint16_t)(h + c);
				finite &= isfinite(f == 1 ? vgpu_f16_to_f32(v[c]) :
						   vgpu_bf16_to_f32(v[c]));
			}
			if (!finite)
				continue;
			t->attention(&a, 0, 1, 0, 1, scratch);
			for (uint32_t c = 0; c < 64; c++)
				assert_true(out[c] == (f == 1 ? vgpu_f16_to_f32(v[c]) :
						       vgpu_bf16_to_f32(v[c])));
		}
	}
	free(scratch);
}

/* NMSE against float64 of the keys and values before they were rounded. */
static double cost_of(const struct vgpu_kernels *t, enum vgpu_wformat format, uint32_t m)
{
	struct shape s = { .m = m, .kv = 300, .heads = 4, .kv_heads = 2, .head_dim = 64,
			   .causal = true, .window = 200 };
	uint64_t rng = 21, same = 21;
	struct problem exact = problem_new(&s, &rng), p;
	struct error e;

	s.format = format;
	p = problem_new(&s, &same);
	run_all(t, &p);
	exact.a.out = p.out;
	e = error_of(&exact);
	problem_free(&exact);
	problem_free(&p);
	return e.squares / e.reference;
}

/* The limits of Documentation/layers.md, and that they are not those of another format. */
static void keys_and_values_cost_what_they_round(void **state)
{
	static const double limits[][2] = { { 0, NMSE_MAX }, { 5e-9, 5e-7 }, { 5e-7, 3e-5 }, { 1e-5, 3e-4 } };
	const struct vgpu_kernels *t = check_table(state);

	for (uint32_t m = 1; m < 40; m += 36) {
		for (int f = 0; f < 4; f++) {
			double nmse = cost_of(t, formats[f], m);

			print_message("format %d, %u queries: NMSE %.2g\n", formats[f], m, nmse);
			assert_true(nmse >= limits[f][0] && nmse <= limits[f][1]);
		}
	}
}

/* Scales of 0: such keys score 0, such values are 0. */
static void blocks_of_zeros_are_zeros(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 22;

	for (uint32_t m = 1; m < 20; m += 9) {
		struct shape s = { .m = m, .kv = 150, .heads = 2, .kv_heads = 1, .head_dim = 64,
				   .format = VGPU_W_Q8_0 };
		struct problem p = problem_new(&s, &rng);
		size_t row = p.a.ldk / 32 * 34;

		memset((uint8_t *)p.coded[0] + 2, 0, 70 * row);
		memset(p.k, 0, 70 * p.a.ldk * sizeof(float));
		memset((uint8_t *)p.coded[1] + 2 + 40 * row, 0, 110 * row);
		memset(p.v + 40 * p.a.ldv, 0, 110 * p.a.ldv * sizeof(float));
		run_all(t, &p);
		assert_within_bound(&p);
		memset((uint8_t *)p.coded[1] + 2, 0, 40 * row);
		run_all(t, &p);
		for (uint32_t i = 0; i < m * 128; i++)
			assert_true(p.out[i] == 0);
		problem_free(&p);
	}
}

/* What had no code is NaN for the queries that see it, and for no other. */
static void a_block_that_is_nan_spoils_who_sees_it(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	struct shape s = { .m = 40, .kv = 40, .heads = 2, .kv_heads = 1, .head_dim = 64,
			   .causal = true, .format = VGPU_W_Q8_0 };
	uint64_t rng = 23;
	struct problem p = problem_new(&s, &rng);
	uint8_t *key = (uint8_t *)p.coded[0] + 2 + 20 * (p.a.ldk / 32 * 34);
	float before[20 * 128];

	run_all(t, &p);
	memcpy(before, p.out, sizeof(before));
	p.k[20 * p.a.ldk + 3] = NAN;
	t->q8_0_encode(key, p.k + 20 * p.a.ldk, 64);
	run_all(t, &p);
	assert_memory_equal(p.out, before, sizeof(before));
	for (uint32_t i = 20 * 128; i < 40 * 128; i++)
		assert_true(isnan(p.out[i]));
	problem_free(&p);
}

static void a_format_that_is_none_gives_nan(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 19;

	for (uint32_t m = 1; m < 20; m += 9) {
		struct shape s = { .m = m, .kv = 50, .heads = 1, .kv_heads = 1, .head_dim = 32,
				   .format = VGPU_W_F16 };
		struct problem p = problem_new(&s, &rng);

		p.a.kv_format = VGPU_W_MXFP4_G16;
		run_all(t, &p);
		for (uint32_t i = 0; i < m * 32; i++)
			assert_true(isnan(p.out[i]));
		problem_free(&p);
	}
}

/* --- memory --- */

/* The same for any number of queries and keys; with the columns of a head it grows, no more. */
static void scratch_depends_on_the_head_alone(void **state)
{
	struct vgpu_attention one = { .m = 1, .kv = 1, .heads = 1, .kv_heads = 1, .head_dim = 64 };
	struct vgpu_attention many = { .m = 1u << 20, .kv = 1u << 20, .heads = 64, .kv_heads = 8,
				       .head_dim = 64 };

	(void)state;
	for (int f = 0; f < 4; f++) {
		one.kv_format = many.kv_format = formats[f];
		for (uint32_t dim = 32; dim <= 1024; dim *= 2) {
			size_t bytes;

			one.head_dim = many.head_dim = dim;
			bytes = vgpu_attention_scratch_bytes(&one);
			assert_int_equal(vgpu_attention_scratch_bytes(&many), bytes);
			one.head_dim = 2 * dim;
			assert_true(vgpu_attention_scratch_bytes(&one) <= 2 * bytes);
		}
	}
}

/* Ends where a page begins that nobody may touch. */
static void *guarded_new(size_t bytes, void **memory, size_t *mapped)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (bytes + page - 1) & ~(page - 1);
	uint8_t *p = mmap(NULL, room + page, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	assert_int_equal(mprotect(p + room, page, PROT_NONE), 0);
	*memory = p;
	*mapped = room + page;
	return p + room - ((bytes + 63) & ~(size_t)63);
}

static void a_long_prompt_stays_within_its_scratch(void **state)
{
	static const uint32_t rows[] = { 0, 1, 127, 128, 1000, 2047 };
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 20;

	for (int f = 0; f < 4; f++) {
		struct shape s = { .m = 2048, .kv = 2048, .heads = 1, .kv_heads = 1, .head_dim = 64,
				   .causal = true, .format = formats[f] };
		struct problem p = problem_new(&s, &rng);
		static double probability[2048], want[64];
		size_t mapped;
		void *memory, *scratch;

		scratch = guarded_new(vgpu_attention_scratch_bytes(&p.a), &memory, &mapped);
		/* The reference would take long for all. */
		for (int r = 0; r < 6; r++)
			if (check_level(state) == VGPU_ISA_REF)
				t->attention(&p.a, 0, 1, rows[r], rows[r] + 1, scratch);
		if (check_level(state) != VGPU_ISA_REF)
			t->attention(&p.a, 0, 1, 0, 2048, scratch);
		for (int r = 0; r < 6; r++) {
			direct_row(&p, 0, rows[r], probability, want);
			for (uint32_t c = 0; c < 64; c++)
				assert_true(fabs(p.out[rows[r] * p.a.ldo + c] - want[c]) <= ERROR_MAX);
		}
		munmap(memory, mapped);
		problem_free(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CHECK_LEVELS(every_query_count_is_within_bound),
		CHECK_LEVELS(every_head_size_is_within_bound),
		CHECK_LEVELS(every_key_count_is_within_bound),
		CHECK_LEVELS(every_group_ratio_is_within_bound),
		CHECK_LEVELS(options_combine_within_bound),
		CHECK_LEVELS(queries_before_the_first_key_are_zero),
		CHECK_LEVELS(all_masked_rows_are_zero),
		CHECK_LEVELS(one_large_score_selects_its_value),
		CHECK_LEVELS(rising_large_scores_do_not_overflow),
		CHECK_LEVELS(lowest_finite_mask_is_a_mask_like_any_other),
		CHECK_LEVELS(a_nan_score_spoils_its_query_only),
		CHECK_LEVELS(room_between_rows_is_left_alone),
		CHECK_LEVELS(any_cut_gives_the_same_bits),
		CHECK_LEVELS(any_cut_of_a_long_prompt_gives_the_same_bits),
		CHECK_LEVELS(items_of_a_cut_have_the_bits_of_the_whole),
		cmocka_unit_test(work_is_divided_by_rows_threads_and_time),
		CHECK_LEVELS(a_long_context_is_within_bound),
		CHECK_LEVELS(every_format_is_within_bound),
		CHECK_LEVELS(every_format_takes_all_options),
		CHECK_LEVELS(any_cut_of_every_format_gives_the_same_bits),
		CHECK_LEVELS(every_half_comes_out_as_it_is),
		CHECK_LEVELS(keys_and_values_cost_what_they_round),
		CHECK_LEVELS(blocks_of_zeros_are_zeros),
		CHECK_LEVELS(a_block_that_is_nan_spoils_who_sees_it),
		CHECK_LEVELS(a_format_that_is_none_gives_nan),
		cmocka_unit_test(scratch_depends_on_the_head_alone),
		CHECK_LEVELS(a_long_prompt_stays_within_its_scratch),
	};

	return cmocka_run_group_tests_name("attention", tests, NULL, NULL);
}
