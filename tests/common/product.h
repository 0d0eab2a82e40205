/* SPDX-License-Identifier: MIT */
/* A product to check: what goes in, what the mode makes of it, what comes out. */
#ifndef TESTS_COMMON_PRODUCT_H
#define TESTS_COMMON_PRODUCT_H

#include "common/weights_draw.h"
#include "kernels/check.h"

/* Products have one level more than other kernels. */
#define PRODUCT_LEVELS(test)	CHECK_LEVELS(test), CHECK_LEVEL(test, AMX)

/* Weights as bytes and decoded, activations as given and as rounded. */
struct product {
	struct vgpu_panel w;
	uint8_t *data, *scales;
	float *wf;		/* [n][k] */
	float *x;		/* [m][k] */
	double *xr;		/* [m][k], what the mode makes of x */
	float *y;		/* [m][n] */
	uint32_t m;
};

/* Draws the weights first, then the activations, all Gaussian or of random blocks. */
void product_init(struct product *p, enum vgpu_wformat format, uint32_t m, uint32_t n,
		  uint32_t k, uint64_t *rng);
/* The same with blocks that all have one scale. */
void product_init_even(struct product *p, enum vgpu_wformat format, uint32_t m, uint32_t n,
		       uint32_t k, uint64_t *rng);
void product_free(struct product *p);

/* Fills xr: the activations as a mode of a level rounds them. */
void product_round(struct product *p, enum vgpu_isa isa, enum vgpu_mode mode);
/* Nearest value of 8 significant bits, ties to even. */
double product_round_bf16(double x);
/* A group of n as A8 rounds it. */
void product_round_a8(double *out, const float *x, uint32_t n);

/* y = product of the first m rows of activations by one panel. */
void product_run(const struct vgpu_kernels *t, const struct vgpu_panel *w, enum vgpu_mode mode,
		 const float *x, uint32_t m, float *y, size_t ldy);

/* NMSE of y against float64 on xr; fails where an element leaves @bound times |a||w|. */
double product_nmse(const struct product *p, double bound);
/* The same bits, and NaN where NaN is. */
bool product_is_same(const float *a, const float *b, size_t n);

#endif
