/* SPDX-License-Identifier: MIT */
#ifndef VBRUN_GEN_COMMAND_H
#define VBRUN_GEN_COMMAND_H

/** vbrun_gen_command() - the command `vbrun gen`; returns its exit status */
int vbrun_gen_command(int argc, char **argv);

#endif
