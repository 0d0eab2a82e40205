// SPDX-License-Identifier: MIT
/* vbctl replay: exit status, table and JSON, on a trace whose counts are known. */
#include "vbctl/replay.c"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>

#include <cmocka.h>

#define CHUNKS 12
#define LAPS 5
#define CAPACITY 4

static char path[64];
static char output[16384];

/* LAPS over CHUNKS chunks with room for CAPACITY, as the optimum serves them. */
static int write_trace(void **state)
{
	static const struct vgpu_trace_header header = {
		.chunk_bytes = 64 << 10, .capacity = CAPACITY, .staging = 2, .policy = "replay",
	};
	struct vgpu_trace_writer *writer;
	int fd = memfd_create("trace", 0);

	(void)state;
	if (fd < 0 || vgpu_trace_create(fd, &header, &writer))
		return -1;
	for (uint32_t i = 0; i < LAPS * CHUNKS; i++) {
		bool hit = i >= CHUNKS && i % CHUNKS < CAPACITY;

		vgpu_trace_put(writer, hit ? VGPU_TRACE_HIT : VGPU_TRACE_BYPASS, i % CHUNKS, 0, 5);
	}
	vgpu_trace_put(writer, VGPU_TRACE_PREFETCH, 1, 0, 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return vgpu_trace_finish(writer);
}

static int call(char **argv, int argc)
{
	int saved_out = dup(1), saved_err = dup(2), fd = memfd_create("output", MFD_CLOEXEC);
	ssize_t got;
	int rc;

	assert_true(saved_out >= 0 && saved_err >= 0 && fd >= 0);
	fflush(stdout);
	dup2(fd, 1);
	dup2(fd, 2);
	rc = vbctl_replay(argc, argv);
	fflush(stdout);
	dup2(saved_out, 1);
	dup2(saved_err, 2);
	got = pread(fd, output, sizeof(output) - 1, 0);
	assert_true(got >= 0);
	output[got] = '\0';
	close(saved_out);
	close(saved_err);
	close(fd);
	return rc;
}

#define CALL(...) ({							\
	char *argv_[] = { (char *)"replay", __VA_ARGS__, NULL };	\
	call(argv_, sizeof(argv_) / sizeof(*argv_) - 1);		\
})

static uint64_t number(struct json_object *object, const char *name)
{
	struct json_object *value;

	assert_true(json_object_object_get_ex(object, name, &value));
	assert_true(json_object_is_type(value, json_type_int));
	return json_object_get_uint64(value);
}

static struct json_object *member(struct json_object *object, const char *name)
{
	struct json_object *value;

	assert_true(json_object_object_get_ex(object, name, &value));
	return value;
}

static void replay_json_gives_every_policy_beside_the_optimum(void **state)
{
	/* The first lap reads everything, each later one what does not fit. */
	uint64_t best = CHUNKS + (LAPS - 1) * (CHUNKS - CAPACITY);
	struct json_object *root, *policies;

	(void)state;
	assert_int_equal(CALL(path, (char *)"--json"), 0);
	root = json_tokener_parse(output);
	assert_non_null(root);
	assert_int_equal(number(root, "schema"), 1);
	assert_int_equal(number(root, "uses"), LAPS * CHUNKS);
	assert_int_equal(number(root, "chunks"), CHUNKS);
	assert_int_equal(number(root, "capacity"), CAPACITY);
	assert_int_equal(number(member(root, "optimum"), "misses"), best);
	assert_int_equal(number(member(root, "optimum"), "bytes"), best << 16);
	assert_int_equal(number(member(root, "recorded"), "misses"), best);
	assert_int_equal(number(member(root, "recorded"), "wait_us"), 5 * LAPS * CHUNKS);
	assert_int_equal(number(member(root, "recorded"), "prefetch_issued"), 1);
	policies = member(root, "policies");
	assert_int_equal(json_object_array_length(policies), 4);
	for (size_t i = 0; i < 4; i++) {
		struct json_object *row = json_object_array_get_idx(policies, i);
		const char *name = json_object_get_string(member(row, "name"));

		assert_int_equal(number(row, "misses"),
				 strcmp(name, "lru") ? best : LAPS * CHUNKS);
	}
	json_object_put(root);
}

static void replay_options_choose_policy_and_capacity(void **state)
{
	struct json_object *root;

	(void)state;
	assert_int_equal(CALL((char *)"--policy", (char *)"lru", (char *)"--capacity=12",
			      (char *)"--json", path), 0);
	root = json_tokener_parse(output);
	assert_non_null(root);
	assert_int_equal(json_object_array_length(member(root, "policies")), 1);
	assert_int_equal(number(json_object_array_get_idx(member(root, "policies"), 0),
				"misses"), CHUNKS);
	json_object_put(root);
	/* More room than there are chunks costs no memory. */
	assert_int_equal(CALL(path, (char *)"--capacity", (char *)"4294967295"), 0);
	assert_non_null(strstr(output, "4294967295 chunks"));
}

