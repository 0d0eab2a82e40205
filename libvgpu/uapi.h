/* SPDX-License-Identifier: MIT */
/*
 * The way to a device: the same requests, by ioctl or in process.
 *
 * Everything above this line of the library fills in the UAPI structures and
 * calls vgpu_uapi_call(); it does not know which of the two answers.
 */
#ifndef VGPU_UAPI_H
#define VGPU_UAPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <linux/vblackwell.h>

struct vgpu_uapi;

/**
 * struct vgpu_uapi_ops - one way to a device
 * @name: "module" or "loopback"
 * @call: as ioctl(), but returns 0 or -errno
 * @map: module: mmap() @bytes of the node, shared, from @offset (of VB_IOC_BO_MAP and
 *	the like, a multiple of the page size) to be read, and written with @write;
 *	munmap() it.  NULL on loopback, whose requests give addresses
 * @fd: module: descriptor of the node, for io_uring and poll(); it stays the node's.
 *	NULL on loopback
 * @close: client: everything it holds is released, queued work cancelled
 */
struct vgpu_uapi_ops {
	const char *name;
	int (*call)(struct vgpu_uapi *u, unsigned long request, void *arg);
	int (*map)(struct vgpu_uapi *u, uint64_t offset, size_t bytes, bool write, void **out);
	int (*fd)(struct vgpu_uapi *u);
	void (*close)(struct vgpu_uapi *u);
};

/* Embedded in the implementations' own structures. */
struct vgpu_uapi {
	const struct vgpu_uapi_ops *ops;
};

static inline int vgpu_uapi_call(struct vgpu_uapi *u, unsigned long request, void *arg)
{
	return u->ops->call(u, request, arg);
}

/**
 * vgpu_uapi_map() - reach the memory that a request told of
 * @address: what it gave on loopback
 * @offset: what it gave on the module, a multiple of the page size
 * @write: or only to be read
 *
 * Return: 0; what mmap() said.  Undo with vgpu_uapi_unmap().
 */
static inline int vgpu_uapi_map(struct vgpu_uapi *u, uint64_t address, uint64_t offset,
				size_t bytes, bool write, void **out)
{
	if (u->ops->map)
		return u->ops->map(u, offset, bytes, write, out);
	*out = (void *)(uintptr_t)address;
	return 0;
}

static inline void vgpu_uapi_unmap(struct vgpu_uapi *u, void *memory, size_t bytes)
{
	if (u->ops->map && memory)
		munmap(memory, bytes);
}

/* --- /dev/vblackwell, /dev/vblackwell-exec (uapi_ioctl.c) --- */
int vgpu_uapi_open_node(const char *path, struct vgpu_uapi **out);
int vgpu_uapi_open_exec_node(const char *path, struct vgpu_uapi **out);	/* -EBUSY: taken */

/* --- in process (uapi_loop.c) --- */

struct vgpu_loop;	/* the device: what the module is, in process */

/**
 * vgpu_loop_create() - make a device with nobody attached
 * @chunk_bytes: power of two, VB_CHUNK_BYTES_MIN..MAX
 *
 * Return: 0, -EINVAL, -ENOMEM.
 */
int vgpu_loop_create(uint32_t chunk_bytes, struct vgpu_loop **out);
/* References: each client, the executor and the creator hold one. */
void vgpu_loop_put(struct vgpu_loop *loop);

/* Open a node: clients any number, one executor at a time (-EBUSY). */
int vgpu_loop_open_client(struct vgpu_loop *loop, struct vgpu_uapi **out);
int vgpu_loop_open_exec(struct vgpu_loop *loop, struct vgpu_uapi **out);

/**
 * vgpu_loop_set_server() - who may run the executor on a waiting thread
 * @serve: called without locks, by a client's thread that would otherwise sleep
 *	for the executor without a bound of its own (and after a submission); runs
 *	what is queued if the executor is idle and returns true if it did anything
 * @arg: handed to @serve
 *
 * A wake-up across cores can cost more than the work itself.
 */
void vgpu_loop_set_server(struct vgpu_loop *loop, bool (*serve)(void *arg), void *arg);

/* Make VB_IOC_FETCH return -ESHUTDOWN from now on; fences end with -ENODEV. */
void vgpu_loop_shutdown(struct vgpu_loop *loop);

#endif
