// SPDX-License-Identifier: MIT
#include "common/product.h"

#include "kernels/random_blocks.h"

static void fill_floats(struct product *p, uint64_t *rng)
{
	for (size_t i = 0; i < (size_t)p->w.rows * p->w.k; i++) {
		float value = (float)rng_gauss(rng);
		_Float16 half = (_Float16)value;

		if (p->w.format == VGPU_W_F32)
			memcpy(p->data + 4 * i, &value, 4);
		else if (p->w.format == VGPU_W_F16)
			memcpy(p->data + 2 * i, &half, 2);
		else
			memcpy(p->data + 2 * i, (uint8_t *)&value + 2, 2);
	}
}

static void fill_row_major(struct product *p, uint64_t *rng)
{
	if (p->w.format <= VGPU_W_BF16)
		fill_floats(p, rng);
	else
		random_blocks(p->w.format, p->data, p->scales, p->w.rows, p->w.k, false, rng);
}

/* From random blocks of the same values. */
static void fill_from_blocks(struct product *p, const struct vgpu_g16_type *type, bool even,
			     uint64_t *rng)
{
	const struct vgpu_kernels *ref = vgpu_kernels_get(VGPU_ISA_REF);
	size_t unit = vgpu_weight_unit_bytes(p->w.format, p->w.k);
	size_t row = vgpu_weight_unit_bytes(type->source, p->w.k);
	uint8_t *src = check_alloc(row * p->w.rows);

	random_blocks(type->source, src, NULL, p->w.rows, p->w.k, even, rng);
	for (uint32_t r = 0; r < p->w.rows; r += 16) {
		uint32_t rows = p->w.rows - r < 16 ? p->w.rows - r : 16;

		assert_int_equal(ref->pack_blocks(p->data + r / 16 * unit, p->w.format,
						  src + r * row, rows, p->w.k), 0);
	}
	free(src);
}

static void fill_int4(struct product *p, const struct vgpu_g16_type *type, bool even, uint64_t *rng)
{
	const struct vgpu_kernels *ref = vgpu_kernels_get(VGPU_ISA_REF);
	size_t unit = vgpu_weight_unit_bytes(p->w.format, p->w.k);
	struct random_int4 rows;

	for (uint32_t r = 0; r < p->w.rows; r += 16) {
		random_int4(&rows, type, p->w.rows - r < 16 ? p->w.rows - r : 16, p->w.k, even,
			    rng);
		assert_int_equal(ref->pack_int4(p->data + r / 16 * unit, type->format, &rows.rows),
				 0);
		random_int4_free(&rows);
	}
}

static void fill_packed(struct product *p, uint64_t *rng)
{
	const struct vgpu_kernels *ref = vgpu_kernels_get(VGPU_ISA_REF);
	size_t unit = vgpu_weight_unit_bytes(p->w.format, p->w.k);

	for (size_t i = 0; i < (size_t)p->w.rows * p->w.k; i++)
		p->wf[i] = (float)rng_gauss(rng);
	for (uint32_t r = 0; r < p->w.rows; r += 16) {
		uint32_t rows = p->w.rows - r < 16 ? p->w.rows - r : 16;
		const float *src = p->wf + (size_t)r * p->w.k;
		uint8_t *dst = p->data + r / 16 * unit;

		assert_int_equal(0, p->w.format == VGPU_W_MXFP4_G16 ?
				 ref->pack_mxfp4(dst, src, VGPU_W_F32, p->w.k, rows, p->w.k) :
				 ref->pack_int8(dst, src, VGPU_W_F32, p->w.k, rows, p->w.k));
	}
}

static void init(struct product *p, enum vgpu_wformat format, uint32_t m, uint32_t n,
		 uint32_t k, bool even, uint64_t *rng)
{
	uint32_t unit_rows = vgpu_weight_unit_rows(format), units = (n + unit_rows - 1) / unit_rows;
	size_t bytes = vgpu_weight_unit_bytes(format, k) * units;

	p->data = check_alloc(bytes);
	p->scales = format == VGPU_W_MXFP4_SPLIT ? check_alloc((size_t)n * (k / 32)) : NULL;
	p->w = (struct vgpu_panel) { format, n, k, p->data, p->scales };
	p->m = m;
	p->wf = check_alloc((size_t)n * k * sizeof(float));
	p->x = check_alloc((size_t)m * k * sizeof(float));
	p->xr = check_alloc((size_t)m * k * sizeof(double));
	p->y = check_alloc((size_t)m * n * sizeof(float));

	if (unit_rows == 1)
		fill_row_major(p, rng);
	else if (vgpu_g16_type(format) && !vgpu_g16_type(format)->source)
		fill_int4(p, vgpu_g16_type(format), even, rng);
	else if (vgpu_g16_type(format))
		fill_from_blocks(p, vgpu_g16_type(format), even, rng);
	else
		fill_packed(p, rng);
	vgpu_kernels_get(VGPU_ISA_REF)->weight_decode(&p->w, p->wf, k);
	for (size_t i = 0; i < (size_t)m * k; i++)
		p->x[i] = (float)rng_gauss(rng);
}

