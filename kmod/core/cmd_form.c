// SPDX-License-Identifier: GPL-2.0 OR MIT
#include "cmd_form.h"

#define F32	(1ull << VB_FORMAT_F32)
#define I32	(1ull << VB_FORMAT_I32)
#define U8	(1ull << VB_FORMAT_U8)
#define SPLIT	(1ull << VB_FORMAT_MXFP4_SPLIT)
#define BLOCKS	(1ull << VB_FORMAT_MXFP4 | 1ull << VB_FORMAT_NVFP4 | \
		 1ull << VB_FORMAT_Q8_0 | 1ull << VB_FORMAT_Q4_0 | \
		 1ull << VB_FORMAT_Q4_1 | 1ull << VB_FORMAT_Q5_0 | \
		 1ull << VB_FORMAT_Q5_1 | 1ull << VB_FORMAT_Q4_K | \
		 1ull << VB_FORMAT_Q5_K | 1ull << VB_FORMAT_Q6_K)
#define TABLES	(VB_FORM_FLOATS | BLOCKS | VB_FORM_PACKED)
#define ANY_RANK "a|ab|abc|abcd"

#define IN(type, member, dims, formats, flags) \
	{ #member, dims, formats, offsetof(struct vb_cmd_##type, member), \
	  VB_ACCESS_READ, flags, 0 }
#define OUT(type, member, dims, formats, may_equal) \
	{ #member, dims, formats, offsetof(struct vb_cmd_##type, member), \
	  VB_ACCESS_WRITE, 0, may_equal }

#define AT(type, member)	#member, offsetof(struct vb_cmd_##type, member)
#define BELOW(type, member, end) \
	{ AT(type, member), VB_FAULT_RANGE, VB_MUST_MAX, (end) - 1 }
#define BITS(type, member, bits) \
	{ AT(type, member), VB_FAULT_FLAGS, VB_MUST_BITS, bits }
#define ZERO(type, member) \
	{ AT(type, member), VB_FAULT_RESERVED, VB_MUST_EQUAL, 0 }
#define FLOAT(type, member, must) \
	{ AT(type, member), VB_FAULT_RANGE, must, 0 }

#define COMMAND(type)	.name = #type, .bytes = sizeof(struct vb_cmd_##type)

