// SPDX-License-Identifier: MIT
#include "arithmetic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/cli.h"
#include "common/size.h"
#include "process.h"
#include "stream.h"

/* Of a tier that holds everything: products and digest, and what is rounded up. */
#define BESIDE_WEIGHTS ((uint64_t)64 << 20)
/* Left to the rest of the machine. */
#define MEMORY_TO_LEAVE ((uint64_t)1 << 30)

static int say(int rc)
{
	if (rc && rc != -EINTR && rc != -ENODATA)
		cli_fail_vgpu(rc, "arithmetic alone");
	return rc;
}

static int open_on(struct arithmetic *a, const struct device_options *device,
		   const struct stream_options *o, const struct vgpu_checkpoint *ck,
		   const struct weights *w, uint64_t bytes_max)
{
	struct progress progress;
	int rc;

	if (device_open(device, &a->v))
		return -ENODEV;
	a->ms = (struct matrices){ .v = a->v, .m = o->m, .mode = (enum vgpu_mode)o->mode };
	rc = matrices_open(&a->ms, ck, w, bytes_max);
	if (!rc)
		rc = matrices_declare(&a->ms);
	if (rc)
		return say(rc);
	a->share = (double)a->ms.bytes / (double)w->used_bytes;
	progress_begin(&progress, "arithmetic alone", a->ms.bytes);
	rc = matrices_pass(&a->ms, &progress, 0);
	progress_end(&progress);
	return say(rc);
}

/* A tier that holds the files whole, what is packed, activations and what transfers take. */
static uint64_t host_for_all(const struct stream_options *o, const struct vgpu_checkpoint *ck,
			     const struct weights *w)
{
	uint64_t bytes = BESIDE_WEIGHTS + o->device.staging_bytes;
	uint32_t k_max = 0;

	for (size_t i = 0; i < vgpu_checkpoint_file_count(ck); i++)
		bytes += vgpu_checkpoint_file_identity(ck, i)->bytes + o->device.chunk_bytes;
	for (size_t i = 0; i < w->count; i++) {
		k_max = w->list[i].k > k_max ? w->list[i].k : k_max;
		if (w->list[i].used != w->list[i].format)
			bytes += w->list[i].used_bytes + o->device.chunk_bytes;
	}
	return bytes + (uint64_t)o->m * k_max * sizeof(float);
}

static void drop_from_cache(const struct vgpu_checkpoint *ck)
{
	for (size_t i = 0; i < vgpu_checkpoint_file_count(ck); i++)
		posix_fadvise(vgpu_checkpoint_file_fd(ck, i), 0, 0, POSIX_FADV_DONTNEED);
}

int arithmetic_open_all(struct arithmetic *a, const struct stream_options *o,
			const struct vgpu_checkpoint *ck, const struct weights *w)
{
	struct device_options device = o->device;
	int rc;

	device.trace = NULL;
	device.host_bytes = host_for_all(o, ck, w);
	if (process_memory_available() < device.host_bytes + o->device.host_bytes + MEMORY_TO_LEAVE)
		return -ENOMEM;
	rc = open_on(a, &device, o, ck, w, 0);
	drop_from_cache(ck);
	return rc;
}

int arithmetic_open_sample(struct arithmetic *a, const struct stream_options *o,
			   const struct vgpu_checkpoint *ck, const struct weights *w)
{
	struct device_options device = o->device;
	uint64_t room = (device.host_bytes - device.staging_bytes) / 10 * 8;
	int rc;

	device.trace = NULL;
	/* Small matrices far apart take whole chunks: then a smaller sample fits. */
	for (;; room /= 2) {
		rc = open_on(a, &device, o, ck, w, room);
		if (!rc)
			rc = arithmetic_pass(a);
		if (rc != -EAGAIN)
			return rc;
		arithmetic_close(a);
	}
}

int arithmetic_pass(struct arithmetic *a)
{
	struct counters before, c;
	double start;
	int rc;

	if (a->count == ARITHMETIC_PASSES_MAX)
		return 0;
	counters_read(a->v, &before);
	start = size_now();
	rc = matrices_pass(&a->ms, NULL, 0);
	if (rc)
		return say(rc);
	start = size_now() - start;
	c = counters_since(a->v, &before);
	if (c.c[VGPU_COUNT_READ_BYTES])
		return -EAGAIN;
	a->seconds[a->count++] = start;
	return 0;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double arithmetic_seconds(const struct arithmetic *a)
{
	double list[ARITHMETIC_PASSES_MAX];

	if (!a->count)
		return 0;
	memcpy(list, a->seconds, a->count * sizeof(*list));
	qsort(list, a->count, sizeof(*list), by_value);
	return list[a->count / 2] / a->share;
}

void arithmetic_close(struct arithmetic *a)
{
	if (!a->v)
		return;
	matrices_close(&a->ms);
	vgpu_close(a->v);
	memset(a, 0, sizeof(*a));
}
