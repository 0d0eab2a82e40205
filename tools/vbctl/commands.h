/* SPDX-License-Identifier: MIT */
/* The commands of vbctl; each takes its own words and returns its exit status. */
#ifndef VBCTL_COMMANDS_H
#define VBCTL_COMMANDS_H

int vbctl_doctor(int argc, char **argv);
int vbctl_plan(int argc, char **argv);
int vbctl_tensor_list(int argc, char **argv);

#endif
