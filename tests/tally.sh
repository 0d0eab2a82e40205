#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Sum up what tests/run.sh counted: what failed once more, for who sees only the end of a
# long log, then "N passed, N failed, N skipped".
# Exit status 1 when anything failed or nothing ran.
if [ -s "$1.failures" ]; then
	echo "== what failed"
	cat "$1.failures"
fi
awk '{ p += $1; f += $2; s += $3 }
     END { printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 || p == 0 }' "$1"