void product_init(struct product *p, enum vgpu_wformat format, uint32_t m, uint32_t n,
		  uint32_t k, uint64_t *rng)
{
	init(p, format, m, n, k, false, rng);
}

void product_init_even(struct product *p, enum vgpu_wformat format, uint32_t m, uint32_t n,
		       uint32_t k, uint64_t *rng)
{
	init(p, format, m, n, k, true, rng);
}

void product_free(struct product *p)
{
	free(p->data);
	free(p->scales);
	free(p->wf);
	free(p->x);
	free(p->xr);
	free(p->y);
}

double product_round_bf16(double x)
{
	int exponent;

	if (x == 0)
		return 0;
	frexp(x, &exponent);
	return ldexp(nearbyint(ldexp(x, 8 - exponent)), exponent - 8);
}

/* BF16 of x over an f32 scale that makes the largest magnitude a BF16. */
static void round_a16(double *out, const float *x, uint32_t n)
{
	double max = 0;
	float scale = 1, inverse;

	for (uint32_t i = 0; i < n; i++)
		max = fmax(max, fabs(x[i]));
	if (max > 0)
		scale = (float)(max / product_round_bf16(max));
	inverse = 1.0f / scale;
	for (uint32_t i = 0; i < n; i++)
		out[i] = product_round_bf16(x[i] * inverse) * scale;
}

/* x times the f32 reciprocal of its scale. */
void product_round_a8(double *out, const float *x, uint32_t n)
{
	float scale = check_a8_scale(x, n);

	if (!scale) {
		memset(out, 0, n * sizeof(*out));
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		out[i] = nearbyintf(x[i] * (1.0f / scale)) * (double)scale;
}

/* A16 at level amx: BF16, and what it leaves of groups with a value beyond 1/8 of the row. */
static void round_a16_amx(double *out, const float *x, uint32_t k)
{
	double squares = 0;

	for (uint32_t c = 0; c < k; c++)
		squares += (double)x[c] * x[c];
	for (uint32_t c = 0; c < k; c += 32) {
		uint32_t n = k - c < 32 ? k - c : 32;
		double max = 0;

		for (uint32_t i = c; i < c + n; i++) {
			max = fmax(max, fabs(x[i]));
			out[i] = product_round_bf16(x[i]);
		}
		for (uint32_t i = c; i < c + n && max > sqrt(squares / 64); i++)
			out[i] += product_round_bf16(x[i] - out[i]);
	}
}

void product_round(struct product *p, enum vgpu_isa isa, enum vgpu_mode mode)
{
	void (*round_group)(double *, const float *, uint32_t) =
		mode == VGPU_MODE_A16 ? round_a16 : product_round_a8;
	uint32_t k = p->w.k, group = vgpu_a8_group(mode);

	for (size_t i = 0; i < (size_t)p->m * k; i++)
		p->xr[i] = p->x[i];
	if (isa == VGPU_ISA_AMX && mode == VGPU_MODE_A16) {
		for (uint32_t i = 0; i < p->m; i++)
			round_a16_amx(p->xr + (size_t)i * k, p->x + (size_t)i * k, k);
		return;
	}
	for (uint32_t i = 0; i < p->m && mode != VGPU_MODE_F32; i++)
		for (uint32_t c = 0; c < k; c += group)
			round_group(p->xr + (size_t)i * k + c, p->x + (size_t)i * k + c,
				    k - c < group ? k - c : group);
}

void product_run(const struct vgpu_kernels *t, const struct vgpu_panel *w, enum vgpu_mode mode,
		 const float *x, uint32_t m, float *y, size_t ldy)
{
	void *scratch = check_alloc(vgpu_matmul_scratch_bytes(w->format, w->k));
	void *memory = check_alloc(vgpu_acts_bytes(mode, m, w->k));
	struct vgpu_acts acts;

	vgpu_acts_init(&acts, mode, m, w->k, memory);
	t->acts_pack(&acts, x, w->k, 0, m);
	t->matmul(w, &acts, y, ldy, scratch);
	free(memory);
	free(scratch);
}

double product_nmse(const struct product *p, double bound)
{
	double error = 0, power = 0;

	for (uint32_t i = 0; i < p->m; i++) {
		for (uint32_t r = 0; r < p->w.rows; r++) {
			const double *x = p->xr + (size_t)i * p->w.k;
			const float *w = p->wf + (size_t)r * p->w.k;
			double sum = 0, size = 0, d;

			for (uint32_t c = 0; c < p->w.k; c++) {
				sum += x[c] * w[c];
				size += fabs(x[c] * w[c]);
			}
			d = p->y[(size_t)i * p->w.rows + r] - sum;
			if (!(fabs(d) <= bound * size))
				fail_msg("row %u of x, %u of w: %g instead of %g, |a||w| %g", i, r,
					 sum + d, sum, size);
			error += d * d;
			power += sum * sum;
		}
	}
	return error / power;
}

bool product_is_same(const float *a, const float *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(&a[i], &b[i], sizeof(*a)) && !(isnan(a[i]) && isnan(b[i])))
			return false;
	return true;
}
