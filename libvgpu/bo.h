/* SPDX-License-Identifier: MIT */
#ifndef VGPU_BO_H
#define VGPU_BO_H

#include <stdatomic.h>

#include "device.h"

/**
 * struct vgpu_bo - a handle; fixed, except for @sealed
 * @v: its client
 * @id: of the UAPI
 * @bytes: length
 * @sealed: read-only for ever
 */
struct vgpu_bo {
	struct vgpu *v;
	uint32_t id;
	uint64_t bytes;
	atomic_bool sealed;
};

#endif
