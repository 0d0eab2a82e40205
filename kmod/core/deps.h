/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * All that kmod/core needs from the world around it, in the kernel and in user
 * space.  The only #ifdef __KERNEL__ of the project.
 */
#ifndef VB_CORE_DEPS_H
#define VB_CORE_DEPS_H

#ifdef __KERNEL__
#include <linux/bitops.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/nospec.h>
#include <linux/overflow.h>
#include <linux/signal.h>
#include <linux/string.h>
#include <linux/types.h>
#else
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <linux/types.h>
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;
#define READ_ONCE(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))
#define check_add_overflow(a, b, d) __builtin_add_overflow(a, b, d)
#define check_mul_overflow(a, b, d) __builtin_mul_overflow(a, b, d)
/* Index of the lowest bit set; of the highest, counted from 1.  @word is not 0. */
#define __ffs64(word) ((unsigned long)__builtin_ctzll(word))
#define fls64(word) (64 - __builtin_clzll(word))
/* What is speculated past a check in user space finds nothing that is not the caller's. */
static inline u32 array_index_nospec(u32 index, u32 size)
{
	return index < size ? index : 0;
}
#endif

#include <linux/vblackwell.h>

#endif
