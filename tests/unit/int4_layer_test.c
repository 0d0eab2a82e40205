// SPDX-License-Identifier: MIT
#include "kernels/formats/int4_layer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* A layer of 256 inputs and 24 outputs that is taken; tests spoil one thing each. */
struct layer {
	struct vgpu_int4_source src;
	struct vgpu_tensor qweight, qzeros, scales, g_idx;
};

#define K	256u
#define N	24u

static struct vgpu_tensor tensor(const char *name, enum vgpu_dtype dtype, uint64_t rows,
				 uint64_t cols)
{
	bool half = dtype == VGPU_DTYPE_F16;

	return (struct vgpu_tensor){
		.name = name, .dtype = dtype, .dtype_name = half ? "F16" : "I32",
		.rank = cols ? 2 : 1, .shape = { rows, cols ? cols : 1, 1, 1, 1, 1, 1, 1 },
		.bytes = rows * (cols ? cols : 1) * (half ? 2 : 4),
	};
}

/* The exact bytes, so that the address sanitizer sees reads beyond them. */
static void give(struct vgpu_int4_part *part, const struct vgpu_tensor *t)
{
	free((void *)part->data);
	part->tensor = t;
	part->data = calloc(1, t->bytes);
	assert_non_null(part->data);
}

static void give_order(struct layer *l, uint32_t k, uint32_t group)
{
	uint32_t *index;

	l->g_idx = tensor("a.g_idx", VGPU_DTYPE_I32, k, 0);
	give(&l->src.g_idx, &l->g_idx);
	index = (uint32_t *)l->src.g_idx.data;
	for (uint32_t i = 0; i < k; i++)
		index[i] = i / group;
}

static void layer_init(struct layer *l, enum vgpu_int4_scheme scheme, int64_t group, uint32_t k,
		       uint32_t n)
{
	uint32_t size = group > 0 ? (uint32_t)group : k, groups = (k + size - 1) / size;
	bool awq = scheme == VGPU_INT4_AWQ;

	memset(l, 0, sizeof(*l));
	l->src = (struct vgpu_int4_source){ .scheme = scheme, .bits = 4, .group = group };
	l->qweight = tensor("a.qweight", VGPU_DTYPE_I32, awq ? k : k / 8, awq ? n / 8 : n);
	l->qzeros = tensor("a.qzeros", VGPU_DTYPE_I32, groups, n / 8);
	l->scales = tensor("a.scales", VGPU_DTYPE_F16, groups, n);
	give(&l->src.qweight, &l->qweight);
	give(&l->src.qzeros, &l->qzeros);
	give(&l->src.scales, &l->scales);
	if (!awq)
		give_order(l, k, size);
}

static void layer_free(struct layer *l)
{
	free((void *)l->src.qweight.data);
	free((void *)l->src.qzeros.data);
	free((void *)l->src.scales.data);
	free((void *)l->src.g_idx.data);
}

/* Refused for this reason, and nothing written. @l is done with. */
static void refuse(struct layer *l, int code, const char *text)
{
	struct vgpu_int4_layer out, before;
	struct vgpu_error err = { 0 };

	memset(&before, 0xa5, sizeof(before));
	memcpy(&out, &before, sizeof(out));
	assert_int_equal(vgpu_int4_layer_init(&out, &l->src, NULL), code);
	assert_int_equal(vgpu_int4_layer_init(&out, &l->src, &err), code);
	assert_string_equal(err.text, text);
	assert_int_equal(err.code, code);
	assert_memory_equal(&out, &before, sizeof(out));
	layer_free(l);
}

/* What a layer of so many inputs is packed with. */
static void take(enum vgpu_int4_scheme scheme, int64_t group, uint32_t k, uint32_t cols)
{
	struct vgpu_int4_layer out;
	struct vgpu_error err;
	struct layer l;

	layer_init(&l, scheme, group, k, N);
	if (vgpu_int4_layer_init(&out, &l.src, &err))
		fail_msg("%s", err.text);
	assert_int_equal(out.k, k);
	assert_int_equal(out.n, N);
	assert_int_equal(out.cols, cols);
	assert_int_equal(out.groups, l.scales.shape[0]);
	layer_free(&l);
}

