// SPDX-License-Identifier: MIT
/* vbrun report: saved summaries as one table, and where their objects lay. */
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cli.h"
#include "common/size.h"
#include "common/summary.h"
#include "optimum.h"
#include "residency.h"

static uint64_t number(struct json_object *o, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(o, key, &value) ? json_object_get_uint64(value) : 0;
}

static double real(struct json_object *o, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(o, key, &value) ? json_object_get_double(value) : 0;
}

static const char *text(struct json_object *o, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(o, key, &value) && value ? json_object_get_string(value) : "";
}

/* NULL when there is no such list. */
static struct json_object *list_of(struct json_object *o, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(o, key, &value) &&
	       json_object_is_type(value, json_type_array) ? value : NULL;
}

/* A line read less than the optimum: that is explained below the table. */
static bool below_one;

/**
 * struct line - one row of the table
 * @what: name
 * @seconds: a text, pass or token
 * @each: "text", "pass" or "token"
 * @read: bytes read for it
 * @best: fewest possible, 0: not known
 * @stall: 0 .. 1
 * @budget: bytes of the host tier
 * @peak: most that was resident of the process, 0: not known
 * @accuracy: for people
 */
struct line {
	char what[40];
	double seconds, read, best, stall;
	const char *each;
	uint64_t budget, peak;
	char accuracy[64];
};

/* With --json lines and objects go there. */
static struct json_object *lines_out, *objects_out;

static void summarise_line(const struct line *l)
{
	struct json_object *item = summary_item(lines_out);

	summary_text(item, "what", l->what);
	summary_text(item, "each", l->each);
	summary_bytes(item, "ns", (uint64_t)(l->seconds * 1e9));
	summary_bytes(item, "read_bytes", (uint64_t)l->read);
	if (l->best > 0)
		summary_real(item, "against_optimum", l->read / l->best);
	summary_real(item, "stall", l->stall);
	summary_bytes(item, "host_bytes", l->budget);
	if (l->peak)
		summary_bytes(item, "vm_hwm_bytes", l->peak);
	summary_text(item, "accuracy", l->accuracy);
}

static void print_line(const struct line *l)
{
	char against[16] = "-";

	if (lines_out) {
		summarise_line(l);
		return;
	}
	below_one |= l->read < l->best;
	if (l->best > 0)
		snprintf(against, sizeof(against), "%.3f", l->read / l->best);
	printf("%-24s %10s a %-5s %10s %9s %6.1f%% %10s %10s  %s\n", l->what,
	       size_seconds(l->seconds).s, l->each, size_text((uint64_t)l->read).s, against,
	       100 * l->stall, size_text(l->budget).s,
	       l->peak ? size_text(l->peak).s : "-", l->accuracy);
}

static double stall_of(struct json_object *o)
{
	uint64_t busy = number(o, "busy_ns");

	return busy ? (double)number(o, "stall_ns") / (double)busy : 0;
}

/* The run that was asked for is checked over the sentences; the others by themselves. */
static void embed_accuracy_text(struct json_object *o, struct json_object *run, bool asked,
				struct line *l)
{
	struct json_object *accuracy, *figures;

	if (asked && json_object_object_get_ex(o, "accuracy", &accuracy) &&
	    json_object_object_get_ex(accuracy, "against_f32", &figures))
		snprintf(l->accuracy, sizeof(l->accuracy), "NMSE %.2g, Spearman %.4f of f32",
			 real(figures, "nmse"), real(figures, "spearman"));
	else
		snprintf(l->accuracy, sizeof(l->accuracy), "NMSE %.2g of f32",
			 real(run, "nmse_against_f32"));
}

/* The F32 runs of a second summary would say the same again. */
static void report_embed(struct json_object *o)
{
	static bool shown;
	bool f32_shown = shown;

	struct json_object *runs = list_of(o, "runs"), *texts = list_of(o, "texts"), *run;
	double count;

	if (!runs || !texts)
		return;
	for (size_t i = 0; i < json_object_array_length(runs); i++) {
		struct line l = { .each = "text" };

		run = json_object_array_get_idx(runs, i);
		if (*text(run, "refused") || (f32_shown && !strncmp(text(run, "label"), "f32", 3)))
			continue;
		count = (double)json_object_array_length(texts) * (double)number(run, "passes");
		snprintf(l.what, sizeof(l.what), "embed %s", text(run, "label"));
		l.seconds = (double)number(run, "pass_ns") / 1e9 /
			    (double)json_object_array_length(texts);
		l.read = count > 0 ? (double)number(run, "read_bytes") / count : 0;
		l.stall = stall_of(run);
		l.budget = number(run, "host_bytes");
		l.peak = number(run, "vm_hwm_bytes");
		embed_accuracy_text(o, run, !i, &l);
		print_line(&l);
	}
	shown = true;
}

static void report_stream(struct json_object *o)
{
	struct line l = { .each = "pass", .budget = number(o, "host_bytes"),
			  .peak = number(o, "vm_hwm_bytes") };

	if (*text(o, "route")) {
		l.each = "token";
		snprintf(l.what, sizeof(l.what), "stream, route %s", text(o, "route"));
		l.seconds = (double)number(o, "token_ns") / 1e9;
		l.read = (double)number(o, "token_read_bytes");
		l.best = (double)number(o, "token_optimum_bytes");
		l.stall = stall_of(o);
	} else {
		snprintf(l.what, sizeof(l.what), "stream, m = %" PRIu64, number(o, "m"));
		l.seconds = (double)number(o, "pass_ns") / 1e9;
		l.read = (double)number(o, "pass_read_bytes");
		l.best = (double)number(o, "pass_optimum_bytes");
		l.stall = real(o, "stall");
	}
	snprintf(l.accuracy, sizeof(l.accuracy), "digest %s", text(o, "digest"));
	print_line(&l);
}

