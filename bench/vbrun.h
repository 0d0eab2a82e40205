/* SPDX-License-Identifier: MIT */
/*
 * Benchmarks that are runs of the tool: one line of `vbrun ... --bench` each, printed as
 * a row and appended to $BENCH_JSONL.
 */
#ifndef BENCH_VBRUN_H
#define BENCH_VBRUN_H

#include <errno.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <json-c/json.h>

/* The tool lies beside the folder of the benchmarks. */
static inline void vbrun_path(const char *argv0, char *out, size_t len)
{
	char *copy = strdup(argv0);

	snprintf(out, len, "%s/../vbrun", copy ? dirname(copy) : ".");
	free(copy);
}

static inline double vbrun_number(struct json_object *line, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(line, key, &value) ? json_object_get_double(value) : 0;
}

static inline void vbrun_append(const char *line)
{
	const char *path = getenv("BENCH_JSONL");
	FILE *f = path ? fopen(path, "a") : NULL;

	if (f) {
		fputs(line, f);
		fclose(f);
	}
}

/* Print a line as a row; its fraction, 0 when it is no line. */
static inline double vbrun_row(const char *what, const char *text)
{
	struct json_object *line = json_tokener_parse(text), *unit = NULL;
	double fraction;

	if (!line)
		return 0;
	fraction = vbrun_number(line, "fraction");
	json_object_object_get_ex(line, "unit", &unit);
	printf("%-34s %12.4g %12.4g %12.4g %8.2f %8.2f  %s\n", what, vbrun_number(line, "ours"),
	       vbrun_number(line, "theirs"), vbrun_number(line, "bound"),
	       vbrun_number(line, "ratio"), vbrun_number(line, "fraction"),
	       unit ? json_object_get_string(unit) : "");
	fflush(stdout);
	json_object_put(line);
	return fraction;
}

static inline void vbrun_head(void)
{
	printf("%-34s %12s %12s %12s %8s %8s\n", "", "ours", "theirs", "bound", "ratio", "fraction");
}

/* Run a command line; 0 when it worked, else it is named on stderr. */
static inline int vbrun_call(const char *format, ...) __attribute__((format(printf, 1, 2)));

static inline int vbrun_call(const char *format, ...)
{
	char command[4096];
	va_list args;
	int rc;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	fflush(stdout);
	rc = system(command);
	if (rc)
		fprintf(stderr, "%s: exit status %d\n", command, rc >> 8);
	return rc;
}

/**
 * vbrun_bench() - run a command line and take its one line of output
 * @what: name of the row
 * @out_fraction: of that line, 0 without one; NULL: not wanted
 *
 * Return: 0 when it worked and said something; else it is named on stderr.
 */
static inline int vbrun_bench(const char *what, double *out_fraction, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static inline int vbrun_bench(const char *what, double *out_fraction, const char *format, ...)
{
	char command[4096], line[4096] = "";
	double fraction = 0;
	va_list args;
	FILE *out;
	int rc;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	out = popen(command, "r");
	if (!out)
		return -errno;
	if (fgets(line, sizeof(line), out)) {
		vbrun_append(line);
		fraction = vbrun_row(what, line);
	}
	rc = pclose(out);
	if (rc || !*line)
		fprintf(stderr, "%s: exit status %d, %s\n", command, rc >> 8,
			*line ? "one line" : "no line");
	if (out_fraction)
		*out_fraction = fraction;
	return rc ? rc : *line ? 0 : -ENODATA;
}

/* Where models lie, as in the tools. */
static inline void vbrun_cache(char *out, size_t len)
{
	const char *cache = getenv("VBLACKWELL_CACHE"), *home = getenv("HOME");

	if (cache && *cache)
		snprintf(out, len, "%s", cache);
	else
		snprintf(out, len, "%s/.cache/vblackwell", home ? home : "");
}

#endif
