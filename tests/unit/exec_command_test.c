// SPDX-License-Identifier: MIT
/*
 * Every command once through the executor, against float64: that operands arrive
 * where the kernels look for them.  The kernels themselves are tested elsewhere.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/exec_rig.h"

#define CLOSE	(1.0 / (1 << 18))

/* Operands of a test lie in one object each, at an offset that is not a chunk's. */
#define AT	(XCHUNK - 256)

static struct xrig rig;

static uint32_t bits(float x)
{
	uint32_t u;

	memcpy(&u, &x, 4);
	return u;
}

static int set_up(void **state)
{
	return xrig_set_up(state, &rig, 64);
}

/* An object that holds @n values from byte AT on. */
static uint32_t object(const void *values, size_t n)
{
	uint32_t bo = xrig_anonymous(&rig, AT + n * 4);

	if (values)
		assert_int_equal(xrig_write(&rig, bo, AT, values, n * 4), 0);
	return bo;
}

static float *result(uint32_t bo, size_t n)
{
	float *y = xalloc(n * 4);

	assert_int_equal(xrig_read(&rig, bo, AT, y, n * 4), 0);
	return y;
}

static void expect(const float *got, const double *want, const double *size, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		double unit = size ? size[i] : fmax(1.0, fabs(want[i]));

		if (fabs(got[i] - want[i]) > CLOSE * unit)
			fail_msg("[%zu] is %g, want %g", i, (double)got[i], want[i]);
	}
}

static double gelu(double x)
{
	return 0.5 * x * (1 + erf(x / sqrt(2)));
}

#define READ_MATRIX(bo, rows, cols) xmatrix(&s, bo, VB_ACCESS_READ, AT, VB_FORMAT_F32, rows, cols)
#define WRITE_MATRIX(bo, rows, cols) xmatrix(&s, bo, VB_ACCESS_WRITE, AT, VB_FORMAT_F32, rows, cols)

/* With bias, activation and residual; @in_place: the residual is the output itself. */
static void matmul(uint32_t m, bool in_place)
{
	enum { N = 333, K = 512 };
	float *x = xvalues((size_t)m * K, 1), *w = xvalues(N * K, 2), *b = xvalues(N, 3);
	float *res = xvalues((size_t)m * N, 4), *y;
	double *want = xalloc((size_t)m * N * 8), *size = xalloc((size_t)m * N * 8);
	int fd = xfile(w, N * K * 4, 1236);
	uint32_t bx = object(x, m * K), bb = object(b, N), br = object(res, m * N);
	uint32_t by = in_place ? br : object(NULL, m * N);
	uint32_t bw = xrig_file(&rig, fd, 1236, N * K * 4);
	struct xstream s;
	struct vb_cmd_matmul c = { .h = { VB_CMD_MATMUL, 0, sizeof(c) }, .act = VB_UNARY_GELU_ERF };

	for (uint32_t i = 0; i < m; i++) {
		for (uint32_t r = 0; r < N; r++) {
			size_t at = (size_t)i * N + r;
			double sum = xdot(x + i * K, w + (size_t)r * K, K, &size[at]);

			want[at] = gelu(sum + b[r]) + res[at];
			size[at] += 2;
		}
	}
	xstream_begin(&s);
	c.x = READ_MATRIX(bx, m, K);
	c.w = xmatrix(&s, bw, VB_ACCESS_READ, 0, VB_FORMAT_F32, N, K);
	c.bias = xvector(&s, bb, VB_ACCESS_READ, AT, VB_FORMAT_F32, N);
	c.residual = READ_MATRIX(br, m, N);
	c.y = WRITE_MATRIX(by, m, N);
	xstream_add(&s, &c, sizeof(c));
	xrig_must_run(&rig, &s);
	y = result(by, (size_t)m * N);
	expect(y, want, size, (size_t)m * N);
	close(fd);
	free(x);
	free(w);
	free(b);
	free(res);
	free(y);
	free(want);
	free(size);
}

static void command_matmul(void **state)
{
	(void)state;
	matmul(1, false);
	matmul(19, false);
}

static void command_matmul_adds_a_residual_that_is_its_output(void **state)
{
	(void)state;
	matmul(1, true);
	matmul(19, true);
}

