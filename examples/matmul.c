/* SPDX-License-Identifier: MIT */
/* y = x w^T with a weight of a checkpoint: matmul model.safetensors TENSOR */
#include <stdio.h>
#include <vgpu.h>

int main(int argc, char **argv)
{
	const struct vgpu_tensor *t = NULL;
	struct vgpu_checkpoint *ck = NULL;
	struct vgpu_error error = { 0, "usage: matmul FILE TENSOR" };
	struct vgpu *v;
	struct vgpu_bo *w, *x, *y;
	struct vgpu_queue *q;
	struct vgpu_cmdbuf *cb;
	float *in, out[4];

	if (argc == 3 && !vgpu_checkpoint_open(argv[1], &ck, &error))
		t = vgpu_checkpoint_find(ck, argv[2]);
	if (!t || t->rank != 2 || t->shape[0] < 4)
		return fprintf(stderr, "%s\n", ck ? "no such matrix" : error.text), 1;
	uint32_t n = (uint32_t)t->shape[0], k = (uint32_t)t->shape[1];

	if (vgpu_open(NULL, &v) || vgpu_queue_create(v, 0, &q) || vgpu_cmdbuf_create(v, &cb) ||
	    vgpu_bo_create_file(v, vgpu_checkpoint_file_fd(ck, t->file), t->offset, t->bytes, &w) ||
	    vgpu_bo_create(v, 4ull * k, VGPU_LIFE_VOLATILE, &x) ||
	    vgpu_bo_create(v, 4ull * n, VGPU_LIFE_VOLATILE, &y) ||
	    vgpu_bo_map(x, 0, 0, VGPU_MAP_WRITE, (void **)&in))
		return fprintf(stderr, "%s\n", vgpu_error_text()), 1;
	for (uint32_t i = 0; i < k; i++)
		in[i] = 1;
	struct vgpu_matmul c = { .x = vgpu_matrix(x, 0, VGPU_FORMAT_F32, 1, k),
				 .w = vgpu_matrix(w, 0, vgpu_dtype_info(t->dtype)->format, n, k),
				 .y = vgpu_matrix(y, 0, VGPU_FORMAT_F32, 1, n) };
	if (vgpu_bo_unmap(x, 0, 0, VGPU_MAP_WRITE) || vgpu_cmd_matmul(cb, &c) ||
	    vgpu_finish(q, cb) || vgpu_bo_read(y, 0, out, sizeof(out)))
		return fprintf(stderr, "%s\n", vgpu_error_text()), 1;
	return printf("%s [%u][%u]: %g %g %g %g ...\n", t->name, n, k, out[0], out[1], out[2], out[3]) < 0;
}
