/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Is what a client asks VB_IOC_BO_CREATE for an object at all?
 */
#ifndef VB_CORE_BO_CHECK_H
#define VB_CORE_BO_CHECK_H

#include "deps.h"

/**
 * vb_bo_check() - do kind, life, length, file range and transform fit together
 * @cmd: a private copy; @cmd->fd is not looked at but for anonymous objects
 *
 * Return: 0; -EINVAL; -EOVERFLOW the stack of a transform exceeds 64 bits.
 */
int vb_bo_check(const struct vb_ioc_bo_create *cmd);

/**
 * vb_bo_check_source() - do the ranges that the content comes from lie in the file
 * @cmd: file or derived, vb_bo_check() said 0
 * @file_bytes: length of the file
 *
 * Return: 0; -ERANGE; -EOVERFLOW a range exceeds 64 bits.
 */
int vb_bo_check_source(const struct vb_ioc_bo_create *cmd, u64 file_bytes);

#endif
