#!/bin/bash
# SPDX-License-Identifier: MIT
# tests/run.sh, tests/tally.sh and tests/result.sh: no suite passes that did not, and what
# they count is what was there.
set -u
. "$(dirname "$0")/lib.sh"

mkdir -p "$work/fake" "$work/logs"
# suite NAME LINE...: a suite that runs these lines
suite() {
	local file=$work/fake/$1
	shift
	{ echo '#!/bin/bash'; printf '%s\n' "$@"; } >"$file"
	chmod +x "$file"
}
# count NAME [OPTION...]: run one suite; "passed failed skipped"
count() {
	local name=$1
	shift
	: >"$work/logs/tally"
	: >"$work/logs/tally.skips"
	LOGS=$work/logs TALLY=$work/logs/tally tests/run.sh "$@" "$work/fake/$name" >"$work/out"
	rc=$?
	cut -d' ' -f1-3 "$work/logs/tally"
}
# counts NAME WANT STATUS [OPTION...]
counts() {
	local name=$1 want=$2 status_wanted=$3 got
	shift 3
	count "$name" "$@" >"$work/got"
	got=$(cat "$work/got")
	verdict "runner_${name%.sh}_counts" test "$got" = "$want"
	verdict "runner_${name%.sh}_status" test $rc -eq "$status_wanted"
	verdict "runner_${name%.sh}_leaves_a_line" \
		grep -qE '^[0-9]+ [0-9]+ [0-9]+ [0-9.]+ [0-9.]+ fake/[a-z_]+$' "$work/logs/tally"
}

suite good.sh 'echo ok one' 'echo ok two' 'echo "skip three: no disk"'
counts good.sh '2 0 1' 0
verdict runner_says_why_it_skipped grep -q '^ *skip three: no disk' "$work/out"
verdict runner_keeps_why_it_skipped grep -q '^skip three: no disk' "$work/logs/tally.skips"
suite bad.sh 'echo ok one' 'echo "not ok two: broken"'
counts bad.sh '1 1 0' 1
verdict runner_names_what_failed grep -q 'not ok two: broken' "$work/out"
suite silent.sh 'true'
counts silent.sh '0 1 0' 1
suite crash.sh 'echo ok one' 'kill -SEGV $$'
counts crash.sh '1 1 0' 1
suite status.sh 'echo ok one' 'exit 3'
counts status.sh '1 1 0' 1
suite endless.sh 'echo ok one' 'sleep 20'
counts endless.sh '1 1 0' 1 --limit 1
# What cmocka prints.
suite good_test 'printf "[       OK ] one\n[       OK ] two\n[  SKIPPED ] three\n[  SKIPPED ] three\n"'
counts good_test '2 0 1' 0
suite bad_test 'printf "[       OK ] one\n[  FAILED  ] two\n[  FAILED  ] 1 test(s)\n[  FAILED  ] two\n"; exit 1'
counts bad_test '1 1 0' 1
suite crash_test 'printf "[       OK ] one\n[ RUN      ] two\n"; kill -ABRT $$'
counts crash_test '1 1 0' 1

# Seconds, of the clock and of the CPU, and the name with its label.
suite busy.sh 'end=$((SECONDS + 2)); while [ $SECONDS -lt $end ]; do :; done; echo ok one'
count busy.sh --label asan >/dev/null
read -r _ _ _ seconds cpu name <"$work/logs/tally"
verdict runner_names_the_suite test "$name" = "asan fake/busy"
verdict runner_measures_seconds awk "BEGIN { exit !($seconds > 0.9 && $seconds < 60) }"
verdict runner_measures_cpu_seconds awk "BEGIN { exit !($cpu > 0.1 && $cpu <= $seconds + 0.1) }"

# Sums and the page.
printf '%s\n' '3 0 1 1.5 1.25 unit/a_test' '4 2 0 10 20.5 asan unit/b_test' >"$work/logs/tally"
echo 'skip three: no disk' >"$work/logs/tally.skips"
verdict tally_adds_up test "$(tests/tally.sh "$work/logs/tally")" = '7 passed, 2 failed, 1 skipped'
tests/tally.sh "$work/logs/tally" >/dev/null
verdict tally_fails_when_a_suite_did test $? -eq 1
: >"$work/empty"
tests/tally.sh "$work/empty" >/dev/null
verdict tally_of_nothing_fails test $? -eq 1
tests/result.sh "$work/logs/tally" 77 0.5 >"$work/page"
verdict page_has_each_suite test "$(grep -c '^| .*_test | ' "$work/page")" -eq 2
verdict page_has_the_sum grep -qF '| **all** | 7 | 2 | 1 | 11.5 | 21.8 |' "$work/page"
verdict page_has_the_verdict grep -qF '| result | **7 passed, 2 failed, 1 skipped** |' "$work/page"
verdict page_has_the_date grep -qF "| date | $(date +%F) |" "$work/page"
verdict page_has_the_commit grep -qE '^\| commit \| ([0-9a-f]{12}(-dirty)?|unknown) \|' "$work/page"
verdict page_says_what_was_skipped grep -qx -- '- skip three: no disk' "$work/page"
refuses check_refuses_other_words 2 'usage: tests/check.sh' tests/check.sh nonsense
exit $status
