// SPDX-License-Identifier: MIT
#include "optimum.h"

#include <errno.h>

#include "vgpu.h"

const char optimum_below_one[] =
	"below 1: staging answered misses that the optimum counts, and a file's last chunk is short";

static int row_of(const struct vgpu_recording *r, const char *policy, uint64_t skip,
		  struct optimum_row *out)
{
	struct vgpu_replay replay;
	int rc = vgpu_recording_replay(r, policy, 0, skip, &replay);

	*out = (struct optimum_row){ replay.misses, replay.later_misses };
	return rc;
}

int optimum_of_trace(const char *path, uint32_t parts, struct optimum *out)
{
	struct vgpu_recording_info info;
	struct vgpu_recording *r;
	uint64_t skip;
	int rc = vgpu_recording_open(path, &r);

	if (rc)
		return rc;
	vgpu_recording_info(r, &info);
	out->chunk_bytes = info.chunk_bytes;
	out->capacity = info.capacity;
	out->staging = info.staging;
	out->uses = info.uses;
	skip = parts > 1 ? info.uses / parts : 0;
	rc = info.uses ? row_of(r, "optimum", skip, &out->best) : -ENODATA;
	if (!rc)
		rc = row_of(r, "lru", skip, &out->lru);
	if (!rc)
		rc = row_of(r, NULL, skip, &out->ours);
	vgpu_recording_close(r);
	return rc;
}
