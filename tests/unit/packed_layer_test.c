// SPDX-License-Identifier: MIT
/* Layers of AWQ and GPTQ in packed files: another implementation's values, products, refusals. */
#include "vgpu.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/golden_int4.h"
#include "kernels/pack/int4_units.h"

#define GOLDEN	TEST_DATA "/int4_layers.safetensors"

/* The golden layers, and a folder for a packed file. */
struct rig {
	char folder[80], path[96];
	struct vgpu_checkpoint *ck;
};

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	strcpy(r->folder, "/tmp/vgpu-layer-XXXXXX");
	assert_non_null(mkdtemp(r->folder));
	snprintf(r->path, sizeof(r->path), "%s/packed", r->folder);
	assert_int_equal(vgpu_checkpoint_open(GOLDEN, &r->ck, NULL), 0);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	vgpu_checkpoint_close(r->ck);
	unlink(r->path);
	/* Fails where something else was left. */
	assert_int_equal(rmdir(r->folder), 0);
	free(r);
	return 0;
}

static void assert_ok(int rc)
{
	if (rc)
		fail_msg("%s: %s", strerror(-rc), vgpu_error_text());
}

static void assert_says(const char *part)
{
	if (!strstr(vgpu_error_text(), part))
		fail_msg("\"%s\" does not say \"%s\"", vgpu_error_text(), part);
}

static const struct vgpu_tensor *part(const struct rig *r, const char *layer, const char *what)
{
	char name[64];

	snprintf(name, sizeof(name), "%s.%s", layer, what);
	return vgpu_checkpoint_find(r->ck, name);
}

static enum vgpu_format format_of(const struct golden_int4_case *c)
{
	static const enum vgpu_format with[] = { VGPU_FORMAT_INT4_Z32_G16, VGPU_FORMAT_INT4_Z64_G16,
						 VGPU_FORMAT_INT4_Z128_G16 };
	static const enum vgpu_format without[] = { VGPU_FORMAT_Q4_0_G16, VGPU_FORMAT_INT4_64_G16,
						    VGPU_FORMAT_INT4_128_G16 };
	uint32_t i = c->cols == 32 ? 0 : c->cols == 64 ? 1 : 2;

	return c->zeros ? with[i] : without[i];
}

static struct vgpu_pack_item item_of(const struct rig *r, const struct golden_int4_case *c)
{
	const struct vgpu_tensor *values = part(r, c->name, "values");
	uint32_t k = (uint32_t)values->shape[1];
	int fd = vgpu_checkpoint_file_fd(r->ck, 0);

	return (struct vgpu_pack_item){
		.name = c->name, .fd = fd, .offset = part(r, c->name, "qweight")->offset,
		.pack = { .packed_format = format_of(c), .rows = (uint32_t)values->shape[0], .cols = k },
		.layer = {
			.scheme = (enum vgpu_pack_scheme)c->scheme,
			.group = c->group < 0 ? k : (uint32_t)c->group,
			.zeros_fd = fd, .zeros_offset = part(r, c->name, "qzeros")->offset,
			.scales_fd = fd, .scales_offset = part(r, c->name, "scales")->offset,
		},
	};
}

static struct vgpu_pack_item item_named(const struct rig *r, const char *name)
{
	for (uint32_t i = 0; i < GOLDEN_INT4_CASES; i++)
		if (!strcmp(golden_int4_cases[i].name, name))
			return item_of(r, &golden_int4_cases[i]);
	fail_msg("no case %s", name);
	return (struct vgpu_pack_item){ 0 };
}

static float *values_of(const struct rig *r, const char *name)
{
	const struct vgpu_tensor *t = part(r, name, "values");
	float *values = malloc(t->bytes);

	assert_non_null(values);
	assert_int_equal(pread(vgpu_checkpoint_file_fd(r->ck, 0), values, t->bytes,
			       (off_t)t->offset), t->bytes);
	return values;
}

/* ---- values ---- */

