/* SPDX-License-Identifier: MIT */
/* Files that objects come from: opened and closed by errands, known to the I/O engine. */
#ifndef VGPU_EXEC_OBJECT_FILE_H
#define VGPU_EXEC_OBJECT_FILE_H

#include "object.h"

/**
 * vgpu_file_get() - an object begins to use its file
 * @fd: the file's from here on, also when this fails; negative: it has none
 *
 * Return: 0, perhaps with the file not ready yet; what vgpu_io_file_prepare() said; -ENOMEM.
 */
int vgpu_file_get(struct vgpu_store *s, struct vgpu_object *o, int fd);

/* It uses it no longer; NULL is fine.  The last one closes it. */
void vgpu_file_put(struct vgpu_store *s, struct vgpu_file *f);

#endif
