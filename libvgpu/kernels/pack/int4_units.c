// SPDX-License-Identifier: MIT
#include "kernels/pack/int4_units.h"

#include <errno.h>
#include <stdlib.h>

#include "kernels/kernels.h"
#include "kernels/pack/g16_type.h"
#include "kernels/pool.h"

bool vgpu_int4_format(uint32_t format, uint32_t *cols, bool *zeros)
{
	const struct vgpu_g16_type *type = vgpu_g16_type((enum vgpu_wformat)format);

	if (!type || type->bits != 4 ||
	    (type->header != VGPU_HEADER_F16 && type->header != VGPU_HEADER_F16_ZERO))
		return false;
	*cols = vgpu_g16_scale_cols(type);
	*zeros = type->header == VGPU_HEADER_F16_ZERO;
	return true;
}

/* One parallel for over units; a thread has scratch of its own. */
struct units {
	const struct vgpu_kernels *t;
	const struct vgpu_int4_layer *layer;
	enum vgpu_wformat format;
	uint32_t first;
	uint8_t *dst, *scratch;
	size_t unit_bytes, scratch_bytes;
	int error;
};

static void pack_unit(void *ctx, size_t i)
{
	struct units *u = ctx;
	uint8_t *scratch = u->scratch + vgpu_pool_self_index() * u->scratch_bytes;
	struct vgpu_int4_rows rows;
	int rc;

	vgpu_int4_layer_rows(u->layer, (u->first + (uint32_t)i) * VGPU_GROUP_ROWS, scratch, &rows);
	rc = u->t->pack_int4(u->dst + i * u->unit_bytes, u->format, &rows);
	if (rc)
		__atomic_store_n(&u->error, rc, __ATOMIC_RELAXED);
}

int vgpu_int4_units(const struct vgpu_int4_layer *layer, uint32_t format, uint32_t first,
		    uint32_t units, void *dst, struct vgpu_pool *pool)
{
	struct units u = {
		.t = vgpu_kernels_best(), .layer = layer, .format = (enum vgpu_wformat)format,
		.first = first, .dst = dst,
		.unit_bytes = vgpu_weight_unit_bytes((enum vgpu_wformat)format, layer->k),
		/* Whole lines: no two threads write to one. */
		.scratch_bytes = (vgpu_int4_layer_scratch_bytes(layer) + 63) & ~(size_t)63,
	};

	u.scratch = aligned_alloc(64, (pool ? vgpu_pool_threads(pool) : 1) * u.scratch_bytes);
	if (!u.scratch)
		return -ENOMEM;
	for (uint32_t i = 0; !pool && i < units; i++)
		pack_unit(&u, i);
	if (pool)
		vgpu_pool_run(pool, pack_unit, &u, units);
	free(u.scratch);
	return u.error;
}
