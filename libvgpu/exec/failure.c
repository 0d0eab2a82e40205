// SPDX-License-Identifier: MIT
#include "failure.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

void vgpu_failures_init(struct vgpu_failures *f)
{
	pthread_mutex_init(&f->lock, NULL);
	f->count = 0;
}

void vgpu_failures_fini(struct vgpu_failures *f)
{
	pthread_mutex_destroy(&f->lock);
}

void vgpu_failures_note(struct vgpu_failures *f, const struct vgpu_failure *failure)
{
	if (!failure->text[0])
		return;
	pthread_mutex_lock(&f->lock);
	f->kept[f->count++ % VGPU_FAILURES] = *failure;
	pthread_mutex_unlock(&f->lock);
}

static const struct vgpu_failure *last_locked(const struct vgpu_failures *f)
{
	return f->count ? &f->kept[(f->count - 1) % VGPU_FAILURES] : NULL;
}

static const struct vgpu_failure *find_locked(const struct vgpu_failures *f, uint32_t queue,
					      uint64_t seqno)
{
	for (uint32_t i = 0; i < VGPU_FAILURES && i < f->count; i++)
		if (f->kept[i].queue == queue && f->kept[i].seqno == seqno)
			return &f->kept[i];
	return NULL;
}

int vgpu_failures_describe(struct vgpu_failures *f, const char *key, char *text, size_t len)
{
	const struct vgpu_failure *found;
	uint32_t queue;
	uint64_t seqno;
	bool one = sscanf(key, "error %" SCNu32 " %" SCNu64, &queue, &seqno) == 2;
	int n = -ENOENT;

	pthread_mutex_lock(&f->lock);
	found = one ? find_locked(f, queue, seqno) : last_locked(f);
	if (found)
		n = snprintf(text, len, "%s", found->text);
	pthread_mutex_unlock(&f->lock);
	return n;
}