static void command_norm(void **state)
{
	enum { M = 37, N = 384 };
	float *x = xvalues(M * N, 1), *g = xvalues(N, 2), *b = xvalues(N, 3), *y;
	double *want = xalloc(M * N * 8);
	uint32_t bx = object(x, M * N), bg = object(g, N), bb = object(b, N), by = object(NULL, M * N);

	(void)state;
	for (uint32_t kind = 0; kind < VB_NORM_COUNT; kind++) {
		struct vb_cmd_norm c = { .h = { VB_CMD_NORM, 0, sizeof(c) }, .kind = kind,
					 .eps_f32 = bits(1e-5f), .add_f32 = bits(kind == VB_NORM_RMS) };
		struct xstream s;

		for (uint32_t i = 0; i < M; i++) {
			double sum = 0, square = 0, mean, scale;

			for (uint32_t j = 0; j < N; j++) {
				sum += x[i * N + j];
				square += (double)x[i * N + j] * x[i * N + j];
			}
			mean = kind == VB_NORM_LAYER ? sum / N : 0;
			scale = kind == VB_NORM_L2 ? 1 / sqrt(square) :
				1 / sqrt(square / N - mean * mean + 1e-5);
			for (uint32_t j = 0; j < N; j++)
				want[i * N + j] = (x[i * N + j] - mean) * scale *
					(g[j] + (kind == VB_NORM_RMS)) + (kind ? 0 : b[j]);
		}
		xstream_begin(&s);
		c.x = READ_MATRIX(bx, M, N);
		c.gamma = xvector(&s, bg, VB_ACCESS_READ, AT, VB_FORMAT_F32, N);
		if (kind == VB_NORM_LAYER)
			c.beta = xvector(&s, bb, VB_ACCESS_READ, AT, VB_FORMAT_F32, N);
		c.y = WRITE_MATRIX(by, M, N);
		xstream_add(&s, &c, sizeof(c));
		xrig_must_run(&rig, &s);
		y = result(by, M * N);
		expect(y, want, NULL, M * N);
		free(y);
	}
	free(x);
	free(g);
	free(b);
	free(want);
}

static void command_softmax(void **state)
{
	enum { M = 21, N = 301 };
	float *x = xvalues(M * N, 1), *mask = xvalues(N, 2), *y;
	double *want = xalloc(M * N * 8);
	uint32_t bx = object(x, M * N), bm = object(mask, N);
	struct vb_cmd_softmax c = { .h = { VB_CMD_SOFTMAX, 0, sizeof(c) }, .scale_f32 = bits(3) };
	struct xstream s;

	(void)state;
	for (uint32_t i = 0; i < M; i++) {
		double sum = 0;

		for (uint32_t j = 0; j < N; j++)
			sum += want[i * N + j] = exp(3.0 * x[i * N + j] + mask[j]);
		for (uint32_t j = 0; j < N; j++)
			want[i * N + j] /= sum;
	}
	xstream_begin(&s);
	c.x = READ_MATRIX(bx, M, N);
	c.mask = xvector(&s, bm, VB_ACCESS_READ, AT, VB_FORMAT_F32, N);
	c.y = WRITE_MATRIX(bx, M, N);	/* in place */
	xstream_add(&s, &c, sizeof(c));
	xrig_must_run(&rig, &s);
	y = result(bx, M * N);
	expect(y, want, NULL, M * N);
	free(x);
	free(mask);
	free(y);
	free(want);
}

