// SPDX-License-Identifier: MIT
/*
 * oneDNN, in this process: its matmul primitive with weights that lie as it wants them.
 *
 * F32 x F32, BF16 x BF16, and INT8 x INT8 with one scale for all.  Activations come in f32 and
 * become what the product takes by a reorder, each time.
 *
 * Only the library is needed, version 2: what it passes by value through its headers is never
 * looked into here, so room for it is enough, and these are the numbers of its enumerations.
 */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "../rotation.h"
#include "peer.h"

enum { VERSION = 2, CPU = 1, IN_ORDER = 1 };
enum { BF16 = 2, F32 = 3, S8 = 5 };
enum { ANY = 1, ROWS = 3, COLUMNS = 22 };	/* a matrix by rows, and its transpose */
enum { QUERY_NAME = 8, QUERY_SRC = 129, QUERY_WEIGHTS = 131 };
enum { ARG_SRC = 1, ARG_DST = 17, ARG_WEIGHTS = 33 };

/* A memory or an operation descriptor; the largest takes 2800 bytes. */
struct desc {
	_Alignas(16) unsigned char room[8192];
};

struct arg {
	int index;
	void *memory;
};

/* All return 0, or what failed. */
static struct {
	const int *(*version)(void);
	int (*engine_create)(void **engine, int kind, size_t index);
	int (*stream_create)(void **stream, void *engine, unsigned int flags);
	int (*stream_wait)(void *stream);
	int (*memory_desc_init_by_tag)(struct desc *d, int dims, const int64_t *dim, int type,
				       int tag);
	size_t (*memory_desc_get_size)(const void *d);
	int (*memory_desc_equal)(const void *a, const void *b);
	int (*memory_create)(void **memory, const void *d, void *engine, void *data);
	int (*memory_set_data_handle)(void *memory, void *data);
	int (*memory_destroy)(void *memory);
	int (*matmul_desc_init)(struct desc *op, const struct desc *src, const struct desc *weights,
				const struct desc *bias, const struct desc *dst);
	int (*reorder_primitive_desc_create)(void **pd, const void *src, void *src_engine,
					     const void *dst, void *dst_engine, void *attr);
	int (*primitive_desc_create)(void **pd, const struct desc *op, void *attr, void *engine,
				     void *hint);
	const void *(*primitive_desc_query_md)(void *pd, int what, int index);
	int (*primitive_desc_query)(void *pd, int what, int index, void *result);
	int (*primitive_desc_destroy)(void *pd);
	int (*primitive_attr_create)(void **attr);
	int (*primitive_attr_set_output_scales)(void *attr, int64_t count, int mask,
						const float *scale);
	int (*primitive_attr_destroy)(void *attr);
	int (*primitive_create)(void **primitive, void *pd);
	int (*primitive_execute)(void *primitive, void *stream, int count, const struct arg *args);
	int (*primitive_destroy)(void *primitive);
	void (*set_threads)(int threads);
} dnnl;

/* An operand: what it is, where it lies. */
struct operand {
	void *memory, *data;
};

static struct {
	void *engine, *stream;
	struct peer_weights shape;
	int type;			/* of the weights, and of what they are multiplied with */
	struct peer_product made;	/* whom the rest is for; m 0: nobody */
	void *matmul, *convert;		/* convert: x to src; NULL: src is not used, x serves */
	struct operand x, src, y;
	void *weights;			/* of a copy of w */
	struct rotation w;
} one;

/* Function pointers through memcpy: ISO C has no cast from an object pointer. */
static bool symbol(void *handle, const char *name, void *out)
{
	void *found = dlsym(handle, name);

	memcpy(out, &found, sizeof(found));
	return found;
}

#define NEED(handle, name) symbol(handle, "dnnl_" #name, &dnnl.name)

static bool symbols(void *h)
{
	return NEED(h, version) && NEED(h, engine_create) && NEED(h, stream_create) &&
	       NEED(h, stream_wait) && NEED(h, memory_desc_init_by_tag) &&
	       NEED(h, memory_desc_get_size) && NEED(h, memory_desc_equal) &&
	       NEED(h, memory_create) && NEED(h, memory_set_data_handle) &&
	       NEED(h, memory_destroy) && NEED(h, matmul_desc_init) &&
	       NEED(h, reorder_primitive_desc_create) &&
	       NEED(h, primitive_desc_create) && NEED(h, primitive_desc_query_md) &&
	       NEED(h, primitive_desc_query) && NEED(h, primitive_desc_destroy) &&
	       NEED(h, primitive_attr_create) && NEED(h, primitive_attr_set_output_scales) &&
	       NEED(h, primitive_attr_destroy) && NEED(h, primitive_create) &&
	       NEED(h, primitive_execute) && NEED(h, primitive_destroy) &&
	       symbol(h, "omp_set_num_threads", &dnnl.set_threads);
}

