// SPDX-License-Identifier: MIT
/*
 * What the module shows of itself: fdinfo, sysfs, debugfs and tracepoints say what the
 * requests say, and follow one command buffer and one chunk from hop to hop.
 */
#include "selftests/hands.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "vm/machine.h"

#define HOST_SLOTS	16u
#define NVME_SLOTS	32u
#define SYSFS		"/sys/class/misc/vblackwell/"
#define DEBUGFS		"/sys/kernel/debug/vblackwell/"
#define TRACEFS		"/sys/kernel/tracing/"

static char text[1 << 20];

/* ---- files ---- */

/* A file of the kernel into @text; false: there is none. */
static bool look(const char *path)
{
	FILE *f = fopen(path, "r");
	size_t n = 0;

	if (f) {
		n = fread(text, 1, sizeof(text) - 1, f);
		fclose(f);
	}
	text[n] = 0;
	return f;
}

static int say(const char *path, const char *what)
{
	int fd = open(path, O_WRONLY | O_TRUNC);
	ssize_t n = fd < 0 ? -1 : write(fd, what, strlen(what));
	int rc = n < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return rc;
}

static uint64_t number_in(const char *path)
{
	assert_true(look(path));
	return strtoull(text, NULL, 0);
}

/* The number behind "KEY:" in @text. */
static uint64_t value_of(const char *key)
{
	char wanted[64];
	const char *at;

	snprintf(wanted, sizeof(wanted), "\n%s:\t", key);
	at = strstr(text, wanted);
	if (!at)
		fail_msg("no key %s", key);
	return strtoull(at + strlen(wanted), NULL, 0);
}

/* The fdinfo of the one descriptor that is open on a node. */
static void fdinfo(const char *node)
{
	for (int fd = 3; fd < 256; fd++) {
		char path[64], link[256] = "";

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (readlink(path, link, sizeof(link) - 1) < 0 || strcmp(link, node))
			continue;
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
		assert_true(look(path));
		return;
	}
	fail_msg("%s is not open", node);
}

static void client_fdinfo(void)
{
	fdinfo(getenv("VBLACKWELL_SELFTEST_NODE"));
}

static void run_nop(uint32_t *queue, uint64_t *seqno)
{
	struct rig_stream s;

	assert_rc(rig_queue(u, 0, queue), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_submit(u, *queue, &s, seqno), 0);
	assert_rc(rig_wait(u, *queue, *seqno, 10000), 0);
}

/* ---- fdinfo ---- */

static void fdinfo_says_what_a_client_holds(void **state)
{
	uint64_t two = chunks(2) >> 10;
	struct vb_ioc_query_tier tier;
	uint32_t id, value = 5;

	(void)state;
	assert_rc(rig_bo(u, chunks(4), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_write(u, id, 0, &value, 4), 0);
	assert_rc(rig_write(u, id, chunks(1), &value, 4), 0);
	client_fdinfo();
	assert_non_null(strstr(text, "drm-driver:\tvblackwell\n"));
	assert_true(value_of("drm-client-id") >= 1);
	assert_int_equal(value_of("drm-resident-host"), two);
	assert_int_equal(value_of("drm-purgeable-host"), 0);
	assert_int_equal(value_of("drm-resident-nvme"), 0);
	assert_int_equal(value_of("vblackwell-anonymous"), 2 * two);
	assert_rc(rig_tier(u, VB_TIER_HOST, &tier), 0);
	assert_int_equal(value_of("drm-total-host"), tier.out_client_bytes >> 10);
	assert_rc(rig_advise(u, id, VB_ADVISE_EVICT, 0, chunks(4)), 0);
	client_fdinfo();
	assert_int_equal(value_of("drm-resident-host"), 0);
	assert_int_equal(value_of("drm-resident-nvme"), two);
	assert_int_equal(value_of("drm-purgeable-nvme"), 0);
	/* Read again, it is in both: either copy may go. */
	assert_rc(rig_read(u, id, 0, &value, 4), 0);
	client_fdinfo();
	assert_int_equal(value_of("drm-purgeable-host"), two / 2);
	assert_int_equal(value_of("drm-purgeable-nvme"), two / 2);
}

static void fdinfo_counts_work_and_pins(void **state)
{
	uint32_t queue, id;
	uint64_t seqno;

	(void)state;
	client_fdinfo();
	assert_int_equal(value_of("vblackwell-submits"), 0);
	run_nop(&queue, &seqno);
	assert_rc(rig_bo(u, chunks(2), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_advise(u, id, VB_ADVISE_PIN, 0, chunks(1)), 0);
	client_fdinfo();
	assert_int_equal(value_of("vblackwell-submits"), 1);
	assert_int_equal(value_of("vblackwell-in-flight"), 0);
	assert_int_equal(value_of("vblackwell-pinned"), chunks(1) >> 10);
	assert_int_equal(value_of("drm-purgeable-host"), 0);
	assert_non_null(strstr(text, "\ndrm-engine-exec:\t"));
}

static void fdinfo_of_the_executor_is_of_all_clients(void **state)
{
	struct vgpu_uapi *other = rig_client(&rig);
	uint32_t a, b, value = 1;

	(void)state;
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &a), 0);
	assert_rc(rig_bo(other, chunks(2), VB_LIFE_VOLATILE, &b), 0);
	assert_rc(rig_write(u, a, 0, &value, 4), 0);
	assert_rc(rig_write(other, b, chunks(1), &value, 4), 0);
	fdinfo(getenv("VBLACKWELL_SELFTEST_EXEC"));
	assert_int_equal(value_of("drm-client-id"), 0);
	assert_int_equal(value_of("drm-resident-host"), chunks(2) >> 10);
	assert_int_equal(value_of("vblackwell-anonymous"), chunks(3) >> 10);
	assert_int_equal(value_of("vblackwell-attached"), 1);
	assert_non_null(strstr(text, "vblackwell-state:\tlive\n"));
	rig_client_close(other);
}

