// SPDX-License-Identifier: MIT
/* Derived objects: what arrives is what packing in memory gives, bit for bit. */
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
#include "core/format.h"
#include "kernels/kernels.h"
#include "kernels/pack/half.h"
#include "kernels/random_blocks.h"

#define WIDE_COLS	66016u		/* 16 rows of them are more than a piece */
#define ROWS	173u		/* the last group has 13 */
#define COLS	1120u		/* more than are decoded at a time; the last tile has three blocks */
#define STACK	3u
#define START	1236u

/* F32 values as another format has them; returns bytes. */
static size_t encode(uint32_t format, const float *values, size_t n, uint8_t *out)
{
	/* Of E8M0 those powers of two that the packed formats can bear. */
	for (size_t i = 0; format == VB_FORMAT_U8 && i < n; i++)
		out[i] = (uint8_t)(127 - 12 + i % 16);
	if (format == VB_FORMAT_U8)
		return n;
	for (size_t i = 0; i < n; i++) {
		uint16_t half = format == VB_FORMAT_F16 ? vgpu_f32_to_f16(values[i]) :
							  vgpu_f32_to_bf16(values[i]);

		if (format == VB_FORMAT_F32)
			memcpy(out + i * 4, &values[i], 4);
		else
			memcpy(out + i * 2, &half, 2);
	}
	return n * (format == VB_FORMAT_F32 ? 4 : 2);
}

/* Blocks of 32 as GGUF has them: random scales and codes.  Of FP4 any byte is two values. */
static size_t encode_blocks(uint32_t format, size_t n, uint8_t *out)
{
	size_t at = 0;
	uint64_t seed = 5;

	if (vgpu_g16_of_source(format)) {
		random_blocks(format, out, NULL, 1, (uint32_t)n, false, &seed);
		return vgpu_weight_unit_bytes(format, (uint32_t)n);
	}
	while (format == VB_FORMAT_F4_E2M1 && at < n / 2)
		out[at++] = (uint8_t)xrandom(&seed);
	if (at)
		return at;
	for (size_t b = 0; b < n / 32; b++) {
		if (format == VB_FORMAT_MXFP4) {
			out[at++] = (uint8_t)(120 + xrandom(&seed) % 10);
			for (uint32_t i = 0; i < 16; i++)
				out[at++] = (uint8_t)xrandom(&seed);
		} else {
			uint16_t scale = vgpu_f32_to_f16(0.001f * (float)(1 + xrandom(&seed) % 9));

			memcpy(out + at, &scale, 2);
			at += 2;
			for (uint32_t i = 0; i < 32; i++)
				out[at++] = (uint8_t)(int8_t)((int)(xrandom(&seed) % 255) - 127);
			out[at - 32] = 127;
		}
	}
	return at;
}

/* The whole stack packed in memory, matrix by matrix, group by group. */
static uint8_t *pack(uint32_t src, uint32_t dst, uint32_t rows, uint32_t cols,
		     const uint8_t *source, size_t *out_bytes)
{
	const struct vgpu_kernels *k = vgpu_kernels_best();
	size_t row = vgpu_weight_unit_bytes(src, cols), unit = vgpu_weight_unit_bytes(dst, cols);
	size_t groups = (rows + 15) / 16;
	uint8_t *packed = aligned_alloc(64, STACK * groups * unit);
	float *values = xalloc(16 * cols * 4);

	for (uint32_t g = 0; g < STACK * groups; g++) {
		uint32_t first = g % groups * 16, n = rows - first < 16 ? rows - first : 16;
		const uint8_t *from = source + (g / groups * rows + first) * row;
		struct vgpu_panel p = { .format = src, .rows = n, .k = cols, .data = from };
		const void *in = from;
		uint32_t format = src;

		if (vgpu_g16_type(dst)) {
			assert_int_equal(k->pack_blocks(packed + g * unit, dst, from, n, cols), 0);
			continue;
		}
		if (src > VB_FORMAT_BF16) {
			k->weight_decode(&p, values, cols);
			in = values;
			format = VB_FORMAT_F32;
		}
		if (dst == VB_FORMAT_MXFP4_G16)
			assert_int_equal(k->pack_mxfp4(packed + g * unit, in, format, cols, n, cols), 0);
		else
			assert_int_equal(k->pack_int8(packed + g * unit, in, format, cols, n, cols), 0);
	}
	free(values);
	*out_bytes = STACK * groups * unit;
	return packed;
}

