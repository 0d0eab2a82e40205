// SPDX-License-Identifier: MIT
#include "bo.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "error.h"

static int ranges_fill(struct vgpu *v, const struct vgpu_use *uses, uint32_t count,
		       struct vb_range *out)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct vgpu_use *u = &uses[i];
		uint64_t end;

		if (u->bo->v != v)
			return vgpu_fail(-EINVAL, "uses[%u] names a buffer object of another client", i);
		if (!u->bytes || __builtin_add_overflow(u->offset, u->bytes, &end) ||
		    end > u->bo->bytes)
			return vgpu_fail(-ERANGE, "uses[%u]: bytes %" PRIu64 " + %" PRIu64
					 " are not inside an object of %" PRIu64, i, u->offset,
					 u->bytes, u->bo->bytes);
		out[i] = (struct vb_range){
			.bo_id = u->bo->id, .offset = u->offset, .bytes = u->bytes,
		};
	}
	return 0;
}

int vgpu_schedule(struct vgpu *v, const struct vgpu_use *uses, uint32_t count, bool cycle)
{
	struct vb_ioc_schedule cmd = {
		.size = sizeof(cmd),
		.flags = cycle ? VB_SCHEDULE_CYCLE : 0,
		.count = count,
	};
	struct vb_range *ranges;
	int rc;

	if (count > VB_SCHEDULE_MAX)
		return vgpu_fail(-EINVAL, "count is %u, must be at most %u", count, VB_SCHEDULE_MAX);
	ranges = calloc(count ? count : 1, sizeof(*ranges));
	if (!ranges)
		return vgpu_fail(-ENOMEM, "no memory for a schedule of %u ranges", count);
	rc = ranges_fill(v, uses, count, ranges);
	if (rc)
		goto out_free;
	cmd.ranges_address = (uintptr_t)ranges;
	rc = vgpu_call(v, VB_IOC_SCHEDULE, &cmd);
	if (rc && rc != -EPERM)
		vgpu_fail_device(rc, "schedule of %u ranges", count);
out_free:
	free(ranges);
	return rc;
}
