/* SPDX-License-Identifier: MIT */
#ifndef VBRUN_REPORT_H
#define VBRUN_REPORT_H

/** vbrun_report() - the command `vbrun report`; returns its exit status */
int vbrun_report(int argc, char **argv);

#endif
