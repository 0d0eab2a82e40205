// SPDX-License-Identifier: MIT
#include "common/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/size.h"
#include "common/text.h"
#include "vgpu.h"

const char cli_status_help[] =
	"Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.\n";

void cli_begin(void)
{
	/* The wrong way round: what is printed fails, as it would without. */
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
	signal(SIGXFSZ, SIG_IGN);
}

/* One line; names in it may come from a file of somebody else. */
static void say(const char *verb, const char *why, const char *format, va_list args)
{
	char text[2048];
	size_t used = (size_t)snprintf(text, sizeof(text), "%s: %s%s", program_invocation_short_name,
				       verb, *verb ? ": " : "");

	used += (size_t)vsnprintf(text + used, sizeof(text) - used, format, args);
	if (why && used < sizeof(text))
		snprintf(text + used, sizeof(text) - used, ": %s", why);
	text_harmless(text);
	fprintf(stderr, "%s\n", text);
}

int cli_usage(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say("", NULL, format, args);
	va_end(args);
	return CLI_USAGE;
}

int cli_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say("", NULL, format, args);
	va_end(args);
	return CLI_FAILED;
}

int cli_end(int rc)
{
	bool lost = ferror(stdout);

	errno = 0;
	if (!fflush(stdout) && !lost)
		return rc;
	return rc != CLI_OK ? rc : cli_fail("standard output: %s",
					    errno ? strerror(errno) : "not all could be written");
}

int cli_fail_vgpu(int rc, const char *format, ...)
{
	const char *why = vgpu_error_text();
	va_list args;

	va_start(args, format);
	say("", *why ? why : strerror(-rc), format, args);
	va_end(args);
	return CLI_FAILED;
}

/* A mistake in what a command was given: its name without the program's, which is there anyway. */
static int __attribute__((format(printf, 2, 3))) usage(const struct cli_command *command,
						       const char *format, ...)
{
	const char *space = strchr(command->name, ' ');
	va_list args;

	va_start(args, format);
	say(space ? space + 1 : "", NULL, format, args);
	va_end(args);
	return CLI_USAGE;
}

int cli_version(const char *program)
{
	printf("%s %s\n", program, vgpu_version());
	return CLI_OK;
}

static bool takes_size(const struct cli_command *command)
{
	const struct cli_option *o = command->options;

	while (o->name && o->kind != CLI_SIZE)
		o++;
	return o->name;
}

static void print_help(const struct cli_command *command)
{
	const struct cli_option *o;
	char left[64];

	printf("Usage: %s [OPTION]...%s%s\n%s\n\n", command->name, *command->args ? " " : "",
	       command->args, command->what);
	for (o = command->options; o->name; o++) {
		snprintf(left, sizeof(left), "--%s%s%s", o->name, o->arg ? " " : "",
			 o->arg ? o->arg : "");
		printf("  %-22s %s\n", left, o->help);
	}
	printf("  %-22s this text\n", "--help");
	if (takes_size(command))
		printf("\nSIZE is in bytes, or with K, M, G, T: powers of 1024.\n");
	if (command->more)
		printf("\n%s", command->more);
	printf("\n%s", cli_status_help);
}

static bool number_parse(const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	return !errno && end != text && !*end && *text != '-';
}

static int set_number(const struct cli_command *command, const struct cli_option *o,
		      const char *value)
{
	uint64_t max = o->max ? o->max : o->kind == CLI_SIZE ? UINT64_MAX : UINT32_MAX;
	uint64_t n;
	bool good = o->kind == CLI_SIZE ? size_parse(value, &n) : number_parse(value, &n);

	if (!good)
		return usage(command, "--%s %s is no %s", o->name, value,
			     o->kind == CLI_SIZE ? "size (bytes, or with K, M, G, T)" : "number");
	if (n < o->min || n > max)
		return usage(command, "--%s %s is outside %" PRIu64 " .. %" PRIu64, o->name, value,
			     o->min, max);
	if (o->kind == CLI_SIZE)
		*(uint64_t *)o->to = n;
	else
		*(uint32_t *)o->to = (uint32_t)n;
	return CLI_RUN;
}