static void int4_layer_scales_divide_group_and_inputs(void **state)
{
	(void)state;
	for (int scheme = VGPU_INT4_AWQ; scheme <= VGPU_INT4_GPTQ_V2; scheme++) {
		for (uint32_t group = 32; group <= 128; group *= 2)
			take((enum vgpu_int4_scheme)scheme, group, 5 * group, group);
		take((enum vgpu_int4_scheme)scheme, -1, 32, 32);
		take((enum vgpu_int4_scheme)scheme, -1, 4544, 64);
		take((enum vgpu_int4_scheme)scheme, -1, 11008, 128);
	}
	/* A short group at the end. */
	take(VGPU_INT4_GPTQ, 128, 4544, 64);
	take(VGPU_INT4_GPTQ_V2, 128, 160, 32);
	take(VGPU_INT4_GPTQ, 64, 32, 32);
}

/* Any word but eight times 8, in any place, in each scheme's own way of saying 8. */
static void int4_layer_has_zeros_when_one_is_not_8(void **state)
{
	(void)state;
	for (int scheme = VGPU_INT4_AWQ; scheme <= VGPU_INT4_GPTQ_V2; scheme++) {
		struct vgpu_int4_layer out;
		struct layer l;
		uint32_t *zeros;

		layer_init(&l, (enum vgpu_int4_scheme)scheme, 64, K, N);
		zeros = (uint32_t *)l.src.qzeros.data;
		for (uint32_t i = 0; i < K / 64 * N / 8; i++)
			zeros[i] = scheme == VGPU_INT4_GPTQ ? 0x77777777 : 0x88888888;
		assert_int_equal(vgpu_int4_layer_init(&out, &l.src, NULL), 0);
		assert_false(out.zeros);
		for (uint32_t i = 0; i < K / 64 * N; i++) {
			zeros[i / 8] ^= 1u << i % 8 * 4;
			assert_int_equal(vgpu_int4_layer_init(&out, &l.src, NULL), 0);
			assert_true(out.zeros);
			zeros[i / 8] ^= 1u << i % 8 * 4;
		}
		layer_free(&l);
	}
}

static void int4_layer_refuses_other_settings(void **state)
{
	struct layer l;

	(void)state;
	layer_init(&l, VGPU_INT4_GPTQ, 128, K, N);
	l.src.bits = 3;
	refuse(&l, -EOPNOTSUPP, "tensor 'a.qweight': bits is 3, taken is 4");
	layer_init(&l, VGPU_INT4_AWQ, 128, K, N);
	l.src.bits = INT64_MIN;
	refuse(&l, -EOPNOTSUPP, "tensor 'a.qweight': bits is -9223372036854775808, taken is 4");
	layer_init(&l, VGPU_INT4_AWQ, 128, K, N);
	l.src.group = 256;
	refuse(&l, -EOPNOTSUPP, "tensor 'a.qweight': group size is 256, taken are 32, 64, 128, and -1 "
	       "for all inputs");
	layer_init(&l, VGPU_INT4_AWQ, 128, K, N);
	l.src.group = 0;
	refuse(&l, -EOPNOTSUPP, "tensor 'a.qweight': group size is 0, taken are 32, 64, 128, and -1 "
	       "for all inputs");
	layer_init(&l, VGPU_INT4_AWQ, 128, K, N);
	l.src.scheme = (enum vgpu_int4_scheme)3;
	refuse(&l, -EINVAL, "tensor 'a.qweight': scheme 3 is not known");
}

