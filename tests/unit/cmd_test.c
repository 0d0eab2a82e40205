// SPDX-License-Identifier: MIT
/*
 * Command checks: every field of valid commands is bent, one and two at a time, and
 * the answer compared with the model of cmd_model.h.  What is accepted is then
 * touched byte by byte, as an executor would.
 */
#include <core/cmd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "cmd_model.h"
#include "cmd_samples.h"

static const struct world world = { sample_bos, BO_COUNT };

/* Operands stand at the end of each structure. */
static u32 operand_count(u16 opcode)
{
	static const u8 counts[VB_CMD_COUNT] = { 0, 6, 6, 5, 4, 3, 3, 3, 3, 3, 2, 1, 3, 6,
						4 };

	return counts[opcode];
}

/* A field of a command: where it lies and how many bytes it has. */
struct field {
	u32 offset, bytes;
};

static u32 operand_fields(struct field *out, u32 at)
{
	u32 d, n = 0;

	out[n++] = (struct field) { at + offsetof(struct vb_operand, bo), 4 };
	out[n++] = (struct field) { at + offsetof(struct vb_operand, format), 2 };
	out[n++] = (struct field) { at + offsetof(struct vb_operand, rank), 1 };
	out[n++] = (struct field) { at + offsetof(struct vb_operand, __reserved), 1 };
	out[n++] = (struct field) { at + offsetof(struct vb_operand, offset), 8 };
	for (d = 0; d < VB_OPERAND_RANK_MAX; d++) {
		out[n++] = (struct field) { at + offsetof(struct vb_operand, shape) + d * 4, 4 };
		out[n++] = (struct field) { at + offsetof(struct vb_operand, stride) + d * 8, 8 };
	}
	return n;
}

#define FIELDS_MAX	128

static u32 fields_of(const struct sample *s, struct field *out)
{
	u32 operands = operand_count(s->h.opcode), at = sizeof(struct vb_cmd_header), n = 0, i;

	out[n++] = (struct field) { 0, 2 };
	out[n++] = (struct field) { 2, 2 };
	out[n++] = (struct field) { 4, 4 };
	for (; at < s->h.bytes - operands * sizeof(struct vb_operand); at += 4)
		out[n++] = (struct field) { at, 4 };
	for (i = 0; i < operands; i++)
		n += operand_fields(out + n, at + i * (u32)sizeof(struct vb_operand));
	assert_true(n <= FIELDS_MAX);
	return n;
}

static u64 field_get(const struct sample *s, struct field f)
{
	u64 v = 0;

	memcpy(&v, (const char *)s + f.offset, f.bytes);
	return v;
}

static void field_set(struct sample *s, struct field f, u64 v)
{
	memcpy((char *)s + f.offset, &v, f.bytes);
}

/* Values worth trying where @v stands. */
#define VALUES_MAX	128

static u32 values_near(u64 v, u32 bytes, u64 *out)
{
	static const u64 steps[] = { 1, 2, 4, 8, 16, 28, 31, 32, 48, 64, 100, 128, 160, 4096 };
	static const u64 fixed[] = {
		2, 3, 5, 12, 13, 16, 17, 18, 31, 32, 33, 255, 65535, 65536, 0x7f800000,
		0xff800000, 0x7fc00000, 0x80000000, 0x7f7fffff, 0xbf800000, 1, 0x7fffffff,
		0xffffffff, 1ull << 32, 1ull << 46, 1ull << 62, 1ull << 63, ~0ull, ~0ull - 3,
		~0ull - 63, ~0ull - (1u << 16),
	};
	u32 n = 0, i;

	out[n++] = 0;
	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		out[n++] = v + steps[i];
		out[n++] = v - steps[i];
		out[n++] = v * steps[i];
		out[n++] = v / steps[i];
	}
	for (i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		out[n++] = fixed[i];
	if (bytes < 8)
		for (i = 0; i < n; i++)
			out[i] &= (1ull << bytes * 8) - 1;
	assert_true(n <= VALUES_MAX);
	return n;
}

/*
 * The executor of the tests: calls @touch for every run of bytes of an operand.  It
 * knows strides and units only through the public functions of the core.
 */
typedef void touch_fn(void *opaque, u64 first, u64 bytes);

static void walk_units(const struct vb_operand *op, u64 at, touch_fn *touch, void *opaque)
{
	u32 k = op->shape[op->rank - 1], n = op->rank > 1 ? op->shape[op->rank - 2] : 1, row;
	struct vb_unit unit;

	assert_int_equal(vb_format_unit(op->format, k, &unit), 0);
	if (op->rank > 1)
		assert_int_equal(vb_operand_stride(op, op->rank - 2u), unit.bytes);
	for (row = 0; row < n; row += unit.rows) {
		touch(opaque, at, unit.bytes);
		at += unit.bytes;
	}
}

static void walk_dim(const struct vb_operand *op, u32 dim, u64 at, touch_fn *touch,
		     void *opaque)
{
	u32 element = m_element(op->format), i;

	if (!element && (dim + 2 == op->rank || op->rank == 1)) {
		walk_units(op, at, touch, opaque);
		return;
	}
	if (dim + 1 == op->rank) {
		assert_int_equal(vb_operand_stride(op, dim), element);
		touch(opaque, at, (u64)op->shape[dim] * element);
		return;
	}
	for (i = 0; i < op->shape[dim]; i++)
		walk_dim(op, dim + 1, at + i * vb_operand_stride(op, dim), touch, opaque);
}

