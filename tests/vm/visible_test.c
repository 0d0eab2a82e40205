// SPDX-License-Identifier: MIT
/*
 * What the module shows of itself: fdinfo, sysfs, debugfs and tracepoints say what the
 * requests say, and follow one command buffer and one chunk from hop to hop.
 */
#include "selftests/selftest.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define HOST_SLOTS	16u
#define NVME_SLOTS	32u
#define SYSFS		"/sys/class/misc/vblackwell/"
#define DEBUGFS		"/sys/kernel/debug/vblackwell/"
#define TRACEFS		"/sys/kernel/tracing/"

static struct vgpu_uapi *u;
static char text[1 << 20];

static int setup(void **state)
{
	int rc = selftest_setup(state);

	u = rig.client;
	return rc;
}

static uint64_t chunks(uint64_t n)
{
	return n * rig.chunk_bytes;
}

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

/* ---- sysfs ---- */

static void same_as_query(uint32_t tier, const char *name)
{
	static const char *const files[] = { "bytes", "used", "pinned", "reserved" };
	struct vb_ioc_query_tier q;
	uint64_t wanted[4];
	char path[128];

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
	assert_int_equal(number_in(SYSFS "tiers/device/bytes"), 0);
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

/* ---- tracepoints ---- */

static bool trace_on(void)
{
	mount("none", "/sys/kernel/tracing", "tracefs", 0, NULL);
	return !say(TRACEFS "trace", "\n") && !say(TRACEFS "events/vblackwell/enable", "1");
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
	snprintf(words, sizeof(words), "client=%u queue=%u seqno=%llu", client, queue,
		 (unsigned long long)seqno);
	at = text;
	for (int i = 0; i < 5; i++)
		at = event(at, hops[i], words);
	assert_non_null(strstr(at, "status=0"));
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
	snprintf(words, sizeof(words), "object=%u chunk=2 ", object);
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
	struct iovec iov = { .iov_len = 4096 };
	uint8_t *p, byte[4096];
	uint32_t id, other;
	int fds[2];

	(void)state;
	needs(trace_on() && has_debugfs(), "no tracefs or no debugfs");
	assert_int_equal(pipe(fds), 0);
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &id), 0);
	assert_rc(u->ops->map(u, (uint64_t)id << 46, chunks(1), true, (void **)&p), 0);
	p[0] = 1;
	iov.iov_base = p;
	assert_int_equal(vmsplice(fds[1], &iov, 1, 0), 4096);
	munmap(p, chunks(1));
	assert_rc(rig_bo_destroy(u, id), 0);
	for (int i = 0; i < 2000; i++) {
		assert_true(look(DEBUGFS "quarantine"));
		if (*text)
			break;
		usleep(1000);
	}
	assert_non_null(strstr(text, "chunk 0, 1 references, 0 before\n"));
	assert_int_equal(read(fds[0], byte, sizeof(byte)), sizeof(byte));
	/* Whoever takes a slot looks whether others have come free. */
	assert_rc(rig_bo(u, chunks(1), VB_LIFE_VOLATILE, &other), 0);
	assert_rc(rig_write(u, other, 0, byte, sizeof(byte)), 0);
	assert_true(look(DEBUGFS "quarantine"));
	assert_string_equal(text, "");
	trace_off();
	event(event(text, "vb_quarantine", "object="), "vb_quarantine_leave", "object=");
	close(fds[0]);
	close(fds[1]);
}

#define CASE(name)	cmocka_unit_test_setup_teardown(name, setup, selftest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(fdinfo_says_what_a_client_holds),
		CASE(fdinfo_counts_work_and_pins),
		CASE(fdinfo_of_the_executor_is_of_all_clients),
		CASE(sysfs_says_what_the_requests_say),
		CASE(sysfs_limits_are_those_of_new_clients),
		CASE(debugfs_shows_the_states_of_chunks),
		CASE(submission_is_traced_hop_by_hop),
		CASE(canceled_submission_is_traced_to_its_end),
		CASE(chunk_is_traced_step_by_step),
		CASE(quarantine_is_shown_and_traced),
	};

	if (!getenv("VBLACKWELL_SELFTEST_NODE")) {
		fprintf(stderr, "SKIP: visible: VBLACKWELL_SELFTEST_NODE is not set\n");
		return 0;
	}
	return SELFTEST_RUN("visible", tests, RIG_FAKE, HOST_SLOTS, NVME_SLOTS) ? 1 : 0;
}