/* Lines of keys as tools read them in @text, and whether each of these is one, once. */
static void has_these_keys(const char *const *keys, size_t count)
{
	size_t lines = 0;

	for (const char *at = text; (at = strchr(at, '\n')); at++)
		lines += !strncmp(at + 1, "drm-", 4) || !strncmp(at + 1, "vblackwell-", 11);
	for (size_t i = 0; i < count; i++) {
		char wanted[64];
		const char *at;

		snprintf(wanted, sizeof(wanted), "\n%s:\t", keys[i]);
		at = strstr(text, wanted);
		if (!at || strstr(at + 1, wanted))
			fail_msg("not there once: %s", keys[i]);
	}
	assert_int_equal(lines, count);
}

static void fdinfo_has_the_documented_keys(void **state)
{
	/* Those that only the executor's node has come last. */
	static const char *const keys[] = {
		"drm-driver", "drm-client-id", "drm-engine-exec",
		"drm-total-host", "drm-total-device", "drm-total-nvme",
		"drm-shared-host", "drm-shared-device", "drm-shared-nvme",
		"drm-resident-host", "drm-resident-device", "drm-resident-nvme",
		"drm-purgeable-host", "drm-purgeable-device", "drm-purgeable-nvme",
		"vblackwell-charged-host", "vblackwell-charged-device", "vblackwell-charged-nvme",
		"vblackwell-anonymous", "vblackwell-pinned", "vblackwell-kernel",
		"vblackwell-in-flight",
		"vblackwell-submits", "vblackwell-errors", "vblackwell-stall",
		"vblackwell-attached", "vblackwell-state", "vblackwell-generation",
	};
	const size_t count = sizeof(keys) / sizeof(*keys);

	(void)state;
	client_fdinfo();
	has_these_keys(keys, count - 3);
	fdinfo(getenv("VBLACKWELL_SELFTEST_EXEC"));
	has_these_keys(keys, count);
}

/* ---- fdinfo, the test is the executor ---- */

static void count_stall(uint32_t client, uint64_t ns)
{
	uint64_t counters[VB_COUNT_COUNT] = { [VB_COUNT_STALL_NS] = ns };
	struct vb_ioc_exec_stats cmd = {
		.size = sizeof(cmd), .client = client, .count = VB_COUNT_COUNT,
		.address = (uintptr_t)counters,
	};

	assert_rc(vgpu_uapi_call(x.node, VB_IOC_EXEC_STATS, &cmd), 0);
}

