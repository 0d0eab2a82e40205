// SPDX-License-Identifier: MIT
/* vbctl OBJECT COMMAND: one row a command, full words only. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "common/cli.h"
#include "replay.h"
#include "vgpu.h"

static const struct {
	const char *object;
	const char *command;	/* NULL: the object is the command */
	int (*run)(int argc, char **argv);
	const char *what;
} commands[] = {
	{ "doctor", NULL, vbctl_doctor, "what this machine lacks, and the fix for each" },
	{ "plan", NULL, vbctl_plan, "what a model would need, before anything is touched" },
	{ "replay", NULL, vbctl_replay, "a recorded trace under every policy" },
	{ "tensor", "list", vbctl_tensor_list, "the tensors of a checkpoint" },
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int help(void)
{
	printf("Usage: vbctl OBJECT [COMMAND] [OPTION]... [ARGUMENT]...\n"
	       "Look at Virtual Blackwell %s and at what would run on it.\n\n", vgpu_version());
	for (size_t i = 0; i < COMMANDS; i++)
		printf("  %-8s %-6s %s\n", commands[i].object,
		       commands[i].command ? commands[i].command : "", commands[i].what);
	printf("\n\"vbctl OBJECT [COMMAND] --help\" tells more; --json is taken by all.\n"
	       "--version says which this is.\n%s",
	       cli_status_help);
	return CLI_OK;
}

/* The object is known: a word that is not one of its commands. */
static int bad_command(const char *object, const char *word)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(object, commands[i].object))
			return cli_usage("%s: %s%s, takes %s; see vbctl --help", object,
					 word ? "unknown command " : "no command", word ? word : "",
					 commands[i].command);
	return cli_usage("unknown object %s; see vbctl --help", object);
}

/* Of an object that is no command by itself: those that it has. */
static int object_help(const char *object)
{
	bool known = false;

	for (size_t i = 0; i < COMMANDS; i++) {
		if (strcmp(object, commands[i].object))
			continue;
		if (!known)
			printf("Usage: vbctl %s COMMAND [OPTION]... [ARGUMENT]...\n\n", object);
		printf("  %-6s %s\n", commands[i].command, commands[i].what);
		known = true;
	}
	if (!known)
		return bad_command(object, NULL);
	printf("\n\"vbctl %s COMMAND --help\" tells more.\n%s", object, cli_status_help);
	return CLI_OK;
}

static int run(int argc, char **argv)
{
	if (argc < 2)
		return cli_usage("no object; see vbctl --help");
	if (!strcmp(argv[1], "--help"))
		return help();
	if (!strcmp(argv[1], "--version"))
		return cli_version("vbctl");
	for (size_t i = 0; i < COMMANDS; i++) {
		if (strcmp(argv[1], commands[i].object))
			continue;
		if (!commands[i].command)
			return commands[i].run(argc - 1, argv + 1);
		if (argc > 2 && !strcmp(argv[2], commands[i].command))
			return commands[i].run(argc - 2, argv + 2);
	}
	if (argc > 2 && !strcmp(argv[2], "--help"))
		return object_help(argv[1]);
	return bad_command(argv[1], argc > 2 ? argv[2] : NULL);
}

int main(int argc, char **argv)
{
	cli_begin();
	return cli_end(run(argc, argv));
}