static bool onednn_open(struct peer *peer)
{
	void *handle = dlopen("libdnnl.so.2", RTLD_NOW | RTLD_LOCAL);

	(void)peer;
	if (!handle || !symbols(handle) || dnnl.version()[0] != VERSION) {
		printf("SKIP: no peer oneDNN, libdnnl.so.2 cannot be loaded\n");
		return false;
	}
	if (dnnl.engine_create(&one.engine, CPU, 0) ||
	    dnnl.stream_create(&one.stream, one.engine, IN_ORDER)) {
		printf("SKIP: no peer oneDNN, it has no engine here\n");
		return false;
	}
	return true;
}

static void operand_free(struct operand *o)
{
	if (o->memory)
		dnnl.memory_destroy(o->memory);
	bench_free(o->data);
	*o = (struct operand){ NULL, NULL };
}

static void forget(void)
{
	operand_free(&one.x);
	operand_free(&one.src);
	operand_free(&one.y);
	if (one.weights)
		dnnl.memory_destroy(one.weights);
	if (one.matmul)
		dnnl.primitive_destroy(one.matmul);
	if (one.convert)
		dnnl.primitive_destroy(one.convert);
	bench_free(one.w.data);
	one.weights = one.matmul = one.convert = NULL;
	one.w.data = NULL;
	one.made.m = 0;
}

static bool onednn_weights(struct peer *peer, const struct peer_weights *w)
{
	(void)peer;
	forget();
	one.shape = *w;
	if (!strcmp(w->type, "f32")) {
		one.type = F32;
	} else if (!strcmp(w->type, "bf16")) {
		one.type = BF16;
	} else if (!strcmp(w->type, "q8_0") && w->bytes) {
		one.type = S8;
	} else {
		printf("SKIP: no peer oneDNN for %s: it has no such weights\n", w->type);
		return false;
	}
	return true;
}

/* --- what is multiplied --- */

static float activation(size_t i)
{
	return (float)((i * 2654435761u >> 7) % 1001) / 500.f - 1;
}

static int code(size_t i)
{
	return (int)(((i + 1) * 2246822519u >> 9) % 255) - 127;
}

/* Element i of the weights, which all types hold. */
static void weight_store(void *data, size_t i)
{
	float value = (float)code(i);

	if (one.type == S8)
		((int8_t *)data)[i] = (int8_t)code(i);
	else if (one.type == F32)
		((float *)data)[i] = value;
	else
		memcpy((uint8_t *)data + 2 * i, (uint8_t *)&value + 2, 2);
}

/* --- its objects --- */

static bool describe(struct desc *d, uint32_t rows, uint32_t cols, int type, int tag)
{
	const int64_t dims[12] = { rows, cols };

	return !dnnl.memory_desc_init_by_tag(d, 2, dims, type, tag);
}

static bool operand_take(struct operand *o, const void *d)
{
	o->data = bench_alloc(dnnl.memory_desc_get_size(d));
	return o->data && !dnnl.memory_create(&o->memory, d, one.engine, o->data);
}

/* The values of one memory, times scale, in the form of another. */
static void *converter(const void *from, const void *to, float scale)
{
	void *attr = NULL, *pd = NULL, *primitive = NULL;

	if (!dnnl.primitive_attr_create(&attr) &&
	    !dnnl.primitive_attr_set_output_scales(attr, 1, 0, &scale) &&
	    !dnnl.reorder_primitive_desc_create(&pd, from, one.engine, to, one.engine, attr)) {
		if (dnnl.primitive_create(&primitive, pd))
			primitive = NULL;
		dnnl.primitive_desc_destroy(pd);
	}
	if (attr)
		dnnl.primitive_attr_destroy(attr);
	return primitive;
}

static bool convert(void *primitive, void *from, void *to)
{
	const struct arg args[] = { { ARG_SRC, from }, { ARG_DST, to } };

	return !dnnl.primitive_execute(primitive, one.stream, 2, args);
}

/* The weights by rows, brought into the form that the product wants. */
static bool weights_take(const void *wanted)
{
	size_t count = (size_t)one.shape.n * one.shape.k;
	struct operand plain = { NULL, NULL };
	struct desc d;
	void *primitive = NULL;
	bool ok = false;

	if (!rotation_init(&one.w, dnnl.memory_desc_get_size(wanted), one.shape.rotate) ||
	    dnnl.memory_create(&one.weights, wanted, one.engine, one.w.data))
		return false;
	if (describe(&d, one.shape.k, one.shape.n, one.type, COLUMNS) && operand_take(&plain, &d)) {
		for (size_t i = 0; i < count; i++)
			weight_store(plain.data, i);
		primitive = converter(&d, wanted, 1);
		ok = primitive && convert(primitive, plain.memory, one.weights) &&
		     !dnnl.stream_wait(one.stream);
	}
	if (primitive)
		dnnl.primitive_destroy(primitive);
	operand_free(&plain);
	rotation_fill(&one.w);
	return ok;
}