/* What the file has, decoded, is the golden layer bit by bit. */
static void check_values(const struct rig *r, const struct vgpu_checkpoint *packed,
			 const struct vgpu_pack_item *item)
{
	size_t count = (size_t)item->pack.rows * item->pack.cols;
	float *is = malloc(count * sizeof(*is)), *want = values_of(r, item->name);
	struct vgpu_array a;
	uint64_t bytes;
	void *data;

	assert_ok(vgpu_packed_array(packed, item->name, NULL, &a));
	assert_int_equal(a.format, item->pack.packed_format);
	assert_int_equal(a.shape[0], item->pack.rows);
	assert_int_equal(a.shape[1], item->pack.cols);
	assert_ok(vgpu_matrix_bytes(a.format, a.shape[0], a.shape[1], &bytes));
	data = aligned_alloc(64, (bytes + 63) & ~63ull);
	assert_non_null(data);
	assert_int_equal(pread(vgpu_checkpoint_file_fd(packed, 0), data, bytes, (off_t)a.offset),
			 bytes);
	assert_ok(vgpu_matrix_decode(a.format, a.shape[0], a.shape[1], data, is));
	if (memcmp(is, want, count * sizeof(*is)))
		fail_msg("%s: other values", item->name);
	free(data);
	free(want);
	free(is);
}

static void packed_layers_have_the_other_implementations_values(void **state)
{
	struct vgpu_pack_item items[GOLDEN_INT4_CASES];
	struct vgpu_checkpoint *packed;
	struct rig *r = *state;

	for (uint32_t i = 0; i < GOLDEN_INT4_CASES; i++)
		items[i] = item_of(r, &golden_int4_cases[i]);
	assert_ok(vgpu_packed_build(NULL, r->path, items, GOLDEN_INT4_CASES, NULL, NULL));
	assert_ok(vgpu_packed_check(r->path, items, GOLDEN_INT4_CASES));
	assert_int_equal(vgpu_checkpoint_open(r->path, &packed, NULL), 0);
	for (uint32_t i = 0; i < GOLDEN_INT4_CASES; i++)
		check_values(r, packed, &items[i]);
	vgpu_checkpoint_close(packed);
}

/* Scales of fewer columns, repeated, and zero points of 8 that are said. */
static void packed_layers_may_have_a_finer_format(void **state)
{
	struct vgpu_checkpoint *packed;
	struct rig *r = *state;
	struct vgpu_pack_item item = item_named(r, "awq_even_128");

	item.pack.packed_format = VGPU_FORMAT_INT4_Z32_G16;
	assert_ok(vgpu_packed_build(NULL, r->path, &item, 1, NULL, NULL));
	assert_int_equal(vgpu_checkpoint_open(r->path, &packed, NULL), 0);
	check_values(r, packed, &item);
	vgpu_checkpoint_close(packed);
}

/* A file without a name. */
static int open_nameless(const struct rig *r)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/source", r->folder);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	unlink(path);
	return fd;
}

/* ---- more than is packed at a time ---- */

/* Codes are read 32 MiB at a time, and 8 MiB are packed. */
#define LARGE_N		4120u
#define LARGE_K		16384u
#define LARGE_GROUPS	(LARGE_K / 128)

/* Codes, zero points and scales behind each other: any bits, but for scales, which are numbers. */
static uint8_t *large_layer(enum vgpu_int4_scheme scheme, struct vgpu_int4_layer *l,
			    size_t *out_bytes)
{
	size_t codes = (size_t)LARGE_N * LARGE_K / 2, zeros = LARGE_GROUPS * LARGE_N / 2;
	size_t bytes = codes + zeros + LARGE_GROUPS * LARGE_N * 2;
	uint32_t *data = malloc(bytes), random = 99;

	assert_non_null(data);
	for (size_t i = 0; i < bytes / 4; i++) {
		random = random * 1664525u + 1013904223u;
		data[i] = 4 * i < codes + zeros ? random ^ random >> 15 : random & 0xbfffbfffu;
	}
	*l = (struct vgpu_int4_layer){
		.scheme = scheme, .n = LARGE_N, .k = LARGE_K, .group = 128,
		.groups = LARGE_GROUPS, .cols = 128, .zeros = true, .qweight = (uint8_t *)data,
		.qzeros = (uint8_t *)data + codes, .scales = (uint8_t *)data + codes + zeros,
	};
	*out_bytes = bytes;
	return (uint8_t *)data;
}

