/* SPDX-License-Identifier: MIT */
#ifndef VGPU_QUEUE_H
#define VGPU_QUEUE_H

#include "device.h"

/* A handle; fixed. */
struct vgpu_queue {
	struct vgpu *v;
	uint32_t id;
	uint32_t number;	/* device-wide */
};

#endif
