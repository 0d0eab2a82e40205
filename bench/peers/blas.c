// SPDX-License-Identifier: MIT
/* OpenBLAS, in this process. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../rotation.h"
#include "peer.h"

enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };

static struct {
	void (*gemm)(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a,
		     int lda, const float *b, int ldb, float beta, float *c, int ldc);
	void (*gemv)(int order, int ta, int m, int n, float alpha, const float *a, int lda,
		     const float *x, int incx, float beta, float *y, int incy);
	void (*set_threads)(int threads);
	struct peer_weights shape;
	struct rotation w;
	float *x, *y;		/* of @m rows */
	uint32_t m;
} blas;

/* Function pointers through memcpy: ISO C has no cast from an object pointer. */
static bool symbol(void *handle, const char *name, void *out)
{
	void *found = dlsym(handle, name);

	memcpy(out, &found, sizeof(found));
	return found;
}

/*
 * OpenBLAS takes a CPU that is younger than itself for one of 2004; name a core that
 * it knows and this CPU can run, unless the user has.
 */
static void choose_core(void)
{
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"))
		setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
	else if (__builtin_cpu_supports("avx2"))
		setenv("OPENBLAS_CORETYPE", "Haswell", 0);
}

static bool blas_open(struct peer *peer)
{
	char *(*core_name)(void);
	void *handle;

	choose_core();
	handle = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
	if (!handle || !symbol(handle, "cblas_sgemm", &blas.gemm) ||
	    !symbol(handle, "cblas_sgemv", &blas.gemv) ||
	    !symbol(handle, "openblas_set_num_threads", &blas.set_threads) ||
	    !symbol(handle, "openblas_get_corename", &core_name)) {
		printf("SKIP: no peer OpenBLAS, libopenblas.so.0 cannot be loaded\n");
		return false;
	}
	snprintf(peer->form, sizeof(peer->form), "core %s", core_name());
	return true;
}

static void fill(float *v, size_t count)
{
	for (size_t i = 0; i < count; i++)
		v[i] = (float)((int)(i * 2654435761u >> 7) % 1000) / 500.f - 1;
}

static bool blas_weights(struct peer *peer, const struct peer_weights *w)
{
	size_t bytes = (size_t)w->n * w->k * sizeof(float);

	(void)peer;
	if (blas.w.data && blas.shape.n == w->n && blas.shape.k == w->k &&
	    blas.shape.rotate == w->rotate)
		return true;
	bench_free(blas.w.data);
	blas.shape = *w;
	if (!rotation_init(&blas.w, bytes, w->rotate)) {
		printf("SKIP: no memory for the weights of OpenBLAS\n");
		return false;
	}
	fill((float *)blas.w.data, bytes / sizeof(float));
	rotation_fill(&blas.w);
	blas.m = 0;
	return true;
}

/* As long as the longer side: products go both ways. */
static bool rows(uint32_t m)
{
	uint32_t cols = blas.shape.n > blas.shape.k ? blas.shape.n : blas.shape.k;
	size_t bytes = (size_t)m * cols * sizeof(float);

	if (m == blas.m)
		return true;
	bench_free(blas.x);
	bench_free(blas.y);
	blas.x = bench_alloc(bytes);
	blas.y = bench_alloc(bytes);
	if (!blas.x || !blas.y)
		return false;
	fill(blas.x, bytes / sizeof(float));
	blas.m = m;
	return true;
}

static void product(int m, const float *w)
{
	int n = (int)blas.shape.n, k = (int)blas.shape.k;

	if (m == 1)
		blas.gemv(ROW_MAJOR, NO_TRANS, n, k, 1, w, k, blas.x, 1, 0, blas.y, 1);
	else
		blas.gemm(ROW_MAJOR, NO_TRANS, TRANS, m, n, k, 1, blas.x, k, w, k, 0, blas.y, n);
}

static void product_left(int m, const float *w)
{
	int n = (int)blas.shape.n, k = (int)blas.shape.k;

	if (m == 1)
		blas.gemv(ROW_MAJOR, TRANS, n, k, 1, w, k, blas.x, 1, 0, blas.y, 1);
	else
		blas.gemm(ROW_MAJOR, NO_TRANS, NO_TRANS, m, k, n, 1, blas.x, n, w, k, 0, blas.y, k);
}

static double time_of(void (*one)(int m, const float *w), struct peer_product p, uint32_t products)
{
	double start;

	if (!rows(p.m)) {
		printf("SKIP: no memory for %u rows of OpenBLAS\n", p.m);
		return 0;
	}
	blas.set_threads((int)p.threads);
	start = bench_seconds();
	for (uint32_t i = 0; i < products; i++)
		one((int)p.m, (const float *)rotation_copy(&blas.w, i));
	blas.w.next += products;
	return (bench_seconds() - start) / products;
}

static double blas_time(struct peer *peer, struct peer_product p, uint32_t products)
{
	(void)peer;
	return time_of(product, p, products);
}

static double blas_left(struct peer *peer, struct peer_product p, uint32_t products)
{
	(void)peer;
	return time_of(product_left, p, products);
}

struct peer peer_blas = {
	.name = "openblas-f32", .open = blas_open, .weights = blas_weights, .time = blas_time,
	.left = blas_left,
};
