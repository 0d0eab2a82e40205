// SPDX-License-Identifier: MIT
/*
 * What code of the module the fuzzer reached, as kcov tells it (the kernel's
 * Documentation/dev-tools/kcov.rst): on a kernel with it the module is built for that.
 *
 * A thread that traces reads its trace after each step.  Nobody knows what the last step of a
 * thread reached that was killed in it, nor what runs in workers and interrupts, nor what
 * closes the files of a process that ends: there nothing is traced.
 *
 * Places are kept in a file, and so add up over rounds: the module is at another address each
 * time, but its text lies the same way.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <linux/kcov.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define KCOV		"/sys/kernel/debug/kcov"
#define PLACES		"/tmp/fuzz.places"
#define TRACE_WORDS	(32u << 10)	/* of a step; what comes after is not known */
#define TEXT_BYTES	(1u << 20)	/* of the module, at most */
#define FUNCTIONS	2048u
#define LINE_BYTES	100

/* @name is without what the compiler put behind a dot: its parts are one function. */
struct function {
	uint64_t at;
	char name[64];
	bool entered;
};

static struct function function[FUNCTIONS];
static size_t functions;
static uint64_t text;		/* where the module begins */
static volatile uint8_t *reached;	/* by distance from there; shared by all processes */

/* ---- the module's functions ---- */

static int by_address(const void *a, const void *b)
{
	const struct function *f = a, *g = b;

	return (f->at > g->at) - (f->at < g->at);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct function *)a)->name, ((const struct function *)b)->name);
}

/* What the compiler and macros of tracepoints made is none of ours. */
static bool is_function(char type, const char *name)
{
	return (type == 't' || type == 'T') && *name != '_' && strncmp(name, "trace_", 6) &&
	       strncmp(name, "perf_trace_", 11);
}

static int find_functions(void)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	struct function *g = function;
	char line[600], type;

	while (f && fgets(line, sizeof(line), f) && functions < FUNCTIONS) {
		if (!strstr(line, "[vblackwell]") ||
		    sscanf(line, "%lx %c %63[^. \t]", &g->at, &type, g->name) != 3 ||
		    !is_function(type, g->name))
			continue;
		g = &function[++functions];
	}
	if (f)
		fclose(f);
	qsort(function, functions, sizeof(*function), by_address);
	text = function[0].at;
	return functions && functions < FUNCTIONS && text &&
	       function[functions - 1].at - text < TEXT_BYTES ? 0 : -1;
}

/* ---- traces ---- */

int fuzz_cover_prepare(void)
{
	int fd;

	if (access(KCOV, F_OK))
		return 0;
	fd = open(PLACES, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, TEXT_BYTES))
		return -1;
	reached = mmap(NULL, TEXT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return reached == MAP_FAILED ? -1 : find_functions();
}

int fuzz_cover_open(struct fuzz_cover *c)
{
	c->fd = -1;
	if (!reached)
		return 0;
	c->fd = open(KCOV, O_RDWR | O_CLOEXEC);
	if (c->fd < 0 || ioctl(c->fd, KCOV_INIT_TRACE, TRACE_WORDS))
		return -1;
	c->trace = mmap(NULL, TRACE_WORDS * sizeof(*c->trace), PROT_READ | PROT_WRITE, MAP_SHARED,
			c->fd, 0);
	return c->trace == MAP_FAILED ? -1 : 0;
}

int fuzz_cover_begin(struct fuzz_cover *c)
{
	return c->fd < 0 ? 0 : ioctl(c->fd, KCOV_ENABLE, KCOV_TRACE_PC);
}

void fuzz_cover_merge(struct fuzz_cover *c)
{
	uint64_t count;

	if (c->fd < 0)
		return;
	count = c->trace[0];
	for (uint64_t i = 1; i <= count; i++) {
		uint64_t at = c->trace[i] - text;

		if (at < TEXT_BYTES && !reached[at])
			reached[at] = 1;
	}
	c->trace[0] = 0;
}

/* ---- what came of it ---- */

static unsigned long places(uint64_t from, uint64_t end)
{
	unsigned long n = 0;

	for (; from < end; from++)
		n += reached[from];
	return n;
}

static void find_entered(void)
{
	for (size_t i = 0; i < functions; i++) {
		uint64_t end = i + 1 < functions ? function[i + 1].at - text : TEXT_BYTES;

		function[i].entered = places(function[i].at - text, end);
	}
}

/* A function a name: of those that files have of the same name, one may stand for the others. */
static void merge_names(void)
{
	size_t n = 0;

	qsort(function, functions, sizeof(*function), by_name);
	for (size_t i = 1; i < functions; i++) {
		if (strcmp(function[i].name, function[n].name))
			function[++n] = function[i];
		else
			function[n].entered |= function[i].entered;
	}
	functions = n + 1;
}

static void print_missed(void)
{
	int column = LINE_BYTES;

	for (size_t i = 0; i < functions; i++) {
		if (function[i].entered)
			continue;
		if (column + strlen(function[i].name) > LINE_BYTES)
			column = printf("\n# not entered:") - 1;
		column += printf(" %s", function[i].name);
	}
	printf("\n");
}

void fuzz_cover_print(void)
{
	unsigned long missed = 0;

	if (!reached) {
		printf("# coverage: not known, this kernel has no kcov (the debug kernel has)\n");
		return;
	}
	find_entered();
	merge_names();
	for (size_t i = 0; i < functions; i++)
		missed += !function[i].entered;
	printf("# coverage: %lu places of the module; %lu of its %zu functions not entered",
	       places(0, TEXT_BYTES), missed, functions);
	print_missed();
}
