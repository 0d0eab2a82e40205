// SPDX-License-Identifier: MIT
#include "operands.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"

static int open_files(struct operands *o, struct vgpu *v, const struct vgpu_checkpoint *ck)
{
	int rc = 0;

	for (size_t i = 0; i < o->file_count && !rc; i++)
		rc = vgpu_bo_create_file(v, vgpu_checkpoint_file_fd(ck, i), 0, 0, &o->files[i]);
	return rc ? rc : device_meet_files(v, o->files, o->file_count);
}

static int open_packed(struct operands *o, struct vgpu *v, const struct vgpu_checkpoint *ck)
{
	int rc = 0;

	for (size_t i = 0; i < o->w->count && !rc; i++) {
		const struct weight *w = &o->w->list[i];
		struct vgpu_pack pack = { w->format, w->used, w->n, w->k, w->experts,
					  w->pack_scales };

		if (w->used != w->format)
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
