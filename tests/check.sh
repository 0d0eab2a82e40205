#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What `make check` runs: every test that needs no GPU and no module.
#
#   tests/check.sh [person | ci | all]
#
#	person	all suites, then the same suites under ASan and UBSan, each fuzzer for
#		5 s from its corpus; the default
#	ci	also under TSan, and each fuzzer for 60 s; the default with CI=true
#	all	also what is too long for that: each fuzzer for 600 s, and the module in
#		virtual machines of every kernel there is; writes what came of it to
#		Documentation/results/check-all.md
#
# Environment: FUZZ_SECONDS instead of these; for all: KERNELS and VM_DEPTH as of
# make check-vm (all kernels, long), RESULT for another file.
set -u
cd "$(dirname "$0")/.." || exit 1

form=${1:-$([ "${CI:-}" = true ] && echo ci || echo person)}
case $form in
person) fuzz=5 ;;
ci) fuzz=60 ;;
all) fuzz=600 ;;
*) echo "usage: tests/check.sh [person | ci | all]" >&2; exit 2 ;;
esac
fuzz=${FUZZ_SECONDS:-$fuzz}

export LOGS=build/test-logs TALLY=build/test-logs/tally
mkdir -p $LOGS
: >$TALLY
: >$TALLY.skips
begin=$(date +%s)
load=$(cut -d' ' -f1 /proc/loadavg)
jobs=$(nproc)

stage() { echo "== $1 ($(($(date +%s) - begin)) s)"; }

# Build, or count one failure and say where it broke.
build() {
	if ! make -s -j"$jobs" "$@" >$LOGS/build.log 2>&1; then
		echo "build of $* failed:"
		grep -E 'error|Error|undefined' $LOGS/build.log | head -20 | sed 's/^/    /'
		echo "0 1 0 0 0 build of $1" >>$TALLY
		return 1
	fi
}

suites() { ls tests/{unit,kernels,selftests,fault}/*_test.c 2>/dev/null | sed 's/\.c$//'; }

sanitized() {
	build SAN="$1" lib tests && tests/run.sh --label "$2" $(suites | sed "s,^,build-$1/,")
}

# fuzz_one NAME: from its corpus, new finds are thrown away
fuzz_one() {
	local log=$LOGS/fuzz-$1.log work verdict=ok passed=1 seconds user system TIMEFORMAT='%R %U %S'
	work=$(mktemp -d)
	{ time build-fuzz/tests/fuzz/"$1"_fuzz -max_total_time="$fuzz" -rss_limit_mb=4096 \
		-timeout=20 -artifact_prefix=$LOGS/ "$work" tests/fuzz/corpus/"$1" >"$log" 2>&1 ||
		{ verdict="not ok"; passed=0; }; } 2>"$log.time"
	read -r seconds user system < <(tail -1 "$log.time")
	rm -rf "$work" "$log.time"
	printf '%-44s %s, %s, %.1f s\n' "fuzz/$1" "$verdict" \
		"$(grep -oE 'Done [0-9]+ runs' "$log")" "$seconds"
	echo "$passed $((1 - passed)) 0 $seconds $(awk "BEGIN { print $user + $system }") fuzz/$1" \
		>>$TALLY
	[ $passed -eq 1 ] || tail -20 "$log" | sed 's/^/    | /'
}

fuzzers() {
	local f
	if ! command -v clang-14 >/dev/null; then
		echo "skip fuzzers: clang-14 is not installed" | tee -a $TALLY.skips
		echo "0 0 1 0 0 fuzzers" >>$TALLY
	elif build fuzz; then
		for f in tests/fuzz/*_fuzz.c; do
			fuzz_one "$(basename "$f" _fuzz.c)"
		done
	fi
}

# Each kernel is a suite of its own; one that cannot be had is a skip.
machines() {
	local kernel
	if ! tools/deps.sh vm; then
		echo "skip machines: their packages are not installed" | tee -a $TALLY.skips
		echo "0 0 1 0 0 machines" >>$TALLY
	elif build vm-programs; then
		for kernel in ${KERNELS:-6.1 6.12 7.x debug kcsan}; do
			VM_KERNELS=$kernel VM_DEPTH=${VM_DEPTH:-long} \
				tests/run.sh --label "linux-$kernel" --limit 7200 tests/vm/run.sh
		done
	fi
}

# The smallest first, so that a result is there at once: one that needs no build, and two
# that need little.
stage "first"
tests/run.sh tests/cli/one_command_test.sh
first="build/tests/unit/range_test build/tests/unit/keymap_test"
build $first && tests/run.sh $first

stage "suites"
rest=$(suites | grep -v -e unit/range_test -e unit/keymap_test | sed 's,^,build/,')
build all tests && tests/run.sh $rest

stage "tools"
cli=$(ls tests/cli/*_test.sh 2>/dev/null | grep -v one_command_test)
[ -n "$cli" ] && tests/run.sh --limit 900 $cli

stage "address and undefined behaviour sanitizers"
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1
sanitized address asan

if [ $form != person ]; then
	stage "thread sanitizer"
	export TSAN_OPTIONS=second_deadlock_stack=1
	sanitized thread tsan
fi

stage "fuzzers, $fuzz s each"
fuzzers

if [ $form = all ]; then
	stage "virtual machines"
	machines
fi

took=$(($(date +%s) - begin))
echo "== total $took s"
if [ $form = all ]; then
	result=${RESULT:-Documentation/results/check-all.md}
	tests/result.sh $TALLY $took "$load" >"$result.part" && mv "$result.part" "$result" &&
		echo "written to $result"
fi
tests/tally.sh $TALLY
