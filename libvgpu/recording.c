// SPDX-License-Identifier: MIT
/* What a device recorded (trace_path), and what other policies would have done. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "exec/policy.h"
#include "exec/trace.h"
#include "vgpu.h"

/**
 * struct vgpu_recording - a trace in memory
 * @header: of the tier that was recorded
 * @uses: every use with its flags and its answer
 */
struct vgpu_recording {
	struct vgpu_trace_header header;
	struct vgpu_trace_uses uses;
};

static int recording_load(struct vgpu_recording *r, int fd)
{
	struct vgpu_trace_reader *reader;
	int rc = vgpu_trace_open(fd, &reader);

	if (rc)
		return rc;
	r->header = *vgpu_trace_header(reader);
	rc = vgpu_trace_load_uses(reader, &r->uses);
	vgpu_trace_close(reader);
	return rc;
}

int vgpu_recording_open(const char *path, struct vgpu_recording **out)
{
	struct vgpu_recording *r;
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;

	if (fd < 0)
		return vgpu_fail(-errno, "recording %s: %s", path, strerror(errno));
	r = calloc(1, sizeof(*r));
	rc = r ? recording_load(r, fd) : -ENOMEM;
	close(fd);
	if (rc) {
		vgpu_recording_close(r);
		return vgpu_fail(rc, "recording %s: %s", path, strerror(-rc));
	}
	*out = r;
	return 0;
}

void vgpu_recording_close(struct vgpu_recording *r)
{
	if (!r)
		return;
	vgpu_trace_free_uses(&r->uses);
	free(r);
}

void vgpu_recording_info(const struct vgpu_recording *r, struct vgpu_recording_info *out)
{
	*out = (struct vgpu_recording_info){
		.chunk_bytes = r->header.chunk_bytes, .capacity = r->header.capacity,
		.staging = r->header.staging, .uses = r->uses.count,
	};
	snprintf(out->policy, sizeof(out->policy), "%s", r->header.policy);
}

static int replay_recorded(const struct vgpu_recording *r, uint64_t skip,
			   struct vgpu_replay *out)
{
	for (size_t i = 0; i < r->uses.count; i++) {
		bool miss = vgpu_trace_is_miss(&r->uses, i);

		out->misses += miss;
		out->later_misses += miss && i >= skip;
	}
	return 0;
}

static int replay_optimum(const struct vgpu_recording *r, uint32_t capacity, uint64_t skip,
			  struct vgpu_replay *out)
{
	uint64_t early = 0;
	int rc = vgpu_policy_opt_misses(r->uses.keys, r->uses.flags, r->uses.count, capacity,
					&out->misses);

	if (!rc && skip)
		rc = vgpu_policy_opt_misses(r->uses.keys, r->uses.flags, skip, capacity, &early);
	out->later_misses = out->misses - early;
	return rc;
}

/* The declared schedule of a recording is the recording. */
static int replay_declare(const struct vgpu_recording *r, const struct vgpu_policy_ops *ops,
			  void *policy)
{
	int rc = strcmp(ops->name, "schedule") ? 0 :
		 ops->future(policy, 0, r->uses.keys, r->uses.count, false);

	return rc == -EOPNOTSUPP ? 0 : rc;
}

static int replay_policy(const struct vgpu_recording *r, const struct vgpu_policy_ops *ops,
			 uint32_t capacity, uint64_t skip, struct vgpu_replay *out)
{
	struct vgpu_policy_params params = { .capacity = capacity };
	uint64_t victim;
	void *policy;
	int rc = ops->create(&params, &policy);

	if (rc)
		return rc;
	rc = replay_declare(r, ops, policy);
	for (size_t i = 0; i < r->uses.count && rc >= 0; i++) {
		rc = ops->access(policy, r->uses.keys[i], r->uses.flags[i], &victim);
		if (rc < 0)
			break;
		/* A repeat finds the chunk, retained or not. */
		if (rc == VGPU_POLICY_HIT || (i && r->uses.keys[i] == r->uses.keys[i - 1]))
			continue;
		out->misses++;
		out->later_misses += i >= skip;
	}
	ops->destroy(policy);
	return rc < 0 ? rc : 0;
}

int vgpu_recording_replay(const struct vgpu_recording *r, const char *policy, uint32_t capacity,
			  uint64_t skip, struct vgpu_replay *out)
{
	const struct vgpu_policy_ops *ops;
	int rc;

	*out = (struct vgpu_replay){ 0 };
	if (!capacity)
		capacity = r->header.capacity;
	if (skip > r->uses.count)
		return vgpu_fail(-ERANGE, "skip is %llu; the recording has %llu uses",
				 (unsigned long long)skip, (unsigned long long)r->uses.count);
	if (!policy)
		return replay_recorded(r, skip, out);
	ops = vgpu_policy_find(policy);
	if (!strcmp(policy, "optimum"))
		rc = replay_optimum(r, capacity, skip, out);
	else if (ops)
		rc = replay_policy(r, ops, capacity, skip, out);
	else
		return vgpu_fail(-ENOENT, "policy \"%s\" is not known", policy);
	if (rc)
		vgpu_fail(rc, "policy %s at %u chunks: %s", policy, capacity, strerror(-rc));
	return rc;
}
