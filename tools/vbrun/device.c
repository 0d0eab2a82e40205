// SPDX-License-Identifier: MIT
#include "device.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/size.h"
#include "common/summary.h"

/* How often a waiting command looks for signals and shows progress. */
#define LOOK_NS (50 * 1000000)

const char *const device_policies[] = { "replay", "schedule", "freq", "lru", NULL };
const char *const device_engines[] = { "auto", "uring", "threads", "buffered", NULL };
const char *const device_backends[] = { "cpu", "null", NULL };

static const char *const describe_keys[] = { "device", "backend", "isa", "threads", "policy",
					     "io.engine", "io.reason", "host.pages", "nvme" };
#define DESCRIBE_KEYS (sizeof(describe_keys) / sizeof(describe_keys[0]))

/* Fields of a summary, in the order of enum vgpu_counter. */
static const char *const counter_names[VGPU_COUNTERS] = {
	"submits", "commands", "errors", "accesses", "hits", "read_bytes", "write_bytes",
	"evictions", "bypasses", "prefetches", "prefetch_used", "prefetch_late", "stall_ns",
	"busy_ns", "crc_errors", "io_errors", "fallbacks", "derive_ns", "copy_bytes",
};

void device_defaults(struct device_options *o, uint64_t chunk_bytes)
{
	memset(o, 0, sizeof(*o));
	o->chunk_bytes = chunk_bytes;
}

uint64_t device_nvme_bytes(const struct device_options *o)
{
	if (!o->nvme_path)
		return 0;
	return o->nvme_bytes ? o->nvme_bytes : DEVICE_NVME_BYTES;
}

int device_check(const struct device_options *o)
{
	if (o->chunk_bytes & (o->chunk_bytes - 1))
		return cli_usage("--chunk %" PRIu64 " is no power of two", o->chunk_bytes);
	if (o->nvme_bytes && !o->nvme_path)
		return cli_usage("--nvme-size %s is for --nvme FILE, which is not given",
				 size_text(o->nvme_bytes).s);
	return CLI_RUN;
}

const char *device_forced(void)
{
	const char *device = getenv("VBLACKWELL_DEVICE");

	return device && *device && strcmp(device, "embedded") ? device : NULL;
}

int device_open(const struct device_options *o, struct vgpu **out)
{
	struct vgpu_config config = {
		.size = sizeof(config),
		.chunk_bytes = (uint32_t)o->chunk_bytes,
		.host_bytes = o->host_bytes,
		.nvme_bytes = device_nvme_bytes(o),
		.nvme_path = o->nvme_path,
		.policy = device_policies[o->policy],
		.io_engine = device_engines[o->engine],
		.backend = device_backends[o->backend],
		.threads = o->threads,
		.staging_bytes = o->staging_bytes,
		.trace_path = o->trace,
	};
	int rc;

	if (device_forced())
		return cli_fail("VBLACKWELL_DEVICE is %s, and this needs a device of its own: unset it, or "
				"set it to embedded", device_forced());
	rc = vgpu_open_embedded(&config, out);
	if (rc)
		return cli_fail_vgpu(rc, "cannot open the device with a host tier of %s",
				     size_text(o->host_bytes).s);
	return CLI_OK;
}

static uint64_t host_bytes_of(struct vgpu *v, uint32_t tiers)
{
	struct vgpu_tier_info tier = { .size = sizeof(tier) };
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < tiers; i++)
		if (!vgpu_tier_info(v, i, &tier) && tier.tier == VGPU_TIER_HOST)
			bytes += tier.bytes;
	return bytes;
}

int device_ask(const char *node, struct device_options *o)
{
	struct vgpu_device_info info = { .size = sizeof(info) };
	struct vgpu *v;
	int rc = vgpu_open(node, &v);

	if (rc)
		return cli_fail_vgpu(rc, "cannot open the device");
	rc = vgpu_device_info(v, &info);
	o->chunk_bytes = info.chunk_bytes;
	o->host_bytes = rc ? 0 : host_bytes_of(v, info.tier_count) / 2;
	vgpu_close(v);
	if (rc)
		return cli_fail_vgpu(rc, "%s", node);
	return o->host_bytes ? CLI_OK : cli_fail("%s has no host tier: no executor serves it", node);
}

/* A submission without work: what was asked for before it has been done when it ends. */
static int run_nothing(struct vgpu *v)
{
	struct vgpu_cmdbuf *cb = NULL;
	struct vgpu_queue *q = NULL;
	int rc = vgpu_queue_create(v, 0, &q);

	if (!rc)
		rc = vgpu_cmdbuf_create(v, &cb);
	if (!rc)
		rc = vgpu_cmd_nop(cb);
	if (!rc)
		rc = vgpu_finish(q, cb);
	if (cb)
		vgpu_cmdbuf_destroy(cb);
	vgpu_queue_destroy(q);
	return rc;
}

