/* SPDX-License-Identifier: MIT */
/*
 * What a client has mapped of the module: a range is unmapped by its numbers, so
 * somebody must remember where it lies.
 *
 * The loopback gives addresses, and nothing is remembered for it.
 */
#ifndef VGPU_MAPPING_H
#define VGPU_MAPPING_H

#include <pthread.h>

#include "uapi.h"

struct vgpu_mapping;

/**
 * struct vgpu_mappings - those of one client
 * @lock: protects @first
 */
struct vgpu_mappings {
	pthread_mutex_t lock;
	struct vgpu_mapping *first;
};

void vgpu_mappings_init(struct vgpu_mappings *m);
/* The client closes; its objects may be gone, what was mapped of them is not. */
void vgpu_mappings_end(struct vgpu_mappings *m);

/**
 * vgpu_mapping_add() - map what VB_IOC_BO_MAP has made resident
 * @cmd: as the device answered it
 * @out: address of byte @cmd->offset
 *
 * Return: 0; -ENOMEM; what mmap() said.
 */
int vgpu_mapping_add(struct vgpu_mappings *m, struct vgpu_uapi *u, const struct vb_ioc_bo_map *cmd,
		     void **out);

/**
 * vgpu_mapping_remove() - unmap one mapping of this range; before VB_IOC_BO_UNMAP, which
 * tells the device that nobody looks any more
 *
 * A range that is not mapped is left to the device to refuse.
 */
void vgpu_mapping_remove(struct vgpu_mappings *m, const struct vb_ioc_bo_unmap *cmd);

#endif
