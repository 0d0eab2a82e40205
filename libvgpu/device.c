// SPDX-License-Identifier: MIT
#include "device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "sized.h"

#define NODE_PATH	"/dev/vblackwell"

_Static_assert((int)VGPU_TIER_HOST == VB_TIER_HOST && (int)VGPU_TIER_DEVICE == VB_TIER_DEVICE &&
	       (int)VGPU_TIER_NVME == VB_TIER_NVME && (int)VGPU_TIERS == VB_TIER_COUNT, "tiers");
_Static_assert((int)VGPU_COUNT_SUBMITS == VB_COUNT_SUBMITS &&
	       (int)VGPU_COUNT_COMMANDS == VB_COUNT_COMMANDS &&
	       (int)VGPU_COUNT_ERRORS == VB_COUNT_ERRORS &&
	       (int)VGPU_COUNT_ACCESSES == VB_COUNT_ACCESSES &&
	       (int)VGPU_COUNT_HITS == VB_COUNT_HITS &&
	       (int)VGPU_COUNT_READ_BYTES == VB_COUNT_READ_BYTES &&
	       (int)VGPU_COUNT_WRITE_BYTES == VB_COUNT_WRITE_BYTES &&
	       (int)VGPU_COUNT_EVICTIONS == VB_COUNT_EVICTIONS &&
	       (int)VGPU_COUNT_BYPASSES == VB_COUNT_BYPASSES &&
	       (int)VGPU_COUNT_PREFETCHES == VB_COUNT_PREFETCHES &&
	       (int)VGPU_COUNT_PREFETCH_USED == VB_COUNT_PREFETCH_USED &&
	       (int)VGPU_COUNT_PREFETCH_LATE == VB_COUNT_PREFETCH_LATE &&
	       (int)VGPU_COUNT_STALL_NS == VB_COUNT_STALL_NS &&
	       (int)VGPU_COUNT_BUSY_NS == VB_COUNT_BUSY_NS &&
	       (int)VGPU_COUNT_CRC_ERRORS == VB_COUNT_CRC_ERRORS &&
	       (int)VGPU_COUNT_IO_ERRORS == VB_COUNT_IO_ERRORS &&
	       (int)VGPU_COUNT_FALLBACKS == VB_COUNT_FALLBACKS &&
	       (int)VGPU_COUNT_DERIVE_NS == VB_COUNT_DERIVE_NS &&
	       (int)VGPU_COUNT_COPY_BYTES == VB_COUNT_COPY_BYTES &&
	       (int)VGPU_COUNTERS == VB_COUNT_COUNT, "counters");

const char *vgpu_version(void)
{
	return VGPU_VERSION;
}

int vgpu_call_once(struct vgpu *v, unsigned long request, void *arg)
{
	int rc;

	if (v->embedded && v->forks != vgpu_embedded_forks())
		return vgpu_fail(-EPERM, "the in-process device belongs to the process that opened "
				 "it; open another one after fork()");
	rc = vgpu_uapi_call(v->uapi, request, arg);
	return rc == -EPERM ? vgpu_fail_device(rc, "request 0x%lx", request) : rc;
}

int vgpu_call(struct vgpu *v, unsigned long request, void *arg)
{
	int rc;

	do {
		rc = vgpu_call_once(v, request, arg);
	} while (rc == -EINTR);
	return rc;
}

/* A client of an in-process device; the reference to @e is the client's, or dropped. */
static int open_embedded(struct vgpu_embedded *e, struct vgpu **out)
{
	struct vgpu *v = calloc(1, sizeof(*v));
	int rc = -ENOMEM;

	if (v)
		rc = vgpu_embedded_open(e, &v->uapi);
	if (rc) {
		free(v);
		vgpu_embedded_put(e);
		return vgpu_fail(rc, "no memory for a client");
	}
	vgpu_mappings_init(&v->mappings);
	v->embedded = e;
	v->forks = vgpu_embedded_forks();
	*out = v;
	return 0;
}

static int open_node(const char *path, struct vgpu **out)
{
	struct vgpu *v = calloc(1, sizeof(*v));
	int rc;

	if (!v)
		return vgpu_fail(-ENOMEM, "no memory for a client");
	if (snprintf(v->path, sizeof(v->path), "%s", path) >= (int)sizeof(v->path)) {
		rc = vgpu_fail(-ENAMETOOLONG, "device path is longer than %zu", sizeof(v->path) - 1);
		goto err_free;
	}
	rc = vgpu_uapi_open_node(path, &v->uapi);
	if (rc) {
		vgpu_fail(rc, "%s: %s", path, rc == -ENODEV ? "no Virtual Blackwell device" :
			  strerror(-rc));
		goto err_free;
	}
	vgpu_mappings_init(&v->mappings);
	*out = v;
	return 0;

err_free:
	free(v);
	return rc;
}

/* Anything but that there is none is for opening it to say. */
static bool node_is_there(void)
{
	return !access(NODE_PATH, F_OK) || (errno != ENOENT && errno != ENOTDIR);
}

