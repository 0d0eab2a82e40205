// SPDX-License-Identifier: MIT
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "job.h"
#include "kernels/kernels.h"
#include "kernels/pool.h"
#include "trace.h"

#define HEARTBEAT_MS		1000u
#define STAGING_CHUNKS_MIN	6u	/* two panels of a chunk each, and room to read ahead */
#define STAGING_SHARE		20u	/* default: one slot in so many */
#define JOBS_MAX		64u
#define QUANTUM_NS		(2 * 1000 * 1000)	/* of deficit round robin, weight 100 */
#define DEFAULT_POLICY		"schedule"

/**
 * struct vgpu_exec - the executor of one device
 * @run: held by whoever runs it; protects everything but what is said below
 * @node, @generation: fixed
 * @stop: set once, atomically
 * @jobs: fetched and not committed, oldest first
 */
struct vgpu_exec {
	pthread_mutex_t run;
	struct vgpu_uapi *node;
	uint32_t generation;
	struct vgpu_pool *pool;
	struct vgpu_engine engine;
	struct vgpu_nvme *nvme;
	struct vgpu_store store;
	struct vgpu_resid resid;
	struct vgpu_job_env env;
	struct vgpu_job *jobs;
	uint32_t job_count;
	int trace_fd;
	pthread_t thread;
	bool thread_runs;
	int stop;
	char error[VGPU_JOB_TEXT];
};

/* ------------------------------------------------------------------------
 * Requests
 */

static void exec_commit(struct vgpu_exec *x, uint64_t tag, int status, uint32_t bad_command,
			uint64_t busy_ns)
{
	struct vb_ioc_commit c = {
		.size = sizeof(c), .generation = x->generation, .tag = tag, .status = status,
		.bad_command = bad_command, .busy_ns = busy_ns,
	};

	vgpu_uapi_call(x->node, VB_IOC_COMMIT, &c);
}

/* Counters go out before the fence does, so that who waits for it sees them. */
static void exec_flush_counters(struct vgpu_exec *x, uint32_t client)
{
	struct vb_ioc_exec_stats s = { .size = sizeof(s), .client = client,
				       .count = VB_COUNT_COUNT,
				       .address = (uintptr_t)x->resid.count };

	vgpu_uapi_call(x->node, VB_IOC_EXEC_STATS, &s);
	memset(x->resid.count, 0, sizeof(x->resid.count));
}

static void exec_finish_job(struct vgpu_exec *x, struct vgpu_job *job)
{
	uint64_t tag = job->req.tag, busy = job->busy_ns;
	uint32_t bad = job->bad_command, client = job->req.out_client;
	int status = job->status;

	if (job->text[0])
		memcpy(x->error, job->text, sizeof(x->error));
	x->resid.count[VB_COUNT_BUSY_NS] += busy;
	vgpu_job_destroy(&x->env, job);
	exec_flush_counters(x, client);
	exec_commit(x, tag, status, bad, busy);
}

/* Make a range resident; contiguous ranges are pinned only while they are laid out. */
static int exec_page_in(struct vgpu_exec *x, const struct vb_ioc_fetch *req)
{
	struct vgpu_resid *r = &x->resid;
	uint32_t end = req->out_chunk + req->out_count, slot;
	struct vgpu_object *o;
	int rc = vgpu_store_get(&x->store, req->out_object, &o);

	if (rc)
		return rc;
	if (req->flags & VB_FETCH_F_CONTIGUOUS) {
		rc = vgpu_resid_use_run(r, o, req->out_chunk, end, false, &slot);
		for (uint32_t c = req->out_chunk; !rc && c < end; c++)
			vgpu_resid_unpin(r, slot + (c - req->out_chunk));
		return rc;
	}
	for (uint32_t c = req->out_chunk; !rc && c < end; c++) {
		if (req->flags & VB_FETCH_F_ASYNC) {
			if (!vgpu_resid_hint(r, o, c))
				break;
			continue;
		}
		rc = vgpu_resid_use(r, o, c, 0, &slot);
		if (rc)
			break;
		rc = vgpu_resid_wait(r, slot);
		vgpu_resid_unpin(r, slot);
	}
	return rc;
}