/* In a file without a name; @data to be freed. */
static struct vgpu_pack_item large_item(const struct rig *r, enum vgpu_int4_scheme scheme,
					struct vgpu_int4_layer *layer, uint8_t **data)
{
	size_t bytes;
	int fd = open_nameless(r);

	*data = large_layer(scheme, layer, &bytes);
	assert_int_equal(pwrite(fd, *data, bytes, 0), bytes);
	return (struct vgpu_pack_item){
		.name = "large", .fd = fd,
		.pack = { .packed_format = VGPU_FORMAT_INT4_Z128_G16, .rows = LARGE_N, .cols = LARGE_K },
		.layer = {
			.scheme = (enum vgpu_pack_scheme)scheme, .group = 128, .zeros_fd = fd,
			.scales_fd = fd, .zeros_offset = (uint64_t)(layer->qzeros - *data),
			.scales_offset = (uint64_t)(layer->scales - *data),
		},
	};
}

static void check_large(const struct rig *r, enum vgpu_int4_scheme scheme)
{
	struct vgpu_checkpoint *packed;
	struct vgpu_int4_layer layer;
	struct vgpu_pack_item item;
	struct vgpu_array a;
	uint8_t *data, *want, *have;
	uint64_t unit;
	size_t bytes;

	item = large_item(r, scheme, &layer, &data);
	assert_ok(vgpu_packed_build(NULL, r->path, &item, 1, NULL, NULL));
	assert_int_equal(vgpu_checkpoint_open(r->path, &packed, NULL), 0);
	assert_ok(vgpu_packed_array(packed, "large", NULL, &a));

	assert_ok(vgpu_matrix_bytes(a.format, 1, LARGE_K, &unit));
	bytes = unit * ((LARGE_N + 15) / 16);
	assert_true(bytes > 32 << 20);
	want = aligned_alloc(64, bytes);
	have = malloc(bytes);
	assert_true(want && have);
	assert_int_equal(vgpu_int4_units(&layer, 0, (LARGE_N + 15) / 16, want, NULL), 0);
	assert_int_equal(pread(vgpu_checkpoint_file_fd(packed, 0), have, bytes, (off_t)a.offset), bytes);
	assert_memory_equal(have, want, bytes);
	vgpu_checkpoint_close(packed);
	close(item.fd);
	free(have);
	free(want);
	free(data);
}

static void packed_layer_may_be_larger_than_what_is_packed_at_a_time(void **state)
{
	const struct rig *r = *state;

	for (int scheme = VGPU_INT4_AWQ; scheme <= VGPU_INT4_GPTQ_V2; scheme++) {
		check_large(r, (enum vgpu_int4_scheme)scheme);
		unlink(r->path);
	}
}

/* ---- products ---- */

#define PRODUCT_ROWS	16u

/* Any numbers of either sign, the same on both sides. */
static float activation(uint32_t row, uint32_t col)
{
	uint32_t x = (row * 977 + col + 1) * 2654435761u;

	return (float)(int32_t)(x ^ x >> 15) / (float)(1u << 31);
}

static double nmse(const float *y, const float *values, uint32_t n, uint32_t k)
{
	double error = 0, power = 0;

	for (uint32_t i = 0; i < PRODUCT_ROWS; i++)
		for (uint32_t j = 0; j < n; j++) {
			double sum = 0;

			for (uint32_t c = 0; c < k; c++)
				sum += (double)activation(i, c) * values[(size_t)j * k + c];
			error += (y[i * n + j] - sum) * (y[i * n + j] - sum);
			power += sum * sum;
		}
	return error / power;
}

