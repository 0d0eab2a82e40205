#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What `make check-all` runs: CI's suites and what is too long for CI, in parts of at most two
# hours, for machines that are not there for longer.
#
#   tests/check-all.sh [PART...]
#
#	host		suites under both sanitizers, all of the tools' too, each fuzzer for
#			600 s; no machine
#	6.1, 6.12, 7.x	the module on Debian's kernels, with long campaigns
#	debug-tests	on a kernel with KASAN, lockdep and others: tests, whole models, style
#	debug-loads	there: loaded and unloaded 200 times
#	debug-faults	there: each allocation fails in turn
#	debug-fuzz	there: 200,000 iterations of the fuzzer
#	kcsan-tests, kcsan-loads, kcsan-fuzz	the same where data races are looked for
#
# All of them without any named.  Each writes what came of it, and of which commit, to a page
# of its own in Documentation/results/check-all/, and check-all.md beside that folder has a
# line for each page there is.
#
# Exit status: 1 something failed, 2 there is no such part.
# Environment: RESULT for another folder; FUZZ_SECONDS, VM_DEPTH, VM_APPEND.
set -u
cd "$(dirname "$0")/.." || exit 1

all="host 6.1 6.12 7.x debug-tests debug-loads debug-faults debug-fuzz kcsan-tests kcsan-loads kcsan-fuzz"
pages=${RESULT:-Documentation/results/check-all}
export LOGS=build/test-logs TALLY=build/test-logs/tally

# machine KERNEL [WHAT]: all, or a part of what tests/vm/suite.sh has
machine() {
	VM_KERNELS=$1 VM_DEPTH=${VM_DEPTH:-long} VM_APPEND="${2:+VM_ONLY=$2 }${VM_APPEND:-}" \
		tests/run.sh --label "linux-$1${2:+ $2}" --limit 7200 tests/vm/run.sh
}

run_part() {
	local kernel=${1%%-*}
	case $1 in
	host) tests/check.sh host ;;
	debug-tests)
		machine debug tests,served
		tests/run.sh --limit 900 tests/vm/style.sh ;;
	*-tests) machine "$kernel" tests,served ;;
	*-faults) machine "$kernel" fail_nth,fail_load ;;
	*-*) machine "$kernel" "${1#*-}" ;;
	*) machine "$kernel" ;;
	esac
}

# part NAME: and its page, which there is only when it went to its end
part() {
	local name=$1 load began=$SECONDS
	load=$(cut -d' ' -f1 /proc/loadavg)
	echo "== part $name"
	: >$TALLY
	: >$TALLY.skips
	: >$TALLY.failures
	run_part "$name"
	tests/result.sh "$name" $TALLY $((SECONDS - began)) "$load" >"$pages/$name.md.new" &&
		mv "$pages/$name.md.new" "$pages/$name.md" && echo "written to $pages/$name.md"
	summary >"$pages.md"
	tests/tally.sh $TALLY || failed=yes
}

# field NAME PAGE: of the table at its head
field() { sed -n "s/^| $1 | \(.*\) |\$/\1/p" "$2"; }

summary() {
	local name page
	echo '# make check-all'
	echo
	echo 'What is too long for CI, part by part (`tests/check-all.sh`). Each part has a page, with the'
	echo 'machine, each suite and every skip.'
	echo
	echo '| part | date | commit | took | result |'
	echo '|---|---|---|---:|---|'
	for name in $all; do
		page=$pages/$name.md
		if [ -e "$page" ]; then
			echo "| [$name](check-all/$name.md) | $(field date "$page") | $(field commit "$page")" \
				"| $(field took "$page") | $(field result "$page") |"
		else
			echo "| $name | never | | | |"
		fi
	done
}

for name; do
	case " $all " in
	*" $name "*) ;;
	*) echo "usage: tests/check-all.sh [PART...], of: $all" >&2; exit 2 ;;
	esac
done
[ $# -gt 0 ] || set -- $all
tools/deps.sh check && tools/deps.sh vm || exit
make -s -j"$(nproc)" vm-programs || exit 1
mkdir -p "$pages" $LOGS
failed=
for name; do
	part "$name"
done
[ -z "$failed" ]
