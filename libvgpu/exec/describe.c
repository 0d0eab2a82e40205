// SPDX-License-Identifier: MIT
/* What an executor says of itself, to any thread and at any time. */
#include "executor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "home.h"
#include "kernels/kernels.h"
#include "kernels/pool.h"

static int describe_threads(struct vgpu_exec *x, char *text, size_t len)
{
	struct vgpu_pool_info pool;

	vgpu_pool_query(x->pool, &pool);
	return snprintf(text, len, "%u thread%s on %u node%s%s", pool.threads,
			pool.threads == 1 ? "" : "s", pool.nodes, pool.nodes == 1 ? "" : "s",
			pool.pinned ? ", pinned" : "");
}

static int describe_staging(struct vgpu_exec *x, char *text, size_t len)
{
	return snprintf(text, len, "%llu bytes of the tier, beside it at most %llu so far of %llu",
			(unsigned long long)x->resid.staging * x->resid.chunk_bytes,
			(unsigned long long)__atomic_load_n(&x->resid.beside.most, __ATOMIC_RELAXED),
			VGPU_BESIDE_BYTES);
}

static int describe(struct vgpu_exec *x, const char *key, char *text, size_t len)
{
	if (!strncmp(key, "error", 5))
		return vgpu_failures_describe(&x->failures, key, text, len);
	if (!strcmp(key, "backend"))
		return snprintf(text, len, "%s", x->env.backend->name);
	if (!strcmp(key, "isa"))
		return snprintf(text, len, "%s", vgpu_isa_name(vgpu_kernels_best()->isa));
	if (!strcmp(key, "threads"))
		return describe_threads(x, text, len);
	if (!strcmp(key, "policy"))
		return snprintf(text, len, "%s", x->resid.policy->name);
	if (!strcmp(key, "staging"))
		return describe_staging(x, text, len);
	if (!strcmp(key, "host.pages"))
		return snprintf(text, len, "%s", x->resid.pages);
	if (!strcmp(key, "host.nodes"))
		return vgpu_homes_describe(&x->resid, text, len);
	if (!strcmp(key, "recovery"))
		return snprintf(text, len, "%s", x->recovery);
	if (!strcmp(key, "nvme"))
		return snprintf(text, len, "%llu bytes", x->nvme ?
				(unsigned long long)vgpu_nvme_bytes(x->nvme) : 0ull);
	return vgpu_engine_describe(&x->engine, key, text, len);
}

int vgpu_exec_describe(struct vgpu_exec *x, const char *key, char *text, size_t len)
{
	int n = len ? describe(x, key, text, len) : -EINVAL;

	return n < (int)len ? n : (int)len - 1;
}
