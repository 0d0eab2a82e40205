// SPDX-License-Identifier: MIT
/* vbrun: models on the device. One row a command. */
#include <stdio.h>
#include <string.h>

#include "common/cli.h"
#include "common/progress.h"
#include "embed.h"
#include "gen_command.h"
#include "generate.h"
#include "machine.h"
#include "quality.h"
#include "report.h"
#include "stream.h"
#include "vgpu.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *what;
} commands[] = {
	{ "embed", vbrun_embed, "embed texts with all-MiniLM-L6-v2 from tiered, packed weights" },
	{ "generate", vbrun_generate, "let a text go on, by a decoder in a GGUF file" },
	{ "quality", vbrun_quality, "what rounding weights and activations costs a decoder, on a text" },
	{ "stream", vbrun_stream, "multiply with every weight matrix of a checkpoint" },
	{ "gen", vbrun_gen_command, "write a seeded checkpoint of any size" },
	{ "report", vbrun_report, "saved summaries as one table" },
	{ "machine", vbrun_machine, "say what this machine is and how fast it reads" },
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int help(void)
{
	printf("Usage: vbrun COMMAND [OPTION]... [ARGUMENT]...\n"
	       "Run models on Virtual Blackwell %s.\n\n", vgpu_version());
	for (size_t i = 0; i < COMMANDS; i++)
		printf("  %-10s %s\n", commands[i].name, commands[i].what);
	printf("\n\"vbrun COMMAND --help\" tells more; --version says which this is.\n%s", cli_status_help);
	return CLI_OK;
}

static int run(int argc, char **argv)
{
	if (argc < 2)
		return cli_usage("no command; see vbrun --help");
	if (!strcmp(argv[1], "--help"))
		return help();
	if (!strcmp(argv[1], "--version"))
		return cli_version("vbrun");
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	return cli_usage("unknown command %s; see vbrun --help", argv[1]);
}

int main(int argc, char **argv)
{
	cli_begin();
	progress_catch_signals();
	return cli_end(run(argc, argv));
}
