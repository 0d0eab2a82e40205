// SPDX-License-Identifier: MIT
/* What a buffer object may be made of, without a device: cases, and a model in wide numbers. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/bo_check.h"
#include "core/format.h"
#include "format_model.h"

static const u16 floats[] = { VB_FORMAT_F32, VB_FORMAT_F16, VB_FORMAT_BF16 };
static const u16 others[] = { VB_FORMAT_NONE, VB_FORMAT_I32, VB_FORMAT_U8, 47, 52, 99 };

#define FORMATS	(3 + 6 + M_BLOCKS + M_GROUPS)

/* Every format, and numbers that are none. */
static u16 format_at(size_t i)
{
	if (i < 3)
		return floats[i];
	if (i < 3 + 6)
		return others[i - 3];
	i -= 3 + 6;
	return i < M_BLOCKS ? m_blocks[i].format : m_groups[i - M_BLOCKS].format;
}

/* What is taken as it is, and would only lose: MXFP4 and INT8 already. */
static bool is_only_regrouped(u16 src)
{
	return src == VB_FORMAT_MXFP4 || src == VB_FORMAT_MXFP4_SPLIT || src == VB_FORMAT_Q8_0;
}

static bool is_pack(u16 src, u16 dst)
{
	const struct m_blocks *blocks = m_blocks_of(src);
	bool rounds = dst == VB_FORMAT_MXFP4_G16 || dst == VB_FORMAT_INT8_G16;

	if (blocks && blocks->packed && blocks->packed == dst)
		return true;
	return rounds && !is_only_regrouped(src) &&
	       (blocks || src == VB_FORMAT_F32 || src == VB_FORMAT_F16 || src == VB_FORMAT_BF16);
}

static struct vb_ioc_bo_create derived(u16 src, u16 dst, u32 rows, u32 cols, u32 stack)
{
	struct vb_ioc_bo_create c = {
		.kind = VB_BO_DERIVED, .fd = 3, .bytes = 1,
		.transform = { .kind = VB_TRANSFORM_PACK, .src_format = src, .dst_format = dst,
			       .rows = rows, .cols = cols, .stack = stack },
	};
	u64 from, to;

	if (!vb_format_matrix_bytes(src, rows, cols, &from) &&
	    !vb_format_matrix_bytes(dst, rows, cols, &to)) {
		c.file_bytes = from * stack;
		c.bytes = to * stack;
	}
	return c;
}

static void only_listed_formats_are_packed(void **state)
{
	(void)state;
	for (size_t i = 0; i < FORMATS; i++)
		for (size_t j = 0; j < FORMATS; j++) {
			u16 src = format_at(i), dst = format_at(j);
			struct vb_ioc_bo_create c = derived(src, dst, 17, 256, 3);

			assert_int_equal(vb_bo_check(&c), is_pack(src, dst) ? 0 : -EINVAL);
		}
}

static void lengths_are_those_of_the_transform(void **state)
{
	struct vb_ioc_bo_create c = derived(VB_FORMAT_F32, VB_FORMAT_INT8_G16, 16, 32, 2);

	(void)state;
	assert_int_equal(vb_bo_check(&c), 0);
	c.bytes++;
	assert_int_equal(vb_bo_check(&c), -EINVAL);
	c.bytes--;
	c.file_bytes--;
	assert_int_equal(vb_bo_check(&c), -EINVAL);
	c = derived(VB_FORMAT_F32, VB_FORMAT_INT8_G16, UINT32_MAX, UINT32_MAX, UINT32_MAX);
	c.bytes = 1;
	assert_int_equal(vb_bo_check(&c), -EOVERFLOW);
}