/* Bytes of all BOs, and who touched them: bit an operand, 0x80 written twice. */
struct marks {
	u8 *bytes[BO_COUNT];
	u32 bo, operand, access;
	u64 first, end;
	bool twice;
};

static void mark(void *opaque, u64 first, u64 bytes)
{
	struct marks *m = opaque;
	u64 i;

	assert_true(first + bytes <= sample_bos[m->bo].bytes && first + bytes >= first);
	if (first < m->first)
		m->first = first;
	if (first + bytes > m->end)
		m->end = first + bytes;
	for (i = 0; m->bytes[m->bo] && i < bytes; i++) {
		u8 *byte = &m->bytes[m->bo][first + i];

		m->twice |= *byte >> m->operand & 1;
		*byte |= (u8)(1u << m->operand);
	}
}

static u64 elements(const struct vb_operand *op)
{
	u64 n = 1;
	u32 d;

	for (d = 0; d < op->rank; d++)
		n = n > 1u << 22 ? n : n * op->shape[d];
	return n;
}

/* Outputs may share bytes with an operand only when that is the output itself. */
static void outputs_are_apart(const struct marks *m, const struct vb_cmd_operand *ops,
			      u32 count)
{
	u32 bo, i, o;
	u64 b;

	for (bo = 0; bo < BO_COUNT; bo++)
		for (b = 0; m->bytes[bo] && b < sample_bos[bo].bytes; b++)
			for (o = 0; m->bytes[bo][b] && o < count; o++) {
				if (!(m->bytes[bo][b] >> o & 1) ||
				    ops[o].access != VB_ACCESS_WRITE)
					continue;
				for (i = 0; i < count; i++)
					if (i != o && m->bytes[bo][b] >> i & 1)
						assert_true(m_same(ops[i].op, ops[o].op));
			}
}

/* Touch all that an accepted command names. */
static void touch_command(const struct sample *s)
{
	struct vb_cmd_operand ops[VB_CMD_OPERANDS_MAX];
	u32 count = vb_cmd_operands(&s->h, ops), i;
	struct marks m = { .bo = 0 };
	u64 extent;

	for (i = 0; i < BO_COUNT; i++)
		if (i != BO_HUGE && i != BO_ACTS_AGAIN)
			m.bytes[i] = calloc(1, sample_bos[i].bytes);
	m.bytes[BO_ACTS_AGAIN] = m.bytes[BO_ACTS];
	for (i = 0; i < count; i++) {
		if (elements(ops[i].op) > 1u << 18)
			continue;
		m.bo = ops[i].op->bo;
		m.operand = i;
		m.first = ~0ull;
		m.end = 0;
		m.twice = false;
		walk_dim(ops[i].op, 0, ops[i].op->offset, mark, &m);
		assert_false(m.twice);
		assert_int_equal(m.first, ops[i].op->offset);
		assert_int_equal(vb_operand_extent(ops[i].op, &extent), 0);
		assert_true(m.end == ops[i].op->offset + extent);
		assert_true(sample_bos[m.bo].access & ops[i].access);
		assert_false(ops[i].access == VB_ACCESS_WRITE && sample_bos[m.bo].sealed);
	}
	outputs_are_apart(&m, ops, count);
	for (i = 0; i < BO_COUNT; i++)
		if (i != BO_ACTS_AGAIN)
			free(m.bytes[i]);
}

struct tally {
	u32 accepted, refused, touched;
};

static bool is_known_error(const struct vb_cmd_error *e, int rc)
{
	return e->errno_value == rc && e->operand && e->fault > VB_FAULT_NONE &&
	       e->fault < VB_FAULT_COUNT_OF &&
	       (rc == -EINVAL || rc == -ERANGE || rc == -EROFS || rc == -EOVERFLOW);
}

/* One command, both judges. */
static void judge(const struct sample *s, struct tally *t)
{
	struct vb_cmd_error e = { 0 };
	bool legal = model_is_legal(&world, &s->h);
	int rc = vb_cmd_check(&s->h, 3, sample_bos, BO_COUNT, &e);
	char text[256];

	if (rc)
		vb_cmd_error_format(&e, text, sizeof(text));
	if ((rc == 0) != legal)
		print_error("opcode %u: %s, the model says %s\n", s->h.opcode,
			    rc ? text : "legal", legal ? "legal" : "not");
	assert_int_equal(rc == 0, legal);
	if (rc) {
		t->refused++;
		assert_true(is_known_error(&e, rc));
		assert_int_equal(e.command, 3);
		return;
	}
	t->accepted++;
	if (t->accepted % 32 == 1) {
		touch_command(s);
		t->touched++;
	}
}

static void cmd_samples_are_legal(void **state)
{
	struct vb_cmd_error e;
	bool seen[VB_CMD_COUNT] = { false };
	struct tally t;
	char text[256];
	size_t i;

	(void)state;
	for (i = 0; i < SAMPLES; i++) {
		if (vb_cmd_check(&samples[i].h, 0, sample_bos, BO_COUNT, &e)) {
			vb_cmd_error_format(&e, text, sizeof(text));
			print_error("sample %zu: %s\n", i, text);
		}
		t = (struct tally) { 0 };
		judge(&samples[i], &t);
		assert_int_equal(t.touched, 1);
		seen[samples[i].h.opcode] = true;
	}
	for (i = 0; i < VB_CMD_COUNT; i++)
		assert_true(seen[i]);
}

