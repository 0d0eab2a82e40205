/* SPDX-License-Identifier: MIT */
/*
 * Valid commands of every opcode, small enough to touch each byte that they name.
 */
#ifndef TESTS_UNIT_CMD_SAMPLES_H
#define TESTS_UNIT_CMD_SAMPLES_H

#include <core/cmd.h>

#define RW	(VB_ACCESS_READ | VB_ACCESS_WRITE)

/* The BO list that the samples name. */
enum { BO_WEIGHTS, BO_ACTS, BO_OUT, BO_IDS, BO_ACTS_AGAIN, BO_TIGHT, BO_WRITE_ONLY,
       BO_SEALED, BO_HUGE, BO_COUNT };

static const struct vb_cmd_bo sample_bos[BO_COUNT] = {
	[BO_WEIGHTS] = { 1u << 17, 10, VB_ACCESS_READ, true },
	[BO_ACTS] = { 1u << 16, 11, RW, false },
	[BO_OUT] = { 1u << 16, 12, RW | VB_ACCESS_DISCARD, false },
	[BO_IDS] = { 4096, 13, VB_ACCESS_READ, false },
	[BO_ACTS_AGAIN] = { 1u << 16, 11, RW, false },
	[BO_TIGHT] = { 64, 14, RW, false },
	[BO_WRITE_ONLY] = { 1u << 16, 15, VB_ACCESS_WRITE, false },
	[BO_SEALED] = { 1u << 16, 16, RW, true },
	[BO_HUGE] = { VB_OBJECT_BYTES_MAX, 17, RW, false },
};

/* Room for the longest command, whatever opcode a mutation makes of it. */
struct sample {
	union {
		struct vb_cmd_header h;
		struct vb_cmd_matmul matmul;
		struct vb_cmd_matmul_id matmul_id;
		struct vb_cmd_attention attention;
		struct vb_cmd_norm norm;
		struct vb_cmd_rope rope;
		struct vb_cmd_eltwise eltwise;
		struct vb_cmd_softmax softmax;
		struct vb_cmd_topk topk;
		struct vb_cmd_gather gather;
		struct vb_cmd_copy copy;
		struct vb_cmd_fill fill;
		struct vb_cmd_combine combine;
		struct vb_cmd_matmul_gate matmul_gate;
		struct vb_cmd_matmul_transposed matmul_transposed;
	};
};

#define ONE	0x3f800000u	/* 1.0f */

#define OP(bo_, format_, offset_, rank_, ...) \
	{ .bo = bo_, .format = VB_FORMAT_##format_, .rank = rank_, .offset = offset_, \
	  .shape = { __VA_ARGS__ } }
#define STRIDED(bo_, format_, offset_, rank_, stride_, ...) \
	{ .bo = bo_, .format = VB_FORMAT_##format_, .rank = rank_, .offset = offset_, \
	  .shape = { __VA_ARGS__ }, .stride = { stride_ } }
#define HEAD(OPCODE, name) .h = { VB_CMD_##OPCODE, 0, sizeof(struct vb_cmd_##name) }