static bool operands_take(void *pd, const struct desc *x, const struct desc *y)
{
	const void *src = dnnl.primitive_desc_query_md(pd, QUERY_SRC, 0);

	if (!operand_take(&one.x, x) || !operand_take(&one.y, y) ||
	    !weights_take(dnnl.primitive_desc_query_md(pd, QUERY_WEIGHTS, 0)))
		return false;
	for (size_t i = 0; i < (size_t)one.made.m * one.shape.k; i++)
		((float *)one.x.data)[i] = activation(i);
	if (dnnl.memory_desc_equal(x, src))
		return true;
	one.convert = converter(x, src, one.type == S8 ? 127 : 1);
	return one.convert && operand_take(&one.src, src);
}

/* Everything for products of so many rows. */
static bool make(struct peer *peer, struct peer_product p)
{
	const float scale = one.type == S8 ? 1.f / 127 : 1;
	struct desc x, src, weights, y, op;
	void *attr = NULL, *pd = NULL;
	const char *name = "";
	bool ok = false;

	forget();
	one.made = p;
	dnnl.set_threads((int)p.threads);
	if (describe(&x, p.m, one.shape.k, F32, ROWS) &&
	    describe(&src, p.m, one.shape.k, one.type, ANY) &&
	    describe(&weights, one.shape.k, one.shape.n, one.type, ANY) &&
	    describe(&y, p.m, one.shape.n, F32, ROWS) &&
	    !dnnl.matmul_desc_init(&op, &src, &weights, NULL, &y) &&
	    !dnnl.primitive_attr_create(&attr) &&
	    !dnnl.primitive_attr_set_output_scales(attr, 1, 0, &scale) &&
	    !dnnl.primitive_desc_create(&pd, &op, attr, one.engine, NULL)) {
		dnnl.primitive_desc_query(pd, QUERY_NAME, 0, &name);
		snprintf(peer->form, sizeof(peer->form), "%d.%d %s", dnnl.version()[0],
			 dnnl.version()[1], name);
		ok = operands_take(pd, &x, &y) && !dnnl.primitive_create(&one.matmul, pd);
		dnnl.primitive_desc_destroy(pd);
	}
	if (attr)
		dnnl.primitive_attr_destroy(attr);
	return ok;
}

/* --- products --- */

static bool product(uint32_t turn)
{
	const struct arg args[] = {
		{ ARG_SRC, one.convert ? one.src.memory : one.x.memory },
		{ ARG_WEIGHTS, one.weights }, { ARG_DST, one.y.memory },
	};

	return (!one.convert || convert(one.convert, one.x.memory, one.src.memory)) &&
	       !dnnl.memory_set_data_handle(one.weights, (void *)rotation_copy(&one.w, turn)) &&
	       !dnnl.primitive_execute(one.matmul, one.stream, 3, args);
}

/* The last result of the last row, within what 8 bits can do. */
static bool is_right(void)
{
	size_t k = one.shape.k, row = one.made.m - 1, column = one.shape.n - 1;
	double sum = 0, size = 0;

	for (size_t i = 0; i < k; i++) {
		double p = (double)activation(row * k + i) * code(column * k + i);

		sum += p;
		size += p * p;
	}
	return fabs(((float *)one.y.data)[row * one.shape.n + column] - sum) < 0.05 * sqrt(size);
}

static double onednn_time(struct peer *peer, struct peer_product p, uint32_t products)
{
	bool fresh = one.made.m != p.m || one.made.threads != p.threads, ok = true;
	double start;

	if (fresh && (!make(peer, p) || !product(0) || dnnl.stream_wait(one.stream) ||
		      !is_right())) {
		printf("SKIP: no product of %u rows by oneDNN\n", p.m);
		forget();
		return 0;
	}
	start = bench_seconds();
	for (uint32_t i = 0; i < products && ok; i++)
		ok = product(i);
	ok = ok && !dnnl.stream_wait(one.stream);
	one.w.next += products;
	return ok ? (bench_seconds() - start) / products : 0;
}

struct peer peer_onednn = {
	.name = "onednn", .open = onednn_open, .weights = onednn_weights, .time = onednn_time,
};