/* One product, its weights straight from the packed file. */
static void multiply(struct vgpu *v, const struct vgpu_array *w, float *out)
{
	uint32_t n = w->shape[0], k = w->shape[1];
	struct vgpu_matmul c = { .mode = VGPU_MODE_F32, .w = *w };
	float *row = malloc(k * sizeof(*row));
	struct vgpu_bo *x, *y;
	struct vgpu_cmdbuf *cb;
	struct vgpu_queue *q;

	assert_non_null(row);
	assert_ok(vgpu_bo_create(v, (uint64_t)PRODUCT_ROWS * k * 4, VGPU_LIFE_VOLATILE, &x));
	assert_ok(vgpu_bo_create(v, (uint64_t)PRODUCT_ROWS * n * 4, VGPU_LIFE_VOLATILE, &y));
	for (uint32_t i = 0; i < PRODUCT_ROWS; i++) {
		for (uint32_t j = 0; j < k; j++)
			row[j] = activation(i, j);
		assert_ok(vgpu_bo_write(x, (uint64_t)i * k * 4, row, (uint64_t)k * 4));
	}
	c.x = vgpu_matrix(x, 0, VGPU_FORMAT_F32, PRODUCT_ROWS, k);
	c.y = vgpu_matrix(y, 0, VGPU_FORMAT_F32, PRODUCT_ROWS, n);
	assert_ok(vgpu_queue_create(v, 0, &q));
	assert_ok(vgpu_cmdbuf_create(v, &cb));
	assert_ok(vgpu_cmd_matmul(cb, &c));
	assert_ok(vgpu_finish(q, cb));
	assert_ok(vgpu_bo_read(y, 0, out, (uint64_t)PRODUCT_ROWS * n * 4));
	vgpu_cmdbuf_destroy(cb);
	vgpu_queue_destroy(q);
	vgpu_bo_destroy(x);
	vgpu_bo_destroy(y);
	free(row);
}

/*
 * In F32 alone, with the limit of tests/kernels/int4_layer_test.c: those of rounded activations are for
 * weights of one size, and of these a few are 65504 times a code.
 */
static void check_product(struct rig *r, struct vgpu *v, const struct vgpu_checkpoint *packed,
			  struct vgpu_bo *bo, const char *name)
{
	float *values = values_of(r, name), *y;
	struct vgpu_array w;
	double error;

	assert_ok(vgpu_packed_array(packed, name, bo, &w));
	y = malloc((size_t)PRODUCT_ROWS * w.shape[0] * sizeof(*y));
	assert_non_null(y);
	multiply(v, &w, y);
	error = nmse(y, values, w.shape[0], w.shape[1]);
	if (!(error <= 1e-12))	/* NaN, too */
		fail_msg("%s: NMSE %g", name, error);
	free(values);
	free(y);
}

static void packed_layers_are_operands(void **state)
{
	struct vgpu_config config = { .size = sizeof(config), .host_bytes = 8 << 20, .threads = 2 };
	static const char *const names[] = { "awq_32", "gptq_64", "gptq_v2_128", "awq_all",
					     "gptq_short", "gptq_even_all" };
	struct vgpu_pack_item items[6];
	struct vgpu_checkpoint *packed;
	struct rig *r = *state;
	struct vgpu_bo *bo;
	struct vgpu *v;

	for (uint32_t i = 0; i < 6; i++)
		items[i] = item_named(r, names[i]);
	assert_ok(vgpu_packed_build(NULL, r->path, items, 6, NULL, NULL));
	assert_int_equal(vgpu_checkpoint_open(r->path, &packed, NULL), 0);
	assert_ok(vgpu_open_embedded(&config, &v));
	assert_ok(vgpu_bo_create_file(v, vgpu_checkpoint_file_fd(packed, 0), 0, 0, &bo));
	for (uint32_t i = 0; i < 6; i++)
		check_product(r, v, packed, bo, names[i]);
	vgpu_bo_destroy(bo);
	vgpu_close(v);
	vgpu_checkpoint_close(packed);
}