/*
 * Of three tiers for each end of the chunk size: all, but where only large chunks take
 * several pieces; and one of each where rows are wider than WIDE_COLS, which takes long.
 */
static bool takes_long(uint32_t cols)
{
	return cols > WIDE_COLS || (XSANITIZED && cols == WIDE_COLS);
}

static uint32_t tier_first(uint32_t rows, uint32_t cols)
{
	if (takes_long(cols))
		return 1;
	return rows > ROWS ? 3 : 0;
}

static uint32_t tier_step(uint32_t cols)
{
	return takes_long(cols) ? 3 : 1;
}

static void expect_derived(uint32_t src, uint32_t dst, uint32_t rows, uint32_t cols)
{
	static const uint32_t slots[] = { 7, 12, 60 };
	size_t n = (size_t)STACK * rows * cols, bytes, source_bytes;
	float *values = xvalues(n, 3);
	uint8_t *source = xalloc(n * 4), *packed, *got;
	int fd;

	source_bytes = src <= VB_FORMAT_BF16 ? encode(src, values, n, source) :
					       encode_blocks(src, n, source);
	fd = xfile(source, source_bytes, START);
	packed = pack(src, dst, rows, cols, source, &bytes);
	got = xalloc(bytes);
	for (uint32_t i = tier_first(rows, cols); i < 6; i += tier_step(cols)) {
		struct vgpu_exec_params p = xrig_params(slots[i % 3]);
		uint64_t count[VB_COUNT_COUNT];
		struct xrig r;
		uint32_t bo;

		p.chunk_bytes = i < 3 ? XCHUNK : VB_CHUNK_BYTES_MAX;
		p.host_bytes = (uint64_t)slots[i % 3] * p.chunk_bytes;
		xrig_start(&r, &p);
		bo = xrig_derived(&r, fd, START, src, dst, STACK, rows, cols);
		/* Twice: made anew, a chunk is the same. */
		for (uint32_t pass = 0; pass < 2; pass++) {
			memset(got, 0xee, bytes);
			assert_int_equal(xrig_read(&r, bo, 0, got, bytes), 0);
			assert_memory_equal(packed, got, bytes);
		}
		xrig_counters(&r, count);
		assert_int_equal(count[VB_COUNT_WRITE_BYTES], 0);
		xrig_close(&r);
	}
	close(fd);
	free(values);
	free(source);
	free(packed);
	free(got);
}

static void derive_from_f32(void **state)
{
	(void)state;
	expect_derived(VB_FORMAT_F32, VB_FORMAT_MXFP4_G16, ROWS, COLS);
	expect_derived(VB_FORMAT_F32, VB_FORMAT_INT8_G16, ROWS, COLS);
}

static void derive_from_f16(void **state)
{
	(void)state;
	expect_derived(VB_FORMAT_F16, VB_FORMAT_MXFP4_G16, ROWS, COLS);
	expect_derived(VB_FORMAT_F16, VB_FORMAT_INT8_G16, ROWS, COLS);
}

static void derive_from_bf16(void **state)
{
	(void)state;
	expect_derived(VB_FORMAT_BF16, VB_FORMAT_MXFP4_G16, ROWS, COLS);
	expect_derived(VB_FORMAT_BF16, VB_FORMAT_INT8_G16, ROWS, COLS);
}

static void derive_from_blocks_of_gguf(void **state)
{
	(void)state;
	expect_derived(VB_FORMAT_MXFP4, VB_FORMAT_MXFP4_G16, ROWS, COLS);
	expect_derived(VB_FORMAT_Q8_0, VB_FORMAT_INT8_G16, ROWS, COLS);
}

/* Each to the packed format of its name. */
static void derive_regroups_blocks_of_gguf(void **state)
{
	uint32_t tried = 0;

	(void)state;
	for (uint32_t src = 0; src < 64; src++) {
		uint32_t dst = vb_format_packed(src);

		if (!vgpu_g16_type(dst))
			continue;
		tried++;
		/* Of blocks of 32 three are left for the last tile. */
		expect_derived(src, dst, ROWS, COLS + (0u - COLS) % vb_format_cols(src));
	}
	assert_int_equal(tried, 8);
}