/* Digits and one point: strtod() would also take "nan", "0x1p3" and " 1". */
static int set_real(const struct cli_command *command, const struct cli_option *o,
		    const char *value)
{
	char *end = NULL;
	double x = strspn(value, "0123456789.") == strlen(value) ? strtod(value, &end) : 0;

	if (!end || end == value || *end)
		return usage(command, "--%s %s is no number", o->name, value);
	if (x < (double)o->min || (o->max && x > (double)o->max))
		return usage(command, "--%s %s is outside %" PRIu64 " .. %" PRIu64, o->name, value,
			     o->min, o->max);
	*(double *)o->to = x;
	return CLI_RUN;
}

static int set_choice(const struct cli_command *command, const struct cli_option *o,
		      const char *value)
{
	char all[160] = "";
	size_t used = 0;

	for (uint32_t i = 0; o->choices[i]; i++) {
		if (!strcmp(value, o->choices[i])) {
			*(uint32_t *)o->to = i;
			return CLI_RUN;
		}
		used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s", i ? ", " : "",
					 o->choices[i]);
		if (used >= sizeof(all))
			break;
	}
	return usage(command, "--%s %s is none of %s", o->name, value, all);
}

static int set_option(const struct cli_command *command, const struct cli_option *o,
		      const char *value)
{
	switch (o->kind) {
	case CLI_FLAG:
		*(bool *)o->to = true;
		return CLI_RUN;
	case CLI_TEXT:
		*(const char **)o->to = value;
		return CLI_RUN;
	case CLI_CHOICE:
		return set_choice(command, o, value);
	case CLI_REAL:
		return set_real(command, o, value);
	default:
		return set_number(command, o, value);
	}
}

static const struct cli_option *find_option(const struct cli_command *command, const char *name,
					    size_t bytes)
{
	const struct cli_option *o;

	for (o = command->options; o->name; o++)
		if (strlen(o->name) == bytes && !memcmp(o->name, name, bytes))
			return o;
	return NULL;
}

/* One option at argv[*at]; steps over its value when that is a word of its own. */
static int take_option(const struct cli_command *command, int argc, char **argv, int *at)
{
	const char *name = argv[*at] + 2, *equals = strchr(name, '=');
	size_t bytes = equals ? (size_t)(equals - name) : strlen(name);
	const struct cli_option *o = find_option(command, name, bytes);

	if (!o)
		return usage(command, "unknown option %s; see %s --help", argv[*at], command->name);
	if (o->kind == CLI_FLAG && equals)
		return usage(command, "--%s takes no value", o->name);
	if (o->kind == CLI_FLAG)
		return set_option(command, o, NULL);
	if (equals)
		return set_option(command, o, equals + 1);
	if (*at + 1 == argc)
		return usage(command, "--%s needs a %s", o->name, o->arg);
	return set_option(command, o, argv[++*at]);
}

int cli_parse(const struct cli_command *command, int argc, char **argv, unsigned int *out_count)
{
	unsigned int count = 0;
	bool words_only = false;
	int rc;

	for (int i = 1; i < argc; i++) {
		if (words_only || argv[i][0] != '-' || !argv[i][1]) {
			argv[++count] = argv[i];
		} else if (!strcmp(argv[i], "--")) {
			words_only = true;
		} else if (!strcmp(argv[i], "--help")) {
			print_help(command);
			return CLI_OK;
		} else if (argv[i][1] != '-') {
			return usage(command, "unknown option %s; see %s --help", argv[i],
				     command->name);
		} else {
			rc = take_option(command, argc, argv, &i);
			if (rc != CLI_RUN)
				return rc;
		}
	}
	if (count < command->args_min || count > command->args_max)
		return usage(command, "%u arguments, takes %s; see %s --help", count,
			     *command->args ? command->args : "none", command->name);
	*out_count = count;
	return CLI_RUN;
}