/* ---- what makes a file stale ---- */

static void packed_layer_that_differs_is_stale(void **state)
{
	struct rig *r = *state;
	struct vgpu_pack_item item = item_named(r, "gptq_64"), other;

	assert_ok(vgpu_packed_build(NULL, r->path, &item, 1, NULL, NULL));
	other = item;
	other.layer.scheme = VGPU_PACK_GPTQ_V2;
	assert_int_equal(vgpu_packed_check(r->path, &other, 1), -ESTALE);
	assert_says("gptq_v2/64");
	other = item;
	other.layer.zeros_offset += 4;
	assert_int_equal(vgpu_packed_check(r->path, &other, 1), -ESTALE);
	other = item;
	other.layer.scales_offset -= 2;
	assert_int_equal(vgpu_packed_check(r->path, &other, 1), -ESTALE);
	other = item;
	other.pack.packed_format = VGPU_FORMAT_INT4_Z32_G16;
	assert_int_equal(vgpu_packed_check(r->path, &other, 1), -ESTALE);
	assert_ok(vgpu_packed_check(r->path, &item, 1));
}

/* Have the scales of an item in a file of their own, to be closed and forgotten. */
static int move_scales(const struct rig *r, struct vgpu_pack_item *item)
{
	const struct vgpu_tensor *t = part(r, item->name, "scales");
	uint8_t *scales = malloc(t->bytes);
	int fd = open_nameless(r);

	assert_non_null(scales);
	assert_int_equal(pread(item->fd, scales, t->bytes, (off_t)t->offset), t->bytes);
	assert_int_equal(pwrite(fd, scales, t->bytes, 0), t->bytes);
	item->layer.scales_fd = fd;
	item->layer.scales_offset = 0;
	free(scales);
	return fd;
}

/* Of a layer in two files both are looked at. */
static void packed_layer_of_another_file_of_scales_is_stale(void **state)
{
	struct rig *r = *state;
	struct vgpu_pack_item item = item_named(r, "awq_64");
	const struct timespec times[2] = { { 1, 0 }, { 1, 0 } };
	int fd = move_scales(r, &item);

	assert_ok(vgpu_packed_build(NULL, r->path, &item, 1, NULL, NULL));
	assert_ok(vgpu_packed_check(r->path, &item, 1));
	assert_int_equal(futimens(fd, times), 0);
	assert_int_equal(vgpu_packed_check(r->path, &item, 1), -ESTALE);
	assert_int_equal(ftruncate(fd, (off_t)part(r, "awq_64", "scales")->bytes - 1), 0);
	assert_int_equal(vgpu_packed_check(r->path, &item, 1), -ERANGE);
	close(fd);
}

/* ---- refusals; teardown sees that nothing is left ---- */

static void refuse(const struct rig *r, const struct vgpu_pack_item *item, int code,
		   const char *text)
{
	assert_int_equal(vgpu_packed_build(NULL, r->path, item, 1, NULL, NULL), code);
	assert_says(text);
	assert_int_equal(access(r->path, F_OK), -1);
}

