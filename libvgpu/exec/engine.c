// SPDX-License-Identifier: MIT
#include "engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "region.h"

#define ENGINE_DEPTH	32u
/* Bytes of a probe, or what a turn of each engine takes to have transfers in flight. */
#define PROBE_BYTES	(64ull << 20)
#define PROBE_TURN_CHUNKS	8u
/* A probe takes 50 to 150 ms: only where reading the file takes far longer. */
#define PROBE_FILE_SHARE	8u
/* Disks are noisy: change for less and the next run changes back. */
#define WORTH_CHANGING	1.15

/* As many transfers as there is staging; but the kernel's readahead follows only few readers. */
static uint32_t engine_depth(const char *name)
{
	return name && !strcmp(name, "buffered") ? 0 : ENGINE_DEPTH;
}

void vgpu_engine_init(struct vgpu_engine *e)
{
	pthread_mutex_init(&e->lock, NULL);
}

void vgpu_engine_fini(struct vgpu_engine *e)
{
	pthread_mutex_destroy(&e->lock);
}

int vgpu_engine_open(struct vgpu_engine *e, const char *name, uint32_t chunk_bytes)
{
	struct vgpu_io_params p = { .engine = name, .depth = engine_depth(name),
				    .timeout_ms = e->timeout_ms };
	int rc = vgpu_io_open(&p, &e->io);

	e->chunk_bytes = chunk_bytes;
	e->fixed = name && strcmp(name, "auto");
	return rc;
}

static int describe_reason_locked(struct vgpu_engine *e, char *text, size_t len)
{
	char reason[2 * VGPU_IO_REASON_BYTES + 2];

	vgpu_io_engine_reason(e->io, reason, sizeof(reason));
	return snprintf(text, len, "%s%s%s", reason, e->probe[0] ? "; probed: " : "", e->probe);
}

int vgpu_engine_describe(struct vgpu_engine *e, const char *key, char *text, size_t len)
{
	int n = -ENOENT;

	pthread_mutex_lock(&e->lock);
	if (!strcmp(key, "io.engine"))
		n = snprintf(text, len, "%s", vgpu_io_engine_name(e->io));
	else if (!strcmp(key, "io.reason"))
		n = describe_reason_locked(e, text, len);
	pthread_mutex_unlock(&e->lock);
	return n;
}

static double row_of(const struct vgpu_io_probe_result *p, const char *engine)
{
	double best = 0;

	for (uint32_t i = 0; i < p->count; i++) {
		if (!strcmp(p->rows[i].engine, engine) && p->rows[i].gbps > best)
			best = p->rows[i].gbps;
	}
	return best;
}

/* Give the new engine all that the old one had. */
static int engine_hand_over(struct vgpu_engine *e, struct vgpu_io *io)
{
	struct vgpu_resid *r = e->resid;
	struct vgpu_io *old = e->io;
	uint32_t nvme_file = r->nvme_file;
	int32_t region[VGPU_REGIONS_MAX];
	int rc = vgpu_regions_register(r, io, region);

	if (!rc && r->nvme)
		rc = vgpu_io_file_add(io, vgpu_nvme_fd(r->nvme), 0, &nvme_file);
	if (!rc)
		rc = vgpu_store_move(r->store, io);
	if (rc)
		return rc;
	r->io = io;
	memcpy(r->region, region, sizeof(region));
	r->nvme_file = nvme_file;
	pthread_mutex_lock(&e->lock);
	e->io = io;
	pthread_mutex_unlock(&e->lock);
	vgpu_io_close(old);
	return 0;
}

int vgpu_engine_change(struct vgpu_engine *e, const char *name)
{
	struct vgpu_io_params p = { .engine = name, .depth = engine_depth(name),
				    .timeout_ms = e->timeout_ms };
	struct vgpu_io *io;
	int rc;

	while (vgpu_resid_is_moving(e->resid) &&
	       vgpu_resid_pump(e->resid, VGPU_PUMP_WAIT_NS) >= 0)
		;
	if (e->resid->moving)
		return -EBUSY;
	rc = vgpu_io_open(&p, &io);
	if (rc)
		return rc;
	rc = engine_hand_over(e, io);
	if (rc)
		vgpu_io_close(io);
	return rc;
}

static uint64_t probe_bytes(const struct vgpu_engine *e)
{
	uint64_t turns = (uint64_t)VGPU_IO_PROBE_TURNS * PROBE_TURN_CHUNKS * e->chunk_bytes;

	return turns > PROBE_BYTES ? turns : PROBE_BYTES;
}

struct vgpu_measure vgpu_engine_wants(void *arg, uint64_t bytes)
{
	struct vgpu_engine *e = arg;

	if (e->fixed || e->probed || bytes / PROBE_FILE_SHARE < probe_bytes(e))
		return (struct vgpu_measure){ 0 };
	e->probed = true;
	return (struct vgpu_measure){ e->measure, e->chunk_bytes, probe_bytes(e) };
}

void vgpu_engine_chose(void *arg, const struct vgpu_io_probe_result *found)
{
	const struct vgpu_io_probe_row *best = &found->rows[found->best];
	struct vgpu_engine *e = arg;
	double ours;

	if (!found->count)
		return;
	ours = row_of(found, vgpu_io_engine_name(e->io));
	/* One that was not measured is not known to be slower. */
	if (ours > 0 && best->gbps > WORTH_CHANGING * ours)
		vgpu_engine_change(e, best->engine);
	pthread_mutex_lock(&e->lock);
	snprintf(e->probe, sizeof(e->probe), "%s", found->reason);
	pthread_mutex_unlock(&e->lock);
}
