/* SPDX-License-Identifier: MIT */
/* A client, and the device behind it. */
#ifndef VGPU_DEVICE_H
#define VGPU_DEVICE_H

#include <stdint.h>

#include "mapping.h"
#include "uapi.h"
#include "vgpu.h"

struct vgpu_embedded;

/**
 * struct vgpu - a client; all fields but @mappings are fixed
 * @uapi: way to the device
 * @embedded: the in-process device, counted; NULL with the module
 * @path: node, "" for the in-process device
 * @forks: forks of this process when it was opened
 * @mappings: what vgpu_bo_map() has mapped of the module
 */
struct vgpu {
	struct vgpu_uapi *uapi;
	struct vgpu_embedded *embedded;
	char path[64];
	uint32_t forks;
	struct vgpu_mappings mappings;
};

/**
 * vgpu_call() - a request of this client
 *
 * Repeated when a signal came: deadlines are points in time.
 *
 * Return: as the UAPI says; -EPERM also in a child of the process that opened an
 * in-process device.  With -EPERM the sentence is set, otherwise it is the caller's
 * to say.
 */
int vgpu_call(struct vgpu *v, unsigned long request, void *arg);
/* Not repeated: -EINTR, for requests that say how far they came. */
int vgpu_call_once(struct vgpu *v, unsigned long request, void *arg);

/* --- embedded.c: devices in this process --- */

/* Make one, the caller's own. */
int vgpu_embedded_create(const struct vgpu_config *config, struct vgpu_embedded **out);
/* The one that all vgpu_open() of this process share; made when it is missing. */
int vgpu_embedded_share(struct vgpu_embedded **out);
struct vgpu_embedded *vgpu_embedded_get(struct vgpu_embedded *e);
/* The last one stops the executor and frees everything. */
void vgpu_embedded_put(struct vgpu_embedded *e);
int vgpu_embedded_open(struct vgpu_embedded *e, struct vgpu_uapi **out);
int vgpu_embedded_describe(struct vgpu_embedded *e, const char *key, char *text, size_t len);
/* How often the process that asks has been forked off since it loaded the library. */
uint32_t vgpu_embedded_forks(void);

#endif