static void fdinfo_follows_a_command_that_fails(void **state)
{
	struct vb_ioc_commit done = {
		.size = sizeof(done), .generation = x.generation, .status = -EIO,
		.bad_command = ~0u, .busy_ns = 5000,
	};
	struct vb_ioc_fetch req;
	struct rig_stream s;
	uint32_t queue;
	uint64_t seqno;

	(void)state;
	assert_rc(rig_queue(u, 0, &queue), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	assert_rc(rig_submit(u, queue, &s, &seqno), 0);
	client_fdinfo();
	assert_int_equal(value_of("vblackwell-in-flight"), 1);
	count_stall((uint32_t)value_of("drm-client-id"), 77);
	fdinfo(getenv("VBLACKWELL_SELFTEST_EXEC"));
	assert_int_equal(value_of("vblackwell-in-flight"), 0);
	assert_int_equal(value_of("vblackwell-generation"), x.generation);
	assert_rc(rig_fetch(&x, &req), 0);
	fdinfo(getenv("VBLACKWELL_SELFTEST_EXEC"));
	assert_int_equal(value_of("vblackwell-in-flight"), 1);
	done.tag = req.out_tag;
	assert_rc(vgpu_uapi_call(x.node, VB_IOC_COMMIT, &done), 0);
	client_fdinfo();
	assert_int_equal(value_of("vblackwell-in-flight"), 0);
	assert_int_equal(value_of("vblackwell-submits"), 1);
	assert_int_equal(value_of("vblackwell-errors"), 1);
	assert_int_equal(value_of("vblackwell-stall"), 77);
	assert_int_equal(value_of("drm-engine-exec"), 5000);
}

static void step(uint32_t object, uint8_t op, uint8_t from, uint8_t to)
{
	assert_rc(rig_step(&x, object, 0, op, from, to), 0);
}

static void device_is(uint64_t total, uint64_t resident, uint64_t purgeable)
{
	client_fdinfo();
	assert_int_equal(value_of("drm-total-device"), chunks(total) >> 10);
	assert_int_equal(value_of("vblackwell-charged-device"), chunks(total) >> 10);
	assert_int_equal(value_of("drm-resident-device"), chunks(resident) >> 10);
	assert_int_equal(value_of("drm-purgeable-device"), chunks(purgeable) >> 10);
}

static void fdinfo_follows_a_chunk_to_the_device(void **state)
{
	enum { H = VB_TIER_HOST, D = VB_TIER_DEVICE, Z = VB_TIER_ZERO };
	struct vb_ioc_fetch req;
	uint32_t id;

	(void)state;
	assert_rc(rig_bo(u, chunks(2), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_advise(u, id, VB_ADVISE_PREFETCH, 0, 1), 0);
	assert_rc(rig_fetch(&x, &req), 0);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	device_is(0, 0, 0);
	step(req.out_object, VB_MOVE_BEGIN, Z, D);
	device_is(1, 0, 0);
	step(req.out_object, VB_MOVE_COMMIT, Z, D);
	step(req.out_object, VB_MOVE_WRITE, D, D);
	device_is(1, 1, 0);
	assert_int_equal(value_of("drm-resident-host"), 0);
	step(req.out_object, VB_MOVE_BEGIN, D, H);
	step(req.out_object, VB_MOVE_COMMIT, D, H);
	device_is(1, 1, 1);
	assert_int_equal(value_of("drm-resident-host"), chunks(1) >> 10);
	step(req.out_object, VB_MOVE_DROP, D, 0);
	device_is(0, 0, 0);
}

/* ---- sysfs ---- */

/* Zeros of a tier without an arena. */
static void same_as_query(uint32_t tier, const char *name)
{
	static const char *const files[] = { "bytes", "used", "pinned", "reserved" };
	struct vb_ioc_query_tier q = { .size = sizeof(q) };
	uint64_t wanted[4];
	char path[128];

	if (tier != VB_TIER_DEVICE)
		assert_rc(rig_tier(u, tier, &q), 0);
	wanted[0] = q.out_bytes;
	wanted[1] = q.out_used_bytes;
	wanted[2] = q.out_pinned_bytes;
	wanted[3] = q.out_reserved_bytes;
	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), SYSFS "tiers/%s/%s", name, files[i]);
		assert_int_equal(number_in(path), wanted[i]);
	}
}

