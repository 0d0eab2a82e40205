// SPDX-License-Identifier: MIT
/*
 * The regions of an engine: memory that requests are told to lie in, which the engine may register
 * with the kernel.
 */
#include <errno.h>

#include "exec/io_engine.h"

#define PAGE_BYTES	4096u

bool vgpu_io_region_holds(const struct vgpu_io *io, const struct vgpu_io_req *req)
{
	const struct vgpu_io_region *region;
	uintptr_t first;

	if (req->buf_index < 0 || (uint32_t)req->buf_index >= VGPU_IO_REGIONS_MAX)
		return false;
	region = &io->regions[req->buf_index];
	first = (uintptr_t)req->buf - (uintptr_t)region->addr;
	return region->addr && first <= region->bytes && req->bytes <= region->bytes - first;
}

int vgpu_io_region_add(struct vgpu_io *io, void *addr, uint64_t bytes, int32_t *out_index)
{
	uint32_t i = 0;

	if (!addr || !bytes || (((uintptr_t)addr | bytes) & (PAGE_BYTES - 1)) ||
	    bytes > UINTPTR_MAX - (uintptr_t)addr)
		return -EINVAL;
	while (i < VGPU_IO_REGIONS_MAX && io->regions[i].addr)
		i++;
	if (i == VGPU_IO_REGIONS_MAX)
		return -ENOSPC;

	io->regions[i] = (struct vgpu_io_region){ .addr = addr, .bytes = bytes };
	if (io->ops->region_add)
		io->ops->region_add(io, i);
	vgpu_io_reason_update(io);
	*out_index = (int32_t)i;
	return 0;
}

void vgpu_io_region_register(struct vgpu_io *io, int32_t index)
{
	if (index < 0 || (uint32_t)index >= VGPU_IO_REGIONS_MAX || !io->regions[index].addr ||
	    !io->ops->region_register)
		return;
	io->ops->region_register(io, (uint32_t)index);
	vgpu_io_reason_update(io);
}

void vgpu_io_region_forget(struct vgpu_io *io, uint32_t index)
{
	if (io->ops->region_remove)
		io->ops->region_remove(io, index);
	io->regions[index].addr = NULL;
}

int vgpu_io_region_remove(struct vgpu_io *io, int32_t index)
{
	if (index < 0 || (uint32_t)index >= VGPU_IO_REGIONS_MAX || !io->regions[index].addr)
		return -EINVAL;
	if (io->regions[index].users)
		return -EBUSY;
	vgpu_io_region_forget(io, (uint32_t)index);
	return 0;
}
