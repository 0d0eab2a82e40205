/* SPDX-License-Identifier: MIT */
/* The sentence behind the last failure of a thread. */
#ifndef VGPU_ERROR_H
#define VGPU_ERROR_H

#define VGPU_ERROR_BYTES	512u

/**
 * vgpu_fail() - remember why, and return @err
 * @err: -errno
 * @fmt: a sentence without a full stop: the field, its value, the limit
 *
 * Context: any thread; keeps a private copy of everything.
 */
int vgpu_fail(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* As vgpu_fail(), followed by what the number means in every call of the device. */
int vgpu_fail_device(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