static void cmd_every_field_bent_agrees_with_the_model(void **state)
{
	struct field fields[FIELDS_MAX];
	u64 values[VALUES_MAX];
	struct tally t = { 0 };
	struct sample s;
	u32 f, v, n, count;
	size_t i;

	(void)state;
	for (i = 0; i < SAMPLES; i++) {
		n = fields_of(&samples[i], fields);
		for (f = 0; f < n; f++) {
			count = values_near(field_get(&samples[i], fields[f]),
					    fields[f].bytes, values);
			for (v = 0; v < count; v++) {
				s = samples[i];
				field_set(&s, fields[f], values[v]);
				judge(&s, &t);
			}
		}
	}
	print_message("# %u accepted (%u touched), %u refused\n", t.accepted, t.touched,
		      t.refused);
	assert_true(t.accepted > 5000 && t.refused > 50000);
}

static u64 seed = 42;

static u32 roll(u32 sides)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)(seed >> 33) % sides;
}

/*
 * Several fields at once.  Lengths and places are mostly copied from another operand
 * of the command, so that shapes agree again and operands meet in one BO.
 */
static void bend(struct sample *s, const struct field *fields, u32 n)
{
	u32 operands = operand_count(s->h.opcode), count, a, b;
	struct vb_operand *op = (struct vb_operand *)((char *)s + s->h.bytes) - operands;
	u64 values[VALUES_MAX];
	struct field f;

	if (operands > 1 && roll(3) == 0) {
		a = roll(operands);
		b = roll(operands);
		if (op[a].rank == op[b].rank) {
			op[a].bo = op[b].bo;
			op[a].offset = op[b].offset + (roll(2) ? 0 : roll(300));
			if (roll(2))
				memcpy(op[a].stride, op[b].stride, sizeof(op->stride));
		}
		return;
	}
	f = fields[3 + roll(n - 3)];
	count = values_near(field_get(s, f), f.bytes, values);
	/* shapes, not bits: mostly the near values, which stand first */
	field_set(s, f, values[roll(3) ? roll(30) : roll(count)]);
}

static void cmd_several_fields_bent_agree_with_the_model(void **state)
{
	struct field fields[FIELDS_MAX];
	struct tally t = { 0 };
	struct sample s;
	u32 i, n, which, times;

	(void)state;
	for (i = 0; i < 300000; i++) {
		which = 1 + roll(SAMPLES - 1);
		s = samples[which];
		n = fields_of(&s, fields);
		for (times = 1 + roll(4); times; times--)
			bend(&s, fields, n);
		judge(&s, &t);
	}
	print_message("# %u accepted (%u touched), %u refused\n", t.accepted, t.touched,
		      t.refused);
	assert_true(t.accepted > 10000);
}

/* A product, experts or not, with weights of a format, and a table of it. */
static void judge_weights(u16 format, u32 k, u64 offset, struct tally *t)
{
	struct vb_operand weight = { BO_WEIGHTS, format, 2, 0, offset, { 3, k }, { 0 } };
	struct sample product = { .matmul = { HEAD(MATMUL, matmul), .w = weight,
		.x = OP(BO_ACTS, F32, 0, 2, 2, k), .y = OP(BO_OUT, F32, 0, 2, 2, 3) } };
	struct sample experts = { .matmul_id = { HEAD(MATMUL_ID, matmul_id), .w = weight,
		.x = OP(BO_ACTS, F32, 0, 2, 2, k), .ids = OP(BO_IDS, I32, 0, 2, 2, 1),
		.y = OP(BO_OUT, F32, 0, 3, 2, 1, 3) } };
	struct sample table = { .gather = { HEAD(GATHER, gather), .table = weight,
		.ids = OP(BO_IDS, I32, 0, 1, 2), .y = OP(BO_OUT, F32, 0, 2, 2, k) } };

	experts.matmul_id.w.rank = 3;
	memcpy(experts.matmul_id.w.shape, (u32[]){ 2, 3, k }, 12);
	judge(&product, t);
	judge(&experts, t);
	judge(&table, t);
}

static void cmd_weights_of_every_format_agree_with_the_model(void **state)
{
	static const u32 cols[] = { 1, 2, 32, 33, 64, 96, 128, 192, 256, 384, 512, 768, 1024 };
	static const u32 offsets[] = { 0, 1, 32, 64, 128 };
	struct tally t = { 0 };
	u32 format, k, i;

	(void)state;
	for (format = 1; format < 70; format++)
		for (k = 0; k < sizeof(cols) / sizeof(cols[0]); k++)
			for (i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++)
				judge_weights((u16)format, cols[k], offsets[i], &t);
	print_message("# %u accepted (%u touched), %u refused\n", t.accepted, t.touched,
		      t.refused);
	assert_true(t.accepted > 1000 && t.refused > 1000);
}

