#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What tests/run.sh counted, as a page: when, what, on which machine, each suite.
#
#   tests/result.sh PART TALLY SECONDS LOAD
#
# PART is one of check-all.sh, TALLY is the file it wrote, SECONDS how long all took, LOAD the load average before it
# began.
set -u

part=$1 tally=$2

cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
memory=$(awk '/^MemTotal/ { printf "%.1f GiB", $2 / 1048576 }' /proc/meminfo)
commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
# Pages of other parts make it no other commit.
[ $commit = unknown ] || git diff --quiet HEAD -- . ':!Documentation/results' || commit=$commit-dirty

cat <<END
# make check-all PARTS=$part

| | |
|---|---|
| date | $(date +%F) |
| commit | $commit |
| machine | ${cpu:-unknown}, $(nproc) CPUs, $memory, Linux $(uname -r) |
| load before | $4 |
| took | $3 s |
| result | **$(tests/tally.sh "$tally" | tail -1)** |

Seconds are those of the clock, CPU seconds those of all threads; building is not in them. A suite
under a sanitizer begins with its name, one in a virtual machine with its kernel's.

| suite | passed | failed | skipped | seconds | CPU seconds |
|---|---:|---:|---:|---:|---:|
END
while read -r passed failed skipped seconds cpu name; do
	printf '| %s | %d | %d | %d | %.1f | %.1f |\n' "$name" "$passed" "$failed" "$skipped" \
		"$seconds" "$cpu"
done <"$tally"
awk '{ s += $4; c += $5; p += $1; f += $2; k += $3 }
     END { printf "| **all** | %d | %d | %d | %.1f | %.1f |\n", p, f, k, s, c }' "$tally"

if [ -s "$tally.failures" ]; then
	printf '\nWhat failed:\n\n'
	sed 's/^/    /' "$tally.failures"
fi
[ -s "$tally.skips" ] || exit 0
printf '\nSkipped, and why:\n\n'
sort -u "$tally.skips" | sed 's/^ *//; s/^/- /'
