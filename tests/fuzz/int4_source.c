// SPDX-License-Identifier: MIT
/*
 * Eight bytes say what the layer is like, the others are the bytes of its tensors in turn; those
 * that are missing are zero.
 *
 *	0	scheme, of which one is unknown
 *	1	group size, of which two are not taken
 *	2	bits of a code: 4, but for 255
 *	3, 4	inputs / 8, outputs
 *	5, 6	which dimension is another, and by how much
 *	7	bit 0: there is a g_idx; 1: it is in order, up to its bytes; 2: scales are finite; 3:
 *		inputs have an order of their own
 */
#include "int4_source.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/formats/int4_layer.h"

#define HEAD	8u

struct bytes {
	const uint8_t *at;
	size_t left;
};

static void *draw_data(struct bytes *b, size_t bytes)
{
	uint8_t *data = calloc(1, bytes ? bytes : 1);
	size_t have = bytes < b->left ? bytes : b->left;

	if (!data)
		abort();
	if (have)
		memcpy(data, b->at, have);
	b->at += have;
	b->left -= have;
	return data;
}

static struct vgpu_tensor tensor(const char *name, enum vgpu_dtype dtype, uint32_t rank,
				 uint64_t rows, uint64_t cols)
{
	uint64_t each = dtype == VGPU_DTYPE_F16 ? 2 : 4;

	return (struct vgpu_tensor){ .name = name, .dtype = dtype, .dtype_name = "I32", .rank = rank,
				     .shape = { rows, cols, 1, 1, 1, 1, 1, 1 },
				     .bytes = rows * cols * each };
}

static void put_order(uint32_t *index, uint32_t k, uint32_t group)
{
	for (uint32_t c = 0; c < k; c++)
		index[c] ^= c / group;
}

static void make_finite(uint16_t *scales, size_t count)
{
	for (size_t i = 0; i < count; i++)
		scales[i] &= 0xfbff;
}

/* Another dimension, with as many bytes as it asks for. */
static void spoil(struct vgpu_tensor t[4], const uint8_t *head)
{
	struct vgpu_tensor *one = &t[head[5] % 4];
	uint64_t *dimension = &one->shape[head[5] / 4 % 2];

	if (head[5] < 128)
		return;
	*dimension += (uint64_t)(head[6] - 128);
	if (*dimension > 4096)		/* also below zero: too long, and no data needed */
		*dimension = UINT64_MAX;
	else
		one->bytes = one->shape[0] * one->shape[1] * (one->dtype == VGPU_DTYPE_F16 ? 2 : 4);
}

int int4_source_draw(struct int4_source *out, const uint8_t *data, size_t size)
{
	static const int64_t groups[8] = { 32, 64, 128, -1, 32, 64, 0, 256 };
	uint8_t head[HEAD] = { 0 };
	struct bytes rest = { data, size };
	struct vgpu_int4_source src;
	struct vgpu_tensor t[4];
	struct vgpu_error err;
	uint32_t k, n, group;

	memset(out, 0, sizeof(*out));
	memcpy(head, data, size < HEAD ? size : HEAD);
	rest.at += size < HEAD ? size : HEAD;
	rest.left -= size < HEAD ? size : HEAD;
	k = 8u * (head[3] % 64 + 1u);
	n = head[4] % 48 + 1u;
	src = (struct vgpu_int4_source){ .scheme = (enum vgpu_int4_scheme)(head[0] % 4),
					 .group = groups[head[1] % 8], .bits = head[2] == 255 ? 3 : 4,
					 .desc_act = head[7] & 8 };
	group = src.group > 0 ? (uint32_t)src.group : k;
	t[0] = tensor("qweight", VGPU_DTYPE_I32, 2, src.scheme ? k / 8 : k, src.scheme ? n : n / 8);
	t[1] = tensor("qzeros", VGPU_DTYPE_I32, 2, (k + group - 1) / group, n / 8);
	t[2] = tensor("scales", VGPU_DTYPE_F16, 2, (k + group - 1) / group, n);
	t[3] = tensor("g_idx", VGPU_DTYPE_I32, 1, k, 1);
	spoil(t, head);
	/* Small tensors first: they decide what is taken. */
	for (int i = 3; i >= 0; i--)
		out->parts[i] = draw_data(&rest, t[i].bytes);
	if (head[7] & 2 && t[3].bytes == 4ull * k)
		put_order(out->parts[3], k, group);
	if (head[7] & 4)
		make_finite(out->parts[2], t[2].bytes / 2);
	src.qweight = (struct vgpu_int4_part){ &t[0], out->parts[0] };
	src.qzeros = (struct vgpu_int4_part){ &t[1], out->parts[1] };
	src.scales = (struct vgpu_int4_part){ &t[2], out->parts[2] };
	if (head[7] & 1)
		src.g_idx = (struct vgpu_int4_part){ &t[3], out->parts[3] };
	return vgpu_int4_layer_init(&out->layer, &src, &err);
}

void int4_source_free(struct int4_source *s)
{
	for (uint32_t i = 0; i < 4; i++)
		free(s->parts[i]);
}
