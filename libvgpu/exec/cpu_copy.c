// SPDX-License-Identifier: MIT
/*
 * Copy and fill: operands of any rank, a line of elements after the other.
 */
#include <string.h>

#include "core/cmd.h"
#include "cpu.h"
#include "kernels/attention.h"
#include "kernels/pack/half.h"

/* Elements that a thread copies or fills at a time; whole blocks. */
#define ITEM_ELEMENTS	(1u << 16)
/* What one thread does of it, roughly. */
#define MOVE_BYTES_NS	16u
#define CONVERT_NS	1u
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
 * struct cut - lines as items of a parallel for, each some lines or a part of one
 * @lines: how many, of @elements each
 * @parts: items that a line is
 * @together: lines that an item is, where @parts is 1
 * @items: of all
 */
struct cut {
	uint64_t lines, together, items;
	uint32_t elements, parts;
};

static struct cut cut_of(const struct lines *l)
{
	struct cut c = { .lines = l->count, .elements = l->elements };

	c.parts = (c.elements - 1) / ITEM_ELEMENTS + 1;
	c.together = ITEM_ELEMENTS / c.elements;
	c.together = c.together ? c.together : 1;
	c.items = c.parts > 1 ? c.lines * c.parts : (c.lines - 1) / c.together + 1;
	return c;
}

/* What an item is: elements at .. at + n of lines line .. end. */
struct part {
	uint64_t line, end;
	uint32_t at, n;
};

static struct part part_of(const struct cut *c, size_t item)
{
	struct part p = { .n = c->elements };

	if (c->parts > 1) {
		p.line = item / c->parts;
		p.end = p.line + 1;
		p.at = (uint32_t)(item % c->parts) * ITEM_ELEMENTS;
		p.n = c->elements - p.at < ITEM_ELEMENTS ? c->elements - p.at : ITEM_ELEMENTS;
		return p;
	}
	p.line = item * c->together;
	p.end = c->lines - p.line < c->together ? c->lines : p.line + c->together;
	return p;
}

/* A copy, or a fill with @value, of which @in and @x are nothing. */
struct copying {
	const struct vgpu_kernels *k;
	struct lines x, y;
	struct cut cut;
	uint32_t from, to, value;
	const uint8_t *in;
	uint8_t *out;
};

/* Lines of what is written do not overlap: an inner stride is never the longer one. */
static void copy_item(void *ctx, size_t item)
{
	const struct copying *c = ctx;
	struct part p = part_of(&c->cut, item);

	for (uint64_t i = p.line; i < p.end; i++)
		copy_line(c->k, c->in + line_offset(&c->x, i) + vgpu_cpu_values_bytes(c->from, p.at),
			  c->from, c->out + line_offset(&c->y, i) +
			  vgpu_cpu_values_bytes(c->to, p.at), c->to, p.n);
}

int vgpu_cpu_copy(struct vgpu_cpu *cpu, const struct vgpu_work *w)
{
	const struct vb_cmd_copy *cmd = (const void *)w->cmd;
	struct copying c = {
		.k = cpu->k, .x = lines_of(&cmd->x), .y = lines_of(&cmd->y),
		.from = cmd->x.format, .to = cmd->y.format, .in = w->ptr[0], .out = w->ptr[1],
	};
	uint64_t elements = c.x.count * c.x.elements, cost = elements * CONVERT_NS;

	c.cut = cut_of(&c.x);
	if (c.from == c.to)
		cost = vgpu_cpu_values_bytes(c.from, elements) / MOVE_BYTES_NS;
	return vgpu_cpu_run(cpu, w, copy_item, &c, c.cut.items, cost);
}

static void fill_item(void *ctx, size_t item)
{
	const struct copying *c = ctx;
	struct part p = part_of(&c->cut, item);

	for (uint64_t i = p.line; i < p.end; i++) {
		uint32_t *y = (uint32_t *)(c->out + line_offset(&c->y, i)) + p.at;

		for (uint32_t j = 0; j < p.n; j++)
			y[j] = c->value;
	}
}

int vgpu_cpu_fill(struct vgpu_cpu *cpu, const struct vgpu_work *w)
{
	const struct vb_cmd_fill *cmd = (const void *)w->cmd;
	struct copying c = { .y = lines_of(&cmd->y), .value = cmd->value, .out = w->ptr[0] };

	c.cut = cut_of(&c.y);
	return vgpu_cpu_run(cpu, w, fill_item, &c, c.cut.items,
			    c.y.count * c.y.elements * 4 / MOVE_BYTES_NS);
}