static void command_eltwise(void **state)
{
	enum { M = 13, N = 777 };
	float *a = xvalues(M * N, 1), *b = xvalues(N, 2), *y;
	double *want = xalloc(M * N * 8);
	uint32_t ba = object(a, M * N), bb = object(b, N), by = object(NULL, M * N);
	struct vb_cmd_eltwise mul = { .h = { VB_CMD_ELTWISE, 0, sizeof(mul) },
				      .kind = VB_ELTWISE_BINARY, .op = VB_BINARY_MUL };
	struct vb_cmd_eltwise scale = { .h = { VB_CMD_ELTWISE, 0, sizeof(scale) },
					.kind = VB_ELTWISE_SCALE, .scale_f32 = bits(-2.5f) };
	struct vb_cmd_eltwise tanh_ = { .h = { VB_CMD_ELTWISE, 0, sizeof(tanh_) },
					.kind = VB_ELTWISE_UNARY, .op = VB_UNARY_TANH };
	struct xstream s;

	(void)state;
	for (uint32_t i = 0; i < M * N; i++)
		want[i] = tanh(-2.5 * ((double)a[i] * b[i % N]));
	xstream_begin(&s);
	mul.a = READ_MATRIX(ba, M, N);
	mul.b = xvector(&s, bb, VB_ACCESS_READ, AT, VB_FORMAT_F32, N);
	mul.y = scale.a = scale.y = tanh_.a = tanh_.y = WRITE_MATRIX(by, M, N);
	READ_MATRIX(by, M, N);
	xstream_add(&s, &mul, sizeof(mul));
	xstream_add(&s, &scale, sizeof(scale));
	xstream_add(&s, &tanh_, sizeof(tanh_));
	xrig_must_run(&rig, &s);
	y = result(by, M * N);
	expect(y, want, NULL, M * N);
	free(a);
	free(b);
	free(y);
	free(want);
}

static void command_rope(void **state)
{
	enum { M = 9, H = 4, D = 64, ROT = 32 };
	float *x = xvalues(M * H * D, 1), *y;
	int32_t positions[M];
	double *want = xalloc(M * H * D * 8);
	uint32_t bx = object(x, M * H * D), bp, by = object(NULL, M * H * D);
	struct vb_cmd_rope c = { .h = { VB_CMD_ROPE, 0, sizeof(c) }, .kind = VB_ROPE_NEOX,
				 .rot = ROT, .base_f32 = bits(10000), .freq_scale_f32 = bits(1) };
	struct xstream s;

	(void)state;
	for (uint32_t i = 0; i < M * H * D; i++)
		want[i] = x[i];
	for (uint32_t i = 0; i < M; i++) {
		positions[i] = (int32_t)(i * 7 + 3);
		for (uint32_t h = 0; h < H; h++) {
			const float *row = x + (i * H + h) * D;
			double *to = want + (i * H + h) * D;

			for (uint32_t j = 0; j < ROT / 2; j++) {
				double angle = positions[i] * pow(10000, -2.0 * j / ROT);

				to[j] = row[j] * cos(angle) - row[j + ROT / 2] * sin(angle);
				to[j + ROT / 2] = row[j] * sin(angle) + row[j + ROT / 2] * cos(angle);
			}
		}
	}
	bp = object(positions, M);
	xstream_begin(&s);
	c.x = xcube(&s, bx, VB_ACCESS_READ, AT, VB_FORMAT_F32, M, H, D);
	c.positions = xvector(&s, bp, VB_ACCESS_READ, AT, VB_FORMAT_I32, M);
	c.y = xcube(&s, by, VB_ACCESS_WRITE, AT, VB_FORMAT_F32, M, H, D);
	xstream_add(&s, &c, sizeof(c));
	xrig_must_run(&rig, &s);
	y = result(by, M * H * D);
	expect(y, want, NULL, M * H * D);
	positions[4] = -1;
	assert_int_equal(xrig_write(&rig, bp, AT, positions, sizeof(positions)), 0);
	assert_int_equal(xrun(&rig, &s), -EINVAL);
	free(x);
	free(y);
	free(want);
}