static void replay_table_names_every_policy(void **state)
{
	(void)state;
	assert_int_equal(CALL(path), 0);
	for (const struct vgpu_policy_ops *const *p = vgpu_policies; *p; p++)
		assert_non_null(strstr(output, (*p)->name));
	assert_non_null(strstr(output, "optimum"));
	assert_non_null(strstr(output, "1.364")); /* lru: 60 misses for 44 */
}

static void expect_one_line(const char *text)
{
	assert_non_null(strstr(output, text));
	assert_ptr_equal(strchr(output, '\n'), output + strlen(output) - 1);
}

static void replay_usage_errors_exit_2_with_one_line(void **state)
{
	char *none[] = { (char *)"replay", NULL };

	(void)state;
	assert_int_equal(call(none, 1), 2);
	expect_one_line("0 arguments, takes TRACE");
	assert_int_equal(CALL(path, path), 2);
	expect_one_line("2 arguments, takes TRACE");
	assert_int_equal(CALL(path, (char *)"--frobnicate"), 2);
	expect_one_line("--frobnicate");
	assert_int_equal(CALL(path, (char *)"--capacity"), 2);
	expect_one_line("--capacity needs a CHUNKS");
	assert_int_equal(CALL(path, (char *)"--capacity", (char *)"0"), 2);
	expect_one_line("0 is outside 1 .. 4294967295");
	assert_int_equal(CALL(path, (char *)"--capacity", (char *)"4294967296"), 2);
	expect_one_line("4294967296");
	assert_int_equal(CALL(path, (char *)"--capacity", (char *)"12x"), 2);
	expect_one_line("12x");
	assert_int_equal(CALL(path, (char *)"--policy", (char *)"best"), 2);
	expect_one_line("best is none of all, schedule, replay, freq, lru");
}

static void expect_row_adds_up(struct json_object *row, uint64_t uses)
{
	assert_int_equal(number(row, "hits") + number(row, "misses"), uses);
}

/* A bypassed chunk that is used again at once is one use, in every row. */
static void replay_rows_add_up_where_uses_repeat(void **state)
{
	static const struct vgpu_trace_header header = {
		.chunk_bytes = 64 << 10, .capacity = CAPACITY, .staging = 2, .policy = "replay",
	};
	struct vgpu_trace_writer *writer;
	struct json_object *root, *policies;
	int fd = memfd_create("repeats", 0);
	char repeats[64];

	(void)state;
	assert_int_equal(vgpu_trace_create(fd, &header, &writer), 0);
	for (uint32_t i = 0; i < 2 * LAPS * CHUNKS; i++)
		vgpu_trace_put(writer, VGPU_TRACE_BYPASS, i / 2 % CHUNKS, 0, 0);
	assert_int_equal(vgpu_trace_finish(writer), 0);
	snprintf(repeats, sizeof(repeats), "/proc/self/fd/%d", fd);
	assert_int_equal(CALL(repeats, (char *)"--json"), 0);
	root = json_tokener_parse(output);
	assert_non_null(root);
	assert_int_equal(number(root, "uses"), LAPS * CHUNKS);
	expect_row_adds_up(member(root, "optimum"), LAPS * CHUNKS);
	expect_row_adds_up(member(root, "recorded"), LAPS * CHUNKS);
	assert_int_equal(number(member(root, "recorded"), "misses"), LAPS * CHUNKS);
	policies = member(root, "policies");
	for (size_t i = 0; i < json_object_array_length(policies); i++)
		expect_row_adds_up(json_object_array_get_idx(policies, i), LAPS * CHUNKS);
	json_object_put(root);
	close(fd);
}

static void replay_failures_exit_1_with_one_line(void **state)
{
	(void)state;
	assert_int_equal(CALL((char *)"/nonexistent/trace"), 1);
	expect_one_line("/nonexistent/trace");
	assert_int_equal(CALL((char *)"/dev/null"), 1);
	expect_one_line("does not begin with the 64 bytes of a trace's header, version 1");
	assert_int_equal(CALL((char *)"/proc/self/exe"), 1);
	expect_one_line("does not begin with the 64 bytes of a trace's header, version 1");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(replay_json_gives_every_policy_beside_the_optimum),
		cmocka_unit_test(replay_options_choose_policy_and_capacity),
		cmocka_unit_test(replay_table_names_every_policy),
		cmocka_unit_test(replay_rows_add_up_where_uses_repeat),
		cmocka_unit_test(replay_usage_errors_exit_2_with_one_line),
		cmocka_unit_test(replay_failures_exit_1_with_one_line),
	};

	return cmocka_run_group_tests_name("replay", tests, write_trace, NULL);
}
