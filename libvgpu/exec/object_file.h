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

/* Take in what was closed, and begin with what waits for that. */
void vgpu_files_tend(struct vgpu_store *s);
/* So many files of a client do not close that no more of its objects should go. */
bool vgpu_files_are_stuck(const struct vgpu_store *s, uint32_t client);
/* Leave what does not close; the store ends. */
void vgpu_files_fini(struct vgpu_store *s);

/* It uses it no longer; NULL is fine.  The last one closes it. */
void vgpu_file_put(struct vgpu_store *s, struct vgpu_file *f);

#endif