/* One edit of a sample and the sentence that must come of it. */
struct sentence {
	u8 opcode;
	u8 which;		/* of the samples with that opcode */
	struct field field;
	u64 value;
	int rc;
	const char *text;
};

#define FIELD(type, member) \
	{ offsetof(struct vb_cmd_##type, member), sizeof(((struct vb_cmd_##type *)0)->member) }

static const struct sentence sentences[] = {
	{ VB_CMD_MATMUL, 0, FIELD(matmul, w.shape[1]), 12, -EINVAL,
	  "command 3 (matmul): w.shape[1] is 12, must be 10" },
	{ VB_CMD_MATMUL, 0, FIELD(matmul, mode), 9, -EINVAL,
	  "command 3 (matmul): mode is 9, must be at most 3" },
	{ VB_CMD_MATMUL, 0, FIELD(matmul, x.format), VB_FORMAT_I32, -EINVAL,
	  "command 3 (matmul): x.format is i32 (4), must be f32" },
	{ VB_CMD_MATMUL, 0, FIELD(matmul, w.format), 77, -EINVAL,
	  "command 3 (matmul): w.format is ? (77), must be one of f32, f16, bf16, mxfp4, "
	  "mxfp4-split, q8-0, q4-0, q4-1, q5-0, q5-1, q4-k, q5-k, q6-k, nvfp4 or packed (32 .. 46)" },
	{ VB_CMD_MATMUL, 0, FIELD(matmul, w.format), VB_FORMAT_MXFP4, -EINVAL,
	  "command 3 (matmul): w.shape[1] is 10, must be a multiple of 32" },
	{ VB_CMD_MATMUL, 1, FIELD(matmul, w.format), VB_FORMAT_Q4_K, -EINVAL,
	  "command 3 (matmul): w.shape[1] is 32, must be a multiple of 256" },
	{ VB_CMD_MATMUL, 3, FIELD(matmul, w.format), VB_FORMAT_INT4_Z64_G16, -EINVAL,
	  "command 3 (matmul): w.shape[1] is 40, must be a multiple of 64" },
	{ VB_CMD_MATMUL, 0, FIELD(matmul, w.format), VB_FORMAT_Q2_K, -EINVAL,
	  "command 3 (matmul): w.format is q2-k (23), must be one of f32, f16, bf16, mxfp4, "
	  "mxfp4-split, q8-0, q4-0, q4-1, q5-0, q5-1, q4-k, q5-k, q6-k, nvfp4 or packed (32 .. 46)" },
	{ VB_CMD_MATMUL, 1, FIELD(matmul, w.format), VB_FORMAT_MXFP4_SPLIT, -EINVAL,
	  "command 3 (matmul): scales is missing" },
	{ VB_CMD_MATMUL, 2, FIELD(matmul, w.format), VB_FORMAT_Q8_0, -EINVAL,
	  "command 3 (matmul): scales.format is u8 (5), must be none" },
	{ VB_CMD_MATMUL, 3, FIELD(matmul, w.offset), 100, -EINVAL,
	  "command 3 (matmul): w.offset is 100, must be a multiple of 64" },
	{ VB_CMD_MATMUL, 3, FIELD(matmul, w.stride[0]), 1088, -EINVAL,
	  "command 3 (matmul): w.stride[0] is 1088, must be 0" },
	{ VB_CMD_MATMUL, 1, FIELD(matmul, x.stride[0]), 124, -EINVAL,
	  "command 3 (matmul): x.stride[0] is 124, must be at least 128" },
	{ VB_CMD_MATMUL, 0, FIELD(matmul, y.offset), 65520, -ERANGE,
	  "command 3 (matmul): y.end is 65580, must be at most 65536" },
	{ VB_CMD_MATMUL, 0, FIELD(matmul, y.offset), ~3ull, -EOVERFLOW,
	  "command 3 (matmul): y.offset does not fit in 64 bits" },
	{ VB_CMD_MATMUL, 1, FIELD(matmul, x.stride[0]), 1ull << 63, -EOVERFLOW,
	  "command 3 (matmul): x.shape does not fit in 64 bits" },
	{ VB_CMD_MATMUL, 0, FIELD(matmul, y.bo), BO_WEIGHTS, -EROFS,
	  "command 3 (matmul): y.bo 0 is sealed and would be written" },
	{ VB_CMD_MATMUL, 0, FIELD(matmul, y.bo), BO_IDS, -EINVAL,
	  "command 3 (matmul): y.access is 0x1, must be with 0x2" },
	{ VB_CMD_MATMUL, 0, FIELD(matmul, y.bo), BO_COUNT, -EINVAL,
	  "command 3 (matmul): y.bo is 9, must be at most 8" },
	{ VB_CMD_MATMUL, 3, FIELD(matmul, y.offset), 128, -EINVAL,
	  "command 3 (matmul): y overlaps x from byte 128 of their BO" },
	{ VB_CMD_MATMUL, 0, FIELD(matmul, x.rank), 3, -EINVAL,
	  "command 3 (matmul): x.rank is 3, must be 2" },
	{ VB_CMD_MATMUL_ID, 0, FIELD(matmul_id, x.rank), 1, -EINVAL,
	  "command 3 (matmul_id): x.rank is 1, must be at least 2" },
	{ VB_CMD_MATMUL_ID, 0, FIELD(matmul_id, x.rank), 4, -EINVAL,
	  "command 3 (matmul_id): x.rank is 4, must be at most 3" },
	{ VB_CMD_MATMUL_ID, 0, FIELD(matmul_id, x.__reserved), 5, -EINVAL,
	  "command 3 (matmul_id): x.__reserved is 5, must be 0" },
	{ VB_CMD_MATMUL_ID, 0, FIELD(matmul_id, scales.offset), 5, -EINVAL,
	  "command 3 (matmul_id): scales.offset is 5, must be 0" },
	{ VB_CMD_MATMUL_ID, 0, FIELD(matmul_id, ids.shape[2]), 5, -EINVAL,
	  "command 3 (matmul_id): ids.shape[2] is 5, must be 0" },
	{ VB_CMD_ATTENTION, 0, FIELD(attention, q.shape[1]), 3, -EINVAL,
	  "command 3 (attention): out.shape[1] is 4, must be 3" },
	{ VB_CMD_ATTENTION, 0, FIELD(attention, flags), 6, -EINVAL,
	  "command 3 (attention): flags is 0x6, must be within 0x1" },
	{ VB_CMD_ATTENTION, 0, FIELD(attention, scale_f32), 0x7f800000, -EINVAL,
	  "command 3 (attention): scale_f32 is 0x7f800000, must be finite" },
	{ VB_CMD_ATTENTION, 0, FIELD(attention, k.format), VB_FORMAT_BF16, -EINVAL,
	  "command 3 (attention): v.format is f32 (1), must be bf16" },
	{ VB_CMD_ATTENTION, 0, FIELD(attention, v.format), VB_FORMAT_Q8_0, -EINVAL,
	  "command 3 (attention): v.shape[2] is 8, must be a multiple of 32" },
	{ VB_CMD_ATTENTION, 0, FIELD(attention, v.format), VB_FORMAT_Q4_0, -EINVAL,
	  "command 3 (attention): v.format is q4-0 (19), must be one of f32, f16, bf16, q8-0" },
	{ VB_CMD_ATTENTION, 3, FIELD(attention, v.format), VB_FORMAT_F32, -EINVAL,
	  "command 3 (attention): v.stride[0] is 136, must be at least 256" },
	{ VB_CMD_ATTENTION, 3, FIELD(attention, k.stride[0]), 140, -EINVAL,
	  "command 3 (attention): k.stride[0] is 140, must be a multiple of 34" },
	{ VB_CMD_ATTENTION, 3, FIELD(attention, v.stride[0]), 135, -EINVAL,
	  "command 3 (attention): v.stride[0] is 135, must be a multiple of 34" },
	{ VB_CMD_ATTENTION, 3, FIELD(attention, v.stride[0]), 34, -EINVAL,
	  "command 3 (attention): v.stride[0] is 34, must be at least 68" },
	{ VB_CMD_ATTENTION, 3, FIELD(attention, k.stride[1]), 68, -EINVAL,
	  "command 3 (attention): k.stride[1] is 68, must be 34" },
	{ VB_CMD_NORM, 0, FIELD(norm, eps_f32), 0xbf800000, -EINVAL,
	  "command 3 (norm): eps_f32 is 0xbf800000, must be finite and at least 0" },
	{ VB_CMD_NORM, 0, FIELD(norm, kind), VB_NORM_L2, -EINVAL,
	  "command 3 (norm): beta.format is f32 (1), must be none" },
	{ VB_CMD_ROPE, 0, FIELD(rope, base_f32), 0, -EINVAL,
	  "command 3 (rope): base_f32 is 0x0, must be finite and above 0" },
	{ VB_CMD_ROPE, 0, FIELD(rope, rot), 10, -EINVAL,
	  "command 3 (rope): rot is 10, must be at most 8" },
	{ VB_CMD_ROPE, 0, FIELD(rope, rot), 3, -EINVAL,
	  "command 3 (rope): rot is 3, must be a multiple of 2" },
	{ VB_CMD_TOPK, 0, FIELD(topk, x.shape[1]), 3, -EINVAL,
	  "command 3 (topk): values.shape[1] is 4, must be at most 3" },
	{ VB_CMD_TOPK, 0, FIELD(topk, x.shape[0]), 0, -EINVAL,
	  "command 3 (topk): x.shape[0] is 0, must be at least 1" },
	{ VB_CMD_GATHER, 0, FIELD(gather, table.format), VB_FORMAT_MXFP4_SPLIT, -EINVAL,
	  "command 3 (gather): table.format is mxfp4-split (17), must be one of f32, f16, "
	  "bf16, mxfp4, q8-0, q4-0, q4-1, q5-0, q5-1, q4-k, q5-k, q6-k, nvfp4 or packed (32 .. 46)" },
	{ VB_CMD_COPY, 2, FIELD(copy, y.format), VB_FORMAT_F32, -EINVAL,
	  "command 3 (copy): y.format is f32 (1), must be i32" },
	{ VB_CMD_COPY, 0, FIELD(copy, y.format), VB_FORMAT_Q4_0, -EINVAL,
	  "command 3 (copy): y.format is q4-0 (19), must be one of f32, f16, bf16, i32, u8, q8-0" },
	{ VB_CMD_COPY, 2, FIELD(copy, x.format), VB_FORMAT_F32, -EINVAL,
	  "command 3 (copy): y.format is i32 (4), must be one of f32, f16, bf16, q8-0" },
	{ VB_CMD_COPY, 0, FIELD(copy, y.format), VB_FORMAT_Q8_0, -EINVAL,
	  "command 3 (copy): y.shape[2] is 5, must be a multiple of 32" },
	{ VB_CMD_COPY, 4, FIELD(copy, x.stride[0]), 34, -EINVAL,
	  "command 3 (copy): x.stride[0] is 34, must be 0" },
	{ VB_CMD_COPY, 0, FIELD(copy, y.offset), 1, -EINVAL,
	  "command 3 (copy): y.offset is 1, must be a multiple of 2" },
	{ VB_CMD_FILL, 0, FIELD(fill, __reserved), 1, -EINVAL,
	  "command 3 (fill): __reserved is 1, must be 0" },
	{ VB_CMD_FILL, 0, FIELD(fill, h.flags), 1, -EINVAL,
	  "command 3 (fill): flags is 1, must be 0" },
	{ VB_CMD_FILL, 0, FIELD(fill, h.bytes), 72, -EINVAL,
	  "command 3 (fill): bytes is 72, must be 80" },
	{ VB_CMD_FILL, 0, FIELD(fill, h.opcode), 200, -EINVAL,
	  "command 3: opcode is 200, must be at most 14" },
	{ VB_CMD_MATMUL_TRANSPOSED, 0, FIELD(matmul_transposed, w.shape[0]), 4, -EINVAL,
	  "command 3 (matmul_transposed): w.shape[0] is 4, must be 5" },
	{ VB_CMD_MATMUL_TRANSPOSED, 0, FIELD(matmul_transposed, y.shape[1]), 5, -EINVAL,
	  "command 3 (matmul_transposed): y.shape[1] is 5, must be 32" },
	{ VB_CMD_MATMUL_TRANSPOSED, 0, FIELD(matmul_transposed, y.shape[0]), 2, -EINVAL,
	  "command 3 (matmul_transposed): y.shape[0] is 2, must be 3" },
	{ VB_CMD_MATMUL_TRANSPOSED, 1, FIELD(matmul_transposed, scales.shape[1]), 1, -EINVAL,
	  "command 3 (matmul_transposed): scales.shape[1] is 1, must be 2" },
	{ VB_CMD_MATMUL_TRANSPOSED, 0, FIELD(matmul_transposed, w.format), VB_FORMAT_MXFP4_SPLIT, -EINVAL,
	  "command 3 (matmul_transposed): scales is missing" },
	{ VB_CMD_MATMUL_TRANSPOSED, 1, FIELD(matmul_transposed, y.offset), 64, -EINVAL,
	  "command 3 (matmul_transposed): y overlaps x from byte 64 of their BO" },
	{ VB_CMD_MATMUL_TRANSPOSED, 0, FIELD(matmul_transposed, x.format), VB_FORMAT_BF16, -EINVAL,
	  "command 3 (matmul_transposed): x.format is bf16 (3), must be f32" },
	{ VB_CMD_MATMUL_TRANSPOSED, 0, FIELD(matmul_transposed, h.flags), 1, -EINVAL,
	  "command 3 (matmul_transposed): flags is 1, must be 0" },
	{ VB_CMD_MATMUL_GATE, 0, FIELD(matmul_gate, gate), VB_UNARY_COUNT, -EINVAL,
	  "command 3 (matmul_gate): gate is 7, must be at most 6" },
	{ VB_CMD_MATMUL_GATE, 0, FIELD(matmul_gate, mul_f32), 0x7fc00000, -EINVAL,
	  "command 3 (matmul_gate): mul_f32 is 0x7fc00000, must be finite" },
	{ VB_CMD_MATMUL_GATE, 0, FIELD(matmul_gate, add_f32), 0xff800000, -EINVAL,
	  "command 3 (matmul_gate): add_f32 is 0xff800000, must be finite" },
	{ VB_CMD_MATMUL_GATE, 0, FIELD(matmul_gate, __reserved), 1, -EINVAL,
	  "command 3 (matmul_gate): __reserved is 1, must be 0" },
	{ VB_CMD_MATMUL_GATE, 0, FIELD(matmul_gate, u.shape[1]), 4, -EINVAL,
	  "command 3 (matmul_gate): u.shape[1] is 4, must be 5" },
	{ VB_CMD_MATMUL_GATE, 1, FIELD(matmul_gate, u.offset), 256, -EINVAL,
	  "command 3 (matmul_gate): y overlaps u from byte 256 of their BO" },
	{ VB_CMD_MATMUL_GATE, 0, FIELD(matmul_gate, w.format), VB_FORMAT_MXFP4_SPLIT, -EINVAL,
	  "command 3 (matmul_gate): scales is missing" },
};

static const struct sample *sample_of(u8 opcode, u8 which)
{
	size_t i;

	for (i = 0; i < SAMPLES; i++)
		if (samples[i].h.opcode == opcode && !which--)
			return &samples[i];
	fail();
	return NULL;
}

static void cmd_errors_read_as_agreed(void **state)
{
	struct vb_cmd_error e;
	struct sample s;
	char text[256];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(sentences) / sizeof(sentences[0]); i++) {
		s = *sample_of(sentences[i].opcode, sentences[i].which);
		field_set(&s, sentences[i].field, sentences[i].value);
		if (vb_cmd_check(&s.h, 3, sample_bos, BO_COUNT, &e) != sentences[i].rc)
			fail_msg("no error, or another than: %s", sentences[i].text);
		vb_cmd_error_format(&e, text, sizeof(text));
		assert_string_equal(text, sentences[i].text);
	}
}

static void cmd_heads_must_divide(void **state)
{
	struct sample s = *sample_of(VB_CMD_ATTENTION, 0);
	struct vb_cmd_error e;
	char text[256];

	(void)state;
	s.attention.q.shape[1] = s.attention.out.shape[1] = 3;
	assert_int_equal(vb_cmd_check(&s.h, 0, sample_bos, BO_COUNT, &e), -EINVAL);
	vb_cmd_error_format(&e, text, sizeof(text));
	assert_string_equal(text,
			    "command 0 (attention): k.shape[1] is 2, must be a divisor of 3");
}

static void cmd_copy_keeps_the_rank(void **state)
{
	struct sample s = *sample_of(VB_CMD_COPY, 0);
	struct vb_cmd_error e;
	char text[256];

	(void)state;
	s.copy.x.shape[2] = 1;
	s.copy.y.shape[2] = 0;
	s.copy.y.rank = 2;
	assert_int_equal(vb_cmd_check(&s.h, 0, sample_bos, BO_COUNT, &e), -EINVAL);
	vb_cmd_error_format(&e, text, sizeof(text));
	assert_string_equal(text, "command 0 (copy): y.rank is 2, must be 3");
}

static void cmd_without_bos_is_refused(void **state)
{
	struct vb_cmd_error e;
	char text[256];
	size_t i;

	(void)state;
	assert_int_equal(vb_cmd_check(&samples[0].h, 0, NULL, 0, &e), 0);
	for (i = 1; i < SAMPLES; i++)
		assert_int_equal(vb_cmd_check(&samples[i].h, 0, NULL, 0, &e), -EINVAL);
	vb_cmd_error_format(&e, text, sizeof(text));
	assert_string_equal(text,
			    "command 0 (combine): x.bo names a BO, but the list is empty");
}

static void cmd_error_text_is_cut_and_terminated(void **state)
{
	struct vb_cmd_error e = { .command = 0, .opcode = VB_CMD_FILL, .operand = "value",
				  .fault = VB_FAULT_RANGE, .must = VB_MUST_MAX, .value = ~0ull };
	char whole[128], text[128];
	size_t len, full;

	(void)state;
	vb_cmd_error_format(&e, whole, sizeof(whole));
	assert_string_equal(whole,
			    "command 0 (fill): value is 18446744073709551615, must be at most 0");
	full = strlen(whole) + 1;
	for (len = 1; len <= full; len++) {
		memset(text, 'x', sizeof(text));
		vb_cmd_error_format(&e, text, len);
		assert_int_equal(strlen(text), len - 1);
		assert_memory_equal(text, whole, len - 1);
		assert_int_equal(text[len], 'x');
	}
}

/* Streams: a header and the samples behind each other. */
struct stream {
	u64 words[2048];
	u32 bytes;
};

static void stream_open(struct stream *s)
{
	struct vb_stream_header *h = (void *)s->words;

	memset(s, 0, sizeof(*s));
	h->magic = VB_STREAM_MAGIC;
	h->version = VB_STREAM_VERSION;
	h->bytes = s->bytes = sizeof(*h);
}

static void stream_add(struct stream *s, const struct sample *c)
{
	struct vb_stream_header *h = (void *)s->words;

	assert_true(s->bytes + c->h.bytes <= sizeof(s->words));
	memcpy((char *)s->words + s->bytes, c, c->h.bytes);
	h->bytes = s->bytes += c->h.bytes;
	h->commands++;
}

static void stream_fill(struct stream *s)
{
	size_t i;

	stream_open(s);
	for (i = 0; i < SAMPLES; i++)
		stream_add(s, &samples[i]);
}

static void stream_of_all_commands_is_walked_in_order(void **state)
{
	const struct vb_cmd_header *cmd = NULL;
	struct vb_cmd_error e;
	struct stream s;
	size_t i = 0;

	(void)state;
	stream_fill(&s);
	assert_int_equal(vb_stream_check(s.words, s.bytes, sample_bos, BO_COUNT, &e), 0);
	while ((cmd = vb_stream_next(s.words, cmd))) {
		assert_memory_equal(cmd, &samples[i], samples[i].h.bytes);
		assert_int_equal(vb_cmd_bytes(cmd->opcode), cmd->bytes);
		i++;
	}
	assert_int_equal(i, SAMPLES);
	stream_open(&s);
	assert_int_equal(vb_stream_check(s.words, s.bytes, NULL, 0, &e), 0);
	assert_null(vb_stream_next(s.words, NULL));
}

static void stream_names_the_bad_command(void **state)
{
	struct vb_stream_header *h;
	struct vb_cmd_error e;
	struct stream s;
	char text[128];

	(void)state;
	stream_fill(&s);
	h = (void *)s.words;
	h->commands++;
	assert_int_equal(vb_stream_check(s.words, s.bytes, sample_bos, BO_COUNT, &e), -EINVAL);
	assert_int_equal(e.command, SAMPLES);
	h->commands -= 2;
	assert_int_equal(vb_stream_check(s.words, s.bytes, sample_bos, BO_COUNT, &e), -EINVAL);
	assert_int_equal(e.command, ~0u);
	assert_int_equal(e.fault, VB_FAULT_BYTES);

	stream_open(&s);
	stream_add(&s, &samples[0]);
	stream_add(&s, sample_of(VB_CMD_FILL, 0));
	((struct vb_cmd_fill *)((char *)s.words + 40))->y.shape[0] = 0;
	assert_int_equal(vb_stream_check(s.words, s.bytes, sample_bos, BO_COUNT, &e), -EINVAL);
	vb_cmd_error_format(&e, text, sizeof(text));
	assert_string_equal(text, "command 1 (fill): y.shape[0] is 0, must be at least 1");
}

static void stream_header_is_checked_field_by_field(void **state)
{
	static const struct {
		struct field field;
		u64 value;
		const char *text;
	} table[] = {
		{ { 0, 4 }, 0x12345678, "stream header: magic is 0x12345678, must be 0x31534256" },
		{ { 4, 4 }, 2, "stream header: version is 2, must be 1" },
		{ { 8, 4 }, 48, "stream header: bytes is 48, must be 40" },
		{ { 12, 4 }, 2, "stream header: commands is 2, must be at most 1" },
		{ { 12, 4 }, 0, "stream header: bytes is 40, must be 32" },
		{ { 16, 8 }, 1, "stream header: __reserved is 1, must be 0" },
		{ { 24, 8 }, 1ull << 63,
		  "stream header: __reserved is 9223372036854775808, must be 0" },
	};
	struct vb_cmd_error e;
	struct stream s;
	char text[128];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		stream_open(&s);
		stream_add(&s, &samples[0]);
		memcpy((char *)s.words + table[i].field.offset, &table[i].value,
		       table[i].field.bytes);
		assert_int_equal(vb_stream_check(s.words, s.bytes, NULL, 0, &e), -EINVAL);
		vb_cmd_error_format(&e, text, sizeof(text));
		assert_string_equal(text, table[i].text);
	}
}

