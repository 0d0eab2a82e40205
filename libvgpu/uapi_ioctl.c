// SPDX-License-Identifier: MIT
/* The module: every request is one ioctl on a node. */
#include "uapi.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
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

static int node_map(struct vgpu_uapi *u, uint64_t offset, size_t bytes, bool write, void **out)
{
	struct node *node = (struct node *)u;
	void *p;

	p = mmap(NULL, bytes, PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED, node->fd,
		 (off_t)offset);
	if (p == MAP_FAILED)
		return -errno;
	*out = p;
	return 0;
}

static int node_fd(struct vgpu_uapi *u)
{
	return ((struct node *)u)->fd;
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
	.map = node_map,
	.fd = node_fd,
	.close = node_close,
};

/* Whatever else may lie there does not know this request. */
static int node_check(struct vgpu_uapi *u)
{
	struct vb_ioc_query_device q = { .size = sizeof(q) };
	int rc = node_call(u, VB_IOC_QUERY_DEVICE, &q);

	return rc == -ENOTTY || rc == -EINVAL ? -ENODEV : rc;
}

static int node_open(const char *path, struct vgpu_uapi **out)
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
	*out = &node->uapi;
	return 0;
}

int vgpu_uapi_open_node(const char *path, struct vgpu_uapi **out)
{
	struct vgpu_uapi *u;
	int rc;

	rc = node_open(path, &u);
	if (rc)
		return rc;
	rc = node_check(u);
	if (rc) {
		node_close(u);
		return rc;
	}
	*out = u;
	return 0;
}

/* Nothing can be asked of it before it has attached. */
int vgpu_uapi_open_exec_node(const char *path, struct vgpu_uapi **out)
{
	return node_open(path, out);
}