/* Nobody asked for the module by name: say that there is a way without it, and do not take it. */
static int open_found(struct vgpu **out)
{
	char why[VGPU_ERROR_BYTES];
	int rc = open_node(NODE_PATH, out);

	if (!rc)
		return 0;
	snprintf(why, sizeof(why), "%s", vgpu_error_text());
	return vgpu_fail(rc, "%s; VBLACKWELL_DEVICE=embedded takes the in-process device instead", why);
}

int vgpu_open(const char *device, struct vgpu **out)
{
	struct vgpu_embedded *e;
	int rc;

	if (!device)
		device = getenv("VBLACKWELL_DEVICE");
	if (!device || !*device) {
		if (node_is_there())
			return open_found(out);
		device = "embedded";
	}
	if (strcmp(device, "embedded"))
		return open_node(device, out);
	rc = vgpu_embedded_share(&e);
	return rc ? rc : open_embedded(e, out);
}

int vgpu_open_embedded(const struct vgpu_config *config, struct vgpu **out)
{
	struct vgpu_embedded *e;
	int rc;

	rc = vgpu_embedded_create(config, &e);
	return rc ? rc : open_embedded(e, out);
}

int vgpu_open_peer(struct vgpu *v, struct vgpu **out)
{
	if (!v->embedded)
		return open_node(v->path, out);
	if (v->forks != vgpu_embedded_forks())
		return vgpu_fail(-EPERM, "the in-process device belongs to the process that opened it");
	return open_embedded(vgpu_embedded_get(v->embedded), out);
}

void vgpu_close(struct vgpu *v)
{
	if (!v)
		return;
	/* In a child the device is only a picture of the parent's: leave it alone. */
	if (!v->embedded || v->forks == vgpu_embedded_forks()) {
		/* The module's node stays open as long as something of it is mapped. */
		vgpu_mappings_end(&v->mappings);
		v->uapi->ops->close(v->uapi);
		if (v->embedded)
			vgpu_embedded_put(v->embedded);
	}
	free(v);
}

int vgpu_device_info(struct vgpu *v, struct vgpu_device_info *info)
{
	struct vb_ioc_query_device q = { .size = sizeof(q) };
	struct vgpu_device_info now = { .size = sizeof(now) };
	int rc;

	rc = vgpu_sized_check("info", sizeof(now), info);
	if (rc)
		return rc;
	rc = vgpu_call(v, VB_IOC_QUERY_DEVICE, &q);
	if (rc)
		return rc == -EPERM ? rc : vgpu_fail_device(rc, "query device");
	now.chunk_bytes = q.out_chunk_bytes;
	now.tier_count = q.out_tier_count;
	now.embedded = v->embedded;
	now.staging_bytes = q.out_host_staging_bytes;
	now.panel_bytes = q.out_panel_bytes;
	vgpu_sized_answer(info, &now, sizeof(now));
	return 0;
}

int vgpu_tier_info(struct vgpu *v, uint32_t index, struct vgpu_tier_info *info)
{
	struct vb_ioc_query_tier q = { .size = sizeof(q), .index = index };
	struct vgpu_tier_info now = { .size = sizeof(now) };
	int rc;

	rc = vgpu_sized_check("info", sizeof(now), info);
	if (rc)
		return rc;
	rc = vgpu_call(v, VB_IOC_QUERY_TIER, &q);
	if (rc)
		return rc == -EPERM ? rc : vgpu_fail_device(rc, "query tier %u", index);
	now.tier = (enum vgpu_tier)q.out_tier;
	now.numa_node = q.out_numa_node;
	now.arena = q.out_arena;
	now.bytes = q.out_bytes;
	now.used_bytes = q.out_used_bytes;
	now.pinned_bytes = q.out_pinned_bytes;
	now.reserved_bytes = q.out_reserved_bytes;
	now.client_bytes = q.out_client_bytes;
	vgpu_sized_answer(info, &now, sizeof(now));
	return 0;
}

int vgpu_stats(struct vgpu *v, uint64_t *counters, uint32_t count)
{
	struct vb_ioc_stats q = {
		.size = sizeof(q), .count = count, .address = (uintptr_t)counters,
	};
	int rc;

	rc = vgpu_call(v, VB_IOC_STATS, &q);
	return rc && rc != -EPERM ? vgpu_fail_device(rc, "counters") : rc;
}

static int describe_device(const struct vgpu *v, char *text, size_t len)
{
	int n = v->embedded ? snprintf(text, len, "embedded") : snprintf(text, len, "%s", v->path);

	return n < (int)len ? n : (int)len - 1;
}

int vgpu_describe(struct vgpu *v, const char *key, char *text, size_t len)
{
	int rc;

	if (!len)
		return vgpu_fail(-EINVAL, "describe: no room for text");
	if (!strcmp(key, "device"))
		return describe_device(v, text, len);
	if (v->embedded && v->forks != vgpu_embedded_forks())
		return vgpu_fail(-EPERM, "the in-process device belongs to the process that opened it");
	rc = v->embedded ? vgpu_embedded_describe(v->embedded, key, text, len) : -ENOENT;
	return rc == -ENOENT ? vgpu_fail(rc, "describe: key \"%s\" is not known", key) : rc;
}
