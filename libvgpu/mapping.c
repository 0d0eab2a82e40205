// SPDX-License-Identifier: MIT
#include "mapping.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/**
 * struct vgpu_mapping - a range of an object in this process
 * @base, @length: whole pages around it
 * @bo_id, @flags, @offset, @bytes: as given to VB_IOC_BO_MAP
 */
struct vgpu_mapping {
	void *base;
	size_t length;
	uint32_t bo_id, flags;
	uint64_t offset, bytes;
	struct vgpu_mapping *next;
};

void vgpu_mappings_init(struct vgpu_mappings *m)
{
	pthread_mutex_init(&m->lock, NULL);
	m->first = NULL;
}

static void mapping_end(struct vgpu_mapping *one)
{
	munmap(one->base, one->length);
	free(one);
}

void vgpu_mappings_end(struct vgpu_mappings *m)
{
	while (m->first) {
		struct vgpu_mapping *one = m->first;

		m->first = one->next;
		mapping_end(one);
	}
	pthread_mutex_destroy(&m->lock);
}

static int map_pages(struct vgpu_mapping *one, struct vgpu_uapi *u, uint64_t at, void **out)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), in_page = at % page;
	int rc;

	one->length = (in_page + one->bytes + page - 1) / page * page;
	rc = u->ops->map(u, at - in_page, one->length, one->flags & VB_MAP_WRITE, &one->base);
	if (!rc)
		*out = (char *)one->base + in_page;
	return rc;
}

int vgpu_mapping_add(struct vgpu_mappings *m, struct vgpu_uapi *u, const struct vb_ioc_bo_map *cmd,
		     void **out)
{
	struct vgpu_mapping *one;
	int rc;

	if (!u->ops->map) {
		*out = (void *)(uintptr_t)cmd->out_address;
		return 0;
	}
	one = malloc(sizeof(*one));
	if (!one)
		return -ENOMEM;
	*one = (struct vgpu_mapping){
		.bo_id = cmd->bo_id, .flags = cmd->flags, .offset = cmd->offset,
		.bytes = cmd->bytes,
	};
	rc = map_pages(one, u, cmd->out_mmap_offset, out);
	if (rc) {
		free(one);
		return rc;
	}
	pthread_mutex_lock(&m->lock);
	one->next = m->first;
	m->first = one;
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static bool is_range(const struct vgpu_mapping *one, const struct vb_ioc_bo_unmap *cmd)
{
	return one->bo_id == cmd->bo_id && one->flags == cmd->flags &&
	       one->offset == cmd->offset && one->bytes == cmd->bytes;
}

void vgpu_mapping_remove(struct vgpu_mappings *m, const struct vb_ioc_bo_unmap *cmd)
{
	struct vgpu_mapping **at, *one;

	pthread_mutex_lock(&m->lock);
	at = &m->first;
	while (*at && !is_range(*at, cmd))
		at = &(*at)->next;
	one = *at;
	if (one)
		*at = one->next;
	pthread_mutex_unlock(&m->lock);
	if (one)
		mapping_end(one);
}