int device_meet_files(struct vgpu *v, struct vgpu_bo *const *files, size_t count)
{
	struct vgpu_use *uses = calloc(count + 1, sizeof(*uses));
	int rc = uses ? 0 : -ENOMEM;

	for (size_t i = 0; i < count && !rc; i++)
		uses[i] = (struct vgpu_use){ files[i], 0, 1 };
	/* A declaration names objects; their first chunks may be read ahead. */
	if (!rc)
		rc = vgpu_schedule(v, uses, (uint32_t)count, false);
	if (!rc)
		rc = run_nothing(v);
	if (!rc)
		rc = vgpu_schedule(v, NULL, 0, false);
	free(uses);
	return rc;
}

void counters_read(struct vgpu *v, struct counters *out)
{
	memset(out, 0, sizeof(*out));
	vgpu_stats(v, out->c, VGPU_COUNTERS);
}

struct counters counters_since(struct vgpu *v, const struct counters *before)
{
	struct counters now;

	counters_read(v, &now);
	for (uint32_t i = 0; i < VGPU_COUNTERS; i++)
		now.c[i] -= before->c[i];
	return now;
}

void counters_summary(struct json_object *o, const struct counters *c)
{
	for (uint32_t i = 0; i < VGPU_COUNTERS; i++)
		summary_bytes(o, counter_names[i], c->c[i]);
}

double counters_stall(const struct counters *c)
{
	double busy = (double)c->c[VGPU_COUNT_BUSY_NS];

	return busy > 0 ? (double)c->c[VGPU_COUNT_STALL_NS] / busy : 0;
}

static void show_progress(struct vgpu *v, struct progress *p, uint64_t done_bytes,
			  const struct counters *before, uint32_t chunk_bytes)
{
	struct counters c = counters_since(v, before);
	uint64_t done = done_bytes + c.c[VGPU_COUNT_ACCESSES] * chunk_bytes;

	/* Other operands than weights have chunks, too. */
	progress_update(p, p->total && done > p->total ? p->total : done);
}

int device_run(struct vgpu *v, struct vgpu_queue *q, struct vgpu_cmdbuf *cb,
	       struct progress *progress, uint64_t done_bytes)
{
	struct vgpu_submit_info how = { .size = sizeof(how), .async = true };
	struct vgpu_device_info info = { .size = sizeof(info) };
	struct counters before;
	struct vgpu_fence fence;
	int rc;

	/* Short submissions end before the wait below looks. */
	if (progress_interrupted())
		return -EINTR;
	rc = vgpu_device_info(v, &info);
	if (rc)
		return rc;
	counters_read(v, &before);
	rc = vgpu_submit(q, cb, &how, &fence);
	if (rc)
		return rc;
	while ((rc = vgpu_wait(fence, LOOK_NS)) == -EAGAIN) {
		if (progress_interrupted())
			return -EINTR;
		if (progress)
			show_progress(v, progress, done_bytes, &before, info.chunk_bytes);
	}
	return rc;
}

int device_check_outputs(const char *const *paths, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int rc = part_check(paths[i]);

		if (rc)
			return cli_fail("%s: %s", paths[i], part_why(rc));
	}
	return CLI_RUN;
}

int device_trace_end(const char *trace, int rc)
{
	struct part part;
	struct stat st;
	int error;

	if (!trace || part_find(trace, &part))
		return rc;
	/* A device leaves an empty one when it could not write all of it. */
	if (rc == CLI_OK && !stat(part.at, &st) && !st.st_size)
		rc = cli_fail("%s: the trace could not be written whole", trace);
	if (rc != CLI_OK) {
		unlink(part.at);
		return rc;
	}
	error = part_place(&part);
	return error ? cli_fail("%s: %s", trace, part_why(error)) : rc;
}

uint32_t device_threads(struct vgpu *v)
{
	char text[64];

	if (vgpu_describe(v, "threads", text, sizeof(text)) <= 0)
		return 0;
	return (uint32_t)strtoul(text, NULL, 10);
}

void device_print(struct vgpu *v, FILE *to)
{
	char text[256];

	for (size_t i = 0; i < DESCRIBE_KEYS; i++)
		if (vgpu_describe(v, describe_keys[i], text, sizeof(text)) > 0)
			fprintf(to, "%-12s %s\n", describe_keys[i], text);
}

void device_print_staging(const char *text, int width)
{
	unsigned long long tier, most, limit;

	if (sscanf(text, "%llu bytes of the tier, beside it at most %llu so far of %llu", &tier, &most,
		   &limit) != 3)
		printf("%-*s %s\n", width, "staging", text);
	else
		printf("%-*s %s of the tier; beside it at most %s so far, of %s\n", width, "staging",
		       size_text(tier).s, size_text(most).s, size_text(limit).s);
}

void device_summary(struct vgpu *v, struct json_object *o)
{
	struct json_object *device = summary_object(o, "device");
	struct vgpu_device_info info = { .size = sizeof(info) };
	char text[256];

	for (size_t i = 0; i < DESCRIBE_KEYS; i++)
		if (vgpu_describe(v, describe_keys[i], text, sizeof(text)) >= 0)
			summary_text(device, describe_keys[i], text);
	if (!vgpu_device_info(v, &info)) {
		summary_bytes(device, "chunk_bytes", info.chunk_bytes);
		summary_bytes(device, "staging_bytes", info.staging_bytes);
		summary_bytes(device, "panel_bytes", info.panel_bytes);
	}
}