static void stream_length_is_checked_before_it_is_read(void **state)
{
	struct vb_cmd_error e;
	u32 bytes;

	(void)state;
	for (bytes = 0; bytes < 32; bytes++)
		assert_int_equal(vb_stream_check_header(NULL, bytes, &e), -EINVAL);
	assert_int_equal(vb_stream_check_header(NULL, 33, &e), -EINVAL);
	assert_int_equal(vb_stream_check_header(NULL, VB_STREAM_BYTES_MAX + 8, &e), -EINVAL);
	assert_int_equal(vb_stream_check_header(NULL, ~0u & ~7u, &e), -EINVAL);
}

/* Cut anywhere, a stream is refused and nothing behind its end is read. */
static void stream_cut_short_is_refused(void **state)
{
	struct vb_stream_header *h;
	struct vb_cmd_error e;
	struct stream s;
	u64 *copy;
	u32 bytes;

	(void)state;
	stream_fill(&s);
	for (bytes = sizeof(*h); bytes < s.bytes; bytes += 8) {
		copy = malloc(bytes);
		memcpy(copy, s.words, bytes);
		h = (void *)copy;
		h->bytes = bytes;
		assert_int_equal(vb_stream_check(copy, bytes, sample_bos, BO_COUNT, &e),
				 -EINVAL);
		free(copy);
	}
}