static const struct vb_cmd_form forms[VB_CMD_COUNT] = {
	[VB_CMD_NOP] = { .name = "nop", .bytes = sizeof(struct vb_cmd_header) },
	[VB_CMD_MATMUL] = {
		COMMAND(matmul), 6, {
			IN(matmul, x, "mk", F32, 0),
			IN(matmul, w, "nk", TABLES | SPLIT, VB_FORM_MATRIX),
			IN(matmul, scales, "nK", U8, VB_FORM_MATRIX | VB_FORM_OPTIONAL),
			OUT(matmul, y, "mn", F32, 1u << 5),
			IN(matmul, bias, "n", F32, VB_FORM_OPTIONAL),
			IN(matmul, residual, "mn", F32, VB_FORM_OPTIONAL),
		}, {
			BELOW(matmul, mode, VB_MODE_COUNT),
			BELOW(matmul, act, VB_UNARY_COUNT),
		},
	},
	[VB_CMD_MATMUL_ID] = {
		COMMAND(matmul_id), 6, {
			IN(matmul_id, x, "mk|mtk", F32, 0),
			IN(matmul_id, w, "enk", TABLES | SPLIT, VB_FORM_MATRIX),
			IN(matmul_id, scales, "enK", U8, VB_FORM_MATRIX | VB_FORM_OPTIONAL),
			IN(matmul_id, ids, "mt", I32, 0),
			OUT(matmul_id, y, "mtn", F32, 0),
			IN(matmul_id, bias, "en", F32, VB_FORM_OPTIONAL),
		}, {
			BELOW(matmul_id, mode, VB_MODE_COUNT),
			ZERO(matmul_id, __reserved),
		},
	},
	[VB_CMD_ATTENTION] = {
		COMMAND(attention), 5, {
			IN(attention, q, "mhd", F32, 0),
			IN(attention, k, "cgd", VB_FORM_VALUES, 0),
			IN(attention, v, "cgd", VB_FORM_VALUES, 0),
			IN(attention, mask, "Mc", F32, VB_FORM_OPTIONAL),
			OUT(attention, out, "mhd", F32, 0),
		}, {
			BITS(attention, flags, VB_ATTENTION_CAUSAL),
			FLOAT(attention, scale_f32, VB_MUST_FINITE),
			FLOAT(attention, softcap_f32, VB_MUST_FINITE),
		},
	},
	[VB_CMD_NORM] = {
		COMMAND(norm), 4, {
			IN(norm, x, "mn", F32, 0),
			IN(norm, gamma, "n", F32, VB_FORM_OPTIONAL),
			IN(norm, beta, "n", F32, VB_FORM_OPTIONAL),
			OUT(norm, y, "mn", F32, 1u << 0),
		}, {
			BELOW(norm, kind, VB_NORM_COUNT),
			FLOAT(norm, eps_f32, VB_MUST_NOT_NEGATIVE),
			FLOAT(norm, add_f32, VB_MUST_FINITE),
			ZERO(norm, __reserved),
		},
	},
	[VB_CMD_ROPE] = {
		COMMAND(rope), 3, {
			IN(rope, x, "mhd", F32, 0),
			IN(rope, positions, "m", I32, 0),
			OUT(rope, y, "mhd", F32, 1u << 0),
		}, {
			BELOW(rope, kind, VB_ROPE_COUNT),
			FLOAT(rope, base_f32, VB_MUST_POSITIVE),
			FLOAT(rope, freq_scale_f32, VB_MUST_FINITE),
		},
	},
	[VB_CMD_ELTWISE] = {
		COMMAND(eltwise), 3, {
			IN(eltwise, a, "mn", F32, 0),
			IN(eltwise, b, "mn|n", F32, VB_FORM_OPTIONAL),
			OUT(eltwise, y, "mn", F32, 1u << 0 | 1u << 1),
		}, {
			BELOW(eltwise, kind, VB_ELTWISE_COUNT),
			ZERO(eltwise, __reserved),
		},
	},
	[VB_CMD_SOFTMAX] = {
		COMMAND(softmax), 3, {
			IN(softmax, x, "mn", F32, 0),
			IN(softmax, mask, "n|mn", F32, VB_FORM_OPTIONAL),
			OUT(softmax, y, "mn", F32, 1u << 0),
		}, {
			FLOAT(softmax, scale_f32, VB_MUST_FINITE),
			ZERO(softmax, __reserved),
		},
	},
	[VB_CMD_TOPK] = {
		COMMAND(topk), 3, {
			IN(topk, x, "mn", F32, 0),
			OUT(topk, values, "mt", F32, 0),
			OUT(topk, indices, "mt", I32, 0),
		},
	},
	[VB_CMD_GATHER] = {
		COMMAND(gather), 3, {
			IN(gather, table, "rk", TABLES, VB_FORM_MATRIX),
			IN(gather, ids, "m", I32, 0),
			OUT(gather, y, "mk", F32, 0),
		},
	},
	[VB_CMD_COPY] = {
		COMMAND(copy), 2, {
			IN(copy, x, ANY_RANK, VB_FORM_VALUES | I32 | U8, 0),
			OUT(copy, y, ANY_RANK, VB_FORM_VALUES | I32 | U8, 0),
		},
	},
	[VB_CMD_FILL] = {
		COMMAND(fill), 1, {
			OUT(fill, y, ANY_RANK, F32 | I32, 0),
		}, {
			ZERO(fill, __reserved),
		},
	},
	[VB_CMD_COMBINE] = {
		COMMAND(combine), 3, {
			IN(combine, x, "mtn", F32, 0),
			IN(combine, weights, "mt", F32, 0),
			OUT(combine, y, "mn", F32, 0),
		},
	},
	[VB_CMD_MATMUL_TRANSPOSED] = {
		COMMAND(matmul_transposed), 4, {
			IN(matmul_transposed, x, "mn", F32, 0),
			IN(matmul_transposed, w, "nk", TABLES | SPLIT, VB_FORM_MATRIX),
			IN(matmul_transposed, scales, "nK", U8, VB_FORM_MATRIX | VB_FORM_OPTIONAL),
			OUT(matmul_transposed, y, "mk", F32, 0),
		},
	},
	[VB_CMD_MATMUL_GATE] = {
		COMMAND(matmul_gate), 6, {
			IN(matmul_gate, x, "mk", F32, 0),
			IN(matmul_gate, w, "nk", TABLES | SPLIT, VB_FORM_MATRIX),
			IN(matmul_gate, scales, "nK", U8, VB_FORM_MATRIX | VB_FORM_OPTIONAL),
			OUT(matmul_gate, y, "mn", F32, 0),
			IN(matmul_gate, bias, "n", F32, VB_FORM_OPTIONAL),
			IN(matmul_gate, u, "mn", F32, 0),
		}, {
			BELOW(matmul_gate, mode, VB_MODE_COUNT),
			BELOW(matmul_gate, act, VB_UNARY_COUNT),
			BELOW(matmul_gate, gate, VB_UNARY_COUNT),
			FLOAT(matmul_gate, mul_f32, VB_MUST_FINITE),
			FLOAT(matmul_gate, add_f32, VB_MUST_FINITE),
			ZERO(matmul_gate, __reserved),
		},
	},
};

const struct vb_cmd_form *vb_cmd_form(u16 opcode)
{
	return opcode < VB_CMD_COUNT ? &forms[array_index_nospec(opcode, VB_CMD_COUNT)] : NULL;
}

const char *vb_form_dims(const struct vb_operand_form *form, u32 rank)
{
	const char *dims = form->dims;
	u32 letters;

	for (;;) {
		for (letters = 0; dims[letters] && dims[letters] != '|'; letters++)
			;
		if (letters == rank)
			return dims;
		if (!dims[letters])
			return NULL;
		dims += letters + 1;
	}
}
