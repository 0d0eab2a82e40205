// SPDX-License-Identifier: GPL-2.0 OR MIT
#include "submit_check.h"

#define ACCESS_USED	(VB_ACCESS_READ | VB_ACCESS_WRITE)
#define ACCESS_ALL	(ACCESS_USED | VB_ACCESS_DISCARD)

int vb_submit_check(const struct vb_ioc_submit *cmd)
{
	if (cmd->stream_bytes < sizeof(struct vb_stream_header) ||
	    cmd->stream_bytes > VB_STREAM_BYTES_MAX ||
	    cmd->bo_count > VB_SUBMIT_BOS_MAX || cmd->fence_count > VB_SUBMIT_FENCES_MAX)
		return -EINVAL;
	if (!cmd->stream_address || (cmd->bo_count && !cmd->bos_address) ||
	    (cmd->fence_count && !cmd->fences_address))
		return -EFAULT;
	return 0;
}

int vb_submit_check_access(u32 access)
{
	return access & ACCESS_USED && !(access & ~ACCESS_ALL) ? 0 : -EINVAL;
}
