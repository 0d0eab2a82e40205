// SPDX-License-Identifier: MIT
#include "common/packed_layers.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cache.h"
#include "common/cli.h"
#include "common/fnv.h"
#include "common/progress.h"

static bool is_layer(const struct weight *w)
{
	return w->layer.group;
}

uint64_t packed_layers_bytes(const struct weights *w)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < w->count; i++)
		bytes += is_layer(&w->list[i]) ? w->list[i].used_bytes : 0;
	return bytes;
}

/*
 * Named after the folder, for "model.safetensors" is every model's; and after where that
 * is, for models of the same name have files of their own.
 */
static int file_path(const struct vgpu_checkpoint *ck, char *out, size_t len)
{
	const char *path = vgpu_checkpoint_file_path(ck, 0), *start;
	char real[PATH_MAX], name[160], *slash;
	uint64_t hash;

	if (!realpath(path, real))
		return cli_fail("%s: %s", path, strerror(errno));
	hash = fnv64(FNV64_START, real, strlen(real));
	slash = strrchr(real, '/');
	if (slash > real && !strncmp(slash, "/model", strlen("/model")))
		*slash = 0;
	start = strrchr(real, '/') + 1;
	snprintf(name, sizeof(name), "%.100s-int4-%016llx.safetensors", start,
		 (unsigned long long)hash);
	return cache_path(out, len, "packed", name);
}

static struct vgpu_pack_item item_of(const struct vgpu_checkpoint *ck, const struct weight *w)
{
	return (struct vgpu_pack_item){
		.name = w->name, .fd = vgpu_checkpoint_file_fd(ck, w->file), .offset = w->offset,
		.pack = { .source_format = VGPU_FORMAT_NONE, .packed_format = w->used,
			  .rows = w->n, .cols = w->k },
		.layer = w->layer,
	};
}

static int build(const struct vgpu_checkpoint *ck, const struct weights *w, const char *path)
{
	struct vgpu_pack_item *items = calloc(w->count, sizeof(*items));
	struct progress progress;
	uint32_t n = 0;
	int rc = items ? 0 : -ENOMEM;

	for (size_t i = 0; i < w->count && !rc; i++)
		if (is_layer(&w->list[i]))
			items[n++] = item_of(ck, &w->list[i]);
	progress_begin(&progress, "packing", 0);
	if (!rc)
		rc = vgpu_packed_build(NULL, path, items, n, progress_tell, &progress);
	progress_end(&progress);
	free(items);
	if (rc == -EINTR)
		return CLI_INTERRUPTED;
	return rc ? cli_fail_vgpu(rc, "its layers are packed into a file; VBLACKWELL_CACHE names "
				  "another place for the cache") : CLI_OK;
}

int packed_layers_open(const struct vgpu_checkpoint *ck, struct weights *w)
{
	struct vgpu_error error;
	char path[PATH_MAX];
	int rc;

	if (!packed_layers_bytes(w))
		return CLI_OK;
	rc = file_path(ck, path, sizeof(path));
	if (rc)
		return rc;
	cache_make_parents(path);
	rc = build(ck, w, path);
	if (!rc && vgpu_checkpoint_open(path, &w->packed, &error))
		rc = cli_fail("%s", error.text);
	return rc;
}

int packed_layers_bo(struct vgpu *v, const struct weights *w, const struct weight *one,
		     struct vgpu_bo **out)
{
	struct vgpu_array a;
	int rc = vgpu_packed_array(w->packed, one->name, NULL, &a);

	return rc ? rc : vgpu_bo_create_file(v, vgpu_checkpoint_file_fd(w->packed, 0), a.offset,
					     one->used_bytes, out);
}
