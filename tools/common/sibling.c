// SPDX-License-Identifier: MIT
#include "common/sibling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct vgpu_tensor *sibling_find(const struct vgpu_checkpoint *ck, const char *name,
				       const char *end, const char *other)
{
	size_t length = strlen(name), tail = strlen(end);
	const struct vgpu_tensor *t;
	char *text;

	if (length <= tail || strcmp(name + length - tail, end))
		return NULL;
	if (asprintf(&text, "%.*s%s", (int)(length - tail), name, other) < 0)
		return NULL;
	t = vgpu_checkpoint_find(ck, text);
	free(text);
	return t;
}