static void derive_from_fp4(void **state)
{
	(void)state;
	expect_derived(VB_FORMAT_F4_E2M1, VB_FORMAT_MXFP4_G16, ROWS, COLS);
	expect_derived(VB_FORMAT_F4_E2M1, VB_FORMAT_INT8_G16, ROWS, COLS);
	/* The last block is cut. */
	expect_derived(VB_FORMAT_F4_E2M1, VB_FORMAT_MXFP4_G16, ROWS, COLS + 2);
}

/* One value that cannot be packed spoils its chunk, and the sentence says which. */
static void derive_of_nan_is_edom_and_says_where(void **state)
{
	struct vgpu_exec_params p = xrig_params(20);
	size_t n = (size_t)STACK * ROWS * COLS;
	float *values = xvalues(n, 3);
	uint64_t expert = (uint64_t)((ROWS + 15) / 16) *
			  vgpu_weight_unit_bytes(VGPU_W_INT8_G16, COLS);
	struct vb_cmd_matmul c = { .h = { VB_CMD_MATMUL, 0, sizeof(c) } };
	uint32_t bo, bx, by;
	struct xstream s;
	struct xrig r;
	int fd;

	(void)state;
	values[n - 5] = 0.0f / 0.0f;
	fd = xfile(values, n * 4, START);
	xrig_start(&r, &p);
	bo = xrig_derived(&r, fd, START, VB_FORMAT_F32, VB_FORMAT_INT8_G16, STACK, ROWS, COLS);
	bx = xrig_anonymous(&r, COLS * 4);
	by = xrig_anonymous(&r, ROWS * 4);
	for (uint32_t m = 0; m < STACK; m++) {
		xstream_begin(&s);
		c.x = xmatrix(&s, bx, VB_ACCESS_READ, 0, VB_FORMAT_F32, 1, COLS);
		c.w = xmatrix(&s, bo, VB_ACCESS_READ, m * expert, VB_FORMAT_INT8_G16, ROWS, COLS);
		c.y = xmatrix(&s, by, VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 1, ROWS);
		xstream_add(&s, &c, sizeof(c));
		assert_int_equal(xrun(&r, &s), m + 1 < STACK ? 0 : -EDOM);
		xrig_assert_sound(&r);
	}
	assert_non_null(strstr(xrig_error(&r), "NaN or infinity"));
	assert_non_null(strstr(r.text, "chunk 9 of 10"));
	xrig_close(&r);
	close(fd);
	free(values);
}

/*
 * Blocks and scales apart, in the order of gpt-oss: packed they are the same bytes as the
 * interleaved form is.
 */
static void expect_split_derived(uint32_t rows, uint32_t cols)
{
	static const uint32_t slots[] = { 7, 12, 60 };
	const size_t blocks = (size_t)STACK * rows * cols / 32, scales_at = blocks * 16 + 12345;
	uint8_t *source = xalloc(blocks * 17), *split = xalloc(scales_at + blocks), *packed, *got;
	size_t bytes;
	int fd;

	encode_blocks(VB_FORMAT_MXFP4, blocks * 32, source);
	for (size_t b = 0; b < blocks; b++) {
		split[scales_at + b] = source[b * 17];
		for (uint32_t i = 0; i < 32; i++) {
			uint8_t code = source[b * 17 + 1 + i % 16] >> i / 16 * 4 & 15;

			split[b * 16 + i / 2] |= (uint8_t)(code << i % 2 * 4);
		}
	}
	packed = pack(VB_FORMAT_MXFP4, VB_FORMAT_MXFP4_G16, rows, cols, source, &bytes);
	got = xalloc(bytes);
	fd = xfile(split, scales_at + blocks, START);
	for (uint32_t i = tier_first(rows, cols); i < 6; i += tier_step(cols)) {
		struct vgpu_exec_params p = xrig_params(slots[i % 3]);
		struct xrig r;
		uint32_t bo;

		p.chunk_bytes = i < 3 ? XCHUNK : VB_CHUNK_BYTES_MAX;
		p.host_bytes = (uint64_t)slots[i % 3] * p.chunk_bytes;
		xrig_start(&r, &p);
		bo = xrig_split(&r, fd, START, START + scales_at, STACK, rows, cols);
		for (uint32_t pass = 0; pass < 2; pass++) {
			memset(got, 0xee, bytes);
			assert_int_equal(xrig_read(&r, bo, 0, got, bytes), 0);
			assert_memory_equal(packed, got, bytes);
		}
		xrig_close(&r);
	}
	close(fd);
	free(source);
	free(split);
	free(packed);
	free(got);
}