static void command_attention(void **state)
{
	enum { M = 18, KV = 40, H = 6, G = 2, D = 32 };
	float *q = xvalues(M * H * D, 1), *k = xvalues(KV * G * D, 2), *v = xvalues(KV * G * D, 3);
	float *y;
	double *want = xalloc(M * H * D * 8), weight[KV];
	uint32_t bq = object(q, M * H * D), bk = object(k, KV * G * D), bv = object(v, KV * G * D);
	uint32_t by = object(NULL, M * H * D);
	struct vb_cmd_attention c = { .h = { VB_CMD_ATTENTION, 0, sizeof(c) },
				      .flags = VB_ATTENTION_CAUSAL, .scale_f32 = bits(0.25f) };
	struct xstream s;

	(void)state;
	for (uint32_t i = 0; i < M; i++) {
		for (uint32_t h = 0; h < H; h++) {
			const float *row = q + (i * H + h) * D;
			double sum = 0, size;

			for (uint32_t j = 0; j < KV; j++) {
				weight[j] = j > i + KV - M ? 0 :
					exp(0.25 * xdot(row, k + (j * G + h / (H / G)) * D, D, &size));
				sum += weight[j];
			}
			for (uint32_t d = 0; d < D; d++) {
				double out = 0;

				for (uint32_t j = 0; j < KV; j++)
					out += weight[j] / sum * v[(j * G + h / (H / G)) * D + d];
				want[(i * H + h) * D + d] = out;
			}
		}
	}
	xstream_begin(&s);
	c.q = xcube(&s, bq, VB_ACCESS_READ, AT, VB_FORMAT_F32, M, H, D);
	c.k = xcube(&s, bk, VB_ACCESS_READ, AT, VB_FORMAT_F32, KV, G, D);
	c.v = xcube(&s, bv, VB_ACCESS_READ, AT, VB_FORMAT_F32, KV, G, D);
	c.out = xcube(&s, by, VB_ACCESS_WRITE, AT, VB_FORMAT_F32, M, H, D);
	xstream_add(&s, &c, sizeof(c));
	xrig_must_run(&rig, &s);
	y = result(by, M * H * D);
	expect(y, want, NULL, M * H * D);
	free(q);
	free(k);
	free(v);
	free(y);
	free(want);
}

static void command_topk_and_combine(void **state)
{
	enum { M = 11, N = 64, TOP = 4, W = 50 };
	float *x = xvalues(M * N, 1), *parts = xvalues(M * TOP * W, 2), *y, values[M * TOP];
	int32_t indices[M * TOP];
	double want[M * W];
	uint32_t bx = object(x, M * N), bv = object(NULL, M * TOP), bi = object(NULL, M * TOP);
	uint32_t bp = object(parts, M * TOP * W), by = object(NULL, M * W);
	struct vb_cmd_topk top = { .h = { VB_CMD_TOPK, 0, sizeof(top) } };
	struct vb_cmd_combine c = { .h = { VB_CMD_COMBINE, 0, sizeof(c) } };
	struct xstream s;

	(void)state;
	xstream_begin(&s);
	top.x = READ_MATRIX(bx, M, N);
	top.values = WRITE_MATRIX(bv, M, TOP);
	top.indices = xmatrix(&s, bi, VB_ACCESS_WRITE, AT, VB_FORMAT_I32, M, TOP);
	c.x = xcube(&s, bp, VB_ACCESS_READ, AT, VB_FORMAT_F32, M, TOP, W);
	c.weights = READ_MATRIX(bv, M, TOP);
	c.y = WRITE_MATRIX(by, M, W);
	xstream_add(&s, &top, sizeof(top));
	xstream_add(&s, &c, sizeof(c));
	xrig_must_run(&rig, &s);
	assert_int_equal(xrig_read(&rig, bv, AT, values, sizeof(values)), 0);
	assert_int_equal(xrig_read(&rig, bi, AT, indices, sizeof(indices)), 0);
	for (uint32_t i = 0; i < M; i++) {
		for (uint32_t t = 0; t < TOP; t++) {
			uint32_t above = 0;
			float value = values[i * TOP + t];

			assert_float_equal(x[i * N + (uint32_t)indices[i * TOP + t]], value, 0);
			for (uint32_t j = 0; j < N; j++)
				above += x[i * N + j] > value;
			assert_int_equal(above, t);
		}
		for (uint32_t j = 0; j < W; j++) {
			want[i * W + j] = 0;
			for (uint32_t t = 0; t < TOP; t++)
				want[i * W + j] += (double)values[i * TOP + t] *
						   parts[(i * TOP + t) * W + j];
		}
	}
	y = result(by, M * W);
	expect(y, want, NULL, M * W);
	free(x);
	free(parts);
	free(y);
}

