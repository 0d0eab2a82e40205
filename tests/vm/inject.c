// SPDX-License-Identifier: MIT
#include "vm/inject.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGES	"/sys/kernel/debug/fail_page_alloc/"

static int fail_nth = -1;

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int rc = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -errno;

	if (fd >= 0)
		close(fd);
	return rc;
}

/* An attribute of everything that can be made to fail. */
static int set_all(const char *name, const char *text)
{
	static const char *const what[] = { "failslab", "fail_page_alloc", "fail_usercopy" };
	char path[128];
	int rc = 0;

	for (size_t i = 0; !rc && i < 3; i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", what[i], name);
		rc = write_text(path, text);
	}
	return rc;
}

/**
 * inject_say() - what the kernel's log says of a failure
 * @stacks: where it was; false: nothing
 *
 * Return: 0 or -errno.
 */
int inject_say(bool stacks)
{
	return set_all("verbose", stacks ? "2" : "0");
}

/* Where a function of the kernel is; false: that is not told. */
static bool find_function(const char *name, uint64_t *out_first, uint64_t *out_end)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	unsigned long long at;
	char is[256];

	*out_first = 0;
	*out_end = UINT64_MAX;
	for (int pass = 0; f && pass < 2; pass++) {
		rewind(f);
		while (fscanf(f, "%llx %*c %255s%*[^\n]", &at, is) == 2)
			if (!pass && !strcmp(is, name))
				*out_first = at;
			else if (pass && at > *out_first && at < *out_end)
				*out_end = at;
	}
	if (f)
		fclose(f);
	return *out_first;
}

/* @what: "require", or "reject" */
static int range(const char *what, uint64_t first, uint64_t end)
{
	char name[32], text[32];
	int rc;

	snprintf(name, sizeof(name), "%s-start", what);
	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)first);
	rc = set_all(name, text);
	snprintf(name, sizeof(name), "%s-end", what);
	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)end);
	return rc ? rc : set_all(name, text);
}

/**
 * inject_within() - only what this function calls fails
 * @function: of the kernel, or of a module
 *
 * Return: 0; -ENOENT there is none; or -errno.
 */
int inject_within(const char *function)
{
	uint64_t first, end;

	return find_function(function, &first, &end) ? range("require", first, end) : -ENOENT;
}

/**
 * inject_except() - nothing fails that this function calls
 * @function: of the kernel, or of a module; NULL: there is none
 *
 * For what the kernel itself reports as a mistake when it has no memory.
 *
 * Return: 0; -ENOENT there is none; or -errno.
 */
int inject_except(const char *function)
{
	uint64_t first = 0, end = 0;

	if (function && !find_function(function, &first, &end))
		return -ENOENT;
	return range("reject", first, end);
}

/**
 * inject_setup() - prepare the kernel; first of all
 *
 * Every allocation counts, also those that may wait, and none says so in the log.
 *
 * Return: 0, or -errno as of the file that is not there.
 */
int inject_setup(void)
{
	int rc = inject_say(false);

	if (!rc)
		rc = range("require", 0, UINT64_MAX);
	if (!rc)
		rc = write_text("/sys/kernel/debug/failslab/ignore-gfp-wait", "N");
	if (!rc)
		rc = write_text("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N");
	if (!rc)
		rc = write_text("/sys/kernel/debug/fail_page_alloc/ignore-gfp-highmem", "N");
	if (!rc)
		rc = write_text("/sys/kernel/debug/fail_page_alloc/min-order", "0");
	if (rc)
		return rc;
	fail_nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	return fail_nth < 0 ? -errno : 0;
}

/**
 * inject_in() - in another thread of this process, until this is called again
 * @thread: its id; 0: in the caller
 *
 * Return: 0 or -errno.
 */
int inject_in(pid_t thread)
{
	char path[64] = "/proc/thread-self/fail-nth";
	int fd;

	if (thread)
		snprintf(path, sizeof(path), "/proc/self/task/%d/fail-nth", thread);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	close(fail_nth);
	fail_nth = fd;
	return 0;
}

/**
 * inject() - let the Nth from now fail
 * @n: counted from 1; 0: nothing
 *
 * The last of what was to come may hit this call itself.
 */
void inject(uint32_t n)
{
	char text[16];
	int bytes = snprintf(text, sizeof(text), "%u", n);

	for (int tries = 0; pwrite(fail_nth, text, (size_t)bytes, 0) != bytes; tries++)
		if (tries)
			abort();
}

