// SPDX-License-Identifier: MIT
/* How an executor begins, part by part, and ends. */
#include "executor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "home.h"
#include "kernels/pool.h"
#include "staging.h"
#include "trace.h"

#define HEARTBEAT_MS		1000u
/* Most of a panel: threads wait for each other at its end, which 1 MiB is too little for. */
#define PANEL_BYTES_MAX		(8u << 20)
/* For what the dead still have: the lock of an arena, and memory. */
#define PATIENCE_NS		10000000000ull
#define DEFAULT_POLICY		"replay"

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
	uint64_t slots = p->host_bytes / p->chunk_bytes;
	uint64_t staging = p->staging_bytes / p->chunk_bytes;
	uint64_t least;

	if (!p->staging_bytes)
		staging = vgpu_staging_slots(slots);
	if (staging < VGPU_STAGING_CHUNKS_LEAST)
		staging = VGPU_STAGING_CHUNKS_LEAST;
	least = staging > VGPU_STAGING_CHUNKS_MIN ? staging : VGPU_STAGING_CHUNKS_MIN;
	if (slots < least + 1)
		return say(text, len, -EINVAL,
			   "host_bytes is %llu; two panels and one chunk need at least %llu",
			   (unsigned long long)p->host_bytes,
			   (unsigned long long)(least + 1) * p->chunk_bytes);
	if (slots >= VB_ARENA_SLOTS_MAX)
		return say(text, len, -EINVAL, "host_bytes is %llu; at %u bytes a chunk at most %llu",
			   (unsigned long long)p->host_bytes, p->chunk_bytes,
			   (unsigned long long)(VB_ARENA_SLOTS_MAX - 1) * p->chunk_bytes);
	room->staging = (uint32_t)staging;
	room->capacity = (uint32_t)(slots - staging);
	room->panel_chunks = room->staging / VGPU_STAGING_CHUNKS_MIN;
	if (!room->panel_chunks)
		room->panel_chunks = 1;
	if (room->panel_chunks > PANEL_BYTES_MAX / p->chunk_bytes)
		room->panel_chunks = PANEL_BYTES_MAX / p->chunk_bytes;
	return 0;
}

/* A sign of life: what it is asked for is nobody's. */
static void exec_beat(struct vgpu_exec *x)
{
	struct vb_ioc_poll_cancel beat = { .size = sizeof(beat) };

	vgpu_uapi_call(x->node, VB_IOC_POLL_CANCEL, &beat);
}

/* What was left, as long as it is that; else an arena of our own. */
static int exec_try_nvme(struct vgpu_exec *x, const struct vgpu_exec_params *p, char *why)
{
	int rc = -ESTALE;

	if (x->left.nvme)
		rc = vgpu_nvme_adopt(p->nvme_path, x->left.identity, x->left.nvme_slots,
				     p->chunk_bytes, why, &x->nvme);
	if (rc != -ESTALE)
		return rc;
	x->left.nvme = false;
	return vgpu_nvme_open(p->nvme_path, p->nvme_bytes / p->chunk_bytes, p->chunk_bytes, why,
			      &x->nvme);
}

/*
 * The dead may still hold the lock of its arena: its I/O engine ends by and by.  One whose process
 * cannot leave has it for as long as that, and may still write there: then we go on without.
 */
static int exec_open_nvme(struct vgpu_exec *x, const struct vgpu_exec_params *p, char *why)
{
	const struct timespec pause = { .tv_nsec = TEND_NS };
	int rc;

	while ((rc = exec_try_nvme(x, p, why)) == -EBUSY && x->succeeds &&
	       vgpu_now_ns() < x->left.until_ns) {
		nanosleep(&pause, NULL);
		exec_beat(x);
	}
	if (rc != -EBUSY || !x->succeeds)
		return rc;
	x->left.nvme = false;
	return 0;
}