static void command_copy_converts_and_steps_over_strides(void **state)
{
	enum { M = 40, N = 30, LD = 64 };
	float *x = xvalues(M * LD, 1), *y;
	uint32_t bx = object(x, M * LD), bh = object(NULL, M * N), by = object(NULL, M * N);
	struct vb_cmd_copy there = { .h = { VB_CMD_COPY, 0, sizeof(there) } };
	struct vb_cmd_copy back = { .h = { VB_CMD_COPY, 0, sizeof(back) } };
	struct xstream s;

	(void)state;
	xstream_begin(&s);
	there.x = READ_MATRIX(bx, M, N);
	there.x.stride[0] = LD * 4;
	there.y = xmatrix(&s, bh, VB_ACCESS_WRITE | VB_ACCESS_READ, AT, VB_FORMAT_BF16, M, N);
	back.x = there.y;
	back.y = WRITE_MATRIX(by, M, N);
	xstream_add(&s, &there, sizeof(there));
	xstream_add(&s, &back, sizeof(back));
	xrig_must_run(&rig, &s);
	y = result(by, M * N);
	for (uint32_t i = 0; i < M * N; i++) {
		uint32_t u = bits(x[i / N * LD + i % N]);
		float f;

		u = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000u;	/* nearest even */
		memcpy(&f, &u, 4);
		assert_float_equal(y[i], f, 0);
	}
	free(x);
	free(y);
}

/* Not F32, every other row of a larger object: bitwise what F32 of the same values gives. */
static void command_attention_of_format(uint32_t format)
{
	enum { M = 18, KV = 40, H = 6, G = 2 };
	const uint32_t D = format == VB_FORMAT_Q8_0 ? 96 : 40, ROW = G * D;
	const uint64_t row = format == VB_FORMAT_Q8_0 ? ROW / 32 * 34 : ROW * 2;
	float *q = xvalues(M * H * D, 1), *k = xvalues(KV * ROW, 2), *v = xvalues(KV * ROW, 3);
	uint32_t bq = object(q, M * H * D), bk = object(k, KV * ROW), bv = object(v, KV * ROW);
	uint32_t half = object(NULL, 2 * KV * ROW), by = object(NULL, M * H * D);
	struct vb_cmd_attention c = { .h = { VB_CMD_ATTENTION, 0, sizeof(c) },
				      .flags = VB_ATTENTION_CAUSAL, .scale_f32 = bits(0.25f) };
	struct vb_cmd_copy copy = { .h = { VB_CMD_COPY, 0, sizeof(copy) } };
	float *want, *y;
	struct xstream s;

	/* There and back: then both hold the same values. */
	xstream_begin(&s);
	for (uint32_t part = 0; part < 2; part++) {
		copy.x = xcube(&s, part ? bv : bk, VB_ACCESS_READ, AT, VB_FORMAT_F32, KV, G, D);
		copy.y = xcube(&s, half, VB_ACCESS_WRITE, AT + part * row, format, KV, G, D);
		copy.y.stride[0] = 2 * row;
		xstream_add(&s, &copy, sizeof(copy));
	}
	xrig_must_run(&rig, &s);
	xstream_begin(&s);
	for (uint32_t part = 0; part < 2; part++) {
		copy.x = xcube(&s, half, VB_ACCESS_READ, AT + part * row, format, KV, G, D);
		copy.x.stride[0] = 2 * row;
		copy.y = xcube(&s, part ? bv : bk, VB_ACCESS_WRITE, AT, VB_FORMAT_F32, KV, G, D);
		xstream_add(&s, &copy, sizeof(copy));
	}
	xrig_must_run(&rig, &s);
	for (uint32_t i = 0; i < 2; i++) {
		xstream_begin(&s);
		c.q = xcube(&s, bq, VB_ACCESS_READ, AT, VB_FORMAT_F32, M, H, D);
		c.k = xcube(&s, bk, VB_ACCESS_READ, AT, VB_FORMAT_F32, KV, G, D);
		c.v = xcube(&s, bv, VB_ACCESS_READ, AT, VB_FORMAT_F32, KV, G, D);
		c.out = xcube(&s, by, VB_ACCESS_WRITE, AT, VB_FORMAT_F32, M, H, D);
		if (i) {
			c.k = xcube(&s, half, VB_ACCESS_READ, AT, format, KV, G, D);
			c.v = xcube(&s, half, VB_ACCESS_READ, AT + row, format, KV, G, D);
			c.k.stride[0] = c.v.stride[0] = 2 * row;
		}
		xstream_add(&s, &c, sizeof(c));
		xrig_must_run(&rig, &s);
		*(i ? &y : &want) = result(by, M * H * D);
	}
	assert_memory_equal(y, want, M * H * D * sizeof(*y));
	free(q);
	free(k);
	free(v);
	free(y);
	free(want);
}

