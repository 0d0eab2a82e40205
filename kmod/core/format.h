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

/* Rows of a group, and what its first byte's offset is a multiple of. */
#define VB_GROUP_ROWS	16u
#define VB_PACKED_ALIGN	64u

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
 * Return: 0; -EINVAL for a format not known, @k of 0, or no multiple of
 * vb_format_cols().  MXFP4_G16 and INT8_G16 fill the last block up.
 */
int vb_format_unit(u32 format, u32 k, struct vb_unit *out);

/**
 * vb_format_cols() - what columns come in multiples of
 * @format: enum vb_format
 *
 * Return: values of a block, or that share a scale, where these are not cut; else 1.
 */
u32 vb_format_cols(u32 format);

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
 * vb_format_packed() - the packed form of blocks
 * @format: enum vb_format
 *
 * Return: the packed format that keeps values and bytes; VB_FORMAT_NONE when there is none.
 */
u32 vb_format_packed(u32 format);

/**
 * vb_format_packs_to() - can a matrix of a file become another
 * @format: enum vb_format of the file
 * @packed: enum vb_format of the object
 *
 * Blocks become vb_format_packed(), which keeps their values.  To MXFP4_G16 and INT8_G16 all
 * values are rounded but those of MXFP4, MXFP4_SPLIT and Q8_0, which have nothing to gain.
 *
 * Return: yes or no; no for what is not known.
 */
bool vb_format_packs_to(u32 format, u32 packed);

/**
 * vb_format_name() - its name for people and tools
 * @format: enum vb_format
 *
 * Return: "mxfp4-g16"; "none" for VB_FORMAT_NONE, "?" when not known.
 */
const char *vb_format_name(u32 format);

#endif