static void derive_from_split_blocks_is_what_interleaved_ones_give(void **state)
{
	(void)state;
	expect_split_derived(ROWS, COLS);
}

/* Units of 2 MiB of source at a time, the last one of a matrix being shorter. */
static void derive_piece_by_piece_is_what_it_is_at_once(void **state)
{
	(void)state;
	expect_derived(VB_FORMAT_F32, VB_FORMAT_MXFP4_G16, 1731, COLS);
	expect_derived(VB_FORMAT_F16, VB_FORMAT_INT8_G16, 1731, COLS);
	expect_split_derived(3101, COLS);
}

/* FP8 with scales apart: a scale for each rectangle of @high x @wide values, 0: for all. */
static void expect_scaled_derived(uint32_t src, uint32_t dst, uint32_t scale_format,
				  uint32_t rows, uint32_t cols, uint32_t high, uint32_t wide)
{
	uint32_t h = high ? high : rows, w = wide ? wide : cols, down = (rows + h - 1) / h;
	uint32_t across = (cols + w - 1) / w, scale_bytes = scale_format == VB_FORMAT_F32 ? 4 :
							    scale_format == VB_FORMAT_U8 ? 1 : 2;
	size_t n = (size_t)STACK * rows * cols, scales_at = n + 4321, grid = STACK * down * across;
	uint8_t *file = xalloc(scales_at + grid * 4), *packed, *got;
	float *values = xalloc(n * 4), *scales = xvalues(grid, 9), *rounded = xalloc(grid * 4);
	struct vb_transform t = {
		.kind = VB_TRANSFORM_PACK, .src_format = (uint16_t)src, .dst_format = (uint16_t)dst,
		.scale_format = (uint16_t)scale_format, .rows = rows, .cols = cols, .stack = STACK,
		.scale_rows = (uint16_t)high, .scale_cols = (uint16_t)wide,
		.scales_offset = START + scales_at,
	};
	uint64_t seed = 11;
	size_t bytes;
	int fd;

	for (size_t i = 0; i < n; i++)
		do
			file[i] = (uint8_t)xrandom(&seed);
		while ((file[i] & 0x7f) >= 0x7c);	/* not finite in one of the two */
	encode(scale_format, scales, grid, file + scales_at);
	for (size_t i = 0; i < grid; i++) {
		uint16_t half = 0;

		memcpy(&half, file + scales_at + i * scale_bytes, scale_bytes < 2 ? 1 : 2);
		rounded[i] = scale_format == VB_FORMAT_F32 ? scales[i] :
			     scale_format == VB_FORMAT_U8 ? exp2f((float)half - 127) :
			     scale_format == VB_FORMAT_F16 ? vgpu_f16_to_f32(half) :
							     vgpu_bf16_to_f32(half);
	}
	for (size_t i = 0; i < n; i++) {
		size_t row = i / cols % rows, col = i % cols, matrix = i / cols / rows;
		struct vgpu_panel p = { .format = src, .rows = 1, .k = 1, .data = file + i };

		vgpu_kernels_best()->weight_decode(&p, &values[i], 1);
		values[i] *= rounded[(matrix * down + row / h) * across + col / w];
	}
	packed = pack(VB_FORMAT_F32, dst, rows, cols, (uint8_t *)values, &bytes);
	got = xalloc(bytes);
	fd = xfile(file, scales_at + grid * scale_bytes, START);
	for (uint32_t i = 0; i < 2; i++) {
		struct vgpu_exec_params params = xrig_params(12);
		struct xrig r;
		uint32_t bo;

		params.chunk_bytes = i ? VB_CHUNK_BYTES_MAX : XCHUNK;
		params.host_bytes = 12ull * params.chunk_bytes;
		xrig_start(&r, &params);
		bo = xrig_transformed(&r, fd, START, &t);
		assert_int_equal(xrig_read(&r, bo, 0, got, bytes), 0);
		assert_memory_equal(packed, got, bytes);
		xrig_close(&r);
	}
	close(fd);
	free(file);
	free(values);
	free(scales);
	free(rounded);
	free(packed);
	free(got);
}