/**
 * injected() - did it happen?
 *
 * Ends the injection.  A look that fails has met the Nth itself.
 */
bool injected(void)
{
	char text[16] = "";
	bool happened = pread(fail_nth, text, sizeof(text) - 1, 0) > 0 && atoi(text) == 0;

	inject(0);
	return happened;
}

/**
 * inject_no_pages() - this thread gets no pages in large pieces
 * @order: none of 1 << @order pages or more
 * @times: so often; -1: always
 *
 * Until inject_pages().  Others do, and so does this one where inject_within() says so.
 *
 * Return: 0 or -errno.
 */
int inject_no_pages(uint32_t order, int times)
{
	char text[16];
	int rc;

	snprintf(text, sizeof(text), "%u", order);
	rc = write_text(PAGES "min-order", text);
	snprintf(text, sizeof(text), "%d", times);
	if (!rc)
		rc = write_text(PAGES "times", text);
	if (!rc)
		rc = write_text(PAGES "task-filter", "Y");
	if (!rc)
		rc = write_text(PAGES "probability", "100");
	return rc ? rc : write_text("/proc/thread-self/make-it-fail", "1");
}

/**
 * inject_pages() - undo inject_no_pages()
 *
 * Return: 0 or -errno.
 */
int inject_pages(void)
{
	int rc = write_text("/proc/thread-self/make-it-fail", "0");

	if (!rc)
		rc = write_text(PAGES "probability", "0");
	if (!rc)
		rc = write_text(PAGES "task-filter", "N");
	return rc ? rc : write_text(PAGES "min-order", "0");
}

/* ---- threads of the kernel ---- */

/*
 * They are children of kthreadd, and have from it whether they may fail, but no fail-nth of
 * theirs: that is of the thread that asks for them.  Of what these allocate one in N fails, once;
 * whose turn it is is known when one of ours has just failed.
 */
#define KTHREADD	"/proc/2/make-it-fail"

static int kthreadd = -1, ourselves = -1;
static const char *failing;

static int open_to_change(const char *path)
{
	return open(path, O_RDWR | O_CLOEXEC);
}

/**
 * inject_threads_setup() - prepare for inject_threads(), after inject_setup()
 *
 * Return: 0 or -errno.
 */
int inject_threads_setup(void)
{
	kthreadd = open_to_change(KTHREADD);
	ourselves = open_to_change("/proc/thread-self/make-it-fail");
	return kthreadd < 0 || ourselves < 0 ? -errno : 0;
}

/* Whatever fails here does so once. */
static void put(int fd, const char *text)
{
	for (int tries = 0; pwrite(fd, text, strlen(text), 0) != (ssize_t)strlen(text); tries++)
		if (tries)
			abort();
}

static const char *path_of(const char *name)
{
	static char path[96];

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", failing, name);
	return path;
}

/* A look that fails has met it itself, and is followed by another one. */
static bool none_is_left(void)
{
	int fd = open(path_of("times"), O_RDONLY | O_CLOEXEC);
	char text[16] = "";
	bool none = fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && atoi(text) == 0;

	if (fd >= 0)
		close(fd);
	return none;
}

/* A pipe takes of both kinds: memory for itself, and a page. */
static void take_memory(void)
{
	int fds[2];

	if (pipe(fds))
		return;
	(void)!write(fds[1], "", 1);
	close(fds[0]);
	close(fds[1]);
}

static void set(const char *name, const char *text)
{
	if (write_text(path_of(name), text))
		abort();
}

/**
 * inject_threads() - let the Nth allocation of threads that the kernel makes from now on fail
 * @what: "failslab" or "fail_page_alloc"
 * @n: counted from 1; what it takes to make them counts as well
 *
 * Until injected_threads().
 */
void inject_threads(const char *what, uint32_t n)
{
	char text[16];

	failing = what;
	snprintf(text, sizeof(text), "%u", n);
	set("interval", text);
	set("task-filter", "Y");
	set("times", "1");
	set("probability", "100");
	put(ourselves, "1");
	while (!none_is_left())
		take_memory();
	put(ourselves, "0");
	set("times", "1");
	put(kthreadd, "1");
}

/**
 * injected_threads() - did it happen?
 *
 * Ends the injection.
 */
bool injected_threads(void)
{
	bool happened = none_is_left();

	put(kthreadd, "0");
	set("probability", "0");
	set("task-filter", "N");
	set("interval", "1");
	return happened;
}
