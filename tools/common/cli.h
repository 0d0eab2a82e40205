/* SPDX-License-Identifier: MIT */
/*
 * What every command of our tools has in common: options out of one table, help from
 * the same table, one line for an error, and the exit status.
 */
#ifndef TOOLS_CLI_H
#define TOOLS_CLI_H

#include <stdbool.h>
#include <stdint.h>

/* Exit status of every tool. */
enum {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_INTERRUPTED = 130,	/* as a shell reports SIGINT */
};

/* cli_parse(): the arguments are good, the command shall run. */
#define CLI_RUN (-1)

enum cli_kind {
	CLI_FLAG,	/* bool; no value */
	CLI_SIZE,	/* uint64_t; "512M" is 512 MiB */
	CLI_NUMBER,	/* uint32_t */
	CLI_REAL,	/* double; no exponent */
	CLI_TEXT,	/* const char * */
	CLI_CHOICE,	/* uint32_t: index into @choices */
};

/**
 * struct cli_option - one "--name VALUE"
 * @name: without the dashes; NULL ends a table
 * @kind: says what @to points to
 * @to: where the value goes; untouched when the option is absent
 * @arg: name of the value for people, NULL for a flag
 * @help: one line
 * @choices: CLI_CHOICE: NULL-terminated spellings
 * @min: CLI_SIZE, CLI_NUMBER and CLI_REAL: smallest value
 * @max: likewise: largest value, 0: no limit but the type's
 */
struct cli_option {
	const char *name;
	enum cli_kind kind;
	void *to;
	const char *arg;
	const char *help;
	const char *const *choices;
	uint64_t min, max;
};

/**
 * struct cli_command - a command, for parsing and for --help
 * @name: as typed, "vbrun embed"
 * @args: names of the arguments for people, "TEXT..."
 * @what: one line
 * @options: table, ended by a NULL name
 * @args_min: fewest arguments
 * @args_max: most arguments
 * @more: further help, or NULL
 */
struct cli_command {
	const char *name;
	const char *args;
	const char *what;
	const struct cli_option *options;
	unsigned int args_min, args_max;
	const char *more;
};

/**
 * cli_begin() - what every program does first
 *
 * Standard streams that the caller closed are taken, so that no file gets their numbers and with
 * them what is printed. A write beyond the limit of a file's size is an error, not the end.
 */
void cli_begin(void);

/**
 * cli_end() - what every command does last
 * @rc: its exit status
 *
 * Return: @rc; CLI_FAILED, said on stderr, when what was printed did not arrive.
 */
int cli_end(int rc);

/**
 * cli_parse() - read a command's arguments
 * @command: what it takes
 * @argc: words, the command's own name being argv[0]
 * @argv: words; the arguments are moved together behind argv[0]
 * @out_count: number of arguments; they are argv[1] and on
 *
 * "--help" prints the help on stdout. A mistake prints one line on stderr.
 * Return: CLI_RUN, or the exit status: CLI_OK after --help, CLI_USAGE.
 */
int cli_parse(const struct cli_command *command, int argc, char **argv, unsigned int *out_count);

/* Print the "name: what" line of an error on stderr. Return: CLI_USAGE. */
int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same. Return: CLI_FAILED. */
int cli_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* As cli_fail(), adding the library's sentence, or strerror when it has none. */
int cli_fail_vgpu(int rc, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Print "PROGRAM VERSION". Return: CLI_OK. */
int cli_version(const char *program);

/* What --help says of exit statuses. */
extern const char cli_status_help[];

#endif