static void int4_layer_refuses_tensors_of_another_kind(void **state)
{
	struct layer l;

	(void)state;
	layer_init(&l, VGPU_INT4_AWQ, 128, K, N);
	l.src.qzeros.tensor = NULL;
	refuse(&l, -EINVAL, "the layer has no qzeros");
	layer_init(&l, VGPU_INT4_AWQ, 128, K, N);
	l.src.qweight.tensor = NULL;
	refuse(&l, -EINVAL, "the layer has no qweight");
	layer_init(&l, VGPU_INT4_AWQ, 128, K, N);
	l.scales.dtype = VGPU_DTYPE_BF16;
	l.scales.dtype_name = "BF16";
	refuse(&l, -EINVAL, "tensor 'a.scales': type BF16, a layer's scales is f16");
	layer_init(&l, VGPU_INT4_AWQ, 128, K, N);
	l.qweight.dtype = VGPU_DTYPE_I64;
	l.qweight.dtype_name = "I64";
	refuse(&l, -EINVAL, "tensor 'a.qweight': type I64, a layer's qweight is i32");
	layer_init(&l, VGPU_INT4_AWQ, 128, K, N);
	l.qweight.rank = 3;
	refuse(&l, -EINVAL, "tensor 'a.qweight': rank 3, a layer's qweight has 2");
	layer_init(&l, VGPU_INT4_GPTQ, 128, K, N);
	l.g_idx.rank = 2;
	refuse(&l, -EINVAL, "tensor 'a.g_idx': rank 2, a layer's g_idx has 1");
	layer_init(&l, VGPU_INT4_AWQ, 128, K, N);
	give_order(&l, K, 128);
	refuse(&l, -EINVAL, "tensor 'a.g_idx': AWQ has no g_idx");
	layer_init(&l, VGPU_INT4_AWQ, 128, K, N);
	l.qzeros.bytes--;
	refuse(&l, -EINVAL, "tensor 'a.qzeros': 23 bytes, its shape asks for 24");
}

static void int4_layer_refuses_sides_that_are_too_long(void **state)
{
	struct layer l;

	(void)state;
	layer_init(&l, VGPU_INT4_AWQ, 128, K, N);
	l.qweight.shape[1] = 0;
	refuse(&l, -EINVAL, "tensor 'a.qweight': dimension 1 is 0");
	layer_init(&l, VGPU_INT4_AWQ, 128, K, N);
	l.scales.shape[0] = UINT64_MAX;
	refuse(&l, -E2BIG, "tensor 'a.scales': dimension 0 is 18446744073709551615, above the limit "
	       "1048576");
	/* Eight times as many as the shape of words says: of inputs, of outputs. */
	layer_init(&l, VGPU_INT4_GPTQ, 128, K, N);
	l.qweight = tensor("a.qweight", VGPU_DTYPE_I32, (1u << 17) + 4, N);
	refuse(&l, -E2BIG, "tensor 'a.qweight': 1048608 inputs, above the limit 1048576");
	layer_init(&l, VGPU_INT4_AWQ, 128, K, N);
	l.qweight = tensor("a.qweight", VGPU_DTYPE_I32, K, (1u << 17) + 1);
	refuse(&l, -E2BIG, "tensor 'a.qweight': 1048584 outputs, above the limit 1048576");
}

static void int4_layer_refuses_shapes_that_do_not_fit(void **state)
{
	struct layer l;

	(void)state;
	layer_init(&l, VGPU_INT4_AWQ, -1, 48, N);
	refuse(&l, -EINVAL, "tensor 'a.qweight': 48 inputs are no multiple of 32");
	layer_init(&l, VGPU_INT4_AWQ, 128, 320, N);
	refuse(&l, -EINVAL, "tensor 'a.qweight': 320 inputs are no multiple of 128");
	layer_init(&l, VGPU_INT4_GPTQ, 128, K, 20);
	refuse(&l, -EINVAL, "tensor 'a.qweight': 20 outputs are no multiple of 8");
	layer_init(&l, VGPU_INT4_AWQ, 128, K, N);
	l.src.group = 64;
	refuse(&l, -EINVAL, "tensor 'a.qzeros': dimension 0 is 2, inputs and group size give 4");
	layer_init(&l, VGPU_INT4_AWQ, 128, K, N);
	l.qzeros = tensor("a.qzeros", VGPU_DTYPE_I32, 2, 4);
	refuse(&l, -EINVAL, "tensor 'a.qzeros': dimension 1 is 4, an eighth of the outputs is 3");
	layer_init(&l, VGPU_INT4_AWQ, 128, K, N);
	l.scales = tensor("a.scales", VGPU_DTYPE_F16, 3, N);
	refuse(&l, -EINVAL, "tensor 'a.scales': dimension 0 is 3, inputs and group size give 2");
	layer_init(&l, VGPU_INT4_AWQ, 128, K, N);
	l.scales = tensor("a.scales", VGPU_DTYPE_F16, 2, N + 8);
	refuse(&l, -EINVAL, "tensor 'a.scales': dimension 1 is 32, outputs are 24");
	layer_init(&l, VGPU_INT4_GPTQ, 128, K, N);
	l.g_idx = tensor("a.g_idx", VGPU_DTYPE_I32, K - 1, 0);
	refuse(&l, -EINVAL, "tensor 'a.g_idx': dimension 0 is 255, inputs are 256");
	/* AWQ read as GPTQ, and the other way round. */
	layer_init(&l, VGPU_INT4_AWQ, 128, K, N);
	l.src.scheme = VGPU_INT4_GPTQ;
	refuse(&l, -EINVAL, "tensor 'a.qweight': 3 outputs are no multiple of 8");
	layer_init(&l, VGPU_INT4_GPTQ, 128, K, N);
	l.src.scheme = VGPU_INT4_AWQ;
	l.src.g_idx.tensor = NULL;
	refuse(&l, -EINVAL, "tensor 'a.qweight': 32 inputs are no multiple of 128");
}

