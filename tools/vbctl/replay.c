// SPDX-License-Identifier: MIT
/*
 * vbctl replay: what would each policy have read, and what is the least possible?
 *
 * Policies decide at each use in order of use and nothing else enters into it, so their
 * counts here are those of the running system. schedule is given the trace itself as the
 * declared order: it shows what a complete declaration is worth.
 */
#include "replay.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cli.h"
#include "common/progress.h"
#include "common/size.h"
#include "common/summary.h"
#include "exec/keymap.h"
#include "exec/policy.h"
#include "exec/trace.h"

#define MAX_POLICIES 16
/* Uses between two looks at the clock and for signals. */
#define LOOK_USES 65536u

/**
 * struct request - the command line
 * @path: trace, or "-" for standard input
 * @capacity: chunks to retain, 0 for what the trace says
 * @only: the one policy wanted, or NULL for all
 * @json: for programs, not for people
 */
struct request {
	const char *path;
	uint32_t capacity;
	const struct vgpu_policy_ops *only;
	bool json;
};

/**
 * struct result - one policy on the trace
 * @policy: which; NULL for the optimum
 * @stats: its counters
 */
struct result {
	const struct vgpu_policy_ops *policy;
	struct vgpu_policy_stats stats;
};

/**
 * struct replay - a trace and what came out
 * @request: the command line
 * @header: of the trace
 * @uses: of the trace
 * @truncated: the trace ends inside a record
 * @chunks: distinct chunks used
 * @capacity: chunks to retain
 * @optimum: fewest misses possible
 * @accesses: uses, direct repeats joined
 * @results: one for each policy
 * @result_count: how many
 * @progress: of the simulations, in bytes that go through the tier
 */
struct replay {
	struct request request;
	struct vgpu_trace_header header;
	struct vgpu_trace_uses uses;
	bool truncated;
	uint32_t chunks;
	uint32_t capacity;
	uint64_t optimum;
	uint64_t accesses;
	struct result results[MAX_POLICIES];
	size_t result_count;
	struct progress progress;
};

/* --- work ------------------------------------------------------------------------ */

static int failed(const struct replay *replay, const char *what, int rc)
{
	return cli_fail("replay: %s: %s: %s", replay->request.path, what, strerror(-rc));
}

static int load_from(struct replay *replay, int fd)
{
	struct vgpu_trace_reader *reader;
	int rc;

	rc = vgpu_trace_open(fd, &reader);
	if (rc == -EBADMSG)
		return cli_fail("replay: %s: does not begin with the %u bytes of a trace's header, "
				"version 1", replay->request.path, VGPU_TRACE_HEADER_BYTES);
	if (rc)
		return failed(replay, "read", rc);
	replay->header = *vgpu_trace_header(reader);
	rc = vgpu_trace_load_uses(reader, &replay->uses);
	if (rc == -EBADMSG)
		rc = cli_fail("replay: %s: record %" PRIu64 " at byte %" PRIu64 " is not valid: its key, "
			      "event or flags are none that a trace has", replay->request.path,
			      vgpu_trace_position(reader), VGPU_TRACE_HEADER_BYTES +
			      vgpu_trace_position(reader) * VGPU_TRACE_RECORD_BYTES);
	else if (rc)
		rc = failed(replay, "read", rc);
	replay->truncated = vgpu_trace_truncated(reader);
	vgpu_trace_close(reader);
	return rc;
}

