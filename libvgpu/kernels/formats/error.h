/* SPDX-License-Identifier: MIT */
#ifndef VGPU_FORMATS_ERROR_H
#define VGPU_FORMATS_ERROR_H

#include "kernels/formats/checkpoint.h"

/**
 * vgpu_error_set() - fill an error and hand its code back
 * @err: where to write; NULL when the caller wants the code only
 * @code: negative errno
 * @fmt: printf format of one line without a newline
 *
 * Text from a file may be passed through the format: control bytes in the result
 * become '?', so that a hostile tensor name cannot drive the reader's terminal. A
 * line longer than the buffer is cut.
 *
 * Context: Any thread. Allocates nothing.
 * Return: @code.
 */
int vgpu_error_set(struct vgpu_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