static void derive_from_fp8_multiplies_by_the_scales_beside_it(void **state)
{
	static const uint16_t shared[][2] = { { 0, 0 }, { 1, 0 }, { 128, 128 }, { 7, 50 }, { 0, 1 } };

	(void)state;
	for (size_t i = 0; i < sizeof(shared) / sizeof(shared[0]); i++) {
		expect_scaled_derived(VB_FORMAT_F8_E4M3, VB_FORMAT_INT8_G16, VB_FORMAT_F32, ROWS,
				      COLS, shared[i][0], shared[i][1]);
		expect_scaled_derived(VB_FORMAT_F8_E5M2, VB_FORMAT_MXFP4_G16, VB_FORMAT_BF16, ROWS,
				      COLS, shared[i][0], shared[i][1]);
		expect_scaled_derived(VB_FORMAT_F8_E4M3, VB_FORMAT_MXFP4_G16, VB_FORMAT_U8, ROWS,
				      COLS, shared[i][0], shared[i][1]);
	}
	/* Pieces of 2 MiB that end where no row of scales does. */
	expect_scaled_derived(VB_FORMAT_F8_E4M3, VB_FORMAT_INT8_G16, VB_FORMAT_F16, 3101, COLS,
			      128, 128);
}

/* "... most so far 123 of 456" */
static uint64_t described_beside(struct xrig *r)
{
	const char *at;

	assert_true(vgpu_exec_describe(r->exec, "staging", r->text, sizeof(r->text)) > 0);
	at = strstr(r->text, "beside it at most ");
	assert_non_null(at);
	return strtoull(at + strlen("beside it at most "), NULL, 10);
}

/*
 * Rows so wide that 16 of them are no piece: columns at a time, of each row apart. With small
 * chunks only those columns that the chunk has.
 */
static void derive_of_wide_rows_is_what_it_is_at_once(void **state)
{
	enum { FEW = 17, MORE = 37, WIDE = WIDE_COLS, WIDER = 198112, BLOCKS_OF_256 = 131328 };

	(void)state;
	expect_derived(VB_FORMAT_F32, VB_FORMAT_MXFP4_G16, MORE, WIDE);
	expect_derived(VB_FORMAT_Q8_0, VB_FORMAT_INT8_G16, FEW, BLOCKS_OF_256);
	expect_scaled_derived(VB_FORMAT_F8_E5M2, VB_FORMAT_MXFP4_G16, VB_FORMAT_F32, 5, WIDER, 7,
			      50);
	expect_derived(VB_FORMAT_Q4_K, VB_FORMAT_Q4_K_G16, FEW, 2 * BLOCKS_OF_256);
	/* Other formats take the same way. */
	if (XSANITIZED)
		return;
	expect_derived(VB_FORMAT_Q6_K, VB_FORMAT_Q6_K_G16, FEW, 3 * BLOCKS_OF_256 / 2 / 256 * 256);
	expect_derived(VB_FORMAT_NVFP4, VB_FORMAT_NVFP4_G16, FEW, 2 * BLOCKS_OF_256 + 64);
	expect_derived(VB_FORMAT_Q5_1, VB_FORMAT_Q5_1_G16, FEW, 2 * BLOCKS_OF_256 + 32);
	expect_derived(VB_FORMAT_F16, VB_FORMAT_INT8_G16, MORE, WIDE);
	expect_derived(VB_FORMAT_MXFP4, VB_FORMAT_MXFP4_G16, 17, 8 * BLOCKS_OF_256 / 3);
	expect_derived(VB_FORMAT_F4_E2M1, VB_FORMAT_MXFP4_G16, 17, 8 * BLOCKS_OF_256 / 3);
	expect_split_derived(17, 8 * BLOCKS_OF_256 / 3);
	expect_scaled_derived(VB_FORMAT_F8_E4M3, VB_FORMAT_INT8_G16, VB_FORMAT_BF16, FEW, WIDER,
			      128, 128);
}

