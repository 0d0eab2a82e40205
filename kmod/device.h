/* SPDX-License-Identifier: GPL-2.0 */
/* The memory of device arenas, and the CPU's way to it. */
#ifndef VB_DEVICE_H
#define VB_DEVICE_H

#include "core/deps.h"

struct page;
struct vb_arena;
struct vb_copy;
struct vb_ioc_arena_create;

int vb_device_import(struct vb_arena *a, const struct vb_ioc_arena_create *cmd);
int vb_device_bar(struct vb_arena *a, u32 number, u32 slots);
int vb_device_copy(struct vb_copy *copy, u32 chunk, u64 at);

/* A PCI device whose memory stands in for a GPU's. */
#if IS_ENABLED(CONFIG_PCI) && IS_ENABLED(CONFIG_ZONE_DEVICE)
int vb_bar_init(void);
void vb_bar_exit(void);
int vb_bar_take(u64 count, struct page **out);
void vb_bar_give(void);
#else
static inline int vb_bar_init(void) { return 0; }
static inline void vb_bar_exit(void) {}
static inline int vb_bar_take(u64 count, struct page **out) { return -EOPNOTSUPP; }
static inline void vb_bar_give(void) {}
#endif

#endif