static void source_ends_where_the_file_does(void **state)
{
	struct vb_ioc_bo_create file = { .kind = VB_BO_FILE, .bytes = 100, .file_offset = 28 };
	struct vb_ioc_bo_create split = derived(VB_FORMAT_MXFP4_SPLIT, VB_FORMAT_MXFP4_G16, 16, 32, 1);
	struct vb_ioc_bo_create scales = derived(VB_FORMAT_F8_E4M3, VB_FORMAT_INT8_G16, 300, 200, 2);

	(void)state;
	assert_int_equal(vb_bo_check_source(&file, 128), 0);
	assert_int_equal(vb_bo_check_source(&file, 127), -ERANGE);
	file.file_offset = UINT64_MAX - 99;
	assert_int_equal(vb_bo_check_source(&file, UINT64_MAX), -EOVERFLOW);
	/* 16 rows: 256 bytes of blocks, 16 of scales, anywhere in the file. */
	split.transform.scales_offset = 1000;
	assert_int_equal(vb_bo_check_source(&split, 1016), 0);
	assert_int_equal(vb_bo_check_source(&split, 1015), -ERANGE);
	split.transform.scales_offset = UINT64_MAX;
	assert_int_equal(vb_bo_check_source(&split, 1016), -EOVERFLOW);
	/* 300 x 200 twice: 3 x 2 scales of 128 x 128 values each. */
	scales.transform.scale_format = VB_FORMAT_BF16;
	scales.transform.scale_rows = scales.transform.scale_cols = 128;
	scales.transform.scales_offset = 200000;
	assert_int_equal(vb_bo_check_source(&scales, 200024), 0);
	assert_int_equal(vb_bo_check_source(&scales, 200023), -ERANGE);
	scales.transform.scale_rows = scales.transform.scale_cols = 0;
	assert_int_equal(vb_bo_check_source(&scales, 200004), 0);
	assert_int_equal(vb_bo_check_source(&scales, 200003), -ERANGE);
}

/* ------------------------------------------------------------------------
 * The model: each rule of struct vb_ioc_bo_create as it stands there, lengths in 128 bits.
 */

#define WIDEST	((u128)UINT64_MAX)

/* Bytes of a matrix; 0 when the format cannot have this many columns, or is none of a pack. */
static u128 model_matrix(u16 format, u64 rows, u64 cols)
{
	switch (format) {
	case VB_FORMAT_F32:
		return (u128)rows * cols * 4;
	case VB_FORMAT_F16:
	case VB_FORMAT_BF16:
		return (u128)rows * cols * 2;
	default:
		return m_blocks_bytes(format, rows, cols);
	}
}

static bool no_transform(const struct vb_transform *t)
{
	return !t->kind && !t->src_format && !t->dst_format && !t->scale_format && !t->rows &&
	       !t->cols && !t->stack && !t->scale_rows && !t->scale_cols && !t->scales_offset;
}

static int model_derived(const struct vb_ioc_bo_create *c)
{
	const struct vb_transform *t = &c->transform;
	u128 from, to;

	if (c->life != VB_LIFE_VOLATILE)
		return -EINVAL;
	if (t->kind != VB_TRANSFORM_PACK)
		return -EINVAL;
	if (!is_pack(t->src_format, t->dst_format))
		return -EINVAL;
	if (t->scale_format && t->src_format != VB_FORMAT_F8_E4M3 &&
	    t->src_format != VB_FORMAT_F8_E5M2)
		return -EINVAL;
	if (t->scale_format && t->scale_format != VB_FORMAT_F32 &&
	    t->scale_format != VB_FORMAT_F16 && t->scale_format != VB_FORMAT_BF16 &&
	    t->scale_format != VB_FORMAT_U8)
		return -EINVAL;
	if (!t->scale_format && (t->scale_rows || t->scale_cols))
		return -EINVAL;
	if (!t->scale_format && t->scales_offset && t->src_format != VB_FORMAT_MXFP4_SPLIT)
		return -EINVAL;
	if (!t->rows || !t->cols || !t->stack)
		return -EINVAL;
	from = model_matrix(t->src_format, t->rows, t->cols);
	to = model_matrix(t->dst_format, t->rows, t->cols);
	if (!from || !to)
		return -EINVAL;
	/* One matrix fits in 128 bits, a stack of them may not. */
	if (from > WIDEST / t->stack || to > WIDEST / t->stack)
		return -EOVERFLOW;
	return c->file_bytes == from * t->stack && c->bytes == to * t->stack ? 0 : -EINVAL;
}

