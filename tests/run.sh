#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Run test suites and count them.
#
#   tests/run.sh [--label NAME] [--limit SECONDS] [--jobs N] [--under COMMAND] PROGRAM...
#
# PROGRAM is a cmocka binary, or a shell test (tests/cli/*_test.sh) that prints
# "ok NAME", "not ok NAME: why" and "skip NAME: why", or KTAP (tests/ktap.sh).  Each suite gives one line with
# its counts and seconds; what failed and what was skipped is named.  A suite that
# ends without a verdict, by a signal or by the limit counts as a failure.
#
# COMMAND, if there is one, gets each program to run, as valgrind does.
#
# N suites run at a time (1); what is said of them comes in the order in which they are
# named.  Interrupted, it ends those that run.
#
# The file TALLY names gets a line a suite, which tests/tally.sh sums up: passed, failed,
# skipped, seconds, CPU seconds, name.  TALLY.skips gets the reasons of skips, and
# TALLY.failures what is said of a suite that failed.
set -u

here=$(dirname "$(readlink -f "$0")")
label= limit=600 jobs=1 under=
while :; do
	case "${1:-}" in
	--label) label="$2 "; shift 2 ;;
	--limit) limit=$2; shift 2 ;;
	--jobs) jobs=$2; shift 2 ;;
	--under) under=$2; shift 2 ;;
	*) break ;;
	esac
done
logs=${LOGS:-build/test-logs}
mkdir -p "$logs"
tally=${TALLY:-$logs/tally}
status=0
TIMEFORMAT='%R %U %S'
# What is said of suite N: N.said, N.tally, N.skips; N.done when all of it is there.
turn=$(mktemp -d) || exit 1
trap 'rm -rf "$turn"' EXIT

# count PATTERN FILE
count() { grep -cE "$1" "$2"; }

# why LOG: what stands behind "#" after a verdict that is none
why() { awk '/^not ok /{ left = 60 } /^(ok|skip) /{ left = 0 } /^#/ && left-- > 0' "$1"; }

# suite PROGRAM N: run it, leave what is to be said
suite() {
	local program=$1 out=$turn/$2 name log rc seconds user system passed failed skipped
	name=$(basename "$(dirname "$program")")/$(basename "$program" .sh)
	log=$logs/$(echo "$label$name" | tr ' /' '--').log
	{ time {
		# A shell's child in the background ignores SIGINT; a suite does not.
		# shellcheck disable=SC2086
		timeout -k 10 "$limit" env --default-signal=INT,QUIT $under "$program" \
			>"$log" 2>&1 </dev/null &
		trap 'kill $!; wait $!; exit 130' INT TERM
		wait $!
		rc=$?
	}; } 2>"$out.time"
	# The shell may have said before that a signal ended it.
	read -r seconds user system < <(tail -1 "$out.time")
	if [ "$(head -1 "$log")" = "KTAP version 1" ]; then
		"$here/ktap.sh" <"$log" >"$log.verdicts"
		log=$log.verdicts
	fi
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
	{
		printf '%-44s %4d passed %3d failed %3d skipped %7.1f s\n' "$label$name" \
			"$passed" "$failed" "$skipped" "$seconds"
		if [ "$failed" -gt 0 ]; then
			grep -E '^(not ok |\[  FAILED|\[  ERROR|.*(ERROR: AddressSan|runtime error|WARNING: ThreadSan))' "$log" |
				head -20 | sed 's/^/    /'
			{ why "$log"; tail -15 "$log"; } | sed 's/^/    | /'
		fi
		if [ "$skipped" -gt 0 ]; then
			grep -E '^skip |SKIP:' "$log" | sort -u | tee "$out.skips" | head -10 |
				sed 's/^/    /'
		fi
	} >"$out.said"
	echo "$passed $failed $skipped $seconds" \
		"$(awk "BEGIN { print $user + $system }") $label$name" >"$out.tally"
	: >"$out.done"
}

# say: what is there, in order
said=0
say() {
	local failed
	while [ -e "$turn/$said.done" ]; do
		cat "$turn/$said.said"
		cat "$turn/$said.tally" >>"$tally"
		[ ! -e "$turn/$said.skips" ] || cat "$turn/$said.skips" >>"$tally.skips"
		read -r _ failed _ <"$turn/$said.tally"
		[ "$failed" -eq 0 ] || { status=1; cat "$turn/$said.said" >>"$tally.failures"; }
		said=$((said + 1))
	done
}

running() { jobs -pr | wc -l; }
# shellcheck disable=SC2046
trap 'kill $(jobs -p) 2>/dev/null; wait; exit 130' INT TERM

started=0
for program in "$@"; do
	while [ "$(running)" -ge "$jobs" ]; do
		wait -n
		say
	done
	suite "$program" $started &
	started=$((started + 1))
done
while [ $said -lt $started ]; do
	wait -n
	say
	# A suite's shell that was killed left nothing: say so, and go on.
	if [ "$(running)" -eq 0 ] && [ $said -lt $started ] && [ ! -e "$turn/$said.done" ]; then
		echo "not ok $label${*:$((said + 1)):1}: its runner was killed" | tee "$turn/$said.said"
		echo "0 1 0 0 0 $label${*:$((said + 1)):1}" >"$turn/$said.tally"
		: >"$turn/$said.done"
		say
	fi
done
exit $status
