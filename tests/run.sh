#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Run test suites and count them.
#
#   tests/run.sh [--label NAME] [--limit SECONDS] PROGRAM...
#
# PROGRAM is a cmocka binary, or a shell test (tests/cli/*_test.sh) that prints
# "ok NAME", "not ok NAME: why" and "skip NAME: why".  Each suite gives one line with
# its counts and seconds; what failed and what was skipped is named.  A suite that
# ends without a verdict, by a signal or by the limit counts as a failure.
#
# The file TALLY names gets a line a suite, which tests/tally.sh sums up: passed, failed,
# skipped, seconds, CPU seconds, name.  TALLY.skips gets the reasons of skips.
set -u

label= limit=600
while :; do
	case "${1:-}" in
	--label) label="$2 "; shift 2 ;;
	--limit) limit=$2; shift 2 ;;
	*) break ;;
	esac
done
logs=${LOGS:-build/test-logs}
mkdir -p "$logs"
tally=${TALLY:-$logs/tally}
status=0
TIMEFORMAT='%R %U %S'

# count PATTERN FILE
count() { grep -cE "$1" "$2"; }

for program in "$@"; do
	name=$(basename "$(dirname "$program")")/$(basename "$program" .sh)
	log=$logs/$(echo "$label$name" | tr ' /' '--').log
	{ time timeout -k 10 "$limit" "$program" >"$log" 2>&1 </dev/null; } 2>"$log.time"
	rc=$?
	# The shell may have said before that a signal ended it.
	read -r seconds user system < <(tail -1 "$log.time")
	rm -f "$log.time"
	case "$program" in
	*.sh)
		passed=$(count '^ok ' "$log")
		failed=$(count '^not ok ' "$log")
		skipped=$(count '^skip ' "$log")
		;;
	*)
		passed=$(count '^\[ +OK \]' "$log")
		failed=$(count '^\[  (FAILED|ERROR) +\] [A-Za-z]' "$log")
		skipped=$(count '^\[  SKIPPED \] [A-Za-z]' "$log")
		# cmocka names a failure twice, in place and at the end.
		failed=$(((failed + 1) / 2))
		skipped=$(((skipped + 1) / 2))
		;;
	esac
	if [ $rc -eq 124 ] || [ $rc -eq 137 ]; then
		echo "not ok $label$name: no end within $limit s" >>"$log"
		failed=$((failed + 1))
	elif [ $rc -ne 0 ] && [ "$failed" -eq 0 ]; then
		echo "not ok $label$name: exit status $rc without a verdict" >>"$log"
		failed=1
	elif [ $((passed + failed + skipped)) -eq 0 ]; then
		echo "not ok $label$name: no test ran" >>"$log"
		failed=1
	fi
	printf '%-44s %4d passed %3d failed %3d skipped %7.1f s\n' "$label$name" \
		"$passed" "$failed" "$skipped" "$seconds"
	if [ "$failed" -gt 0 ]; then
		grep -E '^(not ok |\[  FAILED|\[  ERROR|.*(ERROR: AddressSan|runtime error|WARNING: ThreadSan))' "$log" |
			head -20 | sed 's/^/    /'
		tail -15 "$log" | sed 's/^/    | /'
		status=1
	fi
	if [ "$skipped" -gt 0 ]; then
		grep -E '^skip |SKIP:' "$log" | sort -u | head -10 | tee -a "$tally.skips" | sed 's/^/    /'
	fi
	echo "$passed $failed $skipped $seconds" \
		"$(awk "BEGIN { print $user + $system }") $label$name" >>"$tally"
done
exit $status
