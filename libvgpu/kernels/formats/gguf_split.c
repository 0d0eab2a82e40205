// SPDX-License-Identifier: MIT
#include "kernels/formats/gguf_split.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kernels/formats/error.h"

/* An integer of any width, not negative; @out stays when the key is not there. */
static int take_number(const struct vgpu_table *table, const char *key, uint64_t limit,
		       uint32_t *out, struct vgpu_error *err)
{
	for (size_t i = 0; i < table->meta_count; i++) {
		const struct vgpu_meta *m = &table->metas[i];
		bool is_signed = m->type == VGPU_META_I8 || m->type == VGPU_META_I16 ||
				 m->type == VGPU_META_I32 || m->type == VGPU_META_I64;
		bool is_unsigned = m->type == VGPU_META_U8 || m->type == VGPU_META_U16 ||
				   m->type == VGPU_META_U32 || m->type == VGPU_META_U64;
		uint64_t value = is_signed ? (uint64_t)m->i : m->u;

		if (strcmp(m->key, key))
			continue;
		if (!is_signed && !is_unsigned)
			return vgpu_error_set(err, -EINVAL, "%s has type %d, which is no integer", key,
					      m->type);
		if (value > limit)
			return vgpu_error_set(err, -E2BIG, "%s %" PRId64 " exceeds the limit %" PRIu64,
					      key, (int64_t)value, limit);
		*out = (uint32_t)value;
	}
	return 0;
}

int vgpu_gguf_split(const struct vgpu_table *table, struct vgpu_gguf_split *out,
		    struct vgpu_error *err)
{
	int rc;

	*out = (struct vgpu_gguf_split){ .count = 1 };
	rc = take_number(table, "split.count", VGPU_GGUF_SPLIT_MAX, &out->count, err);
	if (!rc)
		rc = take_number(table, "split.no", UINT16_MAX, &out->part, err);
	if (!rc)
		rc = take_number(table, "split.tensors.count", VGPU_TABLE_MAX_TENSORS,
				 &out->tensors, err);
	if (rc)
		return rc;
	/* Some writers say 0 of a model in one file. */
	if (!out->count)
		out->count = 1;
	if (out->part >= out->count)
		return vgpu_error_set(err, -EINVAL, "split.no %u is not below split.count %u",
				      out->part, out->count);
	return 0;
}

int vgpu_gguf_split_path(const char *path, const struct vgpu_gguf_split *split, uint32_t part,
			 char **out, struct vgpu_error *err)
{
	char end[32];
	size_t length = strlen(path), tail;

	tail = (size_t)snprintf(end, sizeof(end), "-%05u-of-%05u.gguf", split->part + 1,
				split->count);
	if (length < tail || strcmp(path + length - tail, end))
		return vgpu_error_set(err, -EINVAL,
				      "is part %u of %u, but its name does not end in %s",
				      split->part + 1, split->count, end);
	if (asprintf(out, "%.*s-%05u-of-%05u.gguf", (int)(length - tail), path, part + 1,
		     split->count) < 0) {
		*out = NULL;
		return vgpu_error_set(err, -ENOMEM, "out of memory");
	}
	return 0;
}