static void sysfs_says_what_the_requests_say(void **state)
{
	struct vb_ioc_query_device q = { .size = sizeof(q) };
	uint32_t id, value = 3;

	(void)state;
	assert_rc(rig_bo(u, chunks(3), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_write(u, id, 0, &value, 4), 0);
	assert_rc(rig_advise(u, id, VB_ADVISE_PIN, chunks(1), chunks(1)), 0);
	assert_rc(rig_advise(u, id, VB_ADVISE_EVICT, 0, chunks(1)), 0);
	same_as_query(VB_TIER_HOST, "host");
	same_as_query(VB_TIER_NVME, "nvme");
	same_as_query(VB_TIER_DEVICE, "device");
	assert_rc(vgpu_uapi_call(u, VB_IOC_QUERY_DEVICE, &q), 0);
	assert_int_equal(number_in(SYSFS "chunk_bytes"), q.out_chunk_bytes);
	assert_int_equal(number_in(SYSFS "generation"), q.out_generation);
	assert_int_equal(number_in(SYSFS "recovery_ms"), q.out_recovery_ms);
	assert_true(look(SYSFS "exec_state"));
	assert_string_equal(text, "live\n");
}

static void sysfs_limits_are_those_of_new_clients(void **state)
{
	struct vgpu_uapi *other;
	char bytes[32];
	uint32_t id;

	(void)state;
	snprintf(bytes, sizeof(bytes), "%llu\n", (unsigned long long)chunks(2));
	assert_true(look(SYSFS "limits/client_bytes_max"));
	assert_string_equal(text, "none\n");
	assert_rc(say(SYSFS "limits/client_bytes_max", bytes), 0);
	other = rig_client(&rig);
	assert_rc(rig_bo(other, chunks(3), VB_LIFE_VOLATILE, &id), -EDQUOT);
	assert_rc(rig_bo(other, chunks(2), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_bo(u, chunks(3), VB_LIFE_VOLATILE, &id), 0);
	rig_client_close(other);
	assert_rc(say(SYSFS "limits/client_bytes_max", "much"), -EINVAL);
	assert_rc(say(SYSFS "limits/client_bytes_max", "none"), 0);
	assert_rc(say(SYSFS "chunk_bytes", "1"), -EACCES);
}

/* A new client has what its eight files say, and reads it back by VB_IOC_LIMIT. */
static void sysfs_has_a_limit_of_each_kind(void **state)
{
	static const struct {
		const char *name;
		uint32_t limit;
	} limits[] = {
		{ "host_max", VB_LIMIT_HOST_MAX }, { "device_max", VB_LIMIT_DEVICE_MAX },
		{ "bytes_max", VB_LIMIT_BYTES_MAX }, { "submissions", VB_LIMIT_SUBMISSIONS },
	};
	struct vgpu_uapi *other;
	char path[128], was[32];

	(void)state;
	for (uint32_t i = 0; i < 4; i++) {
		struct vb_ioc_limit q = { .size = sizeof(q), .limit = limits[i].limit };

		snprintf(path, sizeof(path), SYSFS "limits/user_%s", limits[i].name);
		assert_true(look(path));
		snprintf(path, sizeof(path), SYSFS "limits/client_%s", limits[i].name);
		assert_true(look(path));
		snprintf(was, sizeof(was), "%.30s", text);
		assert_rc(say(path, "12345"), 0);
		other = rig_client(&rig);
		assert_rc(vgpu_uapi_call(other, VB_IOC_LIMIT, &q), 0);
		assert_int_equal(q.out_value, 12345);
		rig_client_close(other);
		assert_rc(say(path, was), 0);
	}
}

/* ---- debugfs ---- */

static bool has_debugfs(void)
{
	return look(DEBUGFS "executor");
}

#define needs(condition, why) do {							\
	if (!(condition)) {								\
		fprintf(stderr, "SKIP: %s: %s\n", __func__, why);			\
		skip();									\
	}										\
} while (0)

static void debugfs_shows_the_states_of_chunks(void **state)
{
	uint32_t id, value = 9;

	(void)state;
	needs(has_debugfs(), "no debugfs");
	assert_rc(rig_bo(u, chunks(300), VB_LIFE_VOLATILE, &id), -ENOSPC);
	assert_rc(rig_bo(u, chunks(10), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_write(u, id, chunks(2), &value, 4), 0);
	assert_rc(rig_write(u, id, chunks(3), &value, 4), 0);
	assert_rc(rig_advise(u, id, VB_ADVISE_PIN, chunks(5), chunks(1)), 0);
	assert_true(look(DEBUGFS "objects"));
	assert_non_null(strstr(text, "chunks 10: 2. 2d 1. 1C 4.\n"));
	assert_rc(rig_advise(u, id, VB_ADVISE_EVICT, chunks(2), chunks(1)), 0);
	assert_true(look(DEBUGFS "objects"));
	assert_non_null(strstr(text, "chunks 10: 2. 1a 1d 1. 1C 4.\n"));
	assert_true(look(DEBUGFS "arenas"));
	assert_non_null(strstr(text, "arena 0: host, node -1, 16 of 16 slots present"));
	assert_true(look(DEBUGFS "clients"));
	assert_non_null(strstr(text, " uid 0:"));
	assert_true(look(DEBUGFS "users"));
	assert_non_null(strstr(text, "\nuid 0 clients 1:"));
	assert_true(look(DEBUGFS "executor"));
	assert_non_null(strstr(text, "state live\n"));
}

/* The runs of the one object that there is are these. */
static void expect_chunks(const char *runs)
{
	char wanted[64];

	assert_true(look(DEBUGFS "objects"));
	snprintf(wanted, sizeof(wanted), " chunks %s\n", runs);
	if (!strstr(text, wanted))
		fail_msg("no%.60s in %s", wanted, text);
}

static void step_of(uint32_t object, uint32_t chunk, uint8_t op, uint8_t from, uint8_t to)
{
	assert_rc(rig_step(&x, object, chunk, op, from, to), 0);
}

/* One chunk through all its states; the two beside it stay untouched. */
static void debugfs_has_a_letter_for_each_state(void **state)
{
	enum { H = VB_TIER_HOST, D = VB_TIER_DEVICE, N = VB_TIER_NVME, Z = VB_TIER_ZERO };
	uint32_t id, object, value = 9;
	void *p;

	(void)state;
	needs(has_debugfs(), "no debugfs");
	object = new_object(3, &id);
	expect_chunks("3: 3.");
	step_of(object, 1, VB_MOVE_BEGIN, Z, H);
	expect_chunks("3: 1. 1f 1.");
	step_of(object, 1, VB_MOVE_COMMIT, Z, H);
	expect_chunks("3: 1. 1c 1.");
	assert_rc(rig_write(u, id, chunks(1), &value, 4), 0);
	expect_chunks("3: 1. 1d 1.");
	assert_rc(rig_map(u, id, chunks(1), 4, VB_MAP_READ, &p), 0);
	expect_chunks("3: 1. 1D 1.");
	assert_rc(rig_unmap(u, id, chunks(1), 4, VB_MAP_READ), 0);
	step_of(object, 1, VB_MOVE_BEGIN, H, N);
	expect_chunks("3: 1. 1w 1.");
	step_of(object, 1, VB_MOVE_COMMIT, H, N);
	expect_chunks("3: 1. 1c 1.");
	assert_rc(rig_advise(u, id, VB_ADVISE_PIN, chunks(1), 4), 0);
	expect_chunks("3: 1. 1C 1.");
	assert_rc(rig_advise(u, id, VB_ADVISE_UNPIN, chunks(1), 4), 0);
	step_of(object, 1, VB_MOVE_DROP, H, H);
	expect_chunks("3: 1. 1a 1.");
	step_of(object, 1, VB_MOVE_BEGIN, N, H);
	expect_chunks("3: 1. 1f 1.");
	step_of(object, 1, VB_MOVE_COMMIT, N, H);
	step_of(object, 1, VB_MOVE_BEGIN, H, D);
	expect_chunks("3: 1. 1m 1.");
	step_of(object, 1, VB_MOVE_COMMIT, H, D);
	step_of(object, 1, VB_MOVE_WRITE, D, D);
	expect_chunks("3: 1. 1g 1.");
	/* The device goes with its executor. */
	rig_exec_close(&x);
	expect_chunks("3: 1. 1x 1.");
}

/* ---- tracepoints ---- */

/*
 * Names of tasks are not recorded: that would patch the scheduler's code while both processors
 * run it, where QEMU's TCG may keep a translation of the breakpoint that stands there meanwhile.
 */
static bool trace_on(void)
{
	mount("none", "/sys/kernel/tracing", "tracefs", 0, NULL);
	return !say(TRACEFS "options/record-cmd", "0") && !say(TRACEFS "trace", "\n") &&
	       !say(TRACEFS "events/vblackwell/enable", "1");
}

static void trace_off(void)
{
	assert_rc(say(TRACEFS "events/vblackwell/enable", "0"), 0);
	assert_true(look(TRACEFS "trace"));
}

/* Where an event with these words stands, behind @from. */
static const char *event(const char *from, const char *name, const char *words)
{
	char wanted[160];
	const char *at;

	snprintf(wanted, sizeof(wanted), " %s: %s", name, words);
	at = strstr(from, wanted);
	if (!at)
		fail_msg("no event%s after %.60s", wanted, from);
	return at;
}

static void submission_is_traced_hop_by_hop(void **state)
{
	static const char *const hops[] = { "vb_submit", "vb_queue", "vb_fetch", "vb_commit",
					    "vb_signal" };
	unsigned int client, queue;
	uint32_t handle;
	const char *at;
	uint64_t seqno;
	char words[64];

	(void)state;
	needs(trace_on(), "no tracefs");
	run_nop(&handle, &seqno);
	trace_off();
	at = event(text, hops[0], "");
	assert_int_equal(sscanf(strstr(at, "client="), "client=%u queue=%u", &client, &queue), 2);
	assert_non_null(strstr(at, " objects=0 unmet=0\n"));
	snprintf(words, sizeof(words), "client=%u queue=%u seqno=%llu", client, queue,
		 (unsigned long long)seqno);
	at = text;
	for (int i = 0; i < 5; i++)
		at = event(at, hops[i], words);
	assert_non_null(strstr(at, " status=0 busy_ns="));
}

static void canceled_submission_is_traced_to_its_end(void **state)
{
	struct rig_stream s;
	uint32_t queue;

	(void)state;
	needs(trace_on(), "no tracefs");
	assert_rc(rig_queue(u, 0, &queue), 0);
	rig_stream(&s);
	rig_add_nop(&s);
	fake_exec_pause(rig.fake);
	for (int i = 0; i < 3; i++)
		assert_rc(rig_submit(u, queue, &s, NULL), 0);
	assert_rc(rig_queue_destroy(u, queue), 0);
	fake_exec_resume(rig.fake);
	trace_off();
	assert_non_null(strstr(event(text, "vb_signal", ""), "seqno=3 status=-125"));
}

/* Lines of an event in @text, by one thread or by all (0). */
static uint32_t events_of(const char *name, pid_t thread)
{
	char wanted[64], by[32];
	uint32_t n = 0;

	snprintf(wanted, sizeof(wanted), " %s: ", name);
	snprintf(by, sizeof(by), "-%d ", (int)thread);
	for (const char *end, *line = text; (end = strchr(line, '\n')); line = end + 1) {
		const char *at = strstr(line, wanted), *who = strstr(line, by);

		n += at && at < end && (!thread || (who && who < at));
	}
	return n;
}

/* Whoever ends the first of a chain holds the lock for a few: a worker ends the others. */
static void a_chain_ends_a_few_at_a_time(void **state)
{
	enum { N = 300, AT_ONCE = 64 };
	struct rig_stream s;
	uint32_t a, b;

	(void)state;
	needs(trace_on(), "no tracefs");
	a = new_queue();
	b = new_queue();
	submit_nop(a);
	for (uint64_t i = 0; i < N; i++) {
		rig_stream(&s);
		rig_add_fence(&s, i ? b : a, i ? i : 1);
		assert_rc(rig_submit(u, b, &s, NULL), 0);
	}
	assert_rc(rig_commit(&x, fetch_submission(NULL), -EIO), 0);
	assert_rc(rig_wait(u, b, N, 10000), -EIO);
	trace_off();
	assert_int_equal(events_of("vb_signal", 0), N + 1);
	assert_in_range(events_of("vb_signal", gettid()), 1, AT_ONCE + 1);
}

static void chunk_is_traced_step_by_step(void **state)
{
	unsigned int object;
	uint32_t id, value = 1;
	const char *at;
	char words[64];

	(void)state;
	needs(trace_on(), "no tracefs");
	assert_rc(rig_bo(u, chunks(3), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_write(u, id, chunks(2), &value, 4), 0);
	assert_rc(rig_advise(u, id, VB_ADVISE_EVICT, chunks(2), chunks(1)), 0);
	trace_off();
	at = event(text, "vb_page_in", "");
	assert_int_equal(sscanf(strstr(at, "object="), "object=%u", &object), 1);
	snprintf(words, sizeof(words), "object=%u chunk=2 count=1 client=", object);
	at = event(text, "vb_page_in", words);
	snprintf(words, sizeof(words), "object=%u chunk=2 from=zero to=host", object);
	at = event(at, "vb_move_begin", words);
	at = event(at, "vb_move_commit", words);
	snprintf(words, sizeof(words), "object=%u chunk=2 from=host to=nvme", object);
	at = event(at, "vb_move_begin", words);
	event(at, "vb_move_commit", words);
}

/* Memory lent to a pipe: in quarantine until the pipe lets go. */
static void quarantine_is_shown_and_traced(void **state)
{
	uint8_t *p, byte[MACHINE_PAGE];
	uint32_t id, other;
	int fds[2];

	(void)state;
	needs(trace_on() && has_debugfs(), "no tracefs or no debugfs");
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &id), 0);
	p = machine_map(u, id, chunks(1), true);
	p[0] = 1;
	machine_pipe_lend(fds, p);
	munmap(p, chunks(1));
	assert_rc(rig_bo_destroy(u, id), 0);
	for (int i = 0; i < 60000; i++) {
		assert_true(look(DEBUGFS "quarantine"));
		if (*text)
			break;
		usleep(1000);
	}
	assert_non_null(strstr(text, "chunk 0, 1 references, 0 before\n"));
	machine_pipe_take(fds, byte);
	/* Whoever takes a slot looks whether others have come free. */
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &other), 0);
	assert_rc(rig_write(u, other, 0, byte, sizeof(byte)), 0);
	assert_true(look(DEBUGFS "quarantine"));
	assert_string_equal(text, "");
	trace_off();
	event(event(text, "vb_quarantine", "object="), "vb_quarantine_leave", "object=");
}

