/* SPDX-License-Identifier: MIT */
#ifndef VBRUN_MACHINE_H
#define VBRUN_MACHINE_H

/** vbrun_machine() - the command `vbrun machine`; returns its exit status */
int vbrun_machine(int argc, char **argv);

#endif
