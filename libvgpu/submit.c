// SPDX-License-Identifier: MIT
#include "cmdbuf.h"
#include "queue.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "error.h"
#include "sized.h"

static int fences_fill(const struct vgpu_queue *q, const struct vgpu_submit_info *info,
		       struct vb_fence *out)
{
	for (uint32_t i = 0; i < info->after_count; i++) {
		const struct vgpu_fence *f = &info->after[i];

		if (f->queue->v != q->v)
			return vgpu_fail(-EINVAL, "after[%u] is a fence of another client", i);
		out[i] = (struct vb_fence){ .queue_id = f->queue->id, .seqno = f->seqno };
	}
	return 0;
}

static int fail_panels(struct vgpu *v)
{
	struct vgpu_device_info info = { .size = sizeof(info) };

	vgpu_device_info(v, &info);
	return vgpu_fail(-ENOSPC, "the host share of this client is below two panels: at least %" PRIu64
			 " bytes are needed", 2 * info.panel_bytes);
}

/* Has the client (or its user, VB_LIMIT_USER) as many in flight as it may have? */
static bool is_full(struct vgpu *v, uint32_t flags, uint64_t *out_limit)
{
	struct vb_ioc_limit cmd = {
		.size = sizeof(cmd),
		.limit = VB_LIMIT_SUBMISSIONS,
		.flags = flags,
		.uid = flags ? geteuid() : 0,
	};

	if (vgpu_call(v, VB_IOC_LIMIT, &cmd))
		return false;
	*out_limit = cmd.out_value;
	return cmd.out_used >= cmd.out_value;
}

/*
 * The device does not say which limit it was: the one that can be asked for is, and is met or
 * not.
 */
static int fail_limit(struct vgpu *v)
{
	uint64_t limit;

	if (is_full(v, 0, &limit))
		return vgpu_fail(-EDQUOT, "%" PRIu64 " submissions of this client are in flight, "
				 "the most it may have", limit);
	if (is_full(v, VB_LIMIT_USER, &limit))
		return vgpu_fail(-EDQUOT, "%" PRIu64 " submissions of this user's clients are in "
				 "flight, the most they may have together", limit);
	return vgpu_fail(-EDQUOT, "a limit of this user: bytes of command buffers in flight; kernel "
			 "memory (user_kernel_kib in /sys/class/misc/vblackwell/limits); or "
			 "submissions in flight, of which some have ended meanwhile");
}

static int fail_submit(struct vgpu_queue *q, int rc)
{
	switch (rc) {
	case -EPERM:
		return rc;
	case -ENOSPC:
		return fail_panels(q->v);
	case -EDQUOT:
		return fail_limit(q->v);
	case -EROFS:
		return vgpu_fail(rc, "a buffer object that was sealed after recording would be written");
	case -ENOENT:
		return vgpu_fail(rc, "the queue, a fence's queue or a buffer object was destroyed");
	default:
		return vgpu_fail_device(rc, "submit");
	}
}

static int submit(struct vgpu_queue *q, struct vb_ioc_submit *cmd, struct vgpu_fence *out)
{
	int rc;

	rc = vgpu_call(q->v, VB_IOC_SUBMIT, cmd);
	if (rc)
		return fail_submit(q, rc);
	if (out)
		*out = (struct vgpu_fence){ .queue = q, .seqno = cmd->out_seqno };
	return 0;
}

int vgpu_submit(struct vgpu_queue *q, struct vgpu_cmdbuf *cb, const struct vgpu_submit_info *how,
		struct vgpu_fence *out)
{
	struct vgpu_submit_info info = { .size = sizeof(info) };
	struct vb_fence fences[VB_SUBMIT_FENCES_MAX];
	struct vb_ioc_submit cmd = {
		.size = sizeof(cmd),
		.queue_id = q->id,
		.stream_bytes = cb->stream_bytes,
		.stream_address = (uintptr_t)cb->stream,
		.bos_address = (uintptr_t)cb->refs,
		.fences_address = (uintptr_t)fences,
		.bo_count = cb->bo_count,
	};
	int rc;

	rc = how ? vgpu_sized_take("info", &info, sizeof(info), how) : 0;
	if (rc)
		return rc;
	if (q->v != cb->v)
		return vgpu_fail(-EINVAL, "queue and command buffer belong to different clients");
	if (info.after_count > VB_SUBMIT_FENCES_MAX)
		return vgpu_fail(-EINVAL, "after_count is %u, must be at most %u", info.after_count,
				 VB_SUBMIT_FENCES_MAX);
	rc = fences_fill(q, &info, fences);
	if (rc)
		return rc;
	cmd.fence_count = info.after_count;
	cmd.deadline_ns = info.deadline_ns;
	cmd.flags = info.async ? VB_SUBMIT_ASYNC : 0;
	return submit(q, &cmd, out);
}

int vgpu_finish(struct vgpu_queue *q, struct vgpu_cmdbuf *cb)
{
	struct vgpu_fence fence;
	int rc;

	rc = vgpu_submit(q, cb, NULL, &fence);
	return rc ? rc : vgpu_wait(fence, -1);
}
