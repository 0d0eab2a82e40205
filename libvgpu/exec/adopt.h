/* SPDX-License-Identifier: MIT */
/*
 * What an executor that died has left with the module, and how another one goes on with
 * it: the host arenas as large as they are, the NVMe arena by its identity, the chunks in
 * host memory as the first that the policy hears of.
 */
#ifndef VGPU_EXEC_ADOPT_H
#define VGPU_EXEC_ADOPT_H

#include <stdbool.h>
#include <stdint.h>

#include "../uapi.h"

struct vgpu_resid;

/* Host arenas of one executor; what has more was none of ours. */
#define VGPU_LEFT_HOMES	8u

/**
 * struct vgpu_left_home - a host arena that was left
 * @arena: number
 * @node: NUMA node, or -1
 * @slots: in its regions
 */
struct vgpu_left_home {
	uint32_t arena;
	int32_t node;
	uint32_t slots;
};

/**
 * struct vgpu_left - the arenas that were left
 * @home: of host memory, @homes of them; @nvme: there is one
 * @host_slots: of all of them
 * @nvme_arena: number; @nvme_slots: size
 * @identity: of @nvme
 * @chunks: found in host memory; set by vgpu_left_take()
 * @damaged: of these, or that were of them, the ones without their checksum
 * @until_ns: until when to wait for what the dead still have, CLOCK_MONOTONIC
 */
struct vgpu_left {
	struct vgpu_left_home home[VGPU_LEFT_HOMES];
	uint32_t homes, host_slots;
	bool nvme;
	uint32_t nvme_arena, nvme_slots;
	uint64_t identity[2];
	uint32_t chunks, damaged;
	uint64_t until_ns;
};

/* Ask the device.  Return: 0; what VB_IOC_ARENA_QUERY said. */
int vgpu_left_query(struct vgpu_uapi *node, struct vgpu_left *out);

/**
 * vgpu_left_adopt_host() - adopt the host arenas, for vgpu_regions_adopt()
 * @node: executor node, recovering
 * @left: has one at least
 *
 * Waits for I/O of the dead, until @left->until_ns.
 * Return: 0; what the device said.
 */
int vgpu_left_adopt_host(struct vgpu_uapi *node, const struct vgpu_left *left);

/* The same for the NVMe arena, whose bytes the caller has. */
int vgpu_left_adopt_nvme(struct vgpu_uapi *node, const struct vgpu_left *left);

/**
 * vgpu_left_take() - every chunk in host memory gets its slot
 * @r: memory and policy are there, nothing is in its slots
 * @left: says how many there were
 *
 * An object that cannot be opened (its file changed) keeps its slots at the device.
 * Return: 0; -ENOMEM.
 */
int vgpu_left_take(struct vgpu_resid *r, struct vgpu_left *left);

/**
 * vgpu_left_check() - compare what is in the slots with the checksums that the device knows
 *
 * The dead may have written where it had nothing to write.  What the device has no checksum
 * of, was written by clients: nobody can tell.
 *
 * What is damaged is dropped, and read again by who wants it: before vgpu_left_recover(), from
 * which on clients map what is there.  What one of them holds stays.
 * Return: 0; -ENOMEM.
 */
int vgpu_left_check(struct vgpu_resid *r, struct vgpu_left *left);

/* Does the device know any object?  Then its arenas are of use to a successor. */
bool vgpu_left_is_wanted(struct vgpu_uapi *node);

/* VB_IOC_RECOVER. */
int vgpu_left_recover(struct vgpu_uapi *node, uint32_t generation, uint32_t flags);

#endif
