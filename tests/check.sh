#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What `make check` runs: every test that needs no GPU and no module.
#
# For a person: all suites, then the same suites under ASan and UBSan, each fuzzer
# for 5 s from its corpus.  With CI=true also TSan, and each fuzzer for 60 s.
set -u
cd "$(dirname "$0")/.." || exit 1

export LOGS=build/test-logs TALLY=build/test-logs/tally
mkdir -p $LOGS
: >$TALLY
begin=$(date +%s)
jobs=$(nproc)

stage() { echo "== $1 ($(($(date +%s) - begin)) s)"; }

# Build, or count one failure and say where it broke.
build() {
	if ! make -s -j"$jobs" "$@" >$LOGS/build.log 2>&1; then
		echo "build of $* failed:"
		grep -E 'error|Error|undefined' $LOGS/build.log | head -20 | sed 's/^/    /'
		echo "0 1 0" >>$TALLY
		return 1
	fi
}

suites() { ls tests/{unit,kernels,selftests,fault}/*_test.c 2>/dev/null | sed 's/\.c$//'; }

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
build SAN=address lib tests && tests/run.sh --label asan $(suites | sed 's,^,build-address/,')

if [ "${CI:-}" = true ]; then
	stage "thread sanitizer"
	export TSAN_OPTIONS=second_deadlock_stack=1
	build SAN=thread lib tests && tests/run.sh --label tsan $(suites | sed 's,^,build-thread/,')
fi

stage "fuzzers"
seconds=5
[ "${CI:-}" = true ] && seconds=60
if ! command -v clang-14 >/dev/null; then
	echo "skip fuzzers: clang-14 is not installed"
	echo "0 0 1" >>$TALLY
elif build fuzz; then
	for f in tests/fuzz/*_fuzz.c; do
		name=$(basename "$f" _fuzz.c)
		work=$(mktemp -d)
		log=$LOGS/fuzz-$name.log
		if build-fuzz/tests/fuzz/${name}_fuzz -max_total_time=$seconds -rss_limit_mb=4096 \
			-timeout=20 -artifact_prefix=$LOGS/ "$work" tests/fuzz/corpus/"$name" \
			>"$log" 2>&1; then
			verdict=ok
			echo "1 0 0" >>$TALLY
		else
			verdict="not ok"
			echo "0 1 0" >>$TALLY
			tail -20 "$log" | sed 's/^/    | /'
		fi
		printf '%-44s %s, %s, %d s\n' "fuzz/$name" "$verdict" \
			"$(grep -oE 'Done [0-9]+ runs' "$log")" $seconds
		rm -rf "$work"
	done
fi

echo "== total $(($(date +%s) - begin)) s"
tests/tally.sh $TALLY
