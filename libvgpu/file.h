/* SPDX-License-Identifier: MIT */
/* Files as both sides of the loopback, and the executor, look at them. */
#ifndef VGPU_FILE_H
#define VGPU_FILE_H

#include <stdint.h>

/**
 * vgpu_file_bytes() - how long a file is
 * @fd: any descriptor
 * @out: length of a regular file, or of a block device
 *
 * Return: 0; -EINVAL it is neither; what fstat() or the device said.
 */
int vgpu_file_bytes(int fd, uint64_t *out);

#endif
