// SPDX-License-Identifier: MIT
/* A layer of AWQ or GPTQ: what is taken is read to the end, what is read has a place when packed. */
#include "int4_source.h"

#include <stdlib.h>

#include "kernels/kernels.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_row(const struct vgpu_int4_layer *l, const struct vgpu_int4_rows *rows, uint32_t r)
{
	for (uint32_t c = 0; c < rows->k; c++)
		if (rows->codes[r * rows->ld + c] > 15)
			abort();
	for (uint32_t i = 0; i < rows->k / l->cols; i++)
		if ((rows->scales[r * rows->ld_groups + i] & 0x7c00) == 0x7c00 ||
		    (rows->zeros && rows->zeros[r * rows->ld_groups + i] > 16))
			abort();
}

static void read_layer(const struct vgpu_int4_layer *l)
{
	void *scratch = malloc(vgpu_int4_layer_scratch_bytes(l));
	struct vgpu_int4_rows rows;
	uint32_t seen = 0;

	if (!scratch || l->k % l->cols || l->group % l->cols)
		abort();
	for (uint32_t first = 0; first < l->n; first += VGPU_GROUP_ROWS) {
		vgpu_int4_layer_rows(l, first, scratch, &rows);
		for (uint32_t r = 0; r < rows.rows; r++)
			check_row(l, &rows, r);
		seen += rows.rows;
	}
	if (seen != l->n || rows.k != l->k || !rows.zeros != !l->zeros)
		abort();
	free(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct int4_source s;

	if (!int4_source_draw(&s, data, size))
		read_layer(&s.layer);
	int4_source_free(&s);
	return 0;
}
