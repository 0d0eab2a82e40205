#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Sum up what tests/run.sh counted: "N passed, N failed, N skipped".
# Exit status 1 when anything failed or nothing ran.
awk '{ p += $1; f += $2; s += $3 }
     END { printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 || p == 0 }' "$1"
