/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What each command must look like, as data.  Inside kmod/core only.
 */
#ifndef VB_CORE_CMD_FORM_H
#define VB_CORE_CMD_FORM_H

#include "cmd.h"

#define VB_FORM_OPTIONAL	(1u << 0)	/* VB_FORMAT_NONE is allowed */
/* A weight, or scales of one: dense rows, row-major ones at any offset. */
#define VB_FORM_MATRIX		(1u << 1)

/**
 * struct vb_operand_form - what an operand must look like
 * @name: as in the UAPI structure
 * @dims: a letter a dimension, alternatives of different rank behind "|".  Equal
 *	letters in one command are equal lengths; M is 1 or m, K is k / 32
 * @formats: bit an enum vb_format
 * @offset: in the command structure
 * @access: VB_ACCESS_READ or VB_ACCESS_WRITE
 * @flags: VB_FORM_*
 * @may_equal: outputs: bit an operand index; these may be the output itself
 */
struct vb_operand_form {
	const char *name;
	const char *dims;
	u64 formats;
	u16 offset;
	u8 access;
	u8 flags;
	u8 may_equal;
};

/**
 * struct vb_field_form - what a 32-bit field must be
 * @name: as in the UAPI structure; NULL ends the list
 * @offset: in the command structure
 * @fault: enum vb_cmd_fault when it is not
 * @must: enum vb_cmd_must: EQUAL, MAX, BITS, FINITE, NOT_NEGATIVE or POSITIVE
 * @limit: for the first three
 */
struct vb_field_form {
	const char *name;
	u16 offset;
	u8 fault;
	u8 must;
	u32 limit;
};

#define VB_FORM_FIELDS_MAX	7u

/**
 * struct vb_cmd_form - what a command must look like
 * @name: for people
 * @bytes: sizeof its structure
 * @operand_count: operands in it
 * @operands: in the order of the structure
 * @fields: in the order of the structure
 */
struct vb_cmd_form {
	const char *name;
	u16 bytes;
	u16 operand_count;
	struct vb_operand_form operands[VB_CMD_OPERANDS_MAX];
	struct vb_field_form fields[VB_FORM_FIELDS_MAX];
};

/**
 * vb_cmd_form() - what a command must look like
 * @opcode: enum vb_opcode
 *
 * Return: its form; NULL when not known.
 */
const struct vb_cmd_form *vb_cmd_form(u16 opcode);

/* An operand of a command of that form. */
static inline const struct vb_operand *vb_form_operand(const struct vb_cmd_form *form,
						       const struct vb_cmd_header *cmd,
						       u32 index)
{
	return (const void *)((const char *)cmd + form->operands[index].offset);
}

/**
 * vb_form_dims() - the letters for a rank
 * @form: operand form
 * @rank: rank of the operand
 *
 * Return: @rank letters, or NULL when no alternative has that rank.
 */
const char *vb_form_dims(const struct vb_operand_form *form, u32 rank);

/* Formats whose elements are numbers one by one. */
#define VB_FORM_FLOATS	((1ull << VB_FORMAT_F32) | (1ull << VB_FORMAT_F16) | \
			 (1ull << VB_FORMAT_BF16))

/* Formats of values that become each other; what keys and values may be. */
#define VB_FORM_VALUES	(VB_FORM_FLOATS | (1ull << VB_FORMAT_Q8_0))

/* Packed groups of rows, one number after the other. */
#define VB_FORM_PACKED_LAST	VB_FORMAT_INT4_Z128_G16
#define VB_FORM_PACKED	((2ull << VB_FORM_PACKED_LAST) - (1ull << VB_FORMAT_MXFP4_G16))

#endif
