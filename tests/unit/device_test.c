// SPDX-License-Identifier: MIT
/* Opening, sharing, describing and closing devices through the public header. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/fork_settled.h"
#include "vgpu.h"

#define CHUNK	65536u

/* TSan starts no threads in a child of a process that had some. */
#ifdef __SANITIZE_THREAD__
#define CHILD_MAY_HAVE_THREADS	false
#else
#define CHILD_MAY_HAVE_THREADS	true
#endif

static const struct vgpu_config small = {
	.size = sizeof(small), .chunk_bytes = CHUNK, .host_bytes = 64 * CHUNK, .threads = 1,
};

static void version_has_three_numbers(void **state)
{
	int a, b, c, n = 0;

	(void)state;
	assert_int_equal(sscanf(vgpu_version(), "%d.%d.%d%n", &a, &b, &c, &n), 3);
	assert_int_equal(n, strlen(vgpu_version()));
}

static void opens_of_a_process_share_one_device(void **state)
{
	struct vgpu_tier_info tier = { .size = sizeof(tier) };
	struct vgpu *a, *b;
	struct vgpu_bo *bo;

	(void)state;
	assert_int_equal(vgpu_open("embedded", &a), 0);
	assert_int_equal(vgpu_open("embedded", &b), 0);
	assert_int_equal(vgpu_bo_create(a, 1, VGPU_LIFE_VOLATILE, &bo), 0);
	assert_int_equal(vgpu_tier_info(b, 0, &tier), 0);
	assert_true(tier.reserved_bytes > 0);
	vgpu_bo_destroy(bo);
	vgpu_close(a);
	assert_int_equal(vgpu_tier_info(b, 0, &tier), 0);
	vgpu_close(b);
	vgpu_close(NULL);
	assert_int_equal(vgpu_open("embedded", &a), 0);
	vgpu_close(a);
}

static void devices_of_ones_own_are_apart(void **state)
{
	struct vgpu_tier_info tier = { .size = sizeof(tier) };
	struct vgpu *a, *b, *peer;
	struct vgpu_bo *bo;

	(void)state;
	assert_int_equal(vgpu_open_embedded(&small, &a), 0);
	assert_int_equal(vgpu_open_embedded(&small, &b), 0);
	assert_int_equal(vgpu_open_peer(a, &peer), 0);
	assert_int_equal(vgpu_bo_create(a, CHUNK, VGPU_LIFE_VOLATILE, &bo), 0);
	assert_int_equal(vgpu_tier_info(b, 0, &tier), 0);
	assert_int_equal(tier.reserved_bytes, 0);
	assert_int_equal(vgpu_tier_info(peer, 0, &tier), 0);
	assert_int_equal(tier.reserved_bytes, CHUNK);
	assert_int_equal(tier.client_bytes, 0);
	vgpu_bo_destroy(bo);
	vgpu_close(a);
	assert_int_equal(vgpu_bo_create(peer, CHUNK, VGPU_LIFE_VOLATILE, &bo), 0);
	vgpu_bo_destroy(bo);
	vgpu_close(peer);
	vgpu_close(b);
}

static uint64_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long long pages = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%*u %llu", &pages), 1);
	fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* A large tier costs what is used of it: memory, and the time to bring it in. */
static void memory_of_the_tier_is_taken_as_it_is_used(void **state)
{
	struct vgpu_config c = { .size = sizeof(c), .host_bytes = 2ull << 30, .threads = 1 };
	uint64_t before = resident_bytes();
	char *text = calloc(1, CHUNK);
	struct vgpu_bo *bo;
	struct vgpu *v;

	(void)state;
	assert_non_null(text);
	assert_int_equal(vgpu_open_embedded(&c, &v), 0);
	assert_int_equal(vgpu_bo_create(v, CHUNK, VGPU_LIFE_VOLATILE, &bo), 0);
	assert_int_equal(vgpu_bo_write(bo, 0, text, CHUNK), 0);
	assert_true(resident_bytes() < before + (256ull << 20));
	vgpu_bo_destroy(bo);
	vgpu_close(v);
	free(text);
}