static const struct sample samples[] = {
	{ .h = { VB_CMD_NOP, 0, sizeof(struct vb_cmd_header) } },

	/* row-major weights at an odd offset */
	{ .matmul = { HEAD(MATMUL, matmul), .act = VB_UNARY_SILU,
		      .x = OP(BO_ACTS, F32, 64, 2, 3, 10), .w = OP(BO_WEIGHTS, F16, 7, 2, 5, 10),
		      .y = OP(BO_OUT, F32, 0, 2, 3, 5), .bias = OP(BO_WEIGHTS, F32, 4, 1, 5) } },
	/* in place on the residual, strided rows */
	{ .matmul = { HEAD(MATMUL, matmul), .mode = VB_MODE_A8,
		      .x = STRIDED(BO_ACTS, F32, 0, 2, 160, 2, 32),
		      .w = OP(BO_WEIGHTS, MXFP4, 17, 2, 6, 32),
		      .y = STRIDED(BO_OUT, F32, 128, 2, 28, 2, 6),
		      .residual = STRIDED(BO_OUT, F32, 128, 2, 28, 2, 6) } },
	{ .matmul = { HEAD(MATMUL, matmul), .mode = VB_MODE_A16,
		      .x = OP(BO_ACTS, F32, 0, 2, 1, 64),
		      .w = OP(BO_WEIGHTS, MXFP4_SPLIT, 0, 2, 9, 64),
		      .scales = OP(BO_WEIGHTS, U8, 1001, 2, 9, 2),
		      .y = OP(BO_OUT, F32, 4, 2, 1, 9) } },
	{ .matmul = { HEAD(MATMUL, matmul), .mode = VB_MODE_A8,
		      .x = OP(BO_ACTS, F32, 0, 2, 2, 40),
		      .w = OP(BO_WEIGHTS, MXFP4_G16, 128, 2, 19, 40),
		      .y = OP(BO_ACTS_AGAIN, F32, 4096, 2, 2, 19) } },
	/* blocks of 256, and groups of them */
	{ .matmul = { HEAD(MATMUL, matmul), .mode = VB_MODE_A8,
		      .x = OP(BO_ACTS, F32, 0, 2, 2, 512),
		      .w = OP(BO_WEIGHTS, Q6_K, 31, 2, 5, 512),
		      .y = OP(BO_OUT, F32, 0, 2, 2, 5) } },
	{ .matmul = { HEAD(MATMUL, matmul), .mode = VB_MODE_A16,
		      .x = OP(BO_ACTS, F32, 0, 2, 2, 512),
		      .w = OP(BO_WEIGHTS, Q4_K_G16, 192, 2, 17, 512),
		      .y = OP(BO_OUT, F32, 0, 2, 2, 17) } },

	{ .matmul_gate = { HEAD(MATMUL_GATE, matmul_gate), .mode = VB_MODE_A16, .gate = VB_UNARY_TANH,
			   .mul_f32 = ONE, .x = OP(BO_ACTS, F32, 64, 2, 3, 32),
			   .w = OP(BO_WEIGHTS, Q8_0, 7, 2, 5, 32), .y = OP(BO_OUT, F32, 0, 2, 3, 5),
			   .bias = OP(BO_WEIGHTS, F32, 4, 1, 5),
			   .u = STRIDED(BO_ACTS, F32, 4096, 2, 160, 3, 5) } },
	{ .matmul_gate = { HEAD(MATMUL_GATE, matmul_gate), .add_f32 = ONE,
			   .x = OP(BO_ACTS, F32, 0, 2, 1, 64), .w = OP(BO_WEIGHTS, MXFP4_SPLIT, 0, 2, 9, 64),
			   .scales = OP(BO_WEIGHTS, U8, 1001, 2, 9, 2),
			   .y = OP(BO_OUT, F32, 256, 2, 1, 9), .u = OP(BO_OUT, F32, 0, 2, 1, 9) } },

	{ .matmul_transposed = { HEAD(MATMUL_TRANSPOSED, matmul_transposed),
				 .x = STRIDED(BO_ACTS, F32, 64, 2, 24, 3, 5),
				 .w = OP(BO_WEIGHTS, Q8_0, 7, 2, 5, 32),
				 .y = STRIDED(BO_OUT, F32, 4, 2, 132, 3, 32) } },
	{ .matmul_transposed = { HEAD(MATMUL_TRANSPOSED, matmul_transposed),
				 .x = OP(BO_ACTS, F32, 0, 2, 2, 9),
				 .w = OP(BO_WEIGHTS, MXFP4_SPLIT, 0, 2, 9, 64),
				 .scales = OP(BO_WEIGHTS, U8, 1001, 2, 9, 2),
				 .y = OP(BO_ACTS_AGAIN, F32, 4096, 2, 2, 64) } },

	{ .matmul_id = { HEAD(MATMUL_ID, matmul_id), .mode = VB_MODE_A8,
			 .x = OP(BO_ACTS, F32, 0, 2, 3, 33),
			 .w = OP(BO_WEIGHTS, INT8_G16, 64, 3, 4, 17, 33),
			 .ids = OP(BO_IDS, I32, 0, 2, 3, 2),
			 .y = OP(BO_OUT, F32, 0, 3, 3, 2, 17),
			 .bias = OP(BO_ACTS, F32, 4096, 2, 4, 17) } },
	{ .matmul_id = { HEAD(MATMUL_ID, matmul_id),
			 .x = OP(BO_ACTS, F32, 0, 3, 2, 3, 32),
			 .w = STRIDED(BO_WEIGHTS, MXFP4_SPLIT, 5, 3, 113, 3, 7, 32),
			 .scales = STRIDED(BO_WEIGHTS, U8, 5000, 3, 9, 3, 7, 1),
			 .ids = OP(BO_IDS, I32, 4, 2, 2, 3),
			 .y = OP(BO_OUT, F32, 0, 3, 2, 3, 7) } },

	{ .attention = { HEAD(ATTENTION, attention), .flags = VB_ATTENTION_CAUSAL,
			 .scale_f32 = ONE, .q = STRIDED(BO_ACTS, F32, 0, 3, 400, 4, 4, 8),
			 .k = STRIDED(BO_ACTS, F32, 128, 3, 400, 4, 2, 8),
			 .v = STRIDED(BO_ACTS, F32, 192, 3, 400, 4, 2, 8),
			 .out = OP(BO_OUT, F32, 0, 3, 4, 4, 8) } },
	{ .attention = { HEAD(ATTENTION, attention), .scale_f32 = ONE, .softcap_f32 = ONE,
			 .window = 5, .q = OP(BO_ACTS, F32, 0, 3, 2, 3, 4),
			 .k = OP(BO_ACTS, F32, 1024, 3, 6, 1, 4),
			 .v = OP(BO_ACTS, F32, 2048, 3, 6, 1, 4),
			 .mask = OP(BO_ACTS, F32, 3072, 2, 1, 6),
			 .out = OP(BO_OUT, F32, 0, 3, 2, 3, 4) } },
	{ .attention = { HEAD(ATTENTION, attention), .q = OP(BO_ACTS, F32, 0, 3, 2, 1, 4),
			 .k = OP(BO_ACTS, F32, 1024, 3, 3, 1, 4),
			 .v = OP(BO_ACTS, F32, 2048, 3, 3, 1, 4),
			 .mask = OP(BO_ACTS, F32, 3072, 2, 2, 3),
			 .out = OP(BO_OUT, F32, 0, 3, 2, 1, 4) } },
	/* keys and values of one row each time */
	{ .attention = { HEAD(ATTENTION, attention), .q = OP(BO_ACTS, F32, 0, 3, 2, 4, 32),
			 .k = STRIDED(BO_ACTS, Q8_0, 2049, 3, 136, 5, 2, 32),
			 .v = STRIDED(BO_ACTS, Q8_0, 2117, 3, 136, 5, 2, 32),
			 .out = OP(BO_OUT, F32, 0, 3, 2, 4, 32) } },
	{ .attention = { HEAD(ATTENTION, attention), .q = OP(BO_ACTS, F32, 0, 3, 2, 1, 4),
			 .k = OP(BO_ACTS, BF16, 1026, 3, 3, 1, 4),
			 .v = OP(BO_ACTS, BF16, 2050, 3, 3, 1, 4),
			 .out = OP(BO_OUT, F32, 0, 3, 2, 1, 4) } },

	{ .norm = { HEAD(NORM, norm), .kind = VB_NORM_LAYER, .eps_f32 = 0x3727c5acu,
		    .x = OP(BO_ACTS, F32, 0, 2, 3, 7), .gamma = OP(BO_ACTS, F32, 512, 1, 7),
		    .beta = OP(BO_ACTS, F32, 640, 1, 7), .y = OP(BO_ACTS_AGAIN, F32, 0, 2, 3, 7) } },
	{ .norm = { HEAD(NORM, norm), .kind = VB_NORM_RMS, .add_f32 = ONE,
		    .x = OP(BO_ACTS, F32, 0, 2, 3, 7), .gamma = OP(BO_ACTS, F32, 512, 1, 7),
		    .y = OP(BO_OUT, F32, 0, 2, 3, 7) } },

	/* one row in place: the stride that it never takes may differ */
	{ .norm = { HEAD(NORM, norm), .kind = VB_NORM_L2,
		    .x = STRIDED(BO_ACTS, F32, 0, 2, 64, 1, 7),
		    .y = OP(BO_ACTS_AGAIN, F32, 0, 2, 1, 7) } },

	{ .rope = { HEAD(ROPE, rope), .kind = VB_ROPE_NORM, .rot = 6, .base_f32 = 0x461c4000u,
		    .freq_scale_f32 = ONE, .x = STRIDED(BO_ACTS, F32, 32, 3, 96, 3, 2, 8),
		    .positions = OP(BO_IDS, I32, 12, 1, 3),
		    .y = STRIDED(BO_ACTS, F32, 32, 3, 96, 3, 2, 8) } },

	{ .eltwise = { HEAD(ELTWISE, eltwise), .kind = VB_ELTWISE_UNARY, .op = VB_UNARY_TANH,
		       .a = OP(BO_ACTS, F32, 0, 2, 4, 4), .y = OP(BO_ACTS, F32, 0, 2, 4, 4) } },
	{ .eltwise = { HEAD(ELTWISE, eltwise), .kind = VB_ELTWISE_BINARY,
		       .op = VB_BINARY_GEGLU, .a = STRIDED(BO_ACTS, F32, 0, 2, 32, 4, 4),
		       .b = STRIDED(BO_ACTS, F32, 16, 2, 32, 4, 4),
		       .y = OP(BO_OUT, F32, 0, 2, 4, 4) } },
	{ .eltwise = { HEAD(ELTWISE, eltwise), .kind = VB_ELTWISE_BINARY, .op = VB_BINARY_ADD,
		       .a = OP(BO_OUT, F32, 0, 2, 4, 4), .b = OP(BO_TIGHT, F32, 48, 1, 4),
		       .y = OP(BO_OUT, F32, 0, 2, 4, 4) } },
	{ .eltwise = { HEAD(ELTWISE, eltwise), .kind = VB_ELTWISE_BINARY, .op = VB_BINARY_MUL,
		       .a = OP(BO_ACTS, F32, 0, 2, 4, 4), .b = OP(BO_TIGHT, F32, 0, 2, 4, 4),
		       .y = OP(BO_TIGHT, F32, 0, 2, 4, 4) } },
	{ .eltwise = { HEAD(ELTWISE, eltwise), .kind = VB_ELTWISE_SCALE, .scale_f32 = ONE,
		       .a = OP(BO_ACTS, F32, 0, 2, 4, 4), .y = OP(BO_OUT, F32, 0, 2, 4, 4) } },

	{ .softmax = { HEAD(SOFTMAX, softmax), .scale_f32 = ONE,
		       .x = OP(BO_ACTS, F32, 0, 2, 3, 5), .mask = OP(BO_ACTS, F32, 256, 1, 5),
		       .y = OP(BO_ACTS, F32, 0, 2, 3, 5) } },
	{ .softmax = { HEAD(SOFTMAX, softmax), .scale_f32 = ONE,
		       .x = OP(BO_ACTS, F32, 0, 2, 3, 5), .mask = OP(BO_ACTS, F32, 256, 2, 3, 5),
		       .y = OP(BO_OUT, F32, 0, 2, 3, 5) } },

	{ .topk = { HEAD(TOPK, topk), .x = OP(BO_ACTS, F32, 0, 2, 3, 9),
		    .values = OP(BO_OUT, F32, 0, 2, 3, 4), .indices = OP(BO_OUT, I32, 48, 2, 3, 4) } },

	{ .gather = { HEAD(GATHER, gather), .table = OP(BO_WEIGHTS, Q8_0, 3, 2, 50, 64),
		      .ids = OP(BO_IDS, I32, 8, 1, 6), .y = OP(BO_OUT, F32, 0, 2, 6, 64) } },
	{ .gather = { HEAD(GATHER, gather), .table = OP(BO_WEIGHTS, BF16, 1, 2, 50, 3),
		      .ids = OP(BO_IDS, I32, 8, 1, 6),
		      .y = STRIDED(BO_HUGE, F32, 1ull << 40, 2, 1ull << 33, 6, 3) } },

	{ .copy = { HEAD(COPY, copy), .x = STRIDED(BO_ACTS, F32, 0, 3, 256, 2, 3, 5),
		    .y = OP(BO_OUT, BF16, 2, 3, 2, 3, 5) } },
	{ .copy = { HEAD(COPY, copy), .x = OP(BO_ACTS, U8, 3, 1, 61),
		    .y = OP(BO_WRITE_ONLY, U8, 1, 1, 61) } },
	{ .copy = { HEAD(COPY, copy), .x = OP(BO_ACTS, I32, 0, 4, 2, 2, 2, 2),
		    .y = OP(BO_ACTS, I32, 64, 4, 2, 2, 2, 2) } },
	{ .copy = { HEAD(COPY, copy), .x = STRIDED(BO_ACTS, F32, 0, 3, 1024, 3, 2, 64),
		    .y = STRIDED(BO_OUT, Q8_0, 7, 3, 300, 3, 2, 64) } },
	{ .copy = { HEAD(COPY, copy), .x = OP(BO_ACTS, Q8_0, 3, 1, 96),
		    .y = OP(BO_OUT, F16, 2, 1, 96) } },
	{ .copy = { HEAD(COPY, copy), .x = OP(BO_WEIGHTS, Q8_0, 1, 2, 3, 32),
		    .y = OP(BO_OUT, Q8_0, 9, 2, 3, 32) } },

	{ .fill = { HEAD(FILL, fill), .value = 7, .y = OP(BO_OUT, I32, 0, 1, 11) } },
	{ .fill = { HEAD(FILL, fill), .value = ONE,
		    .y = STRIDED(BO_WRITE_ONLY, F32, 0, 4, 512, 2, 3, 2, 5) } },

	{ .combine = { HEAD(COMBINE, combine), .x = OP(BO_ACTS, F32, 0, 3, 3, 2, 4),
		       .weights = OP(BO_ACTS, F32, 1024, 2, 3, 2),
		       .y = OP(BO_OUT, F32, 0, 2, 3, 4) } },
};
#define SAMPLES	(sizeof(samples) / sizeof(samples[0]))

#endif