static void cmd_names_are_known(void **state)
{
	u16 opcode;

	(void)state;
	assert_string_equal(vb_cmd_name(VB_CMD_MATMUL_ID), "matmul_id");
	for (opcode = 0; opcode < VB_CMD_COUNT; opcode++)
		assert_true(vb_cmd_bytes(opcode) >= 8 && vb_cmd_bytes(opcode) % 8 == 0);
	assert_string_equal(vb_cmd_name(VB_CMD_COUNT), "?");
	assert_int_equal(vb_cmd_bytes(VB_CMD_COUNT), 0);
	assert_int_equal(vb_cmd_bytes(65535), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cmd_samples_are_legal),
		cmocka_unit_test(cmd_every_field_bent_agrees_with_the_model),
		cmocka_unit_test(cmd_several_fields_bent_agree_with_the_model),
		cmocka_unit_test(cmd_weights_of_every_format_agree_with_the_model),
		cmocka_unit_test(cmd_errors_read_as_agreed),
		cmocka_unit_test(cmd_heads_must_divide),
		cmocka_unit_test(cmd_copy_keeps_the_rank),
		cmocka_unit_test(cmd_without_bos_is_refused),
		cmocka_unit_test(cmd_error_text_is_cut_and_terminated),
		cmocka_unit_test(cmd_names_are_known),
		cmocka_unit_test(stream_of_all_commands_is_walked_in_order),
		cmocka_unit_test(stream_names_the_bad_command),
		cmocka_unit_test(stream_header_is_checked_field_by_field),
		cmocka_unit_test(stream_length_is_checked_before_it_is_read),
		cmocka_unit_test(stream_cut_short_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