static int exec_open_io(struct vgpu_exec *x, const struct vgpu_exec_params *p, char *text,
			size_t len)
{
	int rc;

	x->engine.timeout_ms = p->io_timeout_ms;
	x->engine.measure = p->io_measure ? p->io_measure : vgpu_io_probe;
	rc = vgpu_engine_open(&x->engine, p->io_engine, p->chunk_bytes);

	if (rc)
		return say(text, len, rc, "io_engine \"%s\": %s", p->io_engine ? p->io_engine : "auto",
			   strerror(-rc));
	if (!p->nvme_bytes) {
		x->left.nvme = false;
		return 0;
	}
	char why[VGPU_NVME_WHY_BYTES] = "";

	if (!p->nvme_path)
		return say(text, len, -EINVAL, "nvme_bytes is %llu but nvme_path is not set",
			   (unsigned long long)p->nvme_bytes);
	rc = exec_open_nvme(x, p, why);
	return rc ? say(text, len, rc, "%s", why) : 0;
}

/* What an executor before us has left: we go on with it, as large as it is. */
static int exec_look_at_left(struct vgpu_exec *x, struct room *room)
{
	int rc = vgpu_left_query(x->node, &x->left);

	if (rc)
		return rc;
	x->recovering = x->left.host_slots > room->staging;
	if (x->recovering) {
		room->capacity = x->left.host_slots - room->staging;
		return 0;
	}
	snprintf(x->recovery, sizeof(x->recovery), "begun anew: the host tier that was left has "
		 "%u chunks, transfers alone take %u", x->left.host_slots, room->staging);
	x->left = (struct vgpu_left){ 0 };
	return vgpu_left_recover(x->node, x->fetch.generation, VB_RECOVER_DISCARD);
}

static int exec_attach(struct vgpu_exec *x, const struct vgpu_exec_params *p, struct room *room)
{
	struct vb_ioc_exec_attach a = {
		.size = sizeof(a), .heartbeat_ms = HEARTBEAT_MS,
		.staging_bytes = (uint64_t)room->staging * p->chunk_bytes,
		.panel_bytes = (uint64_t)room->panel_chunks * p->chunk_bytes,
	};
	int rc = vgpu_uapi_call(x->node, VB_IOC_EXEC_ATTACH, &a);

	x->fetch = (struct vgpu_fetcher){
		.node = x->node, .generation = a.out_generation,
		.spin_ns = p->spin_us * 1000u, .several = x->node->ops->fd,
	};
	if (!rc)
		vgpu_fetch_ask(&x->fetch);
	if (!rc && a.out_state == VB_EXEC_RECOVERING)
		rc = exec_look_at_left(x, room);
	x->succeeds = x->recovering || a.out_lingering;
	x->left.until_ns = vgpu_now_ns() + PATIENCE_NS;
	return rc;
}