static void int4_layer_refuses_inputs_out_of_order(void **state)
{
	struct layer l;

	(void)state;
	layer_init(&l, VGPU_INT4_GPTQ, 64, K, N);
	((uint32_t *)l.src.g_idx.data)[70] = 3;
	((uint32_t *)l.src.g_idx.data)[71] = 0;
	refuse(&l, -EOPNOTSUPP, "tensor 'a.g_idx': input 70 is in group 3, not 1: inputs out of order "
	       "(act-order, desc_act) are not taken");
	layer_init(&l, VGPU_INT4_GPTQ_V2, 64, K, N);
	((uint32_t *)l.src.g_idx.data)[255] = 4;
	refuse(&l, -EINVAL, "tensor 'a.g_idx': input 255 is in group 4, there are 4");
	layer_init(&l, VGPU_INT4_GPTQ, 64, K, N);
	((uint32_t *)l.src.g_idx.data)[0] = UINT32_MAX;
	refuse(&l, -EINVAL, "tensor 'a.g_idx': input 0 is in group -1, there are 4");
}

/* Without g_idx only what is in order is known; a g_idx that is in order will do. */
static void int4_layer_in_another_order_has_an_order(void **state)
{
	struct vgpu_int4_layer out;
	struct layer l;

	(void)state;
	for (int scheme = VGPU_INT4_GPTQ; scheme <= VGPU_INT4_GPTQ_V2; scheme++)
		for (int64_t group = 64; group >= -1; group -= 65) {
			layer_init(&l, (enum vgpu_int4_scheme)scheme, group, K, N);
			l.src.desc_act = true;
			assert_int_equal(vgpu_int4_layer_init(&out, &l.src, NULL), 0);
			l.src.g_idx.tensor = NULL;
			if (group > 0) {
				refuse(&l, -EINVAL, "tensor 'a.qweight': the settings' desc_act is true, and "
				       "there is no g_idx, which says in which group an input is");
				continue;
			}
			assert_int_equal(vgpu_int4_layer_init(&out, &l.src, NULL), 0);
			layer_free(&l);
		}
	layer_init(&l, VGPU_INT4_GPTQ, 64, K, N);
	l.src.g_idx.tensor = NULL;
	assert_int_equal(vgpu_int4_layer_init(&out, &l.src, NULL), 0);
	layer_free(&l);
}

static void int4_layer_refuses_scales_that_are_no_numbers(void **state)
{
	static const uint16_t halves[] = { 0x7c00, 0xfc00, 0x7e00, 0xfc01, 0x7fff };
	struct layer l;

	(void)state;
	for (uint32_t i = 0; i < 5; i++) {
		layer_init(&l, VGPU_INT4_AWQ, 32, K, N);
		((uint16_t *)l.src.scales.data)[7 * N + 23] = halves[i];
		refuse(&l, -EDOM, "tensor 'a.scales': the scale of group 7, output 23 is NaN or infinite");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(int4_layer_scales_divide_group_and_inputs),
		cmocka_unit_test(int4_layer_has_zeros_when_one_is_not_8),
		cmocka_unit_test(int4_layer_refuses_other_settings),
		cmocka_unit_test(int4_layer_refuses_tensors_of_another_kind),
		cmocka_unit_test(int4_layer_refuses_sides_that_are_too_long),
		cmocka_unit_test(int4_layer_refuses_shapes_that_do_not_fit),
		cmocka_unit_test(int4_layer_refuses_inputs_out_of_order),
		cmocka_unit_test(int4_layer_in_another_order_has_an_order),
		cmocka_unit_test(int4_layer_refuses_scales_that_are_no_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
