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
 * struct vb_scales - scales of one matrix that lie apart from its values
 * @rows: rows of scales; 0: there are none
 * @row_bytes: bytes of one
 * @row_values: rows of values that one is for
 * @col_values: columns of values that a scale is for
 */
struct vb_scales {
	u32 rows;
	u32 row_values;
	u32 col_values;
	u64 row_bytes;
};

/**
 * vb_transform_scales() - which scales a source has
 * @t: of a derived object, vb_bo_check() said 0
 *
 * Return: how they lie; no rows where there are none.
 */
struct vb_scales vb_transform_scales(const struct vb_transform *t);

/**
 * vb_bo_check_source() - do the ranges that the content comes from lie in the file
 * @cmd: file or derived, vb_bo_check() said 0
 * @file_bytes: length of the file
 *
 * Return: 0; -ERANGE; -EOVERFLOW a range exceeds 64 bits.
 */
int vb_bo_check_source(const struct vb_ioc_bo_create *cmd, u64 file_bytes);

#endif