static void aborted_move_is_traced(void **state)
{
	struct vb_ioc_fetch req;
	char words[80];
	uint32_t id;

	(void)state;
	needs(trace_on(), "no tracefs");
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(rig_advise(u, id, VB_ADVISE_PREFETCH, 0, 1), 0);
	assert_rc(rig_fetch(&x, &req), 0);
	assert_rc(rig_commit(&x, req.out_tag, 0), 0);
	step(req.out_object, VB_MOVE_BEGIN, VB_TIER_ZERO, VB_TIER_HOST);
	step(req.out_object, VB_MOVE_ABORT, VB_TIER_ZERO, VB_TIER_HOST);
	trace_off();
	snprintf(words, sizeof(words), "object=%u chunk=0 from=zero to=host arena=%u slot=",
		 req.out_object, x.host);
	event(event(text, "vb_move_begin", words), "vb_move_abort", words);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		AS_CLIENT(fdinfo_says_what_a_client_holds),
		AS_CLIENT(fdinfo_counts_work_and_pins),
		AS_CLIENT(fdinfo_of_the_executor_is_of_all_clients),
		AS_CLIENT(fdinfo_has_the_documented_keys),
		AS_CLIENT(sysfs_says_what_the_requests_say),
		AS_CLIENT(sysfs_limits_are_those_of_new_clients),
		AS_CLIENT(sysfs_has_a_limit_of_each_kind),
		AS_CLIENT(debugfs_shows_the_states_of_chunks),
		AS_CLIENT(submission_is_traced_hop_by_hop),
		AS_CLIENT(canceled_submission_is_traced_to_its_end),
		AS_CLIENT(chunk_is_traced_step_by_step),
		AS_CLIENT(quarantine_is_shown_and_traced),
	};
	const struct CMUnitTest by_hand[] = {
		BY_HAND(fdinfo_follows_a_command_that_fails),
		BY_HAND(fdinfo_follows_a_chunk_to_the_device),
		BY_HAND(a_chain_ends_a_few_at_a_time),
		BY_HAND(aborted_move_is_traced),
		BY_HAND(debugfs_has_a_letter_for_each_state),
	};
	int failed = 0;

	if (!selftest_has_module("visible"))
		return 0;
	failed += SELFTEST_RUN("visible", tests, RIG_FAKE, HOST_SLOTS, NVME_SLOTS);
	failed += SELFTEST_RUN("visible, executor by hand", by_hand, RIG_NONE, 0, 0);
	return failed ? 1 : 0;
}
