/* SPDX-License-Identifier: MIT */
#ifndef VBRUN_FAIL_H
#define VBRUN_FAIL_H

#include "vgpu.h"

/**
 * vbrun_fail() - fill an error and hand its code back
 * @err: where to write, or NULL
 * @code: negative errno
 * @fmt: printf format of one line without a newline
 *
 * Return: @code.
 */
int vbrun_fail(struct vgpu_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
