// SPDX-License-Identifier: MIT
/*
 * Layers of AWQ and GPTQ, read and packed: the values are another implementation's, bit for bit, at
 * every level (data/int4_layers.py says how they were made), and products are float64's.
 */
#include "check.h"

#include <pthread.h>

#include "common/golden_int4.h"
#include "kernels/pack/half.h"

/* All groups of a layer, packed behind each other. */
struct packed {
	const struct vgpu_kernels *t;
	const struct vgpu_int4_layer *layer;
	enum vgpu_wformat format;
	size_t unit, bytes;
	uint8_t *data;
};

static void packed_init(struct packed *p, const struct vgpu_kernels *t,
			const struct vgpu_int4_layer *layer)
{
	p->t = t;
	p->layer = layer;
	p->format = (enum vgpu_wformat)vgpu_int4_layer_format(layer);
	p->unit = vgpu_weight_unit_bytes(p->format, layer->k);
	p->bytes = p->unit * ((layer->n + 15) / 16);
	p->data = check_alloc(p->bytes + 64);
}

/* Groups @first, @first + @step ...: what a thread does. False: refused, or wrote too far. */
static bool pack_groups(const struct packed *p, uint32_t first, uint32_t step)
{
	size_t bytes = vgpu_int4_layer_scratch_bytes(p->layer);
	uint8_t *scratch = check_alloc(bytes + 64);
	bool good = true;

	for (uint32_t g = first; g * 16 < p->layer->n; g += step)
		good = good && !p->t->pack_int4_layer(p->data + g * p->unit, p->layer, g * 16, 1, scratch);
	for (uint32_t i = 0; i < 64; i++)
		good = good && scratch[bytes + i] == 0xa5;
	free(scratch);
	return good;
}

static void check_values(const struct vgpu_kernels *t, const struct golden_int4_case *c)
{
	struct golden_int4 g;
	struct packed p;
	float *out;

	golden_int4_open(&g, c);
	assert_int_equal(g.layer.cols, c->cols);
	assert_int_equal(g.layer.zeros, c->zeros);
	packed_init(&p, t, &g.layer);
	assert_true(pack_groups(&p, 0, 1));
	out = check_alloc((size_t)g.layer.n * g.layer.k * sizeof(*out));
	t->weight_decode(&(struct vgpu_panel){ p.format, g.layer.n, g.layer.k, p.data, NULL }, out,
			 g.layer.k);
	for (size_t i = 0; i < (size_t)g.layer.n * g.layer.k; i++)
		if (memcmp(&out[i], &g.values[i], sizeof(*out)))
			fail_msg("%s: row %zu, column %zu is %a, not %a", c->name, i / g.layer.k,
				 i % g.layer.k, out[i], g.values[i]);
	free(out);
	free(p.data);
	golden_int4_close(&g);
}

static void packed_layers_have_the_other_implementations_values(void **state)
{
	for (uint32_t i = 0; i < GOLDEN_INT4_CASES; i++)
		check_values(check_table(state), &golden_int4_cases[i]);
}

/* --- layers of any size, of random words --- */

static void random_layer(struct vgpu_int4_layer *l, enum vgpu_int4_scheme scheme, uint32_t n,
			 uint32_t k, uint32_t group, uint64_t *rng)
{
	uint32_t groups = k / group;
	uint8_t *weights = check_alloc((size_t)n * k / 2), *zeros = check_alloc((size_t)groups * n / 2);
	uint16_t *scales = check_alloc((size_t)groups * n * 2);

	for (size_t i = 0; i < (size_t)n * k / 2; i++)
		weights[i] = (uint8_t)rng_next(rng);
	/* Weights with a mean far from zero would be another test: 7, 8 or 9. */
	for (size_t i = 0; i < (size_t)groups * n / 2; i++)
		zeros[i] = (uint8_t)(0x66 + (scheme != VGPU_INT4_GPTQ) * 0x11 + rng_below(rng, 3) +
				     16 * rng_below(rng, 3));
	for (size_t i = 0; i < (size_t)groups * n; i++)
		scales[i] = vgpu_f32_to_f16((float)(0.01 + 0.01 * rng_unit(rng)));
	*l = (struct vgpu_int4_layer){
		.scheme = scheme, .n = n, .k = k, .group = group, .groups = groups, .cols = group,
		.zeros = true, .qweight = weights, .qzeros = zeros, .scales = (uint8_t *)scales,
	};
}

static void layer_free(struct vgpu_int4_layer *l)
{
	free((void *)l->qweight);
	free((void *)l->qzeros);
	free((void *)l->scales);
}

static uint32_t code_at(const uint8_t *words, size_t number)
{
	return words[number / 2] >> number % 2 * 4 & 15;
}

/* By the definition, one value at a time. */
static double value_of(const struct vgpu_int4_layer *l, uint32_t r, uint32_t c)
{
	static const uint8_t awq[8] = { 0, 4, 1, 5, 2, 6, 3, 7 };
	bool is_awq = l->scheme == VGPU_INT4_AWQ;
	size_t group = c / l->group, place = is_awq ? r / 8 * 8 + awq[r % 8] : r;
	uint32_t zero = code_at(l->qzeros, group * l->n + place) + (l->scheme == VGPU_INT4_GPTQ);
	uint32_t code = code_at(l->qweight, is_awq ? (size_t)c * l->n + place :
				((size_t)(c / 8) * l->n + r) * 8 + c % 8);
	uint16_t scale;

	memcpy(&scale, l->scales + 2 * (group * l->n + r), 2);
	return ((int)code - (int)zero) * (double)vgpu_f16_to_f32(scale);
}