static int exec_evict(struct vgpu_exec *x, const struct vb_ioc_fetch *req)
{
	struct vgpu_object *o;
	int rc = vgpu_store_get(&x->store, req->out_object, &o);

	if (!rc)
		vgpu_resid_evict(&x->resid, o, req->out_chunk, req->out_chunk + req->out_count);
	return rc;
}

static void exec_forget(struct vgpu_exec *x, const struct vb_ioc_fetch *req)
{
	struct vgpu_object *o = vgpu_store_find(&x->store, req->out_object);

	if (!o)
		return;
	vgpu_resid_forget(&x->resid, o);
	vgpu_store_forget(&x->store, req->out_object);
}

/* Chunks of the declared ranges, each once a run. */
static size_t schedule_keys(struct vgpu_exec *x, const struct vb_range *range, uint32_t count,
			    uint64_t *keys, size_t max)
{
	uint64_t last = VGPU_POLICY_NONE;
	size_t n = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct vgpu_object *o;
		uint32_t first, end;

		if (vgpu_store_get(&x->store, range[i].bo_id, &o))
			continue;
		vgpu_object_chunks(o, x->resid.chunk_bytes, range[i].offset, range[i].bytes, &first,
				   &end);
		for (uint32_t c = first; c < end && c < o->chunks; c++) {
			uint64_t key = vgpu_policy_key(o->id, c);

			if (key == last)
				continue;
			if (n < max && keys)
				keys[n] = key;
			n++;
			last = key;
		}
	}
	return n;
}

static int exec_schedule(struct vgpu_exec *x, const struct vb_ioc_fetch *req)
{
	const struct vb_range *range = (const void *)(uintptr_t)req->out_bos_address;
	size_t n = schedule_keys(x, range, req->out_count, NULL, 0);
	uint64_t *keys = malloc((n + 1) * sizeof(*keys));
	int rc;

	if (!keys)
		return -ENOMEM;
	schedule_keys(x, range, req->out_count, keys, n);
	rc = x->resid.policy->future(x->resid.policy_state, keys, n,
				     req->flags & VB_FETCH_F_CYCLE);
	free(keys);
	return rc == -EOPNOTSUPP ? 0 : rc;
}

static void exec_add_job(struct vgpu_exec *x, const struct vb_ioc_fetch *req)
{
	struct vgpu_job *job, **p = &x->jobs;
	int rc = vgpu_job_create(&x->env, req, &job);

	if (rc) {
		exec_commit(x, req->tag, rc, UINT32_MAX, 0);
		return;
	}
	while (*p)
		p = &(*p)->next;
	*p = job;
	x->job_count++;
}

static void exec_handle(struct vgpu_exec *x, const struct vb_ioc_fetch *req)
{
	int rc = 0;

	switch (req->out_type) {
	case VB_FETCH_SUBMIT:
		exec_add_job(x, req);
		return;
	case VB_FETCH_PAGE_IN:
		rc = exec_page_in(x, req);
		break;
	case VB_FETCH_EVICT:
		rc = exec_evict(x, req);
		break;
	case VB_FETCH_RECLAIM:
		vgpu_resid_reclaim(&x->resid, req->out_count);
		break;
	case VB_FETCH_FORGET:
		exec_forget(x, req);
		break;
	case VB_FETCH_SCHEDULE:
		rc = exec_schedule(x, req);
		break;
	default:
		rc = -EOPNOTSUPP;
	}
	exec_flush_counters(x, req->out_client);
	exec_commit(x, req->tag, rc, UINT32_MAX, 0);
}

static int exec_fetch(struct vgpu_exec *x, uint32_t flags, struct vb_ioc_fetch *req)
{
	memset(req, 0, sizeof(*req));
	req->size = sizeof(*req);
	req->flags = flags;
	return vgpu_uapi_call(x->node, VB_IOC_FETCH, req);
}

/* ------------------------------------------------------------------------
 * Who runs next
 */

/*
 * Deficit round robin over what commands took: the first job with credit runs; when
 * none has any, all get a quantum in proportion to their weight.
 */
static struct vgpu_job *exec_pick(struct vgpu_exec *x)
{
	struct vgpu_job *job;

