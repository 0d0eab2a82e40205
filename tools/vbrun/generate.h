/* SPDX-License-Identifier: MIT */
#ifndef VBRUN_GENERATE_H
#define VBRUN_GENERATE_H

/** vbrun_generate() - the command `vbrun gen`; returns its exit status */
int vbrun_generate(int argc, char **argv);

#endif
