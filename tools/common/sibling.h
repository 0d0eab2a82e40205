/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_SIBLING_H
#define TOOLS_SIBLING_H

#include "vgpu.h"

/**
 * sibling_find() - the tensor named like another, with another ending
 * @name: of the one at hand
 * @end: of that name
 * @other: instead of it
 *
 * Return: NULL: there is none, or @name has no such ending.
 */
const struct vgpu_tensor *sibling_find(const struct vgpu_checkpoint *ck, const char *name,
				       const char *end, const char *other);

#endif