	if (!x->jobs || !x->jobs->next)
		return x->jobs;
	for (;;) {
		for (job = x->jobs; job; job = job->next) {
			if (job->credit > 0 || job->status || !job->cmd)
				return job;
		}
		for (job = x->jobs; job; job = job->next)
			job->credit += (int64_t)QUANTUM_NS * job->req.out_weight / 100;
	}
}

static void exec_remove_job(struct vgpu_exec *x, struct vgpu_job *job)
{
	struct vgpu_job **p = &x->jobs;

	while (*p != job)
		p = &(*p)->next;
	*p = job->next;
	x->job_count--;
}

/* One command of one job. */
static void exec_step(struct vgpu_exec *x)
{
	struct vgpu_job *job = exec_pick(x);
	uint64_t before;

	if (!job)
		return;
	before = job->busy_ns;
	if (!vgpu_job_step(&x->env, job)) {
		job->credit -= (int64_t)(job->busy_ns - before);
		return;
	}
	exec_remove_job(x, job);
	exec_finish_job(x, job);
}

/* Run until no job is left; between commands, serve what others ask for. */
static void exec_run(struct vgpu_exec *x, uint32_t fetch_flags)
{
	struct vb_ioc_fetch req;

	while (x->jobs && !__atomic_load_n(&x->stop, __ATOMIC_RELAXED)) {
		exec_step(x);
		while (x->job_count < JOBS_MAX && !exec_fetch(x, fetch_flags, &req))
			exec_handle(x, &req);
	}
}

bool vgpu_exec_serve(struct vgpu_exec *x)
{
	struct vb_ioc_fetch req;
	bool served;

	if (pthread_mutex_trylock(&x->run))
		return false;
	served = !exec_fetch(x, VB_FETCH_F_NOWAIT, &req);
	if (served) {
		exec_handle(x, &req);
		/* Submissions of others wait for the executor's own thread. */
		exec_run(x, VB_FETCH_F_NOWAIT | VB_FETCH_F_URGENT);
	}
	pthread_mutex_unlock(&x->run);
	return served;
}

static void *exec_thread(void *arg)
{
	struct vgpu_exec *x = arg;
	struct vb_ioc_fetch req;
	int rc;

	while (!__atomic_load_n(&x->stop, __ATOMIC_RELAXED)) {
		rc = exec_fetch(x, 0, &req);
		if (rc == -EINTR || rc == -EAGAIN)
			continue;
		if (rc)
			break;
		pthread_mutex_lock(&x->run);
		exec_handle(x, &req);
		exec_run(x, VB_FETCH_F_NOWAIT);
		pthread_mutex_unlock(&x->run);
	}
	return NULL;
}

/* ------------------------------------------------------------------------
 * Opening
 */