static int model_check(const struct vb_ioc_bo_create *c)
{
	if (c->bytes < 1 || c->bytes > VB_OBJECT_BYTES_MAX)
		return -EINVAL;
	if (c->kind == VB_BO_ANONYMOUS)
		return (c->life == VB_LIFE_VOLATILE || c->life == VB_LIFE_DURABLE ||
			c->life == VB_LIFE_SCRATCH) && c->fd == -1 && !c->file_offset &&
		       !c->file_bytes && no_transform(&c->transform) ? 0 : -EINVAL;
	if (c->kind == VB_BO_FILE)
		return c->life == VB_LIFE_VOLATILE && !c->file_bytes &&
		       no_transform(&c->transform) ? 0 : -EINVAL;
	return c->kind == VB_BO_DERIVED ? model_derived(c) : -EINVAL;
}

static int model_within(u64 file_bytes, u64 offset, u64 bytes)
{
	u128 end = (u128)offset + bytes;

	if (end > WIDEST)
		return -EOVERFLOW;
	return end > file_bytes ? -ERANGE : 0;
}

static int model_source(const struct vb_ioc_bo_create *c, u64 file_bytes)
{
	const struct vb_transform *t = &c->transform;
	u128 bytes;
	int rc;

	if (c->kind == VB_BO_FILE)
		return model_within(file_bytes, c->file_offset, c->bytes);
	rc = model_within(file_bytes, c->file_offset, c->file_bytes);
	if (rc || (t->src_format != VB_FORMAT_MXFP4_SPLIT && !t->scale_format))
		return rc;
	if (!t->scale_format) {
		/* A scale of one byte for each block. */
		bytes = (u128)t->rows * (t->cols / 32) * t->stack;
	} else {
		/* One for each rectangle, those at the edges being smaller. */
		u64 high = t->scale_rows ? t->scale_rows : t->rows;
		u64 wide = t->scale_cols ? t->scale_cols : t->cols;

		bytes = (u128)((t->rows + high - 1) / high) * ((t->cols + wide - 1) / wide) *
			t->stack * (t->scale_format == VB_FORMAT_F32 ? 4 :
				    t->scale_format == VB_FORMAT_U8 ? 1 : 2);
	}
	return bytes > WIDEST ? -EOVERFLOW :
	       model_within(file_bytes, t->scales_offset, (u64)bytes);
}

/* ---- commands to try: right ones, of which up to two fields are changed ---- */

static u64 seed;

static u64 draw(u64 below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % below;
}

static u64 some_number(void)
{
	static const u64 edge[] = {
		0, 1, 2, 15, 16, 17, 31, 32, 33, 64, 4096, 0xffff, 0x10000, 0xffffffe0u, 0xffffffffu,
		1ull << 32, VB_OBJECT_BYTES_MAX - 1, VB_OBJECT_BYTES_MAX, VB_OBJECT_BYTES_MAX + 1,
		1ull << 63, UINT64_MAX - 31, UINT64_MAX - 1, UINT64_MAX,
	};

	return draw(4) ? edge[draw(sizeof(edge) / sizeof(edge[0]))] : draw(1000);
}

static struct vb_ioc_bo_create scaled(u32 rows, u32 cols, u32 stack)
{
	static const u16 scales[] = { VB_FORMAT_F32, VB_FORMAT_F16, VB_FORMAT_BF16, VB_FORMAT_U8 };
	static const u16 shared[] = { 0, 1, 7, 128, 0xffff };
	struct vb_ioc_bo_create c = derived(draw(2) ? VB_FORMAT_F8_E4M3 : VB_FORMAT_F8_E5M2,
					    VB_FORMAT_INT8_G16, rows, cols, stack);

	c.transform.scale_format = scales[draw(4)];
	c.transform.scale_rows = shared[draw(5)];
	c.transform.scale_cols = shared[draw(5)];
	return c;
}

static struct vb_ioc_bo_create some_right_one(void)
{
	u16 src = format_at(draw(FORMATS)), dst = format_at(draw(FORMATS));
	struct vb_ioc_bo_create c = { .kind = VB_BO_ANONYMOUS, .fd = -1, .bytes = 1 + draw(1u << 20) };

