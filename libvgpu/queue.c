// SPDX-License-Identifier: MIT
#include "queue.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "error.h"

int vgpu_queue_create(struct vgpu *v, uint32_t weight, struct vgpu_queue **out)
{
	struct vb_ioc_queue_create cmd = { .size = sizeof(cmd), .weight = weight };
	struct vgpu_queue *q = malloc(sizeof(*q));
	int rc;

	if (!q)
		return vgpu_fail(-ENOMEM, "no memory for a queue");
	rc = vgpu_call(v, VB_IOC_QUEUE_CREATE, &cmd);
	if (rc) {
		free(q);
		if (rc == -EINVAL)
			return vgpu_fail(rc, "weight is %u, must be %u to %u", weight,
					 VB_QUEUE_WEIGHT_MIN, VB_QUEUE_WEIGHT_MAX);
		return rc == -EPERM ? rc : vgpu_fail_device(rc, "create a queue");
	}
	q->v = v;
	q->id = cmd.out_queue_id;
	q->number = cmd.out_number;
	*out = q;
	return 0;
}

void vgpu_queue_destroy(struct vgpu_queue *q)
{
	struct vb_ioc_queue_destroy cmd = { .size = sizeof(cmd) };

	if (!q)
		return;
	cmd.queue_id = q->id;
	vgpu_call(q->v, VB_IOC_QUEUE_DESTROY, &cmd);
	free(q);
}

/* From now to a point in time; 0 only looks, negative is as long as it takes. */
static uint64_t deadline(int64_t timeout_ns)
{
	if (!timeout_ns)
		return 0;
	return timeout_ns < 0 ? UINT64_MAX : vgpu_now_ns() + (uint64_t)timeout_ns;
}

/* The executor of this process knows why; another one's fence says only what. */
static int fail_submission(const struct vgpu_queue *q, const struct vb_ioc_wait *cmd)
{
	char key[64], text[256];

	snprintf(key, sizeof(key), "error %u %" PRIu64, q->number, (uint64_t)cmd->seqno);
	if (vgpu_describe(q->v, key, text, sizeof(text)) > 0)
		return vgpu_fail(cmd->out_status, "submission %" PRIu64 ": %s",
				 (uint64_t)cmd->seqno, text);
	if (cmd->out_bad_command != UINT32_MAX)
		return vgpu_fail_device(cmd->out_status, "command %u of submission %" PRIu64,
					cmd->out_bad_command, (uint64_t)cmd->seqno);
	return vgpu_fail_device(cmd->out_status, "submission %" PRIu64, (uint64_t)cmd->seqno);
}

int vgpu_wait(struct vgpu_fence fence, int64_t timeout_ns)
{
	struct vb_ioc_wait cmd = {
		.size = sizeof(cmd),
		.queue_id = fence.queue->id,
		.seqno = fence.seqno,
		.timeout_ns = deadline(timeout_ns),
	};
	int rc;

	rc = vgpu_call(fence.queue->v, VB_IOC_WAIT, &cmd);
	/* The device's word for it is also how a submission ends whose deadline passed. */
	if (rc == -ETIME)
		return vgpu_fail(-EAGAIN, "submission %" PRIu64 " still runs", fence.seqno);
	if (rc)
		return rc == -EPERM ? rc : vgpu_fail_device(rc, "wait for submission %" PRIu64,
							   fence.seqno);
	return cmd.out_status ? fail_submission(fence.queue, &cmd) : 0;
}

int vgpu_fence_eventfd(struct vgpu_fence fence, int fd)
{
	struct vb_ioc_fence_eventfd cmd = {
		.size = sizeof(cmd),
		.queue_id = fence.queue->id,
		.seqno = fence.seqno,
		.fd = fd,
	};
	int rc;

	rc = vgpu_call(fence.queue->v, VB_IOC_FENCE_EVENTFD, &cmd);
	if (rc == -EBADF)
		return vgpu_fail(rc, "descriptor %d is not open", fd);
	if (rc)
		return rc == -EPERM ? rc : vgpu_fail_device(rc, "eventfd %d for submission %" PRIu64,
							   fd, fence.seqno);
	return 0;
}