/* Where the module shows what it hands out; it fetches nothing before it is there. */
static int exec_map_submit(struct vgpu_exec *x)
{
	if (!x->node->ops->fd)
		return 0;
	return vgpu_uapi_map(x->node, 0, VB_MMAP_SUBMIT, VB_MMAP_SUBMIT_BYTES, false, &x->submit);
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

static void exec_tell_recovery(struct vgpu_exec *x, const struct vgpu_exec_params *p)
{
	uint64_t host = (uint64_t)x->resid.slots * p->chunk_bytes;
	char *at = x->recovery, *end = at + sizeof(x->recovery);

	if (!x->recovering)
		return;
	at += snprintf(at, end - at, "went on with %u chunks in host memory", x->left.chunks);
	if (x->left.damaged)
		at += snprintf(at, end - at, "; %u were damaged", x->left.damaged);
	if (host / p->chunk_bytes != p->host_bytes / p->chunk_bytes)
		at += snprintf(at, end - at, "; the host tier stays at %llu bytes",
			       (unsigned long long)host);
	if (p->nvme_bytes && !x->nvme)
		snprintf(at, end - at, "; what was on NVMe is lost, and none is used: another process "
			 "has its lock");
	else if (!x->left.nvme)
		snprintf(at, end - at, "; what was on NVMe is lost");
	else if (vgpu_nvme_bytes(x->nvme) / p->chunk_bytes != p->nvme_bytes / p->chunk_bytes)
		snprintf(at, end - at, "; the NVMe arena stays at %llu bytes",
			 (unsigned long long)vgpu_nvme_bytes(x->nvme));
}

static int exec_open_resid(struct vgpu_exec *x, const struct vgpu_exec_params *p,
			   const struct room *room, char *text, size_t len)
{
	struct vgpu_home_wish wish[VGPU_REGIONS_MAX];
	struct vgpu_resid_params rp = {
		.generation = x->fetch.generation, .chunk_bytes = p->chunk_bytes,
		.capacity = room->capacity, .staging = room->staging,
		.room_wait_ms = p->room_wait_ms, .io_timeout_ms = p->io_timeout_ms,
		.policy = p->policy ? p->policy : DEFAULT_POLICY,
		.left = x->recovering ? &x->left : NULL,
		.wish = wish, .wishes = vgpu_homes_wanted(wish, VGPU_REGIONS_MAX),
	};
	int rc = vgpu_store_init(&x->store, x->node, x->engine.io);

	if (rc)
		return rc;
	x->resid.node = x->node;
	x->resid.store = &x->store;
	x->resid.io = x->engine.io;
	x->resid.settle = vgpu_exec_settle;
	x->resid.settle_arg = x;
	x->engine.resid = &x->resid;
	x->store.wants = vgpu_engine_wants;
	x->store.chose = vgpu_engine_chose;
	x->store.choose_arg = &x->engine;
	x->resid.nvme = x->nvme;
	x->resid.pool = x->pool;
	if (!vgpu_policy_find(rp.policy))
		return say(text, len, -EINVAL, "policy \"%s\" is not known", rp.policy);
	rc = vgpu_resid_init(&x->resid, &rp);
	if (rc)
		return say(text, len, rc, "host tier of %llu bytes: %s",
			   (unsigned long long)p->host_bytes, strerror(-rc));
	x->schedules = (struct vgpu_schedules){
		.store = &x->store, .chunk_bytes = p->chunk_bytes,
		.policy = x->resid.policy, .policy_state = x->resid.policy_state,
	};
	exec_tell_recovery(x, p);
	return 0;
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
		.serve_others = vgpu_exec_serve_amid, .take_in = vgpu_exec_take_in, .serve_arg = x,
	};
	if (!x->env.backend)
		return say(text, len, -EINVAL, "backend \"%s\" is not known", name);
	rc = x->env.backend->open(x->pool, &x->env.be);
	return rc ? say(text, len, rc, "backend \"%s\": %s", name, strerror(-rc)) : 0;
}

/* Of a wrong number of threads: whose it is, and the limit. */
static int exec_tell_threads(const struct vgpu_exec_params *p, int rc, char *text, size_t len)
{
	const char *variable = getenv("VBLACKWELL_THREADS");

	if (rc != -EINVAL)
		return say(text, len, rc, "threads: %s", strerror(-rc));
	if (p->threads)
		return say(text, len, rc, "threads is %u: at most %u", p->threads,
			   VGPU_POOL_THREADS_MAX);
	return say(text, len, rc, "VBLACKWELL_THREADS is %.40s: no number up to %u, nor off",
		   variable ? variable : "", VGPU_POOL_THREADS_MAX);
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
		return exec_tell_threads(p, rc, text, len);
	/* First: what is there decides how the rest is made. */
	rc = exec_attach(x, p, &room);
	if (!rc)
		rc = exec_open_io(x, p, text, len);
	if (!rc)
		rc = exec_map_submit(x);
	if (!rc)
		rc = exec_open_trace(x, p, &room, text, len);
	if (!rc)
		rc = exec_open_resid(x, p, &room, text, len);
	if (!rc)
		vgpu_fetch_hold(&x->fetch, false);
	if (!rc)
		rc = exec_open_backend(x, p, &room, text, len);
	return rc;
}