static void environment_names_the_device(void **state)
{
	struct vgpu *v;

	(void)state;
	setenv("VBLACKWELL_DEVICE", "/dev/null", 1);
	assert_int_equal(vgpu_open(NULL, &v), -ENODEV);
	assert_non_null(strstr(vgpu_error_text(), "/dev/null"));
	setenv("VBLACKWELL_DEVICE", "/nowhere/at/all", 1);
	assert_int_equal(vgpu_open(NULL, &v), -ENODEV);
	setenv("VBLACKWELL_DEVICE", "embedded", 1);
	assert_int_equal(vgpu_open(NULL, &v), 0);
	vgpu_close(v);
	unsetenv("VBLACKWELL_DEVICE");
	assert_int_equal(vgpu_open("/nowhere/at/all", &v), -ENODEV);
}

static void refuse(struct vgpu_config c, int rc, const char *text)
{
	struct vgpu *v;

	assert_int_equal(vgpu_open_embedded(&c, &v), rc);
	if (!strstr(vgpu_error_text(), text))
		fail_msg("\"%s\" does not name %s", vgpu_error_text(), text);
}

static void wrong_configurations_are_refused_by_name_and_number(void **state)
{
	struct { struct vgpu_config c; uint32_t more[2]; } longer = { small, { 0, 1 } };
	struct vgpu_config c;
	struct vgpu *v;

	(void)state;
	c = small, c.size = 0;
	refuse(c, -EINVAL, "config.size");
	c = small, c.flags = 4;
	refuse(c, -EINVAL, "config.flags is 0x4");
	c = small, c.chunk_bytes = 12345;
	refuse(c, -EINVAL, "12345");
	c = small, c.policy = "nonsense";
	refuse(c, -EINVAL, "nonsense");
	c = small, c.backend = "nonsense";
	refuse(c, -EINVAL, "nonsense");
	c = small, c.io_engine = "nonsense";
	refuse(c, -EINVAL, "nonsense");
	c = small, c.host_bytes = CHUNK;
	refuse(c, -EINVAL, "65536");
	longer.c.size = sizeof(longer);
	assert_int_equal(vgpu_open_embedded(&longer.c, &v), -E2BIG);
	longer.more[1] = 0;
	assert_int_equal(vgpu_open_embedded(&longer.c, &v), 0);
	vgpu_close(v);
}

static void information_is_cut_where_the_caller_ends(void **state)
{
	struct vgpu_device_info info = { .size = 8, .panel_bytes = 77 };
	struct vgpu *v;

	(void)state;
	assert_int_equal(vgpu_open_embedded(&small, &v), 0);
	assert_int_equal(vgpu_device_info(v, &info), 0);
	assert_int_equal(info.chunk_bytes, CHUNK);
	assert_int_equal(info.panel_bytes, 77);
	info.size = sizeof(info);
	assert_int_equal(vgpu_device_info(v, &info), 0);
	assert_true(info.embedded);
	assert_true(info.tier_count >= 1 && info.staging_bytes > 0);
	info.size = 0;
	assert_int_equal(vgpu_device_info(v, &info), -EINVAL);
	vgpu_close(v);
}

static uint64_t panel_bytes(uint64_t host_bytes, uint64_t chunk_bytes)
{
	struct vgpu_config c = { .size = sizeof(c), .host_bytes = host_bytes, .threads = 1,
				 .chunk_bytes = (uint32_t)chunk_bytes };
	struct vgpu_device_info info = { .size = sizeof(info) };
	struct vgpu *v;

	assert_int_equal(vgpu_open_embedded(&c, &v), 0);
	assert_int_equal(vgpu_device_info(v, &info), 0);
	vgpu_close(v);
	return info.panel_bytes;
}

/* Whatever a chunk is: threads wait for each other at the end of a panel. */
static void panel_is_a_sixth_of_staging_up_to_8_mib(void **state)
{
	const uint64_t mib = 1u << 20;

	(void)state;
	assert_int_equal(panel_bytes(64 * CHUNK, CHUNK), CHUNK);
	assert_int_equal(panel_bytes(480 * CHUNK, CHUNK), 4 * CHUNK);
	assert_int_equal(panel_bytes(960 * CHUNK, CHUNK), 8 * CHUNK);
	assert_int_equal(panel_bytes(2048 * mib, CHUNK), 8 * mib);
	assert_int_equal(panel_bytes(1024 * mib, 2 * mib), 8 * mib);
}

