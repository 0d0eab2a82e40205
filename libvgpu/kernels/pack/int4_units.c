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

/* One parallel for over some units at a time; a thread has scratch of its own. */
struct units {
	const struct vgpu_kernels *t;
	const struct vgpu_int4_layer *layer;
	uint32_t first, units;
	uint8_t *dst, *scratch;
	size_t unit_bytes, scratch_bytes;
	int error;
};

static void pack_part(void *ctx, size_t i)
{
	struct units *u = ctx;
	uint32_t at = (uint32_t)i * VGPU_INT4_UNITS;
	uint32_t count = u->units - at < VGPU_INT4_UNITS ? u->units - at : VGPU_INT4_UNITS;
	int rc = u->t->pack_int4_layer(u->dst + at * u->unit_bytes, u->layer,
				       (u->first + at) * VGPU_GROUP_ROWS, count,
				       u->scratch + vgpu_pool_self_index() * u->scratch_bytes);

	if (rc)
		__atomic_store_n(&u->error, rc, __ATOMIC_RELAXED);
}

/* Whole lines: no two threads write to one. */
static size_t align64(size_t bytes)
{
	return (bytes + 63) & ~(size_t)63;
}

int vgpu_int4_units(const struct vgpu_int4_layer *layer, uint32_t first, uint32_t units,
		    void *dst, struct vgpu_pool *pool)
{
	enum vgpu_wformat format = (enum vgpu_wformat)vgpu_int4_layer_format(layer);
	struct units u = {
		.t = vgpu_kernels_best(), .layer = layer, .first = first, .units = units, .dst = dst,
		.unit_bytes = vgpu_weight_unit_bytes(format, layer->k),
		.scratch_bytes = align64(vgpu_int4_layer_scratch_bytes(layer)),
	};
	size_t parts = (units + VGPU_INT4_UNITS - 1) / VGPU_INT4_UNITS;

	u.scratch = aligned_alloc(64, (pool ? vgpu_pool_threads(pool) : 1) * u.scratch_bytes);
	if (!u.scratch)
		return -ENOMEM;
	for (size_t i = 0; !pool && i < parts; i++)
		pack_part(&u, i);
	if (pool)
		vgpu_pool_run(pool, pack_part, &u, parts);
	free(u.scratch);
	return u.error;
}
