// SPDX-License-Identifier: MIT
#include "common/recorded.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vgpu.h"

static int read_halves(const struct vgpu_checkpoint *ck, const struct vgpu_tensor *t, float *x)
{
	size_t n = t->bytes / sizeof(_Float16);
	_Float16 *half = malloc(t->bytes);
	int rc = half ? 0 : -ENOMEM;

	if (half && pread(vgpu_checkpoint_file_fd(ck, t->file), half, t->bytes,
			  (off_t)t->offset) != (ssize_t)t->bytes)
		rc = -EIO;
	for (size_t i = 0; i < n && !rc; i++)
		x[i] = (float)half[i];
	free(half);
	return rc;
}

static int take(const struct vgpu_checkpoint *ck, const struct vgpu_tensor *t,
		struct recorded *out)
{
	float *x;
	int rc;

	if (t->dtype != VGPU_DTYPE_F16 || t->rank != 2)
		return -EINVAL;
	x = malloc(t->bytes / sizeof(_Float16) * sizeof(*x));
	if (!x)
		return -ENOMEM;
	rc = read_halves(ck, t, x);
	if (rc) {
		free(x);
		return rc;
	}
	snprintf(out->name, sizeof(out->name), "%s", t->name);
	out->m = (uint32_t)t->shape[0];
	out->k = (uint32_t)t->shape[1];
	out->x = x;
	return 0;
}

int recorded_take(uint32_t i, struct recorded *out)
{
	struct vgpu_checkpoint *ck;
	const struct vgpu_tensor *t;
	int rc = vgpu_checkpoint_open(TEST_DATA "/minilm_activations.safetensors", &ck, NULL);

	if (rc)
		return rc == -ENOENT ? -EIO : rc;
	t = vgpu_checkpoint_tensor(ck, i);
	rc = t ? take(ck, t, out) : -ENOENT;
	vgpu_checkpoint_close(ck);
	return rc;
}
