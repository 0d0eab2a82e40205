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

/* Units that are packed together: rows whose words of an input are a line of AWQ's tensor. */
#define PART_UNITS	8u
/* Rows that are longer go by single units, whose copy a cache can hold. */
#define PART_COLS_MAX	16384u

/*
 * One parallel for over parts of some units; a thread has scratch of its own: for a copy of the
 * part, then for rows of it.
 */
struct units {
	const struct vgpu_kernels *t;
	const struct vgpu_int4_layer *layer;
	enum vgpu_wformat format;
	uint32_t first, units, part_units;
	uint8_t *dst, *scratch;
	size_t unit_bytes, scratch_bytes, rows_at;
	int error;
};

static void pack_part(void *ctx, size_t i)
{
	struct units *u = ctx;
	uint8_t *scratch = u->scratch + vgpu_pool_self_index() * u->scratch_bytes;
	uint32_t at = (uint32_t)i * u->part_units, row = (u->first + at) * VGPU_GROUP_ROWS;
	uint32_t count = u->units - at < u->part_units ? u->units - at : u->part_units;
	uint32_t rows = count * VGPU_GROUP_ROWS;
	struct vgpu_int4_layer part;
	struct vgpu_int4_rows group;
	int rc = 0;

	rows = rows < u->layer->n - row ? rows : u->layer->n - row;
	vgpu_int4_layer_part(u->layer, row, rows, scratch, &part);
	for (uint32_t j = 0; j < count && !rc; j++) {
		vgpu_int4_layer_rows(&part, j * VGPU_GROUP_ROWS, scratch + u->rows_at, &group);
		rc = u->t->pack_int4(u->dst + (at + j) * u->unit_bytes, u->format, &group);
	}
	if (rc)
		__atomic_store_n(&u->error, rc, __ATOMIC_RELAXED);
}

/* Whole lines: no two threads write to one. */
static size_t align64(size_t bytes)
{
	return (bytes + 63) & ~(size_t)63;
}

int vgpu_int4_units(const struct vgpu_int4_layer *layer, uint32_t format, uint32_t first,
		    uint32_t units, void *dst, struct vgpu_pool *pool)
{
	struct units u = {
		.t = vgpu_kernels_best(), .layer = layer, .format = (enum vgpu_wformat)format,
		.first = first, .units = units, .dst = dst,
		.part_units = layer->k > PART_COLS_MAX ? 1 : PART_UNITS,
		.unit_bytes = vgpu_weight_unit_bytes((enum vgpu_wformat)format, layer->k),
	};
	size_t parts = (units + u.part_units - 1) / u.part_units;

	u.rows_at = align64(vgpu_int4_layer_part_bytes(layer, u.part_units * VGPU_GROUP_ROWS));
	u.scratch_bytes = u.rows_at + align64(vgpu_int4_layer_scratch_bytes(layer));
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
