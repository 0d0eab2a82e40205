// SPDX-License-Identifier: MIT
/* The module: every request is one ioctl on a node. */
#include "uapi.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct node {
	struct vgpu_uapi uapi;
	int fd;
};

static int node_call(struct vgpu_uapi *u, unsigned long request, void *arg)
{
	struct node *node = (struct node *)u;

	return ioctl(node->fd, request, arg) < 0 ? -errno : 0;
}

static void node_close(struct vgpu_uapi *u)
{
	struct node *node = (struct node *)u;

	close(node->fd);
	free(node);
}

static const struct vgpu_uapi_ops node_ops = {
	.name = "module",
	.call = node_call,
	.close = node_close,
};

/* Whatever else may lie there does not know this request. */
static int node_check(struct vgpu_uapi *u)
{
	struct vb_ioc_query_device q = { .size = sizeof(q) };
	int rc = node_call(u, VB_IOC_QUERY_DEVICE, &q);

	return rc == -ENOTTY || rc == -EINVAL ? -ENODEV : rc;
}

int vgpu_uapi_open_node(const char *path, struct vgpu_uapi **out)
{
	struct node *node = malloc(sizeof(*node));
	int rc;

	if (!node)
		return -ENOMEM;
	node->uapi.ops = &node_ops;
	node->fd = open(path, O_RDWR | O_CLOEXEC);
	if (node->fd < 0) {
		rc = errno == ENOENT || errno == ENXIO ? -ENODEV : -errno;
		free(node);
		return rc;
	}
	rc = node_check(&node->uapi);
	if (rc) {
		node_close(&node->uapi);
		return rc;
	}
	*out = &node->uapi;
	return 0;
}
