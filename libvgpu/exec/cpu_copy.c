// SPDX-License-Identifier: MIT
/*
 * Copy and fill: operands of any rank, a line of elements after the other.
 */
#include <string.h>

#include "core/cmd.h"
#include "cpu.h"
#include "kernels/attention.h"
#include "kernels/pack/half.h"

/* Elements that are copied or filled between two questions. */
#define PIECE_ELEMENTS	(1u << 20)
/* That are F32 on the way; whole blocks. */
#define VALUES_AT_ONCE	256u

/* Of one that is addressed by itself. */
static uint32_t element_bytes(uint32_t format)
{
	switch (format) {
	case VB_FORMAT_F16:
	case VB_FORMAT_BF16:
		return 2;
	case VB_FORMAT_U8:
		return 1;
	default:
		return 4;
	}
}

uint64_t vgpu_cpu_values_bytes(uint32_t format, uint64_t n)
{
	return format == VB_FORMAT_Q8_0 ? n / 32 * VGPU_KV_Q8_0_BYTES : n * element_bytes(format);
}

static float load(const uint8_t *p, uint32_t format)
{
	uint32_t bits = 0;

	memcpy(&bits, p, element_bytes(format));
	if (format == VB_FORMAT_F16)
		return vgpu_f16_to_f32((uint16_t)bits);
	if (format == VB_FORMAT_BF16)
		return vgpu_bf16_to_f32((uint16_t)bits);
	return vgpu_f32_from_bits(bits);
}

static void load_values(const struct vgpu_kernels *k, float *x, const uint8_t *p, uint32_t format,
			uint32_t n)
{
	struct vgpu_panel row = { .format = VGPU_W_Q8_0, .rows = 1, .k = n, .data = p };

	if (format == VB_FORMAT_Q8_0)
		k->weight_decode(&row, x, n);
	else
		for (uint32_t i = 0; i < n; i++)
			x[i] = load(p + vgpu_cpu_values_bytes(format, i), format);
}

static void store(uint8_t *p, uint32_t format, float x)
{
	uint32_t bits = vgpu_f32_bits(x);

	if (format == VB_FORMAT_F16)
		bits = vgpu_f32_to_f16(x);
	else if (format == VB_FORMAT_BF16)
		bits = vgpu_f32_to_bf16(x);
	memcpy(p, &bits, element_bytes(format));
}

static void store_values(const struct vgpu_kernels *k, uint8_t *p, uint32_t format, const float *x,
			 uint32_t n)
{
	if (format == VB_FORMAT_Q8_0)
		k->q8_0_encode(p, x, n);
	else
		for (uint32_t i = 0; i < n; i++)
			store(p + vgpu_cpu_values_bytes(format, i), format, x[i]);
}

static void copy_line(const struct vgpu_kernels *k, const uint8_t *from, uint32_t from_format,
		      uint8_t *to, uint32_t to_format, uint32_t n)
{
	float x[VALUES_AT_ONCE];

	if (from_format == to_format) {
		memcpy(to, from, vgpu_cpu_values_bytes(from_format, n));
		return;
	}
	for (uint32_t i = 0; i < n; i += VALUES_AT_ONCE) {
		uint32_t count = n - i < VALUES_AT_ONCE ? n - i : VALUES_AT_ONCE;

		load_values(k, x, from + vgpu_cpu_values_bytes(from_format, i), from_format, count);
		store_values(k, to + vgpu_cpu_values_bytes(to_format, i), to_format, x, count);
	}
}

/* The innermost rows of an operand of any rank. */
struct lines {
	const struct vb_operand *op;
	uint64_t stride[VB_OPERAND_RANK_MAX];
	uint64_t count;
	uint32_t elements;	/* of each */
};

static struct lines lines_of(const struct vb_operand *op)
{
	struct lines l = { .op = op, .count = 1, .elements = op->shape[op->rank - 1] };

	for (uint32_t d = 0; d + 1u < op->rank; d++) {
		l.stride[d] = vb_operand_stride(op, d);
		l.count *= op->shape[d];
	}
	return l;
}

/* Where line @line begins, in bytes. */
static uint64_t line_offset(const struct lines *l, uint64_t line)
{
	uint64_t at = 0;

	for (uint32_t d = l->op->rank - 1u; d-- > 0;) {
		at += line % l->op->shape[d] * l->stride[d];
		line /= l->op->shape[d];
	}
	return at;
}

/**
 * struct pieces - lines, one after the other, long ones in pieces
 * @lines: how many, of @elements each
 * @line: the present one
 * @at: first element of the piece
 * @n: elements of it
 * @done: elements since it was asked whether to go on
 */
struct pieces {
	uint64_t lines, line;
	uint32_t elements, at, n, done;
};

static struct pieces pieces_of(const struct lines *l)
{
	return (struct pieces){ .lines = l->count, .elements = l->elements };
}

/* Return: 1 there is one; 0 that was all; what vgpu_work_go_on() says. */
static int piece_next(struct pieces *p, const struct vgpu_work *w)
{
	int rc = 0;

	p->at += p->n;
	p->done += p->n;
	if (p->at == p->elements) {
		p->at = 0;
		p->line++;
	}
	if (p->done >= PIECE_ELEMENTS) {
		rc = vgpu_work_go_on(w);
		p->done = 0;
	}
	p->n = p->elements - p->at < PIECE_ELEMENTS ? p->elements - p->at : PIECE_ELEMENTS;
	return rc ? rc : p->line < p->lines;
}

int vgpu_cpu_copy(const struct vgpu_cpu *cpu, const struct vgpu_work *w)
{
	const struct vb_cmd_copy *c = (const void *)w->cmd;
	uint32_t from = c->x.format, to = c->y.format;
	struct lines x = lines_of(&c->x), y = lines_of(&c->y);
	struct pieces p = pieces_of(&x);
	int rc;

	while ((rc = piece_next(&p, w)) > 0) {
		const uint8_t *line = (const uint8_t *)w->ptr[0] + line_offset(&x, p.line);
		uint8_t *out = (uint8_t *)w->ptr[1] + line_offset(&y, p.line);

		copy_line(cpu->k, line + vgpu_cpu_values_bytes(from, p.at), from,
			  out + vgpu_cpu_values_bytes(to, p.at), to, p.n);
	}
	return rc;
}

int vgpu_cpu_fill(const struct vgpu_work *w)
{
	const struct vb_cmd_fill *c = (const void *)w->cmd;
	struct lines l = lines_of(&c->y);
	struct pieces p = pieces_of(&l);
	int rc;

	while ((rc = piece_next(&p, w)) > 0) {
		uint32_t *y = (uint32_t *)((uint8_t *)w->ptr[0] + line_offset(&l, p.line)) + p.at;

		for (uint32_t j = 0; j < p.n; j++)
			y[j] = c->value;
	}
	return rc;
}
