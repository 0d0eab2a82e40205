// SPDX-License-Identifier: MIT
#include "common/weight_int4.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/sibling.h"
#include "kernels/formats/int4_layer.h"

enum part { CODES, ZEROS, SCALES, ORDER, PARTS };

static const char *const ends[PARTS] = { ".qweight", ".qzeros", ".scales", ".g_idx" };

/* The tensor whose name ends in @to where that of @t ends in @from, or NULL. */
static const struct vgpu_tensor *part_of(const struct vgpu_checkpoint *ck,
					 const struct vgpu_tensor *t, enum part from, enum part to)
{
	return sibling_find(ck, t->name, ends[from], ends[to]);
}

const struct vgpu_tensor *weight_int4_codes(const struct vgpu_checkpoint *ck,
					    const struct vgpu_tensor *t)
{
	for (enum part i = 0; i < PARTS; i++) {
		const struct vgpu_tensor *codes = part_of(ck, t, i, CODES);

		if (codes && codes->dtype == VGPU_DTYPE_I32 && part_of(ck, t, i, SCALES))
			return codes;
	}
	return NULL;
}

/* --- what decides --- */

/* The bytes of a tensor, to be freed; NULL with @err set. */
static void *read_tensor(const struct vgpu_checkpoint *ck, const struct vgpu_tensor *t,
			 struct vgpu_error *err)
{
	int fd = vgpu_checkpoint_file_fd(ck, t->file);
	uint8_t *data = malloc(t->bytes + 1);
	uint64_t done = 0;
	ssize_t n = data ? 1 : 0;

	for (; done < t->bytes && n > 0; done += n > 0 ? (uint64_t)n : 0)
		n = pread(fd, data + done, t->bytes - done, (off_t)(t->offset + done));
	if (data && done == t->bytes)
		return data;
	snprintf(err->text, sizeof(err->text), "tensor '%.80s': %s", t->name,
		 !data ? "out of memory" : n ? strerror(errno) : "the file became shorter");
	free(data);
	return NULL;
}

static int look(const struct vgpu_checkpoint *ck, const struct vgpu_tensor *const tensors[PARTS],
		const struct int4_settings *settings, struct vgpu_int4_layer *out,
		struct vgpu_error *err)
{
	struct vgpu_int4_source src = {
		.scheme = (enum vgpu_int4_scheme)settings->scheme, .bits = settings->bits,
		.group = settings->group, .desc_act = settings->desc_act,
	};
	struct vgpu_int4_part *parts[PARTS] = { &src.qweight, &src.qzeros, &src.scales, &src.g_idx };
	void *data[PARTS] = { NULL };
	int rc = 0;

	for (enum part i = 0; i < PARTS && !rc; i++) {
		if (i != CODES && tensors[i]) {
			data[i] = read_tensor(ck, tensors[i], err);
			rc = data[i] ? 0 : -EIO;
		}
		/* The codes are not read here; there must be something where they would be. */
		*parts[i] = (struct vgpu_int4_part){ tensors[i], i == CODES ? ends : data[i] };
	}
	if (!rc)
		rc = vgpu_int4_layer_init(out, &src, err);
	for (enum part i = 0; i < PARTS; i++)
		free(data[i]);
	return rc;
}

/* Of the codes without their name, which stands before it already. */
static void put_reason(const struct vgpu_tensor *codes, const char *text, char *why, size_t len)
{
	char name[100];
	size_t length = (size_t)snprintf(name, sizeof(name), "tensor '%.80s': ", codes->name);

	snprintf(why, len, "%s", strncmp(text, name, length) ? text : text + length);
}

bool weight_int4_take(const struct vgpu_checkpoint *ck, const struct vgpu_tensor *codes,
		      const struct int4_settings *settings, struct weight *out, char *why,
		      size_t len)
{
	static const char *const types[] = { "AWQ", "GPTQ", "GPTQ v2" };
	const struct vgpu_tensor *tensors[PARTS] = { codes };
	struct vgpu_error err = { 0 };
	struct vgpu_int4_layer layer;

	for (enum part i = ZEROS; i < PARTS; i++)
		tensors[i] = part_of(ck, codes, CODES, i);
	if (look(ck, tensors, settings, &layer, &err)) {
		put_reason(codes, err.text, why, len);
		return false;
	}
	*out = (struct weight){
		.name = codes->name, .type = types[settings->scheme],
		.used = (enum vgpu_format)vgpu_int4_layer_format(&layer),
		.n = layer.n, .k = layer.k, .file = codes->file, .offset = codes->offset,
		.layer = {
			.scheme = settings->scheme, .group = layer.group,
			.zeros_fd = vgpu_checkpoint_file_fd(ck, tensors[ZEROS]->file),
			.scales_fd = vgpu_checkpoint_file_fd(ck, tensors[SCALES]->file),
			.zeros_offset = tensors[ZEROS]->offset,
			.scales_offset = tensors[SCALES]->offset,
		},
	};
	for (enum part i = 0; i < PARTS; i++)
		out->bytes += tensors[i] ? tensors[i]->bytes : 0;
	return true;
}