static void exec_free(struct vgpu_exec *x)
{
	uint32_t abandoned;

	while (x->jobs) {
		struct vgpu_job *job = x->jobs;

		vgpu_exec_remove_job(x, job);
		vgpu_job_destroy(&x->env, job);
	}
	if (x->env.backend && x->env.be)
		x->env.backend->close(x->env.be);
	/* One that ends early would be taken for all that happened: nothing is left of it. */
	if (vgpu_trace_finish(x->resid.trace))
		(void)!ftruncate(x->trace_fd, 0);
	if (x->trace_fd >= 0)
		close(x->trace_fd);
	/* First nothing writes to our memory any more, then it is freed. */
	abandoned = vgpu_io_close(x->engine.io);
	x->store.io = NULL;
	vgpu_resid_destroy(&x->resid, abandoned);
	vgpu_store_destroy(&x->store);
	while (x->page_ins) {
		struct vgpu_page_in *p = x->page_ins;

		x->page_ins = p->next;
		free(p);
	}
	while (x->evicts) {
		struct vgpu_evict *e = x->evicts;

		x->evicts = e->next;
		free(e);
	}
	vgpu_schedules_fini(&x->schedules);
	/* Clients of the module may go on with another executor. */
	if (x->node->ops->fd && vgpu_left_is_wanted(x->node))
		vgpu_nvme_leave(x->nvme);
	else
		vgpu_nvme_close(x->nvme);
	vgpu_pool_close(x->pool);
	vgpu_uapi_unmap(x->node, x->submit, VB_MMAP_SUBMIT_BYTES);
	x->node->ops->close(x->node);
	pthread_cond_destroy(&x->tend);
	vgpu_failures_fini(&x->failures);
	vgpu_engine_fini(&x->engine);
	pthread_mutex_destroy(&x->hand_lock);
	pthread_mutex_destroy(&x->run);
	free(x);
}

static void exec_set_stop(struct vgpu_exec *x, enum exec_stop stop)
{
	__atomic_store_n(&x->stop, stop, __ATOMIC_RELAXED);
	vgpu_fetch_stop(&x->fetch);
}

static void exec_join_thread(struct vgpu_exec *x)
{
	if (x->thread_runs)
		pthread_join(x->thread, NULL);
	x->thread_runs = false;
}

static void exec_join(struct vgpu_exec *x)
{
	exec_set_stop(x, EXEC_STOPS);
	pthread_mutex_lock(&x->run);
	pthread_cond_signal(&x->tend);
	pthread_mutex_unlock(&x->run);
	if (x->tender_runs)
		pthread_join(x->tender, NULL);
	x->tender_runs = false;
	exec_join_thread(x);
}

int vgpu_exec_start(struct vgpu_exec *x)
{
	int rc = -pthread_create(&x->tender, NULL, vgpu_exec_tend, x);

	if (rc)
		return rc;
	x->tender_runs = true;
	rc = -pthread_create(&x->thread, NULL, vgpu_exec_thread, x);
	x->thread_runs = !rc;
	if (rc)
		exec_join(x);
	return rc;
}

int vgpu_exec_prepare(struct vgpu_uapi *node, const struct vgpu_exec_params *params, char *text,
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
	pthread_mutex_init(&x->hand_lock, NULL);
	vgpu_failures_init(&x->failures);
	vgpu_engine_init(&x->engine);
	pthread_cond_init(&x->tend, NULL);
	x->tending = true;
	rc = exec_open_parts(x, params, text, text_len);
	if (rc) {
		exec_free(x);
		return rc;
	}
	*out = x;
	return 0;
}

int vgpu_exec_open(struct vgpu_uapi *node, const struct vgpu_exec_params *params, char *text,
		   size_t text_len, struct vgpu_exec **out)
{
	struct vgpu_exec *x;
	int rc = vgpu_exec_prepare(node, params, text, text_len, &x);

	if (rc)
		return rc;
	rc = vgpu_exec_start(x);
	if (rc)
		exec_free(x);
	else
		*out = x;
	return rc;
}

int vgpu_exec_ended(struct vgpu_exec *x)
{
	return __atomic_load_n(&x->ended, __ATOMIC_RELAXED);
}

void vgpu_exec_drain(struct vgpu_exec *x)
{
	exec_set_stop(x, EXEC_DRAINS);
	exec_join_thread(x);
}

void vgpu_exec_close(struct vgpu_exec *x)
{
	if (!x)
		return;
	exec_join(x);
	exec_free(x);
}
