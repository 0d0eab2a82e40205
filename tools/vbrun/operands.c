// SPDX-License-Identifier: MIT
#include "operands.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/packed_layers.h"
#include "device.h"

static int open_files(struct operands *o, struct vgpu *v, const struct vgpu_checkpoint *ck)
{
	int rc = 0;

	for (size_t i = 0; i < o->file_count && !rc; i++)
		rc = vgpu_bo_create_file(v, vgpu_checkpoint_file_fd(ck, i), 0, 0, &o->files[i]);
	return rc ? rc : device_meet_files(v, o->files, o->file_count);
}

/* Source bytes that are decoded together. */
#define DECODE_BYTES (1u << 20)

static int decode_rows(struct vgpu_bo *bo, int fd, const struct weight *w, uint32_t rows)
{
	uint64_t row_bytes = w->bytes / w->n, count;
	float *values = malloc((uint64_t)rows * w->k * sizeof(*values));
	void *source = malloc(rows * row_bytes);
	int rc = values && source ? 0 : -ENOMEM;

	for (uint32_t row = 0; row < w->n && !rc; row += rows) {
		count = w->n - row < rows ? w->n - row : rows;
		if (pread(fd, source, count * row_bytes, (off_t)(w->offset + row * row_bytes)) !=
		    (ssize_t)(count * row_bytes))
			rc = -EIO;
		if (!rc)
			rc = vgpu_matrix_decode(w->format, (uint32_t)count, w->k, source, values);
		if (!rc)
			rc = vgpu_bo_write(bo, row * w->unit_bytes, values, count * w->unit_bytes);
	}
	free(values);
	free(source);
	return rc;
}

/* What the file holds as F32, in memory: no packing makes that. */
static int open_decoded(struct vgpu *v, int fd, const struct weight *w, struct vgpu_bo **out)
{
	uint64_t rows = DECODE_BYTES / (w->bytes / w->n) + 1;
	int rc = w->experts || w->pack_scales.format ? -EOPNOTSUPP : 0;

	if (!rc)
		rc = vgpu_bo_create(v, w->used_bytes, VGPU_LIFE_VOLATILE, out);
	return rc ? rc : decode_rows(*out, fd, w, (uint32_t)rows);
}

static int open_packed(struct operands *o, struct vgpu *v, const struct vgpu_checkpoint *ck)
{
	int rc = 0;

	for (size_t i = 0; i < o->w->count && !rc; i++) {
		const struct weight *w = &o->w->list[i];
		struct vgpu_pack pack = { w->format, w->used, w->n, w->k, w->experts,
					  w->pack_scales };

		if (w->layer.group)
			rc = packed_layers_bo(v, o->w, w, &o->packed[i]);
		else if (w->used == VGPU_FORMAT_F32 && w->format != VGPU_FORMAT_F32)
			rc = open_decoded(v, vgpu_checkpoint_file_fd(ck, w->file), w, &o->packed[i]);
		else if (w->used != w->format)
			rc = vgpu_bo_create_packed(v, vgpu_checkpoint_file_fd(ck, w->file),
						   w->offset, &pack, &o->packed[i]);
	}
	return rc;
}

int operands_open(struct operands *o, struct vgpu *v, const struct vgpu_checkpoint *ck,
		  const struct weights *w)
{
	int rc;

	*o = (struct operands){ .w = w, .file_count = vgpu_checkpoint_file_count(ck) };
	o->files = calloc(o->file_count, sizeof(*o->files));
	o->packed = calloc(w->count, sizeof(*o->packed));
	if (!o->files || !o->packed)
		return -ENOMEM;
	rc = open_files(o, v, ck);
	return rc ? rc : open_packed(o, v, ck);
}

void operands_close(struct operands *o)
{
	for (size_t i = 0; o->packed && i < o->w->count; i++)
		vgpu_bo_destroy(o->packed[i]);
	for (size_t i = 0; o->files && i < o->file_count; i++)
		vgpu_bo_destroy(o->files[i]);
	free(o->packed);
	free(o->files);
	memset(o, 0, sizeof(*o));
}

struct vgpu_bo *operands_bo(const struct operands *o, const struct weight *w)
{
	struct vgpu_bo *packed = o->packed[w - o->w->list];

	return packed ? packed : o->files[w->file];
}

uint64_t operands_bytes(const struct weight *w, uint32_t rows)
{
	return ((uint64_t)rows + w->unit_rows - 1) / w->unit_rows * w->unit_bytes;
}

uint64_t operands_at(const struct weight *w, uint32_t expert, uint32_t row)
{
	uint64_t at = expert * operands_bytes(w, w->n) + operands_bytes(w, row);

	return w->used == w->format ? w->offset + at : at;
}