static int say(char *text, size_t len, int rc, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static int say(char *text, size_t len, int rc, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (text)
		vsnprintf(text, len, format, args);
	va_end(args);
	return rc;
}

/* Slots of the host tier, divided. */
struct room {
	uint32_t capacity, staging, panel_chunks;
};

static int exec_divide_host(const struct vgpu_exec_params *p, struct room *room, char *text,
			    size_t len)
{
	uint64_t slots = p->host_bytes / p->chunk_bytes, staging = p->staging_bytes / p->chunk_bytes;

	if (!staging)
		staging = slots / STAGING_SHARE;
	if (staging < STAGING_CHUNKS_MIN)
		staging = STAGING_CHUNKS_MIN;
	if (slots < staging + 1)
		return say(text, len, -EINVAL,
			   "host_bytes is %llu; two panels and one chunk need at least %llu",
			   (unsigned long long)p->host_bytes,
			   (unsigned long long)(staging + 1) * p->chunk_bytes);
	if (slots >= VB_ARENA_SLOTS_MAX)
		return say(text, len, -EINVAL, "host_bytes is %llu; at %u bytes a chunk at most %llu",
			   (unsigned long long)p->host_bytes, p->chunk_bytes,
			   (unsigned long long)(VB_ARENA_SLOTS_MAX - 1) * p->chunk_bytes);
	room->staging = (uint32_t)staging;
	room->capacity = (uint32_t)(slots - staging);
	room->panel_chunks = room->staging / 6 < 4 ? room->staging / 6 : 4;
	return 0;
}

static int exec_open_io(struct vgpu_exec *x, const struct vgpu_exec_params *p, char *text,
			size_t len)
{
	int rc = vgpu_engine_open(&x->engine, p->io_engine, p->chunk_bytes);

	if (rc)
		return say(text, len, rc, "io_engine \"%s\": %s", p->io_engine ? p->io_engine : "auto",
			   strerror(-rc));
	if (!p->nvme_bytes)
		return 0;
	char why[VGPU_NVME_WHY_BYTES] = "";

	if (!p->nvme_path)
		return say(text, len, -EINVAL, "nvme_bytes is %llu but nvme_path is not set",
			   (unsigned long long)p->nvme_bytes);
	rc = vgpu_nvme_open(p->nvme_path, p->nvme_bytes / p->chunk_bytes, p->chunk_bytes, why,
			    &x->nvme);
	return rc ? say(text, len, rc, "%s", why) : 0;
}

static int exec_attach(struct vgpu_exec *x, const struct vgpu_exec_params *p,
		       const struct room *room)
{
	struct vb_ioc_exec_attach a = {
		.size = sizeof(a), .heartbeat_ms = HEARTBEAT_MS,
		.staging_bytes = (uint64_t)room->staging * p->chunk_bytes,
		.panel_bytes = (uint64_t)room->panel_chunks * p->chunk_bytes,
	};
	int rc = vgpu_uapi_call(x->node, VB_IOC_EXEC_ATTACH, &a);

	x->generation = a.out_generation;
	return rc;
}

static int exec_open_trace(struct vgpu_exec *x, const struct vgpu_exec_params *p,
			   const struct room *room, char *text, size_t len)
{
	struct vgpu_trace_header h = { .chunk_bytes = p->chunk_bytes, .capacity = room->capacity,
				       .staging = room->staging };
	int rc;

	if (!p->trace_path)
		return 0;
	x->trace_fd = open(p->trace_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (x->trace_fd < 0)
		return say(text, len, -errno, "trace_path %s: %s", p->trace_path, strerror(errno));
	snprintf(h.policy, sizeof(h.policy), "%s", p->policy ? p->policy : DEFAULT_POLICY);
	rc = vgpu_trace_create(x->trace_fd, &h, &x->resid.trace);
	return rc ? say(text, len, rc, "trace_path %s: %s", p->trace_path, strerror(-rc)) : 0;
}

static int exec_open_resid(struct vgpu_exec *x, const struct vgpu_exec_params *p,
			   const struct room *room, char *text, size_t len)
{
	struct vgpu_resid_params rp = {
		.generation = x->generation, .chunk_bytes = p->chunk_bytes,
		.capacity = room->capacity, .staging = room->staging,
		.policy = p->policy ? p->policy : DEFAULT_POLICY,
	};
	int rc = vgpu_store_init(&x->store, x->node, x->engine.io);

	if (rc)
		return rc;
	x->resid.node = x->node;
	x->resid.store = &x->store;
	x->resid.io = x->engine.io;
	x->engine.resid = &x->resid;
	x->store.choose = vgpu_engine_choose;
	x->store.choose_arg = &x->engine;
	x->resid.nvme = x->nvme;
	x->resid.pool = x->pool;
	if (!vgpu_policy_find(rp.policy))
		return say(text, len, -EINVAL, "policy \"%s\" is not known", rp.policy);
	rc = vgpu_resid_init(&x->resid, &rp);
	return rc ? say(text, len, rc, "host tier of %llu bytes: %s",
			(unsigned long long)p->host_bytes, strerror(-rc)) : 0;
}

static int exec_open_backend(struct vgpu_exec *x, const struct vgpu_exec_params *p,
			     const struct room *room, char *text, size_t len)
{
	const char *name = p->backend ? p->backend : "cpu";
	int rc;

	x->env = (struct vgpu_job_env){
		.node = x->node, .resid = &x->resid, .store = &x->store,
		.backend = vgpu_backend_find(name),
		.panel_bytes = (uint64_t)room->panel_chunks * p->chunk_bytes,
	};
	if (!x->env.backend)
		return say(text, len, -EINVAL, "backend \"%s\" is not known", name);
	rc = x->env.backend->open(x->pool, &x->env.be);
	return rc ? say(text, len, rc, "backend \"%s\": %s", name, strerror(-rc)) : 0;
}

static int exec_open_parts(struct vgpu_exec *x, const struct vgpu_exec_params *p, char *text,
			   size_t len)
{
	struct vgpu_pool_params pool = { .threads = p->threads };
	struct room room = { 0 };
	int rc = exec_divide_host(p, &room, text, len);

	if (rc)
		return rc;
	rc = vgpu_pool_open(&pool, &x->pool);
	if (rc)
		return say(text, len, rc, "threads is %u: %s", p->threads, strerror(-rc));
	rc = exec_open_io(x, p, text, len);
	if (!rc)
		rc = exec_attach(x, p, &room);
	if (!rc)
		rc = exec_open_trace(x, p, &room, text, len);
	if (!rc)
		rc = exec_open_resid(x, p, &room, text, len);
	if (!rc)
		rc = exec_open_backend(x, p, &room, text, len);
	return rc;
}

static void exec_free(struct vgpu_exec *x)
{
	while (x->jobs) {
		struct vgpu_job *job = x->jobs;

		exec_remove_job(x, job);
		vgpu_job_destroy(&x->env, job);
	}
	if (x->env.backend && x->env.be)
		x->env.backend->close(x->env.be);
	while (x->resid.moving && vgpu_resid_pump(&x->resid, -1) >= 0)
		;
	vgpu_trace_finish(x->resid.trace);
	if (x->trace_fd >= 0)
		close(x->trace_fd);
	vgpu_resid_destroy(&x->resid);
	vgpu_store_destroy(&x->store);
	vgpu_io_close(x->engine.io);
	vgpu_nvme_close(x->nvme);
	vgpu_pool_close(x->pool);
	x->node->ops->close(x->node);
	pthread_mutex_destroy(&x->run);
	free(x);
}

int vgpu_exec_open(struct vgpu_uapi *node, const struct vgpu_exec_params *params, char *text,
		   size_t text_len, struct vgpu_exec **out)
{
	struct vgpu_exec *x = calloc(1, sizeof(*x));
	int rc;

	if (!x) {
		node->ops->close(node);
		return -ENOMEM;
	}
	x->node = node;
	x->trace_fd = -1;
	pthread_mutex_init(&x->run, NULL);
	rc = exec_open_parts(x, params, text, text_len);
	if (!rc)
		rc = -pthread_create(&x->thread, NULL, exec_thread, x);
	if (rc) {
		exec_free(x);
		return rc;
	}
	x->thread_runs = true;
	*out = x;
	return 0;
}

void vgpu_exec_close(struct vgpu_exec *x)
{
	if (!x)
		return;
	__atomic_store_n(&x->stop, 1, __ATOMIC_RELAXED);
	if (x->thread_runs)
		pthread_join(x->thread, NULL);
	exec_free(x);
}

/* ------------------------------------------------------------------------
 * Describing
 */

int vgpu_exec_describe(struct vgpu_exec *x, const char *key, char *text, size_t len)
{
	struct vgpu_pool_info pool;
	int n = -ENOENT;

	pthread_mutex_lock(&x->run);
	vgpu_pool_query(x->pool, &pool);
	if (!strcmp(key, "backend"))
		n = snprintf(text, len, "%s", x->env.backend->name);
	else if (!strcmp(key, "isa"))
		n = snprintf(text, len, "%s", vgpu_isa_name(vgpu_kernels_best()->isa));
	else if (!strcmp(key, "threads"))
		n = snprintf(text, len, "%u threads on %u nodes%s", pool.threads, pool.nodes,
			     pool.pinned ? ", pinned" : "");
	else if (!strcmp(key, "policy"))
		n = snprintf(text, len, "%s", x->resid.policy->name);
	else if (!strcmp(key, "io.engine"))
		n = snprintf(text, len, "%s", vgpu_io_engine_name(x->engine.io));
	else if (!strcmp(key, "io.reason"))
		n = snprintf(text, len, "%s", x->engine.reason);
	else if (!strcmp(key, "nvme"))
		n = snprintf(text, len, "%llu bytes", x->nvme ?
			     (unsigned long long)vgpu_nvme_bytes(x->nvme) : 0ull);
	else if (!strcmp(key, "error"))
		n = snprintf(text, len, "%s", x->error);
	pthread_mutex_unlock(&x->run);
	return n;
}
