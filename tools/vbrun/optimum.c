// SPDX-License-Identifier: MIT
#include "optimum.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "exec/policy.h"
#include "exec/trace.h"

/* Misses of a policy that does not know the future. */
static int simulate(const char *name, const struct vgpu_trace_uses *uses, size_t first,
		    uint32_t capacity, struct optimum_row *out)
{
	const struct vgpu_policy_ops *ops = vgpu_policy_find(name);
	struct vgpu_policy_params params = { .capacity = capacity };
	uint64_t victim, early = 0, misses = 0;
	void *policy;
	int rc;

	rc = ops->create(&params, &policy);
	if (rc)
		return rc;
	for (size_t i = 0; i < uses->count; i++) {
		if (i == first)
			early = misses;
		rc = ops->access(policy, uses->keys[i], uses->flags[i], &victim);
		if (rc < 0)
			break;
		misses += rc != VGPU_POLICY_HIT;
	}
	ops->destroy(policy);
	*out = (struct optimum_row){ misses, misses - early };
	return rc < 0 ? rc : 0;
}

static int best(const struct vgpu_trace_uses *uses, size_t first, uint32_t capacity,
		struct optimum_row *out)
{
	uint64_t early = 0;
	int rc;

	rc = vgpu_policy_opt_misses(uses->keys, uses->flags, uses->count, capacity, &out->all);
	if (!rc && first)
		rc = vgpu_policy_opt_misses(uses->keys, uses->flags, first, capacity, &early);
	out->later = out->all - early;
	return rc;
}

/* The run's own answers, record by record. */
static int count_ours(int fd, size_t first, struct optimum_row *out)
{
	struct vgpu_trace_reader *reader;
	struct vgpu_trace_record record;
	size_t uses = 0;
	int rc;

	*out = (struct optimum_row){ 0 };
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	rc = vgpu_trace_open(fd, &reader);
	if (rc)
		return rc;
	while ((rc = vgpu_trace_next(reader, &record)) > 0) {
		if (!vgpu_trace_is_access(record.event))
			continue;
		if (record.event != VGPU_TRACE_HIT) {
			out->all++;
			out->later += uses >= first;
		}
		uses++;
	}
	vgpu_trace_close(reader);
	return rc;
}

static int compare(int fd, uint32_t parts, struct optimum *out)
{
	struct vgpu_trace_uses uses = { 0 };
	struct vgpu_trace_reader *reader;
	size_t first;
	int rc;

	rc = vgpu_trace_open(fd, &reader);
	if (rc)
		return rc;
	out->chunk_bytes = vgpu_trace_header(reader)->chunk_bytes;
	out->capacity = vgpu_trace_header(reader)->capacity;
	out->staging = vgpu_trace_header(reader)->staging;
	rc = vgpu_trace_load_uses(reader, &uses);
	vgpu_trace_close(reader);
	if (!rc && !uses.count)
		rc = -ENODATA;
	first = parts > 1 ? uses.count / parts : 0;
	out->uses = uses.count;
	if (!rc)
		rc = best(&uses, first, out->capacity, &out->best);
	if (!rc)
		rc = simulate("lru", &uses, first, out->capacity, &out->lru);
	if (!rc)
		rc = count_ours(fd, first, &out->ours);
	vgpu_trace_free_uses(&uses);
	return rc;
}

int optimum_of_trace(const char *path, uint32_t parts, struct optimum *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return -errno;
	rc = compare(fd, parts, out);
	close(fd);
	return rc;
}