/* A token of the text that was made; the prompt's, where only one was. */
static void report_generate(struct json_object *o)
{
	struct line l = { .what = "generate", .each = "token", .budget = number(o, "host_bytes"),
			  .peak = number(o, "vm_hwm_bytes") };
	struct json_object *part;
	double tokens;

	if (!json_object_object_get_ex(o, "decoded", &part) || !number(part, "tokens"))
		if (!json_object_object_get_ex(o, "seen", &part))
			return;
	tokens = (double)number(part, "tokens");
	l.seconds = tokens > 0 ? (double)number(part, "ns") / 1e9 / tokens : 0;
	l.read = (double)number(part, "token_read_bytes");
	l.stall = stall_of(part);
	snprintf(l.accuracy, sizeof(l.accuracy), "text %s", text(o, "digest"));
	print_line(&l);
}

static void print_objects(struct json_object *o)
{
	struct json_object *list = list_of(o, "objects"), *item;

	if (!list)
		return;
	if (objects_out) {
		item = summary_item(objects_out);
		summary_text(item, "command", text(o, "command"));
		summary_text(item, "model", *text(o, "model") ? text(o, "model") : text(o, "file"));
		json_object_object_add(item, "objects", json_object_get(list));
		return;
	}
	printf("%s %s\n", text(o, "command"), *text(o, "model") ? text(o, "model") : text(o, "file"));
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		item = json_object_array_get_idx(list, i);
		printf("  %-22.22s %-9s %9s  host %9s  [%s]\n", text(item, "name"), text(item, "kind"),
		       size_text(number(item, "bytes")).s, size_text(number(item, "host_bytes")).s,
		       text(item, "bar"));
	}
}

/* Whose summaries are taken. */
static const struct {
	const char *command;
	void (*report)(struct json_object *o);
} commands[] = {
	{ "embed", report_embed },
	{ "generate", report_generate },
	{ "stream", report_stream },
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* Index of a summary's command, or COMMANDS. */
static size_t command_of(struct json_object *o)
{
	size_t i;

	for (i = 0; i < COMMANDS; i++)
		if (!strcmp(text(o, "command"), commands[i].command))
			break;
	return i;
}

static void report_one(struct json_object *o)
{
	commands[command_of(o)].report(o);
}

static int check(const char *path, struct json_object *o)
{

	if (!json_object_is_type(o, json_type_object))
		return cli_fail("report: %s: is no JSON object", path);
	if (number(o, "schema") != SUMMARY_SCHEMA)
		return cli_fail("report: %s: schema is %" PRIu64 ", must be %u", path,
				number(o, "schema"), SUMMARY_SCHEMA);
	if (command_of(o) == COMMANDS)
		return cli_fail("report: %s: command is \"%s\", must be embed, generate or stream", path,
				text(o, "command"));
	return CLI_OK;
}

/* @show: called with each, or NULL: only checked */
static int for_each(char **paths, unsigned int count, void (*show)(struct json_object *))
{
	int rc = CLI_OK;

	for (unsigned int i = 0; i < count && !rc; i++) {
		struct json_object *o = json_object_from_file(paths[i]);

		if (!o)
			return cli_fail("report: %s: %s", paths[i],
					access(paths[i], R_OK) ? strerror(errno) : "is no JSON");
		rc = check(paths[i], o);
		if (!rc && show)
			show(o);
		json_object_put(o);
	}
	return rc;
}

static int report_json(char **paths, unsigned int count)
{
	struct json_object *o = summary_new("report");
	int rc;

	lines_out = summary_list(o, "lines");
	objects_out = summary_list(o, "runs");
	if (!objects_out) {
		json_object_put(o);
		return cli_fail("out of memory");
	}
	rc = for_each(paths, count, report_one);
	if (!rc)
		rc = for_each(paths, count, print_objects);
	if (rc)
		json_object_put(o);
	else
		summary_print(o);
	return rc;
}

static int report_text(char **paths, unsigned int count)
{
	/* All of them before the first line: a table that ends in the middle looks whole. */
	int rc = for_each(paths, count, NULL);

	if (rc)
		return rc;
	printf("%-24s %18s %10s %9s %7s %10s %10s  %s\n", "", "time", "read", "x optimum", "stall",
	       "budget", "memory", "accuracy");
	rc = for_each(paths, count, report_one);
	if (rc)
		return rc;
	printf("memory: most that was resident of the process (VmHWM), the program and its tables "
	       "included\n");
	if (below_one)
		printf("x optimum %s\n", optimum_below_one);
	printf("\n%s\n", residency_key);
	return for_each(paths, count, print_objects);
}

int vbrun_report(int argc, char **argv)
{
	bool json = false;
	const struct cli_option options[] = {
		{ "json", CLI_FLAG, &json, NULL, "as JSON", NULL, 0, 0 },
		{ 0 }
	};
	const struct cli_command command = {
		"vbrun report", "SUMMARY...", "Summaries that --save wrote, as one table.", options, 1,
		64, NULL
	};
	unsigned int count;
	int rc = cli_parse(&command, argc, argv, &count);

	if (rc != CLI_RUN)
		return rc;
	return json ? report_json(argv + 1, count) : report_text(argv + 1, count);
}
