/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * One operand against its form and its BO.  Inside kmod/core only.
 */
#ifndef VB_CORE_OPERAND_H
#define VB_CORE_OPERAND_H

#include "cmd_form.h"

/* What an error says beside the command: filled by vb_cmd_fail(). */
struct vb_cmd_blame {
	const char *operand;
	const char *field;
	u16 fault;
	u16 must;
	u32 dim;
};

/**
 * vb_cmd_fail() - fill an error, leaving command and opcode
 * @error: filled
 * @rc: -errno
 * @blame: what is wrong
 * @value: what it is
 * @limit: what it may be
 *
 * Return: @rc.
 */
int vb_cmd_fail(struct vb_cmd_error *error, int rc, const struct vb_cmd_blame *blame,
		u64 value, u64 limit);

/**
 * vb_operand_check() - is the operand legal by itself
 * @op: operand
 * @form: what it must look like; lengths are compared by the caller
 * @bos: the BO list
 * @bo_count: entries
 * @out_bytes: vb_operand_extent(); 0 for an absent operand
 * @error: filled when the result is not 0
 *
 * Return: 0 or -errno.
 */
int vb_operand_check(const struct vb_operand *op, const struct vb_operand_form *form,
		     const struct vb_cmd_bo *bos, u32 bo_count, u64 *out_bytes,
		     struct vb_cmd_error *error);

#endif
