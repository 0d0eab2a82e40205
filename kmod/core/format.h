/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * How many bytes a row takes, format by format.
 *
 * A unit is what cannot be cut: one row of a row-major format, one group of 16
 * rows of a packed one.
 */
#ifndef VB_CORE_FORMAT_H
#define VB_CORE_FORMAT_H

#include "deps.h"

/**
 * struct vb_unit - the smallest piece of a matrix
 * @rows: rows in it
 * @bytes: bytes of it for the k asked for
 * @align: multiple that the offset of the first unit must keep
 */
struct vb_unit {
	u32 rows;
	u32 align;
	u64 bytes;
};

/**
 * vb_format_unit() - the unit of a format
 * @format: enum vb_format
 * @k: columns, at least 1
 * @out: filled on success
 *
 * Return: 0; -EINVAL for a format not known, @k of 0, or a row-major format with
 * @k no multiple of what its blocks hold.  Packed formats fill the last block up.
 */
int vb_format_unit(u32 format, u32 k, struct vb_unit *out);

/**
 * vb_format_matrix_bytes() - bytes of a dense [n][k] matrix
 * @format: enum vb_format
 * @n: rows, at least 1; the last group of a packed format is stored whole
 * @k: columns, at least 1
 * @out: filled on success
 *
 * Return: 0, -EINVAL as above or n == 0, -EOVERFLOW.
 */
int vb_format_matrix_bytes(u32 format, u32 n, u32 k, u64 *out);

/**
 * vb_format_is_weight() - may a weight have this format
 * @format: enum vb_format
 *
 * Return: yes or no; no for what is not known.
 */
bool vb_format_is_weight(u32 format);

/**
 * vb_format_is_packed() - is it one of packed groups of rows
 * @format: enum vb_format
 *
 * Return: yes or no; no for what is not known.
 */
bool vb_format_is_packed(u32 format);

/**
 * vb_format_is_source() - is it one that weights of a file have and are packed from
 * @format: enum vb_format
 *
 * No operand has such a format.
 *
 * Return: yes or no; no for what is not known.
 */
bool vb_format_is_source(u32 format);

/**
 * vb_format_name() - its name for people and tools
 * @format: enum vb_format
 *
 * Return: "mxfp4-g16"; "none" for VB_FORMAT_NONE, "?" when not known.
 */
const char *vb_format_name(u32 format);

#endif