	switch (draw(3)) {
	case 0:
		c.life = (u16)draw(3);
		return c;
	case 1:
		c.kind = VB_BO_FILE;
		c.fd = 3;
		c.file_offset = some_number();
		return c;
	default:
		while (!is_pack(src, dst)) {
			src = format_at(draw(FORMATS));
			dst = format_at(draw(FORMATS));
		}
		c = derived(src, dst, 1 + (u32)draw(40), (draw(2) ? 256 : 32) * (1 + (u32)draw(9)),
			    1 + (u32)draw(4));
		c.file_offset = some_number();
		if (!draw(3))
			c = scaled(1 + (u32)draw(40), 1 + (u32)draw(300), 1 + (u32)draw(4));
		if (c.transform.src_format == VB_FORMAT_MXFP4_SPLIT || c.transform.scale_format)
			c.transform.scales_offset = some_number();
		return c;
	}
}

static void change_a_field(struct vb_ioc_bo_create *c)
{
	u64 n = some_number();

	switch (draw(18)) {
	case 0: c->kind = (u16)draw(7); break;
	case 1: c->life = (u16)draw(5); break;
	case 2: c->fd = (s32)draw(3) - 1; break;
	case 3: c->bytes = n; break;
	case 4: c->file_offset = n; break;
	case 5: c->file_bytes = n; break;
	case 6: c->transform.kind = (u16)draw(3); break;
	case 7: c->transform.src_format = format_at(draw(FORMATS)); break;
	case 8: c->transform.dst_format = format_at(draw(FORMATS)); break;
	case 9: c->transform.rows = (u32)n; break;
	case 10: c->transform.cols = (u32)n; break;
	case 11: c->transform.stack = (u32)n; break;
	case 12: c->transform.scales_offset = n; break;
	case 13:
		c->transform.rows = c->transform.cols = c->transform.stack = 0xffffffe0u;
		break;
	case 14: c->transform.scale_format = format_at(draw(FORMATS)); break;
	case 15: c->transform.scale_rows = (u16)n; break;
	case 16: c->transform.scale_cols = (u16)n; break;
	default: c->transform.rows = (u32)n; break;
	}
}

/* Lengths that fit what a changed shape asks for, so that it is not them that is refused. */
static void fit_lengths(struct vb_ioc_bo_create *c)
{
	const struct vb_transform *t = &c->transform;

	c->file_bytes = (u64)(model_matrix(t->src_format, t->rows, t->cols) * t->stack);
	c->bytes = (u64)(model_matrix(t->dst_format, t->rows, t->cols) * t->stack);
}

static void checks_agree_with_the_model(void **state)
{
	u32 accepted = 0, invalid = 0, overflow = 0, inside = 0, outside = 0, beyond = 0;

	(void)state;
	seed = 1;
	for (u32 i = 0; i < 400000; i++) {
		struct vb_ioc_bo_create c = some_right_one();
		u64 file_bytes = draw(2) ? some_number() : c.file_offset + c.bytes + draw(3) - 1;
		int rc;

		for (u64 changes = draw(4); changes > 1; changes--)
			change_a_field(&c);
		if (c.kind == VB_BO_DERIVED && draw(2))
			fit_lengths(&c);
		rc = vb_bo_check(&c);
		assert_int_equal(rc, model_check(&c));
		accepted += !rc;
		invalid += rc == -EINVAL;
		overflow += rc == -EOVERFLOW;
		if (rc || c.kind == VB_BO_ANONYMOUS)
			continue;
		rc = vb_bo_check_source(&c, file_bytes);
		assert_int_equal(rc, model_source(&c, file_bytes));
		inside += !rc;
		outside += rc == -ERANGE;
		beyond += rc == -EOVERFLOW;
	}
	/* Every answer was there to be compared. */
	assert_true(accepted > 10000 && invalid > 10000 && overflow > 100);
	assert_true(inside > 10000 && outside > 1000 && beyond > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_listed_formats_are_packed),
		cmocka_unit_test(lengths_are_those_of_the_transform),
		cmocka_unit_test(source_ends_where_the_file_does),
		cmocka_unit_test(checks_agree_with_the_model),
	};

	return cmocka_run_group_tests_name("bo_check", tests, NULL, NULL);
}
