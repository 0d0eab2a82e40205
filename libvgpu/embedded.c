// SPDX-License-Identifier: MIT
/*
 * Devices in this process: a loopback and an executor that serves it.
 *
 * A child of fork() has the memory of such a device but not its threads, and locks
 * that may be held for ever.  It must not touch it: forks are counted, and a client
 * that was opened before the last one is refused.  The child may open its own.
 */
#include "device.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "exec/exec.h"
#include "kernels/cgroup.h"
#include "sized.h"


/**
 * struct vgpu_embedded - a device of this process
 * @refs: clients; under @registry.lock
 * @shared: it is @registry.shared
 */
struct vgpu_embedded {
	uint32_t refs;
	bool shared;
	struct vgpu_loop *loop;
	struct vgpu_exec *exec;
};

static struct {
	pthread_mutex_t lock;
	struct vgpu_embedded *shared;
} registry = { .lock = PTHREAD_MUTEX_INITIALIZER };

static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static _Atomic uint32_t forks;

/* Only the forking thread lives on: nobody else can hold the lock. */
static void in_child(void)
{
	static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;

	memcpy(&registry.lock, &fresh, sizeof(fresh));
	registry.shared = NULL;
	atomic_fetch_add_explicit(&forks, 1, memory_order_relaxed);
}

static void fork_watch(void)
{
	pthread_atfork(NULL, NULL, in_child);
}

uint32_t vgpu_embedded_forks(void)
{
	return atomic_load_explicit(&forks, memory_order_relaxed);
}

static const char *text_or(const char *text, const char *variable)
{
	return text ? text : getenv(variable);
}

static void params_fill(struct vgpu_exec_params *p, const struct vgpu_config *c)
{
	uint64_t host_bytes = c->host_bytes ? c->host_bytes : vgpu_memory_usable_bytes() / 4;

	*p = (struct vgpu_exec_params){
		.chunk_bytes = c->chunk_bytes ? c->chunk_bytes : vgpu_chunk_bytes(host_bytes),
		.threads = c->threads,
		.host_bytes = host_bytes,
		.staging_bytes = c->staging_bytes,
		.nvme_bytes = c->nvme_bytes,
		.nvme_path = c->nvme_path,
		.policy = c->policy,
		.io_engine = c->io_engine,
		.backend = c->backend,
		.trace_path = text_or(c->trace_path, "VBLACKWELL_TRACE"),
	};
}

static bool serve(void *arg)
{
	return vgpu_exec_serve(arg);
}

/* Attach an executor; the loop is ours and has none yet. */
static int attach(struct vgpu_embedded *e, const struct vgpu_exec_params *params)
{
	char text[VGPU_ERROR_BYTES] = "";
	struct vgpu_uapi *node;
	int rc;

	rc = vgpu_loop_open_exec(e->loop, &node);
	if (rc)
		return vgpu_fail_device(rc, "executor node");
	rc = vgpu_exec_open(node, params, text, sizeof(text), &e->exec);
	if (rc)
		return text[0] ? vgpu_fail(rc, "%s", text) :
				 vgpu_fail(rc, "executor: %s", strerror(-rc));
	vgpu_loop_set_server(e->loop, serve, e->exec);
	return 0;
}

static int config_copy(const struct vgpu_config *from, struct vgpu_config *to)
{
	int rc;

	memset(to, 0, sizeof(*to));
	if (!from)
		return 0;
	rc = vgpu_sized_take("config", to, sizeof(*to), from);
	if (rc)
		return rc;
	if (to->flags)
		return vgpu_fail(-EINVAL, "config.flags is 0x%x, must be 0", to->flags);
	return 0;
}

int vgpu_embedded_create(const struct vgpu_config *config, struct vgpu_embedded **out)
{
	struct vgpu_exec_params params;
	struct vgpu_embedded *e;
	struct vgpu_config copy;
	int rc;

	rc = config_copy(config, &copy);
	if (rc)
		return rc;
	pthread_once(&fork_once, fork_watch);
	params_fill(&params, &copy);
	e = calloc(1, sizeof(*e));
	if (!e)
		return vgpu_fail(-ENOMEM, "no memory for a device");
	rc = vgpu_loop_create(params.chunk_bytes, &e->loop);
	if (rc) {
		vgpu_fail(rc, "config.chunk_bytes is %u, must be a power of two from %u to %u",
			  params.chunk_bytes, VB_CHUNK_BYTES_MIN, VB_CHUNK_BYTES_MAX);
		goto err_free;
	}
	rc = attach(e, &params);
	if (rc)
		goto err_put;
	e->refs = 1;
	*out = e;
	return 0;

err_put:
	vgpu_loop_put(e->loop);
err_free:
	free(e);
	return rc;
}

int vgpu_embedded_share(struct vgpu_embedded **out)
{
	int rc = 0;

	pthread_mutex_lock(&registry.lock);
	if (registry.shared) {
		registry.shared->refs++;
	} else {
		rc = vgpu_embedded_create(NULL, &registry.shared);
		if (!rc)
			registry.shared->shared = true;
	}
	*out = registry.shared;
	pthread_mutex_unlock(&registry.lock);
	return rc;
}

struct vgpu_embedded *vgpu_embedded_get(struct vgpu_embedded *e)
{
	pthread_mutex_lock(&registry.lock);
	e->refs++;
	pthread_mutex_unlock(&registry.lock);
	return e;
}

static void embedded_destroy(struct vgpu_embedded *e)
{
	/* First nobody runs the executor on another thread, then it is told to leave. */
	vgpu_loop_set_server(e->loop, NULL, NULL);
	vgpu_loop_shutdown(e->loop);
	vgpu_exec_close(e->exec);
	vgpu_loop_put(e->loop);
	free(e);
}

void vgpu_embedded_put(struct vgpu_embedded *e)
{
	bool last;

	pthread_mutex_lock(&registry.lock);
	last = !--e->refs;
	if (last && e->shared)
		registry.shared = NULL;
	pthread_mutex_unlock(&registry.lock);
	if (last)
		embedded_destroy(e);
}

int vgpu_embedded_open(struct vgpu_embedded *e, struct vgpu_uapi **out)
{
	return vgpu_loop_open_client(e->loop, out);
}

int vgpu_embedded_describe(struct vgpu_embedded *e, const char *key, char *text, size_t len)
{
	return vgpu_exec_describe(e->exec, key, text, len);
}