static void packed_layer_of_other_numbers_is_refused(void **state)
{
	struct rig *r = *state;
	struct vgpu_pack_item good = item_named(r, "awq_64"), item = good;

	item.layer.scheme = (enum vgpu_pack_scheme)3;
	refuse(r, &item, -EINVAL, "awq_64: scheme 3 is not known");
	item = good;
	item.layer.group = 96;
	refuse(r, &item, -EINVAL, "awq_64: scales of 64 columns of int4-z64-g16 do not divide groups of 96");
	item = good;
	item.pack.cols = 160;
	refuse(r, &item, -EINVAL, "and rows of 160");
	item = good;
	item.pack.rows = 12;
	refuse(r, &item, -EINVAL, "a layer is one, its rows a multiple of 8");
	item = good;
	item.pack.stack = 2;
	refuse(r, &item, -EINVAL, "awq_64: 2 matrices of 8 x 192: a layer is one");
	item = good;
	item.pack.rows = (1 << 20) + 8;
	refuse(r, &item, -E2BIG, "the limit of a layer's sides is 1048576");
	item = good;
	item.pack.packed_format = VGPU_FORMAT_INT8_G16;
	refuse(r, &item, -EINVAL, "awq_64: a layer from none to int8-g16");
	item = good;
	item.pack.source_format = VGPU_FORMAT_Q4_0;
	refuse(r, &item, -EINVAL, "awq_64: a layer from q4-0 to int4-z64-g16");
	item = good;
	item.layer.scales_offset = INT64_MAX;
	refuse(r, &item, -ERANGE, "end behind the source");
}

static void packed_layer_of_other_data_is_refused(void **state)
{
	struct rig *r = *state;
	struct vgpu_pack_item item = item_named(r, "awq_64");
	const uint16_t infinite = htole16(0xfc00);
	int fd;

	item.pack.packed_format = VGPU_FORMAT_INT4_64_G16;
	refuse(r, &item, -EDOM, "awq_64: a zero point is not 8, and int4-64-g16 has none");
	item = item_named(r, "awq_128");
	fd = move_scales(r, &item);
	assert_int_equal(pwrite(fd, &infinite, 2, 2 * 11), 2);
	refuse(r, &item, -EDOM, "awq_128: tensor 'scales': the scale of group 1, output 3 is NaN or "
	       "infinite");
	close(fd);
}

/* Beyond what is read first: outputs are counted from there, and the message says so. */
static void packed_layer_names_the_output_of_a_scale_that_is_no_number(void **state)
{
	struct rig *r = *state;
	const uint16_t nan = htole16(0x7e00);
	struct vgpu_int4_layer layer;
	uint8_t *data;
	struct vgpu_pack_item item = large_item(r, VGPU_INT4_GPTQ, &layer, &data);

	assert_int_equal(pwrite(item.fd, &nan, 2, (off_t)item.layer.scales_offset +
				2 * (3 * LARGE_N + 4101)), 2);
	refuse(r, &item, -EDOM, "large, outputs from 4096 on: tensor 'scales': the scale of group 3, "
	       "output 5 is NaN");
	close(item.fd);
	free(data);
}

static int stop(void *arg, uint64_t done, uint64_t total)
{
	uint64_t *seen = arg;

	assert_true(done && done <= total);
	*seen = done;
	return -EINTR;
}

static void packed_layer_may_be_interrupted(void **state)
{
	struct rig *r = *state;
	struct vgpu_pack_item item = item_named(r, "awq_64");
	uint64_t seen = 0;

	assert_int_equal(vgpu_packed_build(NULL, r->path, &item, 1, stop, &seen), -EINTR);
	assert_true(seen > 0);
	assert_int_equal(access(r->path, F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(packed_layers_have_the_other_implementations_values,
						setup, teardown),
		cmocka_unit_test_setup_teardown(packed_layers_may_have_a_finer_format, setup, teardown),
		cmocka_unit_test_setup_teardown(packed_layer_may_be_larger_than_what_is_packed_at_a_time,
						setup, teardown),
		cmocka_unit_test_setup_teardown(packed_layers_are_operands, setup, teardown),
		cmocka_unit_test_setup_teardown(packed_layer_that_differs_is_stale, setup, teardown),
		cmocka_unit_test_setup_teardown(packed_layer_of_another_file_of_scales_is_stale, setup,
						teardown),
		cmocka_unit_test_setup_teardown(packed_layer_of_other_numbers_is_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(packed_layer_of_other_data_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(packed_layer_names_the_output_of_a_scale_that_is_no_number,
						setup, teardown),
		cmocka_unit_test_setup_teardown(packed_layer_may_be_interrupted, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