static void command_attention_of_f16(void **state)
{
	(void)state;
	command_attention_of_format(VB_FORMAT_F16);
}

static void command_attention_of_bf16(void **state)
{
	(void)state;
	command_attention_of_format(VB_FORMAT_BF16);
}

static void command_attention_of_q8_0(void **state)
{
	(void)state;
	command_attention_of_format(VB_FORMAT_Q8_0);
}

/* Two operands of a file that begin at one byte: each gets as much as it asked for. */
static void command_operands_of_a_file_may_begin_together(void **state)
{
	enum { M = 3, KV = 900, H = 1, D = 64 };
	size_t n = KV * D;
	float *values = xvalues(n, 5), *y;
	int fd = xfile(values, n * 4, 0);
	uint32_t file = xrig_file(&rig, fd, 0, n * 4), by = object(NULL, M * D);
	double want[M * D], weight[KV];
	struct vb_cmd_attention c = { .h = { VB_CMD_ATTENTION, 0, sizeof(c) },
				      .scale_f32 = bits(0.5f) };
	struct xstream s;

	(void)state;
	for (uint32_t i = 0; i < M; i++) {
		double sum = 0, size;

		for (uint32_t j = 0; j < KV; j++)
			sum += weight[j] = exp(0.5 * xdot(values + i * D, values + j * D, D, &size));
		for (uint32_t d = 0; d < D; d++) {
			want[i * D + d] = 0;
			for (uint32_t j = 0; j < KV; j++)
				want[i * D + d] += weight[j] / sum * values[j * D + d];
		}
	}
	xstream_begin(&s);
	c.q = xcube(&s, file, VB_ACCESS_READ, 0, VB_FORMAT_F32, M, H, D);
	c.k = xcube(&s, file, VB_ACCESS_READ, 0, VB_FORMAT_F32, KV, H, D);
	c.v = xcube(&s, file, VB_ACCESS_READ, 0, VB_FORMAT_F32, KV, H, D);
	c.out = xcube(&s, by, VB_ACCESS_WRITE, AT, VB_FORMAT_F32, M, H, D);
	xstream_add(&s, &c, sizeof(c));
	xrig_must_run(&rig, &s);
	y = result(by, M * D);
	expect(y, want, NULL, M * D);
	close(fd);
	free(values);
	free(y);
}

static void command_after_its_deadline_ends_with_etime(void **state)
{
	struct vb_cmd_fill c = { .h = { VB_CMD_FILL, 0, sizeof(c) } };
	uint32_t bo = object(NULL, 1000);
	struct xstream s;

	(void)state;
	xstream_begin(&s);
	c.y = xvector(&s, bo, VB_ACCESS_WRITE, AT, VB_FORMAT_F32, 1000);
	xstream_add(&s, &c, sizeof(c));
	s.deadline_ns = xrig_now() - 1;
	assert_int_equal(xrun(&rig, &s), -ETIME);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		XRIG_TEST(command_matmul, set_up),
		XRIG_TEST(command_matmul_adds_a_residual_that_is_its_output, set_up),
		XRIG_TEST(command_norm, set_up),
		XRIG_TEST(command_softmax, set_up),
		XRIG_TEST(command_eltwise, set_up),
		XRIG_TEST(command_rope, set_up),
		XRIG_TEST(command_attention, set_up),
		XRIG_TEST(command_attention_of_f16, set_up),
		XRIG_TEST(command_attention_of_bf16, set_up),
		XRIG_TEST(command_attention_of_q8_0, set_up),
		XRIG_TEST(command_topk_and_combine, set_up),
		XRIG_TEST(command_copy_converts_and_steps_over_strides, set_up),
		XRIG_TEST(command_operands_of_a_file_may_begin_together, set_up),
		XRIG_TEST(command_after_its_deadline_ends_with_etime, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