static int load(struct replay *replay)
{
	int fd = 0, rc;

	if (!strcmp(replay->request.path, "-"))
		return load_from(replay, fd);
	fd = open(replay->request.path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return failed(replay, "open", -errno);
	rc = load_from(replay, fd);
	close(fd);
	return rc;
}

static int count_chunks(struct replay *replay)
{
	struct vgpu_keymap seen;
	int rc = vgpu_keymap_init(&seen, 0, 1u << 30);

	if (rc)
		return rc;
	for (size_t i = 0; i < replay->uses.count && !rc; i++)
		rc = vgpu_keymap_set(&seen, replay->uses.keys[i], 0);
	replay->chunks = seen.count;
	vgpu_keymap_fini(&seen);
	return rc;
}

static uint32_t policies_wanted(const struct replay *replay)
{
	uint32_t count = 0;

	while (vgpu_policies[count])
		count++;
	return replay->request.only ? 1 : count;
}

/* @use of the policy that is simulated now. */
static int look(struct replay *replay, size_t use)
{
	uint64_t uses = replay->uses.count, done = replay->result_count * uses + use;

	return progress_tell(&replay->progress, done * replay->header.chunk_bytes,
			     policies_wanted(replay) * uses * replay->header.chunk_bytes);
}

static int simulate(struct replay *replay, const struct vgpu_policy_ops *ops)
{
	/* Room for more than there is changes nothing and would only cost memory. */
	struct vgpu_policy_params params = {
		.capacity = replay->capacity < replay->chunks ? replay->capacity :
			    replay->chunks,
	};
	struct vgpu_trace_uses *uses = &replay->uses;
	struct result *result = &replay->results[replay->result_count];
	uint64_t victim;
	void *policy;
	int rc;

	rc = ops->create(&params, &policy);
	if (rc)
		return rc;
	if (ops == &vgpu_policy_schedule)
		rc = ops->future(policy, 0, uses->keys, uses->count, false);
	for (size_t i = 0; i < uses->count && rc >= 0; i++) {
		rc = ops->access(policy, uses->keys[i], uses->flags[i], &victim);
		if (!(i % LOOK_USES) && rc >= 0)
			rc = look(replay, i);
	}
	if (rc >= 0) {
		result->policy = ops;
		ops->stats(policy, &result->stats);
		replay->accesses = result->stats.accesses;
		replay->result_count++;
	}
	ops->destroy(policy);
	return rc < 0 ? rc : 0;
}

static int simulate_all(struct replay *replay)
{
	int rc;

	rc = vgpu_policy_opt_misses(replay->uses.keys, replay->uses.flags, replay->uses.count,
				    replay->capacity, &replay->optimum);
	progress_begin(&replay->progress, "replay", 0);
	for (const struct vgpu_policy_ops *const *p = vgpu_policies; *p && !rc; p++)
		if (!replay->request.only || replay->request.only == *p)
			rc = simulate(replay, *p);
	progress_end(&replay->progress);
	return rc;
}

/* --- answers --------------------------------------------------------------------- */

static uint64_t misses_of(const struct vgpu_policy_stats *stats)
{
	return stats->admits + stats->bypasses;
}

static uint64_t recorded_misses(const struct replay *replay)
{
	uint64_t misses = 0;

	for (size_t i = 0; i < replay->uses.count; i++)
		misses += vgpu_trace_is_miss(&replay->uses, i);
	return misses;
}

static uint64_t recorded_hits(const struct replay *replay)
{
	return replay->accesses - recorded_misses(replay);
}

static void print_row(const struct replay *replay, const char *name, uint64_t hits,
		      uint64_t misses)
{
	printf("%-10s %14" PRIu64 " %14" PRIu64 " %12s", name, hits, misses,
	       size_text(misses * replay->header.chunk_bytes).s);
	if (replay->optimum)
		printf(" %9.3f\n", (double)misses / (double)replay->optimum);
	else
		printf(" %9s\n", "-");
}

static void print_text(const struct replay *replay)
{
	const uint64_t *events = replay->uses.events;

	printf("trace      %s%s\n", replay->request.path,
	       replay->truncated ? " (ends inside a record)" : "");
	printf("uses       %" PRIu64 " of %" PRIu32 " chunks of %s\n", replay->accesses,
	       replay->chunks, size_text(replay->header.chunk_bytes).s);
	printf("capacity   %" PRIu32 " chunks (recorded with %" PRIu32 " + %" PRIu32
	       " staging)\n", replay->capacity, replay->header.capacity, replay->header.staging);
	printf("prefetch   %" PRIu64 " issued: %" PRIu64 " there in time, %" PRIu64 " late, %" PRIu64
	       " not used\n", events[VGPU_TRACE_PREFETCH], events[VGPU_TRACE_PREFETCH_USED],
	       events[VGPU_TRACE_PREFETCH_LATE], events[VGPU_TRACE_PREFETCH_WASTED]);
	printf("waited     %s\n\n", size_seconds((double)replay->uses.wait_us / 1e6).s);
	printf("%-10s %14s %14s %12s %9s\n", "policy", "hits", "misses", "read", "x optimum");
	print_row(replay, "optimum", replay->accesses - replay->optimum, replay->optimum);
	for (size_t i = 0; i < replay->result_count; i++)
		print_row(replay, replay->results[i].policy->name, replay->results[i].stats.hits,
			  misses_of(&replay->results[i].stats));
	print_row(replay, "recorded", recorded_hits(replay), recorded_misses(replay));
}

static void add_counts(const struct replay *replay, struct json_object *object, uint64_t hits,
		       uint64_t misses)
{
	summary_bytes(object, "hits", hits);
	summary_bytes(object, "misses", misses);
	summary_bytes(object, "bytes", misses * replay->header.chunk_bytes);
	summary_real(object, "ratio", (double)misses / (double)replay->optimum);
}

static void add_policies(const struct replay *replay, struct json_object *root)
{
	struct json_object *list = summary_list(root, "policies");

	for (size_t i = 0; i < replay->result_count; i++) {
		const struct result *result = &replay->results[i];
		struct json_object *row = summary_item(list);

		summary_text(row, "name", result->policy->name);
		add_counts(replay, row, result->stats.hits, misses_of(&result->stats));
		summary_bytes(row, "evictions", result->stats.evictions);
		summary_bytes(row, "desyncs", result->stats.desyncs);
	}
}

static void add_recorded(const struct replay *replay, struct json_object *root)
{
	const uint64_t *events = replay->uses.events;
	struct json_object *row = summary_object(root, "recorded");

	summary_text(row, "policy", replay->header.policy);
	summary_bytes(row, "capacity", replay->header.capacity);
	summary_bytes(row, "staging", replay->header.staging);
	add_counts(replay, row, recorded_hits(replay), recorded_misses(replay));
	summary_bytes(row, "evictions", events[VGPU_TRACE_EVICT]);
	summary_bytes(row, "writes", events[VGPU_TRACE_WRITE]);
	summary_bytes(row, "prefetch_issued", events[VGPU_TRACE_PREFETCH]);
	summary_bytes(row, "prefetch_used", events[VGPU_TRACE_PREFETCH_USED]);
	summary_bytes(row, "prefetch_late", events[VGPU_TRACE_PREFETCH_LATE]);
	summary_bytes(row, "prefetch_wasted", events[VGPU_TRACE_PREFETCH_WASTED]);
	summary_bytes(row, "wait_us", replay->uses.wait_us);
}

static void print_json(const struct replay *replay)
{
	struct json_object *root = summary_new("replay");

	summary_text(root, "trace", replay->request.path);
	summary_flag(root, "truncated", replay->truncated);
	summary_bytes(root, "chunk_bytes", replay->header.chunk_bytes);
	summary_bytes(root, "capacity", replay->capacity);
	summary_bytes(root, "uses", replay->accesses);
	summary_bytes(root, "chunks", replay->chunks);
	add_counts(replay, summary_object(root, "optimum"), replay->accesses - replay->optimum,
		   replay->optimum);
	add_policies(replay, root);
	add_recorded(replay, root);
	summary_print(root);
}

static int answer(struct replay *replay)
{
	int rc;

	/* Only now: while the trace is read, also from a pipe, a signal ends the program. */
	progress_catch_signals();
	replay->capacity = replay->request.capacity ? replay->request.capacity :
						      replay->header.capacity;
	if (!replay->uses.count)
		return cli_fail("replay: %s: the trace has no uses", replay->request.path);
	if (!replay->capacity)
		return cli_fail("replay: %s: recorded with capacity 0, name one with --capacity",
				replay->request.path);
	rc = count_chunks(replay);
	if (!rc)
		rc = simulate_all(replay);
	if (rc == -EINTR)
		return CLI_INTERRUPTED;
	if (rc)
		return failed(replay, "simulate", rc);
	if (replay->request.json)
		print_json(replay);
	else
		print_text(replay);
	return CLI_OK;
}

/* Names of the policies, for the command line; the first is all of them. */
static const char *const *policy_names(void)
{
	static const char *names[MAX_POLICIES + 2] = { "all" };

	for (size_t i = 0; i < MAX_POLICIES && vgpu_policies[i]; i++)
		names[i + 1] = vgpu_policies[i]->name;
	return names;
}

int vbctl_replay(int argc, char **argv)
{
	struct replay replay = { 0 };
	uint32_t policy = 0;
	const struct cli_option options[] = {
		{ "capacity", CLI_NUMBER, &replay.request.capacity, "CHUNKS", "that may be retained "
		  "(default: as recorded)", NULL, 1, 0 },
		{ "policy", CLI_CHOICE, &policy, "P", "only this one", policy_names(), 0, 0 },
		{ "json", CLI_FLAG, &replay.request.json, NULL, "as JSON", NULL, 0, 0 },
		{ 0 }
	};
	const struct cli_command command = {
		"vbctl replay", "TRACE", "A recorded trace under every policy, beside the optimum.",
		options, 1, 1,
		"TRACE is what --trace of vbrun wrote, or - for standard input.\n"
	};
	unsigned int count;
	int rc = cli_parse(&command, argc, argv, &count);

	if (rc != CLI_RUN)
		return rc;
	replay.request.path = argv[1];
	replay.request.only = policy ? vgpu_policies[policy - 1] : NULL;
	rc = load(&replay);
	if (!rc)
		rc = answer(&replay);
	vgpu_trace_free_uses(&replay.uses);
	return rc;
}