static void description_answers_every_documented_key(void **state)
{
	static const char *const keys[] = {
		"device", "backend", "isa", "threads", "policy", "io.engine", "io.reason", "nvme",
		"host.pages",
	};
	char text[256];
	struct vgpu *v;

	(void)state;
	assert_int_equal(vgpu_open_embedded(&small, &v), 0);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		int n = vgpu_describe(v, keys[i], text, sizeof(text));

		if (n != (int)strlen(text))
			fail_msg("%s: %d", keys[i], n);
	}
	assert_int_equal(vgpu_describe(v, "nonsense", text, sizeof(text)), -ENOENT);
	assert_non_null(strstr(vgpu_error_text(), "nonsense"));
	assert_int_equal(vgpu_describe(v, "device", text, 4), 3);
	assert_string_equal(text, "emb");
	assert_int_equal(vgpu_describe(v, "device", text, 0), -EINVAL);
	vgpu_close(v);
}

static void counters_count_submissions(void **state)
{
	uint64_t before[VGPU_COUNTERS], after[VGPU_COUNTERS + 3];
	struct vgpu_cmdbuf *cb;
	struct vgpu_queue *q;
	struct vgpu *v;

	(void)state;
	assert_int_equal(vgpu_open_embedded(&small, &v), 0);
	assert_int_equal(vgpu_queue_create(v, 0, &q), 0);
	assert_int_equal(vgpu_cmdbuf_create(v, &cb), 0);
	assert_int_equal(vgpu_cmd_nop(cb), 0);
	assert_int_equal(vgpu_stats(v, before, VGPU_COUNTERS), 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(vgpu_finish(q, cb), 0);
	memset(after, 0xff, sizeof(after));
	assert_int_equal(vgpu_stats(v, after, VGPU_COUNTERS + 3), 0);
	assert_int_equal(after[VGPU_COUNT_SUBMITS] - before[VGPU_COUNT_SUBMITS], 10);
	assert_int_equal(after[VGPU_COUNT_COMMANDS] - before[VGPU_COUNT_COMMANDS], 10);
	assert_int_equal(after[VGPU_COUNTERS], 0);
	vgpu_cmdbuf_destroy(cb);
	vgpu_queue_destroy(q);
	vgpu_close(v);
}

/* ---- fork ---- */

static int in_child(struct vgpu *v, struct vgpu_bo *bo)
{
	struct vgpu_tier_info tier = { .size = sizeof(tier) };
	struct vgpu_bo *more;
	struct vgpu *own;
	char byte = 1;

	if (vgpu_tier_info(v, 0, &tier) != -EPERM || !strstr(vgpu_error_text(), "fork"))
		return 1;
	if (vgpu_bo_create(v, 1, VGPU_LIFE_VOLATILE, &more) != -EPERM ||
	    vgpu_bo_write(bo, 0, &byte, 1) != -EPERM || vgpu_open_peer(v, &own) != -EPERM)
		return 2;
	vgpu_bo_destroy(bo);
	vgpu_close(v);
	if (!CHILD_MAY_HAVE_THREADS)
		return 0;
	if (vgpu_open("embedded", &own) || vgpu_bo_create(own, 1, VGPU_LIFE_VOLATILE, &more) ||
	    vgpu_bo_write(more, 0, &byte, 1))
		return 3;
	vgpu_bo_destroy(more);
	vgpu_close(own);
	return 0;
}

static void child_is_refused_and_may_open_its_own(void **state)
{
	struct vgpu_bo *bo;
	struct vgpu *v;
	int status;
	pid_t child;

	(void)state;
	assert_int_equal(vgpu_open("embedded", &v), 0);
	assert_int_equal(vgpu_bo_create(v, 1, VGPU_LIFE_VOLATILE, &bo), 0);
	child = fork_settled();
	assert_true(child >= 0);
	if (!child)
		_exit(in_child(v, bo));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(vgpu_bo_write(bo, 0, "x", 1), 0);	/* the parent goes on */
	vgpu_bo_destroy(bo);
	vgpu_close(v);
}

/* ---- errors ---- */

static void *fail_elsewhere(void *arg)
{
	struct vgpu *v;

	(void)arg;
	if (*vgpu_error_text())
		return "a thread begins with another's text";
	vgpu_open("/nowhere", &v);
	return strstr(vgpu_error_text(), "/nowhere") ? NULL : "no text";
}

static void error_text_is_the_threads_own(void **state)
{
	pthread_t thread;
	struct vgpu *v;
	void *wrong;

	(void)state;
	assert_int_equal(vgpu_open("/somewhere/else", &v), -ENODEV);
	assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
	pthread_join(thread, &wrong);
	assert_null(wrong);
	assert_non_null(strstr(vgpu_error_text(), "/somewhere/else"));
}

/* ---- exports ---- */

/* Is there a declaration marked VGPU_API that declares it? */
static bool text_declares(char *text, const char *pattern)
{
	char *at, *save = NULL;

	for (at = strtok_r(text, ";", &save); at; at = strtok_r(NULL, ";", &save)) {
		const char *mark = strstr(at, "VGPU_API ");

		if (mark && strstr(mark, pattern))
			return true;
	}
	return false;
}

static bool is_declared(const char *name)
{
	static char text[1 << 17];
	bool found = false;
	char pattern[260];
	glob_t headers;

	assert_int_equal(glob(TEST_DATA "/../../../libvgpu/*.h", 0, NULL, &headers), 0);
	snprintf(pattern, sizeof(pattern), "%s(", name);
	for (size_t i = 0; i < headers.gl_pathc && !found; i++) {
		FILE *f = fopen(headers.gl_pathv[i], "r");

		assert_non_null(f);
		text[fread(text, 1, sizeof(text) - 1, f)] = 0;
		found = text_declares(text, pattern);
		fclose(f);
	}
	globfree(&headers);
	return found;
}

/* What the shared library exports is what the headers mark, and carries its version. */
static void shared_library_exports_the_public_functions_alone(void **state)
{
	char exe[256], command[600], line[512], name[256];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	int functions = 0;
	FILE *nm;

	(void)state;
	assert_true(n > 0);
	exe[n] = 0;
	*strstr(exe, "/tests/unit/") = 0;
	snprintf(command, sizeof(command), "nm -D --defined-only %s/libvgpu.so 2>/dev/null", exe);
	nm = popen(command, "r");
	assert_non_null(nm);
	while (fgets(line, sizeof(line), nm)) {
		char type, *at;

		if (sscanf(line, "%*s %c %255s", &type, name) != 2 || type == 'A')
			continue;
		at = strchr(name, '@');
		if (!at || strcmp(at, "@@VGPU_1"))
			fail_msg("%s has no version", name);
		*at = 0;
		if (type != 'T' || !is_declared(name))
			fail_msg("%s is exported and not public", name);
		functions++;
	}
	pclose(nm);
	if (!functions) {
		print_message("SKIP: %s/libvgpu.so was not built, or there is no nm\n", exe);
		skip();
	}
	assert_in_range(functions, 40, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(version_has_three_numbers),
		cmocka_unit_test(opens_of_a_process_share_one_device),
		cmocka_unit_test(devices_of_ones_own_are_apart),
		cmocka_unit_test(memory_of_the_tier_is_taken_as_it_is_used),
		cmocka_unit_test(environment_names_the_device),
		cmocka_unit_test(wrong_configurations_are_refused_by_name_and_number),
		cmocka_unit_test(information_is_cut_where_the_caller_ends),
		cmocka_unit_test(panel_is_a_sixth_of_staging_up_to_8_mib),
		cmocka_unit_test(description_answers_every_documented_key),
		cmocka_unit_test(counters_count_submissions),
		cmocka_unit_test(child_is_refused_and_may_open_its_own),
		cmocka_unit_test(error_text_is_the_threads_own),
		cmocka_unit_test(shared_library_exports_the_public_functions_alone),
	};

	return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