/* Small chunks of wide rows read what they are made from, and blocks of the disk around it. */
static void derive_of_wide_rows_reads_what_a_chunk_has(void **state)
{
	enum { N = 32, K = 262144, SLOTS = 200 };
	struct vb_cmd_matmul c = { .h = { VB_CMD_MATMUL, 0, sizeof(c) } };
	struct vgpu_exec_params p = xrig_params(SLOTS);
	const uint64_t source = (uint64_t)N * K * 4;
	uint64_t count[VB_COUNT_COUNT];
	int fd = xfile("", 0, 0);
	struct xstream s;
	struct xrig r;

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)source), 0);
	xrig_start(&r, &p);
	xstream_begin(&s);
	c.x = xmatrix(&s, xrig_anonymous(&r, K * 4), VB_ACCESS_READ, 0, VB_FORMAT_F32, 1, K);
	c.w = xmatrix(&s, xrig_derived(&r, fd, 0, VB_FORMAT_F32, VB_FORMAT_INT8_G16, 1, N, K),
		      VB_ACCESS_READ, 0, VB_FORMAT_INT8_G16, N, K);
	c.y = xmatrix(&s, xrig_anonymous(&r, N * 4), VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 1, N);
	xstream_add(&s, &c, sizeof(c));
	xrig_must_run(&r, &s);
	xrig_counters(&r, count);
	assert_in_range(count[VB_COUNT_READ_BYTES], source, source / 2 * 3);
	assert_in_range(described_beside(&r), 1, 18 << 20);
	xrig_close(&r);
	close(fd);
}

/*
 * Large chunks of MXFP4 from F32, 15 MiB of source each, several on their way at once:
 * the process needs little more than the tier.
 */
static void derive_holds_little_memory_beside_the_tier(void **state)
{
	enum { K = 4096, N = 14 * 960, SLOTS = 28 };
	struct vb_cmd_matmul c = { .h = { VB_CMD_MATMUL, 0, sizeof(c) } };
	struct vgpu_exec_params p = xrig_params(SLOTS);
	int fd = xfile("", 0, 0);
	struct xstream s;
	struct xrig r;

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)N * K * 4), 0);
	p.chunk_bytes = VB_CHUNK_BYTES_MAX;
	p.host_bytes = (uint64_t)SLOTS * VB_CHUNK_BYTES_MAX;
	xrig_start(&r, &p);
	assert_int_equal(described_beside(&r), 0);
	xstream_begin(&s);
	c.x = xmatrix(&s, xrig_anonymous(&r, K * 4), VB_ACCESS_READ, 0, VB_FORMAT_F32, 1, K);
	c.w = xmatrix(&s, xrig_derived(&r, fd, 0, VB_FORMAT_F32, VB_FORMAT_MXFP4_G16, 1, N, K),
		      VB_ACCESS_READ, 0, VB_FORMAT_MXFP4_G16, N, K);
	c.y = xmatrix(&s, xrig_anonymous(&r, N * 4), VB_ACCESS_WRITE, 0, VB_FORMAT_F32, 1, N);
	xstream_add(&s, &c, sizeof(c));
	xrig_must_run(&r, &s);
	assert_in_range(described_beside(&r), 4 << 20, 18 << 20);
	xrig_close(&r);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(derive_from_f32),
		cmocka_unit_test(derive_from_f16),
		cmocka_unit_test(derive_from_bf16),
		cmocka_unit_test(derive_from_blocks_of_gguf),
		cmocka_unit_test(derive_regroups_blocks_of_gguf),
		cmocka_unit_test(derive_from_fp4),
		cmocka_unit_test(derive_of_nan_is_edom_and_says_where),
		cmocka_unit_test(derive_from_split_blocks_is_what_interleaved_ones_give),
		cmocka_unit_test(derive_from_fp8_multiplies_by_the_scales_beside_it),
		cmocka_unit_test(derive_of_wide_rows_is_what_it_is_at_once),
		cmocka_unit_test(derive_of_wide_rows_reads_what_a_chunk_has),
		cmocka_unit_test(derive_piece_by_piece_is_what_it_is_at_once),
		cmocka_unit_test(derive_holds_little_memory_beside_the_tier),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