struct sums {
	double error, power;
};

/* m rows of products with Gaussian activations against float64. */
static void add_product(struct sums *s, const struct packed *p, enum vgpu_mode mode, uint32_t m,
			uint64_t *rng)
{
	uint32_t n = p->layer->n, k = p->layer->k;
	float *x = check_alloc((size_t)m * k * sizeof(*x)), *y = check_alloc((size_t)m * n * sizeof(*y));
	void *memory = check_alloc(vgpu_acts_bytes(mode, m, k));
	void *scratch = check_alloc(vgpu_matmul_scratch_bytes(p->format, k));
	struct vgpu_acts acts;

	for (size_t i = 0; i < (size_t)m * k; i++)
		x[i] = (float)rng_gauss(rng);
	vgpu_acts_init(&acts, mode, m, k, memory);
	p->t->acts_pack(&acts, x, k, 0, m);
	p->t->matmul(&(struct vgpu_panel){ p->format, n, k, p->data, NULL }, &acts, y, n, scratch);
	for (uint32_t r = 0; r < n; r++)
		for (uint32_t i = 0; i < m; i++) {
			double sum = 0;

			for (uint32_t c = 0; c < k; c++)
				sum += x[(size_t)i * k + c] * value_of(p->layer, r, c);
			s->error += (y[i * n + r] - sum) * (y[i * n + r] - sum);
			s->power += sum * sum;
		}
	free(scratch);
	free(memory);
	free(y);
	free(x);
}

#define PRODUCT_ROWS	16u

/* NMSE of as many rows, m in a product: one row is too few to judge rounding by. */
static double product_error(const struct packed *p, enum vgpu_mode mode, uint32_t m, uint64_t *rng)
{
	struct sums s = { 0 };

	for (uint32_t done = 0; done < PRODUCT_ROWS; done += m)
		add_product(&s, p, mode, m, rng);
	return s.error / s.power;
}

static void check_product(const struct vgpu_kernels *t, enum vgpu_int4_scheme scheme,
			  uint32_t group, uint64_t *rng)
{
	static const double limits[] = { [VGPU_MODE_F32] = 1e-12, [VGPU_MODE_A16] = 4e-6,
					 [VGPU_MODE_A8] = 5e-5, [VGPU_MODE_A8_256] = 1.2e-4 };
	struct vgpu_int4_layer layer;
	struct packed p;

	random_layer(&layer, scheme, 88, 1152, group, rng);
	packed_init(&p, t, &layer);
	assert_true(pack_groups(&p, 0, 1));
	for (int mode = VGPU_MODE_F32; mode < VGPU_MODES; mode++)
		for (uint32_t m = 1; m <= PRODUCT_ROWS; m *= 4) {
			double error = product_error(&p, (enum vgpu_mode)mode, m, rng);

			if (!(error <= limits[mode]))	/* NaN, too */
				fail_msg("scheme %d, groups of %u, mode %d, m = %u: NMSE %g", scheme,
					 group, mode, m, error);
		}
	free(p.data);
	layer_free(&layer);
}

static void products_with_layers_are_float64s(void **state)
{
	const struct vgpu_kernels *t = check_table(state);
	uint64_t rng = 11;

	for (int scheme = VGPU_INT4_AWQ; scheme <= VGPU_INT4_GPTQ_V2; scheme++)
		for (uint32_t group = 32; group <= 128; group *= 2)
			check_product(t, (enum vgpu_int4_scheme)scheme, group, &rng);
}

/* --- threads --- */

#define THREADS	3u

struct part {
	const struct packed *p;
	uint32_t first;
	bool good;
};

static void *pack_part(void *arg)
{
	struct part *part = arg;

	part->good = pack_groups(part->p, part->first, THREADS);
	return NULL;
}

static void layers_are_packed_by_several_threads(void **state)
{
	struct part parts[THREADS];
	pthread_t threads[THREADS];
	struct vgpu_int4_layer layer;
	struct packed one, many;
	uint64_t rng = 12;

	(void)state;
	random_layer(&layer, VGPU_INT4_AWQ, 520, 512, 64, &rng);
	packed_init(&one, vgpu_kernels_best(), &layer);
	packed_init(&many, vgpu_kernels_best(), &layer);
	assert_true(pack_groups(&one, 0, 1));
	for (uint32_t i = 0; i < THREADS; i++) {
		parts[i] = (struct part){ &many, i, false };
		assert_int_equal(pthread_create(&threads[i], NULL, pack_part, &parts[i]), 0);
	}
	for (uint32_t i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_true(parts[i].good);
	}
	assert_memory_equal(many.data, one.data, one.bytes + 64);
	free(many.data);
	free(one.data);
	layer_free(&layer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CHECK_LEVELS(packed_layers_have_the_other_implementations_values),
		CHECK_LEVELS(products_with_layers_are_float64s),
		cmocka_unit_test(layers_are_packed_by_several_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
